//! Bodies that come compressed, both ways: undone where the route takes their coding, refused elsewhere, and never passed on
//! unread.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::backend::{Backend, Then, raw};
use crate::client::{Answer, post};
use crate::site::{Extra, Gateway, Site, ruled, token_for};

const SAID: &str = r#"{"note":"ssn 536-22-1894"}"#;

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).expect("into memory");
    encoder.finish().expect("into memory")
}

fn site(backend: &Backend, codings: &str) -> Site {
    let rule = "detect = [\"us_ssn\"]\naction = \"redact\"";
    let sections = ruled(backend, rule, &format!("content_codings = {codings}\nbody_bytes_max = \"128 KiB\""));
    Site::new(&Extra { sections: &sections, ..Extra::default() })
}

/// Sends these bytes as a body of this coding.
fn send(gateway: &Gateway, coding: &str, body: &[u8]) -> Answer {
    let head = post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), "");
    let fields =
        format!("Content-Encoding: {coding}\r\nContent-Digest: sha-256=:x:\r\nContent-Length: {}\r\n", body.len());
    gateway.ask([head.replace("Content-Length: 0\r\n", &fields).as_bytes(), body].concat())
}

#[test]
fn a_compressed_body_is_screened_and_sent_on_plain() {
    let backend = Backend::plain();
    let site = site(&backend, r#"["gzip", "br"]"#);
    let gateway = site.start();
    for (body, sent) in
        [(SAID, SAID.replace("536-22-1894", "[REDACTED:US_SSN]")), (r#"{"a":1}"#, r#"{"a":1}"#.to_owned())]
    {
        assert_eq!(send(&gateway, "gzip", &gzip(body.as_bytes())).status, 200);
        let received = backend.received().pop().expect("a request");
        assert_eq!(received.body, sent);
        assert_eq!(received.header("content-encoding"), None);
        assert_eq!(received.header("content-digest"), None, "it was of other bytes");
    }
    gateway.stop();
}

#[test]
fn threat_a14_what_cannot_be_undone_reaches_nobody() {
    let backend = Backend::plain();
    let site = site(&backend, r#"["gzip"]"#);
    let gateway = site.start();
    let good = gzip(SAID.as_bytes());
    let bomb = gzip(&vec![b' '; 8 << 20]);
    let mut broken = good.clone();
    *broken.last_mut().expect("a byte") ^= 1;
    for (coding, body, status, code) in [
        ("gzip", &good[..good.len() - 9], 415, "unsupported_media_type"),
        ("gzip", &broken, 415, "unsupported_media_type"),
        ("gzip", &[&good[..], &good].concat(), 415, "unsupported_media_type"),
        ("gzip", SAID.as_bytes(), 415, "unsupported_media_type"),
        ("gzip", &bomb, 413, "body_too_large"),
        ("br", &good, 415, "unsupported_media_type"),
        ("gzip, gzip", &good, 415, "unsupported_media_type"),
    ] {
        let answer = send(&gateway, coding, body);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{coding}: {answer:?}");
        assert_eq!(site.record(&answer.id())["reason"], code);
    }
    assert!(backend.received().is_empty());
    gateway.stop();
}

/// Answers every request with these bytes in gzip.
fn gzipped(body: Vec<u8>) -> Backend {
    Backend::start(move |_, socket| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip\r\nContent-Length";
        raw(socket, format!("{head}: {}\r\n\r\n", body.len()));
        raw(socket, &body);
        Then::Keep
    })
}

fn ask(gateway: &Gateway) -> Answer {
    gateway.ask(post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), "{}"))
}

#[test]
fn threat_a14_a_compressed_answer_is_screened_or_withheld() {
    let good = gzip(SAID.as_bytes());
    let backend = gzipped(good.clone());
    let takes = site(&backend, r#"["gzip"]"#);
    let gateway = takes.start();
    let answer = ask(&gateway);
    assert_eq!(String::from_utf8_lossy(&answer.body), SAID.replace("536-22-1894", "[REDACTED:US_SSN]"));
    assert_eq!(answer.header("content-encoding"), None);
    assert_eq!(backend.received()[0].header("accept-encoding"), Some("identity, gzip"));
    gateway.stop();
    for (backend, codings) in [
        (gzipped(good.clone()), "[]"),
        (gzipped(good.clone()), r#"["br"]"#),
        (gzipped(good[..good.len() - 9].to_vec()), r#"["gzip"]"#),
        (gzipped(gzip(&vec![b' '; 8 << 20])), r#"["gzip"]"#),
    ] {
        let site = site(&backend, codings);
        let gateway = site.start();
        let answer = ask(&gateway);
        assert_eq!((answer.status, answer.code().as_str()), (502, "response_unscannable"), "{codings}");
        gateway.stop();
    }
}
