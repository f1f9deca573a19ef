//! Sets of ASCII characters, and where a token begins and ends.

/// A union of the classes every byte is in exactly one of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Set(u16);

const LOWER_HEX: u16 = 1;
const LOWER_REST: u16 = 1 << 1;
const UPPER_HEX: u16 = 1 << 2;
const UPPER_REST: u16 = 1 << 3;
/// The digits of base32 (RFC 4648 §6), and those that are not.
const DIGIT_BASE32: u16 = 1 << 4;
const DIGIT_REST: u16 = 1 << 5;
const UNDERSCORE: u16 = 1 << 6;
const DASH: u16 = 1 << 7;
const PLUS_SLASH: u16 = 1 << 8;
const EQUALS: u16 = 1 << 9;
const DOT: u16 = 1 << 10;
const TILDE: u16 = 1 << 11;
const PERCENT: u16 = 1 << 12;

/// Every byte's class; 0 = none.
const CLASSES: [u16; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            b'a'..=b'f' => LOWER_HEX,
            b'g'..=b'z' => LOWER_REST,
            b'A'..=b'F' => UPPER_HEX,
            b'G'..=b'Z' => UPPER_REST,
            b'2'..=b'7' => DIGIT_BASE32,
            b'0' | b'1' | b'8' | b'9' => DIGIT_REST,
            b'_' => UNDERSCORE,
            b'-' => DASH,
            b'+' | b'/' => PLUS_SLASH,
            b'=' => EQUALS,
            b'.' => DOT,
            b'~' => TILDE,
            b'%' => PERCENT,
            _ => 0,
        };
        byte += 1;
    }
    classes
};

pub(super) const DIGIT: Set = Set(DIGIT_BASE32 | DIGIT_REST);
pub(super) const DASH_DIGIT: Set = Set(DIGIT.0 | DASH);
/// Lower-case hexadecimal digits.
pub(super) const HEX: Set = Set(DIGIT.0 | LOWER_HEX);
pub(super) const ANY_HEX: Set = Set(HEX.0 | UPPER_HEX);
pub(super) const LETTER: Set = Set(LOWER_HEX | LOWER_REST | UPPER_HEX | UPPER_REST);
pub(super) const ALNUM: Set = Set(LETTER.0 | DIGIT.0);
pub(super) const LOWER_ALNUM: Set = Set(LOWER_HEX | LOWER_REST | DIGIT.0);
pub(super) const UPPER_ALNUM: Set = Set(UPPER_HEX | UPPER_REST | DIGIT.0);
pub(super) const BASE32: Set = Set(UPPER_HEX | UPPER_REST | DIGIT_BASE32);
/// The base64 alphabet for URLs (RFC 4648 §5).
pub(super) const URL: Set = Set(ALNUM.0 | UNDERSCORE | DASH);
/// The base64 alphabet (RFC 4648 §4) with its padding.
pub(super) const BASE64: Set = Set(ALNUM.0 | PLUS_SLASH | EQUALS);
/// Both base64 alphabets with their padding.
pub(super) const ANY_BASE64: Set = Set(BASE64.0 | URL.0);
pub(super) const URL_DOT: Set = Set(URL.0 | DOT);
/// Percent-encoded text of a cookie.
pub(super) const URL_PERCENT: Set = URL.and_percent();
pub(super) const UPPER_DASH: Set = Set(UPPER_ALNUM.0 | DASH);
/// Of the ending `-X`.
pub(super) const DASH_X: Set = Set(UPPER_REST | DASH);
pub(super) const URL_EQUALS: Set = Set(URL.0 | EQUALS);
/// Unreserved characters of a URI (RFC 3986 §2.3).
pub(super) const UNRESERVED: Set = Set(URL_DOT.0 | TILDE);
/// What a bearer token is made of, but for its padding.
pub(super) const UNSIGNED: Set = Set(UNRESERVED.0 | PLUS_SLASH);
/// What a bearer token is made of (RFC 6750 §2.1).
pub(super) const BEARER: Set = Set(UNRESERVED.0 | BASE64.0);

impl Set {
    /// With the sign of percent-encoding.
    pub(super) const fn and_percent(self) -> Self {
        Self(self.0 | PERCENT)
    }

    pub(super) const fn has(self, byte: u8) -> bool {
        CLASSES[byte as usize] & self.0 != 0
    }

    /// How many bytes at the beginning of `text` are of the set, as far as `max`.
    pub(super) fn run(self, text: &[u8], max: usize) -> usize {
        text.iter().take(max).take_while(|byte| self.has(**byte)).count()
    }

    /// How many bytes at the end of `text` are of the set, as far as `max`.
    pub(super) fn run_back(self, text: &[u8], max: usize) -> usize {
        text.iter().rev().take(max).take_while(|byte| self.has(**byte)).count()
    }
}

/// Whether a token may begin at `at`: no letter or digit stands before, but for the end of an escape (`\n`, `%3D`).
pub(super) fn begins(text: &[u8], at: usize) -> bool {
    match &text[..at] {
        [] => true,
        [.., b'\\', b'n' | b't' | b'r'] => true,
        [.., b'%', high, low] if ANY_HEX.has(*high) && ANY_HEX.has(*low) => true,
        [.., before] => !ALNUM.has(*before),
    }
}

/// Whether a token may end before `at`: nothing follows that could belong to it.
pub(super) fn ends(text: &[u8], at: usize) -> bool {
    !text.get(at).is_some_and(|after| URL.has(*after))
}

/// Whether one of `words` stands in `text`, in any case. The words are in lower case.
pub(super) fn contains_any(text: &[u8], words: &Words) -> bool {
    let begins = |at: usize, word: &str| {
        text.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
    };
    // The first two letters leave few places to look at.
    text.array_windows().enumerate().any(|(at, pair)| {
        let (word, bit) = Words::place(*pair);
        words.pairs[word] >> bit & 1 != 0 && words.list.iter().any(|word| begins(at, word))
    })
}

/// Words to look for, of two letters or more.
pub(super) struct Words {
    list: &'static [&'static str],
    /// The first two bytes of each, by [`Words::place`].
    pairs: [u64; 16],
}

impl Words {
    pub(super) const fn of(list: &'static [&'static str]) -> Self {
        let (mut pairs, mut i) = ([0; 16], 0);
        while i < list.len() {
            let [first, second, ..] = list[i].as_bytes() else { panic!("a word of one letter") };
            let (word, bit) = Self::place([*first, *second]);
            pairs[word] |= 1 << bit;
            i += 1;
        }
        Self { list, pairs }
    }

    /// Where two bytes are marked: the same for capitals, and seldom for others.
    const fn place(pair: [u8; 2]) -> (usize, u32) {
        let [first, second] = pair;
        ((first & 15) as usize, (second & 31 | (first & 16) << 1) as u32)
    }
}

/// Whether a token that goes on with `set` may begin at `at`: as [`begins`], and nothing stands before that it could
/// hold itself. So no byte is read for two tokens of one form. An `=` is of base64 at its end only.
pub(super) fn begins_run(text: &[u8], at: usize, set: Set) -> bool {
    begins(text, at)
        && !text[..at].last().is_some_and(|before| set.has(*before) && !ALNUM.has(*before) && *before != b'=')
}
