//! The six calls in order: [`govern`] takes a request's head and a way to its body, and ends in a request that may be
//! sent, or in a refusal that is already in the log.
//!
//! Nothing here does I/O: what a request has to wait for (its body, a key, a lease, the disk) it asks of its
//! [`Carrier`]. The types make the order: `Authenticated → Screened → Permitted → Admitted → Routed`, each made only
//! by the layer that did the check. The intent is in the log before a [`Governed`] exists, so nothing can be sent
//! that is not recorded; [`finish`] settles its hold and logs its outcome, once, whatever became of it.

mod answer;
mod call;
mod coded;
mod quarantine;
mod snapshot;
mod streamed;
mod trail;

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::audit::record::{Bytes, Layer};
use crate::audit::ring::{Position, Reservation, RingWriter};
use crate::clock::Now;
use crate::config::resolved::{Durability, FORWARDED_METHODS, Issuer, Per, Protocol, Route, Tool};
use crate::http::head::{Framing, RequestHead};
use crate::identity::{self, Authenticated, ConnectionToken, Identity, IdentityError, TokenCache, Trust};
use crate::ids::{Key128, RequestId, RequestIds};
use crate::policy::{self, Ask, DecisionCache, Permitted};
use crate::protocol::json::Walker;
use crate::protocol::mcp::headers::Revision;
use crate::reason::Reason;
use crate::routing::{self, Outgoing, RoutingError, Target};
use crate::safety::{self, Finding, Scan, Screened};
use crate::usage::{self, AdmitError, Admitted, Usage};

pub use answer::{Governed, Handling, Screening, finish, screen_answer};
pub use call::ArgumentKey;
pub use quarantine::Quarantined;
pub use snapshot::{Addresses, Current, Resolved, Settings, Snapshot};
pub use streamed::screen_piece;

use answer::Ready;
use call::{Call, Sent};
use trail::{Stop, Trail};

/// What a worker keeps from request to request: caches, scratch, and the ends of shared tables.
#[derive(Debug)]
pub struct Core {
    /// Request ids.
    pub ids: RequestIds,
    /// Verified tokens.
    pub tokens: TokenCache,
    /// JSON scratch.
    pub walker: Walker,
    /// Scanner scratch.
    pub scan: Scan,
    /// Policy decisions.
    pub decisions: DecisionCache,
    /// The limiter's and the budgets' tables, shared by all workers.
    pub usage: Arc<Usage>,
    /// The worker's audit ring.
    pub ring: RingWriter,
    /// Keys the digests of arguments.
    pub argument_key: ArgumentKey,
}

/// A request as it came in.
#[derive(Debug)]
pub struct Inbound<'h, 'b> {
    /// Its head.
    pub head: &'h RequestHead<'b>,
    /// The client's address.
    pub address: SocketAddr,
    /// The connection's socket cookie.
    pub cookie: u64,
    /// When its head was complete.
    pub now: Now,
}

/// What the pipeline needs of whoever carries the request.
#[expect(async_fn_in_trait, reason = "implemented and called within one thread; no Send bound is wanted")]
pub trait Carrier {
    /// The snapshot of the moment.
    fn snapshot(&mut self) -> Current;
    /// The instant at which a request whose head came at `head` is admitted: the same, unless it had to wait since. What
    /// limits forget is what has drained by now, which for an earlier instant may not have.
    fn now(&mut self, head: Now) -> Now;
    /// The connection's last token.
    fn token(&mut self) -> &mut ConnectionToken;
    /// The request's identity is verified: binds the connection to its tenant. Gives the kernel's slot of the tenant.
    fn verified(&mut self, identity: &Identity) -> u32;
    /// A principal came back inside its own Retry-After.
    fn ignored_limit(&mut self, identity: &Identity, per: Per);
    /// A principal went on with a loop inside its own Retry-After.
    fn ignored_loop(&mut self, identity: &Identity);
    /// Asks for a key and waits for new ones, at most a second; false if none came.
    async fn await_key(&mut self, issuer: &Arc<Issuer>, kid: &Arc<str>) -> bool;
    /// Waits a little for a budget lease; false when patience (a second per request) is used up.
    async fn await_lease(&mut self) -> bool;
    /// Waits until the log is on disk up to `position`.
    async fn await_durable(&mut self, position: Position) -> bool;
    /// Reads the whole body, at most `max` bytes, on `tenant`'s account.
    ///
    /// # Errors
    /// Why it cannot be had.
    async fn body(&mut self, tenant: Key128, max: usize) -> Result<(), Reason>;
    /// Puts another body in the place of the one that was read, on `tenant`'s account; false when that has no room.
    fn replace_body(&mut self, tenant: Key128, body: Vec<u8>) -> bool;
    /// The body, once read, and where the upstream's request is written.
    fn parts(&mut self) -> (&[u8], &mut Vec<u8>);
}

/// A refused request: what its client is told. The record is in the log already.
#[derive(Debug)]
pub struct Refused {
    /// Its id.
    pub id: RequestId,
    /// Why.
    pub reason: Reason,
    /// What the client may know beyond the reason's title.
    pub detail: Cow<'static, str>,
    /// Fields of the answer: `WWW-Authenticate`, `Retry-After`, `RateLimit`, ….
    pub headers: Vec<(&'static str, Vec<u8>)>,
    /// The answer in JSON-RPC's words, where the client speaks it.
    pub rpc: Option<Vec<u8>>,
    /// What was found in the request, for those who count.
    pub findings: SmallVec<[Finding; 4]>,
    /// The connection must not be used again.
    pub closes: bool,
    /// CLOCK_MONOTONIC when the request's head was complete.
    pub since_ns: u64,
}

/// Takes one request through all six layers.
///
/// # Errors
/// The layer that refused, recorded.
pub async fn govern<C: Carrier>(
    core: &RefCell<Core>,
    inbound: &Inbound<'_, '_>,
    carrier: &mut C,
) -> Result<Box<Governed>, Refused> {
    let snapshot = carrier.snapshot();
    // Boxed once: it travels through a dozen calls and waits.
    let mut trail = Box::new(Trail::new(core.borrow_mut().ids.next_id(), inbound, snapshot));
    let ready = match decide(core, inbound, carrier, &mut trail).await {
        Ok(ready) => ready,
        Err(stop) => return Err(trail.refuse(core, stop)),
    };
    let position = ready.record.position();
    let fsync = trail.settings().config.audit.durability == Durability::Fsync;
    let governed = Box::new(Governed::new(trail, ready));
    if fsync && !carrier.await_durable(position).await {
        return Err(finish(*governed, Reason::AuditUnavailable, Now::read()));
    }
    Ok(governed)
}

/// Records and words the refusal of a request whose head cannot be read.
pub fn refuse_head(
    core: &RefCell<Core>,
    snapshot: Current,
    address: SocketAddr,
    cookie: u64,
    reason: Reason,
    detail: String,
) -> Refused {
    let id = core.borrow_mut().ids.next_id();
    Trail::headless(id, snapshot, address, cookie, Now::read())
        .refuse(core, Stop::new(Layer::Http, reason).detail(detail))
}

/// The design, as code.
async fn decide<C: Carrier>(
    core: &RefCell<Core>,
    inbound: &Inbound<'_, '_>,
    carrier: &mut C,
    trail: &mut Trail,
) -> Result<Ready, Stop> {
    let head = inbound.head;
    // The worker's own count: the one inside is every core's. Keys that are adopted later come with the same settings.
    let snapshot = trail.snapshot.clone();
    let settings = &snapshot.settings;
    let target = Target::find(&settings.routes, head).map_err(unroutable)?;
    let route = target.route();
    trail.route = Some(route.index);
    trail.latency.head = trail.lap();

    let caller = identify(core, inbound, route, carrier, trail).await?;
    usage::anticipate(&core.borrow().usage, &settings.plan, caller.identity());
    scopes_suffice(&caller, route)?;
    usage::peek(&core.borrow().usage, &settings.plan, caller.identity(), inbound.now)
        .map_err(|refused| limited(refused, caller.identity(), carrier))?;
    let tool = find_tool(&target, head.method, trail)?;
    // Before the body: a forbidden tool must not differ from an unknown one by what it asks of a body, or by waiting.
    visible(&mut core.borrow_mut().decisions, caller.identity(), settings, trail)?;

    carrier.body(caller.identity().tenant_key, route.body_bytes_max).await.map_err(Stop::of_body)?;
    trail.bytes_in = carrier.parts().0.len() as u64;
    coded::undo(head, route, caller.identity().tenant_key, carrier)?;
    trail.latency.body = trail.lap();

    let by_body = tool.is_none();
    let (permitted, tool_list) = {
        let core = &mut *core.borrow_mut();
        let (body, _) = carrier.parts();
        let call = Call::read(&mut core.walker, head, &target, tool, body, trail)?;
        if by_body {
            visible(&mut core.decisions, caller.identity(), settings, trail)?;
        }
        trail.arguments = Some(core.argument_key.digest(head.method, target.path().as_str(), head.query, body));
        anticipate_call(&core.usage, settings, route, caller.identity(), trail);
        let screened = screen(caller, &call, &target, head, settings, &mut core.scan, trail)?;
        let permitted = permit(screened, &call, route, inbound, settings, &mut core.decisions, trail)?;
        (permitted, call.tool_list)
    };

    let reservation = core.borrow().ring.reserve(permitted.identity().tenant_key).map_err(Stop::unrecorded)?;
    let admitted = admit(core, permitted, settings, route, inbound, carrier, trail).await?;
    prepare(reservation, admitted, tool_list, &target, inbound, carrier, trail)
}

/// A 405 names the methods that would do (RFC 9110 §15.5.6).
fn unroutable(error: RoutingError) -> Stop {
    let stop = Stop::new(Layer::Routing, error.reason()).detail(error.to_string());
    if error == RoutingError::Method { stop.allow(FORWARDED_METHODS) } else { stop }
}

/// Verifies the token; a key that nobody has yet is asked for once.
async fn identify<C: Carrier>(
    core: &RefCell<Core>,
    inbound: &Inbound<'_, '_>,
    route: &Route,
    carrier: &mut C,
    trail: &mut Trail,
) -> Result<Authenticated, Stop> {
    let mut asked = false;
    let caller = loop {
        let verdict = {
            let settings = trail.settings();
            let trust = Trust {
                config: &settings.config.identity,
                keys: &trail.snapshot.keys,
                revoked: &trail.snapshot.revoked,
            };
            let authorization = inbound.head.all("authorization");
            let tokens = &mut core.borrow_mut().tokens;
            identity::authenticate(authorization, trust, route, tokens, carrier.token(), inbound.now)
        };
        match verdict {
            Ok(caller) => break caller,
            Err(IdentityError::UnknownKey { issuer, kid }) if !asked => {
                asked = true;
                let issuer = trail.settings().config.identity.issuers.get(issuer).cloned();
                if let Some(issuer) = issuer
                    && carrier.await_key(&issuer, &kid).await
                {
                    trail.adopt_keys(carrier.snapshot())?;
                }
            }
            Err(error) => return Err(Stop::of_identity(&error)),
        }
    };
    trail.identity = Some(Arc::clone(caller.identity()));
    trail.peer.tenant_slot = carrier.verified(caller.identity());
    trail.latency.identity = trail.lap();
    if trail.snapshot.quarantined.holds(&caller.identity().tenant, inbound.now.mono_ns) {
        return Err(Stop::new(Layer::Identity, Reason::TenantQuarantined));
    }
    Ok(caller)
}

/// A token that lacks a scope of the route learns all that are needed (RFC 6750 §3.1), before its body is read.
fn scopes_suffice(caller: &Authenticated, route: &Route) -> Result<(), Stop> {
    let missing = policy::missing_scopes(caller.identity(), route);
    if missing.is_empty() {
        return Ok(());
    }
    let missing = missing.into_iter().map(str::to_owned).collect();
    Err(Stop::new(Layer::Identity, Reason::InsufficientScope).missing_scopes(missing))
}

/// The tool a path names; on MCP routes the body names it, and only POST has one.
fn find_tool<'t>(target: &Target<'t, '_>, method: &str, trail: &mut Trail) -> Result<Option<&'t Arc<Tool>>, Stop> {
    if target.route().protocol == Protocol::Mcp {
        if method != "POST" {
            return Err(Stop::new(Layer::Routing, Reason::MethodNotAllowed).allow("POST"));
        }
        return Ok(None);
    }
    let tool = target.tool().ok_or_else(|| Stop::new(Layer::Routing, Reason::UnknownTool).asked(target.rest()))?;
    trail.tool = Some(Arc::clone(tool));
    Ok(Some(tool))
}

/// A tool that the caller may not know of is answered as one that does not exist, whatever else is wrong with the
/// call (THREATS A30).
fn visible(decisions: &mut DecisionCache, identity: &Identity, settings: &Settings, trail: &Trail) -> Result<(), Stop> {
    let hidden = trail.tool.as_ref().filter(|tool| !policy::visible(identity, tool, &settings.policy, decisions));
    hidden.map_or(Ok(()), |tool| Err(Stop::new(Layer::Policy, Reason::UnknownTool).asked(&tool.name)))
}

fn limited<C: Carrier>(refused: usage::Refused, identity: &Identity, carrier: &mut C) -> Stop {
    match (refused.ignored, refused.kernel) {
        (true, true) => carrier.ignored_limit(identity, refused.per),
        (true, false) => carrier.ignored_loop(identity),
        (false, _) => {}
    }
    Stop::new(Layer::Usage, refused.reason).limited(refused)
}

fn screen(
    caller: Authenticated,
    call: &Call<'_>,
    target: &Target<'_, '_>,
    head: &RequestHead<'_>,
    settings: &Settings,
    scan: &mut Scan,
    trail: &mut Trail,
) -> Result<Screened, Stop> {
    let content = call.content(target.query(), target.rest());
    let rules = settings.rules.request(trail.scope()).ok_or_else(|| Stop::new(Layer::Safety, Reason::Internal))?;
    let identity = Arc::clone(caller.identity());
    let tool = trail.tool.as_ref().map_or("", |tool| &tool.name);
    let party = safety::Caller::new(&identity, tool, call.root(), trail.now);
    let screened = match call.form() {
        Some(form) => safety::screen_form(caller, &party, &content, form, rules, scan),
        None => safety::screen(caller, &party, &content, rules, scan),
    };
    let fields = target.fields(head);
    let screened = screened.and_then(|screened| safety::screen_fields(screened, &party, fields, rules, scan));
    let screened = screened.map_err(|refused| {
        (trail.findings, trail.evidence) = (refused.findings.into(), refused.evidence);
        Stop::new(Layer::Safety, refused.reason).rule(refused.rule)
    })?;
    trail.findings = screened.findings().into();
    trail.evidence.clone_from(screened.evidence());
    trail.restored = screened.restored().to_vec();
    if trail.evidence.would_block {
        trail.would.push((Layer::Safety, safety::BLOCK_SCORE_RULE.into(), Reason::ContentBlocked));
    }
    trail.latency.safety = trail.lap();
    Ok(screened)
}

fn permit(
    screened: Screened,
    call: &Call<'_>,
    route: &Route,
    inbound: &Inbound<'_, '_>,
    settings: &Settings,
    decisions: &mut DecisionCache,
    trail: &mut Trail,
) -> Result<Permitted, Stop> {
    let sent = Sent::new(call, screened.edits());
    let ask = Ask { resource: call.resource(route), arguments: &sent, source: inbound.address.ip() };
    let permitted = policy::decide(screened, &ask, &settings.policy, decisions).map_err(|refused| {
        trail.policies.clone_from(&refused.policies);
        let missing = refused.missing_scopes.iter().map(|scope| scope.to_string()).collect();
        let asked = trail.tool.as_ref().map_or("", |tool| &tool.name);
        Stop::new(Layer::Policy, refused.reason).missing_scopes(missing).asked(asked)
    })?;
    trail.policies.clone_from(permitted.policies());
    if let Some(reason) = permitted.would_deny_reason() {
        trail.would.push((Layer::Policy, "policy".into(), reason));
    }
    trail.latency.policy = trail.lap();
    Ok(permitted)
}

/// What usage knows a call by: its tool, or what its protocol's own messages are admitted as, and its arguments.
fn counted_as<'t>(settings: &'t Settings, route: &Route, trail: &'t Trail) -> (&'t Tool, Key128) {
    let digest = trail.arguments.map_or(Key128([0; 16]), |digest| Key128(digest.digest));
    (trail.tool.as_deref().unwrap_or_else(|| &settings.protocol_tools[route.index]), digest)
}

/// The layers before usage take a few microseconds: time enough for the one slot that no earlier request has read.
fn anticipate_call(usage: &Usage, settings: &Settings, route: &Route, identity: &Identity, trail: &Trail) {
    let (tool, digest) = counted_as(settings, route, trail);
    usage::anticipate_call(usage, &settings.plan, identity, tool, digest);
}

/// Charges limits and holds the price; a budget whose lease is short is waited for.
async fn admit<C: Carrier>(
    core: &RefCell<Core>,
    mut permitted: Permitted,
    settings: &Settings,
    route: &Route,
    inbound: &Inbound<'_, '_>,
    carrier: &mut C,
    trail: &mut Trail,
) -> Result<Admitted, Stop> {
    let (tool, digest) = counted_as(settings, route, trail);
    let admitted = loop {
        let now = carrier.now(inbound.now);
        let verdict = usage::admit(&core.borrow().usage, &settings.plan, permitted, tool, digest, now);
        match verdict {
            Ok(admitted) => break admitted,
            Err(AdmitError::Refused(refused)) => {
                let identity = trail.identity.as_deref().ok_or_else(|| Stop::new(Layer::Usage, Reason::Internal))?;
                return Err(limited(refused, identity, carrier));
            }
            Err(AdmitError::LeasePending(back)) => {
                permitted = back;
                if !carrier.await_lease().await {
                    return Err(Stop::new(Layer::Usage, Reason::LedgerUnavailable));
                }
            }
        }
    };
    trail.would.extend(admitted.would().iter().map(|w| (Layer::Usage, Arc::clone(&w.rule), w.reason)));
    trail.latency.usage = trail.lap();
    Ok(admitted)
}

/// Writes the upstream's request and logs the intent: the last step before bytes may leave.
fn prepare<C: Carrier>(
    reservation: Reservation,
    admitted: Admitted,
    tool_list: Option<Revision>,
    target: &Target<'_, '_>,
    inbound: &Inbound<'_, '_>,
    carrier: &mut C,
    trail: &mut Trail,
) -> Result<Ready, Stop> {
    let (body, out) = carrier.parts();
    let edits = admitted.permitted().screened().edits();
    let screened = admitted.permitted().screened();
    let in_fields: usize = screened.field_edits().iter().map(|field| field.edits.len()).sum();
    let edited = (edits.len() + in_fields) as u32;
    let sent = safety::spliced_len(body.len(), edits) as u64;
    let ruled = trail.answer_is_screened();
    let outgoing = Outgoing {
        request_id: trail.id,
        body: (inbound.head.framing != Framing::None).then_some(sent),
        screen_response: ruled || tool_list.is_some(),
    };
    let admitted = routing::route(admitted, target, inbound.head, outgoing, out).into_admitted();
    safety::splice(body, admitted.permitted().screened().edits(), out)
        .map_err(|_| Stop::new(Layer::Safety, Reason::Internal))?;
    let bytes = Bytes { request_in: trail.bytes_in, request_out: sent, ..Bytes::default() };
    trail.latency.routing = trail.lap();

    let identity = Arc::clone(admitted.identity());
    let limit = admitted.limit().cloned();
    let hold = admitted.into_hold();
    let record = reservation.intent(&trail.intent(&identity, &hold, &trail.would()));
    Ok(Ready { upstream: target.route().upstream, identity, hold, record, limit, bytes, edits: edited, tool_list })
}
