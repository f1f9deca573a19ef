//! Whether a value looks like a secret, where only its name says that it may be one: length, characters, entropy.
//!
//! Shannon entropy is taken over the value's bytes in whole numbers (256ths of a bit), and holds against what its
//! length allows: eight different bytes have three bits, all that eight can have. Left, whatever the entropy: what
//! stands for a secret (`placeholder`), paths, URLs, calls, names and words joined by `_`, `-`, `.` or capitals,
//! versions, dates, and one of the above behind a scheme.

use super::chars::{ALNUM, ANY_HEX, DIGIT, LETTER, UNSIGNED, Words, contains_any};
use super::{placeholder, token};

/// Fewest bytes of a secret.
pub(super) const BYTES_MIN: usize = 8;
/// Most bytes of one that is judged: opaque tokens of OAuth servers have up to two thousand.
pub(super) const BYTES_MAX: usize = 2048;
/// Most bytes of a password.
const PASSWORD_BYTES_MAX: usize = 128;

/// What the name promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Promise {
    /// A password: people choose these.
    Password,
    /// A key or a secret: machines make these.
    Key,
    /// A token, which is a key or any of the many other things of the name.
    Token,
}

/// How sure it is, in percent, that `value` is what `promise` says. `quoted`: it is a string, so no code.
pub(super) fn judge(promise: Promise, value: &[u8], quoted: bool) -> Option<u8> {
    if !(BYTES_MIN..=BYTES_MAX).contains(&value.len()) {
        return None;
    }
    // What is cheap and refuses most comes first.
    let confidence = if promise == Promise::Password { password(value, quoted) } else { key(promise, value) }?;
    let named = !quoted && is_identifier(value);
    (!named && !is_location(value) && !placeholder::is_value(value)).then_some(confidence)
}

/// People's passwords mix characters, and are no names of variables.
fn password(value: &[u8], quoted: bool) -> Option<u8> {
    const BITS_MIN: u32 = 5 * ONE_BIT / 2;
    let has = |test: fn(&u8) -> bool| value.iter().any(test);
    let digit = has(u8::is_ascii_digit);
    let symbol = has(|byte| byte.is_ascii_punctuation() && !matches!(byte, b'_' | b'-' | b'.'));
    let mixed = has(u8::is_ascii_alphabetic) && (digit || (symbol && quoted && !is_words(value)));
    let code = !quoted && has(|byte| b"()[]{}<>|".contains(byte));
    if value.len() > PASSWORD_BYTES_MAX || !mixed || code || has(u8::is_ascii_whitespace) || is_call(value) {
        return None;
    }
    let long = symbol || value.len() >= 12;
    (entropy(value) >= BITS_MIN).then_some(if digit && long { 75 } else { 65 })
}

/// Machines' keys are of one alphabet, without words.
fn key(promise: Promise, value: &[u8]) -> Option<u8> {
    let padding = value.iter().rev().take_while(|byte| **byte == b'=').count();
    if !value[..value.len() - padding]
        .iter()
        .all(|byte| UNSIGNED.has(*byte) || matches!(byte, b'%' | b'!' | b'#' | b'$'))
    {
        return None;
    }
    if token::is_uuid(value) {
        return (promise == Promise::Key).then_some(65);
    }
    let digits = value.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits < 2 || digits == value.len() || is_words(value) || is_version(value) || is_call(value) {
        return None;
    }
    let hex = value.iter().all(|byte| ANY_HEX.has(*byte));
    let enough = if hex { 16 } else { 20 };
    let least = match (value.len() >= enough, hex, promise) {
        (true, true, _) => 11 * ONE_BIT / 4,
        (true, false, _) => 13 * ONE_BIT / 4,
        // Short ones use nearly every byte but once, and change between letters and digits often.
        (false, _, Promise::Token) if value.len() < 11 => return None,
        (false, ..) if changes(value) < 3 => return None,
        (false, ..) => 11 * ONE_BIT / 4,
    };
    let confidence = if value.len() >= enough { 75 } else { 55 };
    (entropy(value) >= least).then_some(confidence)
}

/// What URLs and names of hosts hold.
const HOSTS: Words = Words::of(&["://", ".com", ".org", ".net"]);
/// What paths of Rust and C++ hold.
const PATHS: Words = Words::of(&["::", "->"]);

/// A path, an address, or a URL without a password.
pub(super) fn is_location(value: &[u8]) -> bool {
    let path = matches!(value[0], b'/' | b'.' | b'~' | b'\\') && value.iter().any(|byte| matches!(byte, b'/' | b'\\'));
    let suffix = value.iter().rposition(|byte| *byte == b'.').map_or(&value[..0], |dot| &value[dot + 1..]);
    let file = (1..=5).contains(&suffix.len()) && suffix.iter().all(u8::is_ascii_lowercase);
    (path && (file || is_words(value)))
        || value.get(1..3) == Some(b":\\")
        || value.starts_with(b"arn:")
        || value.starts_with(b"urn:")
        || contains_any(value, &HOSTS)
}

/// `getToken()`, `env.TOKEN`, `config["token"]`, `std::env::var`.
fn is_call(value: &[u8]) -> bool {
    contains_any(value, &PATHS)
        || (value.ends_with(b")") && value.contains(&b'('))
        || (value.ends_with(b"]") && value.contains(&b'['))
}

/// Whether the value is words: between separators and at capitals, letters alone, or a few digits behind them.
fn is_words(value: &[u8]) -> bool {
    value.split(|byte| !ALNUM.has(*byte)).all(|part| {
        let digits = DIGIT.run_back(part, part.len());
        let letters = &part[..part.len() - digits];
        let word = letters.iter().all(|byte| LETTER.has(*byte)) && !is_scrambled(letters);
        word && (digits <= 5 || letters.is_empty() && digits <= 8)
    })
}

/// Whether the value, which has no quotes, is the name of a variable or a type: words joined by `_`, or a long one.
fn is_identifier(value: &[u8]) -> bool {
    const WORD_BYTES_MIN: usize = 7;
    const CHANGES_MAX: usize = 4;
    let named = value.iter().all(|byte| ALNUM.has(*byte) || matches!(byte, b'_' | b'.')) && !value[0].is_ascii_digit();
    let long = |part: &[u8]| part.len() >= WORD_BYTES_MIN && !is_scrambled(part);
    let words = value.contains(&b'_') && is_words(value);
    named && (words || changes(value) <= CHANGES_MAX && value.split(|byte| !LETTER.has(*byte)).any(long))
}

/// Whether capitals stand as nobody sets them: more than every third letter begins a word.
fn is_scrambled(letters: &[u8]) -> bool {
    let humps = letters.windows(2).filter(|pair| pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()).count();
    humps * 3 > letters.len() || (humps > 2 && humps * 4 > letters.len())
}

/// `1.2.3-rc.1`, `2024-01-31T10:00:00Z`, `v1beta2`.
fn is_version(value: &[u8]) -> bool {
    let rest = value.strip_prefix(b"v").unwrap_or(value);
    let numbers = rest.split(|byte| matches!(byte, b'.' | b'-' | b':' | b'_' | b'+'));
    let plain = numbers.filter(|part| !part.is_empty() && part.iter().all(u8::is_ascii_digit)).count();
    plain > 2
}

/// How often a letter follows a digit or the other way round.
fn changes(value: &[u8]) -> usize {
    value.windows(2).filter(|pair| DIGIT.has(pair[0]) != DIGIT.has(pair[1])).count()
}

/// One bit, in the unit of [`entropy`].
pub(super) const ONE_BIT: u32 = 256;

/// Shannon entropy per byte of the first 256 bytes of `value`, in 256ths of a bit: log₂ n − (Σ c·log₂ c) / n.
pub(super) fn entropy(value: &[u8]) -> u32 {
    let value = &value[..value.len().min(COUNT_MAX)];
    let Ok(len @ 1..) = u32::try_from(value.len()) else { return 0 };
    let mut counts = [0u16; 256];
    for &byte in value {
        counts[usize::from(byte)] += 1;
    }
    // Each of the c equal bytes adds log₂ c.
    let sum: u32 = value.iter().map(|byte| LOG2[usize::from(counts[usize::from(*byte)])]).sum();
    LOG2[value.len()] - (sum / len).min(LOG2[value.len()])
}

const COUNT_MAX: usize = 256;

/// log₂ n in 256ths, rounded down; 0 for 0.
const LOG2: [u32; COUNT_MAX + 1] = {
    let mut table = [0; COUNT_MAX + 1];
    let mut n = 1;
    while n <= COUNT_MAX {
        table[n] = log2(n as u64);
        n += 1;
    }
    table
};

/// The whole part is the highest bit; each further bit is one squaring of what remains (as 1.31 fixed point).
const fn log2(n: u64) -> u32 {
    let whole = n.ilog2();
    let mut rest = (n << 31) >> whole;
    let (mut bits, mut fraction) = (0, 0);
    while bits < 8 {
        rest = (rest * rest) >> 31;
        let carry = rest >> 32;
        rest >>= carry;
        fraction = fraction << 1 | carry as u32;
        bits += 1;
    }
    whole << 8 | fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_what_the_formula_says() {
        for text in
            ["a", "aaaa", "abab", "abcd", "hunter2", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzkey", "0123456789abcdef"]
        {
            let n = text.len() as f64;
            let mut counts = std::collections::BTreeMap::<u8, f64>::new();
            for byte in text.bytes() {
                *counts.entry(byte).or_default() += 1.0;
            }
            let bits: f64 = counts.values().map(|c| -c / n * (c / n).log2()).sum();
            let got = f64::from(entropy(text.as_bytes())) / f64::from(ONE_BIT);
            assert!((got - bits).abs() < 0.02, "{text} {got} {bits}");
        }
        assert_eq!(entropy(b""), 0);
    }

    #[track_caller]
    fn check(promise: Promise, value: &str, expected: bool) {
        assert_eq!(judge(promise, value.as_bytes(), true).is_some(), expected, "{value}");
    }

    #[test]
    fn keys_are_told_from_words() {
        check(Promise::Key, "6da89121079f83b2eb6acccf8219ea982c3d79bccc3e9c6a85856480661f8fde", true);
        check(Promise::Token, "HXe8DGg1iJd2AopzyxkFB7F2", true);
        check(Promise::Key, "Sk94HG7f6KB", true);
        check(Promise::Key, "3fa85f64-5717-4562-b3fc-2c963f66afa6", true);
        check(Promise::Token, "3fa85f64-5717-4562-b3fc-2c963f66afa6", false);
        for words in ["NEXUS-GPT4-API-KEY", "access_token_v2", "getAccessToken()", "rc0.13.0_20230412_0712-SNAPSHOT"] {
            check(Promise::Key, words, false);
        }
        for location in ["/run/secrets/token", "https://github.com/login/oauth/access_token", "C:\\keys\\a1b2c3d4"] {
            check(Promise::Key, location, false);
        }
    }

    #[test]
    fn passwords_are_told_from_words() {
        for password in ["hunter2hunter", "Tr0ub4dor&3", "m42ploz2wd", "Summer2024!"] {
            check(Promise::Password, password, true);
        }
        for other in
            ["password", "my_password", "changeme1!", "${DB_PASSWORD}", "<your password>", "********", "short1"]
        {
            check(Promise::Password, other, false);
        }
    }
}
