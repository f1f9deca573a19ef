//! Tokens that begin with a prefix of their provider: a row of the tables in `providers` against a place in a text.

use super::chars::{ALNUM, Set, begins_run, ends};
use super::{FORWARD_BYTES_MAX, Kind, Secret, assignment, placeholder};

/// How many bytes every prefix's expression takes behind the prefix: `[A-Za-z0-9_\-]{8}` is rare behind three bytes
/// that are not.
pub(super) const TAIL: usize = 8;

/// A provider's token.
#[derive(Debug)]
pub(super) struct Token {
    /// What it is.
    pub kind: Kind,
    /// What it begins with.
    pub prefix: &'static str,
    /// What follows.
    pub body: &'static [Part],
    /// What else holds.
    pub check: Check,
}

impl Token {
    /// What most of the body is made of.
    const fn set(&self) -> Set {
        match self.body {
            [Part::Of(set, ..), ..] | [Part::Is(_), Part::Of(set, ..), ..] => *set,
            _ => ALNUM,
        }
    }
}

/// A part of a token's body.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// These bytes.
    Is(&'static str),
    /// So many of the set, from the first number to the second; more are not of the token.
    Of(Set, u16, u16),
    /// None of the set, or so many.
    Maybe(Set, u16),
}

/// What a token must satisfy beyond its characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Nothing: prefix and length say it.
    Form,
    /// Letters and digits are both there: a word in capitals is none.
    Mixed,
    /// It ends in these bytes.
    Ends(&'static str),
    /// The last six characters are the CRC-32 of those before in base 62. It decides the confidence only: what has
    /// the form and a wrong sum is a mistyped token.
    Crc,
    /// It is reported only where a secret's name is assigned: prefix and form are shared with what is no secret.
    Named,
    /// It is not one of those that its provider's samples made public.
    Unpublished(&'static [&'static str]),
    /// The characters say it all: what looks like filler may be the key.
    Exact,
}

/// The token whose prefix ended [`TAIL`] bytes before `end`.
pub(super) fn find(text: &[u8], end: usize, tokens: &[Token], key: Option<&str>) -> Option<Secret> {
    let body = end.checked_sub(TAIL)?;
    let before = &text[..body];
    tokens
        .iter()
        .filter(|token| before.ends_with(token.prefix.as_bytes()))
        .find_map(|token| judge(text, body, token, key))
}

fn judge(text: &[u8], body: usize, token: &Token, key: Option<&str>) -> Option<Secret> {
    let start = body - token.prefix.len();
    if !begins_run(text, start, token.set()) {
        return None;
    }
    let end = body + body_len(&text[body..], token.body)?;
    let found = &text[body..end];
    if !ends(text, end) || (token.check != Check::Exact && placeholder::is_token(found)) {
        return None;
    }
    let confidence = match token.check {
        Check::Form | Check::Exact => 95,
        Check::Mixed => {
            (found.iter().any(u8::is_ascii_digit) && !found.iter().all(u8::is_ascii_digit)).then_some(90)?
        }
        Check::Ends(last) => found.ends_with(last.as_bytes()).then_some(98)?,
        Check::Crc => 90 + 9 * u8::from(has_crc(found)),
        Check::Named => (key.is_some_and(assignment::is_name) || assignment::names(text, start)).then_some(85)?,
        Check::Unpublished(keys) => (!keys.iter().any(|key| key.as_bytes() == &text[start..end])).then_some(95)?,
    };
    Some(Secret { kind: token.kind, range: start..end, confidence })
}

/// How long the body at the beginning of `text` is.
fn body_len(text: &[u8], parts: &[Part]) -> Option<usize> {
    let text = &text[..text.len().min(FORWARD_BYTES_MAX)];
    parts.iter().try_fold(0, |at, part| {
        let rest = &text[at..];
        let len = match *part {
            Part::Is(bytes) => rest.starts_with(bytes.as_bytes()).then_some(bytes.len()),
            Part::Of(set, min, max) => {
                let run = set.run(rest, usize::from(max));
                (run >= usize::from(min)).then_some(run)
            }
            Part::Maybe(set, max) => Some(set.run(rest, usize::from(max))),
        }?;
        Some(at + len)
    })
}

/// Whether `body` ends in its own checksum
/// (GitHub, "Behind GitHub's new authentication token formats", 2021; npm took the form over).
fn has_crc(body: &[u8]) -> bool {
    let Some((random, sum)) = body.split_last_chunk::<6>() else { return false };
    let sum = sum.iter().try_fold(0u64, |sum, byte| Some(sum * 62 + base62(*byte)?));
    sum == Some(u64::from(crc32(random)))
}

fn base62(byte: u8) -> Option<u64> {
    let digit = match byte {
        b'0'..=b'9' => byte - b'0',
        b'A'..=b'Z' => byte - b'A' + 10,
        b'a'..=b'z' => byte - b'a' + 36,
        _ => return None,
    };
    Some(u64::from(digit))
}

/// What four bits do to a CRC-32.
const CRC_OF_FOUR: [u32; 16] = {
    let (mut table, mut four) = ([0; 16], 0);
    while four < 16 {
        let (mut crc, mut bit) = (four as u32, 0);
        while bit < 4 {
            crc = crc >> 1 ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
            bit += 1;
        }
        table[four] = crc;
        four += 1;
    }
    table
};

/// CRC-32 as in ISO 3309, four bits at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let four = |crc: u32| crc >> 4 ^ CRC_OF_FOUR[(crc & 15) as usize];
    !bytes.iter().fold(!0, |crc, byte| four(four(crc ^ u32::from(*byte))))
}

/// Whether `text` is a UUID (RFC 9562 §4) in whole.
pub(super) fn is_uuid(text: &[u8]) -> bool {
    text.len() == 36
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn a_checksum_raises_the_confidence() {
        // Made for this test: CRC-32 of the thirty characters, written in base 62 with six.
        let random = b"abcdefghijklmnopqrstuvwxyz0123";
        let mut sum = u64::from(crc32(random));
        let mut body = [&random[..], b"000000"].concat();
        for at in (30..36).rev() {
            body[at] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[(sum % 62) as usize];
            sum /= 62;
        }
        assert!(has_crc(&body));
        body[3] = b'!';
        assert!(!has_crc(&body));
        assert!(!has_crc(b"short"));
    }

    #[test]
    fn uuids_are_told_by_their_dashes() {
        assert!(is_uuid(b"12345678-ABCD-ABCD-ABCD-1234567890AB"));
        assert!(!is_uuid(b"12345678-ABCD-ABCD-ABCD-1234567890AG"));
        assert!(!is_uuid(b"1234567-8ABCD-ABCD-ABCD-1234567890AB"));
    }
}
