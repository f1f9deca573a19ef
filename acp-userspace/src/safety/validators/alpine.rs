//! Austria, Switzerland and Liechtenstein.

use super::checksums::{complement, cross, ean, weighted};
use super::text::{compact, digits, exactly, is_shaped, number, padded, two, without};

/// Austrian social insurance number: serial, check digit and birthday, weights 3 7 9 5 8 4 2 1 6 modulo 11.
/// Source: Dachverband der Sozialversicherungsträger, *Aufbau der Versicherungsnummer*.
pub fn at_social_security(value: &str) -> bool {
    digits::<10>(value, b" -/").is_some_and(|digits| {
        // Months 13 to 15 are used where a day's serials are exhausted.
        let birth = (1..=31).contains(&two(&digits, 4)) && (1..=15).contains(&two(&digits, 6));
        let sum = weighted(&digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]);
        digits[0] != 0 && birth && sum % 11 == u32::from(digits[3])
    })
}

/// Austrian company register number: up to six digits and a check letter, possibly behind `FN`.
/// Source: § 30 FBG.
pub fn at_company(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some((letter, entry)) = without(&text, "FN").split_last() else { return false };
        letter.is_ascii_uppercase() && padded::<6>(entry, 1).is_some()
    })
}

/// Austrian tax number: office and number with a check digit of weights 1 and 2. Source: BMF, *Abgabenkontonummer*.
pub fn at_tin(value: &str) -> bool {
    digits::<9>(value, b" -./,").is_some_and(|digits| {
        let figures =
            digits.iter().zip([1, 2, 1, 2, 1, 2, 1, 2]).map(|(digit, weight)| cross(u32::from(*digit) * weight));
        complement(figures.sum(), 10) == u32::from(digits[8])
    })
}

/// Austrian VAT number: `U`, eight digits, weights 1 and 2 with digits added up, plus 4, modulo 10.
/// Source: BMF, *UID-Prüfziffer*; VIES FAQ.
pub fn at_vat(value: &str) -> bool {
    compact(value, b" -./").is_some_and(|text| {
        let Some(digits) = without(&text, "AT").strip_prefix(b"U").and_then(exactly::<8>) else { return false };
        let figures = digits.iter().zip([1, 2, 1, 2, 1, 2, 1]).map(|(digit, weight)| cross(u32::from(*digit) * weight));
        complement(figures.sum::<u32>() + 4, 10) == u32::from(digits[7])
    })
}

/// Austrian postcode, 1000 to 9999. Source: Österreichische Post, *PLZ-Verzeichnis*.
pub fn at_postcode(value: &str) -> bool {
    digits::<4>(value, b"").is_some_and(|digits| digits[0] != 0)
}

/// Swiss social insurance number (AHV, AVS): an EAN from 756. Source: Central Compensation Office, *NAVS13*.
pub fn ch_ssn(value: &str) -> bool {
    digits::<13>(value, b" .").is_some_and(|digits| digits.starts_with(&[7, 5, 6]) && ean(&digits))
}

/// Swiss enterprise number: `CHE` and nine digits, weights 5 4 3 2 7 6 5 4 modulo 11. Source: eCH-0097.
pub fn ch_uid(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| is_ch_uid(&text))
}

fn is_ch_uid(text: &[u8]) -> bool {
    text.strip_prefix(b"CHE")
        .and_then(exactly::<9>)
        .is_some_and(|digits| complement(weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4]), 11) == u32::from(digits[8]))
}

/// Swiss VAT number: an enterprise number and `MWST`, `TVA`, `IVA` or `TPV`. Source: art. 18 UIDV.
pub fn ch_vat(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let (uid, suffix) = text.split_at(text.len().min(12));
        is_ch_uid(uid) && matches!(suffix, b"MWST" | b"TVA" | b"IVA" | b"TPV")
    })
}

/// Swiss payment reference (ESR, QR reference): up to 27 digits, modulo 10 recursive.
/// Source: SIX, *Swiss Implementation Guidelines QR-bill*, annex B.
pub fn ch_esr(value: &str) -> bool {
    const TABLE: [u8; 10] = [0, 9, 4, 6, 8, 2, 7, 1, 3, 5];
    compact(value, b" -").is_some_and(|text| {
        padded::<27>(&text, 2).is_some_and(|digits| {
            let carry = digits[..26].iter().fold(0, |carry, digit| TABLE[usize::from((carry + digit) % 10)]);
            (10 - carry) % 10 == digits[26]
        })
    })
}

/// Number of a person in Liechtenstein: four to twelve digits without leading zeros. It has no checksum.
/// Source: Amt für Informatik, *PEID*.
pub fn li_peid(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let zeros = text.iter().take_while(|byte| **byte == b'0').count();
        padded::<12>(&text[zeros..], 4).is_some_and(|digits| number(&digits) > 0)
    })
}

/// Postcode of Switzerland or Liechtenstein, 1000 to 9999. Source: Die Post, *Strassenverzeichnis*.
pub fn ch_postcode(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(without(&text, "CH"), "0000") && without(&text, "CH")[0] != b'0')
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("AT_BUSINESSID", at_company),
    ("AT_POSTLEITZAHL", at_postcode),
    ("AT_TIN", at_tin),
    ("AT_UID", at_vat),
    ("AT_VNR", at_social_security),
    ("CH_ESR", ch_esr),
    ("CH_POSTLEITZAHL", ch_postcode),
    ("CH_SSN", ch_ssn),
    ("CH_UID", ch_uid),
    ("CH_VAT", ch_vat),
    ("LI_PEID", li_peid),
];
