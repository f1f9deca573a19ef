//! `cargo xtask bench --overload`: ten times the load that the gateway can carry, for ten minutes.
//!
//! First its capacity is measured in a closed loop. Then everybody comes at once: callers with good tokens far beyond
//! the capacity, users far over their limits, forged tokens, heads and bodies too large, slow heads and bodies,
//! connections that say nothing, clients that never read, and connections that come and go. One tenant behaves: a
//! fixed, modest rate in open loop, on connections that it replaces now and then, so that it has to get in as well.
//!
//! What has to hold: the gateway lives; memory, descriptors and threads do not grow after the first minute, by the
//! line through them ([`growth`]); all are back where they were within [`RECOVERY`] of the end; the tenant that
//! behaves is served 90 % on time; the log verifies; and its records and summaries are the requests that the gateway
//! counted, per reason.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use super::acp::{Gateway, Setting};
use super::host::Host;
use super::keys;
use super::lab::Lab;
use super::measure::{self, Part};
use super::{load, peers};

mod books;
mod client;
mod growth;
pub(super) mod mob;
mod quota;
mod sample;

use growth::{Growth, Tolerance};
use mob::Kind;
use sample::Sample;
pub(super) use sample::metrics;

/// Per user; the crowd as a whole stays within, a few users go far beyond.
const USER_REQUESTS_PER_SECOND: u64 = 100;
/// Users that ignore it.
const GREEDY_USERS: usize = 4;
/// The good tenant's share of the capacity.
const VICTIM_SHARE: f64 = 0.02;
/// It is served by then, or not at all; the others give up then.
const PATIENCE_MS: u64 = 1_000;
/// Connections of one kind of client, at most: descriptors of one process.
const SLOTS_MAX: usize = 18_000;
/// Least share of its requests that are served.
const SERVED_TARGET: f64 = 0.90;
/// From the end of the load until everything is given back: longer than the longest wait of a connection.
const RECOVERY: Duration = Duration::from_secs(30);
/// Before the baseline is taken.
const SETTLE: Duration = Duration::from_secs(3);
/// Memory that may stay: buffers and freed pages that the allocator keeps for the next load, KiB.
const KEPT_KIB: f64 = 32.0 * 1_024.0;
/// Descriptors that may stay: idle upstream connections, one pool of 64 for each worker.
const KEPT_DESCRIPTORS: f64 = 72.0;
const MEMORY: Tolerance = Tolerance { share: 0.01, least: 2_048.0 };
const DESCRIPTORS: Tolerance = Tolerance { share: 0.01, least: 16.0 };

/// Sizes of the overload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// How long, minutes.
    pub(super) minutes: f64,
    /// Demand in multiples of the capacity.
    pub(super) factor: f64,
    /// What the gateway may use of a core, percent.
    pub(super) gateway_share: u32,
}

/// One kind of client: name, kind, its share of the demand or its attempts a second, connections, sources, and which
/// tokens.
struct Role {
    name: &'static str,
    kind: Kind,
    rate: Rate,
    slots: usize,
    sources: u32,
    tokens: Tokens,
}

enum Rate {
    /// Of the whole demand.
    Share(f64),
    /// Of the capacity.
    Capacity(f64),
    /// Attempts per second.
    PerSecond(f64),
}

#[derive(Clone, Copy)]
enum Tokens {
    Victims,
    Greedy,
    Crowd,
}

/// Everybody, the good tenant first. The shares of the demand add up to 1; those who wait come in addition, and so often
/// that all their connections are open within a minute, of which the gateway is asked to hold no more after that.
const ROLES: [Role; 11] = [
    role("good tenant", Kind::Caller, Rate::Capacity(VICTIM_SHARE), 64, 1, Tokens::Victims),
    role("crowd within limits", Kind::Caller, Rate::Share(0.5), 1_500, 8, Tokens::Crowd),
    role("users over limits", Kind::Caller, Rate::Share(0.2), 500, 4, Tokens::Greedy),
    role("forged tokens", Kind::Forged, Rate::Share(0.15), 500, 8, Tokens::Crowd),
    role("heads of 60 KiB", Kind::HugeHead, Rate::Share(0.025), 100, 2, Tokens::Crowd),
    role("bodies of 1 GiB", Kind::HugeBody, Rate::Share(0.025), 100, 2, Tokens::Crowd),
    role("connect, reset", Kind::Churn, Rate::Share(0.1), 1_000, 8, Tokens::Crowd),
    role("say nothing", Kind::Idle, Rate::PerSecond(1_000.0), 7_000, 16, Tokens::Crowd),
    role("slow heads", Kind::SlowHead, Rate::PerSecond(2_000.0), 2_000, 8, Tokens::Crowd),
    role("slow bodies", Kind::SlowBody, Rate::PerSecond(1_000.0), 1_000, 8, Tokens::Crowd),
    role("never read", Kind::Deaf, Rate::PerSecond(200.0), 200, 8, Tokens::Greedy),
];

const fn role(name: &'static str, kind: Kind, rate: Rate, slots: usize, sources: u32, tokens: Tokens) -> Role {
    Role { name, kind, rate, slots, sources, tokens }
}

impl Role {
    /// Attempts a second.
    fn rate(&self, factor: f64, capacity: f64) -> f64 {
        match self.rate {
            Rate::Share(share) => share * factor * capacity,
            Rate::Capacity(share) => share * capacity,
            Rate::PerSecond(rate) => rate,
        }
    }

    /// Connections at once: enough for its whole rate, should every attempt wait until patience ends.
    fn slots(&self, rate: f64) -> usize {
        match self.rate {
            Rate::Share(_) => self.slots.max((rate * PATIENCE_MS as f64 / 1e3 * 1.1) as usize).min(SLOTS_MAX),
            _ => self.slots,
        }
    }
}

/// Files of tokens, by who uses them.
struct TokenFiles {
    directory: PathBuf,
}

impl TokenFiles {
    /// The good tenant has the tokens of the first user's tenant to itself.
    fn write(lab: &Lab) -> Result<Self> {
        let files = Self { directory: lab.fresh_directory("overload")? };
        let tokens = lab.keys.read_tokens()?;
        let tenant = keys::tenant(tokens.first().context("there are no tokens")?)?;
        let (mut victims, mut others) = (Vec::new(), Vec::new());
        for token in &tokens {
            if keys::tenant(token)? == tenant { victims.push(token.as_str()) } else { others.push(token.as_str()) }
        }
        let crowd = others.split_off(GREEDY_USERS.min(others.len()));
        for (which, tokens) in [(Tokens::Victims, victims), (Tokens::Greedy, others), (Tokens::Crowd, crowd)] {
            fs::write(files.of(which), tokens.join("\n"))?;
        }
        Ok(files)
    }

    fn of(&self, which: Tokens) -> PathBuf {
        self.directory.join(match which {
            Tokens::Victims => "victims.txt",
            Tokens::Greedy => "greedy.txt",
            Tokens::Crowd => "crowd.txt",
        })
    }
}

/// What is watched of a sample.
type Column = fn(&Sample) -> u64;

/// What a run showed.
struct Findings {
    capacity: f64,
    baseline: Sample,
    samples: Vec<Sample>,
    recovered: Sample,
    outcomes: Vec<mob::Outcome>,
    counted: books::Counts,
    recorded: books::Counts,
    verified: std::result::Result<String, String>,
}

/// Runs the overload and writes table and JSON.
///
/// # Errors
/// When the gateway dies, or a criterion is missed.
pub(super) fn run(lab: &Lab, sizes: Sizes, network: &str) -> Result<()> {
    let files = TokenFiles::write(lab)?;
    let (backend, address) = peers::start_backend(lab)?;
    let quota = (sizes.gateway_share < 100).then(|| quota::Quota::new(sizes.gateway_share)).transpose();
    let quota = quota.unwrap_or_else(|error| {
        eprintln!("no bound on the gateway's CPU: {error:#}");
        None
    });
    let binary = quota.as_ref().map(|quota| quota.wrap(&lab.acp, &files.directory)).transpose()?;
    let setting = Setting { user_requests_per_second: USER_REQUESTS_PER_SECOND, ..Setting::all_layers() };
    let gateway = Gateway::start(lab, "acp-overload", binary.as_deref().unwrap_or(&lab.acp), address, &setting)?;
    let findings = observe(lab, &gateway, &files, sizes);
    let (audit, stopped) = (gateway.audit(), gateway.stop());
    let mut findings = findings?;
    stopped?;
    backend.stop()?;
    findings.verified = verify(&lab.acp, &audit)?;
    findings.recorded = books::recorded(&audit)?;
    let bound = if quota.is_some() { sizes.gateway_share } else { 100 };
    let load =
        format!("{} × capacity for {} minutes, gateway bound to {bound} % of a core", sizes.factor, sizes.minutes);
    let missed = report(lab, &findings, sizes, &Host::describe_overload(lab, network, load))?;
    // Gigabytes by now.
    fs::remove_dir_all(&audit).context("removing the audit log")?;
    if missed > 0 { bail!("{missed} criteria are missed") } else { Ok(()) }
}

fn observe(lab: &Lab, gateway: &Gateway, files: &TokenFiles, sizes: Sizes) -> Result<Findings> {
    let capacity = capacity(lab, gateway, files)?;
    eprintln!("capacity: {capacity:.0} requests/s; demand: {:.0}/s", capacity * sizes.factor);
    sleep(SETTLE);
    let (pid, audit) = (gateway.server().pid(), gateway.audit());
    let baseline = Sample::take(pid, &audit)?;
    let run = Duration::from_secs_f64(sizes.minutes * 60.0);
    let everybody = ROLES.iter().enumerate().map(|(at, role)| start(lab, gateway, files, sizes, capacity, at, role));
    let everybody: Vec<Part> = everybody.collect::<Result<_>>()?;
    let samples = watch(pid, &audit, run)?;
    let outcomes = everybody.into_iter().map(|part| mob::Outcome::from_json(&part.wait()?));
    let outcomes = outcomes.collect::<Result<Vec<_>>>()?;
    let recovered = recover(pid, &audit, &baseline)?;
    let counted = books::counted(&sample::metrics(gateway.metrics())?);
    let (recorded, verified) = (books::Counts::new(), Ok(String::new()));
    Ok(Findings { capacity, baseline, samples, recovered, outcomes, counted, recorded, verified })
}

/// Answers per second in a closed loop, after everybody's token was seen.
fn capacity(lab: &Lab, gateway: &Gateway, files: &TokenFiles) -> Result<f64> {
    let args = load::Args {
        target: gateway.address(),
        source: Ipv4Addr::LOCALHOST,
        netns: None,
        connections: 64,
        warm_up_ms: 2_000,
        window_ms: 5_000,
        rate: None,
        deadline_us: u64::MAX,
        tokens: files.of(Tokens::Crowd),
        watch: gateway.server().pid(),
        seed: 1,
    };
    let outcome = measure::generate(lab, &args)?;
    if let Some(what) = &outcome.first_error {
        bail!("{} failed requests without any overload: {what}", outcome.errors);
    }
    Ok(outcome.per_second())
}

fn start(
    lab: &Lab,
    gateway: &Gateway,
    files: &TokenFiles,
    sizes: Sizes,
    capacity: f64,
    at: usize,
    role: &Role,
) -> Result<Part> {
    let rate = role.rate(sizes.factor, capacity);
    let args = mob::Args {
        kind: role.kind,
        target: gateway.address(),
        source: Ipv4Addr::new(127, 0, 2 + u8::try_from(at)?, 1),
        sources: role.sources,
        slots: role.slots(rate),
        rate,
        run_ms: measure::milliseconds(sizes.minutes * 60.0),
        patience_ms: PATIENCE_MS,
        answers_max: 50,
        tokens: files.of(role.tokens),
        polite: matches!(role.tokens, Tokens::Victims),
    };
    measure::part(lab, "mob", &args.to_command_line())
}

/// A sample a second.
fn watch(pid: u32, audit: &Path, run: Duration) -> Result<Vec<Sample>> {
    let (start, mut samples) = (Instant::now(), Vec::new());
    loop {
        let next = Duration::from_secs(samples.len() as u64 + 1);
        if next > run {
            return Ok(samples);
        }
        sleep(next.saturating_sub(start.elapsed()));
        let sample = Sample::take(pid, audit)?;
        if samples.len() % 10 == 9 {
            eprintln!(
                "{:>4} s  anonymous {:>7} KiB  resident {:>7} KiB  descriptors {:>6}  threads {:>3}  CPU {:>6.1} s  audit {:>6} MiB",
                next.as_secs(),
                sample.anonymous_kib,
                sample.resident_kib,
                sample.descriptors,
                sample.threads,
                sample.cpu.as_secs_f64(),
                sample.audit_bytes >> 20,
            );
        }
        samples.push(sample);
    }
}

/// Waits until everything is given back, at most [`RECOVERY`].
fn recover(pid: u32, audit: &Path, baseline: &Sample) -> Result<Sample> {
    let start = Instant::now();
    loop {
        sleep(Duration::from_secs(1));
        let sample = Sample::take(pid, audit)?;
        if start.elapsed() >= RECOVERY || is_back(&sample, baseline) {
            return Ok(sample);
        }
    }
}

fn is_back(sample: &Sample, baseline: &Sample) -> bool {
    sample.anonymous_kib as f64 <= baseline.anonymous_kib as f64 + KEPT_KIB
        && sample.descriptors as f64 <= baseline.descriptors as f64 + KEPT_DESCRIPTORS
        && sample.threads <= baseline.threads
}

fn verify(acp: &Path, audit: &Path) -> Result<std::result::Result<String, String>> {
    let output =
        Command::new(acp).args(["audit", "verify", "--dir"]).arg(audit).output().context("acp audit verify")?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Ok(if output.status.success() { Ok(said) } else { Err(said) })
}

impl Findings {
    /// Growth of a column after the first minute, or after the first quarter of a short run.
    fn growth(&self, column: Column) -> Growth {
        let skip = (self.samples.len() / 4).min(60);
        let values: Vec<f64> = self.samples[skip..].iter().map(|sample| column(sample) as f64).collect();
        Growth::of(&values)
    }

    /// Each criterion, and whether it is met.
    fn verdicts(&self) -> Vec<(String, bool)> {
        let mut verdicts = Vec::new();
        let victim = &self.outcomes[0];
        let share = victim.on_time as f64 / victim.due.max(1) as f64;
        verdicts.push((
            format!(
                "good tenant served within {PATIENCE_MS} ms: {:.2} % of {} (target ≥ {:.0} %)",
                100.0 * share,
                victim.due,
                100.0 * SERVED_TARGET
            ),
            share >= SERVED_TARGET,
        ));
        let columns: [(&str, Column, Tolerance); 3] = [
            ("anonymous memory, KiB", |sample| sample.anonymous_kib, MEMORY),
            ("descriptors", |sample| sample.descriptors, DESCRIPTORS),
            ("threads", |sample| sample.threads, Tolerance { share: 0.0, least: 0.5 }),
        ];
        for (name, column, tolerance) in columns {
            let growth = self.growth(column);
            let Growth { level, highest, rise } = growth;
            verdicts.push((
                format!(
                    "{name}: mean {level:.0}, highest {highest:.0}, line rises by {rise:.0} after the first minute"
                ),
                growth.is_none(tolerance),
            ));
        }
        let (before, after) = (&self.baseline, &self.recovered);
        verdicts.push((
            format!(
                "after the load: anonymous {} → {} KiB, descriptors {} → {}, threads {} → {}",
                before.anonymous_kib,
                after.anonymous_kib,
                before.descriptors,
                after.descriptors,
                before.threads,
                after.threads
            ),
            is_back(after, before),
        ));
        let (what, holds) = match &self.verified {
            Ok(said) => (said, true),
            Err(said) => (said, false),
        };
        verdicts.push((format!("acp audit verify: {what}"), holds));
        let (log, counters) = (self.recorded.values().sum::<u64>(), self.counted.values().sum::<u64>());
        verdicts.push((
            format!("log and counters agree for each reason: {log} recorded or summarised, {counters} counted"),
            self.recorded == self.counted,
        ));
        let refused: u64 = self.counted.iter().filter(|(reason, _)| *reason != "allowed").map(|(_, count)| count).sum();
        let seen: u64 = self.outcomes.iter().map(mob::Outcome::refusals).sum();
        verdicts.push((format!("refusals that clients saw: {seen}, recorded: {refused}"), seen <= refused));
        verdicts
    }
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn report(lab: &Lab, findings: &Findings, sizes: Sizes, host: &Host) -> Result<usize> {
    let verdicts = findings.verdicts();
    println!("\n{}", to_text(findings, sizes));
    for (what, met) in &verdicts {
        println!("{}  {what}", if *met { "pass" } else { "MISS" });
    }
    println!("\n{}", host.to_text());
    let outcomes =
        ROLES.iter().zip(&findings.outcomes).map(|(role, outcome)| (role.name.to_owned(), outcome.to_json()));
    let json = json!({
        "capacity_requests_per_second": findings.capacity.round(),
        "minutes": sizes.minutes,
        "factor": sizes.factor,
        "clients": outcomes.collect::<serde_json::Map<_, _>>(),
        "counted": findings.counted,
        "recorded": findings.recorded,
        "verdicts": verdicts.iter().map(|(what, met)| json!({"what": what, "met": met})).collect::<Vec<_>>(),
        "anonymous_kib": findings.samples.iter().map(|sample| sample.anonymous_kib).collect::<Vec<_>>(),
        "descriptors": findings.samples.iter().map(|sample| sample.descriptors).collect::<Vec<_>>(),
        "host": host.to_json(),
    });
    let file = lab.root.join("overload.json");
    fs::write(&file, serde_json::to_string_pretty(&json)? + "\n").with_context(|| format!("{}", file.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(verdicts.iter().filter(|(_, met)| !met).count())
}

/// A line for each kind of client, then what the gateway was asked for and what it did.
fn to_text(findings: &Findings, sizes: Sizes) -> String {
    let mut text = format!(
        "{:<22}{:>11}{:>11}{:>10}{:>10}{:>10}{:>10}{:>9}{:>9}  refusals\n",
        "client", "due", "not sent", "200", "on time", "dropped", "gave up", "p50 ms", "p99 ms"
    );
    for (role, outcome) in ROLES.iter().zip(&findings.outcomes) {
        let refusals = outcome.statuses.iter().filter(|(status, _)| **status != 200);
        let refusals: Vec<String> = refusals.map(|(status, count)| format!("{status}: {count}")).collect();
        let _ = writeln!(
            text,
            "{:<22}{:>11}{:>11}{:>10}{:>10}{:>10}{:>10}{:>9.1}{:>9.1}  {}",
            role.name,
            outcome.due,
            outcome.not_sent,
            outcome.statuses.get(&200).unwrap_or(&0),
            outcome.on_time,
            outcome.dropped,
            outcome.given_up,
            outcome.p50_ns as f64 / 1e6,
            outcome.p99_ns as f64 / 1e6,
            refusals.join(", "),
        );
    }
    let seconds = sizes.minutes * 60.0;
    let due: u64 = findings.outcomes.iter().map(|outcome| outcome.due).sum();
    let sent: u64 = findings.outcomes.iter().map(|outcome| outcome.due - outcome.not_sent).sum();
    let times = |count: u64| count as f64 / seconds / findings.capacity.max(1.0);
    let _ = writeln!(
        text,
        "\ncapacity {:.0}/s   demand {:.1} ×   sent {:.1} ×   decided {:.0}/s",
        findings.capacity,
        times(due),
        times(sent),
        findings.counted.values().sum::<u64>() as f64 / seconds
    );
    text
}
