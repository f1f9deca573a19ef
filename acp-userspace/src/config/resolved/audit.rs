//! The audit log's place and durability.

use std::path::PathBuf;
use std::time::Duration;

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// Where rings, segments and keys live.
    pub dir: PathBuf,
    /// When an intent counts as logged.
    pub durability: Durability,
    /// Bytes of each worker's ring (default 8 MiB: 1 s at 4 000 requests/s).
    pub ring_bytes: usize,
    /// Bytes of a segment before it is closed (default 64 MiB).
    pub segment_bytes: u64,
    /// Age of a segment before it is closed (default 24 h).
    pub segment_age: Duration,
    /// Free bytes below which new work is refused (default 256 MiB).
    pub min_free_bytes: u64,
    /// Between signed heads (default 60 s).
    pub head_interval: Duration,
}

/// When an intent counts as logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In the mapped ring; fsync per batch, at most 1 s later.
    Batch,
    /// After a group-committed fsync.
    Fsync,
}
