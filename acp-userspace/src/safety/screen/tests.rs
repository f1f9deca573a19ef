use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::search::BLOCK_BYTES;
use super::*;
use crate::config::resolved::{SafetyConfig, SafetyRule};
use crate::policy::fixtures::identity_of;
use crate::protocol::json::{Limits, Walker};
use crate::safety::tokenise::tests::with_caller;
use crate::safety::{RuleSet, rules::tests::route, splice, text_as_sent};

/// One rule for all four types; every rule set is compiled once.
fn rules(action: ContentAction, mode: Mode) -> &'static RuleSet {
    static COMPILED: LazyLock<Mutex<HashMap<(ContentAction, bool), &'static RuleSet>>> =
        LazyLock::new(Default::default);
    let mut compiled = COMPILED.lock().expect("no test panics while compiling");
    compiled.entry((action, mode == Mode::Enforce)).or_insert_with(|| Box::leak(Box::new(compile(action, mode))))
}

fn compile(action: ContentAction, mode: Mode) -> RuleSet {
    let rule = SafetyRule { mode, ..SafetyRule::new("rule", &Detector::ALL, action) };
    compiled(SafetyConfig { rules: vec![rule], ..SafetyConfig::default() })
}

fn compiled(config: SafetyConfig) -> RuleSet {
    RuleSet::compile(&config, &[route(0, "r")]).expect("compiles")
}

/// An answer to nobody in particular.
fn screen_response(
    content: &Content<'_>,
    rules: &RouteRules,
    scan: &mut Scan,
) -> Result<ResponseScreened, ContentRefused> {
    with_caller("idp", |caller| super::screen_response(caller, content, rules, &[], scan))
}

fn screened(content: &Content<'_>, action: ContentAction) -> Result<ResponseScreened, ContentRefused> {
    let rules = rules(action, Mode::Enforce);
    screen_response(content, rules.request(0).unwrap(), &mut Scan::default())
}

/// `body` as it is sent under `action`, and how much was found.
#[track_caller]
fn edited(body: &str, action: ContentAction) -> (String, u32) {
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("valid JSON");
    let screened = screened(&Content::body(Body::Json(document)), action).expect("passes");
    let mut out = Vec::new();
    splice(body.as_bytes(), &screened.edits, &mut out).expect("edits fit");
    (String::from_utf8(out).expect("UTF-8"), screened.findings.iter().map(|finding| finding.count).sum())
}

#[track_caller]
fn check(body: &str, action: ContentAction, expected: &str) {
    let (out, found) = edited(body, action);
    assert_eq!(out, expected);
    assert!(found > 0, "{body}");
    Walker::new().walk(out.as_bytes(), &Limits::default()).expect("still valid JSON");
}

use ContentAction::{Block, Flag, Mask, Redact};

#[test]
fn strings_change_where_the_finding_is() {
    check(r#"{"note": "ssn 078-05-1120!"}"#, Redact, r#"{"note": "ssn [REDACTED:US_SSN]!"}"#);
    check(r#"{"note": "ssn 078-05-1120!"}"#, Mask, r#"{"note": "ssn *******1120!"}"#);
    check(r#"["a@b.com and c@d.org"]"#, Redact, r#"["[REDACTED:EMAIL] and [REDACTED:EMAIL]"]"#);
    check(r#"{"a":[{"b":["+14155550132"]}]}"#, Redact, r#"{"a":[{"b":["[REDACTED:PHONE]"]}]}"#);
    check(r#""a@b.com""#, Redact, r#""[REDACTED:EMAIL]""#);
}

/// A token as GitHub makes them, its checksum included.
const TOKEN: &str = "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";

#[test]
fn secrets_are_found_wherever_they_stand() {
    check(&format!(r#"{{"note": "use {TOKEN}"}}"#), Redact, r#"{"note": "use [REDACTED:SECRET]"}"#);
    check(&format!(r#"{{"a":["\n{TOKEN}"]}}"#), Redact, r#"{"a":["\n[REDACTED:SECRET]"]}"#);
    check(r#"{"password": "tR5!kq9Zw2#v"}"#, Redact, r#"{"password": "[REDACTED:SECRET]"}"#);
    check(
        r#"{"url": "postgres://app:tR5kq9Zw2v@db/x"}"#,
        Redact,
        r#"{"url": "postgres://app:[REDACTED:SECRET]@db/x"}"#,
    );
    let query = format!("token={TOKEN}");
    let content = Content { body: Body::Empty, query: Some(&query), path: "" };
    assert_eq!(screened(&content, Redact).expect_err("nothing to edit").reason, Reason::ContentBlocked);
}

#[test]
fn a_secret_on_the_edge_of_a_block_is_found_once() {
    for before in BLOCK_BYTES - 300..BLOCK_BYTES + 20 {
        let body = format!("{} {TOKEN} ", "x".repeat(before));
        let screened = screened(&Content::body(Body::Raw(body.as_bytes())), Redact).expect("passes");
        assert_eq!(screened.edits.len(), 1, "{before}");
        assert_eq!(screened.edits[0].range, before + 1..before + 1 + TOKEN.len(), "{before}");
    }
}

#[test]
fn a_value_under_a_secrets_name_is_reported_once() {
    let (out, found) = edited(&format!(r#"{{"api_key": "{TOKEN}"}}"#), Redact);
    assert_eq!((&*out, found), (r#"{"api_key": "[REDACTED:SECRET]"}"#, 1));
}

#[test]
fn strings_with_escapes_are_searched_unescaped_and_written_anew() {
    check(r#"{"m":"bob\u0040example.com \"\ud83d\ude00"}"#, Redact, "{\"m\":\"[REDACTED:EMAIL] \\\"\u{1f600}\"}");
    check(r#"["0\u00378-05-1120"]"#, Mask, r#"["*******1120"]"#);
    for len in [10, 63, 64, 65, 300] {
        let x = "x".repeat(len);
        let body = format!(r#"["a@b.com \"{x}","c@d.org {x}","\te@f.net {x}",4111111111111111]"#);
        let email = "[REDACTED:EMAIL]";
        let expected = format!(r#"["{email} \"{x}","{email} {x}","\t{email} {x}","[REDACTED:CREDIT_CARD]"]"#);
        check(&body, Redact, &expected);
    }
    check(r#"{"\u006eote":"x","m":"a\u0040b.com\n"}"#, Redact, r#"{"\u006eote":"x","m":"[REDACTED:EMAIL]\n"}"#);
}

#[test]
fn numbers_become_strings() {
    check(r#"{"card":4111111111111111}"#, Redact, r#"{"card":"[REDACTED:CREDIT_CARD]"}"#);
    check(r#"[4111111111111111 ,1]"#, Mask, r#"["************1111" ,1]"#);
    for quantity in
        ["[4111111111111111.0]", r#"{"ssn":219099999e0}"#, r#"{"ssn":219099999E0}"#, r#"{"phone":0.12345678}"#]
    {
        assert_eq!(edited(quantity, Redact).1, 0, "{quantity}");
    }
    check(r#"{"ssn": 219099999}"#, Mask, r#"{"ssn": "*****9999"}"#);
}

#[test]
fn keys_are_edited_unless_two_would_become_one() {
    check(r#"{"a@b.com":1,"x":2}"#, Redact, r#"{"[REDACTED:EMAIL]":1,"x":2}"#);
    check(r#"{"a\u0040b.com":1}"#, Redact, r#"{"[REDACTED:EMAIL]":1}"#);
    let mut walker = Walker::new();
    for body in [r#"{"a@b.com":1,"c@d.org":2}"#, r#"{"[REDACTED:EMAIL]":1,"c@d.org":2}"#] {
        let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
        let refused = screened(&Content::body(Body::Json(document)), Redact).unwrap_err();
        assert_eq!((refused.reason, refused.rule.as_deref()), (Reason::ContentBlocked, Some("rule")));
    }
}

#[test]
fn a_word_in_a_members_name_announces_its_value_and_no_other() {
    check(r#"{"bic": "CHASUS33", "x": "CHASUS33"}"#, Redact, r#"{"bic": "[REDACTED:SWIFT_BIC]", "x": "CHASUS33"}"#);
    check(r#"{"\u0062ic": ["CHASUS33", {}]}"#, Redact, r#"{"\u0062ic": ["[REDACTED:SWIFT_BIC]", {}]}"#);
    check(r#"{"swift/bic": "\tCHASUS33"}"#, Redact, r#"{"swift/bic": "\t[REDACTED:SWIFT_BIC]"}"#);
    check(r#"{"BIC CHASUS33": 1}"#, Redact, r#"{"BIC [REDACTED:SWIFT_BIC]": 1}"#);
    assert_eq!(edited(r#"{"bic": {"x": "CHASUS33"}, "y": "CHASUS33"}"#, Redact).1, 0);
    let far = format!(r#"{{"{}bic": "CHASUS33"}}"#, "x ".repeat(64));
    assert_eq!(edited(&far, Redact).1, 0);
}

#[test]
fn a_flag_changes_nothing_and_a_block_refuses() {
    let body = r#"{"note":"078-05-1120 a@b.com"}"#;
    let (out, found) = edited(body, Flag);
    assert_eq!((out.as_str(), found), (body, 2));
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
    let refused = screened(&Content::body(Body::Json(document)), Block).unwrap_err();
    assert_eq!(refused.reason, Reason::ContentBlocked);
    let counted: Vec<_> = refused.findings.iter().map(|f| (f.detector, f.count, f.action, f.mode)).collect();
    assert_eq!(counted, [(Detector::UsSsn, 1, Block, Mode::Enforce), (Detector::Email, 1, Block, Mode::Enforce)]);
}

#[test]
fn where_findings_overlap_the_strictest_action_covers_both() {
    let rule = |detector, action| SafetyRule::new("rule", &[detector], action);
    let body = b"from 415-555-0132@example.com";
    let content = Content::body(Body::Raw(body));
    let outcome = |phone, email| {
        let rules = vec![rule(Detector::Phone, phone), rule(Detector::Email, email)];
        let rules = compiled(SafetyConfig { rules, ..SafetyConfig::default() });
        let screened = screen_response(&content, rules.request(0).unwrap(), &mut Scan::default()).unwrap();
        let mut out = Vec::new();
        splice(body, &screened.edits, &mut out).unwrap();
        (String::from_utf8(out).unwrap(), screened.findings.len())
    };
    assert_eq!(outcome(Mask, Redact), ("from [REDACTED:EMAIL]".into(), 1), "the number is part of the address");
    assert_eq!(outcome(Redact, Mask), ("from [REDACTED:PHONE]".into(), 2), "its rule is the stricter one");
}

#[test]
fn a_finding_below_every_rules_confidence_is_none() {
    let rule =
        |min_confidence, action| SafetyRule { min_confidence, ..SafetyRule::new("rule", &[Detector::Email], action) };
    let content = Content::body(Body::Raw(b"mail a@b.com"));
    let outcome = |rule| {
        let rules = compiled(SafetyConfig { rules: vec![rule], ..SafetyConfig::default() });
        screen_response(&content, rules.request(0).unwrap(), &mut Scan::default())
    };
    assert_eq!(outcome(rule(96, Block)), Ok(ResponseScreened::default()));
    assert_eq!(outcome(rule(95, Block)).unwrap_err().findings[0].confidence, 95);
}

#[test]
fn a_score_refuses_what_its_parts_would_not() {
    let config = |block_score, score_mode| SafetyConfig {
        rules: vec![SafetyRule::new("rule", &Detector::ALL, Flag)],
        block_score: Some(block_score),
        score_mode,
        ..SafetyConfig::default()
    };
    let content = Content::body(Body::Raw(b"mail a@b.com, card 4111111111111111"));
    let outcome = |block_score, mode| {
        let rules = compiled(config(block_score, mode));
        screen_response(&content, rules.request(0).unwrap(), &mut Scan::default())
    };
    let passed = outcome(100, Mode::Enforce).unwrap();
    let score = passed.evidence.score;
    assert!((80..100).contains(&score) && !passed.evidence.would_block, "{score}");
    let refused = outcome(score, Mode::Enforce).unwrap_err();
    assert_eq!((refused.reason, refused.rule.as_deref()), (Reason::ContentBlocked, Some("safety.block_score")));
    assert_eq!(refused.evidence.score, score);
    assert!(outcome(score, Mode::Observe).unwrap().evidence.would_block);
    assert!(outcome(score + 1, Mode::Enforce).is_ok());
}

#[test]
fn threat_a16_places_are_few_and_hide_found_keys() {
    let body = r#"{"list":[0,{"a@b.com":{"m":"c@d.org and e@f.org","n":"078-05-1120"}}],"q":["g@h.org"]}"#;
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
    let found = |content: &Content<'_>| screened(content, Flag).unwrap().evidence.places;
    let places = found(&Content::body(Body::Json(document)));
    let places: Vec<_> = places.iter().map(|found| (found.detector.name(), &*found.place)).collect();
    let expected = [("email", "#/list/1/*"), ("email", "#/list/1/*/m"), ("us_ssn", "#/list/1/*/n"), ("email", "#/q/0")];
    assert_eq!(places, expected);

    let many = format!("[{}]", vec!["\"a@b.com\""; 100].join(","));
    let document = walker.walk(many.as_bytes(), &Limits::default()).unwrap();
    assert_eq!(found(&Content::body(Body::Json(document))).len(), PLACES_MAX);
    let content = Content { body: Body::Form(b"m=a%40b.com"), query: Some("m=a%40b.com"), path: "users/a@b.com" };
    let places: Vec<_> = found(&content).into_iter().map(|found| found.place).collect();
    assert_eq!(places, ["form", "path", "query"]);
}

#[test]
fn need_b01_an_observed_rule_records_and_lets_pass() {
    let rules = rules(Block, Mode::Observe);
    let content = Content::body(Body::Raw(b"078-05-1120"));
    let screened = screen_response(&content, rules.request(0).unwrap(), &mut Scan::default()).unwrap();
    assert!(screened.edits.is_empty());
    assert_eq!((screened.findings[0].action, screened.findings[0].mode), (Block, Mode::Observe));
}

#[test]
fn no_number_is_made_of_two_tokens() {
    for body in
        [r#"["078-05","1120"]"#, "[4111, 1111, 1111, 1111]", r#"{"4111":"1111 1111 1111"}"#, r#"{"a@":"b.com"}"#]
    {
        let (out, found) = edited(body, Redact);
        assert_eq!((out.as_str(), found), (body, 0));
    }
}

#[test]
fn a_key_tells_what_its_value_is() {
    check(r#"{"phone":"06813195865"}"#, Redact, r#"{"phone":"[REDACTED:PHONE]"}"#);
    check(r#"{"phones":["06813195865"]}"#, Redact, r#"{"phones":["[REDACTED:PHONE]"]}"#);
    assert_eq!(edited(r#"{"phone":null,"id":"06813195865"}"#, Redact).1, 0);
}

#[test]
fn threat_a25_a_name_full_of_words_has_each_item_of_a_list_looked_at_a_few_times() {
    let body = |words: usize| format!(r#"{{"{}mrn":["A123456"]}}"#, "dob ".repeat(words));
    assert_eq!(edited(&body(0), Redact).1, 1);
    assert_eq!(edited(&body(3), Redact).1, 1);
    assert_eq!(edited(&body(4), Redact).1, 0);
}

#[test]
fn raw_bodies_are_edited_byte_for_byte() {
    let body = b"\xff call (415) 555-0132\n\xfe a@b.com";
    let screened = screened(&Content::body(Body::Raw(body)), Redact).unwrap();
    let mut out = Vec::new();
    splice(body, &screened.edits, &mut out).unwrap();
    assert_eq!(out, b"\xff call [REDACTED:PHONE]\n\xfe [REDACTED:EMAIL]");
    assert_eq!(screened.edits[0].pointer, None);
}

#[test]
fn what_cannot_be_edited_is_blocked() {
    let content = |query, path| Content { body: Body::Empty, query, path };
    let blocked = |content: &Content<'_>, action| screened(content, action).map_err(|refused| refused.reason);
    for action in [Redact, Mask, Block] {
        assert_eq!(blocked(&content(Some("q=a%40b.com"), ""), action), Err(Reason::ContentBlocked));
        assert_eq!(blocked(&content(None, "users/a@b.com"), action), Err(Reason::ContentBlocked));
        assert_eq!(blocked(&content(Some("ssn=078%2D05-1120&x=1"), ""), action), Err(Reason::ContentBlocked));
        assert_eq!(blocked(&content(Some("t=%2B1+415+555+0132"), ""), action), Err(Reason::ContentBlocked));
        let form = Content::body(Body::Form(b"x=1&m=a%40b.com"));
        assert_eq!(blocked(&form, action), Err(Reason::ContentBlocked));
    }
    assert_eq!(blocked(&content(Some("q=a%40b.com"), ""), Flag).unwrap().findings[0].count, 1);
    for harmless in
        ["a=0780&b=51120", "x=ssn&b=219099999", "x=ssn;b=219099999", "id=12345678", "x=%", "x=%4", "x=%zz12345678"]
    {
        assert_eq!(blocked(&content(Some(harmless), ""), Block), Ok(ResponseScreened::default()), "{harmless}");
    }
}

#[test]
fn threat_a16_pointers_name_the_place_and_hide_found_keys() {
    let body = r#"{"list":[0,{"a@b.com":{"m":"c@d.org"}}]}"#;
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
    let edits = screened(&Content::body(Body::Json(document)), Redact).unwrap().edits;
    let pointers: Vec<_> = edits.iter().map(|edit| edit.pointer.as_deref()).collect();
    assert_eq!(pointers, [Some("/list/1/*"), Some("/list/1/*/m")]);
}

#[test]
fn policies_can_read_texts_as_they_will_be_sent() {
    let body = r#"{"a":"to a@b.com","b":"a\u0040b.com","c":4111111111111111,"d":"plain"}"#;
    let mut walker = Walker::new();
    let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
    let edits = screened(&Content::body(Body::Json(document)), Redact).unwrap().edits;
    let sent = |key| text_as_sent(document.root().get(key).unwrap(), &edits).unwrap();
    assert_eq!(sent("a"), "to [REDACTED:EMAIL]");
    assert_eq!(sent("b"), "[REDACTED:EMAIL]");
    assert_eq!(sent("c"), "[REDACTED:CREDIT_CARD]");
    assert_eq!(sent("d"), "plain");
}

#[test]
fn findings_beyond_the_bound_refuse() {
    let address = "a@b.co ";
    let fits = address.repeat(FINDINGS_MAX);
    assert_eq!(
        screened(&Content::body(Body::Raw(fits.as_bytes())), Flag).unwrap().findings[0].count,
        FINDINGS_MAX as u32
    );
    let full = address.repeat(FINDINGS_MAX + 1);
    let refused = screened(&Content::body(Body::Raw(full.as_bytes())), Flag).unwrap_err();
    assert_eq!(refused.reason, Reason::ScannerFailed);
}

#[test]
fn a_match_at_every_byte_is_refused_or_searched_whole() {
    for dense in ["a@", "1 ", "1@", "@1 1 1 1 1 1 1 1 "] {
        let body = [dense.repeat(40_000).as_str(), " 078-05-1120"].concat();
        match screened(&Content::body(Body::Raw(body.as_bytes())), Block) {
            Err(refused) => assert!(matches!(refused.reason, Reason::ContentBlocked | Reason::ScannerFailed)),
            Ok(_) => panic!("{dense:?} hid a finding"),
        }
    }
}

#[test]
fn block_borders_hide_nothing() {
    for before in (BLOCK_BYTES - 40..BLOCK_BYTES + 10).chain(2 * BLOCK_BYTES - 80..2 * BLOCK_BYTES) {
        let body = format!("{} 078-05-1120 a@b.com {}", "x".repeat(before), "y".repeat(100));
        let screened = screened(&Content::body(Body::Raw(body.as_bytes())), Redact).unwrap();
        let starts: Vec<_> = screened.edits.iter().map(|edit| edit.range.start - before).collect();
        assert_eq!(starts, [1, 13], "{before}");
    }
}

#[test]
fn what_is_found_in_stretches_is_what_is_found_in_the_whole() {
    let numbers = prop::collection::vec(prop::sample::select(b"0123456789 -.()/+@".to_vec()), 0..60);
    let words =
        prop::sample::select(vec!["", "x", " call ", "card: ", " ssn ", ", of ", "\n", "@b.com", "+1 415-555-0132"]);
    let gap = (0..200_usize).prop_map(|len| "y".repeat(len));
    let part =
        (words, numbers, gap).prop_map(|(word, numbers, gap)| [word.as_bytes(), &numbers, gap.as_bytes()].concat());
    proptest!(|(parts in prop::collection::vec(part, 0..6))| {
        let text = parts.concat();
        let mut scan = Scan::default();
        let rules = rules(Flag, Mode::Enforce).request(0).unwrap();
        screen_response(&Content::body(Body::Raw(&text)), rules, &mut scan).unwrap();
        let found: Vec<_> = scan.hits.iter().map(|hit| (hit.detector, hit.range.clone())).collect();
        prop_assert_eq!(found, crate::safety::detectors::tests::find(&text, None));
    });
}

#[test]
fn what_is_found_twice_is_one_finding() {
    // An address in an address, and one that is told by a word and by its form.
    for text in
        ["Tyson Lanoie lives at 6063 124 Kleomenous Street, Aglantzia (Aglangia)", "SSN 078-05-1120 078-05-1120"]
    {
        let found =
            find(text.as_bytes(), rules(Flag, Mode::Enforce).request(0).unwrap(), &mut Scan::default()).unwrap();
        for (at, one) in found.iter().enumerate() {
            let twice = |other: &&Match| one.detector == other.detector && other.range.start < one.range.end;
            assert_eq!(found[at + 1..].iter().find(twice), None, "{found:?}");
        }
        assert!(!found.is_empty());
    }
    let hit = |detector, range: Range<usize>, confidence| Hit {
        detector,
        place: Place::Raw,
        range,
        confidence,
        is_part: false,
    };
    use Detector::{Email, Phone, UsSsn};
    let mut hits = vec![
        hit(UsSsn, 0..100, 50),
        hit(Email, 10..20, 90),
        hit(Phone, 30..40, 40),
        hit(Phone, 95..105, 40),
        hit(UsSsn, 99..110, 60),
    ];
    search::resolve(&mut hits, rules(Flag, Mode::Enforce).request(0).unwrap());
    let left: Vec<_> = hits.iter().map(|hit| (hit.detector, hit.range.clone(), hit.confidence)).collect();
    assert_eq!(left, [(UsSsn, 0..110, 60), (Email, 10..20, 90)]);
}

/// What cannot be searched passes where the route says so, and never where values have to become tokens again.
#[test]
fn a_route_that_fails_open_says_what_passed_unread() {
    let rule = SafetyRule::new("rule", &Detector::ALL, Redact);
    let config = SafetyConfig { rules: vec![rule], ..SafetyConfig::default() };
    let mut open = Arc::try_unwrap(route(0, "open")).expect("nobody else has it");
    open.fails_open = true;
    let set = RuleSet::compile(&config, &[Arc::new(open), route(1, "closed")]).expect("compiles");
    let full = "a@b.co ".repeat(FINDINGS_MAX + 1);
    let content = Content::body(Body::Raw(full.as_bytes()));
    let screen = |route: usize, content: &Content<'_>, restored: &[Restored]| {
        let rules = set.response(route).expect("a route");
        with_caller("idp", |caller| super::screen_response(caller, content, rules, restored, &mut Scan::default()))
            .map(|screened| (screened.evidence.unscreened, screened.edits.len()))
            .map_err(|refused| refused.reason)
    };
    assert_eq!(screen(0, &content, &[]), Ok((Some(Reason::ScannerFailed), 0)));
    assert_eq!(screen(1, &content, &[]), Err(Reason::ScannerFailed));
    let restored = [Restored { detector: Detector::UsSsn, value: b"078-05-1120".to_vec() }];
    assert_eq!(screen(0, &content, &restored), Err(Reason::ScannerFailed));
    let clean = Content::body(Body::Raw(b"to a@b.co"));
    assert_eq!([screen(0, &clean, &[]), screen(1, &clean, &[])], [Ok((None, 1)), Ok((None, 1))]);

    let ask = |route: usize, content: &Content<'_>| {
        let auth = Authenticated::for_test(identity_of("idp", "alice", &[], &[], json!({})));
        let rules = set.request(route).expect("a route");
        with_caller("idp", |caller| super::screen(auth, caller, content, rules, &mut Scan::default()))
            .map(|screened| (screened.evidence().unscreened, screened.edits().len()))
            .map_err(|refused| refused.reason)
    };
    assert_eq!(ask(0, &content), Ok((Some(Reason::ScannerFailed), 0)));
    assert_eq!(ask(1, &content), Err(Reason::ScannerFailed));
    assert_eq!([ask(0, &clean), ask(1, &clean)], [Ok((None, 1)), Ok((None, 1))]);
}

#[test]
fn numbers_that_become_text_are_counted_and_others_are_not() {
    let count = |body: &str, action| {
        let mut walker = Walker::new();
        let document = walker.walk(body.as_bytes(), &Limits::default()).expect("JSON");
        screened(&Content::body(Body::Json(document)), action).expect("passes").evidence.numbers_to_text
    };
    let body = r#"{"card":4111111111111111,"cards":[5500005555555559,"4012888888881881"],"\u0061":"4111111111111111"}"#;
    assert_eq!([Redact, Mask, Flag].map(|action| count(body, action)), [2, 2, 0]);
}

#[test]
fn requests_keep_their_identity_and_routes_without_rules_pass_unread() {
    let rules = RuleSet::compile(&SafetyConfig::default(), &[route(0, "r")]).unwrap();
    let content = Content::body(Body::Raw(b"078-05-1120"));
    let passed = screen_response(&content, rules.request(0).unwrap(), &mut Scan::default());
    assert_eq!(passed, Ok(ResponseScreened::default()));
}

/// Text with findings, escapes and near misses in it.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("a@b.com".to_owned()),
        Just("078-05-1120".to_owned()),
        Just("4111 1111 1111 1111".to_owned()),
        Just("+14155550132".to_owned()),
        Just("\"\\\n".to_owned()),
        "[ -~]{0,6}",
        "\\PC{0,3}",
    ];
    prop::collection::vec(part, 0..5).prop_map(|parts| parts.concat())
}

/// A body as its kind is: JSON where it is that.
fn content_of<'w>(walker: &'w mut Walker, body: &'w [u8]) -> Content<'w> {
    Content::body(walker.walk(body, &Limits::default()).map_or(Body::Raw(body), Body::Json))
}

/// A line with a value in it, and a word that tells of values: of one line, because a placeholder is shorter than many
/// values, so that words reach further over it.
fn sentence() -> impl Strategy<Value = String> {
    let value = prop::sample::select(vec![
        "a@b.com",
        "078-05-1120",
        "219099999",
        "4111 1111 1111 1111",
        "+1 415-555-0132",
        "12345678",
        "DE89 3704 0044 0532 0130 00",
        "tR5!kq9Zw2#v",
        "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",
        "MDc4LTA1LTExMjA=",
        "10.1.2.3",
        "nothing",
    ]);
    let word =
        prop::sample::select(vec!["", "ssn", "phone", "mrn:", "password =", "secret:", "passport no.", "my card"]);
    let end = prop::sample::select(vec!["\n", ".\n", ", and\n", ";\r\n"]);
    (word, value, end).prop_map(|(word, value, end)| format!("{word} {value}{end}"))
}

/// Every labelled text once redacted.
#[test]
fn nothing_is_found_in_the_texts_of_the_corpora_once_they_were_redacted() {
    let files =
        ["presidio_recognizer_tests", "presidio_evaluator_generated", "secrets_gitleaks", "secrets_detect_secrets"];
    let records = files.into_iter().filter_map(|file| crate::corpora::records(&format!("pii/{file}.jsonl"))).flatten();
    let (mut count, mut left) = (0, Vec::new());
    for record in records {
        let text = crate::corpora::member(&record, "text");
        let edits = screened(&Content::body(Body::Raw(text.as_bytes())), Redact).expect("passes").edits;
        let mut out = Vec::new();
        splice(text.as_bytes(), &edits, &mut out).unwrap();
        let found = screened(&Content::body(Body::Raw(&out)), Redact).expect("passes").findings;
        count += 1;
        if !found.is_empty() {
            left.push(format!("{:?} in {} of {text}", found[0].detector, String::from_utf8_lossy(&out)));
        }
    }
    assert!(left.is_empty(), "{} of {count}:\n{}", left.len(), left.join("\n"));
}

fn value() -> impl Strategy<Value = Value> {
    let number = prop_oneof![Just(json!(4_111_111_111_111_111_u64)), any::<i64>().prop_map(Value::from)];
    prop_oneof![text().prop_map(Value::from), number, Just(Value::Null)].prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    /// What a rule redacted is gone: whoever looks again finds nothing.
    #[test]
    fn nothing_is_found_in_what_was_redacted(parts in prop::collection::vec(sentence(), 0..8), quoted in any::<bool>()) {
        let text = parts.concat();
        let body = if quoted { json!({ "note": text }).to_string() } else { text };
        let mut walker = Walker::new();
        let before = content_of(&mut walker, body.as_bytes());
        let edits = screened(&before, Redact).expect("passes").edits;
        let mut out = Vec::new();
        splice(body.as_bytes(), &edits, &mut out).unwrap();
        let mut walker = Walker::new();
        let found = screened(&content_of(&mut walker, &out), Redact).expect("passes").findings;
        prop_assert!(found.is_empty(), "{:?} in {}", found, String::from_utf8_lossy(&out));
    }

    #[test]
    fn edits_leave_valid_json_of_the_same_shape(
        value in value(),
        ascii in any::<bool>(),
        action in prop::sample::select(vec![Redact, Mask]),
    ) {
        let mut body = value.to_string();
        if ascii {
            body = body.replace('@', "\\u0040");
        }
        let mut walker = Walker::new();
        let document = walker.walk(body.as_bytes(), &Limits::default()).unwrap();
        let rules = rules(action, Mode::Enforce);
        let mut scan = Scan::default();
        let content = Content::body(Body::Json(document));
        let Ok(screened) = screen_response(&content, rules.request(0).unwrap(), &mut scan) else { return Ok(()) };
        let mut out = Vec::new();
        splice(body.as_bytes(), &screened.edits, &mut out).unwrap();
        let mut again = Walker::new();
        let sent = again.walk(&out, &Limits::default()).expect("valid JSON");
        prop_assert_eq!(sent.nodes().count(), document.nodes().count());
        for (before, after) in document.nodes().zip(sent.nodes()) {
            if let Some(text) = text_as_sent(before, &screened.edits) {
                prop_assert_eq!(Some(text.as_ref()), after.text());
            }
        }
    }
}

mod arrays;
mod evasion;
mod linear;
mod media;
mod properties;
