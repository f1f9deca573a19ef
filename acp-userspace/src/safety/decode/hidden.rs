//! Text that nobody sees: runs of tag characters, and of variation selectors.
//!
//! Tags (U+E0020 to U+E007E) spell ASCII; their one use is in the flags of England, Scotland and Wales (UTS #51,
//! `emoji-sequences.txt`: the black flag, the subdivision's code, and the cancel tag). Variation selectors choose a form
//! of the character before them, one at a time (Unicode Standard §23.4); a run of them spells bytes, 1 to 16 the lower
//! ones and 17 to 256 the rest.

use std::ops::Range;

use super::Level;

/// The subdivisions that have a flag.
const FLAGS: [&[u8]; 3] = [b"gbeng", b"gbsct", b"gbwls"];
const BLACK_FLAG: &[u8] = "\u{1f3f4}".as_bytes();

/// What one character of a run spells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Tag(u8),
    Selector(u8),
}

/// The part whose UTF-8 begins at `at`, and how many bytes that takes.
fn part(text: &[u8], at: usize) -> Option<(Part, usize)> {
    match *text.get(at..)? {
        [0xef, 0xb8, low @ 0x80..=0x8f, ..] => Some((Part::Selector(low - 0x80), 3)),
        [0xf3, 0xa0, third @ 0x80..=0x81, low @ 0x80..=0xbf, ..] => {
            Some((Part::Tag((third - 0x80) << 6 | (low - 0x80)), 4))
        }
        [0xf3, 0xa0, third @ 0x84..=0x87, low @ 0x80..=0xbf, ..] => {
            let byte = u16::from(third - 0x84) << 6 | u16::from(low - 0x80);
            u8::try_from(byte + 16).ok().map(|byte| (Part::Selector(byte), 4))
        }
        _ => None,
    }
}

/// Whether a character may be of such a run.
pub(super) fn may_spell(c: char) -> bool {
    matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{e0000}'..='\u{e007f}' | '\u{e0100}'..='\u{e01ef}')
}

/// The runs of `text` that hide something, in order.
pub(super) fn runs(text: &[u8]) -> impl Iterator<Item = Range<usize>> + use<'_> {
    let mut at = 0;
    std::iter::from_fn(move || {
        loop {
            let start = at + memchr::memchr2(0xef, 0xf3, text.get(at..)?)?;
            let (end, hides) = run(text, start);
            at = end.max(start + 1);
            if hides {
                return Some(start..end);
            }
        }
    })
}

/// Where the run that begins at `start` ends, and whether it hides something.
fn run(text: &[u8], start: usize) -> (usize, bool) {
    let (mut end, mut tags, mut selectors) = (start, 0, 0);
    while let Some((part, len)) = part(text, end) {
        match part {
            Part::Tag(_) => tags += 1,
            Part::Selector(_) => selectors += 1,
        }
        end += len;
    }
    (end, (tags > 0 && !is_flag(text, start, end)) || selectors > 1)
}

/// Whether the tags from `start` to `end` make a flag of the character before.
fn is_flag(text: &[u8], start: usize, end: usize) -> bool {
    const CANCEL: u8 = 0x7f;
    let spelled = (start..end).step_by(4).map(|at| part(text, at));
    let spells = |flag: &&[u8]| {
        let wanted = flag.iter().chain([&CANCEL]).map(|tag| Some((Part::Tag(*tag), 4)));
        spelled.clone().eq(wanted)
    };
    text[..start].ends_with(BLACK_FLAG) && FLAGS.iter().any(spells)
}

/// Writes into `level` what the run spells, if that is text; else nothing.
pub(super) fn decode(text: &[u8], run: Range<usize>, level: &mut Level) {
    let mut at = run.start;
    while let Some((part, len)) = part(text, at).filter(|_| at < run.end) {
        match part {
            Part::Tag(byte @ 0x20..=0x7e) | Part::Selector(byte) => level.text.push(byte),
            Part::Tag(_) => {}
        }
        at += len;
    }
    match std::str::from_utf8(&level.text) {
        Ok(_) if !level.text.is_empty() => level.map.whole(0, run),
        _ => level.clear(),
    }
}
