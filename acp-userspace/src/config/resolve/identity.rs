//! `[identity]` and `[[identity.issuer]]`.

use std::sync::Arc;

use super::super::Trust;
use super::super::files::Files;
use super::super::mistake::Collector;
use super::super::raw;
use super::super::read::Key;
use super::super::resolved::{Cidr, ClaimNames, IdentityConfig, Issuer, JwksSource, Tenants};
use super::super::url::Url;
use super::{check_name, is_never, is_private, texts, unique, within, within_time};

pub(super) fn identity(raw: &raw::Identity, trust: Trust, files: &Files<'_>, found: &mut Collector) -> IdentityConfig {
    found.expect(!raw.issuer.is_empty(), &raw.issuer.at, || {
        "has no entry, so no token could ever be accepted; add an [[identity.issuer]]".to_owned()
    });
    within_time(&raw.token_lifetime_max, "1m", "366d", found);
    within_time(&raw.leeway, "0s", "5m", found);
    unique(raw.issuer.iter().map(|entry| (name(entry), &entry.issuer.at)), "the issuer name", found);
    let single = raw.issuer.len() == 1;
    IdentityConfig {
        issuers: raw.issuer.iter().map(|entry| Arc::new(issuer(entry, single, trust, files, found))).collect(),
        token_lifetime_max: *raw.token_lifetime_max,
        leeway: *raw.leeway,
        require_sync: *raw.require_sync,
        cache_entries: within(&raw.cache_entries, 16, 1 << 22, found) as usize,
        resource_metadata: resource_metadata(raw, found),
        dev_issuer: trust == Trust::Throwaway,
    }
}

/// RFC 9728 §3 wants https; a gateway that is tried out on loopback may name itself.
fn resource_metadata(raw: &raw::Identity, found: &mut Collector) -> Option<String> {
    let url = raw.resource_metadata.as_deref()?;
    match Url::parse(url) {
        Err(why) => found.add(&raw.resource_metadata.at, why),
        Ok(parsed) => found.expect(parsed.https || parsed.is_loopback(), &raw.resource_metadata.at, || {
            "has to be https://, so that clients can trust what it names".to_owned()
        }),
    }
    Some(url.to_owned())
}

fn name(entry: &raw::Issuer) -> &str {
    entry.name.as_deref().unwrap_or(&entry.issuer)
}

fn issuer(raw: &raw::Issuer, single: bool, trust: Trust, files: &Files<'_>, found: &mut Collector) -> Issuer {
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
        jwks: jwks(raw, trust, files, found),
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

fn jwks(raw: &raw::Issuer, trust: Trust, files: &Files<'_>, found: &mut Collector) -> JwksSource {
    match raw.jwks.as_str() {
        "discovery" => {
            check_key_url(&raw.issuer, raw, trust, found);
            JwksSource::Discovery
        }
        url if url.contains("://") => {
            check_key_url(&raw.jwks, raw, trust, found);
            JwksSource::Url(url.to_owned())
        }
        file => JwksSource::File(files.path(file)),
    }
}

/// Refuses what the fetch would refuse, as far as that can be known without a name server: keys that came in clear
/// over a network are whoever's was in between, and the address rules are those of upstreams (THREATS A20, A21).
fn check_key_url(key: &Key<String>, issuer: &raw::Issuer, trust: Trust, found: &mut Collector) {
    let url = match Url::parse(key) {
        Ok(url) => url,
        Err(why) => return found.add(&key.at, why),
    };
    if url.is_loopback() {
        return found.expect(trust == Trust::Throwaway, &key.at, || {
            "is on loopback, where keys are not fetched from; name a file in jwks, or the issuer's own address"
                .to_owned()
        });
    }
    found.expect(url.https, &key.at, || "would fetch keys in clear; write https://, or name a file in jwks".to_owned());
    let Some(ip) = url.ip() else { return };
    if is_never(&Cidr { address: ip, prefix: if ip.is_ipv4() { 32 } else { 128 } }) {
        found.add(&key.at, "is a link-local, metadata or multicast address, which are never connected to");
    } else if is_private(ip) {
        found.expect(issuer.allow_private.iter().any(|cidr| cidr.contains(ip)), &key.at, || {
            format!("is a private address; write allow_private = [\"{ip}\"]")
        });
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
