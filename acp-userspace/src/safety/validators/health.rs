//! Numbers of patients, insured people, and those who treat them.

use super::checksums::{complement, cross, luhn, weighted};
use super::text::{compact, digits, exactly, is_shaped, is_uniform, number};

/// UK NHS number: weights 10 to 2, modulo 11. Source: NHS Data Dictionary, NHS NUMBER.
pub fn uk_nhs(value: &str) -> bool {
    digits::<10>(value, b" -").is_some_and(|digits| {
        let check = complement(weighted(&digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2]), 11);
        check == u32::from(digits[9]) && !is_uniform(&digits)
    })
}

/// US National Provider Identifier: Luhn behind the issuer 80840; the first digit is 1 or 2.
/// Source: 45 CFR 162.406; CMS, *NPI Check Digit*.
pub fn us_npi(value: &str) -> bool {
    digits::<10>(value, b" -").is_some_and(|digits| {
        let mut prefixed = [8, 0, 8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        prefixed[5..].copy_from_slice(&digits);
        matches!(digits[0], 1 | 2) && luhn(&prefixed) && !is_uniform(&digits[..9])
    })
}

/// US DEA registration: kind of registrant, a letter (or 9), six digits, and the last digit of odd ones plus twice the
/// even ones. Source: 21 CFR 1301.13; DEA Diversion Control, *Practitioner's Manual*.
pub fn us_dea(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some(digits) = text.get(2..).and_then(exactly::<7>) else { return false };
        let shaped = is_shaped(&text[..2], "AA") || is_shaped(&text[..2], "A9");
        let kind = b"ABCDEFGHJKLMPRSTUX".contains(&text[0]);
        shaped && kind && weighted(&digits, &[1, 2, 1, 2, 1, 2]) % 10 == u32::from(digits[6])
    })
}

/// US Medicare Beneficiary Identifier: eleven places of digits and letters without S, L, O, I, B and Z. It has no
/// checksum. Source: CMS, *Understanding the MBI format*.
pub fn us_mbi(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        is_shaped(&text, "0AX0AX0AA00") && text[0] != b'0' && !text.iter().any(|byte| b"SLOIBZ".contains(byte))
    })
}

/// Australian Medicare card: from 2 to 6 on, weights 1, 3, 7, 9 modulo 10, an issue, and possibly a person's place.
/// Source: Services Australia, *Medicare card number* (HI Service specifications).
pub fn au_medicare(value: &str) -> bool {
    compact(value, b" -/").is_some_and(|text| {
        let Some(digits) = text.get(..10).and_then(exactly::<10>) else { return false };
        let place = matches!(text.get(10), None | Some(b'1'..=b'9'));
        let check = weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10;
        place && text.len() <= 11 && matches!(digits[0], 2..=6) && check == u32::from(digits[8]) && digits[9] != 0
    })
}

/// Personal Health Number of British Columbia: 9, eight digits, weights 2, 4, 8, 5, 10, 9, 7, 3 modulo 11.
/// Source: BC Ministry of Health, *Conformance Standards*, volume 4A.
pub fn ca_bc_phn(value: &str) -> bool {
    digits::<10>(value, b" -").is_some_and(|digits| {
        let parts =
            digits[1..9].iter().zip([2, 4, 8, 5, 10, 9, 7, 3]).map(|(digit, weight)| u32::from(*digit) * weight % 11);
        digits[0] == 9 && complement(parts.sum(), 11) == u32::from(digits[9])
    })
}

/// German health insurance number (KVNR): a letter as two digits, weights 1 and 2 with digits added up, modulo 10.
/// Source: § 290 SGB V; GKV-Spitzenverband, *Krankenversichertennummer*.
pub fn de_health_insurance(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        if !is_shaped(&text, "A000000000") {
            return false;
        }
        let letter = text[0] - b'A' + 1;
        let head = [letter / 10, letter % 10];
        let values = head.into_iter().chain(text[1..9].iter().map(|digit| digit - b'0'));
        let sum: u32 =
            values.zip([1, 2].into_iter().cycle()).map(|(value, weight)| cross(u32::from(value) * weight)).sum();
        sum % 10 == u32::from(text[9] - b'0')
    })
}

/// German number of a physician (LANR): six digits with weights 4 and 9 modulo 10, and two of the field.
/// Source: KBV, *Richtlinie zur Vergabe der Arzt- und Betriebsstättennummern* § 75 (7) SGB V.
pub fn de_lanr(value: &str) -> bool {
    digits::<9>(value, b" ").is_some_and(|digits| {
        complement(weighted(&digits, &[4, 9, 4, 9, 4, 9]), 10) == u32::from(digits[6]) && number(&digits) > 0
    })
}

/// German number of a practice (BSNR): two digits of the region and seven more. It has no checksum. Source: as `de_lanr`.
pub fn de_bsnr(value: &str) -> bool {
    digits::<9>(value, b" ").is_some_and(|digits| digits[..2] != [0, 0] && digits[2..].iter().any(|digit| *digit > 0))
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("AU_MEDICARE", au_medicare),
    ("CA_BC_PHN", ca_bc_phn),
    ("DE_BSNR", de_bsnr),
    ("DE_HEALTH_INSURANCE", de_health_insurance),
    ("DE_LANR", de_lanr),
    ("MEDICAL_LICENSE", us_dea),
    ("UK_NHS", uk_nhs),
    ("US_DEA", us_dea),
    ("US_MBI", us_mbi),
    ("US_NPI", us_npi),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_makes_ten_digits_a_patient_or_provider() {
        assert!(uk_nhs("943 476 5919") && !uk_nhs("943 476 5918") && !uk_nhs("0000000000"));
        assert!(us_npi("1234567893") && us_npi("1245319599") && !us_npi("1234567894") && !us_npi("0877834719"));
        assert!(us_dea("BB1388568") && us_dea("F91234563") && !us_dea("BB1388569") && !us_dea("1B1388568"));
        assert!(us_mbi("1EG4-TE5-MK73") && !us_mbi("1EG4-TE5-MB73") && !us_mbi("0EG4-TE5-MK73"));
        assert!(au_medicare("2123 45670 1") && !au_medicare("2123 45671 1") && !au_medicare("1123 45670 1"));
    }
}
