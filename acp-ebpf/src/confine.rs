//! What a confined cgroup may reach: the gateway and the resolvers that were named, and nothing else.
//!
//! Two walls, one list. The first is at the system calls (socket, bind, connect, sendto): it refuses with EPERM and knows
//! which process asked. The second is at the packets of the cgroup's sockets, both ways: it holds what no system call
//! shows, such as sockets connected before the first wall stood, listeners, and packets that an IP option sends
//! elsewhere than the socket says.
//!
//! **Invariants.** What cannot be read is refused. An IPv4 address and its mapped form are one. Only TCP and UDP exist:
//! raw, ping, SCTP, MPTCP and other sockets are refused when they are made.

use crate::addr::{self, Address};
use crate::packet::Frame;

/// Version of the maps' layout. User space refuses pinned maps of another.
pub const ABI: u32 = 1;
/// Entries of the list.
pub const ALLOWED_MAX: u32 = 64;
/// Size of the ring of refusals: about 4 000 of them. Whoever reads it looks five times a second.
pub const REFUSALS_BYTES: u32 = 256 * 1024;
/// Longest path of a confined cgroup, in bytes.
pub const PATH_MAX: usize = 488;

/// Where a refusal happened: values of [`Refusal::hook`].
pub mod hook {
    /// A socket of a kind that is not for confined processes was asked for.
    pub const SOCKET: u8 = 0;
    /// A stream socket was to be bound to a port, which only listeners need.
    pub const BIND: u8 = 1;
    /// A connection, or a datagram socket's peer.
    pub const CONNECT: u8 = 2;
    /// A datagram to an address of its own.
    pub const SEND: u8 = 3;
    /// A packet, of a socket that the system calls said nothing about.
    pub const PACKET: u8 = 4;
}

/// Counters: indices into a per-CPU array of `u64`.
pub mod count {
    /// Refused at a system call.
    pub const REFUSED: u32 = 0;
    /// Packets dropped on their way out.
    pub const DROPPED_OUT: u32 = 1;
    /// Packets dropped on their way in. Not recorded one by one: whoever is outside could fill the ring with them.
    pub const DROPPED_IN: u32 = 2;
    /// Refusals that found the ring full: counted above, and not recorded.
    pub const LOST: u32 = 3;
    /// Entries of the array.
    pub const MAX: u32 = 4;
}

/// TCP (IANA protocol numbers).
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// `SOCK_STREAM`.
const STREAM: u32 = 1;
/// `SOCK_DGRAM`.
const DGRAM: u32 = 2;

/// A destination: the key of the list.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Peer {
    /// Its address, IPv4-mapped if it is IPv4.
    pub address: Address,
    /// Its port.
    pub port: u16,
    /// [`TCP`], [`UDP`], or what was asked for.
    pub protocol: u16,
}

const _: () = assert!(size_of::<Peer>() == 20);

/// What a peer on the list is for: values of the list.
pub mod role {
    /// The gateway.
    pub const GATEWAY: u32 = 0;
    /// A resolver.
    pub const RESOLVER: u32 = 1;
}

/// One refusal, as the ring carries it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// The process, in the initial pid namespace; 0 where the hook cannot know.
    pub pid: u32,
    /// Its user, in the initial user namespace; of a packet, the socket's owner.
    pub uid: u32,
    /// Its name, which it chooses itself, filled up with zeros.
    pub comm: [u8; 16],
    /// Where to. Zero but for the protocol where a socket was refused.
    pub peer: Peer,
    /// One of [`hook`].
    pub hook: u8,
    /// Address family of a socket that was refused (`AF_INET`, `AF_INET6`).
    pub family: u8,
    /// Its type (`SOCK_RAW`, …).
    pub kind: u8,
    /// Zero.
    pub pad: u8,
}

const _: () = assert!(size_of::<Refusal>() == 56);

impl Refusal {
    /// The record that `bytes` are; `None` if they are something else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: as many bytes as the struct has, of which every pattern is a value; read without an alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

/// What a confinement is: the one value of a map beside the list, for whoever finds it pinned.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Meta {
    /// [`ABI`].
    pub abi: u32,
    /// Bytes of `path` in use.
    pub path_len: u32,
    /// The cgroup's id, which no other cgroup ever gets.
    pub cgroup: u64,
    /// Refusals of [`count::LOST`] that somebody has told of already. The one field that changes.
    pub lost_told: u64,
    /// Where the cgroup was found.
    pub path: [u8; PATH_MAX],
}

const _: () = assert!(size_of::<Meta>() == 512);

/// Whether a socket of this type and protocol may be made.
#[inline(always)]
#[must_use]
pub const fn may_create(kind: u32, protocol: u32) -> bool {
    matches!((kind, protocol), (STREAM, 6) | (DGRAM, 17))
}

/// Whether a socket of this type may be bound to this port. Datagram sockets may: some resolvers choose the port they
/// ask from, and what arrives from elsewhere is dropped.
#[inline(always)]
#[must_use]
pub const fn may_bind(kind: u32, port: u16) -> bool {
    kind != STREAM || port == 0
}

/// Which end of a packet is the other side.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// The destination.
    Out,
    /// The source.
    In,
}

/// The other side of an IP packet, which begins at offset 0: TCP or UDP right behind the IP header. `None` for all else,
/// later fragments included: the hooks are in front of fragmentation and behind reassembly.
#[inline(always)]
pub fn packet_peer<F: Frame + ?Sized>(packet: &F, way: Way) -> Option<Peer> {
    let [version] = packet.load(0)?;
    let (protocol, address, transport) = match version >> 4 {
        4 => ipv4(packet, way)?,
        6 => ipv6(packet, way)?,
        _ => return None,
    };
    if protocol != TCP && protocol != UDP {
        return None;
    }
    let port = match way {
        Way::Out => packet.load(transport + 2)?,
        Way::In => packet.load(transport)?,
    };
    Some(Peer { address, port: u16::from_be_bytes(port), protocol: protocol as u16 })
}

/// Protocol, address and where the transport header begins (RFC 791 §3.1).
#[inline(always)]
fn ipv4<F: Frame + ?Sized>(packet: &F, way: Way) -> Option<(u8, Address, u32)> {
    const OFFSET: u16 = 0x1fff;
    let header: [u8; 20] = packet.load(0)?;
    let length = (header[0] & 0xf) as u32 * 4;
    if length < 20 || u16::from_be_bytes([header[6], header[7]]) & OFFSET != 0 {
        return None;
    }
    let address = match way {
        Way::Out => [header[16], header[17], header[18], header[19]],
        Way::In => [header[12], header[13], header[14], header[15]],
    };
    Some((header[9], addr::v4_mapped(address), length))
}

/// The same (RFC 8200 §3). Extension headers are refused: a routing header leads elsewhere.
#[inline(always)]
fn ipv6<F: Frame + ?Sized>(packet: &F, way: Way) -> Option<(u8, Address, u32)> {
    let [next] = packet.load(6)?;
    let address = match way {
        Way::Out => packet.load(24)?,
        Way::In => packet.load(8)?,
    };
    Some((next, address, 40))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const V6: Address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
    const PORTS: [u8; 8] = [0x30, 0x39, 0x1f, 0x90, 0, 0, 0, 0];

    /// From 192.0.2.7:12345 to 198.51.100.9:8080, with so many words of options, at this fragment offset.
    fn v4(protocol: u8, options: u8, fragment: u16) -> Vec<u8> {
        let mut packet = std::vec![0; 20 + 4 * usize::from(options)];
        packet[0] = 0x45 + options;
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[9] = protocol;
        packet[12..20].copy_from_slice(&[192, 0, 2, 7, 198, 51, 100, 9]);
        packet.extend(PORTS);
        packet
    }

    fn v6(next: u8) -> Vec<u8> {
        let mut packet = std::vec![0; 40];
        (packet[0], packet[6]) = (0x60, next);
        packet[8..24].copy_from_slice(&V6);
        packet[24..40].copy_from_slice(&V6);
        packet[39] = 9;
        packet.extend(PORTS);
        packet
    }

    #[test]
    fn the_other_side_of_a_packet_is_where_it_goes_or_comes_from() {
        for (protocol, options) in [(TCP, 0), (UDP, 0), (TCP, 10)] {
            let packet = v4(protocol, options, 0x4000);
            let peer = |address, port| Peer { address: addr::v4_mapped(address), port, protocol: u16::from(protocol) };
            assert_eq!(packet_peer(&packet[..], Way::Out), Some(peer([198, 51, 100, 9], 8080)));
            assert_eq!(packet_peer(&packet[..], Way::In), Some(peer([192, 0, 2, 7], 12345)));
        }
        let packet = v6(UDP);
        let far = packet_peer(&packet[..], Way::Out).expect("readable");
        assert_eq!((far.address[15], far.port, far.protocol), (9, 8080, 17));
        assert_eq!(packet_peer(&packet[..], Way::In), Some(Peer { address: V6, port: 12345, protocol: 17 }));
    }

    #[test]
    fn what_cannot_be_read_has_no_other_side() {
        let (icmp, sctp, routing, fragment) = (1, 132, 43, 44);
        for packet in [v4(icmp, 0, 0), v4(sctp, 0, 0), v4(TCP, 0, 1), v6(routing), v6(fragment), v6(58)] {
            assert_eq!(packet_peer(&packet[..], Way::Out), None, "{packet:?}");
        }
        let short_header = [&[0x44][..], &v4(TCP, 0, 0)[1..]].concat();
        assert_eq!(packet_peer(&short_header[..], Way::Out), None);
        for packet in [v4(TCP, 0, 0), v6(TCP)] {
            let needed = packet.len() - 4;
            (0..needed).for_each(|end| assert_eq!(packet_peer(&packet[..end], Way::Out), None));
        }
    }

    #[test]
    fn only_tcp_and_udp_sockets_are_made() {
        const RAW: u32 = 3;
        const SEQPACKET: u32 = 5;
        assert!(may_create(STREAM, 6) && may_create(DGRAM, 17));
        // Ping sockets of either family, raw ones, SCTP both ways, MPTCP, UDP-Lite, L2TP, DCCP.
        for (kind, protocol) in [
            (DGRAM, 1),
            (DGRAM, 58),
            (RAW, 6),
            (RAW, 17),
            (RAW, 255),
            (STREAM, 132),
            (SEQPACKET, 132),
            (STREAM, 262),
            (DGRAM, 136),
            (DGRAM, 115),
            (6, 33),
            (STREAM, 17),
        ] {
            assert!(!may_create(kind, protocol), "{kind} {protocol}");
        }
    }

    #[test]
    fn a_stream_socket_is_bound_to_no_port_and_a_datagram_socket_to_any() {
        assert!(may_bind(STREAM, 0) && may_bind(DGRAM, 0) && may_bind(DGRAM, 5353));
        assert!(!may_bind(STREAM, 1) && !may_bind(STREAM, 65_535));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = (packet_peer(&bytes[..], Way::Out), packet_peer(&bytes[..], Way::In));
        }
    }
}
