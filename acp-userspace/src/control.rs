//! The slow side of the gateway, off the request path: start-up and shutdown, keys, name resolution, configuration,
//! audit writer, ledger, kernel plane, admin.
//!
//! Threads: the audit writer and the ledger block on the disk, so each has a thread of its own; everything else is one
//! tokio current-thread runtime. Workers never wait on any of them, except a request that needs a key, a lease, or
//! (with `durability = "fsync"`) the disk.

pub mod admin;
pub mod audit_thread;
pub mod audit_writer;
pub mod confine;
mod egress;
pub mod gateway;
pub mod handover;
mod interfaces;
pub mod jwks;
pub mod kernel;
pub mod ledger;
pub mod ledger_thread;
pub mod metrics;
mod pace;
pub mod penalty_file;
pub mod program_log;
pub mod publish;
pub mod quarantine;
pub mod recover;
pub mod relaunch;
mod reload;
pub mod resolve;
mod runaway;
pub mod service;
pub mod shared_sources;
pub mod status;
mod wall_clock;
mod watch;
