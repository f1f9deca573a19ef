//! The four doors, without a ledger: limits, loops, denials, and what they do to each other.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::resolved::{LoopGuard, Mode, Per, RateLimit, Runaway, Tool, UsageConfig};
use crate::identity::Identity;
use crate::reason::Reason;
use crate::usage::testing::{World, at, budget, identity, limit, loop_guard, tool};
use crate::usage::{AdmitError, Refused, denied, gcra, peek};

fn config() -> UsageConfig {
    UsageConfig { slots: 1024, slots_tenant_share_percent: 100, ..UsageConfig::default() }
}

fn limits(rate_limits: Vec<RateLimit>) -> World {
    World::new(&UsageConfig { rate_limits, ..config() })
}

fn refusal(world: &World, identity: &Arc<Identity>, arguments: u128, ms: u64) -> Option<Refused> {
    match world.call(identity, &tool("t", 0), arguments, ms) {
        Ok(_) => None,
        Err(AdmitError::Refused(refused)) => Some(refused),
        Err(AdmitError::LeasePending(_)) => panic!("nothing to wait for"),
    }
}

fn peeked(world: &World, identity: &Identity, ms: u64) -> Option<Reason> {
    peek(&world.usage, &world.plan, identity, at(ms)).err().map(|refused| refused.reason)
}

#[test]
fn admits_the_burst_then_the_rate() {
    let world = limits(vec![limit("user", Per::User, 5, 10)]);
    let (ann, bob) = (identity("acme", "ann"), identity("acme", "bob"));
    for call in 0..5 {
        assert_eq!(peeked(&world, &ann, 0), None);
        assert!(refusal(&world, &ann, call, 0).is_none());
    }
    let refused = refusal(&world, &ann, 9, 0).expect("the sixth is over");
    assert_eq!((refused.reason, refused.retry_after_secs, &*refused.rule), (Reason::RateLimited, 2, "user"));
    let limit = refused.limit.unwrap();
    assert_eq!((limit.quota, limit.window_secs, limit.remaining, limit.reset_secs), (5, 10, 0, 2));
    assert_eq!(peeked(&world, &ann, 1_999), Some(Reason::RateLimited));
    assert_eq!(peeked(&world, &ann, 2_000), None, "the time it named is enough");
    assert!(refusal(&world, &ann, 9, 2_000).is_none());
    assert!(refusal(&world, &bob, 9, 0).is_none(), "each user has a limit of their own");
    assert!(refusal(&world, &identity("other", "ann"), 9, 2_000).is_some(), "a user is (issuer, sub) in any tenant");
}

#[test]
fn reports_the_tightest_limit() {
    let world = limits(vec![limit("tenant", Per::Tenant, 100, 60), limit("user", Per::User, 10, 60)]);
    let ann = identity("acme", "ann");
    let admitted = world.call(&ann, &tool("t", 0), 1, 0).unwrap();
    let state = admitted.limit().unwrap();
    assert_eq!((&*state.id, state.remaining, state.reset_secs), ("user", 9, 6));
}

#[test]
fn a_refused_request_charges_no_other_limit() {
    let world = limits(vec![limit("tenant", Per::Tenant, 6, 600), limit("user", Per::User, 3, 600)]);
    let (ann, bob) = (identity("acme", "ann"), identity("acme", "bob"));
    let admitted = (0..50).filter(|call| refusal(&world, &ann, *call, 0).is_none()).count();
    assert_eq!(admitted, 3);
    let admitted = (0..50).filter(|call| refusal(&world, &bob, *call, 0).is_none()).count();
    assert_eq!(admitted, 3, "ann's refused calls took nothing of the tenant's");
}

#[test]
fn a_call_refused_by_the_loop_guard_or_a_pending_lease_charges_nothing() {
    let rate_limits = vec![limit("user", Per::User, 10, 600)];
    let guarded =
        World::new(&UsageConfig { rate_limits: rate_limits.clone(), loop_guard: Some(loop_guard(3, 60)), ..config() });
    let ann = identity("acme", "ann");
    let reasons: Vec<_> = (0..20).map(|_| refusal(&guarded, &ann, 7, 0).map(|refused| refused.reason)).collect();
    assert_eq!(reasons[..3], [None, None, Some(Reason::LoopDetected)]);
    assert_eq!((100..150).filter(|call| refusal(&guarded, &ann, *call, 0).is_none()).count(), 8);

    let unleased = World::new(&UsageConfig {
        rate_limits,
        budgets: vec![budget("user", Per::User, 100)],
        loop_guard: Some(loop_guard(3, 60)),
        ..config()
    });
    for _ in 0..50 {
        let pending = unleased.call(&ann, &tool("priced", 1), 1, 0);
        assert!(matches!(pending, Err(AdmitError::LeasePending(_))));
    }
    let free = unleased.call(&ann, &tool("free", 0), 1, 0).unwrap();
    assert_eq!(free.limit().unwrap().remaining, 9);
    assert!(free.hold().parts.is_empty(), "a free call needs no lease");
}

#[test]
fn the_loop_guard_counts_one_users_identical_calls_of_one_tool() {
    let world = World::new(&UsageConfig { loop_guard: Some(loop_guard(4, 30)), ..config() });
    let (ann, bob) = (identity("acme", "ann"), identity("acme", "bob"));
    let reason = |identity, tool: &Tool, arguments| match world.call(identity, tool, arguments, 0) {
        Ok(_) => None,
        Err(AdmitError::Refused(refused)) => Some((refused.reason, refused.retry_after_secs, refused.kernel)),
        Err(AdmitError::LeasePending(_)) => panic!("no budget"),
    };
    let (read, write) = (tool("crm/read", 0), tool("crm/write", 0));
    for _ in 0..3 {
        assert_eq!(reason(&ann, &read, 1), None);
    }
    assert_eq!(reason(&ann, &read, 1), Some((Reason::LoopDetected, 30, false)));
    assert_eq!((reason(&ann, &read, 2), reason(&ann, &write, 1), reason(&bob, &read, 1)), (None, None, None));
}

#[test]
fn need_b01_observed_rules_report_and_never_refuse() {
    let observed = RateLimit { mode: Mode::Observe, ..limit("user", Per::User, 2, 60) };
    let guard = LoopGuard { mode: Mode::Observe, ..loop_guard(4, 60) };
    let world = World::new(&UsageConfig { rate_limits: vec![observed], loop_guard: Some(guard), ..config() });
    let ann = identity("acme", "ann");
    let would = |ms| {
        let admitted = world.call(&ann, &tool("t", 0), 1, ms).unwrap();
        assert!(admitted.limit().is_none(), "an observed limit is not announced");
        admitted.would().iter().map(|would| (would.reason, would.rule.to_string())).collect::<Vec<_>>()
    };
    let (rate, looping) = ((Reason::RateLimited, "user".to_owned()), (Reason::LoopDetected, "loop_guard".to_owned()));
    assert_eq!((would(0), would(0)), (vec![], vec![]));
    assert_eq!(would(0), std::slice::from_ref(&rate));
    assert_eq!(would(0), [rate, looping]);
    assert_eq!(peeked(&world, &ann, 0), None);
}

#[test]
fn denials_have_a_bucket_of_their_own() {
    let world = World::new(&UsageConfig {
        rate_limits: vec![limit("user", Per::User, 100, 60)],
        denials_per_minute: 3,
        ..config()
    });
    let ann = identity("acme", "ann");
    for _ in 0..3 {
        assert_eq!(peeked(&world, &ann, 0), None);
        denied(&world.usage, &world.plan, &ann, at(0));
    }
    assert_eq!(peeked(&world, &ann, 0), Some(Reason::DenialLimited));
    denied(&world.usage, &world.plan, &ann, at(0));
    assert_eq!(peeked(&world, &ann, 20_000), None, "one more denial after a third of a minute");
    assert_eq!(peeked(&world, &identity("acme", "bob"), 0), None);
    assert_eq!(world.call(&ann, &tool("t", 0), 1, 20_000).unwrap().limit().unwrap().remaining, 99);
}

#[test]
fn coming_back_inside_retry_after_is_marked_for_limits_that_reach_the_kernel() {
    let quiet = RateLimit { kernel: false, ..limit("user", Per::User, 1, 10) };
    for (rule, reaches) in [(limit("user", Per::User, 1, 10), true), (quiet, false)] {
        let world = limits(vec![rule]);
        let ann = identity("acme", "ann");
        assert!(refusal(&world, &ann, 1, 0).is_none());
        let marks = [0, 5_000, 9_000].map(|ms| {
            let refused = peek(&world.usage, &world.plan, &ann, at(ms)).unwrap_err();
            (refused.kernel, refused.ignored)
        });
        assert_eq!(marks, [(reaches, false), (reaches, reaches), (reaches, reaches)]);
    }
}

#[test]
fn going_on_with_a_loop_is_marked_where_a_tenant_can_be_frozen_for_it_and_a_loop_alone_is_not() {
    let runaway = Some(Runaway { after: 2, time: Duration::from_secs(60) });
    for (runaway, marked) in [(runaway, true), (None, false)] {
        let guard = LoopGuard { runaway, ..loop_guard(2, 30) };
        let world = World::new(&UsageConfig { loop_guard: Some(guard), ..config() });
        let (ann, bob) = (identity("acme", "ann"), identity("acme", "bob"));
        let call = |who, ms| match world.call(who, &tool("t", 0), 1, ms) {
            Err(AdmitError::Refused(refused)) => (refused.kernel, refused.ignored),
            other => panic!("{other:?}"),
        };
        assert!(world.call(&ann, &tool("t", 0), 1, 0).is_ok() && world.call(&bob, &tool("t", 0), 1, 0).is_ok());
        assert_eq!(call(&ann, 0), (false, false), "the loop itself");
        assert_eq!(call(&ann, 200), (false, false), "it was on its way already");
        assert_eq!((call(&ann, 500), call(&ann, 9_000)), ((false, marked), (false, marked)));
        assert_eq!(call(&bob, 9_000), (false, false), "another user's first");
    }
}

#[test]
fn what_counts_as_early_is_the_advice_given_not_when_a_fast_limit_would_admit() {
    let world = limits(vec![limit("user", Per::User, 200, 1)]);
    let ann = identity("acme", "ann");
    let flood = |ms| (0..).find_map(|call| refusal(&world, &ann, call, ms)).unwrap();
    let first = flood(0);
    assert_eq!((first.retry_after_secs, first.ignored), (1, false));
    assert!(flood(400).ignored, "told to wait a second, back after 0.4 s");
}

#[test]
fn threat_a22_a_tenant_over_its_share_of_slots_is_refused_and_others_are_not() {
    let world = World::new(&UsageConfig {
        rate_limits: vec![limit("user", Per::User, 5, 60)],
        slots: 256,
        slots_tenant_share_percent: 25,
        ..config()
    });
    let users: Vec<_> = (0..80).map(|n| identity("acme", &n.to_string())).collect();
    let refused: Vec<_> = users.iter().filter_map(|user| refusal(&world, user, 1, 0)).collect();
    assert_eq!(refused.len(), 16, "64 slots of 256");
    assert!(refused.iter().all(|refused| refused.reason == Reason::TenantShare));
    assert!(refusal(&world, &identity("other", "ann"), 1, 0).is_none());
    assert!(refusal(&world, &users[79], 1, 60_000).is_none(), "who has drained no longer counts");
}

#[test]
fn a_call_refused_for_want_of_a_slot_charges_nothing() {
    let world = World::new(&UsageConfig {
        rate_limits: vec![limit("tenant", Per::Tenant, 100, 600), limit("user", Per::User, 5, 600)],
        slots: 256,
        slots_tenant_share_percent: 25,
        ..config()
    });
    let users: Vec<_> = (0..80).map(|n| identity("acme", &n.to_string())).collect();
    let admitted = users.iter().filter(|user| refusal(&world, user, 1, 0).is_none()).count();
    assert_eq!(admitted, 63, "64 slots, one of them the tenant's own");
    let rule = &world.plan.limits[0];
    let tat = world.usage.limits.find(rule.key(&users[0])).unwrap().payload();
    assert_eq!(rule.rate.remaining(tat, gcra::ticks(at(0))), 100 - 63);
}

#[test]
fn calls_in_flight_are_bounded_where_a_budget_exists() {
    let world = World::new(&UsageConfig {
        budgets: vec![budget("user", Per::User, 1_000)],
        calls_in_flight_max: 0,
        ..config()
    });
    let ann = identity("acme", "ann");
    let first = world.call(&ann, &tool("t", 1), 1, 0);
    assert!(matches!(first, Err(AdmitError::LeasePending(_))), "at least one call, whatever the number");
    assert!(world.call(&ann, &tool("t", 0), 1, 0).is_ok(), "what costs nothing holds nothing");
}

#[test]
fn threads_admit_at_most_burst_and_rate() {
    const THREADS: u64 = 8;
    let world = limits(vec![limit("tenant", Per::Tenant, 1_000, 1), limit("user", Per::User, 150, 1)]);
    let users: Vec<_> = (0..8).map(|n| identity("acme", &n.to_string())).collect();
    let admitted: Vec<_> = users.iter().map(|_| AtomicU64::new(0)).collect();
    // A shared clock: 2 s in steps of 50 µs, taken by whichever thread comes next.
    let clock = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (world, users, admitted, clock) = (&world, &users, &admitted, &clock);
            scope.spawn(move || {
                let mut call = 0;
                loop {
                    let step = clock.fetch_add(1, Ordering::Relaxed);
                    let ms = step / 20;
                    if ms >= 2_000 {
                        break;
                    }
                    call += 1;
                    let user = ((step + thread) % 8) as usize;
                    if refusal(world, &users[user], u128::from(call << 8 | thread), ms).is_none() {
                        admitted[user].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let admitted: Vec<_> = admitted.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert!(admitted.iter().all(|count| *count <= 150 + 2 * 150), "{admitted:?}");
    let total = admitted.iter().sum::<u64>();
    assert!(total <= 1_000 + 2 * 1_000, "{total}");
    assert!(total >= 2_900, "races between the limits cost next to nothing: {total}");
}
