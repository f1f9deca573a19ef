//! A text as a reader takes it: escapes undone, other spellings of ASCII made ASCII, what does not show left out.
//!
//! All in one pass, because they may be mixed in one number. Bytes of percent-encoding are put together to characters
//! before these are folded; an escape that decodes to the beginning of another is left for the next layer.

use super::fold::{ASCII_MAX, Fold, fold};
use super::suspect::next_mark;
use super::{Level, entity};

/// Decodes `text` into `level`; false if that would change nothing that matters.
pub(super) fn decode(text: &[u8], level: &mut Level) -> bool {
    let Some(mut at) = next_mark(text, 0) else { return false };
    // From `kept` to `at` everything is taken over as it stands.
    let (mut kept, mut changed) = (0, false);
    while at < text.len() {
        let unit = Unit::read(text, at);
        let before = if kept < at { Some(text[at - 1]) } else { level.text.last().copied() };
        if let Some(reading) = unit.reading(before) {
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
            Fold::Nothing => Some(Reading::of(&[], inside)),
            Fold::Mark if before.is_some_and(|byte| byte.is_ascii_digit()) => Some(Reading::of(&[], true)),
            Fold::Keep | Fold::Mark => {
                escaped.then(|| Reading::of(c.encode_utf8(&mut [0; ASCII_MAX]).as_bytes(), true))
            }
        }
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

/// The byte that stands at `at`, as itself or percent-encoded, and how many it takes.
#[inline]
fn byte_at(text: &[u8], at: usize) -> (u8, usize) {
    let byte = text[at];
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    if byte == b'%'
        && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
    {
        return ((high << 4 | low) as u8, 3);
    }
    (byte, 1)
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
