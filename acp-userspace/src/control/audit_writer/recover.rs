//! Opening the log: repair what a killed process left, drain its rings, end its open intents, hand out new rings.
//!
//! Every start opens a new segment whose header names the old rings and the new; the old ones are removed once what
//! they held is on disk. A torn tail is kept beside its segment before it is cut off, and an event says so. After a
//! reboot (power loss) the unsynced end of segment and rings may be damaged in other ways too; it is cut off and kept
//! alike. Within one boot nothing can explain damage, and the log is not touched.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use hashbrown::HashMap;
use serde::Deserialize;

use super::batch::{Batch, OpenIntent};
use super::dir::{Dir, write_whole};
use super::keys::KeyStore;
use super::sync::Syncer;
use super::{AuditHealth, AuditOpenError, AuditWriter, Cursor, Opened, Segment, rfc3339};
use crate::audit::chain::{ChainWriter, Scan, Scanned, Tail, unhex};
use crate::audit::files;
use crate::audit::json::SummaryCause;
use crate::audit::json::event::{EventKind, Value};
use crate::audit::ring::{RingError, RingFile, RingReader, Step};
use crate::clock::Now;
use crate::config::resolved::AuditConfig;
use crate::ids::{Key128, RequestId};
use crate::usage::HoldPart;

/// What the last process left.
#[derive(Default)]
struct Left {
    chain: ChainWriter,
    cursors: HashMap<u64, Cursor>,
    open: Vec<(RequestId, OpenIntent)>,
    unsummed: u64,
    gaps: Vec<Gap>,
    /// See [`Opened::whole`].
    whole: bool,
    /// Ids of the rings that its workers stored into.
    rings: Vec<u64>,
}

/// Bytes that are not in the log, and why.
struct Gap {
    what: &'static str,
    name: String,
    bytes: u64,
}

pub(super) fn open(config: &AuditConfig, workers: usize, now: Now) -> Result<Opened, AuditOpenError> {
    let dir = Dir::open(&config.dir)?;
    let io = |source| AuditOpenError::Io { path: config.dir.clone(), source };
    dir.remove_unfinished().map_err(io)?;
    let health = Arc::new(AuditHealth::new());
    let keys = KeyStore::open(&dir.path(files::KEYS))?;
    let mut left = read_log(&dir, now)?;
    let (paths, old) = old_rings(&dir, &mut left, &health)?;
    let mut handles = Vec::with_capacity(workers);
    let mut readers = Vec::with_capacity(workers);
    for worker in 0..workers {
        let path = dir.path(&format!("worker-{worker}-{}.{}", fresh_name()?, files::RING));
        let (handle, reader) = RingFile::create(&path, config.ring_bytes, dir.boot(), health.accepting())?.ends();
        handles.push(handle);
        readers.push(reader);
    }
    let whole = left.whole && left.rings.iter().all(|id| old.iter().any(|ring| ring.id() == *id));
    let segment = Segment::create(&dir, &mut left.chain, (&old, &readers), now).map_err(io)?;
    health.begun(left.chain.segment());
    let past: Vec<u64> = old.iter().map(|ring| left.cursors.get(&ring.id()).map_or(0, |cursor| cursor.1)).collect();
    let syncer = Syncer::start(readers.iter().map(RingReader::durable_mark).collect()).map_err(io)?;
    let mut writer = AuditWriter {
        config: config.clone(),
        dir,
        health,
        chain: std::mem::take(&mut left.chain),
        segment,
        rings: old,
        past: Vec::new(),
        batch: Batch::new(keys, past),
        pending: None,
        syncer,
        asked: (0, 0),
        synced_ns: now.mono_ns,
        ending: None,
        head_ns: now.mono_ns,
        looked_ns: 0,
        dirty: true,
        head_due: true,
    };
    let recovered = writer.take_over(left, now).map_err(io)?;
    writer.rings = readers;
    writer.batch.watch_rings(workers);
    for path in paths {
        fs::remove_file(&path).map_err(|source| AuditOpenError::Io { path, source })?;
    }
    Ok(Opened { writer, rings: handles, recovered, whole })
}

impl AuditWriter {
    /// Brings what the dead process left into the new segment and onto the disk.
    fn take_over(&mut self, left: Left, now: Now) -> io::Result<Vec<super::RecoveredHold>> {
        for Gap { what, name, bytes } in &left.gaps {
            let detail = [("what", Value::Text(what)), ("file", Value::Text(name)), ("bytes", Value::Number(*bytes))];
            self.batch.event(now, EventKind::Gap, &detail);
        }
        self.batch.lump(SummaryCause::Interrupted, left.unsummed, now);
        for (id, open) in left.open {
            self.batch.owe(id, open);
        }
        while self.collect(now).more {
            self.write_or_fail()?;
        }
        self.write_or_fail()?;
        let recovered = self.batch.close_open(None, now, "process_died");
        self.batch.settle_flood(now).map_err(io::Error::other)?;
        self.seal();
        self.write_or_fail()?;
        self.sign_head(now)?;
        if let Some(keys) = self.batch.keys_to_sync() {
            keys.sync_data()?;
        }
        self.segment.file.sync_data()?;
        self.past = self.rings.iter().zip(self.batch.unrecorded()).map(|(ring, n)| Cursor(ring.head(), *n)).collect();
        Ok(recovered)
    }

    fn write_or_fail(&mut self) -> io::Result<()> {
        if self.write() { Ok(()) } else { Err(io::Error::other("the recovered records could not be written")) }
    }
}

/// Reads the end of the log: where the chain stands, how far rings were drained, which intents are open.
fn read_log(dir: &Dir, now: Now) -> Result<Left, AuditOpenError> {
    let io = |source| AuditOpenError::Io { path: dir.root().to_owned(), source };
    let segments = dir.segments().map_err(io)?;
    let Some(&number) = segments.last() else { return Ok(Left::default()) };
    let path = dir.path(&files::segment(number));
    let bytes = fs::read(&path).map_err(|source| AuditOpenError::Io { path: path.clone(), source })?;
    let damaged = |fault| AuditOpenError::Damaged { dir: dir.root().to_owned(), fault };
    let scanned = Scan { number, previous: None, key: None }.run(&bytes, |_, _| {}, |_| {}).map_err(damaged)?;
    let same_boot = scanned.header.boot == dir.boot_text();
    let mut left = Left { chain: ChainWriter::resume(&scanned.end), whole: same_boot, ..Left::default() };
    match &scanned.tail {
        Tail::None => {}
        Tail::Alien(fault) if same_boot => return Err(damaged(fault.clone())),
        Tail::Alien(_) | Tail::Torn => left.gaps.push(cut(dir, number, &bytes, scanned.whole).map_err(io)?),
    }
    if !scanned.signed_end {
        sign_end(dir, number, &scanned, &mut left.chain, now).map_err(io)?;
    }
    left.read_facts(dir, &segments, scanned).map_err(io)?;
    Ok(left)
}

impl Left {
    /// Cursors and open intents from the last block. A process that was killed at its start may have left a segment
    /// without any; then the one before it knows.
    fn read_facts(&mut self, dir: &Dir, segments: &[u64], last: Scanned) -> io::Result<()> {
        let mut scanned = last;
        let mut earlier = segments.iter().rev().skip(1);
        while scanned.facts.is_none()
            && let Some(&number) = earlier.next()
        {
            let bytes = fs::read(dir.path(&files::segment(number)))?;
            let scan = Scan { number, previous: None, key: None };
            scanned = scan.run(&bytes, |_, _| {}, |_| {}).map_err(io::Error::other)?;
        }
        let Some(facts) = scanned.facts else { return Ok(()) };
        let header = &scanned.header;
        let ids = header.rings.iter().filter_map(|id| unhex(id).map(u64::from_be_bytes));
        self.cursors = ids.clone().zip(facts.rings.iter().copied()).collect();
        self.rings = ids.skip(header.past).collect();
        self.unsummed = facts.unsummed;
        if facts.open > 0 {
            self.open = open_intents(dir, segments.iter().copied().filter(|n| *n >= facts.open))?;
        }
        Ok(())
    }
}

/// Keeps what is behind the last block in a file of its own, then cuts it off.
fn cut(dir: &Dir, number: u64, bytes: &[u8], whole: usize) -> io::Result<Gap> {
    let name = files::torn(number);
    write_whole(&dir.path(&name), &bytes[whole..])?;
    let file = OpenOptions::new().write(true).open(dir.path(&files::segment(number)))?;
    file.set_len(whole as u64)?;
    file.sync_all()?;
    tracing::warn!(
        file = name,
        "cut off an unfinished batch at the end of the audit log; its records are drained again"
    );
    Ok(Gap { what: "unfinished batch", name, bytes: (bytes.len() - whole) as u64 })
}

/// Signs the end of the segment that a killed process left unsigned.
fn sign_end(dir: &Dir, number: u64, scanned: &Scanned, chain: &mut ChainWriter, now: Now) -> io::Result<()> {
    use std::os::unix::fs::FileExt;
    let line = chain.head(dir.signer(), rfc3339(now));
    chain.wrote_head(&line);
    let file = OpenOptions::new().write(true).open(dir.path(&files::segment(number)))?;
    file.write_all_at(&line, scanned.whole as u64)?;
    file.sync_all()
}

/// Intents in these segments that have no outcome there.
fn open_intents(dir: &Dir, segments: impl Iterator<Item = u64>) -> io::Result<Vec<(RequestId, OpenIntent)>> {
    let mut open = HashMap::new();
    for segment in segments {
        let bytes = fs::read(dir.path(&files::segment(segment)))?;
        for line in bytes.split(|b| *b == b'\n') {
            if line.starts_with(b"{\"kind\":\"intent\"") {
                let read = serde_json::from_slice::<IntentLine>(line).ok();
                if let Some((id, intent)) = read.and_then(|line| line.read(segment)) {
                    open.insert(id, intent);
                }
            } else if line.starts_with(b"{\"kind\":\"outcome\"")
                && let Ok(outcome) = serde_json::from_slice::<OutcomeLine<'_>>(line)
                && let Some(id) = RequestId::parse(outcome.id)
            {
                open.remove(&id);
            }
        }
    }
    Ok(open.into_iter().collect())
}

#[derive(Deserialize)]
struct OutcomeLine<'a> {
    id: &'a str,
}

#[derive(Deserialize)]
struct IntentLine {
    id: String,
    hold: HoldLine,
}

#[derive(Deserialize)]
struct HoldLine {
    id: u64,
    parts: Vec<(String, u64, u64)>,
}

impl IntentLine {
    fn read(self, segment: u64) -> Option<(RequestId, OpenIntent)> {
        let parts = self.hold.parts.iter().filter_map(|(budget, lease, held)| {
            Some(HoldPart { budget: Key128(unhex(budget)?), lease: *lease, held_microusd: *held })
        });
        let intent = OpenIntent { segment, ring: None, hold_id: self.hold.id, parts: parts.collect() };
        Some((RequestId::parse(&self.id)?, intent))
    }
}

/// The dead process' rings, at the cursors of the log's last block. Rings that no segment lists and nothing was
/// stored into are of a start that did not succeed; they are removed, lest failing starts fill the disk.
fn old_rings(
    dir: &Dir,
    left: &mut Left,
    health: &AuditHealth,
) -> Result<(Vec<PathBuf>, Vec<RingReader>), AuditOpenError> {
    let all = dir.rings().map_err(|source| AuditOpenError::Io { path: dir.root().to_owned(), source })?;
    let (mut paths, mut readers) = (Vec::with_capacity(all.len()), Vec::with_capacity(all.len()));
    for path in all {
        let (_, mut reader) = RingFile::open(&path, health.accepting())?.ends();
        if let Some(cursor) = left.cursors.get(&reader.id()) {
            reader.resume_at(cursor.0);
        } else if !left.rings.contains(&reader.id()) && matches!(reader.step(reader.head()), Ok(Step::Empty)) {
            fs::remove_file(&path).map_err(|source| AuditOpenError::Io { path, source })?;
            continue;
        }
        if let Some((position, error)) = first_damage(&reader) {
            if reader.boot() == dir.boot() {
                return Err(error.into());
            }
            reader.end_at(position);
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            left.gaps.push(Gap { what: "ring damaged by power loss", name, bytes: reader.capacity() });
        }
        readers.push(reader);
        paths.push(path);
    }
    Ok((paths, readers))
}

fn first_damage(reader: &RingReader) -> Option<(u64, RingError)> {
    let mut position = reader.head();
    loop {
        match reader.step(position) {
            Ok(Step::Empty) => return None,
            Ok(Step::Entry(_, next) | Step::Skip(next)) => position = next,
            Err(error) => return Some((position, error)),
        }
    }
}

fn fresh_name() -> Result<String, AuditOpenError> {
    let mut name = [0; 4];
    aws_lc_rs::rand::fill(&mut name).map_err(|_| AuditOpenError::Randomness)?;
    Ok(crate::audit::chain::hex(&name))
}
