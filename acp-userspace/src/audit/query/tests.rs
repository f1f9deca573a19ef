use super::*;
use serde_json::json;

fn record(value: Value) -> Record {
    Record::parse(value.to_string().as_bytes(), Place { segment: 1, line: 2 }).unwrap()
}

fn call(changes: Value) -> Record {
    let mut fields = json!({
        "kind": "request", "id": "req_070707070707070700000001", "time": "2026-11-17T12:00:00.000000Z",
        "decision": "allow", "reason": "allowed", "tenant": "org_acme", "tool": "crm/contacts", "labels": ["patient"]
    });
    fields.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    record(fields)
}

#[track_caller]
fn check(filter: &Filter, record: &Record, expected: bool) {
    assert_eq!(filter.matches_plain(record) && filter.matches_person(record), expected, "{filter:?}\n{record:?}");
}

#[test]
fn each_filter_finds_what_it_names_and_nothing_else() {
    let some = |text: &str| Some(text.to_owned());
    let it = call(json!({}));
    check(&Filter::default(), &it, true);
    check(&Filter { tenant: some("org_acme"), ..Filter::default() }, &it, true);
    check(&Filter { tenant: some("org"), ..Filter::default() }, &it, false);
    check(&Filter { tool: some("crm"), ..Filter::default() }, &it, true);
    check(&Filter { tool: some("crm/contacts"), ..Filter::default() }, &it, true);
    check(&Filter { tool: some("crm/con"), ..Filter::default() }, &it, false);
    check(&Filter { label: some("patient"), ..Filter::default() }, &it, true);
    check(&Filter { label: some("finance"), ..Filter::default() }, &it, false);
    check(&Filter { decision: some("deny"), ..Filter::default() }, &it, false);
    check(&Filter { reason: some("allowed"), ..Filter::default() }, &it, true);
    check(&Filter { user: some("alice"), ..Filter::default() }, &it, false);
    let personal = Personal { subject: "alice".into(), address: "192.0.2.1:5".parse().unwrap() };
    let alices = Record { personal: Some(personal), ..it.clone() };
    check(&Filter { user: some("alice"), ..Filter::default() }, &alices, true);
    check(&Filter { user: some("alic"), ..Filter::default() }, &alices, false);
    let day = |from: &str, to: &str| Interval { from: from.parse().ok(), to: to.parse().ok() };
    let on_the_17th = day("2026-11-17T00:00:00Z", "2026-11-18T00:00:00Z");
    let on_the_16th = day("2026-11-16T00:00:00Z", "2026-11-17T00:00:00Z");
    check(&Filter { interval: on_the_17th, ..Filter::default() }, &it, true);
    check(&Filter { interval: on_the_16th, ..Filter::default() }, &it, false);
}

#[test]
fn events_and_summaries_answer_only_questions_about_them() {
    let event = call(json!({"kind": "event", "event": "start"}));
    check(&Filter::default(), &event, false);
    check(&Filter { events: true, ..Filter::default() }, &event, true);
    let summary = call(json!({"kind": "summary", "decision": "deny", "count": 7}));
    check(&Filter::default(), &summary, true);
    check(&Filter { label: Some("patient".into()), ..Filter::default() }, &summary, false);
    check(&Filter::default(), &call(json!({"kind": "outcome"})), false);
}

#[test]
fn an_intent_waits_for_its_outcome_and_becomes_one_record() {
    let mut joiner = Joiner::default();
    assert!(joiner.push(call(json!({"kind": "intent", "decision": null}))).is_none());
    assert!(joiner.push(call(json!({"kind": "intent", "id": "req_070707070707070700000002"}))).is_none());
    let outcome = json!({
        "kind": "outcome", "id": "req_070707070707070700000001", "time": "2026-11-17T12:00:09.000000Z",
        "decision": "deny", "reason": "content_blocked", "settled_microusd": 5
    });
    let joined = joiner.push(record(outcome.clone())).unwrap();
    assert_eq!(
        (joined.text("kind"), joined.text("decision"), joined.text("tool")),
        ("request", "deny", "crm/contacts")
    );
    assert_eq!(
        (joined.text("time"), joined.text("ended")),
        ("2026-11-17T12:00:00.000000Z", "2026-11-17T12:00:09.000000Z")
    );
    assert_eq!(joiner.push(record(outcome)).unwrap().text("kind"), "outcome", "a second has no intent to join");
    let waiting = joiner.finish();
    assert!(waiting.len() == 1 && waiting[0].is_pending());
}

#[test]
fn a_tally_counts_refusals_by_reason() {
    let mut tally = Tally::default();
    for (decision, reason) in
        [("allow", "allowed"), ("deny", "policy_denied"), ("deny", "policy_denied"), ("error", "internal")]
    {
        tally.add(&call(json!({"decision": decision, "reason": reason})));
    }
    tally.add(&call(json!({"kind": "summary", "count": 40})));
    assert_eq!(
        tally.describe(),
        "4 records, 2 refused (2 policy_denied), 1 failed; 40 more refusals of unverified callers in summaries"
    );
    assert_eq!(Tally::default().describe(), "0 records, 0 refused");
}

#[test]
fn what_is_printed_holds_no_control_character() {
    assert_eq!(value::shown("a\u{1b}[31m\u{202e}\"b\""), "a\\u001b[31m\\u202e\"b\"");
    let line = value::json_line(&call(json!({"tool": "x\u{1b}[2J\u{9b}"})));
    assert!(!line.chars().any(char::is_control));
}
