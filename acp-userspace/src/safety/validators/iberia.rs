//! Spain, Portugal and Andorra.

use super::checksums::{complement, luhn_sum, rising, weighted};
use super::iban::{self, is_iban};
use super::text::{base36, compact, digits, exactly, is_shaped, number, padded, two, without};

/// Control letters of Spanish numbers, by the remainder by 23. Source: Real Decreto 1553/2005; Orden INT/2058/2008.
const LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

fn has_letter(number: u64, letter: u8) -> bool {
    LETTERS[(number % 23) as usize] == letter
}

/// Spanish DNI: seven or eight digits and the letter of their remainder by 23.
pub fn es_dni(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let Some((letter, digits)) = text.split_last() else { return false };
        padded::<8>(digits, 7).is_some_and(|digits| has_letter(number(&digits), *letter))
    })
}

/// Spanish NIE: `X`, `Y` or `Z` for 0, 1 or 2, seven digits, and a letter as in a DNI.
pub fn es_nie(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let Some(digits) = text.get(1..8).and_then(exactly::<7>) else { return false };
        text.len() == 9
            && matches!(text[0], b'X'..=b'Z')
            && has_letter(u64::from(text[0] - b'X') * 10_000_000 + number(&digits), text[8])
    })
}

/// Spanish CIF of a legal person: kind, seven digits, and a check digit as Luhn's or its letter.
/// Source: Orden EHA/451/2008.
pub fn es_cif(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let text = without(&text, "ES");
        let Some(digits) = text.get(1..8).and_then(exactly::<7>).filter(|_| text.len() == 9) else { return false };
        let [a, b, c, d, e, f, g] = digits;
        let check = complement(luhn_sum(&[a, b, c, d, e, f, g, 0], 10), 10) as u8;
        let (digit, letter) = (text[8] == b'0' + check, text[8] == b"JABCDEFGHI"[usize::from(check)]);
        match text[0] {
            b'A' | b'B' | b'E' | b'H' => digit,
            b'P' | b'Q' | b'R' | b'S' | b'W' | b'N' => letter,
            b'C' | b'D' | b'F' | b'G' | b'J' | b'U' | b'V' => digit || letter,
            _ => false,
        }
    })
}

/// Spanish NIF: a DNI, a NIE, a CIF, or `K`, `L` or `M`, seven digits and their letter.
pub fn es_nif(value: &str) -> bool {
    let special = || {
        compact(value, b" -.").is_some_and(|text| {
            let Some(digits) = text.get(1..8).and_then(exactly::<7>) else { return false };
            text.len() == 9 && matches!(text[0], b'K' | b'L' | b'M') && has_letter(number(&digits), text[8])
        })
    };
    es_dni(value) || es_nie(value) || es_cif(value) || special()
}

/// Spanish VAT number: a NIF, possibly behind `ES`. Source: VIES FAQ.
pub fn es_vat(value: &str) -> bool {
    let value = value.trim();
    let bare = value.strip_prefix("ES").or_else(|| value.strip_prefix("es")).unwrap_or(value);
    es_nif(bare.trim_start_matches([' ', '-']))
}

/// Spanish supply point of electricity or gas: sixteen digits, two letters of their remainder by 529, and possibly a
/// point of the border. Source: CNMC, *Procedimiento de operación 10.8*.
pub fn es_cups(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some(digits) = text.get(2..18).and_then(exactly::<16>) else { return false };
        let (Some(letters), Some(border)) = (text.get(18..20), text.get(20..)) else { return false };
        let remainder = number(&digits) % 529;
        let border = match border {
            [] => true,
            [point, kind] => point.is_ascii_digit() && b"FPRCXYZ".contains(kind),
            _ => false,
        };
        text.starts_with(b"ES")
            && letters == [LETTERS[(remainder / 23) as usize], LETTERS[(remainder % 23) as usize]]
            && border
    })
}

/// Spanish IBAN: also the two check digits of the account (CCC), weights of powers of two modulo 11.
/// Source: Banco de España, *código cuenta cliente*.
pub fn es_iban(value: &str) -> bool {
    compact(value, iban::SEPARATORS).is_some_and(|text| {
        let Some(digits) = text.get(4..).and_then(exactly::<20>) else { return false };
        let check = |digits: &[u8], weights: &[u8]| match complement(weighted(digits, weights), 11) {
            10 => 1,
            check => check as u8,
        };
        text.starts_with(b"ES")
            && is_iban(&text)
            && digits[8] == check(&digits[..8], &[4, 8, 5, 10, 9, 7, 3, 6])
            && digits[9] == check(&digits[10..], &[1, 2, 4, 8, 5, 10, 9, 7, 3, 6])
    })
}

/// Spanish excise establishment: `ES000`, office, activity, serial and a control letter, which is not checked.
/// Source: Orden HAC/1271/2019, *código de actividad y establecimiento*.
pub fn es_excise(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "es00000AX000A"))
}

/// Spanish postcode: provinces 01 to 52. Source: Correos, *códigos postales*.
pub fn es_postcode(value: &str) -> bool {
    digits::<5>(value, b"").is_some_and(|digits| (1..=52).contains(&two(&digits, 0)))
}

/// Spanish passport: two or three letters and six digits. Source: Real Decreto 896/2003.
pub fn es_passport(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "AAA000000") || is_shaped(&text, "AA000000"))
}

/// Portuguese taxpayer: weights 9 to 2 modulo 11. Source: Decreto-Lei 463/79; VIES FAQ.
pub fn pt_nif(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        exactly::<9>(without(&text, "PT")).is_some_and(|digits| {
            let check = complement(rising(&digits[..8], 9), 11);
            digits[0] != 0 && u32::from(digits[8]) == if check == 10 { 0 } else { check }
        })
    })
}

/// Portuguese citizen card: number, check digit, version of two characters, and Luhn over all of it with letters from ten.
/// Source: AMA, *Validação de número de documento do Cartão de Cidadão*.
pub fn pt_citizen_card(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let doubled = |(at, byte): (usize, &u8)| {
            let value = base36(*byte).map_or(0, u32::from) << (at % 2);
            if value > 9 && at % 2 == 1 { value - 9 } else { value }
        };
        is_shaped(&text, "000000000XX0") && text.iter().rev().enumerate().map(doubled).sum::<u32>().is_multiple_of(10)
    })
}

/// Andorran tax number: kind, six digits, and a letter that is not checked; residents' numbers are below 700 000, those
/// of companies from there on. Source: Decret del NRT, Govern d'Andorra.
pub fn ad_nrt(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let Some(serial) = text.get(1..7).and_then(exactly::<6>) else { return false };
        let serial = number(&serial);
        let ranged = match text[0] {
            b'F' => serial < 700_000,
            b'A' | b'L' => (700_000..800_000).contains(&serial),
            kind => b"CDEGOPU".contains(&kind),
        };
        is_shaped(&text, "A000000A") && ranged
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("AD_NRT", ad_nrt),
    ("ES_CAE", es_excise),
    ("ES_CIF", es_cif),
    ("ES_CUPS", es_cups),
    ("ES_DNI", es_dni),
    ("ES_IBAN", es_iban),
    ("ES_NIE", es_nie),
    ("ES_NIF", es_nif),
    ("ES_PASSPORT", es_passport),
    ("ES_POSTAL_CODE", es_postcode),
    ("PT_CC", pt_citizen_card),
    ("PT_NIF", pt_nif),
];
