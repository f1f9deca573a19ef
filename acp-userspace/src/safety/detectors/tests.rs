use std::sync::LazyLock;

use super::*;
use crate::safety::hyperscan::Hyperscan;
use crate::safety::scanner::{Candidates, Family, Scanner};
use crate::safety::shapes::shapes;

static SCANNER: LazyLock<Hyperscan> = LazyLock::new(|| Hyperscan::compile().expect("compiles"));

/// Everything found in one text of the member `key`.
pub(in crate::safety) fn find(text: &[u8], key: Option<&str>) -> Vec<(Detector, Range<usize>)> {
    find_all(text, key).into_iter().map(|(detector, range, _)| (detector, range)).collect()
}

fn find_all(text: &[u8], key: Option<&str>) -> Vec<(Detector, Range<usize>, u8)> {
    let mut found = Vec::new();
    let mut look = |candidate: Candidate, settled| {
        let report = |detector, range, confidence| found.push((detector, range, confidence));
        examine(text, key, candidate, settled, Detectors::all(), report)
    };
    let mut places = shapes(text, Detectors::all());
    while let Some(candidate) = places.next() {
        let settled = look(candidate, places.settled(candidate.anchor));
        places.settle(candidate.anchor, settled);
    }
    for family in [Family::Secrets, Family::Words, Family::Phrases] {
        for candidate in anchors(family, text) {
            look(candidate, 0);
        }
    }
    let key = key.unwrap_or_default();
    for candidate in anchors(Family::Words, key.as_bytes()) {
        let report = |detector, range, confidence| found.push((detector, range, confidence));
        examine_member(text, key, candidate, Detectors::all(), report);
    }
    found.sort_by_key(|(detector, range, _)| (range.start, range.end, *detector));
    found.dedup();
    found
}

pub(super) fn anchors(family: Family, text: &[u8]) -> Vec<Candidate> {
    let mut scratch = SCANNER.scratch().expect("scratch");
    let mut candidates = Candidates::with_room(2 * text.len());
    SCANNER.scan(family, text, &mut scratch, &mut candidates).expect("room for all");
    candidates.sorted().to_vec()
}

#[track_caller]
pub(super) fn check(text: &str, expected: &[(Detector, &str)]) {
    check_in(text, None, expected);
}

#[track_caller]
pub(super) fn check_in(text: &str, key: Option<&str>, expected: &[(Detector, &str)]) {
    let found = find(text.as_bytes(), key);
    let found: Vec<_> = found.iter().map(|(detector, range)| (*detector, &text[range.clone()])).collect();
    assert_eq!(found, expected, "{text:?}");
}

use Detector::{CreditCard, Email, Phone, UsSsn};

#[test]
fn social_security_numbers_are_found_by_their_groups() {
    check("078-05-1120", &[(UsSsn, "078-05-1120")]);
    check("ssn:219 09 9999.", &[(UsSsn, "219 09 9999")]);
    check("078.05.1123", &[(UsSsn, "078.05.1123")]);
    check("a 078-05-1120, b 219-09-9999", &[(UsSsn, "078-05-1120"), (UsSsn, "219-09-9999")]);
    check("12 34 078-05-1120 56 78", &[(UsSsn, "078-05-1120")]);
    for invalid in ["123-00-4567", "123-45-0000", "078-05 1120"] {
        check(invalid, &[]);
    }
    for longer in ["1-078-05-1120", "078-05-1120-1", "x078-05-1120", "078-05-1120x", "AB-078-05-1120", "078-05-11201"] {
        check(longer, &[]);
    }
}

#[test]
fn nine_digits_are_an_ssn_only_when_words_say_so() {
    check("order 219099999", &[]);
    check("My social security number is 219099999", &[(UsSsn, "219099999")]);
    check_in("219099999", Some("userSsn"), &[(UsSsn, "219099999")]);
    check("ssn: 5 5 5 - 1 2 - 3 4 5 6", &[(UsSsn, "5 5 5 - 1 2 - 3 4 5 6")]);
    check("ssn: 219 0999 991", &[]);
    check_in("919099999", Some("ssn"), &[]);
    check_in("219099999", Some("session"), &[]);
}

#[test]
fn cards_are_found_by_network_length_and_luhn() {
    for card in
        ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "3782 822463 10005", "6011000400000000"]
    {
        check(&format!("pay {card}."), &[(CreditCard, card)]);
    }
    for left in ["4111111111111112", "9111111111111111", "4111 1111-1111 1111", "a4111111111111111", "0000000000000000"]
    {
        check(left, &[]);
    }
    check("4111111111111111 12/26 123", &[(CreditCard, "4111111111111111")]);
    check("4111111111111111.25", &[]);
    check("676139680083", &[]);
    check("debit card 676139680083", &[(CreditCard, "676139680083")]);
    check_in("3591566859660887", Some("cardNumber"), &[(CreditCard, "3591566859660887")]);
    check("3591566859660887", &[]);
    check("discord/621234567890123457.svg", &[]);
    check("union pay card 621234567890123457", &[(CreditCard, "621234567890123457")]);
}

#[test]
fn phones_are_found_beside_the_other_numbers() {
    check("at +44 20 7946 0958, please", &[(Phone, "+44 20 7946 0958")]);
    check("(415) 555-0132 or 078-05-1120", &[(Phone, "(415) 555-0132"), (UsSsn, "078-05-1120")]);
    check("+672 10 6609", &[(Phone, "+672 10 6609")]);
    check_in("4155550132", Some("mobile"), &[(Phone, "4155550132")]);
    check_in("4155550132", Some("order"), &[]);
}

#[track_caller]
pub(super) fn check_confidence(text: &str, expected: u8) {
    let found = find_all(text.as_bytes(), None);
    assert_eq!(found.iter().map(|(_, _, confidence)| *confidence).collect::<Vec<_>>(), [expected], "{text:?}");
}

#[test]
fn what_is_found_is_as_sure_as_its_rule() {
    check_confidence("4111 1111 1111 1111", 95);
    check_confidence("debit card 676139680083", 70);
    check_confidence("078-05-1120", 90);
    check_confidence("ssn 078-05-1120", 99);
    check_confidence("ssn 219099999", 80);
    for never_issued in ["000-12-3456", "666-12-3456", "912-34-5678"] {
        check_confidence(never_issued, 40);
        check_confidence(&format!("ssn {never_issued}"), 60);
    }
    check_confidence("a@b.com", 95);
    check_confidence("+44 20 7946 0958", 95);
}

#[test]
fn addresses_are_found_up_to_their_ends() {
    check("mail a.b+c@example.co.uk.", &[(Email, "a.b+c@example.co.uk")]);
    check("<o'neil@x.org>", &[(Email, "o'neil@x.org")]);
    check("j\u{f6}rg@m\u{fc}ller.de", &[(Email, "j\u{f6}rg@m\u{fc}ller.de")]);
    check("\u{90ae}\u{7bb1}a@b.com", &[(Email, "a@b.com")]);
    check("a@xn--d1acufc.xn--p1ai", &[(Email, "a@xn--d1acufc.xn--p1ai")]);
    check("a@b.example.1", &[(Email, "a@b.example")]);
    check("a@b.com, c@d.org", &[(Email, "a@b.com"), (Email, "c@d.org")]);
    for left in ["a@b", "@b.com", "a@.com", "a@b.c", "logo@2x.png", "pkg@1.2.3", "a@-b.com", ".@b.com", "a@b..com"] {
        check(left, &[]);
    }
}

#[test]
fn detectors_never_panic_and_report_ranges_of_the_text() {
    use proptest::prelude::*;
    let alphabet = prop::sample::select("0123456789 -.()+@abx%\u{e9}\u{4e2d}".chars().collect::<Vec<_>>());
    proptest!(|(text in prop::collection::vec(alphabet, 0..120), bytes in prop::collection::vec(any::<u8>(), 0..80))| {
        let text: String = text.into_iter().collect();
        let mut last = 0;
        for (_, range) in find(text.as_bytes(), Some("phone ssn card")) {
            prop_assert!(text.get(range.clone()).is_some_and(|found| !found.is_empty()));
            last = last.max(range.end);
        }
        prop_assert!(last <= text.len());
        find(&bytes, None);
    });
}

#[test]
fn only_wanted_detectors_report() {
    let candidate = Candidate { anchor: Anchor::Digits, end: 10 };
    let wanted = [Detector::Phone].into_iter().collect();
    examine(b"078-05-1120", None, candidate, 0, wanted, |_, _, _| panic!("not wanted"));
}

#[test]
fn every_type_has_a_detector() {
    for detector in Detector::ALL {
        assert!(Detectors::FOUND.contains(detector), "{}", detector.name());
    }
}

#[test]
fn runs_that_are_passed_over_hold_no_number() {
    use proptest::prelude::*;

    let group = "[0-9]{1,4}([ .\\-/()]{1,3}[0-9]{1,4}){0,5}";
    let date = "(19|20)[0-9]{2}-[01][0-9]-[0-3][0-9]([ ./(-]{1,2}[0-9]{2}){0,2}";
    let word = prop::sample::select(vec!["", "phone ", "ssn: ", "card ", "npi (", "+", "A", "x-", "tel. +("]);
    let behind = prop::sample::select(vec!["", "A", "-A", "T10:00", " phone", "x12", ". M", ","]);
    let key = prop::sample::select(vec![None, Some("phone"), Some("ssn"), Some("tax_id")]);
    let passed = std::cell::Cell::new(0);
    proptest!(ProptestConfig::with_cases(4_000), |(word in word, run in prop_oneof![group, date], behind in behind, key in key)| {
        let (text, start) = (format!("{word}{run}{behind}").into_bytes(), word.len());
        if let Some(end) = digits::end_of_date(&text, start).or_else(|| digits::end_if_fewer(&text, start, DIGITS_MIN)) {
            let (context, mut found) = (Context::new(&text, start, key), None);
            let ended = digits::each_window(&text, start, |window| {
                found = found.take().or_else(|| number(window, &context, Detectors::all()));
                1
            });
            prop_assert_eq!((ended, found), (end, None));
            passed.set(passed.get() + 1);
        }
    });
    assert!(passed.get() > 400, "{} were passed over", passed.get());
}
