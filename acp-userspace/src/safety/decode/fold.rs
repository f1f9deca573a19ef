//! Characters that stand for ASCII, and those that do not show.
//!
//! Digits are all of Unicode's decimal ones (general category Nd) and the circled and boxed ones that have a value;
//! compatibility forms are those that NFKC (UAX #15) makes ASCII of. Dashes are category Pd and the signs that look
//! so, spaces category Zs. What does not show is Default_Ignorable_Code_Point (UAX #44), which holds the tags and the
//! variation selectors.
//!
//! Letters of other alphabets that look like Latin ones (UTS #39, *confusables*) are told apart from these: only in a word
//! that is written to be read as a Latin one do they stand for them, and that `plain` knows.

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

/// Letters of other alphabets, and small capitals, that a reader takes for Latin ones.
#[rustfmt::skip]
const LOOK_ALIKES: [(u16, u8); 117] = [
    (0x251, b'a'), (0x261, b'g'), (0x262, b'G'), (0x269, b'i'), (0x26a, b'i'),
    (0x274, b'N'), (0x280, b'R'), (0x28f, b'y'), (0x299, b'B'), (0x29c, b'H'), (0x29f, b'L'), (0x37f, b'J'),
    (0x391, b'A'), (0x392, b'B'), (0x395, b'E'), (0x396, b'Z'), (0x397, b'H'), (0x399, b'I'), (0x39a, b'K'),
    (0x39c, b'M'), (0x39d, b'N'), (0x39f, b'O'), (0x3a1, b'P'), (0x3a4, b'T'), (0x3a5, b'Y'), (0x3a7, b'X'),
    (0x3b1, b'a'), (0x3b3, b'y'), (0x3b7, b'n'), (0x3b9, b'i'), (0x3ba, b'k'), (0x3bd, b'v'), (0x3bf, b'o'),
    (0x3c1, b'p'), (0x3c3, b'o'), (0x3c4, b't'), (0x3c5, b'u'), (0x3c7, b'x'), (0x3c9, b'w'), (0x3f2, b'c'),
    (0x3f3, b'j'), (0x3f9, b'C'), (0x405, b'S'), (0x406, b'I'), (0x408, b'J'), (0x410, b'A'), (0x412, b'B'),
    (0x415, b'E'), (0x41a, b'K'), (0x41c, b'M'), (0x41d, b'H'), (0x41e, b'O'), (0x420, b'P'), (0x421, b'C'),
    (0x422, b'T'), (0x423, b'Y'), (0x425, b'X'), (0x42c, b'b'), (0x430, b'a'), (0x432, b'b'), (0x433, b'r'),
    (0x435, b'e'), (0x43a, b'k'), (0x43c, b'm'), (0x43d, b'h'), (0x43e, b'o'), (0x43f, b'n'), (0x440, b'p'),
    (0x441, b'c'), (0x442, b't'), (0x443, b'y'), (0x445, b'x'), (0x44c, b'b'), (0x455, b's'), (0x456, b'i'),
    (0x458, b'j'), (0x474, b'V'), (0x475, b'v'), (0x4ae, b'Y'), (0x4af, b'y'), (0x4ba, b'h'), (0x4bb, b'h'),
    (0x4c0, b'l'), (0x4cf, b'l'), (0x500, b'd'), (0x501, b'd'), (0x50c, b'G'), (0x51a, b'Q'), (0x51b, b'q'),
    (0x51c, b'W'), (0x51d, b'w'), (0x53c, b'L'), (0x54d, b'U'), (0x54f, b'S'), (0x555, b'O'), (0x566, b'q'),
    (0x570, b'h'), (0x578, b'n'), (0x57c, b'n'), (0x57d, b'u'), (0x581, b'g'), (0x585, b'o'), (0x1d00, b'A'),
    (0x1d04, b'c'), (0x1d05, b'D'), (0x1d07, b'E'), (0x1d0a, b'J'), (0x1d0b, b'K'), (0x1d0d, b'M'), (0x1d0f, b'o'),
    (0x1d18, b'P'), (0x1d1b, b'T'), (0x1d1c, b'U'), (0x1d20, b'v'), (0x1d21, b'w'), (0x1d22, b'z'), (0xa731, b's'),
];

/// The ASCII letter that `c` looks like.
pub(super) fn look_alike(c: char) -> Option<u8> {
    let code = u16::try_from(c as u32).ok().filter(|code| matches!(code, 0x251..=0x585 | 0x1d00..=0x1d22 | 0xa731))?;
    let at = LOOK_ALIKES.binary_search_by_key(&code, |(letter, _)| *letter).ok()?;
    Some(LOOK_ALIKES[at].1)
}

/// Whether a look-alike is seldom found in plain words of its own alphabet: in Greek, Cyrillic and Armenian, some words are
/// made of look-alikes by chance.
pub(super) fn is_rare(c: char) -> bool {
    let cyrillic = matches!(c, '\u{406}' | '\u{408}' | '\u{410}'..='\u{44f}' | '\u{456}' | '\u{458}');
    !cyrillic && !matches!(c, '\u{391}'..='\u{3c9}' | '\u{531}'..='\u{586}')
}

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

    /// Every dash, space, mark and invisible character of Unicode, by another's tables.
    #[test]
    fn threat_a24_every_dash_space_and_mark_of_unicode_is_read_and_what_does_not_show_is_not() {
        let all = |class: &str| {
            let class = regex::Regex::new(class).expect("a class");
            let mut buffer = [0; 4];
            ('\u{80}'..=char::MAX).filter(|c| class.is_match(c.encode_utf8(&mut buffer))).collect::<Vec<_>>()
        };
        for c in all(r"^\p{Pd}$") {
            assert_eq!(text(c).as_deref(), Some("-"), "U+{:04X}", c as u32);
        }
        for c in all(r"^[\p{Zs}\p{Zl}\p{Zp}]$") {
            assert_eq!(text(c).as_deref(), Some(" "), "U+{:04X}", c as u32);
        }
        for c in all(r"^\p{Default_Ignorable_Code_Point}$") {
            assert_eq!(fold(c), Fold::Nothing, "U+{:04X}", c as u32);
        }
        for c in all(r"^\p{Nd}$") {
            assert!(text(c).is_some_and(|text| text.parse::<u8>().is_ok()), "U+{:04X}", c as u32);
        }
        let ignored = all(r"^\p{Default_Ignorable_Code_Point}$");
        for c in all(r"^\p{M}$").into_iter().filter(|c| !ignored.contains(c)) {
            assert_eq!(fold(c), Fold::Mark, "U+{:04X}", c as u32);
        }
    }

    #[test]
    fn look_alikes_are_letters_in_order_and_found() {
        assert!(LOOK_ALIKES.is_sorted_by_key(|(letter, _)| *letter));
        for (letter, ascii) in LOOK_ALIKES {
            let c = char::from_u32(letter.into()).expect("a character");
            assert!(c.is_alphabetic() && ascii.is_ascii_alphabetic() && look_alike(c) == Some(ascii), "{c}");
        }
        for c in ['\u{44f}', '\u{e9}', '\u{3c0}', '\u{4e00}', 'a', '\u{1f600}'] {
            assert_eq!(look_alike(c), None, "{c}");
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
