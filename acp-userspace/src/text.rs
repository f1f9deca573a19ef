//! The one way a caller's string reaches audit, logs, metrics or a problem document (THREATS A16).

use std::borrow::Cow;
use std::fmt;

/// Longest excerpt of a caller's string that leaves the gateway, in bytes.
pub const CALLER_TEXT_BYTES_MAX: usize = 256;

/// A caller's string made fit to print: cut at [`CALLER_TEXT_BYTES_MAX`] bytes, every control and format character
/// (terminal escapes, bidi overrides, zero-width) escaped as `\u{…}`.
///
/// Runs of nine or more digits, however separated, print as `#`: an identifier that a caller slipped into a path, a tool
/// name, a `kid` or a key must not reach a log. So does what stands around an `@`, and all but the first eight characters
/// of a long run of letters of both cases and digits, which may be a secret. (Values of a body never come here at all.)
#[derive(Clone, Copy)]
pub struct CallerText<'a>(&'a str);

impl<'a> CallerText<'a> {
    /// Wraps a caller's string.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The printable form; borrows when nothing had to change.
    #[must_use]
    pub fn printable(self) -> Cow<'a, str> {
        let plain = self.0.len() <= CALLER_TEXT_BYTES_MAX
            && self.0.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
            && self.0.bytes().filter(u8::is_ascii_digit).count() < 9
            && !self.0.contains('@')
            && (self.0.len() < SECRET_BYTES_MIN || !holds_secret(self.0));
        if plain { Cow::Borrowed(self.0) } else { Cow::Owned(self.to_string()) }
    }
}

impl fmt::Display for CallerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cut = self.0.floor_char_boundary(CALLER_TEXT_BYTES_MAX);
        let text = &self.0[..cut];
        let mut rest = text;
        while !rest.is_empty() {
            let (digits, len) = digit_run(rest);
            if digits >= 9 {
                f.write_str("#########")?;
                rest = &rest[len..];
                continue;
            }
            if let Some(len) = address(rest) {
                f.write_str("#@#")?;
                rest = &rest[len..];
                continue;
            }
            if let Some(len) = secret_here(rest) {
                write!(f, "{}#########", &rest[..SECRET_BYTES_SHOWN])?;
                rest = &rest[len..];
                continue;
            }
            let head = &rest[..len.max(rest.chars().next().map_or(1, char::len_utf8))];
            for c in head.chars() {
                if c.is_control() || is_format(c) {
                    write!(f, "{}", c.escape_unicode())?;
                } else {
                    fmt::Write::write_char(f, c)?;
                }
            }
            rest = &rest[head.len()..];
        }
        if cut < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}

impl fmt::Debug for CallerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Digits at the start of `text`, single separators between them allowed: how many, and how many bytes they span.
fn digit_run(text: &str) -> (usize, usize) {
    let (mut digits, mut end) = (0, 0);
    let mut separator = false;
    for (i, c) in text.char_indices() {
        if c.is_numeric() {
            digits += 1;
            end = i + c.len_utf8();
            separator = false;
        } else if digits > 0 && !separator && matches!(c, '-' | ' ' | '.' | '/' | '_') {
            separator = true;
        } else {
            break;
        }
    }
    (digits, end)
}

/// Shortest run of letters and digits that may be a secret: 128 bits in base 64.
const SECRET_BYTES_MIN: usize = 22;
/// How much of it is shown: enough to tell one key id from another.
const SECRET_BYTES_SHOWN: usize = 8;

/// Length of the word at the start of `text` if it is an address's: it has an `@` in it.
fn address(text: &str) -> Option<usize> {
    let len = text.find(|c: char| c.is_whitespace() || c.is_control() || "/\\?&=,;:<>()[]{}\"'".contains(c));
    let len = len.unwrap_or(text.len());
    text[..len].contains('@').then_some(len)
}

/// Length of the run of letters and digits at the start of `text` if it is long and mixed.
fn secret_here(text: &str) -> Option<usize> {
    let len = text.bytes().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len());
    let run = &text.as_bytes()[..len];
    let has = |kind: fn(&u8) -> bool| run.iter().any(kind);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    (len >= SECRET_BYTES_MIN && mixed).then_some(len)
}

/// Whether such a run begins anywhere.
fn holds_secret(text: &str) -> bool {
    let begins = |at: &usize| *at == 0 || !text.as_bytes()[at - 1].is_ascii_alphanumeric();
    (0..text.len()).filter(|at| text.is_char_boundary(*at)).filter(begins).any(|at| secret_here(&text[at..]).is_some())
}

/// Characters that print as nothing or reorder what follows (Unicode general category Cf, the ones in use).
fn is_format(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: &str) {
        assert_eq!(CallerText::new(input).to_string(), expected);
        assert_eq!(CallerText::new(input).printable(), expected);
    }

    #[test]
    fn threat_a16_caller_text_is_cut_escaped_and_screened() {
        check("crm/contacts", "crm/contacts");
        check("a\u{1b}[31mred", "a\\u{1b}[31mred");
        check("bidi\u{202e}x", "bidi\\u{202e}x");
        check("ssn 078-05-1120!", "ssn #########!");
        check("id12345678", "id12345678");
        check("4111 1111 1111 1111", "#########");
        check("users/canary@leak.example/x", "users/#@#/x");
        check("@", "#@#");
        check("é@x y", "#@# y");
        check("use 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!", "use ghp_wWPw5k4a#########!");
        check("crm/exportContactsOfCustomers", "crm/exportContactsOfCustomers");
        check("b5c2e8d0-aaaa-bbbb-cccc-0a0a0a0a0a0a", "b5c2e8d0-aaaa-bbbb-cccc-0a0a0a0a0a0a");
        let long = "é".repeat(200);
        let printed = CallerText::new(&long).to_string();
        assert!(printed.len() <= CALLER_TEXT_BYTES_MAX + '…'.len_utf8());
        assert!(printed.ends_with('…'));
    }
}
