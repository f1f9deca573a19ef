//! Programs with maps of their own, loaded by others than the gateway's own plane, or optional beside it.

use acp_ebpf::addr::{self, Address};
use acp_ebpf::confine::{Peer, Refusal};
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_ns};
use aya_ebpf::programs::SockAddrContext;

/// Reads one context field: two adjacent loads that were merged into one are refused by the verifier.
macro_rules! field {
    ($context:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands the program a valid context.
        unsafe { (&raw const (*$context).$($field)+).read_volatile() }
    };
}

mod confine;
mod egress;
mod quarantine;

/// What a cgroup's program returns for what it refuses: the system call ends with EPERM, a packet is dropped.
pub(crate) const REFUSE: i32 = 0;
/// And for what it lets through.
pub(crate) const PASS: i32 = 1;

#[inline(always)]
pub(crate) fn peer4(ctx: &SockAddrContext) -> Peer {
    peer(ctx, addr::v4_mapped(field!(ctx.sock_addr, user_ip4).to_ne_bytes()))
}

#[inline(always)]
pub(crate) fn peer6(ctx: &SockAddrContext) -> Peer {
    let words = [
        field!(ctx.sock_addr, user_ip6[0]),
        field!(ctx.sock_addr, user_ip6[1]),
        field!(ctx.sock_addr, user_ip6[2]),
        field!(ctx.sock_addr, user_ip6[3]),
    ];
    peer(ctx, addr::from_words(words))
}

#[inline(always)]
fn peer(ctx: &SockAddrContext, address: Address) -> Peer {
    // The port is in network order in the lower half.
    let port = u16::from_be(field!(ctx.sock_addr, user_port) as u16);
    Peer { address, port, protocol: field!(ctx.sock_addr, protocol) as u16 }
}

#[inline(always)]
pub(crate) fn by_process(hook: u8, peer: Peer) -> Refusal {
    let (pid, uid) = (bpf_get_current_pid_tgid() >> 32, bpf_get_current_uid_gid());
    let comm = bpf_get_current_comm().unwrap_or_default();
    Refusal { at_ns: now_ns(), pid: pid as u32, uid: uid as u32, comm, peer, ..nobody(hook) }
}

#[inline(always)]
pub(crate) fn nobody(hook: u8) -> Refusal {
    let peer = Peer { address: [0; 16], port: 0, protocol: 0 };
    Refusal { at_ns: 0, pid: 0, uid: 0, comm: [0; 16], peer, hook, family: 0, kind: 0, pad: 0 }
}

/// Counts in a per-CPU slot that a map returned.
#[inline(always)]
pub(crate) fn add_one(slot: *mut u64) {
    // SAFETY: the slot is this CPU's own, and the target has no atomic addition: a program that interrupts another in the
    // middle of this line, on one CPU, costs one count.
    unsafe { *slot += 1 };
}

#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { bpf_ktime_get_ns() }
}
