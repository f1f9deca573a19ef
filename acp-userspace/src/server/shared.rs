//! What workers and the control thread share: snapshots, flags and counters, all lock-free on the request path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwap;

use super::handing::HandOver;
use super::live::LiveLists;
use super::metrics::{Count, WorkerMetrics};
use super::quarantine::Resets;
use crate::kernel::source::Sources;
use crate::pipeline::Snapshot;
use crate::usage::Usage;

/// Shared state of one gateway.
#[derive(Debug)]
pub struct Shared {
    /// The current snapshot.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Limits and budgets.
    pub usage: Arc<Usage>,
    /// Sources that are declared to be one tenant's.
    pub sources: ArcSwap<Sources>,
    /// Set once: no new connections, idle ones close, busy ones finish.
    pub draining: AtomicBool,
    /// How far it is with handing over to another process.
    pub hand_over: HandOver,
    /// One per worker.
    pub workers: Vec<Arc<WorkerMetrics>>,
    /// Signals that found the queue to the control thread full.
    pub signals_lost: Count,
    /// Open connections, when they are asked for.
    pub live: LiveLists,
    /// Connections reset because their tenant is in quarantine.
    pub resets: Resets,
    /// Those of them that told who verified from where: what was learned of sources is void after each.
    pub reports_lost: Count,
}

impl Shared {
    /// Begins to drain; idempotent.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}
