//! String tokens: where they end, and what they say once unescaped (RFC 8259 §7).

use std::ops::Range;

use wide::u8x16;

use super::JsonError;

/// The unescaped text of one string in the walker's buffer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Escaped {
    pub(super) start: u32,
    pub(super) end: u32,
    /// The string's or key's node.
    pub(super) node: u32,
}

/// Unescapes the string whose text begins at `from` and has its first special byte at `at` onto `text`, a NUL behind
/// it. Returns where it lies there, and the token's end.
pub(super) fn unescape(
    original: &str,
    from: usize,
    mut at: usize,
    text: &mut String,
) -> Result<(Range<usize>, usize), JsonError> {
    let bytes = original.as_bytes();
    let begin = text.len();
    let mut plain = from;
    loop {
        text.push_str(&original[plain..at]);
        match bytes.get(at) {
            Some(b'"') => break,
            Some(b'\\') => at = escape(bytes, at, text)?,
            Some(_) => return Err(JsonError::Control(at)),
            None => return Err(JsonError::Syntax(at)),
        }
        plain = at;
        at = plain_end(bytes, at);
    }
    let end = text.len();
    text.push('\0');
    Ok((begin..end, at + 1))
}

/// Decodes the escape at `at`; returns where it ends.
fn escape(bytes: &[u8], at: usize, text: &mut String) -> Result<usize, JsonError> {
    let decoded = match bytes.get(at + 1) {
        Some(b'u') => return unicode_escape(bytes, at, text),
        Some(b'"') => '"',
        Some(b'\\') => '\\',
        Some(b'/') => '/',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        _ => return Err(JsonError::Escape(at)),
    };
    text.push(decoded);
    Ok(at + 2)
}

/// Decodes `\uXXXX`, or the pair of them that makes one character; a lone half is an error.
fn unicode_escape(bytes: &[u8], at: usize, text: &mut String) -> Result<usize, JsonError> {
    let unit = hex4(bytes, at)?;
    let (code, end) = match unit {
        0xd800..=0xdbff => match hex4(bytes, at + 6)? {
            low @ 0xdc00..=0xdfff => (0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00), at + 12),
            _ => return Err(JsonError::Escape(at)),
        },
        _ => (unit, at + 6),
    };
    text.push(char::from_u32(code).ok_or(JsonError::Escape(at))?);
    Ok(end)
}

/// The value of `\uXXXX` at `at`.
fn hex4(bytes: &[u8], at: usize) -> Result<u32, JsonError> {
    let digits = bytes.get(at..at + 6).and_then(|escape| escape.strip_prefix(b"\\u")).ok_or(JsonError::Escape(at))?;
    digits.iter().try_fold(0, |value, digit| {
        let digit = char::from(*digit).to_digit(16).ok_or(JsonError::Escape(at))?;
        Ok(value << 4 | digit)
    })
}

/// Bytes tested at once.
const LANE: usize = 16;
/// Lanes tested before the wide search takes over: keys and short values end within them.
const SHORT_LANES: usize = 2;

/// First byte at or behind `at` that does not stand for itself in a string: a quote, a backslash, a control character;
/// the end of `bytes` if there is none.
#[inline(always)]
pub(super) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    for _ in 0..SHORT_LANES {
        let Some(lane) = bytes.get(at..).and_then(|rest| rest.first_chunk()) else { break };
        match special(lane) {
            0 => at += LANE,
            marks => return at + marks.trailing_zeros() as usize,
        }
    }
    long_plain_end(bytes, at)
}

/// The same for what is left of a long string: the wide search knows quotes and backslashes, so control
/// characters are looked for in what it skipped.
fn long_plain_end(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    let end = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
    let plain = &rest[..end];
    // Folding over all of it, rather than stopping early, is what lets the compiler use vectors.
    if plain.iter().fold(u8::MAX, |least, byte| least.min(*byte)) >= b' ' {
        return at + end;
    }
    at + plain.iter().position(|byte| *byte < b' ').unwrap_or(end)
}

/// Which bytes of `lane` are a quote, a backslash or a control character: bit `n` speaks of the `n`th.
#[inline(always)]
fn special(lane: &[u8; LANE]) -> u32 {
    let lane = u8x16::new(*lane);
    let quote = lane.simd_eq(u8x16::splat(b'"'));
    let backslash = lane.simd_eq(u8x16::splat(b'\\'));
    let control = lane.min(u8x16::splat(b' ' - 1)).simd_eq(lane);
    (quote | backslash | control).to_bitmask()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_first_special_byte_at_every_offset() {
        for special in [b'"', b'\\', 0, 0x1f, b'\n'] {
            for len in 0..80 {
                let mut bytes = vec![b'~'; len];
                bytes.push(special);
                bytes.extend([0x7f, 0x80, 0xff, b'"', b' ', b'!', b'#', b'[', b']'].iter().cycle().take(24));
                assert_eq!(plain_end(&bytes, 0), len, "{special:#x} at {len}");
            }
        }
        assert_eq!(plain_end(b"abc", 0), 3);
        assert_eq!(plain_end(b"abc", 7), 7);
    }

    #[test]
    fn bytes_beside_the_special_ones_are_plain() {
        for byte in (0x20..=0xff).filter(|b| *b != b'"' && *b != b'\\') {
            assert_eq!(special(&[byte; LANE]), 0, "{byte:#x}");
        }
    }
}
