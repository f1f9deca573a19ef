//! `[kernel]` and `[[kernel.source]]`.

use std::sync::Arc;

use super::super::files::Files;
use super::super::mistake::Collector;
use super::super::raw;
use super::super::read::Key;
use super::super::resolved::{DeclaredSource, Issuer, KernelConfig, Tenants};
use super::{is_loopback, overlaps, unique, within, within_time};

pub(super) fn kernel(
    raw: &raw::Kernel,
    file: &raw::File,
    issuers: &[Arc<Issuer>],
    files: &Files<'_>,
    found: &mut Collector,
) -> KernelConfig {
    within_time(&raw.penalty, "1s", "60s", found);
    within_time(&raw.learned_after, if *raw.loopback { "1s" } else { "10m" }, "24h", found);
    unique(raw.interfaces.iter().map(|name| (name.as_str(), &name.at)), "the interface", found);
    for (index, source) in raw.source.iter().enumerate() {
        check_source(source, &raw.source[..index], raw, file, found);
    }
    KernelConfig {
        mode: *raw.mode,
        penalties: *raw.penalties,
        client_addresses: *raw.client_addresses,
        sources: raw.source.iter().map(|source| declared(source, issuers, found)).collect(),
        exempt: raw.exempt.iter().map(|key| key.value).collect(),
        learned_after: *raw.learned_after,
        shared_sources: match raw.shared_sources.as_deref() {
            Some(path) => files.path(path),
            None => files.path(&file.usage.ledger).with_file_name("shared-sources"),
        },
        loopback: *raw.loopback,
        ignored_429_max: within(&raw.ignored_429_max, 1, 10_000, found) as u32,
        penalty: *raw.penalty,
        interfaces: raw.interfaces.iter().map(|name| name.as_str().into()).collect(),
        egress_guard: *raw.egress_guard,
        cgroup: raw.cgroup.as_deref().map(|path| files.path(path)),
    }
}

/// A source that could never be refused, or that two tenants would share, is a mistake.
fn check_source(
    source: &raw::Source,
    before: &[Key<raw::Source>],
    kernel: &raw::Kernel,
    file: &raw::File,
    found: &mut Collector,
) {
    let at = &source.cidr.at;
    found.expect(*kernel.loopback || !is_loopback(&source.cidr), at, || {
        "is loopback, which is never refused unless kernel.loopback = true".to_owned()
    });
    if let Some(other) = before.iter().find(|other| *other.cidr == *source.cidr) {
        found.add(at, format!("is declared before, at {}; a source belongs to one tenant", other.cidr.at.key));
    }
    if let Some(proxy) = file.listen.trusted_proxies.iter().find(|proxy| overlaps(proxy, &source.cidr)) {
        found.add(at, format!("overlaps {}, and connections of a proxy are many clients'", proxy.at.key));
    }
}

fn declared(source: &raw::Source, issuers: &[Arc<Issuer>], found: &mut Collector) -> DeclaredSource {
    let issuer = match (source.issuer.as_deref(), issuers) {
        (Some(name), _) => issuers.iter().find(|issuer| *issuer.name == *name),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    match issuer.map(|issuer| &issuer.tenants) {
        None => {
            let names: Vec<_> = issuers.iter().map(|issuer| &*issuer.name).collect();
            found.add(
                &source.issuer.at,
                format!("has to name the issuer entry of the tenant; there are: {}", names.join(", ")),
            );
        }
        Some(Tenants::Any) => {}
        Some(Tenants::Listed(tenants)) => found.expect(tenants.contains(&source.tenant), &source.tenant.at, || {
            "is no tenant that the issuer may assert, so the source would never be refused".to_owned()
        }),
        Some(Tenants::Fixed(tenant)) => found.expect(**tenant == **source.tenant, &source.tenant.at, || {
            format!("is not {tenant:?}, the one tenant of the issuer, so the source would never be refused")
        }),
    }
    DeclaredSource {
        cidr: *source.cidr,
        tenant: source.tenant.as_str().into(),
        issuer: issuer.map_or_else(|| Arc::from(""), |issuer| issuer.name.clone()),
    }
}
