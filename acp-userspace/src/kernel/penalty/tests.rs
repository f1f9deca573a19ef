use std::time::Duration;

use acp_ebpf::{Verdict, penalty_decide};
use proptest::prelude::*;

use super::memory::Remembered;
use super::*;
use crate::config::resolved::{Cidr, DeclaredSource};
use crate::ids::Key128;
use crate::kernel::book::{CONNECTIONS_MIN, LEARNED_NS, SHARED_NS};

mod adversary;

const S: u64 = SECOND_NS;
/// Declared to be acme's.
const OFFICE: &str = "10.0.0.1";
/// Declared by nobody.
const ELSEWHERE: &str = "192.0.2.1";

fn tenant(name: &str) -> TenantId {
    TenantId { issuer: "test".into(), tenant: name.into() }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("a test address")
}

fn config() -> KernelConfig {
    let cidr = Cidr { address: ip("10.0.0.0"), prefix: 8 };
    let sources = vec![DeclaredSource { cidr, tenant: "acme".into(), issuer: "test".into() }];
    KernelConfig { sources, ..KernelConfig::default() }
}

fn direct() -> KernelConfig {
    KernelConfig { client_addresses: ClientAddresses::Direct, ..config() }
}

fn book_of(config: &KernelConfig) -> PenaltyBook {
    PenaltyBook::new(config, Arc::new(Sources::new(config, &[])))
}

/// User `n` of acme.
fn user(n: u8) -> Principal {
    Principal { user: Key128([n; 16]), tenant: tenant("acme").key() }
}

/// A user of another tenant.
fn rival() -> Principal {
    Principal { user: Key128([99; 16]), tenant: tenant("rival").key() }
}

/// `who` verifies once, as of the tenant it is of; whether that ended a penalty.
fn see(book: &mut PenaltyBook, source: &str, who: Principal, now_ns: u64) -> bool {
    let tenant = tenant(if who == rival() { "rival" } else { "acme" });
    book.verified(ip(source), &tenant, who, now_ns)
}

/// User `n` of acme verifies, then ignores ten 429s at once.
fn offend(book: &mut PenaltyBook, source: &str, n: u8, per: Per, now_ns: u64) -> Option<Earned> {
    see(book, source, user(n), now_ns);
    ignore(book, source, n, per, now_ns)
}

/// The same on a connection it has already.
fn ignore(book: &mut PenaltyBook, source: &str, n: u8, per: Per, now_ns: u64) -> Option<Earned> {
    let earned: Vec<_> =
        (0..10).filter_map(|_| book.ignored(ip(source), &tenant("acme"), user(n), per, now_ns)).collect();
    assert!(earned.len() <= 1);
    earned.first().copied()
}

fn seconds(earned: Earned) -> u64 {
    (earned.penalty.until_ns - earned.penalty.since_ns) / S
}

/// User `n` is learned to be alone on [`ELSEWHERE`] by the instant that is returned.
fn learn(book: &mut PenaltyBook, n: u8, from_ns: u64) -> u64 {
    for _ in 0..CONNECTIONS_MIN {
        see(book, ELSEWHERE, user(n), from_ns);
    }
    from_ns + LEARNED_NS
}

#[test]
fn the_tenth_ignored_429_within_ten_seconds_earns_a_penalty() {
    let mut book = book_of(&config());
    see(&mut book, OFFICE, user(1), 0);
    let mut ignored = |at| book.ignored(ip(OFFICE), &tenant("acme"), user(1), Per::User, at);
    for i in 0..9 {
        assert_eq!(ignored(i * S), None);
    }
    let penalty = Penalty::new(9 * S, 14 * S);
    assert_eq!(ignored(9 * S), Some(Earned { penalty, declared: true, per: Per::User }));
}

#[test]
fn a_slower_client_never_earns_one() {
    let mut book = book_of(&config());
    see(&mut book, OFFICE, user(1), 0);
    // Ten in exactly the window is nine gaps; at this pace the tenth lies outside.
    for i in 0..1_000 {
        assert_eq!(book.ignored(ip(OFFICE), &tenant("acme"), user(1), Per::User, i * WINDOW_NS / 9), None);
    }
}

#[test]
fn only_who_verified_there_as_the_sources_own_can_earn_it_one() {
    let mut book = book_of(&config());
    assert_eq!(ignore(&mut book, OFFICE, 1, Per::User, S), None, "not known to be there");
    assert_eq!(offend(&mut book, ELSEWHERE, 1, Per::User, S), None, "not declared, not learned");
    see(&mut book, OFFICE, rival(), S);
    for _ in 0..100 {
        assert_eq!(book.ignored(ip(OFFICE), &tenant("rival"), rival(), Per::Tenant, S), None, "not its tenant");
    }
    assert_eq!(book.book.len(), 0, "and nothing was written down");
}

#[test]
fn threat_a01_a_users_limit_never_gets_the_declared_office_of_many_refused() {
    let mut book = book_of(&config());
    see(&mut book, OFFICE, user(2), S);
    assert_eq!(offend(&mut book, OFFICE, 1, Per::User, 2 * S), None, "another user is there");
    assert_eq!(offend(&mut book, OFFICE, 1, Per::User, S + SHARED_NS), None, "and was, a day ago");
    let earned = offend(&mut book, OFFICE, 1, Per::User, 2 * S + SHARED_NS).expect("alone again");
    assert_eq!(earned.penalty.open_max, OPEN_ALL);
    assert!(see(&mut book, OFFICE, user(2), 3 * S + SHARED_NS), "ends at the other's first request");
    assert_eq!(offend(&mut book, OFFICE, 1, Per::User, 9 * S + SHARED_NS), None);
}

#[test]
fn a_tenants_limit_gets_its_declared_office_refused_whoever_of_it_is_there() {
    let mut book = book_of(&config());
    see(&mut book, OFFICE, user(2), S);
    let earned = offend(&mut book, OFFICE, 1, Per::Tenant, 2 * S).expect("everybody there is under that limit");
    assert_eq!((earned.penalty.open_max, earned.per, earned.declared), (TRICKLE_MAX, Per::Tenant, true));
    assert!(!see(&mut book, OFFICE, user(2), 3 * S), "its own tenant changes nothing");
    assert!(!see(&mut book, "10.0.0.2", rival(), 3 * S), "another source");
    assert!(see(&mut book, OFFICE, rival(), 3 * S), "the declaration is wrong");
    assert!(!see(&mut book, OFFICE, rival(), 3 * S), "lifted already");
    assert_eq!(offend(&mut book, OFFICE, 1, Per::Tenant, 100 * S), None);
}

#[test]
fn one_rivals_word_is_enough_where_nobody_else_was_ever_seen() {
    let mut book = book_of(&config());
    see(&mut book, OFFICE, rival(), S);
    assert_eq!(offend(&mut book, OFFICE, 1, Per::Tenant, SHARED_NS), None);
    assert!(offend(&mut book, OFFICE, 1, Per::Tenant, 2 * SHARED_NS).is_some());
}

#[test]
fn threat_a01_a_learned_source_is_judged_by_its_one_user_and_no_other() {
    for per in [Per::User, Per::Tenant] {
        let mut book = book_of(&direct());
        let now = learn(&mut book, 1, S);
        assert_eq!(ignore(&mut book, ELSEWHERE, 1, per, now - 1), None, "not learned yet");
        assert_eq!(ignore(&mut book, ELSEWHERE, 2, per, now), None, "not the one it was learned of");
        let earned = ignore(&mut book, ELSEWHERE, 1, per, now).expect("learned");
        assert_eq!((earned.penalty.mode, earned.penalty.open_max, earned.declared), (mode::REFUSE, OPEN_ALL, false));
        assert!(see(&mut book, ELSEWHERE, user(2), now + S), "its first other user ends it");
        assert_eq!(offend(&mut book, ELSEWHERE, 1, per, now + 120 * S), None, "two users of one tenant");
        assert_eq!(offend(&mut book, ELSEWHERE, 2, per, now + 120 * S), None);
    }
}

#[test]
fn threat_a01_a_learned_source_is_only_observed_until_the_operator_says_that_addresses_are_the_clients() {
    for (config, learned, declared) in [
        (config(), mode::OBSERVE, mode::REFUSE),
        (direct(), mode::REFUSE, mode::REFUSE),
        (KernelConfig { penalties: Mode::Observe, ..direct() }, mode::OBSERVE, mode::OBSERVE),
    ] {
        let mut book = book_of(&config);
        let now = learn(&mut book, 1, S);
        assert_eq!(ignore(&mut book, ELSEWHERE, 1, Per::User, now).map(|it| it.penalty.mode), Some(learned));
        assert_eq!(offend(&mut book, OFFICE, 1, Per::User, now).map(|it| it.penalty.mode), Some(declared));
    }
}

#[test]
fn threat_a01_a_tenant_behind_a_trusted_balancer_is_never_judged() {
    let proxies = [Cidr { address: ip("192.0.2.0"), prefix: 24 }];
    let mut book = PenaltyBook::new(&direct(), Arc::new(Sources::new(&direct(), &proxies)));
    let now = learn(&mut book, 1, S);
    assert_eq!(ignore(&mut book, ELSEWHERE, 1, Per::User, now), None);
    assert_eq!(book.classes(now), Counts::default(), "nor learned of");
}

#[test]
fn who_keeps_at_it_at_a_declared_source_is_no_longer_answered() {
    let mut book = book_of(&direct());
    let mut now = learn(&mut book, 2, S);
    for expected in [mode::REFUSE, mode::REFUSE, mode::REFUSE, mode::SILENT, mode::SILENT] {
        let earned = offend(&mut book, OFFICE, 1, Per::User, now).expect("a penalty");
        let learned = ignore(&mut book, ELSEWHERE, 2, Per::User, now).expect("a penalty");
        assert_eq!((earned.penalty.mode, learned.penalty.mode), (expected, mode::REFUSE), "learned ones always are");
        now = earned.penalty.until_ns.max(learned.penalty.until_ns);
    }
    let earned = offend(&mut book, OFFICE, 1, Per::User, now + 3 * DECAY_NS).expect("a penalty");
    assert_eq!(earned.penalty.mode, mode::REFUSE, "good conduct counts");
}

#[test]
fn repetition_doubles_to_a_minute_and_good_conduct_halves_again() {
    let (mut book, mut now) = (book_of(&config()), 100 * S);
    let mut length = |now| offend(&mut book, OFFICE, 1, Per::User, now).map(seconds);
    for expected in [5, 10, 20, 40, 60, 60] {
        assert_eq!(length(now), Some(expected));
        now += expected * S;
    }
    now += 4 * DECAY_NS;
    assert_eq!(length(now), Some(20), "six doublings less four");
    now += 20 * S + 100 * DECAY_NS;
    assert_eq!(length(now), Some(5));
}

#[test]
fn what_one_did_is_not_held_against_the_next() {
    let mut book = book_of(&config());
    offend(&mut book, OFFICE, 1, Per::User, 100 * S).expect("a penalty");
    let mut again = |per, now| offend(&mut book, OFFICE, 1, per, now).map(seconds);
    assert_eq!(again(Per::Tenant, 105 * S), Some(5), "another limit, another offender");
    assert_eq!(again(Per::User, 110 * S), Some(5));
    assert_eq!(again(Per::User, 115 * S), Some(10));
}

#[test]
fn threat_a02_what_comes_during_a_penalty_neither_lengthens_nor_doubles_it() {
    let mut book = book_of(&config());
    let mut length = |now| offend(&mut book, OFFICE, 1, Per::User, now).map(seconds);
    assert_eq!(length(100 * S), Some(5));
    assert_eq!(length(104 * S), None);
    assert_eq!(length(105 * S), Some(10), "after it, all ten count anew");
}

#[test]
fn threat_a02_what_was_shared_before_a_restart_is_not_penalised_after_it() {
    let mut book = book_of(&config());
    see(&mut book, OFFICE, user(2), S);
    see(&mut book, OFFICE, rival(), S);
    let [(source, shared)] = book.unsaved()[..] else { panic!("one source") };
    let mut next = book_of(&config());
    next.restore(source, shared, 2 * S);
    for per in [Per::User, Per::Tenant] {
        assert_eq!(offend(&mut next, OFFICE, 1, per, 2 * S), None);
    }
}

#[test]
fn a_pardon_takes_the_record_along() {
    let mut book = book_of(&config());
    offend(&mut book, OFFICE, 1, Per::User, 100 * S).expect("a penalty");
    book.pardoned(ip(OFFICE));
    assert_eq!(offend(&mut book, OFFICE, 1, Per::User, 101 * S).map(seconds), Some(5));
}

#[test]
fn a_full_book_penalises_nobody_new_until_it_may_forget() {
    let mut book = book_of(&config());
    let source = |i: usize| IpAddr::from([10, 1, (i >> 8) as u8, i as u8]);
    for i in 0..SOURCES_MAX {
        book.verified(source(i), &tenant("acme"), user(1), 0);
        assert_eq!(book.ignored(source(i), &tenant("acme"), user(1), Per::User, 0), None);
    }
    assert_eq!(offend(&mut book, OFFICE, 1, Per::User, S), None);
    assert_eq!(book.book.len(), SOURCES_MAX);
    assert_eq!(offend(&mut book, OFFICE, 1, Per::User, WINDOW_NS).map(seconds), Some(5));
    assert_eq!(book.book.len(), 1);
}

#[test]
fn threat_a02_a_source_that_a_full_source_book_does_not_know_is_never_penalised() {
    let mut book = book_of(&config());
    for i in 0..crate::kernel::book::SOURCES_MAX as u32 {
        book.verified(IpAddr::from((0xac10_0000 + i).to_be_bytes()), &tenant("acme"), user(1), S);
    }
    for per in [Per::User, Per::Tenant] {
        assert_eq!(offend(&mut book, OFFICE, 1, per, 2 * S), None, "another may be there, and was not noted");
    }
}

#[test]
fn extreme_settings_are_bounded() {
    let config = KernelConfig { ignored_429_max: 0, penalty: Duration::MAX, learned_after: Duration::MAX, ..config() };
    let mut book = book_of(&config);
    see(&mut book, OFFICE, user(1), S);
    let ignored = |book: &mut PenaltyBook, at| book.ignored(ip(OFFICE), &tenant("acme"), user(1), Per::User, at);
    let penalty = ignored(&mut book, S).expect("the first is one too many").penalty;
    assert_eq!(penalty.until_ns - penalty.since_ns, PENALTY_MAX_NS);
    ignored(&mut book, u64::MAX);
}

/// A book that knows what `book` does, under `config`, `later_ns` after a restart; what is in force there.
fn restarted(book: &PenaltyBook, config: &KernelConfig, later_ns: u64) -> (PenaltyBook, Vec<(SourceKey, Penalty)>) {
    let mut next = book_of(config);
    let rows = book.remembered(later_ns);
    let in_force = rows.into_iter().filter_map(|row| Some((row.source, next.recall(row, later_ns)?)));
    let in_force = in_force.collect();
    (next, in_force)
}

#[test]
fn threat_a02_a_restart_forgets_neither_a_penalty_nor_how_often_the_next_is_doubled_nor_who_is_spared() {
    let mut book = book_of(&config());
    let first = offend(&mut book, OFFICE, 1, Per::User, S).expect("a penalty").penalty;
    let again = offend(&mut book, OFFICE, 1, Per::User, first.until_ns).expect("another").penalty;
    let (mut next, in_force) = restarted(&book, &config(), again.since_ns + S);
    assert_eq!(in_force, [(SourceKey::of_ip(ip(OFFICE)), again)], "to its own deadline, not for longer");
    assert_eq!(offend(&mut next, OFFICE, 1, Per::User, again.until_ns).map(seconds), Some(20), "the third in a row");

    let (mut next, _) = restarted(&book, &config(), again.since_ns + S);
    assert!(see(&mut next, OFFICE, user(2), again.since_ns + 2 * S), "who broke no limit ends it, as before");
    assert!(next.remembered(again.since_ns + 2 * S).is_empty() && next.take_changed() && !next.take_changed());
}

#[test]
fn threat_a02_what_is_taken_back_obeys_the_configuration_and_ends_within_a_minute() {
    let mut book = book_of(&config());
    let penalty = offend(&mut book, OFFICE, 1, Per::User, S).expect("a penalty").penalty;
    let observe = KernelConfig { penalties: Mode::Observe, ..config() };
    let (_, in_force) = restarted(&book, &observe, 2 * S);
    assert_eq!(in_force[0].1.mode, mode::OBSERVE);
    let exempt = KernelConfig { exempt: vec![Cidr { address: ip("10.0.0.0"), prefix: 24 }], ..config() };
    assert!(restarted(&book, &exempt, 2 * S).1.is_empty());
    assert!(restarted(&book, &config(), penalty.until_ns).1.is_empty(), "over");

    let row = Remembered { penalty: Penalty { until_ns: u64::MAX, ..penalty }, ..book.remembered(S)[0].clone() };
    let taken = book_of(&config()).recall(row, 2 * S).expect("in force");
    assert_eq!(taken.until_ns, 2 * S + PENALTY_MAX_NS);
}

#[test]
fn nine_ignored_answers_before_a_restart_and_one_after_are_ten() {
    let mut book = book_of(&config());
    see(&mut book, OFFICE, user(1), S);
    let ignored = |book: &mut PenaltyBook, at| book.ignored(ip(OFFICE), &tenant("acme"), user(1), Per::User, at);
    (0..9).for_each(|_| assert_eq!(ignored(&mut book, S), None));
    let (mut next, in_force) = restarted(&book, &config(), 2 * S);
    assert!(in_force.is_empty());
    see(&mut next, OFFICE, user(1), 2 * S);
    assert_eq!(ignored(&mut next, 2 * S).map(seconds), Some(5));
}

proptest! {
    /// The claim: a penalty begins exactly when the last ten instants since the last one lie within ten seconds,
    /// as a reference that keeps everything says.
    #[test]
    fn agrees_with_a_reference_that_forgets_nothing(steps in prop::collection::vec(0..3 * S, 0..300)) {
        let mut book = book_of(&config());
        let (mut now, mut all, mut until) = (S, Vec::new(), 0);
        see(&mut book, OFFICE, user(1), now);
        for step in steps {
            now += step;
            let penalty = book.ignored(ip(OFFICE), &tenant("acme"), user(1), Per::User, now).map(|it| it.penalty);
            if now < until {
                prop_assert_eq!(penalty, None);
                continue;
            }
            all.push(now);
            let earned = all.len() >= 10 && now - all[all.len() - 10] < WINDOW_NS;
            prop_assert_eq!(penalty.is_some(), earned);
            if let Some(penalty) = penalty {
                prop_assert!(penalty.until_ns > now && penalty.until_ns <= now + PENALTY_MAX_NS);
                prop_assert!(matches!(penalty_decide(&penalty, now), Verdict::Refuse | Verdict::Drop));
                until = penalty.until_ns;
                all.clear();
            }
        }
    }
}
