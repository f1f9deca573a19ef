//! What each worker counts: plain atomics of its own cache lines, one writer each, summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::reason::Reason;

/// Upper bounds of the latency buckets, microseconds; the last bucket is open.
pub const LATENCY_BOUNDS_US: [u64; 14] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 5_000_000];

/// A monotone count, or a level for the gauges.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Sets a gauge.
    pub fn set(&self, value: u64) {
        self.0.store(value, Relaxed);
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// One worker's counters.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerMetrics {
    requests: [Count; Reason::ALL.len()],
    latency: [Count; LATENCY_BOUNDS_US.len() + 1],
    latency_sum_us: Count,
    /// Connections accepted.
    pub accepted: Count,
    /// Connections closed at accept: over the bound, or a penalised source.
    pub turned_away: Count,
    /// Connections open now.
    pub open: Count,
    /// Requests and connections that wait for their turn now.
    pub waiting: Count,
    /// Upstream connections opened.
    pub upstream_connects: Count,
    /// Bytes of bodies buffered now.
    pub buffered_bytes: Count,
    /// Panics caught; each closed one connection.
    pub panics: Count,
    /// Times the worker was restarted.
    pub restarts: Count,
    /// The runtime driver in use ([`super::runtime::Driver`] as a number).
    pub driver: Count,
    /// CLOCK_MONOTONIC nanoseconds when it last looked at its shared state: alive.
    pub beat: Count,
}

impl Default for WorkerMetrics {
    fn default() -> Self {
        Self {
            requests: std::array::from_fn(|_| Count::default()),
            latency: std::array::from_fn(|_| Count::default()),
            latency_sum_us: Count::default(),
            accepted: Count::default(),
            turned_away: Count::default(),
            open: Count::default(),
            waiting: Count::default(),
            upstream_connects: Count::default(),
            buffered_bytes: Count::default(),
            panics: Count::default(),
            restarts: Count::default(),
            driver: Count::default(),
            beat: Count::default(),
        }
    }
}

impl WorkerMetrics {
    /// Counts a finished request.
    pub fn finished(&self, reason: Reason, total_ns: u64) {
        self.requests[reason as usize].inc();
        let us = total_ns / 1_000;
        let bucket = LATENCY_BOUNDS_US.iter().position(|bound| us <= *bound).unwrap_or(LATENCY_BOUNDS_US.len());
        self.latency[bucket].inc();
        self.latency_sum_us.add(us);
    }

    /// Finished requests of a reason.
    #[must_use]
    pub fn requests(&self, reason: Reason) -> u64 {
        self.requests[reason as usize].value()
    }

    /// Requests per latency bucket, and the sum of all latencies in microseconds.
    #[must_use]
    pub fn latency(&self) -> ([u64; LATENCY_BOUNDS_US.len() + 1], u64) {
        (std::array::from_fn(|at| self.latency[at].value()), self.latency_sum_us.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_fall_into_their_reason_and_bucket() {
        let metrics = WorkerMetrics::default();
        metrics.finished(Reason::Allowed, 100_000);
        metrics.finished(Reason::RateLimited, 101_000);
        metrics.finished(Reason::RateLimited, 60_000_000_000);
        assert_eq!((metrics.requests(Reason::Allowed), metrics.requests(Reason::RateLimited)), (1, 2));
        let (buckets, sum) = metrics.latency();
        assert_eq!((buckets[0], buckets[1], buckets[14]), (1, 1, 1));
        assert_eq!(sum, 60_000_201);
    }
}
