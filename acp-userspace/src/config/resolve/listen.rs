//! `[listen]`.

use super::super::mistake::Collector;
use super::super::raw;
use super::super::resolved::Listen;
use super::super::url::Url;
use super::{usize_of, within, within_size, within_time};
use crate::http::head::HEADERS_CAP;

/// Workers at most: more cores than hosts that run a gateway have.
const WORKERS_MAX: u64 = 256;

pub(super) fn listen(raw: &raw::Listen, found: &mut Collector) -> Listen {
    within_size(&raw.head_bytes_max, 1 << 10, 256 << 10, found);
    within_size(&raw.body_bytes_max, 1, 1 << 30, found);
    within_size(&raw.buffered_bytes_max, 1 << 20, 1 << 40, found);
    within_size(&raw.drain_bytes_max, 0, 16 << 20, found);
    within_time(&raw.head_timeout, "100ms", "5m", found);
    within_time(&raw.body_timeout, "100ms", "1h", found);
    within_time(&raw.idle_timeout, "1s", "1h", found);
    within_time(&raw.write_timeout, "100ms", "1h", found);
    within_time(&raw.drain_timeout, "0s", "1h", found);
    found.expect(raw.tls.is_none(), &raw.tls.at, || {
        "TLS is not available yet; remove the key and terminate TLS in front of the gateway".to_owned()
    });
    let tenant = &raw.buffered_bytes_per_tenant_max;
    found.expect(**tenant <= *raw.buffered_bytes_max, &tenant.at, || {
        "is more than listen.buffered_bytes_max, so it would never act".to_owned()
    });
    found.expect(*raw.body_bytes_max <= **tenant, &raw.body_bytes_max.at, || {
        "is more than listen.buffered_bytes_per_tenant_max, so such a body could never be buffered".to_owned()
    });
    found.expect(!*raw.proxy_protocol || !raw.trusted_proxies.is_empty(), &raw.proxy_protocol.at, || {
        "needs listen.trusted_proxies: from nobody else is a header read".to_owned()
    });
    Listen {
        address: *raw.address,
        public_url: public_url(raw, found),
        trusted_proxies: raw.trusted_proxies.iter().map(|key| key.value).collect(),
        proxy_protocol: *raw.proxy_protocol,
        workers: within(&raw.workers, 0, WORKERS_MAX, found) as usize,
        driver: *raw.driver,
        head_bytes_max: usize_of(*raw.head_bytes_max),
        headers_max: within(&raw.headers_max, 8, HEADERS_CAP as u64, found) as usize,
        body_bytes_max: usize_of(*raw.body_bytes_max),
        connections_max: within(&raw.connections_max, 1, 10_000_000, found) as usize,
        buffered_bytes_max: usize_of(*raw.buffered_bytes_max),
        buffered_bytes_per_tenant_max: usize_of(**tenant),
        head_timeout: *raw.head_timeout,
        body_timeout: *raw.body_timeout,
        idle_timeout: *raw.idle_timeout,
        write_timeout: *raw.write_timeout,
        drain_bytes_max: usize_of(*raw.drain_bytes_max),
        drain_timeout: *raw.drain_timeout,
    }
}

/// As written, without a trailing slash (RFC 8707 prefers none).
fn public_url(raw: &raw::Listen, found: &mut Collector) -> String {
    if let Err(why) = Url::parse(&raw.public_url) {
        found.add(&raw.public_url.at, why);
    }
    raw.public_url.trim_end_matches('/').to_owned()
}
