//! Where a text may hold something that is told by its shape: all places of all shapes, in one pass.
//!
//! Sixty-four bytes are sorted into classes (digits, letters, separators) at once, a bit for each; a shape is then a few
//! shifts and ANDs of these masks. Blocks overlap by as much as the longest shape looks back, so that nothing has to be
//! handed from one to the next: a shift over two words is a slow instruction on some CPUs. A place is a cheap necessary
//! condition: whoever looks at it decides.
//!
//! | anchor | shape, as a regular expression | place |
//! |---|---|---|
//! | `Digits` | `[0-9][0-9 ().\-/]{6}` | behind the first digit |
//! | `At` | `[%-\xff]@[0-\xff]` | behind what follows `@` |
//! | `Dotted` | `[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]` | behind it |
//! | `Colons` | `:.{0,4}:` | behind it |
//! | `Octets` | `-..-..-` or `\.....\.` | behind it |
//! | `Coded` | `\b[A-Za-z]{2}[0-9]{2}` | behind it |
//! | `Pairs` | `\b[A-Za-z]{2}[ -][0-9]{2}[ -][0-9]{2}` | behind it |
//! | `Token` | `\b[A-Za-z0-9]{16}`, `\b[A-Za-z]{5}[0-9]{4}[A-Za-z]`, `\b[0-9]{6}[A-Za-z][0-9]{3}` | behind it |
//!
//! `\b` here: neither an ASCII letter nor a digit before. The tests hold the masks against these expressions.

use wide::u8x16;

use super::detectors::Detectors;
#[cfg(target_arch = "x86_64")]
use super::lanes::{self, whole};
use super::scanner::{Anchor, Candidate};

/// Bytes judged at once.
const BLOCK: usize = 64;

/// Bytes that a block has in common with the one before: as far back as any shape looks.
const OVERLAP: usize = LONG as usize;

/// Bytes of a run of digits that make it worth a look.
const RUN: u32 = 7;
/// Letters and digits that make a word worth a look.
const LONG: u32 = 16;

/// The anchors that are shapes, by the number of their places.
const ANCHORS: [Anchor; 8] = [
    Anchor::Digits,
    Anchor::At,
    Anchor::Dotted,
    Anchor::Colons,
    Anchor::Octets,
    Anchor::Coded,
    Anchor::Pairs,
    Anchor::Token,
];

const DIGITS: usize = 0;
const AT: usize = 1;
const DOTTED: usize = 2;
const COLONS: usize = 3;
const OCTETS: usize = 4;
const CODED: usize = 5;
const PAIRS: usize = 6;
const TOKEN: usize = 7;

/// The places of a text, those of each anchor in order.
#[derive(Debug)]
pub(super) struct Shapes<'t> {
    text: &'t [u8],
    /// Where the block that `places` speaks of begins.
    block: usize,
    /// As far as the text was read.
    read: usize,
    /// Places in the block that were not given out, by anchor.
    places: [u64; ANCHORS.len()],
    /// Which anchors have some.
    some: u32,
    /// What needs no further look, by anchor.
    settled: [usize; ANCHORS.len()],
    /// All bits set for those anchors that are looked for.
    asked: [u64; ANCHORS.len()],
}

/// The places of `text` that may lead to something `wanted`.
pub(super) fn shapes(text: &[u8], wanted: Detectors) -> Shapes<'_> {
    let asked = ANCHORS.map(|anchor| if wanted.led_to_by(anchor) { u64::MAX } else { 0 });
    Shapes { text, block: 0, read: 0, places: [0; ANCHORS.len()], some: 0, settled: [0; ANCHORS.len()], asked }
}

impl Iterator for Shapes<'_> {
    type Item = Candidate;

    fn next(&mut self) -> Option<Candidate> {
        loop {
            if self.some == 0 {
                self.advance();
                if self.some == 0 {
                    return None;
                }
            }
            let kind = self.some.trailing_zeros() as usize;
            let places = &mut self.places[kind];
            let place = self.block + places.trailing_zeros() as usize;
            *places &= *places - 1;
            if *places == 0 {
                self.some &= self.some - 1;
            }
            let anchor = ANCHORS[kind];
            let end = match anchor {
                Anchor::Digits => place + 2 - RUN as usize,
                Anchor::At => place + 2,
                _ => place + 1,
            };
            if end > self.settled[kind] {
                return Some(Candidate { anchor, end: end as u32 });
            }
        }
    }
}

impl Shapes<'_> {
    /// Leaves out further places of `anchor` that end no later than `end`.
    pub(super) fn settle(&mut self, anchor: Anchor, end: usize) {
        if let Some(kind) = ANCHORS.iter().position(|known| *known == anchor) {
            self.settled[kind] = end;
            // Whatever of the block lies before: the place of a run is `RUN - 2` behind its end, all others nearer.
            let done = end.saturating_sub(self.block).min(BLOCK) as u32;
            self.places[kind] &= u64::MAX.checked_shl(done.saturating_sub(2)).unwrap_or(0);
            self.some &= !(u32::from(self.places[kind] == 0) << kind);
        }
    }

    /// How far the text needs no further look for `anchor`.
    pub(super) fn settled(&self, anchor: Anchor) -> usize {
        ANCHORS.iter().position(|known| *known == anchor).map_or(0, |kind| self.settled[kind])
    }

    /// Reads on to the next block with places, or to the end.
    fn advance(&mut self) {
        #[cfg(target_arch = "x86_64")]
        if whole::is_available() {
            // SAFETY: the CPU has what the function is compiled for, as was just asked.
            return unsafe { self.advance_whole() };
        } else if lanes::is_available() {
            // SAFETY: as above.
            return unsafe { self.advance_wide() };
        }
        self.advance_by(|rest| rest.first_chunk().map_or_else(|| classes_of_rest(rest), classes));
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2")]
    fn advance_whole(&mut self) {
        self.advance_by(|rest| classes_whole(rest));
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn advance_wide(&mut self) {
        self.advance_by(|rest| match rest.first_chunk() {
            Some(block) => classes_wide(block),
            None => classes_of_rest(rest),
        });
    }

    /// `classes` sorts the next block of what is left, which may be shorter.
    #[inline(always)]
    fn advance_by(&mut self, classes: impl Fn(&[u8]) -> Classes) {
        while self.read < self.text.len() {
            self.block = self.read.saturating_sub(OVERLAP);
            // What lies before was in the last block.
            let new = u64::MAX << (self.read - self.block);
            self.read = self.block + BLOCK;
            let places = self.places(&classes(&self.text[self.block..]));
            // Most blocks have none, and leave all as it is.
            if places.iter().fold(0, |any, places| any | places) & new != 0 {
                self.places = places.map(|places| places & new);
                let some = (0..).zip(self.places).fold(0, |some, (kind, places)| some | u32::from(places != 0) << kind);
                self.some = some;
                return;
            }
        }
    }

    /// The places of a block. What can be had for a few shifts is, without a branch: whether there are any is beyond
    /// every guess.
    #[inline(always)]
    fn places(&self, of: &Classes) -> [u64; ANCHORS.len()] {
        let mut places = [0; ANCHORS.len()];
        let mut set = |kind: usize, found: u64| places[kind] = found & self.asked[kind];
        set(COLONS, of.colons());
        set(OCTETS, of.octets());
        let long = of.long();
        set(TOKEN, long);
        if of.digit != 0 {
            set(DIGITS, of.sevenths());
            set(CODED, of.coded());
            let (dotted, pairs, tokens) = (of.may_be_dotted(), of.may_be_pairs(), of.may_be_tokens());
            if dotted | pairs | tokens != 0 {
                set(DOTTED, of.dotted(dotted));
                set(PAIRS, of.pairs(pairs));
                set(TOKEN, of.tokens(tokens) | long);
            }
        }
        if of.at & self.asked[AT] != 0 {
            set(AT, self.addresses(of.at));
        }
        places
    }

    /// Those of the `@` in the block that can be an address's: what may stand beside it is no less than these bytes.
    #[cold]
    fn addresses(&self, at_signs: u64) -> u64 {
        let (mut left, mut found) = (at_signs, 0);
        while left != 0 {
            let at = self.block + left.trailing_zeros() as usize;
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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Classes {
    digit: u64,
    letter: u64,
    /// A digit, or one of `space ( ) - . /`.
    run: u64,
    at: u64,
    colon: u64,
    dot: u64,
    hyphen: u64,
    space: u64,
}

/// As [`classes`], of what is left behind the last whole block. Compiled once: the loop over whole blocks is not to share
/// anything with it.
#[cold]
#[inline(never)]
fn classes_of_rest(rest: &[u8]) -> Classes {
    let mut block = [0; BLOCK];
    block[..rest.len()].copy_from_slice(rest);
    classes(&block)
}

/// Sorts the bytes of `block`, sixteen at a time.
#[inline]
fn classes(block: &[u8; BLOCK]) -> Classes {
    let every = u8x16::splat;
    let mut classes = Classes::default();
    for (i, lane) in block.as_chunks().0.iter().enumerate() {
        let lane = u8x16::new(*lane);
        let within = |from: u8, to: u8, lane: u8x16| {
            let above = lane - every(from);
            above.min(every(to - from)).simd_eq(above)
        };
        let mark = |lane: u8x16| u64::from(lane.to_bitmask()) << (16 * i);
        classes.digit |= mark(within(b'0', b'9', lane));
        classes.letter |= mark(within(b'a', b'z', lane | every(0x20)));
        let parenthesis = (lane | every(1)).simd_eq(every(b')'));
        let space = lane.simd_eq(every(b' '));
        classes.run |= mark(within(b'-', b'9', lane) | parenthesis | space);
        classes.space |= mark(space);
        classes.at |= mark(lane.simd_eq(every(b'@')));
        classes.colon |= mark(lane.simd_eq(every(b':')));
        classes.dot |= mark(lane.simd_eq(every(b'.')));
        classes.hyphen |= mark(lane.simd_eq(every(b'-')));
    }
    classes
}

/// As [`classes`], thirty-two at a time.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline]
fn classes_wide(block: &[u8; BLOCK]) -> Classes {
    use lanes::{bits, equal, or, with, within};
    let mut classes = Classes::default();
    for (i, lane) in block.as_chunks().0.iter().enumerate() {
        let (lane, shift) = (lanes::load(lane), lanes::LANE * i);
        let (space, parenthesis) = (equal(lane, b' '), equal(with(lane, 1), b')'));
        classes.digit |= bits(within(lane, b'0', b'9')) << shift;
        classes.letter |= bits(within(with(lane, 0x20), b'a', b'z')) << shift;
        classes.run |= bits(or(within(lane, b'-', b'9'), or(parenthesis, space))) << shift;
        classes.space |= bits(space) << shift;
        classes.at |= bits(equal(lane, b'@')) << shift;
        classes.colon |= bits(equal(lane, b':')) << shift;
        classes.dot |= bits(equal(lane, b'.')) << shift;
        classes.hyphen |= bits(equal(lane, b'-')) << shift;
    }
    classes
}

/// As [`classes`], all at once, of the first bytes of what is left.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2")]
#[inline]
fn classes_whole(rest: &[u8]) -> Classes {
    let sorted = whole::sort(rest, &KINDS);
    Classes {
        digit: sorted.of(kind::DIGIT),
        letter: sorted.of(kind::LETTER),
        run: sorted.of(kind::RUN),
        at: sorted.of(kind::AT),
        colon: sorted.of(kind::COLON),
        dot: sorted.of(kind::DOT),
        hyphen: sorted.of(kind::HYPHEN),
        space: sorted.of(kind::SPACE),
    }
}

/// What a byte is, for [`whole::sort`].
#[cfg(target_arch = "x86_64")]
mod kind {
    pub(super) const DIGIT: u8 = 1;
    pub(super) const LETTER: u8 = 1 << 1;
    pub(super) const RUN: u8 = 1 << 2;
    pub(super) const AT: u8 = 1 << 3;
    pub(super) const COLON: u8 = 1 << 4;
    pub(super) const DOT: u8 = 1 << 5;
    pub(super) const HYPHEN: u8 = 1 << 6;
    pub(super) const SPACE: u8 = 1 << 7;
}

#[cfg(target_arch = "x86_64")]
const KINDS: whole::Table = {
    let (mut kinds, mut byte) = ([0; 128], 0);
    while byte < kinds.len() {
        kinds[byte] = match byte as u8 {
            b'0'..=b'9' => kind::DIGIT | kind::RUN,
            b'a'..=b'z' | b'A'..=b'Z' => kind::LETTER,
            b' ' => kind::SPACE | kind::RUN,
            b'-' => kind::HYPHEN | kind::RUN,
            b'.' => kind::DOT | kind::RUN,
            b'(' | b')' | b'/' => kind::RUN,
            b'@' => kind::AT,
            b':' => kind::COLON,
            _ => 0,
        };
        byte += 1;
    }
    kinds
};

/// A shape's mask has the bits of the bytes it ends with. Before a block there is nothing.
impl Classes {
    /// The bytes `by` bytes behind a digit.
    fn digit(&self, by: u32) -> u64 {
        self.digit << by
    }

    fn letter(&self, by: u32) -> u64 {
        self.letter << by
    }

    /// No letter and no digit.
    fn apart(&self, by: u32) -> u64 {
        !((self.digit | self.letter) << by)
    }

    /// A space or a hyphen.
    fn gap(&self, by: u32) -> u64 {
        (self.space | self.hyphen) << by
    }

    /// Which bytes are of a run, the six before them too, and the first of these a digit.
    fn sevenths(&self) -> u64 {
        let two = self.run & self.run << 1;
        let four = two & two << 2;
        four & four << 3 & self.digit << (RUN - 1)
    }

    /// Which bytes are the sixteenth letter or digit of a word.
    fn long(&self) -> u64 {
        let word = self.letter | self.digit;
        let two = word & word << 1;
        let four = two & two << 2;
        let eight = four & four << 4;
        eight & eight << 8 & !(word << LONG)
    }

    /// A dot `by` bytes before that follows a digit and precedes one.
    fn point(&self, by: u32) -> u64 {
        self.dot << by & self.digit(by + 1) & self.digit(by - 1)
    }

    /// The first digits behind such dots.
    fn may_be_dotted(&self) -> u64 {
        self.point(1)
    }

    /// Those of `fourth` that begin the fourth of four numbers.
    fn dotted(&self, fourth: u64) -> u64 {
        // The dot before stands two to four bytes before; the first as many before that.
        let first = |by: u32| self.point(by + 2) | self.point(by + 3) | self.point(by + 4);
        fourth & (self.point(3) & first(3) | self.point(4) & first(4) | self.point(5) & first(5))
    }

    fn colons(&self) -> u64 {
        let near = self.colon << 1 | self.colon << 2;
        self.colon & (near | near << 2 | self.colon << 5)
    }

    fn octets(&self) -> u64 {
        let thirds = self.hyphen & self.hyphen << 3;
        thirds & thirds << 3 | self.dot & self.dot << 5
    }

    fn coded(&self) -> u64 {
        self.digit & self.digit(1) & self.letter(2) & self.letter(3) & self.apart(4)
    }

    /// Two digits behind a gap, and two before it.
    fn may_be_pairs(&self) -> u64 {
        self.digit & self.digit(1) & self.gap(2) & self.digit(3) & self.digit(4)
    }

    fn pairs(&self, twice: u64) -> u64 {
        twice & self.gap(5) & self.letter(6) & self.letter(7) & self.apart(8)
    }

    /// Three digits and a letter, in either order.
    fn may_be_tokens(&self) -> u64 {
        let two = self.digit(1) & self.digit(2);
        two & (self.digit & self.letter(3) | self.letter & self.digit(3))
    }

    fn tokens(&self, ends: u64) -> u64 {
        let three = |by: u32| self.digit(by) & self.digit(by + 1) & self.digit(by + 2);
        let six = three(4) & three(7) & self.apart(10);
        let five = (5..10).fold(self.apart(10), |all, by| all & self.letter(by));
        ends & (self.digit & six | self.letter & self.digit(4) & five)
    }
}

#[cfg(test)]
mod tests;
