//! `acp dev`: the whole product on loopback, with a throwaway issuer, a sample CRM, two tenants and a user per outcome.

mod mint;
mod outcomes;
mod world;

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::mpsc;

use anyhow::Context;
use owo_colors::OwoColorize;

use crate::config;
use crate::control::audit_writer::Tail;
use crate::control::gateway::{Gateway, Options};
use crate::control::service::Source;
use outcomes::Outcome;
use world::World;

/// Records that may wait to be shown; what is beyond is not shown, only logged.
const SHOWN_MAX: usize = 1024;

/// Run a gateway on loopback that shows every outcome: a curl line for each, with the status it will give, and the audit
/// record of each request as it happens. Ctrl-C ends it.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// Where the gateway listens; port 0 lets the kernel choose.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Print only `STATUS<TAB>COMMAND` lines, one per outcome, once everything is up, and serve until SIGTERM.
    #[arg(long)]
    checks: bool,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a throwaway key and one token per user.
    Mint(mint::Args),
}

/// Runs the command.
///
/// # Errors
/// A port is taken, or something that the gateway needs is in the way.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if let Some(Command::Mint(args)) = &args.command {
        return mint::run(args);
    }
    super::run::log_to_stderr(false, "warn");
    anyhow::ensure!(args.listen.ip().is_loopback(), "--listen: acp dev serves loopback only, {} is not", args.listen);
    let dir = tempfile::Builder::new().prefix("acp-dev-").tempdir().context("cannot make a temporary directory")?;
    let world = Rc::new(World::open()?);
    let listen = if args.checks { SocketAddr::new(args.listen.ip(), 0) } else { args.listen };
    let config = config::parse_dev(&configuration(&world, listen, dir.path()), dir.path())
        .map_err(|mistakes| anyhow::anyhow!("the built-in configuration is wrong:\n{mistakes}"))?;

    let (tail, records) = mpsc::sync_channel(SHOWN_MAX);
    let served = Rc::clone(&world);
    let options = Options {
        source: Source::Fixed,
        relaunch: None,
        take_over: None,
        tail: (!args.checks).then_some(tail),
        unprivileged: Some(Box::new(move || served.serve())),
    };
    let gateway = Gateway::start(config, options)?;
    let base = format!("http://{}", gateway.address);
    let outcomes = outcomes::outcomes(&world, &base, dir.path())?;
    if args.checks {
        print_checks(&outcomes)?;
    } else {
        let colour = std::io::stdout().is_terminal();
        print_welcome(&gateway, &base, &outcomes, colour)?;
        std::thread::Builder::new().name("acp-dev-tail".into()).spawn(move || {
            records.iter().for_each(|record| show(&record, colour));
        })?;
    }
    gateway.wait()?;
    Ok(ExitCode::SUCCESS)
}

/// The demonstration's configuration, as an operator would write it.
fn configuration(world: &World, listen: SocketAddr, dir: &Path) -> String {
    include_str!("dev/acp.toml")
        .replace("{listen}", &listen.to_string())
        .replace("{issuer}", &world.issuer)
        .replace("{audience}", outcomes::AUDIENCE)
        .replace("{backend}", &world.backend.to_string())
        .replace("{dir}", &dir.display().to_string())
        .replace("{requests}", &outcomes::REQUESTS_PER_MINUTE.to_string())
        .replace("{identical}", &outcomes::IDENTICAL_CALLS.to_string())
}

fn print_checks(outcomes: &[Outcome]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    for outcome in outcomes {
        writeln!(out, "{}\t{}", outcome.status, outcome.check())?;
    }
    out.flush()?;
    Ok(())
}

fn print_welcome(gateway: &Gateway, base: &str, outcomes: &[Outcome], colour: bool) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{} on {base}", paint("acp dev", Paint::Title, colour))?;
    writeln!(out, "kernel plane: {}", gateway.reached.tier)?;
    for line in &gateway.reached.why {
        writeln!(out, "  {}", paint(line, Paint::Refused, colour))?;
    }
    writeln!(out, "metrics:      http://{}/metrics\n", gateway.metrics)?;
    writeln!(out, "Paste these into another terminal; the audit record of each request appears below.\n")?;
    for outcome in outcomes {
        let kind = if outcome.status == "200" { Paint::Allowed } else { Paint::Refused };
        writeln!(out, "{} {}", paint(outcome.status, kind, colour), paint(outcome.title, Paint::Title, colour))?;
        writeln!(out, "{}\n", outcome.show())?;
    }
    writeln!(out, "Ctrl-C ends it.\n")?;
    out.flush()?;
    Ok(())
}

/// Prints a record as it happens: a line of its essentials, then the whole of it.
fn show(record: &Tail, colour: bool) {
    let Ok(json) = serde_json::from_slice::<serde_json::Value>(&record.line) else { return };
    let word = |pointer: &str| json.pointer(pointer).and_then(serde_json::Value::as_str).unwrap_or("");
    let subject = record.personal.as_ref().map_or("", |personal| &personal.subject);
    let line = match word("/kind") {
        "event" => format!("event {}", word("/event")),
        "request" | "outcome" => {
            format!("{} {} {subject} {}", word("/decision"), word("/reason"), word("/tool"))
        }
        other => format!("{other} {subject} {}", word("/tool")),
    };
    let kind = match word("/decision") {
        "allow" => Paint::Allowed,
        "" => Paint::Title,
        _ => Paint::Refused,
    };
    let mut out = std::io::stdout().lock();
    // A closed terminal ends the demonstration's output, not the gateway.
    let _ = writeln!(out, "{}\n  {}", paint(&line, kind, colour), json);
}

/// What a text is, for its colour.
#[derive(Clone, Copy)]
enum Paint {
    Title,
    Allowed,
    Refused,
}

fn paint(text: &str, kind: Paint, colour: bool) -> String {
    match kind {
        _ if !colour => text.to_owned(),
        Paint::Title => text.bold().to_string(),
        Paint::Allowed => text.green().to_string(),
        Paint::Refused => text.red().to_string(),
    }
}
