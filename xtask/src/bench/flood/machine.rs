//! How busy the whole machine is, whoever it works for: what the kernel does in an interrupt, or in the context of
//! whoever happens to run, is charged to no process or to the wrong one, and is here all the same.
//!
//! Read of `/proc/stat` as what is *not* idle: kernels that account by ticks sample what is busy, but know exactly how
//! long a core slept. Time that the hypervisor gave to others is nobody's.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// `/proc/stat` counts in these (`USER_HZ`).
const TICK: Duration = Duration::from_millis(10);

/// The machine at one moment.
pub(in crate::bench) struct Machine {
    at: Instant,
    cores: u32,
    unused: Duration,
}

impl Machine {
    /// Now.
    ///
    /// # Errors
    /// When `/proc/stat` is not there or not as it has been since Linux 2.6.11.
    pub(in crate::bench) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        let (cores, unused) = read(&text).context("/proc/stat has no line of all cores")?;
        Ok(Self { at: Instant::now(), cores, unused })
    }

    /// CPU time that somebody had since `earlier`, over all cores, nanoseconds.
    pub(in crate::bench) fn busy_ns_since(&self, earlier: &Self) -> u64 {
        let all = (self.at - earlier.at) * self.cores;
        let unused = self.unused.saturating_sub(earlier.unused);
        u64::try_from(all.saturating_sub(unused).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// How many cores there are, and the time that all of them together were idle, waited for a disk, or were not there.
fn read(text: &str) -> Option<(u32, Duration)> {
    let all = text.lines().next()?.strip_prefix("cpu ")?;
    let fields: Vec<u32> = all.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect();
    let (idle, iowait, steal) = (*fields.get(3)?, *fields.get(4)?, *fields.get(7)?);
    let cores = text.lines().skip(1).take_while(|line| line.starts_with("cpu")).count();
    Some((u32::try_from(cores).ok()?, TICK * idle + TICK * iowait + TICK * steal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_waiting_and_stolen_time_is_not_busy() {
        let text = "cpu  100 2 30 4000 500 0 7 60 0 0\ncpu0 50 1 15 2000 250 0 3 30 0 0\ncpu1 50 1 15 2000 250 0 4 30 0 0\n\
                    intr 5\n";
        assert_eq!(read(text), Some((2, TICK * 4_560)));
        assert_eq!(read("intr 5\n"), None);
        assert_eq!(read("cpu  1 2 3\n"), None);
    }

    #[test]
    fn a_busy_thread_is_seen() {
        let before = Machine::now().expect("/proc is mounted");
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let after = Machine::now().expect("/proc is mounted");
        // Ticks of 10 ms; others only add to it, and a stolen core subtracts.
        assert!(after.busy_ns_since(&before) >= 40_000_000, "{}", after.busy_ns_since(&before));
    }
}
