//! Keeps every issuer's keys fresh and publishes them as immutable [`Keys`].
//!
//! One task on the control runtime. It fetches on schedule, answers workers that met an unknown `kid` (one fetch for all
//! who ask, at most one in ten seconds), keeps the last good keys when an issuer fails, and stops using them after a day
//! (`schedule.rs`). What may be connected to is in `fetch.rs`, what a key document may hold in [`crate::identity::jwks`].
//!
//! A dead issuer never makes the gateway unready (THREATS B8): its [`KeyState`] shows as degraded,
//! tokens of other issuers are not touched. A service belongs to one configuration; a reload makes a new one, which takes
//! over the keys of unchanged sources, and drops the old one's request channel, which ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{self, JoinSet};
use tracing::{info, warn};

use crate::clock::Now;
use crate::config::resolved::{IdentityConfig, Issuer, JwksSource};
use crate::identity::jwks::KeySet;
use crate::identity::keys::same_source;
use crate::identity::{IssuerKeys, KeyState, Keys};
use crate::text::CallerText;

mod fetch;
mod schedule;

pub use fetch::{AddressGuard, FetchError, address_of, check_file};
pub use schedule::KeyTimings;
use schedule::{Ask, Schedule};

/// Most requests that wait for one issuer's fetch; further ones are answered `false` at once.
const WAITING_MAX: usize = 1024;

/// A worker met a `kid` that an issuer's keys lack.
#[derive(Debug)]
pub struct Refetch {
    /// The issuer's entry, of this configuration or one before it.
    pub issuer: Arc<Issuer>,
    /// The unknown id.
    pub kid: Arc<str>,
    /// Told whether the published keys have it now. The worker waits at most a second.
    pub done: oneshot::Sender<bool>,
}

/// Fetches so far, for metrics.
#[derive(Debug, Default)]
pub struct KeyCounters {
    /// Fetches ended, whatever their end.
    pub fetches: AtomicU64,
    /// Fetches failed.
    pub failures: AtomicU64,
    /// Unknown ids answered without a fetch.
    pub refetches_refused: AtomicU64,
}

/// The service of one configuration. `P` is handed every new set of keys.
pub struct KeyService<P> {
    issuers: Vec<Entry>,
    keys: Arc<Keys>,
    timings: KeyTimings,
    guard: AddressGuard,
    publish: P,
    fetches: JoinSet<Result<KeySet, FetchError>>,
    counters: Arc<KeyCounters>,
}

struct Entry {
    issuer: Arc<Issuer>,
    schedule: Schedule,
    task: Option<task::Id>,
    waiting: Vec<Refetch>,
}

impl<P: FnMut(Arc<Keys>) + Send> KeyService<P> {
    /// A service for `config` that starts from the keys `previous` has for unchanged sources.
    pub fn new(config: &IdentityConfig, previous: Option<&Keys>, guard: AddressGuard, publish: P) -> Self {
        Self::with_timings(config, previous, guard, publish, KeyTimings::default())
    }

    /// The same with other timings.
    pub fn with_timings(
        config: &IdentityConfig,
        previous: Option<&Keys>,
        guard: AddressGuard,
        publish: P,
        timings: KeyTimings,
    ) -> Self {
        let keys = Arc::new(Keys::for_config(config, previous));
        let unix = Now::read().unix_secs();
        let entry = |keys: &IssuerKeys| Entry {
            issuer: Arc::clone(keys.issuer()),
            schedule: Schedule::new(refresh(keys.issuer(), &timings), keys.state(), unix, Instant::now()),
            task: None,
            waiting: Vec::new(),
        };
        let issuers = keys.issuers().iter().map(entry).collect();
        let counters = Arc::new(KeyCounters::default());
        Self { issuers, keys, timings, guard, publish, fetches: JoinSet::new(), counters }
    }

    /// The keys as they are now.
    #[must_use]
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys)
    }

    /// Fetches so far.
    #[must_use]
    pub fn counters(&self) -> Arc<KeyCounters> {
        Arc::clone(&self.counters)
    }

    /// Fetches every issuer's keys once, at the same time, and returns when all have answered or timed out. The gateway
    /// starts whatever comes of it.
    pub async fn load_initial(&mut self) {
        self.start_due(Instant::now());
        while self.finish_one().await {}
    }

    /// Serves until every sender of `requests` is gone.
    pub async fn run(mut self, mut requests: mpsc::Receiver<Refetch>) {
        loop {
            self.start_due(Instant::now());
            let next = self.issuers.iter().filter_map(|entry| entry.schedule.due()).min();
            let wait = next.map_or(self.timings.refresh, |next| next.saturating_duration_since(Instant::now()));
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.ask(request, Instant::now()),
                    None => return,
                },
                true = self.finish_one() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    fn start_due(&mut self, now: Instant) {
        for index in 0..self.issuers.len() {
            if self.issuers[index].schedule.due().is_some_and(|due| due <= now) {
                self.start(index, now);
            }
        }
    }

    fn start(&mut self, index: usize, now: Instant) {
        let entry = &mut self.issuers[index];
        entry.schedule.start(now);
        let (issuer, guard, timeout) = (Arc::clone(&entry.issuer), Arc::clone(&self.guard), self.timings.timeout);
        let task = self.fetches.spawn(async move { fetch::keys(&issuer, &guard, timeout).await });
        entry.task = Some(task.id());
    }

    fn ask(&mut self, request: Refetch, now: Instant) {
        // A request may have been decided by the configuration before this one: its entry is looked up by what it says.
        let Some(index) = self.issuers.iter().position(|entry| same_source(&entry.issuer, &request.issuer)) else {
            return answer(request, false);
        };
        if self.keys.issuers()[index].set().is_some_and(|set| set.find(&request.kid).is_some()) {
            return answer(request, true);
        }
        let entry = &mut self.issuers[index];
        let decision = entry.schedule.ask(&request.kid, &self.timings, now);
        if decision == Ask::No || entry.waiting.len() >= WAITING_MAX {
            self.counters.refetches_refused.fetch_add(1, Ordering::Relaxed);
            return answer(request, false);
        }
        entry.waiting.push(request);
        if decision == Ask::Fetch {
            self.start(index, now);
        }
    }

    /// Waits for one fetch and takes it in; `false` when none is under way. Cancel safe: nothing is awaited after the
    /// fetch has been taken out of the set.
    async fn finish_one(&mut self) -> bool {
        let Some(ended) = self.fetches.join_next_with_id().await else { return false };
        let (id, fetched) = match ended {
            Ok((id, fetched)) => (id, fetched),
            Err(ended) => (ended.id(), Err(FetchError::TimedOut)),
        };
        if let Some(index) = self.issuers.iter().position(|entry| entry.task == Some(id)) {
            self.finish(index, fetched);
        }
        true
    }

    fn finish(&mut self, index: usize, fetched: Result<KeySet, FetchError>) {
        let now = Instant::now();
        self.issuers[index].task = None;
        self.counters.fetches.fetch_add(1, Ordering::Relaxed);
        match fetched {
            Ok(set) => self.take_over(index, set, now),
            Err(error) => self.keep_last_good(index, &error, now),
        }
        let set = self.keys.issuers()[index].set().cloned();
        for request in std::mem::take(&mut self.issuers[index].waiting) {
            let found = set.as_ref().is_some_and(|set| set.find(&request.kid).is_some());
            answer(request, found);
        }
    }

    fn take_over(&mut self, index: usize, set: KeySet, now: Instant) {
        let entry = &mut self.issuers[index];
        let state = entry.schedule.succeed(now);
        for request in &entry.waiting {
            if set.find(&request.kid).is_none() {
                entry.schedule.remember_absent(Arc::clone(&request.kid), &self.timings, now);
            }
        }
        let current = &self.keys.issuers()[index];
        let same = current.set().is_some_and(|current| current.digest() == set.digest());
        if !same {
            let ids: Vec<_> = set.key_ids().map(|kid| CallerText::new(kid).to_string()).collect();
            info!(issuer = %entry.issuer.name, keys = ?ids, passed_over = set.passed_over(), "issuer keys changed");
        }
        if !same || current.state() != state {
            self.set(index, Some(Arc::new(set)), state);
        }
    }

    fn keep_last_good(&mut self, index: usize, error: &FetchError, now: Instant) {
        self.counters.failures.fetch_add(1, Ordering::Relaxed);
        let entry = &mut self.issuers[index];
        let state = entry.schedule.fail(&self.timings, now, Now::read().unix_secs());
        let cause = std::error::Error::source(error).map(ToString::to_string);
        warn!(issuer = %entry.issuer.name, %error, cause, ?state, "issuer keys could not be fetched");
        let current = &self.keys.issuers()[index];
        if current.state() != state {
            let set = if state == KeyState::Expired { None } else { current.set().cloned() };
            self.set(index, set, state);
        }
    }

    fn set(&mut self, index: usize, set: Option<Arc<KeySet>>, state: KeyState) {
        self.keys = Arc::new(self.keys.with(index, set, state));
        (self.publish)(Arc::clone(&self.keys));
    }
}

/// Tells the worker; one that no longer waits is not an error.
fn answer(request: Refetch, found: bool) {
    let _ = request.done.send(found);
}

const fn refresh(issuer: &Issuer, timings: &KeyTimings) -> Duration {
    match issuer.jwks {
        JwksSource::File(_) => timings.refresh_file,
        JwksSource::Discovery | JwksSource::Url(_) => timings.refresh,
    }
}

#[cfg(test)]
mod tests;
