use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::config::resolved::{Secret, TokenKey};
use crate::policy::fixtures::identity_of;

const HOUR_NS: u64 = 3_600_000_000_000;

fn key(id: &str, byte: u8) -> TokenKey {
    TokenKey { id: id.into(), secret: Secret::new(vec![byte; 32]), file: "k".into() }
}

fn tokens(keys: Vec<TokenKey>, permits: &[DetokenizeRule]) -> Tokens {
    Tokens::new(&TokensConfig { keys, values_per_hour: 1_000 }, permits).expect("there are keys")
}

/// Tokens under one key.
fn one_key() -> Tokens {
    tokens(vec![key("k1", 1)], &[])
}

/// A tenant of this issuer entry.
pub(in crate::safety) fn with_caller<T>(issuer: &str, use_it: impl FnOnce(&Caller<'_>) -> T) -> T {
    let identity = identity_of(issuer, "alice", &[], &["billing"], serde_json::json!({}));
    let now = Now { wall_ns: 5 * HOUR_NS, mono_ns: 0 };
    use_it(&Caller::new(&identity, "crm/contacts", "", now))
}

/// Another tenant of the issuer `idp`.
fn with_tenant<T>(tenant: &str, use_it: impl FnOnce(&Caller<'_>) -> T) -> T {
    with_caller("idp", |caller| {
        let tenant = TenantId { issuer: caller.tenant.issuer.clone(), tenant: tenant.into() };
        assert_ne!(&tenant, caller.tenant);
        use_it(&Caller { tenant: &tenant, ..*caller })
    })
}

fn open(tokens: &Tokens, caller: &Caller<'_>, text: &str) -> Result<Vec<u8>, TokenRefused> {
    let token = tokens.next(text.as_bytes(), 0).expect("a token");
    tokens.detokenize(caller, &token).map(|restored| restored.value)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn threat_a26_a_token_is_its_tenants_alone(value in prop::collection::vec(any::<u8>(), 0..200)) {
        let tokens = one_key();
        let token = with_caller("idp", |caller| tokens.tokenize(caller, Detector::UsSsn, &value)).unwrap();
        prop_assert_eq!(with_caller("idp", |caller| open(&tokens, caller, &token)), Ok(value.clone()));
        prop_assert_eq!(with_caller("other", |caller| open(&tokens, caller, &token)), Err(TokenRefused::Foreign));
        let neighbour = with_tenant("globex", |caller| open(&tokens, caller, &token));
        prop_assert_eq!(neighbour, Err(TokenRefused::Foreign), "another tenant of the same issuer");
        let other = tokens_of_another_master();
        prop_assert_eq!(with_caller("idp", |caller| open(&other, caller, &token)), Err(TokenRefused::Foreign));
        prop_assert_eq!(with_caller("idp", |caller| one_key().tokenize(caller, Detector::UsSsn, &value)), Ok(token));
    }
}

fn tokens_of_another_master() -> Tokens {
    tokens(vec![key("k1", 2)], &[])
}

#[test]
fn threat_a26_a_token_changed_in_any_character_is_refused() {
    let tokens = one_key();
    with_caller("idp", |caller| {
        let token = tokens.tokenize(caller, Detector::UsSsn, b"078-05-1120").unwrap();
        for at in PREFIX.len()..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            let opened = tokens.next(&changed, 0).map(|token| tokens.detokenize(caller, &token));
            assert!(!matches!(opened, Some(Ok(_))), "{at}");
        }
        let other_type = token.replace("us_ssn", "email");
        assert_eq!(open(&tokens, caller, &other_type), Err(TokenRefused::Foreign));
    });
}

#[test]
fn a_key_that_is_no_longer_the_first_still_opens_its_tokens() {
    let (old, new) = (one_key(), tokens(vec![key("k2", 2), key("k1", 1)], &[]));
    with_caller("idp", |caller| {
        let token = old.tokenize(caller, Detector::Email, b"a@b.com").unwrap();
        assert_eq!(open(&new, caller, &token).unwrap(), b"a@b.com");
        let renewed = new.tokenize(caller, Detector::Email, b"a@b.com").unwrap();
        assert!(renewed.contains(".k2.") && renewed != token);
        assert_eq!(open(&old, caller, &renewed), Err(TokenRefused::Foreign), "a key that is not there");
    });
}

#[test]
fn tokens_are_found_in_text_and_end_where_they_end() {
    let tokens = one_key();
    with_caller("idp", |caller| {
        let token = tokens.tokenize(caller, Detector::Email, b"a@b.com").unwrap();
        for (before, after) in [("", ""), ("acptok. acptok.x ", "."), ("to <", ">"), ("acptok.", "-rest"), ("é", "_")]
        {
            let text = format!("{before}{token}{after} {token}");
            let first = tokens.next(text.as_bytes(), 0).expect(&text);
            assert_eq!(&text[first.range.clone()], token);
            let second = tokens.next(text.as_bytes(), first.range.end).expect(&text);
            assert_eq!(second.range.end, text.len());
            assert_eq!(tokens.next(text.as_bytes(), second.range.end), None);
        }
    });
}

#[test]
fn threat_a26_a_value_goes_only_where_subject_type_tool_and_pointer_are_permitted() {
    let permit = |roles: &[&str], tenants: &[&str], tools: &[&str]| {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        DetokenizeRule {
            id: "permit".into(),
            detect: vec![Detector::UsSsn],
            tools: texts(tools),
            pointers: texts(&["/customer/ssn", "/list/*/ssn"]),
            roles: texts(roles),
            subjects: texts(&["bob"]),
            tenants: texts(tenants),
        }
    };
    let permitted = |permit: DetokenizeRule, detector, pointer: &str| {
        let tokens = tokens(vec![key("k1", 1)], &[permit]);
        with_caller("idp", |caller| tokens.permits(caller, detector, pointer))
    };
    let good = || permit(&["billing"], &[], &["crm/contacts"]);
    assert!(permitted(good(), Detector::UsSsn, "/customer/ssn"));
    assert!(permitted(good(), Detector::UsSsn, "/list/3/ssn"));
    for pointer in ["/customer", "/customer/ssn/x", "/customer/name", "", "/list/ssn", "/list/3/4/ssn"] {
        assert!(!permitted(good(), Detector::UsSsn, pointer), "{pointer}");
    }
    assert!(!permitted(good(), Detector::Email, "/customer/ssn"));
    assert!(!permitted(permit(&["sales"], &[], &["crm/contacts"]), Detector::UsSsn, "/customer/ssn"));
    assert!(!permitted(permit(&["billing"], &[], &["crm/other"]), Detector::UsSsn, "/customer/ssn"));
    assert!(!permitted(permit(&["billing"], &["globex"], &["crm/contacts"]), Detector::UsSsn, "/customer/ssn"));
    assert!(permitted(permit(&["billing"], &["org_acme"], &["crm/contacts"]), Detector::UsSsn, "/customer/ssn"));
    // Pointers are counted from the arguments; what lies beside those is none of them.
    let tokens = tokens(vec![key("k1", 1)], &[good()]);
    let below = |root: &'static str, pointer: &str| {
        with_caller("idp", |caller| tokens.permits(&Caller { root, ..*caller }, Detector::UsSsn, pointer))
    };
    assert!(below("/params/arguments", "/params/arguments/customer/ssn"));
    assert!(!below("/params/arguments", "/customer/ssn"));
}

#[test]
fn threat_a26_values_made_pseudonyms_are_counted_like_tokens() {
    let config = TokensConfig { keys: vec![key("k1", 1)], values_per_hour: 2 };
    let tokens = Tokens::new(&config, &[]).expect("there are keys");
    with_caller("idp", |caller| {
        let exchanged = |value: &str| tokens.pseudonymize(caller, Detector::CreditCard, value);
        let first = exchanged("4111111111111111").expect("the first").expect("has forms enough");
        assert!(exchanged("5500005555555559").is_ok());
        assert_eq!(exchanged("4012888888881881"), Err(TokenRefused::Budget));
        assert_eq!(exchanged("4111111111111111"), Ok(Some(first)), "what is known stays free");
    });
}

#[test]
fn what_is_too_long_for_a_token_is_refused() {
    let tokens = one_key();
    with_caller("idp", |caller| {
        let fits = vec![b'x'; VALUE_BYTES_MAX];
        assert!(tokens.tokenize(caller, Detector::PrivateKey, &fits).is_ok());
        let long = vec![b'x'; VALUE_BYTES_MAX + 1];
        assert_eq!(tokens.tokenize(caller, Detector::PrivateKey, &long), Err(TokenRefused::Length));
    });
}

#[test]
fn keys_are_made_for_tenant_issuer_and_type_and_never_print() {
    let master = Master::new(&Arc::from("k1"), &[1; 32]);
    let tenant = |issuer: &str, tenant: &str| TenantId { issuer: issuer.into(), tenant: tenant.into() };
    let sealed = [
        master.seal(&tenant("a", "bc"), "us_ssn", b"x"),
        master.seal(&tenant("ab", "c"), "us_ssn", b"x"),
        master.seal(&tenant("a", "bd"), "us_ssn", b"x"),
        master.seal(&tenant("b", "bc"), "us_ssn", b"x"),
        master.seal(&tenant("a", "bc"), "email", b"x"),
        Master::new(&Arc::from("k2"), &[1; 32]).seal(&tenant("a", "bc"), "us_ssn", b"x"),
    ];
    for (at, one) in sealed.iter().enumerate() {
        assert!(one.is_some() && !sealed[at + 1..].contains(one));
    }
    assert_eq!(format!("{master:?}"), r#"Master { id: "k1", .. }"#);
}
