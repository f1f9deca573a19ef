//! What a record says, as the pipeline fills it: borrowed structs, nothing owned, nothing allocated.
//!
//! A request that goes upstream is one [`Intent`] and one [`Outcome`]; one that does not is one [`Refusal`]. Readers see
//! one record either way. [`wire`] stores them in at most [`ENTRY_BYTES_MAX`] bytes.
//!
//! Three sorts of text are kept apart. *Ours* comes from the configuration (route, tool, label, policy id) and is kept
//! as it is. *Verified* comes out of a token whose signature held (tenant, client, key id): control characters are
//! escaped when it is printed. The subject and the client's address are verified and *personal*: the log holds them
//! sealed. *Callers'* text (the name of a tool nobody has, the `kid` of a bad token) passes [`crate::text::CallerText`]
//! before it is stored, so that not even a ring file holds what a caller smuggled into a name (THREATS A16).
//! Bodies, paths and arguments never come here: a path is its template, an argument its keyed digest. Of a body's keys
//! only the way to a finding does, as callers' text.

#[cfg(test)]
pub(crate) mod sample;
pub mod wire;

use std::net::SocketAddr;
use std::sync::Arc;

use crate::clock::Now;
use crate::identity::Identity;
use crate::ids::{Key128, RequestId};
use crate::reason::Reason;
use crate::safety::{Evidence, Finding, NO_EVIDENCE};
use crate::usage::Hold;

/// Most bytes one stored entry takes. A page: a record names things, it does not carry them. Lists are cut where they
/// would not fit, and the record says `truncated`.
pub const ENTRY_BYTES_MAX: usize = 4096;

/// Most bytes a stored [`Outcome`] takes: what a reservation sets aside for as long as the call is under way.
pub const OUTCOME_BYTES_MAX: usize = 512;

/// How a request ended, for those who count rather than read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Decision {
    /// It went upstream and was answered.
    Allow = 0,
    /// A layer refused it, or its answer.
    Deny = 1,
    /// Neither: something failed (upstream, client gone, us).
    Error = 2,
}

impl Decision {
    /// Every decision, in numeric order.
    pub const ALL: [Self; 3] = [Self::Allow, Self::Deny, Self::Error];

    /// The name in records and queries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Error => "error",
        }
    }

    /// The decision a reason amounts to: failures of ours, of the upstream or of the client's connection are errors,
    /// every other refusal a denial.
    #[must_use]
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::Allowed => Self::Allow,
            Reason::ClientClosed => Self::Error,
            other if other.status() >= 500 => Self::Error,
            _ => Self::Deny,
        }
    }
}

/// Where on its way a request stopped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Layer {
    /// The HTTP head or framing.
    Http = 0,
    /// Identity.
    Identity = 1,
    /// Content safety.
    Safety = 2,
    /// Policy.
    Policy = 3,
    /// Limits, budgets, loop guard.
    Usage = 4,
    /// Route and tool look-up, addresses, the upstream.
    Routing = 5,
    /// The audit log itself.
    Audit = 6,
}

impl Layer {
    /// Every layer, in numeric order.
    pub const ALL: [Self; 7] =
        [Self::Http, Self::Identity, Self::Safety, Self::Policy, Self::Usage, Self::Routing, Self::Audit];

    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Identity => "identity",
            Self::Safety => "safety",
            Self::Policy => "policy",
            Self::Usage => "usage",
            Self::Routing => "routing",
            Self::Audit => "audit",
        }
    }
}

/// How a caller proved who it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum AuthMethod {
    /// A JWT as bearer token (RFC 6750 §2.1).
    BearerJwt = 0,
}

impl AuthMethod {
    /// Every method, in numeric order.
    pub const ALL: [Self; 1] = [Self::BearerJwt];

    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::BearerJwt => "bearer-jwt",
        }
    }
}

/// The verified party of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Who<'a> {
    /// Tenant claim.
    pub tenant: &'a str,
    /// The issuer entry's name.
    pub issuer: &'a str,
    /// `sub`: personal, sealed in the log.
    pub subject: &'a str,
    /// The acting client (`azp`), if the token names one.
    pub client: Option<&'a str>,
    /// The key that verified the token.
    pub key_id: &'a str,
    /// Table key of the tenant.
    pub tenant_key: Key128,
    /// Table key of the user.
    pub user_key: Key128,
    /// Keyed hash of the token.
    pub token_hash: Key128,
    /// How it was proved.
    pub method: AuthMethod,
}

impl<'a> From<&'a Identity> for Who<'a> {
    fn from(identity: &'a Identity) -> Self {
        Self {
            tenant: &identity.tenant.tenant,
            issuer: &identity.tenant.issuer,
            subject: &identity.user.subject,
            client: identity.client.as_deref(),
            key_id: &identity.key_id,
            tenant_key: identity.tenant_key,
            user_key: identity.user_key,
            token_hash: identity.token_hash,
            method: AuthMethod::BearerJwt,
        }
    }
}

/// The downstream connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The client's address (the believed one behind a trusted proxy): personal, sealed in the log.
    pub address: SocketAddr,
    /// SO_COOKIE: joins the record to the kernel's ledger.
    pub cookie: u64,
    /// The kernel's slot of the tenant bound to the socket; 0 = none.
    pub tenant_slot: u32,
}

/// What is called, in the configuration's words. Empty strings stand for "not known yet".
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// Route name.
    pub route: &'a str,
    /// Path template: the route's path and the tool's pattern, never the path that came.
    pub path: &'a str,
    /// Tool id.
    pub tool: &'a str,
    /// The tool's verb.
    pub verb: &'a str,
    /// The tool's data labels.
    pub labels: &'a [Arc<str>],
}

/// What decided: the snapshot of the request. The full digests are in the `start` or `reload` event of the generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Versions {
    /// First eight bytes of the configuration's SHA-256.
    pub config: [u8; 8],
    /// First eight bytes of the policy set's SHA-256.
    pub policy: [u8; 8],
    /// Generation of the issuers' keys.
    pub keys: u64,
    /// Generation of the snapshot.
    pub snapshot: u64,
}

impl Versions {
    /// From whole digests.
    #[must_use]
    pub fn new(config: &[u8; 32], policy: &[u8; 32], keys: u64, snapshot: u64) -> Self {
        let mut versions = Self { keys, snapshot, ..Self::default() };
        versions.config.copy_from_slice(&config[..8]);
        versions.policy.copy_from_slice(&policy[..8]);
        versions
    }
}

/// HMAC of the arguments: equal calls have equal digests, and nine digits cannot be guessed back without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedDigest {
    /// Which key.
    pub key_id: u32,
    /// First 16 bytes of the HMAC.
    pub digest: [u8; 16],
}

/// Time spent per layer on the way in, nanoseconds; 0 where a layer was not reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Latency {
    /// Parsing the head and matching the route.
    pub head: u64,
    /// Identity.
    pub identity: u64,
    /// Waiting for and walking the body.
    pub body: u64,
    /// Content safety.
    pub safety: u64,
    /// Policy.
    pub policy: u64,
    /// Usage.
    pub usage: u64,
    /// Routing, up to the intent.
    pub routing: u64,
}

/// A decision that an observed rule would have taken (THREATS B1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WouldBe<'a> {
    /// The layer it belongs to.
    pub layer: Layer,
    /// The rule's id.
    pub rule: &'a str,
    /// The reason it would have given.
    pub reason: Reason,
}

/// A request about to go upstream: all six layers agreed.
#[derive(Clone, Copy, Debug)]
pub struct Intent<'a> {
    /// Its id.
    pub request_id: RequestId,
    /// When it was decided.
    pub now: Now,
    /// Who asks.
    pub who: Who<'a>,
    /// From where.
    pub peer: Peer,
    /// For what.
    pub call: Call<'a>,
    /// Ids of the deciding policies.
    pub policies: &'a [Arc<str>],
    /// What safety found in the request.
    pub findings: &'a [Finding],
    /// Where, and how grave it is.
    pub evidence: &'a Evidence,
    /// Keyed digest of the arguments.
    pub arguments: Option<KeyedDigest>,
    /// Price of the call, micro-dollars.
    pub price_microusd: u64,
    /// What is held for it.
    pub hold: &'a Hold,
    /// What observed rules would have done.
    pub would: &'a [WouldBe<'a>],
    /// What decided.
    pub versions: Versions,
    /// How long each layer took.
    pub latency: Latency,
}

/// The end of a request that went upstream.
#[derive(Clone, Copy, Debug)]
pub struct Outcome<'a> {
    /// The id of its intent.
    pub request_id: RequestId,
    /// When it ended.
    pub now: Now,
    /// How.
    pub reason: Reason,
    /// What that amounts to.
    pub decision: Decision,
    /// The upstream's status, if it answered.
    pub upstream_status: Option<u16>,
    /// The upstream's name.
    pub upstream: &'a str,
    /// What the call cost, micro-dollars.
    pub settled_microusd: u64,
    /// Bytes moved.
    pub bytes: Bytes,
    /// What safety found in the answer.
    pub findings: &'a [Finding],
    /// Where, and how grave it is.
    pub evidence: &'a Evidence,
    /// From the intent to the answer's first byte, nanoseconds; 0 if none came.
    pub upstream_ns: u64,
    /// From the first byte of the request to the outcome, nanoseconds.
    pub total_ns: u64,
    /// Changes made to request and answer.
    pub edits: u32,
}

/// Body bytes of a request and its answer, as received and as sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Bytes {
    /// Request, from the client.
    pub request_in: u64,
    /// Request, to the upstream.
    pub request_out: u64,
    /// Answer, from the upstream.
    pub response_in: u64,
    /// Answer, to the client.
    pub response_out: u64,
}

/// A request that never went upstream: one complete record. What was not known yet when it was refused stays empty.
#[derive(Clone, Copy, Debug)]
pub struct Refusal<'a> {
    /// Its id.
    pub request_id: RequestId,
    /// When it was refused.
    pub now: Now,
    /// From where it came.
    pub peer: Peer,
    /// Why.
    pub reason: Reason,
    /// By which layer.
    pub layer: Layer,
    /// Who asked, if that was verified.
    pub who: Option<Who<'a>>,
    /// *Caller's text:* the `kid` of a token that did not verify; empty if none.
    pub claimed_kid: &'a str,
    /// Keyed hash of a token that did not verify.
    pub claimed_token: Option<Key128>,
    /// For what, as far as known.
    pub call: Call<'a>,
    /// *Caller's text:* the tool or method asked for where the configuration has none; empty otherwise.
    pub asked: &'a str,
    /// The rule, limit or budget that refused; empty if none did by name.
    pub rule: &'a str,
    /// *Caller's text where it quotes one:* a sentence for `acp audit show`.
    pub detail: &'a str,
    /// Scopes that were missing.
    pub missing_scopes: &'a [&'a str],
    /// Ids of the deciding policies.
    pub policies: &'a [Arc<str>],
    /// What safety found.
    pub findings: &'a [Finding],
    /// Where, and how grave it is.
    pub evidence: &'a Evidence,
    /// Keyed digest of the arguments.
    pub arguments: Option<KeyedDigest>,
    /// Price of the call, micro-dollars; 0 if not known.
    pub price_microusd: u64,
    /// What observed rules would have done.
    pub would: &'a [WouldBe<'a>],
    /// What decided.
    pub versions: Versions,
    /// How long each layer took.
    pub latency: Latency,
    /// Body bytes read.
    pub bytes_in: u64,
}

impl<'a> Refusal<'a> {
    /// A refusal of which nothing more is known; fill in what is.
    #[must_use]
    pub const fn new(request_id: RequestId, now: Now, peer: Peer, layer: Layer, reason: Reason) -> Self {
        Self {
            request_id,
            now,
            peer,
            reason,
            layer,
            who: None,
            claimed_kid: "",
            claimed_token: None,
            call: Call { route: "", path: "", tool: "", verb: "", labels: &[] },
            asked: "",
            rule: "",
            detail: "",
            missing_scopes: &[],
            policies: &[],
            findings: &[],
            evidence: &NO_EVIDENCE,
            arguments: None,
            price_microusd: 0,
            would: &[],
            versions: Versions { config: [0; 8], policy: [0; 8], keys: 0, snapshot: 0 },
            latency: Latency { head: 0, identity: 0, body: 0, safety: 0, policy: 0, usage: 0, routing: 0 },
            bytes_in: 0,
        }
    }
}
