//! Deadlines without timers: every connection keeps its deadline in a cell, one task per worker looks at all of them
//! every [`TICK`].
//!
//! A timer per read costs 1 µs per request; this costs one walk over the open connections twenty times a second. The
//! sweep acts by shutting sockets down, so the operation in flight ends by itself and the connection's own task cleans
//! up; why it was cut stands in [`Cut`]. Deadlines are therefore kept to within one tick.
//!
//! The same walk finds clients that went away while their answer is due: one `poll(2)` over the clients that wait
//! longer than [`WATCH_AFTER_NS`] for an upstream.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::Rc;
use std::time::Duration;

use super::lanes::Lanes;
use super::runtime::{self, Canceller};
use crate::clock::mono_ns;
use crate::kernel::socket;

/// Between two sweeps.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// The same while no connection is open: an idle gateway costs next to nothing, and the first connection's deadlines,
/// all of them longer, are kept to within this.
const TICK_EMPTY: Duration = Duration::from_millis(200);

/// At a drain, a connection that became idle this recently is left alone: its request may be on the way in.
const DRAIN_GRACE_NS: u64 = 50_000_000;

/// A client whose upstream has not answered for this long is watched for disconnection.
const WATCH_AFTER_NS: u64 = 50_000_000;

/// An idle connection gives its buffer back after this long.
const PARK_AFTER_NS: u64 = 1_000_000_000;

/// A connection that is still there this long after its deadline cut it is closed altogether.
const GRACE_NS: u64 = 1_000_000_000;

/// What a connection is doing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    /// Waiting for the first byte of a request, with a buffer at hand.
    Idle,
    /// The same, without a buffer.
    Parked,
    /// Reading a head.
    Head,
    /// Reading a body.
    Body,
    /// Waiting for a key, a lease or the log, each with a deadline of its own.
    Govern,
    /// Waiting for, or passing on, an upstream's answer.
    Upstream,
    /// Writing to the client.
    Write,
    /// Draining an unread body.
    Drain,
}

/// Why the sweep cut a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cut {
    /// It did not.
    No,
    /// The phase's deadline passed.
    Deadline,
    /// The client closed while its answer was due.
    ClientGone,
    /// The gateway is shutting down.
    Shutdown,
    /// The tenant is in quarantine.
    Quarantine,
}

/// One connection as the sweep sees it.
pub(super) struct Watch {
    client: RawFd,
    upstream: Cell<Option<RawFd>>,
    phase: Cell<Phase>,
    since_ns: Cell<u64>,
    deadline_ns: Cell<u64>,
    cut: Cell<Cut>,
    half_close: Cell<bool>,
    park: RefCell<Option<Canceller>>,
    /// Where it stands among the open ones.
    at: Cell<usize>,
}

impl Watch {
    /// Enters a phase that must end by `deadline_ns` (CLOCK_MONOTONIC; `u64::MAX` for never). Times of the last tick do:
    /// the sweep is coarser.
    pub(super) fn enter(&self, phase: Phase, now_ns: u64, deadline_ns: u64) {
        self.phase.set(phase);
        self.since_ns.set(now_ns);
        self.deadline_ns.set(deadline_ns);
    }

    /// The idle connection gave its buffer back; its deadline stands.
    pub(super) fn park(&self) {
        self.phase.set(Phase::Parked);
    }

    /// Names the upstream socket in use, so that a cut ends its operation too.
    pub(super) fn set_upstream(&self, fd: Option<RawFd>) {
        self.upstream.set(fd);
    }

    /// A client's FIN is not a disconnect on this route.
    pub(super) fn set_half_close(&self, on: bool) {
        self.half_close.set(on);
    }

    /// Why the connection was cut, if it was.
    #[must_use]
    pub(super) fn cut(&self) -> Cut {
        self.cut.get()
    }

    /// A canceller for the idle read; the sweep pulls it to park the connection.
    #[must_use]
    pub(super) fn park_handle(&self) -> monoio::io::CancelHandle {
        self.park.borrow_mut().get_or_insert_with(Canceller::new).handle()
    }

    fn cut_now(&self, why: Cut) {
        let first = self.cut.get() == Cut::No;
        if first {
            self.cut.set(why);
        }
        if let Some(fd) = self.upstream.get() {
            shutdown(fd, libc::SHUT_RDWR);
        }
        match self.phase.get() {
            // The client of a deadline that the upstream missed still gets its 504.
            Phase::Upstream if first && why == Cut::Deadline => {}
            // A client too slow to ask is told so (408); nothing more of it is read.
            Phase::Head | Phase::Body if first && why == Cut::Deadline => shutdown(self.client, libc::SHUT_RD),
            _ => shutdown(self.client, libc::SHUT_RDWR),
        }
    }
}

impl Watch {
    /// Forgets a deadline cut that ended an upstream operation only: the client's connection goes on.
    pub(super) fn clear_deadline_cut(&self) {
        if self.cut.get() == Cut::Deadline {
            self.cut.set(Cut::No);
        }
    }
}

/// All connections of a worker.
#[derive(Default)]
pub(super) struct Sweep {
    open: RefCell<Vec<Rc<Watch>>>,
    draining: Cell<bool>,
}

impl Sweep {
    /// Registers a connection; it must be removed by [`Sweep::remove`] before its socket closes.
    #[must_use]
    pub(super) fn add(&self, client: RawFd) -> Rc<Watch> {
        let watch = Rc::new(Watch {
            client,
            upstream: Cell::new(None),
            phase: Cell::new(Phase::Idle),
            since_ns: Cell::new(mono_ns()),
            deadline_ns: Cell::new(u64::MAX),
            cut: Cell::new(Cut::No),
            half_close: Cell::new(false),
            park: RefCell::new(None),
            at: Cell::new(self.len()),
        });
        self.open.borrow_mut().push(Rc::clone(&watch));
        watch
    }

    /// Forgets a connection.
    pub(super) fn remove(&self, watch: &Rc<Watch>) {
        let mut open = self.open.borrow_mut();
        let at = watch.at.get();
        if open.get(at).is_some_and(|other| Rc::ptr_eq(other, watch)) {
            open.swap_remove(at);
            if let Some(moved) = open.get(at) {
                moved.at.set(at);
            }
        }
    }

    /// Open connections.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.open.borrow().len()
    }

    /// Whether none is open.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.open.borrow().is_empty()
    }

    /// From now on idle connections are closed as soon as they are seen.
    pub(super) fn drain(&self) {
        self.draining.set(true);
    }

    /// Whether [`Sweep::drain`] was called.
    #[must_use]
    pub(super) fn draining(&self) -> bool {
        self.draining.get()
    }

    /// Cuts every connection: the drain deadline passed.
    pub(super) fn cut_all(&self) {
        for watch in self.open.borrow().iter() {
            watch.cut_now(Cut::Shutdown);
        }
    }

    /// Resets these connections; how many of them were there to be reset. One that was cut before is not reset again.
    pub(super) fn reset(&self, clients: &[RawFd]) -> u64 {
        let open = self.open.borrow();
        let meant = open.iter().filter(|watch| watch.cut() == Cut::No && clients.contains(&watch.client));
        let reset = |watch: &Rc<Watch>| {
            if let Err(error) = socket::reset_on_close(watch.client) {
                tracing::debug!(%error, "a connection of a tenant in quarantine ends, and is not reset");
            }
            watch.cut_now(Cut::Quarantine);
        };
        meant.map(reset).count() as u64
    }

    /// Sweeps for ever, and tells `lanes` how late it came to it.
    pub(super) async fn run(self: Rc<Self>, lanes: Rc<Lanes>) {
        let mut polled = Polled::default();
        loop {
            let began_ns = mono_ns();
            let tick = if self.is_empty() { TICK_EMPTY } else { TICK };
            runtime::sleep(tick).await;
            let now_ns = mono_ns();
            lanes.timer(now_ns, (now_ns - began_ns).saturating_sub(tick.as_nanos() as u64));
            self.once(now_ns, &mut polled);
        }
    }

    /// One sweep.
    fn once(&self, now_ns: u64, polled: &mut Polled) {
        polled.clear();
        let open = self.open.borrow();
        for (at, watch) in open.iter().enumerate() {
            let idle = matches!(watch.phase.get(), Phase::Idle | Phase::Parked);
            if watch.deadline_ns.get() <= now_ns {
                watch.deadline_ns.set(now_ns.saturating_add(GRACE_NS));
                watch.cut_now(Cut::Deadline);
            } else if idle && self.draining.get() && now_ns.saturating_sub(watch.since_ns.get()) >= DRAIN_GRACE_NS {
                watch.cut_now(Cut::Shutdown);
            } else if watch.phase.get() == Phase::Idle && now_ns.saturating_sub(watch.since_ns.get()) > PARK_AFTER_NS {
                let canceller = watch.park.borrow_mut().take();
                if let Some(canceller) = canceller {
                    *watch.park.borrow_mut() = Some(canceller.cancel());
                }
            } else if watch.phase.get() == Phase::Upstream
                && !watch.half_close.get()
                && now_ns.saturating_sub(watch.since_ns.get()) > WATCH_AFTER_NS
            {
                polled.push(watch.client, at);
            }
        }
        for at in polled.hung_up() {
            open[at].cut_now(Cut::ClientGone);
        }
    }
}

/// Clients polled in one sweep; kept between sweeps so that a sweep does not allocate.
#[derive(Default)]
struct Polled {
    fds: Vec<libc::pollfd>,
    at: Vec<usize>,
}

impl Polled {
    fn clear(&mut self) {
        self.fds.clear();
        self.at.clear();
    }

    fn push(&mut self, fd: RawFd, at: usize) {
        self.fds.push(libc::pollfd { fd, events: libc::POLLRDHUP, revents: 0 });
        self.at.push(at);
    }

    /// Which clients sent FIN or RST; data that waits unread does not hide it.
    fn hung_up(&mut self) -> impl Iterator<Item = usize> + '_ {
        const GONE: libc::c_short = libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR;
        if !self.fds.is_empty() {
            // SAFETY: `fds` is a live array of that many pollfd structures; a zero timeout does not block.
            // A failure leaves every `revents` zero: nobody hung up.
            unsafe { libc::poll(self.fds.as_mut_ptr(), self.fds.len() as libc::nfds_t, 0) };
        }
        self.fds.iter().zip(&self.at).filter(|(fd, _)| fd.revents & GONE != 0).map(|(_, at)| *at)
    }
}

/// Whether the peer of `fd` has reset the connection, or both sides have closed it.
pub(super) fn is_gone(fd: RawFd) -> bool {
    let mut poll = libc::pollfd { fd, events: 0, revents: 0 };
    // SAFETY: `poll` is one live pollfd; a zero timeout does not block. POLLERR and POLLHUP need not be asked for.
    unsafe { libc::poll(&raw mut poll, 1, 0) };
    poll.revents & (libc::POLLERR | libc::POLLHUP) != 0
}

fn shutdown(fd: RawFd, how: libc::c_int) {
    // SAFETY: shutdown(2) takes no memory; the connection that owns `fd` is registered, so it has not closed it yet.
    unsafe { libc::shutdown(fd, how) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::fd::AsRawFd;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn a_passed_deadline_ends_the_connection() {
        let (mut client, server) = pair();
        let sweep = Sweep::default();
        let watch = sweep.add(server.as_raw_fd());
        watch.enter(Phase::Idle, 0, 1_000);
        sweep.once(999, &mut Polled::default());
        assert_eq!(watch.cut(), Cut::No);
        sweep.once(1_000, &mut Polled::default());
        assert_eq!(watch.cut(), Cut::Deadline);
        assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "the client reads end of stream");
        sweep.remove(&watch);
        assert!(sweep.is_empty());
    }

    #[test]
    fn connections_are_forgotten_in_any_order() {
        let (_client, server) = pair();
        let sweep = Sweep::default();
        let mut watches: Vec<_> = (0..8).map(|_| sweep.add(server.as_raw_fd())).collect();
        for at in [3, 0, 5, 2, 2, 0, 1, 0] {
            let watch = watches.swap_remove(at);
            sweep.remove(&watch);
            sweep.remove(&watch);
            assert_eq!(sweep.len(), watches.len());
            assert!(watches.iter().all(|watch| Rc::ptr_eq(&sweep.open.borrow()[watch.at.get()], watch)));
        }
    }

    #[test]
    fn a_client_too_slow_to_ask_is_told_so_and_closed_if_it_stays() {
        use std::io::Write;
        for phase in [Phase::Head, Phase::Body] {
            let (mut client, mut server) = pair();
            let sweep = Sweep::default();
            let watch = sweep.add(server.as_raw_fd());
            watch.enter(phase, 0, 1_000);
            sweep.once(1_000, &mut Polled::default());
            assert_eq!(watch.cut(), Cut::Deadline);
            assert_eq!(server.read(&mut [0; 1]).unwrap(), 0, "a pending read ends");
            server.write_all(b"408").unwrap();
            let mut told = [0; 3];
            client.read_exact(&mut told).unwrap();
            assert_eq!(&told, b"408");
            sweep.once(1_000 + GRACE_NS, &mut Polled::default());
            assert_eq!(client.read(&mut [0; 1]).unwrap(), 0, "closed at the end of its grace");
        }
    }

    #[test]
    fn a_slow_upstream_is_cut_without_the_client() {
        let (mut client, server) = pair();
        let (mut backend, upstream) = pair();
        let sweep = Sweep::default();
        let watch = sweep.add(server.as_raw_fd());
        watch.set_upstream(Some(upstream.as_raw_fd()));
        watch.enter(Phase::Upstream, 0, 10);
        sweep.once(10, &mut Polled::default());
        assert_eq!(watch.cut(), Cut::Deadline);
        assert_eq!(backend.read(&mut [0; 1]).unwrap(), 0);
        client.set_nonblocking(true).unwrap();
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
    }

    #[test]
    fn a_client_that_closed_is_seen_even_behind_unread_bytes() {
        let (mut client, server) = pair();
        let sweep = Sweep::default();
        let watch = sweep.add(server.as_raw_fd());
        watch.enter(Phase::Upstream, 0, u64::MAX);
        client.write_all(b"pipelined").unwrap();
        sweep.once(2 * WATCH_AFTER_NS, &mut Polled::default());
        assert_eq!(watch.cut(), Cut::No);
        client.shutdown(Shutdown::Write).unwrap();
        sweep.once(3 * WATCH_AFTER_NS, &mut Polled::default());
        assert_eq!(watch.cut(), Cut::ClientGone);
    }

    #[test]
    fn half_close_routes_keep_a_client_that_sent_fin() {
        let (client, server) = pair();
        let sweep = Sweep::default();
        let watch = sweep.add(server.as_raw_fd());
        watch.set_half_close(true);
        watch.enter(Phase::Upstream, 0, u64::MAX);
        client.shutdown(Shutdown::Write).unwrap();
        sweep.once(2 * WATCH_AFTER_NS, &mut Polled::default());
        assert_eq!(watch.cut(), Cut::No);
    }

    #[test]
    fn draining_closes_idle_connections_only() {
        let (_a, idle) = pair();
        let (_b, busy) = pair();
        let (_c, waiting) = pair();
        let (_d, fresh) = pair();
        let sweep = Sweep::default();
        let (idle, busy) = (sweep.add(idle.as_raw_fd()), sweep.add(busy.as_raw_fd()));
        let waiting = sweep.add(waiting.as_raw_fd());
        busy.enter(Phase::Body, 0, u64::MAX);
        waiting.enter(Phase::Govern, 0, u64::MAX);
        idle.enter(Phase::Idle, 0, u64::MAX);
        let fresh = sweep.add(fresh.as_raw_fd());
        fresh.enter(Phase::Idle, 1, u64::MAX);
        sweep.drain();
        sweep.once(DRAIN_GRACE_NS, &mut Polled::default());
        assert_eq!((idle.cut(), busy.cut(), waiting.cut()), (Cut::Shutdown, Cut::No, Cut::No));
        assert_eq!(fresh.cut(), Cut::No, "its request may be on the way in");
        sweep.once(DRAIN_GRACE_NS + 1, &mut Polled::default());
        assert_eq!(fresh.cut(), Cut::Shutdown);
    }
}
