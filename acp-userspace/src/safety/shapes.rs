//! Where a text may hold something that is told by its shape: all places of all shapes, in one pass.
//!
//! Sixty-four bytes are sorted into classes (digits, letters, separators) at once, a bit for each; a shape is then a few
//! shifts and ANDs of these masks, with the block before standing behind them. A place is a cheap necessary condition:
//! whoever looks at it decides. Text that holds no digit, colon or `@` is only read for long words.
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
use super::lanes;
use super::scanner::{Anchor, Candidate};

/// Bytes judged at once.
const BLOCK: usize = 64;

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

const DIGITS: u32 = 0;
const AT: u32 = 1;
const DOTTED: u32 = 2;
const COLONS: u32 = 3;
const OCTETS: u32 = 4;
const CODED: u32 = 5;
const PAIRS: u32 = 6;
const TOKEN: u32 = 7;

/// The places of a text, those of each anchor in order.
#[derive(Debug)]
pub(super) struct Shapes<'t> {
    text: &'t [u8],
    /// Where the block that `places` speaks of begins.
    block: usize,
    /// Where the next one does.
    next: usize,
    before: Classes,
    runs: Runs,
    words: Words,
    /// Places in the block that were not given out, by anchor.
    places: [u64; ANCHORS.len()],
    /// Which anchors have some.
    some: u32,
    /// What needs no further look, by anchor.
    settled: [usize; ANCHORS.len()],
    /// Which anchors are looked for.
    asked: u32,
}

/// The places of `text` that may lead to something `wanted`.
pub(super) fn shapes(text: &[u8], wanted: Detectors) -> Shapes<'_> {
    let asked = (0..).zip(ANCHORS).fold(0, |asked, (kind, anchor)| asked | u32::from(wanted.led_to_by(anchor)) << kind);
    Shapes {
        text,
        block: 0,
        next: 0,
        before: Classes::default(),
        runs: Runs::default(),
        words: Words::default(),
        places: [0; ANCHORS.len()],
        some: 0,
        settled: [0; ANCHORS.len()],
        asked,
    }
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
        if lanes::is_available() {
            // SAFETY: the CPU has what the function is compiled for, as was just asked.
            return unsafe { self.advance_wide() };
        }
        self.advance_by(classes);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    fn advance_wide(&mut self) {
        self.advance_by(|block| classes_wide(block));
    }

    #[inline(always)]
    fn advance_by(&mut self, classes: impl Fn(&[u8; BLOCK]) -> Classes) {
        while self.some == 0 && self.next < self.text.len() {
            self.read_block(&classes);
        }
    }

    #[inline(always)]
    fn read_block(&mut self, classes: impl Fn(&[u8; BLOCK]) -> Classes) {
        self.block = self.next;
        self.next += BLOCK;
        let rest = &self.text[self.block..];
        let now = match rest.first_chunk() {
            Some(block) => classes(block),
            None => classes_of_rest(rest),
        };
        let pair = Pair { before: &self.before, now: &now };
        let asked = |kind: u32| self.asked >> kind & 1 != 0;
        let numbered = now.digit != 0;
        let places = [
            if asked(DIGITS) { self.runs.sevenths(&now) } else { 0 },
            if asked(AT) && now.at != 0 { self.addresses(now.at) } else { 0 },
            if asked(DOTTED) && numbered && now.dot | self.before.dot != 0 { pair.dotted() } else { 0 },
            if asked(COLONS) && now.colon != 0 { pair.colons() } else { 0 },
            if asked(OCTETS) && now.hyphen | now.dot != 0 { pair.octets() } else { 0 },
            if asked(CODED) && numbered { pair.coded() } else { 0 },
            if asked(PAIRS) && numbered { pair.pairs() } else { 0 },
            if asked(TOKEN) {
                let long = self.words.long(now.letter | now.digit);
                if numbered | (self.before.digit != 0) { pair.tokens() | long } else { long }
            } else {
                0
            },
        ];
        // Most blocks have none, and leave all as it is.
        if places.iter().fold(0, |any, places| any | places) != 0 {
            self.places = places;
            self.some = (0..).zip(places).fold(0, |some, (kind, places)| some | u32::from(places != 0) << kind);
        }
        self.before = now;
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
#[derive(Debug, Default, PartialEq, Eq)]
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

/// Every place `by` bytes behind one that is marked; `by` is 1 to 63.
const fn behind(now: u64, before: u64, by: u32) -> u64 {
    now << by | before >> (64 - by)
}

/// A block and the one before. A shape's mask has the bits of the bytes it ends with.
struct Pair<'c> {
    before: &'c Classes,
    now: &'c Classes,
}

impl Pair<'_> {
    fn digit(&self, by: u32) -> u64 {
        if by == 0 { self.now.digit } else { behind(self.now.digit, self.before.digit, by) }
    }

    fn letter(&self, by: u32) -> u64 {
        if by == 0 { self.now.letter } else { behind(self.now.letter, self.before.letter, by) }
    }

    /// No letter and no digit.
    fn apart(&self, by: u32) -> u64 {
        !(self.digit(by) | self.letter(by))
    }

    /// A space or a hyphen.
    fn gap(&self, by: u32) -> u64 {
        behind(self.now.space | self.now.hyphen, self.before.space | self.before.hyphen, by)
    }

    fn dotted(&self) -> u64 {
        // The fourth number's first digit; `dot(n)`: a dot `n` bytes before that follows a digit and precedes one.
        let dot = |by: u32| {
            let dot = behind(self.now.dot, self.before.dot, by);
            dot & self.digit(by + 1) & self.digit(by - 1)
        };
        let third = dot(1);
        if third == 0 {
            return 0;
        }
        // The dot before stands two to four bytes before; the first as many before that.
        let first = |by: u32| dot(by + 2) | dot(by + 3) | dot(by + 4);
        third & (dot(3) & first(3) | dot(4) & first(4) | dot(5) & first(5))
    }

    fn colons(&self) -> u64 {
        let colon = |by| behind(self.now.colon, self.before.colon, by);
        self.now.colon & (colon(1) | colon(2) | colon(3) | colon(4) | colon(5))
    }

    fn octets(&self) -> u64 {
        let hyphen = |by| behind(self.now.hyphen, self.before.hyphen, by);
        self.now.hyphen & hyphen(3) & hyphen(6) | self.now.dot & behind(self.now.dot, self.before.dot, 5)
    }

    fn coded(&self) -> u64 {
        self.now.digit & self.digit(1) & self.letter(2) & self.letter(3) & self.apart(4)
    }

    fn pairs(&self) -> u64 {
        let twice = self.now.digit & self.digit(1) & self.gap(2) & self.digit(3) & self.digit(4) & self.gap(5);
        if twice == 0 { 0 } else { twice & self.letter(6) & self.letter(7) & self.apart(8) }
    }

    fn tokens(&self) -> u64 {
        let three = |by: u32| self.digit(by) & self.digit(by + 1) & self.digit(by + 2);
        let (digits_last, letter_last) = (three(0) & self.letter(3), three(1) & self.now.letter & self.digit(4));
        if digits_last | letter_last == 0 {
            return 0;
        }
        let six = three(4) & three(7) & self.apart(10);
        let five = (5..10).fold(self.apart(10), |all, by| all & self.letter(by));
        digits_last & six | letter_last & five
    }
}

/// What the block before showed of runs of digits.
#[derive(Debug, Default)]
struct Runs {
    digit: u64,
    /// Bytes that end one, two and four bytes of a run.
    one: u64,
    two: u64,
    four: u64,
}

impl Runs {
    /// Which bytes of the next block are of a run, the six before them too, and the first of these a digit.
    #[inline]
    fn sevenths(&mut self, now: &Classes) -> u64 {
        let two = now.run & behind(now.run, self.one, 1);
        let four = two & behind(two, self.two, 2);
        let seven = four & behind(four, self.four, 3);
        let begun = behind(now.digit, self.digit, RUN - 1);
        *self = Self { digit: now.digit, one: now.run, two, four };
        seven & begun
    }
}

/// What the block before showed of letters and digits.
#[derive(Debug, Default)]
struct Words {
    /// Bytes that end one, two, four, eight and sixteen of them.
    one: u64,
    two: u64,
    four: u64,
    eight: u64,
}

impl Words {
    /// Which bytes of the next block are the sixteenth of a word.
    #[inline]
    fn long(&mut self, word: u64) -> u64 {
        let two = word & behind(word, self.one, 1);
        let four = two & behind(two, self.two, 2);
        let eight = four & behind(four, self.four, 4);
        let sixteen = eight & behind(eight, self.eight, 8);
        let first = sixteen & !behind(word, self.one, LONG);
        *self = Self { one: word, two, four, eight };
        first
    }
}

#[cfg(test)]
mod tests;
