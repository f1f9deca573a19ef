//! `torture`: the end-to-end tests of the gateway's crash safety and of its hand-over, with as many kills, or hand-overs
//! under load, as one likes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};

use crate::run;

/// The test, and where it says more about itself.
const TEST: &str = "torture::threat_a04_after_kills_at_any_moment_log_ledger_upstream_and_clients_agree";

/// The tests of the hand-over, with the programs and without.
const HAND_OVER_TESTS: &str = "handover::need_b07_hand_overs";

/// How much of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often to kill the gateway.
    #[arg(long, default_value_t = 500)]
    kills: u64,
    /// How often to hand the gateway over instead, under load.
    #[arg(long, conflicts_with_all = ["kills", "seed", "fsync"])]
    hand_overs: Option<u64>,
    /// Decides the moments and the requests (default: another each time).
    #[arg(long)]
    seed: Option<u64>,
    /// With `durability = "fsync"`, where calls wait for the disk.
    #[arg(long)]
    fsync: bool,
    /// Torture the optimised build.
    #[arg(long)]
    release: bool,
}

/// The task.
///
/// # Errors
/// On a breach, with the seed that led to it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let seed = args.seed.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |now| now.as_secs()));
    let mut cargo = run::cargo();
    cargo.args(["test", "--workspace", "--test", "e2e"]);
    if args.release {
        cargo.arg("--release");
    }
    if let Some(count) = args.hand_overs {
        cargo.args(["--", HAND_OVER_TESTS, "--nocapture", "--test-threads=1"]);
        cargo.env("ACP_HAND_OVERS", count.to_string());
        return run::step(&format!("{count} hand-overs under load"), || run::run(&mut cargo));
    }
    cargo.args(["--", "--exact", TEST, "--nocapture"]);
    cargo.env("ACP_TORTURE_KILLS", args.kills.to_string()).env("ACP_TORTURE_SEED", seed.to_string());
    cargo.env("ACP_TORTURE_DURABILITY", if args.fsync { "fsync" } else { "batch" });
    let what = format!("{} kills of seed {seed}", args.kills);
    run::step(&what, || run::run(&mut cargo)).with_context(|| format!("torture --kills {} --seed {seed}", args.kills))
}
