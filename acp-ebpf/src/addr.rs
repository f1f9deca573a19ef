//! Addresses as sixteen bytes in network order, IPv4 as `::ffff:a.b.c.d` (RFC 4291 §2.5.5.2).
//!
//! A source is penalised by [`SourceKey`]: one IPv4 address, or one IPv6 /64, which is what a single subscriber is
//! given (RFC 6177 §2) and may pick any address of.

use core::net::{IpAddr, Ipv6Addr};

/// An address in network order, IPv4-mapped if it is IPv4.
pub type Address = [u8; 16];

/// Where the source address begins in an IPv4 header (RFC 791 §3.1).
pub const IPV4_SOURCE: u32 = 12;
/// Where it begins in an IPv6 header (RFC 8200 §3).
pub const IPV6_SOURCE: u32 = 8;
/// EtherType of IPv4.
pub const ETH_P_IP: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETH_P_IPV6: u16 = 0x86dd;

/// The same as the kernel's programs read it: four words, each holding its bytes in network order. One instruction is
/// enough for what takes a dozen with bytes.
pub type Words = [u32; 4];

/// The third word of an IPv4-mapped address; the first two are zero.
const MAPPED_WORD: u32 = 0xffff_u32.to_be();

const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// The key of the penalty map: an IPv4-mapped address in full, or the first 64 bits of an IPv6 one.
///
/// The two cannot collide: bytes 8 to 15 of an IPv6 key are zero, bytes 10 and 11 of an IPv4 key are not.
///
/// Aligned like the words that it is made of: of bytes that may lie anywhere the BPF compiler writes one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[repr(C, align(8))]
pub struct SourceKey(pub Address);

const _: () = assert!(size_of::<SourceKey>() == 16);

impl SourceKey {
    /// The key of a source address.
    #[inline(always)]
    #[must_use]
    pub const fn of(address: Address) -> Self {
        if is_mapped(&address) { Self(address) } else { Self(prefix_64(address)) }
    }

    /// The same of an address in words, each holding its bytes in network order.
    #[inline(always)]
    #[must_use]
    pub const fn of_words([a, b, c, d]: Words) -> Self {
        let mapped = a | b == 0 && c == MAPPED_WORD;
        Self(from_words([a, b, if mapped { c } else { 0 }, if mapped { d } else { 0 }]))
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

/// An IPv4 address, one word that holds its bytes in network order, as four.
#[inline(always)]
#[must_use]
pub const fn v4_words(v4: u32) -> Words {
    [0, 0, MAPPED_WORD, v4]
}

/// Words as bytes.
#[inline(always)]
#[must_use]
pub const fn from_words(words: Words) -> Address {
    // SAFETY: sixteen bytes in either form, without padding, of which any are a value.
    unsafe { core::mem::transmute(words) }
}

/// Bytes as words.
#[inline(always)]
#[must_use]
pub const fn to_words(address: Address) -> Words {
    // SAFETY: as above.
    unsafe { core::mem::transmute(address) }
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
        fn a_key_is_the_same_of_words_and_of_bytes(words: [u32; 4], zeros in 0..4_usize, mapped: bool) {
            let mut words = words;
            words[..zeros].fill(0);
            if mapped {
                words = [words[0], words[1], MAPPED_WORD, words[3]];
            }
            prop_assert_eq!(SourceKey::of_words(words), SourceKey::of(from_words(words)));
        }

        #[test]
        fn an_ipv4_source_is_the_same_of_a_word(octets: [u8; 4]) {
            let words = v4_words(u32::from_ne_bytes(octets));
            prop_assert_eq!(SourceKey::of_words(words), SourceKey::of(v4_mapped(octets)));
        }

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
