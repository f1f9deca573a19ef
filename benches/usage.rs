//! What usage costs a request: `peek`, `charge` (all of `admit` but moving the proof) and `settle`.
//!
//! - `full`: a limit and a budget per user, a limit and a budget per tenant, and the loop guard; every call has
//!   arguments of its own, so each inserts a loop entry. 1 user, then 1 000 users of two tenants in turn (goal 0.3 µs,
//!   bound 0.5 µs together).
//! - `limits_only`: the same without budgets and loop guard.
//! - `refused_at_peek`: a user over the limit.
//! - `two_threads`: `full` with 1 000 users, while another thread does the same.
//!
//! Limits and caps are out of reach; leases are granted beforehand and refilled by a ledger thread, as in the gateway.
//! Left out: reading the clock, the digest of the arguments.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use acp::clock::Now;
use acp::config::resolved::{
    Budget, ClaimNames, Issuer, JwksSource, LoopGuard, Mode, Per, RateLimit, Tenants, Tool, ToolMatch, UsageConfig,
};
use acp::control::ledger::LedgerStore;
use acp::identity::Identity;
use acp::ids::{Key128, TenantId, UserId};
use acp::usage::{ChargeError, Plan, Settle, Usage, charge, peek, settle};
use criterion::{Criterion, criterion_group, criterion_main};

struct Gateway {
    usage: Arc<Usage>,
    plan: Arc<Plan>,
    tool: Tool,
    users: Vec<Arc<Identity>>,
    arguments: AtomicU64,
    stop: Arc<AtomicBool>,
    ledger: Option<JoinHandle<()>>,
    _dir: tempfile::TempDir,
}

impl Gateway {
    fn new(config: UsageConfig, users: usize) -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (usage, plan) = (Usage::new(&config), Arc::new(Plan::compile(&config)));
        let stop = Arc::new(AtomicBool::new(false));
        let store = LedgerStore::open(&dir.path().join("ledger.redb"), Now::read()).expect("a new ledger");
        let ledger = std::thread::spawn({
            let (usage, plan, stop) = (Arc::clone(&usage), Arc::clone(&plan), Arc::clone(&stop));
            move || store.serve(&usage, || Arc::clone(&plan), &stop, |_| {}).expect("the ledger closes")
        });
        let users = (0..users).map(identity).collect();
        let gateway = Self {
            usage,
            plan,
            tool: tool(),
            users,
            arguments: AtomicU64::new(0),
            stop,
            ledger: Some(ledger),
            _dir: dir,
        };
        (0..gateway.users.len()).for_each(|user| gateway.call(user, Now::read()));
        gateway
    }

    /// One request, as the pipeline makes it; waits for a lease.
    fn call(&self, user: usize, now: Now) {
        let identity = &self.users[user % self.users.len()];
        let arguments = self.arguments.fetch_add(1, Ordering::Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let digest = Key128(u128::from(arguments).to_le_bytes());
        peek(&self.usage, &self.plan, identity, now).expect("within all limits");
        loop {
            match charge(&self.usage, &self.plan, identity, &self.tool, digest, now) {
                Ok(charged) => {
                    black_box(settle(charged.hold, Settle::Charge(2_000)));
                    return;
                }
                Err(ChargeError::LeasePending) => std::thread::yield_now(),
                Err(ChargeError::Refused(refused)) => panic!("{refused}"),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        if let Some(ledger) = self.ledger.take() {
            ledger.thread().unpark();
            ledger.join().expect("the ledger thread ends");
        }
    }
}

fn identity(number: usize) -> Arc<Identity> {
    let issuer = Arc::new(Issuer {
        name: "idp".into(),
        issuer: "https://idp.test/".into(),
        audience: Vec::new(),
        jwks: JwksSource::Discovery,
        claims: ClaimNames {
            tenant: "org_id".into(),
            scopes: "scope".into(),
            roles: "roles".into(),
            custom: Vec::new(),
        },
        tenants: Tenants::Any,
        allow_private: Vec::new(),
    });
    let user = UserId { issuer: "idp".into(), subject: number.to_string().into() };
    let tenant = TenantId { issuer: "idp".into(), tenant: (number % 2).to_string().into() };
    Arc::new(Identity {
        issuer,
        user_key: user.key(),
        tenant_key: tenant.key(),
        user,
        tenant,
        scopes: Vec::new(),
        roles: Vec::new(),
        claims: serde_json::Map::new(),
        audience: Vec::new(),
        expires: u64::MAX,
        not_before: None,
        issued_at: None,
        client: None,
        key_id: "k".into(),
        digest: Key128([0; 16]),
        token_hash: Key128([0; 16]),
    })
}

fn tool() -> Tool {
    Tool {
        index: 0,
        name: "crm/contacts".into(),
        matcher: ToolMatch::Mcp { name: "contacts".into() },
        verb: "read".into(),
        price_picousd: 2_000_000_000,
        labels: Vec::new(),
    }
}

fn limit(id: &str, per: Per, requests: u64) -> RateLimit {
    let window = Duration::from_secs(60);
    RateLimit { id: id.into(), per, requests, window, burst: requests, mode: Mode::Enforce, kernel: true }
}

fn budget(id: &str, per: Per) -> Budget {
    let max_spend_microusd = 1_000_000_000_000_000;
    Budget { id: id.into(), per, max_spend_microusd, period: Duration::from_secs(86_400), mode: Mode::Enforce }
}

fn limits_only(requests: u64) -> UsageConfig {
    UsageConfig {
        rate_limits: vec![limit("user", Per::User, requests), limit("tenant", Per::Tenant, requests)],
        ..UsageConfig::default()
    }
}

fn full() -> UsageConfig {
    UsageConfig {
        budgets: vec![budget("user", Per::User), budget("tenant", Per::Tenant)],
        loop_guard: Some(LoopGuard {
            identical_calls: 500,
            window: Duration::from_secs(30),
            mode: Mode::Enforce,
            runaway: None,
        }),
        ..limits_only(1_000_000_000)
    }
}

fn usage(c: &mut Criterion) {
    for (name, config, users) in [
        ("limits_only/1_user", limits_only(1_000_000_000), 1),
        ("limits_only/1000_users", limits_only(1_000_000_000), 1_000),
        ("full/1_user", full(), 1),
        ("full/1000_users", full(), 1_000),
    ] {
        let gateway = Gateway::new(config, users);
        let (mut user, mut now) = (0, Now::read());
        c.bench_function(name, |b| {
            b.iter(|| {
                user += 1;
                now = Now { wall_ns: now.wall_ns, mono_ns: now.mono_ns + 1_000 };
                gateway.call(user, now);
            });
        });
    }
    let gateway = Gateway::new(limits_only(1), 1);
    c.bench_function("refused_at_peek", |b| {
        let now = Now::read();
        b.iter(|| black_box(peek(&gateway.usage, &gateway.plan, &gateway.users[0], now).is_err()));
    });
}

fn two_threads(c: &mut Criterion) {
    let gateway = Gateway::new(full(), 1_000);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut user = 500;
            while !stop.load(Ordering::Relaxed) {
                user += 1;
                gateway.call(user, Now::read());
            }
        });
        let mut user = 0;
        c.bench_function("two_threads/1000_users", |b| {
            b.iter(|| {
                user += 1;
                gateway.call(user, Now::read());
            });
        });
        stop.store(true, Ordering::Relaxed);
    });
}

criterion_group!(benches, usage, two_threads);
criterion_main!(benches);
