//! Who comes back inside their own `Retry-After`: the evidence for the kernel's ladder, and for freezing the tenant of
//! who goes on with a loop.
//!
//! A user refused by a limit that may lead to a penalty gets an entry until that refusal's deadline (at most
//! [`TRACKED_MAX`]). A later such refusal before the deadline is *ignored advice*, unless it comes within [`GRACE`] of the
//! first: calls that were already on their way when the first 429 was written are no sign of anything.
//!
//! The entry is a word of the limiters' table: deadline in coarse ticks (4.2 ms) and the wait it ends. No room in the
//! table means no entry, hence no penalty.

use std::time::Duration;

use crate::usage::gcra;
use crate::usage::table::Table;

const WAIT_BITS: u32 = 16;
const WAIT_MASK: u64 = (1 << WAIT_BITS) - 1;

/// Longest wait that is remembered.
const TRACKED_MAX: Duration = Duration::from_secs(240);

/// A round trip across the world, with some to spare.
const GRACE: Duration = Duration::from_millis(300);

/// Notes a refusal that asks to wait `wait` ticks; whether it comes inside the wait of an earlier one.
pub(crate) fn note(table: &Table, key: u128, tenant: u128, wait: u64, now: u64) -> bool {
    let wait = (wait.min(gcra::span(TRACKED_MAX)) >> WAIT_BITS) + 1;
    let fresh = (now >> WAIT_BITS).saturating_add(wait) << WAIT_BITS | wait;
    let mut ignored = false;
    let _ = table.update(key, tenant, now, table.find(key), |payload| {
        let (deadline, waited) = (payload >> WAIT_BITS, payload & WAIT_MASK);
        let open = deadline << WAIT_BITS > now;
        let issued = deadline.saturating_sub(waited) << WAIT_BITS;
        ignored = open && now >= issued.saturating_add(gcra::span(GRACE));
        if open { Err(()) } else { Ok(fresh) }
    });
    ignored
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::table::WhenFull;

    const SECOND: u64 = 1_000_000_000 >> 6;

    #[test]
    fn coming_back_early_is_noticed_and_a_burst_is_not() {
        let table = Table::new(64, |payload, now| payload <= now, WhenFull::Refuse);
        let refused_at = |now| note(&table, 9, 1, 5 * SECOND, now);
        assert!(!refused_at(100 * SECOND));
        assert!(!refused_at(100 * SECOND + SECOND / 10), "it was on its way already");
        assert!(refused_at(101 * SECOND));
        assert!(refused_at(104 * SECOND));
        assert!(!refused_at(106 * SECOND), "it waited; this refusal begins anew");
        assert!(refused_at(107 * SECOND));
        assert!(!note(&table, 8, 1, 5 * SECOND, 107 * SECOND), "another user");
    }
}
