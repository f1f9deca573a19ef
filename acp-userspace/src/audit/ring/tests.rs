use super::*;
use crate::audit::record::sample;
use crate::audit::record::wire::{Entry, decode};
use crate::audit::record::{Layer, Refusal};
use crate::ids::Key128;
use crate::reason::Reason;

const TENANT: Key128 = Key128([1; 16]);

struct Rig {
    _dir: tempfile::TempDir,
    path: PathBuf,
    accepting: Arc<AtomicBool>,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("worker-0.ring");
        Self { _dir: dir, path, accepting: Arc::new(AtomicBool::new(true)) }
    }

    fn create(&self) -> (RingHandle, RingReader) {
        RingFile::create(&self.path, RING_BYTES_MIN, [1; 16], Arc::clone(&self.accepting)).unwrap().ends()
    }

    fn reopen(&self) -> Result<RingReader, RingError> {
        RingFile::open(&self.path, Arc::clone(&self.accepting)).map(|file| file.ends().1)
    }
}

fn refusal() -> Refusal<'static> {
    Refusal::new(sample::id(9), sample::now(), sample::peer(), Layer::Identity, Reason::InvalidToken)
}

fn log_one(writer: &RingWriter) {
    let open = sample::with_intent(|intent| writer.reserve(TENANT).unwrap().intent(intent));
    open.outcome(&sample::outcome());
}

/// What is committed, as one letter each, and the position behind it.
#[track_caller]
fn committed(reader: &RingReader) -> (String, u64) {
    let (mut text, mut at) = (String::new(), reader.head());
    loop {
        match reader.step(at).unwrap() {
            Step::Empty => return (text, at),
            Step::Skip(next) => at = next,
            Step::Entry(bytes, next) => {
                text.push(match decode(bytes).expect("a committed entry decodes") {
                    Entry::Request(view) if view.who.is_some() => 'i',
                    Entry::Request(_) => 'r',
                    Entry::Outcome(_) => 'o',
                    Entry::Abandoned(_) => 'x',
                    Entry::Attached => 'a',
                });
                at = next;
            }
        }
    }
}

#[test]
fn what_was_stored_is_there_after_the_process_is_gone() {
    let rig = Rig::new();
    let (handle, reader) = rig.create();
    let writer = handle.attach().unwrap();
    log_one(&writer);
    writer.refusal(&refusal()).unwrap();
    let open = sample::with_intent(|intent| writer.reserve(TENANT).unwrap().intent(intent));
    // A killed process runs no destructor.
    std::mem::forget((open, writer, handle, reader));
    assert_eq!(committed(&rig.reopen().unwrap()).0, "iori");
}

#[test]
fn an_intent_dropped_without_outcome_says_so() {
    let rig = Rig::new();
    let (handle, reader) = rig.create();
    let writer = handle.attach().unwrap();
    drop(sample::with_intent(|intent| writer.reserve(TENANT).unwrap().intent(intent)));
    drop(writer.reserve(TENANT).unwrap());
    assert_eq!(committed(&reader).0, "ix");
    assert!(writer.fill() < 4, "all promised room was given back");
}

#[test]
fn laps_go_on_for_ever_and_release_zeroes() {
    let rig = Rig::new();
    let (handle, mut reader) = rig.create();
    let writer = handle.attach().unwrap();
    for _ in 0..2000 {
        log_one(&writer);
        let (text, end) = committed(&reader);
        assert_eq!(text, "io");
        reader.release(end);
    }
    assert!(reader.head() > 10 * reader.capacity());
    assert!(!std::fs::read(&rig.path).unwrap().windows(5).any(|w| w == b"alice"), "no drained text stays behind");
}

#[test]
fn a_full_ring_refuses_but_never_an_outcome() {
    let rig = Rig::new();
    let (handle, reader) = rig.create();
    let writer = handle.attach().unwrap();
    let mut open = Vec::new();
    let refused = loop {
        let tenant = Key128([open.len() as u8; 16]);
        match writer.reserve(tenant) {
            Ok(reservation) => open.push(sample::with_intent(|intent| reservation.intent(intent))),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, RingFull::Full);
    let count = open.len();
    assert!(count > 40, "room for {count}");
    for record in open {
        record.outcome(&sample::outcome());
    }
    assert_eq!(committed(&reader).0, format!("{}{}", "i".repeat(count), "o".repeat(count)));
}

#[test]
fn one_tenant_cannot_take_the_room_of_the_others() {
    let rig = Rig::new();
    let (handle, _reader) = rig.create();
    let writer = handle.attach().unwrap();
    let mut open = Vec::new();
    while let Ok(reservation) = writer.reserve(TENANT) {
        open.push(sample::with_intent(|intent| reservation.intent(intent)));
    }
    assert_eq!(writer.reserve(TENANT).err(), Some(RingFull::TenantShare));
    assert!(u64::from(writer.fill()) < 256 * 5 / 8);
    assert!(writer.reserve(Key128([2; 16])).is_ok());
}

#[test]
fn unauthenticated_refusals_leave_half_of_the_ring_and_are_counted_beyond_it() {
    let rig = Rig::new();
    let (handle, reader) = rig.create();
    let writer = handle.attach().unwrap();
    for _ in 0..2000 {
        writer.refusal(&refusal()).unwrap();
    }
    let recorded = committed(&reader).0.len() as u64;
    assert_eq!(recorded + reader.unrecorded(), 2000);
    assert!(reader.unrecorded() > 0 && writer.fill() <= 128);
    assert!(writer.reserve(TENANT).is_ok());
}

#[test]
fn nothing_new_is_taken_while_the_log_cannot_be_written() {
    let rig = Rig::new();
    let (handle, reader) = rig.create();
    let writer = handle.attach().unwrap();
    let open = sample::with_intent(|intent| writer.reserve(TENANT).unwrap().intent(intent));
    rig.accepting.store(false, Ordering::Relaxed);
    assert_eq!(writer.reserve(TENANT).err(), Some(RingFull::Unavailable));
    open.outcome(&sample::outcome());
    assert_eq!(committed(&reader).0, "io");
}

#[test]
fn a_replacement_worker_goes_on_where_the_dead_one_stopped() {
    let rig = Rig::new();
    let (handle, mut reader) = rig.create();
    let dead = handle.attach().unwrap();
    assert!(matches!(handle.attach(), Err(RingError::Attached { .. })));
    log_one(&dead);
    reader.release(committed(&reader).1);
    log_one(&dead);
    // It died in the middle of a store: payload bytes, no commit word.
    let (_, tail) = committed(&reader);
    #[expect(unsafe_code, reason = "plays the dead producer")]
    // SAFETY: nothing else uses the ring in this test.
    unsafe { handle.0.map.bytes_mut(tail + WORD, 300) }.fill(0xee);
    drop(dead);
    let writer = handle.attach().unwrap();
    log_one(&writer);
    assert_eq!(committed(&reader).0, "ioaio");
}

#[test]
fn marks_of_replaced_workers_end_before_they_fill_the_ring() {
    let rig = Rig::new();
    let (handle, reader) = rig.create();
    let writer = handle.attach().unwrap();
    let mut open = Vec::new();
    for n in 0.. {
        let Ok(reservation) = writer.reserve(Key128([n; 16])) else { break };
        open.push(sample::with_intent(|intent| reservation.intent(intent)));
    }
    for record in open {
        record.outcome(&sample::outcome());
    }
    while writer.refusal(&Refusal { who: Some(sample::who("a")), ..refusal() }).is_ok() {}
    drop(writer);
    let refused = (0..10_000).find_map(|_| handle.attach().err());
    assert!(refused.is_none_or(|error| matches!(error, RingError::Full { .. })));
    committed(&reader);
}

/// Every prefix of the bytes a producer stores, in program order, is a state `kill -9` can leave. Program order within
/// an entry is payload, then word; so the states are: any payload bytes and no word, or the whole entry.
#[test]
fn a_kill_at_any_instant_leaves_whole_entries_or_none() {
    let rig = Rig::new();
    let (handle, reader) = rig.create();
    let writer = handle.attach().unwrap();
    for _ in 0..5 {
        log_one(&writer);
    }
    let whole = std::fs::read(&rig.path).unwrap();
    let mut ends = Vec::new();
    let mut at = 0;
    while let Step::Entry(_, next) = reader.step(at).unwrap() {
        ends.push((at, next));
        at = next;
    }
    for (n, (start, end)) in ends.iter().enumerate() {
        for stored in 0..=(end - start - WORD) {
            let mut image = whole.clone();
            image[4096 + (start + WORD + stored) as usize..].fill(0);
            image[4096 + *start as usize..4096 + (*start + WORD) as usize].fill(0);
            std::fs::write(&rig.path, &image).unwrap();
            assert_eq!(committed(&rig.reopen().unwrap()).0.len(), n);
        }
    }
}

#[test]
fn a_damaged_entry_or_header_is_refused_with_the_way_out() {
    let rig = Rig::new();
    let (handle, _reader) = rig.create();
    log_one(&handle.attach().unwrap());
    let whole = std::fs::read(&rig.path).unwrap();
    for at in [4096, 4100, 4104, 4200] {
        let mut image = whole.clone();
        image[at] ^= 1;
        std::fs::write(&rig.path, &image).unwrap();
        let error = rig.reopen().unwrap().step(0).unwrap_err();
        assert!(matches!(error, RingError::Damaged { position: 0, .. }));
        assert!(error.to_string().contains("move it out of the directory"));
    }
    for at in [0, 16, 24, 40, 60] {
        let mut image = whole.clone();
        image[at] ^= 1;
        std::fs::write(&rig.path, &image).unwrap();
        assert!(matches!(rig.reopen(), Err(RingError::NotARing { .. })));
    }
    std::fs::write(&rig.path, b"short").unwrap();
    assert!(matches!(rig.reopen(), Err(RingError::NotARing { .. })));
}

#[test]
fn producer_and_consumer_agree_across_threads() {
    let rig = Rig::new();
    let (handle, mut reader) = rig.create();
    let rounds = 20_000;
    let producer = std::thread::spawn(move || {
        let writer = handle.attach().unwrap();
        for _ in 0..rounds {
            while writer.reserve(TENANT).is_err() {
                std::thread::yield_now();
            }
            log_one(&writer);
        }
    });
    let mut seen = 0;
    while seen < 2 * rounds {
        let (text, end) = committed(&reader);
        seen += text.len();
        reader.release(end);
    }
    producer.join().unwrap();
    assert_eq!(committed(&reader).0, "");
}
