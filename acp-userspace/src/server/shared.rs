//! What workers and the control thread share: snapshots, flags and counters, all lock-free on the request path.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use hashbrown::HashMap;

use super::metrics::{Count, WorkerMetrics};
use crate::ids::Key128;
use crate::kernel::TenantSlot;
use crate::pipeline::Snapshot;
use crate::usage::Usage;

/// Tenants the kernel's ledger can tell apart; later ones are unattributed, never mistaken for another (THREATS A32).
pub const TENANT_SLOTS_MAX: u32 = 4096;

/// Shared state of one gateway.
#[derive(Debug)]
pub struct Shared {
    /// The current snapshot.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Limits and budgets.
    pub usage: Arc<Usage>,
    /// Set once: no new connections, idle ones close, busy ones finish.
    pub draining: AtomicBool,
    /// The kernel's names for tenants.
    pub tenants: TenantSlots,
    /// One per worker.
    pub workers: Vec<Arc<WorkerMetrics>>,
    /// Signals that found the queue to the control thread full.
    pub signals_lost: Count,
}

impl Shared {
    /// Begins to drain; idempotent.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }
}

/// Gives each tenant a small number, once; never reused within a run (THREATS A32).
///
/// The lock is taken once per tenant and connection, not per request.
#[derive(Debug, Default)]
pub struct TenantSlots {
    slots: Mutex<HashMap<Key128, u32>>,
    used: AtomicU32,
}

impl TenantSlots {
    /// The slot of `tenant`; unattributed when all are given out.
    #[must_use]
    pub fn slot(&self, tenant: Key128) -> TenantSlot {
        let mut slots = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(slot) = slots.get(&tenant) {
            return TenantSlot { slot: *slot, generation: 1 };
        }
        let used = self.used.load(Ordering::Relaxed);
        if used == TENANT_SLOTS_MAX {
            return TenantSlot::UNATTRIBUTED;
        }
        self.used.store(used + 1, Ordering::Relaxed);
        slots.insert(tenant, used + 1);
        TenantSlot { slot: used + 1, generation: 1 }
    }

    /// The tenant of a slot.
    #[must_use]
    pub fn tenant(&self, slot: u32) -> Option<Key128> {
        let slots = self.slots.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        slots.iter().find(|(_, at)| **at == slot).map(|(tenant, _)| *tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_keep_their_slot_and_an_overflow_is_unattributed() {
        let slots = TenantSlots::default();
        let key = |n: u32| Key128(u128::from(n).to_le_bytes());
        let first = slots.slot(key(0));
        for n in 1..TENANT_SLOTS_MAX {
            assert_ne!(slots.slot(key(n)), first);
        }
        assert_eq!(slots.slot(key(0)), first);
        assert_eq!(slots.slot(key(TENANT_SLOTS_MAX)), TenantSlot::UNATTRIBUTED);
        assert_eq!(slots.tenant(first.slot), Some(key(0)));
        assert_eq!(slots.tenant(0), None);
    }
}
