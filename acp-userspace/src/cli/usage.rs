//! `acp usage`: what the ledger says.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use serde_json::json;

use crate::audit::chain::hex;
use crate::clock::Now;
use crate::control::ledger::{LedgerStore, Spend};

/// Ask the ledger of a gateway that is not running; a running one holds its lock.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Print what was spent, over all budgets or of each.
    Spent {
        /// The ledger file.
        #[arg(long, value_name = "FILE", default_value = "/var/lib/acp/ledger.redb")]
        ledger: PathBuf,
        /// Print the number alone.
        #[arg(long)]
        total: bool,
        /// Print a JSON line for each budget and period; `budget` is the key that the audit log's holds name it by.
        #[arg(long, conflicts_with = "total")]
        each: bool,
    },
}

/// Runs the command.
///
/// # Errors
/// The ledger cannot be opened: it is missing, or a gateway has it open.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let Command::Spent { ledger, total, each } = &args.command;
    anyhow::ensure!(ledger.is_file(), "there is no ledger at {}", ledger.display());
    let mut store = LedgerStore::open(ledger, Now::read())
        .with_context(|| format!("cannot open {}; is a gateway running on it?", ledger.display()))?;
    if *each {
        for (budget, spend) in store.standings()? {
            let Spend { period_start, period_end, spent_microusd } = spend;
            let budget = hex(&budget.0);
            println!(
                "{}",
                json!({ "budget": budget, "from": period_start, "until": period_end, "spent_microusd": spent_microusd })
            );
        }
        return Ok(ExitCode::SUCCESS);
    }
    let spent = store.total_spent()?;
    if *total {
        println!("{spent}");
    } else {
        println!("{}.{:06} USD", spent / 1_000_000, spent % 1_000_000);
    }
    Ok(ExitCode::SUCCESS)
}
