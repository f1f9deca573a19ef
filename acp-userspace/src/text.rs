//! The one way a caller's string reaches audit, logs, metrics or a problem document (THREATS A16).

use std::borrow::Cow;
use std::fmt;

/// Longest excerpt of a caller's string that leaves the gateway, in bytes.
pub const CALLER_TEXT_BYTES_MAX: usize = 256;

/// A caller's string made fit to print: cut at [`CALLER_TEXT_BYTES_MAX`] bytes, every control and format character
/// (terminal escapes, bidi overrides, zero-width) escaped as `\u{…}`.
///
/// Runs of nine or more digits, however separated, print as `#`: an identifier that a caller
/// slipped into a path, a tool name or a `kid` must not reach a log. (Body content never comes here at all.)
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
            && self.0.bytes().filter(u8::is_ascii_digit).count() < 9;
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
        let long = "é".repeat(200);
        let printed = CallerText::new(&long).to_string();
        assert!(printed.len() <= CALLER_TEXT_BYTES_MAX + '…'.len_utf8());
        assert!(printed.ends_with('…'));
    }
}
