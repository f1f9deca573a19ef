//! `sim`: the deterministic simulation with as many seeds as one likes, or one seed again.

use anyhow::{Context as _, Result};

use crate::run;

/// The test, and where it says more about itself.
const TEST: &str = "what_the_gateway_decides_charges_and_records_is_what_the_model_says";

/// How much of it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many seeds (default: 100, or one where `--seed` is given).
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Steps of each seed.
    #[arg(long, default_value_t = 3_000)]
    steps: u64,
    /// Simulate the optimised build.
    #[arg(long)]
    release: bool,
}

/// The task.
///
/// # Errors
/// On a breach, with the command that leads to it again.
pub(crate) fn run(args: &Args) -> Result<()> {
    let seeds = args.seeds.unwrap_or(if args.seed.is_some() { 1 } else { 100 });
    let mut cargo = run::cargo();
    cargo.args(["test", "--workspace", "--test", "sim"]);
    if args.release {
        cargo.arg("--release");
    }
    cargo.args(["--", "--exact", TEST, "--nocapture"]);
    cargo.env("ACP_SIM_SEEDS", seeds.to_string()).env("ACP_SIM_STEPS", args.steps.to_string());
    cargo.env("ACP_SIM_SEED", args.seed.unwrap_or(1).to_string());
    let what = format!("{seeds} seeds of {} steps", args.steps);
    run::step(&what, || run::run(&mut cargo)).with_context(|| format!("sim: {what}"))
}
