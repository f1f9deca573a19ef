//! What has to hold of stored records and of the log whatever the bytes: the body of a fuzz target, run by
//! `crate::fuzzing`.

use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::chain::{BlockFacts, ChainWriter, Cursor, Hash, Scan, SegmentHeader, Tail};
use super::json::{Lines, SealedBox};
use super::query::{Place, Record, value};
use super::record::wire::{self, Entry};

/// The first byte says what the rest is: a ring's entry, a segment, changes to a good segment, or a line of the log.
pub fn audit(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => entry(rest),
        1 => segment(rest),
        2 => changed_segment(rest),
        _ => line(rest),
    }
}

/// An entry that decodes becomes one line of JSON that a terminal can show, whatever its texts hold.
fn entry(bytes: &[u8]) {
    let mut lines = Lines::default();
    let sealed = SealedBox { key: 1, text: b"c2VhbGVk" };
    match wire::decode(bytes) {
        Some(Entry::Request(request)) => lines.request(&request, None, sealed),
        Some(Entry::Outcome(outcome)) => lines.outcome(&outcome),
        Some(Entry::Abandoned(_) | Entry::Attached) | None => return,
    }
    let (text, end) = lines.buf.split_at(lines.buf.len() - 1);
    assert_eq!(end, b"\n");
    assert!(!text.iter().any(u8::is_ascii_control), "{}", text.escape_ascii());
    assert!(Record::parse(text, Place::default()).is_some(), "{}", text.escape_ascii());
}

/// Any bytes are judged; what is said to hold lies within them, at the end of a line.
fn segment(bytes: &[u8]) {
    let mut records = 0;
    let scanned = Scan { number: 1, previous: None, key: None }.run(bytes, |_, _| records += 1, |_| {});
    let Ok(scanned) = scanned else { return };
    assert!(scanned.whole <= bytes.len() && bytes[..scanned.whole].ends_with(b"\n"));
    assert_eq!(records, scanned.end.records);
    assert_eq!(scanned.tail == Tail::None, scanned.whole == bytes.len());
}

/// A segment of three blocks whose end is signed, and the key.
static GOOD: LazyLock<(Vec<u8>, Vec<u8>)> = LazyLock::new(|| {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed");
    let header = SegmentHeader {
        format: 1,
        number: 0,
        instance: "i".into(),
        boot: "b".into(),
        version: "0".into(),
        opened: "2026-11-23T12:00:00Z".into(),
        key: STANDARD.encode(key.public_key().as_ref()),
        rings: vec!["01".into()],
        past: 0,
        previous: String::new(),
    };
    let mut chain = ChainWriter::new();
    let (_, mut file) = chain.next_header(header);
    chain.begin(&file);
    for block in 0..3_u64 {
        let mut batch = format!("{{\"kind\":\"event\",\"n\":{block}}}\n").into_bytes();
        chain.seal(&mut batch, &BlockFacts { records: 1, rings: vec![Cursor(block, 0)], open: 0, unsummed: 0 });
        file.extend_from_slice(&batch);
    }
    let head = chain.head(&key, "2026-11-23T12:00:01Z".to_owned());
    file.extend_from_slice(&head);
    (file, key.public_key().as_ref().to_vec())
});

/// Three bytes each: where, and what stands there instead. No change goes unnoticed.
fn changed_segment(changes: &[u8]) {
    let (good, key) = &*GOOD;
    let mut file = good.clone();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % file.len();
        file[at] = change[2];
    }
    let scan = Scan { number: 1, previous: Some(Hash::default()), key: Some(key) };
    let sound = scan.run(&file, |_, _| {}, |_| {}).is_ok_and(|scan| scan.tail == Tail::None && scan.signed_end);
    assert_eq!(sound, file == *good, "a changed byte");
}

/// A line that is a record prints as JSON of the same fields, with nothing that a terminal obeys.
fn line(bytes: &[u8]) {
    let Some(record) = Record::parse(bytes, Place::default()) else { return };
    let _ = (record.time(), record.subject(), record.is_pending());
    let printed = value::json_line(&record);
    assert!(!printed.chars().any(char::is_control), "{}", printed.escape_debug());
    let again = Record::parse(printed.as_bytes(), Place::default()).expect("prints as a record");
    assert_eq!(whole_numbers(again.fields.into()), whole_numbers(record.fields.into()));
}

/// Leaves out fractions: serde_json reads one that it printed to the last bit only.
fn whole_numbers(value: Value) -> Value {
    match value {
        Value::Number(number) if number.is_f64() => Value::Null,
        Value::Array(items) => items.into_iter().map(whole_numbers).collect(),
        Value::Object(fields) => fields.into_iter().map(|(key, value)| (key, whole_numbers(value))).collect(),
        plain => plain,
    }
}
