//! Characters that stand for ASCII, and those that do not show.
//!
//! Digits are all of Unicode's decimal ones (general category Nd) and the circled and boxed ones that have a value;
//! compatibility forms are those that NFKC (UAX #15) makes ASCII of. Dashes are category Pd and the signs that look
//! so, spaces category Zs. What does not show is Default_Ignorable_Code_Point (UAX #44), which holds the tags and the
//! variation selectors.

use unicode_normalization::char::{decompose_compatible, is_combining_mark};

/// What a character that is not ASCII is to a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fold {
    /// Itself.
    Keep,
    /// This ASCII, of so many bytes.
    Ascii([u8; ASCII_MAX], usize),
    /// A sign between words or digits that a reader takes for this one.
    Separator(u8),
    /// Nothing that shows.
    Nothing,
    /// A mark on the character before.
    Mark,
}

/// Most ASCII characters that one stands for; "(20)" has four.
pub(super) const ASCII_MAX: usize = 4;

/// First digits of the decimal digits of every script (Unicode 17, `DerivedGeneralCategory.txt`, Nd).
const ZEROS: [u32; 76] = [
    0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20,
    0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0,
    0xa900, 0xa9d0, 0xa9f0, 0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x10d40, 0x11066, 0x110f0, 0x11136, 0x111d0,
    0x112f0, 0x11450, 0x114d0, 0x11650, 0x116c0, 0x116d0, 0x116da, 0x11730, 0x118e0, 0x11950, 0x11bf0, 0x11c50,
    0x11d50, 0x11da0, 0x11de0, 0x11f50, 0x16130, 0x16a60, 0x16ac0, 0x16b50, 0x16d70, 0x1ccf0, 0x1d7ce, 0x1d7d8,
    0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e4f0, 0x1e5f1, 0x1e950, 0x1fbf0,
];

/// What `c`, which is not ASCII, is.
pub(super) fn fold(c: char) -> Fold {
    let code = c as u32;
    if is_letter_block(code) {
        return Fold::Keep;
    }
    if let Some(digit) = digit(code) {
        return one(b'0' + digit);
    }
    match code {
        0xad | 0x34f | 0x61c | 0x115f..=0x1160 | 0x17b4..=0x17b5 | 0x180b..=0x180f => Fold::Nothing,
        0x200b..=0x200f | 0x202a..=0x202e | 0x2060..=0x206f | 0x3164 | 0xfe00..=0xfe0f | 0xfeff => Fold::Nothing,
        0xffa0 | 0xfff0..=0xfffb | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff => Fold::Nothing,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x2028..=0x2029 | 0x202f | 0x205f | 0x2800 | 0x3000 => Fold::Separator(b' '),
        0x58a | 0x5be | 0x1400 | 0x1806 | 0x2010..=0x2015 | 0x2043 | 0x207b | 0x208b | 0x2212 | 0x2796 => DASH,
        0x2e17 | 0x2e1a | 0x2e3a..=0x2e3b | 0x2e40 | 0x2e5d | 0x301c | 0x3030 | 0x30a0 | 0xfe31..=0xfe32 => DASH,
        0xfe58 | 0xfe63 | 0xff0d | 0x10d6e | 0x10ead => DASH,
        0xb7 | 0x2022 | 0x2024 | 0x2027 | 0x2219 | 0x22c5 | 0x3002 | 0x30fb | 0xfe52 | 0xff0e | 0xff61 | 0xff65 => {
            Fold::Separator(b'.')
        }
        _ if has_compatible(code) => compatible(c),
        _ if is_combining_mark(c) => Fold::Mark,
        _ => Fold::Keep,
    }
}

/// Letters of the scripts that most texts are of, which stand for nothing else.
fn is_letter_block(code: u32) -> bool {
    matches!(code, 0xc0..=0x131 | 0x386..=0x482 | 0x3041..=0x3096 | 0x30a1..=0x30fa | 0x4e00..=0x9fff | 0xac00..=0xd7a3)
}

const DASH: Fold = Fold::Separator(b'-');

fn one(byte: u8) -> Fold {
    Fold::Ascii([byte, 0, 0, 0], 1)
}

/// The value of a digit.
fn digit(code: u32) -> Option<u8> {
    let of = |first: u32| Some((code - first) as u8);
    match code {
        ..0x660 => None,
        0x24f5..=0x24fd => of(0x24f4),
        0x2776..=0x277e => of(0x2775),
        0x2780..=0x2788 => of(0x277f),
        0x278a..=0x2792 => of(0x2789),
        0x24ff | 0x1f10b | 0x1f10c => Some(0),
        _ => {
            let behind = ZEROS.partition_point(|zero| *zero <= code);
            let value = code - ZEROS.get(behind.checked_sub(1)?)?;
            (value < 10).then_some(value as u8)
        }
    }
}

/// Whether NFKC may make ASCII of it: most scripts have none such, and are not asked for.
fn has_compatible(code: u32) -> bool {
    matches!(code,
        0xa1..=0xbe | 0x132..=0x133 | 0x17f | 0x1c4..=0x1cc | 0x1f1..=0x1f3 | 0x2b0..=0x2ff | 0x37e | 0x1d2c..=0x1dbf
        | 0x1fef | 0x2017..=0x2bff | 0x2c7c..=0x2c7d | 0x3200..=0x33ff | 0xa7f2..=0xa7f4 | 0xfb00..=0xfb29
        | 0xfe10..=0xfe6b | 0xff01..=0xffdc | 0x10780..=0x107ba | 0x1ccd6..=0x1ccf9 | 0x1d400..=0x1d7cb
        | 0x1f100..=0x1f190)
}

/// The ASCII that NFKC makes of `c`, if it says something: dots and quotes do not.
fn compatible(c: char) -> Fold {
    let (mut ascii, mut len, mut all) = ([0; ASCII_MAX], 0, true);
    decompose_compatible(c, |part| {
        match ascii.get_mut(len).filter(|_| part.is_ascii()) {
            Some(place) => *place = part as u8,
            None => all = false,
        }
        len += 1;
    });
    let says = len == 1 || ascii.iter().any(u8::is_ascii_alphanumeric);
    match all && len > 0 && says {
        true => Fold::Ascii(ascii, len),
        false if is_combining_mark(c) => Fold::Mark,
        false => Fold::Keep,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(c: char) -> Option<String> {
        match fold(c) {
            Fold::Ascii(ascii, len) => Some(String::from_utf8_lossy(&ascii[..len]).into_owned()),
            Fold::Separator(byte) => Some(char::from(byte).to_string()),
            _ => None,
        }
    }

    #[test]
    fn threat_a24_every_decimal_digit_of_unicode_is_read() {
        assert!(ZEROS.is_sorted());
        for (position, zero) in ZEROS.iter().enumerate() {
            for value in 0..10 {
                let c = char::from_u32(zero + value).expect("a character");
                assert_eq!(text(c), Some(value.to_string()), "U+{:04X}", c as u32);
            }
            assert!(ZEROS.get(position + 1).is_none_or(|next| next - zero >= 10));
        }
        // What the standard library knows to be numeric and NFKC makes a digit of is one too.
        let digits = ('\u{80}'..char::MAX).filter(|c| c.is_numeric());
        for c in digits {
            let mut parts = Vec::new();
            decompose_compatible(c, |part| parts.push(part));
            if let [digit @ '0'..='9'] = parts[..] {
                assert_eq!(text(c), Some(digit.to_string()), "U+{:04X}", c as u32);
            }
        }
    }

    #[test]
    fn forms_of_ascii_are_read_as_it_and_letters_are_left() {
        for (c, expected) in [
            ('\u{ff21}', "A"),
            ('\u{ff20}', "@"),
            ('\u{2460}', "1"),
            ('\u{2474}', "(1)"),
            ('\u{b2}', "2"),
            ('\u{2085}', "5"),
            ('\u{1d400}', "A"),
            ('\u{2776}', "1"),
            ('\u{a0}', " "),
            ('\u{2013}', "-"),
            ('\u{2212}', "-"),
            ('\u{ff0e}', "."),
            ('\u{24b6}', "A"),
            ('\u{1fbf7}', "7"),
            ('\u{fe6b}', "@"),
            ('\u{2024}', "."),
        ] {
            assert_eq!(text(c).as_deref(), Some(expected), "U+{:04X}", c as u32);
        }
        for c in ['\u{e9}', '\u{df}', '\u{444}', '\u{4e00}', '\u{2026}', '\u{1f600}', '\u{bd}', '\u{10ffff}'] {
            assert_eq!(fold(c), Fold::Keep, "U+{:04X}", c as u32);
        }
        for c in ['\u{200b}', '\u{202e}', '\u{fe0f}', '\u{e0041}', '\u{e0100}', '\u{ad}', '\u{2066}', '\u{feff}'] {
            assert_eq!(fold(c), Fold::Nothing, "U+{:04X}", c as u32);
        }
        for c in ['\u{301}', '\u{20e3}', '\u{489}', '\u{591}'] {
            assert_eq!(fold(c), Fold::Mark, "U+{:04X}", c as u32);
        }
    }
}
