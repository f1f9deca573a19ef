//! What is read in answers, by what they say they are: lists of tools that are filtered, content that rules look at.
//! Nothing that cannot be read is passed on.

use serde_json::json;

use crate::backend::{Backend, Then, raw};
use crate::client::{Answer, post};
use crate::site::{Extra, Site, reading, token_for};

/// Answers every request with what its path names last: a type and a body.
fn backend(answers: &'static [(&'static str, &'static str, &'static str)]) -> Backend {
    Backend::start(move |request, stream| {
        let named = |(name, _, _): &&(&str, &str, &str)| {
            request.line.contains(&format!("/{name} ")) || request.header("mcp-name") == Some(name)
        };
        let (_, kind, body) = answers.iter().find(named).unwrap_or(&answers[0]);
        let length = body.len();
        raw(stream, format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}"));
        Then::Keep
    })
}

fn mcp_site(backend: &Backend) -> Site {
    let sections = format!(
        r#"
[identity]
resource_metadata = "https://acp.test/.well-known/oauth-protected-resource"
[[upstream]]
name = "lab"
url = "http://{backend}/mcp"
allow_loopback = ["{backend}"]
[[route]]
path = "/mcp/lab"
upstream = "lab"
protocol = "mcp"
streaming = true
[[route.tool]]
name = "lab/echo"
verb = "read"
[[route.tool]]
name = "lab/hidden"
verb = "admin"
"#,
        backend = backend.address
    );
    Site::new(&Extra { sections: &sections, ..Extra::default() })
}

const JSON_LIST: &str = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo"},{"name":"hidden"}]}}"#;
const EVENT_LIST: &str = concat!(
    "event: message\ndata: ",
    r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo"},{"name":"hidden"}]}}"#,
    "\n\n"
);
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;

/// The list under this type is answered so, and never shows the tool that the caller may not call.
#[track_caller]
fn check_list(answers: &'static [(&'static str, &'static str, &'static str)], status: u16) -> Answer {
    let backend = backend(answers);
    let site = mcp_site(&backend);
    let gateway = site.start();
    let answer = gateway.ask(post("/mcp/lab", &token_for("auth0|alice", "tool:lab:read"), LIST));
    let body = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, status, "{body}");
    assert!(!body.contains("hidden"), "{body}");
    assert_eq!(body.contains("echo"), status == 200, "{body}");
    if status != 200 {
        assert_eq!(site.record(&answer.id())["reason"], "response_unscannable");
    }
    gateway.stop();
    answer
}

#[test]
fn a_list_of_tools_is_read_as_what_it_says_it_is() {
    check_list(&[("", "application/json", JSON_LIST)], 200);
    check_list(&[("", "text/event-stream", EVENT_LIST)], 200);
}

#[test]
fn a_list_of_tools_that_is_not_what_it_says_is_withheld() {
    check_list(&[("", "application/json", EVENT_LIST)], 502);
    check_list(
        &[(
            "",
            "text/event-stream",
            concat!(r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"echo"},{"name":"hidden"}]}}"#, "\n\n"),
        )],
        502,
    );
    check_list(&[("", "application/octet-stream", JSON_LIST)], 502);
}

#[test]
fn headers_that_repeat_the_body_come_at_most_once() {
    let backend = backend(&[("", "application/json", JSON_LIST)]);
    let site = mcp_site(&backend);
    let gateway = site.start();
    let token = token_for("auth0|alice", "tool:lab:read");
    let list =
        |fields: &str| post("/mcp/lab", &token, LIST).replace("Host: gateway", &format!("Host: gateway\r\n{fields}"));
    assert_eq!(gateway.ask(list("Mcp-Method: tools/list")).status, 200);
    let reached = backend.received().len();
    for twice in [
        "Mcp-Method: tools/list\r\nMcp-Method: tools/call",
        "Mcp-Method: tools/call\r\nmcp-method: tools/list",
        "Mcp-Method: tools/list\r\nMcp-Method: tools/list",
        "MCP-Protocol-Version: 2025-11-25\r\nMCP-Protocol-Version: 2026-07-28",
        "Mcp-Name: echo\r\nMcp-Name: hidden",
    ] {
        let answer = gateway.ask(list(twice));
        assert_eq!(answer.json()["error"]["data"]["code"], "invalid_rpc", "{twice}: {answer:?}");
    }
    assert_eq!(backend.received().len(), reached, "none of them went upstream");
    gateway.stop();
}

/// RFC 9728 §5.1.
#[test]
fn a_challenge_names_the_metadata_that_is_configured() {
    let backend = backend(&[("", "application/json", JSON_LIST)]);
    let site = mcp_site(&backend);
    let gateway = site.start();
    for answer in [
        gateway.ask(post("/mcp/lab", "not.a.token", LIST)),
        gateway.ask(post("/mcp/lab", "x", LIST).replace("Authorization: Bearer x\r\n", "")),
    ] {
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        let named = "resource_metadata=\"https://acp.test/.well-known/oauth-protected-resource\"";
        assert!(answer.status == 401 && challenge.contains(named), "{answer:?}");
    }
    gateway.stop();
}

/// An SSN in the answer, plain and hidden behind escapes, in JSON that parses and in what does not.
#[test]
fn an_answer_that_does_not_parse_is_read_as_text_or_withheld() {
    const ANSWERS: &[(&str, &str, &str)] = &[
        ("fine", "application/json", r#"{"a":1}"#),
        ("plain", "application/json", r#"{"ssn":"536-22-1894"}"#),
        ("broken", "application/json", r#"{"ssn":"\u0035\u0033\u0036-22-1894""#),
        ("text", "text/plain", "SSN 536-22-1894"),
        ("prose", "text/plain", "nothing to see"),
        ("twice", "text/plain", r#"{"ssn":"\u0035\u0033\u0036-22-1894","ssn":1}"#),
        ("binary", "application/pdf", "SSN 536-22-1894"),
    ];
    let backend = backend(ANSWERS);
    let sections = format!(
        r#"
[[safety.rule]]
detect = ["us_ssn"]
action = "block"
direction = "response"
{crm}
"#,
        crm = reading(&backend, "POST")
    );
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    let gateway = site.start();
    let token = token_for("auth0|alice", "tool:crm:read");
    for (name, expected) in [
        ("fine", None),
        ("prose", None),
        ("plain", Some("content_blocked")),
        ("text", Some("content_blocked")),
        ("broken", Some("response_unscannable")),
        ("twice", Some("response_unscannable")),
        ("binary", Some("response_unscannable")),
    ] {
        let answer = gateway.ask(post(&format!("/tools/crm/{name}"), &token, &json!({}).to_string()));
        let refused = (answer.status != 200).then(|| answer.code());
        assert_eq!(refused.as_deref(), expected, "{name}: {answer:?}");
        let body = String::from_utf8_lossy(&answer.body).replace(&answer.id(), "");
        assert!(!body.contains("1894"), "{name}: {body}");
    }
    gateway.stop();
}
