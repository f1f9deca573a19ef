//! The independent ledger: what is bound to a socket while it lives, and the record of it when it closes.
//!
//! The kernel counts bytes where user space cannot miscount them, so the ledger can be held against the audit log: for
//! every closed connection `bytes_in` ≥ the sum of its audited request bytes, joined by socket cookie. The worker leaves
//! that sum with the socket before it closes it, so that the record has both ([`ConnClosed::audited_in`]).
//!
//! TCP counts a FIN as one byte of sequence space, received or acknowledged (RFC 9293 §3.4), and so do the kernel's
//! byte counters; [`Close`] takes them out again.

use core::net::SocketAddr;

use crate::addr::{self, Address};

/// Bytes of the ring buffer to user space: about 9 000 records, or 180 000 closes a second when it is read every 50 ms.
pub const EVENTS_BYTES: u32 = 1 << 20;

/// Flag: a tenant was bound.
pub const BOUND: u32 = 1;
/// Flag: requests of more than one tenant came over the connection; its bytes belong to no single one.
pub const MULTI: u32 = 1 << 1;
/// Flag: the peer's FIN arrived after we had sent ours.
pub const PEER_FIN: u32 = 1 << 2;
/// Flag: read by user space just before it closed the socket, not by the kernel after.
pub const USER: u32 = 1 << 3;
/// Flag: the audited bytes were left with the socket; without it nothing was audited, or the client ended the connection
/// before they could be.
pub const AUDITED: u32 = 1 << 4;

/// TCP states as the kernel numbers them (`include/net/tcp_states.h`).
pub mod tcp {
    /// Both directions open.
    pub const ESTABLISHED: u32 = 1;
    /// We sent FIN.
    pub const FIN_WAIT1: u32 = 4;
    /// Our FIN was acknowledged.
    pub const FIN_WAIT2: u32 = 5;
    /// Gone.
    pub const CLOSE: u32 = 7;
    /// The peer sent FIN.
    pub const CLOSE_WAIT: u32 = 8;
    /// The peer sent FIN, then we did.
    pub const LAST_ACK: u32 = 9;
    /// Both sent FIN at once; ours is not acknowledged yet.
    pub const CLOSING: u32 = 11;
}

/// A tenant in the kernel's terms: an index and how often it was given out. Slot 0 is "unattributed".
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TenantSlot {
    /// Index, or 0.
    pub slot: u32,
    /// Tells two holders of one index apart.
    pub generation: u32,
}

impl TenantSlot {
    /// No tenant: unauthenticated, or more tenants than slots.
    pub const UNATTRIBUTED: Self = Self { slot: 0, generation: 0 };
}

/// Value of the socket storage. User space creates it with the tenant that it binds; the kernel does where it has
/// something to say that has no other place.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SkState {
    /// Who was verified first.
    pub tenant: TenantSlot,
    /// [`BOUND`], [`MULTI`], [`PEER_FIN`].
    pub flags: u32,
    /// Zero.
    pub padding: u32,
    /// When the connection was accepted, or, if the kernel created it, when its handshake completed.
    pub opened_ns: u64,
    /// Bytes of requests that the audit log has; with [`AUDITED`].
    pub audited_in: u64,
}

const _: () = assert!(size_of::<SkState>() == 32);

impl SkState {
    /// An unbound connection.
    #[must_use]
    pub const fn opened(now_ns: u64) -> Self {
        Self { tenant: TenantSlot::UNATTRIBUTED, flags: 0, padding: 0, opened_ns: now_ns, audited_in: 0 }
    }

    /// The state after `tenant` was verified on the connection, or `None` if that says nothing new. The first tenant
    /// stays; a second one makes the connection [`MULTI`].
    #[must_use]
    pub fn bind(self, tenant: TenantSlot) -> Option<Self> {
        if self.flags & BOUND == 0 {
            return Some(Self { tenant, flags: self.flags | BOUND, ..self });
        }
        if self.tenant == tenant || self.flags & MULTI != 0 {
            return None;
        }
        Some(Self { flags: self.flags | MULTI, ..self })
    }

    /// The state of a connection over which so many bytes of requests were audited.
    #[must_use]
    pub const fn audited(self, bytes: u64) -> Self {
        Self { flags: self.flags | AUDITED, audited_in: bytes, ..self }
    }
}

/// Places for openings.
pub const OPENINGS: u32 = 1 << 16;

/// Where the kernel keeps when a connection opened: one word, in an array, at the low bits of its socket's cookie.
///
/// Socket storage would do, and does where the place is taken, but to create it costs over a microsecond, as much as all
/// else that is done for a connection. Cookies are counted up, each processor taking 4 096 at a time, so that a place is
/// only taken by a connection that has been open for long, or where there are more than sixteen processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Into the array.
    pub index: u32,
    tag: u16,
}

impl Opening {
    /// Of a socket's cookie.
    #[inline(always)]
    #[must_use]
    pub const fn of(cookie: u64) -> Self {
        Self { index: cookie as u32 % OPENINGS, tag: (cookie >> 16) as u16 }
    }

    /// What stands there of a connection that opened at `now_ns`; never 0, which is a place that is free. Kept in units of
    /// 1 024 ns, which are enough for nine years.
    #[inline(always)]
    #[must_use]
    pub const fn word(self, now_ns: u64) -> u64 {
        let units = now_ns >> 10;
        (if units == 0 { 1 } else { units }) << 16 | self.tag as u64
    }

    /// When it opened, if what stands there is of this connection.
    #[inline(always)]
    #[must_use]
    pub const fn opened_ns(self, word: u64) -> Option<u64> {
        if word == 0 || word as u16 != self.tag {
            return None;
        }
        Some(word >> 16 << 10)
    }
}

/// One closed connection. Byte counts are of payload: of TLS records, if there is TLS.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ConnClosed {
    /// Socket cookie (`SO_COOKIE`): the key that joins it to the audit log.
    pub cookie: u64,
    /// Bytes the client sent and we received in order.
    pub bytes_in: u64,
    /// Bytes we sent and the client acknowledged.
    pub bytes_acked: u64,
    /// When the handshake completed.
    pub opened_ns: u64,
    /// From then to the close.
    pub duration_ns: u64,
    /// The client.
    pub remote: Address,
    /// We.
    pub local: Address,
    /// The first tenant verified on it.
    pub tenant: TenantSlot,
    /// [`BOUND`], [`MULTI`], [`PEER_FIN`], [`USER`].
    pub flags: u32,
    /// Smoothed round-trip time.
    pub srtt_us: u32,
    /// Segments received.
    pub segs_in: u32,
    /// Segments sent.
    pub segs_out: u32,
    /// Segments sent again.
    pub retrans: u32,
    /// The client's port.
    pub remote_port: u16,
    /// Our port.
    pub local_port: u16,
    /// Bytes of requests that the audit log has of it; with [`AUDITED`].
    pub audited_in: u64,
}

const _: () = assert!(size_of::<ConnClosed>() == 112);

impl ConnClosed {
    /// The record in `bytes`, if there are exactly as many as one has.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: the length was checked, the read is unaligned, and `ConnClosed` is plain integers without padding,
        // so every bit pattern is a value of it.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }

    /// By how many bytes the audit log has more of this connection than the kernel saw: something is wrong with one of
    /// the two. `None` as it should be.
    #[must_use]
    pub const fn breach(&self) -> Option<u64> {
        if self.flags & AUDITED == 0 || self.audited_in <= self.bytes_in {
            return None;
        }
        Some(self.audited_in - self.bytes_in)
    }

    /// The client's address and port.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(addr::ip(self.remote), self.remote_port)
    }

    /// Our address and port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(addr::ip(self.local), self.local_port)
    }
}

/// What the byte counters need to be corrected by when a connection closes.
#[derive(Clone, Copy, Debug)]
pub struct Close {
    /// The state it closed from.
    pub old_state: u32,
    /// Flags of its [`SkState`].
    pub flags: u32,
    /// Whether everything we sent was acknowledged.
    pub all_acked: bool,
}

impl Close {
    /// Whether the received bytes count a FIN: the peer's was received before ours was sent, or seen after
    /// ([`PEER_FIN`]; from FIN_WAIT2 a socket goes to CLOSE both with and without it).
    #[inline(always)]
    #[must_use]
    pub const fn counts_peer_fin(self) -> bool {
        matches!(self.old_state, tcp::CLOSE_WAIT | tcp::LAST_ACK | tcp::CLOSING) || self.flags & PEER_FIN != 0
    }

    /// Whether the acknowledged bytes count our FIN: it was sent, and everything sent was acknowledged.
    #[inline(always)]
    #[must_use]
    pub const fn counts_our_fin(self) -> bool {
        match self.old_state {
            tcp::FIN_WAIT2 => true,
            tcp::CLOSING | tcp::LAST_ACK => self.all_acked,
            _ => false,
        }
    }

    /// Payload bytes received, of the kernel's counter.
    #[inline(always)]
    #[must_use]
    pub const fn bytes_in(self, counted: u64) -> u64 {
        counted.saturating_sub(self.counts_peer_fin() as u64)
    }

    /// Payload bytes acknowledged, of the kernel's counter.
    #[inline(always)]
    #[must_use]
    pub const fn bytes_acked(self, counted: u64) -> u64 {
        counted.saturating_sub(self.counts_our_fin() as u64)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    const ACME: TenantSlot = TenantSlot { slot: 1, generation: 1 };
    const RIVAL: TenantSlot = TenantSlot { slot: 2, generation: 1 };

    #[track_caller]
    fn check(old_state: u32, flags: u32, all_acked: bool, expected: (u64, u64)) {
        let close = Close { old_state, flags, all_acked };
        assert_eq!((close.bytes_in(100), close.bytes_acked(100)), expected, "{close:?}");
    }

    #[test]
    fn takes_out_the_fins_that_the_kernel_counted() {
        check(tcp::LAST_ACK, 0, true, (99, 99));
        check(tcp::LAST_ACK, 0, false, (99, 100));
        check(tcp::CLOSE_WAIT, 0, true, (99, 100));
        check(tcp::CLOSING, 0, true, (99, 99));
        check(tcp::FIN_WAIT2, 0, true, (100, 99));
        check(tcp::FIN_WAIT2, PEER_FIN, true, (99, 99));
        check(tcp::FIN_WAIT1, 0, false, (100, 100));
        check(tcp::ESTABLISHED, 0, true, (100, 100));
    }

    #[test]
    fn an_empty_connection_counts_nothing() {
        let close = Close { old_state: tcp::LAST_ACK, flags: 0, all_acked: true };
        assert_eq!((close.bytes_in(0), close.bytes_acked(0)), (0, 0));
    }

    #[test]
    fn an_opening_is_read_by_the_connection_that_wrote_it() {
        let (one, other) = (Opening::of(7), Opening::of(7 + u64::from(OPENINGS)));
        assert_eq!(one.index, other.index);
        let word = one.word(5_000_000_000);
        assert_eq!((one.opened_ns(word), other.opened_ns(word)), (Some(5_000_000_000 / 1_024 * 1_024), None));
        assert!(one.opened_ns(0).is_none() && Opening::of(0).word(0) != 0, "nothing is no opening");
    }

    #[test]
    fn the_first_tenant_stays_and_a_second_marks_the_connection() {
        let bound = SkState::opened(7).bind(ACME).expect("new");
        assert_eq!((bound.tenant, bound.flags, bound.opened_ns), (ACME, BOUND, 7));
        assert_eq!(bound.bind(ACME), None);
        let multi = bound.bind(RIVAL).expect("new");
        assert_eq!((multi.tenant, multi.flags), (ACME, BOUND | MULTI));
        assert_eq!(multi.bind(RIVAL), None);
        assert_eq!(multi.bind(ACME), None);
    }

    #[test]
    fn an_unattributed_binding_still_tells_a_second_tenant() {
        let bound = SkState::opened(7).bind(TenantSlot::UNATTRIBUTED).expect("new");
        assert_eq!(bound.bind(ACME).expect("new").flags, BOUND | MULTI);
    }

    #[test]
    fn more_audited_than_seen_is_a_breach_and_nothing_else_is() {
        let state = SkState::opened(7).audited(100);
        assert_eq!((state.flags, state.audited_in), (AUDITED, 100));
        let record = |bytes_in, flags| ConnClosed { bytes_in, flags, audited_in: 100, ..ConnClosed::default() };
        assert_eq!(record(99, AUDITED).breach(), Some(1));
        assert_eq!(record(100, AUDITED | BOUND).breach(), None);
        assert_eq!(record(0, BOUND).breach(), None, "nothing is known of what was audited");
    }

    proptest! {
        #[test]
        fn an_opening_is_early_by_a_microsecond_at_most(cookie: u64, now_ns in 1_024..1_u64 << 57) {
            let opening = Opening::of(cookie);
            let opened_ns = opening.opened_ns(opening.word(now_ns)).expect("its own");
            prop_assert!(opened_ns <= now_ns && now_ns - opened_ns < 1_024 && opening.index < OPENINGS);
        }

        #[test]
        fn only_a_whole_record_is_one(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let record = ConnClosed::from_bytes(&bytes);
            prop_assert_eq!(record.is_some(), bytes.len() == size_of::<ConnClosed>());
        }

        #[test]
        fn a_record_reads_back(cookie: u64, remote: [u8; 16], local_port: u16) {
            let record = ConnClosed { cookie, remote, local_port, ..ConnClosed::default() };
            let mut bytes = Vec::from(cookie.to_ne_bytes());
            bytes.resize(size_of::<ConnClosed>(), 0);
            bytes[40..56].copy_from_slice(&remote);
            bytes[102..104].copy_from_slice(&local_port.to_ne_bytes());
            prop_assert_eq!(ConnClosed::from_bytes(&bytes), Some(record));
        }
    }
}
