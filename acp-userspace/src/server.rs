//! Sockets: workers, connections, upstream pools. The pipeline decides, this module carries.
//!
//! One pinned thread per core, each with its own listener (`SO_REUSEPORT`), runtime, caches and pools; a supervisor
//! that replaces a worker that died. Threads share immutable snapshots, atomics, and one queue per worker to the
//! control thread.

mod answer;
mod body;
mod buffers;
mod carrier;
mod connection;
pub mod descriptors;
pub mod handing;
mod lanes;
pub mod listener;
pub mod live;
mod memory;
pub mod metrics;
mod places;
pub mod quarantine;
mod relay;
pub mod runtime;
mod shared;
pub mod supervisor;
mod sweep;
mod upstream;
mod worker;

pub use shared::Shared;
pub use worker::{KeyWanted, Signal};
