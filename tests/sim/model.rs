//! What must be decided and charged, said a second time in plain data structures and exact arithmetic.
//!
//! Knows nothing of leases, books, rings, caches or tables: a budget is what was spent and what is held, a limit one
//! instant per principal. Two facts of the gateway it takes over, because callers can observe them: limits are judged
//! by the instant at which a request's head was complete, and a lowered cap binds from the ledger's next pass on.

use std::collections::BTreeMap;

use acp::reason::Reason;

use super::rules::{
    Argument, Content, DENIAL, FLIGHT_MAX, IDENTICAL, LEEWAY_SECS, LOOP_MS, Rate, Rules, SHARE_PERCENT, SUBJECTS, TOOLS,
};

/// What is wrong with a token, if anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    None,
    Absent,
    Issuer,
    Audience,
    Key,
    Signature,
}

/// A token as its issuer made it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Minted {
    pub(super) flaw: Flaw,
    pub(super) issued: u64,
    pub(super) expires: u64,
}

/// A request: who, what, and the instants on both clocks when its head was complete.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call {
    pub(super) subject: usize,
    pub(super) token: Minted,
    /// Tokens of the subject issued until then were revoked when the request came.
    pub(super) revoked_until: Option<u64>,
    pub(super) tool: usize,
    pub(super) content: Content,
    pub(super) mono_ns: u64,
    pub(super) wall_secs: u64,
    pub(super) rules: Rules,
}

/// A user or a tenant, within its issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Principal {
    User(&'static str, &'static str),
    Tenant(&'static str, &'static str),
}

/// A budget's standing, micro-dollars.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    pub(super) spent: u64,
    pub(super) held: u64,
    /// The cap in force, or what had been committed when it was lowered below that.
    cap: u64,
    /// The highest cap that was ever in force.
    pub(super) cap_max: u64,
}

impl Account {
    fn left(&self) -> u64 {
        self.cap.saturating_sub(self.spent + self.held)
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Model {
    /// Theoretical arrival times, ns; `None` is the denial bucket's.
    limits: BTreeMap<(bool, Principal), u64>,
    loops: BTreeMap<(Principal, usize, String), (u64, u64)>,
    flight: BTreeMap<Principal, (u64, u64)>,
    pub(super) accounts: BTreeMap<Principal, Account>,
}

impl Call {
    pub(super) fn user(&self) -> Principal {
        Principal::User(SUBJECTS[self.subject].issuer, SUBJECTS[self.subject].name)
    }

    pub(super) fn tenant(&self) -> Principal {
        Principal::Tenant(SUBJECTS[self.subject].issuer, SUBJECTS[self.subject].tenant)
    }

    pub(super) fn price(&self) -> u64 {
        TOOLS[self.tool].price
    }

    pub(super) fn limits(&self) -> [(Principal, Rate); 2] {
        [(self.user(), self.rules.user_rate), (self.tenant(), self.rules.tenant_rate)]
    }

    /// Why the caller is not believed.
    pub(super) fn unverified(&self) -> Option<Reason> {
        let Minted { flaw, issued, expires } = self.token;
        match flaw {
            Flaw::Absent => Some(Reason::MissingToken),
            Flaw::Issuer => Some(Reason::UnknownIssuer),
            Flaw::Audience => Some(Reason::WrongAudience),
            _ if self.wall_secs >= expires + LEEWAY_SECS => Some(Reason::ExpiredToken),
            _ if issued > self.wall_secs + LEEWAY_SECS => Some(Reason::TokenNotYetValid),
            Flaw::Key => Some(Reason::UnknownKey),
            Flaw::Signature => Some(Reason::InvalidToken),
            Flaw::None => self.revoked_until.is_some_and(|until| issued <= until).then_some(Reason::RevokedToken),
        }
    }

    /// What the content is refused for.
    pub(super) fn content_fault(&self) -> Option<Reason> {
        let Content { argument, email, card } = self.content;
        let limit_max = self.rules.limit_max;
        match argument {
            Argument::Broken => Some(Reason::InvalidJson),
            Argument::Twice => Some(Reason::DuplicateKey),
            _ if card || (email && self.rules.email_blocks) => Some(Reason::ContentBlocked),
            _ if !TOOLS[self.tool].limited => None,
            Argument::Limit(limit) => (limit > limit_max).then_some(Reason::PolicyDenied),
            Argument::NoLimit => Some(Reason::PolicyDenied),
            Argument::TextLimit => Some(Reason::PolicyError),
        }
    }
}

impl Model {
    /// What happens before the body is asked for.
    pub(super) fn begin(&self, call: &Call) -> Option<Reason> {
        let subject = &SUBJECTS[call.subject];
        let tool = &TOOLS[call.tool];
        let holds = |scope: &str| subject.scopes.split(' ').any(|held| held == scope);
        if let Some(reason) = call.unverified() {
            return Some(reason);
        }
        if !holds("tool:crm:read") {
            return Some(Reason::InsufficientScope);
        }
        if let Some(reason) = self.over(call) {
            return Some(reason);
        }
        if !self.room((true, call.user()), DENIAL, call.mono_ns) {
            return Some(Reason::DenialLimited);
        }
        (!tool.known || !holds(&format!("tool:crm:{}", tool.verb))).then_some(Reason::UnknownTool)
    }

    /// Whether a rate limit refuses.
    pub(super) fn over(&self, call: &Call) -> Option<Reason> {
        let full =
            call.limits().into_iter().any(|(principal, rate)| !self.room((false, principal), rate, call.mono_ns));
        full.then_some(Reason::RateLimited)
    }

    fn room(&self, key: (bool, Principal), rate: Rate, now: u64) -> bool {
        let tat = self.limits.get(&key).copied().unwrap_or(0);
        tat.max(now) <= now + rate.interval_ns() * (rate.burst - 1)
    }

    fn charge(&mut self, key: (bool, Principal), rate: Rate, now: u64) {
        let tat = self.limits.entry(key).or_default();
        *tat = (*tat).max(now) + rate.interval_ns();
    }

    fn loop_key(call: &Call) -> (Principal, usize, String) {
        (call.user(), call.tool, call.content.body())
    }

    /// Whether the call would make a loop.
    pub(super) fn looping(&self, call: &Call) -> Option<Reason> {
        let (end, count) = self.loops.get(&Self::loop_key(call)).copied().unwrap_or_default();
        (end > call.mono_ns && count + 1 >= IDENTICAL).then_some(Reason::LoopDetected)
    }

    /// Whether money refuses.
    fn unaffordable(&self, call: &Call) -> Option<Reason> {
        let price = call.price();
        if price == 0 {
            return None;
        }
        let left = |principal| self.accounts.get(&principal).map_or(0, Account::left);
        let (calls, held) = self.flight.get(&call.user()).copied().unwrap_or_default();
        let share = (left(call.tenant()) + held) * SHARE_PERCENT / 100;
        if calls >= FLIGHT_MAX || (calls > 0 && held + price > share) {
            return Some(Reason::TenantShare);
        }
        let short = left(call.user()) < price || left(call.tenant()) < price;
        short.then_some(Reason::QuotaExceeded)
    }

    /// Whether it would be admitted.
    pub(super) fn admittable(&self, call: &Call) -> bool {
        self.refusal(call).is_none()
    }

    fn refusal(&self, call: &Call) -> Option<Reason> {
        self.over(call).or_else(|| self.looping(call)).or_else(|| self.unaffordable(call))
    }

    /// Admits a permitted call and charges it, or says why not and charges nothing.
    pub(super) fn admit(&mut self, call: &Call) -> Option<Reason> {
        if let Some(reason) = self.refusal(call) {
            return Some(reason);
        }
        for (principal, rate) in call.limits() {
            self.charge((false, principal), rate, call.mono_ns);
        }
        let counted = self.loops.entry(Self::loop_key(call)).or_default();
        *counted = match *counted {
            (end, count) if end > call.mono_ns => (end, count + 1),
            _ => (call.mono_ns + LOOP_MS * 1_000_000, 1),
        };
        if call.price() > 0 {
            let flight = self.flight.entry(call.user()).or_default();
            *flight = (flight.0 + 1, flight.1 + call.price());
            for principal in [call.user(), call.tenant()] {
                self.accounts.entry(principal).or_default().held += call.price();
            }
        }
        None
    }

    /// A verified caller was refused by its own doing.
    pub(super) fn denied(&mut self, call: &Call) {
        if self.room((true, call.user()), DENIAL, call.mono_ns) {
            self.charge((true, call.user()), DENIAL, call.mono_ns);
        }
    }

    /// An admitted call ended.
    pub(super) fn ended(&mut self, call: &Call, sent: bool) {
        if call.price() == 0 {
            return;
        }
        let flight = self.flight.entry(call.user()).or_default();
        *flight = (flight.0 - 1, flight.1 - call.price());
        for principal in [call.user(), call.tenant()] {
            let account = self.accounts.entry(principal).or_default();
            account.held -= call.price();
            account.spent += if sent { call.price() } else { 0 };
        }
    }

    /// The ledger took note of the caps in force.
    pub(super) fn capped(&mut self, rules: &Rules) {
        for subject in &SUBJECTS {
            let principals = [
                (Principal::User(subject.issuer, subject.name), rules.user_cap),
                (Principal::Tenant(subject.issuer, subject.tenant), rules.tenant_cap),
            ];
            for (principal, cap) in principals {
                let account = self.accounts.entry(principal).or_default();
                account.cap = cap.max(account.spent + account.held);
                account.cap_max = account.cap_max.max(cap);
            }
        }
    }

    /// The gateway forgets limits with nothing to remember.
    pub(super) fn swept(&mut self, now: u64) {
        self.limits.retain(|_, tat| *tat > now);
    }

    /// The process ended: what was in memory is gone, and what was held without an outcome is spent.
    pub(super) fn died(&mut self) {
        self.limits.clear();
        self.loops.clear();
        self.flight.clear();
        for account in self.accounts.values_mut() {
            account.spent += std::mem::take(&mut account.held);
        }
    }
}
