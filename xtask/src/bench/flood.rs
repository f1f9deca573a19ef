//! `cargo xtask bench --flood`: what an offender costs its victim, with the kernel plane on and off.
//!
//! The offender's address, 127.0.0.2, is declared as one tenant's; the victim comes from 127.0.0.3 as users of the
//! other tenants, at half of what it reaches alone. Per round and mode a fresh gateway sees: the victim alone, the
//! victim with the offender, the offender alone, and nobody.
//!
//! - *On time*: answered correctly within the deadline, counted from when the request was due; what is never answered
//!   is not on time.
//! - *CPU per refused attempt*: the gateway's CPU time with the offender, less what the same victim requests cost
//!   without, per attempt that got nothing. It is a small difference of two large numbers, so the offender alone is
//!   measured too, where nothing but what an idle gateway uses in the same time is subtracted.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::acp::{Gateway, Setting};
use super::host::Host;
use super::keys;
use super::lab::Lab;
use super::measure::{self, milliseconds};
use super::proc::ProcessTree;
use super::report::Spread;
use super::{load, offender, peers};

const OFFENDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const VICTIM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// Per user: three times what a victim's user sends at most, a fraction of the offender's pace.
const USER_REQUESTS_PER_SECOND: u64 = 200;
/// The offender's head start: its limit is broken and its source penalised when the window opens.
const HEAD_START_MS: u64 = 2_000;
/// After a start, until the gateway has nothing left to do.
const SETTLE_MS: u64 = 1_000;
/// Least share of the victim's requests on time.
const ON_TIME_TARGET: f64 = 0.90;
/// Most CPU per refused attempt, microseconds.
const CPU_US_TARGET: f64 = 1.0;

/// Sizes of the flood.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    /// Rounds; medians are of these.
    pub(super) rounds: usize,
    /// Each window, seconds.
    pub(super) seconds: f64,
    /// The victim's connections.
    pub(super) connections: usize,
    /// The offender's connections per second.
    pub(super) offender_rate: f64,
    /// Later is not on time, milliseconds.
    pub(super) deadline_ms: u64,
}

/// One round of one mode.
struct Round {
    quiet: load::Outcome,
    flood: load::Outcome,
    offender: offender::Outcome,
    alone: offender::Outcome,
    /// CPU of the gateway in a window of the same length with nobody there.
    idle_ns: u64,
    window_ms: u64,
}

impl Round {
    /// Extra CPU of the gateway per attempt that got nothing, microseconds; negative if the flood made it cheaper.
    fn cpu_us_per_refused(&self) -> f64 {
        let victim = self.quiet.cpu_us_per_request() * self.flood.answered as f64;
        (self.flood.cpu_ns as f64 / 1e3 - victim) / self.offender.refused_in_all().max(1) as f64
    }

    /// The same with nobody but the offender, less what the gateway uses in the same time with nobody.
    fn cpu_us_per_refused_alone(&self) -> f64 {
        (self.alone.cpu_ns as f64 - self.idle_ns as f64) / 1e3 / self.alone.refused_in_all().max(1) as f64
    }

    /// CPU of an idle gateway, milliseconds per second.
    fn idle_ms_per_second(&self) -> f64 {
        self.idle_ns as f64 / 1e3 / self.window_ms as f64
    }
}

/// All rounds with one `kernel.mode`.
struct Mode {
    kernel: &'static str,
    rounds: Vec<Round>,
}

impl Mode {
    fn spread(&self, value: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(value))
    }

    fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.quiet.errors + round.flood.errors).sum()
    }

    fn on_time(&self) -> f64 {
        self.spread(|round| round.flood.on_time_share()).median
    }

    fn cpu_us_per_refused(&self) -> Spread {
        self.spread(Round::cpu_us_per_refused)
    }

    /// Each target, and whether it is met.
    fn verdicts(&self) -> [(String, bool); 2] {
        let (share, cost) = (self.on_time(), self.cpu_us_per_refused());
        let doubt =
            if cost.high - cost.low > CPU_US_TARGET { "; the rounds differ by more than the target" } else { "" };
        [
            (
                format!("victim on time: {:.1} %, target ≥ {:.0} %", 100.0 * share, 100.0 * ON_TIME_TARGET),
                share >= ON_TIME_TARGET,
            ),
            (
                format!("CPU per refused attempt: {:.2} µs, target ≤ {CPU_US_TARGET} µs{doubt}", cost.median),
                cost.median <= CPU_US_TARGET,
            ),
        ]
    }
}

/// The two sides' tokens.
struct Sides {
    tenant: String,
    offender: PathBuf,
    victims: PathBuf,
}

/// Runs the flood and writes table and JSON.
///
/// # Errors
/// When the gateway fails, or the victim gets a wrong answer. A missed target is reported, not an error.
pub(super) fn run(lab: &Lab, sizes: Sizes, network: &str) -> Result<()> {
    let sides = split_tokens(lab)?;
    let (server, backend) = peers::start_backend(lab)?;
    let mut modes = ["auto", "off"].map(|kernel| Mode { kernel, rounds: Vec::new() });
    let rate = quiet_maximum(lab, backend, &sides, sizes)? / 2.0;
    eprintln!("victim: {rate:.0} requests/s, half of its quiet maximum; offender: {} connects/s", sizes.offender_rate);
    for round in 0..sizes.rounds {
        for turn in 0..modes.len() {
            let index = (turn + round) % modes.len();
            let mode = &mut modes[index];
            let result = one_round(lab, backend, &sides, sizes, mode.kernel, rate)?;
            eprintln!("round {}/{}  kernel {:<5}{}", round + 1, sizes.rounds, mode.kernel, progress(&result));
            mode.rounds.push(result);
        }
    }
    server.stop()?;
    let host = Host::describe_flood(lab, network, sizes);
    write_report(lab, &modes, rate, sizes, &host)?;
    match modes.iter().map(Mode::errors).sum::<u64>() {
        0 => Ok(()),
        errors => bail!("{errors} of the victim's requests failed"),
    }
}

/// The offender is the first user; its whole tenant is kept out of the victim's traffic.
fn split_tokens(lab: &Lab) -> Result<Sides> {
    let tokens = lab.keys.read_tokens()?;
    let first = tokens.first().context("there are no tokens")?;
    let tenant = keys::tenant(first)?;
    let mut victims = Vec::new();
    for token in &tokens {
        if keys::tenant(token)? != tenant {
            victims.push(token.as_str());
        }
    }
    let directory = lab.fresh_directory("flood")?;
    let sides = Sides { tenant, offender: directory.join("offender.txt"), victims: directory.join("victims.txt") };
    fs::write(&sides.offender, first)?;
    fs::write(&sides.victims, victims.join("\n"))?;
    Ok(sides)
}

fn start(lab: &Lab, backend: SocketAddrV4, sides: &Sides, kernel: &'static str) -> Result<Gateway> {
    let setting = Setting {
        user_requests_per_second: USER_REQUESTS_PER_SECOND,
        kernel,
        declared: Some((format!("{OFFENDER}/32"), sides.tenant.clone())),
        epoll: false,
    };
    Gateway::start(lab, &format!("acp-flood-{kernel}"), &lab.acp, backend, &setting)
}

fn quiet_maximum(lab: &Lab, backend: SocketAddrV4, sides: &Sides, sizes: Sizes) -> Result<f64> {
    let gateway = start(lab, backend, sides, "auto")?;
    let outcome = measure::generate(lab, &victim(&gateway, sides, sizes, None, 1_000))?;
    if outcome.errors > 0 {
        bail!("{} failed requests without any offender: {:?}", outcome.errors, outcome.first_error);
    }
    gateway.stop()?;
    Ok(outcome.per_second())
}

fn one_round(
    lab: &Lab,
    backend: SocketAddrV4,
    sides: &Sides,
    sizes: Sizes,
    kernel: &'static str,
    rate: f64,
) -> Result<Round> {
    let gateway = start(lab, backend, sides, kernel)?;
    let window_ms = milliseconds(sizes.seconds);
    let idle_ns = idle(&gateway, window_ms)?;
    let quiet = measure::generate(lab, &victim(&gateway, sides, sizes, Some(rate), HEAD_START_MS))?;
    let attack = offender(&gateway, sides, sizes);
    let offence = measure::part(lab, "offend", &attack.to_command_line())?;
    let flood = measure::generate(lab, &victim(&gateway, sides, sizes, Some(rate), HEAD_START_MS))?;
    let offender = offender::Outcome::from_json(&offence.wait()?)?;
    let alone = measure::part(lab, "offend", &attack.to_command_line())?.wait()?;
    let alone = offender::Outcome::from_json(&alone)?;
    for what in [&quiet, &flood].into_iter().filter_map(|outcome| outcome.first_error.as_ref()) {
        eprintln!("  a request of the victim failed: {what}");
    }
    gateway.stop()?;
    Ok(Round { quiet, flood, offender, alone, idle_ns, window_ms })
}

/// CPU that a gateway uses with nobody there, nanoseconds in a window of this length.
fn idle(gateway: &Gateway, window_ms: u64) -> Result<u64> {
    thread::sleep(Duration::from_millis(SETTLE_MS));
    let tree = ProcessTree::below(gateway.server().pid());
    let before = tree.cpu()?;
    thread::sleep(Duration::from_millis(window_ms));
    Ok(u64::try_from((tree.cpu()? - before).as_nanos()).unwrap_or(u64::MAX))
}

fn victim(gateway: &Gateway, sides: &Sides, sizes: Sizes, rate: Option<f64>, warm_up_ms: u64) -> load::Args {
    load::Args {
        target: gateway.address(),
        source: VICTIM,
        connections: sizes.connections,
        warm_up_ms,
        window_ms: milliseconds(sizes.seconds),
        rate,
        deadline_us: sizes.deadline_ms * 1_000,
        tokens: sides.victims.clone(),
        watch: gateway.server().pid(),
        seed: 1,
    }
}

fn offender(gateway: &Gateway, sides: &Sides, sizes: Sizes) -> offender::Args {
    offender::Args {
        target: gateway.address(),
        source: OFFENDER,
        rate: sizes.offender_rate,
        warm_up_ms: HEAD_START_MS,
        window_ms: milliseconds(sizes.seconds),
        tokens: sides.offender.clone(),
        watch: gateway.server().pid(),
    }
}

fn progress(round: &Round) -> String {
    format!(
        "victim {:.1} % on time (quiet {:.1} %)   {} of {} attempts refused, {} before accept   {:.2} µs CPU each ({:.2} alone)",
        100.0 * round.flood.on_time_share(),
        100.0 * round.quiet.on_time_share(),
        round.offender.refused_in_all(),
        round.offender.made(),
        round.offender.refused,
        round.cpu_us_per_refused(),
        round.cpu_us_per_refused_alone(),
    )
}

#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
fn write_report(lab: &Lab, modes: &[Mode], rate: f64, sizes: Sizes, host: &Host) -> Result<()> {
    println!("\n{}\n{}", to_text(modes), host.to_text());
    let json = json!({
        "modes": modes.iter().map(to_json).collect::<Vec<_>>(),
        "victim_requests_per_second": rate.round(),
        "offender_connects_per_second": sizes.offender_rate,
        "deadline_ms": sizes.deadline_ms,
        "targets": {"on_time_share": ON_TIME_TARGET, "cpu_us_per_refused_attempt": CPU_US_TARGET},
        "host": host.to_json(),
    });
    let file = lab.root.join("flood.json");
    fs::write(&file, serde_json::to_string_pretty(&json)? + "\n").with_context(|| format!("{}", file.display()))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}

/// What a mode's line of the table and its JSON object hold, in this order.
type Column = (&'static str, &'static str, fn(&Round) -> f64);
const COLUMNS: [Column; 13] = [
    ("quiet on time %", "quiet_on_time_percent", |round| 100.0 * round.quiet.on_time_share()),
    ("flood on time %", "flood_on_time_percent", |round| 100.0 * round.flood.on_time_share()),
    ("quiet p50 µs", "quiet_p50_us", |round| round.quiet.p50_ns as f64 / 1e3),
    ("flood p50 µs", "flood_p50_us", |round| round.flood.p50_ns as f64 / 1e3),
    ("quiet p99 µs", "quiet_p99_us", |round| round.quiet.p99_ns as f64 / 1e3),
    ("flood p99 µs", "flood_p99_us", |round| round.flood.p99_ns as f64 / 1e3),
    ("attempts made", "attempts", |round| round.offender.made() as f64),
    ("refused before accept", "refused_before_accept", |round| round.offender.refused as f64),
    ("answered 429", "answered_429", |round| round.offender.limited as f64),
    ("served", "served", |round| round.offender.served as f64),
    ("CPU µs per refused", "cpu_us_per_refused_attempt", Round::cpu_us_per_refused),
    ("the same, no victim", "cpu_us_per_refused_attempt_alone", Round::cpu_us_per_refused_alone),
    ("idle CPU, ms per s", "idle_cpu_ms_per_second", Round::idle_ms_per_second),
];

fn to_json(mode: &Mode) -> Value {
    let mut object: serde_json::Map<String, Value> = COLUMNS
        .iter()
        .map(|(_, name, value)| ((*name).to_owned(), json!((mode.spread(value).median * 1e3).round() / 1e3)))
        .collect();
    object.insert("kernel".to_owned(), json!(mode.kernel));
    object.insert("errors".to_owned(), json!(mode.errors()));
    let offender: Vec<Value> = mode.rounds.iter().map(|round| round.offender.to_json()).collect();
    object.insert("offender_rounds".to_owned(), json!(offender));
    Value::Object(object)
}

/// One line a figure, one column a mode: medians with the spread of the rounds.
fn to_text(modes: &[Mode]) -> String {
    let mut text = format!("{:<24}", "");
    for mode in modes {
        let _ = write!(text, "{:>32}", format!("kernel {}", mode.kernel));
    }
    for (title, _, value) in COLUMNS {
        let _ = write!(text, "\n{title:<24}");
        for mode in modes {
            let Spread { median, low, high } = mode.spread(value);
            let _ = write!(text, "{:>32}", format!("{median:.2}  ({low:.2}–{high:.2})"));
        }
    }
    text.push_str("\n\n");
    for mode in modes.iter().filter(|mode| mode.kernel != "off") {
        for (what, met) in mode.verdicts() {
            let _ = writeln!(text, "{}  kernel {}: {what}", if met { "pass" } else { "MISS" }, mode.kernel);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A victim of 10 000 requests at 16 µs, and an offender of 5 000 attempts that cost `extra_us` each.
    fn round(on_time: u64, extra_us: u64) -> Round {
        let quiet = load::Outcome {
            answered: 10_000,
            due: 10_000,
            on_time: 10_000,
            cpu_ns: 160_000_000,
            window_ns: 1_000_000_000,
            ..Default::default()
        };
        let flood =
            load::Outcome { on_time, answered: 5_000, cpu_ns: 80_000_000 + extra_us * 5_000_000, ..quiet.clone() };
        let offender =
            offender::Outcome { refused: 4_990, limited: 10, cpu_ns: extra_us * 5_000_000, ..Default::default() };
        // 4 ms a second go to nobody.
        let alone = offender::Outcome { cpu_ns: offender.cpu_ns + 4_000_000, ..offender };
        Round { quiet, flood, offender, alone, idle_ns: 4_000_000, window_ms: 1_000 }
    }

    #[test]
    fn cpu_per_refused_attempt_leaves_out_what_the_victim_costs() {
        // Half of the victim's requests were answered in the flood, so half of its quiet cost is subtracted.
        assert_eq!(round(5_000, 3).cpu_us_per_refused(), 3.0);
        assert_eq!(round(5_000, 3).cpu_us_per_refused_alone(), 3.0);
        assert_eq!(round(5_000, 3).idle_ms_per_second(), 4.0);
    }

    #[track_caller]
    fn check(on_time: u64, extra_us: u64, verdicts: [bool; 2]) {
        let mode = Mode { kernel: "auto", rounds: vec![round(on_time, extra_us)] };
        assert_eq!(mode.verdicts().map(|(_, met)| met), verdicts);
        let text = to_text(&[mode]);
        assert_eq!(text.matches("MISS").count(), verdicts.iter().filter(|met| !**met).count(), "{text}");
    }

    #[test]
    fn each_target_is_judged_and_a_miss_is_said() {
        check(9_000, 1, [true, true]);
        check(8_999, 0, [false, true]);
        check(10_000, 2, [true, false]);
    }

    #[test]
    fn says_when_the_rounds_differ_by_more_than_the_target() {
        let mode = Mode { kernel: "auto", rounds: vec![round(10_000, 0), round(10_000, 2), round(10_000, 1)] };
        assert!(to_text(&[mode]).contains("1.00 µs, target ≤ 1 µs; the rounds differ"));
    }

    #[test]
    fn json_names_every_figure_of_the_table() {
        let json = to_json(&Mode { kernel: "off", rounds: vec![round(9_500, 27), round(9_400, 29)] });
        assert_eq!(json["kernel"], "off");
        assert_eq!(json["cpu_us_per_refused_attempt"], 28.0);
        assert_eq!(json["flood_on_time_percent"], 94.5);
        assert!(COLUMNS.iter().all(|(_, name, _)| json[name].is_number()));
    }
}
