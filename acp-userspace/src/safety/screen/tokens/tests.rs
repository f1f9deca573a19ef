use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::config::resolved::{Detector, DetokenizeRule, SafetyConfig, SafetyRule, Secret, TokenKey, TokensConfig};
use crate::identity::Authenticated;
use crate::policy::fixtures::identity_of;
use crate::protocol::json::{Limits, Walker};
use crate::reason::Reason;
use crate::safety::tokenise::tests::with_caller;
use crate::safety::tokenise::{BUDGET_RULE, FOREIGN_TOKEN_RULE};
use crate::safety::{ResponseScreened, RuleSet, Screened, rules::tests::route, screen, screen_response, splice};

const SSN: &str = "078-05-1120";

/// Makes tokens of `detect` in answers; the role `billing` may have numbers back in `/customer/ssn` of `crm/contacts`.
fn rules_for(action: ContentAction, detect: &[Detector], values_per_hour: u32) -> RuleSet {
    RuleSet::compile(&config_for(action, detect, values_per_hour), &[route(0, "r")]).expect("compiles")
}

fn config_for(action: ContentAction, detect: &[Detector], values_per_hour: u32) -> SafetyConfig {
    let permit = DetokenizeRule {
        id: "permit".into(),
        detect: vec![Detector::UsSsn],
        tools: vec!["crm/contacts".into()],
        pointers: vec!["/customer/ssn".into()],
        roles: vec!["billing".into()],
        subjects: Vec::new(),
        tenants: Vec::new(),
    };
    let key = TokenKey { id: "k1".into(), secret: Secret::new(vec![1; 32]), file: "k1".into() };
    SafetyConfig {
        rules: vec![SafetyRule::new("rule", detect, action)],
        tokens: TokensConfig { keys: vec![key], values_per_hour },
        detokenize: vec![permit],
        ..SafetyConfig::default()
    }
}

fn rules() -> &'static RuleSet {
    static COMPILED: LazyLock<RuleSet> = LazyLock::new(|| rules_for(ContentAction::Tokenize, &Detector::ALL, 1_000));
    &COMPILED
}

/// What an answer becomes.
fn answer(rules: &RuleSet, issuer: &str, body: &str, restored: &[Restored]) -> Result<String, ContentRefused> {
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("JSON");
    let content = Content::body(Body::Json(document));
    let ResponseScreened { edits, .. } = with_caller(issuer, |caller| {
        screen_response(caller, &content, rules.response(0).unwrap(), restored, &mut Scan::default())
    })?;
    let mut out = Vec::new();
    splice(body.as_bytes(), &edits, &mut out).expect("edits fit");
    Ok(String::from_utf8(out).expect("UTF-8"))
}

/// What a request becomes.
fn request(rules: &RuleSet, issuer: &str, body: &str) -> Result<(String, Screened), ContentRefused> {
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("JSON");
    let screened = screened(rules, issuer, &Content::body(Body::Json(document)))?;
    let mut out = Vec::new();
    splice(body.as_bytes(), screened.edits(), &mut out).expect("edits fit");
    Ok((String::from_utf8(out).expect("UTF-8"), screened))
}

fn screened(rules: &RuleSet, issuer: &str, content: &Content<'_>) -> Result<Screened, ContentRefused> {
    let auth = Authenticated::for_test(identity_of(issuer, "alice", &[], &[], serde_json::json!({})));
    with_caller(issuer, |caller| screen(auth, caller, content, rules.request(0).unwrap(), &mut Scan::default()))
}

fn token_of(rules: &RuleSet, value: &str) -> String {
    let out = answer(rules, "idp", &format!(r#"["{value}"]"#), &[]).expect("passes");
    out[2..out.len() - 2].to_owned()
}

#[test]
fn threat_a26_a_value_comes_back_only_where_it_is_permitted_and_leaves_as_a_token() {
    let rules = rules();
    let token = token_of(rules, SSN);
    assert!(token.starts_with("acptok.us_ssn.k1.") && !token.contains("1120"), "{token}");

    let body = format!(r#"{{"customer":{{"ssn":"{token}","note":"{token}"}},"ssn":"\u0061{}"}}"#, &token[1..]);
    let (sent, call) = request(rules, "idp", &body).expect("passes");
    let expected = format!(r#"{{"customer":{{"ssn":"{SSN}","note":"{token}"}},"ssn":"\u0061{}"}}"#, &token[1..]);
    assert_eq!(sent, expected);
    let finding = call.findings()[0];
    assert_eq!((finding.detector, finding.count, finding.action), (Detector::UsSsn, 1, ContentAction::Detokenize));
    assert_eq!((call.evidence().score, &*call.evidence().places[0].place), (0, "#/customer/ssn"));

    let echo = r#"{"echo":"(078-05-1120)","other":"ssn 219-09-9999","escaped":"\t078-05-112\u0030"}"#;
    let out = answer(&rules_for(ContentAction::Flag, &[Detector::Email], 1_000), "idp", echo, call.restored()).unwrap();
    assert!(out.contains(&format!("({token})")) && out.contains(&format!(r"\t{token}")), "{out}");
    assert!(!out.contains("219-09-9999"), "the type's other values too: {out}");
    let untouched = answer(&rules_for(ContentAction::Flag, &[Detector::Email], 1_000), "idp", echo, &[]).unwrap();
    assert_eq!(untouched, echo, "a call that carried nothing in clear has its answer as the rules leave it");
}

#[test]
fn threat_a26_a_token_of_another_tenant_is_refused_wherever_it_stands() {
    let rules = rules();
    let token = token_of(rules, SSN);
    let rule = |refused: Result<Screened, ContentRefused>| {
        let refused = refused.expect_err("refused");
        (refused.reason, refused.rule.expect("a rule").to_string())
    };
    let expected = (Reason::ContentBlocked, FOREIGN_TOKEN_RULE.to_owned());
    let escaped = format!("\\u0061{}", &token[1..]);
    for body in [format!(r#"["{token}"]"#), format!(r#"{{"{token}":1}}"#), format!(r#"["x {escaped} y"]"#)] {
        assert_eq!(rule(request(rules, "other", &body).map(|(_, screened)| screened)), expected, "{body}");
        assert!(request(rules, "idp", &body).is_ok(), "{body}");
    }
    let none = Content { body: Body::Empty, query: None, path: "" };
    for content in [
        Content { body: Body::Raw(token.as_bytes()), ..none },
        Content { query: Some(&token), ..none },
        Content { path: &token, ..none },
    ] {
        assert_eq!(rule(screened(rules, "other", &content)), expected);
        assert!(screened(rules, "idp", &content).is_ok());
    }
    assert!(answer(rules, "other", &format!(r#"["{token}"]"#), &[]).is_ok(), "in an answer it is text");
}

/// The name of a member cannot be told from its value by a pointer: it stays a token wherever a value would come back.
#[test]
fn threat_a26_the_name_of_a_member_never_comes_back() {
    let rules = rules();
    let token = token_of(rules, SSN);
    let permit = |pointer: String| {
        let mut config = config_for(ContentAction::Tokenize, &Detector::ALL, 1_000);
        config.detokenize[0].pointers = vec![pointer];
        RuleSet::compile(&config, &[route(0, "r")]).expect("compiles")
    };
    let body = format!(r#"{{"customer":{{"{token}":"{token}"}}}}"#);
    for pointer in ["/customer/*".to_owned(), format!("/customer/{token}")] {
        let (sent, _) = request(&permit(pointer.clone()), "idp", &body).expect("passes");
        assert_eq!(sent, format!(r#"{{"customer":{{"{token}":"{SSN}"}}}}"#), "{pointer}");
    }
}

#[test]
fn values_of_few_bytes_are_not_looked_for_in_the_answer() {
    let rules = rules_for(ContentAction::Flag, &[Detector::Email], 1_000);
    let carried = |value: &str| [Restored { detector: Detector::Custom1, value: value.into() }];
    assert_eq!(answer(&rules, "idp", r#"["0abc0"]"#, &carried("abc")).unwrap(), r#"["0abc0"]"#);
    let out = answer(&rules, "idp", r#"["0abcd0"]"#, &carried("abcd")).unwrap();
    assert!(out.starts_with(r#"["0acptok.custom1.k1."#) && out.ends_with(r#"0"]"#), "{out}");
}

#[test]
fn a_token_is_no_finding_itself() {
    let rules = rules();
    let token = token_of(rules, SSN);
    let body = format!(r#"{{"password":"{token}","api_key":"{token}"}}"#);
    assert_eq!(answer(rules, "idp", &body, &[]).unwrap(), body);
    assert_eq!(request(rules, "idp", &body).unwrap().0, body);
}

#[test]
fn exchanged_digits_keep_a_number_a_number() {
    let rules = rules_for(ContentAction::Pseudonymize, &[Detector::CreditCard, Detector::Email], 1_000);
    let body = r#"{"card":4111111111111111,"text":"4111 1111 1111 1111","to":"a@b.co"}"#;
    let out = answer(&rules, "idp", body, &[]).unwrap();
    let json: serde_json::Value = serde_json::from_str(&out).unwrap();
    let card = json["card"].as_u64().expect("a number").to_string();
    assert!(card.len() == 16 && card.ends_with("1111") && card != "4111111111111111", "{card}");
    assert!(json["text"].as_str().is_some_and(|text| text.ends_with(" 1111") && text.len() == 19), "{out}");
    assert_eq!(json["to"], "[REDACTED:EMAIL]", "four letters have too few forms");
    assert_eq!(answer(&rules, "idp", body, &[]).unwrap(), out, "always the same");
}

#[test]
fn threat_a26_values_beyond_the_budget_are_refused() {
    let rules = rules_for(ContentAction::Tokenize, &[Detector::Email], 3);
    let body = |from: u32| {
        let all: Vec<_> = (from..from + 3).map(|n| format!("\"n{n}@example.com\"")).collect();
        format!("[{}]", all.join(","))
    };
    assert!(answer(&rules, "idp", &body(0), &[]).is_ok());
    assert!(answer(&rules, "idp", &body(0), &[]).is_ok(), "known ones cost nothing");
    let refused = answer(&rules, "idp", &body(1), &[]).unwrap_err();
    assert_eq!((refused.reason, refused.rule.as_deref()), (Reason::ContentBlocked, Some(BUDGET_RULE)));
    assert_eq!(refused.findings[0].count, 3);
}

/// A call that carries a value in clear is searched to its end, whatever its route says of others.
#[test]
fn threat_a26_no_value_goes_out_with_content_that_passes_unread() {
    let mut open = std::sync::Arc::try_unwrap(route(0, "r")).expect("nobody else has it");
    open.fails_open = true;
    let config = config_for(ContentAction::Tokenize, &[Detector::Email], 1_000);
    let set = RuleSet::compile(&config, &[std::sync::Arc::new(open)]).expect("compiles");
    let token = token_of(rules(), SSN);
    let body = |ssn: &str| {
        let list = vec!["\"a@b.co\""; crate::safety::FINDINGS_MAX + 1].join(",");
        format!(r#"{{"customer":{{"ssn":"{ssn}"}},"list":[{list}]}}"#)
    };
    let (_, passed) = request(&set, "idp", &body("-")).expect("passes unread");
    assert_eq!(passed.evidence().unscreened, Some(Reason::ScannerFailed));
    let refused = request(&set, "idp", &body(&token)).expect_err("it carries a value");
    assert_eq!(refused.reason, Reason::ScannerFailed);
}

/// Pointers are cut where they are made: one that was may stand for a deeper place, and is permitted nothing.
#[test]
fn threat_a26_a_place_deeper_than_is_permitted_has_no_value_back_however_long_its_names() {
    let rules = rules();
    let token = token_of(rules, SSN);
    let mut config = config_for(ContentAction::Tokenize, &Detector::ALL, 1_000);
    config.detokenize[0].pointers = vec!["/*/*/*".to_owned()];
    let set = RuleSet::compile(&config, &[route(0, "r")]).expect("compiles");
    for len in [1, 60, 64, 65, 300] {
        for (depth, comes_back) in [(1, false), (2, false), (3, true), (4, false), (5, false), (9, false)] {
            let key = format!("{{\"{}\":", "k".repeat(len));
            let body = format!("{}\"{token}\"{}", key.repeat(depth), "}".repeat(depth));
            let (sent, _) = request(&set, "idp", &body).expect("passes");
            // Names of more than 64 bytes print as `*`; what is longer in all than a pointer may be is cut.
            let cut = matches!(len, 60 | 64);
            assert_eq!(sent.contains(SSN), comes_back && !cut, "{depth} levels of {len} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn threat_a26_what_comes_back_is_what_left(
        area in 1..=665_u16, group in 1..=99_u8, serial in 1..=9999_u16, dashed in any::<bool>(),
    ) {
        let rules = rules();
        let dash = if dashed { "-" } else { " " };
        let ssn = format!("{area:03}{dash}{group:02}{dash}{serial:04}");
        let left = answer(rules, "idp", &format!(r#"{{"customer":{{"ssn":"{ssn}"}}}}"#), &[]).unwrap();
        prop_assert!(!left.contains(&ssn));
        let (sent, _) = request(rules, "idp", &left).unwrap();
        prop_assert_eq!(sent, format!(r#"{{"customer":{{"ssn":"{ssn}"}}}}"#));
        prop_assert!(request(rules, "other", &left).is_err());
    }
}

#[test]
fn a_value_in_the_midst_of_letters_is_redacted_for_a_token_would_have_no_end() {
    let body = r#"{"a":"x MDc4LTA1LTExMjA=lcyI6W3sibmFtZSI6"}"#;
    let sent = answer(rules(), "idp", body, &[]).expect("passes");
    assert_eq!(sent, r#"{"a":"x [REDACTED:US_SSN]lcyI6W3sibmFtZSI6"}"#);
    request(rules(), "idp", &sent).expect("comes back");
    let apart = answer(rules(), "idp", r#"{"a":"x MDc4LTA1LTExMjA=.lcyI6"}"#, &[]).expect("passes");
    assert!(apart.contains("acptok.us_ssn."), "{apart}");
    request(rules(), "idp", &apart).expect("comes back");
}
