//! Rate limits, budgets and the loop guard.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Mode;

/// `[usage]`.
#[derive(Debug)]
pub struct UsageConfig {
    /// Rate limits.
    pub rate_limits: Vec<RateLimit>,
    /// Budgets.
    pub budgets: Vec<Budget>,
    /// Loop guard, if configured.
    pub loop_guard: Option<LoopGuard>,
    /// Denied requests per subject and minute before denials answer 429 (default 60; THREATS A30).
    pub denials_per_minute: u32,
    /// Slots of the limiter tables over all tenants (default 65 536).
    pub slots: usize,
    /// Largest share of the slots one tenant may hold, in percent (default 25).
    pub slots_tenant_share_percent: u8,
    /// Priced calls one user may have in flight where a budget exists (default 64: a busy client's connections;
    /// THREATS A12).
    pub calls_in_flight_max: u32,
    /// Largest share of a tenant budget's remainder that one user's open holds may take, in percent (default 25;
    /// THREATS A12). A user's only open call is exempt, so that the last of a budget can be spent.
    pub holds_user_share_percent: u8,
    /// Where the spend ledger lives.
    pub ledger: PathBuf,
}

impl Default for UsageConfig {
    /// No limits and no budgets, and the documented default of everything else.
    fn default() -> Self {
        Self {
            rate_limits: Vec::new(),
            budgets: Vec::new(),
            loop_guard: None,
            denials_per_minute: 60,
            slots: 65_536,
            slots_tenant_share_percent: 25,
            calls_in_flight_max: 64,
            holds_user_share_percent: 25,
            ledger: PathBuf::new(),
        }
    }
}

/// Whom a limit or budget counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each user.
    User,
    /// Each tenant.
    Tenant,
}

/// One `[[usage.rate_limit]]`: `requests` per `window`, at once up to `burst` (GCRA).
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Stable id, also the policy name in `RateLimit-Policy` (default `user`/`tenant`, numbered when repeated).
    pub id: Arc<str>,
    /// Whom it counts.
    pub per: Per,
    /// Requests per window, ≥ 1.
    pub requests: u64,
    /// The window.
    pub window: Duration,
    /// Requests admitted at once (default: `requests`).
    pub burst: u64,
    /// Enforce or observe.
    pub mode: Mode,
    /// Kernel penalty for a declared source whose tenant ignores this limit's 429s (default true).
    pub kernel: bool,
}

/// One `[[usage.budget]]`.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Stable id: spend survives edits of the cap (default `user`/`tenant`, numbered when repeated).
    pub id: Arc<str>,
    /// Whose spend.
    pub per: Per,
    /// Cap per period, micro-dollars.
    pub max_spend_microusd: u64,
    /// Length of a period; periods are aligned to the Unix epoch.
    pub period: Duration,
    /// Enforce or observe.
    pub mode: Mode,
}

/// `[usage.loop_guard]`.
#[derive(Debug, Clone)]
pub struct LoopGuard {
    /// Identical calls of one human within the window that make a loop.
    pub identical_calls: u32,
    /// The window.
    pub window: Duration,
    /// Enforce or observe.
    pub mode: Mode,
    /// When the tenant of somebody who goes on with a loop is frozen; `None` = never.
    pub runaway: Option<Runaway>,
}

/// When a tenant is frozen for a loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Runaway {
    /// Refusals that one user went on in spite of, within a minute.
    pub after: u32,
    /// How long.
    pub time: Duration,
}
