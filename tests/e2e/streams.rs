//! Answers that come piece by piece, screened on their way: each action, values split over events and reads, and what the
//! log says of it.

use serde_json::{Value, json};

use crate::backend::{Backend, Gate, Then, raw};
use crate::client::{Answer, post};
use crate::process::wait_for;
use crate::site::{Extra, Site, ruled, token_for, token_with, write_key};

const EVENTS: &str = "text/event-stream";

/// A route whose answers may stream, and a rule for social security numbers in them.
fn site(backend: &Backend, action: &str, streaming: bool) -> Site {
    let rule = format!("id = \"no-ssn\"\ndetect = [\"us_ssn\"]\naction = \"{action}\"\ndirection = \"response\"");
    let sections = ruled(backend, &rule, &format!("streaming = {streaming}"));
    Site::new(&Extra { sections: &sections, ..Extra::default() })
}

/// Answers every request with this stream, in writes of so many bytes, each a chunk.
fn backend(kind: &'static str, stream: String, step: usize) -> Backend {
    Backend::start(move |_, socket| {
        raw(socket, format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        for piece in stream.as_bytes().chunks(step) {
            raw(socket, [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
        }
        raw(socket, "0\r\n\r\n");
        Then::Keep
    })
}

fn ask(gateway: &crate::site::Gateway) -> Answer {
    gateway.ask(post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), "{}"))
}

/// Chat chunks with these pieces of content.
fn chat(pieces: &[&str]) -> String {
    let chunk = |piece: &str| {
        let chunk = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": piece}}]});
        format!("data: {chunk}\n\n")
    };
    pieces.iter().map(|piece| chunk(piece)).collect::<String>() + "data: [DONE]\n\n"
}

/// What was found according to the record: type, how often, action.
fn findings(record: &Value) -> Vec<(String, u64, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let found = record["response_findings"].as_array().cloned().unwrap_or_default();
    found.iter().map(|f| (text(&f["type"]), f["count"].as_u64().unwrap_or_default(), text(&f["action"]))).collect()
}

const SPLIT: [&str; 5] = ["Her number is 5", "36-2", "2-18", "94", " and that is all"];

/// The stream leaves so, whatever the upstream's writes were, and the record says what was found.
#[track_caller]
fn check(action: &str, expected: &str) {
    for step in [1, 50, 1 << 16] {
        let backend = backend(EVENTS, chat(&SPLIT), step);
        let site = site(&backend, action, true);
        let gateway = site.start();
        let answer = ask(&gateway);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some(EVENTS));
        assert_eq!(String::from_utf8_lossy(&answer.body), expected, "writes of {step} bytes");
        let record = site.record(&answer.id());
        assert_eq!(record["reason"], "allowed", "{record:#}");
        assert_eq!(findings(&record), [("us_ssn".to_owned(), 1, action.to_owned())], "{record:#}");
        // Times and identifiers hold any four digits now and then.
        let said = record.to_string();
        assert!(!said.contains("22-18") && !said.contains("36-22"), "{record:#}");
        gateway.stop();
    }
}

#[test]
fn threat_a08_a_value_split_over_events_and_reads_is_redacted() {
    check("redact", &chat(&["Her number is [REDACTED:US_SSN]", "", "", "", " and that is all"]));
}

#[test]
fn a_value_split_over_events_is_masked_or_flagged() {
    check("mask", &chat(&["Her number is *******1894", "", "", "", " and that is all"]));
    check("flag", &chat(&SPLIT));
}

#[test]
fn threat_a08_a_stream_that_a_rule_blocks_ends_with_an_event_that_says_so() {
    for step in [1, 1 << 16] {
        let backend = backend(EVENTS, chat(&["All is well. ", "536-22-", "1894"]), step);
        let site = site(&backend, "block", true);
        let gateway = site.start();
        let answer = ask(&gateway);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        let first = chat(&["All is well. "]);
        let rest = body.strip_prefix(first.trim_end_matches("data: [DONE]\n\n")).expect("what was clean has left");
        let problem = rest.strip_prefix("event: error\ndata: ").and_then(|rest| rest.strip_suffix("\n\n"));
        let problem: Value = serde_json::from_str(problem.expect("one event")).expect("a problem document");
        assert_eq!(problem["code"], "content_blocked");
        let said = body.replace(&answer.id(), "");
        assert!(!said.contains("536") && !said.contains("1894"), "{body}");
        let record = site.record(&answer.id());
        assert_eq!((&record["reason"], &record["decision"]), (&json!("content_blocked"), &json!("deny")), "{record:#}");
        assert_eq!(findings(&record), [("us_ssn".to_owned(), 1, "block".to_owned())], "{record:#}");
        gateway.stop();
    }
}

#[test]
fn plain_words_leave_before_the_upstream_says_more() {
    let gate = Gate::default();
    let passed = gate.clone();
    let (first, second) = (chat(&["Plain words "]), chat(&["and more"]));
    let first = first.trim_end_matches("data: [DONE]\n\n").to_owned();
    let sent = first.clone();
    let backend = Backend::start(move |_, socket| {
        raw(socket, format!("HTTP/1.1 200 OK\r\nContent-Type: {EVENTS}\r\nConnection: close\r\n\r\n{sent}"));
        if passed.pass() {
            raw(socket, &second);
        }
        Then::Close
    });
    let site = site(&backend, "redact", true);
    let gateway = site.start();
    let mut client = gateway.connect();
    let mut answer = client.send(post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), "{}")).head();
    assert_eq!(client.chunk().as_deref(), Some(first.as_bytes()));
    gate.open();
    while let Some(chunk) = client.chunk() {
        answer.body.extend(chunk);
    }
    assert_eq!(String::from_utf8_lossy(&answer.body), chat(&["and more"]));
    gateway.stop();
}

#[test]
fn plain_text_is_screened_on_its_way_and_cut_short_where_it_is_blocked() {
    let text = "She said 536-22-1894.\nThat is all.\n";
    for (action, expected) in [("redact", text.replace("536-22-1894", "[REDACTED:US_SSN]")), ("flag", text.to_owned())]
    {
        let backend = backend("text/plain; charset=utf-8", text.to_owned(), 3);
        let site = site(&backend, action, true);
        let gateway = site.start();
        assert_eq!(String::from_utf8_lossy(&ask(&gateway).body), expected);
        gateway.stop();
    }
    let backend = backend("text/plain", text.to_owned(), 3);
    let site = site(&backend, "block", true);
    let gateway = site.start();
    let mut client = gateway.connect();
    client.send(post("/tools/crm/1", &token_for("auth0|alice", "tool:crm:read"), "{}"));
    let id = client.head().id();
    let rest = client.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n") && !rest.windows(4).any(|four| four == b"1894"), "{rest:?}");
    assert_eq!(site.record(&id)["reason"], "content_blocked");
    gateway.stop();
}

#[test]
fn threat_a14_an_event_stream_is_refused_where_answers_may_not_stream() {
    let backend = backend(EVENTS, chat(&SPLIT), 50);
    let site = site(&backend, "redact", false);
    let gateway = site.start();
    let answer = ask(&gateway);
    assert_eq!((answer.status, answer.code().as_str()), (502, "response_unscannable"));
    gateway.stop();
}

#[test]
fn what_hides_its_text_from_the_rules_ends_the_stream() {
    let stream = format!("{}data: {{\"a\":\"\\u0035\"\n\n", chat(&["Fine. "]));
    let backend = backend(EVENTS, stream, 50);
    let site = site(&backend, "redact", true);
    let gateway = site.start();
    let answer = ask(&gateway);
    let body = String::from_utf8_lossy(&answer.body);
    assert!(body.contains("Fine. ") && body.contains("response_unscannable") && !body.contains("u0035"), "{body}");
    let record = wait_for("the record", || Some(site.record(&answer.id())));
    assert_eq!(record["reason"], "response_unscannable");
    gateway.stop();
}

/// A call that carries a value in clear, and a model's stream that says it, cut as models cut.
#[test]
fn threat_a26_a_value_in_clear_comes_back_as_a_token_in_a_stream_too() {
    let pieces = ["On file: 5", "36-22", "-1894; and again 536-", "22-1894."];
    let backend = backend(EVENTS, chat(&pieces), 7);
    let tokens = r#"detect = ["us_ssn"]
action = "tokenize"
direction = "request"
[[safety.tokens.key]]
id = "k1"
file = "{dir}/token.key"
[[safety.detokenize]]
detect = ["us_ssn"]
tools = ["crm/write"]
pointers = ["/ssn"]
roles = ["billing"]"#;
    let sections = ruled(&backend, tokens, "streaming = true");
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    write_key(&site, "token.key", "0a");
    let gateway = site.start();
    let of = |roles: &[&str]| token_with(|claims| claims["roles"] = json!(roles));
    let ask = |caller: &str, body: &str| gateway.ask(post("/tools/crm/1", caller, body));
    let sent = |at: usize| serde_json::from_str::<Value>(&backend.received()[at].body).expect("JSON")["ssn"].clone();

    assert_eq!(ask(&of(&[]), "{\"ssn\":\"536-22-1894\"}").status, 200);
    let token = sent(0).as_str().expect("a text").to_owned();
    assert!(token.starts_with("acptok.us_ssn.k1."), "{token}");
    let answer = ask(&of(&["billing"]), &json!({ "ssn": token }).to_string());
    assert_eq!(sent(1), "536-22-1894");
    let expected = [format!("On file: {token}"), String::new(), format!("; and again {token}"), ".".to_owned()];
    let expected: Vec<_> = expected.iter().map(String::as_str).collect();
    assert_eq!(String::from_utf8_lossy(&answer.body), chat(&expected));
    let record = site.record(&answer.id());
    assert_eq!(findings(&record), [("us_ssn".to_owned(), 2, "tokenize".to_owned())], "{record:#}");
    gateway.stop();
}
