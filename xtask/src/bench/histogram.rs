//! Latencies in buckets of fixed relative width, as in HdrHistogram: 64 linear steps per power of two, so that a
//! reported value is at most 1/64 (1.6 %) above the recorded one, whatever its size.
//!
//! Recording is two shifts and an increment: nothing is kept per request, so a long run costs no memory.

/// Linear steps per power of two.
const STEPS: u64 = 64;
const STEPS_LOG2: u32 = STEPS.trailing_zeros();
/// One linear block for values below 64, then one block per power of two up to 2^63.
const BUCKETS: usize = (64 - STEPS_LOG2 as usize + 1) * STEPS as usize;

/// A histogram of nanoseconds.
#[derive(Clone)]
pub(super) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    /// An empty histogram; 30 KiB.
    pub(super) fn new() -> Self {
        Self { counts: vec![0; BUCKETS], total: 0 }
    }

    /// Counts one value.
    pub(super) fn record(&mut self, ns: u64) {
        self.counts[bucket(ns)] += 1;
        self.total += 1;
    }

    /// The smallest value that at least `share` of all recorded values do not exceed, rounded up to its bucket's end;
    /// 0 if nothing was recorded. `share` is taken into 0.0..=1.0.
    pub(super) fn quantile(&self, share: f64) -> u64 {
        // At least the first value, however small the share.
        let rank = ((share.clamp(0.0, 1.0) * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return bucket_end(index);
            }
        }
        0
    }
}

/// The bucket of a value.
fn bucket(ns: u64) -> usize {
    if ns < STEPS {
        return ns as usize;
    }
    // The block is the exponent above the linear range, the step the 6 bits below the leading one.
    let shift = ns.ilog2() - STEPS_LOG2;
    let step = (ns >> shift) - STEPS;
    (u64::from(shift + 1) * STEPS + step) as usize
}

/// The largest value of a bucket.
fn bucket_end(index: usize) -> u64 {
    let index = index as u64;
    if index < STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    let first = (STEPS + index % STEPS) << shift;
    first + ((1 << shift) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_rounding(ns: u64) {
        let end = bucket_end(bucket(ns));
        assert!(end >= ns, "{ns} rounds down to {end}");
        assert!(end - ns <= ns / 64, "{ns} rounds up to {end}");
    }

    #[test]
    fn reports_no_value_as_smaller_or_more_than_a_64th_larger() {
        for exponent in 0..63 {
            for offset in [0, 1, 17] {
                check_rounding((1 << exponent) + offset);
                check_rounding((1_u64 << exponent).saturating_sub(offset));
            }
        }
        check_rounding(u64::MAX);
    }

    #[test]
    fn buckets_follow_each_other_without_gap() {
        for index in 0..BUCKETS - 1 {
            assert_eq!(bucket(bucket_end(index)), index);
            assert_eq!(bucket(bucket_end(index) + 1), index + 1);
        }
    }

    #[test]
    fn quantiles_of_a_uniform_ramp() {
        let mut histogram = Histogram::new();
        (1..=1_000).for_each(|value| histogram.record(value * 1_000));
        for (share, exact) in [(0.5, 500_000), (0.99, 990_000), (1.0, 1_000_000)] {
            let value = histogram.quantile(share);
            assert!((exact..=exact + exact / 64).contains(&value), "{share}: {value}");
        }
    }

    #[test]
    fn an_empty_histogram_has_no_latency() {
        assert_eq!(Histogram::new().quantile(0.99), 0);
    }

    #[test]
    fn one_slow_answer_in_a_hundred_is_not_the_99th_percentile_but_one_in_ninety_is() {
        for (fast, slow_is_seen) in [(99, false), (89, true)] {
            let mut histogram = Histogram::new();
            (0..fast).for_each(|_| histogram.record(10));
            histogram.record(5_000_000);
            assert_eq!(histogram.quantile(0.99) > 10, slow_is_seen);
        }
    }
}
