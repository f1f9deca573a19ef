//! The producer's end: reserve, store, commit. Two stores per request, no system call, no allocation, no lock.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use super::share::Shares;
use super::{
    ENTRY_BYTES_MAX, LAP_SLACK, OUTCOME_BYTES_MAX, Ring, RingError, RingHandle, WORD, commit_word, entry_size,
    skip_word,
};
use crate::audit::record::{Intent, Outcome, Refusal, wire};
use crate::ids::{Key128, RequestId};

const INTENT_ROOM: u64 = entry_size(ENTRY_BYTES_MAX);
const OUTCOME_ROOM: u64 = entry_size(OUTCOME_BYTES_MAX);
/// Of the second slack that [`Inner::admit`] keeps, what marks of restarted workers may take.
const MARKS_ROOM: u64 = LAP_SLACK / 2;

/// Why there is no room. Ours to bear: the request is refused with 503, because nothing is sent that cannot be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RingFull {
    /// The log does not take new work: disk full, or not writable.
    #[error("the audit log cannot be written")]
    Unavailable,
    /// The ring is full.
    #[error("the audit ring is full")]
    Full,
    /// The ring is filling up and this tenant has had its share.
    #[error("the tenant's share of the audit ring is used up")]
    TenantShare,
}

/// Where a record ends in its ring; compared with what is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position(u64);

/// The producer's end of one ring. Stays on its worker's thread; clones share it.
#[derive(Clone, Debug)]
pub struct RingWriter(Rc<Inner>);

struct Inner {
    ring: Arc<Ring>,
    tail: Cell<u64>,
    /// The head when last looked at: never ahead of the true one.
    head: Cell<u64>,
    /// Bytes set aside by reservations.
    reserved: Cell<u64>,
    shares: RefCell<Shares>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RingWriter").field("ring", &self.ring.path).field("tail", &self.tail).finish_non_exhaustive()
    }
}

impl RingHandle {
    /// Takes the producer's end, on the worker's own thread. A worker that replaces a dead one finds the tail it left;
    /// intents that one had open are recorded as unknown.
    ///
    /// # Errors
    /// Another worker is attached, or the ring is damaged.
    pub fn attach(&self) -> Result<RingWriter, RingError> {
        let ring = &self.0;
        let mut owner = ring.owner();
        if owner.is_some() {
            return Err(RingError::Attached { path: ring.path.clone() });
        }
        let (head, tail) = find_tail(ring)?;
        let replaces = ring.attachments.load(Ordering::Acquire) > 0;
        if replaces && tail - head + 2 * LAP_SLACK > ring.map.capacity() + MARKS_ROOM {
            return Err(RingError::Full { path: ring.path.clone() });
        }
        let inner = Inner {
            ring: Arc::clone(ring),
            tail: Cell::new(tail),
            head: Cell::new(head),
            reserved: Cell::new(0),
            shares: RefCell::new(Shares::new(ring.map.capacity())),
        };
        if replaces {
            inner.put(wire::MARK_BYTES_MAX, wire::encode_attached);
        }
        ring.attachments.fetch_add(1, Ordering::AcqRel);
        *owner = Some(std::thread::current().id());
        drop(owner);
        Ok(RingWriter(Rc::new(inner)))
    }

    /// Joins a worker's thread, and takes back the producer's end if the thread left without dropping it (a task that
    /// was leaked keeps it). The writer cannot leave its thread, so a joined thread is proof that nobody uses it.
    ///
    /// # Errors
    /// What the thread panicked with.
    pub fn join<T>(&self, worker: JoinHandle<T>) -> std::thread::Result<T> {
        let thread = worker.thread().id();
        let result = worker.join();
        let mut owner = self.0.owner();
        if *owner == Some(thread) {
            *owner = None;
        }
        result
    }
}

/// Head and tail as they are, with the room behind the tail zeroed where a dead producer may have half-written.
fn find_tail(ring: &Arc<Ring>) -> Result<(u64, u64), RingError> {
    let _walk = ring.walking();
    let reader = super::RingReader::new(Arc::clone(ring));
    let (head, mut tail) = (reader.head(), reader.head());
    loop {
        match reader.step(tail)? {
            super::Step::Empty => break,
            super::Step::Entry(_, next) | super::Step::Skip(next) => tail = next,
        }
    }
    let free = ring.map.capacity() - (tail - head);
    let dirty = free.min(2 * LAP_SLACK);
    // SAFETY: the caller holds `owner`, so this is the one producer, and the range is free: behind the tail, before the
    // head's lap. The word at the tail is zero and may be read by the consumer meanwhile; it is left alone.
    #[expect(unsafe_code, reason = "writes the mapping")]
    unsafe {
        ring.map.zero(tail + WORD, tail + dirty);
    }
    Ok((head, tail))
}

impl RingWriter {
    /// Sets aside room for an intent and its outcome. About 10 ns.
    ///
    /// # Errors
    /// There is none, or not for this tenant, or the log takes no new work.
    pub fn reserve(&self, tenant: Key128) -> Result<Reservation, RingFull> {
        let inner = &*self.0;
        if !inner.ring.accepting.load(Ordering::Relaxed) {
            return Err(RingFull::Unavailable);
        }
        let room = INTENT_ROOM + OUTCOME_ROOM;
        let counted = inner.admit(room, tenant)?;
        inner.reserved.set(inner.reserved.get() + room);
        Ok(Reservation(Promise { inner: Rc::clone(&self.0), room, counted }))
    }

    /// Stores the one record of a request that never went upstream. For a caller that was not verified it cannot fail:
    /// beyond half of the ring the refusal is counted instead (THREATS A5).
    ///
    /// # Errors
    /// There is no room for a verified caller's; it is counted as unrecorded, and the answer is 503.
    pub fn refusal(&self, refusal: &Refusal<'_>) -> Result<(), RingFull> {
        let inner = &*self.0;
        let Some(who) = &refusal.who else {
            if inner.used() + INTENT_ROOM + LAP_SLACK <= inner.ring.map.capacity() / 2 {
                inner.put(ENTRY_BYTES_MAX, |buf| wire::encode_refusal(buf, refusal));
            } else {
                inner.count_unrecorded();
            }
            return Ok(());
        };
        let counted = inner.admit(INTENT_ROOM, who.tenant_key).inspect_err(|_| inner.count_unrecorded())?;
        let size = inner.put(ENTRY_BYTES_MAX, |buf| wire::encode_refusal(buf, refusal));
        if let Some(key) = counted {
            inner.shares.borrow_mut().wrote(key, INTENT_ROOM, size);
        }
        Ok(())
    }

    /// Whether everything up to `position` is on disk. Asked under `durability = "fsync"`, before an intent's request
    /// is sent.
    #[must_use]
    pub fn is_durable(&self, position: Position) -> bool {
        self.0.ring.durable.load(Ordering::Acquire) >= position.0
    }

    /// Share of the ring in use or promised, in 1/256.
    #[must_use]
    pub fn fill(&self) -> u8 {
        (self.0.used() * 255 / self.0.ring.map.capacity()) as u8
    }
}

impl Inner {
    /// Bytes in use or promised. Looks at the consumer's line only when what it saw last is not good enough.
    fn used(&self) -> u64 {
        let used = self.tail.get() - self.head.get() + self.reserved.get();
        if used <= self.ring.map.capacity() / 4 {
            return used;
        }
        self.head.set(self.ring.map.head().load(Ordering::Acquire));
        self.tail.get() - self.head.get() + self.reserved.get()
    }

    /// Whether `room` more may be promised to `tenant`, and the share it counts against, if any.
    fn admit(&self, room: u64, tenant: Key128) -> Result<Option<Key128>, RingFull> {
        let (used, capacity) = (self.used(), self.ring.map.capacity());
        if used + room + LAP_SLACK <= capacity / 2 {
            return Ok(None);
        }
        if used + room + 2 * LAP_SLACK > capacity {
            return Err(RingFull::Full);
        }
        self.shares.borrow_mut().admit(tenant, room, self.head.get()).map(Some).ok_or(RingFull::TenantShare)
    }

    /// Stores one entry of at most `bytes_max` payload bytes, for which room was promised; returns what it took.
    fn put(&self, bytes_max: usize, encode: impl FnOnce(&mut [u8]) -> usize) -> u64 {
        let map = &self.ring.map;
        let mut tail = self.tail.get();
        let left = map.to_lap_end(tail);
        if left < entry_size(bytes_max) {
            map.word(tail).store(skip_word(tail), Ordering::Release);
            tail += left;
        }
        // SAFETY: this is the one producer (attached, not Send), and the promised room lies between tail and head.
        #[expect(unsafe_code, reason = "writes the mapping")]
        let payload = unsafe { map.bytes_mut(tail + WORD, bytes_max) };
        let len = encode(payload);
        let word = commit_word(&payload[..len], tail);
        map.word(tail).store(word, Ordering::Release);
        self.tail.set(tail + entry_size(len));
        entry_size(len)
    }

    fn count_unrecorded(&self) {
        // One producer: a load and a store suffice.
        let counter = self.ring.map.unrecorded();
        counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        *self.ring.owner() = None;
    }
}

/// Room that was promised; gives back what is left of it.
#[derive(Debug)]
struct Promise {
    inner: Rc<Inner>,
    room: u64,
    /// The share it counts against.
    counted: Option<Key128>,
}

impl Promise {
    /// Stores an entry in `room` bytes of the promise, which holds at least that.
    fn store(&mut self, room: u64, bytes_max: usize, encode: impl FnOnce(&mut [u8]) -> usize) -> Position {
        let size = self.inner.put(bytes_max, encode);
        self.keep(self.room.saturating_sub(room), size);
        Position(self.inner.tail.get())
    }

    /// Gives back all but `left`, of which `size` bytes became an entry.
    fn keep(&mut self, left: u64, size: u64) {
        let back = self.room - left;
        self.room = left;
        self.inner.reserved.set(self.inner.reserved.get() - back);
        if let Some(key) = self.counted {
            self.inner.shares.borrow_mut().wrote(key, back, size);
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        self.keep(0, 0);
    }
}

/// Room set aside for one request's intent and outcome; dropped unused, it gives the room back.
#[derive(Debug)]
#[must_use = "a reservation holds room in the ring"]
pub struct Reservation(Promise);

impl Reservation {
    /// Stores the intent and gives back the room it did not need.
    pub fn intent(mut self, intent: &Intent<'_>) -> OpenRecord {
        let position = self.0.store(INTENT_ROOM, ENTRY_BYTES_MAX, |buf| wire::encode_intent(buf, intent));
        OpenRecord { promise: self.0, request_id: intent.request_id, position, closed: false }
    }
}

/// A record whose intent is stored and whose outcome is owed. Dropped without one (a panic between the two), it says so
/// in the log: the outcome is unknown and the hold stays spent.
#[derive(Debug)]
#[must_use = "an intent is owed an outcome"]
pub struct OpenRecord {
    promise: Promise,
    request_id: RequestId,
    position: Position,
    closed: bool,
}

impl OpenRecord {
    /// Where the intent ends: what `durability = "fsync"` waits for before the request is sent.
    #[must_use]
    pub fn position(&self) -> Position {
        self.position
    }

    /// Stores the outcome. Cannot fail: its room was set aside.
    pub fn outcome(mut self, outcome: &Outcome<'_>) -> Position {
        self.closed = true;
        self.promise.store(OUTCOME_ROOM, OUTCOME_BYTES_MAX, |buf| wire::encode_outcome(buf, outcome))
    }
}

impl Drop for OpenRecord {
    fn drop(&mut self) {
        if !self.closed {
            let id = self.request_id;
            self.promise.store(OUTCOME_ROOM, wire::MARK_BYTES_MAX, |buf| wire::encode_abandoned(buf, id));
        }
    }
}
