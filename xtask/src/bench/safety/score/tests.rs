use super::super::corpus::{Label, Scope};
use super::*;

fn kind(name: &str) -> KindId {
    KindId::of_label(name).expect("a kind")
}

fn label(name: &str, range: Range<usize>, weight: Weight) -> Label {
    Label { row: Row::of(kind(name), "", None), range, weight }
}

fn finding(name: &str, range: Range<usize>) -> Finding {
    Finding { kind: kind(name), range, acted_on: true }
}

fn record(labels: Vec<Label>, scope: Scope) -> Record {
    let text = " ".repeat(100);
    Record { text, labels, expected: None, expected_disputed: false, scope, rule: None, file: String::new() }
}

fn score(record: Record, findings: Vec<Finding>) -> Score {
    Score::of(&[record], &[findings])
}

/// Counts of the kind: labels, found, exact, right, wrong.
#[track_caller]
fn check(score: &Score, name: &str, expected: [usize; 5]) {
    let tally = score.rows.get(&Row::of(kind(name), "", None)).copied().unwrap_or_default();
    assert_eq!([tally.labels, tally.found, tally.exact, tally.right, tally.wrong], expected, "{name}");
}

fn iban(range: Range<usize>) -> Record {
    record(vec![label("IBAN", range, Weight::Full)], Scope::All)
}

#[test]
fn a_finding_that_overlaps_by_a_byte_finds_and_one_that_touches_does_not() {
    check(&score(iban(10..20), vec![finding("IBAN", 19..30)]), "IBAN", [1, 1, 0, 1, 0]);
    check(&score(iban(10..20), vec![finding("IBAN", 20..30)]), "IBAN", [1, 0, 0, 0, 1]);
    check(&score(iban(10..20), vec![finding("IBAN", 0..10)]), "IBAN", [1, 0, 0, 0, 1]);
}

#[test]
fn equal_ends_are_exact() {
    check(&score(iban(10..20), vec![finding("IBAN", 10..20)]), "IBAN", [1, 1, 1, 1, 0]);
    check(&score(iban(10..20), vec![finding("IBAN", 10..21)]), "IBAN", [1, 1, 0, 1, 0]);
}

#[test]
fn labels_and_findings_are_counted_apart() {
    let halves = vec![finding("IBAN", 10..14), finding("IBAN", 15..20)];
    check(&score(iban(10..20), halves), "IBAN", [1, 1, 0, 2, 0]);
    let labels = vec![label("IBAN", 10..14, Weight::Full), label("IBAN", 15..20, Weight::Full)];
    check(&score(record(labels, Scope::All), vec![finding("IBAN", 10..20)]), "IBAN", [2, 2, 0, 1, 0]);
}

#[test]
fn another_kind_neither_finds_nor_agrees() {
    let score = score(iban(10..20), vec![finding("EMAIL", 10..20)]);
    check(&score, "IBAN", [1, 0, 0, 0, 0]);
    check(&score, "EMAIL", [0, 0, 0, 0, 1]);
    assert_eq!(score.mistakes.len(), 2);
}

#[test]
fn a_family_s_member_finds_and_a_tolerated_kind_is_only_not_wrong() {
    let passport = record(vec![label("PASSPORT", 0..9, Weight::Full)], Scope::All);
    let score_of_passport = score(passport, vec![finding("US_PASSPORT", 0..9)]);
    check(&score_of_passport, "PASSPORT", [1, 1, 1, 0, 0]);
    check(&score_of_passport, "US_PASSPORT", [0, 0, 0, 1, 0]);
    let address = record(vec![label("ADDRESS", 0..30, Weight::Full)], Scope::All);
    let score_of_address = score(address, vec![finding("LOCATION", 10..20)]);
    check(&score_of_address, "ADDRESS", [1, 0, 0, 0, 0]);
    check(&score_of_address, "LOCATION", [0, 0, 0, 1, 0]);
}

#[test]
fn weak_labels_may_be_missed_and_found() {
    let weak = || record(vec![label("IBAN", 10..20, Weight::Weak)], Scope::All);
    check(&score(weak(), vec![]), "IBAN", [0, 0, 0, 0, 0]);
    check(&score(weak(), vec![finding("IBAN", 10..20)]), "IBAN", [0, 0, 0, 0, 0]);
    check(&score(weak(), vec![finding("IBAN", 30..40)]), "IBAN", [0, 0, 0, 0, 1]);
}

#[test]
fn disputed_labels_are_counted_apart() {
    let disputed = || record(vec![label("IBAN", 10..20, Weight::Disputed)], Scope::All);
    let (missed, found) = (score(disputed(), vec![]), score(disputed(), vec![finding("IBAN", 10..20)]));
    let row = Row::of(kind("IBAN"), "", None);
    let dispute = |found| Some(Dispute { labels: 1, found, unjudged: 0 });
    assert_eq!(missed.disputes.get(&row).copied(), dispute(0));
    assert_eq!(found.disputes.get(&row).copied(), dispute(1));
    check(&found, "IBAN", [0, 0, 0, 0, 0]);
}

#[test]
fn what_its_source_contradicts_or_left_out_is_not_judged() {
    let with = |text: &str, labels: Vec<Label>| Record { text: text.into(), ..record(labels, Scope::All) };
    let value = "GB82WEST12345698765432";
    let labelled = with(value, vec![label("IBAN", 0..22, Weight::Full)]);
    let unlabelled = with(&format!("not {value}"), vec![]);
    let findings = [vec![finding("IBAN", 0..22)], vec![finding("IBAN", 4..26)]];
    let score_of_both = Score::of(&[labelled, unlabelled], &findings);
    check(&score_of_both, "IBAN", [1, 1, 1, 1, 0]);
    assert_eq!(score_of_both.disputes.values().map(|it| it.unjudged).sum::<usize>(), 1);
    let left_out = score(with("P12345678", vec![]), vec![finding("US_PASSPORT", 0..9)]);
    check(&left_out, "US_PASSPORT", [0; 5]);
    assert_eq!(left_out.disputes.values().map(|it| it.unjudged).sum::<usize>(), 1);
}

#[test]
fn outside_of_the_scope_nothing_is_wrong() {
    let emails = || record(vec![], Scope::Kinds(vec![kind("EMAIL")]));
    check(&score(emails(), vec![finding("IBAN", 0..9)]), "IBAN", [0; 5]);
    check(&score(emails(), vec![finding("EMAIL", 0..9)]), "EMAIL", [0, 0, 0, 0, 1]);
}

#[test]
fn partial_labels_count_for_recall_only() {
    let partial = record(vec![label("IBAN", 10..20, Weight::Full)], Scope::Nothing);
    let findings = vec![finding("IBAN", 10..20), finding("IBAN", 30..40)];
    check(&score(partial, findings), "IBAN", [1, 1, 1, 0, 0]);
}

#[test]
fn labels_without_positions_are_found_anywhere_up_to_their_count() {
    let expecting = |count| {
        let mut record = record(vec![], Scope::Nothing);
        record.expected = Some((Row::of(kind("IBAN"), "", None), count));
        record
    };
    check(&score(expecting(1), vec![]), "IBAN", [1, 0, 0, 0, 0]);
    check(&score(expecting(1), vec![finding("EMAIL", 0..9)]), "IBAN", [1, 0, 0, 0, 0]);
    let two = vec![finding("IBAN", 0..9), finding("IBAN", 10..19)];
    check(&score(expecting(1), two.clone()), "IBAN", [1, 1, 0, 0, 0]);
    check(&score(expecting(3), two.clone()), "IBAN", [3, 2, 0, 0, 0]);
    let disputed = score(Record { expected_disputed: true, ..expecting(3) }, two);
    check(&disputed, "IBAN", [0; 5]);
    let dispute = disputed.disputes.values().next().copied();
    assert_eq!(dispute, Some(Dispute { labels: 3, found: 2, unjudged: 0 }));
}

#[test]
fn a_finding_is_counted_in_the_row_of_its_own_form() {
    let mut record = record(vec![], Scope::All);
    record.text = "2025550123 202-555-0123".to_owned();
    let score = score(record, vec![finding("PHONE", 0..10), finding("PHONE", 11..23)]);
    let wrong = |value| score.rows.get(&Row::of(kind("PHONE"), value, None)).map(|tally| tally.wrong);
    assert_eq!((wrong("2025550123"), wrong("202-555-0123")), (Some(1), Some(1)));
    assert_eq!(score.rows.len(), 2);
}

#[test]
fn shares_of_nothing_are_none() {
    let tally = Tally { labels: 4, found: 3, located: 2, exact: 1, right: 0, wrong: 0 };
    assert_eq!((tally.recall(), tally.precision(), tally.exactness()), (Some(0.75), None, Some(0.5)));
}
