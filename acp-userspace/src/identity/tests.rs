//! What [`authenticate`] promises, seen from outside; what the caches may and may not do is in `tests/cached.rs`, the
//! corpora are in `tests/corpora.rs`.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};

use super::dev::DevIssuer;
use super::jwks::KeySet;
use super::*;
use crate::config::resolved::{ClaimNames, JwksSource, Protocol, Tenants};
use crate::reason::Reason;

mod cached;
mod corpora;

/// 2023-11-14T22:13:20Z.
const T: u64 = 1_700_000_000;

pub(super) const fn at(secs: u64) -> Now {
    Now { wall_ns: secs * 1_000_000_000, mono_ns: secs * 1_000_000_000 }
}

pub(super) fn issuer(change: impl FnOnce(&mut Issuer)) -> Arc<Issuer> {
    let mut issuer = Issuer {
        name: "idp".into(),
        issuer: "https://idp.test/".into(),
        audience: vec!["https://api.test".into()],
        jwks: JwksSource::Discovery,
        claims: ClaimNames {
            tenant: "org_id".into(),
            scopes: "scope".into(),
            roles: "roles".into(),
            custom: vec!["department".into(), "limits".into()],
        },
        tenants: Tenants::Any,
        allow_private: Vec::new(),
    };
    change(&mut issuer);
    Arc::new(issuer)
}

pub(super) fn config(issuers: Vec<Arc<Issuer>>) -> IdentityConfig {
    IdentityConfig {
        issuers,
        token_lifetime_max: Duration::from_secs(86_400),
        leeway: Duration::from_secs(30),
        require_sync: false,
        cache_entries: 64,
        resource_metadata: None,
        dev_issuer: false,
    }
}

pub(super) fn route(audience: &[&str]) -> Route {
    Route {
        index: 0,
        name: "crm".into(),
        path: "/tools/crm".into(),
        upstream: 0,
        protocol: Protocol::Http,
        scopes: Vec::new(),
        audience: audience.iter().map(ToString::to_string).collect(),
        tools: Vec::new(),
        body_bytes_max: 0,
        content_types: Vec::new(),
        content_codings: Vec::new(),
        response_headers: Vec::new(),
        cookies: false,
        half_close: false,
        fails_open: false,
        streaming: false,
    }
}

/// Three keys for all tests, because making one takes a while: the issuer's, another under the same id, another id.
static K1: LazyLock<DevIssuer> = LazyLock::new(|| DevIssuer::generate("k1").unwrap());
static OTHER_K1: LazyLock<DevIssuer> = LazyLock::new(|| DevIssuer::generate("k1").unwrap());
static K2: LazyLock<DevIssuer> = LazyLock::new(|| DevIssuer::generate("k2").unwrap());

/// A gateway's identity side with one issuer, and the key that signs for it.
struct Bench {
    dev: &'static DevIssuer,
    config: IdentityConfig,
    keys: Keys,
    revoked: Revocations,
    cache: TokenCache,
    last: ConnectionToken,
    route: Route,
}

impl Bench {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Issuer)) -> Self {
        let dev = &*K1;
        let config = config(vec![issuer(change)]);
        let set = KeySet::parse(dev.jwks().as_bytes()).unwrap();
        let keys = Keys::for_config(&config, None).with(0, Some(Arc::new(set)), KeyState::Good);
        let cache = TokenCache::new(64, TokenHashKey::new(&[7; 32]));
        let (revoked, last) = (Revocations::default(), ConnectionToken::default());
        Self { dev, config, keys, revoked, cache, last, route: route(&[]) }
    }

    fn publish(&mut self, jwks: &str) {
        let set = KeySet::parse(jwks.as_bytes()).unwrap();
        self.keys = self.keys.with(0, Some(Arc::new(set)), KeyState::Good);
    }

    /// A token with the usual claims after `change` (null removes).
    fn token(&self, change: Value) -> String {
        self.dev.sign(&claims(change)).unwrap()
    }

    fn send(&mut self, token: &str, now: u64) -> Result<Authenticated, IdentityError> {
        self.send_fields(&[format!("Bearer {token}").as_bytes()], now)
    }

    fn send_fields(&mut self, fields: &[&[u8]], now: u64) -> Result<Authenticated, IdentityError> {
        let trust = Trust { config: &self.config, keys: &self.keys, revoked: &self.revoked };
        authenticate(fields.iter().copied(), trust, &self.route, &mut self.cache, &mut self.last, at(now))
    }

    #[track_caller]
    fn check(&mut self, change: Value, now: u64, expected: Result<(), Reason>) {
        let token = self.token(change.clone());
        self.last.clear();
        assert_eq!(self.send(&token, now).map(drop).map_err(|error| error.reason()), expected, "{change}");
    }
}

fn claims(change: Value) -> Value {
    let mut claims = json!({
        "iss": "https://idp.test/", "aud": "https://api.test", "sub": "auth0|8f3a", "org_id": "org_acme_corp",
        "scope": "tool:crm:read tool:jira:write", "iat": T, "exp": T + 600,
    });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[test]
fn a_good_token_becomes_one_normalised_identity() {
    let mut bench = Bench::new();
    let token = bench.token(json!({
        "roles": ["agent", "CRM admin", "agent"], "azp": "client-1", "department": "care", "secret": "x", "jti": "j1",
    }));
    let found = bench.send(&token, T).unwrap();
    let identity = found.identity();
    assert_eq!((&*identity.user.issuer, &*identity.user.subject), ("idp", "auth0|8f3a"));
    assert_eq!((&*identity.tenant.issuer, &*identity.tenant.tenant), ("idp", "org_acme_corp"));
    assert_eq!((identity.user_key, identity.tenant_key), (identity.user.key(), identity.tenant.key()));
    assert_eq!(identity.scopes, ["tool:crm:read".into(), "tool:jira:write".into()] as [Arc<str>; 2]);
    assert_eq!(identity.roles, ["agent".into(), "CRM admin".into()] as [Arc<str>; 2]);
    assert_eq!(Value::Object(identity.claims.clone()), json!({"department": "care"}));
    assert_eq!((identity.client.as_deref(), &*identity.key_id), (Some("client-1"), "k1"));
    assert_eq!((identity.expires, identity.issued_at, identity.not_before), (T + 600, Some(T), None));
}

#[test]
fn the_token_hash_is_keyed_and_the_digest_covers_what_policies_read() {
    let mut bench = Bench::new();
    let token = bench.token(json!({}));
    let first = Arc::clone(bench.send(&token, T).unwrap().identity());
    let renewed = bench.token(json!({"exp": T + 700}));
    let renewed = Arc::clone(bench.send(&renewed, T).unwrap().identity());
    assert_eq!(first.digest, renewed.digest);
    assert_ne!(first.token_hash, renewed.token_hash);
    for change in [
        json!({"sub": "other"}),
        json!({"org_id": "other"}),
        json!({"scope": "tool:crm:read"}),
        json!({"scope": null, "roles": "tool:crm:read tool:jira:write"}),
        json!({"department": "x"}),
        json!({"azp": "x"}),
    ] {
        let token = bench.token(change.clone());
        assert_ne!(bench.send(&token, T).unwrap().identity().digest, first.digest, "{change}");
    }
    bench.cache = TokenCache::new(64, TokenHashKey::new(&[8; 32]));
    bench.last.clear();
    assert_ne!(bench.send(&token, T).unwrap().identity().token_hash, first.token_hash);
}

#[test]
fn threat_a06_requires_exactly_one_bearer_credential() {
    let mut bench = Bench::new();
    let good = format!("Bearer {}", bench.token(json!({})));
    let lower = good.replacen("Bearer ", "bEARER   ", 1);
    let mut check = |fields: &[&[u8]], expected: Result<(), IdentityError>| {
        assert_eq!(bench.send_fields(fields, T).map(drop), expected, "{fields:?}");
    };
    check(&[good.as_bytes()], Ok(()));
    check(&[lower.as_bytes()], Ok(()));
    check(&[], Err(IdentityError::MissingToken));
    check(&[b""], Err(IdentityError::MissingToken));
    check(&[b"Basic dTpw"], Err(IdentityError::MissingToken));
    check(&[&good.as_bytes()[7..]], Err(IdentityError::MissingToken));
    check(&[b"Bearer"], Err(TokenFault::NotCompactJws.into()));
    check(&[b"Bearer "], Err(TokenFault::NotCompactJws.into()));
    check(&[good.replace("Bearer ", "Bearer\t").as_bytes()], Err(IdentityError::MissingToken));
    check(&[good.as_bytes(), good.as_bytes()], Err(IdentityError::DuplicateAuthorization));
    check(&[good.as_bytes(), b""], Err(IdentityError::DuplicateAuthorization));
    check(&[format!("{good}, Bearer x").as_bytes()], Err(TokenFault::NotBase64Url.into()));
}

#[test]
fn threat_a18_judges_time_to_the_second_with_the_configured_leeway() {
    let mut bench = Bench::new();
    bench.check(json!({}), T + 600 + 29, Ok(()));
    bench.check(json!({}), T + 600 + 30, Err(Reason::ExpiredToken));
    bench.check(json!({"nbf": T + 30}), T, Ok(()));
    bench.check(json!({"nbf": T + 31}), T, Err(Reason::TokenNotYetValid));
    bench.check(json!({"iat": T + 30}), T, Ok(()));
    bench.check(json!({"iat": T + 31}), T, Err(Reason::TokenNotYetValid));
    bench.check(json!({"exp": T + 86_400}), T, Ok(()));
    bench.check(json!({"exp": T + 86_401}), T, Err(Reason::TokenLifetime));
    bench.check(json!({"iat": null, "exp": T + 86_430}), T, Ok(()));
    bench.check(json!({"iat": null, "exp": T + 86_431}), T, Err(Reason::TokenLifetime));
}

#[test]
fn refuses_tokens_of_other_issuers_and_for_other_audiences() {
    let mut bench = Bench::new();
    for iss in ["https://idp.test", "https://IDP.test/", "https://idp.test/evil", "idp"] {
        bench.check(json!({"iss": iss}), T, Err(Reason::UnknownIssuer));
    }
    for aud in [json!("https://api.test/"), json!("https://api.test.evil"), json!(["a", "b"]), json!([""])] {
        bench.check(json!({"aud": aud}), T, Err(Reason::WrongAudience));
    }
    bench.check(json!({"aud": ["other", "https://api.test"]}), T, Ok(()));
}

#[test]
fn threat_a15_takes_the_tokens_lists_whole_or_not_at_all() {
    let mut bench = Bench::new();
    let many = |count: usize| (0..count).map(|i| format!("s{i}")).collect::<Vec<_>>();
    for good in [json!("a b"), json!(""), json!(["a", "b"]), json!([]), json!("a  b"), json!(many(256))] {
        bench.check(json!({"scope": good, "roles": good}), T, Ok(()));
    }
    let bad =
        [json!("a\tb"), json!("a\nb"), json!(["a b"]), json!([""]), json!([1]), json!(1), json!("é"), json!("a\"")];
    for bad in bad.into_iter().chain([json!(many(257))]) {
        bench.check(json!({"scope": bad}), T, Err(Reason::InvalidToken));
    }
    for bad in [json!(["a\nb"]), json!([""]), json!([1]), json!(1), json!(["r".repeat(256)]), json!(many(257))] {
        bench.check(json!({"roles": bad}), T, Err(Reason::InvalidToken));
    }
}

#[test]
fn refuses_names_that_a_header_could_change() {
    let mut bench = Bench::new();
    let (longest, long) = ("s".repeat(255), "s".repeat(256));
    for good in ["a", "a b", "auth0|x", longest.as_str()] {
        bench.check(json!({"sub": good, "org_id": good}), T, Ok(()));
    }
    for bad in ["", " a", "a ", "a\nx-user-uid: b", "a\u{0}", "a\u{7f}", "użytkownik", long.as_str()] {
        bench.check(json!({"sub": bad}), T, Err(Reason::InvalidToken));
        bench.check(json!({"org_id": bad}), T, Err(Reason::InvalidToken));
    }
    for bad in [json!(7), json!(["a"]), json!({"a": 1})] {
        bench.check(json!({"sub": bad}), T, Err(Reason::InvalidToken));
        bench.check(json!({"org_id": bad}), T, Err(Reason::InvalidToken));
        bench.check(json!({"azp": bad}), T, Err(Reason::InvalidToken));
        bench.check(json!({"jti": bad}), T, Err(Reason::InvalidToken));
    }
}

#[test]
fn threat_a07_an_issuer_asserts_only_its_tenants() {
    let mut listed = Bench::with(|issuer| issuer.tenants = Tenants::Listed(vec!["org_acme_corp".into()]));
    listed.check(json!({}), T, Ok(()));
    listed.check(json!({"org_id": "org_other"}), T, Err(Reason::TenantNotAllowed));
    listed.check(json!({"org_id": null}), T, Err(Reason::TenantNotAllowed));
    let mut any = Bench::new();
    any.check(json!({"org_id": null}), T, Err(Reason::TenantNotAllowed));
    let mut fixed = Bench::with(|issuer| issuer.tenants = Tenants::Fixed("ours".into()));
    let token = fixed.token(json!({"org_id": "org_other"}));
    assert_eq!(&*fixed.send(&token, T).unwrap().identity().tenant.tenant, "ours");
}

#[test]
fn only_the_issuers_own_key_of_that_id_verifies() {
    let mut bench = Bench::new();
    let stranger = OTHER_K1.sign(&claims(json!({}))).unwrap();
    assert_eq!(bench.send(&stranger, T).unwrap_err(), IdentityError::BadSignature);
    let unknown = K2.sign(&claims(json!({}))).unwrap();
    let expected = IdentityError::UnknownKey { issuer: 0, kid: "k2".into() };
    assert_eq!(bench.send(&unknown, T).unwrap_err(), expected);
    assert_eq!(expected.reason(), Reason::UnknownKey);
}

#[test]
fn threat_a21_an_unknown_key_is_asked_for_only_when_the_rest_looks_right() {
    let mut bench = Bench::new();
    for (change, expected) in [
        (json!({"iss": "https://evil.test/"}), Reason::UnknownIssuer),
        (json!({"aud": "other"}), Reason::WrongAudience),
        (json!({"exp": T - 600}), Reason::ExpiredToken),
        (json!({"nbf": T + 600}), Reason::TokenNotYetValid),
    ] {
        let token = K2.sign(&claims(change)).unwrap();
        assert_eq!(bench.send(&token, T).unwrap_err().reason(), expected);
    }
}

#[test]
fn threat_a07_keys_of_one_entry_never_verify_tokens_of_another() {
    let mut bench = Bench::new();
    let second = issuer(|issuer| (issuer.name, issuer.issuer) = ("second".into(), "https://second.test/".into()));
    bench.config.issuers.push(second);
    let set = |dev: &DevIssuer| Some(Arc::new(KeySet::parse(dev.jwks().as_bytes()).unwrap()));
    let keys = Keys::for_config(&bench.config, None).with(0, set(bench.dev), KeyState::Good);
    bench.keys = keys.with(1, set(&OTHER_K1), KeyState::Good);
    let change = json!({"iss": "https://second.test/"});
    bench.check(change.clone(), T, Err(Reason::InvalidToken));
    let token = OTHER_K1.sign(&claims(change)).unwrap();
    let second = Arc::clone(bench.send(&token, T).unwrap().identity());
    let token = bench.token(json!({}));
    let first = Arc::clone(bench.send(&token, T).unwrap().identity());
    assert_eq!((&first.user.subject, &first.tenant.tenant), (&second.user.subject, &second.tenant.tenant));
    assert_ne!((first.user_key, first.tenant_key), (second.user_key, second.tenant_key));
    assert_ne!(first.digest, second.digest);
}

#[test]
fn without_keys_the_answer_is_503_and_nothing_is_remembered() {
    let mut bench = Bench::new();
    let token = bench.token(json!({}));
    let good = bench.keys.with(0, bench.keys.issuers()[0].set().cloned(), KeyState::Good);
    bench.keys = Keys::for_config(&bench.config, None);
    let expected = IdentityError::KeysUnavailable { issuer: 0 };
    assert_eq!(bench.send(&token, T).unwrap_err(), expected);
    assert_eq!(expected.reason().status(), 503);
    bench.keys = good;
    bench.send(&token, T).unwrap();
    assert!(bench.cache.len() == 1);
}

#[test]
fn threat_a06_a_token_changed_in_any_byte_is_refused() {
    let mut bench = Bench::new();
    let token = format!("Bearer {}", bench.token(json!({})));
    bench.send_fields(&[token.as_bytes()], T).unwrap();
    for at in 0..token.len() {
        for change in [0x01, 0x40, 0x80] {
            let mut changed = token.clone().into_bytes();
            changed[at] ^= change;
            let found = bench.send_fields(&[&changed], T);
            assert!(found.is_err(), "byte {at} changed by {change:#x}: {:?}", String::from_utf8_lossy(&changed));
        }
        let cut = &token.as_bytes()[..at];
        assert!(bench.send_fields(&[cut], T).is_err(), "cut at {at}");
    }
}

proptest::proptest! {
    #[test]
    fn any_fields_give_an_identity_or_an_error(bytes: Vec<u8>, text in "\\PC{0,80}", segments: [Vec<u8>; 3], now: u64) {
        use base64::Engine;
        thread_local!(static BENCH: std::cell::RefCell<Bench> = std::cell::RefCell::new(Bench::new()));
        let jws = segments.map(|segment| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(segment)).join(".");
        BENCH.with_borrow_mut(|bench| {
            for field in [bytes, format!("Bearer {text}").into_bytes(), format!("Bearer {jws}").into_bytes()] {
                assert!(bench.send_fields(&[&field], now % (1 << 33)).is_err());
            }
        });
    }
}
