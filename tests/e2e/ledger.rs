//! The connection ledger, from outside: what is open now, and what the log says of what has closed.

use serde_json::Value;

use crate::backend::Backend;
use crate::client::post;
use crate::process::wait_for;
use crate::site::{Extra, Site, reading, token};

fn site(backend: &Backend) -> Site {
    let sections = reading(backend, "POST") + "\n";
    Site::new(&Extra { sections: &sections, kernel: Some("mode = \"auto\""), ..Extra::default() })
}

fn connections(site: &Site, options: &[&str]) -> Vec<Value> {
    let said = site.acp(&[&["kernel", "connections", "--format", "json"], options].concat(), "--socket", "admin.sock");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn an_open_connection_is_listed_with_its_tenant_and_bytes_and_a_closed_one_is_in_the_log() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let body = r#"{"q":"0123456789"}"#;
    let mut client = gateway.connect();
    let silent = gateway.connect();
    for _ in 0..3 {
        assert_eq!(client.ask(post("/tools/crm/x", &token("auth0|alice"), body)).status, 200);
    }
    let rows = wait_for("both connections", || Some(connections(&site, &[])).filter(|rows| rows.len() == 2));
    let [row] = &connections(&site, &["--tenant", "acme", "--sort", "in"])[..] else {
        panic!("one is acme's: {rows:?}")
    };
    assert!(row["bytes_in"].as_u64().expect("a number") > 3 * body.len() as u64, "{row}");
    assert!(row["bytes_out"].as_u64().expect("a number") > 0, "{row}");
    assert_eq!(connections(&site, &["--tenant", "-"]).len(), 1, "{rows:?}");
    let table = site.acp(&["kernel", "connections"], "--socket", "admin.sock");
    assert!(table.stdout.starts_with("PEER") && table.stdout.contains(" acme "), "{}", table.stdout);

    let cookie = row["cookie"].clone();
    drop((client, silent));
    let closed = wait_for("the connection's record", || {
        site.records(&["--events"]).into_iter().find(|it| it["detail"]["cookie"] == cookie)
    });
    assert_eq!(closed["event"], "connection_closed");
    assert_eq!(closed["detail"]["audited_in"], 3 * body.len(), "{closed}");
    assert!(closed["detail"]["bytes_in"].as_u64() >= closed["detail"]["audited_in"].as_u64(), "{closed}");
    assert_eq!(gateway.metric("acp_kernel_ledger_breaches_total"), 0);
    wait_for("no connection", || connections(&site, &[]).is_empty().then_some(()));
    gateway.stop();
}

#[test]
fn top_shows_tenants_as_the_log_counts_them_and_refusals_by_layer() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let mut client = gateway.connect();
    for _ in 0..3 {
        assert_eq!(client.ask(post("/tools/crm/x", &token("auth0|alice"), "{}")).status, 200);
    }
    assert_eq!(client.ask(post("/tools/crm/x", "no.token.here", "{}")).status, 401);
    // NAME /s /s SENT REFUSED CONNECTIONS ...
    let row = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(name))?;
        Some(line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    };
    let text = wait_for("the log's count", || {
        let said = site.acp(&["top", "--once", "--interval", "0.2"], "--socket", "admin.sock");
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        row(&said.stdout, "acme").filter(|row| row[3] == "3").map(|_| said.stdout)
    });
    let acme = row(&text, "acme").expect("a row");
    assert_eq!(acme[3..6], ["3", "0", "1"], "{text}");
    assert_eq!(row(&text, "(unverified)").expect("a row")[4], "1", "{text}");
    assert_eq!(row(&text, "identity").expect("a row")[2], "1", "{text}");
    assert!(text.starts_with("ready"), "{text}");
    gateway.stop();
    let gone = site.acp(&["top", "--once"], "--socket", "admin.sock");
    assert_eq!(gone.code, Some(1), "{}", gone.stdout);
    assert!(gone.stderr.contains("cannot reach a gateway"), "{}", gone.stderr);
}
