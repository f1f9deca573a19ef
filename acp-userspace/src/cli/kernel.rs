//! `acp kernel`: the kernel plane of a running gateway, asked over its admin socket.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::config;
use crate::control::quarantine::TIME_MAX;

mod log;
pub(super) mod socket;

/// Ask a running gateway whom its kernel plane refuses, and what it knows of the sources that clients come from.
///
/// Exit code: 0 when the gateway answered; 1 when it could not be asked, or there was nothing to pardon.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  acp kernel penalties\n  acp kernel sources --class shared --format json\n  \
                        acp kernel pardon 198.51.100.7")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
    /// The gateway's admin socket (`admin.socket`).
    #[arg(long, global = true, value_name = "PATH", default_value = "/run/acp/admin.sock")]
    socket: PathBuf,
    /// How rows are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// The penalties in force: source, step, seconds left.
    ///
    /// STEP is what becomes of a new connection of the source: `refuse` = reset, `silent` = dropped without an answer,
    /// `observe` = served, and counted. OPEN is how many get through in the last quarter of a second of each 2.5.
    Penalties,
    /// The sources that users verified from, the latest first.
    ///
    /// CLASS is `exclusive` when one user was alone there for long enough, `shared` when there were several within a
    /// day, else `unknown`. ALONE and CONNS are how long, and on how many connections, the user seen last was alone.
    /// Users are not named: the gateway remembers keys, not names.
    Sources {
        /// Only sources of this class.
        #[arg(long, value_enum)]
        class: Option<Class>,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        max: usize,
    },
    /// The connections that are open now, as the kernel counts them.
    ///
    /// IN and OUT are bytes on the wire, acknowledged; TENANT is who was verified there, `mixed` when there were several.
    /// COOKIE joins a row to the audit log.
    Connections {
        /// Only connections of this tenant; `-` = of nobody verified.
        #[arg(long)]
        tenant: Option<String>,
        /// Only connections from this address.
        #[arg(long)]
        source: Option<IpAddr>,
        /// The largest first, by this.
        #[arg(long, value_enum, default_value_t = By::Age)]
        sort: By,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        max: usize,
    },
    /// Freeze a tenant, lift that, or, without a tenant, list who is frozen.
    ///
    /// From now on the tenant's requests are refused (`tenant_quarantined`), its connections are reset, and the kernel drops
    /// what still arrives on them, until the deadline. Every step is in the audit log; a restart lifts nothing.
    Quarantine {
        /// The tenant, as its issuer names it.
        #[arg(requires = "how")]
        tenant: Option<String>,
        /// The issuer entry's name, where there are several.
        #[arg(long, requires = "tenant")]
        issuer: Option<String>,
        /// For how long: `10m`, `24h`; 30 d at most. Again for a tenant that is frozen: until then instead.
        #[arg(long = "for", value_name = "TIME", group = "how", value_parser = quarantine_time)]
        time: Option<Duration>,
        /// Lift it.
        #[arg(long, group = "how")]
        lift: bool,
    },
    /// What the programs in the kernel decide, line by line: switched on for a while, and read.
    ///
    /// Each line is of one decision: when, what, whose address. The same of the same address within a moment is one line
    /// with a count. It costs something only while it is on, and ends by itself.
    Log(log::LogArgs),
    /// End the penalty of a source, and forget what it was for.
    Pardon {
        /// An IPv4 address, or any address of an IPv6 /64.
        source: IpAddr,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// One JSON object per line, for machines.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Class {
    /// Too little is known.
    Unknown,
    /// One user's alone.
    Exclusive,
    /// Several users'.
    Shared,
}

/// What connections are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    Age,
    In,
    Out,
    Retransmits,
    Rtt,
}

impl By {
    fn key(self) -> &'static str {
        match self {
            Self::Age => "age_seconds",
            Self::In => "bytes_in",
            Self::Out => "bytes_out",
            Self::Retransmits => "retransmits",
            Self::Rtt => "rtt_us",
        }
    }
}

/// A column: its head, and the key of the rows' objects.
pub(super) type Column = (&'static str, &'static str);

const PENALTIES: &[Column] =
    &[("SOURCE", "source"), ("STEP", "step"), ("SECONDS", "seconds_left"), ("OPEN", "open_max")];
const SOURCES: &[Column] = &[
    ("SOURCE", "source"),
    ("CLASS", "class"),
    ("DECLARED", "declared"),
    ("TENANTS", "several_tenants"),
    ("CONNS", "connections"),
    ("ALONE", "alone_seconds"),
    ("SEEN", "seen_seconds_ago"),
    ("SHARED FOR", "shared_seconds_left"),
];

const QUARANTINES: &[Column] =
    &[("TENANT", "tenant"), ("ISSUER", "issuer"), ("SECONDS", "seconds_left"), ("DROPPED BY", "dropped_by")];

const CONNECTIONS: &[Column] = &[
    ("PEER", "peer"),
    ("TENANT", "tenant"),
    ("AGE", "age_seconds"),
    ("IN", "bytes_in"),
    ("OUT", "bytes_out"),
    ("RETRANS", "retransmits"),
    ("RTT µs", "rtt_us"),
    ("COOKIE", "cookie"),
];

/// Runs the command.
///
/// # Errors
/// The gateway cannot be asked, or does not know what is asked for.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    match &args.command {
        Command::Penalties => print(args, PENALTIES, &rows(args, "/kernel/penalties")?),
        Command::Sources { class, max } => {
            let mut rows = rows(args, &format!("/kernel/sources?max={max}"))?;
            if let Some(class) = class.and_then(|class| class.to_possible_value()) {
                rows.retain(|row| row["class"] == class.get_name());
            }
            print(args, SOURCES, &rows)
        }
        Command::Connections { tenant, source, sort, max } => {
            let rows = rows(args, "/kernel/connections")?;
            print(args, CONNECTIONS, &chosen(rows, tenant.as_deref(), *source, *sort, *max))
        }
        Command::Log(log) => log::run(args, log),
        Command::Pardon { source } => pardon(args, *source),
        Command::Quarantine { tenant: None, .. } => print(args, QUARANTINES, &rows(args, "/kernel/quarantine")?),
        Command::Quarantine { tenant: Some(tenant), issuer, time, .. } => {
            quarantine(args, tenant, issuer.as_deref(), time.unwrap_or_default())
        }
    }
}

/// The connections that were asked for, the largest first.
fn chosen(mut rows: Vec<Value>, tenant: Option<&str>, source: Option<IpAddr>, sort: By, max: usize) -> Vec<Value> {
    let peer = |row: &Value| row["peer"].as_str()?.parse::<std::net::SocketAddr>().ok().map(|peer| peer.ip());
    rows.retain(|row| tenant.is_none_or(|tenant| row["tenant"].as_str().unwrap_or("-") == tenant));
    rows.retain(|row| source.is_none_or(|source| peer(row) == Some(source)));
    rows.sort_by_key(|row| std::cmp::Reverse(row[sort.key()].as_u64()));
    rows.truncate(max);
    rows
}

fn pardon(args: &Args, source: IpAddr) -> anyhow::Result<ExitCode> {
    let answer = socket::ask(&args.socket, "/kernel/pardon", Some(&json!({ "source": source })))?;
    match answer.status {
        204 => Ok(ExitCode::SUCCESS),
        404 => bail!("there is no penalty on {source}"),
        status => bail!("the gateway answered {status}: {}", String::from_utf8_lossy(&answer.body).trim_end()),
    }
}

fn quarantine(args: &Args, tenant: &str, issuer: Option<&str>, time: Duration) -> anyhow::Result<ExitCode> {
    let asked = json!({ "tenant": tenant, "issuer": issuer, "seconds": time.as_secs() });
    let answer = socket::ask(&args.socket, "/kernel/quarantine", Some(&asked))?;
    match answer.status {
        204 => Ok(ExitCode::SUCCESS),
        404 => bail!("{tenant} is not in quarantine"),
        422 => bail!("{}", String::from_utf8_lossy(&answer.body).trim_end()),
        status => bail!("the gateway answered {status}: {}", String::from_utf8_lossy(&answer.body).trim_end()),
    }
}

/// At least a second: zero would lift it.
fn quarantine_time(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    let fits = (Duration::from_secs(1)..=TIME_MAX).contains(&time);
    fits.then_some(time).ok_or_else(|| "between 1s and 30d".to_owned())
}

fn rows(args: &Args, path: &str) -> anyhow::Result<Vec<Value>> {
    let answer = socket::ask(&args.socket, path, None)?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body).context("the gateway's answer cannot be read"),
        404 => bail!("this gateway has no {path}: it is of another version"),
        status => bail!("the gateway answered {status}"),
    }
}

fn print(args: &Args, columns: &[Column], rows: &[Value]) -> anyhow::Result<ExitCode> {
    let text = match args.format {
        Format::Json => rows.iter().map(|row| format!("{row}\n")).collect(),
        Format::Table => table(columns, rows),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever read the output has had enough (`| head`).
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// Rows as wide as their widest cells.
pub(super) fn table(columns: &[Column], rows: &[Value]) -> String {
    let heads: Vec<String> = columns.iter().map(|(head, _)| (*head).to_owned()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|(_, key)| cell(&row[*key])).collect::<Vec<_>>());
    let lines: Vec<Vec<String>> = std::iter::once(heads).chain(cells).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}  ")).collect::<String>();
        text.push_str(padded.trim_end());
        text.push('\n');
    }
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "several" } else { "-" }.to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_below_their_heads() {
        let rows = [json!({"source": "192.0.2.1", "step": "refuse", "seconds_left": 5, "open_max": null})];
        let expected = "SOURCE     STEP    SECONDS  OPEN\n192.0.2.1  refuse  5        -\n";
        assert_eq!(table(PENALTIES, &rows), expected);
        assert_eq!(table(PENALTIES, &[]), "SOURCE  STEP  SECONDS  OPEN\n");
    }

    #[test]
    fn connections_are_chosen_by_tenant_and_source_and_sorted() {
        let row =
            |peer: &str, tenant: Option<&str>, bytes: u64| json!({"peer": peer, "tenant": tenant, "bytes_in": bytes});
        let rows = vec![
            row("192.0.2.1:1", Some("acme"), 5),
            row("192.0.2.2:2", None, 7),
            row("[2001:db8::1]:3", Some("acme"), 9),
        ];
        let peers = |tenant, source: Option<&str>, max| {
            let source = source.map(|source| source.parse().expect("an address"));
            let rows = chosen(rows.clone(), tenant, source, By::In, max);
            rows.iter().map(|row| row["bytes_in"].as_u64().expect("a number")).collect::<Vec<_>>()
        };
        assert_eq!(peers(None, None, 9), [9, 7, 5]);
        assert_eq!(peers(None, None, 1), [9]);
        assert_eq!(peers(Some("acme"), None, 9), [9, 5]);
        assert_eq!(peers(Some("-"), None, 9), [7]);
        assert_eq!(peers(Some("acme"), Some("192.0.2.1"), 9), [5]);
    }

    #[test]
    fn a_gateway_that_is_not_there_is_named_by_its_socket() {
        let error = socket::ask(std::path::Path::new("/nonexistent/admin.sock"), "/status", None).unwrap_err();
        assert!(format!("{error:#}").contains("/nonexistent/admin.sock"));
    }
}
