use super::event::{EventKind, Value};
use super::*;
use crate::audit::record::wire::{Entry, decode, encode_intent, encode_outcome, encode_refusal};
use crate::audit::record::{Call, ENTRY_BYTES_MAX, Layer, Refusal, sample};
use crate::ids::Key128;
use serde_json::{Value as Json, json};

const BOX: SealedBox<'_> = SealedBox { key: 17, text: b"c2VhbGVk" };

fn encoded(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
    let mut buf = vec![0; ENTRY_BYTES_MAX];
    let len = encode(&mut buf);
    buf.truncate(len);
    buf
}

fn request_view(bytes: &[u8]) -> RequestView<'_> {
    let Some(Entry::Request(view)) = decode(bytes) else { panic!("decodes") };
    view
}

/// The one line that `write` makes, parsed and held against the schema.
#[track_caller]
fn line(write: impl FnOnce(&mut Lines)) -> Json {
    let mut lines = Lines::default();
    write(&mut lines);
    assert_eq!(lines.buf.iter().filter(|b| **b == b'\n').count(), 1);
    let record = serde_json::from_slice(&lines.buf).expect("a line is JSON");
    let schema = serde_json::from_str(include_str!("../../../../docs/audit-record.schema.json")).unwrap();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("the schema is one");
    let errors: Vec<String> = validator.iter_errors(&record).map(|e| format!("{e} at {}", e.instance_path())).collect();
    assert!(errors.is_empty(), "{errors:?}\n{record:#}");
    record
}

fn refusal() -> Refusal<'static> {
    Refusal::new(sample::id(9), sample::now(), sample::peer(), Layer::Identity, Reason::InvalidToken)
}

#[test]
fn need_b13_intent_and_outcome_read_as_one_record() {
    let outcome = encoded(|buf| encode_outcome(buf, &sample::outcome()));
    let Some(Entry::Outcome(outcome)) = decode(&outcome) else { panic!("decodes") };
    let intent = sample::with_intent(|intent| encoded(|buf| encode_intent(buf, intent)));
    let record = line(|lines| lines.request(&request_view(&intent), Some(&outcome), BOX));
    let expected: Json = serde_json::from_str(
        r###"{
        "kind": "request", "id": "req_070707070707070700000001",
        "time": "2026-11-23T12:00:00.000000Z", "mono_ns": 5000000000,
        "decision": "allow", "reason": "allowed",
        "tenant": "org_acme", "issuer": "auth0", "actor": "chat-app", "auth": "bearer-jwt", "kid": "kid-1",
        "token": "09090909090909090909090909090909", "sealed": {"key": 17, "box": "c2VhbGVk"}, "cookie": 41, "slot": 3,
        "route": "/tools/crm", "path": "/tools/crm/contacts", "tool": "crm/contacts", "verb": "read",
        "labels": ["patient"], "policies": ["scope:crm/contacts"],
        "findings": [{"type": "email", "count": 2, "confidence": 95, "action": "redact",
            "at": ["#/to/0/\\u{1b}[2J #########"]}], "score": 28,
        "numbers_to_text": 1, "unscreened": "scanner_failed",
        "would": [{"layer": "usage", "rule": "user", "reason": "rate_limited"}],
        "arguments": "1:05050505050505050505050505050505", "price_microusd": 2000,
        "config": "0101010101010101", "policy": "0202020202020202", "keys": 4, "generation": 6,
        "latency_ns":
            {"head": 700, "identity": 60, "body": 900, "safety": 1200, "policy": 150, "usage": 90, "routing": 110},
        "hold": {"id": 77, "held_microusd": 2000, "parts": [["03030303030303030303030303030303", 12, 2000]]},
        "upstream": "crm", "upstream_status": 200, "settled_microusd": 2000,
        "bytes": {"request_in": 1024, "request_out": 1030, "response_in": 512, "response_out": 512},
        "response_findings": [{"type": "phone", "count": 1, "confidence": 70, "action": "flag", "mode": "observe"}],
        "edits": 2, "upstream_ns": 1900000, "total_ns": 3000000
    }"###,
    )
    .unwrap();
    assert_eq!(record, expected);
    assert_eq!(line(|lines| lines.request(&request_view(&intent), None, BOX))["kind"], "intent");
    assert_eq!(line(|lines| lines.outcome(&outcome))["decision"], "allow");
    assert_eq!(line(|lines| lines.unknown(sample::id(1), sample::now(), "process_died"))["outcome"], "unknown");
}

#[test]
fn need_b03_refusals_of_every_kind_fit_the_schema() {
    let labels = ["patient".into()];
    let full = Refusal {
        who: Some(sample::who("auth0|alice")),
        call: Call { route: "/r", path: "/r/*", tool: "crm/contacts", verb: "read", labels: &labels },
        claimed_kid: "k",
        claimed_token: Some(Key128([1; 16])),
        asked: "crm/secrets",
        rule: "user",
        detail: "needs tool:crm:read",
        missing_scopes: &["tool:crm:read"],
        policies: &labels,
        findings: &[sample::finding()],
        price_microusd: 5,
        bytes_in: 1024,
        ..refusal()
    };
    let layers = Layer::ALL.map(|layer| Refusal { layer, ..full });
    for refusal in layers.into_iter().chain([refusal()]) {
        let bytes = encoded(|buf| encode_refusal(buf, &refusal));
        let record = line(|lines| lines.request(&request_view(&bytes), None, BOX));
        assert_eq!((&record["decision"], &record["layer"]), (&json!("deny"), &json!(refusal.layer.name())));
    }
    for reason in Reason::ALL {
        let bytes = encoded(|buf| encode_refusal(buf, &Refusal { reason: *reason, ..refusal() }));
        assert_eq!(line(|lines| lines.request(&request_view(&bytes), None, BOX))["reason"], reason.code());
    }
}

#[test]
fn need_b03_summaries_and_events_fit_the_schema() {
    let ids = Some((sample::id(1), sample::id(9)));
    for cause in [SummaryCause::Flood, SummaryCause::RingFull, SummaryCause::Interrupted] {
        for (reason, ids, source) in [(Some(Reason::InvalidToken), ids, Some(BOX)), (None, None, None)] {
            let summary = Summary { cause, reason, count: 17, ids, source };
            assert_eq!(line(|lines| lines.summary(sample::now(), &summary))["count"], 17);
        }
    }
    for kind in EventKind::ALL {
        let detail = [
            ("version", Value::Text("0.1.0")),
            ("workers", Value::Number(2)),
            ("ok", Value::Bool(true)),
            ("config", Value::Digest(&[1; 32])),
        ];
        assert_eq!(line(|lines| lines.event(sample::now(), kind, &detail))["event"], kind.name());
    }
    line(|lines| lines.event(sample::now(), EventKind::Stop, &[]));
}

/// An SSN and a terminal escape in every text a caller controls.
#[test]
fn threat_a16_a_canary_in_every_callers_text_reaches_no_record() {
    let canary = "078-05-1120\u{1b}[31m";
    let refusal = Refusal { claimed_kid: canary, asked: canary, detail: canary, rule: canary, ..refusal() };
    let bytes = encoded(|buf| encode_refusal(buf, &refusal));
    let mut lines = Lines::default();
    lines.request(&request_view(&bytes), None, BOX);
    lines.event(sample::now(), EventKind::Reload, &[("error", Value::Text(canary))]);
    let text = String::from_utf8(lines.buf).unwrap();
    assert!(!text.contains("078-05-1120") && !text.contains("078051120") && !text.contains('\u{1b}'), "{text}");
    assert!(text.contains("#########"), "the text is there, screened");
}
