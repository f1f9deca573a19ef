//! One client connection: heads in, governed exchanges, answers out, in order (pipelined requests wait their turn).
//!
//! A head borrows from the connection's input buffer, which therefore stays put while its request is served; what the
//! client sends meanwhile is read into buffers of its own. Whatever ends a request early, the connection either knows
//! where the next request starts or closes.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;

use super::answer;
use super::body::{After, Body};
use super::buffers::BUFFER_BYTES;
use super::carrier::ClientBody;
use super::handing::{self, About};
use super::lanes::{Lane, Turn};
use super::metrics::Way;
use super::places::{Place, Source};
use super::relay;
use super::runtime::{self, AsyncWriteRent, CancelableAsyncReadRent, IoBufMut, TcpStream};
use super::sweep::{self, Cut, Phase, Watch};
use super::worker::{HOLD, Worker};
use crate::clock::{Now, mono_ns, tick_ns};
use crate::http::head::{self, RequestHead};
use crate::http::{forwarded, proxy};
use crate::identity::ConnectionToken;
use crate::ids::Key128;
use crate::kernel::book::Principal;
use crate::pipeline::{self, Governed, Inbound, Refused};
use crate::reason::Reason;

/// After a closing answer, how long its client may take to read it before the socket is closed under it.
const LINGER_NS: u64 = 1_000_000_000;

/// As many connections of a worker keep their buffers while they are idle (16 MiB): a read that can be cancelled costs about
/// a thousand instructions more per request.
const UNPARKED_MAX: usize = 1024;

/// Room kept free for each read of a head.
const HEAD_READ_BYTES: usize = 1024;

/// A connection and what it remembers between requests.
pub(super) struct Connection {
    pub(super) worker: Rc<Worker>,
    pub(super) stream: TcpStream,
    pub(super) watch: Rc<Watch>,
    pub(super) peer: SocketAddr,
    /// The client, as a trusted balancer introduced it; else the peer.
    client: SocketAddr,
    /// `SO_COOKIE`: joins the audit to the kernel's ledger.
    pub(super) cookie: u64,
    /// The last token seen here.
    pub(super) token: ConnectionToken,
    /// The tenant seen last.
    pub(super) bound: Option<Key128>,
    /// Several tenants were seen: the kernel's ledger calls the socket mixed, and nothing it is told changes that.
    pub(super) mixed: bool,
    /// Its source may be learned of: no trusted proxy, no loopback.
    pub(super) watched: bool,
    /// Who was reported last to have verified here.
    pub(super) reported: Option<Principal>,
    /// Reports made, up to a bound.
    pub(super) reports: u8,
    /// When the last was made, monotonic.
    pub(super) reported_ns: u64,
    /// 429s answered here to requests that came inside the `Retry-After` of an earlier one.
    pub(super) ignored: u32,
    /// Its slot in the kernel's ledger; 0 = none yet.
    pub(super) tenant_slot: u32,
    /// Its place among those of its source, if it is counted.
    pub(super) place: Option<Place>,
    /// The lane in which the request under way had its turn, if it had to wait for one.
    pub(super) turn: Option<Lane>,
    /// Bytes of requests' bodies that the audit log has of this connection.
    pub(super) audited_in: u64,
    /// The client's end of stream was read.
    pub(super) eof: bool,
    /// What another process had read of it when it passed it on; `None` for one that was accepted here.
    taken: Option<Vec<u8>>,
    /// Another process has it now.
    pub(super) passed: bool,
    /// When its first head is due, counted from accept; `None` once a request was served.
    first_head_due_ns: Option<u64>,
    /// Bytes to write; reused from request to request.
    pub(super) out: Vec<u8>,
    /// The request that is under way upstream: its hold and its place in the log, which even a panic must not lose.
    pub(super) open: Option<Box<Governed>>,
}

impl Connection {
    pub(super) fn new(worker: Rc<Worker>, stream: TcpStream, peer: SocketAddr, cookie: u64, watch: Rc<Watch>) -> Self {
        let first_head_due_ns = Some(tick_ns() + worker.times().head_ns);
        Self {
            worker,
            stream,
            watch,
            peer,
            client: peer,
            cookie,
            token: ConnectionToken::default(),
            bound: None,
            mixed: false,
            watched: false,
            reported: None,
            reports: 0,
            reported_ns: 0,
            ignored: 0,
            audited_in: 0,
            tenant_slot: 0,
            place: None,
            turn: None,
            eof: false,
            taken: None,
            passed: false,
            first_head_due_ns,
            // Taken when there is something to say.
            out: Vec::new(),
            open: None,
        }
    }

    /// Serves requests until the connection ends.
    pub(super) async fn run(&mut self) {
        let mut input = match self.taken.take() {
            Some(taken) => taken,
            None => match self.introduction().await {
                Some(input) => input,
                None => return,
            },
        };
        loop {
            if self.worker.hands_over() && !self.stays(&input).await {
                break;
            }
            if input.is_empty() {
                input = self.first_bytes(input).await;
                if input.is_empty() {
                    break;
                }
                continue;
            }
            if !self.may_begin().await {
                break;
            }
            let (after, rest) = self.next_request(input).await;
            input = rest;
            (self.first_head_due_ns, self.turn) = (None, None);
            if after == After::Close || self.worker.draining() {
                break;
            }
        }
        self.worker.buffers.give(input);
        self.worker.buffers.give(std::mem::take(&mut self.out));
    }

    /// Goes on with a connection that another process passed on.
    pub(super) fn take_over(&mut self, about: &About, input: Vec<u8>) {
        (self.client, self.audited_in, self.ignored) = (about.client, about.audited_in, about.ignored);
        self.taken = Some(input);
    }

    /// Waits, between two requests, until the hand-over is decided. True when the connection goes on here after all, false
    /// when the next process has it, or it could not be passed on.
    async fn stays(&mut self, input: &[u8]) -> bool {
        self.watch.enter(Phase::Govern, tick_ns(), u64::MAX);
        loop {
            match self.worker.hand_over().phase() {
                handing::Phase::Serving | handing::Phase::Preparing => return true,
                handing::Phase::Holding => {}
                handing::Phase::Passing => match self.pass_on(input) {
                    Ok(()) => {
                        self.passed = true;
                        return false;
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be handed over; it is closed");
                        return false;
                    }
                },
            }
            runtime::sleep(HOLD).await;
        }
    }

    fn pass_on(&self, input: &[u8]) -> std::io::Result<()> {
        let fd = self.stream.as_raw_fd();
        let state = self.worker.with_plane(|plane| plane.state(fd, tick_ns()));
        let about = About::new(self.peer, self.client, self.audited_in, self.ignored, state);
        // SAFETY: the stream is open, and borrowed for longer than the call.
        let stream = unsafe { BorrowedFd::borrow_raw(fd) };
        self.worker.hand_over().pass(stream, &about, input)
    }

    /// Reads what a balancer says of the client before the client's first byte, where the configuration promises that.
    /// What was read beyond it comes back; `None` ends the connection.
    async fn introduction(&mut self) -> Option<Vec<u8>> {
        let snapshot = self.worker.snapshot();
        let listen = &snapshot.settings.config.listen;
        if !listen.proxy_protocol || !forwarded::is_trusted(&listen.trusted_proxies, self.peer.ip()) {
            return Some(Vec::new());
        }
        let now = tick_ns();
        self.watch.enter(Phase::Head, now, self.head_due_ns(now));
        let mut input = self.worker.buffers.take();
        loop {
            match proxy::parse(&input) {
                Ok(Some(proxied)) => {
                    self.client = proxied.client.unwrap_or(self.peer);
                    input.drain(..proxied.len);
                    return Some(input);
                }
                Ok(None) => {}
                Err(error) => {
                    self.worker.buffers.give(input);
                    self.refuse_head(Reason::MalformedRequest, error.to_string()).await;
                    return None;
                }
            }
            let (read, buf) = runtime::read_more(&mut self.stream, input, usize::MAX).await;
            input = buf;
            if !matches!(read, Ok(n) if n > 0) {
                self.worker.buffers.give(input);
                return None;
            }
        }
    }

    /// When a head whose first byte is there at `now` is due: the first one's time began at accept.
    fn head_due_ns(&self, now: u64) -> u64 {
        self.first_head_due_ns.unwrap_or_else(|| now + self.worker.times().head_ns)
    }

    /// Waits for a request to begin: the first until its head is due, later ones for the idle time. Where many
    /// connections are open, one that has said nothing yet, or stays idle and gives its buffer back, waits
    /// without one. Empty when the client closed or was cut.
    async fn first_bytes(&mut self, mut buf: Vec<u8>) -> Vec<u8> {
        let now = tick_ns();
        let due_ns = self.first_head_due_ns.unwrap_or_else(|| now + self.worker.times().idle_ns);
        self.watch.enter(Phase::Idle, now, due_ns);
        // A large answer leaves a large buffer behind, which no idle connection may keep.
        if self.out.capacity() > BUFFER_BYTES {
            self.worker.buffers.give(std::mem::take(&mut self.out));
        }
        // Of many connections some come to say nothing.
        let mut parked = self.first_head_due_ns.is_some() && self.worker.sweep.len() > UNPARKED_MAX;
        loop {
            if parked {
                self.watch.park();
                if self.stream.readable(false).await.is_err() {
                    return buf;
                }
            }
            if buf.capacity() == 0 {
                buf = self.worker.buffers.take();
            }
            let read;
            (read, buf) = if self.worker.sweep.len() > UNPARKED_MAX {
                let capacity = buf.capacity();
                let (read, slice) =
                    self.stream.cancelable_read(buf.slice_mut(0..capacity), self.watch.park_handle()).await;
                (read, slice.into_inner())
            } else {
                runtime::read_more(&mut self.stream, buf, usize::MAX).await
            };
            match read {
                // Cut in the same moment: what arrived cannot be answered, so it must not be acted on.
                Ok(_) if self.watch.cut() != Cut::No => {
                    buf.clear();
                    return buf;
                }
                Ok(n) => {
                    self.eof = n == 0;
                    return buf;
                }
                Err(error) if error.raw_os_error() == Some(libc::ECANCELED) && self.watch.cut() == Cut::No => {
                    self.worker.buffers.give(std::mem::take(&mut buf));
                    self.worker.buffers.give(std::mem::take(&mut self.out));
                    parked = true;
                }
                Err(_) => {
                    buf.clear();
                    return buf;
                }
            }
        }
    }

    /// Waits until it is a request's turn to begin, where there are more than time. False ends the connection: the client
    /// went away, or was told that it waited for too long.
    async fn may_begin(&mut self) -> bool {
        if !self.worker.lanes.crowded() {
            return true;
        }
        let lane = match self.bound {
            _ if self.mixed => Lane::Connection(self.cookie),
            Some(tenant) => Lane::Tenant(tenant),
            None => Lane::Source(Source::of(self.client.ip())),
        };
        match self.wait_in(lane).await {
            Ok(()) => true,
            // Nothing is logged here any more, and who waits has a gateway to wait for.
            Err(Reason::Overloaded) if self.worker.hands_over() => true,
            Err(Reason::Overloaded) => {
                self.refuse_head(Reason::Overloaded, "it was not its turn in time".to_owned()).await;
                false
            }
            Err(_) => false,
        }
    }

    /// Waits for a turn in `lane`, unless the request under way had one there.
    ///
    /// # Errors
    /// [`Reason::Overloaded`] if it did not come in time, [`Reason::ClientClosed`] if the client is gone by then, or was cut.
    pub(super) async fn wait_in(&mut self, lane: Lane) -> Result<(), Reason> {
        if self.turn == Some(lane) || !self.worker.lanes.crowded() {
            return Ok(());
        }
        self.watch.enter(Phase::Govern, tick_ns(), u64::MAX);
        self.turn = Some(lane);
        let lanes = Rc::clone(&self.worker.lanes);
        match lanes.turn(lane).await {
            Turn::Late => Err(Reason::Overloaded),
            Turn::Now { waited: false } => Ok(()),
            _ if self.watch.cut() != Cut::No || sweep::is_gone(self.stream.as_raw_fd()) => Err(Reason::ClientClosed),
            Turn::Now { .. } => Ok(()),
        }
    }

    /// Reads and serves the request that starts `input`; hands back what follows it.
    async fn next_request(&mut self, mut input: Vec<u8>) -> (After, Vec<u8>) {
        let limits = self.worker.head_limits();
        let mut scanned = 0;
        let mut waiting = false;
        loop {
            if self.worker.hands_over() {
                // What was read of it is looked at anew, here or by the next process.
                return (After::Reusable, input);
            }
            let served = match head::parse_request(&input, &limits, &mut scanned) {
                Ok(Some(head)) => {
                    let mut body = Body::new(head.framing, head.len, head.expect_continue);
                    let after = self.exchange(&input, &head, &mut body).await;
                    Some(Ok((after, body)))
                }
                Ok(None) => None,
                Err(error) => Some(Err(error)),
            };
            match served {
                Some(Ok((after, body))) => return (after, body.leftover(input)),
                Some(Err(error)) => {
                    self.refuse_head(error.reason(), error.to_string()).await;
                    return (After::Close, input);
                }
                None => {}
            }
            if !std::mem::replace(&mut waiting, true) {
                let now = tick_ns();
                self.watch.enter(Phase::Head, now, self.head_due_ns(now));
            }
            if input.capacity() - input.len() < HEAD_READ_BYTES {
                input.reserve(input.len().max(HEAD_READ_BYTES));
            }
            let (read, buf) = runtime::read_more(&mut self.stream, input, usize::MAX).await;
            input = buf;
            match read {
                Ok(n) if n > 0 => {}
                _ => {
                    if self.watch.cut() == Cut::Deadline {
                        self.refuse_head(Reason::RequestTimeout, "the head did not arrive in time".to_owned()).await;
                    }
                    return (After::Close, input);
                }
            }
        }
    }

    /// Governs one request, sends it upstream, and passes the answer on.
    async fn exchange(&mut self, input: &[u8], head: &RequestHead<'_>, body: &mut Body) -> After {
        let worker = Rc::clone(&self.worker);
        let _busy = worker.begin();
        // A head that was complete in the moment of its deadline is in time.
        self.watch.clear_deadline_cut();
        let trusted = &worker.snapshot().settings.config.listen.trusted_proxies;
        let address = forwarded::client(self.client, trusted, head.all("x-forwarded-for"));
        let inbound = Inbound { head, address, cookie: self.cookie, now: Now::read() };
        if self.out.capacity() == 0 {
            self.out = self.worker.buffers.take();
        }
        self.out.clear();
        let governed = {
            let mut carrier = ClientBody::new(self, input, body);
            pipeline::govern(&worker.core, &inbound, &mut carrier).await
        };
        match governed {
            Ok(governed) => {
                self.ignored = 0;
                relay::exchange(self, head, governed).await
            }
            Err(refused) => self.refuse(&refused, head, input, body).await,
        }
    }

    /// Answers a request that a layer refused.
    async fn refuse(&mut self, refused: &Refused, head: &RequestHead<'_>, input: &[u8], body: &mut Body) -> After {
        self.worker.metrics.finished(refused.reason, mono_ns().saturating_sub(refused.since_ns));
        self.worker.metrics.found(Way::Request, &refused.findings);
        if refused.reason == Reason::ClientClosed {
            return After::Close;
        }
        let snapshot = self.worker.snapshot();
        let (listen, kernel) = (&snapshot.settings.config.listen, &snapshot.settings.config.kernel);
        let drain_max = listen.drain_bytes_max;
        // Who does not listen has to connect again, which is where the kernel plane can refuse it.
        let deaf = self.ignored >= kernel.ignored_429_max;
        let reusable = head.keep_alive && !refused.closes && !deaf && body.drainable(input, drain_max);
        self.out.clear();
        let date = self.worker.date();
        answer::write_refusal(&mut self.out, &date, refused, reusable, head.method == "HEAD");
        if !self.flush().await {
            return After::Close;
        }
        if reusable {
            let now = tick_ns();
            self.watch.enter(Phase::Drain, now, now + self.worker.times().body_ns);
            if body.drain(&mut self.stream, input, drain_max).await == After::Reusable {
                return After::Reusable;
            }
        }
        self.linger().await;
        After::Close
    }

    /// Answers a request whose head cannot be read, and records it.
    async fn refuse_head(&mut self, reason: Reason, detail: String) {
        if self.worker.hands_over() {
            // The log is another process' by now, or about to be.
            return;
        }
        let worker = Rc::clone(&self.worker);
        let snapshot = worker.snapshot();
        let refused = pipeline::refuse_head(&worker.core, snapshot, self.client, self.cookie, reason, detail);
        worker.metrics.finished(reason, 0);
        self.out.clear();
        let date = worker.date();
        answer::write_refusal(&mut self.out, &date, &refused, false, false);
        if self.flush().await {
            self.linger().await;
        }
    }

    /// Ends the request under way: settles its hold, logs its outcome. `None` if there was none.
    pub(super) fn finish(&mut self, reason: Reason) -> Option<Refused> {
        let governed = self.open.take()?;
        let now = governed.began().at(mono_ns());
        self.worker.metrics.finished(reason, governed.elapsed_ns(now));
        self.worker.metrics.found(Way::Request, governed.findings());
        self.worker.metrics.found(Way::Response, governed.response_findings());
        Some(pipeline::finish(*governed, reason, now))
    }

    /// Writes `out`; false when the client is gone.
    pub(super) async fn flush(&mut self) -> bool {
        let now = tick_ns();
        self.watch.enter(Phase::Write, now, now + self.worker.times().write_ns);
        let (written, out) = runtime::write_all(&mut self.stream, std::mem::take(&mut self.out)).await;
        self.out = out;
        self.out.clear();
        written.is_ok()
    }

    /// Closes so that the client can still read what was written: a socket closed over unread bytes sends RST, which
    /// makes the client drop the answer (RFC 9112 §9.6).
    async fn linger(&mut self) {
        let now = tick_ns();
        self.watch.enter(Phase::Drain, now, now + LINGER_NS);
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let mut scrap = self.worker.buffers.take();
        loop {
            scrap.clear();
            let (read, buf) = runtime::read_more(&mut self.stream, scrap, usize::MAX).await;
            scrap = buf;
            if !matches!(read, Ok(n) if n > 0) {
                break;
            }
        }
        self.worker.buffers.give(scrap);
    }
}
