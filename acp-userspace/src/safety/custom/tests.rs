use regex::bytes::Regex;

use super::*;
use crate::config::resolved::{ContentAction, SafetyConfig, SafetyRule};
use crate::protocol::json::{Limits, Walker};
use crate::reason::Reason;
use crate::safety::tokenise::tests::with_caller;
use crate::safety::{Evidence, FINDINGS_MAX, RuleSet, Scan, rules::tests::route, screen_response, splice, validators};

fn form(detector: Detector, regex: &str, context: &[&str], validator: Option<&str>) -> CustomDetector {
    CustomDetector {
        detector,
        regex: Regex::new(regex).expect("a regex"),
        context: context.iter().map(|word| (*word).to_owned()).collect(),
        validator: validator.map(|name| validators::by_name(name).expect("a validator")),
        confidence: 80,
    }
}

/// One rule for these forms.
fn config(detectors: Vec<CustomDetector>, action: ContentAction) -> SafetyConfig {
    let detect: Vec<_> = detectors.iter().map(|form| form.detector).collect();
    SafetyConfig { rules: vec![SafetyRule::new("rule", &detect, action)], detectors, ..SafetyConfig::default() }
}

/// `body` with what these forms find redacted, and the evidence.
fn redacted(detectors: Vec<CustomDetector>, body: &str) -> (String, Evidence) {
    let rules = RuleSet::compile(&config(detectors, ContentAction::Redact), &[route(0, "r")]).unwrap();
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("JSON");
    let content = Content::body(Body::Json(document));
    let screened = with_caller("idp", |caller| {
        screen_response(caller, &content, rules.response(0).unwrap(), &[], &mut Scan::default())
    });
    let screened = screened.expect("passes");
    let mut out = Vec::new();
    splice(body.as_bytes(), &screened.edits, &mut out).expect("edits fit");
    (String::from_utf8(out).expect("UTF-8"), screened.evidence)
}

#[track_caller]
fn check(forms: Vec<CustomDetector>, body: &str, expected: &str) {
    assert_eq!(redacted(forms, body).0, expected);
}

#[test]
fn a_form_is_found_in_strings_keys_and_numbers() {
    let employee = || vec![form(Detector::Custom1, "E[0-9]{5}", &[], None)];
    check(employee(), r#"{"a":"by E12345, E1234"}"#, r#"{"a":"by [REDACTED:CUSTOM1], E1234"}"#);
    check(employee(), r#"{"E12345":1}"#, r#"{"[REDACTED:CUSTOM1]":1}"#);
    check(employee(), r#"["\u004512345"]"#, r#"["[REDACTED:CUSTOM1]"]"#);
    check(vec![form(Detector::Custom8, "77[0-9]{4}", &[], None)], "[771234]", r#"["[REDACTED:CUSTOM8]"]"#);
    let (_, evidence) = redacted(employee(), r#"{"list":["E12345"]}"#);
    assert_eq!((&*evidence.places[0].place, evidence.score), ("#/list/0", 48));
}

#[test]
fn words_and_validators_decide() {
    let badge = || vec![form(Detector::Custom2, "[0-9]{6}", &["badge"], None)];
    check(badge(), r#"["Badge no. 123456"]"#, r#"["Badge no. [REDACTED:CUSTOM2]"]"#);
    check(badge(), r#"{"badge_ids":["123456"]}"#, r#"{"badge_ids":["[REDACTED:CUSTOM2]"]}"#);
    let far = format!(r#"["badge {} 123456"]"#, "x".repeat(CONTEXT_BYTES));
    check(badge(), &far, &far);
    let luhn = || vec![form(Detector::Custom3, "[0-9]{8}", &[], Some("LUHN"))];
    check(luhn(), r#"["18250001","18250002"]"#, r#"["[REDACTED:CUSTOM3]","18250002"]"#);
}

#[test]
fn more_findings_than_there_is_room_for_are_an_error() {
    let found = |times| {
        let text = "E12345 ".repeat(times);
        let config = config(vec![form(Detector::Custom1, "E[0-9]{5}", &[], None)], ContentAction::Flag);
        let rules = RuleSet::compile(&config, &[route(0, "r")]).unwrap();
        let content = Content::body(Body::Raw(text.as_bytes()));
        let rules = rules.response(0).unwrap();
        with_caller("idp", |caller| screen_response(caller, &content, rules, &[], &mut Scan::default()))
            .map(|screened| screened.findings[0].count)
            .map_err(|refused| refused.reason)
    };
    assert_eq!(found(FINDINGS_MAX), Ok(FINDINGS_MAX as u32));
    assert_eq!(found(FINDINGS_MAX + 1), Err(Reason::ScannerFailed));
    assert_eq!(found(5 * FINDINGS_MAX), Err(Reason::ScannerFailed));
}

#[test]
fn threat_a24_a_form_is_found_in_what_a_text_stands_for() {
    let employee = || vec![form(Detector::Custom1, "E[0-9]{5}", &[], None)];
    check(employee(), r#"["by RTEyMzQ1IFNtaXRo, E%31%32345"]"#, r#"["by [REDACTED:CUSTOM1], [REDACTED:CUSTOM1]"]"#);
    check(employee(), r#"["&#69;12345 E1\u200b2345"]"#, r#"["[REDACTED:CUSTOM1] [REDACTED:CUSTOM1]"]"#);
    check(employee(), r#"{"E\u0661\u0662345":1}"#, r#"{"[REDACTED:CUSTOM1]":1}"#);
}

#[test]
fn a_form_that_is_split_over_items_of_an_array_is_found_in_each() {
    let employee = || vec![form(Detector::Custom1, "EMP-[0-9]{6}", &[], None)];
    check(employee(), r#"["EMP-","123456"]"#, r#"["[REDACTED:CUSTOM1]","[REDACTED:CUSTOM1]"]"#);
    check(employee(), r#"["EMP","123456"]"#, r#"["EMP","123456"]"#);
}
