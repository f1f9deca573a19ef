//! Whether a text can stand for another one: a pass that clean text pays for.
//!
//! Marks are the bytes that `plain` and `hidden` begin at: `%`, `&` and all that are not ASCII. Runs are twelve characters
//! of base64 in a row. Both are looked for in sixteen bytes at once.

use std::ops::Range;

use wide::u8x16;

use super::runs::{self, BASE64_MIN};
#[cfg(target_arch = "x86_64")]
use crate::safety::lanes;

/// Bytes judged at once.
const BLOCK: usize = 64;
/// Bytes that are looked at one by one before.
const NEAR: usize = 8;

/// The first place at or behind `from` where `text` may stand for another one; there is none before it.
pub(in crate::safety) fn suspect(text: &[u8], from: usize) -> Option<usize> {
    scan(text, from, |marks| marks.mark, |run| runs::promise(text, run.clone()).then_some(run.start))
}

/// The first `%`, `&` or byte that is not ASCII at or behind `from`.
pub(super) fn next_mark(text: &[u8], from: usize) -> Option<usize> {
    let is_mark = |byte: &u8| !byte.is_ascii() || matches!(byte, b'%' | b'&');
    // In text that is full of them the next is near.
    let rest = text.get(from..)?;
    match rest.iter().take(NEAR).position(is_mark) {
        Some(at) => Some(from + at),
        None => scan(text, from + NEAR, |marks| marks.mark, |_| None),
    }
}

/// The first run of base64 at or behind `from`.
pub(super) fn next_run(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut first = None;
    scan(
        text,
        from,
        |_| 0,
        |run| {
            first = Some(run);
            Some(0)
        },
    )?;
    first
}

/// The first place that `mark` chooses, or what `judge` answers of the first run that it takes, whichever comes first.
#[inline]
fn scan(
    text: &[u8],
    from: usize,
    mark: impl Fn(&Marks) -> u64,
    judge: impl FnMut(Range<usize>) -> Option<usize>,
) -> Option<usize> {
    #[cfg(target_arch = "x86_64")]
    if lanes::is_available() {
        // SAFETY: the CPU has what the function is compiled for, as was just asked.
        return unsafe { scan_wide(text, from, mark, judge) };
    }
    scan_by(text, from, Marks::of_block, mark, judge)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn scan_wide(
    text: &[u8],
    from: usize,
    mark: impl Fn(&Marks) -> u64,
    judge: impl FnMut(Range<usize>) -> Option<usize>,
) -> Option<usize> {
    scan_by(text, from, |block| Marks::of_block_wide(block), mark, judge)
}

#[inline(always)]
fn scan_by(
    text: &[u8],
    from: usize,
    marks_of: impl Fn(&[u8; BLOCK]) -> Marks,
    mark: impl Fn(&Marks) -> u64,
    mut judge: impl FnMut(Range<usize>) -> Option<usize>,
) -> Option<usize> {
    let (mut base, mut before) = (from, Runs::default());
    'blocks: while base < text.len() {
        let rest = &text[base..];
        let marks = match rest.first_chunk() {
            Some(block) => marks_of(block),
            None => Marks::of_rest(rest),
        };
        let (wanted, mut twelfths) = (mark(&marks), before.twelfths(marks.run));
        while wanted | twelfths != 0 {
            let first = (wanted | twelfths).trailing_zeros();
            if wanted >> first & 1 != 0 {
                return Some(base + first as usize);
            }
            let run = run_at(text, base + first as usize);
            let end = run.end;
            if let Some(found) = judge(run) {
                return Some(found);
            }
            if end >= base + BLOCK {
                (base, before) = (end, Runs::default());
                continue 'blocks;
            }
            twelfths &= !0 << (end - base);
        }
        base += BLOCK;
    }
    None
}

/// The whole of the run whose twelfth byte is at `twelfth`.
fn run_at(text: &[u8], twelfth: usize) -> Range<usize> {
    let more = text[twelfth..].iter().take_while(|byte| is_run(**byte)).count();
    twelfth + 1 - BASE64_MIN..twelfth + more
}

fn is_run(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'/' | b'_')
}

/// What the bytes of a block are; bit `n` speaks of the `n`th.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Marks {
    mark: u64,
    run: u64,
}

impl Marks {
    /// Of what is left behind the last whole block. Compiled once: the loop over whole blocks is not to share anything
    /// with it.
    #[cold]
    #[inline(never)]
    fn of_rest(rest: &[u8]) -> Self {
        let mut padded = [0; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        Self::of_block(&padded)
    }

    #[inline]
    fn of_block(block: &[u8; BLOCK]) -> Self {
        let every = u8x16::splat;
        let (mut mark, mut run) = (0, 0);
        for (i, lane) in block.as_chunks().0.iter().enumerate() {
            let lane = u8x16::new(*lane);
            // `byte - first <= count` in one comparison.
            let within = |lane: u8x16, first: u8, count: u8| {
                let above = lane - every(first);
                above.min(every(count)).simd_eq(above)
            };
            let letter = within(lane | every(0x20), b'a', 25);
            let digit = within(lane, b'/', 10);
            let sign = (lane & every(!4)).simd_eq(every(b'+')) | lane.simd_eq(every(b'-')) | lane.simd_eq(every(b'_'));
            let other = lane.max(every(0x80)).simd_eq(lane) | within(lane, b'%', 1);
            let bits = |lane: u8x16| u64::from(lane.to_bitmask()) << (16 * i);
            run |= bits(letter | digit | sign);
            mark |= bits(other);
        }
        Self { mark, run }
    }
}

#[cfg(target_arch = "x86_64")]
impl Marks {
    /// As [`Marks::of_block`], thirty-two bytes at a time.
    #[target_feature(enable = "avx2,bmi1,bmi2")]
    #[inline]
    fn of_block_wide(block: &[u8; BLOCK]) -> Self {
        use lanes::{bits, equal, or, with, within};
        let (mut mark, mut run) = (0, 0);
        for (i, lane) in block.as_chunks().0.iter().enumerate() {
            let (lane, shift) = (lanes::load(lane), lanes::LANE * i);
            let letter = within(with(lane, 0x20), b'a', b'z');
            let sign = or(equal(lane, b'+'), or(equal(lane, b'-'), equal(lane, b'_')));
            run |= bits(or(or(letter, within(lane, b'/', b'9')), sign)) << shift;
            // The highest bit of a byte that is not ASCII is set as it stands.
            mark |= bits(or(lane, within(lane, b'%', b'&'))) << shift;
        }
        Self { mark, run }
    }
}

/// What the block before showed: bytes that end one, two, four and eight of a run.
#[derive(Debug, Default)]
struct Runs {
    one: u64,
    two: u64,
    four: u64,
}

impl Runs {
    /// Which bytes of the next block end twelve of a run.
    #[inline]
    fn twelfths(&mut self, run: u64) -> u64 {
        /// Every place `by` bytes behind one that is marked.
        fn behind(marks: u64, block_before: u64, by: u32) -> u64 {
            marks << by | block_before >> (64 - by)
        }
        let two = run & behind(run, self.one, 1);
        let four = two & behind(two, self.two, 2);
        let eight = four & behind(four, self.four, 4);
        let twelve = eight & behind(four, self.four, 8);
        *self = Self { one: run, two, four };
        twelve
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_byte_is_marked_for_what_it_is() {
        for byte in 0..=u8::MAX {
            let mut block = [0; BLOCK];
            block[usize::from(byte) % BLOCK] = byte;
            let marks = Marks::of_block(&block);
            let bit = |is: bool| u64::from(is) << (byte % 64);
            assert_eq!(marks.mark, bit(!byte.is_ascii() || matches!(byte, b'%' | b'&')), "{byte:#x}");
            assert_eq!(marks.run, bit(is_run(byte)), "{byte:#x}");
            #[cfg(target_arch = "x86_64")]
            if lanes::is_available() {
                // SAFETY: the CPU has what the function is compiled for, as was just asked.
                assert_eq!(unsafe { Marks::of_block_wide(&block) }, marks, "{byte:#x}");
            }
        }
    }

    #[test]
    fn marks_and_runs_are_found_as_by_looking_at_each_byte() {
        let part = prop_oneof!["[a-zA-Z0-9+/_-]{0,30}", "[ ,:\"]{1,3}", "[%&é]{0,1}", "x{60,70}"];
        proptest!(|(parts in prop::collection::vec(part, 0..12), from in 0usize..40)| {
            let text = parts.concat().into_bytes();
            let mark = (from..text.len()).find(|at| !text[*at].is_ascii() || matches!(text[*at], b'%' | b'&'));
            prop_assert_eq!(next_mark(&text, from), mark);
            let run = (from..text.len()).find(|at| {
                text.get(*at..at + BASE64_MIN).is_some_and(|run| run.iter().all(|byte| is_run(*byte)))
            });
            prop_assert_eq!(next_run(&text, from).map(|run| run.start), run);
        });
    }
}
