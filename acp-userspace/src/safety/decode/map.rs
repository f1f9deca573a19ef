//! The way back from a decoded text to the bytes it came from.
//!
//! A decoded text is made of segments: bytes that were taken over, one for one, and pieces that came from an escape, a
//! character or an encoded run as a whole. Both rise in either text. Bytes that left nothing lie between segments.

use std::ops::Range;

/// A piece of decoded text. It ends where the next begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    /// Where it begins in the decoded text.
    decoded: u32,
    /// Where what it came from begins and ends.
    original: u32,
    original_end: u32,
    /// Whether its bytes are that, one for one.
    verbatim: bool,
}

/// Segments in order.
#[derive(Debug, Default)]
pub(super) struct Map {
    segments: Vec<Segment>,
}

impl Map {
    pub(super) fn clear(&mut self) {
        self.segments.clear();
    }

    pub(super) fn shrink_to(&mut self, segments: usize) {
        self.segments.shrink_to(segments);
    }

    /// The decoded text goes on at `decoded` with the bytes of `original`.
    pub(super) fn verbatim(&mut self, decoded: usize, original: Range<usize>) {
        let last =
            self.segments.last_mut().filter(|last| last.verbatim && last.original_end as usize == original.start);
        match last {
            Some(last) => last.original_end = original.end as u32,
            None => self.push(decoded, original, true),
        }
    }

    /// The decoded text goes on at `decoded` with something that all of `original` stands for.
    pub(super) fn whole(&mut self, decoded: usize, original: Range<usize>) {
        self.push(decoded, original, false);
    }

    fn push(&mut self, decoded: usize, original: Range<usize>, verbatim: bool) {
        let (original, original_end) = (original.start as u32, original.end as u32);
        self.segments.push(Segment { decoded: decoded as u32, original, original_end, verbatim });
    }

    /// What `range` of the decoded text came from, grown to whole segments unless they are verbatim.
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        let Some(first) = self.segment_at(range.start) else { return 0..0 };
        let start = if first.verbatim {
            first.original as usize + range.start - first.decoded as usize
        } else {
            first.original as usize
        };
        // The last byte decides; of an empty range, the one behind it.
        let last = self.segment_at(range.end.saturating_sub(1).max(range.start)).unwrap_or(first);
        let end = match last {
            Segment { verbatim: true, .. } => {
                last.original as usize + range.end.max(range.start) - last.decoded as usize
            }
            _ => last.original_end as usize,
        };
        start..end.min(last.original_end as usize)
    }

    /// Whether `range` of the decoded text is the original's bytes, one for one.
    pub(super) fn is_verbatim(&self, range: Range<usize>) -> bool {
        let first = self.segment_at(range.start);
        first == self.segment_at(range.end.saturating_sub(1)) && first.is_some_and(|segment| segment.verbatim)
    }

    /// The segment that byte `at` of the decoded text is of.
    fn segment_at(&self, at: usize) -> Option<&Segment> {
        let behind = self.segments.partition_point(|segment| segment.decoded as usize <= at);
        self.segments.get(behind.checked_sub(1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_to_whole_escapes_and_no_further() {
        // "a%31%32b" reads "a12b".
        let mut map = Map::default();
        map.verbatim(0, 0..1);
        map.whole(1, 1..4);
        map.whole(2, 4..7);
        map.verbatim(3, 7..8);
        for (decoded, original) in [(0..4, 0..8), (1..3, 1..7), (2..3, 4..7), (3..4, 7..8), (0..2, 0..4), (0..1, 0..1)]
        {
            assert_eq!(map.original(decoded.clone()), original, "{decoded:?}");
        }
        assert!(map.is_verbatim(3..4) && !map.is_verbatim(2..4) && !map.is_verbatim(1..2));
    }
}
