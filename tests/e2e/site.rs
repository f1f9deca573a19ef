//! Everything a gateway needs, in a directory of its own: issuer, configuration, log, ledger; and the gateway itself.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;

use acp::identity::dev::DevIssuer;
use serde_json::{Value, json};

use crate::backend::Backend;
use crate::client::{Answer, Client};
use crate::process::{Process, Said, acp, run, wait_for};

/// `iss` and `aud` of the tests' tokens.
const ISSUER: &str = "https://issuer.test/";
const AUDIENCE: &str = "https://api.test";

/// One key for all tests: making one takes a while.
fn key() -> &'static DevIssuer {
    static KEY: OnceLock<DevIssuer> = OnceLock::new();
    KEY.get_or_init(|| DevIssuer::generate("test-key").expect("a key"))
}

/// A token's claims, changed by the caller before they are signed.
pub(crate) fn token_with(change: impl FnOnce(&mut Value)) -> String {
    let now = jiff::Timestamp::now().as_second();
    let mut claims = json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "auth0|alice", "org_id": "acme", "scope": "tool:crm:read",
        "iat": now, "exp": now + 3600,
    });
    change(&mut claims);
    key().sign(&claims).expect("a signature")
}

/// A good token for this user.
pub(crate) fn token(user: &str) -> String {
    token_with(|claims| claims["sub"] = json!(user))
}

/// A good token for this user with these scopes.
pub(crate) fn token_for(user: &str, scope: &str) -> String {
    token_with(|claims| (claims["sub"], claims["scope"]) = (json!(user), json!(scope)))
}

/// The sections of an upstream, and of a route to it below `/tools/crm`; keys and tools of the route may follow.
pub(crate) fn crm(backend: &Backend) -> String {
    let address = backend.address;
    format!(
        r#"
[[upstream]]
name = "crm"
url = "http://{address}"
allow_loopback = ["{address}"]
[[route]]
path = "/tools/crm"
upstream = "crm""#
    )
}

/// [`crm`] with one tool, `crm/read`, for everything that is asked with this method; its keys may follow.
pub(crate) fn reading(backend: &Backend, method: &str) -> String {
    let crm = crm(backend);
    format!(
        r#"{crm}
[[route.tool]]
name = "crm/read"
match = {{ method = "{method}", path = "*" }}
verb = "read""#
    )
}

/// One rule, and a route to `backend` that takes any POST below `/tools/crm`, with these lines of their own.
pub(crate) fn ruled(backend: &Backend, rule: &str, route: &str) -> String {
    let crm = crm(backend);
    format!(
        r#"
[[safety.rule]]
{rule}
{crm}
{route}
[[route.tool]]
name = "crm/write"
match = {{ method = "POST", path = "*" }}
verb = "read"
"#
    )
}

/// A key to make tokens with, as the operator would put it there.
pub(crate) fn write_key(site: &Site, name: &str, digits: &str) {
    site.write(name, &digits.repeat(32));
    fs::set_permissions(site.path(name), fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// [`crm`] with a tool for GET and one for POST, at these prices.
pub(crate) fn priced(backend: &Backend, read: &str, write: &str) -> String {
    let tool = |name: &str, method: &str, price: &str| {
        format!(
            r#"
[[route.tool]]
name = "{name}"
match = {{ method = "{method}", path = "*" }}
verb = "read"
price = "{price}""#
        )
    };
    crm(backend) + &tool("crm/read", "GET", read) + &tool("crm/write", "POST", write) + "\n"
}

/// What a test adds to the common configuration.
#[derive(Default)]
pub(crate) struct Extra<'a> {
    /// Keys of `[listen]`.
    pub(crate) listen: &'a str,
    /// Where the issuer's keys are; a file of its own unless given.
    pub(crate) jwks: Option<&'a str>,
    /// Keys of `[kernel]`; the plane is off unless given.
    pub(crate) kernel: Option<&'a str>,
    /// Keys of `[audit]`; small rings unless given.
    pub(crate) audit: &'a str,
    /// Where the ledger is; beside the log unless given. `{dir}` is the site's directory.
    pub(crate) ledger: Option<&'a str>,
    /// Sections of the test's own: rules, limits, upstreams, routes. `{dir}` is the site's directory.
    pub(crate) sections: &'a str,
}

/// A directory with everything in it; it goes with the test.
pub(crate) struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    #[track_caller]
    pub(crate) fn new(extra: &Extra<'_>) -> Self {
        let dir = tempfile::Builder::new().prefix("acp-e2e-").tempdir().expect("a temporary directory");
        let site = Self { dir };
        site.write("jwks.json", &key().jwks());
        site.configure(extra);
        site
    }

    /// Writes the configuration, in place of one that was there.
    pub(crate) fn configure(&self, extra: &Extra<'_>) {
        let dir = self.dir.path().display().to_string();
        let jwks = extra.jwks.map_or_else(|| format!("{dir}/jwks.json"), str::to_owned);
        let text = format!(
            r#"
[listen]
address = "127.0.0.1:0"
public_url = "http://gateway.test"
{}
[[identity.issuer]]
issuer = "{ISSUER}"
audience = ["{AUDIENCE}"]
jwks = "{jwks}"
[usage]
ledger = "{}"
[audit]
dir = "{dir}/audit"
{}
[kernel]
{}
[admin]
socket = "{dir}/admin.sock"
metrics = "127.0.0.1:0"
{}
"#,
            extra.listen,
            extra.ledger.unwrap_or("{dir}/ledger.redb").replace("{dir}", &dir),
            if extra.audit.is_empty() { "ring_bytes = \"1 MiB\"" } else { extra.audit },
            extra.kernel.unwrap_or("mode = \"off\""),
            extra.sections.replace("{dir}", &dir),
        );
        self.write("acp.toml", &text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Leaves the directory when the test ends.
    pub(crate) fn keep(&mut self) {
        self.dir.disable_cleanup(true);
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("the directory is ours");
    }

    /// Runs `acp` with these arguments and this site's option behind them.
    #[track_caller]
    pub(crate) fn acp(&self, args: &[&str], option: &str, file: &str) -> Said {
        run(acp().args(args).arg(option).arg(self.path(file)))
    }

    /// Asks the log; it must be readable.
    #[track_caller]
    pub(crate) fn query(&self, args: &[&str]) -> String {
        let said = self.acp(&[&["audit", "query"], args].concat(), "--dir", "audit");
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        said.stdout
    }

    /// Every record that the query finds, as JSON.
    #[track_caller]
    pub(crate) fn records(&self, args: &[&str]) -> Vec<Value> {
        let lines = self.query(&[args, &["--format", "json"]].concat());
        lines.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// Waits until the log has the record with this id, and gives it.
    #[track_caller]
    pub(crate) fn record(&self, id: &str) -> Value {
        wait_for(&format!("the record of {id}"), || {
            let said = self.acp(&["audit", "show", id, "--format", "json"], "--dir", "audit");
            let line = said.stdout.lines().next()?.to_owned();
            serde_json::from_str::<Value>(&line).ok().filter(|record| record["decision"].is_string())
        })
    }

    /// Starts a gateway and does not wait for it.
    #[track_caller]
    pub(crate) fn spawn(&self) -> Process {
        Process::start(acp().arg("run").arg("--config").arg(self.path("acp.toml")))
    }

    #[track_caller]
    pub(crate) fn start(&self) -> Gateway {
        Gateway::of(self.spawn())
    }
}

/// A running `acp run`.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    pub(crate) process: Process,
}

impl Gateway {
    /// The gateway that this process becomes, as soon as it says that it serves; from then on it is ready.
    #[track_caller]
    pub(crate) fn of(process: Process) -> Self {
        let line = process.stderr.wait_line(" serving ");
        let field = |name: &str| {
            let value = line.split_whitespace().find_map(|word| word.strip_prefix(name));
            value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {line}"))
        };
        let gateway = Self { address: field("address="), metrics: field("metrics="), process };
        assert_eq!(gateway.admin("/readyz").status, 200, "what is said to serve is ready");
        gateway
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    #[track_caller]
    pub(crate) fn ask(&self, request: impl AsRef<[u8]>) -> Answer {
        self.connect().ask(request)
    }

    /// Reads a page of the health and metrics surface.
    #[track_caller]
    pub(crate) fn admin(&self, path: &str) -> Answer {
        Client::connect(self.metrics)
            .ask(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// A metric without labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = String::from_utf8(self.admin("/metrics").body).expect("text");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name} in {text}"))
    }

    /// Ends it as an operator does; it must end well.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.process.signal("TERM");
        assert_eq!(self.process.ended().code(), Some(0), "{}", self.process.stderr.text());
    }
}
