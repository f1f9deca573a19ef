//! Counters of the programs: indices into a per-CPU array of `u64`, summed by user space when asked.

/// Entries of the counter array.
pub const STATS_MAX: u32 = 8;

/// Connection attempts refused because of a penalty.
pub const REFUSED: u32 = 0;
/// Connection attempts sent to the less loaded of two workers.
pub const STEERED: u32 = 1;
/// Connection attempts left to the kernel's own choice: one worker only, or none that takes connections.
pub const UNSTEERED: u32 = 2;
/// Connections opened on the gateway's port.
pub const OPENED: u32 = 3;
/// Connections closed and handed to user space.
pub const CLOSED: u32 = 4;
/// Connections closed whose record found the ring full: what the ledger lacks.
pub const LOST: u32 = 5;
/// SYNs of sources under a silent penalty that were dropped without an answer.
pub const DROPPED: u32 = 7;
/// Listeners seen opening in the gateway's cgroup; moved by the self-test.
pub const LISTENING: u32 = 6;
