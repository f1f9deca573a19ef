//! What the control thread knows of the gateway's health, for `/readyz`, `/metrics` and the admin socket.
//!
//! Ready means: this process can serve (workers run, the log takes records, the ledger grants). A dead IdP shows as
//! degraded, not as unready: warm tokens go on, and taking the whole gateway out of a load balancer would help nobody
//! (THREATS B8).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::audit_writer::TenantCount;
use crate::clock::mono_ns;
use crate::kernel::Tier;
use crate::kernel::book::Counts;
use crate::server::Shared;

/// A worker that has not looked at its shared state for this long counts as stuck.
const BEAT_MAX_NS: u64 = 5_000_000_000;

/// Levels and flags that the control thread keeps up to date.
#[derive(Debug, Default)]
pub struct Status {
    /// Why the log takes no records; `None` while it does.
    pub audit_trouble: Mutex<Option<&'static str>>,
    /// The ledger's last transaction succeeded.
    pub ledger_ok: AtomicBool,
    /// An issuer has no keys, or stale ones.
    pub keys_degraded: AtomicBool,
    /// The last reload was refused.
    pub reload_failed: AtomicBool,
    /// The kernel says that the clock is kept right.
    pub clock_synchronised: AtomicBool,
    /// `identity.require_sync`, as in force.
    pub clock_required: AtomicBool,
    /// Jumps of the wall clock beyond the leeway.
    pub clock_jumps: AtomicU64,
    /// Records written to the log since start.
    pub audit_records: AtomicU64,
    /// Bytes written to the log since start.
    pub audit_bytes: AtomicU64,
    /// Requests by tenant, as the log has them.
    pub audit_tenants: Mutex<Vec<TenantCount>>,
    /// Unverified refusals that were summarised instead of recorded one by one.
    pub audit_summarised: AtomicU64,
    /// Connections the kernel refused.
    pub kernel_refused: AtomicU64,
    /// Connection attempts that were dropped without an answer.
    pub kernel_dropped: AtomicU64,
    /// Ledger rows the kernel could not deliver.
    pub kernel_lost: AtomicU64,
    /// Ledger rows received.
    pub kernel_closed: AtomicU64,
    /// Ledger rows that the audit writer had no room for.
    pub kernel_unwritten: AtomicU64,
    /// Connections of which more was audited than the kernel saw.
    pub kernel_breaches: AtomicU64,
    /// Tenants in quarantine.
    pub quarantined: AtomicU64,
    /// Those that the loop guard began.
    pub quarantine_loops: AtomicU64,
    /// Connections reset for it.
    pub quarantine_resets: AtomicU64,
    /// Packets that the kernel dropped for it.
    pub quarantine_dropped: AtomicU64,
    /// The kernel holds the gateway's own connections.
    pub egress_guarded: AtomicBool,
    /// Connections of the gateway itself that the kernel refused.
    pub egress_refused: AtomicU64,
    /// Those of them that are in no event.
    pub egress_lost: AtomicU64,
    /// What confined processes were refused, as reported.
    pub confine_refused: AtomicU64,
    /// Refusals of confined processes of which no more than their number is known.
    pub confine_lost: AtomicU64,
    /// Lines of the programs' log that are nowhere.
    pub program_lines_lost: AtomicU64,
    /// Sources under penalty now.
    pub kernel_penalties: AtomicU64,
    /// Penalties that found no slot in the kernel's table.
    pub kernel_unplaced: AtomicU64,
    /// Penalties that sources earned which nobody declared: said, not enforced.
    pub kernel_observed: AtomicU64,
    /// Connections that would have been refused, were penalties not only observed.
    pub kernel_would_refuse: AtomicU64,
    /// Connections sent to the less loaded of two workers.
    pub kernel_steered: AtomicU64,
    /// Connections whose worker the kernel's own hash chose.
    pub kernel_unsteered: AtomicU64,
    /// Shared sources cannot be written down.
    pub kernel_unsaved: AtomicBool,
    /// Sources by class.
    pub kernel_sources: Mutex<Counts>,
    /// Reloads accepted.
    pub reloads: AtomicU64,
    /// The tier reached, and a line for each thing that is missing.
    pub tier: Mutex<(Option<Tier>, Vec<String>)>,
}

impl Status {
    /// The tier's name.
    #[must_use]
    pub fn tier_name(&self) -> String {
        let tier = self.tier.lock().unwrap_or_else(PoisonError::into_inner);
        tier.0.map_or_else(|| "none".to_owned(), |tier| tier.to_string())
    }

    /// Why the gateway is not ready; empty when it is.
    #[must_use]
    pub fn unready(&self, shared: &Shared) -> Vec<&'static str> {
        let mut why = Vec::new();
        if shared.draining.load(Ordering::Acquire) {
            why.push("draining");
        }
        why.extend(*self.audit_trouble.lock().unwrap_or_else(PoisonError::into_inner));
        if !self.ledger_ok.load(Ordering::Relaxed) {
            why.push("the ledger is not writable");
        }
        why.extend(self.untimely());
        let now = mono_ns();
        if shared.workers.iter().any(|worker| now.saturating_sub(worker.beat.value()) > BEAT_MAX_NS) {
            why.push("a worker does not respond");
        }
        why
    }

    /// A clock that nobody keeps right, where the operator will not have that (THREATS B17).
    fn untimely(&self) -> Option<&'static str> {
        let kept = self.clock_synchronised.load(Ordering::Relaxed) || !self.clock_required.load(Ordering::Relaxed);
        (!kept).then_some("the clock is not synchronised, and identity.require_sync is set")
    }

    /// What works less well than it should without making the gateway unready.
    #[must_use]
    pub fn degraded(&self) -> Vec<&'static str> {
        let mut why = Vec::new();
        if self.keys_degraded.load(Ordering::Relaxed) {
            why.push("an issuer's keys are missing or stale");
        }
        if self.reload_failed.load(Ordering::Relaxed) {
            why.push("the last reload was refused; the configuration before it stays");
        }
        if self.kernel_unsaved.load(Ordering::Relaxed) {
            why.push("shared sources cannot be written down: a restart would forget them");
        }
        why
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn need_b17_an_unsynchronised_clock_is_unready_only_where_that_is_asked_for() {
        for (required, synchronised, ready) in
            [(false, false, true), (false, true, true), (true, true, true), (true, false, false)]
        {
            let status = Status::default();
            status.clock_required.store(required, Ordering::Relaxed);
            status.clock_synchronised.store(synchronised, Ordering::Relaxed);
            assert_eq!(status.untimely().is_none(), ready, "required {required}, synchronised {synchronised}");
        }
    }
}
