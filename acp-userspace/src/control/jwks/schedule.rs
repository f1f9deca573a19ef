//! When one issuer's keys are fetched: a decision without a clock or a socket.
//!
//! Scheduled refresh whatever Cache-Control says; failures back off; an unknown `kid` may pull the next fetch forward,
//! but never closer than [`KeyTimings::refetch_interval`] to the start of the last one, and one that a fresh document did
//! not have is not asked for again for a while (THREATS A21).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::identity::KeyState;

/// Most absent `kid`s remembered per issuer; with more the interval alone limits the fetches.
const ABSENT_MAX: usize = 256;

/// How often and how long. The defaults are what the gateway runs with; tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct KeyTimings {
    /// Between fetches that succeed: 5 min, in the middle of THREATS A21's 1 to 10 min.
    pub refresh: Duration,
    /// The same for a key file, which costs a read: 5 s.
    pub refresh_file: Duration,
    /// After the first failure, doubling up to `refresh`: 2 s.
    pub retry: Duration,
    /// Least time between the starts of two fetches for an unknown `kid`: 10 s.
    pub refetch_interval: Duration,
    /// How long a `kid` that a fresh document lacked is not asked for: 30 s.
    pub absent: Duration,
    /// How long the last good keys serve while fetches fail: 24 h, the default bound of a token's life.
    pub stale_max: Duration,
    /// For one whole fetch, discovery included: 5 s.
    pub timeout: Duration,
}

impl Default for KeyTimings {
    fn default() -> Self {
        Self {
            refresh: Duration::from_secs(300),
            refresh_file: Duration::from_secs(5),
            retry: Duration::from_secs(2),
            refetch_interval: Duration::from_secs(10),
            absent: Duration::from_secs(30),
            stale_max: Duration::from_secs(86_400),
            timeout: Duration::from_secs(5),
        }
    }
}

/// What to do about an unknown `kid`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ask {
    /// Fetch now.
    Fetch,
    /// Wait for the fetch under way.
    Wait,
    /// Answer that the key is not known; a fetch was too recent, or lacked it.
    No,
}

/// One issuer's schedule.
#[derive(Debug)]
pub(super) struct Schedule {
    refresh: Duration,
    next: Instant,
    started: Option<Instant>,
    in_flight: bool,
    failures: u32,
    last_good: Option<Instant>,
    failing_since: Option<u64>,
    absent: HashMap<Arc<str>, Instant>,
}

impl Schedule {
    /// Due at once. `state` is that of keys taken over from an earlier configuration; what they have been stale for
    /// already counts, so that reloads do not lengthen it. `unix` is the wall clock's second.
    pub(super) fn new(refresh: Duration, state: KeyState, unix: u64, now: Instant) -> Self {
        let (last_good, failing_since) = match state {
            KeyState::NeverFetched | KeyState::Expired => (None, None),
            KeyState::Good => (Some(now), None),
            KeyState::Stale { since } => {
                let stale = Duration::from_secs(unix.saturating_sub(since));
                (Some(now.checked_sub(stale).unwrap_or(now)), Some(since))
            }
        };
        let (started, in_flight, failures, absent) = (None, false, 0, HashMap::new());
        Self { refresh, next: now, started, in_flight, failures, last_good, failing_since, absent }
    }

    /// When the next fetch is due; `None` while one is under way.
    pub(super) fn due(&self) -> Option<Instant> {
        (!self.in_flight).then_some(self.next)
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.in_flight = true;
        self.started = Some(now);
    }

    /// What to do about a `kid` that the keys lack.
    pub(super) fn ask(&mut self, kid: &str, timings: &KeyTimings, now: Instant) -> Ask {
        if self.in_flight {
            return Ask::Wait;
        }
        if self.absent.get(kid).is_some_and(|until| *until > now) {
            return Ask::No;
        }
        let earliest = self.started.map_or(now, |started| started + timings.refetch_interval);
        if earliest <= now {
            return Ask::Fetch;
        }
        self.next = self.next.min(earliest);
        Ask::No
    }

    /// A fetch succeeded.
    pub(super) fn succeed(&mut self, now: Instant) -> KeyState {
        self.in_flight = false;
        self.failures = 0;
        self.last_good = Some(now);
        self.failing_since = None;
        self.next = now + self.refresh;
        KeyState::Good
    }

    /// A fetch failed. `unix` is the wall clock's second, for people to read.
    pub(super) fn fail(&mut self, timings: &KeyTimings, now: Instant, unix: u64) -> KeyState {
        self.in_flight = false;
        let backoff = timings.retry.saturating_mul(1 << self.failures.min(16));
        self.failures += 1;
        self.next = now + backoff.min(self.refresh);
        let since = *self.failing_since.get_or_insert(unix);
        match self.last_good {
            None => KeyState::NeverFetched,
            Some(good) if now.duration_since(good) < timings.stale_max => KeyState::Stale { since },
            Some(_) => KeyState::Expired,
        }
    }

    /// A fresh document lacked this `kid`.
    pub(super) fn remember_absent(&mut self, kid: Arc<str>, timings: &KeyTimings, now: Instant) {
        if self.absent.len() >= ABSENT_MAX {
            self.absent.retain(|_, until| *until > now);
        }
        if self.absent.len() < ABSENT_MAX {
            self.absent.insert(kid, now + timings.absent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn schedule() -> (Schedule, KeyTimings, Instant) {
        let (timings, now) = (KeyTimings::default(), Instant::now());
        (Schedule::new(timings.refresh, KeyState::NeverFetched, 0, now), timings, now)
    }

    #[test]
    fn threat_a21_refreshes_on_schedule_and_backs_off_on_failure() {
        let (mut schedule, timings, now) = schedule();
        assert_eq!(schedule.due(), Some(now));
        for expected in [2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            schedule.start(now);
            assert_eq!(schedule.due(), None);
            assert_eq!(schedule.fail(&timings, now, 7), KeyState::NeverFetched);
            assert_eq!(schedule.due(), Some(now + SECOND * expected));
        }
        schedule.start(now);
        assert_eq!(schedule.succeed(now), KeyState::Good);
        assert_eq!(schedule.due(), Some(now + timings.refresh));
    }

    #[test]
    fn last_good_keys_serve_until_the_bound_and_no_longer() {
        let (mut schedule, timings, now) = schedule();
        schedule.succeed(now);
        assert_eq!(schedule.fail(&timings, now + SECOND, 7), KeyState::Stale { since: 7 });
        assert_eq!(schedule.fail(&timings, now + timings.stale_max - SECOND, 8), KeyState::Stale { since: 7 });
        assert_eq!(schedule.fail(&timings, now + timings.stale_max, 9), KeyState::Expired);
        schedule.succeed(now + timings.stale_max);
        assert_eq!(schedule.fail(&timings, now + timings.stale_max, 10), KeyState::Stale { since: 10 });
    }

    #[test]
    fn keys_taken_over_from_an_earlier_configuration_do_not_serve_longer() {
        let (timings, now) = (KeyTimings::default(), Instant::now() + SECOND * 100_000);
        let stale = KeyState::Stale { since: 7 };
        let mut schedule = Schedule::new(timings.refresh, stale, 7 + 86_399, now);
        assert_eq!(schedule.fail(&timings, now, 7 + 86_399), stale);
        assert_eq!(schedule.fail(&timings, now + SECOND, 7 + 86_400), KeyState::Expired);
    }

    #[test]
    fn threat_a21_unknown_ids_share_one_fetch_in_ten_seconds() {
        let (mut schedule, timings, now) = schedule();
        assert_eq!(schedule.ask("a", &timings, now), Ask::Fetch);
        schedule.start(now);
        assert_eq!(schedule.ask("a", &timings, now), Ask::Wait);
        assert_eq!(schedule.ask("b", &timings, now), Ask::Wait);
        schedule.succeed(now);
        assert_eq!(schedule.ask("b", &timings, now + SECOND * 9), Ask::No);
        assert_eq!(schedule.due(), Some(now + SECOND * 10), "and one is due as soon as it may be");
        assert_eq!(schedule.ask("b", &timings, now + SECOND * 10), Ask::Fetch);
    }

    #[test]
    fn threat_a21_an_id_the_document_lacked_is_not_asked_for_again_for_a_while() {
        let (mut schedule, timings, now) = schedule();
        schedule.start(now);
        schedule.succeed(now);
        schedule.remember_absent("a".into(), &timings, now);
        assert_eq!(schedule.ask("a", &timings, now + SECOND * 29), Ask::No);
        assert_eq!(schedule.due(), Some(now + timings.refresh), "and pulls nothing forward");
        assert_eq!(schedule.ask("b", &timings, now + SECOND * 29), Ask::Fetch);
        assert_eq!(schedule.ask("a", &timings, now + SECOND * 30), Ask::Fetch);
    }

    #[test]
    fn absent_ids_are_bounded() {
        let (mut schedule, timings, now) = schedule();
        for i in 0..2 * ABSENT_MAX {
            schedule.remember_absent(i.to_string().into(), &timings, now);
        }
        assert_eq!(schedule.absent.len(), ABSENT_MAX);
        schedule.remember_absent("later".into(), &timings, now + timings.absent);
        assert_eq!(schedule.absent.len(), 1);
    }
}
