//! A cached token is judged on every request as if it were new, and the caches keep to their bounds (THREATS A6, A22).

use super::*;

#[test]
fn threat_a06_a_bad_signature_is_remembered_for_five_seconds_and_nothing_else_is() {
    let mut bench = Bench::new();
    let forged = OTHER_K1.sign(&claims(json!({}))).unwrap();
    let early = bench.token(json!({"nbf": T + 100}));
    let unknown = K2.sign(&claims(json!({}))).unwrap();
    for now in [T, T + 4, T + 5] {
        assert_eq!(bench.send(&forged, now).unwrap_err(), IdentityError::BadSignature);
        assert_eq!(bench.send(&early, now).unwrap_err(), IdentityError::NotYetValid);
        assert_eq!(bench.send(&unknown, now).unwrap_err().reason(), Reason::UnknownKey);
    }
    assert_eq!(bench.cache.counts().refused_again, 1);
    assert_eq!(bench.send(&early, T + 100).map(drop), Ok(()));
}

#[test]
fn a_remembered_refusal_ends_when_the_keys_change() {
    let mut bench = Bench::new();
    let token = OTHER_K1.sign(&claims(json!({}))).unwrap();
    assert_eq!(bench.send(&token, T).unwrap_err(), IdentityError::BadSignature);
    bench.publish(&OTHER_K1.jwks());
    bench.send(&token, T).unwrap();
}

/// Sends the token until it sits in both caches, applies `change`, and expects the same refusal from both.
#[track_caller]
fn check_cached(change: impl Fn(&mut Bench), now: u64, expected: Result<(), Reason>) {
    for forget_connection in [false, true] {
        let mut bench = Bench::new();
        let token = bench.token(json!({"jti": "j1"}));
        for _ in 0..2 {
            bench.send(&token, T).unwrap();
        }
        assert_eq!(bench.cache.counts(), CacheCounts { connection_hits: 1, cold: 1, ..CacheCounts::default() });
        change(&mut bench);
        if forget_connection {
            bench.last.clear();
        }
        let found = bench.send(&token, now).map(drop).map_err(|error| error.reason());
        assert_eq!(found, expected, "connection forgotten: {forget_connection}");
    }
}

#[test]
fn threat_a06_a_cached_token_is_judged_again_on_every_request() {
    check_cached(|_| {}, T + 629, Ok(()));
    check_cached(|_| {}, T + 630, Err(Reason::ExpiredToken));
    check_cached(|bench| bench.route = route(&["https://other.test"]), T, Err(Reason::WrongAudience));
    check_cached(|bench| bench.route = route(&["https://other.test", "https://api.test"]), T, Ok(()));
    // The wall clock steps back before iat.
    check_cached(|_| {}, T - 31, Err(Reason::TokenNotYetValid));
    check_cached(|bench| bench.config.token_lifetime_max = Duration::from_secs(599), T, Err(Reason::TokenLifetime));
}

#[test]
fn a_cached_token_can_be_revoked_by_itself_its_subject_or_its_key() {
    let revoke = |revocation: Revocation| {
        move |bench: &mut Bench| bench.revoked = Revocations::new([revocation.clone()]).unwrap()
    };
    let user = UserId { issuer: "idp".into(), subject: "auth0|8f3a".into() };
    let token = |id: &str| Revocation::Token { issuer: "idp".into(), token_id: id.into() };
    let subject = |issued_until| Revocation::Subject { user: user.clone(), issued_until };
    let key = |kid: &str| Revocation::Key { issuer: "idp".into(), kid: kid.into() };
    check_cached(revoke(token("j1")), T, Err(Reason::RevokedToken));
    check_cached(revoke(token("j2")), T, Ok(()));
    check_cached(revoke(subject(T)), T, Err(Reason::RevokedToken));
    check_cached(revoke(subject(T - 1)), T, Ok(()));
    check_cached(revoke(key("k1")), T, Err(Reason::RevokedToken));
    check_cached(revoke(key("k2")), T, Ok(()));
}

#[test]
fn a_revoked_key_is_refused_cold_before_any_signature_is_checked() {
    let mut bench = Bench::new();
    bench.revoked = Revocations::new([Revocation::Key { issuer: "idp".into(), kid: "k1".into() }]).unwrap();
    bench.check(json!({}), T, Err(Reason::RevokedToken));
    assert!(bench.cache.is_empty());
}

#[test]
fn a_cached_token_ends_with_its_key_or_its_issuer_entry() {
    check_cached(|bench| bench.publish(&K2.jwks()), T, Err(Reason::UnknownKey));
    check_cached(|bench| bench.publish(&OTHER_K1.jwks()), T, Err(Reason::InvalidToken));
    let both = |bench: &mut Bench| bench.publish(&json!({"keys": [K2.jwk(), bench.dev.jwk()]}).to_string());
    check_cached(both, T, Ok(()));
    check_cached(|bench| bench.keys = bench.keys.with(0, None, KeyState::Expired), T, Err(Reason::KeysUnavailable));
    let reload = |change: fn(&mut Issuer)| {
        move |bench: &mut Bench| {
            bench.config.issuers = vec![issuer(change)];
            bench.keys = Keys::for_config(&bench.config, Some(&bench.keys));
        }
    };
    check_cached(reload(|_| {}), T, Ok(()));
    check_cached(reload(|issuer| issuer.audience = vec!["other".into()]), T, Err(Reason::WrongAudience));
    check_cached(reload(|issuer| issuer.tenants = Tenants::Listed(vec![])), T, Err(Reason::TenantNotAllowed));
    check_cached(reload(|issuer| issuer.jwks = JwksSource::Url("https://x".into())), T, Err(Reason::KeysUnavailable));
    check_cached(|bench| bench.config.issuers = vec![issuer(|_| {})], T, Err(Reason::KeysUnavailable));
}

#[test]
fn a_change_of_keys_that_keeps_this_one_costs_no_verification() {
    let mut bench = Bench::new();
    let token = bench.token(json!({}));
    bench.send(&token, T).unwrap();
    let jwks = json!({"keys": [K2.jwk(), bench.dev.jwk()]}).to_string();
    bench.publish(&jwks);
    bench.send(&token, T).unwrap();
    assert_eq!(bench.cache.counts(), CacheCounts { connection_hits: 1, cold: 1, ..CacheCounts::default() });
}

#[test]
fn a_connection_may_alternate_between_tokens() {
    let mut bench = Bench::new();
    let tokens = ["a", "b"].map(|subject| bench.token(json!({"sub": subject})));
    for token in [&tokens[0], &tokens[1], &tokens[0], &tokens[1]] {
        let subject = if *token == tokens[0] { "a" } else { "b" };
        assert_eq!(&*bench.send(token, T).unwrap().identity().user.subject, subject);
    }
    let expected = CacheCounts { core_hits: 2, cold: 2, ..CacheCounts::default() };
    assert_eq!(bench.cache.counts(), expected);
}

#[test]
fn threat_a22_a_tenant_with_many_tokens_evicts_its_own() {
    let mut bench = Bench::new();
    bench.cache = TokenCache::new(8, TokenHashKey::new(&[7; 32]));
    let quiet: Vec<_> = (0..2).map(|i| bench.token(json!({"org_id": "quiet", "sub": format!("q{i}")}))).collect();
    for token in &quiet {
        bench.send(token, T).unwrap();
    }
    for i in 0..40 {
        let token = bench.token(json!({"org_id": "loud", "sub": format!("l{i}")}));
        bench.send(&token, T).unwrap();
    }
    assert_eq!(bench.cache.len(), 8);
    let cold = bench.cache.counts().cold;
    for token in &quiet {
        bench.send(token, T).unwrap();
    }
    assert_eq!(bench.cache.counts().cold, cold, "the quiet tenant's tokens are still there");
    let newcomer = bench.token(json!({"org_id": "third"}));
    bench.send(&newcomer, T).unwrap();
    for token in quiet.iter().chain([&newcomer]) {
        bench.send(token, T).unwrap();
    }
    assert_eq!(bench.cache.counts().cold, cold + 1, "a newcomer's place comes from the tenant over its share");
}
