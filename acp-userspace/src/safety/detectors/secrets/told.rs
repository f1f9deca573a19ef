//! Passwords that a sentence tells without a sign of assignment: "her password 'Qw3rty!uiop'", "log in with password
//! Tr0ub4dor&3", "the password was changed to …". Behind "is" and signs, `assignment` judges.
//!
//! The sentence goes on with words as often ("password protection"), so the value has to be no word: in quotes, three of
//! small letters, capitals, digits and symbols; without them a letter, a digit and a symbol. What has an address's
//! form, or stands for a password, is none.

use super::value::{self, Promise};
use super::{Kind, Secret, placeholder};

/// A word for a password and the blank behind it.
pub(super) const EXPRESSION: &str = r"(?:passw(?:or)?d|passphrase|passcode) ";

/// Words that may stand between.
const FILLERS: [&[u8]; 8] = [b"was", b"to", b"of", b"as", b"be", b"set", b"changed", b"reset"];
/// As many of them.
const FILLERS_MAX: usize = 3;
/// Lengths of what people choose.
const BYTES: std::ops::RangeInclusive<usize> = 8..=64;
/// Signs that passwords have and sentences do not have within a word.
const SYMBOLS: &[u8] = b"!@#$%^&*?+=~";

/// The password told behind the blank that ends at `end`.
pub(super) fn find(text: &[u8], end: usize) -> Option<Secret> {
    let mut start = end;
    for _ in 0..FILLERS_MAX {
        let word = word(&text[start..]);
        let filler = FILLERS.iter().any(|filler| word.eq_ignore_ascii_case(filler));
        if !filler || text.get(start + word.len()) != Some(&b' ') {
            break;
        }
        start += word.len() + 1;
    }
    let rest = &text[start..];
    let (open, close) = QUOTES.iter().find(|(open, _)| rest.starts_with(open)).copied().unwrap_or_default();
    let value = if open.is_empty() { trimmed(word(rest)) } else { quoted(&rest[open.len()..], close)? };
    let start = start + open.len();
    let confidence = judge(value, !open.is_empty())?;
    Some(Secret { kind: Kind::GenericSecret, range: start..start + value.len(), confidence })
}

/// What opens a quotation, and what closes it.
const QUOTES: [(&[u8], &[u8]); 5] = [
    (b"'", b"'"),
    (b"\"", b"\""),
    (b"`", b"`"),
    ("\u{2018}".as_bytes(), "\u{2019}".as_bytes()),
    ("\u{201c}".as_bytes(), "\u{201d}".as_bytes()),
];

/// Up to the next blank; no more than can be judged.
fn word(text: &[u8]) -> &[u8] {
    let text = &text[..text.len().min(BYTES.end() + 1)];
    &text[..text.iter().position(u8::is_ascii_whitespace).unwrap_or(text.len())]
}

/// Without what ends a clause; an exclamation mark may be the password's.
fn trimmed(word: &[u8]) -> &[u8] {
    let is_end = |byte: &u8| matches!(byte, b'.' | b',' | b';' | b':' | b')' | b'"' | b'\'' | b'?');
    &word[..word.iter().rposition(|byte| !is_end(byte)).map_or(0, |last| last + 1)]
}

fn quoted<'t>(text: &'t [u8], close: &[u8]) -> Option<&'t [u8]> {
    let text = &text[..text.len().min(BYTES.end() + close.len())];
    text.windows(close.len()).position(|bytes| bytes == close).map(|len| &text[..len])
}

fn judge(value: &[u8], quoted: bool) -> Option<u8> {
    let graphic = BYTES.contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    if !graphic || placeholder::is_value(value) || value::is_location(value) || is_address(value) {
        return None;
    }
    let has = |test: fn(&u8) -> bool| u8::from(value.iter().any(test));
    let (small, capital, digit) = (has(u8::is_ascii_lowercase), has(u8::is_ascii_uppercase), has(u8::is_ascii_digit));
    let symbol = has(|byte| SYMBOLS.contains(byte));
    let code = value.iter().any(|byte| b"(){}[]<>|\\/".contains(byte));
    if code {
        None
    } else if quoted {
        let mixed = small + capital + digit + symbol >= 3;
        if mixed { Some(70) } else { value::judge(Promise::Password, value, true) }
    } else {
        (small + capital > 0 && digit + symbol == 2).then_some(60)
    }
}

/// Whether it is someone's name at a host.
fn is_address(value: &[u8]) -> bool {
    let host = value.iter().rposition(|byte| *byte == b'@').map(|at| &value[at + 1..]);
    let suffix = host.and_then(|host| host.rsplit(|byte| *byte == b'.').next().filter(|last| last.len() < host.len()));
    suffix.is_some_and(|suffix| suffix.len() >= 2 && suffix.iter().all(u8::is_ascii_alphabetic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, u8)>) {
        let end = text.find("assword ").expect("the word") + "assword ".len();
        let found = find(text.as_bytes(), end).map(|secret| (&text[secret.range], secret.confidence));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_sentence_tells_a_password_that_is_no_word() {
        check("log in with password Tr0ub4dor&3.", Some(("Tr0ub4dor&3", 60)));
        check("the password was changed to Winter#2031, again", Some(("Winter#2031", 60)));
        check("her Password 'CorrectHorse$'", Some(("CorrectHorse$", 70)));
        check("password \u{201c}Battery7Staple\u{201d}", Some(("Battery7Staple", 70)));
        check("with password 'battery7staple'", Some(("battery7staple", 75)));
    }

    #[test]
    fn words_addresses_and_placeholders_are_none() {
        for text in [
            "password protection is on",
            "password Battery7Staple",
            "password and user42@mail.example",
            "password someone1@mail.example",
            "password 'reset-link'",
            "password 'your_Passw0rd!'",
            "password to $PASSWORD1!",
            "password 'Qw3!",
            "password f(x1)!=y2",
            "password \n Tr0ub4dor&3",
            "password ",
        ] {
            check(text, None);
        }
    }
}
