//! Agents that go on with a loop although they are told to wait: when their tenant is to be frozen for it.
//!
//! The evidence is authenticated and an answer that was not heeded: a verified user's identical call, refused by the loop
//! guard, again inside the `Retry-After` of that refusal. A loop alone never counts (THREATS A28), nor does what was on
//! its way when the answer was written. Only where `usage.loop_guard.quarantine_after` says so.
//!
//! **Invariants.** At most [`USERS_MAX`] users are counted; where there is no room nobody is frozen.

use std::collections::HashMap;

use crate::kernel::book::Principal;

/// Within which refusals are counted.
const WINDOW_NS: u64 = 60_000_000_000;
/// Users that are counted.
const USERS_MAX: usize = 4_096;

#[derive(Debug)]
struct Counted {
    began_ns: u64,
    count: u32,
}

/// The users that went on lately.
#[derive(Debug, Default)]
pub(super) struct Runaways {
    users: HashMap<Principal, Counted>,
}

impl Runaways {
    /// `who` went on with a loop; whether that was the `after`th time within a minute. Then it is counted anew.
    pub(super) fn ignored(&mut self, who: Principal, after: u32, now_ns: u64) -> bool {
        let is_over = |counted: &Counted| now_ns.saturating_sub(counted.began_ns) >= WINDOW_NS;
        if self.users.len() >= USERS_MAX && !self.users.contains_key(&who) {
            self.users.retain(|_, counted| !is_over(counted));
            if self.users.len() >= USERS_MAX {
                return false;
            }
        }
        let counted = self.users.entry(who).or_insert(Counted { began_ns: now_ns, count: 0 });
        if is_over(counted) {
            *counted = Counted { began_ns: now_ns, count: 0 };
        }
        counted.count = counted.count.saturating_add(1);
        let reached = counted.count >= after;
        if reached {
            self.users.remove(&who);
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Key128;

    fn who(user: usize) -> Principal {
        Principal { user: Key128::of(&[&user.to_ne_bytes()]), tenant: Key128::of(&[]) }
    }

    #[test]
    fn the_nth_within_a_minute_is_too_much_and_what_is_older_does_not_count() {
        let mut runaways = Runaways::default();
        assert_eq!([0, 1, 2, 3].map(|now| runaways.ignored(who(1), 3, now)), [false, false, true, false], "and anew");
        assert!(!runaways.ignored(who(2), 3, 5), "another user");
        let late = 3 + WINDOW_NS;
        assert_eq!([late, late, late].map(|now| runaways.ignored(who(1), 3, now)), [false, false, true]);
    }

    #[test]
    fn where_there_is_no_room_nobody_is_frozen_until_there_is() {
        let mut runaways = Runaways::default();
        (0..USERS_MAX).for_each(|user| assert!(!runaways.ignored(who(user), 2, 0)));
        assert!((0..10).all(|_| !runaways.ignored(who(USERS_MAX), 2, 1)));
        assert_eq!(runaways.users.len(), USERS_MAX);
        assert!(runaways.ignored(who(7), 2, 1), "who is counted is counted on");
        assert!(!runaways.ignored(who(USERS_MAX), 2, WINDOW_NS));
        assert!(runaways.ignored(who(USERS_MAX), 2, WINDOW_NS));
    }
}
