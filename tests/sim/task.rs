//! One request on its way: the pipeline's future, and a carrier that stands still wherever a connection would wait.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use acp::audit::ring::Position;
use acp::clock::Now;
use acp::config::resolved::{Issuer, Per};
use acp::http::head::{HeadLimits, parse_request};
use acp::identity::{ConnectionToken, Identity};
use acp::ids::Key128;
use acp::pipeline::{Carrier, Current, Inbound, finish, govern};
use acp::reason::Reason;

use super::world::Worker;

/// What a request waits for, or how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The worker's attention.
    Start,
    /// Its body.
    Body,
    /// A key that nobody has.
    Key,
    /// A budget's lease.
    Lease,
    /// Its intent is logged; the upstream's connection.
    Send,
    /// The upstream's answer.
    Answer,
    /// Refused.
    Refused(Reason),
    /// Ended after its intent.
    Ended(Reason),
}

/// What it is given.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input {
    Go,
    Body(Result<(), Reason>),
    No,
    /// The call ends like this; with whether a byte of it was sent, and the upstream's status.
    End {
        reason: Reason,
        sent: bool,
        status: Option<u16>,
        now: Now,
    },
}

/// What task and simulator share.
#[derive(Default)]
struct Shared {
    at: Cell<Option<At>>,
    input: Cell<Option<Input>>,
    /// When it was given.
    mono_ns: Cell<u64>,
    /// The request's id, once known.
    id: RefCell<String>,
    upstream: RefCell<Vec<u8>>,
}

/// See the module's documentation.
pub(super) struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    shared: Rc<Shared>,
    at: At,
}

impl Task {
    pub(super) fn new(
        worker: Rc<Worker>,
        snapshot: Rc<RefCell<Current>>,
        head: Vec<u8>,
        body: Vec<u8>,
        address: SocketAddr,
        now: Now,
    ) -> Self {
        let shared = Rc::new(Shared::default());
        let carrier =
            Client { shared: Rc::clone(&shared), snapshot, token: ConnectionToken::default(), body, out: Vec::new() };
        Self { future: Box::pin(serve(worker, head, address, now, carrier)), shared, at: At::Start }
    }

    pub(super) fn at(&self) -> At {
        self.at
    }

    /// The request's id; empty before it is known.
    pub(super) fn id(&self) -> String {
        self.shared.id.borrow().clone()
    }

    /// What was written for the upstream.
    pub(super) fn upstream(&self) -> Vec<u8> {
        self.shared.upstream.borrow().clone()
    }

    /// Gives the request what it waits for at `mono_ns` and runs it to where it stands next.
    pub(super) fn step(&mut self, input: Input, mono_ns: u64) -> At {
        self.shared.input.set(Some(input));
        self.shared.mono_ns.set(mono_ns);
        let ended = self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
        self.at = self.shared.at.get().expect("a request that ran stands somewhere");
        assert_eq!(ended, matches!(self.at, At::Refused(_) | At::Ended(_)), "{:?}", self.at);
        self.at
    }
}

async fn serve(worker: Rc<Worker>, head: Vec<u8>, address: SocketAddr, now: Now, mut carrier: Client) {
    let limits = HeadLimits { bytes_max: 16 * 1024, headers_max: 64 };
    let parsed = parse_request(&head, &limits, &mut 0).expect("a proper head").expect("a whole head");
    let shared = Rc::clone(&carrier.shared);
    shared.input.take();
    let inbound = Inbound { head: &parsed, address, cookie: 0, now };
    let mut governed = match govern(&worker.core, &inbound, &mut carrier).await {
        Ok(governed) => governed,
        Err(refused) => {
            *shared.id.borrow_mut() = text(refused.id);
            shared.at.set(Some(At::Refused(refused.reason)));
            return;
        }
    };
    *shared.id.borrow_mut() = field(&carrier.out, "x-request-id").unwrap_or_default();
    *shared.upstream.borrow_mut() = std::mem::take(&mut carrier.out);
    let mut at = At::Send;
    let (reason, now) = loop {
        match wait(&shared, at).await {
            Input::End { reason, sent, status, now } => {
                governed.sent |= sent;
                if let Some(status) = status {
                    governed.answered(status, now.mono_ns);
                }
                break (reason, now);
            }
            _ => {
                governed.sent = true;
                at = At::Answer;
            }
        }
    };
    finish(*governed, reason, now);
    shared.at.set(Some(At::Ended(reason)));
}

fn text(id: acp::ids::RequestId) -> String {
    String::from_utf8_lossy(&id.text()).into_owned()
}

/// A field of a head.
pub(super) fn field(head: &[u8], name: &str) -> Option<String> {
    let head = String::from_utf8_lossy(head);
    let fields = head.lines().skip(1).take_while(|line| !line.is_empty());
    fields
        .filter_map(|line| line.split_once(": "))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, v)| v.into())
}

/// Stands still at `at` until the simulator gives something.
async fn wait(shared: &Shared, at: At) -> Input {
    shared.at.set(Some(at));
    poll_fn(|_| shared.input.take().map_or(Poll::Pending, Poll::Ready)).await
}

struct Client {
    shared: Rc<Shared>,
    snapshot: Rc<RefCell<Current>>,
    token: ConnectionToken,
    body: Vec<u8>,
    out: Vec<u8>,
}

impl Carrier for Client {
    fn snapshot(&mut self) -> Current {
        self.snapshot.borrow().clone()
    }

    fn now(&mut self, head: Now) -> Now {
        head.at(self.shared.mono_ns.get())
    }

    fn token(&mut self) -> &mut ConnectionToken {
        &mut self.token
    }

    fn verified(&mut self, _: &Identity) -> u32 {
        0
    }

    fn ignored_limit(&mut self, _: &Identity, _: Per) {}

    fn ignored_loop(&mut self, _: &Identity) {}

    async fn await_key(&mut self, _: &Arc<Issuer>, _: &Arc<str>) -> bool {
        matches!(wait(&self.shared, At::Key).await, Input::Go)
    }

    fn replace_body(&mut self, _: Key128, body: Vec<u8>) -> bool {
        self.body = body;
        true
    }

    async fn await_lease(&mut self) -> bool {
        matches!(wait(&self.shared, At::Lease).await, Input::Go)
    }

    async fn await_durable(&mut self, _: Position) -> bool {
        true
    }

    async fn body(&mut self, _: Key128, _: usize) -> Result<(), Reason> {
        match wait(&self.shared, At::Body).await {
            Input::Body(read) => read,
            _ => Ok(()),
        }
    }

    fn parts(&mut self) -> (&[u8], &mut Vec<u8>) {
        (&self.body, &mut self.out)
    }
}
