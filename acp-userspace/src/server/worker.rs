//! One worker: a pinned thread with its own runtime, caches, pools and ring. Nothing in it is shared but atomics and
//! immutable snapshots.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, RawFd};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;

use super::buffers::{Buffers, Quota};
use super::connection::Connection;
use super::handing;
use super::lanes::{Arrival, Lane, Lanes};
use super::listener::{self, Reserve, out_of_descriptors};
use super::memory::{self, Giving};
use super::metrics::WorkerMetrics;
use super::places::{Place, Places, Source};
use super::runtime::{self, Canceller, Driver, TcpListener, TcpStream};
use super::sweep::Sweep;
use super::upstream::Pool;
use super::{Shared, quarantine};
use crate::clock::{Now, mono_ns, thread_cpu_ns, tick_ns};
use crate::config::resolved::{Issuer, Per};
use crate::http::forwarded;
use crate::http::head::HeadLimits;
use crate::http::write::{DATE_LEN, DateCache};
use crate::identity::Identity;
use crate::ids::TenantId;
use crate::kernel::book::Principal;
use crate::kernel::{Admission, ConnClosed, WorkerPlane, socket};
use crate::pipeline::{Core, Current, Snapshot};
use crate::reason::Reason;

mod succession;

/// Between looks for idle upstream connections that have expired, and at the shared flags.
const HOUSEKEEPING: Duration = Duration::from_millis(100);

/// The same while the gateway hands over, and between looks of a held connection whether it may go on.
pub(super) const HOLD: Duration = Duration::from_millis(2);

/// After `accept` failed: for lack of descriptors or memory mostly, and never to be tried again in a tight loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the worker does not keep up, accepting may take the CPU time of the worker's other work divided by this.
const ACCEPT_SHARE: u64 = 2;

/// Connections accepted between two looks at the time that takes.
const ACCEPT_BATCH: usize = 16;

/// A key that a token names and nobody has.
#[derive(Debug, Clone)]
pub struct KeyWanted {
    /// The issuer's entry: an index would mean another one after a reload.
    pub issuer: Arc<Issuer>,
    /// The key id.
    pub kid: Arc<str>,
    /// Set when the issuer was asked, or will not be.
    pub answered: Arc<AtomicBool>,
}

/// What a worker tells the control thread.
#[derive(Debug)]
pub enum Signal {
    /// A token names an unknown key.
    KeyWanted(KeyWanted),
    /// A principal of `tenant`, verified from `source`, came back inside its own Retry-After.
    IgnoredLimit {
        /// Where from.
        source: IpAddr,
        /// Whose.
        tenant: TenantId,
        /// Who.
        who: Principal,
        /// Whom the limit counts that told it to wait.
        per: Per,
    },
    /// A principal of `tenant` went on with a loop inside its own Retry-After.
    IgnoredLoop {
        /// Whose.
        tenant: TenantId,
        /// Who.
        who: Principal,
    },
    /// A principal of `tenant` verified on a new connection from `source`.
    Verified {
        /// Where from.
        source: IpAddr,
        /// Whose.
        tenant: TenantId,
        /// Who.
        who: Principal,
    },
    /// A connection ended (tiers without the kernel's own ledger).
    Closed(ConnClosed),
}

/// Durations of the current configuration, in nanoseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times {
    pub(super) idle_ns: u64,
    pub(super) head_ns: u64,
    pub(super) body_ns: u64,
    pub(super) write_ns: u64,
}

/// A worker's state.
pub(super) struct Worker {
    pub(super) core: RefCell<Core>,
    pub(super) buffers: Buffers,
    pub(super) quota: Rc<Quota>,
    pub(super) pool: Pool,
    pub(super) sweep: Rc<Sweep>,
    pub(super) lanes: Rc<Lanes>,
    places: Rc<Places>,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) shared: Arc<Shared>,
    snapshots: RefCell<arc_swap::Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>>,
    current: RefCell<Current>,
    times: Cell<Times>,
    limits: Cell<HeadLimits>,
    date: RefCell<DateCache>,
    plane: RefCell<WorkerPlane>,
    signals: RefCell<rtrb::Producer<Signal>>,
    workers: usize,
    index: usize,
    /// Requests under way.
    busy: Cell<usize>,
    /// Pulled to stop accepting.
    accepting: RefCell<Canceller>,
    /// Accepting has stopped.
    stopped: Cell<bool>,
    /// The gateway was handing over when last looked at.
    holding: Cell<bool>,
}

/// What a worker thread is started with.
pub(super) struct Parts {
    pub(super) index: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) core: Core,
    pub(super) plane: WorkerPlane,
    pub(super) metrics: Arc<WorkerMetrics>,
    pub(super) signals: rtrb::Producer<Signal>,
    pub(super) listener: std::net::TcpListener,
    pub(super) workers: usize,
}

impl Worker {
    fn new(parts: Parts) -> (Rc<Self>, std::net::TcpListener) {
        let mut snapshots = arc_swap::Cache::new(Arc::clone(&parts.shared.snapshot));
        let current = Rc::new(Arc::clone(snapshots.load()));
        let worker = Self {
            core: RefCell::new(parts.core),
            buffers: Buffers::default(),
            quota: Rc::new(Quota::new(0, 0)),
            pool: Pool::default(),
            sweep: Rc::new(Sweep::default()),
            lanes: Rc::default(),
            places: Rc::default(),
            metrics: parts.metrics,
            shared: parts.shared,
            snapshots: RefCell::new(snapshots),
            current: RefCell::new(current),
            times: Cell::default(),
            limits: Cell::new(HeadLimits { bytes_max: 0, headers_max: 0 }),
            date: RefCell::default(),
            plane: RefCell::new(parts.plane),
            signals: RefCell::new(parts.signals),
            workers: parts.workers,
            index: parts.index,
            busy: Cell::default(),
            accepting: RefCell::default(),
            stopped: Cell::default(),
            holding: Cell::default(),
        };
        worker.adopt();
        (Rc::new(worker), parts.listener)
    }

    /// The snapshot a request is decided by: one relaxed load when nothing changed.
    pub(super) fn snapshot(&self) -> Current {
        let changed = {
            let mut snapshots = self.snapshots.borrow_mut();
            let latest = snapshots.load();
            let mut current = self.current.borrow_mut();
            let changed = !Arc::ptr_eq(latest, &current);
            if changed {
                *current = Rc::new(Arc::clone(latest));
            }
            changed
        };
        if changed {
            self.adopt();
        }
        Rc::clone(&self.current.borrow())
    }

    /// Takes bounds and durations over from the current snapshot.
    fn adopt(&self) {
        let current = self.current.borrow();
        let listen = &current.settings.config.listen;
        let ns = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 2);
        self.times.set(Times {
            idle_ns: ns(listen.idle_timeout),
            head_ns: ns(listen.head_timeout),
            body_ns: ns(listen.body_timeout),
            write_ns: ns(listen.write_timeout),
        });
        self.limits.set(HeadLimits { bytes_max: listen.head_bytes_max, headers_max: listen.headers_max });
        self.quota.set_max(
            listen.buffered_bytes_max / self.workers,
            (listen.buffered_bytes_per_tenant_max / self.workers).max(listen.body_bytes_max.min(1 << 20)),
        );
    }

    /// A place for a connection from `ip`, unless there is none, or none for this source. Trusted proxies, who speak for
    /// many, hold as many as there are.
    fn place(&self, ip: IpAddr) -> Option<Place> {
        let current = self.current.borrow();
        let listen = &current.settings.config.listen;
        let source = (!forwarded::is_trusted(&listen.trusted_proxies, ip)).then(|| Source::of(ip));
        self.places.take(source, listen.connections_max.div_ceil(self.workers))
    }

    /// Lets a connection wait until it is its turn to be looked at.
    fn arrive(&self, stream: std::net::TcpStream, peer: SocketAddr) {
        self.metrics.accepted.inc();
        match self.place(peer.ip()) {
            Some(place) => self.lanes.arrive(Arrival { stream, peer, place }),
            None => self.turn_away(stream.as_raw_fd()),
        }
    }

    /// Makes the close of a connection that is not to be served a reset: it leaves no TIME_WAIT behind, and the client
    /// learns at once.
    fn turn_away(&self, fd: RawFd) {
        self.metrics.turned_away.inc();
        let _ = socket::reset_on_close(fd);
    }

    pub(super) fn times(&self) -> Times {
        self.times.get()
    }

    pub(super) fn head_limits(&self) -> HeadLimits {
        self.limits.get()
    }

    /// Whether the gateway is on its way out: no connection is kept from then on, even before the sweep has noticed.
    pub(super) fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// The Date field's current text.
    pub(super) fn date(&self) -> [u8; DATE_LEN] {
        *self.date.borrow_mut().at(Now::read().unix_secs())
    }

    /// Tells the control thread. A full queue loses the signal: each is repeated by the next request that causes it,
    /// but for closed connections, whose loss is counted. Returns whether it was told.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let told = self.signals.borrow_mut().push(signal).is_ok();
        if !told {
            self.shared.signals_lost.inc();
        }
        told
    }

    /// Runs `act` with the worker's half of the kernel plane.
    pub(super) fn with_plane<T>(&self, act: impl FnOnce(&mut WorkerPlane) -> T) -> T {
        act(&mut self.plane.borrow_mut())
    }
}

/// Changes of user that a connection reports as they come: two make the source shared.
const REPORTS_MAX: u8 = 8;
/// Between reports after those: a connection whose every request is another user's must not report each.
const REPORT_INTERVAL_NS: u64 = 1_000_000_000;

/// The identity in the source book's terms.
pub(super) fn principal(identity: &Identity) -> Principal {
    Principal { user: identity.user_key, tenant: identity.tenant_key }
}

/// Binds a connection's first verified tenant to its socket, and notices a second one.
impl Connection {
    pub(super) fn bind(&mut self, identity: &Identity) {
        self.report(identity);
        if self.bound == Some(identity.tenant_key) {
            return;
        }
        if !self.mixed {
            self.mixed = self.bound.is_some();
            self.tell_ledger(identity);
        }
        self.bound = Some(identity.tenant_key);
    }

    /// Reports who verified from a source that can be learned of: once per connection and user, again with the next
    /// request where the report was lost. One connection that carries many users in turn has said so soon enough, and
    /// says it again once a second.
    fn report(&mut self, identity: &Identity) {
        let who = principal(identity);
        if !self.watched || self.reported == Some(who) {
            return;
        }
        let now = tick_ns();
        if self.reports == REPORTS_MAX && now.saturating_sub(self.reported_ns) < REPORT_INTERVAL_NS {
            return;
        }
        let signal = Signal::Verified { source: self.peer.ip(), tenant: identity.tenant.clone(), who };
        if self.worker.signal(signal) {
            (self.reported, self.reported_ns) = (Some(who), now);
            self.reports = (self.reports + 1).min(REPORTS_MAX);
        } else {
            self.worker.shared.reports_lost.inc();
        }
    }

    fn tell_ledger(&mut self, identity: &Identity) {
        let fd = self.stream.as_raw_fd();
        let bound = self.worker.with_plane(|plane| {
            let slot = plane.slot(&identity.tenant);
            plane.bind(fd, slot, mono_ns()).map(|()| slot)
        });
        match bound {
            Ok(slot) => self.tenant_slot = slot.slot,
            Err(error) => tracing::warn!(%error, "the kernel's ledger cannot name this connection's tenant"),
        }
    }
}

/// A worker thread's whole life: runs until the shared flag says stop and the last connection ended.
///
/// # Errors
/// When no runtime can be had.
pub(super) fn run(parts: Parts, best: Driver) -> io::Result<()> {
    runtime::run(best, |driver| async move {
        let metrics = Arc::clone(&parts.metrics);
        metrics.driver.set(driver as u64);
        let (worker, listener) = Worker::new(parts);
        // One that was handed over may be as another driver wants it.
        listener.set_nonblocking(driver == Driver::Epoll)?;
        let queue = Rc::new(listener.try_clone()?);
        let listener = TcpListener::from_std(listener)?;
        metrics.beat.set(mono_ns());
        let sweep = Rc::clone(&worker.sweep);
        runtime::spawn(sweep.run(Rc::clone(&worker.lanes)));
        runtime::spawn(deal(Rc::clone(&worker)));
        runtime::spawn(accept(Rc::clone(&worker), listener, Rc::clone(&queue)));
        runtime::spawn(succession::adopt(Rc::clone(&worker)));
        housekeeping(&worker, &queue).await;
        Ok(())
    })?
}

/// Looks at shared state until the worker may end.
async fn housekeeping(worker: &Rc<Worker>, queue: &std::net::TcpListener) {
    let (mut drain_until, mut giving, listed) = (None, Giving::new(mono_ns()), Cell::new(0));
    loop {
        runtime::sleep(worker.pause()).await;
        worker.tend_hand_over();
        if giving.is_due(worker.sweep.len(), worker.lanes.crowded(), mono_ns()) {
            worker.buffers.forget();
            memory::give_back();
        }
        worker.metrics.beat.set(mono_ns());
        worker.with_plane(WorkerPlane::looked);
        worker.shared.live.answer(&listed, || worker.with_plane(|plane| plane.live(mono_ns())));
        let snapshot = worker.snapshot();
        quarantine::reset(worker, &snapshot.quarantined);
        let upstreams = &snapshot.settings.config.upstreams;
        worker.pool.expire(mono_ns(), snapshot.settings.generation, |at| {
            upstreams.get(at).map_or(Duration::ZERO, |upstream| upstream.idle_timeout)
        });
        worker.metrics.open.set(worker.sweep.len() as u64);
        worker.metrics.waiting.set(worker.lanes.len() as u64);
        worker.metrics.buffered_bytes.set(worker.quota.held() as u64);
        let passing = worker.hand_over().phase() == handing::Phase::Passing;
        if passing || worker.draining() {
            let timeout = snapshot.settings.config.listen.drain_timeout.as_nanos() as u64;
            let until = *drain_until.get_or_insert_with(|| mono_ns() + timeout);
            // The listeners of a process that hands over are its successor's.
            if !passing && !worker.sweep.draining() {
                worker.sweep.drain();
                worker.with_plane(WorkerPlane::drain);
                close(worker, queue);
            }
            if worker.sweep.is_empty() && worker.lanes.len() == 0 {
                return;
            }
            if mono_ns() >= until {
                worker.sweep.cut_all();
            }
        }
    }
}

/// Accepts until the gateway drains.
async fn accept(worker: Rc<Worker>, listener: TcpListener, queue: Rc<std::net::TcpListener>) {
    let (mut reserve, mut failing, mut was_crowded) = (Reserve::new(), false, false);
    let mut time = AcceptTime { since_ns: thread_cpu_ns() };
    loop {
        if worker.hands_over() {
            worker.stopped.set(true);
            while worker.hands_over() {
                if worker.hand_over().phase() == handing::Phase::Passing {
                    return;
                }
                runtime::sleep(HOLD).await;
            }
            worker.stopped.set(false);
        }
        let until = worker.accepting.borrow().handle();
        match listener.cancelable_accept(until).await {
            Ok((stream, peer)) => {
                failing = false;
                let crowded = worker.lanes.crowded();
                if std::mem::replace(&mut was_crowded, crowded) != crowded {
                    listener::crowd(&queue, crowded);
                }
                if crowded {
                    time.spend(&worker, stream, peer, &queue);
                } else {
                    worker.metrics.accepted.inc();
                    let place = worker.place(peer.ip());
                    admit(&worker, stream, peer, place, None);
                }
            }
            // The client went away in the queue: the next one may be there already.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNABORTED | libc::EINTR | libc::ECANCELED)) => {}
            Err(_) if worker.draining() => return,
            Err(error) => {
                let shed = if out_of_descriptors(&error) { reserve.shed(&queue) } else { 0 };
                worker.metrics.turned_away.add(shed as u64);
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, shed, "accept failed; connections are turned away until it succeeds");
                }
                runtime::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Deals turns, to connections that were not looked at yet among others.
async fn deal(worker: Rc<Worker>) {
    let start = |Arrival { stream, peer, place }| {
        start(&worker, stream, peer, Some(place), Some(Lane::Source(Source::of(peer.ip()))))
    };
    let reset = |count: usize| worker.metrics.turned_away.add(count as u64);
    Rc::clone(&worker.lanes).deal(start, reset).await;
}

/// CPU time that accepting may take where the worker does not keep up.
struct AcceptTime {
    /// When it was last used up.
    since_ns: u64,
}

impl AcceptTime {
    /// Where the worker does not keep up, connections wait for their turn, as many as there is time to accept: those whom
    /// it will serve are in the kernel's queue among those whom it will not.
    fn spend(&mut self, worker: &Rc<Worker>, first: TcpStream, peer: SocketAddr, queue: &std::net::TcpListener) {
        // SAFETY: `into_raw_fd` gives up ownership of an open socket.
        let first = unsafe { std::net::TcpStream::from_raw_fd(first.into_raw_fd()) };
        let began_ns = thread_cpu_ns();
        let until_ns = began_ns + began_ns.saturating_sub(self.since_ns) / ACCEPT_SHARE;
        let mut next = Some((first, peer));
        for accepted in 1.. {
            let Some((stream, peer)) = next else { break };
            worker.arrive(stream, peer);
            let go_on = accepted % ACCEPT_BATCH > 0 || thread_cpu_ns() < until_ns;
            next = if go_on { listener::take(queue) } else { None };
        }
        self.since_ns = thread_cpu_ns();
    }
}

/// The beginning of a drain: who waits in the queue is served once more, who comes later is not let in.
fn close(worker: &Rc<Worker>, queue: &std::net::TcpListener) {
    for (stream, peer) in listener::close(queue) {
        worker.metrics.accepted.inc();
        start(worker, stream, peer, worker.place(peer.ip()), None);
    }
}

/// Admits a connection that the runtime did not accept itself.
fn start(worker: &Rc<Worker>, stream: std::net::TcpStream, peer: SocketAddr, place: Option<Place>, turn: Option<Lane>) {
    let stream = match worker.metrics.driver.value() == Driver::Epoll as u64 {
        true => stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream)),
        false => TcpStream::from_std(stream),
    };
    match stream {
        Ok(stream) => admit(worker, stream, peer, place, turn),
        Err(error) => tracing::warn!(%error, "a queued connection cannot be served"),
    }
}

/// Starts a connection's task, unless a bound or a penalty says no. `turn` is the lane in which it had its turn already.
fn admit(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, place: Option<Place>, turn: Option<Lane>) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let fd = stream.as_raw_fd();
    let Some(place) = place else { return worker.turn_away(fd) };
    if worker.with_plane(|plane| plane.admit(fd, peer, mono_ns())) == Admission::Refuse {
        return worker.turn_away(fd);
    }
    begin(worker, stream, peer, |connection| {
        connection.place = Some(place);
        connection.turn = turn;
    });
}

/// Starts a connection's task.
fn begin(worker: &Rc<Worker>, stream: TcpStream, peer: SocketAddr, with: impl FnOnce(&mut Connection)) {
    let fd = stream.as_raw_fd();
    let cookie = socket::cookie(fd).unwrap_or(0);
    let watch = worker.sweep.add(fd);
    worker.with_plane(|plane| plane.load(worker.sweep.len() as u32));
    let mut connection = Connection::new(Rc::clone(worker), stream, peer, cookie, watch);
    with(&mut connection);
    connection.watched = !worker.shared.sources.load().is_exempt(peer.ip());
    runtime::spawn(serve(connection));
}

/// A connection from its first byte to its ledger row; a panic in it ends it and nothing else.
async fn serve(mut connection: Connection) {
    let worker = Rc::clone(&connection.worker);
    if CatchUnwind(Box::pin(connection.run())).await.is_err() {
        worker.metrics.panics.inc();
        tracing::error!(peer = %connection.peer, "a connection's task panicked; it was closed");
        connection.finish(Reason::Internal);
    }
    worker.sweep.remove(&connection.watch);
    let fd = connection.stream.as_raw_fd();
    if connection.passed {
        worker.with_plane(|plane| plane.leave(fd));
    } else if let Some(closed) =
        worker.with_plane(|plane| plane.closed(fd, connection.eof, connection.audited_in, mono_ns()))
    {
        worker.signal(Signal::Closed(closed));
    }
    drop(connection);
    worker.with_plane(|plane| plane.load(worker.sweep.len() as u32));
}

/// A future whose panic becomes a value.
struct CatchUnwind<F>(Pin<Box<F>>);

impl<F: Future> Future for CatchUnwind<F> {
    type Output = std::thread::Result<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let inner = self.0.as_mut();
        match std::panic::catch_unwind(AssertUnwindSafe(|| inner.poll(context))) {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(output)) => Poll::Ready(Ok(output)),
            Err(panic) => Poll::Ready(Err(panic)),
        }
    }
}
