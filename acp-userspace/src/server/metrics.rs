//! What each worker counts: plain atomics of its own cache lines, one writer each, summed when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::reason::Reason;
use crate::safety::Finding;

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

/// What content was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Requests.
    Request,
    /// Answers.
    Response,
}

/// What tells one count of findings from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// In what.
    pub way: Way,
    /// What.
    pub detector: Detector,
    /// What became of it.
    pub action: ContentAction,
    /// Or would have.
    pub mode: Mode,
}

/// Ways times modes.
const SIDES: usize = 4;

impl Found {
    /// Every combination there is.
    pub fn all() -> impl Iterator<Item = Self> {
        let sides =
            [Way::Request, Way::Response].into_iter().flat_map(|way| [(way, Mode::Enforce), (way, Mode::Observe)]);
        sides.flat_map(|(way, mode)| {
            Detector::ALL.into_iter().flat_map(move |detector| {
                ContentAction::ALL.into_iter().map(move |action| Self { way, detector, action, mode })
            })
        })
    }

    const fn index(self) -> usize {
        let side = 2 * (self.way as usize) + matches!(self.mode, Mode::Observe) as usize;
        (side * Detector::ALL.len() + self.detector as usize) * ContentAction::ALL.len() + self.action as usize
    }
}

/// One worker's counters.
#[derive(Debug)]
#[repr(align(128))]
pub struct WorkerMetrics {
    requests: [Count; Reason::ALL.len()],
    latency: [Count; LATENCY_BOUNDS_US.len() + 1],
    latency_sum_us: Count,
    /// By [`Found::index`]: 16 KiB, of which only what is found is ever touched.
    findings: Box<[Count]>,
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
            findings: (0..SIDES * Detector::ALL.len() * ContentAction::ALL.len()).map(|_| Count::default()).collect(),
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

    /// Counts what was found in a request or an answer.
    pub fn found(&self, way: Way, findings: &[Finding]) {
        for Finding { detector, action, mode, count, .. } in findings {
            let found = Found { way, detector: *detector, action: *action, mode: *mode };
            self.findings[found.index()].add(u64::from(*count));
        }
    }

    /// How often that was found.
    #[must_use]
    pub fn findings(&self, found: Found) -> u64 {
        self.findings[found.index()].value()
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
    fn findings_are_counted_by_way_type_action_and_mode() {
        let indices: std::collections::BTreeSet<_> = Found::all().map(Found::index).collect();
        let metrics = WorkerMetrics::default();
        assert_eq!((indices.len(), indices.last()), (metrics.findings.len(), Some(&(metrics.findings.len() - 1))));
        let finding = |detector, action, mode| Finding { detector, action, mode, count: 3, confidence: 90 };
        let block = finding(Detector::UsSsn, ContentAction::Block, Mode::Enforce);
        metrics.found(Way::Request, &[block, finding(Detector::Email, ContentAction::Flag, Mode::Observe)]);
        metrics.found(Way::Response, &[block]);
        metrics.found(Way::Response, &[block]);
        let counted: Vec<_> =
            Found::all().map(|found| (found, metrics.findings(found))).filter(|(_, n)| *n > 0).collect();
        let of = |way, Finding { detector, action, mode, .. }| Found { way, detector, action, mode };
        let email = finding(Detector::Email, ContentAction::Flag, Mode::Observe);
        let expected = [(of(Way::Request, block), 3), (of(Way::Request, email), 3), (of(Way::Response, block), 6)];
        assert_eq!(counted, expected);
    }

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
