//! `acp audit`: ask the log, explain one request, check that nothing was changed.
//!
//! Reads only; a gateway may be writing the log meanwhile. Opens nothing but the audit directory.

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use jiff::{Timestamp, Zoned};
use owo_colors::{OwoColorize, Style};

use crate::audit::when;

mod log;
mod query;
mod show;
mod table;
#[cfg(test)]
mod tests;
mod verify;

/// Where the log is unless `--dir` says otherwise.
const DIR: &str = "/var/lib/acp/audit";

/// Ask the audit log who did what, why a request was denied, and whether the log is whole.
#[derive(Debug, Args)]
pub struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find records: who used what, when, and what was refused.
    ///
    /// Prints the interval it took, the records, and how many there are. Exit code: 0 when the log was read, whether
    /// or not anything matched; 2 when it could not be.
    #[command(after_help = "Example: acp audit query --label patient --since 'last tuesday' --tz Europe/Berlin")]
    Query(query::QueryArgs),
    /// Explain one request: layer, rule, missing scope, limit, cost, digests.
    ///
    /// Exit code: 0 when it was found, 1 when the log does not have it, 2 when the log could not be read.
    Show(show::ShowArgs),
    /// Check that no record was changed, removed or added.
    ///
    /// Checks every byte of every segment: the chain of hashes, the counts, the signed heads; with --head also that
    /// nothing was cut off before that head. Exit code: 0 when the log holds, 1 when it does not, 2 when it could not
    /// be read.
    Verify(verify::VerifyArgs),
}

/// Options that all three share.
#[derive(Debug, Args)]
struct Common {
    /// The audit directory (`audit.dir`).
    #[arg(long, default_value = DIR)]
    dir: PathBuf,
}

/// How times are shown and understood.
#[derive(Debug, Args)]
struct Zone {
    /// Time zone: local, UTC, an IANA name such as Europe/Berlin, or an offset such as +02:00.
    #[arg(long, default_value = "local")]
    tz: String,
}

impl Zone {
    fn at(&self, now: Timestamp) -> anyhow::Result<Zoned> {
        Ok(now.to_zoned(when::zone(&self.tz)?))
    }
}

/// Output format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON object per line, for machines.
    Json,
}

/// Where output goes, and whether it is coloured.
struct Output<'a> {
    out: &'a mut dyn Write,
    /// What is said beside the records when those are for machines.
    aside: &'a mut dyn Write,
    colour: bool,
}

impl Output<'_> {
    /// `text` in the colour of a decision.
    fn paint(&self, text: &str, decision: &str) -> String {
        let style = match decision {
            "allow" => Style::new().green(),
            "deny" => Style::new().red(),
            "error" => Style::new().yellow(),
            _ => Style::new().dimmed(),
        };
        if self.colour { text.style(style).to_string() } else { text.to_owned() }
    }
}

/// Runs the command on standard output: the process' exit code.
#[must_use]
pub fn execute(args: &AuditArgs) -> ExitCode {
    let (stdout, mut stderr) = (io::stdout(), io::stderr());
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = io::BufWriter::new(stdout.lock());
    let mut output = Output { out: &mut out, aside: &mut stderr, colour };
    let result = run(args, Timestamp::now(), &mut output).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("acp audit: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whoever read the output has had enough (`| head`).
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(args: &AuditArgs, now: Timestamp, output: &mut Output<'_>) -> anyhow::Result<u8> {
    match &args.command {
        Command::Query(args) => query::run(args, now, output),
        Command::Show(args) => show::run(args, now, output),
        Command::Verify(args) => verify::run(args, output),
    }
}

fn open(common: &Common) -> anyhow::Result<log::Log> {
    log::Log::open(&common.dir).with_context(|| format!("cannot read the audit log in {}", common.dir.display()))
}
