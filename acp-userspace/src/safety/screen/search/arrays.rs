//! Values that were split over the items of an array (THREATS A24).
//!
//! Two ways of splitting are undone. An array of nothing but groups of digits (`["123", "45", "6789"]`, or a digit an
//! item) is one text as a whole: what takes all of it counts, if it is sure, and if the array's name speaks of it or the
//! items are strings. Among other items, a string goes on in the next where a mark stands at the seam, and letters or
//! digits on both sides of that (`["123-45", "-6789"]`, `["bob@", "mail.example"]`); what lies over a seam counts. The
//! array's name is that of every item. Each item that holds a part of a finding is a place of it.
//!
//! Bounds: an item takes part with [`ITEM_BYTES_MAX`], and each is put into two texts at most. Where more go on in each
//! other than a text holds, the next begins with the last [`ITEMS_MAX`], so that no value is cut.

use super::{Found, Hit, Place, Range, Search};
use crate::protocol::json::{Kind, Node};
use crate::safety::custom;
use crate::safety::detectors;
use crate::safety::scanner::ScannerError;

/// Bytes of an item that may be a part of a value; secrets are longer, and are not split by people.
const ITEM_BYTES_MAX: usize = 64;
/// Items that one value is split over: the digits of the longest number, one by one, with separators.
const ITEMS_MAX: usize = 40;
/// Digits of an item of an array of groups.
const GROUP_DIGITS_MAX: usize = 8;
/// Digits that all groups have together: those of the shortest number that has a rule, and of the longest.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=19;
/// How sure a finding in such an array has to be, in percent: any few digits may be a number that no word tells.
const SURE: u8 = 70;
/// What may stand at the seam of a value that goes on in the next item.
const MARKS: &[u8] = b"-.@_/+: ";

/// Items read as one text.
#[derive(Debug, Default)]
pub(super) struct Joined {
    text: Vec<u8>,
    /// Node of each item, and where it ends in `text`.
    parts: Vec<(usize, usize)>,
}

impl Joined {
    fn clear(&mut self) {
        self.text.clear();
        self.parts.clear();
    }

    fn push(&mut self, item: Node<'_>, text: &str) {
        self.text.extend_from_slice(text.as_bytes());
        self.parts.push((item.index(), self.text.len()));
    }

    /// Keeps the last items only.
    fn keep(&mut self, items: usize) {
        let first = self.parts.len().saturating_sub(items);
        let Some((_, start)) = first.checked_sub(1).and_then(|before| self.parts.get(before)).copied() else { return };
        self.text.drain(..start);
        self.parts.drain(..first);
        self.parts.iter_mut().for_each(|(_, end)| *end -= start);
    }

    fn has_seam_in(&self, range: &Range<usize>) -> bool {
        self.parts.iter().any(|(_, end)| range.start < *end && *end < range.end)
    }
}

impl Search<'_> {
    /// Searches what the items of an array say together.
    pub(super) fn array(&mut self, array: Node<'_>) -> Result<(), ScannerError> {
        // Most have none, or one.
        if array.items().nth(1).is_none() {
            return Ok(());
        }
        let mut joined = std::mem::take(self.joined);
        let result = self.items(array, &mut joined);
        *self.joined = joined;
        result
    }

    fn items(&mut self, array: Node<'_>, joined: &mut Joined) -> Result<(), ScannerError> {
        joined.clear();
        if let Some(kind) = groups(array, joined) {
            let all = 0..joined.text.len();
            let key = array.key().and_then(|key| key.text()).unwrap_or_default();
            let told = |hit: &Hit| kind == Kind::String || detectors::names(key, hit.detector);
            return self.joined(joined, array, |hit| hit.range == all && hit.confidence >= SURE && told(hit));
        }
        joined.clear();
        let mut before: Option<(Node<'_>, &str)> = None;
        for item in array.items() {
            let text = item.as_str().filter(|text| !text.is_empty() && text.len() <= ITEM_BYTES_MAX);
            match (before, text) {
                (Some((last, said)), Some(text)) if is_seam(said, text) => {
                    if joined.parts.is_empty() {
                        joined.push(last, said);
                    }
                    if joined.parts.len() == 2 * ITEMS_MAX {
                        self.joined(joined, array, |hit| joined.has_seam_in(&hit.range))?;
                        joined.keep(ITEMS_MAX);
                    }
                    joined.push(item, text);
                }
                _ => self.continued(joined, array)?,
            }
            before = text.map(|text| (item, text));
        }
        self.continued(joined, array)
    }

    /// Items of which each goes on in the next.
    fn continued(&mut self, joined: &mut Joined, array: Node<'_>) -> Result<(), ScannerError> {
        if !joined.parts.is_empty() {
            self.joined(joined, array, |hit| joined.has_seam_in(&hit.range))?;
            joined.clear();
        }
        Ok(())
    }

    /// Searches a text put together; what `counts` of it is found in each of its items.
    fn joined(&mut self, joined: &Joined, array: Node<'_>, counts: impl Fn(&Hit) -> bool) -> Result<(), ScannerError> {
        let (before, text) = (self.hits.len(), joined.text.as_slice());
        let (key, place) = (array.key().and_then(|key| key.text()), Place::Node(array.index()));
        self.each(text, |_| Some(Found { text, base: 0, key, place }))?;
        custom::in_text(self.forms, (text, 0), key, place, self.hits)?;
        let found: Vec<Hit> = self.hits.drain(before..).filter(counts).collect();
        for hit in found {
            let mut start = 0;
            for (node, end) in &joined.parts {
                let (from, to) = (hit.range.start.max(start), hit.range.end.min(*end));
                if from < to {
                    let range = from - start..to - start;
                    super::push(self.hits, Hit { place: Place::Node(*node), range, is_part: true, ..hit.clone() })?;
                }
                start = *end;
            }
        }
        Ok(())
    }
}

/// Puts an array together that holds groups of digits alone, as many as a number has; says whether some are numbers.
fn groups(array: Node<'_>, joined: &mut Joined) -> Option<Kind> {
    let is_group = |text: &&str| text.len() <= GROUP_DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    let mut kind = Kind::String;
    for item in array.items() {
        let text = item.text().filter(is_group).filter(|_| joined.text.len() < *DIGITS.end())?;
        joined.push(item, text);
        if item.kind() == Kind::Number {
            kind = Kind::Number;
        }
    }
    (joined.parts.len() > 1 && DIGITS.contains(&joined.text.len())).then_some(kind)
}

/// Whether `next` goes on with what `before` says.
fn is_seam(before: &str, next: &str) -> bool {
    let (before, next) = (before.as_bytes(), next.as_bytes());
    let is_mark = |byte: Option<&u8>| byte.is_some_and(|byte| MARKS.contains(byte));
    let is_word = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let mut back = before.iter().rev();
    let (last, inner) = (back.next(), back.next());
    (is_mark(last) && is_word(inner) && is_word(next.first()))
        || (is_word(last) && is_mark(next.first()) && is_word(next.get(1)))
}
