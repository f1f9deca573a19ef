//! One row, one round: start, warm up, measure at saturation, measure latency at a fixed rate, stop, check the books.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use super::guard;
use super::lab::Lab;
use super::load::{self, Outcome};
use super::row::Row;
use super::server::{self, Server};

/// Sizes of a measurement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Keep-alive connections.
    pub(super) connections: usize,
    /// The window at saturation, seconds.
    pub(super) seconds: f64,
    /// Requests per second of the latency measurement.
    pub(super) rate: f64,
}

impl Sizes {
    /// Long enough to verify every user's token and fill every cache; not measured.
    fn warm_up_ms(&self) -> u64 {
        milliseconds((self.seconds / 4.0).clamp(0.5, 2.0))
    }
}

/// One round of one row.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    /// Answers per second at saturation.
    pub(super) rps: f64,
    /// CPU time of the process tree per answer at saturation, microseconds.
    pub(super) cpu_us: f64,
    /// The same at the fixed rate, where less is batched.
    pub(super) cpu_us_at_rate: f64,
    /// Median latency at the fixed rate, microseconds.
    pub(super) p50_us: f64,
    /// 99th percentile, likewise.
    pub(super) p99_us: f64,
    /// Resident memory after the load.
    pub(super) rss_kib: u64,
    /// Failed requests.
    pub(super) errors: u64,
}

/// Measures `row` once in front of `backend`.
///
/// # Errors
/// When the row does not start or stop well, or the gateway's books disagree. Failed requests are counted in the sample.
pub(super) fn measure(
    lab: &Lab,
    row: Row,
    backend: (&Server, std::net::SocketAddrV4),
    sizes: Sizes,
    seed: u64,
) -> Result<Sample> {
    let running = row.start(lab, backend.1)?;
    if row.verifies_tokens() {
        let token = lab.keys.read_tokens()?.swap_remove(0);
        guard::refuses_bad_tokens(running.address(), &token).with_context(|| row.name().to_owned())?;
    }
    let watched = running.server(backend.0);
    let saturated = load::Args {
        target: running.address(),
        source: std::net::Ipv4Addr::LOCALHOST,
        netns: None,
        connections: sizes.connections,
        warm_up_ms: sizes.warm_up_ms(),
        window_ms: milliseconds(sizes.seconds),
        rate: None,
        deadline_us: u64::MAX,
        tokens: lab.keys.tokens(),
        watch: watched.pid(),
        seed,
    };
    let paced = load::Args { rate: Some(sizes.rate), warm_up_ms: 300, seed: !seed, ..saturated.clone() };
    let closed = generate(lab, &saturated)?;
    let rss_kib = watched.rss_kib();
    let open = generate(lab, &paced)?;
    let errors = closed.errors + open.errors;
    if let Some(what) = closed.first_error.as_ref().or(open.first_error.as_ref()) {
        eprintln!("  {}: {errors} failed requests, the first: {what}", row.name());
    }
    let finished = running.finish(closed.answered_in_all + open.answered_in_all);
    finished.with_context(|| format!("{} after {errors} failed requests", row.name()))?;
    Ok(Sample {
        rps: closed.per_second(),
        cpu_us: closed.cpu_us_per_request(),
        cpu_us_at_rate: open.cpu_us_per_request(),
        p50_us: open.p50_ns as f64 / 1e3,
        p99_us: open.p99_ns as f64 / 1e3,
        rss_kib,
        errors,
    })
}

/// Runs the load generator to its end in a process of its own.
///
/// # Errors
/// When it could not run its load at all.
pub(super) fn generate(lab: &Lab, args: &load::Args) -> Result<Outcome> {
    let line = part(lab, "load", &args.to_command_line())?.wait()?;
    Outcome::from_json(&line)
}

/// A started hidden part of the bench.
pub(super) struct Part {
    name: &'static str,
    child: std::process::Child,
}

/// Starts a hidden part of the bench on the load's cores.
///
/// # Errors
/// When this binary cannot be executed again.
pub(super) fn part(lab: &Lab, name: &'static str, arguments: &[String]) -> Result<Part> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["bench", name]).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
    let child = server::spawn(&mut command, &lab.cores.load).with_context(|| format!("starting bench {name}"))?;
    Ok(Part { name, child })
}

impl Part {
    /// Waits for its end; what it printed.
    ///
    /// # Errors
    /// When it failed.
    pub(super) fn wait(self) -> Result<String> {
        let Self { name, child } = self;
        let pid = child.id();
        let output = child.wait_with_output()?;
        super::sys::forget_child(pid);
        if !output.status.success() {
            bail!("bench {name}: {}", output.status);
        }
        String::from_utf8(output.stdout).context("text from our own part")
    }
}

/// Whole milliseconds of a number of seconds.
pub(super) fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1e3).round().max(1.0) as u64
}
