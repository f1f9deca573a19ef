//! What is known of a request so far, and the one place that turns a refusal into a record and an answer.

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Core, Current, Inbound, Refused, Settings};
use crate::audit::record::{Call, Intent, KeyedDigest, Latency, Layer, Peer, Refusal, Versions, Who, WouldBe};
use crate::audit::ring::RingFull;
use crate::clock::{Now, mono_ns};
use crate::config::resolved::{Protocol, Route, Tool};
use crate::http::write;
use crate::identity::{Challenge, Identity, IdentityError};
use crate::ids::RequestId;
use crate::policy::PolicyIds;
use crate::protocol::mcp;
use crate::protocol::mcp::headers::Revision;
use crate::reason::Reason;
use crate::safety::{Evidence, Finding, Restored, Scope};
use crate::usage::{self, Hold, LimitState};

/// The facts of one request, gathered in the order the layers establish them.
pub(super) struct Trail {
    pub(super) id: RequestId,
    pub(super) snapshot: Current,
    pub(super) peer: Peer,
    pub(super) now: Now,
    pub(super) route: Option<usize>,
    pub(super) tool: Option<Arc<Tool>>,
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) findings: SmallVec<[Finding; 4]>,
    pub(super) evidence: Evidence,
    /// What the request carries in clear although its caller sent tokens.
    pub(super) restored: Vec<Restored>,
    pub(super) policies: PolicyIds,
    pub(super) would: SmallVec<[(Layer, Arc<str>, Reason); 2]>,
    pub(super) arguments: Option<KeyedDigest>,
    pub(super) latency: Latency,
    pub(super) bytes_in: u64,
    /// The JSON-RPC request that is to be answered: its id token, and the client's revision.
    pub(super) rpc: Option<RpcReply>,
    lap_ns: u64,
}

/// How a JSON-RPC request is answered.
#[derive(Debug, Clone)]
pub(super) struct RpcReply {
    /// The id as the client wrote it; `None` before it could be read.
    pub(super) id: Option<String>,
    pub(super) revision: Revision,
}

/// A layer's refusal on its way to [`Trail::refuse`].
#[derive(Debug)]
pub(super) struct Stop(Box<Facts>);

#[derive(Debug)]
struct Facts {
    layer: Layer,
    reason: Reason,
    detail: Cow<'static, str>,
    /// Caller's text: the tool or method asked for.
    asked: String,
    /// Caller's text: the key id of a token that did not verify.
    kid: String,
    rule: Option<Arc<str>>,
    missing_scopes: Vec<String>,
    limit: Option<LimitState>,
    retry_after_secs: Option<u64>,
    rpc_code: Option<i32>,
    allow: Option<&'static str>,
    closes: bool,
}

impl Stop {
    pub(super) fn new(layer: Layer, reason: Reason) -> Self {
        Self(Box::new(Facts {
            layer,
            reason,
            detail: Cow::Borrowed(reason.title()),
            asked: String::new(),
            kid: String::new(),
            rule: None,
            missing_scopes: Vec::new(),
            limit: None,
            retry_after_secs: None,
            rpc_code: None,
            allow: None,
            closes: false,
        }))
    }

    pub(super) fn detail(mut self, detail: impl Into<Cow<'static, str>>) -> Self {
        self.0.detail = detail.into();
        self
    }

    pub(super) fn asked(mut self, asked: &str) -> Self {
        asked.clone_into(&mut self.0.asked);
        self
    }

    pub(super) fn kid(mut self, kid: &str) -> Self {
        kid.clone_into(&mut self.0.kid);
        self
    }

    pub(super) fn rule(mut self, rule: Option<Arc<str>>) -> Self {
        self.0.rule = rule;
        self
    }

    pub(super) fn missing_scopes(mut self, missing: Vec<String>) -> Self {
        self.0.missing_scopes = missing;
        self
    }

    /// Answered as a JSON-RPC error of this code instead of a tool result.
    pub(super) fn rpc_code(mut self, code: i32) -> Self {
        self.0.rpc_code = Some(code);
        self
    }

    /// The methods a 405 names.
    pub(super) fn allow(mut self, methods: &'static str) -> Self {
        self.0.allow = Some(methods);
        self
    }

    /// A body that could not be had.
    pub(super) fn of_body(reason: Reason) -> Self {
        Self::new(Layer::Http, reason)
    }

    /// The ring has no room: nothing is sent that cannot be recorded.
    pub(super) fn unrecorded(full: RingFull) -> Self {
        let reason = if full == RingFull::TenantShare { Reason::TenantShare } else { Reason::AuditUnavailable };
        Self::new(Layer::Audit, reason).detail(full.to_string())
    }

    /// A token that does not pass.
    pub(super) fn of_identity(error: &IdentityError) -> Self {
        let stop = Self::new(Layer::Identity, error.reason());
        match error {
            IdentityError::UnknownKey { kid, .. } => stop.kid(kid),
            _ => stop,
        }
    }

    pub(super) fn limited(mut self, refused: usage::Refused) -> Self {
        self.0.rule = Some(refused.rule);
        self.0.limit = refused.limit;
        self.0.retry_after_secs = Some(refused.retry_after_secs);
        // Who comes back inside its own Retry-After loses the connection too.
        self.0.closes = refused.ignored;
        self
    }
}

impl Trail {
    pub(super) fn new(id: RequestId, inbound: &Inbound<'_, '_>, snapshot: Current) -> Self {
        Self::headless(id, snapshot, inbound.address, inbound.cookie, inbound.now)
    }

    /// A request of which not even the head could be read.
    pub(super) fn headless(id: RequestId, snapshot: Current, address: SocketAddr, cookie: u64, now: Now) -> Self {
        Self {
            id,
            snapshot,
            peer: Peer { address, cookie, tenant_slot: 0 },
            now,
            route: None,
            tool: None,
            identity: None,
            findings: SmallVec::new(),
            evidence: Evidence::default(),
            restored: Vec::new(),
            policies: PolicyIds::new(),
            would: SmallVec::new(),
            arguments: None,
            latency: Latency::default(),
            bytes_in: 0,
            rpc: None,
            lap_ns: now.mono_ns,
        }
    }

    pub(super) fn settings(&self) -> &Arc<Settings> {
        &self.snapshot.settings
    }

    /// The matched route.
    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.settings().config.routes.get(self.route?)
    }

    /// Goes on with new keys: nothing was decided yet. A configuration that changed in the same moment is not mixed in.
    pub(super) fn adopt_keys(&mut self, latest: Current) -> Result<(), Stop> {
        if latest.settings.generation != self.snapshot.settings.generation {
            return Err(
                Stop::new(Layer::Identity, Reason::KeysUnavailable).detail("the configuration changed; try again")
            );
        }
        self.snapshot = latest;
        Ok(())
    }

    /// What safety's rules tell this call from another by.
    pub(super) fn scope(&self) -> Scope<'_> {
        Scope {
            route: self.route.unwrap_or(usize::MAX),
            tool: self.tool.as_ref().map(|tool| tool.index),
            tenant: self.identity.as_ref().map_or("", |identity| &identity.tenant.tenant),
        }
    }

    /// Whether rules look at the answer.
    pub(super) fn answer_is_screened(&self) -> bool {
        !self.restored.is_empty() || self.settings().rules.response(self.scope()).is_some_and(|rules| !rules.is_empty())
    }

    /// What the log is told before the request is sent.
    pub(super) fn intent<'a>(&'a self, identity: &'a Identity, hold: &'a Hold, would: &'a [WouldBe<'a>]) -> Intent<'a> {
        Intent {
            request_id: self.id,
            now: self.now,
            who: Who::from(identity),
            peer: self.peer,
            call: self.call(),
            policies: &self.policies,
            findings: &self.findings,
            evidence: &self.evidence,
            arguments: self.arguments,
            price_microusd: self.tool.as_ref().map_or(0, |tool| tool.price_microusd()),
            hold,
            would,
            versions: self.versions(),
            latency: self.latency,
        }
    }

    /// Nanoseconds since the last lap: what one layer took.
    pub(super) fn lap(&mut self) -> u64 {
        let now = mono_ns();
        now - std::mem::replace(&mut self.lap_ns, now)
    }

    pub(super) fn versions(&self) -> Versions {
        self.snapshot.versions()
    }

    /// Names of route and tool, as the record has them.
    pub(super) fn call(&self) -> Call<'_> {
        let (Some(route), tool) = (self.route(), &self.tool) else { return Call::default() };
        match tool {
            Some(tool) => {
                Call { route: &route.name, path: &route.path, tool: &tool.name, verb: &tool.verb, labels: &tool.labels }
            }
            None => Call { route: &route.name, path: &route.path, ..Call::default() },
        }
    }

    /// Decisions that observed rules would have taken.
    pub(super) fn would(&self) -> SmallVec<[WouldBe<'_>; 2]> {
        self.would.iter().map(|(layer, rule, reason)| WouldBe { layer: *layer, rule, reason: *reason }).collect()
    }

    /// Records a refusal and says what its client is told. A verified caller's refusal that cannot be recorded is
    /// answered 503 instead: nothing happens off the record.
    pub(super) fn refuse(&self, core: &RefCell<Core>, stop: Stop) -> Refused {
        let Stop(mut facts) = stop;
        if let Some(identity) = &self.identity
            && is_denial(facts.reason)
        {
            usage::denied(&core.borrow().usage, &self.settings().plan, identity, self.now);
        }
        if self.record(core, &facts).is_err() {
            facts = Stop::new(Layer::Audit, Reason::AuditUnavailable).0;
        }
        self.answer(facts)
    }

    fn record(&self, core: &RefCell<Core>, facts: &Facts) -> Result<(), RingFull> {
        let would = self.would();
        let missing: SmallVec<[&str; 4]> = facts.missing_scopes.iter().map(String::as_str).collect();
        let refusal = Refusal {
            who: self.identity.as_deref().map(Who::from),
            claimed_kid: &facts.kid,
            call: self.call(),
            asked: &facts.asked,
            rule: facts.rule.as_deref().unwrap_or(""),
            detail: &facts.detail,
            missing_scopes: &missing,
            policies: &self.policies,
            findings: &self.findings,
            evidence: &self.evidence,
            arguments: self.arguments,
            price_microusd: self.tool.as_ref().map_or(0, |tool| tool.price_microusd()),
            would: &would,
            versions: self.versions(),
            latency: self.latency,
            bytes_in: self.bytes_in,
            ..Refusal::new(self.id, self.now, self.peer, facts.layer, facts.reason)
        };
        core.borrow().ring.refusal(&refusal)
    }

    /// What the client of a request that went upstream is told when no answer can be given.
    pub(super) fn ended(&self, reason: Reason) -> Refused {
        self.answer(Stop::new(Layer::Routing, reason).0)
    }

    /// Words a refusal for the client, in the protocol it speaks.
    fn answer(&self, facts: Box<Facts>) -> Refused {
        let mut headers = Vec::new();
        if let Some(challenge) = Challenge::of(facts.reason) {
            let mut value = Vec::new();
            let scopes = self.route().map_or(&[][..], |route| &route.scopes);
            let metadata = self.settings().config.identity.resource_metadata.as_deref();
            challenge.write(&mut value, metadata, scopes);
            headers.push(("WWW-Authenticate", value));
        }
        if let Some(secs) = facts.retry_after_secs.or_else(|| unavailable_for(facts.reason)) {
            headers.push(("Retry-After", secs.to_string().into_bytes()));
        }
        if let Some(limit) = &facts.limit {
            headers.push(("RateLimit-Policy", field(limit, usage::write_rate_limit_policy)));
            headers.push(("RateLimit", field(limit, usage::write_rate_limit)));
        }
        if let Some(methods) = facts.allow {
            headers.push(("Allow", methods.into()));
        }
        Refused {
            id: self.id,
            reason: facts.reason,
            rpc: self.rpc_answer(&facts),
            detail: facts.detail,
            headers,
            findings: self.findings.clone(),
            closes: facts.closes || facts.reason.closes_connection(),
            since_ns: self.now.mono_ns,
        }
    }

    /// MCP: a tool the caller may not see is -32602, as an unknown one; a visible tool refused is a result with
    /// `isError`. Missing tokens and scopes, and rate limits, stay HTTP statuses.
    fn rpc_answer(&self, facts: &Facts) -> Option<Vec<u8>> {
        let reply = self.rpc.as_ref().filter(|_| self.route().is_some_and(|route| route.protocol == Protocol::Mcp))?;
        let mut problem = Vec::new();
        write::problem_json(&mut problem, facts.reason, &facts.detail, self.id);
        let mut out = Vec::new();
        match (facts.rpc_code, facts.reason) {
            (_, Reason::UnknownTool) => {
                mcp::write::error(reply.id.as_deref(), mcp::code::INVALID_PARAMS, "Unknown tool", None, &mut out);
            }
            (Some(code), _) => {
                mcp::write::error(reply.id.as_deref(), code, &facts.detail, Some(&problem), &mut out);
            }
            (None, Reason::ContentBlocked | Reason::PolicyDenied | Reason::PolicyError | Reason::EditConflict)
            | (None, Reason::QuotaExceeded | Reason::LoopDetected) => {
                mcp::write::refusal(reply.id.as_deref(), &problem, reply.revision, &mut out);
            }
            _ => return None,
        }
        Some(out)
    }
}

/// Refusals of a verified caller that are its own doing and cost nothing else: they have a bucket of their own
/// (THREATS A30).
const fn is_denial(reason: Reason) -> bool {
    matches!(reason.status(), 403 | 404) || matches!(reason, Reason::InvalidJson | Reason::DuplicateKey)
}

/// A guess for answers that no limit times: what failed is looked at again within a second or so.
const fn unavailable_for(reason: Reason) -> Option<u64> {
    if reason.status() == 503 { Some(1) } else { None }
}

fn field(limit: &LimitState, write: fn(&mut Vec<u8>, &LimitState)) -> Vec<u8> {
    let mut value = Vec::new();
    write(&mut value, limit);
    value
}
