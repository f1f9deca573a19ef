//! HTTP/1.1 through the gateway: pipelining, chunks both ways, `Expect`, HEAD, empty answers, and event streams that
//! are passed on as they come.

use crate::backend::{Backend, Gate, Then, json, raw};
use crate::client::{bare, get, post};
use crate::process::wait_for;
use crate::site::{Extra, Site, crm, token, token_with};

fn site(backend: &Backend) -> Site {
    let sections = format!(
        r#"
[identity]
leeway = "0s"
{crm}
streaming = true
[[route.tool]]
name = "crm/write"
match = {{ method = "POST", path = "*" }}
verb = "read"
[[route.tool]]
name = "crm/read"
match = {{ method = "GET", path = "*" }}
verb = "read"
[[route.tool]]
name = "crm/look"
match = {{ method = "HEAD", path = "*" }}
verb = "read"
"#,
        crm = crm(backend)
    );
    Site::new(&Extra { sections: &sections, ..Extra::default() })
}

/// Answers with the request line it got and the body behind it.
fn echo() -> Backend {
    Backend::start(|request, stream| json(stream, &serde_json::json!([request.line, request.body]).to_string()))
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (backend, alice) = (echo(), token("auth0|alice"));
    let site = site(&backend);
    let gateway = site.start();
    let mut client = gateway.connect();
    let requests =
        [get("/tools/crm/1", &alice), post("/tools/crm/2", &alice, r#"{"n":2}"#), get("/tools/crm/3", &alice)];
    client.send(requests.concat());
    for (line, body) in [("GET /1 HTTP/1.1", ""), ("POST /2 HTTP/1.1", r#"{"n":2}"#), ("GET /3 HTTP/1.1", "")] {
        assert_eq!(client.answer().json(), serde_json::json!([line, body]));
    }
    gateway.stop();
}

#[test]
fn a_chunked_request_reaches_the_upstream_with_a_length_of_ours() {
    let (backend, alice) = (echo(), token("auth0|alice"));
    let site = site(&backend);
    let gateway = site.start();
    let mut client = gateway.connect();
    client.send(format!(
        "POST /tools/crm/x HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {alice}\r\n\
         Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\n{{\"a\":\r\n"
    ));
    let answer = client.ask(format!("2\r\n1}}\r\n0\r\nTrailer: x\r\n\r\n{}", get("/tools/crm/next", &alice)));
    assert_eq!(answer.json()[1], r#"{"a":1}"#);
    assert_eq!(client.answer().json()[0], "GET /next HTTP/1.1", "what follows the chunks is the next request");
    let first = &backend.received()[0];
    assert_eq!((first.header("content-length"), first.header("transfer-encoding")), (Some("7"), None));
    gateway.stop();
}

#[test]
fn a_client_that_expects_100_is_told_to_go_on() {
    let (backend, alice) = (echo(), token("auth0|alice"));
    let site = site(&backend);
    let gateway = site.start();
    let mut client = gateway.connect();
    let request = post("/tools/crm/x", &alice, "{}").replace("\r\n\r\n{}", "\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.send(request).head().status, 100);
    let answer = client.ask("{}");
    assert_eq!((answer.status, answer.json()[1].as_str()), (200, Some("{}")));
    assert!(backend.received()[0].header("expect").is_none(), "the expectation was ours to meet");
    gateway.stop();
}

#[test]
fn answers_without_a_body_leave_the_connection_usable() {
    let backend = Backend::start(|request, stream| {
        match request.line.split(' ').nth(1) {
            Some("/204") => raw(stream, "HTTP/1.1 204 No Content\r\n\r\n"),
            Some("/304") => raw(stream, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\n\r\n"),
            _ if request.line.starts_with("HEAD") => raw(stream, "HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n"),
            _ => return json(stream, "{}"),
        }
        Then::Keep
    });
    let alice = token("auth0|alice");
    let site = site(&backend);
    let gateway = site.start();
    let mut client = gateway.connect();
    for status in [204, 304] {
        assert_eq!(client.ask(get(&format!("/tools/crm/{status}"), &alice)).status, status);
    }
    assert_eq!(client.send(bare("HEAD", "/tools/crm/x", &alice)).head().status, 200);
    assert_eq!(client.send(bare("HEAD", "/tools/crm/x", "not.a.token")).head().status, 401, "a refusal has no body");
    assert_eq!(client.ask(get("/tools/crm/after", &alice)).body, b"{}");
    gateway.stop();
}

#[test]
fn a_chunked_answer_is_re_framed_and_complete() {
    let backend = Backend::start(|_, stream| {
        raw(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n");
        for part in ["3\r\nabc\r\n", "1;x=y\r\nd\r\n", "0\r\nTrailer: x\r\n\r\n"] {
            raw(stream, part);
        }
        Then::Keep
    });
    let alice = token("auth0|alice");
    let site = site(&backend);
    let gateway = site.start();
    let mut client = gateway.connect();
    for _ in 0..2 {
        let answer = client.ask(get("/tools/crm/x", &alice));
        assert_eq!((answer.status, answer.body.as_slice()), (200, b"abcd".as_slice()));
        assert!(answer.header("trailer").is_none());
    }
    gateway.stop();
}

#[test]
fn the_first_event_arrives_before_the_upstream_has_the_second() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |_, stream| {
        raw(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        raw(stream, "d\r\ndata: first\n\n\r\n");
        if held.pass() {
            raw(stream, "e\r\ndata: second\n\n\r\n0\r\n\r\n");
        }
        Then::Keep
    });
    let site = site(&backend);
    let gateway = site.start();
    let mut client = gateway.connect();
    let head = client.send(get("/tools/crm/events", &token("auth0|alice"))).head();
    assert_eq!(head.header("content-type"), Some("text/event-stream"));
    assert_eq!(client.chunk().as_deref(), Some(b"data: first\n\n".as_slice()));
    gate.open();
    assert_eq!(client.chunk().as_deref(), Some(b"data: second\n\n".as_slice()));
    assert_eq!(client.chunk(), None);
    gateway.stop();
}

/// A stream outlives the checks it began with: nothing of it is passed on once the token has expired, and the client is
/// told in the stream's own words.
#[test]
fn threat_a18_a_stream_ends_with_its_token() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |_, stream| {
        raw(stream, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");
        raw(stream, "d\r\ndata: first\n\n\r\n");
        if held.pass() {
            raw(stream, "e\r\ndata: second\n\n\r\n");
        }
        Then::Keep
    });
    let site = site(&backend);
    let gateway = site.start();
    let expires = jiff::Timestamp::now().as_second() + 2;
    let mut client = gateway.connect();
    let short = token_with(|claims| claims["exp"] = expires.into());
    client.send(get("/tools/crm/events", &short)).head();
    assert_eq!(client.chunk().as_deref(), Some(b"data: first\n\n".as_slice()));
    wait_for("the token to expire", || (jiff::Timestamp::now().as_second() >= expires).then_some(()));
    gate.open();
    let last = String::from_utf8(client.chunk().expect("a last event")).expect("text");
    assert!(last.starts_with("event: error\ndata: {") && last.ends_with("\n\n"), "{last:?}");
    assert!(last.contains("\"code\":\"expired_token\""), "{last:?}");
    assert_eq!(client.chunk(), None);
    client.assert_closed();
    gateway.stop();
    let ended = site.records(&["--reason", "expired_token"]);
    assert_eq!(ended.len(), 1, "{ended:?}");
    assert_eq!(ended[0]["upstream_status"], 200);
}
