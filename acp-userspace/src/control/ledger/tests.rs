//! The ledger with real files and a real [`Usage`]; time is made up.

use super::*;
use crate::config::resolved::{Budget, Mode, Per, UsageConfig};
use crate::identity::Identity;
use crate::reason::Reason;
use crate::usage::testing::{World, at, budget, identity, tool};
use crate::usage::{AdmitError, Admitted, Hold, Settle, budget_key, settle};

struct Bench {
    world: World,
    store: LedgerStore,
    dir: tempfile::TempDir,
    config: UsageConfig,
    ann: Arc<Identity>,
    calls: u128,
}

fn config(budgets: Vec<Budget>) -> UsageConfig {
    UsageConfig { budgets, slots: 256, slots_tenant_share_percent: 100, ..UsageConfig::default() }
}

impl Bench {
    fn new(budgets: Vec<Budget>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(budgets);
        let store = LedgerStore::open(&dir.path().join("ledger.redb"), at(0)).unwrap();
        Self { world: World::new(&config), store, dir, config, ann: identity("acme", "ann"), calls: 0 }
    }

    fn grant(&mut self, ms: u64) -> Granted {
        self.store.grant_pending(&self.world.usage, &self.world.plan, at(ms)).unwrap()
    }

    fn fold(&mut self, ms: u64) {
        self.store.fold(&self.world.usage, &self.world.plan, at(ms)).unwrap();
    }

    fn try_call(&mut self, price: u64, ms: u64) -> Result<Admitted, AdmitError> {
        self.calls += 1;
        self.world.call(&self.ann, &tool("t", price), self.calls, ms)
    }

    /// A call as the server makes it: waits for grants.
    fn call(&mut self, price: u64, ms: u64) -> Result<Hold, Reason> {
        for _ in 0..20 {
            match self.try_call(price, ms) {
                Ok(admitted) => return Ok(admitted.into_hold()),
                Err(AdmitError::Refused(refused)) => return Err(refused.reason),
                Err(AdmitError::LeasePending(_)) => self.grant(ms),
            };
        }
        panic!("no grant came");
    }

    fn spent(&mut self, id: &str) -> u64 {
        let key = budget_key(id, self.ann.user_key);
        self.store.spend(&self.world.usage, key).unwrap().map_or(0, |spend| spend.spent_microusd)
    }

    /// The process dies; another starts.
    fn crash(self) -> Self {
        let Self { world, store, dir, config, ann, calls } = self;
        drop((world, store));
        let store = LedgerStore::open(&dir.path().join("ledger.redb"), at(0)).unwrap();
        Self { world: World::new(&config), store, dir, config, ann, calls }
    }

    fn reload(&mut self, budgets: Vec<Budget>) {
        self.config.budgets = budgets;
        self.world.plan = Plan::compile(&self.config);
    }
}

fn part(hold: &Hold, settled: Option<u64>) -> SettledPart {
    let part = hold.parts[0];
    SettledPart { budget: part.budget, lease: part.lease, held: part.held_microusd, settled }
}

const DAY_MS: u64 = 86_400_000;

#[test]
fn forty_concurrent_calls_on_a_cap_of_ten_admit_exactly_ten() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 10)]);
    let mut outcomes = Vec::new();
    for _ in 0..40 {
        outcomes.push(bench.call(1, 0));
    }
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 10);
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().err().is_none_or(|r| *r == Reason::QuotaExceeded)));
    outcomes.into_iter().flatten().for_each(|hold| assert_eq!(settle(hold, Settle::Charge(1)), 1));
    assert_eq!(bench.spent("user"), 10);
}

#[test]
fn settled_holds_leave_no_phantom_refusal() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 10)]);
    let whole = bench.call(10, 0).unwrap();
    assert_eq!(bench.call(1, 0).unwrap_err(), Reason::QuotaExceeded);
    settle(whole, Settle::Charge(3));
    let rest = bench.call(7, 0).expect("seven are left");
    assert_eq!(bench.call(1, 0).unwrap_err(), Reason::QuotaExceeded);
    settle(rest, Settle::Release);
    for round in 0..7 {
        bench.fold(round * 1000);
        let hold = bench.call(1, round * 1000).unwrap_or_else(|reason| panic!("call {round}: {reason:?}"));
        settle(hold, Settle::Held);
    }
    assert_eq!((bench.spent("user"), bench.call(1, 9000).unwrap_err()), (10, Reason::QuotaExceeded));
}

#[test]
fn a_lease_is_small_and_committed_before_it_is_spent() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000_000)]);
    assert!(matches!(bench.try_call(5, 0), Err(AdmitError::LeasePending(_))));
    assert_eq!(bench.grant(0), Granted { slots: 1, microusd: 10_000 });
    let hold = bench.call(5, 0).unwrap();
    let row = bench.store.rows.latest(hold.parts[0].budget).unwrap().unwrap();
    assert_eq!((row.spent, row.leased), (0, 10_000));
    drop(hold);
}

#[test]
fn a_dropped_hold_stays_spent() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 10)]);
    drop(bench.call(4, 0).unwrap());
    assert_eq!(bench.spent("user"), 4);
    assert_eq!(bench.call(7, 0).unwrap_err(), Reason::QuotaExceeded);
    assert!(bench.call(6, 0).is_ok());
}

#[test]
fn a_new_period_starts_fresh_and_old_holds_settle_into_the_old_one() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 10)]);
    let old = bench.call(10, 0).unwrap();
    assert_eq!(bench.call(1, 0).unwrap_err(), Reason::QuotaExceeded);
    let new = bench.call(10, DAY_MS).expect("the next day has a budget of its own");
    settle(old, Settle::Charge(2));
    assert_eq!(bench.call(1, DAY_MS).unwrap_err(), Reason::QuotaExceeded, "yesterday's refund is yesterday's");
    settle(new, Settle::Charge(9));
    bench.fold(DAY_MS);
    bench.fold(DAY_MS);
    assert_eq!(bench.spent("user"), 9);
    let rows: Vec<_> = bench.store.rows.all().unwrap().iter().map(|(_, row)| (row.spent, row.leased)).collect();
    assert_eq!(rows[0], (2, 0), "the first day, exactly");
}

#[test]
fn many_periods_pass_with_one_hold_open() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 10)]);
    let forgotten = bench.call(5, 0).unwrap();
    for day in 1..9 {
        let hold = bench.call(10, day * DAY_MS).unwrap();
        assert_eq!(bench.call(1, day * DAY_MS).unwrap_err(), Reason::QuotaExceeded);
        settle(hold, Settle::Charge(10));
        bench.fold(day * DAY_MS);
        assert_eq!(bench.spent("user"), 10);
    }
    settle(forgotten, Settle::Charge(1));
    assert_eq!(bench.call(1, 8 * DAY_MS).unwrap_err(), Reason::QuotaExceeded);
    bench.call(10, 9 * DAY_MS).map(drop).unwrap();
}

#[test]
fn after_a_crash_the_audit_decides_what_was_spent() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000)]);
    let folded = bench.call(50, 0).unwrap();
    settle(folded, Settle::Charge(30));
    bench.fold(0);
    bench.fold(1000);
    let holds = [bench.call(10, 0).unwrap(), bench.call(20, 0).unwrap(), bench.call(5, 0).unwrap()];
    let parts = [part(&holds[0], Some(4)), part(&holds[1], None), part(&holds[2], Some(0))];
    holds.into_iter().for_each(std::mem::forget);
    let mut bench = bench.crash();
    let key = parts[0].budget;
    let row = bench.store.rows.latest(key).unwrap().unwrap();
    assert!(row.spent == 30 && row.leased >= 35, "what was settled is folded, what is held is leased");
    assert_eq!(bench.spent("user"), row.committed(), "until the audit speaks, the lease counts as spent");
    assert_eq!(bench.store.unfolded_since().unwrap(), Some(0), "a ledger that follows no log has it read as a whole");
    let report = bench.store.reconcile(parts.into_iter()).unwrap();
    assert_eq!(report, Reconciled { leases: 1, spent_microusd: 24, returned_microusd: row.leased - 24 });
    assert_eq!(bench.spent("user"), 54);
    assert_eq!(bench.call(947, 0).unwrap_err(), Reason::QuotaExceeded);
    bench.call(946, 0).map(drop).unwrap();
}

#[test]
fn parts_that_were_folded_are_not_counted_twice() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000)]);
    let hold = bench.call(50, 0).unwrap();
    let folded = part(&hold, Some(30));
    settle(hold, Settle::Charge(30));
    bench.fold(0);
    bench.fold(1000);
    let mut bench = bench.crash();
    bench.store.reconcile([folded].into_iter()).unwrap();
    assert_eq!(bench.spent("user"), 30);
}

#[test]
fn a_lease_says_where_in_the_log_its_calls_begin() {
    let segment = Arc::new(AtomicU64::new(7));
    let mut bench = Bench::new(vec![budget("user", Per::User, 100_000)]);
    bench.store.follow_log(Arc::clone(&segment));
    let held = bench.call(50, 0).unwrap();
    segment.store(8, Ordering::Release);
    settle(bench.call(50, 0).unwrap(), Settle::Charge(50));
    bench.fold(0);
    segment.store(9, Ordering::Release);
    settle(bench.call(50, 0).unwrap(), Settle::Charge(50));
    bench.fold(1000);
    assert_eq!(bench.store.unfolded_since().unwrap(), Some(7), "a hold of the first generation is open");
    settle(held, Settle::Charge(50));
    bench.fold(2000);
    bench.fold(3000);
    assert_eq!(bench.store.unfolded_since().unwrap(), Some(9), "all before is folded");
}

#[test]
fn a_lease_that_no_log_speaks_of_is_forfeited() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000)]);
    settle(bench.call(10, 0).unwrap(), Settle::Release);
    let mut bench = bench.crash();
    let report = bench.store.forfeit().unwrap();
    assert_eq!((report.leases, report.spent_microusd, report.returned_microusd), (1, 10, 0));
    assert_eq!((bench.spent("user"), bench.store.unfolded_since().unwrap()), (10, None));
}

#[test]
fn a_lease_nobody_reconciles_counts_as_spent() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 100)]);
    settle(bench.call(40, 0).unwrap(), Settle::Release);
    let mut bench = bench.crash();
    assert_eq!(bench.call(61, 0).unwrap_err(), Reason::QuotaExceeded);
    bench.call(60, 0).map(drop).unwrap();
}

#[test]
fn a_clean_shutdown_gives_unspent_leases_back() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000)]);
    settle(bench.call(10, 0).unwrap(), Settle::Charge(7));
    let Bench { world, store, dir, .. } = bench;
    store.close(&world.usage).unwrap();
    let mut store = LedgerStore::open(&dir.path().join("ledger.redb"), at(0)).unwrap();
    let rows = store.rows.all().unwrap();
    assert_eq!((rows[0].1.spent, rows[0].1.leased), (7, 0));
    assert_eq!(store.unfolded_since().unwrap(), None);
}

#[test]
fn a_store_that_cannot_commit_admits_nothing() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000)]);
    bench.store.rows.break_store();
    for ms in 0..50 {
        assert!(matches!(bench.try_call(1, ms), Err(AdmitError::LeasePending(_))));
        assert!(bench.store.grant_pending(&bench.world.usage, &bench.world.plan, at(ms)).is_err());
        assert!(bench.world.usage.is_waiting(), "the wish stands");
    }
    bench.store.rows.repair();
    bench.call(1, 60).map(drop).expect("a store that came back grants");
}

#[test]
fn a_store_that_fails_later_lets_only_the_lease_be_spent() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000)]);
    settle(bench.call(1, 0).unwrap(), Settle::Charge(1));
    bench.store.rows.break_store();
    let mut admitted = 1;
    while let Ok(call) = bench.try_call(1, 0) {
        settle(call.into_hold(), Settle::Held);
        admitted += 1;
        let _ = bench.store.grant_pending(&bench.world.usage, &bench.world.plan, at(0));
        let _ = bench.store.fold(&bench.world.usage, &bench.world.plan, at(0));
    }
    assert_eq!(admitted, 10, "1 % of the cap");
    bench.store.rows.repair();
    bench.call(1, 0).map(drop).unwrap();
    assert_eq!(bench.spent("user"), 11);
}

#[test]
fn threat_a29_spend_survives_an_edited_cap() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 1_000)]);
    settle(bench.call(500, 0).unwrap(), Settle::Held);
    bench.reload(vec![budget("user", Per::User, 400)]);
    bench.grant(0);
    assert_eq!(bench.call(1, 0).unwrap_err(), Reason::QuotaExceeded, "lowered below what is spent");
    bench.reload(vec![budget("user", Per::User, 600)]);
    bench.grant(0);
    assert_eq!(bench.call(101, 0).unwrap_err(), Reason::QuotaExceeded);
    settle(bench.call(100, 0).expect("raised"), Settle::Held);
    assert_eq!(bench.spent("user"), 600);
}

#[test]
fn an_edited_period_ends_by_whichever_length_is_first() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 100)]);
    settle(bench.call(100, 0).unwrap(), Settle::Held);
    let hourly = Budget { period: Duration::from_secs(3600), ..budget("user", Per::User, 100) };
    bench.reload(vec![hourly]);
    bench.grant(0);
    assert_eq!(bench.call(1, 0).unwrap_err(), Reason::QuotaExceeded, "what is spent stays spent");
    let monthly = Budget { period: Duration::from_secs(86_400 * 30), ..budget("user", Per::User, 100) };
    bench.reload(vec![monthly]);
    bench.call(100, DAY_MS).map(drop).expect("the day ended");
    let mut bench = bench.crash();
    assert_eq!(bench.spent("user"), 100, "the row of the month is the latest");
}

#[test]
fn an_idle_slot_gives_its_lease_back() {
    let mut bench = Bench::new(vec![budget("user", Per::User, 10_000)]);
    settle(bench.call(10, 0).unwrap(), Settle::Charge(7));
    for _ in 0..30 {
        bench.fold(0);
    }
    assert!(bench.store.accounts.is_empty());
    let key = budget_key("user", bench.ann.user_key);
    let row = bench.store.rows.latest(key).unwrap().unwrap();
    assert_eq!((row.spent, row.leased), (7, 0));
    settle(bench.call(10, 0).unwrap(), Settle::Held);
    assert_eq!(bench.spent("user"), 17);
}

#[test]
fn need_b01_an_observed_budget_reports_and_never_refuses() {
    let observed = Budget { mode: Mode::Observe, ..budget("user", Per::User, 10) };
    let mut bench = Bench::new(vec![observed]);
    assert!(bench.try_call(4, 0).unwrap().would().is_empty(), "nothing is known yet");
    bench.grant(0);
    settle(bench.try_call(4, 0).unwrap().into_hold(), Settle::Held);
    let _ = bench.store.grant_pending(&bench.world.usage, &bench.world.plan, at(0));
    let over = bench.try_call(9, 0).unwrap();
    assert_eq!(over.would()[0].reason, Reason::QuotaExceeded);
    assert!(over.hold().parts.is_empty());
}

#[test]
fn one_user_cannot_park_a_tenants_budget_in_open_holds() {
    let mut bench = Bench::new(vec![budget("tenant", Per::Tenant, 100)]);
    let mut held = Vec::new();
    let refused = loop {
        match bench.call(5, 0) {
            Ok(hold) => held.push(hold),
            Err(reason) => break reason,
        }
    };
    assert_eq!((held.len(), refused), (5, Reason::TenantShare), "a quarter of the hundred");
    bench.ann = identity("acme", "bob");
    assert!(bench.call(5, 0).is_ok(), "a colleague is not affected");
    bench.ann = identity("acme", "ann");
    held.into_iter().for_each(|hold| assert_eq!(settle(hold, Settle::Release), 0));
    assert!(bench.call(5, 0).is_ok());
}

#[test]
fn the_last_of_a_tenants_budget_can_be_spent() {
    let mut bench = Bench::new(vec![budget("tenant", Per::Tenant, 10)]);
    for _ in 0..10 {
        settle(bench.call(1, 0).unwrap(), Settle::Held);
    }
    assert_eq!(bench.call(1, 0).unwrap_err(), Reason::QuotaExceeded);
}

#[test]
fn threads_spend_exactly_what_the_ledger_says_and_never_more_than_the_cap() {
    const CAP: u64 = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let config = config(vec![budget("user", Per::User, CAP)]);
    let plan = Arc::new(Plan::compile(&config));
    let usage = Usage::new(&config);
    let mut store = LedgerStore::open(&dir.path().join("ledger.redb"), at(0)).unwrap();
    let ann = identity("acme", "ann");
    let world = World { usage: Arc::clone(&usage), plan: Plan::compile(&config) };
    let running = std::sync::atomic::AtomicUsize::new(8);
    let settled: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8_u64)
            .map(|worker| {
                let (world, ann, running) = (&world, &ann, &running);
                scope.spawn(move || {
                    let (mut settled, mut call) = (0, 0);
                    loop {
                        call += 1;
                        let price = 1 + (call * 13 + worker) % 20;
                        match world.call(ann, &tool("t", price), u128::from(call << 8 | worker), 0) {
                            Ok(admitted) => {
                                settled += settle(admitted.into_hold(), Settle::Charge(price * (call % 4) / 3));
                            }
                            Err(AdmitError::LeasePending(_)) => std::thread::yield_now(),
                            Err(AdmitError::Refused(_)) if call > 500 => break,
                            Err(AdmitError::Refused(_)) => {}
                        }
                    }
                    running.fetch_sub(1, Ordering::AcqRel);
                    settled
                })
            })
            .collect();
        for pass in 0_u64.. {
            store.grant_pending(&usage, &plan, at(0)).unwrap();
            if pass.is_multiple_of(16) {
                store.fold(&usage, &plan, at(0)).unwrap();
            }
            if running.load(Ordering::Acquire) == 0 {
                break;
            }
        }
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    assert!(settled <= CAP);
    let key = budget_key("user", ann.user_key);
    assert_eq!(store.spend(&usage, key).unwrap().unwrap().spent_microusd, settled);
    store.close(&usage).unwrap();
    let mut store = LedgerStore::open(&dir.path().join("ledger.redb"), at(0)).unwrap();
    let row = store.rows.latest(key).unwrap().unwrap();
    assert_eq!((row.spent, row.leased), (settled, 0));
}

#[test]
fn the_ledger_thread_grants_as_soon_as_something_waits_and_closes_cleanly() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let config = config(vec![budget("user", Per::User, 1_000)]);
    let (usage, plan) = (Usage::new(&config), Arc::new(Plan::compile(&config)));
    let world = World { usage: Arc::clone(&usage), plan: Plan::compile(&config) };
    let ann = identity("acme", "ann");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let store = LedgerStore::open(&path, Now::read()).unwrap();
        let ledger = scope.spawn(|| store.serve(&usage, || Arc::clone(&plan), &stop, |ok| assert!(ok)));
        let now = Now::read();
        let admitted = loop {
            let digest = Key128([0; 16]);
            match crate::usage::admit(
                &usage,
                &world.plan,
                crate::usage::testing::permitted(&ann),
                &tool("t", 9),
                digest,
                now,
            ) {
                Ok(admitted) => break admitted,
                Err(AdmitError::LeasePending(_)) => std::thread::yield_now(),
                Err(AdmitError::Refused(refused)) => panic!("{refused}"),
            }
        };
        settle(admitted.into_hold(), Settle::Charge(9));
        stop.store(true, Ordering::Release);
        ledger.thread().unpark();
        ledger.join().unwrap().unwrap();
    });
    let mut store = LedgerStore::open(&path, Now::read()).unwrap();
    let row = store.rows.latest(budget_key("user", ann.user_key)).unwrap().unwrap();
    assert_eq!((row.spent, row.leased), (9, 0));
}
