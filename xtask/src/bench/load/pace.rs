//! When requests are due: arithmetic on a fixed rate, without drift and without a queue.
//!
//! Request `i` is due at `i / rate` after the start, whether or not the server kept up: its latency counts from there,
//! so a stalled server cannot hide its stall by delaying the requests that would have seen it (coordinated omission).

use std::time::Duration;

/// A fixed rate of requests from time zero on.
#[derive(Clone, Copy, Debug)]
pub(in crate::bench) struct Pace {
    per_second: f64,
}

impl Pace {
    /// `per_second` > 0 requests a second; anything else is the slowest pace there is, one request ever.
    pub(in crate::bench) fn new(per_second: f64) -> Self {
        Self { per_second: if per_second.is_finite() && per_second > 0.0 { per_second } else { f64::MIN_POSITIVE } }
    }

    /// When request `index` is due.
    pub(in crate::bench) fn due(self, index: u64) -> Duration {
        // Nanoseconds are exact to 2^53 ns = 104 days, far above any run.
        Duration::try_from_secs_f64(index as f64 / self.per_second).unwrap_or(Duration::MAX)
    }

    /// How many requests are due strictly before `time`.
    pub(in crate::bench) fn due_before(self, time: Duration) -> u64 {
        let mut count = (time.as_secs_f64() * self.per_second).ceil() as u64;
        // Rounding may be one off either way: the definition decides.
        while count > 0 && self.due(count - 1) >= time {
            count -= 1;
        }
        while self.due(count) < time {
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_due_evenly_and_the_first_at_once() {
        let pace = Pace::new(5_000.0);
        assert_eq!(pace.due(0), Duration::ZERO);
        assert_eq!(pace.due(1), Duration::from_micros(200));
        assert_eq!(pace.due(5_000), Duration::from_secs(1));
    }

    #[test]
    fn does_not_drift_over_an_hour() {
        let pace = Pace::new(3_000.0);
        assert_eq!(pace.due(3_000 * 3_600), Duration::from_secs(3_600));
    }

    #[test]
    fn a_window_holds_rate_times_length_requests() {
        for rate in [1.0, 3.0, 333.3, 3_000.0, 12_345.6] {
            let pace = Pace::new(rate);
            let (start, end) = (Duration::from_millis(2_000), Duration::from_millis(7_000));
            let count = pace.due_before(end) - pace.due_before(start);
            assert!((count as f64 - rate * 5.0).abs() <= 1.0, "{rate}: {count}");
        }
    }

    #[test]
    fn counts_as_due_exactly_what_is_due() {
        let pace = Pace::new(7_919.0);
        for index in [1, 2, 3, 10, 999, 123_456] {
            assert_eq!(pace.due_before(pace.due(index)), index);
        }
    }

    #[test]
    fn a_senseless_rate_sends_one_request() {
        for rate in [0.0, -1.0, f64::NAN] {
            assert_eq!(Pace::new(rate).due_before(Duration::from_secs(1_000_000)), 1);
        }
    }
}
