//! Requests by tenant, counted from the records as they are written: what `acp top` shows is what the log says.
//!
//! Metrics carry no tenant as a label, because their number has no bound; here it has one, and who comes after that is
//! counted together.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::audit::record::Who;
use crate::audit::record::wire::{Fate, RequestView};
use crate::ids::Key128;

/// Tenants that are counted one by one.
const TENANTS_MAX: usize = 1_024;

/// What one tenant's callers asked for since the process began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantCount {
    /// Tenant and issuer entry; `None` for callers that nobody vouched for.
    pub tenant: Option<(Arc<str>, Arc<str>)>,
    /// Requests with an intent: all layers agreed.
    pub sent: u64,
    /// Requests refused.
    pub refused: u64,
}

/// The counts.
#[derive(Debug)]
pub(super) struct Tally {
    tenants: HashMap<Key128, TenantCount>,
    unverified: TenantCount,
    others: TenantCount,
}

impl Default for Tally {
    fn default() -> Self {
        let others = || Some((Arc::from("(others)"), Arc::from("")));
        let count = |tenant| TenantCount { tenant, sent: 0, refused: 0 };
        Self { tenants: HashMap::new(), unverified: count(None), others: count(others()) }
    }
}

impl Tally {
    pub(super) fn count(&mut self, view: &RequestView<'_>) {
        let count = match &view.who {
            None => &mut self.unverified,
            Some(who) => self.of(who),
        };
        match view.fate {
            Fate::Refused(_) => count.refused += 1,
            Fate::Sent { .. } => count.sent += 1,
        }
    }

    fn of(&mut self, who: &Who<'_>) -> &mut TenantCount {
        if self.tenants.len() >= TENANTS_MAX && !self.tenants.contains_key(&who.tenant_key) {
            return &mut self.others;
        }
        self.tenants.entry(who.tenant_key).or_insert_with(|| TenantCount {
            tenant: Some((who.tenant.into(), who.issuer.into())),
            sent: 0,
            refused: 0,
        })
    }

    /// All counts that are not zero; the names are shared, not copied.
    pub(super) fn counts(&self) -> Vec<TenantCount> {
        let rest = [&self.unverified, &self.others].into_iter().filter(|count| count.sent + count.refused > 0);
        self.tenants.values().chain(rest).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::record::AuthMethod;

    #[test]
    fn tenants_beyond_the_bound_are_counted_together_and_those_known_go_on() {
        let mut tally = Tally::default();
        let who = |n: u128, name: &'static str| Who {
            tenant: name,
            issuer: "idp",
            subject: "",
            client: None,
            key_id: "",
            tenant_key: Key128(n.to_be_bytes()),
            user_key: Key128([0; 16]),
            token_hash: Key128([0; 16]),
            method: AuthMethod::BearerJwt,
        };
        for n in 0..TENANTS_MAX as u128 + 5 {
            tally.of(&who(n, "a")).sent += 1;
        }
        tally.of(&who(0, "a")).refused += 1;
        let counts = tally.counts();
        assert_eq!(counts.len(), TENANTS_MAX + 1);
        assert_eq!(counts.iter().map(|count| count.sent).sum::<u64>(), TENANTS_MAX as u64 + 5);
        assert_eq!(tally.others.sent, 5);
        assert_eq!((tally.others.refused, counts.iter().filter(|count| count.refused == 1).count()), (0, 1));
    }
}
