//! Where a source's penalty is found: an open-addressed table in a plain array, a cache line a slot.
//!
//! A program that refuses a thousand times a second finds its caches cold, so what counts is how many places it touches. A
//! look-up in an array is a few instructions of the program's own, and all of a source is in one line: its key, its
//! penalty, and how far those lie that could not have this slot though it is their home. Most often that is not at all,
//! so who is under no penalty costs one line too.
//!
//! User space alone inserts, [`put`] and [`remove`]: no flood of SYNs, forged or not, evicts anybody. A source lies in one
//! of [`REACH`] slots from its home on. Where all of them are taken it is not put at all, and whoever asked is told: it is
//! then refused after accept, as without a kernel plane. Homes depend on a seed that nobody outside knows, so that nobody
//! can choose addresses that fill another's slots; who could would have to break limits from eight addresses for each
//! source that he wants refused in that costlier way, and nobody would pass, nor be refused, who is not now.
//!
//! **Invariants.** Nobody gets another's penalty, however a look-up and an insertion overlap: a slot is dead while its key
//! changes and its deadline comes last, and who finds its key looks again, at the key and at how often the slot changed
//! hands, after it has read. That holds where loads and stores keep their order, as on x86-64; elsewhere a look-up would
//! have to span a whole insertion to go wrong, for one SYN. There is one writer at a time; one that dies half-way leaves a
//! slot in which nobody is found until it is had again. Slots whose deadline is not zero lie within what their home says.

use crate::{Penalty, SourceKey, addr};

/// Slots of the table: a power of two.
pub const SLOTS: u32 = 16_384;
/// Entries of the array: the last is nobody's slot, its first word the seed, for the process that takes over.
pub const ENTRIES: u32 = SLOTS + 1;
/// Slots that a source may lie in, from its home on.
pub const REACH: u32 = 8;

const BITS: u32 = SLOTS.trailing_zeros();

/// One slot, alone on its cache line: eight words, see [`word`].
#[repr(C, align(64))]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Slot(pub [u64; 8]);

const _: () = assert!(size_of::<Slot>() == 64 && SLOTS.is_power_of_two() && REACH == 8);

/// What the words of a slot are.
pub mod word {
    /// Two words: the source's key.
    pub const KEY: usize = 0;
    /// Four words: the penalty, its fields in their order.
    pub const PENALTY: usize = 2;
    /// The penalty's deadline; 0 = the slot is free.
    pub const UNTIL: usize = 3;
    /// What an open window has let through.
    pub const TRICKLE: usize = 4;
    /// How many slots further on the last source lies whose home this is.
    pub const FAR: usize = 6;
    /// Twice how often the slot changed hands; odd while it does.
    pub const VERSION: usize = 7;
}

/// The table as somebody reads it.
pub trait Slots {
    /// A slot that is there.
    type At: Copy;

    /// The slot of this number, which is below [`SLOTS`].
    fn at(&self, index: u32) -> Option<Self::At>;

    /// One of its words, read at once, not before those that were read before.
    fn load(&self, at: Self::At, word: usize) -> u64;
}

/// The table as user space writes it.
pub trait SlotsMut: Slots {
    /// Stores a word at once, not before those that were stored before.
    fn store(&mut self, at: Self::At, word: usize, value: u64);
}

/// No slot could be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Crowded;

/// The slot where the source's place is looked for first.
#[inline(always)]
#[must_use]
pub const fn home(seed: u64, [a, b]: [u64; 2]) -> u32 {
    // What neighbouring addresses differ in goes to the low end, from where multiplying spreads it.
    let (a, b) = (u64::from_be(a), u64::from_be(b));
    let mut hash = (seed ^ a).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    hash = (hash ^ hash >> 32 ^ b).wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash = (hash ^ hash >> 32 ^ seed.rotate_left(29)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    (hash >> (u64::BITS - BITS)) as u32
}

/// The source's slot and penalty, whether that is over or not; `None` if it has none, or just gets it.
#[inline(always)]
pub fn find<S: Slots>(slots: &S, seed: u64, source: SourceKey) -> Option<(S::At, Penalty)> {
    let key = words(source);
    let at = seek(slots, home(seed, key), key)?;
    let version = slots.load(at, word::VERSION);
    let penalty = Penalty::of_words([
        slots.load(at, word::PENALTY),
        slots.load(at, word::UNTIL),
        slots.load(at, word::TRICKLE),
        slots.load(at, word::PENALTY + 3),
    ]);
    // It may have become another's meanwhile, or have been.
    let same = version % 2 == 0 && has_key(slots, at, key) && slots.load(at, word::VERSION) == version;
    same.then_some((at, penalty))
}

/// Every look is written out: a loop has no end for the verifier of a loader without CAP_PERFMON.
#[inline(always)]
fn seek<S: Slots>(slots: &S, home: u32, key: [u64; 2]) -> Option<S::At> {
    let first = slots.at(home)?;
    if is_of(slots, first, key) {
        return Some(first);
    }
    let far = slots.load(first, word::FAR);
    macro_rules! look {
        ($($step:literal)+) => {
            $(
                if far < $step {
                    return None;
                }
                let at = slots.at((home + $step) % SLOTS)?;
                if is_of(slots, at, key) {
                    return Some(at);
                }
            )+
        };
    }
    look!(1 2 3 4 5 6 7);
    None
}

#[inline(always)]
fn is_of<S: Slots>(slots: &S, at: S::At, key: [u64; 2]) -> bool {
    has_key(slots, at, key) && slots.load(at, word::UNTIL) != 0
}

#[inline(always)]
fn has_key<S: Slots>(slots: &S, at: S::At, key: [u64; 2]) -> bool {
    slots.load(at, word::KEY) == key[0] && slots.load(at, word::KEY + 1) == key[1]
}

#[inline(always)]
const fn words(source: SourceKey) -> [u64; 2] {
    let [a, b, c, d] = addr::to_words(source.0);
    [a as u64 | (b as u64) << 32, c as u64 | (d as u64) << 32]
}

/// Puts a source under a penalty, in place of the one that it has. A slot whose penalty is over by `now_ns` is free.
///
/// # Errors
/// All slots that it may lie in are others'.
pub fn put<S: SlotsMut>(
    slots: &mut S,
    seed: u64,
    source: SourceKey,
    penalty: Penalty,
    now_ns: u64,
) -> Result<(), Crowded> {
    let key = words(source);
    let home = home(seed, key);
    if let Some(at) = seek(slots, home, key) {
        // Any mix of the two is one of this source's, and ends by itself.
        write(slots, at, penalty);
        return Ok(());
    }
    let free = (0..REACH).find_map(|step| {
        let at = slots.at((home + step) % SLOTS)?;
        (slots.load(at, word::UNTIL) <= now_ns).then_some((step, at))
    });
    let (step, at) = free.ok_or(Crowded)?;
    clear(slots, seed, at);
    let version = slots.load(at, word::VERSION) & !1;
    slots.store(at, word::VERSION, version.wrapping_add(1));
    slots.store(at, word::KEY, key[0]);
    slots.store(at, word::KEY + 1, key[1]);
    write(slots, at, penalty);
    slots.store(at, word::VERSION, version.wrapping_add(2));
    if let Some(first) = slots.at(home)
        && slots.load(first, word::FAR) < u64::from(step)
    {
        slots.store(first, word::FAR, step.into());
    }
    Ok(())
}

/// Ends a source's penalty; whether it had one.
pub fn remove<S: SlotsMut>(slots: &mut S, seed: u64, source: SourceKey) -> bool {
    let key = words(source);
    let found = seek(slots, home(seed, key), key);
    if let Some(at) = found {
        clear(slots, seed, at);
    }
    found.is_some()
}

/// The deadline last: before it the slot is free, or the old penalty's.
fn write<S: SlotsMut>(slots: &mut S, at: S::At, penalty: Penalty) {
    let [since, until, trickle, rest] = penalty.to_words();
    slots.store(at, word::PENALTY, since);
    slots.store(at, word::TRICKLE, trickle);
    slots.store(at, word::PENALTY + 3, rest);
    slots.store(at, word::UNTIL, until);
}

/// Frees a slot, and has its source's home say how far the others lie.
fn clear<S: SlotsMut>(slots: &mut S, seed: u64, at: S::At) {
    if slots.load(at, word::UNTIL) == 0 {
        return;
    }
    slots.store(at, word::UNTIL, 0);
    let its_home = home(seed, [slots.load(at, word::KEY), slots.load(at, word::KEY + 1)]);
    let far = (0..REACH).rev().find(|step| {
        slots.at((its_home + step) % SLOTS).is_some_and(|at| {
            slots.load(at, word::UNTIL) != 0
                && home(seed, [slots.load(at, word::KEY), slots.load(at, word::KEY + 1)]) == its_home
        })
    });
    if let Some(first) = slots.at(its_home) {
        slots.store(first, word::FAR, far.unwrap_or(0).into());
    }
}

#[cfg(test)]
mod tests;
