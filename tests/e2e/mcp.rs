//! A real MCP client (the official Python one) and a real MCP server (the official "everything" one) with the gateway
//! between them: a caller sees and calls what it may, and learns in the protocol's own words what it may not.
//!
//! `cargo xtask test` installs both and says where they are in `ACP_TEST_PYTHON` and `ACP_TEST_MCP_SERVER`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};

use crate::client::post;
use crate::process::{Process, Said, run, wait_for};
use crate::site::{Extra, Gateway, Site, token_for};

/// JSON-RPC's "invalid params": an unknown tool.
const INVALID_PARAMS: i64 = -32602;

/// Holders of this scope see `echo`, and `get-sum` within a policy's bounds.
const SCOPE: &str = "tool:lab:read";

/// Client and server, where they are installed.
struct Peers {
    python: PathBuf,
    server: PathBuf,
}

impl Peers {
    /// `None`, said aloud, where they are not installed; under `CI=true` that is a failure.
    #[track_caller]
    fn find() -> Option<Self> {
        let named = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.exists());
        let found = named("ACP_TEST_PYTHON").zip(named("ACP_TEST_MCP_SERVER"));
        let in_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(found.is_some() || !in_ci, "no MCP client or server: run the tests with `cargo xtask test`");
        if found.is_none() {
            eprintln!("SKIPPED: no MCP client or server; `cargo xtask test` installs them");
        }
        found.map(|(python, server)| Self { python, server })
    }

    /// Starts the server on a port of its own. It takes a number only, and what is free when it is chosen may be another
    /// test's a moment later: then it ends, and gets another.
    #[track_caller]
    fn serve(&self) -> (Process, SocketAddr) {
        wait_for("the MCP server", || {
            let address = free_port();
            let mut command = Command::new("node");
            command.arg(&self.server).arg("streamableHttp").env("PORT", address.port().to_string());
            let mut process = Process::start(&mut command);
            let running = wait_for("the MCP server to listen or to end", || match process.is_running() {
                true => TcpStream::connect(address).is_ok().then_some(true),
                false => Some(false),
            });
            (running && process.is_running()).then_some((process, address))
        })
    }

    /// Runs the client to its end.
    #[track_caller]
    fn client(&self, gateway: &Gateway, token: &str, calls: &[&str]) -> Said {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/mcp/client.py");
        let url = format!("http://{}/mcp/lab", gateway.address);
        run(Command::new(&self.python).arg(script).arg(url).arg(token).args(calls))
    }

    /// What the client saw.
    #[track_caller]
    fn see(&self, gateway: &Gateway, token: &str, calls: &[&str]) -> Value {
        let said = self.client(gateway, token, calls);
        serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}: {}{}", said.stdout, said.stderr))
    }
}

/// The server takes its port as a number, so one is looked for; nobody else binds it in the moment between.
fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

#[track_caller]
fn site(server: SocketAddr) -> Site {
    let sections = format!(
        r#"
[[safety.rule]]
detect = ["us_ssn"]
action = "block"
direction = "request"
[policy]
files = ["{{dir}}/lab.cedar"]
[[upstream]]
name = "lab"
url = "http://{server}/mcp"
allow_loopback = ["{server}"]
[[route]]
path = "/mcp/lab"
upstream = "lab"
protocol = "mcp"
streaming = true
[[route.tool]]
name = "lab/echo"
verb = "read"
price = "0.001 USD"
[[route.tool]]
name = "lab/get-sum"
verb = "read"
[[route.tool]]
name = "lab/get-env"
verb = "admin"
"#
    );
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    site.write(
        "lab.cedar",
        r#"
@id("small-sums")
forbid (principal, action == Action::"call", resource == Tool::"lab/get-sum")
when { context.arguments has a && context.arguments.a > 100 };
"#,
    );
    site
}

/// One caller, all of the seam: the list, a permitted call, unknown, invisible and refused ones.
#[test]
fn a_real_client_and_a_real_server_meet_through_the_gateway() {
    let Some(peers) = Peers::find() else { return };
    let (_server, address) = peers.serve();
    let site = site(address);
    let gateway = site.start();
    let seen = peers.see(
        &gateway,
        &token_for("auth0|alice", SCOPE),
        &[
            r#"echo={"message":"hello"}"#,
            r#"get-sum={"a":2,"b":3}"#,
            "no-such-tool",
            "get-env",
            "get-tiny-image",
            r#"echo={"message":"SSN 536-22-1894"}"#,
            r#"get-sum={"a":101,"b":3}"#,
        ],
    );
    assert_eq!(seen["tools"], json!(["echo", "get-sum"]), "only what the caller may call: {seen:#}");

    let calls = seen["calls"].as_array().expect("calls");
    assert_eq!(calls[0]["is_error"], false, "{seen:#}");
    assert!(calls[0]["text"][0].as_str().is_some_and(|text| text.contains("hello")), "{seen:#}");
    assert!(calls[1]["text"][0].as_str().is_some_and(|text| text.contains('5')), "{seen:#}");
    for unknown in &calls[2..5] {
        assert_eq!(unknown["error"], INVALID_PARAMS, "{unknown:#}");
        assert_eq!(unknown["message"], calls[2]["message"], "an invisible tool looks like one that does not exist");
    }
    for (refused, code) in [(&calls[5], "content_blocked"), (&calls[6], "policy_denied")] {
        assert_eq!(refused["is_error"], true, "{refused:#}");
        assert!(refused["text"][0].as_str().is_some_and(|text| text.contains(code)), "no {code}: {refused:#}");
    }
    gateway.stop();

    let refused = site.records(&["--tool", "lab", "--decision", "deny"]);
    assert!(refused.len() >= 2, "{refused:#?}");
    let reasons: Vec<_> = refused.iter().filter_map(|record| record["reason"].as_str()).collect();
    assert!(reasons.contains(&"content_blocked") && reasons.contains(&"policy_denied"), "{reasons:?}");
}

#[test]
fn a_caller_without_a_scope_sees_no_tools_and_calls_none() {
    let Some(peers) = Peers::find() else { return };
    let (_server, address) = peers.serve();
    let site = site(address);
    let gateway = site.start();
    let seen = peers.see(&gateway, &token_for("auth0|bob", "tool:crm:read"), &[r#"echo={"message":"hello"}"#]);
    assert_eq!(seen["tools"], json!([]), "{seen:#}");
    assert_eq!(seen["calls"][0]["error"], INVALID_PARAMS, "{seen:#}");
    gateway.stop();
}

#[test]
fn a_token_that_does_not_verify_stays_an_http_status() {
    let Some(peers) = Peers::find() else { return };
    let (_server, address) = peers.serve();
    let site = site(address);
    let gateway = site.start();
    let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    let answer = gateway.ask(post("/mcp/lab", "not.a.token", list));
    assert_eq!((answer.status, answer.code().as_str()), (401, "invalid_token"));
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Bearer")), "{answer:?}");
    assert_ne!(peers.client(&gateway, "not.a.token", &[]).code, Some(0), "the client is not let in");
    gateway.stop();
}
