//! `acp confine`: holds a cgroup to the gateway, and reports what was refused there.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::kernel::{Column, table};
use crate::kernel::confine::pins::{Listed, Pins};
use crate::kernel::confine::{Rules, apply, strong};
use crate::kernel::keep_file_access;

mod outbox;
mod reporter;

/// Confine a cgroup: its processes can connect to the gateway, ask the resolvers that are named, and nothing else.
///
/// The confinement is the kernel's and stays until `--remove`, whatever becomes of this command, which stays only to
/// report what is refused: JSON lines on standard output, and events of the gateway's audit log.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  acp confine --cgroup /sys/fs/cgroup/agents.slice --gateway 127.0.0.1:8080 \
                        --resolver 127.0.0.53\n  acp confine --list\n  acp confine --remove --cgroup \
                        /sys/fs/cgroup/agents.slice")]
pub struct Args {
    /// The cgroup2 directory; those below it are confined with it.
    #[arg(long, value_name = "PATH", required_unless_present_any = ["list", "report"])]
    cgroup: Option<PathBuf>,
    /// Where the gateway listens, as the confined processes see it. May be repeated.
    #[arg(long, value_name = "ADDRESS:PORT", required_unless_present_any = ["list", "report", "remove"])]
    gateway: Vec<SocketAddr>,
    /// A resolver that may be asked for names, at port 53 unless another is given. May be repeated.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = resolver)]
    resolver: Vec<SocketAddr>,
    /// Confine and end; another process reports (`--report`).
    #[arg(long, conflicts_with_all = ["list", "report", "remove"])]
    detach: bool,
    /// Only report, on every confinement there is or will be, or on that of `--cgroup`.
    #[arg(long, conflicts_with_all = ["list", "remove", "gateway", "resolver"])]
    report: bool,
    /// End the confinement.
    #[arg(long, conflicts_with_all = ["list", "gateway", "resolver"])]
    remove: bool,
    /// List the confinements: what each lets through, what it refused, and who in it could get around it.
    #[arg(long)]
    list: bool,
    /// With `--list`: one JSON object per line.
    #[arg(long, requires = "list")]
    json: bool,
    /// Where confinements are kept: a directory on a BPF file system.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/acp-confine")]
    pins: PathBuf,
    /// The admin socket of the gateway whose audit log takes the refusals.
    #[arg(long, value_name = "PATH", default_value = "/run/acp/admin.sock")]
    socket: PathBuf,
    /// Report on standard output only: there is no gateway on this host.
    #[arg(long, conflicts_with = "socket")]
    no_audit: bool,
}

const COLUMNS: &[Column] = &[
    ("CGROUP", "cgroup"),
    ("STATE", "state"),
    ("GATEWAYS", "gateways"),
    ("RESOLVERS", "resolvers"),
    ("REFUSED", "refused"),
    ("OUT", "dropped_out"),
    ("IN", "dropped_in"),
    ("LOST", "lost"),
    ("STRONG", "strong"),
];

/// Runs the command.
///
/// # Errors
/// What is in the way; nothing is confined by half.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    super::run::log_to_stderr(false, "warn");
    let pins = Pins::open(&args.pins)?;
    if args.list {
        return list(args, &pins);
    }
    if args.remove {
        return remove(&pins, args.cgroup.as_deref().context("--remove needs --cgroup")?);
    }
    let name = match (&args.cgroup, args.report) {
        (None, _) => None,
        (Some(cgroup), true) => Some(
            pins.names_of(cgroup)?
                .into_iter()
                .next()
                .with_context(|| format!("{} is not confined", cgroup.display()))?,
        ),
        (Some(cgroup), false) => Some(confine(args, &pins, cgroup)?),
    };
    if args.detach {
        return Ok(ExitCode::SUCCESS);
    }
    let socket = (!args.no_audit).then_some(args.socket.as_path());
    keep_file_access()?;
    reporter::run(&pins, name.as_deref(), socket)
}

fn confine(args: &Args, pins: &Pins, cgroup: &Path) -> anyhow::Result<String> {
    let rules =
        Rules { cgroup: cgroup.to_path_buf(), gateways: args.gateway.clone(), resolvers: args.resolver.clone() };
    let name = apply(&rules, pins)?;
    let (lines, before) = strong::look(cgroup);
    eprintln!("confined: {} to {}", cgroup.display(), spaced(&[&rules.gateways[..], &rules.resolvers[..]].concat()));
    if before > 0 {
        eprintln!(
            "warning: {before} processes were in it before; sockets that they opened in another cgroup are not held"
        );
    }
    lines.iter().for_each(|line| eprintln!("warning: {line}"));
    Ok(name)
}

fn remove(pins: &Pins, cgroup: &Path) -> anyhow::Result<ExitCode> {
    // A cgroup that is gone is found by its path alone.
    let names = match pins.names_of(cgroup) {
        Ok(names) => names,
        Err(_) => {
            let at = |name: &String| pins.look(name).is_ok_and(|listed| listed.rules.cgroup == cgroup);
            pins.names()?.into_iter().filter(at).collect()
        }
    };
    if names.is_empty() {
        bail!("{} is not confined", cgroup.display());
    }
    for name in names {
        pins.remove(&name)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn list(args: &Args, pins: &Pins) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    for name in pins.names()? {
        match pins.look(&name) {
            Ok(listed) => rows.push(row(&listed)),
            Err(error) => eprintln!("warning: {:#}", anyhow::Error::from(error)),
        }
    }
    let text = if args.json { rows.iter().map(|row| format!("{row}\n")).collect() } else { table(COLUMNS, &rows) };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // Whoever read the output has had enough (`| head`).
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn row(listed: &Listed) -> Value {
    let [refused, dropped_out, dropped_in, lost] = listed.counts;
    json!({
        "cgroup": listed.rules.cgroup.display().to_string(),
        "state": if listed.alive { "confined" } else { "gone" },
        "gateways": spaced(&listed.rules.gateways),
        "resolvers": spaced(&listed.rules.resolvers),
        "refused": refused,
        "dropped_out": dropped_out,
        "dropped_in": dropped_in,
        "lost": lost,
        "strong": if listed.alive { strong::look(&listed.rules.cgroup).0.len() } else { 0 },
    })
}

fn spaced(addresses: &[SocketAddr]) -> String {
    if addresses.is_empty() {
        return "-".to_owned();
    }
    addresses.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(" ")
}

/// An address with a port, or without, which means 53.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    const DOMAIN: u16 = 53;
    let with_port = text.parse::<SocketAddr>().ok();
    let without = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DOMAIN));
    with_port.or_else(without).ok_or_else(|| "an address, with a port or without, is needed".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resolver_without_a_port_is_asked_at_53() {
        for (text, expected) in [
            ("127.0.0.53", "127.0.0.53:53"),
            ("127.0.0.1:5353", "127.0.0.1:5353"),
            ("2001:db8::53", "[2001:db8::53]:53"),
            ("[2001:db8::53]:5353", "[2001:db8::53]:5353"),
        ] {
            assert_eq!(resolver(text).map(|at| at.to_string()).as_deref(), Ok(expected));
        }
        assert!(resolver("dns.example").is_err());
    }
}
