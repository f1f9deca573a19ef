//! The compiled `[usage]` section: part of the snapshot a request works with (THREATS A29).
//!
//! A rule is known by its stable id: its tables' keys are the principal's key combined with a digest of that id, so what
//! was counted and spent survives a reload that edits the rule's numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::resolved::{Budget, Mode, Per, RateLimit, UsageConfig};
use crate::identity::Identity;
use crate::ids::Key128;
use crate::usage::budget::{AMOUNT_MAX, rule_tag};
use crate::usage::gcra::Rate;
use crate::usage::loop_guard::Guard;

/// The rules of one configuration generation. Looking up costs nothing but the rules' number.
#[derive(Debug)]
pub struct Plan {
    pub(crate) limits: Vec<LimitRule>,
    pub(crate) budgets: Vec<BudgetRule>,
    pub(crate) guard: Option<Guard>,
    pub(crate) denials: Option<LimitRule>,
    pub(crate) retry_mask: u128,
    pub(crate) calls_in_flight_max: u64,
    pub(crate) holds_share_percent: u64,
    serial: u64,
}

/// A compiled rate limit.
#[derive(Debug)]
pub(crate) struct LimitRule {
    pub(crate) id: Arc<str>,
    pub(crate) per: Per,
    /// Combined with a principal's key, the slot's key.
    pub(crate) mask: u128,
    pub(crate) rate: Rate,
    pub(crate) quota: u64,
    pub(crate) window_secs: u64,
    pub(crate) mode: Mode,
    pub(crate) kernel: bool,
}

/// A compiled budget.
#[derive(Debug)]
pub(crate) struct BudgetRule {
    pub(crate) id: Arc<str>,
    pub(crate) per: Per,
    pub(crate) mask: u128,
    /// Names the rule in its slots.
    pub(crate) tag: u64,
    /// Micro-dollars per period.
    pub(crate) cap: u64,
    pub(crate) period_secs: u64,
    pub(crate) mode: Mode,
}

impl Plan {
    /// Compiles the rules.
    #[must_use]
    pub fn compile(config: &UsageConfig) -> Self {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        Self {
            limits: config.rate_limits.iter().map(LimitRule::new).collect(),
            budgets: config.budgets.iter().map(BudgetRule::new).collect(),
            guard: config.loop_guard.as_ref().map(Guard::new),
            denials: denial_rule(config.denials_per_minute),
            retry_mask: mask("retry", ""),
            calls_in_flight_max: u64::from(config.calls_in_flight_max.max(1)),
            holds_share_percent: u64::from(config.holds_user_share_percent.clamp(1, 100)),
            serial: SERIAL.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// Tells plans apart; never 0.
    pub(crate) const fn serial(&self) -> u64 {
        self.serial
    }

    pub(crate) fn budget_of(&self, tag: u64) -> Option<&BudgetRule> {
        self.budgets.iter().find(|rule| rule.tag == tag)
    }
}

impl LimitRule {
    fn new(limit: &RateLimit) -> Self {
        Self {
            id: limit.id.clone(),
            per: limit.per,
            mask: mask("limit", &limit.id),
            rate: Rate::new(limit.requests, limit.window, limit.burst),
            quota: limit.requests,
            window_secs: limit.window.as_secs().max(1),
            mode: limit.mode,
            kernel: limit.kernel,
        }
    }

    pub(crate) fn key(&self, identity: &Identity) -> u128 {
        self.mask ^ principal(identity, self.per)
    }
}

impl BudgetRule {
    fn new(budget: &Budget) -> Self {
        let mask = mask("budget", &budget.id);
        Self {
            id: budget.id.clone(),
            per: budget.per,
            mask,
            tag: rule_tag(mask),
            cap: budget.max_spend_microusd,
            period_secs: budget.period.as_secs().max(1),
            mode: budget.mode,
        }
    }

    pub(crate) fn key(&self, identity: &Identity) -> u128 {
        self.mask ^ principal(identity, self.per)
    }

    /// (start, end) of the period that holds an instant; periods are aligned to the Unix epoch.
    pub(crate) fn period(&self, unix_secs: u64) -> (u64, u64) {
        let start = unix_secs - unix_secs % self.period_secs;
        (start, start.saturating_add(self.period_secs))
    }

    /// Most that may lie leased and unreserved: one call or 1 % of the cap.
    pub(crate) fn lease_max(&self, call: u64) -> u64 {
        (self.cap / 100).max(call).clamp(1, AMOUNT_MAX / 2)
    }
}

/// The ledger's key of a principal's budget: the same in every boot and after every edit of the budget but its id.
#[must_use]
pub fn budget_key(budget_id: &str, principal: Key128) -> Key128 {
    key128(mask("budget", budget_id) ^ number(principal))
}

/// Denials have a bucket of their own (THREATS A30); 0 per minute turns it off.
fn denial_rule(per_minute: u32) -> Option<LimitRule> {
    let quota = u64::from(per_minute);
    let window = Duration::from_secs(60);
    (quota > 0).then(|| LimitRule {
        id: Arc::from("denials"),
        per: Per::User,
        mask: mask("denials", ""),
        rate: Rate::new(quota, window, quota),
        quota,
        window_secs: window.as_secs(),
        mode: Mode::Enforce,
        kernel: false,
    })
}

/// A rule's half of its slots' keys.
///
/// Slot keys are `mask ^ principal`, two SHA-256 prefixes. Two slots share a key only if four such digests cancel out;
/// to aim at a given slot takes a pre-image of 128 bits, and to find any colliding pair 2⁶⁴ identities: the same bounds
/// as for [`Key128`] itself, without a SHA-256 per request.
fn mask(kind: &str, id: &str) -> u128 {
    number(Key128::of(&[b"usage", kind.as_bytes(), id.as_bytes()]))
}

pub(crate) fn principal(identity: &Identity, per: Per) -> u128 {
    number(match per {
        Per::User => identity.user_key,
        Per::Tenant => identity.tenant_key,
    })
}

pub(crate) const fn number(key: Key128) -> u128 {
    u128::from_le_bytes(key.0)
}

pub(crate) const fn key128(number: u128) -> Key128 {
    Key128(number.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(id: &str, cap: u64) -> BudgetRule {
        BudgetRule::new(&Budget {
            id: id.into(),
            per: Per::User,
            max_spend_microusd: cap,
            period: Duration::from_secs(3600),
            mode: Mode::Enforce,
        })
    }

    #[test]
    fn a_rule_keeps_its_slots_when_its_numbers_change() {
        assert_eq!(budget("user", 10).mask, budget("user", 99).mask);
        assert_ne!(budget("user", 10).mask, budget("user2", 10).mask);
        assert_eq!(budget_key("user", Key128([3; 16])), key128(budget("user", 1).mask ^ number(Key128([3; 16]))));
    }

    #[test]
    fn periods_are_aligned_to_the_epoch() {
        assert_eq!(budget("user", 1).period(7_201), (7_200, 10_800));
        assert_eq!(budget("user", 1).period(7_200), (7_200, 10_800));
        assert_eq!(budget("user", 1).period(7_199), (3_600, 7_200));
    }

    #[test]
    fn a_lease_is_one_call_or_a_hundredth_of_the_cap() {
        assert_eq!(budget("user", 500_000_000).lease_max(2_000), 5_000_000);
        assert_eq!(budget("user", 10).lease_max(1), 1);
        assert_eq!(budget("user", u64::MAX).lease_max(u64::MAX), AMOUNT_MAX / 2);
    }
}
