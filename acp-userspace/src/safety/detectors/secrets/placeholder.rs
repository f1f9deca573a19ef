//! What people write where a secret would stand.

use super::chars::{LETTER, Words, contains_any};

/// Words nobody's generator makes; the shorter ones of the kind ("test", "fake") occur in random text.
const WORDS: Words = Words::of(&[
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "redacted",
    "your_",
    "your-",
    "_your",
    "_here",
    "-here",
    "insert_",
    "example_",
]);

/// Words of made-up values: a sample, or what people type who make up a key.
const MADE_UP: Words = Words::of(&["example", "dummy", "abc123", "abcdefgh", "123456789"]);

/// What is given as a password by those who give none.
const PASSWORDS: [&[u8]; 30] = [
    b"password",
    b"passwd",
    b"passw0rd",
    b"passphrase",
    b"pass",
    b"pwd",
    b"pw",
    b"secret",
    b"token",
    b"key",
    b"apikey",
    b"api_key",
    b"user",
    b"username",
    b"none",
    b"null",
    b"nil",
    b"true",
    b"false",
    b"undefined",
    b"string",
    b"test",
    b"testing",
    b"example",
    b"dummy",
    b"sample",
    b"foobar",
    b"hidden",
    b"default",
    b"credentials",
];

/// Whether the body of a token, all of whose characters were checked, stands for one: filler, a word that says so, or
/// the ending AWS gives the keys of its documentation.
pub(super) fn is_token(body: &[u8]) -> bool {
    is_filler(body) || body.ends_with(b"EXAMPLE") || body.ends_with(b"EXAMPLEKEY") || contains_any(body, &WORDS)
}

/// Whether one character is repeated as people do it to fill a form: `x` more than five times, or half of the body.
fn is_filler(body: &[u8]) -> bool {
    let (mut longest_x, mut longest, mut len, mut last) = (0, 0, 0, 0);
    for &byte in body {
        len = if byte == last { len + 1 } else { 1 };
        last = byte;
        match byte {
            b'x' | b'X' | b'*' | b'.' => longest_x = longest_x.max(len),
            b'0' | b'1' | b'a' | b'A' | b'-' | b'_' => longest = longest.max(len),
            _ => {}
        }
    }
    longest_x > 5 || longest * 2 > body.len().max(6)
}

/// Whether a value that may hold any character is a reference, a template, a mask or a word in a password's place.
pub(super) fn is_value(value: &[u8]) -> bool {
    let [first, ..] = value else { return true };
    let word = value.strip_prefix(b"my").or(value.strip_prefix(b"My")).unwrap_or(value);
    let word = word.strip_prefix(b"_").or(word.strip_prefix(b"-")).unwrap_or(word);
    is_reference(*first, value)
        || is_filler(value)
        || contains_any(value, &WORDS)
        || contains_any(value, &MADE_UP)
        || value.starts_with(b"your")
        || value.starts_with(b"my_")
        || value.starts_with(b"my-")
        || value.iter().all(|byte| matches!(byte, b'*' | b'x' | b'X' | b'.' | b'-' | b'?' | b'#'))
        || PASSWORDS.iter().any(|password| word.eq_ignore_ascii_case(password))
}

/// `$VAR`, `${var}`, `$(command)`, `{{template}}`, `<your key>`, `%s`, `%VAR%`, `[redacted]`, `#{ruby}`, `:name`, `@var`.
fn is_reference(first: u8, value: &[u8]) -> bool {
    let inside = |open: &[u8], close: u8| {
        value.windows(open.len()).position(|w| w == open).is_some_and(|at| value[at..].contains(&close))
    };
    match first {
        b'$' | b'<' | b'{' | b'[' | b'(' => true,
        b'%' => value.get(1).is_some_and(|c| LETTER.has(*c) || matches!(c, b'(' | b'{' | b'[')),
        b':' | b'&' | b'@' => value[1..].iter().all(|c| LETTER.has(*c) || *c == b'_'),
        _ => {
            inside(b"${", b'}')
                || inside(b"{{", b'}')
                || inside(b"#{", b'}')
                || inside(b"$(", b')')
                || inside(b"<", b'>')
        }
    }
}
