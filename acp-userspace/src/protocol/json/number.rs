//! Numbers: their grammar (RFC 8259 §6), and an exact reading or none.

use super::JsonError;

/// Decimal places that policies can compute with (Cedar's `decimal`).
const PLACES: usize = 4;

/// What a number is worth, where that can be said exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Number {
    /// An integer of 64 bits, written without fraction or exponent.
    Int(i64),
    /// Ten-thousandths: written with a fraction that needs at most four places.
    Decimal(i64),
    /// Anything else: out of range, finer, or written with an exponent. Readers disagree about those, so no
    /// value is given (THREATS A9).
    Inexact,
}

impl Number {
    /// Reads a literal that [`end`] accepted.
    #[must_use]
    pub(super) fn read(literal: &str) -> Self {
        let (whole, fraction) = match literal.split_once('.') {
            None => return literal.parse().map_or(Self::Inexact, Self::Int),
            Some((whole, fraction)) => (whole, fraction.trim_end_matches('0')),
        };
        if fraction.len() > PLACES || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Self::Inexact;
        }
        let scale = 10_i64.pow(PLACES as u32);
        // At most four digits, so padding to four and parsing cannot fail.
        let parts = whole.parse::<i64>().ok().zip(format!("{fraction:0<PLACES$}").parse::<i64>().ok());
        parts
            .and_then(|(whole, fraction)| {
                let fraction = if literal.starts_with('-') { -fraction } else { fraction };
                whole.checked_mul(scale)?.checked_add(fraction)
            })
            .map_or(Self::Inexact, Self::Decimal)
    }
}

/// Where the number starting at `at` ends.
#[inline]
pub(super) fn end(bytes: &[u8], mut at: usize) -> Result<usize, JsonError> {
    if bytes.get(at) == Some(&b'-') {
        at += 1;
    }
    at = match bytes.get(at) {
        Some(b'0') => at + 1,
        _ => digits(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        if let Some(b'+' | b'-') = bytes.get(at) {
            at += 1;
        }
        at = digits(bytes, at)?;
    }
    Ok(at)
}

/// Skips one digit or more.
#[inline]
fn digits(bytes: &[u8], from: usize) -> Result<usize, JsonError> {
    let mut at = from;
    while bytes.get(at).is_some_and(u8::is_ascii_digit) {
        at += 1;
    }
    if at == from { Err(JsonError::Syntax(at)) } else { Ok(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly_or_not_at_all() {
        #[track_caller]
        fn check(literal: &str, expected: Number) {
            assert_eq!(end(literal.as_bytes(), 0), Ok(literal.len()));
            assert_eq!(Number::read(literal), expected, "{literal}");
        }
        check("0", Number::Int(0));
        check("-0", Number::Int(0));
        check("9223372036854775807", Number::Int(i64::MAX));
        check("9223372036854775808", Number::Inexact);
        check("1.5", Number::Decimal(15_000));
        check("-0.0001", Number::Decimal(-1));
        check("-0.5", Number::Decimal(-5_000));
        check("12.340000000", Number::Decimal(123_400));
        check("1.0", Number::Decimal(10_000));
        check("0.00001", Number::Inexact);
        check("922337203685477.5807", Number::Decimal(i64::MAX));
        check("922337203685477.5808", Number::Inexact);
        check("1e2", Number::Inexact);
        check("1.5E-1", Number::Inexact);
    }

    #[test]
    fn malformed_numbers_are_refused() {
        for literal in ["-", ".5", "1.", "1.e5", "1e", "1e+", "--1", "+1"] {
            assert!(end(literal.as_bytes(), 0).is_err(), "{literal}");
        }
        assert_eq!(end(b"01", 0), Ok(1), "the second digit is left over, which the walk refuses");
    }
}
