//! The table alone and among threads.

use super::*;

#[test]
fn what_was_counted_goes_on_in_another_table_under_the_same_owners() {
    let made = || Table::new(64, |payload, now| payload <= now, WhenFull::Refuse).with_shares(50);
    let (old, new) = (made(), made());
    for (key, payload) in [(7, 100), (8, 5), (9, 200)] {
        old.update(key, 3, 0, None, |_| Ok::<_, Full>(payload)).unwrap().unwrap();
    }
    let mut counted = old.counted(10);
    counted.sort_by_key(|entry| entry.key);
    let kept = [(7, 100), (9, 200)].map(|(key, payload)| Counted { key, owner: 3, payload });
    assert_eq!(counted, kept, "what lies in the past says nothing");
    new.go_on(&counted, 10);
    assert_eq!(new.find(7).map(Entry::payload), Some(100));
    assert!(new.find(8).is_none());
    assert_eq!(new.counted(10).len(), 2);
}
use std::sync::Barrier;

fn expires(payload: u64, now: u64) -> bool {
    payload <= now
}

fn table(capacity: usize) -> Table {
    Table::new(capacity, expires, WhenFull::Refuse)
}

fn put(table: &Table, key: u128, owner: u128, now: u64, payload: u64) -> Result<(), Full> {
    table.update(key, owner, now, None, |_| Ok::<_, Full>(payload)).map(|_| ())
}

/// Keys that share one window, and one that would fit nowhere else.
fn neighbours(table: &Table, count: usize) -> Vec<u128> {
    let window: Vec<_> = table.window(1).collect();
    (1_u128..).filter(|&key| table.window(key).eq(window.iter().copied())).take(count).collect()
}

#[test]
fn finds_what_was_put_and_nothing_else() {
    let table = table(1024);
    for key in 1..300_u128 {
        put(&table, key << 64 | 7, 0, 0, key as u64).unwrap();
    }
    for key in 1..300_u128 {
        assert_eq!(table.find(key << 64 | 7).map(Entry::payload), Some(key as u64));
        assert!(table.find(key << 64 | 8).is_none());
    }
    assert_eq!(table.alive(), 299);
}

#[test]
fn threat_a22_forgets_only_what_has_nothing_to_remember() {
    let table = table(64);
    let keys = neighbours(&table, WINDOW + 1);
    for key in &keys[..WINDOW] {
        put(&table, *key, 0, 0, 100).unwrap();
    }
    assert_eq!(put(&table, keys[WINDOW], 0, 99, 200), Err(Full), "all sixteen remember until 100");
    assert!(keys[..WINDOW].iter().all(|key| table.find(*key).is_some()));
    put(&table, keys[WINDOW], 0, 100, 200).unwrap();
    assert_eq!(keys[..WINDOW].iter().filter(|key| table.find(**key).is_some()).count(), WINDOW - 1);
}

#[test]
fn an_update_meant_for_a_former_key_fails() {
    let table = table(64);
    put(&table, 1, 0, 0, 10).unwrap();
    let stale = table.find(1).unwrap();
    table.reclaim_all(10);
    let other = neighbours(&table, 2).into_iter().find(|key| *key != 1).unwrap();
    put(&table, other, 0, 10, 10).unwrap();
    assert_eq!(table.find(other).unwrap().index, stale.index, "the slot changed hands, its payload is the same");
    assert!(matches!(table.swap(stale, 50), Err(None)));
    assert_eq!(table.find(other).unwrap().payload(), 10);
}

#[test]
fn an_owner_at_its_share_is_refused_and_others_are_not() {
    let table = table(256).with_shares(25);
    for key in 0..64_u128 {
        put(&table, key, 1, 0, 1000).unwrap();
    }
    assert_eq!(put(&table, 64, 1, 0, 1000), Err(Full));
    put(&table, 65, 2, 0, 1000).unwrap();
    assert_eq!(table.alive(), 65);
    assert_eq!(put(&table, 64, 1, 0, 1000), Err(Full));
    put(&table, 64, 1, 1000, 2000).expect("what is forgotten no longer counts");
}

#[test]
fn forgets_the_smallest_count_where_that_is_the_rule() {
    let table = Table::new(64, expires, WhenFull::ForgetSmallest);
    let keys = neighbours(&table, GROUP + 1);
    for (n, key) in keys[..GROUP].iter().enumerate() {
        put(&table, *key, 0, 0, 9 << 16 | (n as u64 + 5)).unwrap();
    }
    put(&table, keys[GROUP], 0, 0, 9 << 16 | 1).unwrap();
    assert!(table.find(keys[0]).is_none(), "it had the smallest count");
    assert!(keys[1..].iter().all(|key| table.find(*key).is_some()));
}

/// The window slot `way` of `key` as an inserter leaves it just before it looks for rivals.
fn announce(table: &Table, key: u128, way: usize) -> (usize, u64) {
    let index = table.window(key).nth(way).unwrap();
    let slot = &table.slots[index];
    let word = ANNOUNCED << GENERATION_BITS | 1;
    slot.key_low.store(key as u64, Ordering::Release);
    slot.key_high.store((key >> 64) as u64, Ordering::Release);
    slot.owner.store(NO_OWNER, Ordering::Release);
    slot.word.store(word, Ordering::SeqCst);
    (index, word)
}

#[test]
fn of_rival_insertions_the_earlier_in_the_window_lives() {
    for finish_first in [0, 1] {
        let table = table(64);
        let rivals = [announce(&table, 1, 0), announce(&table, 1, 1)];
        for (index, word) in [rivals[finish_first], rivals[1 - finish_first]] {
            table.finish(1, index, word);
        }
        assert_eq!(table.find(1).unwrap().index, rivals[0].0);
        assert_eq!(table.alive(), 1);
    }
}

#[test]
fn an_insertion_of_a_key_that_lives_is_given_up() {
    let table = table(64);
    // What lies behind a slot never used is not looked for.
    let first = table.window(1).next().unwrap();
    table.slots[first].word.store(VACANT << GENERATION_BITS | 1, Ordering::SeqCst);
    let (later, word) = announce(&table, 1, 1);
    table.finish(1, later, word);
    assert_eq!(table.find(1).unwrap().index, later, "nobody else had it");
    let (earlier, word) = announce(&table, 1, 0);
    table.finish(1, earlier, word);
    assert_eq!((table.find(1).unwrap().index, table.alive()), (later, 1));
}

#[test]
fn an_insertion_whose_thread_stopped_is_finished_by_whoever_finds_it() {
    let table = table(64);
    let (index, _) = announce(&table, 1, 0);
    assert_eq!(table.find(1).map(|entry| (entry.index, entry.payload())), Some((index, 0)));
}

#[test]
fn threads_that_insert_one_key_at_once_share_one_slot() {
    const THREADS: u64 = 8;
    const KEYS: u128 = 2_000;
    for _ in 0..3 {
        let table = Table::new(8192, |payload, _| payload == 0, WhenFull::Refuse).with_shares(100);
        let barrier = Barrier::new(THREADS as usize);
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    barrier.wait();
                    for key in 0..KEYS {
                        table.update(key, 1, 0, None, |count| Ok::<_, Full>(count + 1)).unwrap().unwrap();
                    }
                });
            }
        });
        let counts: Vec<_> = (0..KEYS).map(|key| table.find(key).unwrap().payload()).collect();
        assert!(counts.iter().all(|count| *count == THREADS), "a lost or doubled entry loses counts");
        assert_eq!(table.alive(), KEYS as usize);
        let shares = table.shares.as_ref().unwrap();
        assert_eq!(shares.held.find(1).unwrap().payload(), KEYS as u64);
    }
}

#[test]
fn counts_stay_exact_while_slots_change_hands() {
    const THREADS: u128 = 4;
    let table = Table::new(64, |payload, _| payload == 0, WhenFull::Refuse).with_shares(100);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let table = &table;
            scope.spawn(move || {
                // Up, then down to zero, over few slots: entries are forgotten and inserted all the time.
                for round in 0..20_000_u128 {
                    let key = (round * 7 + thread) % 24;
                    let Ok(entry) = table.update(key, 1, 0, None, |count| Ok::<_, Full>(count + 1)) else {
                        continue;
                    };
                    table.update_pinned(entry.unwrap().index, |count| count - 1);
                }
            });
        }
    });
    assert!((0..24).all(|key| table.find(key).is_none_or(|entry| entry.payload() == 0)));
    table.reclaim_all(0);
    assert_eq!(table.alive(), 0);
    assert_eq!(table.shares.as_ref().unwrap().held.find(1).map_or(0, Entry::payload), 0);
}
