//! One user's calls in flight and what they hold (THREATS A12), so that nobody can park a tenant's budget in open holds.
//!
//! A word of the table counts priced calls (12 bits) and sums their holds (40 bits, 1.1 million dollars); a user with
//! nothing in flight has nothing to remember.

use crate::usage::table::{Full, Table, WhenFull};

const CALL_BITS: u32 = 12;
const CALLS_MAX: u64 = (1 << CALL_BITS) - 1;
const HELD_MAX: u64 = (1 << 40) - 1;

/// Why one more call may not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excess {
    /// Too many calls in flight.
    Calls,
    /// The user's open holds would exceed their share.
    Share,
}

/// Users with priced calls in flight.
#[derive(Debug)]
pub(crate) struct Subjects(Table);

impl Subjects {
    pub(crate) fn new(slots: usize, share_percent: u8) -> Self {
        Self(Table::new(slots, |payload, _| payload == 0, WhenFull::Refuse).with_shares(share_percent))
    }

    /// Asks for the line that [`Subjects::begin`] reads.
    pub(crate) fn prefetch(&self, user: u128) {
        self.0.prefetch(user);
    }

    /// Begins a call of `price`: at most `calls_max` at a time, and all but a lone call within `share` of what others
    /// have left. `share` gets what the user already holds. Returns the user's index, good until [`Subjects::end`].
    ///
    /// # Errors
    /// The outer [`Full`]: the tenant holds its share of slots.
    pub(crate) fn begin(
        &self,
        user: u128,
        tenant: u128,
        price: u64,
        calls_max: u64,
        share: impl Fn(u64) -> u64,
    ) -> Result<Result<usize, Excess>, Full> {
        let begun = self.0.update(user, tenant, 0, self.0.find(user), |payload| {
            let (held, calls) = (payload >> CALL_BITS, payload & CALLS_MAX);
            let total = held.saturating_add(price);
            if calls >= calls_max.min(CALLS_MAX) {
                Err(Excess::Calls)
            } else if total > HELD_MAX || (calls > 0 && total > share(held)) {
                Err(Excess::Share)
            } else {
                Ok(total << CALL_BITS | (calls + 1))
            }
        })?;
        Ok(begun.map(|entry| entry.index))
    }

    /// Forgets users with no call in flight.
    pub(crate) fn sweep(&self) {
        self.0.reclaim_all(0);
    }

    /// Ends a call.
    pub(crate) fn end(&self, index: usize, price: u64) {
        self.0.update_pinned(index, |payload| {
            let (held, calls) = (payload >> CALL_BITS, payload & CALLS_MAX);
            held.saturating_sub(price) << CALL_BITS | calls.saturating_sub(1)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_calls_in_flight() {
        let subjects = Subjects::new(64, 100);
        let begin = || subjects.begin(1, 1, 5, 2, |_| u64::MAX).unwrap();
        let first = begin().unwrap();
        begin().unwrap();
        assert_eq!(begin(), Err(Excess::Calls));
        subjects.end(first, 5);
        assert!(begin().is_ok());
    }

    #[test]
    fn users_with_nothing_in_flight_do_not_count_against_their_tenant() {
        let subjects = Subjects::new(1024, 25);
        let begin = |user| subjects.begin(user, 1, 5, 9, |_| u64::MAX);
        for user in 0..256 {
            subjects.end(begin(user).unwrap().unwrap(), 5);
        }
        subjects.sweep();
        for user in 1000..1256 {
            begin(user).unwrap().unwrap();
        }
        assert_eq!(begin(2000), Err(Full));
    }

    #[test]
    fn a_lone_call_may_exceed_the_share_and_a_second_may_not() {
        let subjects = Subjects::new(64, 100);
        let begin = |price| subjects.begin(1, 1, price, 9, |held| held + 10).unwrap();
        let lone = begin(40).unwrap();
        assert_eq!(begin(11), Err(Excess::Share));
        begin(10).unwrap();
        subjects.end(lone, 40);
        assert!(begin(10).is_ok());
        assert_eq!(subjects.begin(2, 1, HELD_MAX + 1, 9, |_| u64::MAX).unwrap(), Err(Excess::Share));
    }
}
