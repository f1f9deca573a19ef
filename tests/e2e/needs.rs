//! What operators need, line by line: a gateway without privileges, a second signal that ends it, records that are
//! evidence.

use std::net::Ipv4Addr;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::backend::{Backend, Gate, Then, json as answer_json};
use crate::client::{Client, get};
use crate::process::{Process, wait_for};
use crate::site::{Extra, Gateway, Site, crm, token, token_with};

fn sections(backend: &Backend) -> String {
    format!(
        r#"
{crm}
[[route.tool]]
name = "crm/read"
match = {{ method = "GET", path = "*" }}
verb = "read"
labels = ["patient"]
"#,
        crm = crm(backend)
    )
}

fn site(backend: &Backend) -> Site {
    Site::new(&Extra { sections: &sections(backend), ..Extra::default() })
}

/// The user that owns nothing, as `nobody` is numbered on every distribution.
const NOBODY: u32 = 65_534;

/// Started by somebody without any privilege it serves all the same, and says which tier that makes.
#[test]
fn need_b06_it_serves_without_privileges_and_prints_the_tier() {
    let backend = Backend::plain();
    let site = Site::new(&Extra { sections: &sections(&backend), kernel: Some("mode = \"auto\""), ..Extra::default() });
    let mut command = Command::new(site.path("acp"));
    command.args(["run", "--config"]).arg(site.path("acp.toml")).env_remove("RUST_LOG").env("NO_COLOR", "1");
    // A copy, because the way to the build directory may be closed to others.
    std::fs::copy(env!("CARGO_BIN_EXE_acp"), site.path("acp")).expect("a copy of the gateway");
    let root = std::fs::metadata(site.path("acp")).expect("just written").uid() == 0;
    if root {
        for entry in std::fs::read_dir(site.path("")).expect("the site's directory") {
            chown(entry.expect("an entry").path(), Some(NOBODY), Some(NOBODY)).expect("root may");
        }
        chown(site.path(""), Some(NOBODY), Some(NOBODY)).expect("root may");
        command.uid(NOBODY).gid(NOBODY);
    }
    let gateway = Gateway::of(Process::start(&mut command));
    assert_eq!(gateway.ask(get("/tools/crm/x", &token("auth0|alice"))).status, 200);
    let said = gateway.process.stderr.text();
    assert!(said.contains("kernel plane: K0"), "{said}");
    let metrics = String::from_utf8(gateway.admin("/metrics").body).expect("text");
    assert!(metrics.lines().any(|line| line.starts_with("acp_kernel_tier{tier=\"K0")), "{metrics}");
    gateway.stop();
}

/// The first signal waits for what is under way, the second does not.
#[test]
fn need_b07_a_second_signal_ends_the_process_at_once() {
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |_, stream| if held.pass() { answer_json(stream, "{}") } else { Then::Close });
    let site = site(&backend);
    let mut gateway = site.start();
    let mut client = gateway.connect();
    client.send(get("/tools/crm/x", &token("auth0|alice")));
    wait_for("the request to be under way", || (!backend.received().is_empty()).then_some(()));
    gateway.process.signal("TERM");
    wait_for("the drain", || (gateway.admin("/readyz").status == 503).then_some(()));
    assert!(gateway.process.is_running(), "a request is under way");
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.ended().code(), Some(130), "{}", gateway.process.stderr.text());
    client.assert_closed();
    gate.open();
}

/// The log is written while clients come and go: each closed connection is an event, and a writer that waited for a pause
/// between events would not write a call before the crowd left.
#[test]
fn threat_a04_records_are_written_while_connections_come_and_go() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let alice = token("auth0|alice");
    // Far shorter than a drain's interval, each on a connection of its own.
    let call = || {
        let answer = gateway.ask(get("/tools/crm/x", &alice));
        assert_eq!(answer.status, 200);
        answer.id()
    };
    let crowd: Vec<String> = (0..100).map(|_| call()).collect();
    let last = crowd.last().expect("a hundred");
    wait_for("its last record, in the crowd that follows", || {
        for _ in 0..20 {
            call();
        }
        let log = std::fs::read_to_string(site.path("audit/segment-00000001.jsonl")).expect("the first segment");
        log.contains(last).then_some(())
    });
    gateway.stop();
}

/// Who, from where, by what proof, with which token, decided by what, when on which clock; and what the gateway was.
#[test]
fn need_b13_records_are_evidence() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let token = token_with(|claims| claims["azp"] = json!("chat-app"));
    let answer = gateway.ask(get("/tools/crm/x", &token));
    assert_eq!(answer.status, 200);
    let record = site.record(&answer.id());
    for (field, expected) in [
        ("subject", "auth0|alice"),
        ("tenant", "acme"),
        ("actor", "chat-app"),
        ("auth", "bearer-jwt"),
        ("kid", "test-key"),
    ] {
        assert_eq!(record[field], expected, "{field} of {record}");
    }
    assert!(record["client_address"].as_str().is_some_and(|address| address.starts_with("127.")), "{record}");
    for field in ["issuer", "token", "time", "config", "policy"] {
        assert!(record[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {record}");
    }
    for field in ["mono_ns", "cookie", "keys", "generation"] {
        assert!(record[field].as_u64().is_some_and(|number| number > 0), "{field} of {record}");
    }
    assert!(!record.to_string().contains(&token[token.len() - 40..]), "a token is named, never shown");
    gateway.stop();

    let events = site.records(&["--events"]);
    let of = |kind: &str| events.iter().filter(|event| event["event"] == kind).count();
    assert_eq!((of("start"), of("stop")), (1, 1), "{events:?}");
    let start = events.iter().find(|event| event["event"] == "start").expect("counted above");
    assert_eq!(start["detail"]["version"], env!("CARGO_PKG_VERSION"), "{start}");
    let first = std::fs::read_to_string(site.path("audit/segment-00000001.jsonl")).expect("the first segment");
    let header: Value = serde_json::from_str(first.lines().next().expect("its header")).expect("JSON");
    for field in ["instance", "boot", "version", "key"] {
        assert!(header["segment"][field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {header}");
    }
}

/// Two users of one tenant behind one address: the gateway sees it, and neither is refused for it.
#[test]
fn threat_a01_two_users_of_one_tenant_behind_one_address_are_seen_to_share_it() {
    let backend = Backend::plain();
    let kernel = Some("mode = \"off\"\nloopback = true");
    let site = Site::new(&Extra { sections: &sections(&backend), kernel, ..Extra::default() });
    let gateway = site.start();
    let sources = |class: &str| {
        let metrics = String::from_utf8(gateway.admin("/metrics").body).expect("text");
        let name = format!("acp_kernel_sources{{class=\"{class}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned).expect("a figure")
    };
    let call = |user: &str| {
        let mut client = Client::connect_from(Ipv4Addr::new(127, 8, 8, 8), gateway.address).expect("a connection");
        assert_eq!(client.ask(get("/tools/crm/x", &token(user))).status, 200);
    };
    call("auth0|alice");
    wait_for("the source to be known", || (sources("unknown") == "1").then_some(()));
    call("auth0|bob");
    wait_for("the source to be shared", || (sources("shared") == "1").then_some(()));
    assert_eq!((sources("unknown").as_str(), sources("exclusive").as_str()), ("0", "0"));
    call("auth0|alice");
    gateway.stop();
}
