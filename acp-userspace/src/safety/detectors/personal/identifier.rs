//! Numbers of accounts, documents and records: letters and digits in groups.
//!
//! What is made like something else (a date, an amount, a time, a path, an address on the net, a hexadecimal number of a
//! program) is none, and neither is a part of a longer word.

use std::ops::Range;

use super::date;

/// Letters and digits, in groups that a `-` or, between digits, a blank joins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identifier {
    pub(super) range: Range<usize>,
    pub(super) digits: usize,
    pub(super) letters: usize,
    /// Letters before the first digit, and behind the last.
    pub(super) letters_first: usize,
    pub(super) letters_last: usize,
    /// How many digits and letters the groups have; the first four.
    pub(super) groups: [usize; 4],
}

/// Most letters and digits of an identifier.
const IDENTIFIER_MAX: usize = 20;

impl Identifier {
    /// The identifier that begins at `at`, if it ends where a word does and is neither a date nor a number with a
    /// fraction, a time, or part of a name on the net.
    pub(super) fn read(text: &[u8], at: usize) -> Option<Self> {
        let mut found =
            Self { range: at..at, digits: 0, letters: 0, letters_first: 0, letters_last: 0, groups: [0; 4] };
        let mut group = 0;
        let mut end = at;
        while let Some(byte) = text.get(end) {
            if byte.is_ascii_alphanumeric() {
                found.count(*byte, group);
            } else if joins(text, end) {
                group += 1;
            } else {
                break;
            }
            if found.digits + found.letters > IDENTIFIER_MAX {
                return None;
            }
            end += 1;
        }
        found.range.end = end;
        let free =
            found.digits > 0 && !is_continued(text, end) && !begins_inside(text, at) && !is_hexadecimal(text, at);
        (free && date::read(text, at).is_none()).then_some(found)
    }

    fn count(&mut self, byte: u8, group: usize) {
        if byte.is_ascii_digit() {
            self.digits += 1;
            self.letters_last = 0;
        } else {
            self.letters += 1;
            self.letters_last += 1;
            self.letters_first += usize::from(self.digits == 0);
        }
        if let Some(group) = self.groups.get_mut(group) {
            *group += 1;
        }
    }

    /// Letters and digits in all.
    pub(super) fn len(&self) -> usize {
        self.digits + self.letters
    }

    /// Whether it is one group of digits.
    pub(super) fn is_plain(&self) -> bool {
        self.letters == 0 && self.groups[1] == 0
    }

    /// Whether it is made like a telephone number or a US social security number.
    pub(super) fn is_other_number(&self) -> bool {
        self.letters == 0 && matches!(self.groups, [3, 3, 4, 0] | [1, 3, 3, 4] | [3, 2, 4, 0])
    }

    /// Whether letters stand only before or behind the digits, up to `most` of them.
    pub(super) fn has_affix(&self, most: usize) -> bool {
        self.letters > 0
            && self.letters <= most
            && (self.letters == self.letters_first
                || self.letters == self.letters_last
                || self.letters == self.letters_first + self.letters_last)
    }
}

/// Whether the byte at `at` joins two groups.
fn joins(text: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| text[before]);
    let (Some(before), Some(behind)) = (before, text.get(at + 1)) else { return false };
    match text[at] {
        b'-' => before.is_ascii_alphanumeric() && behind.is_ascii_alphanumeric(),
        b' ' => before.is_ascii_digit() && behind.is_ascii_digit(),
        _ => false,
    }
}

/// Whether what ends at `end` goes on as a fraction, a time, a path, an address or a word.
fn is_continued(text: &[u8], end: usize) -> bool {
    let behind = text.get(end + 1);
    match text.get(end) {
        Some(b'.' | b':' | b'/' | b',') => behind.is_some_and(u8::is_ascii_digit),
        Some(b'@' | b'%' | b'_' | b'$') => true,
        _ => false,
    }
}

/// Whether what begins at `at` is the rest of a number, a path or a name.
fn begins_inside(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|before| text.get(before)) else { return false };
    let further = at.checked_sub(2).and_then(|before| text.get(before));
    match before {
        b'.' | b',' | b'-' => further.is_some_and(u8::is_ascii_digit),
        b'$' | b'@' => true,
        b'n' | b'r' | b't' => further != Some(&b'\\'),
        byte => byte.is_ascii_alphanumeric(),
    }
}

/// Whether a hexadecimal number of a program begins at `at`.
fn is_hexadecimal(text: &[u8], at: usize) -> bool {
    matches!(text.get(at..), Some([b'0', b'x' | b'X', ..]))
}

/// Where an identifier that ends at `end` begins.
pub(super) fn identifier_start(text: &[u8], end: usize) -> usize {
    let before = &text[..end];
    let mut start = end;
    while start > 0 && end - start < IDENTIFIER_MAX {
        let byte = before[start - 1];
        let dash = byte == b'-' && start >= 2 && before[start - 2].is_ascii_alphanumeric() && start < end;
        if !(byte.is_ascii_alphanumeric() || dash) {
            break;
        }
        start -= 1;
    }
    start
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let read = Identifier::read(text.as_bytes(), 0).map(|id| text[id.range].to_owned());
        assert_eq!(read.as_deref(), expected, "{text}");
    }

    #[test]
    fn an_identifier_ends_where_a_word_does() {
        check("D245-938-19-203 in the", Some("D245-938-19-203"));
        check("1234 5678 9012, and", Some("1234 5678 9012"));
        check("A1234567's", Some("A1234567"));
        check("12345678.", Some("12345678"));
        for text in
            ["12345678.5", "12345678@x", "2021-05-03", "12:30", "abc", "", "12345678_a", "123456789012345678901"]
        {
            check(text, None);
        }
    }
}
