//! The instant a decision is made at, read once at the edge and passed down.
//!
//! Concerns never ask for the time: tests and the simulation hand them any instant they like.

/// One instant on both clocks.
///
/// `wall_ns` judges `exp`, `nbf` and stamps records; `mono_ns` (CLOCK_MONOTONIC, the clock of
/// `bpf_ktime_get_ns`) paces limits, windows and penalties, so a wall-clock jump cannot reset them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the Unix epoch, CLOCK_REALTIME.
    pub wall_ns: u64,
    /// Nanoseconds of CLOCK_MONOTONIC.
    pub mono_ns: u64,
}

impl Now {
    /// Reads both clocks (two vDSO calls, about 50 ns together).
    #[must_use]
    pub fn read() -> Self {
        Self { wall_ns: clock_ns(libc::CLOCK_REALTIME), mono_ns: clock_ns(libc::CLOCK_MONOTONIC) }
    }

    /// The same instant `mono_ns` later on both clocks: one reading where the wall clock's own opinion does not matter.
    #[must_use]
    pub const fn at(self, mono_ns: u64) -> Self {
        Self { wall_ns: self.wall_ns.saturating_add(mono_ns.saturating_sub(self.mono_ns)), mono_ns }
    }

    /// Whole seconds since the Unix epoch, the unit of JWT's NumericDate (RFC 7519 §2).
    #[must_use]
    pub const fn unix_secs(self) -> u64 {
        self.wall_ns / 1_000_000_000
    }
}

/// CLOCK_MONOTONIC alone, for latencies (one vDSO call, about 25 ns).
#[must_use]
pub fn mono_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// CLOCK_MONOTONIC as of the last timer tick, at most 10 ms behind [`mono_ns`] and never ahead of it: for deadlines that
/// are swept at longer intervals (one vDSO call that reads no counter).
#[must_use]
pub fn tick_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC_COARSE)
}

/// What the calling thread has used of the CPU (one system call): for bounds on work that hold however often the thread
/// is interrupted.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, exclusively borrowed timespec; all its clock ids exist on every Linux.
    let rc = unsafe { libc::clock_gettime(clock, &raw mut ts) };
    debug_assert_eq!(rc, 0, "clock_gettime of a fixed clock cannot fail");
    (ts.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(ts.tv_nsec as u64)
}
