//! Addresses as sixteen bytes in network order, IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
//!
//! A source is penalised by [`SourceKey`]: one IPv4 address, or one IPv6 /64, which is what a single subscriber is
//! given (RFC 6177 §2) and may pick any address of.

use core::net::{IpAddr, Ipv6Addr};

/// An address in network order, IPv4-mapped if it is IPv4.
pub type Address = [u8; 16];

/// Offset and length of the source address in an IPv4 header (RFC 791 §3.1).
pub const IPV4_SOURCE: (u32, u32) = (12, 4);
/// Offset and length of the source address in an IPv6 header (RFC 8200 §3).
pub const IPV6_SOURCE: (u32, u32) = (8, 16);
/// EtherType of IPv4.
pub const ETH_P_IP: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETH_P_IPV6: u16 = 0x86dd;

const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The key of the penalty map: an IPv4-mapped address in full, or the first 64 bits of an IPv6 one.
///
/// The two cannot collide: bytes 8 to 15 of an IPv6 key are zero, bytes 10 and 11 of an IPv4 key are not.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct SourceKey(pub Address);

const _: () = assert!(size_of::<SourceKey>() == 16);

impl SourceKey {
    /// The key of a source address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: Address) -> Self {
        if is_mapped(&address) { Self(address) } else { Self(prefix_64(address)) }
    }

    /// The key of a socket's peer.
    #[must_use]
    pub const fn of_ip(ip: IpAddr) -> Self {
        Self::of(address(ip))
    }

    /// The IPv4 address, or the first address of the /64.
    #[must_use]
    pub fn ip(self) -> IpAddr {
        ip(self.0)
    }
}

/// `ip` as sixteen bytes.
#[must_use]
pub const fn address(ip: IpAddr) -> Address {
    match ip {
        IpAddr::V4(v4) => v4_mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    }
}

/// The address sixteen bytes stand for.
#[must_use]
pub fn ip(address: Address) -> IpAddr {
    Ipv6Addr::from(address).to_canonical()
}

/// An IPv4 address as sixteen bytes.
#[inline(always)]
#[must_use]
pub const fn v4_mapped([a, b, c, d]: [u8; 4]) -> Address {
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, a, b, c, d]
}

/// Four words of a kernel address field, each holding its bytes in network order, as sixteen bytes.
#[inline(always)]
#[must_use]
pub const fn from_words(words: [u32; 4]) -> Address {
    let mut address = [0; 16];
    let mut i = 0;
    while i < 4 {
        let bytes = words[i].to_ne_bytes();
        address[4 * i] = bytes[0];
        address[4 * i + 1] = bytes[1];
        address[4 * i + 2] = bytes[2];
        address[4 * i + 3] = bytes[3];
        i += 1;
    }
    address
}

#[inline(always)]
const fn is_mapped(address: &Address) -> bool {
    let mut i = 0;
    while i < MAPPED_PREFIX.len() {
        if address[i] != MAPPED_PREFIX[i] {
            return false;
        }
        i += 1;
    }
    true
}

#[inline(always)]
const fn prefix_64([a, b, c, d, e, f, g, h, ..]: Address) -> Address {
    // Byte by byte: of a loop the compiler makes a call of memset, which the verifier only lets a loader with CAP_PERFMON
    // do on the stack.
    [a, b, c, d, e, f, g, h, 0, 0, 0, 0, 0, 0, 0, 0]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::net::Ipv4Addr;
    use std::string::ToString;

    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(source: &str, key: &str) {
        let source: IpAddr = source.parse().expect("a test address");
        assert_eq!(SourceKey::of_ip(source).ip().to_string(), key);
    }

    #[test]
    fn ipv4_is_keyed_in_full_and_ipv6_by_its_first_64_bits() {
        check("192.0.2.7", "192.0.2.7");
        check("::ffff:192.0.2.7", "192.0.2.7");
        check("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::");
        check("::1", "::");
        // Mapped only with the whole 96-bit prefix.
        check("::1:ffff:192.0.2.7", "::");
        check("64:ff9b::192.0.2.7", "64:ff9b::");
    }

    #[test]
    fn words_of_the_kernel_are_bytes_in_network_order() {
        let v6: Ipv6Addr = "2001:db8::7".parse().expect("a test address");
        let octets = v6.octets();
        let word = |i: usize| u32::from_ne_bytes([octets[i], octets[i + 1], octets[i + 2], octets[i + 3]]);
        assert_eq!(from_words([word(0), word(4), word(8), word(12)]), octets);
    }

    proptest! {
        #[test]
        fn an_ipv4_source_and_its_mapped_form_share_a_key(octets: [u8; 4]) {
            let v4 = Ipv4Addr::from(octets);
            prop_assert_eq!(SourceKey::of_ip(v4.into()), SourceKey::of_ip(v4.to_ipv6_mapped().into()));
            prop_assert_eq!(SourceKey::of_ip(v4.into()).ip(), IpAddr::from(v4));
        }

        #[test]
        fn keys_are_stable_and_families_never_collide(octets: [u8; 16], v4: [u8; 4]) {
            let key = SourceKey::of(octets);
            prop_assert_eq!(SourceKey::of(key.0), key);
            if !is_mapped(&octets) {
                prop_assert_ne!(key, SourceKey::of(v4_mapped(v4)));
            }
        }
    }
}
