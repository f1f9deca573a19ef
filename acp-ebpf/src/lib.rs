//! What both sides of the kernel plane agree on: the map ABI and the decisions.
//!
//! The programs in `main.rs` are thin shells around the functions here, so that every decision the kernel takes is
//! tested, and property-tested, as ordinary code on the host; the gateway's user-space tier calls the same functions.
//!
//! - [`addr`]: addresses as 16 bytes, and the key a source is penalised under.
//! - [`penalty`]: whether a new connection of a penalised source is refused; [`table`]: where its penalty is found.
//! - [`steer`]: which of two workers gets a connection.
//! - [`ledger`]: what is bound to a socket, and the record of a closed connection.
//! - [`packet`]: the SYN in a frame.
//! - [`confine`]: what a confined cgroup may reach; [`egress`]: where the gateway itself may connect to;
//!   [`quarantine`]: a frozen tenant's connections.
//! - [`log`]: what programs say of their decisions when they are asked to; [`stats`]: the counters.
//!
//! **Invariants.** Every shared struct is `#[repr(C)]` with fixed-width integers, no implicit padding and its size
//! asserted beside it, so that any bit pattern is a valid value. Times are nanoseconds of CLOCK_MONOTONIC, which is
//! what `bpf_ktime_get_ns` reads. Nothing here allocates, panics or does I/O.

#![no_std]

pub mod addr;
pub mod confine;
pub mod egress;
pub mod ledger;
pub mod log;
pub mod packet;
pub mod penalty;
#[cfg(feature = "user")]
mod pod;
pub mod quarantine;
pub mod stats;
pub mod steer;
pub mod table;

pub use addr::SourceKey;
pub use ledger::{ConnClosed, SkState, TenantSlot};
pub use penalty::{Penalty, Verdict, penalty_decide};

/// The version of what programs and gateway agree on: maps, their types, what each side writes. Raised with each change
/// that an older program or gateway would misunderstand, as a gateway may take over the programs of an earlier one.
pub const ABI: u32 = 3;

/// Names of the globals that the loader sets before the programs are verified.
pub mod globals {
    /// `u32`: entries of the worker array in use, at most [`WORKERS_MAX`](crate::steer::WORKERS_MAX).
    pub const WORKERS: &str = "ACP_WORKERS";
    /// `u32`: the port whose connections are kept in the ledger.
    pub const PORT: &str = "ACP_PORT";
    /// `u64`: the seed of the [table of penalties](crate::table).
    pub const SEED: &str = "ACP_SEED";
}
