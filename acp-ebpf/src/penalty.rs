//! Whether a new connection of a penalised source is let through.
//!
//! A penalty refuses until its deadline and then ends by itself: a user space that died cannot leave anyone locked
//! out. The last [`OPEN_NS`] of every [`CYCLE_NS`] are open, so that whoever is behind the source, an honest client that has
//! to fetch the 429 that explains, or somebody who broke no limit at all, gets through within a cycle. How many
//! connections an open window lets through is the penalty's own: [`OPEN_ALL`] where others may be behind the source,
//! so that no flood can use up their way in; a few where everybody there is under the limit that was broken.
//! Connections count against that number when they are *established*, never when a SYN arrives: a SYN's source can be
//! forged, and a forger must not be able to spend another's way in, or to lengthen a penalty.

/// Length of one cycle of a penalty, counted from its start.
pub const CYCLE_NS: u64 = 2_500_000_000;
/// Length of the open window at the end of each cycle: a second in every ten, in four parts, so that nobody who broke no
/// limit waits for longer than [`CLOSED_NS`].
pub const OPEN_NS: u64 = 250_000_000;
/// Length of the closed part before it.
pub const CLOSED_NS: u64 = CYCLE_NS - OPEN_NS;
/// Connections let through in one open window where everybody behind the source is under the broken limit. Eight is
/// enough for one client of every usual HTTP library, which open six or fewer at once, and too few to be worth
/// flooding for.
pub const TRICKLE_MAX: u32 = 8;
/// [`Penalty::open_max`] without a bound.
pub const OPEN_ALL: u32 = u32::MAX;
/// What a penalty does: values of [`Penalty::mode`]. Any other refuses.
pub mod mode {
    /// Nothing: what it would refuse is counted.
    pub const OBSERVE: u32 = 0;
    /// New connections are reset.
    pub const REFUSE: u32 = 1;
    /// Their SYNs are dropped without an answer where `acp_drop` sees them, and reset where it does not.
    pub const SILENT: u32 = 2;
}

/// What a penalised source is under, in a slot of the [table](crate::table). User space writes it; the kernel changes
/// only [`Penalty::trickle`], and only at ESTABLISHED.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Penalty {
    /// When it started; the cycles are counted from here.
    pub since_ns: u64,
    /// When it ends. At this instant and after, everything passes.
    pub until_ns: u64,
    /// Cycle in the upper half, connections let through in that cycle's open window in the lower: one word, so that
    /// one store spends it.
    pub trickle: u64,
    /// One of [`mode`].
    pub mode: u32,
    /// Connections let through in each open window.
    pub open_max: u32,
}

const _: () = assert!(size_of::<Penalty>() == 32);

impl Penalty {
    /// A penalty that refuses over `[since_ns, until_ns)`, its open windows open to all, nothing spent.
    #[must_use]
    pub const fn new(since_ns: u64, until_ns: u64) -> Self {
        Self { since_ns, until_ns, trickle: 0, mode: mode::REFUSE, open_max: OPEN_ALL }
    }

    /// The words of a slot, as a penalty.
    #[inline(always)]
    #[must_use]
    pub const fn of_words(words: [u64; 4]) -> Self {
        // SAFETY: 32 bytes in either form, without padding, of which any are a value.
        unsafe { core::mem::transmute(words) }
    }

    /// The same the other way round.
    #[inline(always)]
    #[must_use]
    pub const fn to_words(self) -> [u64; 4] {
        // SAFETY: as above.
        unsafe { core::mem::transmute(self) }
    }

    /// The same in another [`mode`].
    #[must_use]
    pub const fn with_mode(self, mode: u32) -> Self {
        Self { mode, ..self }
    }

    /// The same, letting `open_max` connections through in each open window.
    #[must_use]
    pub const fn with_open_max(self, open_max: u32) -> Self {
        Self { open_max, ..self }
    }
}

/// What happens to a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// No penalty holds.
    Pass,
    /// One of an open window: pass, and [`spend`] one when it is established.
    Trickle,
    /// The penalty only observes: pass, and count what would have been refused.
    Observe,
    /// Refuse with a reset.
    Refuse,
    /// Drop without an answer, or refuse where that is not possible.
    Drop,
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
    let open = elapsed_ns % CYCLE_NS >= CLOSED_NS;
    if open && spend(penalty.trickle, cycle(penalty.since_ns, now_ns), penalty.open_max).is_some() {
        return Verdict::Trickle;
    }
    match penalty.mode {
        mode::OBSERVE => Verdict::Observe,
        mode::SILENT => Verdict::Drop,
        _ => Verdict::Refuse,
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
pub const fn spend(trickle: u64, cycle: u32, open_max: u32) -> Option<u64> {
    let spent = if (trickle >> 32) as u32 == cycle { trickle as u32 } else { 0 };
    if open_max == OPEN_ALL {
        return Some(((cycle as u64) << 32) | spent.saturating_add(1) as u64);
    }
    if spent >= open_max {
        return None;
    }
    Some(((cycle as u64) << 32) | (spent as u64 + 1))
}

#[cfg(test)]
mod tests {
    extern crate std;

    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000_000_000;

    #[track_caller]
    fn check(penalty: Penalty, now_ns: u64, expected: Verdict) {
        assert_eq!(penalty_decide(&penalty, now_ns), expected, "at {now_ns} of {penalty:?}");
    }

    #[test]
    fn refuses_from_its_start_until_its_deadline() {
        let penalty = Penalty::new(100 * S, 102 * S);
        check(penalty, 100 * S, Verdict::Refuse);
        check(penalty, 102 * S - 1, Verdict::Refuse);
        check(penalty, 102 * S, Verdict::Pass);
        check(penalty, u64::MAX, Verdict::Pass);
        check(penalty, 0, Verdict::Refuse);
    }

    #[test]
    fn opens_for_the_end_of_each_cycle() {
        let penalty = Penalty::new(100 * S, 160 * S);
        for start in [100 * S, 100 * S + CYCLE_NS, 100 * S + 7 * CYCLE_NS] {
            check(penalty, start, Verdict::Refuse);
            check(penalty, start + CLOSED_NS - 1, Verdict::Refuse);
            check(penalty, start + CLOSED_NS, Verdict::Trickle);
            check(penalty, start + CYCLE_NS - 1, Verdict::Trickle);
        }
    }

    #[test]
    fn threat_a02_any_ten_seconds_of_a_penalty_are_open_for_one() {
        let (step, penalty) = (S / 1_000, Penalty::new(3 * S, 63 * S));
        let open: std::vec::Vec<u64> =
            (0..60_000).map(|at| u64::from(penalty_decide(&penalty, 3 * S + at * step) == Verdict::Trickle)).collect();
        assert!(open.windows(10_000).step_by(7).all(|ten| ten.iter().sum::<u64>() == 1_000));
    }

    #[test]
    fn an_open_window_lets_through_eight_and_the_next_eight_more() {
        let mut penalty = Penalty::new(0, 60 * S).with_open_max(TRICKLE_MAX);
        for _ in 0..TRICKLE_MAX {
            check(penalty, CLOSED_NS, Verdict::Trickle);
            penalty.trickle = spend(penalty.trickle, cycle(0, CLOSED_NS), TRICKLE_MAX).expect("unspent");
        }
        check(penalty, CLOSED_NS + 1, Verdict::Refuse);
        check(penalty, CYCLE_NS + CLOSED_NS, Verdict::Trickle);
        assert_eq!(spend(penalty.trickle, 0, TRICKLE_MAX), None);
        assert_eq!(spend(penalty.trickle, 1, TRICKLE_MAX), Some((1 << 32) | 1));
    }

    #[test]
    fn an_open_window_that_is_open_to_all_cannot_be_used_up() {
        let spent = Penalty { trickle: u64::from(u32::MAX), ..Penalty::new(0, 60 * S) };
        check(spent, CLOSED_NS, Verdict::Trickle);
        check(spent, CLOSED_NS - 1, Verdict::Refuse);
        assert_eq!(spend(spent.trickle, 0, OPEN_ALL), Some(u64::from(u32::MAX)), "the count stays where it is");
    }

    #[test]
    fn a_mode_says_what_becomes_of_who_is_not_let_through() {
        let penalty = Penalty::new(0, 60 * S);
        for (mode, expected) in [
            (mode::OBSERVE, Verdict::Observe),
            (mode::REFUSE, Verdict::Refuse),
            (mode::SILENT, Verdict::Drop),
            (77, Verdict::Refuse),
        ] {
            check(penalty.with_mode(mode), S, expected);
            check(penalty.with_mode(mode), CLOSED_NS, Verdict::Trickle);
            check(penalty.with_mode(mode), 60 * S, Verdict::Pass);
            check(penalty.with_mode(mode).with_open_max(0), CLOSED_NS, expected);
        }
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
            let mut penalty = Penalty::new(since, since + length).with_open_max(TRICKLE_MAX);
            let mut passed = [0_u32; 128];
            let mut now = since;
            for step in steps.drain(..) {
                now += step;
                match penalty_decide(&penalty, now) {
                    Verdict::Pass => prop_assert!(now >= since + length),
                    Verdict::Refuse => prop_assert!(now < since + length),
                    other @ (Verdict::Observe | Verdict::Drop) => prop_assert!(false, "{other:?}"),
                    Verdict::Trickle => {
                        let cycle = cycle(since, now);
                        prop_assert!((now - since) % CYCLE_NS >= CLOSED_NS);
                        passed[cycle as usize] += 1;
                        prop_assert!(passed[cycle as usize] <= TRICKLE_MAX);
                        penalty.trickle = spend(penalty.trickle, cycle, TRICKLE_MAX).expect("a trickle can be spent");
                    }
                }
            }
        }

        #[test]
        fn any_bytes_are_a_penalty_with_a_verdict(
            since: u64, until: u64, trickle: u64, mode: u32, open_max: u32, now: u64
        ) {
            let penalty = Penalty { since_ns: since, until_ns: until, trickle, mode, open_max };
            let verdict = penalty_decide(&penalty, now);
            prop_assert_eq!(verdict == Verdict::Pass, now >= until);
        }
    }
}
