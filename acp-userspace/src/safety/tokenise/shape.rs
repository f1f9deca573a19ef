//! One-way tokens that keep a value's shape: each digit becomes a digit, each letter a letter, all else stays.
//!
//! The new characters are drawn from HMAC-SHA-256 over the whole value, by rejection, so that each is equally likely;
//! nobody can go back, not even with the key, but by trying every value. Up to four characters at the end stay as they
//! are, as long as those before them can take a million forms ([`DOMAIN_MIN`]); a value of fewer forms has no such
//! token. Two values may share one: this is no permutation.

use aws_lc_rs::hmac;

/// Forms that the replaced characters can take at least.
const DOMAIN_MIN: u64 = 1_000_000;
/// Characters kept at the end, at most.
const KEPT_MAX: usize = 4;

/// The token of `value`; `None` if it has characters beyond ASCII or too few that change.
pub(super) fn replace(key: &hmac::Key, value: &str) -> Option<String> {
    if !value.is_ascii() {
        return None;
    }
    let changing: Vec<usize> =
        value.bytes().enumerate().filter(|(_, b)| b.is_ascii_alphanumeric()).map(|(i, _)| i).collect();
    let kept = (0..=KEPT_MAX).rev().find(|kept| {
        let replaced = changing.len().saturating_sub(*kept);
        domain(value.as_bytes(), &changing[..replaced]) >= DOMAIN_MIN
    })?;
    let mut out = value.as_bytes().to_vec();
    let mut stream = Stream { key, value, block: [0; 32], at: 32, count: 0 };
    for (nth, at) in changing[..changing.len() - kept].iter().enumerate() {
        out[*at] = stream.draw(out[*at], nth == 0);
    }
    String::from_utf8(out).ok()
}

/// What tells one value from another, for the count of distinct ones.
pub(super) fn digest(key: &hmac::Key, value: &str) -> [u8; 16] {
    let mut digest = [0; 16];
    digest.copy_from_slice(&hmac::sign(key, &[b"distinct ", value.as_bytes()].concat()).as_ref()[..16]);
    digest
}

/// How many forms the characters at these places can take.
fn domain(value: &[u8], places: &[usize]) -> u64 {
    let choices = |(nth, at): (usize, &usize)| u64::from(alphabet(value[*at], nth == 0).1);
    places.iter().enumerate().map(choices).fold(1, u64::saturating_mul)
}

/// The first of the characters that may stand for this one, and how many there are. A number does not come to begin
/// with 0.
fn alphabet(byte: u8, first: bool) -> (u8, u8) {
    match byte {
        b'1'..=b'9' if first => (b'1', 9),
        b'0'..=b'9' => (b'0', 10),
        b'A'..=b'Z' => (b'A', 26),
        _ => (b'a', 26),
    }
}

/// Bytes of HMAC over value and block number.
struct Stream<'a> {
    key: &'a hmac::Key,
    value: &'a str,
    block: [u8; 32],
    at: usize,
    count: u64,
}

impl Stream<'_> {
    fn draw(&mut self, byte: u8, first: bool) -> u8 {
        let (from, choices) = alphabet(byte, first);
        let fair = u8::MAX - u8::MAX % choices;
        loop {
            let drawn = self.byte();
            if drawn < fair {
                return from + drawn % choices;
            }
        }
    }

    fn byte(&mut self) -> u8 {
        if self.at == self.block.len() {
            let message = [b"shape ", &self.count.to_le_bytes()[..], self.value.as_bytes()].concat();
            self.block.copy_from_slice(hmac::sign(self.key, &message).as_ref());
            (self.at, self.count) = (0, self.count + 1);
        }
        self.at += 1;
        self.block[self.at - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
    }

    #[track_caller]
    fn check(value: &str, kept: &str) {
        let token = replace(&key(), value).expect(value);
        assert_ne!(token, value);
        assert!(token.ends_with(kept), "{token}");
        assert_eq!(Some(&token), replace(&key(), value).as_ref());
        assert_ne!(Some(&token), replace(&hmac::Key::new(hmac::HMAC_SHA256, &[8; 32]), value).as_ref());
    }

    #[test]
    fn shape_and_last_characters_stay() {
        check("4111 1111 1111 1111", " 1111");
        check("078-05-1120", "120");
        check("DE89 3704 0044 0532 0130 00", "30 00");
        check("1-415-555-0132", "0132");
    }

    #[test]
    fn threat_a26_few_forms_have_no_one_way_token() {
        for few in ["12345", "078-05", "", "-- --", "ab1", "müller123456789"] {
            assert_eq!(replace(&key(), few), None, "{few}");
        }
        // Of nine digits whose first is none, 9·10⁵ forms would be left if three were kept: two are.
        let token = replace(&key(), "978051120").unwrap();
        assert!(token.ends_with("20") && !token.starts_with('0'));
    }

    proptest! {
        #[test]
        fn each_character_keeps_its_kind(value in "[0-9A-Za-z .-]{0,40}") {
            let Some(token) = replace(&key(), &value) else { return Ok(()) };
            prop_assert_eq!(token.len(), value.len());
            for (a, b) in value.bytes().zip(token.bytes()) {
                prop_assert_eq!(a.is_ascii_digit(), b.is_ascii_digit());
                prop_assert_eq!(a.is_ascii_uppercase(), b.is_ascii_uppercase());
                prop_assert_eq!(a.is_ascii_alphabetic(), b.is_ascii_alphabetic());
                prop_assert!(a.is_ascii_alphanumeric() || a == b);
            }
        }
    }
}
