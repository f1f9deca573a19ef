//! JSON numbers, exactly: from their text to an integer of 10⁻ⁿ, without floating point (THREATS A9).

/// Places of Cedar's decimal type.
pub(super) const DECIMAL_PLACES: u32 = 4;

/// No i64 has more digits.
const DIGITS_MAX: i64 = 19;

/// The number in units of 10^-`places`; `None` if it is not a JSON number (RFC 8259 §6), not a whole number of such
/// units, or beyond i64. `100`, `1e2` and `100.0` are the same number. Linear in the text, no allocation.
pub(super) fn exact(text: &str, places: u32) -> Option<i64> {
    let parts = split(text.as_bytes())?;
    let digits = || parts.int.iter().chain(parts.fraction);
    let Some(first) = digits().position(|digit| *digit != b'0') else { return Some(0) };
    let trailing = digits().rev().take_while(|digit| **digit == b'0').count();
    let significant = digits().count() - first - trailing;

    // value = significant digits × 10^shift, in the unit asked for
    let shift = parts
        .exponent
        .checked_sub(i64::try_from(parts.fraction.len()).ok()?)?
        .checked_add(i64::try_from(trailing).ok()?)?
        .checked_add(i64::from(places))?;
    let length = i64::try_from(significant).ok()?.checked_add(shift)?;
    if shift < 0 || length > DIGITS_MAX {
        return None;
    }
    let value =
        digits().skip(first).take(significant).fold(0_i128, |value, digit| value * 10 + i128::from(digit - b'0'));
    let value = value * 10_i128.pow(u32::try_from(shift).ok()?);
    i64::try_from(if parts.negative { -value } else { value }).ok()
}

/// A scaled number as Cedar writes a decimal.
pub(super) fn decimal_text(scaled: i64) -> String {
    let unit = 10_u64.pow(DECIMAL_PLACES);
    let magnitude = scaled.unsigned_abs();
    format!("{}{}.{:04}", if scaled < 0 { "-" } else { "" }, magnitude / unit, magnitude % unit)
}

struct Parts<'t> {
    negative: bool,
    int: &'t [u8],
    fraction: &'t [u8],
    exponent: i64,
}

fn split(text: &[u8]) -> Option<Parts<'_>> {
    let (negative, rest) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (int, rest) = run(rest);
    if int.is_empty() || (int.len() > 1 && int[0] == b'0') {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix(b".") {
        Some(rest) => Some(run(rest)).filter(|(fraction, _)| !fraction.is_empty())?,
        None => (&rest[..0], rest),
    };
    Some(Parts { negative, int, fraction, exponent: exponent(rest)? })
}

/// Leading digits, and what follows them.
fn run(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// An exponent, saturating far beyond what any i64 needs.
fn exponent(text: &[u8]) -> Option<i64> {
    const FAR: i64 = 1 << 32;
    let Some((b'e' | b'E', rest)) = text.split_first() else { return text.is_empty().then_some(0) };
    let (negative, rest) = match rest.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, rest),
    };
    let (digits, end) = run(rest);
    if digits.is_empty() || !end.is_empty() {
        return None;
    }
    let value = digits.iter().fold(0, |value: i64, digit| (value * 10 + i64::from(digit - b'0')).min(FAR));
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, long: Option<i64>, decimal: Option<i64>) {
        assert_eq!(exact(text, 0), long, "{text} as Long");
        assert_eq!(exact(text, DECIMAL_PLACES), decimal, "{text} as decimal");
    }

    #[test]
    fn numbers_are_exact_or_nothing() {
        check("0", Some(0), Some(0));
        check("-0.00e9", Some(0), Some(0));
        check("100", Some(100), Some(1_000_000));
        check("1e2", Some(100), Some(1_000_000));
        check("100.0", Some(100), Some(1_000_000));
        check("1.5", None, Some(15_000));
        check("-0.0001", None, Some(-1));
        check("0.00010", None, Some(1));
        check("0.00001", None, None);
        check("1e-4", None, Some(1));
        check("9223372036854775807", Some(i64::MAX), None);
        check("-9223372036854775808", Some(i64::MIN), None);
        check("9223372036854775808", None, None);
        check("922337203685477.5807", None, Some(i64::MAX));
        check("922337203685477.5808", None, None);
        check("1e999999999999999999999", None, None);
        check("1e-999999999999999999999", None, None);
        check("0e999999999999999999999", Some(0), Some(0));
    }

    #[test]
    fn what_is_not_a_json_number_is_refused() {
        for text in ["", "-", "01", "+1", "1.", ".5", "1e", "1e+", "0x1", "1_0", "NaN", "1 ", "--1", "1.e1"] {
            check(text, None, None);
        }
    }

    #[test]
    fn decimals_print_as_cedar_reads_them() {
        assert_eq!(decimal_text(-1), "-0.0001");
        assert_eq!(decimal_text(15_000), "1.5000");
        assert_eq!(decimal_text(i64::MIN), "-922337203685477.5808");
    }

    proptest! {
        #[test]
        fn never_panics(text in "[-+0-9.eE]{0,40}") {
            let _ = exact(&text, DECIMAL_PLACES);
        }

        #[test]
        fn every_i64_survives_any_spelling(value: i64, zeros in 0_usize..5) {
            prop_assert_eq!(exact(&value.to_string(), 0), Some(value));
            prop_assert_eq!(exact(&format!("{value}.{}", "0".repeat(zeros + 1)), 0), Some(value));
            prop_assert_eq!(exact(&decimal_text(value), DECIMAL_PLACES), Some(value));
        }
    }
}
