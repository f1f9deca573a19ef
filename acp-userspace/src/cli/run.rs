//! `acp run`: the real thing.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use crate::config;
use crate::control::gateway::{Gateway, Options};
use crate::control::relaunch::{self, Relaunch};
use crate::control::service::Source;

/// Run the gateway until SIGTERM or SIGINT; SIGHUP or a changed file reloads, SIGUSR2 starts a process that takes over.
///
/// Exit codes: 0 after a drain or a hand-over, 1 when it cannot start or a file is wrong, 130 when a second signal cut the drain short.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "acp.toml")]
    config: PathBuf,
    /// Take over from the gateway that runs with this configuration, without a failed request; just start if none does.
    #[arg(long)]
    take_over: bool,
    /// How long a hand-over may hold new requests until the calls under way have ended, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5, requires = "take_over")]
    hold_max: u64,
    /// Log as JSON, one object a line.
    #[arg(long)]
    log_json: bool,
}

/// Runs the command.
///
/// # Errors
/// The configuration is wrong, or something that it needs is in the way.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    log_to_stderr(args.log_json, "info");
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let options = Options {
        source: Source::File(args.config.clone()),
        tail: None,
        relaunch: Relaunch::of_this_process(),
        take_over: args.take_over.then_some(Duration::from_secs(args.hold_max)),
        unprivileged: None,
    };
    let gateway = Gateway::start(config, options).context("the gateway cannot start")?;
    tracing::info!(address = %gateway.address, metrics = %gateway.metrics, pid = std::process::id(), "serving");
    relaunch::notify_serving();
    gateway.wait()?;
    tracing::info!("drained");
    Ok(ExitCode::SUCCESS)
}

/// Logs to stderr: coloured on a terminal, plain in a pipe. `RUST_LOG` chooses what.
pub fn log_to_stderr(json: bool, default: &str) {
    use std::io::IsTerminal;
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // A second initialisation in one process (tests) keeps the first.
    let _ = if json { builder.json().try_init() } else { builder.try_init() };
}
