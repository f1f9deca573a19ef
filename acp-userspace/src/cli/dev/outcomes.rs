//! One `curl` line for each way a request can end, with the status it will give.
//!
//! The lines do not depend on each other's order: every outcome that uses something up (a limit, a budget, a loop
//! window) belongs to a user of its own. Tokens stand in header files, so the lines stay short enough to read.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::json;

use super::world::{KEY_ID, World};

/// Audience of every token but the wrong one.
pub(super) const AUDIENCE: &str = "https://api.example.com";

/// Requests per minute that the demo's configuration allows a user.
pub(super) const REQUESTS_PER_MINUTE: u32 = 60;

/// Requests that the demonstration's flood makes in a second (curl 7.84).
const FLOOD_PER_SECOND: u32 = 100;

/// Identical calls that the demo's configuration takes for a loop.
pub(super) const IDENTICAL_CALLS: u32 = 20;

/// One demonstrated outcome.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What it shows.
    pub title: &'static str,
    /// The status of the command's last request; `000` when there is no answer.
    pub status: &'static str,
    /// Everything of the command behind `curl` and its output options, per request of it.
    requests: Vec<String>,
}

impl Outcome {
    /// The command that prints nothing but the last status.
    #[must_use]
    pub(super) fn check(&self) -> String {
        self.command("-o /dev/null -w '%{http_code}\\n'")
    }

    /// The command that shows the last answer.
    #[must_use]
    pub(super) fn show(&self) -> String {
        self.command("-w '\\n%{http_code}\\n'")
    }

    fn command(&self, last_output: &str) -> String {
        let (last, first) = self.requests.split_last().expect("an outcome has a request");
        let mut command = String::from("curl");
        for request in first {
            command.push_str(&format!(" -s -o /dev/null {request} --next"));
        }
        command.push_str(&format!(" -s {last_output} {last}"));
        command
    }
}

/// A token to write into a header file.
struct Token<'a> {
    user: &'a str,
    tenant: &'a str,
    scope: &'a str,
    audience: &'a str,
    /// Seconds from now to `exp`.
    lifetime: i64,
}

impl Default for Token<'_> {
    fn default() -> Self {
        Self { user: "", tenant: "acme", scope: "tool:crm:read", audience: AUDIENCE, lifetime: 8 * 3600 }
    }
}

/// Writes the header files and makes the lines.
///
/// # Errors
/// The directory cannot be written, or a token cannot be signed.
pub(super) fn outcomes(world: &World, gateway: &str, dir: &Path) -> anyhow::Result<Vec<Outcome>> {
    let desk = Desk { world, gateway, dir };
    let query = r#"-d '{"query":"all contacts in the pipeline"}'"#;
    let contacts = |who: &Path, body: &str| desk.call(who, "/tools/crm/contacts", body);
    let alice = desk.token("alice", &Token { user: "auth0|alice", ..Token::default() })?;
    let expired = desk.token("expired", &Token { user: "auth0|alice", lifetime: -3600, ..Token::default() })?;
    let elsewhere =
        desk.token("elsewhere", &Token { user: "auth0|alice", audience: "https://other.example", ..Token::default() })?;
    let bob = desk.token("bob", &Token { user: "auth0|bob", scope: "tool:jira:write", ..Token::default() })?;
    let carol = desk.token("carol", &Token { user: "auth0|carol", ..Token::default() })?;
    let dave = desk.token("dave", &Token { user: "auth0|dave", ..Token::default() })?;
    let erin = desk.token("erin", &Token { user: "auth0|erin", ..Token::default() })?;
    let frank = desk.token("frank", &Token { user: "auth0|frank", ..Token::default() })?;
    let mallory = desk.token("mallory", &Token { user: "auth0|mallory", tenant: "globex", ..Token::default() })?;
    let many = 2 * REQUESTS_PER_MINUTE;
    // Two seconds of it: past the limit, past what was on its way when the first 429 was written, and well within the
    // first penalty.
    let flood = format!("--rate {FLOOD_PER_SECOND}/s --interface 127.0.0.2");
    let floods = 2 * FLOOD_PER_SECOND;
    let json = "-H 'Content-Type: application/json'";
    Ok(vec![
        outcome("allowed: the backend receives the verified identity", "200", vec![contacts(&alice, query)]),
        outcome("no token", "401", vec![format!("{json} {query} {gateway}/tools/crm/contacts")]),
        outcome("expired token", "401", vec![contacts(&expired, query)]),
        outcome("token for another audience", "401", vec![contacts(&elsewhere, query)]),
        outcome("token without the scope", "403", vec![contacts(&bob, query)]),
        outcome("unknown tool", "404", vec![desk.call(&alice, "/tools/crm/toString", query)]),
        outcome(
            "social security number: blocked",
            "403",
            vec![contacts(&carol, r#"-d '{"query":"patient with SSN 536-22-1894"}'"#)],
        ),
        outcome(
            "e-mail address: redacted before it leaves",
            "200",
            vec![contacts(&carol, r#"-d '{"query":"who is jane.doe@hospital.org"}'"#)],
        ),
        outcome(
            "over the rate limit",
            "429",
            vec![
                desk.call(&dave, &format!("/tools/crm/contacts?page=[1-{many}]"), query),
                desk.call(&dave, "/tools/crm/contacts?page=0", query),
            ],
        ),
        outcome(
            "over budget",
            "429",
            vec![
                desk.call(&erin, "/tools/crm/report", "-d '{\"year\":2025}'"),
                desk.call(&erin, "/tools/crm/report", "-d '{\"year\":2026}'"),
            ],
        ),
        outcome(
            "identical calls in a loop",
            "429",
            vec![
                desk.call(&frank, &format!("/tools/crm/contacts#[1-{IDENTICAL_CALLS}]"), query),
                contacts(&frank, query),
            ],
        ),
        outcome(
            "a flood from 127.0.0.2, tenant globex's own address: refused by the kernel",
            "000",
            vec![
                format!("{flood} {}", desk.call(&mallory, &format!("/tools/crm/contacts?n=[1-{floods}]"), query)),
                format!("--interface 127.0.0.2 {}", contacts(&mallory, query)),
            ],
        ),
    ])
}

fn outcome(title: &'static str, status: &'static str, requests: Vec<String>) -> Outcome {
    Outcome { title, status, requests }
}

/// Where header files are written and requests are put together.
struct Desk<'a> {
    world: &'a World,
    gateway: &'a str,
    dir: &'a Path,
}

impl Desk<'_> {
    /// Signs a token and writes the header file that carries it.
    fn token(&self, name: &str, token: &Token<'_>) -> anyhow::Result<PathBuf> {
        let now = jiff::Timestamp::now().as_second();
        let issued = if token.lifetime < 0 { now + 2 * token.lifetime } else { now };
        let signed = self.world.key.sign(&json!({
            "iss": self.world.issuer,
            "sub": token.user,
            "aud": token.audience,
            "org_id": token.tenant,
            "scope": token.scope,
            "iat": issued,
            "exp": now + token.lifetime,
        }))?;
        let path = self.dir.join(format!("{name}.header"));
        fs::write(&path, format!("Authorization: Bearer {signed}\n"))
            .with_context(|| format!("cannot write {} (key {KEY_ID})", path.display()))?;
        Ok(path)
    }

    /// A JSON POST with a header file.
    fn call(&self, who: &Path, path: &str, body: &str) -> String {
        format!("-H @{} -H 'Content-Type: application/json' {body} '{}{path}'", who.display(), self.gateway)
    }
}
