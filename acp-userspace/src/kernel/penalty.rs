//! When a declared source is penalised, and for how long. Pure: the control thread feeds it, and hands what it says to
//! the [`super::KernelPlane`].
//!
//! A source earns a penalty when requests *authenticated as its own tenant* ignore `kernel.ignored_429_max` 429s within
//! [`WINDOW_NS`]: a client was told to wait, the wait was not over, and it asked again. Nothing else counts, least of
//! all connection attempts, which anyone can forge (THREATS A2); nor does what a penalised source goes on asking over
//! connections it still has. The first penalty is `kernel.penalty`; each further one doubles, to [`PENALTY_MAX_NS`];
//! every [`DECAY_NS`] of good conduct takes one doubling back.
//!
//! Another tenant verified from the source proves the declaration wrong: the penalty ends at once and none begins for
//! [`SHARED_NS`].
//!
//! A source that nobody declared but that one user alone verifies from ([`SourceBook`]) is judged by the same counts, and
//! what it would earn is only said (THREATS A1): its address may be a load balancer's.
//!
//! **Invariants.** At most [`SOURCES_MAX`] sources are kept; a full book learns nothing, and never forgets a source
//! that is under penalty, was found shared, or has a record to decay. No penalty is longer than [`PENALTY_MAX_NS`].

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use acp_ebpf::{Penalty, SourceKey};
use hashbrown::HashMap;

use super::book::{Class, Counts, Principal, SourceBook};
use super::gate::HELD_MAX;
use super::source::Sources;
use crate::config::resolved::KernelConfig;
use crate::ids::TenantId;

const SECOND_NS: u64 = 1_000_000_000;

/// The window that ignored 429s are counted in.
pub const WINDOW_NS: u64 = 10 * SECOND_NS;
/// The longest penalty: a minute is what client libraries still honour as Retry-After, and one open second in ten
/// gives a client that stopped six chances to be told so.
pub const PENALTY_MAX_NS: u64 = 60 * SECOND_NS;
/// Good conduct that takes one doubling back.
pub const DECAY_NS: u64 = 60 * SECOND_NS;
/// How long a source stays shared after a second tenant was seen on it.
pub const SHARED_NS: u64 = 24 * 3600 * SECOND_NS;
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
    ignored_max: usize,
    first_ns: u64,
    book: HashMap<SourceKey, Record>,
    seen: SourceBook,
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
    /// Until when it is shared.
    shared_until_ns: u64,
}

impl PenaltyBook {
    /// An empty book.
    #[must_use]
    pub fn new(kernel: &KernelConfig, sources: Arc<Sources>) -> Self {
        let mut book = Self { sources, ignored_max: 1, first_ns: 0, book: HashMap::new(), seen: SourceBook::default() };
        book.configure(kernel, Arc::clone(&book.sources));
        book
    }

    /// Goes on under another configuration; records are kept.
    pub fn configure(&mut self, kernel: &KernelConfig, sources: Arc<Sources>) {
        self.sources = sources;
        self.ignored_max = kernel.ignored_429_max.clamp(1, IGNORED_MAX) as usize;
        self.first_ns = u64::try_from(kernel.penalty.as_nanos()).map_or(PENALTY_MAX_NS, |ns| ns.min(PENALTY_MAX_NS));
    }

    /// A request of `tenant`, authenticated, from the socket peer `source` was answered 429 although an earlier 429 had
    /// told it to wait longer. Returns the penalty that this one earned, to be given to
    /// [`super::KernelPlane::penalise`].
    pub fn ignored(&mut self, source: IpAddr, tenant: &TenantId, now_ns: u64) -> Option<Penalty> {
        if self.sources.owner(source) != Some(tenant) {
            return None;
        }
        let (ignored_max, first_ns) = (self.ignored_max, self.first_ns);
        let record = self.record(SourceKey::of_ip(source), now_ns)?;
        if now_ns < record.until_ns || now_ns < record.shared_until_ns {
            return None;
        }
        record.count(now_ns, ignored_max).then(|| record.penalise(now_ns, first_ns))
    }

    /// A request of `tenant` was verified from the socket peer `source`. Returns whether that ends a penalty, to be
    /// told to [`super::KernelPlane::pardon`]. Costs a look-up unless the source is declared and the tenant another.
    pub fn verified(&mut self, source: IpAddr, tenant: &TenantId, now_ns: u64) -> bool {
        if self.sources.owner(source).is_none_or(|owner| owner == tenant) {
            return false;
        }
        let Some(record) = self.record(SourceKey::of_ip(source), now_ns) else { return false };
        let was_penalised = now_ns < record.until_ns;
        *record = Record { shared_until_ns: now_ns.saturating_add(SHARED_NS), ..Record::default() };
        was_penalised
    }

    /// A user who verified as `who` from the socket peer `source`, which nobody declared, ignored a 429 as in
    /// [`PenaltyBook::ignored`]. Returns the penalty that this one would have earned: nothing is to be refused by it.
    pub fn would_refuse(&mut self, source: IpAddr, who: Principal, now_ns: u64) -> Option<Penalty> {
        let key = SourceKey::of_ip(source);
        let undeclared = self.sources.owner(source).is_none() && !self.sources.is_exempt(source);
        if !undeclared || self.seen.class(key, now_ns) != Class::Exclusive(who) {
            return None;
        }
        let (ignored_max, first_ns) = (self.ignored_max, self.first_ns);
        let record = self.record(key, now_ns)?;
        if now_ns < record.until_ns {
            return None;
        }
        record.count(now_ns, ignored_max).then(|| record.penalise(now_ns, first_ns))
    }

    /// `who` verified from the socket peer `source`, for the first time on a connection.
    pub fn saw(&mut self, source: IpAddr, who: Principal, now_ns: u64) {
        if self.sources.is_exempt(source) {
            return;
        }
        let key = SourceKey::of_ip(source);
        let shared = self.seen.verified(key, who, now_ns);
        if shared && self.sources.owner(source).is_none() {
            self.book.remove(&key);
        }
    }

    /// A report of who verified from where was lost.
    pub fn lost(&mut self, now_ns: u64) {
        self.seen.lost(now_ns);
    }

    /// How many sources are of which class.
    #[must_use]
    pub fn classes(&self, now_ns: u64) -> Counts {
        self.seen.counts(now_ns)
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
        quiet && now_ns >= self.until_ns && now_ns >= self.shared_until_ns && self.level_at(now_ns) == 0
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use acp_ebpf::{Verdict, penalty_decide};
    use proptest::prelude::*;

    use super::*;
    use crate::config::resolved::{Cidr, DeclaredSource, KernelMode};
    use crate::ids::Key128;
    use crate::kernel::book::{CONNECTIONS_MIN, LEARNED_NS};

    const S: u64 = SECOND_NS;

    fn tenant(name: &str) -> TenantId {
        TenantId { issuer: "test".into(), tenant: name.into() }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("a test address")
    }

    fn config() -> KernelConfig {
        let cidr = Cidr { address: ip("10.0.0.0"), prefix: 8 };
        KernelConfig {
            mode: KernelMode::Auto,
            sources: vec![DeclaredSource { cidr, tenant: "acme".into(), issuer: "test".into() }],
            loopback: false,
            ignored_429_max: 10,
            penalty: Duration::from_secs(5),
            cgroup: None,
        }
    }

    fn book() -> PenaltyBook {
        PenaltyBook::new(&config(), Arc::new(Sources::new(&config(), &[])))
    }

    /// Ignores ten 429s at once; returns the penalty's length in seconds.
    fn offend(book: &mut PenaltyBook, now_ns: u64) -> Option<u64> {
        let penalties: Vec<_> = (0..10).filter_map(|_| book.ignored(ip("10.0.0.1"), &tenant("acme"), now_ns)).collect();
        assert!(penalties.len() <= 1);
        penalties.first().map(|penalty| (penalty.until_ns - penalty.since_ns) / S)
    }

    #[test]
    fn the_tenth_ignored_429_within_ten_seconds_earns_a_penalty() {
        let (mut book, acme) = (book(), tenant("acme"));
        for i in 0..9 {
            assert_eq!(book.ignored(ip("10.0.0.1"), &acme, i * S), None);
        }
        assert_eq!(book.ignored(ip("10.0.0.1"), &acme, 9 * S), Some(Penalty::new(9 * S, 14 * S)));
    }

    #[test]
    fn a_slower_client_never_earns_one() {
        let (mut book, acme) = (book(), tenant("acme"));
        // Ten in exactly the window is nine gaps; at this pace the tenth lies outside.
        for i in 0..1_000 {
            assert_eq!(book.ignored(ip("10.0.0.1"), &acme, i * WINDOW_NS / 9), None);
        }
    }

    #[test]
    fn only_the_sources_own_tenant_can_earn_it_one() {
        let mut book = book();
        for _ in 0..100 {
            assert_eq!(book.ignored(ip("10.0.0.1"), &tenant("rival"), S), None);
            assert_eq!(book.ignored(ip("192.0.2.1"), &tenant("acme"), S), None, "not declared");
        }
        assert_eq!(book.book.len(), 0, "and nothing was written down");
    }

    /// Ten ignored 429s of user `n` of acme from an address that nobody declared.
    fn offend_undeclared(book: &mut PenaltyBook, n: u8, now_ns: u64) -> bool {
        (0..10).any(|_| book.would_refuse(ip("192.0.2.1"), user(n), now_ns).is_some())
    }

    fn user(n: u8) -> Principal {
        Principal { user: Key128([n; 16]), tenant: tenant("acme").key() }
    }

    fn learn(book: &mut PenaltyBook, n: u8, from_ns: u64) -> u64 {
        (0..CONNECTIONS_MIN).for_each(|_| book.saw(ip("192.0.2.1"), user(n), from_ns));
        from_ns + LEARNED_NS
    }

    #[test]
    fn threat_a01_a_learned_source_is_judged_by_its_one_user_and_no_other() {
        let mut book = book();
        let now = learn(&mut book, 1, S);
        assert!(!offend_undeclared(&mut book, 1, now - 1), "not learned yet");
        assert!(!offend_undeclared(&mut book, 2, now), "not the one it was learned of");
        assert!(offend_undeclared(&mut book, 1, now));
        book.saw(ip("192.0.2.1"), user(2), now + 60 * S);
        assert!(!offend_undeclared(&mut book, 1, now + 120 * S), "two users of one tenant behind one address");
        assert!(!offend_undeclared(&mut book, 2, now + 120 * S));
        assert_eq!(book.ignored(ip("192.0.2.1"), &tenant("acme"), now), None, "and nothing is enforced");
    }

    #[test]
    fn threat_a01_a_tenant_behind_a_trusted_balancer_is_never_judged() {
        let proxies = [Cidr { address: ip("192.0.2.0"), prefix: 24 }];
        let mut book = PenaltyBook::new(&config(), Arc::new(Sources::new(&config(), &proxies)));
        let now = learn(&mut book, 1, S);
        assert!(!offend_undeclared(&mut book, 1, now));
        assert_eq!(book.classes(now), Counts::default(), "nor learned of");
    }

    #[test]
    fn repetition_doubles_to_a_minute_and_good_conduct_halves_again() {
        let (mut book, mut now) = (book(), 100 * S);
        for expected in [5, 10, 20, 40, 60, 60] {
            assert_eq!(offend(&mut book, now), Some(expected));
            now += expected * S;
        }
        now += 4 * DECAY_NS;
        assert_eq!(offend(&mut book, now), Some(20), "six doublings less four");
        now += 20 * S + 100 * DECAY_NS;
        assert_eq!(offend(&mut book, now), Some(5));
    }

    #[test]
    fn threat_a02_what_comes_during_a_penalty_neither_lengthens_nor_doubles_it() {
        let mut book = book();
        assert_eq!(offend(&mut book, 100 * S), Some(5));
        assert_eq!(offend(&mut book, 104 * S), None);
        assert_eq!(offend(&mut book, 105 * S), Some(10), "after it, all ten count anew");
    }

    #[test]
    fn another_tenant_behind_the_source_ends_the_penalty_and_prevents_the_next() {
        let mut book = book();
        offend(&mut book, 100 * S);
        assert!(!book.verified(ip("10.0.0.1"), &tenant("acme"), 101 * S), "its own tenant changes nothing");
        assert!(!book.verified(ip("10.0.0.2"), &tenant("rival"), 101 * S), "another source");
        assert!(book.verified(ip("10.0.0.1"), &tenant("rival"), 101 * S));
        assert!(!book.verified(ip("10.0.0.1"), &tenant("rival"), 101 * S), "pardoned already");
        assert_eq!(offend(&mut book, 200 * S), None);
        assert_eq!(offend(&mut book, 101 * S + SHARED_NS), Some(5));
    }

    #[test]
    fn a_full_book_learns_nothing_until_it_may_forget() {
        let (mut book, acme) = (book(), tenant("acme"));
        let source = |i: usize| IpAddr::from([10, 1, (i >> 8) as u8, i as u8]);
        for i in 0..SOURCES_MAX {
            assert_eq!(book.ignored(source(i), &acme, 0), None);
        }
        assert_eq!(offend(&mut book, S), None);
        assert_eq!(book.book.len(), SOURCES_MAX);
        assert_eq!(offend(&mut book, WINDOW_NS), Some(5));
        assert_eq!(book.book.len(), 1);
    }

    #[test]
    fn extreme_settings_are_bounded() {
        let config = KernelConfig { ignored_429_max: 0, penalty: Duration::MAX, ..config() };
        let mut book = PenaltyBook::new(&config, Arc::new(Sources::new(&config, &[])));
        let penalty = book.ignored(ip("10.0.0.1"), &tenant("acme"), S).expect("the first is one too many");
        assert_eq!(penalty.until_ns - penalty.since_ns, PENALTY_MAX_NS);
        book.ignored(ip("10.0.0.1"), &tenant("acme"), u64::MAX);
    }

    proptest! {
        /// The claim: a penalty begins exactly when the last ten instants since the last one lie within ten seconds,
        /// as a reference that keeps everything says.
        #[test]
        fn agrees_with_a_reference_that_forgets_nothing(steps in prop::collection::vec(0..3 * S, 0..300)) {
            let (mut book, acme) = (book(), tenant("acme"));
            let (mut now, mut all, mut until) = (S, Vec::new(), 0);
            for step in steps {
                now += step;
                let penalty = book.ignored(ip("10.0.0.1"), &acme, now);
                if now < until {
                    prop_assert_eq!(penalty, None);
                    continue;
                }
                all.push(now);
                let earned = all.len() >= 10 && now - all[all.len() - 10] < WINDOW_NS;
                prop_assert_eq!(penalty.is_some(), earned);
                if let Some(penalty) = penalty {
                    prop_assert!(penalty.until_ns > now && penalty.until_ns <= now + PENALTY_MAX_NS);
                    prop_assert_eq!(penalty_decide(&penalty, now), Verdict::Refuse);
                    until = penalty.until_ns;
                    all.clear();
                }
            }
        }

        /// The claim: whatever the order of events, no penalty is in force on a source within a day of another tenant's
        /// being seen there.
        #[test]
        fn a_shared_source_is_never_penalised(
            events in prop::collection::vec((0..2 * S, any::<bool>()), 0..300)
        ) {
            let mut book = book();
            let (mut now, mut shared) = (S, false);
            for (step, rival) in events {
                now += step;
                if rival {
                    book.verified(ip("10.0.0.1"), &tenant("rival"), now);
                    shared = true;
                } else {
                    let penalty = book.ignored(ip("10.0.0.1"), &tenant("acme"), now);
                    prop_assert!(!(shared && penalty.is_some()));
                }
            }
        }
    }
}
