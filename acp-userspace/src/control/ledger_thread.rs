//! The ledger's thread: grants leases as soon as a worker asks, folds what was settled into the store now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;

use super::ledger::LedgerStore;
use super::status::Status;
use crate::pipeline::Snapshot;
use crate::usage::Usage;

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
        let theirs = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("acp-ledger".into()).spawn(move || {
            let plan = || Arc::clone(&snapshot.load().settings.plan);
            let report = |ok| status.ledger_ok.store(ok, Ordering::Relaxed);
            if let Err(error) = store.serve(&usage, plan, &theirs, report) {
                tracing::error!(%error, "the ledger could not be closed; its leases are reconciled at the next start");
            }
        })?;
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
