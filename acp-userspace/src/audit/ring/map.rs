//! The mapping itself: the only unsafe code of the audit log, behind methods whose bounds are checked.
//!
//! Layout: one header page (identity, then the consumer's and the producer's words on cache lines of their own), then
//! `capacity` bytes of data, a power of two.

#![expect(unsafe_code, reason = "a mapped file shared by two threads and by the next process")]

use std::fs::File;
use std::io;
use std::sync::atomic::AtomicU64;

use memmap2::{MmapOptions, MmapRaw};

/// Bytes of the header page.
const HEADER: usize = 4096;
const MAGIC: [u8; 8] = *b"acp-ring";
const VERSION: u64 = 1;
/// Bytes of the identity part, its checksum included.
const IDENTITY: usize = 64;
/// The consumer's line: head (room before it is free), drained (entries before it are in the log).
const HEAD: usize = 128;
const DRAINED: usize = 136;
/// The producer's line: refusals that found no room.
const UNRECORDED: usize = 256;

/// What the header page says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) capacity: u64,
    pub(super) id: u64,
    pub(super) boot: [u8; 16],
    pub(super) layout: u64,
}

impl Header {
    /// The page as it is written.
    pub(super) fn page(&self) -> [u8; HEADER] {
        let mut page = [0; HEADER];
        page[..8].copy_from_slice(&MAGIC);
        for (i, word) in [VERSION, self.capacity, self.id, self.layout].into_iter().enumerate() {
            page[8 + 8 * i..16 + 8 * i].copy_from_slice(&word.to_le_bytes());
        }
        page[40..56].copy_from_slice(&self.boot);
        let sum = u64::from(super::checksum(&page[..56], 0));
        page[56..IDENTITY].copy_from_slice(&sum.to_le_bytes());
        page
    }

    fn parse(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| bytes.get(at..at + 8).map(super::read_word);
        let header =
            Self { capacity: word(16)?, id: word(24)?, layout: word(32)?, boot: bytes.get(40..56)?.try_into().ok()? };
        (bytes.get(..IDENTITY)? == &header.page()[..IDENTITY]).then_some(header)
    }
}

/// A mapped ring file.
#[derive(Debug)]
pub(super) struct Map {
    raw: MmapRaw,
    /// A power of two; the mapping holds the header page and this many bytes.
    capacity: u64,
}

impl Map {
    /// Maps `file`; `None` if it does not hold a ring.
    pub(super) fn of(file: &File) -> io::Result<Option<(Self, Header)>> {
        let raw = MmapOptions::new().map_raw(file)?;
        if raw.len() < HEADER {
            return Ok(None);
        }
        // SAFETY: the mapping has at least HEADER bytes; nothing else writes the identity part after creation.
        let identity = unsafe { std::slice::from_raw_parts(raw.as_ptr(), IDENTITY) };
        let Some(header) = Header::parse(identity) else { return Ok(None) };
        let fits = header.capacity.is_power_of_two()
            && header.capacity >= super::RING_BYTES_MIN as u64
            && raw.len() as u64 == HEADER as u64 + header.capacity;
        Ok(fits.then_some((Self { raw, capacity: header.capacity }, header)))
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// Bytes from `position` to the end of its lap.
    pub(super) fn to_lap_end(&self, position: u64) -> u64 {
        self.capacity - (position & (self.capacity - 1))
    }

    /// Consumer's: room before this position is free.
    pub(super) fn head(&self) -> &AtomicU64 {
        self.atomic(HEAD)
    }

    /// Consumer's: entries before this position are in the log. Runs ahead of the head while entries are zeroed.
    pub(super) fn drained(&self) -> &AtomicU64 {
        self.atomic(DRAINED)
    }

    /// Producer's: refusals that found no room.
    pub(super) fn unrecorded(&self) -> &AtomicU64 {
        self.atomic(UNRECORDED)
    }

    /// The commit word of the entry at `position`.
    pub(super) fn word(&self, position: u64) -> &AtomicU64 {
        let offset = (position & (self.capacity - 1)) & !7;
        self.atomic(HEADER + offset as usize)
    }

    fn atomic(&self, offset: usize) -> &AtomicU64 {
        assert!(offset.is_multiple_of(8) && offset + 8 <= self.raw.len(), "an aligned word within the mapping");
        // SAFETY: in bounds and aligned (asserted; the mapping starts at a page), lives as long as `self`, and these
        // words are only ever accessed as atomics, but for zeroing by their one consumer, which owns them then.
        unsafe { AtomicU64::from_ptr(self.raw.as_mut_ptr().add(offset).cast()) }
    }

    fn place(&self, position: u64, len: usize) -> *mut u8 {
        let offset = (position & (self.capacity - 1)) as usize;
        assert!(offset + len <= self.capacity as usize, "a range within one lap");
        // SAFETY: HEADER + offset + len lies within the mapping, as asserted and by construction.
        unsafe { self.raw.as_mut_ptr().add(HEADER + offset) }
    }

    /// The payload bytes at `position`, to be written.
    ///
    /// # Safety
    /// The caller is the ring's one producer and the range is free: not before the tail, not beyond the head's lap.
    #[expect(clippy::mut_from_ref, reason = "exclusive by the ring's protocol, which the caller vouches for")]
    pub(super) unsafe fn bytes_mut(&self, position: u64, len: usize) -> &mut [u8] {
        let place = self.place(position, len);
        // SAFETY: in bounds (`place`); exclusive by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(place, len) }
    }

    /// The payload bytes of a committed entry.
    ///
    /// # Safety
    /// The entry was committed (its word read with Acquire) and is not released while the slice lives.
    pub(super) unsafe fn bytes(&self, position: u64, len: usize) -> &[u8] {
        let place = self.place(position, len);
        // SAFETY: in bounds (`place`); nobody writes a committed entry until it is released.
        unsafe { std::slice::from_raw_parts(place, len) }
    }

    /// Zeroes `[from, to)`, at most one capacity long.
    ///
    /// # Safety
    /// The caller owns the range: it is the consumer and the range is drained, or the producer and the range is free.
    pub(super) unsafe fn zero(&self, from: u64, to: u64) {
        let mut at = from;
        while at < to {
            let len = self.to_lap_end(at).min(to - at);
            let place = self.place(at, len as usize);
            // SAFETY: in bounds (`place`), owned by the caller.
            unsafe { place.write_bytes(0, len as usize) };
            at += len;
        }
    }
}
