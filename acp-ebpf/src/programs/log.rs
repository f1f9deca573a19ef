//! What programs say of their decisions, see [`acp_ebpf::log`].

use acp_ebpf::addr::{self, Address};
use acp_ebpf::log::{LINES_BYTES, Line, Switch, level_of};
use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::btf_maps::{Array, PerCpuArray, RingBuf};
use aya_ebpf::macros::btf_map;

use super::{now_ns, zero};

/// Written by user space.
#[btf_map]
static LOG_SWITCH: Array<Switch, 1> = Array::new();

/// Lines, to the control thread.
#[btf_map]
static LOG_LINES: RingBuf<Line, { LINES_BYTES as usize }> = RingBuf::new();

/// Lines that found the ring full.
#[btf_map]
static LOG_LOST: PerCpuArray<u64, 1> = PerCpuArray::new();

/// Says that `event` was decided, if anybody wants to know. For decisions only: on the path of what passes it has no
/// business.
#[inline(always)]
pub(crate) fn say(event: u8, address: Address, port: u16, detail: u32) {
    let Some(switch) = LOG_SWITCH.get_ptr(0) else { return };
    // SAFETY: the map returned the pointer; the two words are read one by one, and a mix of two switches is one that is
    // over by itself.
    let until_ns = unsafe { (&raw const (*switch).until_ns).read_volatile() };
    if until_ns == 0 {
        return;
    }
    // SAFETY: as above.
    let level = unsafe { (&raw const (*switch).level).read_volatile() };
    let at_ns = now_ns();
    if at_ns >= until_ns || level_of(event) > level {
        return;
    }
    match LOG_LINES.reserve(0) {
        Some(mut entry) => {
            entry.write(Line { at_ns, address, detail, port, event, pad: 0 });
            entry.submit(BPF_RB_NO_WAKEUP.into());
        }
        None => {
            if let Some(lost) = LOG_LOST.get_ptr_mut(0) {
                super::add_one(lost);
            }
        }
    }
}

/// Where there is no address to name.
#[inline(always)]
pub(crate) fn nowhere() -> Address {
    addr::from_words([zero(), zero(), zero(), zero()])
}
