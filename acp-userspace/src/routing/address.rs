//! Which addresses the gateway may connect to (THREATS A20): a guard against requests being steered at what only the
//! gateway's host can reach.
//!
//! Judged is the *resolved* address, and [`CheckedAddr`] is what a connection is made to, so a name that resolves
//! differently a moment later changes nothing. Globally reachable unicast passes. Special-purpose ranges (IANA
//! registries of 2025-10, RFC 6890) pass only where the upstream's `allow_private` covers them. Never, whatever is
//! configured: this host (loopback other than an exactly listed address and port, unspecified, our own listeners),
//! link-local, multicast, reserved, cloud metadata, and IPv6 forms that carry an IPv4 address (mapped, compatible,
//! translated, NAT64, 6to4, Teredo), which would be judged as one address and routed as another.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::config::resolved::{Cidr, Issuer, Upstream};

/// An address that may be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckedAddr(SocketAddr);

impl CheckedAddr {
    /// The address.
    #[must_use]
    pub const fn get(self) -> SocketAddr {
        self.0
    }
}

/// Why an address may not be connected to. The upstream's or its resolver's fault, or the operator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressBlocked {
    /// One of the gateway's own listeners.
    #[error("the gateway's own listener")]
    Own,
    /// 127.0.0.0/8 or ::1, and this address and port are not listed in `allow_loopback`.
    #[error("a loopback address")]
    Loopback,
    /// 0.0.0.0/8 or ::.
    #[error("the unspecified address")]
    Unspecified,
    /// 169.254.0.0/16, fe80::/10, fec0::/10.
    #[error("a link-local address")]
    LinkLocal,
    /// A cloud's metadata service.
    #[error("a metadata service")]
    Metadata,
    /// A group, or a range no host may have.
    #[error("a multicast or reserved address")]
    Reserved,
    /// An IPv4 address inside an IPv6 one.
    #[error("an IPv6 address that carries an IPv4 address")]
    Embedded,
    /// Not globally reachable, and not covered by `allow_private`.
    #[error("a special-purpose address outside allow_private")]
    Private,
}

/// What one upstream or issuer may reach besides the public Internet.
#[derive(Debug, Clone, Copy)]
pub struct Allowed<'a> {
    /// Special-purpose blocks.
    pub private: &'a [Cidr],
    /// Loopback, by exact address and port.
    pub loopback: &'a [SocketAddr],
}

impl<'a> From<&'a Upstream> for Allowed<'a> {
    fn from(upstream: &'a Upstream) -> Self {
        Self { private: &upstream.allow_private, loopback: &upstream.allow_loopback }
    }
}

impl<'a> From<&'a Issuer> for Allowed<'a> {
    fn from(issuer: &'a Issuer) -> Self {
        Self { private: &issuer.allow_private, loopback: &[] }
    }
}

/// Judges addresses; knows the gateway's own.
#[derive(Debug, Clone, Default)]
pub struct AddressGuard {
    /// Everything the gateway listens on.
    listeners: Vec<SocketAddr>,
    /// The host's addresses, for listeners on the unspecified one.
    interfaces: Vec<IpAddr>,
}

impl AddressGuard {
    /// A guard for a gateway with these listeners on a host with these addresses.
    #[must_use]
    pub fn new(listeners: Vec<SocketAddr>, interfaces: Vec<IpAddr>) -> Self {
        Self { listeners, interfaces }
    }

    /// Judges one resolved address.
    ///
    /// # Errors
    /// With the range it is in.
    pub fn check(&self, allowed: Allowed<'_>, address: SocketAddr) -> Result<CheckedAddr, AddressBlocked> {
        if self.is_own(address) {
            return Err(AddressBlocked::Own);
        }
        match blocked(address.ip()) {
            None => Ok(CheckedAddr(address)),
            Some(AddressBlocked::Loopback) if allowed.loopback.contains(&address) => Ok(CheckedAddr(address)),
            Some(AddressBlocked::Private) if allowed.private.iter().any(|cidr| cidr.contains(address.ip())) => {
                Ok(CheckedAddr(address))
            }
            Some(reason) => Err(reason),
        }
    }

    /// An own listener by any of the spellings that reach it.
    fn is_own(&self, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let here =
            ip.is_loopback() || ip.is_unspecified() || self.interfaces.iter().any(|own| own.to_canonical() == ip);
        self.listeners.iter().any(|listener| {
            let on = listener.ip().to_canonical();
            listener.port() == address.port() && (on == ip || (on.is_unspecified() && here))
        })
    }
}

/// The most severe range an address is in; `None` for globally reachable unicast.
fn blocked(ip: IpAddr) -> Option<AddressBlocked> {
    match ip {
        IpAddr::V4(ip) => blocked_v4(ip),
        IpAddr::V6(ip) => blocked_v6(ip),
    }
}

/// Metadata services outside link-local: Azure's, Alibaba's, Oracle's.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

/// IPv4 special-purpose blocks that a network may use for itself: network, prefix.
const PRIVATE_V4: [(Ipv4Addr, u8); 13] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 31, 196, 0), 24),
    (Ipv4Addr::new(192, 52, 193, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(192, 175, 48, 0), 24),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
];

fn blocked_v4(ip: Ipv4Addr) -> Option<AddressBlocked> {
    let first = ip.octets()[0];
    let in_block = |(network, prefix): &(Ipv4Addr, u8)| (u32::from(*network) ^ u32::from(ip)) >> (32 - prefix) == 0;
    match first {
        0 => Some(AddressBlocked::Unspecified),
        127 => Some(AddressBlocked::Loopback),
        224.. => Some(AddressBlocked::Reserved),
        _ if ip.is_link_local() => Some(AddressBlocked::LinkLocal),
        _ if METADATA_V4.contains(&ip) => Some(AddressBlocked::Metadata),
        _ if PRIVATE_V4.iter().any(in_block) => Some(AddressBlocked::Private),
        _ => None,
    }
}

/// AWS' and Google's, both inside unique-local space.
const METADATA_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254), Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)];

/// Forms that carry an IPv4 address: compatible, mapped, translated, NAT64 (two), Teredo, 6to4.
const EMBEDDED_V6: [(Ipv6Addr, u8); 7] = [
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    (Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96),
    (Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48),
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
];

/// Special-purpose blocks inside global unicast space (2000::/3): IETF protocols, documentation (two), AS112.
const PRIVATE_V6: [(Ipv6Addr, u8); 4] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    (Ipv6Addr::new(0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0), 48),
];

fn blocked_v6(ip: Ipv6Addr) -> Option<AddressBlocked> {
    let in_block = |(network, prefix): &(Ipv6Addr, u8)| (u128::from(*network) ^ u128::from(ip)) >> (128 - prefix) == 0;
    let first = ip.segments()[0];
    if ip.is_unspecified() {
        Some(AddressBlocked::Unspecified)
    } else if ip.is_loopback() {
        Some(AddressBlocked::Loopback)
    } else if EMBEDDED_V6.iter().any(in_block) {
        Some(AddressBlocked::Embedded)
    } else if first & 0xff00 == 0xff00 {
        Some(AddressBlocked::Reserved)
    } else if first & 0xff80 == 0xfe80 {
        // fe80::/10 and the deprecated site-local fec0::/10.
        Some(AddressBlocked::LinkLocal)
    } else if METADATA_V6.contains(&ip) {
        Some(AddressBlocked::Metadata)
    } else if first & 0xe000 != 0x2000 || PRIVATE_V6.iter().any(in_block) {
        // Outside global unicast space nothing is globally reachable: unique-local, discard-only, SRv6, unassigned.
        Some(AddressBlocked::Private)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        let (address, prefix) = text.split_once('/').unwrap();
        Cidr { address: address.parse().unwrap(), prefix: prefix.parse().unwrap() }
    }

    fn check(address: &str, private: &[&str], loopback: &[&str]) -> Result<(), AddressBlocked> {
        let guard = AddressGuard::new(
            vec!["0.0.0.0:8443".parse().unwrap(), "127.0.0.1:9900".parse().unwrap()],
            vec!["10.0.0.5".parse().unwrap()],
        );
        let private: Vec<_> = private.iter().map(|text| cidr(text)).collect();
        let loopback: Vec<_> = loopback.iter().map(|text| text.parse().unwrap()).collect();
        let allowed = Allowed { private: &private, loopback: &loopback };
        guard.check(allowed, address.parse().unwrap()).map(|checked| assert_eq!(checked.get().to_string(), address))
    }

    #[test]
    fn threat_a20_private_addresses_need_the_operators_word() {
        assert_eq!(check("8.8.8.8:443", &[], &[]), Ok(()));
        assert_eq!(check("10.1.2.3:80", &[], &[]), Err(AddressBlocked::Private));
        assert_eq!(check("10.1.2.3:80", &["10.0.0.0/8"], &[]), Ok(()));
        assert_eq!(check("10.1.2.3:80", &["192.168.0.0/16"], &[]), Err(AddressBlocked::Private));
        assert_eq!(check("[fd12::1]:80", &["fd12::/16"], &[]), Ok(()));
        assert_eq!(check("[2606:4700::1111]:443", &[], &[]), Ok(()));
    }

    #[test]
    fn threat_a20_what_is_never_allowed_stays_blocked_under_any_cidr() {
        let everything = ["0.0.0.0/0", "::/0"];
        for (address, reason) in [
            ("127.0.0.1:80", AddressBlocked::Loopback),
            ("[::1]:80", AddressBlocked::Loopback),
            ("0.0.0.0:80", AddressBlocked::Unspecified),
            ("169.254.169.254:80", AddressBlocked::LinkLocal),
            ("[fe80::1]:80", AddressBlocked::LinkLocal),
            ("100.100.100.200:80", AddressBlocked::Metadata),
            ("168.63.129.16:80", AddressBlocked::Metadata),
            ("[fd00:ec2::254]:80", AddressBlocked::Metadata),
            ("224.0.0.1:80", AddressBlocked::Reserved),
            ("[::ffff:8.8.8.8]:80", AddressBlocked::Embedded),
            ("[::ffff:10.0.0.1]:80", AddressBlocked::Embedded),
            ("[64:ff9b::a9fe:a9fe]:80", AddressBlocked::Embedded),
            ("[2002:7f00:1::]:80", AddressBlocked::Embedded),
            ("10.0.0.5:8443", AddressBlocked::Own),
        ] {
            assert_eq!(check(address, &everything, &[]), Err(reason), "{address}");
        }
    }

    #[test]
    fn threat_a20_loopback_is_allowed_by_exact_address_and_port_only() {
        assert_eq!(check("127.0.0.1:9000", &[], &["127.0.0.1:9000"]), Ok(()));
        assert_eq!(check("127.0.0.1:9001", &[], &["127.0.0.1:9000"]), Err(AddressBlocked::Loopback));
        assert_eq!(check("127.0.0.2:9000", &[], &["127.0.0.1:9000"]), Err(AddressBlocked::Loopback));
        assert_eq!(check("[::ffff:127.0.0.1]:9000", &[], &["127.0.0.1:9000"]), Err(AddressBlocked::Embedded));
        assert_eq!(check("127.0.0.1:9900", &[], &["127.0.0.1:9900"]), Err(AddressBlocked::Own));
        assert_eq!(check("127.9.9.9:8443", &[], &["127.9.9.9:8443"]), Err(AddressBlocked::Own));
    }
}
