//! Tenants in the kernel's terms: a small index and a generation, given out on first sight.
//!
//! **Invariants.** A slot is never given to a second tenant, so a socket or a penalty that refers to one can never come
//! to mean another. The table is bounded: a tenant that finds it full is unattributed, which costs it its line in the
//! kernel's ledger and nothing else (the audit log names it all the same).

use std::sync::{Mutex, PoisonError};

use acp_ebpf::TenantSlot;
use hashbrown::HashMap;

use crate::ids::TenantId;

/// Tenants with a slot of their own, for the life of the process.
pub const SLOTS_MAX: u32 = 4096;

/// The generation of a slot's first holder, and so of every one.
const GENERATION: u32 = 1;

/// The table. Locked once per worker and tenant: workers remember what they were told.
#[derive(Debug, Default)]
pub struct Tenants {
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    slots: HashMap<TenantId, TenantSlot>,
    /// Slot `i + 1` belongs to `names[i]`.
    names: Vec<TenantId>,
}

impl Tenants {
    /// The tenant's slot, given out now if it has none.
    pub fn slot(&self, tenant: &TenantId) -> TenantSlot {
        // A poisoned table is whole: it is changed in the last two statements only.
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = table.slots.get(tenant) {
            return *slot;
        }
        let taken = table.names.len() as u32;
        if taken >= SLOTS_MAX {
            return TenantSlot::UNATTRIBUTED;
        }
        let slot = TenantSlot { slot: taken + 1, generation: GENERATION };
        table.names.push(tenant.clone());
        table.slots.insert(tenant.clone(), slot);
        slot
    }

    /// Every tenant that has a slot, in the order of the slots.
    pub fn all(&self) -> Vec<TenantId> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner).names.clone()
    }

    /// The tenant that holds `slot`.
    pub fn tenant(&self, slot: TenantSlot) -> Option<TenantId> {
        let index = (slot.slot as usize).checked_sub(1)?;
        let table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        table.names.get(index).filter(|_| slot.generation == GENERATION).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant(i: u32) -> TenantId {
        TenantId { issuer: "dev".into(), tenant: format!("org_{i}").into() }
    }

    #[test]
    fn threat_a32_a_tenant_keeps_its_slot_and_a_slot_its_tenant() {
        let tenants = Tenants::default();
        let (a, b) = (tenants.slot(&tenant(1)), tenants.slot(&tenant(2)));
        assert_ne!(a, b);
        assert_ne!(a.slot, 0, "0 is unattributed");
        assert_eq!(tenants.slot(&tenant(1)), a);
        assert_eq!(tenants.tenant(a), Some(tenant(1)));
        assert_eq!(tenants.tenant(TenantSlot { generation: 2, ..a }), None);
        assert_eq!(tenants.tenant(TenantSlot::UNATTRIBUTED), None);
    }

    #[test]
    fn equal_claims_of_two_issuers_are_two_tenants() {
        let tenants = Tenants::default();
        let other = TenantId { issuer: "other".into(), ..tenant(1) };
        assert_ne!(tenants.slot(&tenant(1)), tenants.slot(&other));
    }

    #[test]
    fn threat_a32_one_tenant_too_many_is_unattributed_and_takes_nobodys_slot() {
        let tenants = Tenants::default();
        for i in 0..SLOTS_MAX {
            assert_ne!(tenants.slot(&tenant(i)), TenantSlot::UNATTRIBUTED);
        }
        assert_eq!(tenants.slot(&tenant(SLOTS_MAX)), TenantSlot::UNATTRIBUTED);
        assert_eq!(tenants.tenant(tenants.slot(&tenant(7))), Some(tenant(7)));
    }
}
