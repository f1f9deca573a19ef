//! The command line: one file per command.

use clap::{Parser, Subcommand};

pub mod check;
pub mod dev;
pub mod run;

/// The Agentic Control Plane gateway: identified, safe, authorised, metered, routed and audited calls between LLM
/// runtimes and what they may touch.
#[derive(Debug, Parser)]
#[command(name = "acp", version, about, max_term_width = 120)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway with a configuration file.
    Run(run::Args),
    /// Run a demonstration on loopback: issuer, sample backend, two tenants, a curl line for each outcome.
    Dev(dev::Args),
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, for the operator; the process exits with 1.
    pub fn run(self) -> anyhow::Result<std::process::ExitCode> {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Dev(args) => dev::run(&args),
        }
    }
}
