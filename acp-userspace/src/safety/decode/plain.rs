//! A text as a reader takes it: escapes undone, other spellings of ASCII made ASCII, what does not show left out.
//!
//! All in one pass, because they may be mixed in one number. Bytes of percent-encoding are put together to characters
//! before these are folded. An escape of an escape (`%2530`, `&amp;#48;`) is undone to its end, however often it was escaped:
//! addresses that are handed on from page to page grow such chains.

use super::fold::{ASCII_MAX, Fold, fold, is_rare, look_alike};
use super::suspect::next_mark;
use super::{Level, entity, hidden};

/// Decodes `text` into `level`; false if that would change nothing that matters.
pub(super) fn decode(text: &[u8], level: &mut Level) -> bool {
    let Some(mut at) = next_mark(text, 0) else { return false };
    // From `kept` to `at` everything is taken over as it stands.
    let (mut kept, mut changed, mut word) = (0, false, Word::default());
    while at < text.len() {
        let unit = Unit::read(text, at);
        let before = if kept < at { Some(text[at - 1]) } else { level.text.last().copied() };
        if let Some(reading) = unit.reading(before).or_else(|| unit.look_alike(text, at, &mut word)) {
            level.verbatim(text, kept..at);
            level.whole(reading.text(), at..at + unit.len);
            kept = at + unit.len;
            changed |= reading.matters;
        }
        at += unit.len;
        if text.get(at).is_some_and(|byte| byte.is_ascii() && !matches!(byte, b'%' | b'&')) {
            at = next_mark(text, at).unwrap_or(text.len());
        }
    }
    if changed {
        level.verbatim(text, kept..text.len());
    }
    changed
}

/// One character, or a byte that is of none, however it is written.
#[derive(Debug)]
struct Unit {
    value: Value,
    /// How many bytes it takes.
    len: usize,
}

#[derive(Debug, Clone, Copy)]
enum Value {
    /// What stands there, which nothing else is written as.
    Same,
    /// A character that is not ASCII.
    Char(char),
    /// A character that an escape stands for.
    Escaped(char),
    /// A byte that an escape stands for and that is of no character.
    Byte(u8),
}

impl Unit {
    fn read(text: &[u8], at: usize) -> Self {
        let (byte, len) = byte_at(text, at);
        if byte == b'&' && len == 1 {
            return match entity::read(&text[at..]) {
                Some((c, len)) => Self { value: Value::Escaped(c), len },
                None => Self { value: Value::Same, len },
            };
        }
        match character(text, at) {
            Some((c, len)) if len == c.len_utf8() && !c.is_ascii() => Self { value: Value::Char(c), len },
            Some((_, 1)) => Self { value: Value::Same, len },
            Some((c, len)) => Self { value: Value::Escaped(c), len },
            None if len == 1 => Self { value: Value::Same, len },
            None => Self { value: Value::Byte(byte), len },
        }
    }

    /// What is read instead of it, behind the byte `before`; `None` if it is read as it stands.
    fn reading(&self, before: Option<u8>) -> Option<Reading> {
        let (c, escaped) = match self.value {
            Value::Same => return None,
            Value::Byte(byte) => return Some(Reading::of(&[byte], true)),
            Value::Char(c) => (c, false),
            Value::Escaped(c) => (c, true),
        };
        // Behind a blank, or at the beginning, signs between words and what does not show change nothing.
        let inside = escaped || before.is_some_and(|byte| byte.is_ascii_graphic());
        match if c.is_ascii() { Fold::Keep } else { fold(c) } {
            Fold::Ascii(ascii, len) => Some(Reading::of(&ascii[..len], true)),
            Fold::Separator(byte) => Some(Reading::of(&[byte], inside)),
            // What hides text has to be seen by `hidden` before it is left out.
            Fold::Nothing if escaped && hidden::may_spell(c) => {
                Some(Reading::of(c.encode_utf8(&mut [0; ASCII_MAX]).as_bytes(), true))
            }
            Fold::Nothing => Some(Reading::of(&[], inside)),
            Fold::Mark if before.is_some_and(|byte| byte.is_ascii_digit()) => Some(Reading::of(&[], true)),
            Fold::Keep | Fold::Mark => {
                escaped.then(|| Reading::of(c.encode_utf8(&mut [0; ASCII_MAX]).as_bytes(), true))
            }
        }
    }
}

impl Unit {
    /// What a letter looks like, if the word it stands in is one of such letters.
    fn look_alike(&self, text: &[u8], at: usize, word: &mut Word) -> Option<Reading> {
        let Value::Char(c) = self.value else { return None };
        let letter = look_alike(c)?;
        if word.end <= at {
            *word = Word::around(text, at);
        }
        word.poses.then(|| Reading::of(&[letter], true))
    }
}

/// A word, and whether it is written in another alphabet's letters to be read as a Latin one.
#[derive(Debug, Default)]
struct Word {
    end: usize,
    poses: bool,
}

impl Word {
    /// The word that goes on at `at`: letters and digits, as they stand, this far at most. It poses as a Latin one if all
    /// its letters look like such, and one is one, or is seldom seen among its own.
    fn around(text: &[u8], at: usize) -> Self {
        const BYTES_MAX: usize = 64;
        let is_part = |c: char| c.is_alphanumeric();
        let before = text[at.saturating_sub(BYTES_MAX)..at].utf8_chunks().last();
        let before = before.filter(|chunk| chunk.invalid().is_empty()).map_or("", |chunk| chunk.valid());
        let before = before.chars().rev().take_while(|c| is_part(*c));
        let behind = text[at..text.len().min(at + BYTES_MAX)].utf8_chunks().next().map_or("", |chunk| chunk.valid());
        let behind = behind.chars().take_while(|c| is_part(*c));
        let end = at + behind.clone().map(char::len_utf8).sum::<usize>();
        let (mut looks, mut is_latin) = (true, false);
        for c in before.chain(behind) {
            looks &= c.is_ascii() || look_alike(c).is_some();
            is_latin |= c.is_ascii() || is_rare(c);
        }
        Self { end: end.max(at + 1), poses: looks && is_latin }
    }
}

/// What is read in a character's place.
struct Reading {
    bytes: [u8; ASCII_MAX],
    len: usize,
    /// Whether it can make a difference to what the text says.
    matters: bool,
}

impl Reading {
    fn of(text: &[u8], matters: bool) -> Self {
        let mut bytes = [0; ASCII_MAX];
        bytes[..text.len()].copy_from_slice(text);
        Self { bytes, len: text.len(), matters }
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The byte that stands at `at`, as itself or percent-encoded once or more often, and how many it takes.
#[inline]
fn byte_at(text: &[u8], at: usize) -> (u8, usize) {
    let byte = text[at];
    if byte != b'%' {
        return (byte, 1);
    }
    let escaped = |at: usize| {
        let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
        Some((digit(at)? << 4 | digit(at + 1)?) as u8)
    };
    let (mut last, mut end) = (byte, at + 1);
    while last == b'%'
        && let Some(decoded) = escaped(end)
    {
        (last, end) = (decoded, end + 2);
    }
    (last, end - at)
}

/// The character whose bytes begin at `at`, and how many they take as they are written.
fn character(text: &[u8], at: usize) -> Option<(char, usize)> {
    let (first, len) = byte_at(text, at);
    let bytes = match first {
        0..0x80 => return Some((char::from(first), len)),
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    let (mut buffer, mut end) = ([first, 0, 0, 0], at + len);
    for byte in &mut buffer[1..bytes] {
        let (next, len) = text.get(end).map(|_| byte_at(text, end))?;
        (*byte, end) = (next, end + len);
    }
    let c = std::str::from_utf8(&buffer[..bytes]).ok()?.chars().next()?;
    Some((c, end - at))
}

impl Level {
    /// Takes `range` of `text` over as it stands.
    fn verbatim(&mut self, text: &[u8], range: std::ops::Range<usize>) {
        if !range.is_empty() {
            self.map.verbatim(self.text.len(), range.clone());
            self.text.extend_from_slice(&text[range]);
        }
    }

    /// Writes `decoded` instead of `range`.
    fn whole(&mut self, decoded: &[u8], range: std::ops::Range<usize>) {
        if !decoded.is_empty() {
            self.map.whole(self.text.len(), range);
            self.text.extend_from_slice(decoded);
        }
    }
}
