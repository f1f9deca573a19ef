use std::sync::Arc;

use super::*;
use crate::config::resolved::{ContentAction, Detector, SafetyConfig, SafetyRule, Secret, TokenKey, TokensConfig};
use crate::identity::Authenticated;
use crate::policy::fixtures::identity_of;
use crate::protocol::json::{Limits, Walker};
use crate::safety::rules::RuleSet;
use crate::safety::rules::tests::route;
use crate::safety::tokenise::FOREIGN_TOKEN_RULE;
use crate::safety::tokenise::tests::with_caller;
use crate::safety::{FINDINGS_MAX, screen as screen_content, splice};
use ContentAction::{Block, Flag, Mask, Redact, Tokenize};

fn rules(detect: &[Detector], action: ContentAction, block_score: Option<u8>) -> RuleSet {
    let key = TokenKey { id: "k1".into(), secret: Secret::new(vec![1; 32]), file: "k1".into() };
    let tokens = TokensConfig { keys: vec![key], values_per_hour: 1_000 };
    let rules = vec![SafetyRule::new("rule", detect, action)];
    let config = SafetyConfig { rules, tokens, block_score, ..SafetyConfig::default() };
    RuleSet::compile(&config, &[route(0, "r")]).expect("compiles")
}

fn fields<'h>(all: &[(&'h str, &'h str)]) -> Vec<Field<'h>> {
    all.iter().enumerate().map(|(at, (name, value))| Field { at, name, value: value.as_bytes() }).collect()
}

/// The fields of an answer as they leave, and how much was found.
fn answered(set: &RuleSet, all: &[(&str, &str)]) -> Result<(Vec<String>, u32), ContentRefused> {
    let found = with_caller("idp", |caller| {
        let rules = set.response(0).expect("a route");
        screen_response_fields(caller, fields(all).into_iter(), rules, &[], &mut Scan::default())
    })?;
    let mut values: Vec<_> = all.iter().map(|(_, value)| (*value).to_owned()).collect();
    for FieldEdits { at, edits } in found.edits {
        let mut out = Vec::new();
        splice(values[at].as_bytes(), &edits, &mut out).expect("edits fit");
        values[at] = String::from_utf8(out).expect("UTF-8");
    }
    Ok((values, found.findings.iter().map(|finding| finding.count).sum()))
}

/// A request with this JSON body and these fields.
fn asked(set: &RuleSet, issuer: &str, body: &str, all: &[(&str, &str)]) -> Result<Screened, ContentRefused> {
    let auth = Authenticated::for_test(identity_of(issuer, "alice", &[], &[], serde_json::json!({})));
    let (mut walker, mut scan) = (Walker::new(), Scan::default());
    let document = walker.walk(body.as_bytes(), &Limits::default()).expect("JSON");
    let rules = set.request(0).expect("a route");
    with_caller(issuer, |caller| {
        let screened = screen_content(auth, caller, &Content::body(Body::Json(document)), rules, &mut scan)?;
        screen_fields(screened, caller, fields(all).into_iter(), rules, &mut scan)
    })
}

#[test]
fn threat_a14_what_is_found_in_a_field_is_edited_in_its_value() {
    let all = [
        ("content-type", "application/json"),
        ("x-note", "ssn 078-05-1120, a@b.com"),
        ("etag", "\"abc\""),
        ("x-ssn", "219099999"),
        ("x-bank-bic", "CHASUS33"),
    ];
    let (values, found) = answered(&rules(&Detector::ALL, Redact, None), &all).expect("passes");
    let expected = [
        "application/json",
        "ssn [REDACTED:US_SSN], [REDACTED:EMAIL]",
        "\"abc\"",
        "[REDACTED:US_SSN]",
        "[REDACTED:SWIFT_BIC]",
    ];
    assert_eq!((values, found), (expected.map(str::to_owned).to_vec(), 4));
    let (values, _) = answered(&rules(&Detector::ALL, Mask, None), &all).expect("passes");
    assert_eq!(values[1], "ssn *******1120, ***.com");
    let (values, found) = answered(&rules(&Detector::ALL, Flag, None), &all).expect("passes");
    assert_eq!((&*values[1], found), (all[1].1, 4));
    let refused = answered(&rules(&Detector::ALL, Block, None), &all).expect_err("blocked");
    assert_eq!((refused.reason, refused.rule.as_deref()), (Reason::ContentBlocked, Some("rule")));
    assert!(refused.evidence.places.iter().all(|found| found.place == "header"), "{:?}", refused.evidence);
}

#[test]
fn threat_a24_other_spellings_are_seen_through_in_fields_too() {
    let set = rules(&Detector::ALL, Redact, None);
    for spelled in ["MDc4LTA1LTExMjA=", "%30%37%38-05-1120", "078&ndash;05&#45;1120", "3037382d30352d31313230"] {
        let (values, _) = answered(&set, &[("x-a", "first"), ("x-b", spelled), ("x-c", "last")]).expect("passes");
        assert_eq!(values, ["first", "[REDACTED:US_SSN]", "last"], "{spelled}");
    }
    // Lines of base64 do not go on from one field into the next.
    let line = "eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4IDA3OC0wNS0xMTIw";
    assert_eq!(line.len(), 76);
    let (values, _) = answered(&set, &[("x-a", line), ("etag", "x")]).expect("passes");
    assert_eq!(values[0], "[REDACTED:US_SSN]");
}

#[test]
fn what_is_found_in_a_name_blocks_where_it_would_be_edited() {
    let all = [("078-05-1120", "1")];
    let refused = answered(&rules(&Detector::ALL, Redact, None), &all).expect_err("no name is edited");
    assert_eq!((refused.reason, refused.findings[0].detector), (Reason::ContentBlocked, Detector::UsSsn));
    assert_eq!(answered(&rules(&Detector::ALL, Flag, None), &all).expect("passes").1, 1);
}

/// One field that cannot be searched opens itself, and nothing else.
#[test]
fn a_field_that_passes_unread_leaves_the_rest_searched_and_is_said() {
    let config =
        SafetyConfig { rules: vec![SafetyRule::new("rule", &[Detector::Email], Redact)], ..SafetyConfig::default() };
    let mut open = Arc::try_unwrap(route(0, "open")).expect("nobody else has it");
    open.fails_open = true;
    let set = RuleSet::compile(&config, &[Arc::new(open)]).expect("compiles");
    let full = "a@b.co ".repeat(FINDINGS_MAX + 1);
    let all = [("x-full", &*full), ("x-note", "to a@b.com")];
    let screened = asked(&set, "idp", r#"["c@d.org"]"#, &all).expect("the route fails open");
    assert_eq!(screened.evidence().unscreened, Some(Reason::ScannerFailed));
    let edited: Vec<_> = screened.field_edits().iter().map(|field| field.at).collect();
    assert_eq!((screened.edits().len(), edited), (1, vec![1]));
    let closed = rules(&[Detector::Email], Redact, None);
    assert_eq!(asked(&closed, "idp", "[]", &all).expect_err("it does not").reason, Reason::ScannerFailed);
}

#[test]
fn fields_and_content_are_one_in_findings_places_and_score() {
    let set = rules(&[Detector::Email, Detector::CreditCard], Redact, Some(89));
    let note = [("x-note", "to a@b.com")];
    let screened = asked(&set, "idp", r#"["c@d.org"]"#, &note).expect("passes");
    assert_eq!((screened.findings().len(), screened.findings()[0].count), (1, 2));
    let places: Vec<_> = screened.evidence().places.iter().map(|found| &*found.place).collect();
    assert_eq!(places, ["#/0", "header"]);
    assert_eq!((screened.edits().len(), screened.field_edits()[0].at), (1, 0));
    // A card is 85 and passes, an address beside it makes 89.
    assert!(asked(&set, "idp", "[4111111111111111]", &[]).is_ok());
    let refused = asked(&set, "idp", "[4111111111111111]", &note).expect_err("together they are too grave");
    assert_eq!(
        (refused.reason, refused.rule.as_deref()),
        (Reason::ContentBlocked, Some(crate::safety::BLOCK_SCORE_RULE))
    );
    assert_eq!(refused.evidence.score, 89);
    // What the content said stands where the fields say nothing.
    let alone = asked(&set, "idp", r#"["c@d.org"]"#, &[("accept", "*/*")]).expect("passes");
    assert_eq!((alone.findings()[0].count, alone.field_edits().len()), (1, 0));
}

#[test]
fn threat_a26_a_token_of_another_tenant_is_refused_in_a_field() {
    let set = rules(&[Detector::UsSsn], Tokenize, None);
    let screened = asked(&set, "idp", "[]", &[("x-ssn", "078-05-1120")]).expect("passes");
    let edits = &screened.field_edits()[0].edits;
    let token = String::from_utf8(edits[0].bytes.clone()).expect("ASCII");
    assert!(token.starts_with("acptok.us_ssn.k1."), "{token}");
    let presented = [("x-note", &*token)];
    assert!(asked(&set, "idp", "[]", &presented).expect("its own").field_edits().is_empty());
    let refused = asked(&set, "other", "[]", &presented).expect_err("another tenant's");
    assert_eq!((refused.reason, refused.rule.as_deref()), (Reason::ContentBlocked, Some(FOREIGN_TOKEN_RULE)));
    // Where nothing but tokens is looked for, too.
    let none = rules(&[], Flag, None);
    assert!(none.request(0).expect("a route").is_empty());
    assert!(asked(&none, "other", "[]", &presented).is_err());
}

/// What clients send with every request, and servers with every answer.
#[test]
fn fields_that_everybody_sends_hold_nothing() {
    let set = rules(&Detector::ALL, Block, None);
    let all = [
        (
            "User-Agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        ),
        ("User-Agent", "python-httpx/0.28.1"),
        ("User-Agent", "claude-code/2.0.14 (external, cli)"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"),
        ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
        ("sec-ch-ua", "\"Chromium\";v=\"141\", \"Not?A_Brand\";v=\"8\""),
        ("MCP-Protocol-Version", "2025-06-18"),
        ("Mcp-Session-Id", "550e8400-e29b-41d4-a716-446655440000"),
        ("If-None-Match", "W/\"67ab43-1f4-5f3c7d0a8e2c0\""),
        ("If-Modified-Since", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("tracestate", "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"),
        ("sentry-trace", "771a43a4192642f0b136d5159a501700-7a5bf6e3b8c4d2e1-1"),
        ("baggage", "sentry-environment=production,sentry-release=app%401.2.3"),
        ("x-stainless-runtime-version", "3.12.4"),
        ("retry-after", "120"),
        ("etag", "\"33a64df551425fcc55e4d42a148795d9f25f89d4\""),
        ("last-modified", "Tue, 15 Nov 1994 12:45:26 GMT"),
        ("x-ratelimit-reset", "1731667200"),
    ];
    for field in all {
        let answer = answered(&set, &[field]).expect("passes");
        assert_eq!(answer, (vec![field.1.to_owned()], 0), "{}", field.0);
    }
}

#[test]
fn fields_that_cannot_be_searched_are_refused() {
    let full = "a@b.cc ".repeat(crate::safety::FINDINGS_MAX + 1);
    let refused = answered(&rules(&[Detector::Email], Redact, None), &[("x-a", &full)]).expect_err("too many");
    assert_eq!(refused.reason, Reason::ScannerFailed);
}

/// A scan that remembers looks again wherever the rules, or a byte, are others.
#[test]
fn what_was_clean_is_clean_under_the_same_rules_and_byte_for_byte_only() {
    let compiled = |detect: &[Detector]| {
        let rules = vec![SafetyRule::new("rule", detect, Redact)];
        RuleSet::compile(&SafetyConfig { rules, ..SafetyConfig::default() }, &[route(0, "r")]).expect("compiles")
    };
    let (addresses, numbers) = (compiled(&[Detector::Email]), compiled(&[Detector::UsSsn]));
    let mut scan = Scan::default();
    let found = |scan: &mut Scan, set: &RuleSet, value: &str| {
        with_caller("idp", |caller| {
            let rules = set.response(0).expect("a route");
            let all = fields(&[("x-note", value)]).into_iter();
            let found = screen_response_fields(caller, all, rules, &[], scan).expect("passes");
            found.findings.len()
        })
    };
    for _ in 0..2 {
        assert_eq!(found(&mut scan, &addresses, "ssn 078-05-1120, a at b"), 0);
        assert_eq!(found(&mut scan, &numbers, "ssn 078-05-1120, a at b"), 1, "other rules");
        assert_eq!(found(&mut scan, &addresses, "ssn 078-05-1120, a@b.com"), 1, "other bytes");
    }
    assert_eq!(scan.clean.known.iter().filter(|(id, _)| *id != 0).count(), 1);
    let long = "a".repeat(600);
    assert_eq!((found(&mut scan, &addresses, &long), found(&mut scan, &addresses, "b")), (0, 0));
    assert!(
        scan.clean.known.len() == Clean::HEADS
            && scan.clean.known.iter().all(|(_, text)| text.len() <= Clean::BYTES_MAX)
    );
}
