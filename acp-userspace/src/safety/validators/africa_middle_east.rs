//! Africa, Israel and Oman.

use super::checksums::{complement, luhn, weighted};
use super::text::{all_digits, compact, digits, exactly, is_shaped, is_short_birthday, number, padded, two, without};

/// Algerian taxpayer: fifteen digits, twenty of an establishment. Source: Direction générale des impôts, *NIF*.
pub fn dz_nif(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| matches!(text.len(), 15 | 20) && all_digits(&text))
}

/// Egyptian taxpayer: nine digits, often in Arabic figures. Source: Egyptian Tax Authority, *tax registration number*.
pub fn eg_tn(value: &str) -> bool {
    digits::<9>(value, b" -/").is_some()
}

/// Ghanaian taxpayer: kind, weights 1 to 9 modulo 11, `X` for ten. Source: Ghana Revenue Authority, *TIN*.
pub fn gh_tin(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let Some(digits) = text.get(1..10).and_then(exactly::<9>).filter(|_| text.len() == 11) else { return false };
        let check = weighted(&digits, &[1, 2, 3, 4, 5, 6, 7, 8, 9]) % 11;
        b"PCGQV".contains(&text[0]) && digits[0] == 0 && text[10] == b"0123456789X"[check as usize]
    })
}

/// Kenyan taxpayer: `A` of a person or `P` of a company, nine digits, a letter. Source: Kenya Revenue Authority, *PIN*.
pub fn ke_pin(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "A000000000A") && matches!(text[0], b'A' | b'P'))
}

/// Moroccan company: fifteen digits, MOD 97. Source: Direction générale des impôts, *ICE*.
pub fn ma_ice(value: &str) -> bool {
    digits::<15>(value, b" -").is_some_and(|digits| number(&digits).is_multiple_of(97))
}

/// Mauritian person: initial, birthday, serial, and a check character of weights 14 to 2 modulo 17.
/// Source: Civil Status Division, *National Identity Number*.
pub fn mu_nid(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        if !is_shaped(&text, "A000000XXXXXXX") {
            return false;
        }
        let value = |byte: &u8| super::text::base36(*byte).map_or(0, u32::from);
        let sum: u32 = text[..13].iter().zip((2..=14).rev()).map(|(byte, weight)| value(byte) * weight).sum();
        let born = exactly::<6>(&text[1..7])
            .is_some_and(|digits| is_short_birthday(two(&digits, 4), two(&digits, 2), two(&digits, 0)));
        born && value(&text[13]) == complement(sum, 17)
    })
}

/// Mozambican taxpayer: weights 8, 9, 4, 5, 6, 7, 8, 9 modulo 11. Source: Autoridade Tributária, *NUIT*.
pub fn mz_nuit(value: &str) -> bool {
    digits::<9>(value, b" -.").is_some_and(|digits| {
        let check = weighted(&digits, &[8, 9, 4, 5, 6, 7, 8, 9]) % 11;
        u32::from(digits[8]) == if check == 10 { 1 } else { check }
    })
}

/// Nigerian licence plate: three letters, three digits, two letters. Source: Federal Road Safety Corps.
pub fn ng_plate(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "AAA000AA"))
}

/// Senegalese company: seven or nine digits, weights 1 and 2 modulo 10, and possibly a tax code.
/// Source: ANSD, *NINEA*, décret 2012-886.
pub fn sn_ninea(value: &str) -> bool {
    compact(value, b" -/,").is_some_and(|text| {
        let (serial, code) = match text.split_last_chunk::<3>() {
            Some((serial, code)) if code[1].is_ascii_uppercase() => (serial, Some(code)),
            _ => (&text[..], None),
        };
        let coded = code.is_none_or(|code| is_shaped(code, "0A0") && code[0] <= b'2');
        matches!(serial.len(), 7 | 9)
            && coded
            && padded::<9>(serial, 7)
                .is_some_and(|digits| weighted(&digits, &[1, 2, 1, 2, 1, 2, 1, 2, 1]).is_multiple_of(10))
    })
}

/// Tunisian taxpayer: up to seven digits and a key, possibly VAT code, kind and three digits of an establishment.
/// Source: Code de la TVA, *matricule fiscal*.
pub fn tn_mf(value: &str) -> bool {
    compact(value, b" /.-").is_some_and(|text| {
        let Some(at) = text.iter().position(u8::is_ascii_uppercase) else { return false };
        let (serial, rest) = text.split_at(at);
        let key = !b"IOU".contains(&rest[0]);
        let tail = &rest[1..];
        let kinds = |text: &[u8]| b"ABPDN".contains(&text[0]) && b"MPCNE".contains(&text[1]);
        let tailed = tail.is_empty()
            || (is_shaped(tail, "AA000") && kinds(tail) && (tail[1] == b'E' || &tail[2..] == b"000"))
            || (is_shaped(tail, "AA") && kinds(tail));
        (1..=7).contains(&serial.len()) && key && tailed
    })
}

/// South African person: birthday, serial, citizenship, Luhn. Source: Identification Act 68 of 1997; Home Affairs.
pub fn za_id(value: &str) -> bool {
    digits::<13>(value, b" ").is_some_and(|digits| {
        is_short_birthday(two(&digits, 0), two(&digits, 2), two(&digits, 4)) && digits[10] <= 2 && luhn(&digits)
    })
}

/// South African taxpayer: from 0, 1, 2, 3 or 9 on, Luhn. Source: SARS, *Modulus 10 calculation*.
pub fn za_tin(value: &str) -> bool {
    digits::<10>(value, b" -/").is_some_and(|digits| matches!(digits[0], 0..=3 | 9) && luhn(&digits))
}

/// Israeli person: up to nine digits, Luhn. Source: Population and Immigration Authority, *teudat zehut*.
pub fn il_person(value: &str) -> bool {
    compact(value, b" -")
        .is_some_and(|text| padded::<9>(&text, 5).is_some_and(|digits| number(&digits) > 0 && luhn(&digits)))
}

/// Israeli company: nine digits from 5 on, Luhn. Source: Corporations Authority.
pub fn il_company(value: &str) -> bool {
    digits::<9>(value, b" -").is_some_and(|digits| digits[0] == 5 && luhn(&digits))
}

/// Omani VAT number: `OM` and ten digits. Source: Oman Tax Authority, *VATIN*.
pub fn om_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| exactly::<10>(without(&text, "OM")).is_some() && text.len() == 12)
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("DZ_NIF", dz_nif),
    ("EG_TN", eg_tn),
    ("GH_TIN", gh_tin),
    ("IL_HP", il_company),
    ("IL_IDNR", il_person),
    ("KE_PIN", ke_pin),
    ("MA_ICE", ma_ice),
    ("MU_NID", mu_nid),
    ("MZ_NUIT", mz_nuit),
    ("NG_VEHICLE_REGISTRATION", ng_plate),
    ("OM_VAT", om_vat),
    ("SN_NINEA", sn_ninea),
    ("TN_MF", tn_mf),
    ("ZA_IDNR", za_id),
    ("ZA_ID_NUMBER", za_id),
    ("ZA_TIN", za_tin),
];
