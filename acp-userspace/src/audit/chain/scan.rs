//! Reading a segment back: every byte is accounted for, or the first that is not is named.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;

use super::{BLOCK, BlockFacts, Cursor, HASH_KEY, HEAD, Hash, Head, RECORD, SEGMENT, SIG_KEY, SegmentHeader, link};

/// What is wrong, and where: lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("segment {segment}{}: {kind}", if *line > 0 { format!(", line {line}") } else { String::new() })]
pub struct Fault {
    /// The segment's number.
    pub segment: u64,
    /// The line; 0 = the segment as a whole.
    pub line: u64,
    /// What is wrong there.
    pub kind: FaultKind,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultKind {
    /// The first line.
    #[error("the segment header is damaged")]
    Header,
    /// The number in the header.
    #[error("the header says segment {0}")]
    Number(u64),
    /// The header's `previous`, or a block's `prev`.
    #[error("it does not follow what comes before it: a segment or block was changed, removed or added there")]
    Previous,
    /// A block line.
    #[error("the block line is damaged")]
    Block,
    /// A block's hash.
    #[error("the block's hash does not match its {0} lines: one of them was changed, removed or added")]
    Hash(u64),
    /// A block's count.
    #[error("the block counts other records than it has")]
    Count,
    /// A head line or its signature.
    #[error("the signed head is damaged, or signed with another key")]
    Head,
    /// A head that states another hash.
    #[error("the signed head states another state of the log than there is")]
    HeadState,
    /// A segment that others follow does not end in a signed head.
    #[error("the segment does not end in a signed head: its tail was cut off or changed")]
    Unsigned,
    /// Bytes behind the last block.
    #[error(
        "{0} bytes behind the last block belong to none (if the gateway was killed while it wrote, its next start \
         cuts them off)"
    )]
    Trailing(u64),
    /// A segment between others, or the first.
    #[error("the segment is missing")]
    Missing,
    /// What was promised by a head kept elsewhere is not there.
    #[error("the log ends before the given head, or holds another state there: its tail was cut off or rewritten")]
    Cut,
}

/// The state after a block, as a head names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// Segment number.
    pub segment: u64,
    /// Blocks in it so far.
    pub blocks: u64,
    /// Records in it so far.
    pub records: u64,
    /// The hash.
    pub hash: Hash,
}

impl Checkpoint {
    /// Whether `head` states this.
    #[must_use]
    pub fn is(&self, head: &Head) -> bool {
        (self.segment, self.blocks, self.records) == (head.segment, head.blocks, head.records)
            && Hash::parse(&head.hash) == Some(self.hash)
    }
}

/// What lies behind the last block (and the heads that follow it).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    None,
    /// The beginning of a batch, as a killed writer leaves it.
    Torn,
    /// Something else: a block or head that does not hold, or bytes that no prefix of a batch looks like.
    Alien(Fault),
}

/// A segment, as far as it holds.
#[derive(Debug, Clone)]
pub struct Scanned {
    /// Its header.
    pub header: SegmentHeader,
    /// The state at its end.
    pub end: Checkpoint,
    /// What its last block says, if it has one.
    pub facts: Option<BlockFacts>,
    /// Bytes up to and including the last block or head.
    pub whole: usize,
    /// Whether a signed head follows the last block.
    pub signed_end: bool,
    /// Signed heads in it.
    pub heads: u64,
    /// What lies behind.
    pub tail: Tail,
    /// Lines up to `whole`.
    pub lines: u64,
}

/// How to read a segment.
#[derive(Debug, Clone, Copy)]
pub struct Scan<'a> {
    /// The number its file name states.
    pub number: u64,
    /// The last hash of the segment before, if that was read.
    pub previous: Option<Hash>,
    /// The key heads must be signed with: Ed25519, raw. `None`: the one in the header.
    pub key: Option<&'a [u8]>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SegmentLine {
    segment: SegmentHeader,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeadLine {
    head: Head,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BlockLine {
    block: Block,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Block {
    records: u64,
    rings: Vec<Cursor>,
    open: u64,
    unsummed: u64,
    prev: String,
    hash: String,
}

struct State<'a> {
    bytes: &'a [u8],
    number: u64,
    key: Vec<u8>,
    end: Checkpoint,
    facts: Option<BlockFacts>,
    /// Where the next block's bytes begin.
    start: usize,
    start_line: u64,
    whole: usize,
    whole_lines: u64,
    signed_end: bool,
    heads: u64,
}

impl Scan<'_> {
    /// Checks a segment. `record` gets each record line of each whole block, `checkpoint` each state reached. It stops
    /// at the first thing that is wrong, which [`Scanned::tail`] names.
    ///
    /// # Errors
    /// The header is wrong, so that nothing can be said of the rest.
    pub fn run(
        &self,
        bytes: &[u8],
        mut record: impl FnMut(u64, &[u8]),
        mut checkpoint: impl FnMut(&Checkpoint),
    ) -> Result<Scanned, Fault> {
        let (header, first_end) = self.header(bytes)?;
        let key = self.key.map_or_else(|| BASE64.decode(&header.key).unwrap_or_default(), <[u8]>::to_vec);
        let previous = Hash::parse(&header.previous).ok_or(self.fault(1, FaultKind::Header))?;
        let mut state = State {
            bytes,
            number: self.number,
            key,
            end: Checkpoint { segment: self.number, blocks: 0, records: 0, hash: previous },
            facts: None,
            start: 0,
            start_line: 1,
            whole: first_end,
            whole_lines: 1,
            signed_end: false,
            heads: 0,
        };
        checkpoint(&state.end);
        let (mut at, mut line_number) = (first_end, 1);
        let mut wrong = None;
        while let Some(end) = memchr::memchr(b'\n', &bytes[at..]).map(|n| at + n + 1) {
            line_number += 1;
            let line = &bytes[at..end];
            let checked = if line.starts_with(BLOCK) {
                state.block(at, end, line_number, &mut record).map(|()| checkpoint(&state.end))
            } else if line.starts_with(HEAD) && state.whole == at {
                state.head(line, end, line_number)
            } else {
                Ok(())
            };
            if let Err(fault) = checked {
                wrong = Some(fault);
                break;
            }
            at = end;
        }
        let tail = wrong.map_or_else(|| state.tail(), Tail::Alien);
        let State { end, facts, whole, whole_lines: lines, signed_end, heads, .. } = state;
        Ok(Scanned { header, end, facts, whole, signed_end, heads, tail, lines })
    }

    fn header(&self, bytes: &[u8]) -> Result<(SegmentHeader, usize), Fault> {
        let bad = || self.fault(1, FaultKind::Header);
        let end = memchr::memchr(b'\n', bytes).ok_or_else(bad)? + 1;
        let line = bytes[..end].strip_prefix(SEGMENT).ok_or_else(bad).map(|_| &bytes[..end])?;
        let SegmentLine { segment: header } = serde_json::from_slice(line).map_err(|_| bad())?;
        if header.number != self.number {
            return Err(self.fault(1, FaultKind::Number(header.number)));
        }
        if self.previous.is_some_and(|previous| previous.hex() != header.previous) {
            return Err(self.fault(1, FaultKind::Previous));
        }
        if self.key.is_some_and(|key| BASE64.encode(key) != header.key) {
            return Err(self.fault(1, FaultKind::Head));
        }
        Ok((header, end))
    }

    fn fault(&self, line: u64, kind: FaultKind) -> Fault {
        Fault { segment: self.number, line, kind }
    }
}

impl State<'_> {
    fn fault(&self, line: u64, kind: FaultKind) -> Fault {
        Fault { segment: self.number, line, kind }
    }

    fn block(&mut self, at: usize, end: usize, line: u64, record: &mut impl FnMut(u64, &[u8])) -> Result<(), Fault> {
        let bad = || Fault { segment: self.number, line, kind: FaultKind::Block };
        let text = &self.bytes[at..end];
        let BlockLine { block } = serde_json::from_slice(text).map_err(|_| bad())?;
        let hash = Hash::parse(&block.hash).ok_or_else(bad)?;
        // The line ends in the hash, the quote, two braces and the newline: no other spelling of it is ours.
        let covered =
            end.checked_sub(64 + 4).filter(|n| *n > at && self.bytes[..*n].ends_with(HASH_KEY)).ok_or_else(bad)?;
        if &self.bytes[covered + 64..end] != b"\"}}\n" {
            return Err(bad());
        }
        if link(self.end.hash, &[&self.bytes[self.start..covered]]) != hash {
            let previous = block.prev != self.end.hash.hex();
            let kind = if previous { FaultKind::Previous } else { FaultKind::Hash(line - self.start_line + 1) };
            return Err(self.fault(line, kind));
        }
        let mut records = 0;
        for (n, text) in (self.start_line..).zip(self.bytes[self.start..at].split_inclusive(|b| *b == b'\n')) {
            if !text.starts_with(HEAD) && !text.starts_with(SEGMENT) {
                records += 1;
                record(n, text);
            }
        }
        if records != block.records {
            return Err(self.fault(line, FaultKind::Count));
        }
        self.end.blocks += 1;
        self.end.records += records;
        self.end.hash = hash;
        self.facts = Some(BlockFacts { records, rings: block.rings, open: block.open, unsummed: block.unsummed });
        (self.start, self.start_line) = (end, line + 1);
        (self.whole, self.whole_lines) = (end, line);
        self.signed_end = false;
        Ok(())
    }

    fn head(&mut self, text: &[u8], end: usize, line: u64) -> Result<(), Fault> {
        let head = verified_head(text, &self.key).ok_or_else(|| self.fault(line, FaultKind::Head))?;
        if !self.end.is(&head) {
            return Err(self.fault(line, FaultKind::HeadState));
        }
        self.signed_end = true;
        self.heads += 1;
        (self.whole, self.whole_lines) = (end, line);
        Ok(())
    }

    /// Judges what is behind the last block: a killed writer leaves the beginning of lines of ours.
    fn tail(&self) -> Tail {
        let rest = &self.bytes[self.whole..];
        if rest.is_empty() {
            return Tail::None;
        }
        for (n, line) in (self.whole_lines + 1..).zip(rest.split_inclusive(|b| *b == b'\n')) {
            let whole = line.ends_with(b"\n");
            let ours = if whole {
                (line.starts_with(RECORD) || line.starts_with(HEAD))
                    && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
            } else {
                !line.starts_with(BLOCK) || !line[..line.len() - 1].windows(2).any(|w| w == b"}}")
            };
            if !ours {
                return Tail::Alien(self.fault(n, FaultKind::Trailing(rest.len() as u64)));
            }
        }
        Tail::Torn
    }
}

/// A head line whose signature holds under `key` (Ed25519, raw); the head names the same key.
#[must_use]
pub fn verified_head(line: &[u8], key: &[u8]) -> Option<Head> {
    let text = std::str::from_utf8(line).ok()?.trim_end_matches('\n');
    let HeadLine { head } = serde_json::from_str(text).ok()?;
    let (signed, _) = text.rsplit_once(SIG_KEY)?;
    let canonical = format!("{signed}{SIG_KEY}{}\"}}}}", head.sig);
    let signature = BASE64.decode(&head.sig).ok()?;
    let holds = UnparsedPublicKey::new(&ED25519, key).verify(signed.as_bytes(), &signature).is_ok();
    (holds && canonical == text && BASE64.encode(key) == head.key).then_some(head)
}
