//! Whether a text can stand for another one: a pass that clean text pays for.
//!
//! Marks are the bytes that `plain` and `hidden` begin at: `%`, `&` and all that are not ASCII. Runs are twelve characters
//! of base64 in a row. Both are looked for in sixteen bytes at once, or in as many more as the CPU compares.

use std::ops::Range;

use wide::u8x16;

use super::runs::{self, BASE64_MIN};
#[cfg(target_arch = "x86_64")]
use crate::safety::lanes::{self, whole};

/// Bytes judged at once.
const BLOCK: usize = 64;
/// Bytes that a block has in common with the one before: all but one of the shortest run.
const OVERLAP: usize = BASE64_MIN - 1;
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
    if whole::is_available() {
        // SAFETY: the CPU has what the function is compiled for, as was just asked.
        return unsafe { scan_whole(text, from, mark, judge) };
    } else if lanes::is_available() {
        // SAFETY: as above.
        return unsafe { scan_wide(text, from, mark, judge) };
    }
    scan_by(text, from, |rest| rest.first_chunk().map_or_else(|| Marks::of_rest(rest), Marks::of_block), mark, judge)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2")]
fn scan_whole(
    text: &[u8],
    from: usize,
    mark: impl Fn(&Marks) -> u64,
    judge: impl FnMut(Range<usize>) -> Option<usize>,
) -> Option<usize> {
    scan_by(text, from, |rest| Marks::of_whole(rest), mark, judge)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1,bmi2")]
fn scan_wide(
    text: &[u8],
    from: usize,
    mark: impl Fn(&Marks) -> u64,
    judge: impl FnMut(Range<usize>) -> Option<usize>,
) -> Option<usize> {
    let marks_of = |rest: &[u8]| match rest.first_chunk() {
        Some(block) => Marks::of_block_wide(block),
        None => Marks::of_rest(rest),
    };
    scan_by(text, from, marks_of, mark, judge)
}

/// `marks_of` sorts the next block of what is left, which may be shorter.
#[inline(always)]
fn scan_by(
    text: &[u8],
    from: usize,
    marks_of: impl Fn(&[u8]) -> Marks,
    mark: impl Fn(&Marks) -> u64,
    mut judge: impl FnMut(Range<usize>) -> Option<usize>,
) -> Option<usize> {
    // A block begins with what may be of a run that goes on from the one before, and was judged there otherwise.
    let (mut base, mut new) = (from, u64::MAX);
    'blocks: while base < text.len() {
        let marks = marks_of(&text[base..]);
        let (wanted, mut twelfths) = (mark(&marks) & new, twelfths(marks.run) & new);
        while wanted | twelfths != 0 {
            let first = (wanted | twelfths).trailing_zeros();
            if wanted >> first & 1 != 0 {
                return Some(base + first as usize);
            }
            let run = run_at(text, base, first, marks.run);
            let end = run.end;
            if let Some(found) = judge(run) {
                return Some(found);
            }
            if end >= base + BLOCK {
                (base, new) = (end, u64::MAX);
                continue 'blocks;
            }
            twelfths &= !0 << (end - base);
        }
        (base, new) = (base + BLOCK - OVERLAP, u64::MAX << OVERLAP);
    }
    None
}

/// Which bytes end twelve of a run.
fn twelfths(run: u64) -> u64 {
    let two = run & run << 1;
    let four = two & two << 2;
    let eight = four & four << 4;
    eight & four << 8
}

/// The whole of the run whose twelfth byte is the block's `twelfth`; the block is at `base`, and `run` says which of its
/// bytes are of one.
fn run_at(text: &[u8], base: usize, twelfth: u32, run: u64) -> Range<usize> {
    let at = base + twelfth as usize;
    let mut end = at + (run >> twelfth).trailing_ones() as usize;
    if end == base + BLOCK {
        end += text[end..].iter().take_while(|byte| is_run(**byte)).count();
    }
    at + 1 - BASE64_MIN..end
}

const fn is_run(byte: u8) -> bool {
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

#[cfg(target_arch = "x86_64")]
impl Marks {
    /// As [`Marks::of_block`], all at once, of the first bytes of what is left.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2")]
    #[inline]
    fn of_whole(rest: &[u8]) -> Self {
        let sorted = whole::sort(rest, &KINDS);
        Self { mark: sorted.of(MARK) | sorted.other(), run: sorted.of(RUN) }
    }
}

/// What a byte is, for [`whole::sort`].
#[cfg(target_arch = "x86_64")]
const MARK: u8 = 1;
#[cfg(target_arch = "x86_64")]
const RUN: u8 = 2;
#[cfg(target_arch = "x86_64")]
const KINDS: whole::Table = {
    let (mut kinds, mut byte) = ([0; 128], 0);
    while byte < kinds.len() {
        kinds[byte] = if is_run(byte as u8) {
            RUN
        } else if matches!(byte as u8, b'%' | b'&') {
            MARK
        } else {
            0
        };
        byte += 1;
    }
    kinds
};

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
            #[cfg(target_arch = "x86_64")]
            if whole::is_available() {
                // SAFETY: as above.
                assert_eq!(unsafe { Marks::of_whole(&block) }, marks, "{byte:#x}");
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
