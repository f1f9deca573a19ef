//! Deterministic simulation: the real pipeline, ledger, rings and log, driven by a seed, against a small model of what
//! must be decided, charged and recorded.
//!
//! Everything that happens (thousands of interleaved requests, bodies that never come, upstreams that fail, reloads,
//! revocations, clock jumps, a log that stalls, kills, restarts) is chosen by one generator, so a seed that fails
//! replays exactly: `cargo xtask sim --seed S --steps N`. A fixed set of seeds runs as an ordinary test. What it leaves to others: sockets and
//! framing (`e2e`), kills of the real process and what the kernel keeps (`e2e::torture`), races between threads.

#![forbid(unsafe_code)]

#[path = "sim/books.rs"]
mod books;
#[path = "sim/invariants.rs"]
mod invariants;
#[path = "sim/lives.rs"]
mod lives;
#[path = "sim/model.rs"]
mod model;
#[path = "sim/rules.rs"]
mod rules;
#[path = "sim/steps.rs"]
mod steps;
#[path = "sim/task.rs"]
mod task;
#[path = "sim/tokens.rs"]
mod tokens;
#[path = "sim/trace.rs"]
mod trace;
#[path = "sim/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use invariants::Checks;

/// Seeds that every test run goes through, and how far.
const SEEDS: u64 = 12;
const STEPS: u64 = 2_000;

/// Between two lines about long work.
const PROGRESS: Duration = Duration::from_secs(5);

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// CPU seconds of the process, user and system (proc_pid_stat(5), at 100 ticks a second).
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

#[test]
fn what_the_gateway_decides_charges_and_records_is_what_the_model_says() {
    let first = number("ACP_SIM_SEED").unwrap_or(1);
    let seeds = number("ACP_SIM_SEEDS").unwrap_or(SEEDS);
    let steps = number("ACP_SIM_STEPS").unwrap_or(STEPS);
    let (began, mut said) = (Instant::now(), Instant::now());
    let (mut checks, mut events) = (Checks::default(), BTreeMap::<String, u64>::new());
    for seed in first..first + seeds {
        let report = steps::run(seed, steps)
            .unwrap_or_else(|breach| panic!("{breach}\nagain: cargo xtask sim --seed {seed} --steps {steps}"));
        checks.add(&report.checks);
        for (event, count) in report.events {
            *events.entry(event).or_default() += count;
        }
        if said.elapsed() >= PROGRESS {
            said = Instant::now();
            eprintln!("sim: {} of {seeds} seeds, {:.0} s", seed + 1 - first, began.elapsed().as_secs_f64());
        }
    }
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu_secs());
    eprintln!("sim: seeds {first}..{} x {steps} steps, {wall:.1} s, the process' CPU {cpu:.1} s", first + seeds);
    let list: Vec<String> = events.iter().map(|(event, count)| format!("{event} {count}")).collect();
    eprintln!("sim: {}", list.join(", "));
    for (invariant, count) in &checks.0 {
        eprintln!("sim: {count:>9}  {}", invariant.text());
    }
}

#[test]
fn a_seed_replays_exactly() {
    let digest = |seed| steps::run(seed, 600).unwrap_or_else(|breach| panic!("{breach}")).digest;
    assert_eq!(digest(77), digest(77));
    assert_ne!(digest(77), digest(78));
}
