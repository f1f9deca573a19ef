//! The audit log's one writer: drains the workers' rings into the chain.
//!
//! [`AuditWriter::open`] takes the directory (one owner, fenced by a lock), repairs what a killed process left, drains
//! its rings and hands out new ones. [`AuditWriter::drain`], called in a loop, turns what lies in the rings into one
//! batch: record lines and a block line, one `write(2)`, and only then the rings are released. A batch that cannot be
//! written is kept and tried again while the workers refuse new work.
//!
//! **Invariant:** a ring is released only up to the cursor in a block that was written; start-up goes on from the
//! cursors in the last block. So a kill at any instant loses no record and repeats none.
//! **Invariant:** what the writer holds in memory between batches is in the log too: open intents are lines of their
//! own, and the count of refusals that await their summary is in the block line.
//!
//! `drain` does not wait for the disk but when it signs a head or opens a segment: `fdatasync` of batches runs on a
//! thread of its own (`audit_writer::sync`). What a segment that ends has not on disk yet, a second's lines, goes there
//! first, while the segment takes what comes meanwhile: workers do not stand still for it.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::audit::chain::{BlockFacts, ChainWriter, Cursor, Fault, SegmentHeader};
use crate::audit::json::event::{EventKind, Value};
use crate::audit::json::{FORMAT, Stamp};
use crate::audit::ring::{RingError, RingHandle, RingReader};
use crate::audit::seal::Personal;
use crate::audit::seal::keyfile::KeyfileError;
use crate::clock::Now;
use crate::config::resolved::{AuditConfig, Durability};
use crate::ids::RequestId;
use crate::usage::HoldPart;
use smallvec::SmallVec;

mod batch;
mod dir;
mod disk;
mod flood;
mod health;
mod keys;
mod recover;
mod sync;
mod tally;
#[cfg(test)]
mod tests;

use batch::Batch;
use dir::Dir;
pub use health::{AuditHealth, AuditNumbers};
use sync::Syncer;
pub use tally::TenantCount;

/// Between two calls of [`AuditWriter::drain`] under `durability = "batch"`: long enough that nearly every quick call's
/// intent and outcome share a batch, short enough that a ring holds many times what comes in meanwhile.
pub const BATCH_INTERVAL: Duration = Duration::from_millis(25);

/// The same under `durability = "fsync"`, where calls wait for it.
pub const FSYNC_INTERVAL: Duration = Duration::from_millis(1);

/// Longest time a written record stays unsynced under `durability = "batch"`.
const SYNC_INTERVAL_NS: u64 = 1_000_000_000;

/// Bytes of a segment that ends that may be left for `drain` itself to bring to the disk: a few milliseconds.
const UNSYNCED_MAX: u64 = 1 << 20;

/// Between two looks at the free space, and two counts by tenant for whoever watches.
const LOOK_INTERVAL_NS: u64 = 1_000_000_000;

/// Why the log cannot be opened. The messages name the way out.
#[derive(Debug, thiserror::Error)]
pub enum AuditOpenError {
    /// The file system said no.
    #[error("cannot use {} in the audit directory", path.display())]
    Io {
        /// What was being used.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Another process has it.
    #[error("another gateway writes the audit log in {}: one log has one writer", dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// A ring cannot be used.
    #[error(transparent)]
    Ring(#[from] RingError),
    /// The chain does not hold.
    #[error(
        "the audit log in {} is damaged ({fault}); nothing was changed. `acp audit verify` says more. To start a new \
         log and keep this one as evidence, move its *.jsonl and *.ring files out of the directory", dir.display()
    )]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// Where and what.
        fault: Fault,
    },
    /// The key file cannot be used.
    #[error(
        "{} cannot be read: {source}. Restore it from a backup; with it lost, the people in the log so far cannot be \
         named any more, and it may be moved away so that a new one is made", path.display()
    )]
    Keys {
        /// The key file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyfileError,
    },
    /// The signing key cannot be used.
    #[error(
        "{} is not an Ed25519 key in PKCS#8, or others may read it (mode must be 0600). Restore it from a backup; with \
         it lost, start a new log: move it and the *.jsonl and *.ring files out of the directory", path.display()
    )]
    SigningKey {
        /// The file.
        path: PathBuf,
    },
    /// No randomness.
    #[error("the operating system gives no randomness")]
    Randomness,
}

/// A call that went upstream and whose outcome nobody saw: its hold is the ledger's to settle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredHold {
    /// The request.
    pub request_id: RequestId,
    /// The hold's id in the boot that made it.
    pub hold_id: u64,
    /// What each budget set aside.
    pub parts: SmallVec<[HoldPart; 2]>,
}

/// A record as it was written, with what its sealed part says: for whoever watches the log live.
#[derive(Debug, Clone)]
pub struct Tail {
    /// The JSON line.
    pub line: Box<[u8]>,
    /// Subject and address, if the record has them.
    pub personal: Option<Personal>,
}

/// What the log consists of, once open.
#[derive(Debug)]
pub struct Opened {
    /// The writer.
    pub writer: AuditWriter,
    /// One ring per worker.
    pub rings: Vec<RingHandle>,
    /// Holds of calls that a killed process had open.
    pub recovered: Vec<RecoveredHold>,
    /// Whether everything that the last process stored is in the log. Not after a power loss, and not when a segment or
    /// ring was taken away: what the log does not say may have happened then.
    pub whole: bool,
}

/// What one [`AuditWriter::drain`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DrainStats {
    /// Record lines written.
    pub records: u64,
    /// Bytes written.
    pub bytes: u64,
    /// More lies in the rings than one batch takes: call again at once.
    pub more: bool,
}

/// The log's one writer.
#[derive(Debug)]
pub struct AuditWriter {
    config: AuditConfig,
    dir: Dir,
    health: Arc<AuditHealth>,
    chain: ChainWriter,
    segment: Segment,
    rings: Vec<RingReader>,
    /// Cursors of the killed process' rings, while the segment's header lists them.
    past: Vec<Cursor>,
    batch: Batch,
    /// A sealed batch that is not written yet, and how far it drained each ring.
    pending: Option<Vec<u64>>,
    syncer: Syncer,
    /// The last sync that was asked for, and how much of the segment was there then.
    asked: (u64, u64),
    synced_ns: u64,
    /// The segment is full, and this sync of it was asked for. Later ones do not put its end off.
    ending: Option<u64>,
    head_ns: u64,
    looked_ns: u64,
    dirty: bool,
    head_due: bool,
}

#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    bytes: u64,
    opened_ns: u64,
}

impl AuditWriter {
    /// Takes the log in `config.dir`, with a ring for each of `workers` workers.
    ///
    /// # Errors
    /// See [`AuditOpenError`]; nothing was changed then but a torn tail that was cut off.
    pub fn open(config: &AuditConfig, workers: usize, now: Now) -> Result<Opened, AuditOpenError> {
        recover::open(config, workers, now)
    }

    /// How often to call [`Self::drain`].
    #[must_use]
    pub fn interval(&self) -> Duration {
        match self.config.durability {
            Durability::Batch => BATCH_INTERVAL,
            Durability::Fsync => FSYNC_INTERVAL,
        }
    }

    /// Whether the log takes new work, and what it did so far; shared with metrics and readiness.
    #[must_use]
    pub fn health(&self) -> &Arc<AuditHealth> {
        &self.health
    }

    /// Sends every further record to `tail`; what it has no room for it does not get.
    pub fn subscribe(&mut self, tail: SyncSender<Tail>) {
        self.batch.subscribe(tail);
    }

    /// Adds an event to the next batch.
    pub fn event(&mut self, now: Now, kind: EventKind, detail: &[(&'static str, Value<'_>)]) {
        self.batch.event(now, kind, detail);
    }

    /// Writes what lies in the rings as one batch, if there is anything, and releases them.
    pub fn drain(&mut self, now: Now) -> DrainStats {
        self.look_around(now);
        let mut stats = DrainStats::default();
        if self.pending.is_none() {
            stats = self.collect(now);
        }
        if self.write() {
            self.keep_house(now);
        } else {
            stats = DrainStats::default();
        }
        self.sync(now);
        self.health.report(&self.batch, &self.rings);
        stats
    }

    /// Drains for the last time, signs a head and waits for the disk.
    ///
    /// # Errors
    /// The last batch could not be written or synced; it stays in the rings for the next start.
    pub fn close(mut self, now: Now) -> io::Result<()> {
        while self.drain(now).more {}
        self.batch.settle_flood(now).map_err(io::Error::other)?;
        self.seal();
        if !self.write() {
            return Err(io::Error::other("the last audit batch could not be written"));
        }
        self.sign_head(now)?;
        self.segment.file.sync_data()
    }

    /// Takes entries out of the rings (without releasing them) and seals the batch.
    fn collect(&mut self, now: Now) -> DrainStats {
        if self.health.has_failed() {
            return DrainStats::default();
        }
        let mut more = false;
        let mut positions = Vec::with_capacity(self.rings.len());
        let mut moved = false;
        for (n, ring) in self.rings.iter().enumerate() {
            let taken = self.batch.take(n, ring, now, self.chain.segment());
            match taken {
                Ok(taken) => {
                    more |= taken.more;
                    moved |= taken.position != ring.head();
                    positions.push(taken.position);
                }
                Err(error) => {
                    self.health.fail(&error);
                    return DrainStats::default();
                }
            }
        }
        if let Err(error) = self.batch.summarise(now, &self.rings) {
            self.health.fail(&error);
            return DrainStats::default();
        }
        if !moved && self.batch.is_empty() {
            return DrainStats::default();
        }
        self.pending = Some(positions);
        let records = self.batch.records();
        self.seal();
        DrainStats { records, bytes: self.batch.bytes().len() as u64, more }
    }

    fn seal(&mut self) {
        let positions = self.pending.get_or_insert_with(|| self.rings.iter().map(RingReader::head).collect());
        let ahead = positions.iter().zip(self.batch.unrecorded()).map(|(position, n)| Cursor(*position, *n));
        let facts = BlockFacts {
            records: self.batch.records(),
            rings: self.past.iter().copied().chain(ahead).collect(),
            open: self.batch.oldest_open(),
            unsummed: self.batch.unsummed(),
        };
        self.chain.seal(self.batch.lines(), &facts);
    }

    /// Writes the sealed batch, if there is one. False if it could not be written; it is kept then.
    fn write(&mut self) -> bool {
        let Some(positions) = &self.pending else { return true };
        let written = self
            .batch
            .flush_keys()
            .and_then(|()| self.segment.file.write_all_at(self.batch.bytes(), self.segment.bytes));
        if let Err(error) = written {
            self.health.write_failed(&error);
            return false;
        }
        self.segment.bytes += self.batch.bytes().len() as u64;
        for (ring, position) in self.rings.iter_mut().zip(positions) {
            ring.release(*position);
        }
        self.health.wrote(self.batch.records(), self.batch.bytes().len());
        self.batch.clear();
        self.pending = None;
        (self.dirty, self.head_due) = (true, true);
        true
    }

    /// Heads and segments, when they are due.
    fn keep_house(&mut self, now: Now) {
        let age = Duration::from_nanos(now.mono_ns.saturating_sub(self.segment.opened_ns));
        let full = self.segment.bytes >= self.config.segment_bytes || age >= self.config.segment_age;
        let since_head = Duration::from_nanos(now.mono_ns.saturating_sub(self.head_ns));
        let done = if full && self.head_due {
            if !self.may_end(now) {
                return;
            }
            self.sign_head(now).and_then(|()| self.next_segment(now))
        } else if self.head_due && since_head >= self.config.head_interval {
            self.sign_head(now)
        } else {
            Ok(())
        };
        match done {
            Ok(()) => self.health.write_works(),
            Err(error) => self.health.write_failed(&error),
        }
    }

    /// Appends a signed head to the segment and puts it into `head.json`.
    fn sign_head(&mut self, now: Now) -> io::Result<()> {
        let line = self.chain.head(self.dir.signer(), rfc3339(now));
        self.segment.file.write_all_at(&line, self.segment.bytes)?;
        self.chain.wrote_head(&line);
        self.segment.bytes += line.len() as u64;
        self.head_ns = now.mono_ns;
        (self.head_due, self.dirty) = (false, true);
        self.dir.replace_head(&line)
    }

    /// Whether so little of the segment is not on disk that it may end: else that is asked for first, once.
    fn may_end(&mut self, now: Now) -> bool {
        if let Some(number) = self.ending {
            return self.syncer.has_ended(number);
        }
        let (number, bytes) = self.asked;
        if self.syncer.has_ended(number) && self.segment.bytes - bytes <= UNSYNCED_MAX {
            return true;
        }
        self.ask_for_sync(now);
        self.ending = Some(self.asked.0);
        false
    }

    /// Ends the segment, whose head is signed, and opens the next.
    fn next_segment(&mut self, now: Now) -> io::Result<()> {
        self.segment.file.sync_data()?;
        self.segment = Segment::create(&self.dir, &mut self.chain, (&[], &self.rings), now)?;
        (self.asked.1, self.ending) = (0, None);
        // Not before: as long as the old segment goes on, its blocks have a cursor for each ring of its header.
        self.past.clear();
        self.health.begun(self.chain.segment());
        Ok(())
    }

    /// What is looked at once a second.
    fn look_around(&mut self, now: Now) {
        if now.mono_ns.saturating_sub(self.looked_ns) >= LOOK_INTERVAL_NS {
            self.looked_ns = now.mono_ns;
            self.health.set_tenants(self.batch.tenants());
            self.health.set_free(disk::free_bytes(self.dir.root()), self.config.min_free_bytes);
        }
    }

    /// Asks the syncer for a sync when one is due.
    fn sync(&mut self, now: Now) {
        let due = self.config.durability == Durability::Fsync
            || now.mono_ns.saturating_sub(self.synced_ns) >= SYNC_INTERVAL_NS;
        if self.dirty && due {
            self.ask_for_sync(now);
        }
        if self.syncer.failed() {
            self.health.sync_failed();
        }
    }

    fn ask_for_sync(&mut self, now: Now) {
        self.synced_ns = now.mono_ns;
        self.dirty = false;
        let positions = self.rings.iter().map(RingReader::head).collect();
        let number = self.syncer.request(Arc::clone(&self.segment.file), self.batch.keys_to_sync(), positions);
        self.asked = (number, self.segment.bytes);
    }
}

impl Segment {
    /// Creates the next segment's file with its header, on disk before it has its name. `rings` are those of earlier
    /// processes and those in use.
    fn create(
        dir: &Dir,
        chain: &mut ChainWriter,
        (past, rings): (&[RingReader], &[RingReader]),
        now: Now,
    ) -> io::Result<Self> {
        let ids = past.iter().chain(rings).map(|ring| format!("{:016x}", ring.id())).collect();
        let header = SegmentHeader { past: past.len(), ..dir.header(ids, rfc3339(now)) };
        let (number, line) = chain.next_header(header);
        let file = dir.create_segment(number, &line)?;
        chain.begin(&line);
        Ok(Self { file: Arc::new(file), bytes: line.len() as u64, opened_ns: now.mono_ns })
    }
}

impl Dir {
    fn header(&self, rings: Vec<String>, opened: String) -> SegmentHeader {
        SegmentHeader {
            format: FORMAT,
            number: 0,
            instance: self.instance().to_owned(),
            boot: self.boot_text(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            opened,
            key: self.public_key(),
            rings,
            past: 0,
            previous: String::new(),
        }
    }
}

fn rfc3339(now: Now) -> String {
    let mut text = Vec::new();
    Stamp::default().write(&mut text, now.wall_ns);
    String::from_utf8(text).unwrap_or_default()
}
