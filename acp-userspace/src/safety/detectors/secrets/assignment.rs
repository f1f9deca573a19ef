//! Values that are assigned to a secret's name: `password = "…"`, `"api_key": "…"`, `<secret>…</secret>`,
//! `--token …`, `?access_token=…`, "the password is …".
//!
//! The name ends in a word for a secret; what follows the word ("token_type", "passwordHint") is another name's
//! business. Names that hold a word for something public (`csrf`, `page`, `public`) are left. The value is judged by
//! `value`.

use super::chars::{ALNUM, BASE64, UNSIGNED, URL_DOT, Words, contains_any};
use super::value::{self, Promise};
use super::{Kind, Secret, authorization, connection, named, placeholder};

/// The last word of a name, what may close it, and the sign of an assignment.
pub(super) const EXPRESSION: &str = concat!(
    r"(?:passw(?:or)?d|passphrase|passcode|pwd|secret|token|credentials?|api[_\-]?key|apikey|",
    r"(?:access|secret|private|auth|account|encryption|signing|master|shared)[_\-]?key|authkey)",
    r#"(?:[\\"'\])]{0,3}[ \t]{0,8}\??[:=>]|["'],[ ]{0,2}["']| is[ :])"#,
    r"|--[a-z_\-]{0,16}(?:password|passphrase|secret|token|api[_\-]?key|access[_\-]?key) "
);

/// Words a name ends in, without separators and in lower case, and what they promise.
const WORDS: [(&[u8], Promise); 24] = [
    (b"password", Promise::Password),
    (b"passwd", Promise::Password),
    (b"passphrase", Promise::Password),
    (b"passcode", Promise::Password),
    (b"pwd", Promise::Password),
    (b"secret", Promise::Key),
    (b"apikey", Promise::Key),
    (b"accesskey", Promise::Key),
    (b"secretkey", Promise::Key),
    (b"privatekey", Promise::Key),
    (b"authkey", Promise::Key),
    (b"accountkey", Promise::Key),
    (b"encryptionkey", Promise::Key),
    (b"signingkey", Promise::Key),
    (b"masterkey", Promise::Key),
    (b"sharedkey", Promise::Key),
    (b"sharedaccesskey", Promise::Key),
    (b"authtoken", Promise::Key),
    (b"accesstoken", Promise::Key),
    (b"apitoken", Promise::Key),
    (b"refreshtoken", Promise::Key),
    (b"token", Promise::Token),
    (b"credential", Promise::Token),
    (b"credentials", Promise::Token),
];

/// Parts of names that are no secret's, without separators and in lower case.
const PUBLIC: Words = Words::of(&[
    "csrf", "xsrf", "page", "next", "continu", "cancel", "public", "sync", "resum", "syntax", "cursor", "forgot",
    "reset",
]);

/// Longest name that is read.
const NAME_BYTES_MAX: usize = 64;

/// The value assigned behind the sign that ends at `end`.
pub(super) fn find(text: &[u8], end: usize) -> Option<Secret> {
    let place = Place::before(text, end)?;
    let promise = promise(place.name)?;
    let (start, value, quoted) = value_behind(text, end, place.form)?;
    let (kind, confidence) = judge(place.name, promise, value, quoted, text, start)?;
    if place.form == Form::Prose && !is_told(value) {
        return None;
    }
    Some(Secret { kind, range: start..start + value.len(), confidence })
}

/// Words of a value that a sentence makes up.
const SPOKEN: Words = Words::of(&["pass", "pwd", "secret", "token"]);

/// Whether a sentence tells the value: it is long, and does not speak of passwords itself ("the token is securePass1").
fn is_told(value: &[u8]) -> bool {
    const BYTES_MIN: usize = 10;
    value.len() >= BYTES_MIN && !contains_any(value, &SPOKEN)
}

/// Whether [`of_member`] may find something in a value of so many bytes.
pub(super) fn may_be_of_member(key: &[u8], value_len: usize) -> bool {
    let name = &key[..key.len().min(NAME_BYTES_MAX)];
    may_promise(name) || named::may_have_len(value_len) || authorization::is_name(name)
}

/// The value of the JSON member `key`.
pub(super) fn of_member(key: &str, value: &[u8]) -> Option<Secret> {
    let name = &key.as_bytes()[..key.len().min(NAME_BYTES_MAX)];
    if let Some(secret) = authorization::of_member(name, value).or_else(|| named::of_member(name, value)) {
        return Some(secret);
    }
    let start = value.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let trimmed = value.trim_ascii();
    let (kind, confidence) = judge(name, promise(name)?, trimmed, true, value, start)?;
    Some(Secret { kind, range: start..start + trimmed.len(), confidence })
}

/// Whether `key` is a secret's name.
pub(super) fn is_name(key: &str) -> bool {
    promise(&key.as_bytes()[..key.len().min(NAME_BYTES_MAX)]).is_some()
}

/// Whether what begins at `start` is assigned to a secret's name, or to one that ends in "key".
pub(super) fn names(text: &[u8], start: usize) -> bool {
    let before = &text[start.saturating_sub(NAME_BYTES_MAX)..start];
    let before = trim_back(before, |byte| matches!(byte, b'"' | b'\'' | b'`' | b'\\' | b' '));
    let Some((b':' | b'=' | b'>', before)) = before.split_last() else { return false };
    let before = trim_back(before, |byte| matches!(byte, b'"' | b'\'' | b']' | b')' | b'\\' | b' ' | b':' | b'='));
    let name = &before[before.len() - URL_DOT.run_back(before, before.len())..];
    promise(name).is_some() || (name.len() >= 3 && name[name.len() - 3..].eq_ignore_ascii_case(b"key"))
}

/// How the value follows the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Behind `=` or `:`.
    Sign,
    /// In the element the name is of.
    Element,
    /// Behind a comma: the next argument, which is a string.
    Argument,
    /// The next word of a command.
    Option,
    /// Behind "is".
    Prose,
}

/// The name an assignment is to.
struct Place<'a> {
    name: &'a [u8],
    form: Form,
}

impl<'a> Place<'a> {
    fn before(text: &'a [u8], end: usize) -> Option<Self> {
        let before = &text[end.saturating_sub(NAME_BYTES_MAX + 16)..end];
        let (last, rest) = before.split_last()?;
        let (form, rest) = match last {
            b'>' => (Form::Element, rest),
            b'"' | b'\'' => (Form::Argument, trim_back(rest, |byte| matches!(byte, b' ' | b','))),
            b' ' => match rest.strip_suffix(b" is") {
                Some(rest) => (Form::Prose, rest),
                None => (Form::Option, rest),
            },
            b':' if rest.ends_with(b" is") => (Form::Prose, &rest[..rest.len() - 3]),
            _ => (Form::Sign, rest),
        };
        let closed = trim_back(rest, |byte| matches!(byte, b'"' | b'\'' | b']' | b')' | b'\\' | b' ' | b'\t'));
        let len = URL_DOT.run_back(closed, NAME_BYTES_MAX);
        let (before, name) = closed.split_at(closed.len() - len);
        let fits = match form {
            Form::Element => before.ends_with(b"<"),
            Form::Option => name.starts_with(b"--"),
            Form::Argument => before.ends_with(b"\"") || before.ends_with(b"'"),
            Form::Sign | Form::Prose => true,
        };
        fits.then_some(Self { name, form })
    }
}

fn trim_back(text: &[u8], drop: impl Fn(u8) -> bool) -> &[u8] {
    let end = text.iter().rposition(|byte| !drop(*byte)).map_or(0, |at| at + 1);
    &text[..end]
}

/// By the last letter of a word of [`WORDS`]: which letters stand before it.
const ENDS: [u32; 26] = {
    let (mut ends, mut i) = ([0; 26], 0);
    while i < WORDS.len() {
        if let [.., before, last] = WORDS[i].0 {
            ends[(*last - b'a') as usize] |= 1 << (*before - b'a');
        }
        i += 1;
    }
    ends
};

/// Whether the last two letters of `name` are those of some word: of most names they are not.
fn may_promise(name: &[u8]) -> bool {
    let (before, last) = match name {
        [.., before, last] if ALNUM.has(*before) && ALNUM.has(*last) => (before, last),
        _ => {
            let mut plain = name.iter().rev().filter(|byte| ALNUM.has(**byte));
            let (Some(last), Some(before)) = (plain.next(), plain.next()) else { return false };
            (before, last)
        }
    };
    let letter = |byte: &u8| (byte | 0x20).wrapping_sub(b'a');
    let ends = ENDS.get(usize::from(letter(last))).copied().unwrap_or_default();
    letter(before) < 26 && ends >> letter(before) & 1 != 0
}

/// What a name promises: the longest word it ends in. `_`, `-`, `.` and case do not count.
fn promise(name: &[u8]) -> Option<Promise> {
    let name = &name[..name.len().min(NAME_BYTES_MAX)];
    if !may_promise(name) {
        return None;
    }
    let mut plain = [0u8; NAME_BYTES_MAX];
    let mut len = 0;
    for byte in name.iter().filter(|byte| ALNUM.has(**byte)) {
        plain[len] = byte.to_ascii_lowercase();
        len += 1;
    }
    let plain = &plain[..len];
    let word = WORDS.iter().filter(|(word, _)| plain.ends_with(word)).max_by_key(|(word, _)| word.len())?;
    (!contains_any(plain, &PUBLIC)).then_some(word.1)
}

/// The value behind the sign at `end`: where it begins, what it is, whether it is a string.
fn value_behind(text: &[u8], end: usize, form: Form) -> Option<(usize, &[u8], bool)> {
    let rest = &text[end..text.len().min(end + value::BYTES_MAX + 32)];
    if form == Form::Argument {
        return string(rest, text[end - 1]).map(|value| (end, value, true));
    }
    // `==` compares, and `::` is of a path.
    let sign = text[end - 1];
    if matches!(sign, b'=' | b':') && rest.first() == Some(&sign) && rest.get(1) != Some(&b':') {
        return None;
    }
    // The rest of the sign (`:=`, `=>`, `:::=`), blanks, and the escape of a quote.
    let at = rest.iter().take(16).take_while(|byte| matches!(byte, b' ' | b'\t' | b'=' | b'>' | b':' | b'?')).count();
    let at = at + rest[at..].iter().take(2).take_while(|byte| **byte == b'\\').count();
    let value = &rest[at..];
    match value.first()? {
        quote @ (b'"' | b'\'' | b'`') => Some((end + at + 1, string(&value[1..], *quote)?, true)),
        _ => {
            let word =
                trim_back(&value[..word_len(value, form)], |byte| matches!(byte, b'.' | b',' | b'?' | b'"' | b'\''));
            // Three dots stand for what was left out.
            let whole = !value[word.len()..].starts_with(b"..");
            whole.then_some((end + at, word, form == Form::Element))
        }
    }
}

/// How long the value without quotes is that `text` begins with. Behind the first part of it only what a token is made
/// of belongs to it, signs excepted: a row of assignments is read once, not once for each.
fn word_len(text: &[u8], form: Form) -> usize {
    const FIRST_BYTES: usize = 128;
    let len = text.iter().take(FIRST_BYTES).take_while(|byte| !ends_word(**byte, form)).count();
    if len < FIRST_BYTES { len } else { len + UNSIGNED.run(&text[len..], value::BYTES_MAX - len) }
}

/// What ends a value that has no quotes.
fn ends_word(byte: u8, form: Form) -> bool {
    byte.is_ascii_whitespace()
        || byte == b'<'
        || (form == Form::Sign && matches!(byte, b';' | b'&' | b',' | b'"' | b'\'' | b'`' | b'}' | b'\\'))
}

/// The string that goes on to the next `quote` in the line.
fn string(text: &[u8], quote: u8) -> Option<&[u8]> {
    let len = text.iter().position(|byte| *byte == quote || *byte == b'\n')?;
    let string = if text[len] == quote { &text[..len] } else { return None };
    Some(string.strip_suffix(b"\\").unwrap_or(string))
}

/// What the value of a name is, and how sure.
fn judge(name: &[u8], promise: Promise, value: &[u8], quoted: bool, text: &[u8], start: usize) -> Option<(Kind, u8)> {
    if promise == Promise::Key && is_aws_secret(name, value) {
        return Some((Kind::AwsKey, 95));
    }
    let confidence = value::judge(promise, value, quoted)?;
    if promise == Promise::Password && connection::is_in_settings(text, start) {
        return Some((Kind::ConnectionString, confidence.max(85)));
    }
    Some((Kind::GenericSecret, confidence))
}

/// AWS IAM user guide, "Managing access keys": a secret access key is forty characters of base64.
fn is_aws_secret(name: &[u8], value: &[u8]) -> bool {
    const BITS_MIN: u32 = 15 * value::ONE_BIT / 4;
    value.len() == 40
        && value.iter().all(|byte| BASE64.has(*byte))
        && value.iter().any(u8::is_ascii_digit)
        && (contains_plain(name, b"aws") || contains_plain(name, b"secretaccess"))
        && value::entropy(value) >= BITS_MIN
        && !placeholder::is_token(value)
}

fn contains_plain(name: &[u8], word: &[u8]) -> bool {
    let mut matched = 0;
    name.iter().filter(|byte| ALNUM.has(**byte)).any(|byte| {
        let byte = byte.to_ascii_lowercase();
        matched = if byte == word[matched] { matched + 1 } else { usize::from(byte == word[0]) };
        matched == word.len()
    })
}
