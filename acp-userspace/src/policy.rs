//! Policy: is this allowed. Deny by default, Cedar decides; [`Permitted`] keeps the ids of the policies that did.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::identity::Identity;
use crate::safety::Screened;

/// Ids of the policies that decided.
pub type PolicyIds = SmallVec<[Arc<str>; 2]>;

/// Proof that a policy permits the call as it will be sent, and none forbids it.
#[derive(Debug)]
pub struct Permitted {
    screened: Screened,
    policies: PolicyIds,
    would_deny: bool,
}

impl Permitted {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        self.screened.identity()
    }

    /// What safety found and will change.
    #[must_use]
    pub fn screened(&self) -> &Screened {
        &self.screened
    }

    /// The deciding policies.
    #[must_use]
    pub fn policies(&self) -> &PolicyIds {
        &self.policies
    }

    /// `policy.mode = "observe"` let a call pass that would have been denied.
    #[must_use]
    pub fn would_deny(&self) -> bool {
        self.would_deny
    }

    /// For tests of later layers only.
    #[cfg(test)]
    pub(crate) fn for_test(screened: Screened) -> Self {
        Self { screened, policies: PolicyIds::new(), would_deny: false }
    }
}
