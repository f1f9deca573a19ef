//! The families of check digits that identifiers share. All of them read values (0 to 9, or 0 to 35 for letters as
//! well), check digit last, and none of them looks at the length.
//!
//! Sources: ISO/IEC 7812-1 Annex B (Luhn), ISO/IEC 7064 (pure systems §7, hybrid systems §9), J. Verhoeff, *Error
//! detecting decimal codes* (1969), H. M. Damm, *Total anti-symmetrische Quasigruppen* (2004), the GS1 General
//! Specifications §7.9 (EAN).

use super::text::{base36, compact};

/// Sum of digits times their weights, as far as there are weights.
pub fn weighted(digits: &[u8], weights: &[u8]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| u32::from(*digit) * u32::from(*weight)).sum()
}

/// What has to be added to `sum` to make it a multiple of `modulus`: 0 to `modulus` - 1.
pub fn complement(sum: u32, modulus: u32) -> u32 {
    (modulus - sum % modulus) % modulus
}

/// Sum of digits times 2, 3, 4, … from the right, beginning again after `last`.
pub fn rising(digits: &[u8], last: u32) -> u32 {
    digits.iter().rev().zip((2..=last).cycle()).map(|(digit, weight)| u32::from(*digit) * weight).sum()
}

/// The sum of the digits of a number below 100.
pub fn cross(number: u32) -> u32 {
    number / 10 + number % 10
}

/// Luhn's sum to any base: every second value from the right, from the last but one on, is doubled and its two figures
/// added up.
pub fn luhn_sum(values: &[u8], base: u32) -> u32 {
    let figures = |number: u32| number / base + number % base;
    let one = |(at, value): (usize, &u8)| figures(u32::from(*value) << (at % 2));
    values.iter().rev().enumerate().map(one).sum()
}

/// Luhn's checksum over decimal digits.
pub fn luhn(digits: &[u8]) -> bool {
    luhn_sum(digits, 10).is_multiple_of(10)
}

/// Luhn's checksum where a letter counts as its two digits (`A` is 1 and 0), as in an ISIN. `text` is ASCII.
pub fn luhn_letters(text: &[u8]) -> bool {
    let (mut sum, mut doubled) = (0, false);
    let mut add = |digit: u32| {
        sum += cross(digit << u32::from(doubled));
        doubled = !doubled;
    };
    for byte in text.iter().rev() {
        match base36(*byte).map(u32::from) {
            Some(value @ 0..10) => add(value),
            Some(value) => {
                add(value % 10);
                add(value / 10);
            }
            None => return false,
        }
    }
    sum.is_multiple_of(10)
}

/// The multiplication of the dihedral group of ten elements.
fn dihedral(a: u8, b: u8) -> u8 {
    match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    }
}

/// Verhoeff's checksum over decimal digits.
pub fn verhoeff(digits: &[u8]) -> bool {
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let permuted = |(place, digit): (usize, &u8)| {
        (0..place % 8).fold(*digit, |digit, _| PERMUTATION.get(usize::from(digit)).copied().unwrap_or(digit))
    };
    digits.iter().rev().enumerate().map(permuted).fold(0, dihedral) == 0
}

/// Damm's checksum over decimal digits, with the table of his thesis.
pub fn damm(digits: &[u8]) -> bool {
    const TABLE: [[u8; 10]; 10] = [
        [0, 3, 1, 7, 5, 9, 8, 6, 4, 2],
        [7, 0, 9, 2, 1, 5, 4, 8, 6, 3],
        [4, 2, 0, 6, 8, 7, 1, 3, 5, 9],
        [1, 7, 5, 0, 9, 8, 3, 4, 2, 6],
        [6, 1, 2, 3, 0, 4, 5, 9, 7, 8],
        [3, 6, 7, 4, 2, 0, 9, 5, 8, 1],
        [5, 8, 6, 9, 7, 2, 0, 1, 3, 4],
        [8, 9, 4, 5, 3, 6, 2, 0, 1, 7],
        [9, 4, 3, 8, 6, 1, 7, 2, 0, 5],
        [2, 5, 8, 1, 4, 3, 6, 7, 9, 0],
    ];
    digits.iter().fold(0, |interim, digit| TABLE[usize::from(interim % 10)][usize::from(digit % 10)]) == 0
}

/// A hybrid system of ISO 7064, MOD `modulus` + 1, `modulus`.
pub fn hybrid(values: &[u8], modulus: u32) -> bool {
    let Some((check, rest)) = values.split_last().filter(|(_, rest)| !rest.is_empty()) else { return false };
    let product = rest.iter().fold(modulus, |product, value| {
        let sum = (product + u32::from(*value)) % modulus;
        (if sum == 0 { modulus } else { sum }) * 2 % (modulus + 1)
    });
    (product + u32::from(*check)) % modulus == 1
}

/// ISO 7064 MOD 11,10 over decimal digits.
pub fn mod_11_10(digits: &[u8]) -> bool {
    hybrid(digits, 10)
}

/// A pure system of ISO 7064 with radix 2 and one check character.
fn radix_2(values: impl Iterator<Item = u8>, modulus: u32) -> bool {
    values.fold(0, |sum, value| (sum * 2 + u32::from(value)) % modulus) == 1
}

/// ISO 7064 MOD 11-2: ASCII digits, of which the last may be `X` for ten.
pub fn mod_11_2(text: &[u8]) -> bool {
    let Some((check, rest)) = text.split_last().filter(|(_, rest)| !rest.is_empty()) else { return false };
    let digits = rest.iter().all(u8::is_ascii_digit) && (check.is_ascii_digit() || *check == b'X');
    let check = if *check == b'X' { 10 } else { check.wrapping_sub(b'0') };
    digits && radix_2(rest.iter().map(|digit| digit - b'0').chain([check]), 11)
}

/// ISO 7064 MOD 37-2: ASCII digits and letters, of which the last may be `*`.
pub fn mod_37_2(text: &[u8]) -> bool {
    let Some((check, rest)) = text.split_last().filter(|(_, rest)| !rest.is_empty()) else { return false };
    let check = if *check == b'*' { Some(36) } else { base36(*check) };
    let known = rest.iter().all(|byte| base36(*byte).is_some());
    known && check.is_some_and(|check| radix_2(rest.iter().filter_map(|byte| base36(*byte)).chain([check]), 37))
}

/// ISO 7064 MOD 37,36 over ASCII digits and letters.
pub fn mod_37_36(text: &[u8]) -> bool {
    let mut values = [0; super::text::LEN_MAX];
    let Some(values) = values.get_mut(..text.len()) else { return false };
    for (value, byte) in values.iter_mut().zip(text) {
        let Some(known) = base36(*byte) else { return false };
        *value = known;
    }
    hybrid(values, 36)
}

/// The remainder by 97 of ASCII digits and letters, a letter counting as its two digits; `None` if there is another byte.
pub fn remainder_97<'t>(text: impl IntoIterator<Item = &'t u8>) -> Option<u32> {
    /// From here on the sum is reduced; two more digits are far from overflowing it.
    const LARGE: u64 = 1 << 50;
    let sum = text.into_iter().try_fold(0, |sum, byte| {
        let value = u64::from(base36(*byte)?);
        let sum = sum * if value < 10 { 10 } else { 100 } + value;
        Some(if sum < LARGE { sum } else { sum % 97 })
    })?;
    Some((sum % 97) as u32)
}

/// ISO 7064 MOD 97-10 over ASCII digits and letters, two check digits last.
pub fn mod_97_10(text: &[u8]) -> bool {
    text.len() > 2 && remainder_97(text) == Some(1)
}

/// GS1's modulo 10 of weights 3 and 1: EAN, UPC, GTIN, SSCC, ISBN-13.
pub fn ean(digits: &[u8]) -> bool {
    let weight = |(at, digit): (usize, &u8)| u32::from(*digit) * [1, 3][at % 2];
    digits.iter().rev().enumerate().map(weight).sum::<u32>().is_multiple_of(10)
}

/// ICAO 9303-3 §4.9: weights 7, 3, 1 over ASCII digits and letters, modulo 10, check digit last.
pub fn icao(text: &[u8]) -> bool {
    let Some((check, rest)) = text.split_last() else { return false };
    let values = rest.iter().map(|byte| base36(*byte).map(u32::from));
    let sum = values.zip([7, 3, 1].into_iter().cycle()).try_fold(0, |sum, (value, weight)| Some(sum + value? * weight));
    check.is_ascii_digit() && sum.is_some_and(|sum| sum % 10 == u32::from(check - b'0'))
}

/// Runs a checksum over the digits of `value`, of which it may hold any number that fits.
fn over_digits(value: &str, check: fn(&[u8]) -> bool) -> bool {
    let Some(text) = compact(value, b" -") else { return false };
    let mut digits = [0; super::text::LEN_MAX];
    let digits = &mut digits[..text.len()];
    for (digit, byte) in digits.iter_mut().zip(text.iter()) {
        if !byte.is_ascii_digit() {
            return false;
        }
        *digit = byte - b'0';
    }
    digits.len() > 1 && check(digits)
}

/// The checksums under their own names: any text that one holds for.
pub(super) const KINDS: super::Kinds = &[
    ("LUHN", |value| over_digits(value, luhn)),
    ("VERHOEFF", |value| over_digits(value, verhoeff)),
    ("DAMM", |value| over_digits(value, damm)),
    ("ISO7064_MOD_11_10", |value| over_digits(value, mod_11_10)),
    ("ISO7064_MOD_11_2", |value| compact(value, b" -").is_some_and(|text| mod_11_2(&text))),
    ("ISO7064_MOD_37_2", |value| compact(value, b" -").is_some_and(|text| mod_37_2(&text))),
    ("ISO7064_MOD_37_36", |value| compact(value, b" -").is_some_and(|text| mod_37_36(&text))),
    ("ISO7064_MOD_97_10", |value| compact(value, b" -").is_some_and(|text| mod_97_10(&text))),
];

#[cfg(test)]
mod tests {
    use super::super::by_name;

    /// Holds for `value`, and for nothing that differs in one digit.
    #[track_caller]
    fn check(name: &str, value: &str) {
        let holds = by_name(name).expect("known");
        assert!(holds(value), "{name} {value}");
        for (at, byte) in value.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
            for other in (b'0'..=b'9').filter(|other| *other != byte) {
                let mut changed = value.as_bytes().to_vec();
                changed[at] = other;
                let changed = String::from_utf8(changed).expect("ASCII");
                assert!(!holds(&changed), "{name} {changed}");
            }
        }
    }

    #[test]
    fn every_checksum_notices_one_wrong_digit() {
        check("LUHN", "49927398716");
        check("VERHOEFF", "1234567890120");
        check("DAMM", "438812345679");
        check("ISO7064_MOD_11_10", "794623");
        check("ISO7064_MOD_11_2", "000000012281955X");
        check("ISO7064_MOD_37_2", "G123489654321Y");
        check("ISO7064_MOD_37_36", "A12425GABC1234002M");
        check("ISO7064_MOD_97_10", "79444");
        check("ISIN", "US0378331005");
        check("EAN", "4006381333931");
        check("DE_PASSPORT", "C01X00T41");
    }

    #[test]
    fn verhoeff_and_damm_notice_transposed_neighbours() {
        for (name, value) in [("VERHOEFF", "1234567890120"), ("DAMM", "438812345679")] {
            for at in 1..value.len() {
                let mut changed = value.as_bytes().to_vec();
                changed.swap(at - 1, at);
                let changed = String::from_utf8(changed).expect("ASCII");
                assert_eq!(by_name(name).expect("known")(&changed), changed == value, "{name} {changed}");
            }
        }
    }

    #[test]
    fn any_digits_have_one_check_digit() {
        for name in ["LUHN", "VERHOEFF", "DAMM", "ISO7064_MOD_11_10"] {
            let holds = by_name(name).expect("known");
            for head in 0..10_000 {
                let right = (0..10).filter(|check| holds(&format!("{head:04}{check}"))).count();
                assert_eq!(right, 1, "{name} {head:04}");
            }
        }
    }

    #[test]
    fn nothing_has_no_checksum() {
        for (name, holds) in super::KINDS {
            assert!(!holds("") && !holds("-") && !holds("é") && !holds("123456789X1"), "{name}");
        }
    }
}
