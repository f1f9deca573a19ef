//! `acp policy`: the policies in force as Cedar text, the built-in ones included.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config;
use crate::policy::PolicySet;

/// Print the policies that a configuration puts in force, in order, each with its id and where it stands.
///
/// Exit codes: 0, or 1 when the configuration or a policy is wrong.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, short, value_name = "FILE", default_value = "acp.toml")]
    config: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// None but standard output's own.
#[expect(clippy::print_stdout, reason = "this is what the command is for")]
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let config = match config::load(&args.config) {
        Ok(config) => config,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return Ok(ExitCode::FAILURE);
        }
    };
    let set = match PolicySet::compile(&config.policy, &config.identity.issuers, &config.routes) {
        Ok(set) => set,
        Err(mistakes) => {
            eprintln!("{mistakes}");
            return Ok(ExitCode::FAILURE);
        }
    };
    for policy in set.policies() {
        println!("// {} ({}:{})\n{}\n", policy.id, policy.file, policy.line, policy.text());
    }
    Ok(ExitCode::SUCCESS)
}
