//! The first loop guard: too many identical calls of one human within a window.
//!
//! A call is identical when user, tool and argument digest are. Each distinct call has one word in a table: the end of
//! its window and the calls admitted in it. The window is anchored at its first call, so the count is exact: nobody is
//! refused unless `identical_calls - 1` such calls really were admitted within the last window, and any
//! `2 * identical_calls - 1` of them within one window are caught whatever their phase.
//!
//! When the table has no room the call with the smallest count is forgotten (it starts again from zero), so memory
//! pressure can only admit, never refuse (THREATS A22), and whoever floods it with distinct calls displaces mostly
//! those. Loop verdicts never reach the kernel by themselves (THREATS A28).

use crate::config::resolved::{LoopGuard, Mode};
use crate::usage::gcra;
use crate::usage::table::{Entry, PAYLOAD_MAX, Table, WhenFull};

/// Bits of the count; the rest of a payload is the end of the window in coarse ticks (4.2 ms).
const COUNT_BITS: u32 = 16;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;

/// A compiled guard.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guard {
    /// The call that would bring the count to this is refused.
    threshold: u64,
    /// Ticks.
    window: u64,
    pub(crate) mode: Mode,
    /// Whether it matters who goes on with a loop.
    pub(crate) tells: bool,
}

impl Guard {
    pub(crate) fn new(config: &LoopGuard) -> Self {
        let threshold = u64::from(config.identical_calls).clamp(1, COUNT_MAX);
        Self { threshold, window: gcra::span(config.window), mode: config.mode, tells: config.runaway.is_some() }
    }

    /// The payload after one more call, starting a window if none is open.
    ///
    /// # Errors
    /// The ticks until the window ends, when this call makes a loop.
    pub(crate) fn count(self, payload: u64, now: u64) -> Result<u64, u64> {
        let (end, count) = (payload >> COUNT_BITS << COUNT_BITS, payload & COUNT_MAX);
        let open = end > now;
        let (end, count) = if open { (end, count + 1) } else { (now.saturating_add(self.window), 1) };
        if count >= self.threshold {
            // With a threshold of one there is no window to wait for: the call itself is refused.
            return Err(end.saturating_sub(now).max(1));
        }
        Ok((end.min(PAYLOAD_MAX) >> COUNT_BITS << COUNT_BITS) | count)
    }
}

/// Takes one call out of the window it was counted in; nothing if that window has gone.
pub(crate) fn uncount(payload: u64, counted: u64) -> u64 {
    let same_window = payload >> COUNT_BITS == counted >> COUNT_BITS;
    if same_window && payload & COUNT_MAX > 0 { payload - 1 } else { payload }
}

/// The table of calls.
pub(crate) fn table(slots: usize) -> Table {
    Table::new(slots, |payload, now| payload >> COUNT_BITS << COUNT_BITS <= now, WhenFull::ForgetSmallest)
}

/// What the guard says of a call, before anything is counted.
///
/// # Errors
/// The ticks until the window ends.
pub(crate) fn check(guard: Guard, entry: Option<Entry>, now: u64) -> Result<(), u64> {
    guard.count(entry.map_or(0, Entry::payload), now).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000 >> 6;

    fn guard(identical_calls: u32, window_secs: u64) -> Guard {
        Guard::new(&LoopGuard {
            identical_calls,
            window: Duration::from_secs(window_secs),
            mode: Mode::Enforce,
            runaway: None,
        })
    }

    #[test]
    fn refuses_exactly_the_call_that_makes_the_loop() {
        let guard = guard(5, 30);
        let mut payload = 0;
        for call in 0..4 {
            payload = guard.count(payload, SECOND * (100 + call)).expect("four calls are no loop");
        }
        let wait = guard.count(payload, SECOND * 105).unwrap_err();
        assert!(wait <= 25 * SECOND && wait > 24 * SECOND, "the window began with the first call");
        assert!(guard.count(payload, SECOND * 130).is_ok(), "thirty seconds after the first call it is over");
    }

    #[test]
    fn a_call_taken_back_leaves_the_count_as_it_was() {
        let guard = guard(5, 30);
        let one = guard.count(0, SECOND).unwrap();
        let two = guard.count(one, SECOND).unwrap();
        assert_eq!(uncount(two, two), one);
        let later = guard.count(two, 100 * SECOND).unwrap();
        assert_eq!(uncount(later, two), later, "another window's count is not ours to take from");
    }

    proptest! {
        #[test]
        fn never_refuses_on_less_than_the_threshold_and_always_by_twice_of_it(
            threshold in 2_u32..40, gaps in proptest::collection::vec(0_u64..SECOND * 3, 1..400),
        ) {
            let guard = guard(threshold, 10);
            let (mut now, mut payload, mut admitted, mut called) = (SECOND, 0, Vec::<u64>::new(), Vec::<u64>::new());
            for gap in gaps {
                now += gap;
                let in_window = |calls: &[u64]| calls.iter().filter(|at| **at + 10 * SECOND > now).count() as u64;
                match guard.count(payload, now) {
                    Ok(next) => {
                        payload = next;
                        admitted.push(now);
                        called.push(now);
                        prop_assert!(in_window(&called) < 2 * u64::from(threshold));
                    }
                    Err(_) => {
                        prop_assert!(in_window(&admitted) >= u64::from(threshold) - 1);
                        called.clear();
                    }
                }
            }
        }
    }
}
