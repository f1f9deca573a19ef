//! The control thread's part of the egress guard: which name servers it lets through, and what becomes of a refusal.
//!
//! Addresses of upstreams are listed by the [publisher](super::publish), those of issuers by whoever judges them for the
//! key service; both before they are used.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::audit_thread::{AuditEvents, Detail};
use super::status::Status;
use crate::audit::json::event::EventKind;
use crate::kernel::confine::report::Tally;
use crate::kernel::egress::Egress;

/// How long an issuer's address may be connected to after it was judged: more than a fetch takes.
pub(super) const FETCH: Duration = Duration::from_secs(60);

/// Name servers that are read of resolv.conf(5); the C library asks three.
const NAME_SERVERS_MAX: usize = 16;
const DOMAIN: u16 = 53;

/// The name servers, which the C library asks over TCP where an answer is long.
pub(super) fn name_servers() -> Vec<SocketAddr> {
    // Without the file it asks the host itself.
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_else(|_| "nameserver 127.0.0.1".to_owned());
    parse(&text)
}

fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let server = words.next().filter(|word| *word == "nameserver").and_then(|_| words.next())?;
        // The zone of a link-local address is no part of what is compared.
        server.split('%').next()?.parse::<IpAddr>().ok()
    });
    servers.take(NAME_SERVERS_MAX).map(|server| SocketAddr::new(server, DOMAIN)).collect()
}

/// Puts what was refused since the last look in log and figures.
pub(super) fn tell(egress: &Arc<Egress>, events: &AuditEvents, status: &Status) {
    let mut tally = Tally::default();
    egress.read(&mut tally);
    status.egress_refused.store(egress.refused(), Ordering::Relaxed);
    status.egress_lost.fetch_add(tally.lost, Ordering::Relaxed);
    for group in &tally.groups {
        let Some((destination, _)) = group.destination() else { continue };
        tracing::error!(%destination, count = group.count, "the egress guard refused a connection of the gateway itself");
        let mut detail =
            vec![("destination", Detail::Text(destination.to_string())), ("count", Detail::Number(group.count))];
        if let Some((pid, _)) = group.process() {
            detail.push(("pid", Detail::Number(u64::from(pid))));
        }
        if !events.send(EventKind::EgressRefused, detail) {
            status.egress_lost.fetch_add(group.count, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_are_read_as_the_c_library_reads_them() {
        let text = "# nameserver 192.0.2.1\nsearch a.test\nnameserver 192.0.2.53 # main\n\tnameserver fe80::1%eth0\n\
                    nameserver\nnameserver dns.test\nnameservers 192.0.2.2\n";
        let found: Vec<String> = parse(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["192.0.2.53:53", "[fe80::1]:53"]);
    }
}
