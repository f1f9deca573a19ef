//! The generic cell rate algorithm (ITU-T I.371 Annex A, as a virtual schedule) as arithmetic on one number.
//!
//! State is the *theoretical arrival time* (TAT): the instant at which everything charged so far has drained. A unit
//! conforms if charging it leaves at most `burst` units undrained; charging moves the TAT by one interval. A TAT that
//! lies in the past holds no information, so such an entry may be forgotten.
//!
//! Time is CLOCK_MONOTONIC in *ticks* of 64 ns, not nanoseconds: the value then fits 52 bits for nine years of uptime,
//! and [`super::table`] keeps a generation in the other 12 bits of the same atomic word.
//!
//! **Invariant:** over any span `t`, admitted units ≤ burst + t / interval. Rounding (the interval up, the clock down)
//! only ever admits less.

use std::time::Duration;

use crate::clock::Now;

/// Nanoseconds of one tick, as a shift.
const TICK_SHIFT: u32 = 6;

/// Largest time a word can hold; two values above it are reserved by the table.
pub(crate) const TICKS_MAX: u64 = (1 << 52) - 8;

const TICKS_PER_SEC: u64 = 1_000_000_000 >> TICK_SHIFT;

/// The instant in ticks, rounded down.
pub(crate) const fn ticks(now: Now) -> u64 {
    now.mono_ns >> TICK_SHIFT
}

/// A span in ticks, rounded down.
pub(crate) fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos() >> TICK_SHIFT).unwrap_or(TICKS_MAX).min(TICKS_MAX)
}

/// Whole seconds of a span in ticks, rounded up: a client that waits them is not early.
pub(crate) const fn secs_ceil(ticks: u64) -> u64 {
    ticks.div_ceil(TICKS_PER_SEC)
}

/// How fast units drain and how many may be undrained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Ticks one unit takes to drain, ≥ 1.
    interval: u64,
    /// How far the TAT may lie ahead before a unit is charged: `(burst - 1) * interval`.
    tolerance: u64,
}

impl Rate {
    /// `units` per `window`, at once up to `burst`. Zeros are taken as ones: a rate that admits nothing is a policy's
    /// business, not a limiter's.
    #[must_use]
    pub(crate) fn new(units: u64, window: Duration, burst: u64) -> Self {
        let tick_ns = 1_u128 << TICK_SHIFT;
        let interval = window.as_nanos().div_ceil(u128::from(units.max(1)) * tick_ns);
        let interval = u64::try_from(interval).unwrap_or(TICKS_MAX).clamp(1, TICKS_MAX / 4);
        // A burst of more than half the clock's range never drains within it.
        let tolerance = interval.saturating_mul(burst.max(1) - 1).min(TICKS_MAX / 2);
        Self { interval, tolerance }
    }

    /// The TAT after one more unit at `now`.
    ///
    /// # Errors
    /// The ticks until a unit conforms, ≥ 1.
    pub(crate) const fn charge(self, tat: u64, now: u64) -> Result<u64, u64> {
        let start = if tat > now { tat } else { now };
        let horizon = now.saturating_add(self.tolerance);
        if start > horizon {
            return Err(start - horizon);
        }
        let next = start.saturating_add(self.interval);
        if next > TICKS_MAX { Err(next - TICKS_MAX) } else { Ok(next) }
    }

    /// Units that would conform at `now`.
    #[must_use]
    pub(crate) const fn remaining(self, tat: u64, now: u64) -> u64 {
        let start = if tat > now { tat } else { now };
        match now.saturating_add(self.tolerance).checked_sub(start) {
            Some(room) => room / self.interval + 1,
            None => 0,
        }
    }

    /// Ticks until all is drained.
    #[must_use]
    pub(crate) const fn drained_in(tat: u64, now: u64) -> u64 {
        tat.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A leaky bucket in exact integers: level in units × interval, drained by the time that passed.
    struct SlowBucket {
        interval: u64,
        capacity: u64,
        level: u64,
        at: u64,
    }

    impl SlowBucket {
        fn admit(&mut self, now: u64) -> bool {
            self.level = self.level.saturating_sub(now - self.at);
            self.at = now;
            let fits = self.level + self.interval <= self.capacity;
            self.level += if fits { self.interval } else { 0 };
            fits
        }
    }

    proptest! {
        #[test]
        fn decides_as_a_leaky_bucket_does(
            units in 1_u64..1000, window_ms in 1_u64..100_000, burst in 1_u64..50,
            gaps in proptest::collection::vec(0_u64..3_000_000, 1..300),
        ) {
            let rate = Rate::new(units, Duration::from_millis(window_ms), burst);
            let mut slow = SlowBucket { interval: rate.interval, capacity: rate.interval * burst, level: 0, at: 1 };
            let (mut now, mut tat) = (1, 0);
            for gap in gaps {
                now += gap;
                let remaining = rate.remaining(tat, now);
                let fast = rate.charge(tat, now);
                prop_assert_eq!(fast.is_ok(), slow.admit(now));
                prop_assert_eq!(fast.is_ok(), remaining > 0);
                match fast {
                    Ok(next) => tat = next,
                    Err(wait) => prop_assert!(
                        rate.charge(tat, now + wait).is_ok() && rate.charge(tat, now + wait - 1).is_err()
                    ),
                }
            }
        }

        #[test]
        fn admits_at_most_burst_and_rate(
            units in 1_u64..100_000, window_ms in 1_u64..10_000, burst in 1_u64..200,
            gaps in proptest::collection::vec(0_u64..200_000, 1..500),
        ) {
            let window = Duration::from_millis(window_ms);
            let rate = Rate::new(units, window, burst);
            let (mut ns, mut tat, mut admitted) = (1_000_000_u64, 0, 0_u128);
            let start = ns;
            for gap in gaps {
                ns += gap;
                if let Ok(next) = rate.charge(tat, ns >> TICK_SHIFT) {
                    tat = next;
                    admitted += 1;
                }
                // One tick of slack for the clock's rounding; in units × window ns, so that nothing is rounded.
                let elapsed = u128::from(ns - start) + (1 << TICK_SHIFT);
                prop_assert!(
                    admitted * window.as_nanos() <= u128::from(burst) * window.as_nanos() + elapsed * u128::from(units)
                );
            }
        }
    }

    #[test]
    fn absurd_rates_do_not_overflow() {
        for (units, window, burst) in [
            (0, Duration::ZERO, 0),
            (u64::MAX, Duration::MAX, u64::MAX),
            (1, Duration::MAX, u64::MAX),
            (u64::MAX, Duration::ZERO, 1),
        ] {
            let rate = Rate::new(units, window, burst);
            for now in [0, 1, TICKS_MAX, u64::MAX] {
                for tat in [0, now, TICKS_MAX] {
                    let _ = (rate.remaining(tat, now), Rate::drained_in(tat, now));
                    assert!(rate.charge(tat, now).is_err() || rate.charge(tat, now) <= Ok(TICKS_MAX), "{tat} {now}");
                }
            }
        }
    }

    #[test]
    fn waits_are_rounded_up_to_seconds() {
        assert_eq!(secs_ceil(1), 1);
        assert_eq!(secs_ceil(TICKS_PER_SEC), 1);
        assert_eq!(secs_ceil(TICKS_PER_SEC + 1), 2);
        assert_eq!(span(Duration::from_secs(1)), TICKS_PER_SEC);
    }
}
