//! Types of one's own, and values that the call of an answer carried in clear, in streams.

use regex::bytes::Regex;

use super::*;
use crate::config::resolved::{CustomDetector, Secret, TokenKey, TokensConfig};

fn form(detector: Detector, regex: &str, context: &[&str]) -> CustomDetector {
    let context = context.iter().map(|word| (*word).to_owned()).collect();
    CustomDetector { detector, regex: Regex::new(regex).expect("a regex"), context, validator: None, confidence: 80 }
}

/// Forms of one's own: one like an identifier, one of plain words whose matches stand side by side, one that ends where its
/// word does.
pub(super) fn rules_of_forms() -> &'static RouteRules {
    static COMPILED: LazyLock<RuleSet> = LazyLock::new(|| {
        let detectors = vec![
            form(Detector::Custom1, "EMP-[0-9]{6}", &["badge", "hunter"]),
            form(Detector::Custom2, "[a-z]{3,5} [a-z]{3}", &[]),
            form(Detector::Custom3, r"\b[0-9]{5}\b", &[]),
        ];
        let rules =
            vec![SafetyRule::new("rule", &detectors.iter().map(|form| form.detector).collect::<Vec<_>>(), Redact)];
        let config = SafetyConfig { rules, detectors, ..SafetyConfig::default() };
        RuleSet::compile(&config, &[route(0, "r")]).expect("compiles")
    });
    COMPILED.response(0).expect("one route")
}

#[test]
fn a_form_of_ones_own_is_found_wherever_it_is_cut() {
    let text = "the badge is EMP-123456, EMP-12345 or EMP-1234567.";
    for at in 0..=text.len() {
        check_text(text, &[at]);
    }
    let stream = chat(["the badge is EM", "P-123", "456, fine"]);
    let outcome = screened_by(StreamKind::Events, [stream.as_bytes()], rules_of_forms());
    assert_eq!(content(&outcome.out), "[REDACTED:CUSTOM2]ge is [REDACTED:CUSTOM1], fine");
    for words in ["one two three ", "abcde fgh ", "a badge EMP-123456 of EMP-654321 12345 ", "12345 "] {
        let text = words.repeat(300);
        check_text(&text, &(0..text.len()).step_by(7).collect::<Vec<_>>());
    }
}

fn with_tokens() -> &'static RouteRules {
    static COMPILED: LazyLock<RuleSet> = LazyLock::new(|| {
        let key = TokenKey { id: "k1".into(), secret: Secret::new(vec![1; 32]), file: "k".into() };
        let tokens = TokensConfig { keys: vec![key], values_per_hour: 1_000 };
        let rules = vec![SafetyRule::new("rule", &[Detector::Email], Redact)];
        RuleSet::compile(&SafetyConfig { rules, tokens, ..SafetyConfig::default() }, &[route(0, "r")])
            .expect("compiles")
    });
    COMPILED.response(0).expect("one route")
}

/// A text in an answer to a call that carried `value`, in pieces and as plain text: nothing of the value leaves, and what a
/// client puts together is what the whole would have become.
#[track_caller]
fn check_restored(text: &str, value: &str, places: &[usize]) {
    let restored = [Restored { detector: Detector::UsSsn, value: value.as_bytes().to_vec() }];
    with_caller("idp", |caller| {
        let raw = Content::body(Body::Raw(text.as_bytes()));
        let screened = screen_response(caller, &raw, with_tokens(), &restored, &mut Scan::default()).unwrap();
        let mut expected = Vec::new();
        splice(text.as_bytes(), &screened.edits, &mut expected).unwrap();
        let expected = String::from_utf8(expected).unwrap();
        assert!(expected.contains("acptok.us_ssn.k1.") && !expected.contains(value), "{expected}");
        let (mut walker, mut scan) = (Walker::new(), Scan::default());
        let mut tools = Tools::new(with_tokens(), caller, &restored, &mut walker, &mut scan);
        let outcome = run(StreamKind::Events, [chat(cut(text, places)).as_bytes()], &mut tools);
        assert_eq!((content(&outcome.out), outcome.refused), (expected.clone(), None), "cut at {places:?}");
        let outcome = run(StreamKind::Text, text.as_bytes().chunks(3), &mut tools);
        assert_eq!((String::from_utf8(outcome.out).unwrap(), outcome.refused), (expected, None));
    });
}

#[test]
fn threat_a26_what_a_call_carried_becomes_a_token_again_however_the_answer_comes() {
    let text = "The SSN on file is 078-05-1120, and it stays 078-05-1120.";
    for at in 0..=text.len() {
        check_restored(text, "078-05-1120", &[at, at + 3]);
    }
    // A value of plain words, longer than anything that a detector finds.
    let long = "words of a letter, written by hand, ".repeat(40);
    let text = format!("{}{long}{}{long}", "it says ".repeat(200), "and then ".repeat(200));
    for step in [1, 11, 500] {
        check_restored(&text, &long, &(0..text.len()).step_by(step).collect::<Vec<_>>());
    }
}
