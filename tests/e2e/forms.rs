//! Forms in parts: each part screened as what it is, edited where that is text, refused where two readers could differ.

use crate::backend::Backend;
use crate::client::{Answer, post};
use crate::site::{Extra, Gateway, Site, ruled, token_for};

fn site(backend: &Backend) -> Site {
    let rule = "detect = [\"us_ssn\", \"email\"]\naction = \"redact\"";
    let sections = ruled(backend, rule, "content_types = [\"multipart/form-data\"]");
    Site::new(&Extra { sections: &sections, ..Extra::default() })
}

fn send(gateway: &Gateway, body: &str) -> Answer {
    let request = post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), body);
    gateway.ask(request.replacen("application/json", "multipart/form-data; boundary=b", 1))
}

/// A part; `head` may name a file or a type.
fn part(head: &str, content: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"a\"{head}\r\n\r\n{content}\r\n")
}

#[test]
fn parts_are_edited_where_they_are_text_or_json() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let form = |ssn: &str, email: &str, escaped: &str| {
        let text = part("", &format!("ssn {ssn}"));
        let json = part("\r\nContent-Type: application/json", &format!("{{\"to\":\"{email}\",\"x\":{escaped}}}"));
        format!("{text}{json}{}--b--\r\n", part("; filename=\"x.bin\"\r\nContent-Type: image/png", "\u{1}\u{2}"))
    };
    let body = form("536-22-1894", "bob@mail.example", "\"\\u0035\\u0033\\u0036-22-1894\"");
    assert_eq!(send(&gateway, &body).status, 200);
    let expected = form("[REDACTED:US_SSN]", "[REDACTED:EMAIL]", "\"[REDACTED:US_SSN]\"");
    assert_eq!(backend.received().pop().expect("a request").body, expected);
    let plain = format!("{}--b--", part("", "nothing to see"));
    assert_eq!(send(&gateway, &plain).status, 200);
    assert_eq!(backend.received().pop().expect("a request").body, plain);
    gateway.stop();
}

#[test]
fn what_cannot_be_edited_or_read_one_way_is_refused() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let file = part("; filename=\"x\"\r\nContent-Type: application/pdf", "536-22-1894");
    let hidden = part("", "{\"ssn\":\"\\u0035\\u0033\\u0036-22-1894\",\"ssn\":1}");
    for (body, status, code) in [
        (format!("{file}--b--"), 403, "content_blocked"),
        (format!("{hidden}--b--"), 400, "duplicate_key"),
        (part("", "1"), 415, "unsupported_media_type"),
        (format!("{}--b--", part("", "1\n--b--")), 415, "unsupported_media_type"),
        (format!("{}--b--", part("\r\nContent-Transfer-Encoding: base64", "MQ==")), 415, "unsupported_media_type"),
    ] {
        let answer = send(&gateway, &body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{body}");
        assert_eq!(site.record(&answer.id())["reason"], code);
    }
    assert!(backend.received().is_empty());
    gateway.stop();
}
