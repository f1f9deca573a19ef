//! How many distinct values a subject had made tokens in this hour: all workers' count, without a lock.
//!
//! Two tables of words that are claimed by compare-and-swap: one remembers which (subject, value) was seen, one counts
//! per subject and per tenant. A word carries the hour it was written in, so that what is past is free without being
//! cleaned. Places and fingerprints come from keys nobody outside can choose: the value's part is a pseudorandom
//! function under the tenant's key, the subject's a SHA-256. Two subjects are taken for one with a chance of 2⁻⁴⁴ per
//! pair, and two workers that see a value at the same moment may count it twice; both err towards refusing. Where a
//! table is full the value is refused. A tenant has a quarter of the places (THREATS A22). A reload begins to count
//! anew.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::TokenRefused;
use crate::ids::Key128;

/// Distinct values of all subjects in an hour: 2 MiB of words.
const VALUES: usize = 1 << 18;
/// Distinct values of one tenant.
const TENANT_VALUES_MAX: u64 = VALUES as u64 / 4;
/// Subjects and tenants that have values made tokens in an hour: 512 KiB.
const COUNTERS: usize = 1 << 16;
/// Places looked at for one word.
const PROBES: usize = 16;
/// Bits of a counter.
const COUNT_BITS: u32 = 20;
const HOUR_NS: u64 = 3_600_000_000_000;

/// The tables.
pub(super) struct Budget {
    per_hour: u64,
    seen: Box<[AtomicU64]>,
    counters: Box<[AtomicU64]>,
}

impl std::fmt::Debug for Budget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budget").field("per_hour", &self.per_hour).finish_non_exhaustive()
    }
}

impl Budget {
    /// So many values per subject and hour.
    pub(super) fn new(per_hour: u32) -> Self {
        let words = |len| (0..len).map(|_| AtomicU64::new(0)).collect();
        let per_hour = u64::from(per_hour).min((1 << COUNT_BITS) - 1);
        Self { per_hour, seen: words(VALUES), counters: words(COUNTERS) }
    }

    /// Counts a value of a subject, unless it is known.
    ///
    /// # Errors
    /// One too many, for the subject, its tenant or the tables.
    pub(super) fn count(
        &self,
        tenant: Key128,
        user: Key128,
        value: [u8; 16],
        wall_ns: u64,
    ) -> Result<(), TokenRefused> {
        // From 1, so that no word in use is 0.
        let hour = (wall_ns / HOUR_NS) % 0xffff + 1;
        let mut mixed = value;
        mixed
            .iter_mut()
            .zip(user.0)
            .zip(tenant.0.iter().rev())
            .for_each(|((mixed, user), tenant)| *mixed ^= user ^ tenant);
        let (place, print) = halves(mixed);
        let word = hour << 48 | print >> 16;
        let window = || (0..PROBES).map(|probe| &self.seen[(place as usize).wrapping_add(probe) % VALUES]);
        if window().any(|slot| slot.load(Relaxed) == word) {
            return Ok(());
        }
        self.step(user, hour, self.per_hour)?;
        self.step(tenant, hour, TENANT_VALUES_MAX)?;
        let claimed = window().any(|slot| {
            let held = slot.load(Relaxed);
            held >> 48 != hour && slot.compare_exchange(held, word, Relaxed, Relaxed).is_ok()
        });
        if claimed { Ok(()) } else { Err(TokenRefused::Budget) }
    }

    /// One more of `who`, at most `max`.
    fn step(&self, who: Key128, hour: u64, max: u64) -> Result<(), TokenRefused> {
        let (place, print) = halves(who.0);
        let owner = hour << 28 | print >> 36;
        for probe in 0..PROBES {
            let slot = &self.counters[(place as usize).wrapping_add(probe) % COUNTERS];
            let mut held = slot.load(Relaxed);
            loop {
                let mine = held >> COUNT_BITS == owner;
                if !mine && held >> 48 == hour {
                    break;
                }
                let count = if mine { held & ((1 << COUNT_BITS) - 1) } else { 0 };
                if count >= max {
                    return Err(TokenRefused::Budget);
                }
                match slot.compare_exchange_weak(held, owner << COUNT_BITS | (count + 1), Relaxed, Relaxed) {
                    Ok(_) => return Ok(()),
                    Err(now) => held = now,
                }
            }
        }
        Err(TokenRefused::Budget)
    }
}

fn halves(bytes: [u8; 16]) -> (u64, u64) {
    let both = u128::from_le_bytes(bytes);
    (both as u64, (both >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(n: u64) -> [u8; 16] {
        Key128::of(&[&n.to_le_bytes()]).0
    }

    const TENANT: Key128 = Key128([9; 16]);

    #[test]
    fn threat_a26_distinct_values_of_a_subject_are_counted_by_the_hour() {
        let budget = Budget::new(1_000);
        let (alice, bob) = (Key128::of(&[b"alice"]), Key128::of(&[b"bob"]));
        let count = |who, n, hour: u64| budget.count(TENANT, who, value(n), hour * HOUR_NS + 5);
        for n in 0..1_000 {
            assert_eq!(count(alice, n, 7), Ok(()), "{n}");
            assert_eq!(count(alice, n, 7), Ok(()), "{n} is known");
        }
        assert_eq!(count(alice, 1_000, 7), Err(TokenRefused::Budget));
        assert_eq!(count(alice, 3, 7), Ok(()), "what is known stays free");
        assert_eq!(count(bob, 1_000, 7), Ok(()), "another subject has its own count");
        assert_eq!(count(alice, 1_000, 8), Ok(()), "the next hour begins anew");
        assert_eq!(count(alice, 3, 8), Ok(()));
    }

    #[test]
    fn a_tenant_of_many_subjects_leaves_room_for_others() {
        let budget = Budget::new(1_000);
        let refused = (0..80_000_u64)
            .filter(|n| budget.count(TENANT, Key128(value(n / 900)), value(*n), HOUR_NS).is_err())
            .count();
        assert!(refused >= 80_000 - TENANT_VALUES_MAX as usize, "{refused}");
        assert!(refused < 20_000, "{refused}");
        assert_eq!(budget.count(Key128([1; 16]), Key128([2; 16]), value(1), HOUR_NS), Ok(()));
    }

    #[test]
    fn workers_count_together() {
        let budget = Budget::new(1_000);
        let user = Key128::of(&[b"alice"]);
        let passed: usize = std::thread::scope(|scope| {
            let worker = |from: u64| {
                let budget = &budget;
                scope.spawn(move || {
                    (from..from + 500).filter(|n| budget.count(TENANT, user, value(*n), HOUR_NS).is_ok()).count()
                })
            };
            let workers: Vec<_> = (0..4).map(|n| worker(n * 500)).collect();
            workers.into_iter().map(|worker| worker.join().expect("ends")).sum()
        });
        assert_eq!(passed, 1_000);
    }
}
