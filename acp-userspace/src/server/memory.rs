//! Free memory goes back to the host: when a crowd has left, and now and then while one is there.
//!
//! The allocator keeps what was freed for the next time, which is right while a few connections come and go, and wrong
//! once ten thousand of them have gone for good: the host would pay for the worst hour for as long as the gateway runs.
//! While they come and go by the thousand, its heap spreads by about 1 % a minute, for holes that nothing fits.

/// Connections of one worker that make a peak: below, what the allocator keeps is a few MiB.
const PEAK_MIN: usize = 1_024;

/// Between two times while the worker does not keep up.
const CROWD_INTERVAL_NS: u64 = 10_000_000_000;

/// When to give memory back.
#[derive(Debug)]
pub(super) struct Giving {
    /// The most connections that were open at once since it was given back for a peak that was over.
    peak: usize,
    /// When it was given back last.
    given_ns: u64,
}

impl Giving {
    pub(super) const fn new(now_ns: u64) -> Self {
        Self { peak: 0, given_ns: now_ns }
    }

    /// Notes that `open` connections are open now; whether it is time.
    pub(super) fn is_due(&mut self, open: usize, crowded: bool, now_ns: u64) -> bool {
        self.peak = self.peak.max(open);
        let over = !crowded && self.peak >= PEAK_MIN && open < self.peak / 4;
        if over {
            self.peak = open;
        }
        let due = over || (crowded && now_ns.saturating_sub(self.given_ns) >= CROWD_INTERVAL_NS);
        if due {
            self.given_ns = now_ns;
        }
        due
    }
}

/// Gives free memory back to the host. Takes some milliseconds, during which no thread can allocate.
pub(super) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_time_when_three_quarters_of_a_crowd_have_left_and_every_ten_seconds_of_one() {
        let mut giving = Giving::new(0);
        assert!(!giving.is_due(PEAK_MIN - 1, false, 1) && !giving.is_due(0, false, 2), "that was none");
        assert!(!giving.is_due(10_000, false, 3) && !giving.is_due(2_500, false, 4));
        assert!(giving.is_due(2_499, false, 5) && !giving.is_due(2_499, false, 6), "once");
        assert!(!giving.is_due(10_000, true, 4 + CROWD_INTERVAL_NS));
        assert!(giving.is_due(10_000, true, 5 + CROWD_INTERVAL_NS) && !giving.is_due(0, true, 6 + CROWD_INTERVAL_NS));
        assert!(giving.is_due(0, false, 7 + CROWD_INTERVAL_NS));
    }

    #[test]
    #[cfg(target_env = "gnu")]
    fn freed_memory_goes_back_to_the_host() {
        let anonymous_kib = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
            line.trim().trim_end_matches(" kB").parse::<usize>().unwrap()
        };
        // In pieces too small to be mapped singly; the last one stays, so that the heap cannot just shrink.
        let mut pieces: Vec<Vec<u8>> = (0..16_384).map(|_| vec![1; 8 * 1_024]).collect();
        let last = pieces.pop();
        drop(pieces);
        let before = anonymous_kib();
        give_back();
        assert!(anonymous_kib() + 64 * 1_024 < before, "{before} KiB before, {} after", anonymous_kib());
        drop(last);
    }
}
