//! Base64 and hexadecimal: runs of their characters that encode text.
//!
//! A run is tried whole, and each of its parts between the signs `-`, `_`, `/` and `+`, which are of the alphabets but also
//! stand between words. Lines of base64 that were wrapped (RFC 2045 §6.8) are one run. What is decoded counts only if all
//! of it is UTF-8 that shows: a name of sixteen letters is base64 of noise. What begins as a file that nobody reads as text
//! (`media`) is not decoded at all.

use std::ops::Range;

use super::{Level, media};

/// Shortest run of base64 and of hexadecimal digits: nine bytes of text, and eight.
pub(super) const BASE64_MIN: usize = 12;
const HEX_MIN: usize = 16;
/// Lines are wrapped no shorter than this.
const LINE_MIN: usize = 60;
/// Triples of bytes that are judged before a run is decoded as a whole.
const PROBE: usize = 3;

/// How a run may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Base64,
    Hex,
    Media,
}

const FORMS: [Form; 3] = [Form::Base64, Form::Hex, Form::Media];

/// A run and one reading of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) range: Range<usize>,
    form: Form,
}

impl Run {
    /// Whether it is what no detector reads.
    pub(super) fn is_media(&self) -> bool {
        self.form == Form::Media
    }

    /// Where it lies in `text`, with the padding behind it.
    pub(super) fn padded(&self, text: &[u8]) -> Range<usize> {
        let padding = text[self.range.end..].iter().take(2).take_while(|byte| **byte == b'=').count();
        self.range.start..self.range.end + padding
    }
}

/// Not of base64.
const NONE: u8 = 0xff;
/// The value of every byte in base64, of either alphabet.
const SEXTETS: [u8; 256] = {
    let mut table = [NONE; 256];
    let mut i = 0;
    while i < 26 {
        (table[b'A' as usize + i], table[b'a' as usize + i]) = (i as u8, i as u8 + 26);
        i += 1;
    }
    i = 0;
    while i < 10 {
        table[b'0' as usize + i] = i as u8 + 52;
        i += 1;
    }
    (table[b'+' as usize], table[b'-' as usize], table[b'/' as usize], table[b'_' as usize]) = (62, 62, 63, 63);
    table
};

/// The readings of the runs of `text` that promise text, in order.
pub(super) fn runs(text: &[u8]) -> impl Iterator<Item = Run> + use<'_> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let range = super::suspect::next_run(text, at)?;
        let range = range.start..wrapped_end(text, range);
        at = range.end;
        Some(readings(text, range))
    })
    .flatten()
}

/// Whether some reading of the run begins like text, or like media.
pub(super) fn promise(text: &[u8], run: Range<usize>) -> bool {
    let some = |part: &[u8]| FORMS.iter().any(|form| promises(part, *form));
    let whole = &text[run];
    let mut parts = whole.split(|byte| is_sign(*byte)).filter(|part| part.len() >= BASE64_MIN);
    some(whole) || (whole.len() > BASE64_MIN && parts.any(some))
}

/// The readings of one run that begin like text or media: of the whole, and of the parts between signs if it has several.
fn readings(text: &[u8], run: Range<usize>) -> impl Iterator<Item = Run> + use<'_> {
    let (mut at, end) = (run.start, run.end);
    let parts = std::iter::from_fn(move || {
        (at < end).then(|| {
            let len = text[at..end].iter().take_while(|byte| !is_sign(**byte)).count();
            let part = at..at + len;
            at += len + 1;
            part
        })
    });
    let whole = run.clone();
    let parts = parts.filter(move |part| part.len() >= BASE64_MIN && *part != run);
    let forms = |range: Range<usize>| FORMS.map(|form| Run { range: range.clone(), form });
    std::iter::once(whole).chain(parts).flat_map(forms).filter(|run| promises(&text[run.range.clone()], run.form))
}

/// Whether nothing that may be of a run stands beside `range`.
pub(super) fn is_whole(text: &[u8], range: Range<usize>) -> bool {
    let of_run = |byte: Option<&u8>| byte.is_some_and(|byte| SEXTETS[usize::from(*byte)] != NONE);
    !of_run(range.start.checked_sub(1).and_then(|before| text.get(before))) && !of_run(text.get(range.end))
}

fn is_sign(byte: u8) -> bool {
    matches!(byte, b'-' | b'_' | b'/' | b'+')
}

/// Where the lines end that go on from the run.
fn wrapped_end(text: &[u8], run: Range<usize>) -> usize {
    let (mut end, mut line) = (run.end, run.start);
    loop {
        let len = end - line;
        let newline = match text.get(end..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([b'\n', ..]) => 1,
            _ => return end,
        };
        let next = end + newline;
        let more = text[next..].iter().take_while(|byte| SEXTETS[usize::from(**byte)] != NONE).count();
        if len < LINE_MIN || !len.is_multiple_of(4) || more == 0 {
            return end;
        }
        (line, end) = (next, next + more);
    }
}

/// Whether a reading begins like text, or as media do.
fn promises(bytes: &[u8], form: Form) -> bool {
    let mut first = [0; 3 * PROBE];
    let len = match form {
        Form::Base64 if bytes.len() % 4 == 1 || bytes.len() < BASE64_MIN => return false,
        Form::Base64 => {
            bytes.as_chunks().0.iter().take(PROBE).zip(first.as_chunks_mut().0).map_while(triple).count() * 3
        }
        Form::Hex if bytes.len() < HEX_MIN || bytes.len() % 2 == 1 => return false,
        Form::Hex => bytes.as_chunks().0.iter().take(3 * PROBE).zip(&mut first).map_while(pair).count(),
        Form::Media => return media::begins(bytes, |byte| SEXTETS[usize::from(byte)]),
    };
    let whole = match form {
        _ if (0x80..0xc2).contains(&first[0]) => false,
        Form::Media => false,
        Form::Base64 => len == 3 * PROBE.min(bytes.len() / 4),
        Form::Hex => len == (3 * PROBE).min(bytes.len() / 2),
    };
    // The last character may go on.
    whole && std::str::from_utf8(&first[..len]).map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// Decodes four characters of base64; nothing if what they encode does not show.
#[inline]
fn triple((four, out): (&[u8; 4], &mut [u8; 3])) -> Option<()> {
    let sextet = |i: usize| u32::from(SEXTETS[usize::from(four[i])]);
    let (first, second, third, fourth) = (sextet(0), sextet(1), sextet(2), sextet(3));
    let [_, bytes @ ..] = (first << 18 | second << 12 | third << 6 | fourth).to_be_bytes();
    *out = bytes;
    (((first | second | third | fourth) < 64) && bytes.into_iter().all(shows)).then_some(())
}

/// Decodes two hexadecimal digits; nothing if what they encode does not show.
#[inline]
fn pair(([high, low], out): (&[u8; 2], &mut u8)) -> Option<()> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    *out = (digit(*high)? << 4 | digit(*low)?) as u8;
    shows(*out).then_some(())
}

/// Whether a byte may be of text that shows.
fn shows(byte: u8) -> bool {
    SHOWS[usize::from(byte)]
}

const SHOWS: [bool; 256] = {
    let mut shows = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        shows[byte] = matches!(byte as u8, b' '..=b'~' | b'\t' | b'\n' | b'\r' | 0xc2..=0xf4 | 0x80..=0xbf);
        byte += 1;
    }
    shows
};

/// Decodes a run into `level`; false if that is no text.
pub(super) fn decode(text: &[u8], run: &Run, level: &mut Level) -> bool {
    let bytes = &text[run.range.clone()];
    let all = match run.form {
        Form::Base64 => {
            bytes.split(|byte| matches!(byte, b'\r' | b'\n')).all(|line| base64_line(line, &mut level.text))
        }
        Form::Hex => bytes.as_chunks().0.iter().all(|digits| {
            let mut byte = 0;
            let shown = pair((digits, &mut byte)).is_some();
            level.text.push(byte);
            shown
        }),
        Form::Media => true,
    };
    level.map.whole(0, run.padded(text));
    all && std::str::from_utf8(&level.text).is_ok()
}

/// Decodes one line of base64, of which only the last may end within four characters.
fn base64_line(line: &[u8], out: &mut Vec<u8>) -> bool {
    let (fours, rest) = line.as_chunks();
    let whole = fours.iter().all(|four| {
        let mut bytes = [0; 3];
        let shown = triple((four, &mut bytes)).is_some();
        out.extend_from_slice(&bytes);
        shown
    });
    // `A` adds zeros.
    let mut last = [b'A'; 4];
    last[..rest.len()].copy_from_slice(rest);
    let [_, b0, b1, _] =
        last.iter().fold(0, |bits, byte| bits << 6 | u32::from(SEXTETS[usize::from(*byte)])).to_be_bytes();
    let len = rest.len().saturating_sub(1);
    out.extend_from_slice(&[b0, b1][..len]);
    whole && [b0, b1][..len].iter().all(|byte| shows(*byte))
}
