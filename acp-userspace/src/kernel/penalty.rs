//! When a source is penalised, how, and for how long. Pure: the control thread feeds it, and hands what it says to the
//! [`super::KernelPlane`].
//!
//! A source earns a penalty when *authenticated* requests ignore `kernel.ignored_429_max` 429s within [`WINDOW_NS`]: a
//! client was told to wait, the wait was not over, and it asked again. Nothing else counts, least of all connection
//! attempts, which anyone can forge (THREATS A2); nor does what a penalised source goes on asking over connections it
//! still has. The first penalty is `kernel.penalty`; each further one doubles, to [`PENALTY_MAX_NS`]; every [`DECAY_NS`]
//! of good conduct takes one doubling back.
//!
//! Refusing a source must refuse nobody but the principal whose limit was broken (THREATS A1). So:
//!
//! | source | the broken limit | penalised if |
//! |---|---|---|
//! | declared to be a tenant's | that tenant's | no other tenant was seen there for a day |
//! | declared to be a tenant's | a user's of that tenant | nobody else was seen there for a day |
//! | not declared | a user's, or its tenant's | it was learned to be that user's alone ([`SourceBook`]) |
//!
//! A penalty for a user's conduct ends as soon as another user verifies from the source, one for a tenant's as soon as
//! another tenant does; none begins there for a day. In the first kind's open windows everybody is let through, so that
//! whoever else is behind the source gets to verify within one cycle, however much the offender floods.
//!
//! Declared sources that keep at it are dropped without an answer from the [`SILENT_LEVEL`]th penalty in a row on.
//! Learned ones are refused only if the operator says that addresses are the clients' own (`kernel.client_addresses`);
//! else, and everywhere under `kernel.penalties = "observe"`, what would be refused is counted.
//!
//! **Invariants.** At most [`SOURCES_MAX`] sources are kept; a full book penalises nobody new, and never forgets a source
//! that is under penalty or has a record to decay. A source that the [`SourceBook`] does not know is never penalised. No
//! penalty is longer than [`PENALTY_MAX_NS`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use acp_ebpf::penalty::{OPEN_ALL, TRICKLE_MAX, mode};
use acp_ebpf::{Penalty, SourceKey};
use hashbrown::HashMap;

use super::book::{Class, Counts, Principal, Row, Sharing, SourceBook};
use super::gate::HELD_MAX;
use super::source::Sources;
use crate::config::resolved::{ClientAddresses, KernelConfig, Mode, Per};
use crate::ids::{Key128, TenantId};

pub mod memory;

const SECOND_NS: u64 = 1_000_000_000;

/// The window that ignored 429s are counted in.
pub const WINDOW_NS: u64 = 10 * SECOND_NS;
/// The longest penalty: a minute is what client libraries still honour as Retry-After, and its open
/// windows give a client that stopped two dozen chances to be told so.
pub const PENALTY_MAX_NS: u64 = 60 * SECOND_NS;
/// Good conduct that takes one doubling back.
pub const DECAY_NS: u64 = 60 * SECOND_NS;
/// Penalties in a row after which a declared source is dropped without an answer: who is reset reconnects at once,
/// and three penalties, 35 s by default, were no argument.
pub const SILENT_LEVEL: u32 = 3;
/// Sources kept: as many as can be under penalty at once.
pub const SOURCES_MAX: usize = HELD_MAX;
/// The largest `kernel.ignored_429_max`, which bounds the instants kept per source.
pub const IGNORED_MAX: u32 = 256;

/// Doublings after which every penalty is the longest, whatever the first was.
const LEVEL_MAX: u32 = 36;

/// See the module's documentation.
#[derive(Debug)]
pub struct PenaltyBook {
    sources: Arc<Sources>,
    rules: Rules,
    book: HashMap<SourceKey, Record>,
    seen: SourceBook,
    /// Penalties began or ended since [`PenaltyBook::take_changed`].
    changed: bool,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug)]
struct Rules {
    ignored_max: usize,
    first_ns: u64,
    declared: Mode,
    learned: Mode,
}

/// A penalty that was earned just now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Earned {
    /// To be given to [`super::KernelPlane::penalise`]; its mode says whether it is enforced.
    pub penalty: Penalty,
    /// The configuration names the source.
    pub declared: bool,
    /// Whose limit was broken.
    pub per: Per,
}

/// What is known of one source.
#[derive(Debug, Default)]
struct Record {
    /// The last ignored 429s, oldest first; at most `ignored_max`.
    ignored: VecDeque<u64>,
    /// How often the next penalty is doubled.
    level: u32,
    /// The end of the last penalty; good conduct is counted from here.
    until_ns: u64,
    /// The last penalty.
    penalty: Penalty,
    /// Whose conduct all of this is.
    offender: Option<Offender>,
}

/// The principal whose limit was broken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offender {
    /// A user.
    User(Principal),
    /// Everybody of a tenant.
    Tenant(Key128),
}

impl Offender {
    fn of(who: Principal, per: Per) -> Self {
        match per {
            Per::User => Self::User(who),
            Per::Tenant => Self::Tenant(who.tenant),
        }
    }

    /// Whether refusing it is refusing `who`.
    fn covers(self, who: Principal) -> bool {
        match self {
            Self::User(user) => user == who,
            Self::Tenant(tenant) => tenant == who.tenant,
        }
    }
}

impl PenaltyBook {
    /// An empty book.
    #[must_use]
    pub fn new(kernel: &KernelConfig, sources: Arc<Sources>) -> Self {
        let (book, mut seen) = (HashMap::new(), SourceBook::default());
        seen.learn_over(learned_ns(kernel));
        Self { sources, rules: Rules::of(kernel), book, seen, changed: false }
    }

    /// Goes on under another configuration; records are kept.
    pub fn configure(&mut self, kernel: &KernelConfig, sources: Arc<Sources>) {
        self.sources = sources;
        self.rules = Rules::of(kernel);
        self.seen.learn_over(learned_ns(kernel));
    }

    /// `who` of `tenant`, authenticated, from the socket peer `source`, was answered 429 by a limit counted `per`
    /// although an earlier 429 had told it to wait longer. Returns the penalty that this one earned.
    pub fn ignored(
        &mut self,
        source: IpAddr,
        tenant: &TenantId,
        who: Principal,
        per: Per,
        now_ns: u64,
    ) -> Option<Earned> {
        let key = SourceKey::of_ip(source);
        let (declared, offender) = self.judge(source, tenant, who, per, now_ns)?;
        let rules = self.rules;
        let record = self.record(key, now_ns)?;
        if now_ns < record.until_ns {
            return None;
        }
        if record.offender != Some(offender) {
            // What another one did is not this one's record.
            *record = Record { offender: Some(offender), ..Record::default() };
        }
        if !record.count(now_ns, rules.ignored_max) {
            return None;
        }
        let level = record.level_at(now_ns);
        let penalty = record.penalise(now_ns, rules.first_ns);
        let penalty = penalty.with_mode(rules.mode(declared, level)).with_open_max(open_max(offender));
        record.penalty = penalty;
        self.changed = true;
        Some(Earned { penalty, declared, per })
    }

    /// Who would have to be refused with `source`, if that refuses nobody else: and whether the source is declared.
    fn judge(
        &self,
        source: IpAddr,
        tenant: &TenantId,
        who: Principal,
        per: Per,
        now_ns: u64,
    ) -> Option<(bool, Offender)> {
        if self.sources.is_exempt(source) {
            return None;
        }
        let key = SourceKey::of_ip(source);
        match self.sources.owner(source) {
            Some(owner) => {
                let alone = match per {
                    Per::User => self.seen.lone_user(key, now_ns) == Some(who),
                    Per::Tenant => self.seen.is_one_tenants(key, now_ns),
                };
                (owner == tenant && alone).then_some((true, Offender::of(who, per)))
            }
            None => (self.seen.class(key, now_ns) == Class::Exclusive(who)).then_some((false, Offender::User(who))),
        }
    }

    /// `who` of `tenant` verified from the socket peer `source`, for the first time on a connection. Returns whether
    /// that ends a penalty, to be told to [`super::KernelPlane::pardon`].
    pub fn verified(&mut self, source: IpAddr, tenant: &TenantId, who: Principal, now_ns: u64) -> bool {
        if self.sources.is_exempt(source) {
            return false;
        }
        let key = SourceKey::of_ip(source);
        self.seen.verified(key, who, now_ns);
        if self.sources.owner(source).is_some_and(|owner| owner != tenant) {
            self.seen.several_tenants(key, now_ns);
        }
        let covered = self.book.get(&key).is_none_or(|record| record.offender.is_none_or(|it| it.covers(who)));
        if covered {
            return false;
        }
        self.changed = true;
        self.book.remove(&key).is_some_and(|record| now_ns < record.until_ns)
    }

    /// A report of who verified from where was lost.
    pub fn lost(&mut self, now_ns: u64) {
        self.seen.lost(now_ns);
    }

    /// The operator ended the penalty of `source`: its record begins anew.
    pub fn pardoned(&mut self, source: IpAddr) {
        self.book.remove(&SourceKey::of_ip(source));
        self.changed = true;
    }

    /// How many sources are of which class.
    #[must_use]
    pub fn classes(&self, now_ns: u64) -> Counts {
        self.seen.counts(now_ns)
    }

    /// See [`SourceBook::rows`].
    #[must_use]
    pub fn rows(&self, now_ns: u64, max: usize) -> Vec<Row> {
        self.seen.rows(now_ns, max)
    }

    /// See [`SourceBook::unsaved`].
    pub fn unsaved(&mut self) -> Vec<(SourceKey, Sharing)> {
        self.seen.unsaved()
    }

    /// See [`SourceBook::restore`].
    pub fn restore(&mut self, source: SourceKey, shared: Sharing, now_ns: u64) {
        self.seen.restore(source, shared, now_ns);
    }

    /// The source's record, made if there is room for it.
    fn record(&mut self, source: SourceKey, now_ns: u64) -> Option<&mut Record> {
        if self.book.len() >= SOURCES_MAX && !self.book.contains_key(&source) {
            self.book.retain(|_, record| !record.is_forgotten(now_ns));
            if self.book.len() >= SOURCES_MAX {
                return None;
            }
        }
        Some(self.book.entry(source).or_default())
    }
}

impl Rules {
    fn of(kernel: &KernelConfig) -> Self {
        let learned = match (kernel.penalties, kernel.client_addresses) {
            (Mode::Enforce, ClientAddresses::Direct) => Mode::Enforce,
            _ => Mode::Observe,
        };
        let first_ns = u64::try_from(kernel.penalty.as_nanos()).map_or(PENALTY_MAX_NS, |ns| ns.min(PENALTY_MAX_NS));
        let ignored_max = kernel.ignored_429_max.clamp(1, IGNORED_MAX) as usize;
        Self { ignored_max, first_ns, declared: kernel.penalties, learned }
    }

    /// What the next penalty of a source with this many behind it does.
    fn mode(self, declared: bool, level: u32) -> u32 {
        match if declared { self.declared } else { self.learned } {
            Mode::Observe => mode::OBSERVE,
            Mode::Enforce if declared && level >= SILENT_LEVEL => mode::SILENT,
            Mode::Enforce => mode::REFUSE,
        }
    }
}

/// How many connections an open window lets through: a few where everybody behind the source broke the limit.
fn open_max(offender: Offender) -> u32 {
    match offender {
        Offender::User(_) => OPEN_ALL,
        Offender::Tenant(_) => TRICKLE_MAX,
    }
}

fn learned_ns(kernel: &KernelConfig) -> u64 {
    u64::try_from(kernel.learned_after.as_nanos()).unwrap_or(u64::MAX)
}

impl Record {
    /// Counts one ignored 429; whether it was the last that is tolerated.
    fn count(&mut self, now_ns: u64, ignored_max: usize) -> bool {
        while self.ignored.len() >= ignored_max
            || self.ignored.front().is_some_and(|&first| now_ns.saturating_sub(first) >= WINDOW_NS)
        {
            self.ignored.pop_front();
        }
        self.ignored.push_back(now_ns);
        self.ignored.len() >= ignored_max
    }

    fn penalise(&mut self, now_ns: u64, first_ns: u64) -> Penalty {
        let level = self.level_at(now_ns);
        let length_ns = first_ns.saturating_mul(1 << level).min(PENALTY_MAX_NS);
        self.level = (level + 1).min(LEVEL_MAX);
        self.until_ns = now_ns.saturating_add(length_ns);
        self.ignored.clear();
        Penalty::new(now_ns, self.until_ns)
    }

    /// The level after the good conduct since the last penalty.
    fn level_at(&self, now_ns: u64) -> u32 {
        let decayed = now_ns.saturating_sub(self.until_ns) / DECAY_NS;
        self.level.saturating_sub(u32::try_from(decayed).unwrap_or(u32::MAX))
    }

    /// Whether an empty record would say the same.
    fn is_forgotten(&self, now_ns: u64) -> bool {
        let quiet = self.ignored.back().is_none_or(|&last| now_ns.saturating_sub(last) >= WINDOW_NS);
        quiet && now_ns >= self.until_ns && self.level_at(now_ns) == 0
    }
}

#[cfg(test)]
mod tests;
