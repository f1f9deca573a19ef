//! A bounded map that forgets by the CLOCK rule: entries used since the hand last passed get a second chance.
//!
//! One worker's, so without locks. The hash is SipHash under a random key, because callers choose part of the keys.

use std::hash::{BuildHasher, Hash, RandomState};

use hashbrown::HashTable;

/// The map. Room for every entry is set aside at the start, so it never grows.
#[derive(Debug)]
pub(super) struct Clock<K, V> {
    index: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
    hand: usize,
    capacity: usize,
    hasher: RandomState,
}

#[derive(Debug)]
struct Slot<K, V> {
    hash: u64,
    key: K,
    value: V,
    used: bool,
}

impl<K, V> Clock<K, V> {
    /// An empty map of at most `capacity` (≥ 1) entries.
    pub(super) fn new(capacity: u32) -> Self {
        let capacity = capacity.max(1) as usize;
        Self {
            index: HashTable::with_capacity(capacity),
            slots: Vec::with_capacity(capacity),
            hand: 0,
            capacity,
            hasher: RandomState::new(),
        }
    }

    /// The hash to look a key up, and later insert it, by.
    pub(super) fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The value of the key that `eq` accepts; counts as a use.
    pub(super) fn get(&mut self, hash: u64, eq: impl Fn(&K) -> bool) -> Option<&mut V> {
        let slots = &self.slots;
        let at = *self.index.find(hash, |at| eq(&slots[*at as usize].key))?;
        let slot = &mut self.slots[at as usize];
        slot.used = true;
        Some(&mut slot.value)
    }

    /// Adds a key that is not in the map, at the cost of one that was not used lately.
    pub(super) fn insert(&mut self, hash: u64, key: K, value: V) {
        let slot = Slot { hash, key, value, used: false };
        let at = if self.slots.len() < self.capacity {
            self.slots.push(slot);
            self.slots.len() - 1
        } else {
            let at = self.victim();
            self.forget(at);
            self.slots[at] = slot;
            at
        };
        let slots = &self.slots;
        #[expect(clippy::cast_possible_truncation, reason = "the capacity is a u32")]
        self.index.insert_unique(hash, at as u32, |at| slots[*at as usize].hash);
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.index.clear();
        self.slots.clear();
        self.hand = 0;
    }

    /// Ends within two rounds: the first clears every mark.
    fn victim(&mut self) -> usize {
        loop {
            let at = self.hand;
            self.hand = (self.hand + 1) % self.capacity;
            if !std::mem::take(&mut self.slots[at].used) {
                return at;
            }
        }
    }

    fn forget(&mut self, at: usize) {
        if let Ok(entry) = self.index.find_entry(self.slots[at].hash, |other| *other as usize == at) {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(clock: &mut Clock<u64, u64>, key: u64) {
        let hash = clock.hash(key);
        clock.insert(hash, key, key * 10);
    }

    fn find(clock: &mut Clock<u64, u64>, key: u64) -> Option<u64> {
        let hash = clock.hash(key);
        clock.get(hash, |other| *other == key).copied()
    }

    #[test]
    fn keeps_what_is_used_and_never_outgrows_its_bound() {
        let mut clock = Clock::new(4);
        for key in 0..4 {
            put(&mut clock, key);
        }
        assert_eq!(find(&mut clock, 2), Some(20));
        for key in 4..7 {
            put(&mut clock, key);
        }
        assert_eq!(find(&mut clock, 2), Some(20), "used, so kept");
        assert_eq!(clock.slots.len(), 4);
        assert_eq!(clock.index.len(), 4);
        assert_eq!((0..7).filter(|key| find(&mut clock, *key).is_some()).count(), 4);
    }

    #[test]
    fn evicts_although_everything_is_in_use() {
        let mut clock = Clock::new(2);
        for key in 0..100 {
            put(&mut clock, key);
            assert_eq!(find(&mut clock, key), Some(key * 10));
        }
        clock.clear();
        assert_eq!(find(&mut clock, 99), None);
        put(&mut clock, 5);
        assert_eq!(find(&mut clock, 5), Some(50));
    }
}
