//! The text around a word: keywords confirmed, and values read beyond the words that may stand between.
//!
//! A keyword is written here in lower case with a blank between its parts, and matches however names are written:
//! "date of birth", `date_of_birth`, `dateOfBirth`, `DATE-OF-BIRTH`. It begins and ends where a word does; a capital
//! behind a small letter begins one.
//!
//! Between keyword and value may stand signs (`: " ' # = ( *`), line ends, and words; how many words that are no filler
//! ("number", "is") is the kind's business.

use std::ops::Range;

use super::identifier::{Identifier, identifier_start};

/// Signs between two words, and words between keyword and value, that are read.
const GAP_BYTES_MAX: usize = 40;
const WORDS_MAX: usize = 10;
/// Values told by one keyword: "passports X1234567 and X7654321".
const VALUES_MAX: usize = 4;

/// Where an anchor was found: the text around it, cut to what may be read.
#[derive(Debug)]
pub(super) struct Place<'t> {
    pub(super) text: &'t [u8],
    /// Where the literal begins and ends.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// How a value follows its keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// Words between that are no fillers, and ends of sentences.
    pub(super) strange: usize,
    /// Whether a sign of assignment stands between (`:`, `=`, `#`), or a word that counts ("number", "no").
    pub(super) named: bool,
}

impl Way {
    /// `confidence`, less where strange words stand between.
    pub(super) fn confidence(self, confidence: u8) -> u8 {
        confidence - 10 * self.strange.min(2) as u8
    }
}

impl Place<'_> {
    /// The end of the first of `keywords` that begins with the literal.
    pub(super) fn keyword(&self, keywords: &[&str]) -> Option<usize> {
        self.begins().then(|| keywords.iter().find_map(|keyword| follows(self.text, self.start, keyword)))?
    }

    /// Whether a word begins where the literal does.
    pub(super) fn begins(&self) -> bool {
        begins_word(self.text, self.start)
    }

    /// Whether one of `phrases` stands before the literal.
    pub(super) fn is_behind(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| precedes(self.text, self.start, phrase).is_some())
    }

    /// Shows `judge` the places behind `from` where a value may begin, until it takes one and says where that ends; then
    /// those of the values listed behind it.
    pub(super) fn values(&self, from: usize, strange_max: usize, mut judge: impl FnMut(usize, Way) -> Option<usize>) {
        let Some((mut end, way)) = first_value(self.text, from, strange_max, &mut judge) else { return };
        for _ in 1..VALUES_MAX {
            let Some(next) = listed(self.text, end).and_then(|at| judge(at, way)) else { return };
            end = next;
        }
    }

    /// The identifier that ends before the literal, with nothing but fillers between.
    pub(super) fn value_before(&self, fits: impl Fn(&Identifier) -> bool) -> Option<Range<usize>> {
        let mut end = self.start;
        for _ in 0..=5 {
            end = gap_before(self.text, end)?;
            let start = identifier_start(self.text, end);
            if let Some(identifier) = Identifier::read(self.text, start).filter(|id| id.range.end == end) {
                return fits(&identifier).then_some(identifier.range);
            }
            let word = word_start(self.text, end);
            if word == end || !is_one_of(&self.text[word..end], FILLERS_BEFORE) {
                return None;
            }
            end = word;
        }
        None
    }
}

/// Words that may stand between a keyword and its value; they tell nothing.
const FILLERS: &[&str] = &[
    "a",
    "am",
    "and",
    "are",
    "as",
    "card",
    "code",
    "da",
    "das",
    "de",
    "del",
    "der",
    "detail",
    "details",
    "die",
    "do",
    "du",
    "e",
    "es",
    "est",
    "file",
    "for",
    "here",
    "holder",
    "his",
    "her",
    "il",
    "is",
    "ist",
    "it",
    "its",
    "la",
    "le",
    "lautet",
    "like",
    "mi",
    "my",
    "of",
    "on",
    "our",
    "record",
    "recorded",
    "s",
    "sa",
    "su",
    "that",
    "the",
    "their",
    "this",
    "to",
    "value",
    "was",
    "were",
    "with",
    "your",
    "w",
    "dnia",
    "el",
    "e\u{301}",
    "\u{e9}",
    "plan",
    "policy",
    "benefits",
    "beneficiary",
    "account",
    "issued",
    "under",
    "patient",
    "format",
    "field",
    "s\u{e3}o",
    "em",
];
/// Those that announce a number.
const COUNTING: &[&str] = &[
    "number",
    "numbers",
    "no",
    "nos",
    "num",
    "nr",
    "nbr",
    "id",
    "ids",
    "identifier",
    "identification",
    "ref",
    "reference",
    "nummer",
    "numero",
    "n\u{fa}mero",
    "num\u{e9}ro",
    "n",
    "\u{bc88}\u{d638}",
    "\u{bc88}\u{d638}\u{b294}",
    "n\u{ba}",
    "n\u{b0}",
    "rec",
];
/// Words that may stand between a value and the keyword behind it.
const FILLERS_BEFORE: &[&str] = &[
    "is",
    "my",
    "es",
    "mi",
    "n\u{fa}mero",
    "numero",
    "de",
    "a",
    "an",
    "as",
    "the",
    "s",
    "for",
    "her",
    "his",
    "su",
    "your",
    "our",
    "their",
    "number",
    "no",
    "of",
    "patient",
    "est",
    "mon",
    "ist",
    "meine",
    "and",
    "with",
];

fn is_one_of(word: &[u8], words: &[&str]) -> bool {
    words.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(word))
}

/// The first value behind `from`, and how it was come by.
fn first_value(
    text: &[u8],
    from: usize,
    strange_max: usize,
    judge: &mut impl FnMut(usize, Way) -> Option<usize>,
) -> Option<(usize, Way)> {
    let mut at = from;
    let mut way = Way { strange: 0, named: false };
    for _ in 0..WORDS_MAX {
        at = gap(text, at, &mut way)?;
        if way.strange > strange_max {
            return None;
        }
        if let Some(end) = judge(at, way) {
            return Some((end, way));
        }
        let end = word_end(text, at);
        // What holds a digit and is no value ends the search: the word spoke of that.
        if end == at || has_digit(text, at) {
            return None;
        }
        let word = &text[at..end];
        if is_one_of(word, COUNTING) {
            way.named = true;
        } else if !is_one_of(word, FILLERS) {
            way.strange += 1;
        }
        at = end;
    }
    None
}

/// Skips signs; `None` at the end of the text, or where there are too many.
fn gap(text: &[u8], from: usize, way: &mut Way) -> Option<usize> {
    let mut at = from;
    while at < from + GAP_BYTES_MAX {
        let byte = *text.get(at)?;
        if let Some(len) = line_end(text, at) {
            at += len;
            continue;
        }
        match byte {
            b':' | b'=' | b'#' | b'|' => way.named = true,
            // The end of a sentence, but not of "no.".
            b'.' | b'?' | b'!' | b';' if text.get(at + 1).is_some_and(u8::is_ascii_whitespace) && !way.named => {
                way.strange += 1;
            }
            0xe2 if typographic(text, at) => at += 2,
            _ if is_part(byte) => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

/// An end of line, also as it is written in quoted text.
fn line_end(text: &[u8], at: usize) -> Option<usize> {
    match text.get(at..)? {
        [b'\\', b'n' | b'r' | b't', ..] => Some(2),
        [b'\n' | b'\r', ..] => Some(1),
        _ => None,
    }
}

/// Whether a typographic quote, dash or dot stands there (U+2010 to U+203F).
fn typographic(text: &[u8], at: usize) -> bool {
    matches!(text.get(at..at + 3), Some([0xe2, 0x80, 0x90..=0xbf]))
}

/// Whether `byte` is of a word.
fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

fn word_end(text: &[u8], at: usize) -> usize {
    let mut end = at;
    while let Some(byte) = text.get(end).filter(|byte| is_part(**byte)) {
        let camel = end > at && byte.is_ascii_uppercase() && text[end - 1].is_ascii_lowercase();
        if camel || (*byte == 0xe2 && typographic(text, end)) {
            break;
        }
        end += 1;
    }
    end
}

fn word_start(text: &[u8], end: usize) -> usize {
    text[..end].iter().rposition(|byte| !is_part(*byte)).map_or(0, |at| at + 1)
}

/// The end of what stands before `end` beyond signs.
fn gap_before(text: &[u8], end: usize) -> Option<usize> {
    let at = text[..end].iter().rposition(|byte| is_part(*byte))?;
    let sign = |byte: &u8| matches!(byte, b' ' | b'\'' | b'*' | b',' | b'(' | b')' | b'"' | b'_' | b'`' | b'[' | b']');
    (end - at - 1 <= 6 && text[at + 1..end].iter().all(sign)).then_some(at + 1)
}

/// Whether the word at `at`, with what `-` joins to it, holds a digit.
fn has_digit(text: &[u8], at: usize) -> bool {
    let joined = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'-';
    text[at..].iter().take(32).take_while(joined).any(u8::is_ascii_digit)
}

/// Where the next of a list begins, behind a value that ended at `end`.
fn listed(text: &[u8], end: usize) -> Option<usize> {
    [", and ", ", ", " and ", " or ", " / ", "/", "; ", "** or **"].iter().find_map(|between| {
        let between = between.as_bytes();
        text.get(end..)?.starts_with(between).then_some(end + between.len())
    })
}

/// Whether a word begins at `at`.
pub(super) fn begins_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).and_then(|before| text.get(before)) else { return true };
    let escaped = at >= 2 && text[at - 2] == b'\\' && matches!(before, b'n' | b'r' | b't');
    let camel = before.is_ascii_lowercase() && text.get(at).is_some_and(u8::is_ascii_uppercase);
    !before.is_ascii_alphabetic() || camel || escaped
}

/// Whether a word ends at `end`.
fn ends_word(text: &[u8], end: usize) -> bool {
    match text.get(end) {
        Some(byte) if byte.is_ascii_lowercase() => false,
        Some(byte) if byte.is_ascii_uppercase() => end > 0 && text[end - 1].is_ascii_lowercase(),
        _ => true,
    }
}

/// What may stand for the blank in a keyword, or be missing.
fn is_joint(byte: u8) -> bool {
    matches!(byte, b' ' | b'_' | b'-' | b'.' | b'/' | b'\'' | b'\t' | b'\n' | 0xe2 | 0x80 | 0x99)
}
const JOINT_BYTES_MAX: usize = 4;

/// The end of `keyword`, if it begins at `start` and ends where a word does.
pub(super) fn follows(text: &[u8], start: usize, keyword: &str) -> Option<usize> {
    let mut at = start;
    for wanted in keyword.bytes() {
        if wanted == b' ' {
            at += text.get(at..)?.iter().take(JOINT_BYTES_MAX).take_while(|byte| is_joint(**byte)).count();
        } else {
            text.get(at).filter(|byte| byte.eq_ignore_ascii_case(&wanted))?;
            at += 1;
        }
    }
    ends_word(text, at).then_some(at)
}

/// The beginning of `phrase`, if it ends before `end` (signs may stand between) and begins where a word does.
fn precedes(text: &[u8], end: usize, phrase: &str) -> Option<usize> {
    let skip = |at: usize| {
        let joints = text[..at].iter().rev().take(JOINT_BYTES_MAX).take_while(|byte| is_joint(**byte)).count();
        at - joints
    };
    let mut at = skip(end);
    for wanted in phrase.bytes().rev() {
        if wanted == b' ' {
            at = skip(at);
        } else {
            at = at.checked_sub(1).filter(|at| text[*at].eq_ignore_ascii_case(&wanted))?;
        }
    }
    begins_word(text, at).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_matches_however_names_are_written() {
        for text in ["date of birth", "date_of_birth", "dateOfBirth", "DATE-OF-BIRTH:", "DateOfBirthField"] {
            assert!(follows(text.as_bytes(), 0, "date of birth").is_some(), "{text}");
        }
        for text in ["date of birthing", "date of bir", "date  ~ of birth"] {
            assert!(follows(text.as_bytes(), 0, "date of birth").is_none(), "{text}");
        }
        assert!(precedes(b"my driver's license", 12, "driver s").is_some());
        assert!(precedes(b"screwdriver license", 12, "driver").is_none());
    }
}
