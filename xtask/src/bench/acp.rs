//! The gateway under test: built, configured with all six layers on, started, and held to its books afterwards.
//!
//! No layer can be off without the run failing: every answered request must be in the audit log with its outcome, and
//! the ledger must have booked the price of each. Both are checked after an orderly stop, each round.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::keys::{AUDIENCE, ISSUER, SCOPE};
use super::lab::Lab;
use super::server::{Server, free_address, free_port};

/// Price of one call, micro-dollars.
const PRICE_MICROUSD: u64 = 2_000;
/// Budgets that book each call: one per user, one per tenant.
const BUDGETS: u64 = 2;

/// What differs between the runs.
pub(super) struct Setting {
    /// Requests per second and user, and what a user may send at once.
    pub(super) user_requests_per_second: u64,
    /// The same of a tenant.
    pub(super) tenant_requests_per_second: u64,
    /// `kernel.mode`.
    pub(super) kernel: &'static str,
    /// What else there is to say of the kernel plane, in TOML.
    pub(super) kernel_keys: String,
    /// Whether to stay on the epoll driver.
    pub(super) epoll: bool,
    /// Where to listen.
    pub(super) address: Ipv4Addr,
    /// Workers, if not as many as every server has; more than those share all cores.
    pub(super) workers: Option<usize>,
}

impl Setting {
    /// The row `acp`: every layer on, limits that are counted but never reached.
    pub(super) fn all_layers() -> Self {
        Self {
            user_requests_per_second: 1_000_000,
            tenant_requests_per_second: 1_000_000,
            kernel: "auto",
            kernel_keys: String::new(),
            epoll: false,
            address: Ipv4Addr::LOCALHOST,
            workers: None,
        }
    }
}

/// Builds the release binary and says so, as it takes a while.
///
/// # Errors
/// When it does not compile.
pub(super) fn build(binary: &Path) -> Result<()> {
    eprintln!("building {} (cargo build --release) …", binary.display());
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--package", "acp-userspace", "--bin", "acp"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status()
        .context("running cargo")?;
    if !status.success() || !binary.is_file() {
        bail!("the gateway does not build ({status})");
    }
    Ok(())
}

/// A running gateway.
pub(super) struct Gateway {
    server: Server,
    address: SocketAddrV4,
    metrics: SocketAddrV4,
    binary: PathBuf,
    directory: PathBuf,
}

impl Gateway {
    /// Writes its configuration to a directory of its own, starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it refuses its configuration or does not become ready.
    pub(super) fn start(
        lab: &Lab,
        name: &str,
        binary: &Path,
        backend: SocketAddrV4,
        setting: &Setting,
    ) -> Result<Self> {
        let directory = lab.fresh_directory(name)?;
        let (address, metrics) = (free_port(setting.address)?, free_address()?);
        fs::create_dir(directory.join("audit"))?;
        fs::write(directory.join("bench.cedar"), POLICY)?;
        let file = directory.join("acp.toml");
        fs::write(&file, config(lab, &directory, address, metrics, backend, setting))?;
        let mut command = Command::new(binary);
        command.arg("run").arg("--config").arg(&file).current_dir(&directory);
        let cores = match setting.workers {
            Some(workers) if workers > lab.cores.server.len() => lab.cores.all(),
            _ => lab.cores.server.clone(),
        };
        let mut server = Server::start(name, &mut command, &cores, &directory)?;
        server.wait_ready(metrics, "/readyz")?;
        Ok(Self { server, address, metrics, binary: binary.to_owned(), directory })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddrV4 {
        self.address
    }

    /// Where its metrics are.
    pub(super) fn metrics(&self) -> SocketAddrV4 {
        self.metrics
    }

    /// What it has logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn log(&self) -> Result<String> {
        fs::read_to_string(self.directory.join("server.log")).context("the gateway's log")
    }

    /// Where its audit log is.
    pub(super) fn audit(&self) -> PathBuf {
        self.directory.join("audit")
    }

    /// Its process.
    pub(super) fn server(&self) -> &Server {
        &self.server
    }

    /// Stops it without looking at its books.
    ///
    /// # Errors
    /// When it does not end well.
    pub(super) fn stop(self) -> Result<()> {
        self.server.stop()
    }

    /// Stops it in order and compares its books with the number of requests that were answered.
    ///
    /// # Errors
    /// When a record is missing or one too many, or the ledger is off by a micro-dollar.
    pub(super) fn stop_and_check(self, answered: u64) -> Result<()> {
        let Self { server, binary, directory, .. } = self;
        server.stop()?;
        let records = audited_calls(&binary, &directory.join("audit"))?;
        if records != answered {
            bail!("{answered} requests were answered, but {records} are in the audit log");
        }
        let (booked, due) =
            (spent_microusd(&binary, &directory.join("ledger.redb"))?, answered * PRICE_MICROUSD * BUDGETS);
        if booked != due {
            bail!("{answered} calls cost {due} micro-dollars, but the ledger says {booked}");
        }
        // Hundreds of megabytes by now.
        fs::remove_dir_all(directory.join("audit")).context("removing the audit log")
    }
}

/// Calls in the log that were allowed and whose outcome is known.
fn audited_calls(binary: &Path, audit: &Path) -> Result<u64> {
    let mut command = Command::new(binary);
    command.args(["audit", "query", "--format", "json", "--dir"]).arg(audit);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().context("running acp audit query")?;
    let mut calls = 0;
    for line in BufReader::new(child.stdout.take().context("a piped stdout")?).lines() {
        calls += u64::from(is_completed_call(&line?));
    }
    let status = child.wait()?;
    if !status.success() {
        bail!("{command:?}: {status}");
    }
    Ok(calls)
}

/// Whether a line of `acp audit query --format json` says that a request went upstream and came back: intent and
/// outcome as one `request`, or the `outcome` alone where its intent has a line of its own. Each call has one such line.
fn is_completed_call(line: &str) -> bool {
    let Ok(record) = serde_json::from_str::<Value>(line) else { return false };
    (record["kind"] == "request" || record["kind"] == "outcome") && record["upstream_status"] == 200
}

fn spent_microusd(binary: &Path, ledger: &Path) -> Result<u64> {
    let mut command = Command::new(binary);
    command.args(["usage", "spent", "--total", "--ledger"]).arg(ledger);
    let output = command.output().context("running acp usage spent")?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim().parse().with_context(|| format!("the total of the ledger: {text:?}"))
}

/// Beside the built-in rule that maps scopes to permits: a permit, and two forbids that apply to every call of the
/// route, one reading an argument and one the findings.
const POLICY: &str = r#"@id("bench.contacts")
permit (principal, action == Action::"call", resource == Tool::"crm/contacts");

@id("bench.no-bulk")
forbid (principal, action == Action::"call", resource in Route::"/tools/crm")
when { context.arguments has limit && context.arguments.limit > 100 };

@id("bench.no-ssn")
forbid (principal, action == Action::"call", resource in Route::"/tools/crm")
when { context.findings.us_ssn > 0 };
"#;

/// The gateway's configuration. Every limit is counted on every request; `setting` says whether one can be reached.
fn config(
    lab: &Lab,
    directory: &Path,
    address: SocketAddrV4,
    metrics: SocketAddrV4,
    backend: SocketAddrV4,
    setting: &Setting,
) -> String {
    let (directory, jwks) = (directory.display(), lab.keys.jwks());
    let (jwks, workers) = (jwks.display(), setting.workers.unwrap_or(lab.workers));
    let (per_user, per_tenant) = (setting.user_requests_per_second, setting.tenant_requests_per_second);
    let (kernel, kernel_keys) = (setting.kernel, &setting.kernel_keys);
    let driver = if setting.epoll { "driver = \"epoll\"\n" } else { "" };
    format!(
        r#"[listen]
address = "{address}"
public_url = "http://{address}"
workers = {workers}
{driver}
[[identity.issuer]]
issuer = "{ISSUER}"
audience = ["{AUDIENCE}"]
jwks = "{jwks}"
tenants = ["*"]

[[safety.rule]]
detect = ["us_ssn", "credit_card"]
action = "block"
[[safety.rule]]
detect = ["email", "phone"]
action = "redact"

[policy]
files = ["bench.cedar"]

[usage]
ledger = "{directory}/ledger.redb"
[[usage.rate_limit]]
per = "user"
requests = {per_user}
window = "1s"
[[usage.rate_limit]]
per = "tenant"
requests = {per_tenant}
window = "1s"
[[usage.budget]]
per = "user"
max_spend = "1000000 USD"
period = "30d"
[[usage.budget]]
per = "tenant"
max_spend = "100000000 USD"
period = "30d"
[usage.loop_guard]
identical_calls = 500
window = "30s"

[[upstream]]
name = "crm"
url = "http://{backend}"
allow_loopback = ["{backend}"]
credentials = {{ mode = "none" }}
[[route]]
path = "/tools/crm"
upstream = "crm"
protocol = "http"
scopes = ["{SCOPE}"]
[[route.tool]]
name = "crm/contacts"
match = {{ method = "POST", path = "contacts" }}
verb = "read"
price = "0.002 USD"
labels = ["customer"]

[audit]
dir = "{directory}/audit"
durability = "batch"

[kernel]
mode = "{kernel}"
{kernel_keys}
[admin]
socket = "{directory}/admin.sock"
metrics = "{metrics}"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn price_in_the_configuration_is_the_price_that_is_summed() {
        assert_eq!(PRICE_MICROUSD, 2_000, "price = \"0.002 USD\"");
    }

    #[test]
    fn counts_only_requests_that_came_back_from_upstream() {
        assert!(is_completed_call(r#"{"kind":"request","upstream_status":200}"#));
        assert!(is_completed_call(r#"{"kind":"outcome","upstream_status":200}"#));
        assert!(!is_completed_call(r#"{"kind":"intent"}"#));
        assert!(!is_completed_call(r#"{"kind":"outcome","decision":"error","outcome":"unknown"}"#));
        assert!(!is_completed_call(r#"{"kind":"request","decision":"deny","reason":"rate_limited"}"#));
        assert!(!is_completed_call(r#"{"kind":"start"}"#));
        assert!(!is_completed_call("not JSON"));
    }
}
