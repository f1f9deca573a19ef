//! `[identity]` and `[[identity.issuer]]`.

use std::sync::Arc;

use super::super::files::Files;
use super::super::mistake::Collector;
use super::super::raw;
use super::super::read::Key;
use super::super::resolved::{ClaimNames, IdentityConfig, Issuer, JwksSource, Tenants};
use super::super::url::Url;
use super::{check_name, is_never, texts, unique, within, within_time};

pub(super) fn identity(raw: &raw::Identity, files: &Files<'_>, found: &mut Collector) -> IdentityConfig {
    found.expect(!raw.issuer.is_empty(), &raw.issuer.at, || {
        "has no entry, so no token could ever be accepted; add an [[identity.issuer]]".to_owned()
    });
    within_time(&raw.token_lifetime_max, "1m", "366d", found);
    within_time(&raw.leeway, "0s", "5m", found);
    unique(raw.issuer.iter().map(|entry| (name(entry), &entry.issuer.at)), "the issuer name", found);
    let single = raw.issuer.len() == 1;
    IdentityConfig {
        issuers: raw.issuer.iter().map(|entry| Arc::new(issuer(entry, single, files, found))).collect(),
        token_lifetime_max: *raw.token_lifetime_max,
        leeway: *raw.leeway,
        cache_entries: within(&raw.cache_entries, 16, 1 << 22, found) as usize,
        dev_issuer: false,
    }
}

fn name(entry: &raw::Issuer) -> &str {
    entry.name.as_deref().unwrap_or(&entry.issuer)
}

fn issuer(raw: &raw::Issuer, single: bool, files: &Files<'_>, found: &mut Collector) -> Issuer {
    check_name(name(raw), &raw.name.at, found);
    found.expect(!raw.audience.is_empty(), &raw.audience.at, || {
        "is empty, so every token would be for another service; name the audience of tokens for this gateway".to_owned()
    });
    for cidr in raw.allow_private.iter() {
        found.expect(!is_never(cidr), &cidr.at, || {
            "holds link-local, metadata or multicast addresses, which are never opened".to_owned()
        });
    }
    Issuer {
        name: name(raw).into(),
        issuer: raw.issuer.as_str().into(),
        audience: texts(&raw.audience),
        jwks: jwks(raw, files, found),
        claims: ClaimNames {
            tenant: raw.claims.tenant.value.clone(),
            scopes: raw.claims.scopes.value.clone(),
            roles: raw.claims.roles.value.clone(),
            custom: texts(&raw.claims.custom),
        },
        tenants: tenants(raw, single, found),
        allow_private: raw.allow_private.iter().map(|cidr| cidr.value).collect(),
    }
}

fn jwks(raw: &raw::Issuer, files: &Files<'_>, found: &mut Collector) -> JwksSource {
    match raw.jwks.as_str() {
        "discovery" => {
            check_key_url(&raw.issuer, found);
            JwksSource::Discovery
        }
        url if url.contains("://") => {
            check_key_url(&raw.jwks, found);
            JwksSource::Url(url.to_owned())
        }
        file => JwksSource::File(files.path(file)),
    }
}

/// Keys that came in clear over a network are whoever's was in between.
fn check_key_url(key: &Key<String>, found: &mut Collector) {
    match Url::parse(key) {
        Err(why) => found.add(&key.at, why),
        Ok(url) => found.expect(url.https || url.is_loopback(), &key.at, || {
            "would fetch keys in clear; write https://, or name a file in jwks (http:// is for loopback only)"
                .to_owned()
        }),
    }
}

/// Which tenants the entry may assert (THREATS A7).
fn tenants(raw: &raw::Issuer, single: bool, found: &mut Collector) -> Tenants {
    let listed = raw.tenants.as_deref();
    match (listed, raw.tenant.as_deref()) {
        (Some(_), Some(_)) => {
            found.add(&raw.tenant.at, "and `tenants` exclude each other; keep one");
            Tenants::Listed(Vec::new())
        }
        (None, Some(fixed)) => {
            check_name(fixed, &raw.tenant.at, found);
            Tenants::Fixed(fixed.into())
        }
        (None, None) => {
            found.expect(single, &raw.tenants.at, || {
                "is missing; with several issuers each has to say which tenants it may assert, or `tenant` the one"
                    .to_owned()
            });
            Tenants::Any
        }
        (Some([]), None) => {
            found.add(&raw.tenants.at, "is empty, so no token of this issuer could ever be accepted");
            Tenants::Listed(Vec::new())
        }
        (Some(list), None) if list.iter().any(|tenant| tenant.as_str() == "*") => {
            found.expect(list.len() == 1, &raw.tenants.at, || {
                "has \"*\" and more; \"*\" is any tenant already".to_owned()
            });
            found.expect(single, &raw.tenants.at, || {
                "is any tenant, although several issuers are trusted; each could speak for the others' tenants"
                    .to_owned()
            });
            Tenants::Any
        }
        (Some(list), None) => {
            unique(list.iter().map(|tenant| (tenant.as_str(), &tenant.at)), "the tenant", found);
            Tenants::Listed(texts(list))
        }
    }
}
