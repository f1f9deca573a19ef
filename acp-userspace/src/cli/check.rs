//! `acp check`: is this configuration one that the gateway would run with, and what would it enforce?
//!
//! All mistakes go to stderr, one a line, `file:line:column: key: what to write instead`, and the status is 1.
//! Otherwise stdout gets one OK line and a table of routes, tools and limits, in the order in which they are looked
//! at. Nothing is opened, bound or fetched.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::resolved::{Mode, Per, Route, Segment, Tool, ToolMatch};
use crate::config::{self, Config};

/// Arguments of `acp check`.
#[derive(Debug, Clone, clap::Args)]
pub struct CheckArgs {
    /// The configuration file.
    #[arg(long, default_value = "acp.toml", value_name = "FILE")]
    pub config: PathBuf,
    /// Print the reference of all keys instead, as Markdown.
    #[arg(long)]
    pub keys: bool,
}

/// Runs `acp check`.
///
/// # Errors
/// When stdout or stderr cannot be written.
pub fn run(args: &CheckArgs) -> io::Result<ExitCode> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    if args.keys {
        out.write_all(config::reference().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    check(&args.config, &mut out, &mut err)
}

/// The same, with the streams as parameters.
fn check(path: &Path, out: &mut impl Write, err: &mut impl Write) -> io::Result<ExitCode> {
    match config::load(path) {
        Ok(config) => {
            summary(path, &config, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(mistakes) => {
            writeln!(err, "{mistakes}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// What would be enforced.
fn summary(path: &Path, config: &Config, out: &mut impl Write) -> io::Result<()> {
    let digest: String = config.digest[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let tools: usize = config.routes.iter().map(|route| route.tools.len()).sum();
    writeln!(out, "OK: {} (digest {digest}): {} routes, {tools} tools", path.display(), config.routes.len())?;
    for issuer in &config.identity.issuers {
        writeln!(out, "issuer  {}  audience {}", issuer.name, issuer.audience.join(", "))?;
    }
    for rule in &config.safety.rules {
        let types: Vec<_> = rule.detect.iter().map(|detector| detector.name()).collect();
        writeln!(out, "safety  {}  {:?} {}{}", rule.id, rule.action, types.join(", "), observed(rule.mode))?;
    }
    for (name, _) in &config.policy.sources {
        writeln!(out, "policy  {name}{}", observed(config.policy.mode))?;
    }
    limits(config, out)?;
    for route in &config.routes {
        routes(config, route, out)?;
    }
    Ok(())
}

fn limits(config: &Config, out: &mut impl Write) -> io::Result<()> {
    for limit in &config.usage.rate_limits {
        let (per, window) = (per(limit.per), time(limit.window));
        let mode = observed(limit.mode);
        writeln!(
            out,
            "limit   {}  {} requests per {window} and {per}, {} at once{mode}",
            limit.id, limit.requests, limit.burst
        )?;
    }
    for budget in &config.usage.budgets {
        let (per, period) = (per(budget.per), time(budget.period));
        let cap = usd(u128::from(budget.max_spend_microusd) * 1_000_000);
        writeln!(out, "budget  {}  {cap} per {period} and {per}{}", budget.id, observed(budget.mode))?;
    }
    if let Some(guard) = &config.usage.loop_guard {
        let window = time(guard.window);
        writeln!(out, "loop    {} identical calls in {window}{}", guard.identical_calls, observed(guard.mode))?;
    }
    Ok(())
}

fn routes(config: &Config, route: &Route, out: &mut impl Write) -> io::Result<()> {
    let upstream = &config.upstreams[route.upstream];
    let scopes = if route.scopes.is_empty() { "no scope".to_owned() } else { route.scopes.join(" ") };
    writeln!(
        out,
        "route   {}  {:?} -> {} (http://{}:{}{}), needs {scopes}",
        route.path, route.protocol, upstream.name, upstream.host, upstream.port, upstream.base_path
    )?;
    for tool in &route.tools {
        let price = usd(u128::from(tool.price_picousd));
        let labels = tool.labels.iter().map(|label| &**label).collect::<Vec<_>>().join(", ");
        let labels = if labels.is_empty() { labels } else { format!(", labels {labels}") };
        writeln!(out, "  tool  {}  {}, {}, {price}{labels}", tool.name, matcher(tool), tool.verb)?;
    }
    Ok(())
}

fn matcher(tool: &Tool) -> String {
    match &tool.matcher {
        ToolMatch::Http { method, segments } => {
            let path: Vec<&str> = segments
                .iter()
                .map(|segment| match segment {
                    Segment::Literal(text) => text,
                    Segment::Any => "*",
                })
                .collect();
            format!("{method} {}", if path.is_empty() { "(the route)".to_owned() } else { path.join("/") })
        }
        ToolMatch::Mcp { name } => format!("tools/call {name}"),
    }
}

const fn observed(mode: Mode) -> &'static str {
    match mode {
        Mode::Enforce => "",
        Mode::Observe => "  (observed only)",
    }
}

const fn per(per: Per) -> &'static str {
    match per {
        Per::User => "user",
        Per::Tenant => "tenant",
    }
}

/// The largest unit that divides it.
fn time(time: Duration) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];
    let millis = time.as_millis();
    let unit = units.iter().find(|(unit, _)| millis.is_multiple_of(*unit) && millis > 0);
    unit.map_or_else(|| "0s".to_owned(), |(unit, name)| format!("{}{name}", millis / unit))
}

/// Pico-dollars, exactly, without trailing zeros.
fn usd(picousd: u128) -> String {
    let text = format!("{}.{:012}", picousd / 1_000_000_000_000, picousd % 1_000_000_000_000);
    format!("{} USD", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/acp.toml");

    fn checked(path: &Path) -> (ExitCode, String, String) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = check(path, &mut out, &mut err).unwrap();
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    #[test]
    fn the_example_is_ok_and_summarised() {
        // A copy: a checkout may lie in a folder that anybody can write.
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acp.toml");
        std::fs::write(&path, std::fs::read(EXAMPLE).unwrap()).unwrap();
        let (code, out, err) = checked(&path);
        assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
        for line in [
            "limit   user  100 requests per 1m and user, 100 at once\n",
            "budget  user  500 USD per 30d and user\n",
            "loop    500 identical calls in 30s\n",
            "route   /tools/crm  Http -> crm (http://crm.internal:8080), needs tool:crm/contacts:read\n",
            "  tool  crm/contacts  POST contacts, read, 0.002 USD, labels patient\n",
            "  tool  docs/search  tools/call search, read, 0 USD\n",
        ] {
            assert!(out.contains(line), "{line:?} in\n{out}");
        }
    }

    #[test]
    fn every_mistake_is_printed_and_the_status_is_1() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("acp.toml");
        let text = std::fs::read_to_string(EXAMPLE).unwrap();
        let broken = text.replace("\"500 USD\"", "\"500\"").replacen("window = \"1m\"", "window = 60", 1);
        std::fs::write(&path, broken).unwrap();
        let (code, out, err) = checked(&path);
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""));
        assert!(err.contains("usage.budget[0].max_spend: \"500\" has no currency; write \"500 USD\"\n"), "{err}");
        assert!(err.contains("usage.rate_limit[0].window: has no unit; write \"60s\" for seconds\n"), "{err}");
        assert_eq!(err.lines().count(), 2, "{err}");
    }

    #[test]
    fn amounts_and_times_print_as_they_are_written() {
        assert_eq!(usd(2_000_000_000), "0.002 USD");
        assert_eq!(usd(500_000_000_000_000), "500 USD");
        assert_eq!(usd(0), "0 USD");
        assert_eq!(time(Duration::from_secs(90)), "90s");
        assert_eq!(time(Duration::from_secs(86_400 * 30)), "30d");
        assert_eq!(time(Duration::ZERO), "0s");
    }
}
