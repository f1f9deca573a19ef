//! Memory of a crowd that has left goes back to the host.
//!
//! The allocator keeps what was freed for the next time, which is right while connections come and go, and wrong once
//! ten thousand of them have gone for good: the host would pay for the worst hour for as long as the gateway runs.

/// Connections of one worker that make a peak: below, what the allocator keeps is a few MiB.
const PEAK_MIN: usize = 1_024;

/// The most connections that were open at once since memory was given back last.
#[derive(Debug, Default)]
pub(super) struct Peak(usize);

impl Peak {
    /// Notes that `open` are open now; whether that is less than a quarter of a peak.
    pub(super) fn is_over(&mut self, open: usize) -> bool {
        self.0 = self.0.max(open);
        self.0 >= PEAK_MIN && open < self.0 / 4
    }
}

/// Gives free memory back to the host. Takes some milliseconds, during which no thread can allocate: after a peak only.
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
    fn a_peak_is_over_when_three_quarters_have_left() {
        let mut peak = Peak::default();
        assert!(!peak.is_over(PEAK_MIN - 1) && !peak.is_over(0), "that was none");
        assert!(!peak.is_over(10_000) && !peak.is_over(2_500));
        assert!(peak.is_over(2_499));
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
