//! The chain: what makes a log of lines one whole that cannot be changed unseen.
//!
//! A *segment* is a file of JSON lines. It opens with a header line (format, number, instance, boot, the last hash of
//! the segment before, the rings drained into it); records follow in *blocks*, each closed by a block line whose hash is
//! SHA-256 over the previous hash and every byte of the file since the previous block line, up to the hash itself.
//! Heads, signed with Ed25519, state the hash reached; who keeps one elsewhere can tell that a tail was cut off.
//!
//! A block line also carries the ring cursors: start-up drains on from them, so that nothing is lost or repeated
//! whether the process was killed before a batch was written, or after it and before the ring was released.
//!
//! ```text
//! {"segment":{"format":1,"number":1,…,"previous":"00…"}}
//! {"kind":"request",…}
//! {"block":{"records":1,"rings":[[1184,0]],"open":0,"unsummed":0,"prev":"00…","hash":"9c…"}}
//! {"head":{"segment":1,"blocks":1,"records":1,"hash":"9c…","time":"…","key":"…","sig":"…"}}
//! ```

use aws_lc_rs::digest;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

mod scan;
#[cfg(test)]
mod tests;

pub use scan::{Checkpoint, Fault, FaultKind, Scan, Scanned, Tail, verified_head};

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// Lower-case hexadecimal.
    #[must_use]
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// Parses [`Self::hex`]'s form, exactly.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        unhex(text).map(Self)
    }
}

/// First line of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentHeader {
    /// Record format.
    pub format: u32,
    /// Counts from 1.
    pub number: u64,
    /// The gateway installation: random, made with the directory.
    pub instance: String,
    /// Boot id of the host.
    pub boot: String,
    /// Version of `acp`.
    pub version: String,
    /// When it was opened, RFC 3339.
    pub opened: String,
    /// The key heads are signed with: Ed25519, base64.
    pub key: String,
    /// Ids of the rings drained into it, in the order of every block's `rings`.
    pub rings: Vec<String>,
    /// How many of these, at the beginning, an earlier process stored into; they are removed once they are drained.
    #[serde(default)]
    pub past: usize,
    /// Last hash of the segment before; zeros in the first.
    pub previous: String,
}

/// How far a ring was drained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Cursor(
    /// Position of the first entry that is not in the log.
    pub u64,
    /// Refusals without room that summaries account for.
    pub u64,
);

/// What a block line says beside the hashes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct BlockFacts {
    /// Lines in the block that are records.
    pub records: u64,
    /// One cursor per ring of the header.
    pub rings: Vec<Cursor>,
    /// Segment of the oldest intent whose outcome is owed; 0 = none is.
    pub open: u64,
    /// Refusals drained whose summary is not written yet.
    pub unsummed: u64,
}

/// A signed statement of how far the chain has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The segment.
    pub segment: u64,
    /// Blocks in it so far.
    pub blocks: u64,
    /// Records in it so far.
    pub records: u64,
    /// The last block's hash, or the header's `previous` where there is none.
    pub hash: String,
    /// When it was signed, RFC 3339.
    pub time: String,
    /// The key it is signed with: Ed25519, base64.
    pub key: String,
    /// The signature over the line up to `,"sig":`, base64.
    pub sig: String,
}

const BLOCK: &[u8] = b"{\"block\":";
const HEAD: &[u8] = b"{\"head\":";
const RECORD: &[u8] = b"{\"kind\":";
const SEGMENT: &[u8] = b"{\"segment\":";
const HASH_KEY: &[u8] = b",\"hash\":\"";
const SIG_KEY: &str = ",\"sig\":\"";

/// Builds the chain: takes batches of record lines, gives back the bytes to write.
#[derive(Debug)]
pub struct ChainWriter {
    last: Hash,
    segment: u64,
    blocks: u64,
    records: u64,
    /// Bytes written since the last block line (a header, a head): the next block covers them too.
    uncovered: Vec<u8>,
}

impl Default for ChainWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl ChainWriter {
    /// A new log.
    #[must_use]
    pub fn new() -> Self {
        Self { last: Hash::default(), segment: 0, blocks: 0, records: 0, uncovered: Vec::new() }
    }

    /// Goes on at the end of a segment that was read back.
    #[must_use]
    pub fn resume(end: &Checkpoint) -> Self {
        Self { last: end.hash, segment: end.segment, blocks: end.blocks, records: end.records, uncovered: Vec::new() }
    }

    /// The current segment's number.
    #[must_use]
    pub fn segment(&self) -> u64 {
        self.segment
    }

    /// The last hash.
    #[must_use]
    pub fn last(&self) -> Hash {
        self.last
    }

    /// The header line of the next segment; `number` and `previous` are filled in. [`Self::begin`] once it is written.
    #[must_use]
    pub fn next_header(&self, mut header: SegmentHeader) -> (u64, Vec<u8>) {
        header.number = self.segment + 1;
        header.previous = self.last.hex();
        let mut line = SEGMENT.to_vec();
        json(&mut line, &header);
        line.extend_from_slice(b"}\n");
        (header.number, line)
    }

    /// The next segment begins, with this header line.
    pub fn begin(&mut self, header: &[u8]) {
        self.segment += 1;
        (self.blocks, self.records) = (0, 0);
        self.uncovered = header.to_vec();
    }

    /// Closes the batch of whole record lines in `buf` with a block line.
    pub fn seal(&mut self, buf: &mut Vec<u8>, facts: &BlockFacts) {
        buf.extend_from_slice(b"{\"block\":{\"records\":");
        json(buf, &facts.records);
        buf.extend_from_slice(b",\"rings\":");
        json(buf, &facts.rings);
        buf.extend_from_slice(b",\"open\":");
        json(buf, &facts.open);
        buf.extend_from_slice(b",\"unsummed\":");
        json(buf, &facts.unsummed);
        buf.extend_from_slice(b",\"prev\":\"");
        buf.extend_from_slice(self.last.hex().as_bytes());
        buf.push(b'"');
        buf.extend_from_slice(HASH_KEY);
        self.last = link(self.last, &[&self.uncovered, buf]);
        buf.extend_from_slice(self.last.hex().as_bytes());
        buf.extend_from_slice(b"\"}}\n");
        self.uncovered.clear();
        self.blocks += 1;
        self.records += facts.records;
    }

    /// A head line for the hash reached. [`Self::wrote_head`] once it is written.
    #[must_use]
    pub fn head(&self, key: &Ed25519KeyPair, time: String) -> Vec<u8> {
        let head = Head {
            segment: self.segment,
            blocks: self.blocks,
            records: self.records,
            hash: self.last.hex(),
            time,
            key: BASE64.encode(key.public_key().as_ref()),
            sig: String::new(),
        };
        let mut line = HEAD.to_vec();
        json(&mut line, &head);
        // The empty signature's closing quote and both braces follow the opening quote: sign what stands before it.
        line.truncate(line.len() - SIG_KEY.len() - 2);
        let signature = key.sign(&line);
        line.extend_from_slice(SIG_KEY.as_bytes());
        line.extend_from_slice(BASE64.encode(signature.as_ref()).as_bytes());
        line.extend_from_slice(b"\"}}\n");
        line
    }

    /// A head line stands behind the last block: the next one covers it.
    pub fn wrote_head(&mut self, line: &[u8]) {
        self.uncovered.extend_from_slice(line);
    }
}

/// The next hash: SHA-256 over the previous one and the bytes since.
fn link(previous: Hash, parts: &[&[u8]]) -> Hash {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(&previous.0);
    for part in parts {
        context.update(part);
    }
    let mut hash = Hash::default();
    hash.0.copy_from_slice(context.finish().as_ref());
    hash
}

fn json(buf: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(buf, value).expect("plain data serialises into memory");
}

/// Lower-case hexadecimal.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// Parses exactly `N` bytes of lower-case hexadecimal.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    if text.len() != 2 * N || !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
        return None;
    }
    let mut bytes = [0; N];
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
    }
    Some(bytes)
}
