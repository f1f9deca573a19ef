//! What policy and routing cost one request.
//!
//! Measured: a decision remembered (`warm`), one for arguments not seen before (`new arguments`), one for an identity
//! not seen before (`new identity`), each with 10 and 1 000 policies in the set; whether a tool is visible; finding a
//! target and writing the upstream head of a usual request (12 fields). Left out: reading arguments out of a body
//! (they come from a `serde_json` map here), scanning, splicing. The unit is CPU time of the measuring thread, so
//! that a busy machine counts for less.
//!
//! `cargo bench -p acp-userspace --bench policy`

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use acp::config::resolved::{
    ClaimNames, Credentials, Issuer, JwksSource, Mode, PolicyConfig, Protocol, Route, Segment, Tenants, Tool,
    ToolMatch, Upstream,
};
use acp::http::head::{Framing, Header, RequestHead};
use acp::identity::Identity;
use acp::ids::{Key128, RequestId, TenantId, UserId};
use acp::policy::{Ask, DecisionCache, NoArguments, PolicySet, Resource, judge, visible};
use acp::routing::{Outgoing, RouteTable, Target, write_head};
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};

/// CPU time of this thread.
struct ThreadTime;

impl Measurement for ThreadTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a valid, exclusively borrowed timespec, and every thread of Linux has this clock.
        let rc = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
        assert_eq!(rc, 0);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fn issuer() -> Arc<Issuer> {
    Arc::new(Issuer {
        name: "idp".into(),
        issuer: "https://idp.example/".into(),
        audience: vec!["acp".into()],
        jwks: JwksSource::Discovery,
        claims: ClaimNames { tenant: "org_id".into(), scopes: "scope".into(), roles: "roles".into(), custom: vec![] },
        tenants: Tenants::Any,
        allow_private: Vec::new(),
    })
}

fn identity(number: u32) -> Arc<Identity> {
    let user = UserId { issuer: "idp".into(), subject: format!("auth0|{number:016x}").into() };
    let tenant = TenantId { issuer: "idp".into(), tenant: "org_acme_corp".into() };
    Arc::new(Identity {
        issuer: issuer(),
        user_key: user.key(),
        tenant_key: tenant.key(),
        digest: user.key(),
        user,
        tenant,
        scopes: ["tool:crm:read", "tool:jira:write"].map(Arc::from).to_vec(),
        roles: ["analyst", "r7"].map(Arc::from).to_vec(),
        claims: serde_json::Map::new(),
        audience: vec!["acp".into()],
        expires: u64::MAX,
        not_before: None,
        issued_at: None,
        client: None,
        key_id: "k".into(),
        token_hash: Key128([0; 16]),
    })
}

fn routes() -> Vec<Arc<Route>> {
    let tool = |index, name: &str, last: &str| {
        let segments = vec![Segment::Literal(last.to_owned())];
        Arc::new(Tool {
            index,
            name: name.into(),
            matcher: ToolMatch::Http { method: "POST".into(), segments },
            verb: "read".into(),
            price_picousd: 0,
            labels: vec!["patient".into()],
        })
    };
    vec![Arc::new(Route {
        index: 0,
        name: "crm".into(),
        path: "/tools/crm".into(),
        upstream: 0,
        protocol: Protocol::Http,
        scopes: vec!["tool:crm:read".into()],
        audience: Vec::new(),
        tools: vec![tool(0, "crm/contacts", "contacts"), tool(1, "crm/export", "export")],
        body_bytes_max: 1 << 20,
        content_types: Vec::new(),
        content_codings: Vec::new(),
        response_headers: Vec::new(),
        cookies: false,
        half_close: false,
        fails_open: false,
        streaming: false,
    })]
}

fn upstream() -> Arc<Upstream> {
    Arc::new(Upstream {
        name: "crm".into(),
        host: "crm.internal".into(),
        port: 8080,
        base_path: "/api/crm".into(),
        allow_private: Vec::new(),
        allow_loopback: Vec::new(),
        credentials: Credentials::None,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(60),
        idle_connections_max: 64,
        idle_timeout: Duration::from_secs(55),
    })
}

/// `count` policies for roles, and two that read an argument of `crm/export`.
fn policies(count: usize) -> PolicySet {
    let for_roles = (0..count).map(|role| {
        format!(r#"@id("role-{role}") permit(principal in Role::"r{role}", action == Action::"call", resource);"#)
    });
    let with_arguments = r#"
        @id("no-bulk") forbid(principal, action == Action::"call", resource == Tool::"crm/export")
        when { context.arguments has limit && context.arguments.limit > 1000 };
        @id("no-ssn") forbid(principal, action == Action::"call", resource == Tool::"crm/export")
        when { context.findings.us_ssn > 0 };"#;
    let text: String = for_roles.chain([with_arguments.to_owned()]).collect();
    let config = PolicyConfig { sources: vec![("bench.cedar".into(), text)], scope_rule: true, mode: Mode::Enforce };
    PolicySet::compile(&config, &[issuer()], &routes()).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn arguments(limit: u32) -> serde_json::Map<String, serde_json::Value> {
    serde_json::Map::from_iter([("limit".to_owned(), limit.into()), ("query".to_owned(), "all contacts".into())])
}

fn decide(c: &mut Criterion<ThreadTime>) {
    let routes = routes();
    let [plain, with_arguments] = [&routes[0].tools[0], &routes[0].tools[1]];
    let who = identity(1);
    for count in [10, 1_000] {
        let set = policies(count);
        let mut cache = DecisionCache::new();
        let mut group = c.benchmark_group(format!("decide, {count} policies"));
        group.bench_function("warm", |b| {
            let ask = Ask { resource: Resource::Tool(plain), arguments: &NoArguments, source: SOURCE };
            assert_eq!(judge(&who, &[], &[], &ask, &set, &mut cache).denial, None);
            b.iter(|| judge(black_box(&who), &[], &[], &ask, &set, &mut cache));
        });
        group.bench_function("warm, one argument read", |b| {
            let arguments = arguments(10);
            let ask = Ask { resource: Resource::Tool(with_arguments), arguments: &arguments, source: SOURCE };
            assert_eq!(judge(&who, &[], &[], &ask, &set, &mut cache).denial, None);
            b.iter(|| judge(black_box(&who), &[], &[], &ask, &set, &mut cache));
        });
        let mut limit = 0;
        group.bench_function("new arguments", |b| {
            b.iter_batched(
                || {
                    limit += 1;
                    arguments(limit)
                },
                |arguments| {
                    let ask = Ask { resource: Resource::Tool(with_arguments), arguments: &arguments, source: SOURCE };
                    judge(&who, &[], &[], &ask, &set, &mut cache)
                },
                BatchSize::SmallInput,
            );
        });
        let mut number = 1;
        group.bench_function("new identity", |b| {
            b.iter_batched(
                || {
                    number += 1;
                    identity(number)
                },
                |who| {
                    let ask = Ask { resource: Resource::Tool(plain), arguments: &NoArguments, source: SOURCE };
                    judge(&who, &[], &[], &ask, &set, &mut cache)
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function("visible, warm", |b| {
            b.iter(|| visible(black_box(&who), with_arguments, &set, &mut cache));
        });
        group.finish();
    }
}

fn route(c: &mut Criterion<ThreadTime>) {
    let table = RouteTable::compile(&routes(), &[upstream()], 1).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let fields: [(&str, &str); 12] = [
        ("Host", "acp.example.com"),
        ("User-Agent", "python-httpx/0.28.1"),
        ("Accept", "application/json, text/event-stream"),
        ("Accept-Encoding", "gzip, deflate"),
        ("Connection", "keep-alive"),
        ("Authorization", "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"),
        ("Content-Type", "application/json"),
        ("Content-Length", "1024"),
        ("MCP-Protocol-Version", "2025-11-25"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("X-Stainless-Lang", "python"),
        ("Idempotency-Key", "stainless-python-retry-7c8b"),
    ];
    let head = RequestHead {
        method: "POST",
        path: "/tools/crm/contacts",
        query: None,
        host: "acp.example.com",
        http11: true,
        headers: fields.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect(),
        framing: Framing::Length(1024),
        keep_alive: true,
        expect_continue: false,
        len: 0,
    };
    let who = identity(1);
    let outgoing = Outgoing { request_id: RequestId([7; 12]), body: Some(1024), screen_response: true };
    let mut out = Vec::with_capacity(4096);
    let mut group = c.benchmark_group("route");
    group.bench_function("find the target and its tool", |b| {
        b.iter(|| Target::find(&table, black_box(&head)).map(|target| target.tool().is_some()));
    });
    group.bench_function("write the head", |b| {
        let target = Target::find(&table, &head).unwrap_or_else(|error| panic!("{error}"));
        b.iter(|| {
            out.clear();
            write_head(black_box(&who), &target, &head, outgoing, false, &mut out)
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(ThreadTime);
    targets = decide, route
}
criterion_main!(benches);
