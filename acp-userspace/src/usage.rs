//! Usage: within limits and budget. [`Admitted`] holds the worst-case cost until the answer is settled.
//!
//! Four doors, all plain calls that neither wait, lock, allocate nor ask for the time:
//! [`peek`] reads only, before the body; [`admit()`] charges every limit and holds the price, all or nothing; [`settle`]
//! ends the hold when the answer is counted; [`denied`] charges the denial bucket of a request another layer refused.
//!
//! [`Plan`] is the snapshot's half: rules by stable id. [`Usage`] is what was counted: it survives reloads and is shared
//! by all workers. Its tables are exact-keyed and bounded, with a share per tenant (THREATS A22).
//!
//! **Invariants:** over any span a limit admits at most burst + rate · t; a budget's settled and held spend never
//! exceeds what the ledger committed; a request that is refused has charged nothing (but see [`admit()`]); a rule in
//! observe mode never refuses and is reported in [`Admitted::would`] (THREATS B1).

use std::sync::Arc;

use smallvec::SmallVec;

use crate::clock::Now;
use crate::config::resolved::{Per, UsageConfig};
use crate::identity::Identity;
use crate::ids::Key128;
use crate::policy::Permitted;
use crate::reason::Reason;

mod admit;
pub(crate) mod budget;
mod fields;
pub(crate) mod gcra;
mod loop_guard;
pub(crate) mod plan;
mod retry;
mod subject;
pub(crate) mod table;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use admit::{admit, anticipate, anticipate_call, charge, denied, peek, settle};
pub use fields::{write_rate_limit, write_rate_limit_policy, write_retry_after};
pub use plan::{Plan, budget_key};

use budget::Budgets;
use subject::Subjects;
pub use table::Counted;
use table::{Table, WhenFull};

/// What was counted, charged and leased. Table sizes are fixed at the start; a change of `usage.slots` needs a restart.
pub struct Usage {
    /// TATs of limits and denial buckets, deadlines of refusals.
    limits: Table,
    loops: Table,
    subjects: Subjects,
    pub(crate) budgets: Budgets,
}

impl Usage {
    /// Empty tables of the configured size: about 260 bytes per slot.
    #[must_use]
    pub fn new(config: &UsageConfig) -> Arc<Self> {
        let (slots, share) = (config.slots, config.slots_tenant_share_percent);
        let limits = Table::new(slots, |tat, now| tat <= now, WhenFull::Refuse).with_shares(share);
        Arc::new(Self {
            limits,
            loops: loop_guard::table(slots),
            subjects: Subjects::new(slots, share),
            budgets: Budgets::new(slots, share),
        })
    }

    /// What was counted, for a process that takes over: limits and refusals, then calls of the loop guard. Leases are the
    /// ledger's, and calls in flight there are none.
    #[must_use]
    pub fn counted(&self, now: Now) -> [Vec<Counted>; 2] {
        let now = gcra::ticks(now);
        [self.limits.counted(now), self.loops.counted(now)]
    }

    /// Goes on counting where another process left it, in the same boot of the host. What finds no room is forgotten.
    pub fn go_on(&self, [limits, loops]: &[Vec<Counted>; 2], now: Now) {
        let now = gcra::ticks(now);
        self.limits.go_on(limits, now);
        self.loops.go_on(loops, now);
    }

    /// Whether some budget waits for a lease: the ledger store's cue.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.budgets.is_waiting()
    }

    /// Sets what a worker calls when a budget begins to wait for a lease, e.g. to unpark the ledger's thread. Set once;
    /// it must not block. Without it the ledger polls [`Usage::is_waiting`].
    pub fn notify_with(&self, notify: impl Fn() + Send + Sync + 'static) {
        self.budgets.notify_with(Box::new(notify));
    }

    /// Forgets entries with nothing to remember, so that they do not count against their tenant's share. For the ledger
    /// thread, about once a second; about 2 ns per slot.
    pub fn sweep(&self, now: Now) {
        self.limits.reclaim_all(gcra::ticks(now));
        self.subjects.sweep();
        self.budgets.sweep();
    }
}

impl std::fmt::Debug for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Usage").field("slots", &self.limits.len()).finish_non_exhaustive()
    }
}

/// Money set aside for one call in every budget that counts it. Settled exactly once: a hold that is dropped without
/// `settle` stays spent (THREATS A11).
#[must_use = "a hold must be settled"]
pub struct Hold {
    /// Names the hold in records; unique within a boot.
    pub id: u64,
    /// What each budget set aside.
    pub parts: SmallVec<[HoldPart; 2]>,
    /// Where it settles; `None` when there is nothing to settle.
    open: Option<OpenHold>,
}

/// The slots behind a hold's parts.
struct OpenHold {
    usage: Arc<Usage>,
    /// The user's index among calls in flight, if those are counted.
    subject: Option<usize>,
    price: u64,
    /// Budget slots, in the order of the parts.
    slots: SmallVec<[usize; 2]>,
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hold").field("id", &self.id).field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl Hold {
    /// A hold that settles nowhere: for tests and benchmarks of what records a hold. It proves nothing; only
    /// [`Admitted`] does.
    pub fn detached(id: u64, parts: SmallVec<[HoldPart; 2]>) -> Self {
        Self { id, parts, open: None }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(u64::MAX);
    }
}

/// One budget's share of a [`Hold`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldPart {
    /// The budget's slot: see [`budget_key`].
    pub budget: Key128,
    /// The lease's generation: rises with time, never reused for the budget, in another boot or period.
    pub lease: u64,
    /// Micro-dollars held.
    pub held_microusd: u64,
}

/// How a hold ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// The call cost this much, in micro-dollars; what exceeds the hold is not charged, as holds are worst cases.
    Charge(u64),
    /// The cost is not known: the whole hold is spent (THREATS A11).
    Held,
    /// Nothing was sent upstream: nothing is spent.
    Release,
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

/// A rule in observe mode that would have refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Would {
    /// With this reason.
    pub reason: Reason,
    /// The rule's id.
    pub rule: Arc<str>,
}

/// A request over a limit, budget or share. Nothing was charged for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("refused by {rule}: {}", reason.code())]
pub struct Refused {
    /// Why: one of the 429 reasons.
    pub reason: Reason,
    /// The limit that refused; `None` for budgets, loops and shares.
    pub limit: Option<LimitState>,
    /// `Retry-After`, ≥ 1.
    pub retry_after_secs: u64,
    /// The rule's id.
    pub rule: Arc<str>,
    /// The rule lets the kernel refuse a declared source that ignores it.
    pub kernel: bool,
    /// Whom the limit counts; users where there is none.
    pub per: Per,
    /// The user came back inside the `Retry-After` of an earlier refusal: one that had `kernel` set, or a loop where its
    /// tenant can be frozen for going on with it; never true without either.
    pub ignored: bool,
}

/// Why a permitted request was not admitted.
#[derive(Debug)]
pub enum AdmitError {
    /// 429.
    Refused(Refused),
    /// A budget's lease is short and more was asked for: try again with what is handed back when the ledger granted
    /// it, or answer 503 `ledger_unavailable` after a second. Nothing was charged.
    LeasePending(Permitted),
}

/// What [`charge`] did.
#[derive(Debug)]
#[must_use = "its hold must be settled"]
pub struct Charged {
    /// The price, held.
    pub hold: Hold,
    /// The tightest enforced limit.
    pub limit: Option<LimitState>,
    /// Rules in observe mode that would have refused.
    pub would: SmallVec<[Would; 1]>,
}

/// Why [`charge`] charged nothing.
#[derive(Debug)]
pub enum ChargeError {
    /// 429.
    Refused(Refused),
    /// A budget's lease is short; more was asked for.
    LeasePending,
}

/// Proof that every limit was charged and the worst-case cost is held.
#[derive(Debug)]
pub struct Admitted {
    permitted: Permitted,
    charged: Charged,
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
    pub fn hold(&self) -> &Hold {
        &self.charged.hold
    }

    /// The tightest limit, for the response's fields.
    #[must_use]
    pub fn limit(&self) -> Option<&LimitState> {
        self.charged.limit.as_ref()
    }

    /// Rules in observe mode that would have refused.
    #[must_use]
    pub fn would(&self) -> &[Would] {
        &self.charged.would
    }

    /// Gives the hold up to `settle`.
    pub fn into_hold(self) -> Hold {
        self.charged.hold
    }

    /// For tests of later layers only.
    #[cfg(test)]
    pub(crate) fn for_test(permitted: Permitted) -> Self {
        let hold = Hold::detached(1, SmallVec::new());
        Self { permitted, charged: Charged { hold, limit: None, would: SmallVec::new() } }
    }
}
