use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;

use super::*;
use crate::audit::chain::hex;
use crate::audit::files;
use crate::audit::json::event::EventKind;
use crate::audit::record::{Call, Decision, Intent, Layer, Outcome, Refusal, sample};
use crate::audit::ring::RingWriter;
use crate::audit::seal::Owner;
use crate::audit::seal::keyfile::Keyfile;
use crate::clock::Now;
use crate::config::resolved::{AuditConfig, Durability};
use crate::control::audit_writer::{AuditWriter, Opened};
use crate::reason::Reason;

/// The records are of Tuesday 2026-11-17 and the days around it; it is the Monday after.
const NOW: &str = "2026-11-23T11:00:00Z";
const HOUR: u64 = 3_600_000_000_000;
const CANARY: &str = "078-05-1120";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: AuditArgs,
}

/// Exit code, and what was printed on both sides.
fn acp(dir: &Path, args: &[&str]) -> (u8, String, String) {
    let dir = dir.to_str().unwrap();
    let line = ["acp"].into_iter().chain(args.iter().copied()).chain(["--dir", dir]);
    let cli = Cli::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
    let (mut out, mut aside) = (Vec::new(), Vec::new());
    let mut output = Output { out: &mut out, aside: &mut aside, colour: false };
    let code = run(&cli.args, NOW.parse().unwrap(), &mut output).unwrap_or_else(|error| panic!("{error:#}"));
    (code, String::from_utf8(out).unwrap(), String::from_utf8(aside).unwrap())
}

fn hours(n: i64) -> Now {
    // Noon UTC of Tuesday 2026-11-17.
    let tuesday = sample::NOON_NS - 6 * 24 * HOUR;
    Now { wall_ns: tuesday.saturating_add_signed(n * HOUR as i64), mono_ns: 100 * 24 * HOUR + sample::NOON_NS / 1000 }
}

fn call(worker: &RingWriter, n: u32, subject: &str, tool: &str, label: &str, now: Now, reason: Reason) {
    let labels: [Arc<str>; 1] = [label.into()];
    let open = sample::with_intent(|intent| {
        let who = sample::who(subject);
        let call = Call { tool, labels: &labels, ..intent.call };
        let request_id = sample::id(n);
        worker.reserve(who.tenant_key).unwrap().intent(&Intent { request_id, now, who, call, ..*intent })
    });
    open.outcome(&Outcome { request_id: sample::id(n), reason, decision: Decision::of(reason), ..sample::outcome() });
}

/// A log over two segments: calls of alice and bob, refusals, a flood, a call under way, events.
fn log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let config = AuditConfig {
        dir: dir.path().to_owned(),
        durability: Durability::Batch,
        ring_bytes: 1 << 20,
        segment_bytes: 6000,
        segment_age: Duration::from_secs(1 << 30),
        min_free_bytes: 0,
        head_interval: Duration::from_secs(60),
    };
    let Opened { mut writer, rings, .. } = AuditWriter::open(&config, 1, hours(-30)).unwrap();
    writer.event(hours(-30), EventKind::Start, &[]);
    let worker = rings[0].attach().unwrap();
    call(&worker, 1, "auth0|alice", "crm/contacts", "patient", hours(-25), Reason::Allowed);
    writer.drain(hours(-25));
    call(&worker, 2, "auth0|alice", "crm/contacts", "patient", hours(0), Reason::Allowed);
    call(&worker, 3, "auth0|bob", "crm/contacts", "patient", hours(1), Reason::ContentBlocked);
    call(&worker, 4, "auth0|bob", "ledger/read", "finance", hours(1), Reason::Allowed);
    let refusal = Refusal::new(sample::id(5), hours(2), sample::peer(), Layer::Policy, Reason::InsufficientScope);
    let refusal = Refusal {
        who: Some(sample::who("auth0|bob")),
        call: Call { tool: "crm/contacts", labels: &["patient".into()], ..Call::default() },
        missing_scopes: &["tool:crm:read"],
        rule: "route /tools/crm",
        asked: CANARY,
        detail: CANARY,
        ..refusal
    };
    worker.refusal(&refusal).unwrap();
    for n in 100..150 {
        let bad = Refusal::new(sample::id(n), hours(3), sample::peer(), Layer::Identity, Reason::InvalidToken);
        worker.refusal(&Refusal { claimed_kid: CANARY, ..bad }).unwrap();
    }
    writer.drain(hours(3));
    call(&worker, 6, "auth0|carol", "crm/contacts", "patient", hours(13), Reason::Allowed);
    let slow = sample::with_intent(|intent| {
        let intent = Intent { request_id: sample::id(7), now: hours(14), ..*intent };
        worker.reserve(intent.who.tenant_key).unwrap().intent(&intent)
    });
    writer.drain(hours(14));
    std::mem::forget(slow);
    writer.close(hours(15)).unwrap();
    assert!(dir.path().join(files::segment(2)).exists(), "the log has more than one segment");
    dir
}

#[test]
fn who_used_patient_data_last_tuesday_and_what_was_refused() {
    let log = log();
    let (code, out, _) = acp(log.path(), &["query", "--label", "patient", "--since", "last tuesday", "--tz", "UTC"]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(code, 0);
    assert_eq!(lines[0], "from Tuesday 2026-11-17 00:00:00 UTC until Wednesday 2026-11-18 00:00:00 UTC");
    assert!(lines[1].starts_with("TIME"));
    let row = |n: usize| lines[n].split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(row(2).starts_with(
        "2026-11-17 12:00:00.000 allow allowed auth0|alice org_acme crm/contacts patient email×2 redact,"
    ));
    assert!(row(3).starts_with("2026-11-17 13:00:00.000 deny content_blocked auth0|bob org_acme crm/contacts patient"));
    assert!(row(4).contains("deny insufficient_scope auth0|bob"));
    assert_eq!(lines[5], "3 records, 2 refused (1 content_blocked, 1 insufficient_scope)");
    assert_eq!(lines.len(), 6);
}

#[test]
fn each_question_gets_its_answer() {
    let log = log();
    let ask = |args: &[&str]| {
        let args: Vec<&str> =
            ["query", "--tz", "UTC", "--format", "json"].into_iter().chain(args.iter().copied()).collect();
        let (_, out, aside) = acp(log.path(), &args);
        let ids: Vec<u64> = out
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
            .filter_map(|record| u64::from_str_radix(record["id"].as_str()?.get(20..)?, 16).ok())
            .collect();
        (ids, aside.lines().last().unwrap_or_default().to_owned())
    };
    assert_eq!(ask(&["--user", "auth0|alice"]).0, [1, 2, 7]);
    assert_eq!(ask(&["--user", "auth0|bob", "--decision", "deny"]).0, [3, 5]);
    assert_eq!(ask(&["--tool", "ledger"]).0, [4]);
    assert_eq!(ask(&["--tenant", "org_other"]).0, [0; 0]);
    assert_eq!(ask(&["--reason", "insufficient_scope"]).0, [5]);
    assert_eq!(ask(&["--label", "patient", "--since", "2026-11-18"]).0, [6, 7]);
    assert_eq!(ask(&["--label", "patient", "--until", "2026-11-16"]).0, [1]);
    let (_, all) = ask(&[]);
    assert_eq!(
        all,
        "17 records, 12 refused (10 invalid_token, 1 content_blocked, 1 insufficient_scope); 40 more refusals of unverified callers in summaries"
    );
}

#[test]
fn need_b11_show_explains_a_denial_a_call_under_way_and_a_counted_refusal() {
    let log = log();
    let show = |n: u32| acp(log.path(), &["show", &sample::id(n).to_string(), "--tz", "UTC"]);
    let (code, out, _) = show(5);
    assert_eq!(code, 0);
    for expected in [
        "req_070707070707070700000005  DENY",
        "why         insufficient_scope: The token lacks a scope the route needs. (HTTP 403)",
        "layer       policy",
        "rule        route /tools/crm",
        "missing     tool:crm:read",
        "who         auth0|bob of org_acme (vouched for by auth0), through chat-app",
        "from        203.0.113.7:40001, socket cookie 41, kernel slot 3",
    ] {
        assert!(out.contains(expected), "{expected} in\n{out}");
    }
    assert!(show(7).1.contains("OPEN") && show(7).1.contains("not in the log yet"));
    assert!(show(2).1.contains("price $0.002, held $0.002 (hold 77), settled $0.002"));
    let (code, out, aside) = show(149);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(aside.contains("one of 40 refusals (invalid_token) of a flood from 203.0.113.7"), "{aside}");
    let (code, _, aside) = show(9999);
    assert_eq!((code, aside.contains("no record of")), (1, true));
    let (_, json, _) = acp(log.path(), &["show", &sample::id(5).to_string(), "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["subject"], &json["client_address"]), (&"auth0|bob".into(), &"203.0.113.7:40001".into()));
}

#[test]
fn verify_finds_a_changed_byte_a_removed_record_and_a_cut_tail() {
    let log = log();
    let verify = |args: &[&str]| {
        let args: Vec<&str> = ["verify"].into_iter().chain(args.iter().copied()).collect();
        let (code, out, _) = acp(log.path(), &args);
        (code, out)
    };
    let (code, out) = verify(&[]);
    assert_eq!(code, 0, "{out}");
    assert!(out.starts_with("The log holds: 19 records in"), "{out}");

    let segment = log.path().join(files::segment(1));
    let whole = std::fs::read_to_string(&segment).unwrap();
    std::fs::write(&segment, whole.replacen("org_acme", "org_acne", 1)).unwrap();
    let (code, out) = verify(&[]);
    assert_eq!(code, 1);
    assert!(out.starts_with("The log does not hold: segment 1, line ") && out.contains("changed"), "{out}");
    let line = whole.lines().nth(3).unwrap();
    std::fs::write(&segment, whole.replacen(&format!("{line}\n"), "", 1)).unwrap();
    assert_eq!(verify(&[]).0, 1);
    std::fs::write(&segment, &whole).unwrap();
    assert_eq!(verify(&[]).0, 0);

    // A head kept elsewhere; then the log is rolled back to the end of its first segment, head.json with it.
    let head = std::fs::read(log.path().join(files::HEAD)).unwrap();
    let kept = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &head);
    let older = whole.lines().rfind(|line| line.starts_with("{\"head\":")).unwrap();
    std::fs::write(log.path().join(files::HEAD), older).unwrap();
    for number in 2.. {
        if std::fs::remove_file(log.path().join(files::segment(number))).is_err() {
            break;
        }
    }
    assert_eq!(verify(&[]).0, 0, "a whole beginning looks whole from inside");
    let (code, out) = verify(&["--head", &kept]);
    assert_eq!((code, out.contains("tail was cut off")), (1, true), "{out}");
    let file = log.path().join("kept-head");
    std::fs::write(&file, &head).unwrap();
    assert_eq!(verify(&["--head", file.to_str().unwrap()]).0, 1);
}

#[test]
fn a_missing_or_truncated_segment_is_found() {
    let log = log();
    let second = log.path().join(files::segment(2));
    let whole = std::fs::read(&second).unwrap();
    std::fs::remove_file(&second).unwrap();
    let (code, out, _) = acp(log.path(), &["verify"]);
    assert_eq!(code, 1, "{out}");
    std::fs::write(&second, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(acp(log.path(), &["verify"]).0, 1);
}

#[test]
fn need_b14_erasing_a_subject_leaves_the_log_whole_and_the_person_unnamed() {
    let log = log();
    let path = log.path().join(files::KEYS);
    let mut bytes = std::fs::read(&path).unwrap();
    let (mut keys, _) = Keyfile::parse(&bytes).unwrap();
    let bob = sample::who("auth0|bob");
    let index = Owner::Subject { tenant: bob.tenant_key, user: bob.user_key }.index(keys.index_key());
    let (offset, entry) = keys.erase(index).unwrap();
    bytes[offset as usize..offset as usize + entry.len()].copy_from_slice(&entry);
    std::fs::write(&path, &bytes).unwrap();

    assert_eq!(acp(log.path(), &["verify"]).0, 0);
    let (_, out, _) = acp(log.path(), &["query", "--tz", "UTC", "--label", "finance"]);
    assert!(out.contains("(erased)") && !out.contains("bob"), "{out}");
    let (_, out, _) = acp(log.path(), &["query", "--tz", "UTC", "--user", "auth0|bob"]);
    assert!(out.ends_with("0 records, 0 refused\n"), "{out}");
    std::fs::remove_file(&path).unwrap();
    let (_, out, _) = acp(log.path(), &["query", "--tz", "UTC", "--label", "finance"]);
    assert!(out.contains("(sealed)"), "{out}");
}

#[test]
fn threat_a16_a_canary_reaches_neither_files_nor_output_and_people_are_sealed_on_disk() {
    let log = log();
    let (_, mut text, _) = acp(log.path(), &["query", "--tz", "UTC", "--events", "--format", "json"]);
    text.push_str(&acp(log.path(), &["query", "--tz", "UTC"]).1);
    text.push_str(&acp(log.path(), &["show", &sample::id(5).to_string()]).1);
    let mut disk = Vec::new();
    for entry in std::fs::read_dir(log.path()).unwrap() {
        disk.extend(std::fs::read(entry.unwrap().path()).unwrap());
    }
    text.push_str(&String::from_utf8_lossy(&disk));
    for hidden in [CANARY, "078051120", &hex(CANARY.as_bytes())] {
        assert!(!text.contains(hidden), "{hidden}");
    }
    // The call under way was drained too: what was in the ring is in the log, sealed, and zeroed in the ring.
    for person in ["alice", "bob", "carol", "203.0.113.7"] {
        assert!(!disk.windows(person.len()).any(|w| w == person.as_bytes()), "{person} is on disk in clear");
    }
}

#[test]
fn a_directory_without_a_log_or_a_bad_id_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let dir_text = dir.path().to_str().unwrap();
    for line in [vec!["acp", "query"], vec!["acp", "verify"], vec!["acp", "show", "req_070707070707070700000001"]] {
        let cli = Cli::try_parse_from(line.into_iter().chain(["--dir", dir_text])).unwrap();
        let (mut out, mut aside) = (Vec::new(), Vec::new());
        let mut output = Output { out: &mut out, aside: &mut aside, colour: false };
        let error = run(&cli.args, NOW.parse().unwrap(), &mut output).unwrap_err();
        assert!(format!("{error:#}").contains("there are no segments"), "{error:#}");
    }
    assert!(Cli::try_parse_from(["acp", "query", "--decision", "maybe"]).is_err());
}
