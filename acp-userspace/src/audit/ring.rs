//! The mapped ring between one worker and the audit writer: a file under `audit.dir`, mapped MAP_SHARED, so that what a
//! worker stored survives `kill -9` without a system call.
//!
//! One producer ([`RingWriter`], on the worker), one consumer ([`RingReader`], on the control thread, and start-up
//! recovery). Positions are byte counts that only rise; a position's place in the file is itself modulo the capacity.
//! An entry is a commit word and its payload; the word (length and checksum) is stored last, with Release, so that a
//! process killed at any instruction leaves whole entries or none. The consumer zeroes what it has drained before it
//! gives the room back: "zero" means "not committed", and no personal text stays behind in the file.
//!
//! Room is promised, not hoped for: a [`Reservation`] sets aside intent and outcome together, so an outcome cannot fail.
//! Requests without a verified caller use at most half of the ring (THREATS A5), and above that fill no tenant gets
//! more than [`TENANT_SHARE`] of it.
//!
//! **Invariant:** all unsafe code of the audit log is in `ring::map`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use crate::audit::record::{ENTRY_BYTES_MAX, OUTCOME_BYTES_MAX, wire};

mod map;
mod reader;
mod share;
#[cfg(test)]
mod tests;
mod writer;

use map::Map;
pub use reader::{DurableMark, RingReader, Step};
pub use share::TENANT_SHARE;
pub use writer::{OpenRecord, Position, Reservation, RingFull, RingWriter};

/// Smallest ring: sixteen of the largest entries, below which shares mean nothing.
pub const RING_BYTES_MIN: usize = 64 * 1024;

/// Bytes of an entry's commit word.
const WORD: u64 = 8;

/// Low half of the commit word of a filler: the rest of the lap is empty, go on at its start.
const SKIP: u32 = u32::MAX;

/// Room that stays free beside all reservations: at most one lap end lies ahead of the tail, and what is lost there is
/// less than the largest entry.
const LAP_SLACK: u64 = ENTRY_BYTES_MAX as u64 + WORD;

/// Why a ring file cannot be used. The messages name the way out, for the operator reads them at a failed start.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// The file system said no.
    #[error("cannot use audit ring {}", path.display())]
    Io {
        /// The ring.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The header is not one.
    #[error(
        "{} is not an audit ring or its header is damaged; records of the last run may be in it: keep a copy, move it \
         out of the directory, and start again", path.display()
    )]
    NotARing {
        /// The file.
        path: PathBuf,
    },
    /// Another version left records behind.
    #[error(
        "{} holds records that another version of acp left behind; start and stop that version once to bring them \
         into the log, or move the file out of the directory to leave them out", path.display()
    )]
    OtherLayout {
        /// The file.
        path: PathBuf,
    },
    /// An entry is damaged.
    #[error(
        "{} is damaged at position {position}: a committed record does not match its checksum; keep a copy, move it \
         out of the directory, and start again (what is behind that position is then missing from the log)",
        path.display()
    )]
    Damaged {
        /// The ring.
        path: PathBuf,
        /// Where.
        position: u64,
    },
    /// A replacement worker has to wait until the writer drained some of it.
    #[error("{} is full", path.display())]
    Full {
        /// The ring.
        path: PathBuf,
    },
    /// A worker uses it.
    #[error("a worker is attached to {} already", path.display())]
    Attached {
        /// The ring.
        path: PathBuf,
    },
}

/// One ring file, mapped; shared by the handle, the writer and the reader.
#[derive(Debug)]
struct Ring {
    map: Map,
    path: PathBuf,
    id: u64,
    boot: [u8; 16],
    /// The thread that has the producer's end.
    owner: Mutex<Option<ThreadId>>,
    attachments: AtomicU64,
    /// Positions below are on disk (fsync durability).
    durable: AtomicU64,
    /// Cleared while the log cannot take new work (disk full, write error).
    accepting: Arc<AtomicBool>,
    /// Held by the reader while it moves the head, and by a worker that looks for the tail.
    walk: Mutex<()>,
}

impl Ring {
    fn walking(&self) -> MutexGuard<'_, ()> {
        self.walk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn owner(&self) -> MutexGuard<'_, Option<ThreadId>> {
        self.owner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn damaged(&self, position: u64) -> RingError {
        RingError::Damaged { path: self.path.clone(), position }
    }
}

/// A ring as the supervisor keeps it: hands the producer's end to a worker, and again to the one that replaces it.
#[derive(Clone, Debug)]
pub struct RingHandle(Arc<Ring>);

/// A ring file that was opened or created, before its ends are given out.
#[derive(Debug)]
pub struct RingFile(Ring);

impl RingFile {
    /// Creates an empty ring of at least `bytes` (rounded up to a power of two) at `path`, replacing what was there.
    /// The blocks are written and synced, not merely reserved, so that a later store cannot hit a full disk. The name is
    /// synced with the directory's next file: the segment that lists the ring.
    ///
    /// # Errors
    /// The file cannot be created, written or mapped.
    pub fn create(path: &Path, bytes: usize, boot: [u8; 16], accepting: Arc<AtomicBool>) -> Result<Self, RingError> {
        let io = |source| RingError::Io { path: path.to_owned(), source };
        let capacity = bytes.max(RING_BYTES_MIN).next_power_of_two() as u64;
        let mut id = [0; 8];
        aws_lc_rs::rand::fill(&mut id).map_err(|_| io(io::Error::other("no randomness")))?;
        let header = map::Header { capacity, id: u64::from_le_bytes(id), boot, layout: wire::layout() };
        let fresh = path.with_extension("new");
        write_fresh(&fresh, &header).and_then(|()| std::fs::rename(&fresh, path)).map_err(io)?;
        Self::open(path, accepting)
    }

    /// Opens the ring that an earlier run left at `path`.
    ///
    /// # Errors
    /// It cannot be mapped, or is not a ring, or holds entries of another version's layout.
    pub fn open(path: &Path, accepting: Arc<AtomicBool>) -> Result<Self, RingError> {
        let io = |source| RingError::Io { path: path.to_owned(), source };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(io)?;
        let (map, header) = Map::of(&file).map_err(io)?.ok_or_else(|| RingError::NotARing { path: path.to_owned() })?;
        if header.layout != wire::layout() && map.word(map.head().load(Ordering::Acquire)).load(Ordering::Acquire) != 0
        {
            return Err(RingError::OtherLayout { path: path.to_owned() });
        }
        Ok(Self(Ring {
            map,
            path: path.to_owned(),
            id: header.id,
            boot: header.boot,
            owner: Mutex::new(None),
            attachments: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            accepting,
            walk: Mutex::new(()),
        }))
    }

    /// Its random name: cursors in the log are about the ring of this id only.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Boot id of the host when it was created: after a reboot its last pages may be older than its first.
    #[must_use]
    pub fn boot(&self) -> [u8; 16] {
        self.0.boot
    }

    /// Splits it into the producer's and the consumer's end.
    #[must_use]
    pub fn ends(self) -> (RingHandle, RingReader) {
        let ring = Arc::new(self.0);
        (RingHandle(Arc::clone(&ring)), RingReader::new(ring))
    }
}

fn write_fresh(path: &Path, header: &map::Header) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(&header.page())?;
    let zeros = vec![0; RING_BYTES_MIN];
    for _ in 0..header.capacity / zeros.len() as u64 {
        file.write_all(&zeros)?;
    }
    file.sync_all()
}

/// Bytes an entry with `len` bytes of payload takes: word, payload, padding to the next word.
const fn entry_size(len: usize) -> u64 {
    WORD + (len as u64).next_multiple_of(WORD)
}

/// The commit word: length below, checksum of payload and position above. Never zero, because length is not.
fn commit_word(payload: &[u8], position: u64) -> u64 {
    payload.len() as u64 | (u64::from(checksum(payload, position)) << 32)
}

/// The commit word of a filler at `position`.
fn skip_word(position: u64) -> u64 {
    u64::from(SKIP) | (u64::from(checksum(&[], position)) << 32)
}

/// Detects a torn or overwritten entry, not an adversary (the chain does that): a multiply-mix over two lanes, about
/// one cycle per byte. The position makes an entry of an earlier lap invalid.
fn checksum(payload: &[u8], position: u64) -> u32 {
    const K: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut a = position ^ K;
    let mut b = payload.len() as u64 ^ K.rotate_left(32);
    let mut chunks = payload.chunks_exact(16);
    for chunk in &mut chunks {
        let (x, y) = chunk.split_at(8);
        a = (a ^ read_word(x)).wrapping_mul(K).rotate_left(29);
        b = (b ^ read_word(y)).wrapping_mul(K).rotate_left(31);
    }
    for rest in chunks.remainder().chunks(8) {
        a = (a ^ read_word(rest)).wrapping_mul(K).rotate_left(29);
    }
    let mixed = (a ^ b.rotate_left(17)).wrapping_mul(K);
    (mixed ^ (mixed >> 32)) as u32
}

fn read_word(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    word[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(word)
}
