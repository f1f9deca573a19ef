//! Whether the wall clock can be believed (THREATS B17): tokens expire by it, and records are found by it.
//!
//! Limits, windows and penalties run on the monotonic clock and do not care. What is looked for is a *jump*, the wall
//! clock moving against the monotonic one by more than the leeway that tokens are judged with, between two looks; and
//! whether the kernel says that somebody keeps the clock right. A host that was suspended counts as a jump: its wall clock
//! went on and the monotonic one did not.

use std::time::Duration;

use crate::clock::Now;

/// A change since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// The wall clock moved by so many nanoseconds more than time passed; negative = back.
    Jumped(i128),
    /// The clock came under somebody's care, or lost it. The first look always says which.
    Synchronised(bool),
}

/// What the last look found.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    /// Wall clock minus monotonic clock.
    ahead_ns: Option<i128>,
    synchronised: Option<bool>,
}

impl WallClock {
    /// Compares with the last look: at most one jump and one change of care.
    pub(super) fn look(
        &mut self,
        now: Now,
        synchronised: bool,
        leeway: Duration,
    ) -> impl Iterator<Item = Seen> + use<> {
        let ahead = i128::from(now.wall_ns) - i128::from(now.mono_ns);
        let moved = self.ahead_ns.replace(ahead).map_or(0, |before| ahead - before);
        let jumped = (moved.unsigned_abs() > leeway.as_nanos()).then_some(Seen::Jumped(moved));
        let changed = self.synchronised.replace(synchronised) != Some(synchronised);
        jumped.into_iter().chain(changed.then_some(Seen::Synchronised(synchronised)))
    }
}

/// Whether the kernel believes that its clock is kept right: adjtimex(2) without changing anything, the flag that NTP
/// daemons clear.
#[must_use]
pub(super) fn is_synchronised() -> bool {
    // SAFETY: `timex` is plain integers, for which all zeros is a value; modes = 0 reads only.
    #[expect(unsafe_code, reason = "there is no safe wrapper in the dependencies")]
    let (state, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex.status)
    };
    state >= 0 && state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[track_caller]
    fn check(clock: &mut WallClock, wall: u64, mono: u64, synchronised: bool, expected: &[Seen]) {
        let now = Now { wall_ns: wall * SECOND, mono_ns: mono * SECOND };
        let seen: Vec<Seen> = clock.look(now, synchronised, Duration::from_secs(30)).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn need_b17_a_jump_beyond_the_leeway_is_seen_once_in_either_direction() {
        let mut clock = WallClock::default();
        check(&mut clock, 1_000_000, 50, true, &[Seen::Synchronised(true)]);
        check(&mut clock, 1_000_001, 51, true, &[]);
        check(&mut clock, 1_000_031, 52, true, &[]);
        check(&mut clock, 1_000_132, 53, true, &[Seen::Jumped(100 * i128::from(SECOND))]);
        check(&mut clock, 1_000_133, 54, true, &[]);
        check(&mut clock, 900_000, 55, true, &[Seen::Jumped(-100_134 * i128::from(SECOND))]);
        check(&mut clock, 900_001, 56, true, &[]);
    }

    #[test]
    fn need_b17_losing_synchronisation_is_seen_and_so_is_finding_it_again() {
        let mut clock = WallClock::default();
        check(&mut clock, 1_000, 1, false, &[Seen::Synchronised(false)]);
        check(&mut clock, 1_001, 2, false, &[]);
        check(&mut clock, 1_002, 3, true, &[Seen::Synchronised(true)]);
        check(&mut clock, 1_003, 4, false, &[Seen::Synchronised(false)]);
    }
}
