//! What steering does for workers that share a machine: the same connections on two workers, chosen by the less loaded
//! of two, and by the kernel's own hash.
//!
//! Each run opens its connections anew, as the hash deals them out differently each time.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::super::acp::{Gateway, Setting};
use super::super::load;
use super::super::measure;
use super::super::overload;
use super::super::report::Spread;
use super::round::Field;
use super::verdict::Verdict;

const WORKERS: usize = 2;
/// Few enough to be dealt out unevenly, as a gateway's busy clients are.
const CONNECTIONS: usize = 16;
const RUNS: usize = 8;
const WARM_UP_MS: u64 = 300;
const WINDOW_MS: u64 = 1_000;
/// The fullest worker over the mean, with an even number of connections.
const IMBALANCE_TARGET: f64 = 1.05;

/// Runs of one mode.
#[derive(Default)]
struct Mode {
    imbalance: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    cpu_us: Vec<f64>,
}

/// What came of it.
pub(super) struct Steering {
    with: Mode,
    without: Mode,
    rate: f64,
}

/// Measures it at `rate` requests per second.
pub(super) fn run(field: Field<'_>, rate: f64) -> Result<Steering> {
    let [with, without] = ["required", "off"].map(|kernel| start(field, kernel));
    let (with, without) = (with?, without?);
    let mut steering = Steering { with: Mode::default(), without: Mode::default(), rate };
    for run in 0..RUNS {
        let mut turns = [(&with, &mut steering.with), (&without, &mut steering.without)];
        if run % 2 == 1 {
            turns.reverse();
        }
        for (gateway, mode) in turns {
            one(field, gateway, mode, rate)?;
        }
    }
    with.stop()?;
    without.stop()?;
    Ok(steering)
}

fn start(field: Field<'_>, kernel: &'static str) -> Result<Gateway> {
    let setting = Setting { kernel, workers: Some(WORKERS), ..Setting::all_layers() };
    Gateway::start(field.lab, &format!("acp-steering-{kernel}"), &field.lab.acp, field.backend, &setting)
}

fn one(field: Field<'_>, gateway: &Gateway, mode: &mut Mode, rate: f64) -> Result<()> {
    let load = field.clean_load(gateway, CONNECTIONS, (WARM_UP_MS, WINDOW_MS), rate);
    let part = measure::part(field.lab, "load", &load.to_command_line())?;
    std::thread::sleep(std::time::Duration::from_millis(WARM_UP_MS + WINDOW_MS / 2));
    mode.imbalance.push(imbalance(gateway)?);
    let outcome = load::Outcome::from_json(&part.wait()?)?;
    if outcome.errors > 0 {
        bail!("{} failed requests of clean traffic: {:?}", outcome.errors, outcome.first_error);
    }
    mode.p50_us.push(outcome.p50_ns as f64 / 1e3);
    mode.p99_us.push(outcome.p99_ns as f64 / 1e3);
    mode.cpu_us.push(outcome.cpu_us_per_request());
    Ok(())
}

/// As the gateway says it.
fn imbalance(gateway: &Gateway) -> Result<f64> {
    let text = overload::metrics(gateway.metrics())?;
    let value = text.lines().find_map(|line| line.strip_prefix("acp_worker_imbalance "));
    value.and_then(|value| value.trim().parse().ok()).context("no acp_worker_imbalance in the metrics")
}

impl Mode {
    fn median(values: &[f64]) -> Spread {
        Spread::of(values.iter().copied())
    }

    fn to_text(&self) -> String {
        let (imbalance, p50, p99, cpu) = (
            Self::median(&self.imbalance),
            Self::median(&self.p50_us),
            Self::median(&self.p99_us),
            Self::median(&self.cpu_us),
        );
        format!(
            "imbalance {:.2} ({:.2}–{:.2}), p50 {:.0} µs, p99 {:.0} µs ({:.0}–{:.0}), {:.2} µs CPU per request",
            imbalance.median, imbalance.low, imbalance.high, p50.median, p99.median, p99.low, p99.high, cpu.median
        )
    }

    fn to_json(&self) -> Value {
        json!({"imbalance": self.imbalance, "p50_us": self.p50_us, "p99_us": self.p99_us, "cpu_us": self.cpu_us})
    }
}

impl Steering {
    /// Held to the target.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let (with, without) = (Mode::median(&self.with.imbalance), Mode::median(&self.without.imbalance));
        vec![Verdict {
            of: "steering".to_owned(),
            what: format!("fullest of {WORKERS} workers over the mean, {CONNECTIONS} connections"),
            target: format!("≤ {IMBALANCE_TARGET}"),
            measured: format!("{:.2}; {:.2} without", with.median, without.median),
            met: with.median <= IMBALANCE_TARGET,
        }]
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        format!(
            "steering: {RUNS} runs of each at {:.0} requests/s on {WORKERS} workers, which share their cores with the load\n  \
             with:    {}\n  without: {}",
            self.rate,
            self.with.to_text(),
            self.without.to_text()
        )
    }

    /// For `flood.json`.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "with": self.with.to_json(), "without": self.without.to_json(), "connections": CONNECTIONS,
            "requests_per_second": self.rate.round(),
        })
    }
}
