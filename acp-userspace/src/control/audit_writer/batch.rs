//! One batch in the making: ring entries become record lines.
//!
//! An intent and its outcome become one line when both are in the batch. An intent without outcome becomes a line of
//! its own *now*, because the ring's room is released with the batch and the writer's memory does not survive a kill;
//! its outcome follows as a line of a later batch, and readers join them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hashbrown::HashMap;
use smallvec::SmallVec;

use super::flood::{Count, Flood, OTHERS};
use super::keys::KeyStore;
use super::tally::{Tally, TenantCount};
use super::{RecoveredHold, Tail};
use crate::audit::json::event::{EventKind, Value};
use crate::audit::json::{Lines, SealedBox, Summary, SummaryCause};
use crate::audit::record::wire::{self, Entry, Fate, OutcomeView, RequestView};
use crate::audit::ring::{RingError, RingReader, Step};
use crate::audit::seal::{Owner, Personal, summary_nonce};
use crate::clock::Now;
use crate::ids::RequestId;
use crate::usage::HoldPart;

/// Bytes of lines after which a batch takes no further entries: bounds the writer's memory and a write's duration.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// Why entries cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum TakeError {
    /// The ring is damaged.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// No subject key could be made.
    #[error("the operating system gives no randomness")]
    Randomness,
}

/// How far a ring was read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) position: u64,
    pub(super) more: bool,
}

/// An intent in the log whose outcome is owed.
#[derive(Debug)]
pub(super) struct OpenIntent {
    pub(super) segment: u64,
    /// Index of its ring; `None` for one of an earlier process.
    pub(super) ring: Option<usize>,
    pub(super) hold_id: u64,
    pub(super) parts: SmallVec<[HoldPart; 2]>,
}

/// The lines so far, and what outlives a batch.
#[derive(Debug)]
pub(super) struct Batch {
    lines: Lines,
    records: u64,
    keys: KeyStore,
    flood: Flood,
    open: HashMap<RequestId, OpenIntent>,
    /// Open intents per segment: the oldest is where start-up begins to look.
    open_segments: BTreeMap<u64, u64>,
    /// Per ring: refusals without room that summaries account for.
    unrecorded: Vec<u64>,
    summarised: u64,
    tally: Tally,
    tail: Option<SyncSender<Tail>>,
    /// Intents of the ring at hand, by id: place in its list. Kept for its memory.
    index: HashMap<RequestId, usize>,
    sealed: Vec<u8>,
    boxed: Vec<u8>,
}

impl Batch {
    pub(super) fn new(keys: KeyStore, unrecorded: Vec<u64>) -> Self {
        Self {
            lines: Lines::default(),
            records: 0,
            keys,
            flood: Flood::default(),
            open: HashMap::new(),
            open_segments: BTreeMap::new(),
            unrecorded,
            summarised: 0,
            tally: Tally::default(),
            tail: None,
            index: HashMap::new(),
            sealed: Vec::new(),
            boxed: Vec::new(),
        }
    }

    pub(super) fn subscribe(&mut self, tail: SyncSender<Tail>) {
        self.tail = Some(tail);
    }

    /// Other rings take the place of those so far.
    pub(super) fn watch_rings(&mut self, count: usize) {
        self.unrecorded = vec![0; count];
    }

    /// Turns what lies in `ring` into lines, as far as this batch has room.
    pub(super) fn take(&mut self, n: usize, ring: &RingReader, now: Now, segment: u64) -> Result<Taken, TakeError> {
        let mut intents: Vec<Option<&[u8]>> = Vec::with_capacity(self.index.capacity());
        let mut position = ring.head();
        let mut more = false;
        loop {
            if self.lines.buf.len() >= BATCH_BYTES_MAX {
                more = true;
                break;
            }
            let (bytes, next) = match ring.step(position)? {
                Step::Empty => break,
                Step::Skip(next) => {
                    position = next;
                    continue;
                }
                Step::Entry(bytes, next) => (bytes, next),
            };
            if let Some(id) = wire::intent_id(bytes) {
                self.index.insert(id, intents.len());
                intents.push(Some(bytes));
            } else {
                let entry = wire::decode(bytes).ok_or_else(|| ring.damaged(position))?;
                self.entry(n, ring, &entry, &mut intents, now, segment)?;
            }
            position = next;
        }
        self.leave_open(n, ring, &mut intents, segment)?;
        Ok(Taken { position, more })
    }

    fn entry(
        &mut self,
        n: usize,
        ring: &RingReader,
        entry: &Entry<'_>,
        intents: &mut [Option<&[u8]>],
        now: Now,
        segment: u64,
    ) -> Result<(), TakeError> {
        match entry {
            Entry::Request(refusal) => self.refusal(refusal),
            Entry::Outcome(outcome) => {
                let intent = self.index.remove(&outcome.request_id).and_then(|at| intents.get_mut(at)?.take());
                match intent {
                    Some(bytes) => self.request(&request(bytes, ring)?, Some(outcome)),
                    None => {
                        self.forget(outcome.request_id);
                        self.line(None, |lines, _| lines.outcome(outcome));
                        Ok(())
                    }
                }
            }
            Entry::Abandoned(id) => {
                if let Some(bytes) = self.index.remove(id).and_then(|at| intents.get_mut(at)?.take()) {
                    self.request(&request(bytes, ring)?, None)?;
                }
                self.forget(*id);
                self.unknown(*id, now, "task_died");
                Ok(())
            }
            Entry::Attached => {
                self.leave_open(n, ring, intents, segment)?;
                self.close_open(Some(n), now, "worker_died");
                Ok(())
            }
        }
    }

    /// Intents without outcome become lines of their own, and wait for it.
    fn leave_open(
        &mut self,
        n: usize,
        ring: &RingReader,
        intents: &mut [Option<&[u8]>],
        segment: u64,
    ) -> Result<(), TakeError> {
        self.index.clear();
        for bytes in intents.iter_mut().filter_map(Option::take) {
            let view = request(bytes, ring)?;
            self.request(&view, None)?;
            if let Fate::Sent { hold_id, parts } = view.fate {
                let open = OpenIntent { segment, ring: Some(n), hold_id, parts: parts.collect() };
                self.owe(view.request_id, open);
            }
        }
        Ok(())
    }

    /// Remembers that an intent in the log is owed its outcome.
    pub(super) fn owe(&mut self, id: RequestId, open: OpenIntent) {
        *self.open_segments.entry(open.segment).or_default() += 1;
        self.open.insert(id, open);
    }

    fn forget(&mut self, id: RequestId) -> Option<OpenIntent> {
        let open = self.open.remove(&id)?;
        if let Some(count) = self.open_segments.get_mut(&open.segment) {
            *count -= 1;
            if *count == 0 {
                self.open_segments.remove(&open.segment);
            }
        }
        Some(open)
    }

    /// Ends the open intents of one ring, or all, as unknown.
    pub(super) fn close_open(&mut self, ring: Option<usize>, now: Now, cause: &'static str) -> Vec<RecoveredHold> {
        let ids: Vec<RequestId> =
            self.open.iter().filter(|(_, open)| ring.is_none() || open.ring == ring).map(|(id, _)| *id).collect();
        let mut holds = Vec::with_capacity(ids.len());
        for request_id in ids {
            self.unknown(request_id, now, cause);
            if let Some(OpenIntent { hold_id, parts, .. }) = self.forget(request_id) {
                holds.push(RecoveredHold { request_id, hold_id, parts });
            }
        }
        holds
    }

    fn unknown(&mut self, id: RequestId, now: Now, cause: &'static str) {
        self.line(None, |lines, _| lines.unknown(id, now, cause));
    }

    /// A refusal: in full, or counted if it is one of a flood of unverified callers.
    fn refusal(&mut self, refusal: &RequestView<'_>) -> Result<(), TakeError> {
        if let (None, Fate::Refused(refused)) = (&refusal.who, &refusal.fate) {
            let ip = refusal.peer.address.ip();
            if !self.flood.admit(ip, refused.reason, refusal.request_id) {
                return Ok(());
            }
        }
        self.request(refusal, None)
    }

    fn request(&mut self, view: &RequestView<'_>, outcome: Option<&OutcomeView<'_>>) -> Result<(), TakeError> {
        let owner = match &view.who {
            Some(who) => Owner::Subject { tenant: who.tenant_key, user: who.user_key },
            None => day(view.now),
        };
        let subject = view.who.map_or("", |who| who.subject);
        let key = self.seal(owner, view.now, view.request_id, subject, view.peer.address)?;
        self.tally.count(view);
        let personal =
            self.tail.is_some().then(|| Personal { subject: subject.to_owned(), address: view.peer.address });
        self.line(personal, |lines, text| lines.request(view, outcome, SealedBox { key, text }));
        Ok(())
    }

    /// Seals subject and address into `boxed`; the key's id.
    fn seal(
        &mut self,
        owner: Owner,
        now: Now,
        id: RequestId,
        subject: &str,
        address: std::net::SocketAddr,
    ) -> Result<u64, TakeError> {
        let key = self.keys.key(owner, now.unix_secs()).ok_or(TakeError::Randomness)?;
        if !key.seal(id, subject, address, &mut self.sealed) {
            return Err(TakeError::Randomness);
        }
        let len = self.sealed.len().div_ceil(3) * 4;
        self.boxed.resize(len, 0);
        let written = BASE64.encode_slice(&self.sealed, &mut self.boxed).unwrap_or(0);
        self.boxed.truncate(written);
        Ok(key.id())
    }

    /// Appends one line, and shows it to whoever watches.
    fn line(&mut self, personal: Option<Personal>, write: impl FnOnce(&mut Lines, &[u8])) {
        let start = self.lines.buf.len();
        write(&mut self.lines, &self.boxed);
        self.records += 1;
        if let Some(tail) = &self.tail {
            // A watcher that does not keep up misses records; the log does not wait for it.
            let _ = tail.try_send(Tail { line: self.lines.buf[start..].into(), personal });
        }
    }

    pub(super) fn event(&mut self, now: Now, kind: EventKind, detail: &[(&'static str, Value<'_>)]) {
        self.line(None, |lines, _| lines.event(now, kind, detail));
    }

    /// Summaries of the second that ended, if one did.
    pub(super) fn summarise(&mut self, now: Now, rings: &[RingReader]) -> Result<(), TakeError> {
        let second = now.mono_ns / 1_000_000_000;
        if self.flood.is_due(second) {
            self.settle_flood(now)?;
            for (n, ring) in rings.iter().enumerate() {
                self.ring_full(n, ring.unrecorded(), now);
            }
        }
        Ok(())
    }

    /// Summaries of all that is counted.
    pub(super) fn settle_flood(&mut self, now: Now) -> Result<(), TakeError> {
        for (ip, Count { reason, count, first, last }) in self.flood.turn(now.mono_ns / 1_000_000_000) {
            let mut key = None;
            if ip != OTHERS {
                key = Some(self.seal(day(now), now, summary_nonce(first), "", std::net::SocketAddr::new(ip, 0))?);
            }
            self.summarised += count;
            self.line(None, |lines, text| {
                let source = key.map(|key| SealedBox { key, text });
                let ids = Some((first, last));
                lines.summary(now, &Summary { cause: SummaryCause::Flood, reason: Some(reason), count, ids, source });
            });
        }
        Ok(())
    }

    /// A summary of what ring `n` had no room for, given its count so far.
    fn ring_full(&mut self, n: usize, total: u64, now: Now) {
        let Some(seen) = self.unrecorded.get_mut(n) else { return };
        let count = total.saturating_sub(std::mem::replace(seen, total));
        self.lump(SummaryCause::RingFull, count, now);
    }

    /// A summary of refusals of which only the number is known.
    pub(super) fn lump(&mut self, cause: SummaryCause, count: u64, now: Now) {
        if count > 0 {
            self.summarised += count;
            let summary = Summary { cause, reason: None, count, ids: None, source: None };
            self.line(None, |lines, _| lines.summary(now, &summary));
        }
    }

    /// The lines, to be sealed or written.
    pub(super) fn lines(&mut self) -> &mut Vec<u8> {
        &mut self.lines.buf
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.lines.buf
    }

    pub(super) fn records(&self) -> u64 {
        self.records
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// The batch was written.
    pub(super) fn clear(&mut self) {
        self.lines.buf.clear();
        self.records = 0;
    }

    pub(super) fn oldest_open(&self) -> u64 {
        self.open_segments.keys().next().copied().unwrap_or(0)
    }

    pub(super) fn unsummed(&self) -> u64 {
        self.flood.unsummed()
    }

    pub(super) fn unrecorded(&self) -> &[u64] {
        &self.unrecorded
    }

    pub(super) fn open_count(&self) -> u64 {
        self.open.len() as u64
    }

    pub(super) fn summarised(&self) -> u64 {
        self.summarised
    }

    pub(super) fn tenants(&self) -> Vec<TenantCount> {
        self.tally.counts()
    }

    pub(super) fn key_count(&self) -> u64 {
        self.keys.len() as u64
    }

    pub(super) fn flush_keys(&mut self) -> io::Result<()> {
        self.keys.flush()
    }

    pub(super) fn keys_to_sync(&mut self) -> Option<Arc<File>> {
        self.keys.take_unsynced()
    }
}

/// Whom the addresses of unverified callers are sealed for: the day.
fn day(now: Now) -> Owner {
    Owner::Day(now.unix_secs() / 86_400)
}

fn request<'a>(bytes: &'a [u8], ring: &RingReader) -> Result<RequestView<'a>, TakeError> {
    match wire::decode(bytes) {
        Some(Entry::Request(view)) => Ok(view),
        _ => Err(ring.damaged(ring.head()).into()),
    }
}
