//! Every action in both directions on content that comes in pieces, each with its record: requests in chunks, answers in
//! chunks, as events and as plain text. Content that comes whole is in `content`.

use serde_json::{Value, json};

use crate::backend::{Backend, Then, raw};
use crate::client::{Answer, post};
use crate::site::{Extra, Gateway, Site, crm, token_for, write_key};

const SSN: &str = "536-22-1894";
const BEFORE: &str = "Her number is ";
const BEHIND: &str = " and that is all.";
const ACTIONS: [&str; 6] = ["redact", "mask", "tokenize", "pseudonymize", "flag", "block"];
/// Bytes of a chunk: a value is cut by each.
const STEP: usize = 7;

/// A tool for each action and direction, and the rule that is for it alone.
fn sections(backend: &Backend) -> String {
    let (mut rules, mut tools) = (String::new(), String::new());
    for (action, direction) in ACTIONS.into_iter().flat_map(|action| [(action, "request"), (action, "response")]) {
        let name = format!("{action}-{direction}");
        tools += &format!(
            "[[route.tool]]\nname = \"crm/{name}\"\nmatch = {{ method = \"POST\", path = \"{name}\" }}\nverb = \"read\"\n"
        );
        rules += &format!(
            "[[safety.rule]]\nid = \"{name}\"\ndetect = [\"us_ssn\"]\naction = \"{action}\"\ndirection = \"{direction}\"\n\
             tools = [\"crm/{name}\"]\n"
        );
    }
    let key = "[[safety.tokens.key]]\nid = \"k1\"\nfile = \"{dir}/token.key\"\n";
    format!("{rules}{key}{}\nstreaming = true\n{tools}", crm(backend))
}

fn text() -> String {
    format!("{BEFORE}{SSN}{BEHIND}")
}

/// `bytes` in chunks, the last included.
fn chunked(bytes: &[u8]) -> Vec<u8> {
    let chunk = |piece: &[u8]| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
    let mut chunks: Vec<u8> = bytes.chunks(STEP).flat_map(chunk).collect();
    chunks.extend(b"0\r\n\r\n");
    chunks
}

/// The text as events of a model, which has it in pieces of its own.
fn events() -> String {
    let event = |piece: &[u8]| {
        let piece = str::from_utf8(piece).expect("ASCII");
        let chunk = json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": piece}}]});
        format!("data: {chunk}\n\n")
    };
    text().as_bytes().chunks(5).map(event).collect::<String>() + "data: [DONE]\n\n"
}

/// What a client of a model puts together.
#[track_caller]
fn put_together(events: &str) -> String {
    let data = events.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let content = |data: &str| {
        let chunk: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        chunk["choices"][0]["delta"]["content"].as_str().expect("a text").to_owned()
    };
    data.map(content).collect()
}

/// What stands in the value's place, and nothing else changed.
#[track_caller]
fn check_text(action: &str, text: &str) {
    let value = text.strip_prefix(BEFORE).and_then(|text| text.strip_suffix(BEHIND));
    let value = value.unwrap_or_else(|| panic!("{action}: {text}"));
    match action {
        "flag" => assert_eq!(value, SSN),
        "redact" => assert_eq!(value, "[REDACTED:US_SSN]"),
        "mask" => assert_eq!(value, "*******1894"),
        "tokenize" => assert!(value.starts_with("acptok.us_ssn.k1."), "{value}"),
        "pseudonymize" => {
            let shape = |text: &str| text.bytes().map(|byte| byte.is_ascii_digit()).collect::<Vec<_>>();
            assert!(shape(value) == shape(SSN) && value != SSN, "{value}");
        }
        other => panic!("{other} lets nothing pass"),
    }
}

/// The record says what was found and what became of it, in this direction alone, and never the value.
#[track_caller]
fn check_record(record: &Value, direction: &str, action: &str) {
    let (here, there) = match direction {
        "request" => ("findings", "response_findings"),
        _ => ("response_findings", "findings"),
    };
    let found: Vec<_> = record[here].as_array().into_iter().flatten().collect();
    let [found] = found.as_slice() else { panic!("one finding: {record:#}") };
    let said = (&found["type"], &found["count"], &found["action"]);
    assert_eq!(said, (&json!("us_ssn"), &json!(1), &json!(action)), "{record:#}");
    assert!(record[there].as_array().is_none_or(Vec::is_empty), "{record:#}");
    let (decision, reason) = if action == "block" { ("deny", "content_blocked") } else { ("allow", "allowed") };
    assert_eq!((&record["decision"], &record["reason"]), (&json!(decision), &json!(reason)), "{record:#}");
    let all = record.to_string();
    assert!(!all.contains(SSN) && !all.contains("22-18"), "{record:#}");
}

/// A site, and an upstream that answers with the text as `?as=` says.
fn site() -> (Backend, Site) {
    let backend = Backend::start(|request, socket| {
        let line = &request.line;
        let (kind, body) = match line.split_once("?as=").map(|(_, rest)| rest.split(' ').next().unwrap_or_default()) {
            Some("chunks") => ("application/json", json!({ "note": text() }).to_string()),
            Some("events") => ("text/event-stream", events()),
            Some("text") => ("text/plain; charset=utf-8", text()),
            _ => ("application/json", "{}".to_owned()),
        };
        raw(socket, format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n"));
        raw(socket, chunked(body.as_bytes()));
        Then::Keep
    });
    let sections = sections(&backend);
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    write_key(&site, "token.key", "0a");
    (backend, site)
}

fn caller() -> String {
    token_for("auth0|alice", "tool:crm:read")
}

#[test]
fn each_action_does_what_it_says_to_a_request_in_chunks_and_the_record_says_so() {
    let (backend, site) = site();
    let gateway = site.start();
    for action in ACTIONS {
        let before = backend.received().len();
        let head = post(&format!("/tools/crm/{action}-request"), &caller(), "");
        let head = head.replace("Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n");
        assert!(head.contains("chunked"), "{head}");
        let body = json!({ "note": text() }).to_string();
        let answer = gateway.ask([head.as_bytes(), &chunked(body.as_bytes())].concat());
        if action == "block" {
            assert_eq!((answer.status, answer.code().as_str()), (403, "content_blocked"));
            assert_eq!(backend.received().len(), before, "it never went upstream");
        } else {
            assert_eq!(answer.status, 200, "{action}: {answer:?}");
            let sent = backend.received().pop().expect("a request").body;
            let sent: Value = serde_json::from_str(&sent).expect("JSON");
            check_text(action, sent["note"].as_str().expect("a text"));
        }
        check_record(&site.record(&answer.id()), "request", action);
    }
    gateway.stop();
}

/// Asks for the text in this way, and checks the record; gives what came.
#[track_caller]
fn answered(site: &Site, gateway: &Gateway, action: &str, way: &str) -> Answer {
    let answer = gateway.ask(post(&format!("/tools/crm/{action}-response?as={way}"), &caller(), "{}"));
    check_record(&site.record(&answer.id()), "response", action);
    let body = String::from_utf8_lossy(&answer.body).replace(&answer.id(), "");
    assert!(action == "flag" || (!body.contains(SSN) && !body.contains("536")), "{action}: {body}");
    answer
}

#[test]
fn each_action_does_what_it_says_to_an_answer_in_chunks_and_the_record_says_so() {
    let (_backend, site) = site();
    let gateway = site.start();
    for action in ACTIONS {
        let answer = answered(&site, &gateway, action, "chunks");
        if action == "block" {
            assert_eq!((answer.status, answer.code().as_str()), (403, "content_blocked"));
        } else {
            assert_eq!(answer.status, 200, "{answer:?}");
            check_text(action, answer.json()["note"].as_str().expect("a text"));
        }
    }
    gateway.stop();
}

#[test]
fn each_action_does_what_it_says_to_a_stream_of_events_and_the_record_says_so() {
    let (_backend, site) = site();
    let gateway = site.start();
    for action in ACTIONS {
        let answer = answered(&site, &gateway, action, "events");
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")), "{answer:?}");
        let body = String::from_utf8_lossy(&answer.body);
        if action == "block" {
            let (before, problem) = body.split_once("event: error\ndata: ").expect("an event that says so");
            assert!(BEFORE.starts_with(&put_together(before)), "what was clean, and no more: {before}");
            let problem: Value = serde_json::from_str(problem.trim_end()).expect("a problem document");
            assert_eq!(problem["code"], "content_blocked");
        } else {
            check_text(action, &put_together(&body));
        }
    }
    gateway.stop();
}

#[test]
fn each_action_does_what_it_says_to_a_stream_of_text_and_the_record_says_so() {
    let (_backend, site) = site();
    let gateway = site.start();
    for action in ACTIONS.into_iter().filter(|action| *action != "block") {
        let answer = answered(&site, &gateway, action, "text");
        assert_eq!(answer.status, 200, "{answer:?}");
        check_text(action, &String::from_utf8_lossy(&answer.body));
    }
    let mut client = gateway.connect();
    client.send(post("/tools/crm/block-response?as=text", &caller(), "{}"));
    let id = client.head().id();
    let rest = client.rest();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "cut short, and seen to be");
    assert!(!String::from_utf8_lossy(&rest).contains("536"), "{rest:?}");
    check_record(&site.record(&id), "response", "block");
    gateway.stop();
}
