//! The four doors of [`crate::usage`]: peek, admit, settle, denied.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

use crate::clock::Now;
use crate::config::resolved::{Mode, Per, Tool};
use crate::identity::Identity;
use crate::ids::Key128;
use crate::policy::Permitted;
use crate::reason::Reason;
use crate::usage::budget::Short;
use crate::usage::gcra::{self, Rate};
use crate::usage::plan::{BudgetRule, LimitRule, Plan, key128, number, principal};
use crate::usage::subject::Excess;
use crate::usage::table::{Entry, Full};
use crate::usage::{
    AdmitError, Admitted, ChargeError, Charged, Hold, HoldPart, LimitState, OpenHold, Refused, Settle, Usage, Would,
    loop_guard, retry,
};

/// How long a caller waits for room in a table or for calls in flight to end.
const SHARE_RETRY_SECS: u64 = 1;

/// Asks for the memory that [`peek`] and [`admit`] will read of `identity`. Nothing depends on whether it is called.
pub fn anticipate(usage: &Usage, plan: &Plan, identity: &Identity) {
    for rule in plan.limits.iter().chain(&plan.denials) {
        usage.limits.prefetch(rule.key(identity));
    }
    for rule in &plan.budgets {
        usage.budgets.prefetch(rule.key(identity));
    }
    usage.subjects.prefetch(principal(identity, Per::User));
}

/// The same for one call: where the loop guard counts it.
pub fn anticipate_call(usage: &Usage, plan: &Plan, identity: &Identity, tool: &Tool, call_digest: Key128) {
    if plan.guard.is_some() {
        usage.loops.prefetch(loop_key(identity, tool, call_digest));
    }
}

/// Reads whether a limit or the denial bucket is exhausted, before the body is read. Charges nothing; a refusal is
/// noted, so that the next one can say whether its advice was ignored.
///
/// # Errors
/// The refusal to answer with.
pub fn peek(usage: &Usage, plan: &Plan, identity: &Identity, now: Now) -> Result<(), Refused> {
    let attempt = Attempt::new(usage, plan, identity, now);
    for rule in plan.limits.iter().filter(|rule| rule.mode == Mode::Enforce) {
        attempt.check(rule, Reason::RateLimited)?;
    }
    match &plan.denials {
        Some(rule) => attempt.check(rule, Reason::DenialLimited).map(|_| ()),
        None => Ok(()),
    }
}

/// Charges the subject's denial bucket for a request that another layer refused (THREATS A30). An empty bucket stays
/// empty; [`peek`] refuses until it drains.
pub fn denied(usage: &Usage, plan: &Plan, identity: &Identity, now: Now) {
    if let Some(rule) = &plan.denials {
        let attempt = Attempt::new(usage, plan, identity, now);
        // No room for the bucket means no denial limit for this subject: `peek` never refuses on what is not counted.
        let _ = attempt.charge(rule, usage.limits.find(rule.key(identity)));
    }
}

/// Charges every limit, counts the call, and holds its price in every budget, in one step: all or nothing.
///
/// Limits and the loop guard are first only read, so what they refuse costs nothing. Then the price is held, the call
/// counted and each limit charged by compare-and-swap; whoever loses a race in between takes everything back. Taking
/// back holds and loop counts is exact. A limit's charge is taken back only if nobody charged the same slot since:
/// otherwise its drain cannot be told apart any more, and the unit stays charged. So a lost race between two limits can
/// cost a unit of the first, and never admits one too many.
///
/// # Errors
/// A refusal, in the order rate, loop, budget; or the request itself, when a lease must be waited for.
pub fn admit(
    usage: &Arc<Usage>,
    plan: &Plan,
    permitted: Permitted,
    tool: &Tool,
    call_digest: Key128,
    now: Now,
) -> Result<Admitted, AdmitError> {
    match charge(usage, plan, permitted.identity(), tool, call_digest, now) {
        Ok(charged) => Ok(Admitted { permitted, charged }),
        Err(ChargeError::Refused(refused)) => Err(AdmitError::Refused(refused)),
        Err(ChargeError::LeasePending) => Err(AdmitError::LeasePending(permitted)),
    }
}

/// What [`admit`] does, without the proof that policy permits the call: for simulations and benchmarks. It makes no
/// [`Admitted`], so nothing can be sent on it.
///
/// # Errors
/// As [`admit`].
pub fn charge(
    usage: &Arc<Usage>,
    plan: &Plan,
    identity: &Identity,
    tool: &Tool,
    call_digest: Key128,
    now: Now,
) -> Result<Charged, ChargeError> {
    let mut attempt = Attempt::new(usage, plan, identity, now);
    attempt.run(usage, tool, call_digest)
}

/// Ends a hold and returns what was spent of it, in micro-dollars, in each budget that held it.
pub fn settle(mut hold: Hold, outcome: Settle) -> u64 {
    hold.end(match outcome {
        Settle::Charge(microusd) => microusd,
        Settle::Held => u64::MAX,
        Settle::Release => 0,
    })
}

impl Hold {
    /// Settles what is open at `cost` or what is held, whichever is less. Idempotent.
    pub(super) fn end(&mut self, cost: u64) -> u64 {
        let Some(open) = self.open.take() else { return 0 };
        let spent = cost.min(open.price);
        for (part, slot) in self.parts.iter().zip(&open.slots) {
            open.usage.budgets.settle(*slot, part.lease, part.held_microusd, spent);
        }
        if let Some(subject) = open.subject {
            open.usage.subjects.end(subject, open.price);
        }
        spent
    }
}

impl From<Refused> for ChargeError {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// A limit as it was read.
#[derive(Clone, Copy)]
enum Found {
    /// Observed and exhausted: not charged.
    Exhausted,
    /// With room; its entry, if it had one.
    Room(Option<Entry>),
}

/// A limit's charge, as needed to take it back.
struct Charge {
    before: u64,
    after: Entry,
}

/// One request's way through limits, loop guard and budgets.
struct Attempt<'r> {
    usage: &'r Usage,
    plan: &'r Plan,
    identity: &'r Identity,
    tenant: u128,
    now: Now,
    tick: u64,
    would: SmallVec<[Would; 1]>,
    charges: SmallVec<[Charge; 4]>,
    /// The loop entry as this call left it.
    counted: Option<Entry>,
}

impl<'r> Attempt<'r> {
    fn new(usage: &'r Usage, plan: &'r Plan, identity: &'r Identity, now: Now) -> Self {
        Self {
            usage,
            plan,
            identity,
            tenant: principal(identity, Per::Tenant),
            now,
            tick: gcra::ticks(now),
            would: SmallVec::new(),
            charges: SmallVec::new(),
            counted: None,
        }
    }

    fn run(&mut self, usage: &Arc<Usage>, tool: &Tool, digest: Key128) -> Result<Charged, ChargeError> {
        let found = self.check_limits()?;
        let call = self.check_loop(tool, digest)?;
        let hold = self.hold(usage, tool.price_microusd())?;
        match self.count(call).and_then(|()| self.charge_limits(&found)) {
            Ok(limit) => Ok(Charged { hold, limit, would: std::mem::take(&mut self.would) }),
            Err(stop) => {
                self.take_back();
                settle(hold, Settle::Release);
                Err(stop)
            }
        }
    }

    fn check_limits(&mut self) -> Result<SmallVec<[Found; 4]>, ChargeError> {
        let mut found = SmallVec::new();
        for rule in &self.plan.limits {
            match self.check(rule, Reason::RateLimited) {
                Ok(entry) => found.push(Found::Room(entry)),
                Err(_) if rule.mode == Mode::Observe => {
                    self.observe(Reason::RateLimited, &rule.id);
                    found.push(Found::Exhausted);
                }
                Err(refused) => return Err(refused.into()),
            }
        }
        Ok(found)
    }

    fn check(&self, rule: &LimitRule, reason: Reason) -> Result<Option<Entry>, Refused> {
        let entry = self.usage.limits.find(rule.key(self.identity));
        match rule.rate.charge(entry.map_or(0, Entry::payload), self.tick) {
            Ok(_) => Ok(entry),
            Err(wait) => Err(self.over(rule, reason, wait)),
        }
    }

    fn check_loop(&mut self, tool: &Tool, digest: Key128) -> Result<Option<(u128, Option<Entry>)>, ChargeError> {
        let Some(guard) = self.plan.guard else { return Ok(None) };
        let key = loop_key(self.identity, tool, digest);
        let entry = self.usage.loops.find(key);
        match loop_guard::check(guard, entry, self.tick) {
            Ok(()) => Ok(Some((key, entry))),
            Err(wait) => self.looping(guard, wait).map(|()| None),
        }
    }

    /// Holds `price` in every budget.
    fn hold(&mut self, usage: &Arc<Usage>, price: u64) -> Result<Hold, ChargeError> {
        let mut hold = Hold { id: next_hold_id(), parts: SmallVec::new(), open: None };
        if price == 0 || self.plan.budgets.is_empty() {
            return Ok(hold);
        }
        let subject = self.begin_call(price)?;
        hold.open = Some(OpenHold { usage: Arc::clone(usage), subject, price, slots: SmallVec::new() });
        for rule in &self.plan.budgets {
            if let Err(stop) = self.hold_in(rule, price, &mut hold) {
                settle(hold, Settle::Release);
                return Err(stop);
            }
        }
        Ok(hold)
    }

    fn hold_in(&mut self, rule: &BudgetRule, price: u64, hold: &mut Hold) -> Result<(), ChargeError> {
        let key = rule.key(self.identity);
        let reserved = self.usage.budgets.reserve(key, rule.tag, self.tenant, price, self.now.unix_secs());
        match reserved {
            Ok(Ok(reserved)) => {
                hold.parts.push(HoldPart { budget: key128(key), lease: reserved.lease, held_microusd: price });
                if let Some(open) = &mut hold.open {
                    open.slots.push(reserved.index);
                }
                Ok(())
            }
            // An observed budget never delays a call; one that comes before its first lease is not counted.
            Ok(Err(Short::Pending)) | Err(Full) if rule.mode == Mode::Observe => Ok(()),
            Ok(Err(Short::Pending)) => Err(ChargeError::LeasePending),
            Ok(Err(Short::Exhausted { .. })) if rule.mode == Mode::Observe => {
                self.observe(Reason::QuotaExceeded, &rule.id);
                Ok(())
            }
            Ok(Err(Short::Exhausted { until_secs })) => {
                let wait = until_secs.saturating_sub(self.now.unix_secs());
                Err(refused(Reason::QuotaExceeded, &rule.id, wait).into())
            }
            Err(Full) => Err(refused(Reason::TenantShare, &rule.id, SHARE_RETRY_SECS).into()),
        }
    }

    /// Counts a call in flight, where an enforced budget exists.
    fn begin_call(&self, price: u64) -> Result<Option<usize>, ChargeError> {
        let Some(rule) = self.plan.budgets.iter().find(|rule| rule.mode == Mode::Enforce) else { return Ok(None) };
        let user = principal(self.identity, Per::User);
        let max = self.plan.calls_in_flight_max;
        match self.usage.subjects.begin(user, self.tenant, price, max, |held| self.share(held)) {
            Ok(Ok(index)) => Ok(Some(index)),
            Ok(Err(Excess::Calls | Excess::Share)) | Err(Full) => {
                Err(refused(Reason::TenantShare, &rule.id, SHARE_RETRY_SECS).into())
            }
        }
    }

    /// What one user, who holds `held`, may hold of the tightest tenant budget.
    fn share(&self, held: u64) -> u64 {
        let tenant_budgets =
            self.plan.budgets.iter().filter(|rule| rule.mode == Mode::Enforce && rule.per == Per::Tenant);
        let remainders = tenant_budgets.filter_map(|rule| self.usage.budgets.remainder(rule.key(self.identity)));
        let percent = u128::from(self.plan.holds_share_percent);
        let share = |remainder: u64| u128::from(remainder.saturating_add(held)) * percent / 100;
        remainders.map(|remainder| u64::try_from(share(remainder)).unwrap_or(u64::MAX)).min().unwrap_or(u64::MAX)
    }

    fn count(&mut self, call: Option<(u128, Option<Entry>)>) -> Result<(), ChargeError> {
        let (Some(guard), Some((key, entry))) = (self.plan.guard, call) else { return Ok(()) };
        let tick = self.tick;
        match self.usage.loops.update(key, self.tenant, tick, entry, |payload| guard.count(payload, tick)) {
            Ok(Ok(entry)) => self.counted = Some(entry),
            Ok(Err(wait)) => self.looping(guard, wait)?,
            // The table forgets rather than refuse; if all its slots are being written this call goes uncounted.
            Err(Full) => {}
        }
        Ok(())
    }

    /// Charges what [`Attempt::check_limits`] found room in. Returns the tightest enforced limit.
    fn charge_limits(&mut self, found: &[Found]) -> Result<Option<LimitState>, ChargeError> {
        let plan = self.plan;
        let mut tightest: Option<(u64, &LimitRule, u64)> = None;
        for (rule, found) in plan.limits.iter().zip(found) {
            let Found::Room(entry) = *found else { continue };
            let observed = rule.mode == Mode::Observe;
            match self.charge(rule, entry) {
                Ok(Ok(charge)) => {
                    let tat = charge.after.payload();
                    self.charges.push(charge);
                    let remaining = rule.rate.remaining(tat, self.tick);
                    if !observed && tightest.is_none_or(|(least, ..)| remaining < least) {
                        tightest = Some((remaining, rule, tat));
                    }
                }
                Ok(Err(_)) if observed => self.observe(Reason::RateLimited, &rule.id),
                Err(Full) if observed => {}
                Ok(Err(wait)) => return Err(self.over(rule, Reason::RateLimited, wait).into()),
                Err(Full) => return Err(refused(Reason::TenantShare, &rule.id, SHARE_RETRY_SECS).into()),
            }
        }
        Ok(tightest.map(|(remaining, rule, tat)| state(rule, remaining, tat, self.tick)))
    }

    fn charge(&self, rule: &LimitRule, entry: Option<Entry>) -> Result<Result<Charge, u64>, Full> {
        let key = rule.key(self.identity);
        let mut before = 0;
        let charged = self.usage.limits.update(key, self.tenant, self.tick, entry, |tat| {
            before = tat;
            rule.rate.charge(tat, self.tick)
        })?;
        Ok(charged.map(|after| Charge { before, after }))
    }

    fn take_back(&mut self) {
        for charge in self.charges.drain(..) {
            let _ = self.usage.limits.swap(charge.after, charge.before);
        }
        let Some(counted) = self.counted.take() else { return };
        let mut entry = counted;
        while let Err(Some(found)) =
            self.usage.loops.swap(entry, loop_guard::uncount(entry.payload(), counted.payload()))
        {
            entry = found;
        }
    }

    fn looping(&mut self, guard: loop_guard::Guard, wait: u64) -> Result<(), ChargeError> {
        let rule = Arc::from("loop_guard");
        if guard.mode == Mode::Observe {
            self.observe(Reason::LoopDetected, &rule);
            return Ok(());
        }
        let refused = refused(Reason::LoopDetected, &rule, gcra::secs_ceil(wait));
        let ignored = guard.tells && self.is_ignored(LOOPS, refused.retry_after_secs);
        Err(Refused { ignored, ..refused }.into())
    }

    fn over(&self, rule: &LimitRule, reason: Reason, wait: u64) -> Refused {
        let secs = gcra::secs_ceil(wait).max(1);
        let limit = LimitState { reset_secs: secs, ..state(rule, 0, 0, 0) };
        let enforced_by_kernel = rule.kernel && rule.mode == Mode::Enforce;
        let ignored = enforced_by_kernel && self.is_ignored(LIMITS, secs);
        let refused = refused(reason, &rule.id, secs);
        Refused { limit: Some(limit), kernel: enforced_by_kernel, ignored, per: rule.per, ..refused }
    }

    /// Whether the user was told to wait before, by advice of the same kind, and did not. What counts is what it was told:
    /// whole seconds, however soon it would be admitted.
    fn is_ignored(&self, kind: u128, secs: u64) -> bool {
        let key = self.plan.retry_mask ^ principal(self.identity, Per::User) ^ kind;
        retry::note(&self.usage.limits, key, self.tenant, gcra::span(Duration::from_secs(secs)), self.tick)
    }

    fn observe(&mut self, reason: Reason, rule: &Arc<str>) {
        self.would.push(Would { reason, rule: Arc::clone(rule) });
    }
}

/// Advice of limits that reach the kernel, and of the loop guard, which does not: kept apart in the keys of [`retry`].
const LIMITS: u128 = 0;
const LOOPS: u128 = u128::MAX;

fn refused(reason: Reason, rule: &Arc<str>, retry_after_secs: u64) -> Refused {
    Refused {
        reason,
        limit: None,
        retry_after_secs: retry_after_secs.max(1),
        rule: Arc::clone(rule),
        kernel: false,
        per: Per::User,
        ignored: false,
    }
}

fn state(rule: &LimitRule, remaining: u64, tat: u64, now: u64) -> LimitState {
    let wait = rule.rate.charge(tat, now).err().unwrap_or_else(|| Rate::drained_in(tat, now));
    LimitState {
        id: Arc::clone(&rule.id),
        quota: rule.quota,
        window_secs: rule.window_secs,
        remaining,
        reset_secs: gcra::secs_ceil(wait),
    }
}

/// Sets the tools of one user apart. Names come from the configuration, so a plain mixing function is enough.
/// Under which identical calls are counted: the arguments' digest, the user and the tool.
fn loop_key(identity: &Identity, tool: &Tool, digest: Key128) -> u128 {
    number(digest) ^ principal(identity, Per::User) ^ tool_number(&tool.name)
}

fn tool_number(name: &str) -> u128 {
    const PRIME: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
    let mut mixed = name.len() as u128;
    for chunk in name.as_bytes().chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        mixed = (mixed ^ u128::from(u64::from_le_bytes(word))).wrapping_mul(PRIME);
        mixed ^= mixed >> 67;
    }
    mixed
}

/// Hold ids, in blocks per thread so that workers share no counter.
fn next_hold_id() -> u64 {
    const BLOCK: u64 = 1 << 16;
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    thread_local! { static NEXT: Cell<u64> = const { Cell::new(0) } }
    NEXT.with(|next| {
        let id = match next.get() {
            id if id.is_multiple_of(BLOCK) => BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK + 1,
            id => id,
        };
        next.set(id + 1);
        id
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::resolved::UsageConfig;
    use crate::usage::testing::{World, at, identity, limit, loop_guard, tool};

    #[test]
    fn a_race_lost_at_the_second_limit_takes_everything_back() {
        let world = World::new(&UsageConfig {
            rate_limits: vec![limit("tenant", Per::Tenant, 10, 600), limit("user", Per::User, 1, 600)],
            loop_guard: Some(loop_guard(3, 60)),
            slots: 64,
            ..UsageConfig::default()
        });
        let (ann, bob, tool) = (identity("acme", "ann"), identity("acme", "bob"), tool("t", 0));
        let mut late = Attempt::new(&world.usage, &world.plan, &ann, at(0));
        let Ok(found) = late.check_limits() else { panic!("nothing is charged yet") };
        let Ok(call) = late.check_loop(&tool, Key128([7; 16])) else { panic!("no loop yet") };
        // Another call of the same user overtakes it.
        assert!(world.call(&ann, &tool, 1, 0).is_ok());
        assert!(late.count(call).is_ok());
        assert!(matches!(late.charge_limits(&found), Err(ChargeError::Refused(_))));
        let counted = late.counted.unwrap();
        late.take_back();
        let remaining = world.call(&bob, &tool, 2, 0).unwrap();
        assert_eq!(remaining.limit().map(|limit| (limit.quota, limit.remaining)), Some((1, 0)));
        let tenant = &world.plan.limits[0];
        let tat = world.usage.limits.find(tenant.key(&bob)).unwrap().payload();
        assert_eq!(tenant.rate.remaining(tat, gcra::ticks(at(0))), 8, "two calls were admitted");
        let (key, _) = call.unwrap();
        let left = world.usage.loops.find(key).unwrap();
        assert_eq!(left.payload() + 1, counted.payload(), "the call is no longer counted");
    }

    #[test]
    fn hold_ids_do_not_repeat_across_threads() {
        let ids = || (0..70_000).map(|_| next_hold_id()).collect::<Vec<_>>();
        let mut all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ids)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]) && all[0] > 0);
    }
}
