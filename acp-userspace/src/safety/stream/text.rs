//! One text that comes in pieces: what of it is decided, and what becomes of each piece.
//!
//! The text is searched anew, with some bytes before it, whenever a piece was added, or where much is undecided, whenever
//! that has grown by a part; what is found in the part that becomes decided is acted upon. A change that falls over
//! several pieces is written into the first, and taken out of the others.

use std::collections::VecDeque;
use std::ops::Range;

use super::undecided::{CONTEXT_BYTES, HOLD_BYTES_MAX, undecided};
use super::{Judge, StreamRefused, Total};
use crate::reason::Reason;
use crate::safety::Edit;
use crate::safety::screen::{self, Body, Content};

/// So much undecided text is searched with every piece, which is most of it as long as it is in plain words.
const SHORT_BYTES: usize = 256;
/// Of more, one part in so many is new before it is searched again.
const PARTS: usize = 8;

/// What of a piece is replaced, and by what.
pub(super) type Changes = Vec<(Range<usize>, Vec<u8>)>;

/// A text that goes on. Places in it are counted from its beginning.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// What is undecided, and some bytes before it.
    bytes: Vec<u8>,
    /// Place of the first of them.
    base: usize,
    /// Place of the first that is undecided.
    decided: usize,
    /// How far it went when it was searched last.
    searched: usize,
    pieces: VecDeque<Piece>,
    quotes: Option<Quotes>,
}

/// A piece that is not decided to its end.
#[derive(Debug)]
struct Piece {
    range: Range<usize>,
    /// What its owner calls it.
    slot: Slot,
    changes: Changes,
}

/// An event's piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot {
    /// Number of the event.
    pub(super) event: u64,
    /// Which of its pieces.
    pub(super) piece: usize,
}

impl Text {
    /// A text; in one that holds JSON, a number becomes a string when it is changed.
    pub(super) fn new(holds_json: bool) -> Self {
        Self { quotes: holds_json.then(Quotes::default), ..Self::default() }
    }

    /// Adds a piece whose fate nobody waits for.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }

    /// Adds a piece, named so when it is decided.
    pub(super) fn push_piece(&mut self, text: &[u8], slot: Slot) {
        let start = self.base + self.bytes.len();
        self.bytes.extend_from_slice(text);
        self.pieces.push_back(Piece { range: start..start + text.len(), slot, changes: Vec::new() });
    }

    /// How many bytes are undecided.
    pub(super) fn undecided(&self) -> usize {
        self.base + self.bytes.len() - self.decided
    }

    /// Decides what can be, at its end everything; `piece` gets what became of every piece that is decided.
    pub(super) fn decide(
        &mut self,
        at_end: bool,
        judge: &mut Judge<'_>,
        total: &mut Total,
        mut piece: impl FnMut(Slot, Changes),
    ) -> Result<(), StreamRefused> {
        let edits = self.judge(at_end, judge, total)?;
        // Pieces and edits are both in order.
        let mut first = 0;
        for edit in edits {
            let mut bytes = edit.bytes;
            first += self.pieces.range(first..).take_while(|part| part.range.end <= edit.range.start).count();
            for part in self.pieces.range_mut(first..).take_while(|part| part.range.start < edit.range.end) {
                let (start, end) = (edit.range.start.max(part.range.start), edit.range.end.min(part.range.end));
                part.changes.push((start - part.range.start..end - part.range.start, std::mem::take(&mut bytes)));
            }
        }
        while let Some(done) = self.pieces.pop_front_if(|piece| piece.range.end <= self.decided) {
            piece(done.slot, done.changes);
        }
        self.trim();
        Ok(())
    }

    /// As [`Text::decide`], for a text that is no more than its bytes: what is decided goes to `out`.
    pub(super) fn decide_into(
        &mut self,
        at_end: bool,
        judge: &mut Judge<'_>,
        total: &mut Total,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamRefused> {
        let mut at = self.decided;
        for edit in self.judge(at_end, judge, total)? {
            out.extend_from_slice(&self.bytes[at - self.base..edit.range.start - self.base]);
            out.extend_from_slice(&edit.bytes);
            total.edits += 1;
            at = edit.range.end;
        }
        out.extend_from_slice(&self.bytes[at - self.base..self.decided - self.base]);
        self.trim();
        Ok(())
    }

    /// Searches the text, moves `decided`, and returns the changes up to there.
    fn judge(&mut self, at_end: bool, judge: &mut Judge<'_>, total: &mut Total) -> Result<Vec<Edit>, StreamRefused> {
        let (from, len) = (self.decided - self.base, self.bytes.len());
        if from == len || !(at_end || self.is_due()) {
            return Ok(Vec::new());
        }
        self.searched = self.base + len;
        let content = Content::body(Body::Raw(&self.bytes));
        judge.look(&content, from, total)?;
        let mut to = len;
        if !at_end {
            let found: Vec<Range<usize>> = screen::ranges(judge.scan).collect();
            to = undecided(&self.bytes, from, judge.reach(), &found);
            if len - to > HOLD_BYTES_MAX {
                if judge.rules.alters() {
                    return Err(StreamRefused { reason: Reason::ResponseUnscannable });
                }
                to = len;
            }
        }
        let edits = judge.act(&content, total, |_, range| range.start < to && range.end > from)?;
        let edits = self.placed(edits, from, total);
        if let Some(quotes) = &mut self.quotes {
            quotes.pass(&self.bytes[from..to]);
        }
        self.decided = self.base + to;
        Ok(edits)
    }

    /// Whether enough was added to search it anew. What has no seam is searched again and again, so much of it has to be new
    /// that all searches together stay linear in the text.
    fn is_due(&self) -> bool {
        let (undecided, new) = (self.undecided(), self.base + self.bytes.len() - self.searched);
        new > 0 && (undecided <= SHORT_BYTES || undecided > HOLD_BYTES_MAX || new >= undecided / PARTS)
    }

    /// Edits counted from the beginning of the text; what was decided before `from` stays.
    fn placed(&self, edits: Vec<Edit>, from: usize, total: &mut Total) -> Vec<Edit> {
        let (mut quotes, mut passed) = (self.quotes, from);
        let place = |edit: Edit| {
            let Edit { range, mut bytes, pointer } = edit;
            let start = range.start.max(from);
            if let Some(quotes) = &mut quotes {
                quotes.pass(self.bytes.get(passed..start).unwrap_or_default());
                passed = passed.max(start);
            }
            if quotes.is_some_and(|quotes| !quotes.open) {
                total.evidence.numbers_to_text = total.evidence.numbers_to_text.saturating_add(1);
                bytes.insert(0, b'"');
                bytes.push(b'"');
            }
            Edit { range: self.base + start..self.base + range.end, bytes, pointer }
        };
        edits.into_iter().map(place).collect()
    }

    /// Forgets what no detector will look at again.
    fn trim(&mut self) {
        let old = (self.decided - self.base).saturating_sub(CONTEXT_BYTES);
        self.bytes.drain(..old);
        self.base += old;
    }
}

/// Whether a place in JSON lies in a string.
#[derive(Debug, Clone, Copy, Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    fn pass(&mut self, text: &[u8]) {
        for byte in text {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = self.open,
                b'"' => self.open = !self.open,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_seam_is_searched_in_linear_time() {
        let searched = |len: usize| {
            let (mut text, mut bytes) = (Text::default(), 0);
            while text.undecided() < len {
                text.push(b"x1x1");
                if text.is_due() {
                    text.searched = text.base + text.bytes.len();
                    bytes += text.undecided();
                }
            }
            bytes
        };
        assert!(searched(HOLD_BYTES_MAX) < 4 * searched(HOLD_BYTES_MAX / 4));
        let mut text = Text::default();
        text.push(&[b'x'; HOLD_BYTES_MAX + 1]);
        text.searched = HOLD_BYTES_MAX;
        assert!(text.is_due(), "what is over the bound does not wait");
    }
}
