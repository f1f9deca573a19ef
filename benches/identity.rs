//! What identity costs a request, through [`authenticate`] as the pipeline calls it.
//!
//! - `connection_hit`: the connection's previous token again (budget 0.05 µs).
//! - `core_hit`: another of 1 000 users' tokens on every request, all in the core's cache (budget 0.7 µs).
//! - `cold`: a token never seen: parse, RS256, normalise, insert.
//! - `refused_cold` and `refused_again`: a token whose signature is bad, first and within five seconds.
//! - `rs256_jsonwebtoken`: the same token through `jsonwebtoken`'s decode, for comparison.
//!
//! RSA-2048, about 700 bytes a token, one issuer. Left out: reading the clock, the HTTP head, JWKS fetches.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use acp::clock::Now;
use acp::config::resolved::{ClaimNames, IdentityConfig, Issuer, JwksSource, Protocol, Route, Tenants};
use acp::identity::dev::DevIssuer;
use acp::identity::jwks::KeySet;
use acp::identity::{
    Authenticated, ConnectionToken, IdentityError, KeyState, Keys, Revocations, TokenCache, TokenHashKey, Trust,
    authenticate,
};
use criterion::{Criterion, criterion_group, criterion_main};
use serde_json::json;

const USERS: usize = 1000;

struct Gateway {
    config: IdentityConfig,
    keys: Keys,
    revoked: Revocations,
    route: Route,
    now: Now,
}

impl Gateway {
    fn new(dev: &DevIssuer) -> Self {
        let issuer = Issuer {
            name: "idp".into(),
            issuer: "https://idp.test/".into(),
            audience: vec!["https://api.test".into()],
            jwks: JwksSource::Discovery,
            claims: ClaimNames {
                tenant: "org_id".into(),
                scopes: "scope".into(),
                roles: "roles".into(),
                custom: vec!["department".into()],
            },
            tenants: Tenants::Any,
            allow_private: Vec::new(),
        };
        let config = IdentityConfig {
            issuers: vec![Arc::new(issuer)],
            token_lifetime_max: Duration::from_secs(86_400),
            leeway: Duration::from_secs(30),
            require_sync: false,
            cache_entries: 8192,
            resource_metadata: None,
            dev_issuer: true,
        };
        let set = KeySet::parse(dev.jwks().as_bytes()).expect("the throwaway issuer's keys are good");
        let keys = Keys::for_config(&config, None).with(0, Some(Arc::new(set)), KeyState::Good);
        Self { config, keys, revoked: Revocations::default(), route: route(), now: Now::read() }
    }

    fn token(&self, dev: &DevIssuer, user: usize) -> String {
        let claims = json!({
            "iss": "https://idp.test/", "aud": "https://api.test", "sub": format!("auth0|user-{user}"),
            "org_id": "org_acme_corp", "scope": "tool:crm:read tool:jira:write", "roles": ["agent"],
            "department": "care", "azp": "client-1", "jti": format!("token-{user}"),
            "iat": self.now.unix_secs(), "exp": self.now.unix_secs() + 3600,
        });
        format!("Bearer {}", dev.sign(&claims).expect("the throwaway issuer signs"))
    }

    fn send(
        &self,
        field: &str,
        cache: &mut TokenCache,
        last: &mut ConnectionToken,
    ) -> Result<Authenticated, IdentityError> {
        let trust = Trust { config: &self.config, keys: &self.keys, revoked: &self.revoked };
        authenticate([field.as_bytes()].into_iter(), trust, &self.route, cache, last, self.now)
    }
}

fn route() -> Route {
    Route {
        index: 0,
        name: "crm".into(),
        path: "/tools/crm".into(),
        upstream: 0,
        protocol: Protocol::Http,
        scopes: Vec::new(),
        audience: vec!["https://api.test".into()],
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

fn cache() -> TokenCache {
    TokenCache::new(8192, TokenHashKey::new(&[7; 32]))
}

fn hits(c: &mut Criterion) {
    let dev = DevIssuer::generate("k1").expect("a key can be generated");
    let gateway = Gateway::new(&dev);
    let fields: Vec<_> = (0..USERS).map(|user| gateway.token(&dev, user)).collect();
    let (mut cache, mut last) = (cache(), ConnectionToken::default());
    c.bench_function("identity/connection_hit", |b| {
        b.iter(|| gateway.send(black_box(&fields[0]), &mut cache, &mut last).expect("a good token"));
    });
    for field in &fields {
        gateway.send(field, &mut cache, &mut last).expect("a good token");
    }
    let mut users = (0..USERS).cycle();
    c.bench_function("identity/core_hit", |b| {
        b.iter(|| {
            let field = &fields[users.next().unwrap_or(0)];
            gateway.send(black_box(field), &mut cache, &mut last).expect("a good token")
        });
    });
    assert_eq!(cache.counts().cold as usize, USERS, "every other request was a hit");
}

fn misses(c: &mut Criterion) {
    let dev = DevIssuer::generate("k1").expect("a key can be generated");
    let gateway = Gateway::new(&dev);
    let field = gateway.token(&dev, 0);
    c.bench_function("identity/cold", |b| {
        b.iter_batched_ref(
            || (cache(), ConnectionToken::default()),
            |(cache, last)| gateway.send(black_box(&field), cache, last).expect("a good token"),
            criterion::BatchSize::SmallInput,
        );
    });
    let stranger = DevIssuer::generate("k1").expect("a key can be generated");
    let forged = gateway.token(&stranger, 0);
    c.bench_function("identity/refused_cold", |b| {
        b.iter_batched_ref(
            || (cache(), ConnectionToken::default()),
            |(cache, last)| gateway.send(black_box(&forged), cache, last).expect_err("a bad signature"),
            criterion::BatchSize::SmallInput,
        );
    });
    let (mut cache, mut last) = (cache(), ConnectionToken::default());
    c.bench_function("identity/refused_again", |b| {
        b.iter(|| gateway.send(black_box(&forged), &mut cache, &mut last).expect_err("a bad signature"));
    });
    reference(c, &dev, &field["Bearer ".len()..]);
}

fn reference(c: &mut Criterion, dev: &DevIssuer, token: &str) {
    let jwk = dev.jwk();
    let [n, e] = ["n", "e"].map(|member| jwk[member].as_str().expect("an RSA key has it"));
    let key = jsonwebtoken::DecodingKey::from_rsa_components(n, e).expect("the key is well formed");
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_issuer(&["https://idp.test/"]);
    validation.set_audience(&["https://api.test"]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    c.bench_function("identity/rs256_jsonwebtoken", |b| {
        b.iter(|| {
            let decoded = jsonwebtoken::decode::<serde_json::Value>(black_box(token), &key, &validation);
            decoded.expect("a good token")
        });
    });
}

criterion_group!(benches, hits, misses);
criterion_main!(benches);
