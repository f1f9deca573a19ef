//! Who has verified from which source, and so: whether refusing the source would refuse one user alone. Pure: the
//! control thread feeds it through [`super::penalty::PenaltyBook`].
//!
//! A source is an IPv4 address or an IPv6 /64. It is *exclusive* to a user when nobody else verified from it while that
//! user did over at least [`CONNECTIONS_MIN`] connections and the time it takes to learn (THREATS A1: judged by user, for
//! a tenant's office is many). It is *shared* for [`SHARED_NS`] after two users were seen on it, each further change of
//! user beginning that anew; and *of several tenants* in the same way. Everything else is *unknown*.
//!
//! That a source is shared outlives the process: [`SourceBook::unsaved`] gives what is to be written down, and
//! [`SourceBook::restore`] takes it back. What was learned to be one user's does not, and is learned again.
//!
//! **Invariants.** Nothing unauthenticated is an input. Whatever is missing can only make a source unknown: a report
//! that was lost voids all evidence gathered before ([`SourceBook::lost`]), a full book learns nothing, and a shared
//! source is never evicted. At most [`SOURCES_MAX`] sources are kept.

use acp_ebpf::SourceKey;
use hashbrown::HashMap;

use crate::ids::Key128;

const SECOND_NS: u64 = 1_000_000_000;

/// Connections of one user that make a source exclusively that user's (THREATS A1).
pub const CONNECTIONS_MIN: u32 = 20;
/// The least time they have to span (THREATS A1): an office's second user shows within minutes.
pub const LEARNED_NS: u64 = 600 * SECOND_NS;
/// How long a source stays shared after a change of user was seen on it (THREATS A2).
pub const SHARED_NS: u64 = 24 * 3600 * SECOND_NS;
/// Sources kept; with its table an entry takes some 150 bytes, so 10 MiB.
pub const SOURCES_MAX: usize = 65_536;
/// After this without a verified request an unshared source is forgotten to make room.
const STALE_NS: u64 = SHARED_NS;
/// Between searches of a full book for what may be forgotten: each looks at every entry.
const PURGE_NS: u64 = 60 * SECOND_NS;
/// How much longer than it is a sharing is written down to last, and so how rarely one that goes on has to be written.
const SAVED_AHEAD_NS: u64 = 3600 * SECOND_NS;

/// Who verified: keys, so that the book holds no names.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Principal {
    /// The user's.
    pub user: Key128,
    /// The tenant's.
    pub tenant: Key128,
}

/// What is known of a source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Too little.
    Unknown,
    /// One user's alone.
    Exclusive(Principal),
    /// Several users'.
    Shared,
}

impl Class {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Exclusive(_) => "exclusive",
            Self::Shared => "shared",
        }
    }
}

/// Sources by class.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// [`Class::Unknown`].
    pub unknown: u64,
    /// [`Class::Exclusive`].
    pub exclusive: u64,
    /// [`Class::Shared`].
    pub shared: u64,
}

/// That a source is shared, and until when: what outlives the process. Instants of the monotonic clock; 0 = never was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sharing {
    /// By several users.
    pub users_until_ns: u64,
    /// By several tenants.
    pub tenants_until_ns: u64,
}

impl Sharing {
    fn until_ns(self) -> u64 {
        self.users_until_ns.max(self.tenants_until_ns)
    }
}

/// A source as it is listed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// Its address, or the first of its /64.
    pub source: SourceKey,
    /// What is known of it.
    pub class: Class,
    /// Several tenants verified from it within a day.
    pub tenants: bool,
    /// Connections of the user seen last, since nobody else was seen.
    pub connections: u32,
    /// Since when, nanoseconds ago.
    pub alone_ns: u64,
    /// When anybody verified last, nanoseconds ago.
    pub seen_ns: u64,
    /// For how long it stays shared.
    pub shared_for_ns: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct SourceBook {
    entries: HashMap<SourceKey, Entry>,
    /// Over which time connections make a source one user's.
    learned_ns: u64,
    /// Evidence from before this instant is void.
    evidence_from_ns: u64,
    /// When a full book may be searched again.
    purge_from_ns: u64,
    /// Sources whose sharing is to be written down; bounded as the entries are, for each is in it once at most.
    unsaved: Vec<SourceKey>,
}

impl Default for SourceBook {
    fn default() -> Self {
        let (entries, unsaved) = (HashMap::new(), Vec::new());
        Self { entries, learned_ns: LEARNED_NS, evidence_from_ns: 0, purge_from_ns: 0, unsaved }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Who was seen last, alone since `since_ns`; `None` for a source that is only remembered as shared.
    who: Option<Principal>,
    since_ns: u64,
    last_ns: u64,
    /// Connections that `who` verified on since `since_ns`.
    connections: u32,
    shared: Sharing,
    /// Until when the sharing was written down to last.
    saved: Sharing,
    /// It is among [`SourceBook::unsaved`].
    queued: bool,
}

impl SourceBook {
    /// `who` verified on a connection from `source` for the first time on that connection. Returns whether the source
    /// is shared by that: another was seen there last.
    pub fn verified(&mut self, source: SourceKey, who: Principal, now_ns: u64) -> bool {
        let evidence_from_ns = self.evidence_from_ns;
        if !self.has_room(source, now_ns) {
            return false;
        }
        let entry = self.entries.entry(source).or_insert_with(|| Entry::new(now_ns));
        let changed = entry.who.is_some_and(|before| before != who);
        if changed {
            entry.shared.users_until_ns = now_ns.saturating_add(SHARED_NS);
            if entry.who.is_some_and(|before| before.tenant != who.tenant) {
                entry.shared.tenants_until_ns = now_ns.saturating_add(SHARED_NS);
            }
        }
        if entry.who != Some(who) || entry.since_ns < evidence_from_ns {
            (entry.who, entry.since_ns, entry.connections) = (Some(who), now_ns, 0);
        }
        entry.last_ns = now_ns;
        entry.connections = entry.connections.saturating_add(1);
        self.note_unsaved(source);
        changed
    }

    /// Somebody verified from `source` who cannot be of the only tenant that is supposed to be there.
    pub fn several_tenants(&mut self, source: SourceKey, now_ns: u64) {
        if let Some(entry) = self.entries.get_mut(&source) {
            entry.shared.tenants_until_ns = now_ns.saturating_add(SHARED_NS);
            self.note_unsaved(source);
        }
    }

    /// What is known of `source`.
    #[must_use]
    pub fn class(&self, source: SourceKey, now_ns: u64) -> Class {
        self.entries.get(&source).map_or(Class::Unknown, |entry| self.class_of(entry, now_ns))
    }

    /// The only user seen on `source` lately, for however short a time; `None` if there were more, or it is not known.
    #[must_use]
    pub fn lone_user(&self, source: SourceKey, now_ns: u64) -> Option<Principal> {
        let entry = self.entries.get(&source)?;
        let alone = now_ns >= entry.shared.users_until_ns && entry.since_ns >= self.evidence_from_ns;
        entry.who.filter(|_| alone)
    }

    /// Whether nobody of a second tenant was seen on `source` lately; `false` if that is not known.
    #[must_use]
    pub fn is_one_tenants(&self, source: SourceKey, now_ns: u64) -> bool {
        self.entries.get(&source).is_some_and(|entry| now_ns >= entry.shared.tenants_until_ns)
    }

    /// A report did not arrive: it may have been anybody's, from anywhere. Nothing seen so far proves a source one
    /// user's; what is shared stays so.
    pub fn lost(&mut self, now_ns: u64) {
        // Reports of this very instant may have been made before the loss.
        self.evidence_from_ns = self.evidence_from_ns.max(now_ns.saturating_add(1));
    }

    /// Learns over this time from now on.
    pub fn learn_over(&mut self, learned_ns: u64) {
        self.learned_ns = learned_ns;
    }

    /// How many sources are of which class.
    #[must_use]
    pub fn counts(&self, now_ns: u64) -> Counts {
        let mut counts = Counts::default();
        for entry in self.entries.values() {
            match self.class_of(entry, now_ns) {
                Class::Unknown => counts.unknown += 1,
                Class::Exclusive(_) => counts.exclusive += 1,
                Class::Shared => counts.shared += 1,
            }
        }
        counts
    }

    /// The `max` sources that verified last, the latest first. Looks at every entry.
    #[must_use]
    pub fn rows(&self, now_ns: u64, max: usize) -> Vec<Row> {
        let mut rows: Vec<_> = self.entries.iter().map(|(source, entry)| self.row(*source, entry, now_ns)).collect();
        rows.sort_unstable_by_key(|row| (row.seen_ns, row.source));
        rows.truncate(max);
        rows
    }

    fn row(&self, source: SourceKey, entry: &Entry, now_ns: u64) -> Row {
        Row {
            source,
            class: self.class_of(entry, now_ns),
            tenants: now_ns < entry.shared.tenants_until_ns,
            connections: entry.connections,
            alone_ns: now_ns.saturating_sub(entry.since_ns),
            seen_ns: now_ns.saturating_sub(entry.last_ns),
            shared_for_ns: entry.shared.until_ns().saturating_sub(now_ns),
        }
    }

    /// What has to be written down so that it outlives the process, once: a source that is found shared, and again
    /// about once an hour while that goes on.
    pub fn unsaved(&mut self) -> Vec<(SourceKey, Sharing)> {
        let queued = std::mem::take(&mut self.unsaved);
        let entries = &mut self.entries;
        queued.into_iter().filter_map(|source| entries.get_mut(&source).map(|entry| (source, entry.save()))).collect()
    }

    /// Takes back what an earlier process wrote down; a full book leaves the rest.
    pub fn restore(&mut self, source: SourceKey, shared: Sharing, now_ns: u64) {
        if now_ns < shared.until_ns() && self.has_room(source, now_ns) {
            let entry = self.entries.entry(source).or_insert_with(|| Entry::new(now_ns));
            (entry.shared, entry.saved) = (shared, shared);
        }
    }

    fn note_unsaved(&mut self, source: SourceKey) {
        if let Some(entry) = self.entries.get_mut(&source)
            && entry.is_unsaved()
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.unsaved.push(source);
        }
    }

    fn class_of(&self, entry: &Entry, now_ns: u64) -> Class {
        if now_ns < entry.shared.users_until_ns {
            return Class::Shared;
        }
        let span_ns = now_ns.saturating_sub(entry.since_ns);
        let learned = entry.connections >= CONNECTIONS_MIN && span_ns >= self.learned_ns;
        match entry.who {
            Some(who) if learned && entry.since_ns >= self.evidence_from_ns => Class::Exclusive(who),
            _ => Class::Unknown,
        }
    }

    /// Whether `source` is in the book or there is room for it.
    fn has_room(&mut self, source: SourceKey, now_ns: u64) -> bool {
        if self.entries.len() < SOURCES_MAX || self.entries.contains_key(&source) {
            return true;
        }
        if now_ns >= self.purge_from_ns {
            self.purge_from_ns = now_ns.saturating_add(PURGE_NS);
            self.entries.retain(|_, entry| !entry.is_stale(now_ns));
        }
        self.entries.len() < SOURCES_MAX
    }
}

impl Entry {
    fn new(now_ns: u64) -> Self {
        let (shared, saved) = (Sharing::default(), Sharing::default());
        Self { who: None, since_ns: now_ns, last_ns: now_ns, connections: 0, shared, saved, queued: false }
    }

    fn is_unsaved(&self) -> bool {
        self.shared.users_until_ns > self.saved.users_until_ns
            || self.shared.tenants_until_ns > self.saved.tenants_until_ns
    }

    fn save(&mut self) -> Sharing {
        let ahead = |until_ns: u64| if until_ns == 0 { 0 } else { until_ns.saturating_add(SAVED_AHEAD_NS) };
        self.saved = Sharing {
            users_until_ns: ahead(self.shared.users_until_ns),
            tenants_until_ns: ahead(self.shared.tenants_until_ns),
        };
        self.queued = false;
        self.saved
    }

    fn is_stale(&self, now_ns: u64) -> bool {
        now_ns >= self.shared.until_ns() && now_ns.saturating_sub(self.last_ns) >= STALE_NS
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use proptest::prelude::*;

    use super::*;

    const S: u64 = SECOND_NS;

    fn who(user: u8) -> Principal {
        Principal { user: Key128([user; 16]), tenant: Key128([user / 2; 16]) }
    }

    fn source(n: u32) -> SourceKey {
        SourceKey::of_ip(IpAddr::from(n.to_be_bytes()))
    }

    /// `user` opens `connections` connections, evenly over `over_ns`.
    fn visit(book: &mut SourceBook, user: u8, connections: u64, from_ns: u64, over_ns: u64) {
        for i in 0..connections {
            book.verified(source(1), who(user), from_ns + over_ns * i / (connections - 1).max(1));
        }
    }

    #[track_caller]
    fn check(book: &SourceBook, now_ns: u64, expected: Class) {
        assert_eq!(book.class(source(1), now_ns), expected);
    }

    #[test]
    fn threat_a01_a_source_is_one_users_after_twenty_connections_and_ten_minutes() {
        let mut book = SourceBook::default();
        visit(&mut book, 1, 19, S, LEARNED_NS);
        check(&book, S + LEARNED_NS, Class::Unknown);
        book.verified(source(1), who(1), S + LEARNED_NS);
        check(&book, S + LEARNED_NS - 1, Class::Unknown);
        check(&book, S + LEARNED_NS, Class::Exclusive(who(1)));
    }

    #[test]
    fn threat_a01_two_users_of_one_tenant_make_a_source_shared() {
        let mut book = SourceBook::default();
        visit(&mut book, 2, 100, S, LEARNED_NS);
        assert_eq!(who(2).tenant, who(3).tenant);
        assert!(book.verified(source(1), who(3), S + LEARNED_NS));
        check(&book, S + LEARNED_NS, Class::Shared);
        check(&book, S + LEARNED_NS + SHARED_NS - 1, Class::Shared);
    }

    #[test]
    fn threat_a02_each_change_of_user_keeps_it_shared_for_another_day() {
        let mut book = SourceBook::default();
        visit(&mut book, 1, 1, 0, 0);
        visit(&mut book, 2, 1, S, 0);
        visit(&mut book, 1, 30, SHARED_NS / 2, LEARNED_NS);
        check(&book, SHARED_NS + S, Class::Shared);
        check(&book, SHARED_NS / 2 + SHARED_NS, Class::Exclusive(who(1)));
    }

    #[test]
    fn threat_a02_a_lost_report_voids_what_was_learned_and_frees_nobody_from_being_shared() {
        let mut book = SourceBook::default();
        visit(&mut book, 1, 30, S, LEARNED_NS);
        book.lost(S + LEARNED_NS);
        check(&book, 10 * LEARNED_NS, Class::Unknown);
        visit(&mut book, 1, 30, 10 * LEARNED_NS, LEARNED_NS);
        check(&book, 11 * LEARNED_NS, Class::Exclusive(who(1)));
        visit(&mut book, 2, 1, 12 * LEARNED_NS, 0);
        book.lost(13 * LEARNED_NS);
        check(&book, 13 * LEARNED_NS, Class::Shared);
        // Nobody is alone before a new report says so, and a report of the instant of the loss says nothing.
        let mut book = SourceBook::default();
        visit(&mut book, 1, 1, S, 0);
        assert_eq!(book.lone_user(source(1), S), Some(who(1)));
        book.lost(S);
        assert_eq!(book.lone_user(source(1), S), None);
        visit(&mut book, 1, 1, S, 0);
        visit(&mut book, 1, 20, S + 1, LEARNED_NS - 1);
        check(&book, S + LEARNED_NS, Class::Unknown);
        check(&book, S + LEARNED_NS + 1, Class::Exclusive(who(1)));
    }

    #[test]
    fn threat_a02_a_full_book_learns_nothing_and_evicts_nothing_shared() {
        let mut book = SourceBook::default();
        for n in 0..SOURCES_MAX as u32 {
            book.verified(source(n), who(1), 0);
            book.verified(source(n), who(2), 0);
        }
        visit(&mut book, 1, 1, S, 0);
        let late = source(SOURCES_MAX as u32);
        for i in 0..100 {
            book.verified(late, who(1), LEARNED_NS * i / 50);
        }
        assert_eq!(book.class(late, 3 * LEARNED_NS), Class::Unknown);
        assert_eq!(book.counts(SHARED_NS - 1), Counts { shared: SOURCES_MAX as u64, ..Counts::default() });
        // Every one but source 1 was last changed at 0; a day later they make room.
        book.verified(late, who(1), SHARED_NS);
        assert_eq!(book.class(source(1), SHARED_NS), Class::Shared, "changed at a second");
        assert_eq!(book.entries.len(), 2);
    }

    #[test]
    fn threat_a02_what_was_taken_back_as_shared_stays_as_long_as_it_is() {
        let mut book = SourceBook::default();
        let until_ns = SHARED_NS + SAVED_AHEAD_NS;
        book.restore(source(1), Sharing { users_until_ns: until_ns, tenants_until_ns: 0 }, 0);
        for n in 2..=SOURCES_MAX as u32 {
            book.verified(source(n), who(1), 0);
        }
        // A day later the others make room; nobody was seen at this one for as long, and it is shared for an hour more.
        book.verified(source(SOURCES_MAX as u32 + 1), who(1), SHARED_NS);
        check(&book, until_ns - 1, Class::Shared);
        assert_eq!(book.entries.len(), 2);
    }

    #[test]
    fn threat_a02_what_is_shared_is_written_down_once_an_hour_and_taken_back() {
        let mut book = SourceBook::default();
        visit(&mut book, 1, 30, S, LEARNED_NS);
        assert_eq!(book.unsaved(), [], "one user alone");
        visit(&mut book, 2, 1, 2 * LEARNED_NS, 0);
        let [(at, shared)] = book.unsaved()[..] else { panic!("one source") };
        assert_eq!((at, shared.users_until_ns), (source(1), 2 * LEARNED_NS + SHARED_NS + SAVED_AHEAD_NS));
        visit(&mut book, 1, 1, 2 * LEARNED_NS + SAVED_AHEAD_NS, 0);
        assert_eq!(book.unsaved(), [], "what was written still holds");
        visit(&mut book, 2, 1, 2 * LEARNED_NS + SAVED_AHEAD_NS + 1, 0);
        assert_eq!(book.unsaved().len(), 1);

        let mut next = SourceBook::default();
        next.restore(at, shared, 0);
        visit(&mut next, 1, 30, S, LEARNED_NS);
        check(&next, shared.users_until_ns - 1, Class::Shared);
        check(&next, shared.users_until_ns, Class::Exclusive(who(1)));
        next.restore(source(2), shared, shared.users_until_ns);
        assert_eq!(next.entries.len(), 1, "what is over is not taken back");
    }

    #[test]
    fn users_of_one_tenant_share_a_source_that_stays_their_tenants() {
        let mut book = SourceBook::default();
        assert!(!book.is_one_tenants(source(1), S), "not known");
        visit(&mut book, 2, 1, S, 0);
        assert_eq!(book.lone_user(source(1), S), Some(who(2)));
        visit(&mut book, 3, 1, S, 0);
        assert_eq!((book.lone_user(source(1), S), book.is_one_tenants(source(1), S)), (None, true));
        visit(&mut book, 4, 1, S, 0);
        assert!(!book.is_one_tenants(source(1), S));
        assert!(book.is_one_tenants(source(1), S + SHARED_NS));
        book.several_tenants(source(1), 2 * SHARED_NS);
        assert!(!book.is_one_tenants(source(1), 2 * SHARED_NS));
    }

    #[test]
    fn lists_the_latest_first_and_no_more_than_asked_for() {
        let mut book = SourceBook::default();
        for n in 0..10 {
            book.verified(source(n), who(1), u64::from(n) * S);
        }
        let rows = book.rows(10 * S, 2);
        assert_eq!(rows.iter().map(|row| row.source).collect::<Vec<_>>(), [source(9), source(8)]);
        assert_eq!((rows[0].seen_ns, rows[0].connections, rows[0].class.name()), (S, 1, "unknown"));
    }

    /// What happened at one source, all of it.
    #[derive(Default)]
    struct Slow {
        seen: Vec<(u64, Principal)>,
        lost: Vec<u64>,
    }

    impl Slow {
        /// The definitions, read literally.
        fn class(&self, now_ns: u64) -> Class {
            let changes = || self.seen.windows(2).filter(|pair| pair[0].1 != pair[1].1).map(|pair| pair[1].0);
            if changes().any(|at| now_ns < at + SHARED_NS) {
                return Class::Shared;
            }
            let Some(&(_, last)) = self.seen.last() else { return Class::Unknown };
            let lost = self.lost.last().map_or(0, |at| at + 1);
            let alone: Vec<_> = self.seen.iter().rev().take_while(|(at, who)| *who == last && *at >= lost).collect();
            let span = alone.last().map_or(0, |(first, _)| now_ns - first);
            let learned = alone.len() >= CONNECTIONS_MIN as usize && span >= LEARNED_NS;
            if learned { Class::Exclusive(last) } else { Class::Unknown }
        }
    }

    proptest! {
        /// The claim: class by class the book says what the definitions say of the whole history, whatever users come
        /// and go at neighbouring sources (NAT churn, recycled addresses, hopping) and whatever reports are lost.
        #[test]
        fn agrees_with_a_reference_that_forgets_nothing(
            steps in prop::collection::vec((0..3_u32, prop_oneof![8 => Just(1_u8), 1 => 2..4_u8], 0..100 * S, 0..60_u8), 0..400)
        ) {
            let mut book = SourceBook::default();
            let mut slow: [Slow; 3] = Default::default();
            let mut now = S;
            for (at, user, step, event) in steps {
                // Now and then a day passes.
                now += if event == 1 { SHARED_NS } else { step };
                if event == 0 {
                    book.lost(now);
                    slow.iter_mut().for_each(|slow| slow.lost.push(now));
                } else {
                    let before = slow[at as usize].seen.last().map(|(_, who)| *who);
                    let changed = book.verified(source(at), who(user), now);
                    prop_assert_eq!(changed, before.is_some_and(|before| before != who(user)));
                    slow[at as usize].seen.push((now, who(user)));
                }
                for (at, slow) in slow.iter().enumerate() {
                    prop_assert_eq!(book.class(source(at as u32), now), slow.class(now));
                }
            }
        }
    }
}
