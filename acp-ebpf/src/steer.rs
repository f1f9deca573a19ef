//! Which worker gets a new connection: the less loaded of two picked at random.
//!
//! The kernel's own hash spreads connections binomially, and cares neither for how long they live nor for how busy a
//! worker is; two random choices bring the fullest worker from log n / log log n over the mean down to log log n
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001).
//!
//! A worker says what it has when it gets to run; a client that opens its connections at once is steered before that. So
//! the program counts whom it sent to each worker, the worker how many of them it has seen, and what is on its way is
//! load. What never arrives, a flood's half-open handshakes, is forgotten when the worker next looks.

/// Entries of the worker arrays.
pub const WORKERS_MAX: u32 = 256;

/// A worker that takes no new connections: draining, dead, or never started.
pub const DRAINING: u32 = u32::MAX;

/// One worker's load, alone on its cache line: the value of the load array, written by the worker through a mapping
/// of the map, but for what the program counts, and read by the program.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug)]
pub struct WorkerLoad {
    /// Open connections, or [`DRAINING`].
    pub connections: u32,
    /// Connections that the program sent to it, modulo 2³². Two CPUs may count two as one.
    pub steered: u32,
    /// How many of them it has seen.
    pub seen: u32,
    /// Zero; fills the cache line.
    pub padding: [u32; 13],
}

const _: () = assert!(size_of::<WorkerLoad>() == 64);

/// What counts as a worker's load: the connections that it has, and those on their way to it.
#[inline(always)]
#[must_use]
pub const fn load(connections: u32, steered: u32, seen: u32) -> u32 {
    if connections == DRAINING {
        return DRAINING;
    }
    // A count that was lost may leave it behind what was seen.
    let on_their_way = steered.wrapping_sub(seen);
    let load = if on_their_way > i32::MAX as u32 { connections } else { connections.saturating_add(on_their_way) };
    if load == DRAINING { DRAINING - 1 } else { load }
}

/// Two different workers of `workers` for one random word, or `None` when there are fewer than two.
#[inline(always)]
#[must_use]
pub const fn two_choices(random: u32, workers: u32) -> Option<(u32, u32)> {
    if workers < 2 {
        return None;
    }
    let first = (random & 0xffff) % workers;
    let distance = 1 + (random >> 16) % (workers - 1);
    let second = first + distance;
    Some((first, if second >= workers { second - workers } else { second }))
}

/// The less loaded of two workers, each given as (index, load): the first of equals, `None` if both are draining.
#[inline(always)]
#[must_use]
pub const fn less_loaded(first: (u32, u32), second: (u32, u32)) -> Option<u32> {
    if first.1 == DRAINING && second.1 == DRAINING {
        return None;
    }
    Some(if second.1 < first.1 { second.0 } else { first.0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_worker_leaves_nothing_to_choose() {
        assert_eq!(two_choices(7, 0), None);
        assert_eq!(two_choices(7, 1), None);
    }

    #[test]
    fn picks_the_less_loaded_and_never_a_draining_one() {
        assert_eq!(less_loaded((0, 5), (3, 4)), Some(3));
        assert_eq!(less_loaded((0, 4), (3, 4)), Some(0));
        assert_eq!(less_loaded((0, DRAINING), (3, 9)), Some(3));
        assert_eq!(less_loaded((0, 9), (3, DRAINING)), Some(0));
        assert_eq!(less_loaded((0, DRAINING), (3, DRAINING)), None);
    }

    #[test]
    fn who_is_on_the_way_is_load() {
        assert_eq!(load(3, 10, 10), 3);
        assert_eq!(load(3, 12, 10), 5);
        assert_eq!(load(3, 1, u32::MAX), 5, "the count goes round");
        assert_eq!(load(3, 9, 10), 3, "a count was lost");
        assert_eq!(load(DRAINING, 12, 10), DRAINING);
        assert_eq!(load(DRAINING - 1, 12, 10), DRAINING - 1, "it does not drain");
    }

    #[test]
    fn balances_far_better_than_one_choice() {
        let (mut loads, mut random) = ([0_u32; 8], 1_u32);
        for _ in 0..8_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223).rotate_left(7);
            let (a, b) = two_choices(random, 8).expect("eight workers");
            let chosen = less_loaded((a, loads[a as usize]), (b, loads[b as usize])).expect("none drains");
            loads[chosen as usize] += 1;
        }
        assert!(loads.iter().all(|load| load.abs_diff(1_000) < 20), "{loads:?}");
    }

    proptest! {
        #[test]
        fn the_two_are_different_and_in_range(random: u32, workers in 2..=WORKERS_MAX) {
            let (first, second) = two_choices(random, workers).expect("two or more");
            prop_assert!(first < workers && second < workers && first != second);
        }
    }
}
