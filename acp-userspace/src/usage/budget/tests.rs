//! One slot through leases, holds, folds and periods; the ledger's part is played by hand.

use super::*;

const KEY: u128 = 77;
const RULE: u64 = rule_tag(3 << 20);
const GENERATION: u64 = 5 << 16 | 1;

fn granted(lease: u64) -> (Budgets, usize) {
    let budgets = Budgets::new(64, 100);
    assert_eq!(budgets.reserve(KEY, RULE, 1, 10, 0).unwrap().unwrap_err(), Short::Pending);
    let mut index = None;
    budgets.drain_wishes(|slot, want| {
        assert_eq!(want, 10);
        index = Some(slot);
    });
    let index = index.expect("the slot asked for a lease");
    assert_eq!(budgets.next_tag(index), 1);
    budgets.begin(index, GENERATION, false, Some(100));
    budgets.publish(index, lease, 0, lease, 100);
    (budgets, index)
}

fn reserve(budgets: &Budgets, price: u64) -> Result<Reserved, Short> {
    budgets.reserve(KEY, RULE, 1, price, 50).unwrap()
}

#[test]
fn a_hold_returns_what_it_did_not_use() {
    let (budgets, index) = granted(100);
    let hold = reserve(&budgets, 60).unwrap();
    assert_eq!(hold.lease, GENERATION);
    assert_eq!(reserve(&budgets, 60).unwrap_err(), Short::Exhausted { until_secs: 100 });
    budgets.settle(hold.index, hold.lease, 60, 15);
    assert_eq!((budgets.available(index), budgets.book(index, GENERATION)), (85, (0, 15)));
    assert!(reserve(&budgets, 60).is_ok(), "no refusal is left over from the hold");
}

#[test]
fn a_hold_settles_into_the_period_it_was_taken_in() {
    let (budgets, index) = granted(100);
    let old = reserve(&budgets, 60).unwrap();
    assert_eq!(budgets.begin(index, GENERATION + 1, false, Some(200)), 40);
    budgets.publish(index, 30, 0, 30, 200);
    budgets.settle(index, old.lease, 60, 10);
    assert_eq!(budgets.available(index), 30, "the refund belongs to the old period");
    assert_eq!(budgets.book(index, GENERATION), (0, 10));
}

#[test]
fn a_fold_keeps_refunds_of_the_same_period() {
    let (budgets, index) = granted(100);
    let hold = reserve(&budgets, 60).unwrap();
    budgets.begin(index, GENERATION + 1, true, None);
    assert_eq!(budgets.available(index), 40);
    budgets.settle(index, hold.lease, 60, 10);
    assert_eq!((budgets.available(index), budgets.book(index, GENERATION)), (90, (0, 10)));
}

#[test]
fn a_hold_of_a_closed_book_stays_spent() {
    let (budgets, index) = granted(100);
    let hold = reserve(&budgets, 60).unwrap();
    budgets.begin(index, GENERATION + 1, true, None);
    assert_eq!(budgets.close_book(index, GENERATION), 60);
    budgets.settle(index, hold.lease, 60, 10);
    assert_eq!(budgets.available(index), 40, "it was counted as spent, nothing returns");
}

#[test]
fn an_ended_period_waits_for_the_next_one() {
    let (budgets, _) = granted(100);
    assert_eq!(budgets.reserve(KEY, RULE, 1, 10, 100).unwrap().unwrap_err(), Short::Pending);
}

#[test]
fn a_price_beyond_any_budget_is_refused_and_asks_for_nothing() {
    let (budgets, _) = granted(100);
    assert_eq!(reserve(&budgets, AMOUNT_MAX / 2 + 1).unwrap_err(), Short::Exhausted { until_secs: 100 });
    assert_eq!(
        budgets.reserve(KEY + 1, RULE, 1, AMOUNT_MAX, 50).unwrap().unwrap_err(),
        Short::Exhausted { until_secs: 0 }
    );
    assert!(!budgets.is_waiting());
}

#[test]
fn nothing_is_told_of_a_slot_before_its_first_lease() {
    let budgets = Budgets::new(64, 100);
    assert_eq!(reserve(&budgets, 10).unwrap_err(), Short::Pending);
    budgets.drain_wishes(|slot, _| budgets.publish_headroom(slot, 1_000));
    assert_eq!(budgets.remainder(KEY), None);
}

#[test]
fn a_retired_slot_is_unknown_again() {
    let (budgets, index) = granted(100);
    let (key, entry) = budgets.occupant(index).unwrap();
    assert_eq!((key, budgets.withdraw(index)), (KEY, 100));
    budgets.retire(index, entry);
    assert!(budgets.occupant(index).is_none());
    assert_eq!(reserve(&budgets, 10).unwrap_err(), Short::Pending);
}

#[test]
fn more_is_asked_for_at_half() {
    let (budgets, index) = granted(100);
    budgets.publish(index, 0, 1000, 100, 100);
    reserve(&budgets, 50).unwrap();
    assert!(!budgets.is_waiting());
    reserve(&budgets, 1).unwrap();
    assert!(budgets.is_waiting());
}

#[test]
fn threads_never_hold_more_than_the_lease() {
    let (budgets, index) = granted(100_000);
    let spent: u64 = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8_u64)
            .map(|worker| {
                let budgets = &budgets;
                scope.spawn(move || {
                    let mut spent = 0;
                    for round in 0..20_000_u64 {
                        let price = 1 + (round * 7 + worker) % 30;
                        if let Ok(hold) = reserve(budgets, price) {
                            let used = price * (round % 3) / 3;
                            budgets.settle(hold.index, hold.lease, price, used);
                            spent += used;
                        }
                    }
                    spent
                })
            })
            .collect();
        let mut generation = GENERATION;
        while workers.iter().any(|worker| !worker.is_finished()) {
            let unsettled = generation > GENERATION && budgets.book(index, generation - 1).0 > 0;
            if !unsettled && generation < GENERATION + 3 {
                generation += 1;
                budgets.begin(index, generation, true, None);
            }
            std::thread::yield_now();
        }
        workers.into_iter().map(|worker| worker.join().unwrap()).sum()
    });
    let books: Vec<_> = (0..4).map(|n| budgets.book(index, GENERATION + n)).collect();
    assert!(books.iter().all(|(held, _)| *held == 0));
    assert_eq!(books.iter().map(|(_, spent)| spent).sum::<u64>(), spent);
    assert_eq!(budgets.available(index) + spent, 100_000);
}
