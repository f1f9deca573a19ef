//! The six layers as a library, without the server: one call of one tool, and what each layer decides about it.
//!
//! `cargo run --example pipeline`
//!
//! Nothing listens and nothing is sent. The call is a few bytes in a constant, the issuer a key made on the spot, and
//! the upstream's request ends up in a `Vec<u8>`. The order below is not a convention: each layer takes by value what
//! only the layer before it can make, so leaving one out does not compile. `acp::pipeline` does the same for the
//! server, with every way to be refused.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};

use acp::audit::record::{Bytes, Call, Decision, Intent, Latency, Layer, Outcome, Peer, Refusal, Versions, Who};
use acp::audit::ring::{OpenRecord, RingWriter};
use acp::clock::Now;
use acp::config;
use acp::config::resolved::Tool;
use acp::control::audit_writer::{AuditWriter, Opened, Tail};
use acp::control::ledger::LedgerStore;
use acp::control::publish;
use acp::http::head::{HeadLimits, RequestHead, parse_request};
use acp::identity::dev::DevIssuer;
use acp::identity::jwks::KeySet;
use acp::identity::{self, ConnectionToken, Identity, KeyState, Keys, Revocations, TokenCache, TokenHashKey, Trust};
use acp::ids::{Key128, RequestId, RequestIds};
use acp::pipeline::{ArgumentKey, Settings};
use acp::policy::{self, Argument, ArgumentView, Ask, DecisionCache, Permitted, Resource};
use acp::protocol::json::{Kind, Limits, Node, Walker};
use acp::reason::Reason;
use acp::routing::{self, Outgoing, Target};
use acp::safety::{self, Body, Caller, Content, NO_EVIDENCE, Scan, Scope};
use acp::usage::{self, AdmitError, Admitted, Hold, Plan, Settle, Usage};
use serde_json::json;

/// What an operator would write. Relative paths start at the directory that [`Gateway::open`] is given.
const CONFIG: &str = r#"
[listen]
address = "127.0.0.1:8080"
public_url = "https://acp.example.com"

[[identity.issuer]]
name = "corp"
issuer = "https://idp.example.com/"
audience = ["https://acp.example.com"]
jwks = "discovery"
claims = { tenant = "org_id", scopes = "scope", roles = "roles" }
tenants = ["acme"]

[[safety.rule]]
detect = ["us_ssn"]
action = "block"
direction = "request"
[[safety.rule]]
detect = ["email"]
action = "redact"
direction = "request"

[policy]
files = ["crm.cedar"]

[[usage.rate_limit]]
per = "user"
requests = 100
window = "1m"
[[usage.budget]]
per = "user"
max_spend = "5 USD"
period = "1d"
[usage]
ledger = "ledger.redb"

[[upstream]]
name = "crm"
url = "http://crm.internal:8080/api"
allow_private = ["10.0.0.0/8"]

[[route]]
name = "crm"
path = "/tools/crm"
upstream = "crm"
protocol = "http"
scopes = ["tool:crm:read"]
[[route.tool]]
name = "crm/contacts"
match = { method = "POST", path = "contacts" }
verb = "read"
price = "0.002 USD"
labels = ["customer"]

[audit]
dir = "audit"
ring_bytes = "1 MiB"
[admin]
socket = "admin.sock"
"#;

/// Scopes permit by the built-in rule; this one only restricts.
const POLICY: &str = r#"
@id("small-pages")
forbid (principal, action == Action::"call", resource == Tool::"crm/contacts")
unless { context.arguments has limit && context.arguments.limit <= 100 };
"#;

/// The price above.
const PRICE_MICROUSD: u64 = 2_000;

const BODY: &str = r#"{"query": "who is ada@example.com?", "limit": 20}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut out = io::stdout().lock();
    for line in run(dir.path(), BODY)? {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// Governs one call with this body and says what each layer decided. Its traces are left in `dir`.
fn run(dir: &Path, body: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let now = Now::read();
    let issuer = DevIssuer::generate("key-1")?;
    let token = issuer.sign(&json!({
        "iss": "https://idp.example.com/", "aud": "https://acp.example.com", "sub": "ada", "org_id": "acme",
        "scope": "tool:crm:read tool:wiki:read", "iat": now.unix_secs(), "exp": now.unix_secs() + 300,
    }))?;
    let head = format!(
        "POST /tools/crm/contacts HTTP/1.1\r\nhost: acp.example.com\r\nauthorization: Bearer {token}\r\n\
         x-user-uid: root\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let bounds = HeadLimits { bytes_max: 32 * 1024, headers_max: 64 };
    let head = parse_request(head.as_bytes(), &bounds, &mut 0)?.ok_or("the head is incomplete")?;
    Gateway::open(dir, &issuer, now)?.govern(&head, body.as_bytes(), now)
}

/// What a worker and the control threads keep between calls, in one place.
struct Gateway {
    settings: Settings,
    keys: Keys,
    revoked: Revocations,
    tokens: TokenCache,
    walker: Walker,
    scan: Scan,
    decisions: DecisionCache,
    usage: Arc<Usage>,
    ledger: LedgerStore,
    ids: RequestIds,
    argument_key: ArgumentKey,
    ring: RingWriter,
    audit: AuditWriter,
    records: Receiver<Tail>,
}

/// A layer's refusal.
struct Stop(Layer, Reason);

/// What is known of the call, beside what the layers hand on.
struct Facts {
    id: RequestId,
    peer: Peer,
    now: Now,
    /// Set once the token verified: a refusal after that is on the caller's record.
    identity: Option<Arc<Identity>>,
    said: Vec<String>,
}

impl Facts {
    fn say(&mut self, layer: Layer, what: impl Display) {
        self.said.push(format!("{:<9} {what}", layer.name()));
    }
}

/// A call that may be sent: its intent is in the log.
struct Ready {
    request: Vec<u8>,
    hold: Hold,
    record: OpenRecord,
    bytes: Bytes,
    edits: u32,
}

impl Gateway {
    /// Compiles the configuration for every layer, and opens what they keep.
    fn open(dir: &Path, issuer: &DevIssuer, now: Now) -> Result<Self, Box<dyn Error>> {
        std::fs::write(dir.join("crm.cedar"), POLICY)?;
        let config = config::parse(CONFIG, dir)?;
        // The gateway's control side would fetch these.
        let set = KeySet::parse(issuer.jwks().as_bytes())?;
        let keys = Keys::for_config(&config.identity, None).with(0, Some(Arc::new(set)), KeyState::Good);
        let Opened { writer: mut audit, rings, .. } = AuditWriter::open(&config.audit, 1, now)?;
        let (tail, records) = mpsc::sync_channel(16);
        audit.subscribe(tail);
        Ok(Self {
            keys,
            revoked: Revocations::default(),
            tokens: TokenCache::new(1_000, TokenHashKey::new(&[7; 32])),
            walker: Walker::new(),
            scan: Scan::default(),
            decisions: DecisionCache::new(),
            usage: Usage::new(&config.usage),
            ledger: LedgerStore::open(&config.usage.ledger, now)?,
            ids: RequestIds::new(),
            argument_key: ArgumentKey::new(1, &[9; 32]),
            ring: rings.first().ok_or("there is a ring for each worker")?.attach()?,
            audit,
            records,
            settings: publish::compile(config, 1)?,
        })
    }

    /// Takes one call through all layers, settles it as if the upstream had answered, and reads its record.
    fn govern(&mut self, head: &RequestHead<'_>, body: &[u8], now: Now) -> Result<Vec<String>, Box<dyn Error>> {
        let peer = Peer { address: SocketAddr::from(([192, 0, 2, 7], 40_000)), cookie: 0, tenant_slot: 0 };
        let mut facts = Facts { id: self.ids.next_id(), peer, now, identity: None, said: Vec::new() };
        match self.decide(head, body, &mut facts) {
            Ok(ready) => {
                facts.said.push(format!("sent\n{}", indented(&ready.request)));
                finish(ready, &mut facts);
            }
            Err(Stop(layer, reason)) => {
                facts.say(layer, format_args!("refused: {} {}", reason.status(), reason.code()));
                let who = facts.identity.as_deref().map(Who::from);
                self.ring.refusal(&Refusal { who, ..Refusal::new(facts.id, now, peer, layer, reason) })?;
            }
        }
        while self.audit.drain(now).more {}
        for record in self.records.try_iter() {
            facts.say(Layer::Audit, String::from_utf8_lossy(&record.line).trim_end());
        }
        Ok(facts.said)
    }

    /// The design, as code.
    fn decide(&mut self, head: &RequestHead<'_>, body: &[u8], facts: &mut Facts) -> Result<Ready, Stop> {
        let target = Target::find(&self.settings.routes, head).map_err(|e| Stop(Layer::Routing, e.reason()))?;
        let tool = target.tool().ok_or(Stop(Layer::Routing, Reason::UnknownTool))?;

        let trust = Trust { config: &self.settings.config.identity, keys: &self.keys, revoked: &self.revoked };
        let mut connection = ConnectionToken::default();
        let field = head.all("authorization");
        let caller = identity::authenticate(field, trust, target.route(), &mut self.tokens, &mut connection, facts.now)
            .map_err(|error| Stop(Layer::Identity, error.reason()))?;
        let identity = Arc::clone(caller.identity());
        facts.say(Layer::Identity, format_args!("{} of {}", identity.user.subject, identity.tenant.tenant));
        facts.identity = Some(Arc::clone(&identity));
        usage::peek(&self.usage, &self.settings.plan, &identity, facts.now)
            .map_err(|refused| Stop(Layer::Usage, refused.reason))?;

        let document =
            self.walker.walk(body, &Limits::default()).map_err(|error| Stop(Layer::Safety, error.reason()))?;
        let content = Content { body: Body::Json(document), query: target.query(), path: target.rest() };
        let scope = Scope { route: target.route().index, tool: Some(tool.index), tenant: &identity.tenant.tenant };
        let rules = self.settings.rules.request(scope).ok_or(Stop(Layer::Safety, Reason::Internal))?;
        let party = Caller::new(&identity, &tool.name, "", facts.now);
        let screened = safety::screen(caller, &party, &content, rules, &mut self.scan)
            .map_err(|refused| Stop(Layer::Safety, refused.reason))?;
        let (findings, edits) = (screened.findings().to_vec(), screened.edits().to_vec());
        let evidence = screened.evidence().clone();
        facts.say(Layer::Safety, format_args!("{} findings, {} edits", findings.len(), edits.len()));

        let arguments = Arguments(document.root());
        let ask = Ask { resource: Resource::Tool(tool), arguments: &arguments, source: facts.peer.address.ip() };
        let permitted = policy::decide(screened, &ask, &self.settings.policy, &mut self.decisions)
            .map_err(|refused| Stop(Layer::Policy, refused.reason))?;
        let policies = permitted.policies().clone();
        facts.say(Layer::Policy, format_args!("permitted by {}", policies.join(", ")));

        let digest = self.argument_key.digest(head.method, target.path().as_str(), head.query, body);
        let reservation =
            self.ring.reserve(identity.tenant_key).map_err(|_| Stop(Layer::Audit, Reason::AuditUnavailable))?;
        let (usage, plan) = (&self.usage, &self.settings.plan);
        let admitted = admit(usage, plan, &mut self.ledger, permitted, tool, Key128(digest.digest), facts)?;

        let sent = safety::spliced_len(body.len(), &edits) as u64;
        let outgoing = Outgoing { request_id: facts.id, body: Some(sent), screen_response: false };
        let mut request = Vec::new();
        let hold = routing::route(admitted, &target, head, outgoing, &mut request).into_admitted().into_hold();
        safety::splice(body, &edits, &mut request).map_err(|_| Stop(Layer::Safety, Reason::Internal))?;
        facts.say(Layer::Routing, format_args!("to {}, as {}", target.upstream().name, identity.user.subject));

        let record = reservation.intent(&Intent {
            request_id: facts.id,
            now: facts.now,
            who: Who::from(&*identity),
            peer: facts.peer,
            call: Call {
                route: &target.route().name,
                path: &target.route().path,
                tool: &tool.name,
                verb: &tool.verb,
                labels: &tool.labels,
            },
            policies: &policies,
            findings: &findings,
            evidence: &evidence,
            arguments: Some(digest),
            price_microusd: tool.price_microusd(),
            hold: &hold,
            would: &[],
            versions: Versions::default(),
            latency: Latency::default(),
        });
        let bytes = Bytes { request_in: body.len() as u64, request_out: sent, ..Bytes::default() };
        Ok(Ready { request, hold, record, bytes, edits: edits.len() as u32 })
    }
}

/// Charges the limits and holds the price. A budget is spent out of leases that the ledger committed to disk before;
/// the first call of a user waits for one. In the gateway a thread of its own grants them.
fn admit(
    usage: &Arc<Usage>,
    plan: &Plan,
    ledger: &mut LedgerStore,
    permitted: Permitted,
    tool: &Tool,
    call: Key128,
    facts: &mut Facts,
) -> Result<Admitted, Stop> {
    let mut permitted = permitted;
    for _ in 0..2 {
        match usage::admit(usage, plan, permitted, tool, call, facts.now) {
            Ok(admitted) => {
                let held: u64 = admitted.hold().parts.iter().map(|part| part.held_microusd).sum();
                facts.say(Layer::Usage, format_args!("admitted, {held} µUSD held"));
                return Ok(admitted);
            }
            Err(AdmitError::Refused(refused)) => return Err(Stop(Layer::Usage, refused.reason)),
            Err(AdmitError::LeasePending(back)) => {
                permitted = back;
                let granted = ledger
                    .grant_pending(usage, plan, facts.now)
                    .map_err(|_| Stop(Layer::Usage, Reason::LedgerUnavailable))?;
                facts.say(Layer::Usage, format_args!("lease of {} µUSD committed", granted.microusd));
            }
        }
    }
    Err(Stop(Layer::Usage, Reason::LedgerUnavailable))
}

/// The upstream answered 200: the hold becomes spend, and the intent gets its outcome.
fn finish(ready: Ready, facts: &mut Facts) {
    let spent = usage::settle(ready.hold, Settle::Charge(PRICE_MICROUSD));
    facts.say(Layer::Usage, format_args!("settled, {spent} µUSD spent"));
    ready.record.outcome(&Outcome {
        request_id: facts.id,
        now: facts.now,
        reason: Reason::Allowed,
        decision: Decision::of(Reason::Allowed),
        upstream_status: Some(200),
        upstream: "crm",
        settled_microusd: spent,
        bytes: ready.bytes,
        findings: &[],
        evidence: &NO_EVIDENCE,
        upstream_ns: 0,
        total_ns: 0,
        edits: ready.edits,
    });
}

/// What policies read as `context.arguments`: the body itself, on HTTP routes.
struct Arguments<'a>(Node<'a>);

impl ArgumentView for Arguments<'_> {
    fn value(&self, path: &[&str]) -> Option<Argument<'_>> {
        path.iter().try_fold(self.0, |node, key| node.get(key)).map(argument)
    }

    fn root(&self) -> &str {
        ""
    }
}

fn argument<'a>(node: Node<'a>) -> Argument<'a> {
    match node.kind() {
        Kind::Object => Argument::Object,
        Kind::Array => Argument::List(Box::new(node.items().map(argument))),
        Kind::Bool(value) => Argument::Bool(value),
        Kind::Number => Argument::Number(Cow::Borrowed(node.token())),
        Kind::Key | Kind::String => Argument::Text(Cow::Borrowed(node.text().unwrap_or_default())),
        Kind::Null => Argument::Null,
    }
}

fn indented(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().map(|line| format!("    {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &[&str], absent: &[&str]) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let said = run(dir.path(), body).expect("the example runs").join("\n");
        for part in expected {
            assert!(said.contains(part), "{part:?} is not in\n{said}");
        }
        for part in absent {
            assert!(!said.contains(part), "{part:?} is in\n{said}");
        }
    }

    #[test]
    fn a_call_passes_all_six_layers() {
        check(
            BODY,
            &[
                "identity  ada of acme",
                "safety    1 findings, 1 edits",
                "policy    permitted by acp/scope",
                "usage     lease of",
                "usage     admitted, 2000 µUSD held",
                "usage     settled, 2000 µUSD spent",
                "POST /api/contacts HTTP/1.1",
                "x-user-uid: ada",
                "\"reason\":\"allowed\"",
            ],
            &["ada@example.com", "root", "Bearer"],
        );
    }

    #[test]
    fn the_layer_that_refuses_is_in_the_record_and_nothing_is_sent() {
        let refused = |layer: &str, reason: &str| format!("\"reason\":\"{reason}\",\"layer\":\"{layer}\"");
        let blocked = refused("safety", "content_blocked");
        check(r#"{"query": "078-05-1120 ssn", "limit": 1}"#, &["refused: 403 content_blocked", &blocked], &["sent"]);
        let denied = refused("policy", "policy_denied");
        check(r#"{"query": "all", "limit": 101}"#, &["refused: 403 policy_denied", &denied], &["sent"]);
        check(r#"{"limit": 1, "limit": 101}"#, &["refused: 400 duplicate_key"], &["sent"]);
    }
}
