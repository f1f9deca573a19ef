//! `acp usage`: what the ledger says.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;

use crate::clock::Now;
use crate::control::ledger::LedgerStore;

/// Ask the ledger of a gateway that is not running; a running one holds its lock.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what was spent over all budgets, in micro-dollars.
    Spent {
        /// The ledger file.
        #[arg(long, value_name = "FILE", default_value = "/var/lib/acp/ledger.redb")]
        ledger: PathBuf,
        /// Print the number alone.
        #[arg(long)]
        total: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// The ledger cannot be opened: it is missing, or a gateway has it open.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Spent { ledger, total } = &args.command;
    anyhow::ensure!(ledger.is_file(), "there is no ledger at {}", ledger.display());
    let mut store = LedgerStore::open(ledger, Now::read())
        .with_context(|| format!("cannot open {}; is a gateway running on it?", ledger.display()))?;
    let spent = store.total_spent()?;
    if *total {
        println!("{spent}");
    } else {
        println!("{}.{:06} USD", spent / 1_000_000, spent % 1_000_000);
    }
    Ok(ExitCode::SUCCESS)
}
