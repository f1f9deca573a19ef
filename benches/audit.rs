//! What a request's audit costs: the worker's two stores, and the writer's share of a batch.
//!
//! One request = a reservation, an intent and an outcome in the ring (1 000 subjects, one label, one policy, one hold
//! part); then one sealed JSON line of about 1 KB, chained, written to a file in the temporary directory. `worker`
//! times the stores alone, `writer` the drain of 1 000 requests, both on one thread, so that caches are warmer than
//! between two cores; `flood_*` is the same for refused bad tokens of one source. Left out: fdatasync, which runs on a
//! thread of its own.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use acp::audit::record::{
    AuthMethod, Bytes, Call, Decision, Intent, KeyedDigest, Latency, Layer, Outcome, Peer, Refusal, Versions, Who,
};
use acp::audit::ring::RingWriter;
use acp::clock::Now;
use acp::config::resolved::{AuditConfig, Durability};
use acp::control::audit_writer::{AuditWriter, Opened};
use acp::ids::{Key128, RequestIds, TenantId, UserId};
use acp::reason::Reason;
use acp::safety::NO_EVIDENCE;
use acp::usage::{Hold, HoldPart};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const BATCH: u64 = 1000;

/// Stores one request's records.
type Store = fn(&mut Load, &RingWriter, Now);

struct Subject {
    user: UserId,
    user_key: Key128,
}

/// Everything a request's record is made of.
struct Load {
    tenant: TenantId,
    tenant_key: Key128,
    subjects: Vec<Subject>,
    labels: [Arc<str>; 1],
    policies: [Arc<str>; 1],
    hold: Hold,
    ids: RequestIds,
    next: usize,
}

impl Load {
    fn new() -> Self {
        let issuer: Arc<str> = "https://idp.example.com/".into();
        let subject = |n: usize| {
            let user = UserId { issuer: Arc::clone(&issuer), subject: format!("auth0|{n:016x}").into() };
            Subject { user_key: user.key(), user }
        };
        let subjects = (0..1000).map(subject).collect();
        let tenant = TenantId { issuer, tenant: "org_acme_corp".into() };
        let part = HoldPart { budget: Key128([7; 16]), lease: 12, held_microusd: 2000 };
        Self {
            tenant_key: tenant.key(),
            tenant,
            subjects,
            labels: ["patient".into()],
            policies: ["builtin.scope".into()],
            hold: Hold::detached(1, [part].into_iter().collect()),
            ids: RequestIds::new(),
            next: 0,
        }
    }

    /// Intent and outcome of one request.
    fn request(&mut self, worker: &RingWriter, now: Now) {
        self.next = (self.next + 1) % self.subjects.len();
        let subject = &self.subjects[self.next];
        let request_id = self.ids.next_id();
        let reservation = worker.reserve(self.tenant_key).expect("the ring has room");
        let open = reservation.intent(&Intent {
            request_id,
            now,
            who: Who {
                tenant: &self.tenant.tenant,
                issuer: &self.tenant.issuer,
                subject: &subject.user.subject,
                client: Some("chat-app"),
                key_id: "2026-11-key",
                tenant_key: self.tenant_key,
                user_key: subject.user_key,
                token_hash: Key128([9; 16]),
                method: AuthMethod::BearerJwt,
            },
            peer: Peer { address: ([203, 0, 113, 7], 40_001).into(), cookie: 12_345, tenant_slot: 3 },
            call: Call {
                route: "/tools/crm",
                path: "/tools/crm/contacts",
                tool: "crm/contacts",
                verb: "read",
                labels: &self.labels,
            },
            policies: &self.policies,
            findings: &[],
            evidence: &NO_EVIDENCE,
            arguments: Some(KeyedDigest { key_id: 1, digest: [5; 16] }),
            price_microusd: 2000,
            hold: &self.hold,
            would: &[],
            versions: Versions { config: [1; 8], policy: [2; 8], keys: 4, snapshot: 6 },
            latency: Latency { head: 700, identity: 60, body: 900, safety: 1200, policy: 150, usage: 90, routing: 110 },
        });
        open.outcome(&Outcome {
            request_id,
            now,
            reason: Reason::Allowed,
            decision: Decision::Allow,
            upstream_status: Some(200),
            upstream: "crm",
            settled_microusd: 2000,
            bytes: Bytes { request_in: 1024, request_out: 1024, response_in: 512, response_out: 512 },
            findings: &[],
            evidence: &NO_EVIDENCE,
            upstream_ns: 190_000,
            total_ns: 300_000,
            edits: 0,
        });
    }

    /// The refusal of a token that does not verify.
    fn bad_token(&mut self, worker: &RingWriter, now: Now) {
        let peer = Peer { address: ([198, 51, 100, 7], 40_001).into(), cookie: 12_345, tenant_slot: 0 };
        let refusal = Refusal {
            claimed_kid: "2026-11-key",
            call: Call { route: "/tools/crm", ..Call::default() },
            ..Refusal::new(self.ids.next_id(), now, peer, Layer::Identity, Reason::InvalidToken)
        };
        worker.refusal(&refusal).expect("a refusal of an unverified caller cannot fail");
    }
}

struct Rig {
    _dir: tempfile::TempDir,
    writer: AuditWriter,
    worker: RingWriter,
    load: Load,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let config = AuditConfig {
            dir: dir.path().to_owned(),
            durability: Durability::Batch,
            ring_bytes: 8 << 20,
            segment_bytes: 64 << 20,
            segment_age: Duration::from_secs(86_400),
            min_free_bytes: 0,
            head_interval: Duration::from_secs(60),
        };
        let Opened { writer, rings, .. } = AuditWriter::open(&config, 1, Now::read()).expect("the log opens");
        let worker = rings[0].attach().expect("the ring attaches");
        Self { _dir: dir, writer, worker, load: Load::new() }
    }

    fn fill(&mut self, requests: u64, store: Store) -> Duration {
        let now = Now::read();
        let start = Instant::now();
        for _ in 0..requests {
            store(&mut self.load, &self.worker, black_box(now));
        }
        start.elapsed()
    }

    fn drain(&mut self) -> Duration {
        let now = Now::read();
        let start = Instant::now();
        while black_box(self.writer.drain(now)).more {}
        start.elapsed()
    }
}

/// Stores and drains batches of requests; `timed` picks which of the two counts.
fn measure(criterion: &mut Criterion, name: &str, store: Store, timed: fn(Duration, Duration) -> Duration) {
    let mut group = criterion.benchmark_group("audit");
    group.throughput(Throughput::Elements(1));
    group.bench_function(name, |bencher| {
        let mut rig = Rig::new();
        bencher.iter_custom(|requests| {
            let mut total = Duration::ZERO;
            for done in (0..requests).step_by(BATCH as usize) {
                let stores = rig.fill(BATCH.min(requests - done), store);
                total += timed(stores, rig.drain());
            }
            total
        });
    });
    group.finish();
}

fn audit(criterion: &mut Criterion) {
    measure(criterion, "worker", Load::request, |stores, _| stores);
    measure(criterion, "writer", Load::request, |_, drain| drain);
    measure(criterion, "flood_worker", Load::bad_token, |stores, _| stores);
    measure(criterion, "flood_writer", Load::bad_token, |_, drain| drain);
}

criterion_group!(benches, audit);
criterion_main!(benches);
