//! What one body costs between arriving and policy: the walk, the search, both doors together.
//!
//! Measured warm on one thread: bodies of 64 B, 1 KiB and 8 KiB without findings, as prose (long strings), as records
//! (a member every ten bytes, the walk's hard case) and as a prompt of near misses (the search's); then, at 16 KiB,
//! everything of `inputs`: clean, dense and hostile. Left out: identity.
//! Before measuring, asserts that a warm walk and screening allocate nothing.
//!
//! With `--table`, prints instead what `cargo xtask bench --safety-speed` judges.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use acp::clock::Now;
use acp::config::resolved::{ContentAction, Detector, Protocol, Route, SafetyConfig, SafetyRule};
use acp::ids::{Key128, TenantId};
use acp::protocol::json::{Limits, Walker};
use acp::safety::stream::{StreamKind, StreamScreen, Tools};
use acp::safety::{
    Body, Caller, Content, ContentRefused, ResponseScreened, RouteRules, RuleSet, Scan, Scope, screen_response,
};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use inputs::{Class, Form, INPUTS, STREAMS};

#[path = "safety/inputs.rs"]
mod inputs;
#[path = "safety/table.rs"]
mod table;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged; counting touches a const-initialised thread local, which
// allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: `block` came from `System` with this layout.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static GLOBAL: Counting = Counting;

/// Long strings: a chat message.
fn prose(len: usize) -> String {
    let head = r#"{"model":"m","stream":false,"messages":[{"role":"user","content":""#;
    let sentence = "The customer asked about the renewal of the northern plan and the discount agreed in spring. ";
    let text: String = sentence.chars().cycle().take(len.saturating_sub(head.len() + 4)).collect();
    format!("{head}{text}\"}}]}}")
}

/// A prompt full of near misses of each detector, some escapes, and the members around it: what a scanner looks at twice.
fn near_misses(len: usize) -> String {
    let head = r#"{"query":"open opportunities","limit":25,"fields":["id","company","stage"],"updated_after":"2026-03-01T00:00:00Z","prompt":""#;
    let sentence = r#"Summarise every deal since 2026-03-01. Mention @west, seats @ 12.50 each, order 4417-12, build 10.4.2 and the 88-12 addendum; say \"unknown\" where data is missing. "#;
    let text = sentence.repeat(len.saturating_sub(head.len()).div_ceil(sentence.len()));
    format!(r#"{head}{text}"}}"#)
}

/// Many small members: a list of records.
fn records(len: usize) -> String {
    let record = |i: usize| {
        let (id, plan, score) = (10_000 + i * 37, i % 7, i % 97);
        format!(
            r#"{{"id":{id},"name":"Customer {i}","note":"Asked about plan {plan}","tags":["gold"],"score":1.{score}}}"#
        )
    };
    let mut body = format!("[{}", record(0));
    for i in 1.. {
        let next = record(i);
        if body.len() + next.len() + 2 > len {
            break;
        }
        body.push(',');
        body.push_str(&next);
    }
    body + "]"
}

/// Everything is looked for but what is off unless it is asked for.
fn rules() -> RuleSet {
    let strong: Vec<Detector> = Detector::ALL.into_iter().filter(|one| !Detector::WEAK.contains(one)).collect();
    let rules = vec![SafetyRule::new("bench", &strong, ContentAction::Redact)];
    let route = Route {
        index: 0,
        name: "bench".into(),
        path: "/bench".into(),
        upstream: 0,
        protocol: Protocol::Http,
        scopes: Vec::new(),
        audience: Vec::new(),
        tools: Vec::new(),
        body_bytes_max: 1 << 20,
        content_types: Vec::new(),
        content_codings: Vec::new(),
        response_headers: Vec::new(),
        cookies: false,
        half_close: false,
        fails_open: false,
        streaming: false,
    };
    RuleSet::compile(&SafetyConfig { rules, ..SafetyConfig::default() }, &[Arc::new(route)])
        .expect("the engine compiles")
}

/// Runs `with` as a caller.
fn as_caller<R>(with: impl FnOnce(&Caller<'_>) -> R) -> R {
    let tenant = TenantId { issuer: "bench".into(), tenant: "bench".into() };
    with(&Caller {
        tenant: &tenant,
        tenant_key: Key128([1; 16]),
        user_key: Key128([2; 16]),
        subject: "bench",
        roles: &[],
        tool: "",
        root: "",
        now: Now { wall_ns: 0, mono_ns: 0 },
    })
}

fn screen(content: &Content<'_>, rules: &RouteRules, scan: &mut Scan) -> Result<ResponseScreened, ContentRefused> {
    as_caller(|caller| screen_response(caller, content, rules, &[], scan))
}

fn screened(content: &Content<'_>, rules: &RouteRules, scan: &mut Scan) -> ResponseScreened {
    screen(content, rules, scan).expect("passes")
}

/// A stream in reads of `read` bytes; whether all of it passed.
fn stream(
    kind: StreamKind,
    read: usize,
    bytes: &[u8],
    rules: &RouteRules,
    walker: &mut Walker,
    scan: &mut Scan,
) -> bool {
    const HELD_BYTES_MAX: usize = 1 << 20;
    as_caller(|caller| {
        let mut tools = Tools::new(rules, caller, &[], walker, scan);
        let (mut stream, mut out) = (StreamScreen::new(kind, HELD_BYTES_MAX), Vec::new());
        let pushed = bytes.chunks(read).try_for_each(|read| {
            out.clear();
            stream.push(read, &mut tools, &mut out)
        });
        pushed.and_then(|()| stream.end(&mut tools, &mut out)).is_ok()
    })
}

/// The whole of it: what the pipeline does with a body.
fn walk_and_screen(body: &[u8], walker: &mut Walker, scan: &mut Scan, rules: &RouteRules) {
    let document = walker.walk(body, &Limits::default()).expect("valid JSON");
    let content = Content { body: Body::Json(document), query: None, path: "contacts" };
    let screened = screened(&content, rules, scan);
    assert!(black_box(screened).findings.is_empty());
}

fn safety(criterion: &mut Criterion) {
    let rules = rules();
    let rules = rules.request(Scope { route: 0, tool: None, tenant: "bench" }).expect("the one route");
    let (mut walker, mut scan) = (Walker::new(), Scan::default());
    let mut group = criterion.benchmark_group("safety");
    for (shape, body) in [64, 1 << 10, 8 << 10]
        .into_iter()
        .flat_map(|len| [("prose", prose(len)), ("records", records(len)), ("near misses", near_misses(len))])
    {
        let bytes = body.as_bytes();
        walk_and_screen(bytes, &mut walker, &mut scan, rules);
        let before = ALLOCATIONS.get();
        walk_and_screen(bytes, &mut walker, &mut scan, rules);
        assert_eq!(ALLOCATIONS.get(), before, "a warm pass over {shape} allocates");

        group.throughput(Throughput::Bytes(bytes.len() as u64));
        let id = |stage| BenchmarkId::new(format!("{stage}/{shape}"), bytes.len());
        group.bench_function(id("walk"), |bench| {
            bench.iter(|| black_box(walker.walk(black_box(bytes), &Limits::default()).is_ok()));
        });
        group.bench_function(id("scan"), |bench| {
            bench.iter(|| black_box(screened(&Content::body(Body::Raw(black_box(bytes))), rules, &mut scan)));
        });
        group.bench_function(id("walk+screen"), |bench| {
            bench.iter(|| walk_and_screen(black_box(bytes), &mut walker, &mut scan, rules));
        });
        let (mut copy, mut buffers) = (Vec::new(), simd_json::Buffers::new(bytes.len()));
        group.bench_function(id("simd-json tape"), |bench| {
            bench.iter(|| {
                copy.clear();
                copy.extend_from_slice(black_box(bytes));
                black_box(simd_json::to_tape_with_buffers(&mut copy, &mut buffers).is_ok())
            });
        });
    }
    group.finish();
}

/// Whatever `inputs` has, at one size.
fn all_inputs(criterion: &mut Criterion) {
    const LEN: usize = 16 << 10;
    let rules = rules();
    let rules = rules.request(Scope { route: 0, tool: None, tenant: "bench" }).expect("the one route");
    let (mut walker, mut scan) = (Walker::new(), Scan::default());
    let mut group = criterion.benchmark_group("inputs");
    group.sample_size(10).warm_up_time(Duration::from_millis(50)).measurement_time(Duration::from_millis(200));
    for input in INPUTS.iter().chain(STREAMS) {
        let body = input.of_len(LEN);
        let class = match input.class {
            Class::Clean => "clean",
            Class::Dense => "dense",
            Class::Hostile => "hostile",
        };
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(BenchmarkId::new(class, input.name), |bench| match input.form {
            Form::Events => {
                bench.iter(|| stream(StreamKind::Events, input.read, black_box(&body), rules, &mut walker, &mut scan));
            }
            Form::Stream => {
                bench.iter(|| stream(StreamKind::Text, input.read, black_box(&body), rules, &mut walker, &mut scan));
            }
            Form::Text => {
                bench.iter(|| screen(&Content::body(Body::Raw(black_box(&body))), rules, &mut scan).is_ok());
            }
            Form::Json => bench.iter(|| {
                let document = walker.walk(black_box(&body), &Limits::default()).expect("valid JSON");
                screen(&Content::body(Body::Json(document)), rules, &mut scan).is_ok()
            }),
        });
    }
    group.finish();
}

criterion_group!(benches, safety, all_inputs);

fn main() {
    let mut arguments = std::env::args().skip_while(|argument| argument != "--table").skip(1);
    if std::env::args().any(|argument| argument == "--table") {
        let filter = arguments.next().filter(|argument| argument != "--bench").unwrap_or_default();
        let rules = rules();
        let rules = rules.request(Scope { route: 0, tool: None, tenant: "bench" }).expect("the one route");
        table::print(&filter, rules);
        return;
    }
    benches();
    Criterion::default().configure_from_args().final_summary();
}
