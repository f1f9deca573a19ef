//! Identifiers as people write them, made into what rules are about: upper-case letters and digits.
//!
//! Each rule names the separators its identifiers are written with; they may stand anywhere and any number of times.
//! Whatever else is no ASCII letter or digit makes the text no identifier. Digits of other scripts, typographic hyphens
//! and spaces are read as the ASCII they stand for. Nothing is allocated and no text is longer than [`LEN_MAX`].

use std::ops::Deref;

/// Characters of the longest identifier without its separators.
pub(super) const LEN_MAX: usize = 64;
/// Bytes of the longest identifier as it is written; the rest of a longer text is not read.
const WRITTEN_MAX: usize = 4 * LEN_MAX;

/// An identifier without its separators: ASCII letters in upper case, and digits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Compact {
    bytes: [u8; LEN_MAX],
    len: usize,
}

impl Deref for Compact {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// The ASCII that `c` stands for, in upper case.
fn ascii(c: char) -> Option<u8> {
    let digit = |zero: u32| b'0' + (c as u32 - zero) as u8;
    match c {
        '\0'..='\x7f' => Some((c as u8).to_ascii_uppercase()),
        '\u{660}'..='\u{669}' => Some(digit(0x660)), // Arabic-Indic
        '\u{6f0}'..='\u{6f9}' => Some(digit(0x6f0)), // its eastern form
        '\u{966}'..='\u{96f}' => Some(digit(0x966)), // Devanagari
        '\u{e50}'..='\u{e59}' => Some(digit(0xe50)), // Thai
        '\u{ff10}'..='\u{ff19}' => Some(digit(0xff10)),
        '\u{2010}'..='\u{2015}' | '\u{2212}' => Some(b'-'),
        '\u{a0}' | '\u{2000}'..='\u{200a}' | '\u{202f}' => Some(b' '),
        _ => None,
    }
}

/// `value` without `separators`; `None` if it is too long or holds anything but them, letters and digits.
pub(super) fn compact(value: &str, separators: &[u8]) -> Option<Compact> {
    if value.len() > WRITTEN_MAX {
        return None;
    }
    let mut compact = Compact { bytes: [0; LEN_MAX], len: 0 };
    for c in value.chars() {
        let byte = ascii(c)?;
        if byte.is_ascii_alphanumeric() {
            *compact.bytes.get_mut(compact.len)? = byte;
            compact.len += 1;
        } else if !separators.contains(&byte) {
            return None;
        }
    }
    Some(compact)
}

/// The values of the `N` digits that `value` consists of beside `separators`.
pub(super) fn digits<const N: usize>(value: &str, separators: &[u8]) -> Option<[u8; N]> {
    exactly(&compact(value, separators)?)
}

/// The values of the digits of `text`, if they are `N` and nothing else.
pub(super) fn exactly<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let text: &[u8; N] = text.try_into().ok()?;
    text.iter().all(u8::is_ascii_digit).then(|| text.map(|digit| digit - b'0'))
}

/// The values of the digits of `text`, of which there are at least `least` and at most `N`, behind zeros.
pub(super) fn padded<const N: usize>(text: &[u8], least: usize) -> Option<[u8; N]> {
    let zeros = N.checked_sub(text.len()).filter(|_| text.len() >= least)?;
    let mut values = [0; N];
    for (value, digit) in values[zeros..].iter_mut().zip(text) {
        *value = digit.is_ascii_digit().then(|| digit - b'0')?;
    }
    Some(values)
}

/// Whether `text` consists of digits only.
pub(super) fn all_digits(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(u8::is_ascii_digit)
}

/// The number that digits of these values write; at most 19 of them count.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits.iter().take(19).fold(0, |number, digit| number * 10 + u64::from(*digit))
}

/// `text` behind `prefix`, if it begins so.
pub(super) fn without<'t>(text: &'t [u8], prefix: &str) -> &'t [u8] {
    text.strip_prefix(prefix.as_bytes()).unwrap_or(text)
}

/// Whether `text` is made as `shape` says: `0` is any digit, `A` any letter, `X` either, a small letter itself in upper
/// case, and anything else itself.
pub(super) fn is_shaped(text: &[u8], shape: &str) -> bool {
    let fits = |(byte, wanted): (&u8, u8)| match wanted {
        b'0' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_uppercase(),
        b'X' => byte.is_ascii_digit() || byte.is_ascii_uppercase(),
        _ => *byte == wanted.to_ascii_uppercase(),
    };
    text.len() == shape.len() && text.iter().zip(shape.bytes()).all(fits)
}

/// The value of a digit or upper-case letter: `0` to `9`, `A` is 10.
pub(super) fn base36(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'Z' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// Whether all of `digits` are the same.
pub(super) fn is_uniform(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1])
}

/// The number that the two digits at `at` write.
pub(super) fn two(digits: &[u8], at: usize) -> u32 {
    digits.get(at..at + 2).map_or(0, number) as u32
}

/// No one was born later. Validators have no clock, and an identifier from the future is a mistyped one.
const BORN_YEAR_MAX: u32 = 2035;

/// Whether the calendar (Gregorian, from 1800 on) has this day.
pub(in crate::safety) fn is_day(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    year >= 1800 && (1..=days).contains(&day)
}

/// Whether someone may have been born on this day.
pub(super) fn is_birthday(year: u32, month: u32, day: u32) -> bool {
    year <= BORN_YEAR_MAX && is_day(year, month, day)
}

/// Whether the last two digits of a year, month and day may be a birthday in this century or the last.
pub(super) fn is_short_birthday(year: u32, month: u32, day: u32) -> bool {
    is_birthday(1900 + year, month, day) || is_birthday(2000 + year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_left_out_and_letters_are_upper_case() {
        assert_eq!(compact("ab-12 3", b" -").as_deref(), Some(&b"AB123"[..]));
        assert_eq!(compact("12/3", b" -").as_deref(), None);
        assert_eq!(compact("", b"").as_deref(), Some(&b""[..]));
        assert_eq!(compact("\u{661}\u{ff12}\u{2013}\u{a0}3", b" -").as_deref(), Some(&b"123"[..]));
        assert!(compact(&"1".repeat(LEN_MAX), b"").is_some());
        assert!(compact(&"1".repeat(LEN_MAX + 1), b"").is_none());
        assert!(compact(&" ".repeat(WRITTEN_MAX + 1), b" ").is_none());
    }

    #[test]
    fn digits_are_counted() {
        assert_eq!(digits::<3>("1-23", b"-"), Some([1, 2, 3]));
        assert_eq!(digits::<3>("1-234", b"-"), None);
        assert_eq!(digits::<3>("1-2a", b"-"), None);
        assert_eq!(padded::<4>(b"12", 1), Some([0, 0, 1, 2]));
        assert_eq!(padded::<4>(b"12", 3), None);
        assert_eq!(padded::<4>(b"12345", 3), None);
        assert_eq!(padded::<4>(b"1A", 1), None);
    }

    #[test]
    fn shapes_tell_digits_from_letters() {
        assert!(is_shaped(b"FR12AZ", "fr0XAA"));
        assert!(!is_shaped(b"FR12A", "fr0XAA"));
        assert!(!is_shaped(b"DE12AZ", "fr0XAA"));
    }

    #[test]
    fn birthdays_are_days_of_the_calendar() {
        assert!(is_birthday(2000, 2, 29) && is_birthday(1896, 2, 29));
        assert!(!is_birthday(1900, 2, 29) && !is_birthday(1991, 4, 31) && !is_birthday(1991, 13, 1));
        assert!(!is_birthday(1991, 0, 1) && !is_birthday(1991, 1, 0) && !is_birthday(2039, 10, 18));
        assert!(is_short_birthday(0, 2, 29) && !is_short_birthday(99, 2, 29));
    }
}
