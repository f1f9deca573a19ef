//! Floods of unauthenticated refusals (THREATS A5): in full up to 10 a second per source and 1 000 in all; beyond that
//! they are counted, and each source and reason becomes one summary a second. Every refusal is in a record or a count.
//!
//! A source is an IPv4 address or an IPv6 /64, the smallest block a host cannot leave at will.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::ids::RequestId;
use crate::reason::Reason;

/// Recorded in full, per source and second.
pub(super) const SOURCE_MAX: u32 = 10;
/// Recorded in full, over all sources, per second.
pub(super) const TOTAL_MAX: u32 = 1000;
/// Sources told apart within one second; the rest count as one.
pub(super) const SOURCES_MAX: usize = 4096;

/// Stands for the sources beyond [`SOURCES_MAX`].
pub(super) const OTHERS: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What is counted of one source and reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) reason: Reason,
    pub(super) count: u64,
    pub(super) first: RequestId,
    pub(super) last: RequestId,
}

#[derive(Debug, Default)]
struct Source {
    full: u32,
    counts: SmallVec<[Count; 1]>,
}

/// The current second's counts.
#[derive(Debug, Default)]
pub(super) struct Flood {
    second: u64,
    full: u32,
    sources: HashMap<IpAddr, Source>,
    unsummed: u64,
}

impl Flood {
    /// Whether this refusal is recorded in full; it is counted otherwise.
    pub(super) fn admit(&mut self, address: IpAddr, reason: Reason, id: RequestId) -> bool {
        let mut key = source_of(address);
        if self.sources.len() >= SOURCES_MAX && !self.sources.contains_key(&key) {
            key = OTHERS;
        }
        let source = self.sources.entry(key).or_default();
        if source.full < SOURCE_MAX && self.full < TOTAL_MAX {
            source.full += 1;
            self.full += 1;
            return true;
        }
        self.unsummed += 1;
        match source.counts.iter_mut().find(|count| count.reason == reason) {
            Some(count) => {
                count.count += 1;
                count.last = id;
            }
            None => source.counts.push(Count { reason, count: 1, first: id, last: id }),
        }
        false
    }

    /// Refusals counted and not summarised yet.
    pub(super) fn unsummed(&self) -> u64 {
        self.unsummed
    }

    /// Whether a new second began, so that the old one's summaries are due.
    pub(super) fn is_due(&self, second: u64) -> bool {
        second != self.second
    }

    /// The old second's counts; `second` begins.
    pub(super) fn turn(&mut self, second: u64) -> Vec<(IpAddr, Count)> {
        self.second = second;
        self.full = 0;
        self.unsummed = 0;
        let sources = self.sources.drain();
        sources.flat_map(|(ip, source)| source.counts.into_iter().map(move |count| (ip, count))).collect()
    }
}

/// The source an address belongs to.
fn source_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> RequestId {
        let mut id = [0; 12];
        id[8..].copy_from_slice(&n.to_be_bytes());
        RequestId(id)
    }

    fn ip(n: u32) -> IpAddr {
        Ipv4Addr::from(0x0a00_0000 + n).into()
    }

    #[test]
    fn threat_a05_every_refusal_is_recorded_or_counted() {
        let mut flood = Flood::default();
        let (mut full, sent) = (0, 60_000);
        for n in 0..sent {
            let reason = if n % 3 == 0 { Reason::ExpiredToken } else { Reason::InvalidToken };
            full += u64::from(flood.admit(ip(n % 150), reason, id(n)));
        }
        let counts = flood.turn(1);
        assert_eq!(full, u64::from(TOTAL_MAX));
        assert_eq!(full + counts.iter().map(|(_, count)| count.count).sum::<u64>(), u64::from(sent));
        assert!(flood.turn(2).is_empty());
    }

    #[test]
    fn threat_a05_a_quiet_source_is_recorded_in_full_beside_a_loud_one() {
        let mut flood = Flood::default();
        let loud = (0..5000).filter(|n| flood.admit(ip(1), Reason::InvalidToken, id(*n))).count();
        assert_eq!(loud, SOURCE_MAX as usize);
        assert!((0..10).all(|n| flood.admit(ip(2), Reason::InvalidToken, id(n))));
        let counts = flood.turn(1);
        let expected = Count { reason: Reason::InvalidToken, count: 4990, first: id(10), last: id(4999) };
        assert_eq!(counts, [(ip(1), expected)]);
    }

    #[test]
    fn sources_are_bounded_and_a_v6_host_is_one_source() {
        let mut flood = Flood::default();
        let sent = 3 * SOURCES_MAX as u32;
        let full = (0..sent).filter(|n| flood.admit(ip(*n), Reason::InvalidToken, id(*n))).count();
        assert!(flood.sources.len() <= SOURCES_MAX + 1);
        let counted: u64 = flood.turn(1).iter().map(|(_, count)| count.count).sum();
        assert_eq!(full as u64 + counted, u64::from(sent));

        let v6 = |host: u128| IpAddr::from(Ipv6Addr::from_bits((0x2001_0db8 << 96) | host));
        assert_eq!((0..100).filter(|n| flood.admit(v6(*n), Reason::InvalidToken, id(0))).count(), SOURCE_MAX as usize);
    }
}
