//! A worker's part of a quarantine: it resets the connections that are a frozen tenant's alone.
//!
//! Looked at ten times a second, so that a connection on which the tenant is verified only now goes as well. One that
//! several tenants share stays: its other requests are innocent, and those of the frozen tenant are refused one by one.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::worker::Worker;
use crate::clock::mono_ns;
use crate::ids::TenantId;
use crate::pipeline::Quarantined;

/// Connections reset, by tenant, until somebody takes the sums. As many entries as quarantines at most.
#[derive(Debug, Default)]
pub struct Resets(Mutex<BTreeMap<(String, String), u64>>);

impl Resets {
    fn add(&self, tenant: &TenantId, count: u64) {
        let mut resets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *resets.entry((tenant.issuer.to_string(), tenant.tenant.to_string())).or_default() += count;
    }

    /// The sums since the last call: issuer, tenant, connections.
    pub fn take(&self) -> Vec<(String, String, u64)> {
        let mut resets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *resets).into_iter().map(|((issuer, tenant), count)| (issuer, tenant, count)).collect()
    }
}

/// Resets this worker's connections of tenants that are in quarantine.
pub(super) fn reset(worker: &Worker, quarantined: &Quarantined) {
    for tenant in quarantined.now(mono_ns()) {
        let bound = worker.with_plane(|plane| {
            let slot = plane.slot(tenant);
            plane.bound_to(slot)
        });
        let count = worker.sweep.reset(&bound);
        if count > 0 {
            worker.shared.resets.add(tenant, count);
        }
    }
}
