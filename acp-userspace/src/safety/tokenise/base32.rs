//! Base32 (RFC 4648 §6) in lower case, without padding: letters and digits only, so that a token ends where its last
//! character does, whatever punctuation follows it.

const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Whether a byte is one of the digits.
pub(super) const fn is_digit(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'2'..=b'7')
}

/// Appends the digits of `bytes`.
pub(super) fn encode(bytes: &[u8], out: &mut String) {
    out.reserve(bytes.len() * 8 / 5 + 1);
    for chunk in bytes.chunks(5) {
        let mut five = [0; 5];
        five[..chunk.len()].copy_from_slice(chunk);
        let bits = five.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for digit in 0..(chunk.len() * 8).div_ceil(5) {
            out.push(char::from(DIGITS[(bits >> (35 - 5 * digit) & 31) as usize]));
        }
    }
}

/// The bytes of `digits`; `None` if [`encode`] makes no such digits.
pub(super) fn decode(digits: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(digits.len() * 5 / 8);
    for chunk in digits.as_bytes().chunks(8) {
        let mut bits = 0_u64;
        for digit in chunk {
            let value = DIGITS.iter().position(|known| known == digit)?;
            bits = bits << 5 | value as u64;
        }
        let len = chunk.len() * 5 / 8;
        let spare = chunk.len() * 5 - len * 8;
        // One text for each value: no digit too many, and nothing in the bits that are left over.
        if spare >= 5 || bits & ((1 << spare) - 1) != 0 {
            return None;
        }
        out.extend_from_slice(&(bits >> spare).to_be_bytes()[8 - len..]);
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 4648 §10, in lower case and without padding.
    #[test]
    fn encodes_as_the_rfc_has_it() {
        for (bytes, digits) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foob", "mzxw6yq"), ("foobar", "mzxw6ytboi")]
        {
            let mut out = String::new();
            encode(bytes.as_bytes(), &mut out);
            assert_eq!(out, digits);
            assert_eq!(decode(digits).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn refuses_what_no_bytes_encode_to() {
        for digits in ["m", "mz7", "mzxw6yqa", "mzxw6y", "MY", "m1", "my======"] {
            let accepted = decode(digits).is_some_and(|bytes| {
                let mut again = String::new();
                encode(&bytes, &mut again);
                again == digits
            });
            assert_eq!(decode(digits).is_some(), accepted, "{digits}");
        }
        assert!(decode("m").is_none() && decode("mz").is_none() && decode("MY").is_none());
    }

    proptest! {
        #[test]
        fn each_value_has_one_text(bytes in prop::collection::vec(any::<u8>(), 0..40), digits in "[a-z2-7]{0,24}") {
            let mut out = String::new();
            encode(&bytes, &mut out);
            prop_assert_eq!(decode(&out), Some(bytes));
            if let Some(bytes) = decode(&digits) {
                let mut again = String::new();
                encode(&bytes, &mut again);
                prop_assert_eq!(again, digits);
            }
        }
    }
}
