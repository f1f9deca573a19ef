use super::*;
use crate::audit::chain::{Hash, Scan, Tail as ChainTail};
use crate::audit::files;
use crate::audit::record::{Intent, Layer, Outcome, Refusal, sample};
use crate::audit::ring::{OpenRecord, RingFile, RingFull, RingWriter};
use crate::reason::Reason;
use serde_json::Value as Json;
use std::collections::HashMap;
use std::path::Path;

fn config(dir: &Path) -> AuditConfig {
    AuditConfig {
        dir: dir.to_owned(),
        durability: Durability::Batch,
        ring_bytes: 64 * 1024,
        segment_bytes: 64 << 20,
        segment_age: Duration::from_secs(86_400),
        min_free_bytes: 0,
        head_interval: Duration::from_secs(60),
    }
}

fn at(ms: u64) -> Now {
    Now { wall_ns: sample::NOON_NS + ms * 1_000_000, mono_ns: 1_000_000_000_000 + ms * 1_000_000 }
}

fn open(dir: &Path) -> Opened {
    AuditWriter::open(&config(dir), 2, at(0)).unwrap()
}

fn begin(worker: &RingWriter, n: u32) -> OpenRecord {
    sample::with_intent(|intent| {
        let reservation = worker.reserve(intent.who.tenant_key).unwrap();
        reservation.intent(&Intent { request_id: sample::id(n), ..*intent })
    })
}

fn end(record: OpenRecord, n: u32) {
    record.outcome(&Outcome { request_id: sample::id(n), ..sample::outcome() });
}

fn refuse(worker: &RingWriter, n: u32, address: &str) {
    let peer = crate::audit::record::Peer { address: address.parse().unwrap(), ..sample::peer() };
    let refusal = Refusal::new(sample::id(n), at(0), peer, Layer::Identity, Reason::InvalidToken);
    worker.refusal(&refusal).unwrap();
}

/// All records of the log, whose chain must hold to the last byte.
#[track_caller]
fn records(dir: &Path) -> Vec<Json> {
    let mut records = Vec::new();
    let mut previous = Hash::default();
    for number in 1.. {
        let Ok(bytes) = std::fs::read(dir.join(files::segment(number))) else { break };
        let scan = Scan { number, previous: Some(previous), key: None };
        let scanned = scan.run(&bytes, |_, line| records.push(serde_json::from_slice(line).unwrap()), |_| {}).unwrap();
        assert_eq!(scanned.tail, ChainTail::None, "segment {number}");
        previous = scanned.end.hash;
    }
    records
}

fn count(records: &[Json], kind: &str) -> usize {
    records.iter().filter(|record| record["kind"] == kind).count()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

#[test]
fn intent_and_outcome_of_one_batch_are_one_line_and_of_two_are_two() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, rings, .. } = open(dir.path());
    let workers: Vec<RingWriter> = rings.iter().map(|ring| ring.attach().unwrap()).collect();
    end(begin(&workers[0], 1), 1);
    let slow = begin(&workers[1], 2);
    assert_eq!(writer.drain(at(10)).records, 2);
    end(slow, 2);
    assert_eq!(writer.drain(at(20)).records, 1);
    assert_eq!(writer.drain(at(30)), DrainStats::default());
    writer.close(at(40)).unwrap();
    let records = records(dir.path());
    assert_eq!((count(&records, "request"), count(&records, "intent"), count(&records, "outcome")), (1, 1, 1));
    assert!(!serde_json::to_string(&records).unwrap().contains("alice"), "the subject is sealed");
}

#[test]
fn threat_a04_an_intent_without_outcome_comes_back_as_unknown_with_its_hold() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, rings, recovered, .. } = open(dir.path());
    assert_eq!(recovered, []);
    let worker = rings[0].attach().unwrap();
    let drained = begin(&worker, 1);
    writer.drain(at(10));
    let in_ring = begin(&worker, 2);
    let image = tempfile::tempdir().unwrap();
    copy(dir.path(), image.path());
    std::mem::forget((drained, in_ring));

    let reopened = open(image.path());
    let mut ids: Vec<RequestId> = reopened.recovered.iter().map(|hold| hold.request_id).collect();
    ids.sort_unstable();
    assert_eq!(ids, [sample::id(1), sample::id(2)]);
    let hold = sample::with_intent(|intent| intent.hold.parts.clone());
    assert!(reopened.recovered.iter().all(|recovered| recovered.hold_id == 77 && recovered.parts == hold));
    reopened.writer.close(at(20)).unwrap();
    let records = records(image.path());
    assert_eq!(records.iter().filter(|record| record["outcome"] == "unknown").count(), 2);
    assert_eq!(open(image.path()).recovered, [], "they are settled once");
}

/// A kill at any instant: whatever was committed to a ring is in the log exactly once after the next start.
///
/// The states a kill can leave are made from copies: the directory as it is between two steps; the segment of after a
/// drain with the rings of before it (killed between write and release); the same with the segment cut at any byte of
/// the batch (killed within the write).
#[test]
fn a_kill_at_any_instant_loses_nothing_and_repeats_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, rings, .. } = open(dir.path());
    let workers: Vec<RingWriter> = rings.iter().map(|ring| ring.attach().unwrap()).collect();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = move |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let (mut begun, mut ended, mut refused) = (0, 0, 0);
    let mut under_way: Vec<(u32, OpenRecord)> = Vec::new();
    for step in 0..24 {
        for _ in 0..next(12) {
            let worker = &workers[next(2) as usize];
            match next(3) {
                0 => {
                    begun += 1;
                    under_way.push((begun, begin(worker, begun)));
                }
                1 if !under_way.is_empty() => {
                    let (n, record) = under_way.swap_remove(next(under_way.len() as u64) as usize);
                    end(record, n);
                    ended += 1;
                }
                // More than are recorded in full within a second: most are only counted.
                _ => {
                    for _ in 0..6 {
                        refused += 1;
                        refuse(worker, 100_000 + refused, "198.51.100.1:9");
                    }
                }
            }
        }
        let before = tempfile::tempdir().unwrap();
        copy(dir.path(), before.path());
        writer.drain(at(step * 300));
        let segment = files::segment(2 - u64::from(!dir.path().join(files::segment(2)).exists()));
        let old = std::fs::metadata(before.path().join(&segment)).unwrap().len();
        let after = std::fs::read(dir.path().join(&segment)).unwrap();
        check_recovery(before.path(), begun, ended, refused);
        for cut in [old + next(after.len() as u64 - old + 1), after.len() as u64] {
            let image = tempfile::tempdir().unwrap();
            copy(before.path(), image.path());
            std::fs::write(image.path().join(&segment), &after[..cut as usize]).unwrap();
            check_recovery(image.path(), begun, ended, refused);
        }
    }
    assert!(begun > 30 && ended > 10 && refused > 30);
}

#[track_caller]
fn check_recovery(image: &Path, begun: u32, ended: u32, refused: u32) {
    let copy_of = tempfile::tempdir().unwrap();
    copy(image, copy_of.path());
    open(copy_of.path()).writer.close(at(1_000_000)).unwrap();
    let records = records(copy_of.path());
    let (mut intents, mut outcomes) = (HashMap::<String, u32>::new(), HashMap::<String, u32>::new());
    let (mut unknown, mut refusals) = (0, 0);
    for record in &records {
        let id = || record["id"].as_str().unwrap().to_owned();
        match record["kind"].as_str().unwrap() {
            "request" if record.get("layer").is_some() => refusals += 1,
            "request" => {
                *intents.entry(id()).or_default() += 1;
                *outcomes.entry(id()).or_default() += 1;
            }
            "intent" => *intents.entry(id()).or_default() += 1,
            "outcome" => {
                unknown += u32::from(record["outcome"] == "unknown");
                *outcomes.entry(id()).or_default() += 1;
            }
            "summary" => refusals += record["count"].as_u64().unwrap(),
            _ => {}
        }
    }
    assert!(intents.values().chain(outcomes.values()).all(|n| *n == 1), "nothing is there twice");
    assert_eq!(intents.len(), begun as usize, "every committed intent is there");
    assert_eq!(outcomes.len(), begun as usize, "every one has an outcome");
    assert_eq!(unknown, begun - ended, "those that had none are unknown");
    assert_eq!(refusals, u64::from(refused), "every refusal is accounted for");
}

#[test]
fn threat_a05_a_flood_of_bad_tokens_is_accounted_for_to_the_last_and_a_working_tenant_sees_no_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, rings, .. } = open(dir.path());
    let worker = rings[0].attach().unwrap();
    let (mut sent, mut good) = (0, 0);
    for ms in (0..5000).step_by(25) {
        // More than the ring holds between two drains: some are counted by the worker alone.
        for _ in 0..300 {
            sent += 1;
            refuse(&worker, 1_000_000 + sent, &format!("198.51.100.{}:9", sent % 3));
        }
        good += 1;
        end(begin(&worker, good), good);
        writer.drain(at(ms));
    }
    writer.close(at(6000)).unwrap();
    let records = records(dir.path());
    let full =
        records.iter().filter(|record| record["reason"] == "invalid_token" && record["kind"] == "request").count();
    let summaries: Vec<&Json> = records.iter().filter(|record| record["kind"] == "summary").collect();
    let counted: u64 = summaries.iter().map(|summary| summary["count"].as_u64().unwrap()).sum();
    assert_eq!(full as u64 + counted, u64::from(sent));
    assert!(full <= 3 * 10 * 6, "{full} in full");
    assert!(summaries.iter().any(|summary| summary["cause"] == "ring_full"));
    assert!(summaries.len() < 6 * 4 + 4, "one summary per source and second, not {}", summaries.len());
    assert_eq!(records.iter().filter(|record| record["reason"] == "allowed").count(), good as usize);
}

#[test]
fn need_b02_a_batch_that_cannot_be_written_is_kept_and_workers_refuse_until_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, rings, .. } = open(dir.path());
    let worker = rings[0].attach().unwrap();
    let real = std::mem::replace(
        &mut writer.segment.file,
        Arc::new(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap()),
    );
    end(begin(&worker, 1), 1);
    assert_eq!(writer.drain(at(10)), DrainStats::default());
    assert_eq!(worker.reserve(crate::ids::Key128([1; 16])).err(), Some(RingFull::Unavailable));
    assert!(writer.health().trouble().is_some());
    writer.drain(at(20));
    writer.segment.file = real;
    writer.drain(at(30));
    assert!(writer.health().is_accepting());
    end(begin(&worker, 2), 2);
    writer.drain(at(40));
    writer.close(at(50)).unwrap();
    assert_eq!(count(&records(dir.path()), "request"), 2);
}

#[test]
fn need_b02_too_little_free_space_refuses_new_work() {
    let dir = tempfile::tempdir().unwrap();
    let config = AuditConfig { min_free_bytes: u64::MAX, ..config(dir.path()) };
    let Opened { mut writer, rings, .. } = AuditWriter::open(&config, 1, at(0)).unwrap();
    writer.drain(at(2000));
    assert_eq!(writer.health().trouble(), Some("free space is below audit.min_free_bytes"));
    assert!(rings[0].attach().unwrap().reserve(crate::ids::Key128([1; 16])).is_err());
}

#[test]
fn need_b02_segments_turn_by_size_and_go_on_from_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let config = AuditConfig { segment_bytes: 4096, ..config(dir.path()) };
    let Opened { mut writer, rings, .. } = AuditWriter::open(&config, 1, at(0)).unwrap();
    let worker = rings[0].attach().unwrap();
    let slow = begin(&worker, 1000);
    for n in 0..30 {
        end(begin(&worker, n), n);
        writer.drain(at(u64::from(n) * 10));
    }
    assert!(dir.path().join(files::segment(4)).exists());
    // Its intent lies segments back; the block lines say where to look.
    std::mem::forget((slow, worker));
    drop(writer);
    let reopened = open(dir.path());
    assert_eq!(reopened.recovered.len(), 1);
    reopened.writer.close(at(9000)).unwrap();
    let records = records(dir.path());
    assert_eq!((count(&records, "request"), count(&records, "intent"), count(&records, "outcome")), (30, 1, 1));
}

/// A ring holds a fraction of a second: who drains it does not wait for a second's lines to reach the disk.
#[test]
fn a_segment_ends_when_what_it_holds_is_on_disk_and_takes_what_comes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let config = AuditConfig { segment_bytes: 4096, ..config(dir.path()) };
    let Opened { mut writer, rings, .. } = AuditWriter::open(&config, 1, at(0)).unwrap();
    let first = writer.chain.segment();
    let many = UNSYNCED_MAX / 64;
    let log = |writer: &mut AuditWriter, lines: u64| {
        for _ in 0..lines {
            writer.event(at(1), EventKind::Gap, &[("what", Value::Text("a line of a hundred bytes or more"))]);
        }
        writer.drain(at(1));
    };
    log(&mut writer, many);
    let asked = writer.asked;
    assert_eq!((writer.chain.segment(), writer.ending), (first, Some(asked.0)), "too much to wait for");
    while !writer.syncer.has_ended(asked.0) {
        std::thread::yield_now();
    }
    // As a disk that takes longer than the time from one sync to the next: there is always one that has not ended.
    writer.asked.0 = u64::MAX;
    let bytes = writer.segment.bytes;
    log(&mut writer, 1);
    assert_eq!((writer.chain.segment(), writer.ending), (first + 1, None));
    assert!(asked.1 == bytes && bytes > UNSYNCED_MAX);
    writer.asked.0 = asked.0;
    log(&mut writer, 40);
    assert_eq!(writer.chain.segment(), first + 2, "little is left to the moment");
    drop(rings);
    writer.close(at(2)).unwrap();
    assert_eq!(count(&records(dir.path()), "event"), many as usize + 41);
}

/// Until the next segment exists, the old one's blocks have a cursor for each ring its header lists: start-up reads
/// them in that order.
#[test]
fn a_segment_that_cannot_be_opened_leaves_the_old_one_readable() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { writer, rings, .. } = open(dir.path());
    drop((writer, rings));
    let config = AuditConfig { segment_bytes: 1, ..config(dir.path()) };
    let Opened { mut writer, rings, .. } = AuditWriter::open(&config, 1, at(0)).unwrap();
    let obstacle = dir.path().join(files::segment(3) + ".new");
    std::fs::create_dir(&obstacle).unwrap();
    let worker = rings[0].attach().unwrap();
    let log = |writer: &mut AuditWriter, n: u32| {
        end(begin(&worker, n), n);
        writer.drain(at(u64::from(n) * 10));
    };
    log(&mut writer, 1);
    assert_eq!(writer.health().trouble(), Some("the audit log cannot be written"));
    std::fs::remove_dir(&obstacle).unwrap();
    writer.drain(at(15));
    assert!(writer.health().is_accepting());
    std::fs::create_dir(&obstacle).unwrap();
    log(&mut writer, 2);
    let image = tempfile::tempdir().unwrap();
    copy(dir.path(), image.path());
    let (rings_listed, cursors) = last_rings(&image.path().join(files::segment(2)));
    assert_eq!(rings_listed, cursors);
    open(image.path()).writer.close(at(1000)).unwrap();
    assert_eq!(count(&records(image.path()), "request"), 2, "nothing lost, nothing twice");
}

/// How many rings a segment's header lists, and how many cursors its last block has.
fn last_rings(segment: &Path) -> (usize, usize) {
    let text = std::fs::read_to_string(segment).unwrap();
    let length = |line: &str, key: &str| {
        let line: Json = serde_json::from_str(line).unwrap();
        line[key]["rings"].as_array().unwrap().len()
    };
    let block = text.lines().rfind(|line| line.starts_with("{\"block\"")).unwrap();
    (length(text.lines().next().unwrap(), "segment"), length(block, "block"))
}

/// A start that finds no room for its last file must not take the room that is left, again and again.
#[test]
fn starts_that_fail_leave_no_rings_behind() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let rings = || {
        let paths = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.extension().is_some_and(|extension| extension == files::RING)).count()
    };
    // Where the third start's segment would come to lie.
    std::fs::create_dir(dir.path().join(files::segment(2))).unwrap();
    for _ in 0..4 {
        assert!(AuditWriter::open(&config(dir.path()), 2, at(0)).is_err());
        assert!(rings() <= 4, "those of the last start, and of the last that failed");
    }
}

/// What the log does not say did not happen: only where nothing of it can be missing.
#[test]
fn a_log_is_whole_unless_something_was_lost_or_taken_away() {
    #[track_caller]
    fn check(change: impl FnOnce(&Path), expected: bool) {
        let dir = tempfile::tempdir().unwrap();
        drop(open(dir.path()));
        let Opened { mut writer, rings, whole, .. } = open(dir.path());
        assert!(whole);
        let worker = rings[0].attach().unwrap();
        end(begin(&worker, 1), 1);
        writer.drain(at(10));
        end(begin(&worker, 2), 2);
        let image = tempfile::tempdir().unwrap();
        copy(dir.path(), image.path());
        change(image.path());
        assert_eq!(open(image.path()).whole, expected);
    }
    fn ring(dir: &Path) -> std::path::PathBuf {
        let mut paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        paths.find(|path| path.to_string_lossy().contains("worker-0-")).unwrap()
    }
    check(|_| {}, true);
    // A start that was killed between making its rings and naming them in a segment.
    check(|dir| _ = RingFile::create(&dir.join("worker-0-9.ring"), 0, [0; 16], Arc::default()).unwrap(), true);
    check(|dir| std::fs::remove_file(ring(dir)).unwrap(), false);
    check(|dir| std::fs::remove_file(dir.join(files::segment(1))).unwrap(), true);
    check(|dir| (1..=2).for_each(|n| std::fs::remove_file(dir.join(files::segment(n))).unwrap()), false);
    check(
        |dir| {
            let path = dir.join(files::segment(2));
            let text = std::fs::read_to_string(&path).unwrap();
            let header = text.lines().next().unwrap();
            let boot = serde_json::from_str::<Json>(header).unwrap()["segment"]["boot"].as_str().unwrap().to_owned();
            // The header alone: another boot wrote it, and power was lost before any block reached the disk.
            std::fs::write(&path, header.replace(&boot, &"0".repeat(32)) + "\n").unwrap();
        },
        false,
    );
}

#[test]
fn a_torn_tail_is_kept_beside_the_log_and_said() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let path = dir.path().join(files::segment(1));
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend_from_slice(b"{\"kind\":\"request\",\"id\":\"req_07");
    std::fs::write(&path, &bytes).unwrap();
    open(dir.path()).writer.close(at(10)).unwrap();
    let records = records(dir.path());
    let gap = records.iter().find(|record| record["event"] == "gap").unwrap();
    assert_eq!((&gap["detail"]["bytes"], &gap["detail"]["file"]), (&30.into(), &files::torn(1).into()));
    assert_eq!(std::fs::read(dir.path().join(files::torn(1))).unwrap().len(), 30);
}

#[test]
fn a_damaged_log_or_ring_is_not_touched_and_the_way_out_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, rings, .. } = open(dir.path());
    let worker = rings[0].attach().unwrap();
    for n in 0..5 {
        end(begin(&worker, n), n);
        writer.drain(at(u64::from(n)));
    }
    let record = begin(&worker, 9);
    let image = tempfile::tempdir().unwrap();
    copy(dir.path(), image.path());
    std::mem::forget(record);

    let path = image.path().join(files::segment(1));
    let whole = std::fs::read(&path).unwrap();
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = AuditWriter::open(&config(image.path()), 2, at(0)).unwrap_err();
    assert!(matches!(error, AuditOpenError::Damaged { .. }) && error.to_string().contains("move its *.jsonl"));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    std::fs::write(&path, &whole).unwrap();

    let ring = std::fs::read_dir(image.path()).unwrap().map(|entry| entry.unwrap().path());
    let ring = { ring }.find(|path| path.to_string_lossy().contains("worker-0-")).unwrap();
    let mut bytes = std::fs::read(&ring).unwrap();
    let at_text = bytes.windows(11).position(|w| w == b"auth0|alice").unwrap();
    bytes[at_text] ^= 1;
    std::fs::write(&ring, &bytes).unwrap();
    let error = AuditWriter::open(&config(image.path()), 2, at(0)).unwrap_err();
    assert!(matches!(error, AuditOpenError::Ring(RingError::Damaged { .. })), "{error}");
}

#[test]
fn need_b07_one_log_has_one_writer() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    assert!(matches!(AuditWriter::open(&config(dir.path()), 1, at(0)), Err(AuditOpenError::InUse { .. })));
    drop(first);
    open(dir.path());
}

#[test]
fn threat_a04_under_fsync_an_intent_is_durable_only_after_the_sync() {
    let dir = tempfile::tempdir().unwrap();
    let config = AuditConfig { durability: Durability::Fsync, ..config(dir.path()) };
    let Opened { mut writer, rings, .. } = AuditWriter::open(&config, 1, at(0)).unwrap();
    let worker = rings[0].attach().unwrap();
    let record = begin(&worker, 1);
    assert!(!worker.is_durable(record.position()));
    writer.drain(at(1));
    let limit = std::time::Instant::now() + Duration::from_secs(20);
    while !worker.is_durable(record.position()) {
        assert!(std::time::Instant::now() < limit, "the sync thread marks it");
        std::thread::yield_now();
    }
    end(record, 1);
    writer.close(at(2)).unwrap();
}

#[test]
fn a_worker_that_dies_leaves_unknown_outcomes_and_its_replacement_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let Opened { mut writer, rings, .. } = open(dir.path());
    let other = rings[1].attach().unwrap();
    let alive = begin(&other, 3);
    let ring = rings[0].clone();
    // A worker that panics: one record unwinds with it, one was leaked and never will be dropped.
    let dead = std::thread::spawn(move || {
        let worker = ring.attach().unwrap();
        std::mem::forget(begin(&worker, 1));
        let _unwinds = begin(&worker, 2);
        std::panic::resume_unwind(Box::new("the worker dies"));
    });
    while !dead.is_finished() {
        std::thread::yield_now();
    }
    writer.drain(at(10));
    assert!(matches!(rings[0].attach(), Err(RingError::Attached { .. })));
    assert!(rings[0].join(dead).is_err());
    let replacement = rings[0].attach().unwrap();
    end(begin(&replacement, 4), 4);
    writer.drain(at(20));
    end(alive, 3);
    writer.close(at(30)).unwrap();
    let records = records(dir.path());
    let cause = |n: u32| {
        let id = sample::id(n).to_string();
        let outcome = records.iter().find(|record| record["kind"] == "outcome" && record["id"] == id.as_str());
        outcome.map(|record| record["cause"].clone()).unwrap_or_default()
    };
    assert_eq!((cause(1), cause(2), cause(3)), ("worker_died".into(), "task_died".into(), Json::Null));
    assert_eq!(count(&records, "request"), 1);
}

/// Where the process that is going to be killed keeps its log; unset in an ordinary run.
const KILL_DIR: &str = "ACP_TEST_AUDIT_KILL_DIR";

/// The process that is going to be killed: stores intents, says which (as an upstream would see them), drains now and
/// then. Returns at once in an ordinary run.
#[test]
fn logs_until_it_is_killed() {
    use std::io::Write;
    let Some(dir) = std::env::var_os(KILL_DIR) else { return };
    // Room for every record that it leaves open.
    let config = AuditConfig { ring_bytes: 1 << 20, ..config(Path::new(&dir)) };
    let Opened { mut writer, rings, .. } = AuditWriter::open(&config, 1, at(0)).unwrap();
    let worker = rings[0].attach().unwrap();
    let mut stdout = io::stdout().lock();
    for n in 1..1000 {
        let record = begin(&worker, n);
        writeln!(stdout, "sent {}", sample::id(n)).unwrap();
        stdout.flush().unwrap();
        if n % 3 > 0 {
            end(record, n);
        } else {
            std::mem::forget(record);
        }
        if n % 7 == 0 {
            writer.drain(at(u64::from(n)));
        }
    }
    std::thread::park();
}

#[test]
fn threat_a04_what_a_killed_process_sent_is_in_the_log_exactly_once() {
    use std::io::{BufRead, BufReader};
    for lines in [1, 20, 95, 160] {
        let dir = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "control::audit_writer::tests::logs_until_it_is_killed", "--nocapture"])
            .env(KILL_DIR, dir.path())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut sent: Vec<String> =
            output.by_ref().filter_map(|line| Some(line.strip_prefix("sent ")?.to_owned())).take(lines).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        sent.extend(output.filter_map(|line| Some(line.strip_prefix("sent ")?.to_owned())));
        assert!(sent.len() >= lines);

        open(dir.path()).writer.close(at(1_000_000)).unwrap();
        let mut seen = HashMap::<String, (u32, u32)>::new();
        for record in records(dir.path()) {
            let counts = seen.entry(record["id"].as_str().unwrap_or_default().to_owned()).or_default();
            counts.0 += u32::from(record["kind"] != "outcome");
            counts.1 += u32::from(record["kind"] != "intent");
        }
        for id in &sent {
            assert_eq!(seen.get(id.trim()), Some(&(1, 1)), "{id} has one intent and one outcome");
        }
    }
}
