//! Whether a new connection of a penalised source is let through.
//!
//! A penalty refuses until its deadline and then ends by itself: a user space that died cannot leave anyone locked
//! out. In the last second of every [`CYCLE_NS`] up to [`TRICKLE_MAX`] connections pass, so that an honest client
//! behind the source can always fetch the 429 that explains. Connections count against that number when they are
//! *established*, never when a SYN arrives: a SYN's source can be forged, and a forger must not be able to spend
//! another's way in, or to lengthen a penalty.

/// Length of one cycle of a penalty, counted from its start.
pub const CYCLE_NS: u64 = 10_000_000_000;
/// Length of the open part at the end of each cycle.
pub const OPEN_NS: u64 = 1_000_000_000;
/// Connections let through in one open second. Eight is enough for one client of every usual HTTP library, which open
/// six or fewer at once, and too few to be worth flooding for.
pub const TRICKLE_MAX: u32 = 8;
/// Entries of the penalty map, which user space alone inserts into. Four times
/// what user space keeps, because the kernel's LRU is approximate and evicts early when it is nearly full.
pub const PENALTIES_MAX: u32 = 16_384;

/// One penalised source: the value of the penalty map. User space writes it whole; the kernel changes
/// only [`Penalty::trickle`], and only at ESTABLISHED.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Penalty {
    /// When it started; the cycles are counted from here.
    pub since_ns: u64,
    /// When it ends. At this instant and after, everything passes.
    pub until_ns: u64,
    /// Cycle in the upper half, connections let through in that cycle's open second in the lower: one word, so that
    /// one store spends it.
    pub trickle: u64,
}

const _: () = assert!(size_of::<Penalty>() == 24);

impl Penalty {
    /// A penalty over `[since_ns, until_ns)`, nothing spent.
    #[must_use]
    pub const fn new(since_ns: u64, until_ns: u64) -> Self {
        Self { since_ns, until_ns, trickle: 0 }
    }
}

/// What happens to a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No penalty holds.
    Pass,
    /// One of the few of an open second: pass, and [`spend`] one when it is established.
    Trickle,
    /// Refuse.
    Refuse,
}

/// The verdict on a new connection of a penalised source at `now_ns`. A clock that reads before the
/// penalty's start counts as its start.
#[inline(always)]
#[must_use]
pub const fn penalty_decide(penalty: &Penalty, now_ns: u64) -> Verdict {
    if now_ns >= penalty.until_ns {
        return Verdict::Pass;
    }
    let elapsed_ns = now_ns.saturating_sub(penalty.since_ns);
    if elapsed_ns % CYCLE_NS < CYCLE_NS - OPEN_NS {
        return Verdict::Refuse;
    }
    match spend(penalty.trickle, cycle(penalty.since_ns, now_ns)) {
        Some(_) => Verdict::Trickle,
        None => Verdict::Refuse,
    }
}

/// The cycle of a penalty that `now_ns` lies in.
#[inline(always)]
#[must_use]
pub const fn cycle(since_ns: u64, now_ns: u64) -> u32 {
    (now_ns.saturating_sub(since_ns) / CYCLE_NS) as u32
}

/// The trickle word after one more connection of `cycle`, or `None` if that cycle's are spent.
#[inline(always)]
#[must_use]
pub const fn spend(trickle: u64, cycle: u32) -> Option<u64> {
    let spent = if (trickle >> 32) as u32 == cycle { trickle as u32 } else { 0 };
    if spent >= TRICKLE_MAX {
        return None;
    }
    Some(((cycle as u64) << 32) | (spent as u64 + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    #[track_caller]
    fn check(penalty: Penalty, now_ns: u64, expected: Verdict) {
        assert_eq!(penalty_decide(&penalty, now_ns), expected, "at {now_ns} of {penalty:?}");
    }

    #[test]
    fn refuses_from_its_start_until_its_deadline() {
        let penalty = Penalty::new(100 * S, 105 * S);
        check(penalty, 100 * S, Verdict::Refuse);
        check(penalty, 105 * S - 1, Verdict::Refuse);
        check(penalty, 105 * S, Verdict::Pass);
        check(penalty, u64::MAX, Verdict::Pass);
        check(penalty, 0, Verdict::Refuse);
    }

    #[test]
    fn opens_for_the_last_second_of_every_ten() {
        let penalty = Penalty::new(100 * S, 160 * S);
        check(penalty, 109 * S - 1, Verdict::Refuse);
        check(penalty, 109 * S, Verdict::Trickle);
        check(penalty, 110 * S - 1, Verdict::Trickle);
        check(penalty, 110 * S, Verdict::Refuse);
        check(penalty, 119 * S, Verdict::Trickle);
    }

    #[test]
    fn an_open_second_lets_through_eight_and_the_next_eight_more() {
        let mut penalty = Penalty::new(0, 60 * S);
        for _ in 0..TRICKLE_MAX {
            check(penalty, 9 * S, Verdict::Trickle);
            penalty.trickle = spend(penalty.trickle, cycle(0, 9 * S)).expect("unspent");
        }
        check(penalty, 9 * S + 1, Verdict::Refuse);
        check(penalty, 19 * S, Verdict::Trickle);
        assert_eq!(spend(penalty.trickle, 0), None);
        assert_eq!(spend(penalty.trickle, 1), Some((1 << 32) | 1));
    }

    #[test]
    fn the_empty_penalty_passes() {
        check(Penalty::default(), 0, Verdict::Pass);
    }

    proptest! {
        #[test]
        fn no_cycle_lets_through_more_than_its_share(
            since in 0..1_000 * S, length in 0..200 * S, mut steps in prop::collection::vec(0..S, 1..400)
        ) {
            let mut penalty = Penalty::new(since, since + length);
            let mut passed = [0_u32; 64];
            let mut now = since;
            for step in steps.drain(..) {
                now += step;
                match penalty_decide(&penalty, now) {
                    Verdict::Pass => prop_assert!(now >= since + length),
                    Verdict::Refuse => prop_assert!(now < since + length),
                    Verdict::Trickle => {
                        let cycle = cycle(since, now);
                        prop_assert!((now - since) % CYCLE_NS >= CYCLE_NS - OPEN_NS);
                        passed[cycle as usize] += 1;
                        prop_assert!(passed[cycle as usize] <= TRICKLE_MAX);
                        penalty.trickle = spend(penalty.trickle, cycle).expect("a trickle can be spent");
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_a_penalty_with_a_verdict(since: u64, until: u64, trickle: u64, now: u64) {
            let penalty = Penalty { since_ns: since, until_ns: until, trickle };
            let verdict = penalty_decide(&penalty, now);
            prop_assert_eq!(verdict == Verdict::Pass, now >= until);
        }
    }
}
