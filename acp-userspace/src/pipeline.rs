//! The six calls in order: [`govern`] takes a request's head and a way to its body, and ends in a request that may be
//! sent, or in a refusal that is already in the log.
//!
//! Nothing here does I/O: what a request has to wait for (its body, a key, a lease, the disk) it asks of its
//! [`Carrier`]. The types make the order: `Authenticated → Screened → Permitted → Admitted → Routed`, each made only by
//! the layer that did the check. The intent is in the log before a [`Governed`] exists, so nothing can be sent
//! that is not recorded; [`finish`] settles its hold and logs its outcome, once, whatever became of it.

mod answer;
mod call;
mod snapshot;
mod trail;

use std::borrow::Cow;
use std::cell::RefCell;
use std::net::SocketAddr;

use crate::audit::record::Layer;
use crate::audit::ring::{Position, Reservation, RingWriter};
use crate::clock::{Now, mono_ns};
use crate::http::head::RequestHead;
use crate::identity::{self, Authenticated, ConnectionToken, Identity, IdentityError, TokenCache, Trust};
use crate::ids::{Key128, RequestId, RequestIds};
use crate::policy::{self, DecisionCache, Permitted};
use crate::protocol::json::Walker;
use crate::reason::Reason;
use crate::routing::{self, NormalPath};
use crate::safety::{self, Scan};
use crate::usage::{self, Admitted, AdmitError, Usage};

pub use answer::{Governed, Handling, Screening, finish, screen_answer};
pub use call::ArgumentKey;
pub use snapshot::{Addresses, Current, Resolved, Settings, Snapshot};

use call::Call;
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
    pub usage: std::sync::Arc<Usage>,
    /// The worker's audit ring.
    pub ring: RingWriter,
    /// Keys the digests of arguments.
    pub argument_key: ArgumentKey,
}

/// A request as it came in.
#[derive(Debug)]
pub struct Inbound<'h> {
    /// Its head.
    pub head: &'h RequestHead<'h>,
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
    /// The connection's last token.
    fn token(&mut self) -> &mut ConnectionToken;
    /// The request's identity is verified: binds the connection to its tenant. Gives the kernel's slot of the tenant.
    fn verified(&mut self, identity: &Identity) -> u32;
    /// A principal came back inside its own Retry-After.
    fn ignored_limit(&mut self, identity: &Identity);
    /// Asks for a key and waits for new ones, at most a second; false if none came.
    async fn await_key(&mut self, issuer: usize, kid: &str) -> bool;
    /// Waits a little for a budget lease; false when patience (a second per request) is used up.
    async fn await_lease(&mut self) -> bool;
    /// Waits until the log is on disk up to `position`.
    async fn await_durable(&mut self, position: Position) -> bool;
    /// Reads the whole body, at most `max` bytes, on `tenant`'s account.
    ///
    /// # Errors
    /// Why it cannot be had.
    async fn body(&mut self, tenant: Key128, max: usize) -> Result<(), Reason>;
    /// The body, once read.
    fn bytes(&self) -> &[u8];
    /// Where the upstream's request is written.
    fn out(&mut self) -> &mut Vec<u8>;
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
    inbound: &Inbound<'_>,
    carrier: &mut C,
) -> Result<Governed, Refused> {
    let snapshot = carrier.snapshot();
    let mut trail = Trail::new(core.borrow_mut().ids.next_id(), inbound, snapshot);
    match decide(core, inbound, carrier, &mut trail).await {
        Ok(governed) => Ok(governed),
        Err(stop) => Err(trail.refuse(core, stop)),
    }
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
    inbound: &Inbound<'_>,
    carrier: &mut C,
    trail: &mut Trail,
) -> Result<Governed, Stop> {
    let head = inbound.head;
    let path = NormalPath::parse(head.path).map_err(|fault| Stop::new(Layer::Routing, fault.reason()))?;
    let place = trail.place(&path, head.method)?;

    let caller = identify(core, inbound, carrier, trail).await?;
    let settings = trail.settings();
    let route = trail.route();
    trail.scopes_suffice()?;
    usage::peek(&core.borrow().usage, &settings.plan, caller.identity(), inbound.now)
        .map_err(|refused| trail.limited(carrier, refused))?;

    carrier.body(caller.identity().tenant_key, route.body_bytes_max).await.map_err(Stop::body)?;
    trail.lap_body();

    let (permitted, call) = {
        let core = &mut *core.borrow_mut();
        let call = Call::read(&mut core.walker, head, trail, &place, carrier.bytes())?;
        let content = call.content(head, &path);
        let screened = safety::screen(caller, &content, settings.rules.request(route.index), &mut core.scan)
            .map_err(|refused| trail.unsafe_content(refused))?;
        trail.screened(&screened);
        let permitted = call.permit(screened, settings, inbound.address.ip(), &mut core.decisions, trail)?;
        trail.permitted(&permitted);
        let arguments = core.argument_key.digest(&call, head);
        trail.arguments(arguments);
        (permitted, call.facts())
    };

    let reservation = core.borrow().ring.reserve(permitted.identity().tenant_key).map_err(Stop::unrecorded)?;
    let admitted = admit(core, permitted, inbound, carrier, trail).await?;
    trail.lap_usage();

    send(core, inbound, carrier, trail, reservation, admitted, &path, &call).await
}
