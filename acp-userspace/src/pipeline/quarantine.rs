//! Tenants that an operator froze: none of their requests is served until a deadline.

use std::collections::HashMap;

use crate::ids::TenantId;

/// Who is in quarantine, and until when (CLOCK_MONOTONIC, nanoseconds).
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Quarantined(HashMap<TenantId, u64>);

impl Quarantined {
    /// Of these tenants, each until its deadline.
    #[must_use]
    pub fn new(tenants: impl IntoIterator<Item = (TenantId, u64)>) -> Self {
        Self(tenants.into_iter().collect())
    }

    /// Whether the tenant is in quarantine now.
    #[must_use]
    pub fn holds(&self, tenant: &TenantId, now_ns: u64) -> bool {
        !self.0.is_empty() && self.0.get(tenant).is_some_and(|until_ns| now_ns < *until_ns)
    }

    /// The tenants that are in quarantine now.
    pub fn now(&self, now_ns: u64) -> impl Iterator<Item = &TenantId> {
        self.0.iter().filter(move |(_, until_ns)| now_ns < **until_ns).map(|(tenant, _)| tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_is_held_until_its_deadline_and_its_namesake_at_another_issuer_never() {
        let tenant = |issuer: &str| TenantId { issuer: issuer.into(), tenant: "acme".into() };
        let quarantined = Quarantined::new([(tenant("a"), 10)]);
        assert!(quarantined.holds(&tenant("a"), 9));
        assert!(!quarantined.holds(&tenant("a"), 10) && !quarantined.holds(&tenant("b"), 9));
        assert_eq!((quarantined.now(9).count(), quarantined.now(10).count()), (1, 0));
        assert!(!Quarantined::default().holds(&tenant("a"), 0));
    }
}
