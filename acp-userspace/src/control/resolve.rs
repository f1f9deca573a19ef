//! Resolves upstream names and keeps only addresses that their rules allow (THREATS A20).
//!
//! Workers connect to nothing but what is published here: the address that was checked is the address that is used, so
//! a name that changes between check and use (DNS rebinding) gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::resolved::Upstream;
use crate::pipeline::{Addresses, Resolved};
use crate::routing::address::{AddressGuard, Allowed};

/// Between two resolutions of every upstream.
pub const REFRESH: Duration = Duration::from_secs(30);

/// For one name.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Addresses kept per upstream.
const ADDRESSES_MAX: usize = 16;

/// Resolves every upstream, one after the other. A name that cannot be resolved now keeps the addresses it had.
pub async fn resolve(upstreams: &[Arc<Upstream>], guard: &AddressGuard, previous: &Addresses) -> Addresses {
    let mut all = Vec::with_capacity(upstreams.len());
    for (index, upstream) in upstreams.iter().enumerate() {
        let resolved = match look_up(upstream).await {
            Ok(found) => check(upstream, guard, found),
            Err(error) => {
                tracing::warn!(upstream = &*upstream.name, %error, "name does not resolve");
                previous.upstreams().get(index).cloned().unwrap_or_default()
            }
        };
        all.push(resolved);
    }
    Addresses::new(all)
}

async fn look_up(upstream: &Upstream) -> std::io::Result<Vec<SocketAddr>> {
    let host = upstream.host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, upstream.port)]);
    }
    let found = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, upstream.port)))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    Ok(found.take(ADDRESSES_MAX).collect())
}

fn check(upstream: &Upstream, guard: &AddressGuard, found: Vec<SocketAddr>) -> Resolved {
    let mut resolved = Resolved::default();
    let allowed = Allowed { private: &upstream.allow_private, loopback: &upstream.allow_loopback };
    for address in found {
        match guard.check(allowed, address) {
            Ok(checked) => resolved.addresses.push(checked.get()),
            Err(why) => {
                tracing::warn!(upstream = &*upstream.name, %address, %why, "address refused");
                resolved.blocked = true;
            }
        }
    }
    resolved
}
