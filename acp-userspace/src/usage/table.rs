//! A fixed-capacity, exact-keyed table of one-word states, shared by all workers without a lock.
//!
//! Each slot is a 128-bit key and an atomic word: 52 bits of payload (a TAT, a count: the caller's), 12 bits of
//! *generation*. A key may sit in any slot of its *window*, which a random per-boot hash decides, so that nobody can aim at
//! another's slots: sixteen spread slots, or four adjacent ones where entries may be forgotten for want of room. Keys are compared whole: there is no denial on a collision
//! (THREATS A22).
//!
//! **Update** is a compare-and-swap of the word. A slot that changed hands has another generation, so an update meant
//! for its former key fails. (It would have to be reused a multiple of 4 096 times, and reach the same payload, between
//! one thread's load and its swap.)
//!
//! **Insertion** never waits for another thread. A worker *reserves* the first free slot of the window, writes the key,
//! *announces* it, and only then looks for the same key announced or alive elsewhere in the window: of two that insert
//! one key at once at least one sees the other, the slot earlier in the window wins, and whoever meets an announced key may finish it
//! (compare Purcell and Harris, "Non-blocking hashtables with open addressing", 2005, §2.3). So a key is alive in at
//! most one slot.
//!
//! **Room**: a slot is free when it never was used or when its payload has nothing to remember (`idle`). A table with
//! shares counts slots by owner; who holds its share gets no more and nothing of others' is forgotten for it.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::prefetch::prefetch;

/// Slots a key may sit in. They are spread by double hashing, so in a table half full all of them are taken for about
/// one key in 2¹⁶.
const WINDOW: usize = 16;

/// The same where a full window is no refusal: 128 bytes, as such a table is full most of the time and is read through.
const GROUP: usize = 4;

const GENERATION_BITS: u32 = 12;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
const PAYLOAD_MASK: u64 = u64::MAX >> GENERATION_BITS;

/// The key is being written.
const RESERVED: u64 = PAYLOAD_MASK;
/// The key is written, but may turn out to be alive elsewhere.
const ANNOUNCED: u64 = PAYLOAD_MASK - 1;
/// Free after use; the key means nothing.
const VACANT: u64 = PAYLOAD_MASK - 2;
/// Largest payload a caller may store.
pub(crate) const PAYLOAD_MAX: u64 = PAYLOAD_MASK - 3;

/// Slots looked at for forgettable entries when an owner is at its share, so that idle entries do not count against it.
const RECLAIM_CHUNK: usize = 256;

const NO_OWNER: u32 = u32::MAX;

/// Nothing can be inserted: the owner holds its share, or all slots of the window remember something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// An entry as another process takes it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// Its key.
    pub key: u128,
    /// Whose share of the slots it counts against; 0 in a table without shares.
    pub owner: u128,
    /// What is remembered.
    pub payload: u64,
}

/// What to do when a window has no free slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhenFull {
    /// Refuse the insertion.
    Refuse,
    /// Forget the entry whose payload has the smallest low 16 bits. For tables in which forgetting only ever admits.
    ForgetSmallest,
}

/// A key's slot as it was when looked up: payload and generation are one loaded word.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) index: usize,
    word: u64,
}

impl Entry {
    pub(crate) const fn payload(self) -> u64 {
        self.word >> GENERATION_BITS
    }
}

#[derive(Debug, Default)]
#[repr(align(32))]
struct Slot {
    /// 0 = never used; insertion fills a window from its start, so nothing of the window lies behind such a slot.
    word: AtomicU64,
    key_low: AtomicU64,
    key_high: AtomicU64,
    /// Index into the owners' table; written while reserved.
    owner: AtomicU32,
}

/// How many slots each owner holds.
#[derive(Debug)]
struct Shares {
    /// Owner key → slots held. An owner's entry cannot be forgotten while it holds a slot, so indexes stay good.
    held: Table,
    max: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Table {
    slots: Box<[Slot]>,
    mask: usize,
    /// Of a window's first slot.
    first_mask: usize,
    seed: [u64; 2],
    idle: fn(payload: u64, now: u64) -> bool,
    when_full: WhenFull,
    /// Slots of a window.
    ways: usize,
    shares: Option<Box<Shares>>,
    reclaim_from: AtomicUsize,
}

enum Scan {
    Alive(Entry),
    Announced(usize, u64),
    Absent(Option<(usize, u64)>),
}

impl Table {
    /// At least `capacity` slots (rounded up to a power of two ≥ 64), 32 bytes each.
    pub(crate) fn new(capacity: usize, idle: fn(u64, u64) -> bool, when_full: WhenFull) -> Self {
        let capacity = capacity.clamp(64, 1 << 24).next_power_of_two();
        let ways = if when_full == WhenFull::Refuse { WINDOW } else { GROUP };
        let aligned = if when_full == WhenFull::Refuse { 1 } else { GROUP };
        Self {
            slots: (0..capacity).map(|_| Slot::default()).collect(),
            mask: capacity - 1,
            first_mask: capacity - aligned,
            seed: random_seed(),
            idle,
            when_full,
            ways,
            shares: None,
            reclaim_from: AtomicUsize::new(0),
        }
    }

    /// Bounds each owner to `percent` of the slots. At most capacity / 16 (≥ 64) owners hold slots at a time.
    pub(crate) fn with_shares(mut self, percent: u8) -> Self {
        let max = (self.slots.len() as u64 * u64::from(percent.clamp(1, 100)) / 100).max(1);
        let held = Self::new(self.slots.len() / 16, |count, _| count == 0, WhenFull::Refuse);
        self.shares = Some(Box::new(Shares { held, max }));
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The key's entry, if it is alive. Reads one cache line, as a rule.
    #[inline]
    pub(crate) fn find(&self, key: u128) -> Option<Entry> {
        let index = self.first(self.hash(key));
        let slot = &self.slots[index];
        let word = slot.word.load(Ordering::Acquire);
        if word == 0 {
            return None;
        }
        let entry = Entry { index, word };
        if word >> GENERATION_BITS <= PAYLOAD_MAX && slot.key() == key && self.is_current(entry) {
            return Some(entry);
        }
        self.find_in_window(key)
    }

    /// Asks for the line that [`Table::find`] reads first; gives its slot.
    #[inline]
    pub(crate) fn prefetch(&self, key: u128) -> usize {
        let first = self.first(self.hash(key));
        prefetch(&self.slots[first]);
        first
    }

    #[inline(never)]
    fn find_in_window(&self, key: u128) -> Option<Entry> {
        'again: loop {
            for index in self.window(key) {
                let slot = &self.slots[index];
                let word = slot.word.load(Ordering::Acquire);
                if word == 0 {
                    return None;
                }
                if slot.key() != key {
                    continue;
                }
                let entry = Entry { index, word };
                match word >> GENERATION_BITS {
                    ANNOUNCED => _ = self.finish(key, index, word),
                    ..=PAYLOAD_MAX if self.is_current(entry) => return Some(entry),
                    RESERVED | VACANT => continue,
                    // It changed hands while it was read.
                    _ => {}
                }
                continue 'again;
            }
            return None;
        }
    }

    /// The key's entry, inserted with payload 0 if need be.
    ///
    /// # Errors
    /// [`Full`].
    pub(crate) fn find_or_insert(&self, key: u128, owner: u128, now: u64) -> Result<Entry, Full> {
        loop {
            match self.scan(key, now) {
                Scan::Alive(entry) => return Ok(entry),
                Scan::Announced(index, word) => _ = self.finish(key, index, word),
                Scan::Absent(None) => return Err(Full),
                Scan::Absent(Some((index, word))) => {
                    if let Some(entry) = self.claim(key, owner, now, index, word)? {
                        return Ok(entry);
                    }
                }
            }
        }
    }

    /// Replaces the payload by what `next` makes of it, starting from `entry` (a previous look-up of `key`), until no
    /// other thread interferes. The key is inserted again if it was forgotten meanwhile.
    ///
    /// # Errors
    /// The outer [`Full`], or `next`'s own.
    pub(crate) fn update<E>(
        &self,
        key: u128,
        owner: u128,
        now: u64,
        entry: Option<Entry>,
        mut next: impl FnMut(u64) -> Result<u64, E>,
    ) -> Result<Result<Entry, E>, Full> {
        let mut entry = match entry {
            Some(entry) => entry,
            None => self.find_or_insert(key, owner, now)?,
        };
        loop {
            let payload = match next(entry.payload()) {
                Ok(payload) => payload,
                Err(error) => return Ok(Err(error)),
            };
            match self.swap(entry, payload) {
                Ok(changed) => return Ok(Ok(changed)),
                Err(Some(changed)) => entry = changed,
                Err(None) => entry = self.find_or_insert(key, owner, now)?,
            }
        }
    }

    /// One compare-and-swap. `Err(Some)`: the key is still there with another payload; `Err(None)`: it is gone.
    pub(crate) fn swap(&self, entry: Entry, payload: u64) -> Result<Entry, Option<Entry>> {
        debug_assert!(payload <= PAYLOAD_MAX, "payload fits");
        let generation = entry.word & GENERATION_MASK;
        let next = payload << GENERATION_BITS | generation;
        match self.slots[entry.index].word.compare_exchange(entry.word, next, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(Entry { index: entry.index, word: next }),
            Err(found) if found & GENERATION_MASK == generation && found >> GENERATION_BITS <= PAYLOAD_MAX => {
                Err(Some(Entry { index: entry.index, word: found }))
            }
            Err(_) => Err(None),
        }
    }

    /// Changes the payload of a slot that the caller keeps from being forgotten (its payload is not idle).
    pub(crate) fn update_pinned(&self, index: usize, next: impl Fn(u64) -> u64) {
        let slot = &self.slots[index].word;
        let mut word = slot.load(Ordering::Acquire);
        loop {
            let changed = next(word >> GENERATION_BITS) << GENERATION_BITS | word & GENERATION_MASK;
            match slot.compare_exchange_weak(word, changed, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(found) => word = found,
            }
        }
    }

    /// Whether the entry's slot still belongs to its key.
    pub(crate) fn is_current(&self, entry: Entry) -> bool {
        let word = self.slots[entry.index].word.load(Ordering::Acquire);
        word & GENERATION_MASK == entry.word & GENERATION_MASK && word >> GENERATION_BITS <= PAYLOAD_MAX
    }

    /// The key in a slot, if it is alive there.
    pub(crate) fn key_at(&self, index: usize) -> Option<(u128, Entry)> {
        let slot = &self.slots[index];
        let word = slot.word.load(Ordering::SeqCst);
        if word == 0 || word >> GENERATION_BITS > PAYLOAD_MAX {
            return None;
        }
        let key = slot.key();
        let entry = Entry { index, word };
        self.is_current(entry).then_some((key, entry))
    }

    /// Frees every slot with nothing to remember, so that owners' counts are what they really use.
    pub(crate) fn reclaim_all(&self, now: u64) {
        self.reclaim(0, self.slots.len(), now);
    }

    /// Every entry with something to remember.
    pub(crate) fn counted(&self, now: u64) -> Vec<Counted> {
        let entry = |index: usize| {
            let (key, entry) = self.key_at(index)?;
            let owner = self.slots[index].owner.load(Ordering::Acquire);
            let owner = self.shares.as_ref().and_then(|shares| shares.held.key_at(owner as usize % shares.held.len()));
            let payload = entry.payload();
            let owner = owner.map_or(0, |(owner, _)| owner);
            (!(self.idle)(payload, now)).then_some(Counted { key, owner, payload })
        };
        (0..self.slots.len()).filter_map(entry).collect()
    }

    /// Takes such entries up, as far as there is room.
    pub(crate) fn go_on(&self, entries: &[Counted], now: u64) {
        for Counted { key, owner, payload } in entries {
            let payload = (*payload).min(PAYLOAD_MAX);
            // Full: what is forgotten can only admit.
            let _ = self.update(*key, *owner, now, None, |_| Ok::<_, Full>(payload));
        }
    }

    /// Slots in use.
    #[cfg(test)]
    fn alive(&self) -> usize {
        (0..self.slots.len()).filter(|&index| self.key_at(index).is_some()).count()
    }

    /// The slots a key may sit in, in order of preference. A stride is odd, so no slot comes twice.
    fn window(&self, key: u128) -> impl Iterator<Item = usize> + use<> {
        let hash = self.hash(key);
        let (first, mask) = (self.first(hash), self.mask);
        let stride = if self.ways == WINDOW { (hash >> 32) as usize | 1 } else { 1 };
        (0..self.ways).map(move |way| first.wrapping_add(way.wrapping_mul(stride)) & mask)
    }

    #[inline]
    fn hash(&self, key: u128) -> u64 {
        let product = u128::from(key as u64 ^ self.seed[0]) * u128::from((key >> 64) as u64 ^ self.seed[1]);
        product as u64 ^ (product >> 64) as u64
    }

    #[inline]
    fn first(&self, hash: u64) -> usize {
        hash as usize & self.first_mask
    }

    /// Looks through the key's window for the key, and for the slot that an insertion would take.
    fn scan(&self, key: u128, now: u64) -> Scan {
        let mut free = None;
        let mut smallest = None;
        for index in self.window(key) {
            let slot = &self.slots[index];
            let word = slot.word.load(Ordering::SeqCst);
            let payload = word >> GENERATION_BITS;
            if word == 0 {
                free = free.or(Some((index, word)));
                break;
            }
            match payload {
                RESERVED => {}
                VACANT => free = free.or(Some((index, word))),
                ANNOUNCED => {
                    if slot.key() == key && slot.word.load(Ordering::SeqCst) == word {
                        return Scan::Announced(index, word);
                    }
                }
                _ => {
                    let entry = Entry { index, word };
                    if slot.key() == key && self.is_current(entry) {
                        return Scan::Alive(entry);
                    }
                    if free.is_none() && (self.idle)(payload, now) {
                        free = Some((index, word));
                    }
                    let rank = (payload & 0xffff, payload);
                    if smallest.is_none_or(|(best, _, _)| rank < best) {
                        smallest = Some((rank, index, word));
                    }
                }
            }
        }
        if free.is_none() && self.when_full == WhenFull::ForgetSmallest {
            free = smallest.map(|(_, index, word)| (index, word));
        }
        Scan::Absent(free)
    }

    /// Tries to take the free slot for `key`; if nothing comes of it, the caller looks again.
    fn claim(&self, key: u128, owner: u128, now: u64, index: usize, word: u64) -> Result<Option<Entry>, Full> {
        let owner = self.take_share(owner, now)?;
        let slot = &self.slots[index];
        // Stable while the word is: it is only written by who reserved the slot.
        let former = slot.owner.load(Ordering::Acquire);
        // 0 is kept for slots never used.
        let generation = (word & GENERATION_MASK) % GENERATION_MASK + 1;
        let reserved = RESERVED << GENERATION_BITS | generation;
        if slot.word.compare_exchange(word, reserved, Ordering::SeqCst, Ordering::Relaxed).is_err() {
            self.give_back(owner);
            return Ok(None);
        }
        if word != 0 && word >> GENERATION_BITS != VACANT {
            self.give_back(former);
        }
        // Release: who reads a new half of the key also sees the new generation.
        slot.key_low.store(key as u64, Ordering::Release);
        slot.key_high.store((key >> 64) as u64, Ordering::Release);
        slot.owner.store(owner, Ordering::Release);
        let announced = ANNOUNCED << GENERATION_BITS | generation;
        // SeqCst, as the loads of `finish`: of two announcers of one key at least one sees the other.
        slot.word.swap(announced, Ordering::SeqCst);
        Ok(self.finish(key, index, announced))
    }

    /// Makes an announced key alive, unless it is alive elsewhere or announced earlier in its window. Any thread may do it.
    fn finish(&self, key: u128, index: usize, announced: u64) -> Option<Entry> {
        let mut behind = false;
        for other in self.window(key) {
            if other == index {
                behind = true;
                continue;
            }
            let slot = &self.slots[other];
            loop {
                let word = slot.word.load(Ordering::SeqCst);
                let payload = word >> GENERATION_BITS;
                if word == 0 || payload == RESERVED || payload == VACANT || slot.key() != key {
                    break;
                }
                if payload == ANNOUNCED && behind {
                    if self.vacate(other, word) {
                        break;
                    }
                } else if slot.word.load(Ordering::SeqCst) & GENERATION_MASK == word & GENERATION_MASK {
                    self.vacate(index, announced);
                    return None;
                }
            }
        }
        let alive = announced & GENERATION_MASK;
        let slot = &self.slots[index].word;
        let done = slot.compare_exchange(announced, alive, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        done.then_some(Entry { index, word: alive })
    }

    /// Frees a slot if its word is still `word`.
    fn vacate(&self, index: usize, word: u64) -> bool {
        let slot = &self.slots[index];
        let owner = slot.owner.load(Ordering::Acquire);
        let vacant = VACANT << GENERATION_BITS | word & GENERATION_MASK;
        let done = slot.word.compare_exchange(word, vacant, Ordering::SeqCst, Ordering::Relaxed).is_ok();
        if done {
            self.give_back(owner);
        }
        done
    }

    fn take_share(&self, owner: u128, now: u64) -> Result<u32, Full> {
        let Some(shares) = &self.shares else { return Ok(NO_OWNER) };
        let take = || {
            shares.held.update(owner, 0, 0, None, |count| if count < shares.max { Ok(count + 1) } else { Err(Full) })
        };
        let entry = match take()? {
            Ok(entry) => entry,
            Err(Full) => {
                let from = self.reclaim_from.fetch_add(RECLAIM_CHUNK, Ordering::Relaxed);
                self.reclaim(from, RECLAIM_CHUNK, now);
                take()??
            }
        };
        Ok(entry.index as u32)
    }

    fn give_back(&self, owner: u32) {
        if let Some(shares) = &self.shares
            && owner != NO_OWNER
        {
            shares.held.update_pinned(owner as usize, |count| count.saturating_sub(1));
        }
    }

    fn reclaim(&self, from: usize, count: usize, now: u64) {
        for index in (0..count).map(|i| from.wrapping_add(i) & self.mask) {
            let word = self.slots[index].word.load(Ordering::Acquire);
            let payload = word >> GENERATION_BITS;
            if word != 0 && payload <= PAYLOAD_MAX && (self.idle)(payload, now) {
                self.vacate(index, word);
            }
        }
    }
}

impl Slot {
    /// Acquire: the word loaded after it is at least as new as either half.
    fn key(&self) -> u128 {
        let low = self.key_low.load(Ordering::Acquire);
        u128::from(self.key_high.load(Ordering::Acquire)) << 64 | u128::from(low)
    }
}

fn random_seed() -> [u64; 2] {
    let mut bytes = [0; 16];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system provides randomness");
    let seed = u128::from_le_bytes(bytes);
    [seed as u64, (seed >> 64) as u64]
}

#[cfg(test)]
mod tests;
