//! The programs that hold the gateway's own connections to what user space listed.

use acp_ebpf::confine::{Peer, Refusal, TCP, hook};
use acp_ebpf::egress::{self, ALLOWED_MAX, REFUSALS_BYTES, count};
use acp_ebpf::log::event;
use aya_ebpf::btf_maps::{Array, HashMap, PerCpuArray, RingBuf};
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::{btf_map, cgroup_sock_addr};
use aya_ebpf::programs::SockAddrContext;

use super::{PASS, REFUSE, by_nameless, now_ns, peer4, peer6};

/// Address → the deadline in nanoseconds of CLOCK_MONOTONIC until which it may be connected to. Written by user space.
#[btf_map]
static EGRESS_ALLOWED: HashMap<Peer, u64, { ALLOWED_MAX as usize }> = HashMap::new();

/// Not zero once the guard holds.
#[btf_map]
static EGRESS_ON: Array<u32, 1> = Array::new();

/// Refusals, to the control thread.
#[btf_map]
static EGRESS_REFUSED: RingBuf<Refusal, { REFUSALS_BYTES as usize }> = RingBuf::new();

/// [`egress::count`].
#[btf_map]
static EGRESS_COUNTS: PerCpuArray<u64, { count::MAX as usize }> = PerCpuArray::new();

#[cgroup_sock_addr(connect4)]
fn acp_egress4(ctx: SockAddrContext) -> i32 {
    decide(peer4(&ctx))
}

#[cgroup_sock_addr(connect6)]
fn acp_egress6(ctx: SockAddrContext) -> i32 {
    decide(peer6(&ctx))
}

#[inline(always)]
fn decide(peer: Peer) -> i32 {
    let Some(on) = EGRESS_ON.get_ptr(0) else { return PASS };
    // SAFETY: the map returned the pointer; user space stores whole words.
    if unsafe { on.read_volatile() } == 0 || peer.protocol != u16::from(TCP) {
        return PASS;
    }
    // SAFETY: as above.
    let until = EGRESS_ALLOWED.get_ptr(peer).map(|until| unsafe { until.read_volatile() });
    if egress::is_allowed(until, now_ns()) {
        return PASS;
    }
    add(count::REFUSED);
    super::log::say(event::EGRESS, peer.address, peer.port, (bpf_get_current_pid_tgid() >> 32) as u32);
    match EGRESS_REFUSED.reserve(0) {
        Some(mut entry) => {
            entry.write(by_nameless(hook::CONNECT, peer));
            entry.submit(aya_ebpf::bindings::BPF_RB_NO_WAKEUP.into());
        }
        None => add(count::LOST),
    }
    REFUSE
}

#[inline(always)]
fn add(counter: u32) {
    if let Some(slot) = EGRESS_COUNTS.get_ptr_mut(counter) {
        super::add_one(slot);
    }
}
