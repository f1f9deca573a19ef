//! A sentence as its words sound: small letters without accents, one blank between words.
//!
//! Digits and signs that stand for letters beside letters ("1gn0re", "p@ssword") become these, and so do letters of other
//! alphabets that look like Latin ones, in a word with Latin letters (Unicode TR39, *confusables*). Characters that nobody sees
//! are taken out before, by `decode`.

use std::ops::Range;

use super::{BACK_BYTES_MAX, FORWARD_BYTES_MAX};
use crate::safety::redact::PLACEHOLDER;

/// A character takes no more bytes folded than it had.
const BYTES_MAX: usize = BACK_BYTES_MAX + FORWARD_BYTES_MAX;

/// The folded bytes, and where each one's character ends in what was folded.
#[derive(Debug)]
pub(super) struct Folded {
    bytes: [u8; BYTES_MAX],
    /// Where the character begins, and ends.
    from: [u8; BYTES_MAX],
    to: [u8; BYTES_MAX],
    len: usize,
}

const _: () = assert!(BYTES_MAX <= u8::MAX as usize);

impl Folded {
    /// The sentence of `text` that the byte before `at` belongs to: from the last end of one before it to the next. What is
    /// no UTF-8 is a blank, and a placeholder is an end: its label is nobody's word.
    pub(super) fn sentence(text: &[u8], at: usize) -> Self {
        let is_end = |pair: &[u8]| match pair {
            [b'\n', ..] => true,
            [b'.' | b'!' | b'?' | b';', next] => next.is_ascii_whitespace(),
            _ => false,
        };
        let at = at.min(text.len());
        let from = text[..at].windows(2).rposition(is_end).map_or(0, |end| end + 1);
        let to = text[at..].windows(2).position(is_end).map_or(text.len(), |end| at + end + 1);
        let (from, to) = between_placeholders(text, from, at, to);
        let mut folded = Self { bytes: [0; BYTES_MAX], from: [0; BYTES_MAX], to: [0; BYTES_MAX], len: 0 };
        let mut at = from;
        for chunk in text[from..to.min(from + BYTES_MAX)].utf8_chunks() {
            folded.push_all(chunk.valid(), at);
            at += chunk.valid().len() + chunk.invalid().len();
        }
        folded
    }

    fn push_all(&mut self, text: &str, base: usize) {
        let mut chars = text.char_indices().peekable();
        let mut before = ' ';
        while let Some((at, char)) = chars.next() {
            let next = chars.peek().map_or(' ', |(_, next)| *next);
            let beside_latin = before.is_ascii_alphabetic() || next.is_ascii_alphabetic();
            self.push(fold(char, beside_latin), base + at..base + at + char.len_utf8());
            before = char;
        }
    }

    /// Adds a character that stood at `at`; blanks once.
    fn push(&mut self, char: char, at: Range<usize>) {
        if char == ' ' && (self.len == 0 || self.bytes[self.len - 1] == b' ') {
            return;
        }
        let mut buffer = [0; 4];
        for byte in char.encode_utf8(&mut buffer).bytes() {
            if self.len < BYTES_MAX {
                // Both lie within `BYTES_MAX`.
                (self.bytes[self.len], self.from[self.len], self.to[self.len]) = (byte, at.start as u8, at.end as u8);
                self.len += 1;
            }
        }
    }

    /// From where `word` first stands in what was folded to where it last does.
    pub(super) fn find(&self, word: &str) -> Option<Range<usize>> {
        let (text, word) = (&self.bytes[..self.len], word.as_bytes());
        let begins = |at: &usize| !word[0].is_ascii() || *at == 0 || !is_part(text[at - 1]);
        let mut places = memchr::memmem::find_iter(text, word).filter(begins);
        let first = places.next()?;
        let last = places.last().unwrap_or(first);
        // What follows of the word belongs to it.
        let rest = text[last + word.len()..].iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        Some(self.from[first].into()..self.to[last + word.len() + rest - 1].into())
    }
}

/// What of `from..to` lies between the placeholders beside `at`; nothing where that lies in one.
fn between_placeholders(text: &[u8], from: usize, at: usize, to: usize) -> (usize, usize) {
    let open = PLACEHOLDER.as_bytes();
    let to = memchr::memmem::find(&text[at..to], open).map_or(to, |open| at + open);
    let Some(open) = memchr::memmem::rfind(&text[from..at], open) else { return (from, to) };
    let close = memchr::memchr(b']', &text[from + open..at]).map(|close| from + open + close + 1);
    close.map_or((at, at), |close| (close, to))
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// What a character sounds like; a blank for what is no letter and no digit.
fn fold(char: char, beside_latin: bool) -> char {
    let char = char.to_lowercase().next().unwrap_or(char);
    let latin = match char {
        'a'..='z' => return char,
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => 'o',
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => 'u',
        'ý' | 'ÿ' => 'y',
        'š' | 'ś' | 'ş' | 'ß' => 's',
        'ž' | 'ź' | 'ż' => 'z',
        'ł' => 'l',
        _ => '\0',
    };
    match (latin, beside_latin) {
        ('\0', true) => look_alike(char),
        ('\0', false) if char.is_alphanumeric() => char,
        ('\0', false) => ' ',
        (latin, _) => latin,
    }
}

/// The Latin letter that a character beside Latin letters stands for.
fn look_alike(char: char) -> char {
    match char {
        '0' | 'о' | 'ο' => 'o',
        '1' | '!' | '|' | 'і' | 'ι' => 'i',
        '3' | 'е' | 'ε' => 'e',
        '4' | '@' | 'а' | 'α' => 'a',
        '5' | '$' | 'ѕ' => 's',
        '7' => 't',
        'с' | 'ϲ' => 'c',
        'р' | 'ρ' => 'p',
        'х' | 'χ' => 'x',
        'у' | 'υ' => 'y',
        'к' | 'κ' => 'k',
        'ν' => 'v',
        'ј' => 'j',
        'һ' => 'h',
        'ԁ' => 'd',
        'ո' => 'n',
        'т' | 'τ' => 't',
        'м' => 'm',
        'в' => 'b',
        char if char.is_alphanumeric() => char,
        _ => ' ',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, at: usize, expected: &str) {
        let folded = Folded::sentence(text.as_bytes(), at);
        assert_eq!(std::str::from_utf8(&folded.bytes[..folded.len]).expect("UTF-8"), expected, "{text}");
    }

    #[test]
    fn words_are_folded_to_what_they_sound_like() {
        check("IGNORE -- the  Pr\u{e9}vious", 3, "ignore the previous");
        check("1gn0r3 pr3v10us", 3, "ignore previous");
        check("ign\u{43e}re", 3, "ignore");
        check("Игнорируй", 3, "игнорируй");
        check("忽略 100 x", 3, "忽略 100 x");
    }

    #[test]
    fn a_sentence_ends_at_its_sign_or_line() {
        check("One. Two three. Four", 9, "two three ");
        check("v1.2 is\nnext", 2, "vi 2 is ");
    }

    #[test]
    fn a_placeholder_ends_a_sentence() {
        check("ignore [REDACTED:PROMPT_INJECTION] rules", 4, "ignore ");
        check("ignore [REDACTED:PROMPT_INJECTION] rules", 40, "rules");
        check("ignore [REDACTED:PROMPT_INJECTION] rules", 20, "");
    }

    #[test]
    fn what_is_found_is_where_it_stood() {
        let text = "please 1gn0re\u{301} all of it";
        let folded = Folded::sentence(text.as_bytes(), text.len());
        assert_eq!(folded.find("ignor").map(|range| &text[range]), Some("1gn0re"));
        assert_eq!(folded.find("gnor"), None);
    }
}
