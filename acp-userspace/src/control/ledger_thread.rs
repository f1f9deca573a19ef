//! The ledger's thread: grants leases as soon as a worker asks, folds what was settled into the store now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;

use super::ledger::LedgerStore;
use super::status::Status;
use crate::clock::Now;
use crate::pipeline::Snapshot;
use crate::usage::Usage;

/// Longest sleep without being asked.
const IDLE: Duration = Duration::from_millis(250);

/// Between folds of settled spend into the store, and sweeps of limiter slots with nothing to remember.
const FOLD: Duration = Duration::from_secs(5);

/// After a failed transaction.
const RETRY: Duration = Duration::from_millis(200);

/// A handle on the ledger's thread.
#[derive(Debug)]
pub struct LedgerThread {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl LedgerThread {
    /// Starts the thread.
    ///
    /// # Errors
    /// No thread to be had.
    pub fn start(
        store: LedgerStore,
        usage: Arc<Usage>,
        snapshot: Arc<ArcSwap<Snapshot>>,
        status: Arc<Status>,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, notified) = (Arc::clone(&stop), Arc::clone(&usage));
        let thread = std::thread::Builder::new()
            .name("acp-ledger".into())
            .spawn(move || run(store, &usage, &snapshot, &status, &theirs))?;
        let sleeper = thread.thread().clone();
        notified.notify_with(move || sleeper.unpark());
        Ok(Self { stop, thread })
    }

    /// Returns unspent leases and closes the store. Call when no worker runs any more.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the ledger thread panicked; its leases are reconciled at the next start");
        }
    }
}

fn run(mut store: LedgerStore, usage: &Usage, snapshot: &ArcSwap<Snapshot>, status: &Status, stop: &AtomicBool) {
    let mut folded = Instant::now();
    while !stop.load(Ordering::Acquire) {
        let current = snapshot.load_full();
        let plan = &current.settings.plan;
        let now = Now::read();
        let mut result = store.grant_pending(usage, plan, now).map(|_| ());
        if result.is_ok() && folded.elapsed() >= FOLD {
            folded = Instant::now();
            usage.sweep(now);
            result = store.fold(usage, plan, now);
        }
        let was_ok = status.ledger_ok.swap(result.is_ok(), Ordering::Relaxed);
        match result {
            Err(error) => {
                if was_ok {
                    tracing::error!(%error, "the ledger cannot be written; calls that need a new lease are refused");
                }
                std::thread::sleep(RETRY);
            }
            Ok(()) if !usage.is_waiting() => std::thread::park_timeout(IDLE),
            Ok(()) => {}
        }
    }
    if let Err(error) = store.close(usage) {
        tracing::error!(%error, "the ledger could not be closed; its leases are reconciled at the next start");
    }
}
