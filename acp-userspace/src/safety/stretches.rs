//! Which parts of a text are worth the engine's time: those where an anchor can lie.
//!
//! An anchor of digits begins with one and goes on for seven more bytes that are digits or separators; one of an address
//! has an `@` behind its first byte, and no space beside it. Both are tested for many bytes at once, in between two and
//! three instructions a byte where the engine takes eight near digits. What is left out holds no anchor; what is named
//! may hold none: that is for the engine to say.

use std::ops::Range;

use wide::u8x16;

use super::scanner::SEPARATORS_MAX;

/// Bytes judged at once.
const BLOCK: usize = 64;
/// Stretches closer than this are one: a search of its own costs more than to search so many bytes.
const GAP: usize = 64;

/// Behind the first byte of an anchor of digits, where it is recognised: at the eighth of its run.
const LEAD: usize = 7;
/// How far behind the last such place the last anchor can end. Whatever digit begins no anchor has less than eight bytes
/// of the run left; the first of those that follow the last that does is at most four behind it.
const TAIL: usize = SEPARATORS_MAX + 1;

/// The stretches of a text in which all its anchors lie, in order. They do not overlap.
#[derive(Debug)]
pub(super) struct Stretches<'t> {
    text: &'t [u8],
    /// Where the next block begins.
    at: usize,
    runs: Runs,
    /// What the last block showed, if it belongs to the next stretch.
    pending: Option<Range<usize>>,
}

/// The stretches of `text`.
pub(super) fn stretches(text: &[u8]) -> Stretches<'_> {
    Stretches { text, at: 0, runs: Runs::default(), pending: None }
}

impl Iterator for Stretches<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let mut stretch = self.pending.take();
        while self.at < self.text.len() {
            match (&mut stretch, self.next_block()) {
                (None, found) => stretch = found,
                (Some(stretch), Some(found)) if found.start <= stretch.end + GAP => stretch.end = found.end,
                (Some(stretch), None) if self.at <= stretch.end + GAP => {}
                (Some(_), found) => {
                    self.pending = found;
                    break;
                }
            }
        }
        stretch
    }
}

impl Stretches<'_> {
    /// The stretch of the anchors that are recognised in the next block.
    #[inline]
    fn next_block(&mut self) -> Option<Range<usize>> {
        let from = self.at;
        self.at += BLOCK;
        let rest = &self.text[from..];
        let marks = match rest.first_chunk() {
            Some(block) => marks(block),
            None => {
                let mut block = [0; BLOCK];
                block[..rest.len()].copy_from_slice(rest);
                marks(&block)
            }
        };
        let mut places = self.runs.eighths(&marks);
        if marks.at != 0 {
            places |= self.addresses(from, marks.at);
        }
        if places == 0 {
            return None;
        }
        let (first, last) = (from + places.trailing_zeros() as usize, from + places.ilog2() as usize);
        Some(first.saturating_sub(LEAD)..self.text.len().min(last + TAIL))
    }

    /// Those of the `@` marked in the block at `from` that can be an address's: what may stand beside it is no less than
    /// these bytes.
    #[cold]
    fn addresses(&self, from: usize, at_signs: u64) -> u64 {
        let (mut left, mut found) = (at_signs, 0);
        while left != 0 {
            let at = from + left.trailing_zeros() as usize;
            let (before, behind) = (at.checked_sub(1).map(|before| self.text[before]), self.text.get(at + 1));
            if before >= Some(b'%') && behind >= Some(&b'0') {
                found |= left & left.wrapping_neg();
            }
            left &= left - 1;
        }
        found
    }
}

/// What the bytes of a block are; bit `n` speaks of the `n`th.
#[derive(Debug)]
struct Marks {
    /// A digit, a separator of digits, or `/`, which comes with the range of them.
    run: u64,
    /// A digit, if it is of a run at all.
    digit: u64,
    /// `@`
    at: u64,
}

/// Marks the bytes of `block`, sixteen at a time.
#[inline]
fn marks(block: &[u8; BLOCK]) -> Marks {
    let every = u8x16::splat;
    let mut marks = Marks { run: 0, digit: 0, at: 0 };
    for (i, lane) in block.as_chunks().0.iter().enumerate() {
        let lane = u8x16::new(*lane);
        let above = lane - every(b'-');
        let in_range = above.min(every(b'9' - b'-')).simd_eq(above);
        let parenthesis = (lane | every(1)).simd_eq(every(b')'));
        let space = lane.simd_eq(every(b' '));
        let mark = |lane: u8x16| u64::from(lane.to_bitmask()) << (16 * i);
        marks.run |= mark(in_range | parenthesis | space);
        marks.digit |= mark(lane.max(every(b'0')).simd_eq(lane));
        marks.at |= mark(lane.simd_eq(every(b'@')));
    }
    marks
}

/// What the block before showed.
#[derive(Debug, Default)]
struct Runs {
    digit: u64,
    /// Bytes that end one, two and four bytes of a run.
    one: u64,
    two: u64,
    four: u64,
}

impl Runs {
    /// Which bytes of the next block are of a run, the seven before them too, and the first of these a digit.
    #[inline]
    fn eighths(&mut self, marks: &Marks) -> u64 {
        /// Every place `by` bytes behind one that is marked.
        fn behind(marks: u64, block_before: u64, by: u32) -> u64 {
            marks << by | block_before >> (64 - by)
        }
        let two = marks.run & behind(marks.run, self.one, 1);
        let four = two & behind(two, self.two, 2);
        let eight = four & behind(four, self.four, 4);
        let begun = behind(marks.digit, self.digit, LEAD as u32);
        *self = Self { digit: marks.digit, one: marks.run, two, four };
        eight & begun
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::safety::hyperscan::Hyperscan;
    use crate::safety::scanner::{Anchor, Candidates, Family, Scanner};

    #[track_caller]
    fn check(text: &str, expected: &[(usize, usize)]) {
        let found: Vec<_> = stretches(text.as_bytes()).map(|stretch| (stretch.start, stretch.end)).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn only_near_anchors_is_there_a_stretch() {
        check("", &[]);
        check("seats @ 12.50 each, order 4417-12, build 10.4.2 for @west", &[]);
        check("12345678", &[(0, 8)]);
        check("a@b", &[(0, 3)]);
        check("1---2345678, of ten", &[(0, 11)]);
        check("a@", &[]);
        check("@b", &[]);
        let far = " ".repeat(300);
        check(&format!("{far}x12345678x{far}a@b"), &[(301, 312), (604, 613)]);
        check(&format!("12345678{}12345678", "x".repeat(64)), &[(0, 80)]);
        check(&format!("12345678{}12345678", "x".repeat(80)), &[(0, 11), (88, 96)]);
    }

    #[test]
    fn every_byte_is_marked_for_what_it_is() {
        for byte in 0..=u8::MAX {
            for place in 0..BLOCK {
                let mut block = [b'x'; BLOCK];
                block[place] = byte;
                let marks = marks(&block);
                let here = |yes: bool| u64::from(yes) << place;
                assert_eq!(marks.run, here(matches!(byte, b'-'..=b'9' | b'(' | b')' | b' ')), "{byte:#x}");
                assert_eq!(marks.digit & marks.run, here(byte.is_ascii_digit()), "{byte:#x}");
                assert_eq!(marks.at, here(byte == b'@'), "{byte:#x}");
            }
        }
    }

    /// Whether the anchor that ends at `end` is one, and not only the engine's wider reading: no more than three separators
    /// between two digits.
    fn is_anchor(text: &[u8], anchor: Anchor, end: usize) -> bool {
        let (mut digits, mut separators) = (0, 0);
        for byte in text[..end].iter().rev() {
            if byte.is_ascii_digit() {
                (digits, separators) = (digits + 1, 0);
            } else {
                separators += 1;
            }
            if separators > SEPARATORS_MAX || digits == 8 || anchor == Anchor::At {
                break;
            }
        }
        anchor == Anchor::At || digits == 8
    }

    #[test]
    fn every_anchor_of_the_engine_lies_in_a_stretch() {
        let scanner = Hyperscan::compile().expect("compiles");
        let ends = |text: &[u8]| {
            let mut candidates = Candidates::with_room(2 * text.len());
            scanner
                .scan(Family::Numbers, text, &mut scanner.scratch().expect("scratch"), &mut candidates)
                .expect("room for all");
            candidates.sorted().iter().map(|found| (found.anchor, found.end as usize)).collect::<Vec<_>>()
        };
        let dense = prop::collection::vec(prop::sample::select(b"0123456789 -.()/x@".to_vec()), 0..40);
        let sparse = prop::collection::vec(prop::sample::select(b"abcx ,:\xc3\xa4".to_vec()), 0..150);
        proptest!(|(parts in prop::collection::vec((dense, sparse), 0..5), bytes in prop::collection::vec(any::<u8>(), 0..200))| {
            let prose = parts.into_iter().flat_map(|(dense, sparse)| [dense, sparse].concat()).collect::<Vec<u8>>();
            for text in [&prose, &bytes] {
                let all: Vec<_> = ends(text).into_iter().filter(|(anchor, end)| is_anchor(text, *anchor, *end)).collect();
                let mut found = Vec::new();
                let mut last = 0;
                for stretch in stretches(text) {
                    prop_assert!(last <= stretch.start && stretch.start < stretch.end);
                    last = stretch.end;
                    let inside = ends(&text[stretch.clone()]).into_iter().map(|(anchor, end)| (anchor, stretch.start + end));
                    found.extend(inside.filter(|(anchor, end)| is_anchor(text, *anchor, *end)));
                }
                prop_assert_eq!(found, all);
            }
        });
    }
}
