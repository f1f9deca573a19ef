//! What the programs say of single decisions while an operator has them say it.
//!
//! One word of memory switches it on, until a deadline that is the kernel's too: a gateway that dies leaves no program
//! writing. While it is off a decision costs one look at that word, and what is not decided, a packet that passes, costs
//! nothing. What finds the ring full is counted.
//!
//! **Invariants.** A line is of one decision and has no text: who reads it writes the words. Nothing is decided by what
//! is said here.

use crate::addr::Address;

/// Size of the ring: about 3 200 lines. Whoever reads it looks twenty times a second.
pub const LINES_BYTES: u32 = 128 * 1024;

/// How much is said.
pub mod level {
    /// What was refused, dropped or lost.
    pub const REFUSALS: u32 = 1;
    /// What was let through although it might not have been, and listeners, too.
    pub const DECISIONS: u32 = 2;
}

/// What was decided: values of [`Line::event`].
pub mod event {
    /// `acp_steer` refused a connection attempt; the address is its source's key.
    pub const REFUSED: u8 = 0;
    /// `acp_drop` left a SYN without an answer.
    pub const DROPPED: u8 = 1;
    /// `acp_quarantine` dropped a packet; the detail is the tenant's slot.
    pub const QUARANTINED: u8 = 2;
    /// A connection of the gateway itself was refused; the detail is the process.
    pub const EGRESS: u8 = 3;
    /// The record of a closed connection found the ring full.
    pub const UNRECORDED: u8 = 4;
    /// A connection was let through a penalty's open window; the detail is how many that makes.
    pub const LET_THROUGH: u8 = 5;
    /// A listener was opened in the gateway's cgroup.
    pub const LISTENING: u8 = 6;
    /// How many there are.
    pub const COUNT: u8 = 7;
}

/// The level from which on an event is said.
#[inline(always)]
#[must_use]
pub const fn level_of(event: u8) -> u32 {
    if event <= event::UNRECORDED { level::REFUSALS } else { level::DECISIONS }
}

/// The switch, as user space writes it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Switch {
    /// Until when, in nanoseconds of CLOCK_MONOTONIC; 0 = off.
    pub until_ns: u64,
    /// One of [`level`].
    pub level: u32,
    /// Zero.
    pub pad: u32,
}

const _: () = assert!(size_of::<Switch>() == 16);

impl Switch {
    /// Whether something of this kind is said at this moment.
    #[inline(always)]
    #[must_use]
    pub const fn says(&self, event: u8, now_ns: u64) -> bool {
        now_ns < self.until_ns && level_of(event) <= self.level
    }
}

/// One decision, as the ring carries it.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Line {
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub at_ns: u64,
    /// Whose packet or connection it was, or, of the gateway's own, where to; zeroes where that is not known.
    pub address: Address,
    /// Depends on the event.
    pub detail: u32,
    /// Of the address; 0 where that says nothing.
    pub port: u16,
    /// One of [`event`].
    pub event: u8,
    /// Zero.
    pub pad: u8,
}

const _: () = assert!(size_of::<Line>() == 32);

impl Line {
    /// The line that `bytes` are; `None` if they are something else.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != size_of::<Self>() {
            return None;
        }
        // SAFETY: as many bytes as the struct has, of which every pattern is a value; read without an alignment.
        Some(unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_until_the_deadline_from_its_level_on() {
        let switch = |until_ns, level| Switch { until_ns, level, pad: 0 };
        assert!(switch(5, level::REFUSALS).says(event::REFUSED, 4));
        assert!(!switch(5, level::REFUSALS).says(event::REFUSED, 5), "over");
        assert!(!switch(5, level::REFUSALS).says(event::LET_THROUGH, 4));
        assert!((0..event::COUNT).all(|event| switch(5, level::DECISIONS).says(event, 4)));
        assert!((0..event::COUNT).all(|event| !Switch::default().says(event, 0)), "off");
    }

    #[test]
    fn bytes_of_another_length_are_no_line() {
        assert!(Line::from_bytes(&[0; 31]).is_none() && Line::from_bytes(&[0; 33]).is_none());
        assert_eq!(Line::from_bytes(&[1; 32]).map(|line| (line.port, line.event)), Some((0x0101, 1)));
    }
}
