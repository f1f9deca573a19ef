//! Programs with maps of their own, loaded by others than the gateway's own plane, or optional beside it.

use core::mem::MaybeUninit;

use acp_ebpf::addr::{self, Address};
use acp_ebpf::confine::{Peer, Refusal};
use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_ktime_get_coarse_ns};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_ktime_get_ns};
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
pub(crate) mod log;
mod quarantine;

/// What a cgroup's program returns for what it refuses: the system call ends with EPERM, a packet is dropped.
pub(crate) const REFUSE: i32 = 0;
/// And for what it lets through.
pub(crate) const PASS: i32 = 1;

#[inline(always)]
pub(crate) fn peer4(ctx: &SockAddrContext) -> Peer {
    peer(ctx, addr::from_words([zero(), zero(), 0xffff_u32.to_be(), field!(ctx.sock_addr, user_ip4)]))
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

/// A zero that the compiler does not know: of a row of those that it knows it makes a call of memset, and a loader needs
/// CAP_PERFMON for a program that walks its stack so.
#[inline(always)]
fn zero() -> u32 {
    let zero = 0;
    // SAFETY: a local variable.
    unsafe { (&raw const zero).read_volatile() }
}

/// What this process was refused, by its name. A program that asks for the name needs a loader with CAP_PERFMON.
#[inline(always)]
pub(crate) fn by_process(hook: u8, peer: Peer) -> Refusal {
    let (pid, uid) = (bpf_get_current_pid_tgid() >> 32, bpf_get_current_uid_gid());
    let mut comm = MaybeUninit::<[u8; 16]>::uninit();
    // SAFETY: the helper writes all of the buffer, zeroes if it fails (kernel/bpf/helpers.c).
    let comm = unsafe {
        bpf_get_current_comm(comm.as_mut_ptr().cast(), 16);
        comm.assume_init()
    };
    let (at_ns, pid, uid) = (now_ns(), pid as u32, uid as u32);
    Refusal { at_ns, pid, uid, comm, peer, hook, family: 0, kind: 0, pad: 0 }
}

/// The same where it is known which program it is.
#[inline(always)]
pub(crate) fn by_nameless(hook: u8, peer: Peer) -> Refusal {
    let (pid, uid) = (bpf_get_current_pid_tgid() >> 32, bpf_get_current_uid_gid());
    let comm = addr::from_words([zero(), zero(), zero(), zero()]);
    let (at_ns, pid, uid) = (now_ns(), pid as u32, uid as u32);
    Refusal { at_ns, pid, uid, comm, peer, hook, family: 0, kind: 0, pad: 0 }
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

/// The same clock as of the last tick, up to 10 ms ago: what deadlines and windows are judged by. Reading the hardware's
/// was a fifth of what a refusal cost.
#[inline(always)]
pub(crate) fn tick_ns() -> u64 {
    // SAFETY: as above.
    unsafe { bpf_ktime_get_coarse_ns() }
}
