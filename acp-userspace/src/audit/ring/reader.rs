//! The consumer's end: look at committed entries, then release them all at once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Ring, RingError, SKIP, WORD, checksum, entry_size, skip_word};
use crate::audit::record::ENTRY_BYTES_MAX;

/// The consumer's end of one ring.
#[derive(Debug)]
pub struct RingReader {
    ring: Arc<Ring>,
    head: u64,
    /// Start-up only: what is behind this was damaged by power loss.
    end: u64,
}

/// What lies at a position.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Nothing yet.
    Empty,
    /// An entry, and the position behind it.
    Entry(&'a [u8], u64),
    /// The lap ends here; the position it goes on at.
    Skip(u64),
}

impl RingReader {
    pub(super) fn new(ring: Arc<Ring>) -> Self {
        let head = ring.map.head().load(Ordering::Acquire).max(ring.map.drained().load(Ordering::Acquire));
        Self { ring, head, end: u64::MAX }
    }

    /// The ring's random name.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.ring.id
    }

    /// Boot id of the host when the ring was created.
    #[must_use]
    pub fn boot(&self) -> [u8; 16] {
        self.ring.boot
    }

    /// The first position not released.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Bytes of the ring.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.ring.map.capacity()
    }

    /// Refusals that found no room, since the ring was created.
    #[must_use]
    pub fn unrecorded(&self) -> u64 {
        self.ring.map.unrecorded().load(Ordering::Relaxed)
    }

    /// What lies at `position`, which is the head or a position that an earlier step named.
    ///
    /// # Errors
    /// A word is there that no producer stored.
    pub fn step(&self, position: u64) -> Result<Step<'_>, RingError> {
        let map = &self.ring.map;
        let word = map.word(position).load(Ordering::Acquire);
        if word == 0 || position >= self.end {
            return Ok(Step::Empty);
        }
        let left = map.to_lap_end(position);
        if word as u32 == SKIP {
            let sound = word == skip_word(position);
            return if sound { Ok(Step::Skip(position + left)) } else { Err(self.ring.damaged(position)) };
        }
        let len = word as u32 as usize;
        if len == 0 || len > ENTRY_BYTES_MAX || entry_size(len) > left {
            return Err(self.ring.damaged(position));
        }
        // SAFETY: the word was read with Acquire, so the payload is complete; release takes `&mut self`, so no entry
        // is zeroed while this borrow lives, and producers only write ahead of the tail.
        #[expect(unsafe_code, reason = "reads the mapping")]
        let payload = unsafe { map.bytes(position + WORD, len) };
        if u64::from(checksum(payload, position)) != word >> 32 {
            return Err(self.ring.damaged(position));
        }
        Ok(Step::Entry(payload, position + entry_size(len)))
    }

    /// Gives back everything before `to`: its entries are in the log. They are zeroed first.
    pub fn release(&mut self, to: u64) {
        let to = to.min(self.head + self.capacity());
        if to <= self.head {
            return;
        }
        let map = &self.ring.map;
        let _walk = self.ring.walking();
        map.drained().store(to, Ordering::Release);
        // SAFETY: entries before `to` are committed and drained; the producer does not write before the head moves.
        #[expect(unsafe_code, reason = "writes the mapping")]
        unsafe {
            map.zero(self.head, to);
        }
        map.head().store(to, Ordering::Release);
        self.head = to;
    }

    /// Skips what the log already has: the cursor of its last block. Start-up only.
    pub fn resume_at(&mut self, position: u64) {
        self.head = self.head.max(position);
    }

    /// Takes what is at and behind `position` for nothing. Start-up only, after a power loss.
    pub fn end_at(&mut self, position: u64) {
        self.end = position;
    }

    /// The error of an entry that says nothing.
    #[must_use]
    pub fn damaged(&self, position: u64) -> RingError {
        self.ring.damaged(position)
    }

    /// What tells the producer how much is on disk.
    #[must_use]
    pub fn durable_mark(&self) -> DurableMark {
        DurableMark(Arc::clone(&self.ring))
    }
}

/// Tells a ring's producer how much of it is on disk.
#[derive(Debug)]
pub struct DurableMark(Arc<Ring>);

impl DurableMark {
    /// Everything before `position` is.
    pub fn set(&self, position: u64) {
        self.0.durable.fetch_max(position, Ordering::AcqRel);
    }
}
