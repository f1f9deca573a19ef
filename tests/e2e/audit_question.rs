//! "Who used patient data through the AI, and what was refused?": answered from a log that real calls made; and a log
//! that somebody changed is caught.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::backend::Backend;
use crate::client::{Answer, Client, get, post};
use crate::process::{acp, run};
use crate::site::{Extra, Gateway, Site, crm, token, token_for};

const PATIENT: &str = "/tools/crm/patients/4711";
const NOTES: &str = "/tools/crm/notes";

/// Prices in micro-dollars, as the configuration below has them.
const PATIENT_PRICE: u64 = 3_000;
const NOTES_PRICE: u64 = 4_500;
const CONTACTS_PRICE: u64 = 2_000;

fn sections(backend: &Backend) -> String {
    format!(
        r#"
[[safety.rule]]
detect = ["us_ssn"]
action = "block"
direction = "request"
[[usage.budget]]
per = "user"
max_spend = "5 USD"
period = "30d"
{crm}
[[route.tool]]
name = "crm/patients"
match = {{ method = "GET", path = "patients/*" }}
verb = "read"
price = "0.003 USD"
labels = ["patient"]
[[route.tool]]
name = "crm/notes"
match = {{ method = "POST", path = "notes" }}
verb = "read"
price = "0.0045 USD"
labels = ["patient", "free-text"]
[[route.tool]]
name = "crm/contacts"
match = {{ method = "POST", path = "contacts" }}
verb = "read"
price = "0.002 USD"
labels = ["customer"]
"#,
        crm = crm(backend)
    )
}

/// A gateway with no signed head in its log but the first and the last.
#[track_caller]
fn site(backend: &Backend) -> Site {
    Site::new(&Extra { sections: &sections(backend), ..Extra::default() })
}

/// What was done, and the request ids of the refusals.
struct Story {
    blocked: String,
    unscoped: String,
    spent: u64,
}

/// Alice reads and writes patient data, once with a number that is blocked; Bob lacks the scope; Carol uses other data.
#[track_caller]
fn live(gateway: &Gateway) -> Story {
    let (alice, carol) = (token("auth0|alice"), token("auth0|carol"));
    let bob = token_for("auth0|bob", "tool:jira:read");
    let mut client = gateway.connect();
    for _ in 0..3 {
        expect(client.ask(get(PATIENT, &alice)), 200);
    }
    expect(client.ask(post(NOTES, &alice, r#"{"note":"feels better"}"#)), 200);
    let blocked = expect(client.ask(post(NOTES, &alice, r#"{"note":"SSN 536-22-1894"}"#)), 403);
    assert_eq!(blocked.code(), "content_blocked");
    expect(client.ask(post("/tools/crm/contacts", &carol, "{}")), 200);
    let unscoped = client.ask(get(PATIENT, &bob));
    assert!(matches!(unscoped.status, 403 | 404), "{unscoped:?}");
    let spent = 3 * PATIENT_PRICE + NOTES_PRICE + CONTACTS_PRICE;
    Story { blocked: blocked.id(), unscoped: unscoped.id(), spent }
}

#[track_caller]
fn expect(answer: Answer, status: u16) -> Answer {
    assert_eq!(answer.status, status, "{answer:?}");
    answer
}

/// The values of a field, sorted.
fn all<'a>(records: &'a [Value], field: &str) -> Vec<&'a str> {
    let mut values: Vec<_> = records.iter().map(|record| record[field].as_str().unwrap_or("")).collect();
    values.sort_unstable();
    values
}

#[test]
fn one_query_says_who_used_patient_data_and_what_was_refused() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let story = live(&gateway);
    gateway.stop();

    let records = site.records(&["--label", "patient", "--since", "today", "--tz", "UTC"]);
    assert_eq!(records.len(), 6, "{records:#?}");
    assert_eq!(all(&records, "decision"), ["allow", "allow", "allow", "allow", "deny", "deny"]);
    assert!(records.iter().all(|record| record["tool"] != "crm/contacts"), "no other data");

    let table = site.query(&["--label", "patient", "--since", "today", "--tz", "UTC"]);
    for word in ["auth0|alice", "auth0|bob", "crm/patients", "crm/notes", "content_blocked", "6 records, 2 refused"] {
        assert!(table.contains(word), "no {word} in:\n{table}");
    }
    assert!(!table.contains("536-22-1894"), "the log keeps no blocked values");

    let refused = site.records(&["--label", "patient", "--decision", "deny", "--since", "today", "--tz", "UTC"]);
    let mut ids = [story.blocked.as_str(), story.unscoped.as_str()];
    ids.sort_unstable();
    assert_eq!(all(&refused, "id"), ids);
    assert_eq!(site.records(&["--label", "patient", "--user", "auth0|bob"]).len(), 1);
}

#[test]
fn last_tuesday_is_a_tuesday_of_the_past_and_not_today() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    live(&gateway);
    gateway.stop();
    let table = site.query(&["--label", "patient", "--since", "last tuesday", "--tz", "Europe/Berlin"]);
    let interval = table.lines().next().unwrap_or_default();
    assert!(interval.starts_with("from Tuesday ") && interval.contains(" until Wednesday "), "{interval}");
    assert!(table.contains("0 records, 0 refused"), "{table}");
}

#[test]
fn need_b11_a_refusal_is_explained_by_its_id() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let story = live(&gateway);
    gateway.stop();
    let said = site.acp(&["audit", "show", &story.blocked], "--dir", "audit");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    for word in ["DENY", "content_blocked", "auth0|alice", "crm/notes", "us_ssn", "safety"] {
        assert!(said.stdout.contains(word), "no {word} in:\n{}", said.stdout);
    }
    let unknown = site.acp(&["audit", "show", "req_000000000000000000000000"], "--dir", "audit");
    assert_eq!(unknown.code, Some(1), "{}", unknown.stderr);
}

#[test]
fn the_ledger_is_the_sum_of_prices() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let story = live(&gateway);
    gateway.stop();
    let said = site.acp(&["usage", "spent", "--total"], "--ledger", "ledger.redb");
    assert_eq!(said.stdout.trim(), story.spent.to_string(), "{}", said.stderr);
    let settled: u64 = site.records(&["--since", "today", "--tz", "UTC"]).iter().filter_map(settled).sum();
    assert_eq!(settled, story.spent, "log and ledger agree");
}

fn settled(record: &Value) -> Option<u64> {
    record["settled_microusd"].as_u64()
}

/// The log's last segment.
#[track_caller]
fn last_segment(site: &Site) -> PathBuf {
    let entries = std::fs::read_dir(site.path("audit")).expect("the log's directory");
    let paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let segments = paths.filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.max().expect("a segment")
}

#[track_caller]
fn verify(site: &Site, more: &[&str]) -> (Option<i32>, String) {
    let said = site.acp(&[&["audit", "verify"], more].concat(), "--dir", "audit");
    (said.code, said.stdout + &said.stderr)
}

/// A site whose gateway ran and was stopped, its last segment, and a copy of the signed head kept elsewhere.
#[track_caller]
fn closed_log() -> (Site, PathBuf, PathBuf) {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    live(&gateway);
    gateway.stop();
    assert_eq!(verify(&site, &[]).0, Some(0), "untouched: {}", verify(&site, &[]).1);
    let kept = site.path("kept-head.json");
    std::fs::copy(site.path("audit/head.json"), &kept).expect("a signed head");
    let segment = last_segment(&site);
    (site, segment, kept)
}

#[test]
fn a_changed_byte_is_caught_and_its_line_named() {
    let (site, segment, _) = closed_log();
    let mut bytes = std::fs::read(&segment).expect("the segment");
    let needle = b"\"decision\":\"deny\"";
    let at = bytes.windows(needle.len()).position(|window| window == needle).expect("a refusal in the log");
    let (before, behind) = bytes.split_at(at);
    let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
    let block = behind.windows(9).position(|window| window == b"\n{\"block\"").expect("the record's block");
    // Records are hashed block by block; the line that names the hash is the one that does not hold.
    let line = lines(before) + lines(&behind[..=block]) + 1;
    bytes[at + needle.len() - 2] ^= 1;
    std::fs::write(&segment, &bytes).expect("the segment is ours");
    let (code, said) = verify(&site, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("line {line}:")), "not line {line}: {said}");
}

#[test]
fn need_b15_a_cut_tail_is_caught_by_a_head_kept_elsewhere() {
    let (site, segment, kept) = closed_log();
    let text = std::fs::read_to_string(&segment).expect("the segment");
    let block = text.lines().position(|line| line.starts_with("{\"block\"")).expect("a block");
    let cut: String = text.lines().take(block + 1).flat_map(|line| [line, "\n"]).collect();
    assert!(cut.len() < text.len(), "something is behind the first block");
    std::fs::write(&segment, cut).expect("the segment is ours");
    let (code, said) = verify(&site, &["--head", path(&kept)]);
    assert_eq!(code, Some(1), "{said}");
}

fn path(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn a_running_gateway_can_be_asked_and_verified() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let story = live(&gateway);
    assert_eq!(site.record(&story.blocked)["reason"], "content_blocked");
    assert_eq!(verify(&site, &[]).0, Some(0), "{}", verify(&site, &[]).1);
    let mut client: Client = gateway.connect();
    expect(client.ask(get(PATIENT, &token("auth0|alice"))), 200);
    let said = run(acp().args(["usage", "spent", "--ledger"]).arg(site.path("ledger.redb")));
    assert_eq!(said.code, Some(1), "the ledger is the running gateway's: {}", said.stdout);
    gateway.stop();
}
