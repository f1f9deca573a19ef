//! Everything a request is decided by, immutable and of one generation (THREATS A29).

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::quarantine::Quarantined;
use crate::audit::record::Versions;
use crate::config::Config;
use crate::config::resolved::Tool;
use crate::identity::{Keys, Revocations};
use crate::policy::PolicySet;
use crate::reason::Reason;
use crate::routing::RouteTable;
use crate::safety::RuleSet;
use crate::usage::Plan;

/// A worker's handle on the snapshot of the moment: the outer count is the worker's own, so that taking one per
/// request touches no cache line that another core writes.
pub type Current = Rc<Arc<Snapshot>>;

/// What one configuration means to each layer, compiled once.
#[derive(Debug)]
pub struct Settings {
    /// Rises with every accepted configuration.
    pub generation: u64,
    /// The configuration itself.
    pub config: Config,
    /// Routes and tools by path.
    pub routes: RouteTable,
    /// Content rules by route and direction.
    pub rules: RuleSet,
    /// Policies.
    pub policy: PolicySet,
    /// Limits and budgets.
    pub plan: Arc<Plan>,
    /// One per route: what its protocol's own messages (MCP `initialize`, `tools/list`) are admitted as, at no price.
    pub protocol_tools: Vec<Tool>,
}

/// One request's world: settings, and what changes more often than they do.
#[derive(Debug)]
pub struct Snapshot {
    /// Rises with every published snapshot.
    pub generation: u64,
    /// The configuration's part.
    pub settings: Arc<Settings>,
    /// The issuers' keys.
    pub keys: Arc<Keys>,
    /// What is no longer trusted.
    pub revoked: Arc<Revocations>,
    /// Whom an operator froze.
    pub quarantined: Arc<Quarantined>,
    /// Where the upstreams are.
    pub addresses: Arc<Addresses>,
}

impl Snapshot {
    /// Changes whenever a key may have come or gone.
    #[must_use]
    pub fn keys_generation(&self) -> u64 {
        self.keys.generation()
    }

    /// What the record says decided.
    #[must_use]
    pub fn versions(&self) -> Versions {
        Versions::new(
            &self.settings.config.digest,
            self.settings.policy.digest(),
            self.keys.generation(),
            self.generation,
        )
    }
}

/// Addresses of the upstreams: resolved by the control thread, each checked against the upstream's rules (THREATS A20).
/// A worker connects to nothing else.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    upstreams: Vec<Resolved>,
}

/// One upstream's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The ones that passed the check.
    pub addresses: Vec<SocketAddr>,
    /// Whether the name had addresses that did not.
    pub blocked: bool,
}

impl Addresses {
    /// From one entry per upstream, in configuration order.
    #[must_use]
    pub fn new(upstreams: Vec<Resolved>) -> Self {
        Self { upstreams }
    }

    /// An address of `upstream`; connections spread over several by `seed`.
    #[must_use]
    pub fn pick(&self, upstream: usize, seed: u64) -> Option<SocketAddr> {
        let addresses = &self.upstreams.get(upstream)?.addresses;
        if addresses.is_empty() {
            return None;
        }
        Some(addresses[(seed % addresses.len() as u64) as usize])
    }

    /// Why [`Addresses::pick`] has none.
    #[must_use]
    pub fn fault(&self, upstream: usize) -> Reason {
        match self.upstreams.get(upstream) {
            Some(resolved) if resolved.blocked => Reason::AddressBlocked,
            _ => Reason::UpstreamFailed,
        }
    }

    /// Every entry, in configuration order.
    #[must_use]
    pub fn upstreams(&self) -> &[Resolved] {
        &self.upstreams
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_only_checked_addresses_and_says_why_there_is_none() {
        let address: SocketAddr = "10.0.0.1:80".parse().unwrap();
        let addresses = Addresses::new(vec![
            Resolved { addresses: vec![address], blocked: true },
            Resolved { addresses: vec![], blocked: true },
            Resolved::default(),
        ]);
        assert_eq!(addresses.pick(0, 7), Some(address));
        assert_eq!((addresses.pick(1, 7), addresses.fault(1)), (None, Reason::AddressBlocked));
        assert_eq!((addresses.pick(2, 7), addresses.fault(2)), (None, Reason::UpstreamFailed));
        assert_eq!(addresses.pick(3, 7), None);
    }
}
