//! United States and Canada. Medical numbers are in [`health`](super::health), bank routing in
//! [`finance`](super::finance).

use super::checksums::luhn;
use super::text::{compact, digits, exactly, is_shaped, number};

/// Nine digits, with separators only behind the third and the fifth.
fn three_two_four(value: &str) -> Option<[u8; 9]> {
    let mut count = 0;
    for c in value.trim().chars() {
        if c.is_numeric() {
            count += 1;
        } else if !matches!(count, 3 | 5) {
            return None;
        }
    }
    digits::<9>(value, b" -.")
}

/// US Social Security number in an area, group and serial that are issued: not 000, 666 or 9xx, nor zeros only.
/// Source: Social Security Administration, POMS RM 10201.035; the numbers once used in advertisements are not issued.
pub fn us_ssn(value: &str) -> bool {
    three_two_four(value).is_some_and(|digits| {
        let (area, group, serial) = parts(&digits);
        let advertised = matches!((area, group, serial), (78, 5, 1120) | (219, 9, 9999));
        !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0 && !advertised
    })
}

/// A number made like a US Social Security number in an area, group or serial that is never issued. It may be a mistyped
/// one; an ITIN is none.
pub fn us_ssn_never_issued(value: &str) -> bool {
    three_two_four(value).is_some() && !us_ssn(value) && !us_itin(value)
}

/// Area, group and serial.
fn parts(digits: &[u8; 9]) -> (u64, u64, u64) {
    (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..]))
}

/// US Individual Taxpayer Identification Number: 9, and a group of 50 to 65, 70 to 88, 90 to 92 or 94 to 99.
/// Source: Internal Revenue Service, Publication 4757 and IRM 3.21.263.
pub fn us_itin(value: &str) -> bool {
    three_two_four(value).is_some_and(|digits| {
        let (area, group, _) = parts(&digits);
        area >= 900 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
    })
}

/// US Adoption Taxpayer Identification Number: 9 and the group 93. Source: Internal Revenue Service, IRM 3.13.40.
pub fn us_atin(value: &str) -> bool {
    three_two_four(value).is_some_and(|digits| {
        let (area, group, _) = parts(&digits);
        area >= 900 && group == 93
    })
}

/// US Employer Identification Number with a prefix of a campus or the internet.
/// Source: Internal Revenue Service, *How EINs are assigned and valid EIN prefixes*.
pub fn us_ein(value: &str) -> bool {
    digits::<9>(value, b"-").is_some_and(|digits| {
        matches!(number(&digits[..2]), 1..=6 | 10..=16 | 20..=27 | 30..=48 | 50..=68 | 71..=77 | 80..=88 | 90..=95 | 98..=99)
    })
}

/// US Preparer Tax Identification Number: `P` and eight digits. Source: Internal Revenue Service, Form W-12.
pub fn us_ptin(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "p00000000"))
}

/// Any number that the Internal Revenue Service takes for a taxpayer.
pub fn us_tin(value: &str) -> bool {
    us_ssn(value) || us_itin(value) || us_atin(value) || us_ein(value) || us_ptin(value)
}

/// US passport: a letter and eight digits, or nine digits. Source: Department of State, *Next Generation U.S. Passport*.
pub fn us_passport(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "A00000000") || is_shaped(&text, "000000000"))
}

/// Canadian Social Insurance Number: Luhn; numbers from 0 and 8 are not issued to people.
/// Source: Service Canada, *The SIN Code of Practice*.
pub fn ca_sin(value: &str) -> bool {
    digits::<9>(value, b" -").is_some_and(|digits| !matches!(digits[0], 0 | 8) && luhn(&digits))
}

/// Canadian business number: nine digits with Luhn's, and possibly a program and its account.
/// Source: Canada Revenue Agency, *Business number*.
pub fn ca_bn(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let (head, account) = text.split_at(text.len().min(9));
        let program = account.is_empty()
            || (is_shaped(account, "AA0000")
                && [b"RC", b"RM", b"RP", b"RT", b"RR", b"RZ"].iter().any(|p| account.starts_with(*p)));
        program && exactly::<9>(head).is_some_and(|digits| luhn(&digits))
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("CA_BN", ca_bn),
    ("CA_SIN", ca_sin),
    ("US_ATIN", us_atin),
    ("US_EIN", us_ein),
    ("US_ITIN", us_itin),
    ("US_PASSPORT", us_passport),
    ("US_PTIN", us_ptin),
    ("US_SSN", us_ssn),
    ("US_SSN_NEVER_ISSUED", us_ssn_never_issued),
    ("US_TIN", us_tin),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_social_security_number_is_issued_never_issued_or_another_number() {
        for value in ["078-05-1121", "219 09 9998", "899999999"] {
            assert!(us_ssn(value) && !us_ssn_never_issued(value), "{value}");
        }
        for value in ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "078-05-1120"] {
            assert!(!us_ssn(value) && us_ssn_never_issued(value), "{value}");
        }
        for value in ["911-70-1234", "12-3456789", "1234-5-6789", "12-34-5678", "1234567890", "123-45-678a"] {
            assert!(!us_ssn(value) && !us_ssn_never_issued(value), "{value}");
        }
    }

    #[test]
    fn tax_numbers_are_told_apart_by_their_group_and_prefix() {
        assert!(us_itin("911-70-1234") && !us_itin("911-89-1234") && !us_itin("911-93-1234"));
        assert!(us_atin("911-93-1234") && !us_atin("911-70-1234"));
        assert!(us_ein("12-3456789") && !us_ein("07-3456789") && !us_ein("89-3456789"));
        assert!(ca_sin("435 418 165") && !ca_sin("435 418 166") && !ca_sin("046 454 286"));
    }
}
