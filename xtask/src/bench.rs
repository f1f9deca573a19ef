//! `cargo xtask bench`: what governing a request costs, against peers that do less; with `--flood`, what an offender
//! costs a victim; with `--safety`, what content safety finds, beside a peer that finds; with `--safety-speed`, how fast.
//!
//! Every row does the same job: pass a 1 KiB JSON `POST` with a user's RS256 token to the same nginx backend and return
//! its answer. The headline is CPU time per request of the server's process tree, because requests per second say as
//! much about the load generator as about the server where both share a small machine. docs/benchmarks.md has the
//! method in full.
//!
//! - Rounds are interleaved: each round measures every row once, in rotated order, so that a slow minute of the host
//!   hits all rows; the report shows medians and the spread.
//! - The server under test is alone on its cores; load generator and backend have the others.
//! - Nothing counts as answered but the expected bytes, and the gateway's audit log and ledger must agree with the load
//!   to the request and the micro-dollar.
//! - Everything runs in a network namespace of its own if it may, with `cubic`; everything written goes below
//!   `target/bench`; every child ends with this process.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

mod acp;
mod chart;
mod flood;
mod guard;
mod histogram;
mod host;
mod http;
mod keys;
mod lab;
mod load;
mod measure;
mod offender;
mod overload;
pub(crate) mod peers;
mod proc;
mod report;
mod row;
mod safety;
mod safety_speed;
mod server;
mod sys;

use host::Host;
use keys::Keys;
use lab::{Cores, Lab};
use measure::Sizes;
use report::Series;
use row::Row;

/// Options of `cargo xtask bench`.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rows to measure, separated by commas (default: all but acp-epoll).
    #[arg(long, value_delimiter = ',', value_enum)]
    rows: Vec<Row>,
    /// Rounds; medians are of these.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Length of each measurement, seconds.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Keep-alive connections of the load.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Worker threads of every server, each on a core of its own.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Requests per second of the latency measurement: well below what the slowest row can do.
    #[arg(long, default_value_t = 3_000.0)]
    rate: f64,
    /// The gateway to measure (default: the release build, which is brought up to date).
    #[arg(long)]
    acp: Option<PathBuf>,
    /// Another build of the gateway, measured in the same rounds as `acp-baseline`.
    #[arg(long)]
    baseline: Option<PathBuf>,
    /// Directory with jwks.json, public.pem and tokens.txt to use instead of new ones.
    #[arg(long)]
    keys: Option<PathBuf>,
    /// Measure instead what an offender costs a victim, with the kernel plane on and off.
    #[arg(long, conflicts_with = "rows")]
    flood: bool,
    /// With --flood: parts of it, separated by commas (default: all); what earlier runs found of others is kept.
    #[arg(long, value_delimiter = ',', value_parser = flood::Part::parse)]
    parts: Vec<flood::Part>,
    /// With --flood: the offender's connections per second.
    #[arg(long, default_value_t = 5_000.0)]
    offender_rate: f64,
    /// With --flood: a later answer is not on time, milliseconds after its request was due.
    #[arg(long, default_value_t = 50)]
    deadline_ms: u64,
    /// Measure instead what ten times the load it can carry does to the gateway, and to a tenant that behaves.
    #[arg(long, conflicts_with_all = ["rows", "flood"])]
    overload: bool,
    /// With --overload: how long, minutes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// With --overload: demand, in multiples of what the gateway can carry.
    #[arg(long, default_value_t = 10.0)]
    factor: f64,
    /// With --overload: what the gateway may use of a core, percent; 100 for no bound. With little of it, the load
    /// generator can really ask for ten times what it can do.
    #[arg(long, default_value_t = 20)]
    gateway_share: u32,
    /// Measure instead how much of what the corpora label is found, and how much of what is found is right.
    #[arg(long, conflicts_with_all = ["rows", "flood"])]
    safety: bool,
    #[command(flatten)]
    accuracy: safety::Args,
    /// Measure instead how fast content safety is, and whether that grows with the content.
    #[arg(long, conflicts_with_all = ["rows", "flood", "safety"])]
    safety_speed: bool,
    #[command(flatten)]
    speed: safety_speed::Args,
    /// Succeed although a row's program is not installed.
    #[arg(long)]
    allow_missing: bool,
}

/// The parts that the bench runs in processes of their own.
#[derive(clap::Subcommand, Debug)]
enum Part {
    /// Sends requests and counts answers.
    #[command(hide = true)]
    Load(load::Args),
    /// Opens a connection per attempt, far over the limit.
    #[command(hide = true)]
    Offend(offender::Args),
    /// Sends SYNs as fast as it can.
    #[command(hide = true)]
    Blast(flood::blast::Args),
    /// Is one kind of client of an overload.
    #[command(hide = true)]
    Mob(overload::mob::Args),
}

/// Runs the benchmark, or one part of it.
///
/// # Errors
/// When a row fails or answers with errors, the gateway's books disagree, or a row's program is missing.
pub(crate) fn run(args: Args) -> Result<()> {
    match &args.part {
        Some(Part::Load(part)) => load::run(part),
        Some(Part::Offend(part)) => offender::run(part),
        Some(Part::Blast(part)) => flood::blast::run(part),
        Some(Part::Mob(part)) => overload::mob::run(part),
        None if args.flood => run_flood(&args),
        None if args.overload => run_overload(&args),
        None if args.safety => run_safety(&args),
        None if args.safety_speed => safety_speed::run(&args.speed),
        None => run_rows(&args),
    }
}

fn run_flood(args: &Args) -> Result<()> {
    let (lab, network) = set_up(args, true)?;
    let parts = if args.parts.is_empty() { flood::Part::all() } else { args.parts.clone() };
    let sizes = flood::Sizes {
        parts,
        rounds: args.rounds,
        seconds: args.seconds,
        connections: args.connections,
        offender_rate: args.offender_rate,
        deadline_ms: args.deadline_ms,
    };
    flood::run(&lab, &sizes, &network)
}

fn run_overload(args: &Args) -> Result<()> {
    let (lab, network) = set_up(args, true)?;
    let sizes = overload::Sizes { minutes: args.minutes, factor: args.factor, gateway_share: args.gateway_share };
    overload::run(&lab, sizes, &network)
}

fn run_safety(args: &Args) -> Result<()> {
    let (root, acp) = prepare(args, true)?;
    safety::run(&args.accuracy, &acp, &root)
}

fn run_rows(args: &Args) -> Result<()> {
    let rows = args.chosen_rows();
    let (lab, network) = set_up(args, rows.iter().any(|row| row.is_acp()))?;
    let (rows, missing) = present(&lab, rows);
    if rows.is_empty() {
        bail!("nothing to measure");
    }
    let sizes = Sizes { connections: args.connections, seconds: args.seconds, rate: args.rate };
    let host = Host::describe(&lab, &network, sizes, args.rounds);
    let all = run_rounds(&lab, &rows, sizes, args.rounds)?;
    write_report(&lab, &all, &host)?;
    let failed: Vec<&str> = all.iter().filter(|series| series.errors() > 0).map(|series| series.row.name()).collect();
    if !failed.is_empty() {
        bail!("failed requests in {}", failed.join(", "));
    }
    if missing && !args.allow_missing {
        bail!("rows are missing (--allow-missing accepts that)");
    }
    Ok(())
}

impl Args {
    fn chosen_rows(&self) -> Vec<Row> {
        let mut rows = if self.rows.is_empty() { Row::DEFAULT.to_vec() } else { self.rows.clone() };
        if self.baseline.is_some() && !rows.contains(&Row::AcpBaseline) {
            rows.push(Row::AcpBaseline);
        }
        rows
    }
}

/// Builds, finds, mints and isolates, in this order: a build may need the network, and a namespace only holds what is
/// started after it was entered.
fn set_up(args: &Args, needs_acp: bool) -> Result<(Lab, String)> {
    let (root, acp) = prepare(args, needs_acp || args.keys.is_none())?;
    let keys = match &args.keys {
        Some(directory) => Keys::open(directory)?,
        None if args.flood => flood::mint(&acp, &root)?,
        None => Keys::mint(&acp, &root.join("keys"), keys::TENANTS)?,
    };
    let baseline = args.baseline.as_ref().map(std::fs::canonicalize).transpose().context("--baseline")?;
    let cores = Cores::split(&sys::allowed_cores()?, args.workers)?;
    sys::end_children_on_interrupt();
    sys::raise_open_files();
    let network = lab::isolate_network();
    let peers = peers::Peers::find(&root);
    Ok((Lab { root, workers: args.workers, cores, keys, peers, acp, baseline }, network))
}

/// The directory to write to, and the gateway, built if it is to be and was not given.
fn prepare(args: &Args, needs_acp: bool) -> Result<(PathBuf, PathBuf)> {
    let build_directory = lab::build_directory()?;
    let root = build_directory.join("bench");
    std::fs::create_dir_all(&root).with_context(|| format!("creating {}", root.display()))?;
    if let Some(binary) = &args.acp {
        return Ok((root, std::fs::canonicalize(binary).with_context(|| format!("{}", binary.display()))?));
    }
    let acp = build_directory.join("release/acp");
    if needs_acp {
        acp::build(&acp)?;
    }
    Ok((root, acp))
}

/// The rows that can run, and whether any cannot; each of those is named with the way to change that.
fn present(lab: &Lab, rows: Vec<Row>) -> (Vec<Row>, bool) {
    let (mut present, mut missing) = (Vec::new(), false);
    for row in rows {
        match row.check(lab) {
            Ok(()) => present.push(row),
            Err(reason) => {
                eprintln!("NO ROW {}: {reason}", row.name());
                missing = true;
            }
        }
    }
    if missing {
        eprintln!("`cargo xtask setup --for bench` installs the peers by:");
        peers::install_commands(&lab.root).iter().for_each(|command| eprintln!("  {command}"));
    }
    (present, missing)
}

fn run_rounds(lab: &Lab, rows: &[Row], sizes: Sizes, rounds: usize) -> Result<Vec<Series>> {
    let (server, address) = peers::start_backend(lab)?;
    let mut all: Vec<Series> = rows.iter().map(|&row| Series { row, samples: Vec::new() }).collect();
    for round in 0..rounds {
        for turn in 0..all.len() {
            // Each round starts one row later, so that no row always follows the same one.
            let index = (turn + round) % all.len();
            let series = &mut all[index];
            let sample = measure::measure(lab, series.row, (&server, address), sizes, round as u64 + 1)?;
            eprintln!(
                "round {}/{rounds}  {:<14}{:>8.0} req/s {:>8.2} µs CPU/req   p50 {:>6.0} µs  p99 {:>6.0} µs  {} errors",
                round + 1,
                series.row.name(),
                sample.rps,
                sample.cpu_us,
                sample.p50_us,
                sample.p99_us,
                sample.errors
            );
            series.samples.push(sample);
        }
    }
    server.stop()?;
    Ok(all)
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn write_report(lab: &Lab, all: &[Series], host: &Host) -> Result<()> {
    println!("\n{}", report::to_text(all, host));
    let rounds = all.first().map_or(0, |series| series.samples.len());
    let json = serde_json::to_string_pretty(&report::to_json(all, host))?;
    let subtitle = format!(
        "{} worker(s), 1 KiB POST with an RS256 token; medians of {rounds} rounds, whiskers lowest to highest",
        lab.workers
    );
    for (file, text) in [("latest.json", json + "\n"), ("latest.svg", chart::draw(all, &subtitle))] {
        let file = lab.root.join(file);
        std::fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        eprintln!("wrote {}", file.display());
    }
    Ok(())
}
