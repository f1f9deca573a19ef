//! The TCP SYN in an Ethernet frame, if there is one: all that a program in front of the network stack needs to know.
//!
//! Reads VLAN tags (IEEE 802.1Q and 802.1ad, two at most), IPv4 with options, IPv6 with up to [`EXTENSIONS_MAX`]
//! extension headers, and fragments as far as they hold a TCP header, which only the first does. What it cannot read is
//! no SYN: it is left to the stack.
//!
//! Nearly every frame of a flood is IPv4 without tags or options: where its first [`PLAIN`] bytes lie in one piece, they
//! are read in place instead of by a helper call for each header.

use crate::addr::{self, ETH_P_IP, ETH_P_IPV6, Words};

/// IPv6 extension headers that are stepped over; a SYN has none in practice.
pub const EXTENSIONS_MAX: u32 = 4;
/// VLAN tags that are stepped over.
const TAGS_MAX: u32 = 2;

const ETHERTYPE: u32 = 12;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
const TCP: u8 = 6;
/// FIN, SYN, RST and ACK in the TCP header's flags (RFC 9293 §3.1).
const FLAGS: u8 = 0x17;
const SYN: u8 = 0x02;
/// Of the flags and offset field of IPv4 (RFC 791 §3.1).
const FRAGMENT_OFFSET: u16 = 0x1fff;

/// Ethernet, IPv4 and TCP without tags or options.
pub const PLAIN: usize = 14 + 20 + 20;

/// A frame that bytes can be read of.
pub trait Frame {
    /// What it would be without tags and options, where that can be read in place; `None` says nothing about its length.
    #[inline(always)]
    fn plain(&self) -> Option<Plain> {
        None
    }

    /// `N` bytes at `offset`, if it has them.
    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
}

impl Frame for [u8] {
    fn plain(&self) -> Option<Plain> {
        self.first_chunk().map(Plain::of)
    }

    fn load<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.get(offset as usize..)?.first_chunk().copied()
    }
}

/// A request for a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Syn {
    /// Whose, or so it says.
    pub source: Words,
    /// Our port.
    pub port: u16,
}

/// The SYN in `frame`.
#[inline(always)]
pub fn syn<F: Frame + ?Sized>(frame: &F) -> Option<Syn> {
    match frame.plain() {
        Some(plain) if plain.ethertype == ETH_P_IP && plain.version == 0x45 => plain.syn(),
        _ => any_syn(frame),
    }
}

/// What is asked of Ethernet, IPv4 and TCP headers without tags or options. Values, not a reference: the verifier allows
/// no look whether a pointer into a packet is null, which is what an absent reference is.
#[derive(Clone, Copy, Debug)]
pub struct Plain {
    ethertype: u16,
    /// And the header's length in words.
    version: u8,
    fragment: u16,
    protocol: u8,
    source: u32,
    port: u16,
    flags: u8,
}

impl Plain {
    /// Of a frame's first bytes.
    #[inline(always)]
    #[must_use]
    pub fn of(head: &[u8; PLAIN]) -> Self {
        Self {
            ethertype: u16::from_be_bytes([head[12], head[13]]),
            version: head[14],
            fragment: u16::from_be_bytes([head[20], head[21]]),
            protocol: head[23],
            source: u32::from_ne_bytes([head[26], head[27], head[28], head[29]]),
            port: u16::from_be_bytes([head[36], head[37]]),
            flags: head[47],
        }
    }

    /// The SYN, if it is one and the headers are what they were taken for.
    #[inline(always)]
    fn syn(self) -> Option<Syn> {
        if self.protocol != TCP || self.fragment & FRAGMENT_OFFSET != 0 || self.flags & FLAGS != SYN {
            return None;
        }
        Some(Syn { source: addr::v4_words(self.source), port: self.port })
    }
}

#[inline(always)]
fn any_syn<F: Frame + ?Sized>(frame: &F) -> Option<Syn> {
    let (protocol, network) = ethernet(frame)?;
    let (source, transport) = match protocol {
        ETH_P_IP => ipv4(frame, network)?,
        ETH_P_IPV6 => ipv6(frame, network)?,
        _ => return None,
    };
    let tcp: [u8; 14] = frame.load(transport)?;
    (tcp[13] & FLAGS == SYN).then_some(Syn { source, port: u16::from_be_bytes([tcp[2], tcp[3]]) })
}

/// The network protocol and where its header begins.
#[inline(always)]
fn ethernet<F: Frame + ?Sized>(frame: &F) -> Option<(u16, u32)> {
    let mut at = ETHERTYPE;
    let mut tags = 0;
    loop {
        let protocol = u16::from_be_bytes(frame.load(at)?);
        if !matches!(protocol, ETH_P_8021Q | ETH_P_8021AD) {
            return Some((protocol, at + 2));
        }
        if tags == TAGS_MAX {
            return None;
        }
        tags += 1;
        at += 4;
    }
}

/// The source and where the TCP header begins (RFC 791 §3.1).
#[inline(always)]
fn ipv4<F: Frame + ?Sized>(frame: &F, at: u32) -> Option<(Words, u32)> {
    let header: [u8; 20] = frame.load(at)?;
    let length = u32::from(header[0] & 0xf) * 4;
    let first = u16::from_be_bytes([header[6], header[7]]) & FRAGMENT_OFFSET == 0;
    if header[0] >> 4 != 4 || length < 20 || header[9] != TCP || !first {
        return None;
    }
    Some((addr::v4_words(u32::from_ne_bytes([header[12], header[13], header[14], header[15]])), at + length))
}

/// The same (RFC 8200 §3, §4).
#[inline(always)]
fn ipv6<F: Frame + ?Sized>(frame: &F, at: u32) -> Option<(Words, u32)> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION: u8 = 60;
    let fixed: [u8; 8] = frame.load(at)?;
    if fixed[0] >> 4 != 6 {
        return None;
    }
    let source = addr::to_words(frame.load(at + 8)?);
    let (mut next, mut at) = (fixed[6], at + 40);
    let mut stepped = 0;
    while next != TCP {
        if stepped == EXTENSIONS_MAX {
            return None;
        }
        stepped += 1;
        let extension: [u8; 4] = frame.load(at)?;
        at += match next {
            HOP_BY_HOP | ROUTING | DESTINATION => (u32::from(extension[1]) + 1) * 8,
            FRAGMENT if u16::from_be_bytes([extension[2], extension[3]]) >> 3 == 0 => 8,
            _ => return None,
        };
        next = extension[0];
    }
    Some((source, at))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;
    use crate::addr::Address;

    const V4: [u8; 4] = [192, 0, 2, 7];
    const V6: Address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];

    fn tcp(flags: u8) -> Vec<u8> {
        let mut header = std::vec![0; 20];
        header[..4].copy_from_slice(&[0x30, 0x39, 0x1f, 0x90]);
        (header[12], header[13]) = (0x50, flags);
        header
    }

    fn ethernet(tags: &[u16], protocol: u16, packet: &[u8]) -> Vec<u8> {
        let mut frame = std::vec![2; 12];
        for tag in tags {
            frame.extend(tag.to_be_bytes());
            frame.extend([0, 5]);
        }
        frame.extend(protocol.to_be_bytes());
        frame.extend(packet);
        frame
    }

    /// An IPv4 packet with options of this many words, at this fragment offset.
    fn v4(options: u8, offset: u16, protocol: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = std::vec![0; 20 + 4 * usize::from(options)];
        packet[0] = 0x45 + options;
        packet[6..8].copy_from_slice(&(0x2000 | offset).to_be_bytes());
        packet[9] = protocol;
        packet[12..16].copy_from_slice(&V4);
        packet.extend(payload);
        packet
    }

    /// An IPv6 packet with these headers before its payload, each with its type.
    fn v6(extensions: &[(u8, &[u8])], payload: &[u8]) -> Vec<u8> {
        let mut packet = std::vec![0; 40];
        packet[0] = 0x60;
        packet[8..24].copy_from_slice(&V6);
        packet[6] = extensions.first().map_or(6, |(kind, _)| *kind);
        extensions.iter().for_each(|(_, body)| packet.extend(*body));
        packet.extend(payload);
        packet
    }

    #[track_caller]
    fn check(frame: &[u8], source: Option<Address>) {
        assert_eq!(syn(frame), source.map(|source| Syn { source: addr::to_words(source), port: 8080 }), "{frame:02x?}");
        for end in 0..frame.len().saturating_sub(6) {
            assert_eq!(syn(&frame[..end]), None, "cut off at {end}");
        }
    }

    #[test]
    fn finds_the_syn_behind_tags_and_options() {
        let source = Some(addr::v4_mapped(V4));
        let packet = v4(0, 0, TCP, &tcp(SYN));
        check(&ethernet(&[], ETH_P_IP, &packet), source);
        check(&ethernet(&[ETH_P_8021Q], ETH_P_IP, &packet), source);
        check(&ethernet(&[ETH_P_8021AD, ETH_P_8021Q], ETH_P_IP, &packet), source);
        check(&ethernet(&[ETH_P_8021Q; 3], ETH_P_IP, &packet), None);
        check(&ethernet(&[], ETH_P_IP, &v4(10, 0, TCP, &tcp(SYN))), source);
        check(&ethernet(&[], ETH_P_IPV6, &v6(&[], &tcp(SYN))), Some(V6));
    }

    #[test]
    fn finds_it_behind_extension_headers_and_in_first_fragments_only() {
        let v6 = |extensions: &[(u8, &[u8])]| ethernet(&[], ETH_P_IPV6, &v6(extensions, &tcp(SYN)));
        check(&v6(&[(0, &[6, 0, 0, 0, 0, 0, 0, 0])]), Some(V6));
        check(&v6(&[(60, &[6, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])]), Some(V6));
        check(&v6(&[(44, &[6, 0, 0, 1, 0, 0, 0, 9])]), Some(V6));
        check(&v6(&[(44, &[6, 0, 0, 8, 0, 0, 0, 9])]), None);
        let hop: (u8, &[u8]) = (0, &[0, 0, 0, 0, 0, 0, 0, 0]);
        check(&v6(&[hop, hop, hop, (0, &[6, 0, 0, 0, 0, 0, 0, 0])]), Some(V6));
        check(&v6(&[hop, hop, hop, hop, (0, &[6, 0, 0, 0, 0, 0, 0, 0])]), None);
        check(&v6(&[(50, &[6, 0, 0, 0, 0, 0, 0, 0])]), None);
        check(&ethernet(&[], ETH_P_IP, &v4(0, 1, TCP, &tcp(SYN))), None);
    }

    #[test]
    fn everything_else_is_no_syn() {
        for flags in [0, 0x10, 0x12, 0x11, 0x04, 0x03, 0x18] {
            check(&ethernet(&[], ETH_P_IP, &v4(0, 0, TCP, &tcp(flags))), None);
        }
        check(&ethernet(&[], ETH_P_IP, &v4(0, 0, TCP, &tcp(SYN | 0xc0))), Some(addr::v4_mapped(V4)));
        check(&ethernet(&[], ETH_P_IP, &v4(0, 0, 17, &tcp(SYN))), None);
        check(&ethernet(&[], 0x0806, &v4(0, 0, TCP, &tcp(SYN))), None);
        check(&ethernet(&[], ETH_P_IPV6, &v4(0, 0, TCP, &tcp(SYN))), None);
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_no_syn(mut frame in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4_u8) {
            // Of a protocol that is looked into, mostly.
            if let Some(at) = frame.get_mut(12..15) {
                at.copy_from_slice(match kind {
                    0 => &[0x08, 0x00, 0x45],
                    1 => &[0x86, 0xdd, 0x60],
                    2 => &[0x81, 0x00, 0x00],
                    _ => &[0x00, 0x00, 0x00],
                });
            }
            let _ = syn(&frame[..]);
        }

        #[test]
        fn what_is_read_in_place_is_what_is_read_header_by_header(
            mut frame in prop::collection::vec(any::<u8>(), PLAIN..80), length in 0x44_u8..0x47, protocol in 5_u8..8,
            offset in prop::option::of(any::<u16>()), flags in prop::option::of(any::<u8>()),
        ) {
            frame[12..15].copy_from_slice(&[0x08, 0x00, length]);
            frame[23] = protocol;
            frame[20..22].copy_from_slice(&offset.unwrap_or(0x4000).to_be_bytes());
            frame[47] = flags.unwrap_or(SYN);
            prop_assert_eq!(syn(&frame[..]), any_syn(&frame[..]));
        }
    }
}
