//! Whether the log takes new work, and what it did: read by workers (through their rings), readiness and metrics.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::TenantCount;
use super::batch::{Batch, TakeError};
use crate::audit::ring::RingReader;

/// Counters and states, updated by the writer after each batch.
#[derive(Debug, Default)]
pub struct AuditHealth {
    accepting: Arc<AtomicBool>,
    writable: AtomicBool,
    space: AtomicBool,
    failed: AtomicBool,
    free_bytes: AtomicU64,
    records: AtomicU64,
    bytes: AtomicU64,
    batches: AtomicU64,
    write_errors: AtomicU64,
    open: AtomicU64,
    summarised: AtomicU64,
    unrecorded: AtomicU64,
    subject_keys: AtomicU64,
    segment: Arc<AtomicU64>,
    tenants: Mutex<Vec<TenantCount>>,
}

/// A reading of [`AuditHealth`]'s numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditNumbers {
    /// Record lines written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Batches written.
    pub batches: u64,
    /// Writes that failed.
    pub write_errors: u64,
    /// Intents written whose outcome is owed.
    pub open: u64,
    /// Refusals that summaries stand for, ring overflow included.
    pub summarised: u64,
    /// Of these, refusals that found no room in a ring.
    pub unrecorded: u64,
    /// Subject keys, erased ones included.
    pub subject_keys: u64,
    /// Free bytes of the log's file system when last looked.
    pub free_bytes: u64,
}

impl AuditHealth {
    pub(super) fn new() -> Self {
        let yes = || AtomicBool::new(true);
        Self { accepting: Arc::new(yes()), writable: yes(), space: yes(), ..Self::default() }
    }

    /// Whether new work may be taken: the log is writable, synced and has its reserve of free space.
    #[must_use]
    pub fn is_accepting(&self) -> bool {
        self.accepting.load(Ordering::Relaxed)
    }

    /// Why it does not take new work, in one phrase for readiness.
    #[must_use]
    pub fn trouble(&self) -> Option<&'static str> {
        if self.failed.load(Ordering::Relaxed) {
            return Some("the audit log failed and has to be restarted");
        }
        if !self.writable.load(Ordering::Relaxed) {
            return Some("the audit log cannot be written");
        }
        (!self.space.load(Ordering::Relaxed)).then_some("free space is below audit.min_free_bytes")
    }

    /// The numbers.
    #[must_use]
    pub fn numbers(&self) -> AuditNumbers {
        let read = |n: &AtomicU64| n.load(Ordering::Relaxed);
        AuditNumbers {
            records: read(&self.records),
            bytes: read(&self.bytes),
            batches: read(&self.batches),
            write_errors: read(&self.write_errors),
            open: read(&self.open),
            summarised: read(&self.summarised),
            unrecorded: read(&self.unrecorded),
            subject_keys: read(&self.subject_keys),
            free_bytes: read(&self.free_bytes),
        }
    }

    /// Requests by tenant, as of a second ago at most.
    #[must_use]
    pub fn tenants(&self) -> Vec<TenantCount> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_tenants(&self, tenants: Vec<TenantCount>) {
        *self.tenants.lock().unwrap_or_else(PoisonError::into_inner) = tenants;
    }

    /// Number of the newest segment; never ahead of it.
    #[must_use]
    pub fn segment(&self) -> &Arc<AtomicU64> {
        &self.segment
    }

    pub(super) fn begun(&self, segment: u64) {
        self.segment.store(segment, Ordering::Release);
    }

    pub(super) fn accepting(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.accepting)
    }

    pub(super) fn wrote(&self, records: u64, bytes: usize) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn write_works(&self) {
        if !self.writable.load(Ordering::Relaxed) {
            tracing::info!("the audit log can be written again");
            self.set(&self.writable, true);
        }
    }

    pub(super) fn write_failed(&self, error: &io::Error) {
        self.write_errors.fetch_add(1, Ordering::Relaxed);
        if self.writable.load(Ordering::Relaxed) {
            tracing::error!(%error, "the audit log cannot be written; new work is refused until it can");
        }
        self.set(&self.writable, false);
    }

    /// A failed fsync may have lost what it was for, and a second one would not tell: only a restart looks again.
    pub(super) fn sync_failed(&self) {
        if !self.failed.load(Ordering::Relaxed) {
            tracing::error!("fsync of the audit log failed; new work is refused until a restart");
        }
        self.set(&self.failed, true);
    }

    /// Entries cannot be taken out of a ring; the next start will try again, or say what to do.
    pub(super) fn fail(&self, error: &TakeError) {
        if !self.failed.load(Ordering::Relaxed) {
            tracing::error!(%error, "an audit ring cannot be drained; new work is refused until a restart");
        }
        self.set(&self.failed, true);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(super) fn set_free(&self, free: Option<u64>, min: u64) {
        let Some(free) = free else { return };
        self.free_bytes.store(free, Ordering::Relaxed);
        let enough = free >= min;
        if !enough && self.space.load(Ordering::Relaxed) {
            tracing::error!(free_bytes = free, min_free_bytes = min, "the disk of the audit log is nearly full");
        }
        self.set(&self.space, enough);
    }

    pub(super) fn report(&self, batch: &Batch, rings: &[RingReader]) {
        self.open.store(batch.open_count(), Ordering::Relaxed);
        self.summarised.store(batch.summarised(), Ordering::Relaxed);
        self.unrecorded.store(rings.iter().map(RingReader::unrecorded).sum(), Ordering::Relaxed);
        self.subject_keys.store(batch.key_count(), Ordering::Relaxed);
    }

    fn set(&self, flag: &AtomicBool, value: bool) {
        flag.store(value, Ordering::Relaxed);
        let accepting = self.writable.load(Ordering::Relaxed)
            && self.space.load(Ordering::Relaxed)
            && !self.failed.load(Ordering::Relaxed);
        self.accepting.store(accepting, Ordering::Relaxed);
    }
}
