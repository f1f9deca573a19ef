//! Usage: within limits and budget. [`Admitted`] holds the worst-case cost until the answer is settled.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::identity::Identity;
use crate::ids::Key128;
use crate::policy::Permitted;

/// Money set aside for one call in every budget that counts it. Settled exactly once: a hold that is dropped without
/// `settle` stays spent (THREATS A11).
#[derive(Debug)]
#[must_use = "a hold must be settled"]
pub struct Hold {
    /// Names the hold in records; unique within a boot.
    pub id: u64,
    /// What each budget set aside.
    pub parts: SmallVec<[HoldPart; 2]>,
}

/// One budget's share of a [`Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldPart {
    /// The budget's slot: digest of (budget id, user or tenant).
    pub budget: Key128,
    /// The lease it was taken from: (period, sequence) of the grant.
    pub lease: u64,
    /// Micro-dollars held.
    pub held_microusd: u64,
}

/// What `RateLimit` and `RateLimit-Policy` say (draft-ietf-httpapi-ratelimit-headers).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitState {
    /// Policy name.
    pub id: Arc<str>,
    /// `q`: quota per window.
    pub quota: u64,
    /// `w`: window, seconds.
    pub window_secs: u64,
    /// `r`: what remains.
    pub remaining: u64,
    /// `t`: seconds until the next unit (when exhausted) or the full quota.
    pub reset_secs: u64,
}

/// Proof that every limit was charged and the worst-case cost is held.
#[derive(Debug)]
pub struct Admitted {
    permitted: Permitted,
    hold: Hold,
    limit: Option<LimitState>,
}

impl Admitted {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        self.permitted.identity()
    }

    /// What policy permitted.
    #[must_use]
    pub fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    /// What is held.
    #[must_use]
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// The tightest limit, for the response's fields.
    #[must_use]
    pub fn limit(&self) -> Option<&LimitState> {
        self.limit.as_ref()
    }

    /// Gives the hold up to `settle`.
    pub fn into_hold(self) -> Hold {
        self.hold
    }

    /// For tests of later layers only.
    #[cfg(test)]
    pub(crate) fn for_test(permitted: Permitted) -> Self {
        Self { permitted, hold: Hold { id: 1, parts: SmallVec::new() }, limit: None }
    }
}
