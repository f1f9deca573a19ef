//! The command line: one file per command.

use clap::{Parser, Subcommand};

pub mod audit;
pub mod check;
pub mod confine;
pub mod dev;
pub mod kernel;
pub mod policy;
pub mod run;
pub mod scan;
pub mod top;
pub mod usage;

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
    /// Check a configuration file and its policies: every mistake, with key path and line.
    Check(check::CheckArgs),
    /// Ask the audit log, explain a request, verify that nothing was changed.
    Audit(audit::AuditArgs),
    /// Print the policies in force, the built-in ones included.
    Policy(policy::Args),
    Scan(scan::Args),
    /// What was spent, from the ledger of a gateway that is not running.
    Usage(usage::Args),
    Kernel(kernel::Args),
    Top(top::Args),
    Confine(confine::Args),
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
            Command::Check(args) => Ok(check::run(&args)?),
            Command::Audit(args) => Ok(audit::execute(&args)),
            Command::Policy(args) => policy::run(&args),
            Command::Scan(args) => scan::run(&args),
            Command::Usage(args) => usage::run(&args),
            Command::Kernel(args) => kernel::run(&args),
            Command::Top(args) => top::run(&args),
            Command::Confine(args) => confine::run(&args),
            Command::Dev(args) => dev::run(&args),
        }
    }
}
