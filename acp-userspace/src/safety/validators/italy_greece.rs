//! Italy, San Marino, Malta, Greece and Cyprus.

use super::checksums::{cross, luhn, weighted};
use super::text::{base36, compact, digits, exactly, is_shaped, is_short_birthday, number, padded, two, without};

/// Value of a digit or letter at an odd place of a codice fiscale.
const ODD: [u8; 36] = [
    1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10,
    22, 25, 24, 23,
];

/// Italian codice fiscale: name, birth, place and a check letter. Letters that stand for digits where two people share a
/// code (omocodia) are read. Source: Decreto del Ministero delle Finanze, 23 December 1976; DPR 605/1973.
pub fn it_fiscal_code(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some(text) = text.first_chunk::<16>().filter(|_| text.len() == 16) else { return false };
        let mut plain = *text;
        for at in [6, 7, 9, 10, 12, 13, 14] {
            if let Some(digit) = b"LMNPQRSTUV".iter().position(|letter| *letter == plain[at]) {
                plain[at] = b'0' + digit as u8;
            }
        }
        is_shaped(&plain, "AAAAAA00A00A000A")
            && b"ABCDEHLMPRST".contains(&plain[8])
            && matches!(two(&[plain[9] - b'0', plain[10] - b'0'], 0), 1..=31 | 41..=71)
            && text[15] == it_letter(&text[..15])
    })
}

/// The check letter of fifteen letters and digits.
fn it_letter(text: &[u8]) -> u8 {
    let one = |(at, byte): (usize, &u8)| {
        let value = base36(*byte).unwrap_or(0);
        let even = if value < 10 { value } else { value - 10 };
        u32::from(if at % 2 == 0 { ODD[usize::from(value)] } else { even })
    };
    b'A' + (text.iter().enumerate().map(one).sum::<u32>() % 26) as u8
}

/// Italian VAT number: company, province and a Luhn digit. Source: DPR 633/1972, art. 35; VIES FAQ.
pub fn it_vat(value: &str) -> bool {
    compact(value, b" -.:_").is_some_and(|text| {
        exactly::<11>(without(&text, "IT")).is_some_and(|digits| {
            let office = matches!(number(&digits[7..10]), 1..=100 | 120 | 121 | 888 | 999);
            number(&digits[..7]) > 0 && office && luhn(&digits)
        })
    })
}

/// AIC code of an Italian medicine: nine digits from 0 on, or the same number in 32 characters without vowels.
/// Source: Decreto del Ministero della Sanità, 2 August 2001.
pub fn it_medicine(value: &str) -> bool {
    const ALPHABET: &[u8] = b"0123456789BCDFGHJKLMNPQRSTUVWXYZ";
    compact(value, b" ").is_some_and(|text| {
        let value = |byte: &u8| ALPHABET.iter().position(|known| known == byte).map(|place| place as u64);
        let whole = match text.len() {
            9 => exactly::<9>(&text).map(|digits| number(&digits)),
            6 => text.iter().try_fold(0, |whole, byte| Some(whole * 32 + value(byte)?)),
            _ => None,
        };
        whole.filter(|whole| *whole < 100_000_000).is_some_and(|whole| {
            let digit = |place: u32| (whole / 10_u64.pow(8 - place) % 10) as u32;
            let sum: u32 =
                (1..8).map(|place| if place % 2 == 1 { cross(2 * digit(place)) } else { digit(place) }).sum();
            sum % 10 == digit(8)
        })
    })
}

/// Italian driving licence: two letters, seven digits and a letter, or `U1` and seven characters and a letter. It has no
/// checksum that is published. Source: Ministero delle Infrastrutture, *patente di guida*.
pub fn it_driver_license(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let first = b"ABCDEFGHIJKLMNOPQRSTUV".contains(text.first().unwrap_or(&0));
        (is_shaped(&text, "AA0000000A") && first) || is_shaped(&text, "u1XXXXXXXA")
    })
}

/// Italian passport: two letters and seven digits. Source: Ministero degli Affari Esteri.
pub fn it_passport(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "AA0000000"))
}

/// Italian identity card: on paper, or electronic. Source: Ministero dell'Interno, *Carta d'identità elettronica*.
pub fn it_identity_card(value: &str) -> bool {
    compact(value, b" ")
        .is_some_and(|text| ["AA0000000", "AA00000AA", "0000000AA"].iter().any(|shape| is_shaped(&text, shape)))
}

/// Sammarinese economic operator: up to five digits. It has no checksum. Source: Ufficio Tributario, *COE*.
pub fn sm_coe(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let text = without(&text, "SM");
        let zeros = text.iter().take_while(|byte| **byte == b'0').count();
        padded::<5>(&text[zeros..], 1).is_some()
    })
}

/// Maltese VAT number: weights 3, 4, 6, 7, 8, 9, 10, 1 modulo 37. Source: VIES FAQ.
pub fn mt_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<8>(without(&text, "MT"))
            .is_some_and(|digits| digits[0] != 0 && weighted(&digits, &[3, 4, 6, 7, 8, 9, 10, 1]).is_multiple_of(37))
    })
}

/// Greek tax number: powers of two modulo 11. Source: ΑΑΔΕ, *ΑΦΜ*; VIES FAQ.
pub fn gr_vat(value: &str) -> bool {
    compact(value, b" -./:").is_some_and(|text| {
        let text = without(without(&text, "EL"), "GR");
        padded::<9>(text, 8).is_some_and(|digits| {
            let sum = digits[..8].iter().fold(0, |sum, digit| (sum + u32::from(*digit)) * 2);
            number(&digits) > 0 && sum % 11 % 10 == u32::from(digits[8])
        })
    })
}

/// Greek social security number: birthday, serial, Luhn. Source: ΗΔΙΚΑ, *ΑΜΚΑ*.
pub fn gr_amka(value: &str) -> bool {
    digits::<11>(value, b" -")
        .is_some_and(|digits| is_short_birthday(two(&digits, 4), two(&digits, 2), two(&digits, 0)) && luhn(&digits))
}

/// Cypriot VAT number: eight digits and a letter; digits at odd places are translated. Source: VIES FAQ.
pub fn cy_vat(value: &str) -> bool {
    const ODD: [u32; 10] = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21];
    compact(value, b" -").is_some_and(|text| {
        let text = without(&text, "CY");
        let Some(digits) = text.get(..8).and_then(exactly::<8>).filter(|_| text.len() == 9) else { return false };
        let one = |(at, digit): (usize, &u8)| if at % 2 == 0 { ODD[usize::from(*digit)] } else { u32::from(*digit) };
        let sum: u32 = digits.iter().enumerate().map(one).sum();
        digits[..2] != [1, 2] && u32::from(text[8]) == u32::from(b'A') + sum % 26
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("CY_VAT", cy_vat),
    ("GR_AMKA", gr_amka),
    ("GR_VAT", gr_vat),
    ("IT_AIC", it_medicine),
    ("IT_DRIVER_LICENSE", it_driver_license),
    ("IT_FISCAL_CODE", it_fiscal_code),
    ("IT_IDENTITY_CARD", it_identity_card),
    ("IT_IVA", it_vat),
    ("IT_PASSPORT", it_passport),
    ("IT_VAT_CODE", it_vat),
    ("MT_VAT", mt_vat),
    ("SM_COE", sm_coe),
];
