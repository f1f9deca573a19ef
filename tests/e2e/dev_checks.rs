//! `acp dev --checks`: every promised outcome comes true, whatever the order, and the demonstration ends cleanly.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::process::{Lines, Process, acp};

/// Outcomes that the demonstration shows.
const OUTCOMES: usize = 12;

/// What one command may take.
const EACH_MAX: Duration = Duration::from_secs(15);

/// A demonstration and the lines it printed.
struct Demonstration {
    process: Process,
    checks: Vec<(String, String)>,
}

impl Demonstration {
    #[track_caller]
    fn start() -> Self {
        let process = Process::start(acp().args(["dev", "--checks"]).env("RUST_LOG", "info"));
        let lines = process.stdout.wait("every check", |lines| (lines.len() >= OUTCOMES).then(|| lines.to_vec()));
        let checks = lines
            .iter()
            .map(|line| line.split_once('\t').unwrap_or_else(|| panic!("no STATUS<TAB>COMMAND line: {line}")))
            .map(|(status, command)| (status.to_owned(), command.to_owned()))
            .collect();
        Self { process, checks }
    }

    /// Every command gives the status beside it.
    #[track_caller]
    fn check(&self) {
        let wrong: Vec<String> = self.checks.iter().filter_map(|(status, command)| wrong(status, command)).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[track_caller]
    fn stop(mut self) {
        self.process.signal("TERM");
        assert_eq!(self.process.ended().code(), Some(0), "{}", self.process.stderr.text());
        assert_eq!(stdout_lines(&self.process.stdout), OUTCOMES, "the checks are all that stdout has");
    }
}

fn stdout_lines(lines: &Lines) -> usize {
    lines.text().lines().count()
}

/// What is wrong with a check, if anything.
fn wrong(status: &str, command: &str) -> Option<String> {
    let start = Instant::now();
    let output = Command::new("sh").args(["-c", command]).stdin(Stdio::null()).output().expect("sh runs");
    let took = start.elapsed();
    let got = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (got != status || took >= EACH_MAX).then(|| format!("{got} in {took:?} instead of {status}: {command}"))
}

/// Fisher-Yates over a linear congruential sequence; the seed is printed, so that a failure can be repeated.
fn shuffle<T>(items: &mut [T], mut seed: u64) {
    eprintln!("shuffled with seed {seed}");
    for at in (1..items.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        items.swap(at, (seed >> 33) as usize % (at + 1));
    }
}

#[test]
fn every_outcome_is_as_promised() {
    let demonstration = Demonstration::start();
    let mut promised: Vec<&str> = demonstration.checks.iter().map(|(status, _)| status.as_str()).collect();
    promised.sort_unstable();
    assert_eq!(promised, ["000", "200", "200", "401", "401", "401", "403", "403", "404", "429", "429", "429"]);
    demonstration.check();
    demonstration.stop();
}

#[test]
fn the_outcomes_do_not_depend_on_their_order() {
    let mut demonstration = Demonstration::start();
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64);
    shuffle(&mut demonstration.checks, seed);
    demonstration.check();
    demonstration.stop();
}

#[test]
fn the_kernel_plane_is_whole_where_it_has_to_be() {
    if std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1") {
        eprintln!("SKIPPED: the tier is whatever the host allows; ACP_REQUIRE_BPF=1 asks for K2");
        return;
    }
    let demonstration = Demonstration::start();
    let tier = demonstration.process.stderr.wait_line("kernel plane: ");
    assert!(tier.contains("K2"), "{tier}");
    demonstration.stop();
}
