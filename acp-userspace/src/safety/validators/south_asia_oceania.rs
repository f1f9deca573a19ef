//! India, Australia and New Zealand. The Australian Medicare card is in [`health`](super::health).

use super::checksums::{complement, luhn, luhn_sum, verhoeff, weighted};
use super::text::{base36, compact, digits, exactly, is_shaped, number, padded, two, without};

/// Indian person (Aadhaar): from 2 on, no palindrome, Verhoeff. Source: UIDAI, *UID Numbering Scheme*.
pub fn in_aadhaar(value: &str) -> bool {
    digits::<12>(value, b" -:")
        .is_some_and(|digits| digits[0] >= 2 && !digits.iter().eq(digits.iter().rev()) && verhoeff(&digits))
}

/// Indian virtual identity: sixteen digits as an Aadhaar number. Source: UIDAI, Circular 1 of 2018.
pub fn in_vid(value: &str) -> bool {
    digits::<16>(value, b" -")
        .is_some_and(|digits| digits[0] >= 2 && !digits.iter().eq(digits.iter().rev()) && verhoeff(&digits))
}

/// Indian taxpayer (PAN): five letters of which the fourth is the kind of holder, four digits, a letter.
/// Source: Income Tax Department, *PAN structure*.
pub fn in_pan(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        is_shaped(&text, "AAAAA0000A") && b"ABCEFGHJKLPT".contains(&text[3]) && &text[5..9] != b"0000"
    })
}

/// Indian goods and services tax: state 01 to 37, a PAN, entity, `Z`, and a check character that
/// [`in_gstin_checked`] looks at. Source: CBIC, *GSTIN format*.
pub fn in_gstin(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        is_shaped(&text, "00AAAAA0000AXzX")
            && (1..=37).contains(&two(&[text[0] - b'0', text[1] - b'0'], 0))
            && text[12] != b'0'
    })
}

/// The same with a right check character: Luhn's to base 36.
pub fn in_gstin_checked(value: &str) -> bool {
    in_gstin(value)
        && compact(value, b" -").is_some_and(|text| {
            let mut values = [0; 15];
            for (value, byte) in values.iter_mut().zip(text.iter()) {
                *value = base36(*byte).unwrap_or(0);
            }
            luhn_sum(&values, 36).is_multiple_of(36)
        })
}

/// Indian voter: three letters and seven digits; [`in_epic_checked`] looks at the check digit that newer ones have.
/// Source: Election Commission of India, *EPIC*.
pub fn in_voter(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "AAA0000000"))
}

/// The same with Luhn's digit.
pub fn in_epic_checked(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        is_shaped(&text, "AAA0000000") && exactly::<7>(&text[3..]).is_some_and(|digits| luhn(&digits))
    })
}

/// Indian passport: a letter other than Q, X and Z, and seven digits, neither the first nor the last 0.
/// Source: Ministry of External Affairs, Passport Seva.
pub fn in_passport(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        is_shaped(&text, "A0000000") && !b"QXZ".contains(&text[0]) && text[1] != b'0' && text[7] != b'0'
    })
}

/// Indian vehicle: state, district, series, four digits. Source: Central Motor Vehicles Rules 1989, rule 50.
pub fn in_vehicle(value: &str) -> bool {
    const SHAPES: [&str; 7] =
        ["AA00A0000", "AA00AA0000", "AA00AAA0000", "AA0A0000", "AA0AA0000", "AA0AAA0000", "00bh0000AA"];
    compact(value, b" -").is_some_and(|text| SHAPES.iter().any(|shape| is_shaped(&text, shape)))
}

/// Australian business: eleven digits less one at the front, weights 10 1 3 5 … 19 modulo 89.
/// Source: Australian Business Register, *Format of the ABN*.
pub fn au_abn(value: &str) -> bool {
    digits::<11>(value, b" -").is_some_and(|digits| {
        digits[0] > 0 && (weighted(&digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]) - 10).is_multiple_of(89)
    })
}

/// Australian company: weights 8 to 1 modulo 10. Source: ASIC, *Australian Company Number Digit Check*.
pub fn au_acn(value: &str) -> bool {
    digits::<9>(value, b" -").is_some_and(|digits| {
        complement(weighted(&digits, &[8, 7, 6, 5, 4, 3, 2, 1]), 10) == u32::from(digits[8]) && number(&digits) > 0
    })
}

/// Australian taxpayer: nine digits, weights 1 4 3 7 5 8 6 9 10 modulo 11; eight, weights 10 7 8 4 6 3 5 1.
/// Source: Australian Taxation Office, *TFN algorithm*.
pub fn au_tfn(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let nine = exactly::<9>(&text).is_some_and(|digits| {
            number(&digits) > 0 && weighted(&digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11)
        });
        let eight = exactly::<8>(&text).is_some_and(|digits| {
            number(&digits) > 0 && weighted(&digits, &[10, 7, 8, 4, 6, 3, 5, 1]).is_multiple_of(11)
        });
        nine || eight
    })
}

/// New Zealand taxpayer: 10 to 150 million, weights 3 2 7 6 5 4 3 2 modulo 11, for ten 7 4 3 2 5 2 7 6.
/// Source: Inland Revenue, *RWT and NRWT specification*, IRD number validation.
pub fn nz_ird(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        padded::<9>(without(&text, "NZ"), 8).is_some_and(|digits| {
            let check = match complement(weighted(&digits, &[3, 2, 7, 6, 5, 4, 3, 2]), 11) {
                10 => complement(weighted(&digits, &[7, 4, 3, 2, 5, 2, 7, 6]), 11),
                check => check,
            };
            (10_000_000..150_000_000).contains(&number(&digits)) && check == u32::from(digits[8])
        })
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("AU_ABN", au_abn),
    ("AU_ACN", au_acn),
    ("AU_TFN", au_tfn),
    ("IN_AADHAAR", in_aadhaar),
    ("IN_GSTIN", in_gstin),
    ("IN_PAN", in_pan),
    ("IN_PASSPORT", in_passport),
    ("IN_VEHICLE_REGISTRATION", in_vehicle),
    ("IN_VOTER", in_voter),
    ("IN__EPIC", in_epic_checked),
    ("IN__GSTIN", in_gstin_checked),
    ("IN__VID", in_vid),
    ("NZ_IRD", nz_ird),
];
