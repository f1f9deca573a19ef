//! `acp check`: is this configuration one that the gateway would run with, and what would it enforce?
//!
//! All mistakes go to stderr, one a line, `file:line:column: key: what to write instead`, and the status is 1.
//! Otherwise stdout gets one OK line and a table of routes, tools and limits, in the order in which they are looked
//! at. Everything that a start compiles is compiled, by the same step. Nothing is bound or fetched; key files are read,
//! and one that holds no keys is a mistake here, although a gateway starts without keys and waits for them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use crate::config::resolved::{JwksSource, Mode, Per, Route, Segment, Tool, ToolMatch};
use crate::config::{self, Config, Subject};
use crate::control::{jwks, publish};

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
            let keys = key_files(&config);
            match publish::compile(config, 1) {
                Ok(settings) if keys.is_empty() => {
                    summary(path, &settings.config, out)?;
                    return Ok(ExitCode::SUCCESS);
                }
                Ok(_) => writeln!(err, "{}", keys.join("\n"))?,
                Err(mistakes) => writeln!(err, "{}", [keys, mistakes.0].concat().join("\n"))?,
            }
        }
        Err(mistakes) => writeln!(err, "{mistakes}")?,
    }
    Ok(ExitCode::FAILURE)
}

/// Key files without keys.
fn key_files(config: &Config) -> Vec<String> {
    let mut mistakes = Vec::new();
    for issuer in &config.identity.issuers {
        if let JwksSource::File(file) = &issuer.jwks
            && let Err(error) = jwks::check_file(file)
        {
            let why = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let message = format!("{}: {error}{why}", file.display());
            mistakes.push(config.places.mistake(Some(Subject::Issuer(&issuer.name)), message).to_string());
        }
    }
    mistakes
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

    /// Checks the example with `from` replaced by `to`, and expects `words` on stderr.
    #[track_caller]
    fn refused(from: &str, to: &str, words: &[&str]) {
        let dir = tempfile::tempdir().unwrap();
        let text = std::fs::read_to_string(EXAMPLE).unwrap();
        assert!(text.contains(from), "{from:?} is in the example");
        let path = dir.path().join("acp.toml");
        std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
        std::fs::write(dir.path().join("p.cedar"), "permit (principal, action, resource);\nforbid (who);\n").unwrap();
        std::fs::write(dir.path().join("keys.json"), "{\"keys\":[]}").unwrap();
        let (code, out, err) = checked(&path);
        assert_eq!((code, out.as_str()), (ExitCode::FAILURE, ""), "{err}");
        for word in words {
            assert!(err.contains(word), "{word:?} in\n{err}");
        }
    }

    #[test]
    fn what_a_start_would_refuse_to_compile_is_a_mistake() {
        refused("# files = [\"policies/*.cedar\"]", "files = [\"p.cedar\"]", &["p.cedar:2"]);
        refused(
            "http://crm.internal:8080",
            "http://[64:ff9b::a01:203]:8080",
            &["acp.toml:", ": upstream[0]: [64:ff9b::a01:203]:8080 is never connected to"],
        );
    }

    #[test]
    fn keys_that_could_never_be_had_are_a_mistake() {
        let place = ": identity.issuer[0].jwks: ";
        for (jwks, words) in [
            ("https://[2002:a01:203::]/keys", "never connected to"),
            ("http://127.0.0.1:4444/keys", "is on loopback"),
            ("https://localhost/keys", "is on loopback"),
            ("https://10.1.2.3/keys", "write allow_private = [\"10.1.2.3\"]"),
            ("none.json", "none.json: the key file cannot be read"),
            ("keys.json", "keys.json: "),
        ] {
            refused("jwks = \"discovery\"", &format!("jwks = \"{jwks}\""), &[place, words]);
        }
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
