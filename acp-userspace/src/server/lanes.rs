//! Who is served next when there is more to do than time.
//!
//! While a worker keeps up, nobody waits here: asking costs one load. When it does not, by the lateness of its own timer,
//! requests wait for their turn in lanes: of the tenant that their connection last spoke for, of their source before any
//! token of it verified, of the connection itself where several tenants share it. So do connections that were accepted
//! and not looked at yet: the kernel's queue is emptied at once, because it has no lanes. Lanes take turns, and the three
//! kinds of lanes do, tenants every other; so a tenant with one request waits for one request of each other tenant, however many those have
//! queued. What the gateway does with a turn is the same work as ever.
//!
//! Within a lane the last to come is the first to be served: under overload the oldest is the one whose client has given
//! up (Maurer, "Fail at Scale", ACM Queue 2015). A request that waited for [`WAIT_MAX_NS`] is answered 503, a connection
//! is reset. Whose client is seen to have gone is closed without a turn.
//!
//! Turns are dealt in rounds. A round is as large as the worker gets done in about [`ROUND_NS`], found by growing the
//! number of turns slowly and shrinking it fast.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use hashbrown::HashMap;

use super::places::{Place, Source};
use super::runtime;
use super::sweep::is_gone;
use crate::clock::mono_ns;
use crate::ids::Key128;
use crate::kernel::socket::reset_on_close;

/// A timer this late says that the worker does not keep up.
const LATE_NS: u64 = 25_000_000;
/// It does again when for this long no timer was so late and nobody waited.
const CALM_NS: u64 = 1_000_000_000;
/// A round that takes longer was too large.
const ROUND_NS: u64 = 10_000_000;
/// Turns of a round, at least: some progress, whatever else the worker is busy with.
const TURNS_MIN: usize = 16;
/// At most: what fits a round if each takes 2 µs.
const TURNS_MAX: usize = 5_000;
/// Turns of the first round.
const TURNS_FIRST: usize = 64;
/// Longest wait for a turn: as long as a client can be expected to.
pub(super) const WAIT_MAX_NS: u64 = 1_000_000_000;
/// Of one lane, per visit: requests that waited too long are answered, but never instead of those that can be served.
const EXPIRED_MAX: usize = 2;

/// Where a request waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lane {
    /// With the requests of its tenant.
    Tenant(Key128),
    /// With those of its source: no token was verified on this connection yet.
    Source(Source),
    /// By itself: the connection, by its cookie, carries several tenants.
    Connection(u64),
}

/// How a wait ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turn {
    /// It is this request's turn.
    Now {
        /// It waited, so its client may be gone.
        waited: bool,
    },
    /// It did not come in time.
    Late,
}

/// A connection that nobody has looked at yet.
#[derive(Debug)]
pub(super) struct Arrival {
    /// Its socket.
    pub(super) stream: TcpStream,
    /// Whom it came from.
    pub(super) peer: SocketAddr,
    /// What it holds of its source's places.
    pub(super) place: Place,
}

/// A request that waits.
#[derive(Debug, Default)]
struct Ticket {
    turn: Cell<Option<Turn>>,
    waker: RefCell<Option<Waker>>,
}

impl Ticket {
    fn call(&self, turn: Turn) {
        self.turn.set(Some(turn));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Who waits.
#[derive(Debug)]
enum Who {
    Request(Rc<Ticket>),
    Arrival(Arrival),
}

/// What came of a lane's turn.
#[derive(Debug, Default)]
struct Dealt {
    /// A connection whose turn it is.
    arrival: Option<Arrival>,
    /// How many left the lane.
    left: usize,
    /// Connections reset because they waited too long.
    reset: usize,
}

/// Lanes of one kind, taking turns.
#[derive(Debug)]
struct Rota<K> {
    /// Lanes with somebody in them, the next one first.
    order: VecDeque<K>,
    /// By lane, with when they came.
    waiting: HashMap<K, VecDeque<(u64, Who)>>,
}

impl<K> Default for Rota<K> {
    fn default() -> Self {
        Self { order: VecDeque::new(), waiting: HashMap::new() }
    }
}

impl<K: Copy + Eq + Hash> Rota<K> {
    fn push(&mut self, lane: K, since_ns: u64, who: Who) {
        let waiting = self.waiting.entry(lane).or_default();
        if waiting.is_empty() {
            self.order.push_back(lane);
        }
        waiting.push_back((since_ns, who));
    }

    /// Gives the next lane its turn; `None` when nobody waits.
    fn turn(&mut self, now_ns: u64) -> Option<Dealt> {
        let lane = self.order.pop_front()?;
        let waiting = self.waiting.get_mut(&lane)?;
        let mut dealt = Dealt::default();
        while dealt.left < EXPIRED_MAX
            && let Some((_, oldest)) = waiting.pop_front_if(|(since, _)| now_ns.saturating_sub(*since) > WAIT_MAX_NS)
        {
            dealt.left += 1;
            match oldest {
                Who::Request(ticket) => ticket.call(Turn::Late),
                Who::Arrival(arrival) => {
                    dealt.reset += 1;
                    // A reset leaves no TIME_WAIT behind, and the client learns at once.
                    let _ = reset_on_close(arrival.stream.as_raw_fd());
                }
            }
        }
        while let Some((_, latest)) = waiting.pop_back() {
            dealt.left += 1;
            match latest {
                // Held by the lane alone: its task is gone.
                Who::Request(ticket) if Rc::strong_count(&ticket) == 1 => continue,
                Who::Arrival(arrival) if is_gone(arrival.stream.as_raw_fd()) => continue,
                Who::Request(ticket) => ticket.call(Turn::Now { waited: true }),
                Who::Arrival(arrival) => dealt.arrival = Some(arrival),
            }
            break;
        }
        if waiting.is_empty() {
            self.waiting.remove(&lane);
        } else {
            self.order.push_back(lane);
        }
        Some(dealt)
    }
}

/// Everybody who waits.
#[derive(Debug, Default)]
struct Queue {
    tenants: Rota<Key128>,
    sources: Rota<Source>,
    connections: Rota<u64>,
    /// Which kind's turn it is.
    kind: usize,
    len: usize,
}

impl Queue {
    fn push(&mut self, lane: Lane, since_ns: u64, who: Who) {
        self.len += 1;
        match lane {
            Lane::Tenant(tenant) => self.tenants.push(tenant, since_ns, who),
            Lane::Source(source) => self.sources.push(source, since_ns, who),
            Lane::Connection(cookie) => self.connections.push(cookie, since_ns, who),
        }
    }

    /// The next turn, of the next kind that has somebody waiting; `None` when nobody does. Tenants have every other turn:
    /// a token cannot be had as easily as an address.
    fn turn(&mut self, now_ns: u64) -> Option<Dealt> {
        for _ in 0..4 {
            self.kind = (self.kind + 1) % 4;
            let dealt = match self.kind {
                0 | 2 => self.tenants.turn(now_ns),
                1 => self.sources.turn(now_ns),
                _ => self.connections.turn(now_ns),
            };
            if let Some(dealt) = dealt {
                self.len -= dealt.left;
                return Some(dealt);
            }
        }
        None
    }
}

/// A worker's lanes.
#[derive(Debug)]
pub(super) struct Lanes {
    crowded: Cell<bool>,
    /// When a timer was late or somebody waited last.
    uneasy_ns: Cell<u64>,
    queue: RefCell<Queue>,
    /// Of the task that deals turns, while nobody waits.
    dealer: RefCell<Option<Waker>>,
}

impl Default for Lanes {
    fn default() -> Self {
        Self {
            crowded: Cell::new(false),
            uneasy_ns: Cell::new(0),
            queue: RefCell::default(),
            dealer: RefCell::default(),
        }
    }
}

impl Lanes {
    /// Whether requests have to wait for their turn.
    #[must_use]
    pub(super) fn crowded(&self) -> bool {
        self.crowded.get()
    }

    /// How many wait.
    #[must_use]
    pub(super) fn len(&self) -> usize {
        self.queue.borrow().len
    }

    /// A timer that was due `late_ns` ago rang now. To be told at least some times a second while requests come.
    pub(super) fn timer(&self, now_ns: u64, late_ns: u64) {
        if late_ns >= LATE_NS || self.len() > 0 {
            self.uneasy_ns.set(now_ns);
        }
        let crowded =
            late_ns >= LATE_NS || (self.crowded.get() && now_ns.saturating_sub(self.uneasy_ns.get()) < CALM_NS);
        self.crowded.set(crowded);
    }

    /// Waits for the turn of a request in `lane`.
    pub(super) async fn turn(&self, lane: Lane) -> Turn {
        if !self.crowded() {
            return Turn::Now { waited: false };
        }
        let ticket = Rc::new(Ticket::default());
        self.push(lane, Who::Request(Rc::clone(&ticket)));
        poll_fn(|context| match ticket.turn.get() {
            Some(turn) => Poll::Ready(turn),
            None => {
                *ticket.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        })
        .await
    }

    /// Lets a connection wait until it is its turn to be looked at.
    pub(super) fn arrive(&self, arrival: Arrival) {
        self.push(Lane::Source(Source::of(arrival.peer.ip())), Who::Arrival(arrival));
    }

    fn push(&self, lane: Lane, who: Who) {
        self.queue.borrow_mut().push(lane, mono_ns(), who);
        if let Some(dealer) = self.dealer.borrow_mut().take() {
            dealer.wake();
        }
    }

    /// Deals turns for ever: a connection whose turn it is goes to `start`, of how many were reset `reset` is told.
    pub(super) async fn deal(self: Rc<Self>, start: impl Fn(Arrival), reset: impl Fn(usize)) {
        let (mut turns, mut arrivals) = (TURNS_FIRST, Vec::new());
        loop {
            self.somebody().await;
            let began_ns = mono_ns();
            let dealt = self.round(turns, began_ns, &mut arrivals, &reset);
            arrivals.drain(..).for_each(&start);
            // All that was called runs, and the ring is polled, before this goes on.
            runtime::sleep(Duration::ZERO).await;
            turns = next_round(turns, dealt, mono_ns().saturating_sub(began_ns));
        }
    }

    /// Deals up to `turns` turns and says how many.
    fn round(&self, turns: usize, now_ns: u64, arrivals: &mut Vec<Arrival>, reset: impl Fn(usize)) -> usize {
        let mut queue = self.queue.borrow_mut();
        for dealt in 0..turns {
            let Some(turn) = queue.turn(now_ns) else { return dealt };
            reset(turn.reset);
            arrivals.extend(turn.arrival);
        }
        turns
    }

    /// Waits until somebody waits.
    fn somebody(&self) -> impl Future<Output = ()> + '_ {
        poll_fn(|context| {
            if self.len() > 0 {
                return Poll::Ready(());
            }
            *self.dealer.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
    }
}

/// The size of the next round, after one in which `dealt` of `turns` turns were taken and which took `took_ns`.
fn next_round(turns: usize, dealt: usize, took_ns: u64) -> usize {
    if took_ns > ROUND_NS {
        (turns - turns / 4).max(TURNS_MIN)
    } else if took_ns < ROUND_NS / 2 && dealt == turns {
        (turns + turns / 8 + 1).min(TURNS_MAX)
    } else {
        turns
    }
}

#[cfg(test)]
mod tests;
