extern crate std;

use core::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::sync::LazyLock;
use std::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::{Verdict, penalty_decide};

const SEED: u64 = 0x0123_4567_89ab_cdef;
const S: u64 = 1_000_000_000;

/// A table, of which only the slots that were written are there, whose writer's stores arrive while somebody reads it:
/// before each load as many as the schedule says.
#[derive(Default)]
struct Memory {
    slots: RefCell<HashMap<u32, Slot>>,
    late: RefCell<VecDeque<(u32, usize, u64)>>,
    schedule: RefCell<VecDeque<usize>>,
    /// Stores go to `late` instead.
    keeps_back: bool,
}

impl Memory {
    /// What `write` stores from here on comes late.
    fn late(&mut self, write: impl FnOnce(&mut Self)) {
        let before = self.slots.borrow().clone();
        self.keeps_back = true;
        write(self);
        self.keeps_back = false;
        *self.slots.borrow_mut() = before;
    }

    fn set(&self, at: u32, word: usize, value: u64) {
        self.slots.borrow_mut().entry(at).or_default().0[word] = value;
    }

    fn until(&self, source: SourceKey) -> Option<u64> {
        find(self, SEED, source).map(|(_, penalty)| penalty.until_ns)
    }
}

impl Slots for Memory {
    type At = u32;

    fn at(&self, index: u32) -> Option<u32> {
        assert!(index < SLOTS);
        Some(index)
    }

    fn load(&self, at: u32, word: usize) -> u64 {
        if !self.keeps_back {
            let arrived = self.schedule.borrow_mut().pop_front().unwrap_or(0);
            for _ in 0..arrived {
                let Some((at, word, value)) = self.late.borrow_mut().pop_front() else { break };
                self.set(at, word, value);
            }
        }
        self.slots.borrow().get(&at).map_or(0, |slot| slot.0[word])
    }
}

impl SlotsMut for Memory {
    fn store(&mut self, at: u32, word: usize, value: u64) {
        if self.keeps_back {
            self.late.borrow_mut().push_back((at, word, value));
        }
        self.set(at, word, value);
    }
}

/// Sources of which many share a home: of those in the order of their addresses, the ones that live in three slots, which
/// include the table's last.
static CROWD: LazyLock<Vec<SourceKey>> = LazyLock::new(|| {
    let homes = [SLOTS - 2, SLOTS - 1, 0];
    let mut crowd: Vec<_> = v4().filter(|source| homes.contains(&home(SEED, words(*source)))).take(24).collect();
    crowd.sort_by_key(|source| home(SEED, words(*source)));
    crowd
});

fn v4() -> impl Iterator<Item = SourceKey> {
    (0_u32..).map(|n| SourceKey::of(addr::v4_mapped(n.to_be_bytes())))
}

fn penalty(until_ns: u64) -> Penalty {
    Penalty::new(until_ns.saturating_sub(60 * S), until_ns)
}

#[test]
fn a_penalty_is_found_by_its_source_and_by_no_other_until_it_is_removed() {
    let mut memory = Memory::default();
    let [one, other] = [1, 2].map(|n| SourceKey::of(addr::v4_mapped([192, 0, 2, n])));
    assert_eq!(put(&mut memory, SEED, one, penalty(90 * S), S), Ok(()));
    assert_eq!((memory.until(one), memory.until(other)), (Some(90 * S), None));
    assert_eq!(put(&mut memory, SEED, one, penalty(99 * S), S), Ok(()), "renewed in place");
    assert_eq!(memory.until(one), Some(99 * S));
    assert!(remove(&mut memory, SEED, one) && !remove(&mut memory, SEED, one));
    assert_eq!(memory.until(one), None);
}

#[test]
fn the_source_whose_key_is_zero_is_not_found_in_free_slots() {
    let mut memory = Memory::default();
    let loopback = SourceKey::of(addr::address("::1".parse().expect("an address")));
    assert_eq!(loopback.0, [0; 16]);
    assert_eq!(memory.until(loopback), None);
    // Another has its home.
    let first = home(SEED, [0, 0]);
    memory.store(first, word::KEY, 7);
    memory.store(first, word::UNTIL, 90 * S);
    assert_eq!(put(&mut memory, SEED, loopback, penalty(80 * S), S), Ok(()));
    assert_eq!(memory.until(loopback), Some(80 * S));
    assert!(remove(&mut memory, SEED, loopback));
    assert_eq!(memory.until(loopback), None);
}

#[test]
fn a_ninth_source_of_one_home_finds_no_slot_and_takes_nobodys() {
    let mut memory = Memory::default();
    let of_one: Vec<_> = v4().filter(|source| home(SEED, words(*source)) == SLOTS - 3).take(9).collect();
    for source in &of_one[..8] {
        assert_eq!(put(&mut memory, SEED, *source, penalty(90 * S), S), Ok(()));
    }
    assert_eq!(put(&mut memory, SEED, of_one[8], penalty(90 * S), S), Err(Crowded));
    assert!(of_one[..8].iter().all(|source| memory.until(*source) == Some(90 * S)));
    assert_eq!(memory.until(of_one[8]), None);
    assert_eq!(put(&mut memory, SEED, of_one[8], penalty(190 * S), 90 * S), Ok(()), "the others' have ended");
    assert_eq!(memory.until(of_one[8]), Some(190 * S));
}

#[test]
fn as_many_as_are_held_at_once_find_a_slot_whoever_they_are() {
    for seed in 1..20_u64 {
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (mut memory, mut crowded) = (Memory::default(), 0);
        for n in 0..SLOTS / 8 {
            // Neighbouring addresses, and neighbouring /64s.
            let v6 = [0x20, 0x01, 0x0d, 0xb8, (n >> 24) as u8, (n >> 16) as u8, (n >> 8) as u8, n as u8];
            let mut octets = [0; 16];
            octets[..8].copy_from_slice(&v6);
            for source in [SourceKey::of(addr::v4_mapped(n.to_be_bytes())), SourceKey::of(octets)] {
                crowded += u32::from(put(&mut memory, seed, source, penalty(90 * S), S).is_err());
            }
        }
        assert!(crowded <= 4, "{crowded} of {} with the seed {seed:x}", SLOTS / 4);
    }
}

/// A penalty that says whose it is.
fn own(who: usize) -> Penalty {
    penalty((100 + who as u64) * S).with_open_max(who as u32)
}

#[test]
fn a_slot_that_becomes_anothers_and_ones_own_again_while_it_is_read_is_not_mixed_up() {
    const LOADS: usize = 12;
    const STORES: usize = 24;
    let crowd = &*CROWD;
    for (first, some) in (0..LOADS).flat_map(|load| (0..STORES).map(move |stores| (load, stores))) {
        for (second, more) in (first + 1..LOADS).flat_map(|load| (1..STORES).map(move |stores| (load, stores))) {
            let mut memory = Memory::default();
            assert_eq!(put(&mut memory, SEED, crowd[0], own(0), 0), Ok(()));
            memory.late(|memory| {
                remove(memory, SEED, crowd[0]);
                assert_eq!(put(memory, SEED, crowd[1], own(1), 0), Ok(()));
                remove(memory, SEED, crowd[1]);
                assert_eq!(put(memory, SEED, crowd[0], own(0), 0), Ok(()));
            });
            let mut schedule = VecDeque::from([0; LOADS]);
            (schedule[first], schedule[second]) = (some, more);
            memory.schedule.replace(schedule);
            let found = find(&memory, SEED, crowd[0]).map(|(_, penalty)| penalty);
            let right = found.is_none_or(|found| found.until_ns == 0 || found == own(0));
            assert!(right, "{found:?}: {some} at {first}, {more} at {second}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn it_is_a_map_whatever_is_put_and_removed(
        steps in prop::collection::vec((0..24_usize, 0..6_u8, 0..40_u64), 1..120)
    ) {
        let (crowd, mut memory) = (&*CROWD, Memory::default());
        let (mut reference, mut now) = (HashMap::new(), 100 * S);
        for (who, what, seconds) in steps {
            let source = crowd[who % crowd.len()];
            match what {
                0 => {
                    let live = reference.remove(&source).is_some_and(|until| until > now);
                    let removed = remove(&mut memory, SEED, source);
                    prop_assert!(removed || !live);
                }
                1 => now += seconds * S,
                _ => {
                    let until = now + (1 + seconds) * S;
                    match put(&mut memory, SEED, source, penalty(until), now) {
                        Ok(()) => drop(reference.insert(source, until)),
                        Err(Crowded) => {
                            let live = reference.values().filter(|until| **until > now).count();
                            prop_assert!(live >= REACH as usize);
                            prop_assert!(reference.get(&source).is_none_or(|until| *until <= now));
                        }
                    }
                }
            }
            for source in crowd {
                let expected = reference.get(source).is_some_and(|until| *until > now);
                let found = find(&memory, SEED, *source).map(|(_, penalty)| penalty);
                prop_assert_eq!(found.is_some_and(|penalty| penalty_decide(&penalty, now) != Verdict::Pass), expected);
                if expected {
                    prop_assert_eq!(found.map(|penalty| penalty.until_ns), reference.get(source).copied());
                }
            }
        }
    }

    #[test]
    fn nobody_gets_anothers_penalty_however_looking_and_writing_overlap(
        before in prop::collection::vec(0..6_usize, 0..6),
        during in prop::collection::vec((0..6_usize, any::<bool>()), 1..6),
        looked_for in 0..6_usize,
        schedule in prop::collection::vec(0..12_usize, 0..24),
    ) {
        let (crowd, mut memory) = (&*CROWD, Memory::default());
        for who in before {
            let _ = put(&mut memory, SEED, crowd[who], own(who), 0);
        }
        memory.late(|memory| {
            for (who, put_in) in during {
                // All of them are over by then: each slot may be had.
                if put_in {
                    let _ = put(memory, SEED, crowd[who], own(who), u64::MAX);
                } else {
                    remove(memory, SEED, crowd[who]);
                }
            }
        });
        memory.schedule.replace(schedule.into());
        let found = find(&memory, SEED, crowd[looked_for]).map(|(_, penalty)| penalty);
        prop_assert!(found.is_none_or(|found| found.until_ns == 0 || found == own(looked_for)), "{found:?}");
    }
}
