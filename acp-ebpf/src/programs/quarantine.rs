//! The program that drops what arrives on the connections of quarantined tenants: on the gateway's own cgroup, and one
//! look at one word while there is no quarantine.

use core::ptr;

use acp_ebpf::SkState;
use acp_ebpf::ledger::{BOUND, MULTI};
use acp_ebpf::log::event;
use acp_ebpf::quarantine::{ATTACHED, SLOTS, is_frozen};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::btf_maps::{Array, PerCpuArray};
use aya_ebpf::helpers::{bpf_sk_fullsock, bpf_sk_storage_get};
use aya_ebpf::macros::{btf_map, cgroup_skb};
use aya_ebpf::programs::SkBuffContext;

use super::{PASS, REFUSE, log, tick_ns};

/// Tenant's slot → the deadline of its quarantine, in nanoseconds of CLOCK_MONOTONIC.
#[btf_map]
static QUARANTINED: Array<u64, { SLOTS as usize }> = Array::new();

/// The last of all deadlines: what keeps the program from costing anything.
#[btf_map]
static QUARANTINE_ON: Array<u64, 1> = Array::new();

/// Packets dropped.
#[btf_map]
static QUARANTINE_DROPPED: PerCpuArray<u64, 1> = PerCpuArray::new();

#[cgroup_skb(ingress)]
fn acp_quarantine(ctx: SkBuffContext) -> i32 {
    let Some(until) = QUARANTINE_ON.get_ptr(0) else { return PASS };
    // SAFETY: the map returned the pointer; user space stores whole words.
    let until_ns = unsafe { until.read_volatile() };
    if until_ns <= ATTACHED || !is_frozen(until_ns, tick_ns()) {
        return PASS;
    }
    match tenant(&ctx).and_then(|slot| Some((slot, QUARANTINED.get_ptr(slot)?))) {
        // SAFETY: as above.
        Some((slot, until)) if is_frozen(unsafe { until.read_volatile() }, tick_ns()) => {
            log::say(event::QUARANTINED, log::nowhere(), 0, slot);
            if let Some(dropped) = QUARANTINE_DROPPED.get_ptr_mut(0) {
                super::add_one(dropped);
            }
            REFUSE
        }
        _ => PASS,
    }
}

/// The slot of the tenant whose alone the packet's connection is.
#[inline(always)]
fn tenant(ctx: &SkBuffContext) -> Option<u32> {
    let skb: *mut __sk_buff = ctx.skb.skb;
    // SAFETY: the kernel hands the program a valid context.
    let sk = unsafe { (&raw const (*skb).__bindgen_anon_2.sk).read_volatile() };
    if sk.is_null() {
        return None;
    }
    // SAFETY: a socket that was checked for null.
    let sk = unsafe { bpf_sk_fullsock(sk) };
    if sk.is_null() {
        return None;
    }
    let map = ptr::from_ref(&crate::SK_STATE).cast_mut().cast();
    // SAFETY: `map` is a socket storage map and `sk` a full socket that was checked for null.
    let state: *mut SkState = unsafe { bpf_sk_storage_get(map, sk.cast(), ptr::null_mut(), 0) }.cast();
    if state.is_null() {
        return None;
    }
    // SAFETY: the pointer is the socket's own storage; user space stores it whole, and a mix of two states is one of
    // them but for a moment.
    let (slot, flags) =
        unsafe { ((&raw const (*state).tenant.slot).read_volatile(), (&raw const (*state).flags).read_volatile()) };
    (flags & (BOUND | MULTI) == BOUND).then_some(slot)
}
