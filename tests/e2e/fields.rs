//! What is said beside a body, through the real gateway: header fields both ways, and the bodies of errors.

use serde_json::json;

use crate::backend::{Backend, Then, raw};
use crate::client::{Answer, post};
use crate::site::{Extra, Gateway, Site, ruled, token_for};

const SSN: &str = "536-22-1894";

/// Says the number in its fields and its body, under the status that the path names.
fn teller() -> Backend {
    Backend::start(|request, stream| {
        let (status, kind) = match request.line.as_str() {
            line if line.contains("/error") => ("500 Sorry", "application/json"),
            line if line.contains("/missing") => ("404 Nothing", "text/plain"),
            line if line.contains("/moved") => ("302 There", "application/json"),
            line if line.contains("/part") => ("206 A Part", "application/json"),
            line if line.contains("/events") => ("200 OK", "text/event-stream"),
            _ => ("200 OK", "application/json"),
        };
        let body = if kind == "text/event-stream" { "data: {}\n\n".to_owned() } else { format!("{{\"n\":\"{SSN}\"}}") };
        let fields = format!("ETag: {SSN}\r\nX-Clean: yes\r\nX-Unlisted: {SSN}\r\nLocation: /{SSN}");
        let length = body.len();
        raw(
            stream,
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{fields}\r\nContent-Length: {length}\r\n\r\n{body}"),
        );
        Then::Keep
    })
}

fn site(backend: &Backend, rule: &str) -> Site {
    let route = "streaming = true\nresponse_headers = [\"etag\", \"x-clean\"]";
    Site::new(&Extra { sections: &ruled(backend, rule, route), ..Extra::default() })
}

fn ask(gateway: &Gateway, word: &str, fields: &str) -> Answer {
    let request = post(&format!("/tools/crm/{word}"), &token_for("auth0|alice", "tool:crm:read"), "{}");
    gateway.ask(request.replacen("Host: gateway\r\n", &format!("Host: gateway\r\n{fields}"), 1))
}

#[test]
fn threat_a14_the_fields_and_bodies_of_any_answer_are_screened() {
    let backend = teller();
    let site = site(&backend, "detect = [\"us_ssn\"]\naction = \"redact\"\ndirection = \"response\"");
    let gateway = site.start();
    for (word, status, found) in
        [("ok", 200, 3), ("error", 500, 3), ("missing", 404, 3), ("moved", 302, 3), ("events", 200, 2)]
    {
        let answer = ask(&gateway, word, "");
        let said = [answer.head.as_bytes(), &answer.body].concat();
        assert_eq!((answer.status, memchr::memmem::find(&said, SSN.as_bytes())), (status, None), "{answer:?}");
        assert_eq!((answer.header("etag"), answer.header("x-clean")), (Some("[REDACTED:US_SSN]"), Some("yes")));
        assert_eq!(answer.header("location"), Some("/tools/crm/[REDACTED:US_SSN]"));
        let record = site.record(&answer.id());
        let (finding, edits) = (&record["response_findings"][0], &record["response_findings"][0]["at"]);
        assert_eq!(finding["count"], found, "{word}: {record:#}");
        assert!(edits.as_array().is_some_and(|places| places.contains(&json!("header"))), "{word}: {record:#}");
    }
    gateway.stop();
}

#[test]
fn threat_a14_an_answer_with_a_blocked_field_or_in_parts_is_withheld() {
    let backend = teller();
    let site = site(&backend, "detect = [\"us_ssn\"]\naction = \"block\"\ndirection = \"response\"");
    let gateway = site.start();
    for (word, status, code) in
        [("ok", 403, "content_blocked"), ("events", 403, "content_blocked"), ("part", 502, "response_unscannable")]
    {
        let answer = ask(&gateway, word, "Range: bytes=0-\r\n");
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{word}: {answer:?}");
        let said = [answer.head.as_bytes(), &answer.body].concat();
        assert_eq!(memchr::memmem::find(&said, SSN.as_bytes()), None, "{answer:?}");
        assert_eq!(site.record(&answer.id())["reason"], code);
    }
    for received in backend.received() {
        assert_eq!((received.header("range"), received.header("accept-encoding")), (None, Some("identity")));
    }
    gateway.stop();
}

#[test]
fn threat_a24_the_fields_of_a_request_are_screened_and_edited() {
    let backend = Backend::plain();
    let site = site(&backend, "detect = [\"us_ssn\"]\naction = \"redact\"");
    let gateway = site.start();
    let fields =
        format!("User-Agent: tester/1.0\r\nX-Note: is {SSN}.\r\nX-Ssn: NTM2LTIyLTE4OTQ=\r\nTracestate: a={SSN}\r\n");
    let answer = ask(&gateway, "1", &format!("{fields}Traceparent: 00-{}-{}-01\r\n", "ab".repeat(16), "cd".repeat(8)));
    assert_eq!(answer.status, 200, "{answer:?}");
    let received = backend.received().pop().expect("a request");
    assert_eq!(received.header("user-agent"), Some("tester/1.0"));
    assert_eq!(received.header("x-note"), Some("is [REDACTED:US_SSN]."));
    assert_eq!(received.header("x-ssn"), Some("[REDACTED:US_SSN]"));
    assert_eq!(received.header("tracestate"), None, "{}", received.head);
    let record = site.record(&answer.id());
    assert_eq!(
        (&record["findings"][0]["count"], &record["findings"][0]["at"]),
        (&json!(3), &json!(["header"])),
        "{record:#}"
    );
    gateway.stop();
}

#[test]
fn a_request_with_a_field_that_a_rule_blocks_is_refused() {
    let backend = Backend::plain();
    let site = site(&backend, "id = \"no-ssn\"\ndetect = [\"us_ssn\"]\naction = \"block\"");
    let gateway = site.start();
    let answer = ask(&gateway, "1", &format!("X-Note: {SSN}\r\n"));
    assert_eq!((answer.status, answer.code().as_str()), (403, "content_blocked"), "{answer:?}");
    let record = site.record(&answer.id());
    assert_eq!(record["rule"], "no-ssn", "{record:#}");
    assert!(backend.received().is_empty());
    assert_eq!(ask(&gateway, "1", "X-Note: nothing\r\n").status, 200);
    gateway.stop();
}
