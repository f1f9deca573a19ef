//! Bulgaria, Moldova, Ukraine, Belarus, Russia, Azerbaijan and Turkey.

use super::checksums::{complement, weighted};
use super::text::{compact, digits, exactly, is_birthday, is_shaped, number, padded, two, without};

/// Bulgarian person: birthday whose month names the century, weights of powers of two modulo 11.
/// Source: ГРАО, *Единен граждански номер*.
pub fn bg_egn(value: &str) -> bool {
    digits::<10>(value, b" -").is_some_and(|digits| {
        let century = match two(&digits, 2) {
            1..=12 => 1900,
            21..=32 => 1800,
            41..=52 => 2000,
            _ => return false,
        };
        let check = weighted(&digits, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10;
        is_birthday(century + two(&digits, 0), two(&digits, 2) % 20, two(&digits, 4)) && check == u32::from(digits[9])
    })
}

/// Bulgarian number of a foreigner: weights 21, 19, 17, 13, 11, 9, 7, 3, 1 modulo 10. Source: as `bg_egn`; VIES FAQ.
pub fn bg_pnf(value: &str) -> bool {
    digits::<10>(value, b" -")
        .is_some_and(|digits| weighted(&digits, &[21, 19, 17, 13, 11, 9, 7, 3, 1]) % 10 == u32::from(digits[9]))
}

/// Bulgarian VAT number: nine digits of a company; ten of a person, a foreigner or another. Source: VIES FAQ.
pub fn bg_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let text = without(&text, "BG");
        let company = exactly::<9>(text).is_some_and(|digits| {
            let check = match weighted(&digits, &[1, 2, 3, 4, 5, 6, 7, 8]) % 11 {
                10 => weighted(&digits, &[3, 4, 5, 6, 7, 8, 9, 10]) % 11 % 10,
                check => check,
            };
            check == u32::from(digits[8])
        });
        let other = exactly::<10>(text).is_some_and(|digits| {
            complement(weighted(&digits, &[4, 3, 2, 7, 6, 5, 4, 3, 2]), 11) == u32::from(digits[9])
        });
        company || other || std::str::from_utf8(text).is_ok_and(|text| bg_egn(text) || bg_pnf(text))
    })
}

/// Moldovan company: weights 7, 3, 1 modulo 10. Source: Agenția Servicii Publice, *IDNO*.
pub fn md_idno(value: &str) -> bool {
    digits::<13>(value, b" ")
        .is_some_and(|digits| weighted(&digits, &[7, 3, 1, 7, 3, 1, 7, 3, 1, 7, 3, 1]) % 10 == u32::from(digits[12]))
}

/// Ukrainian company: weights 1 to 7, or 7, 1 to 6 between 30 and 60 million; for ten, two more each.
/// Source: Держстат, *ЄДРПОУ*.
pub fn ua_edrpou(value: &str) -> bool {
    digits::<8>(value, b" ").is_some_and(|digits| {
        let middle = (30_000_000..=60_000_000).contains(&number(&digits));
        let weights: [u8; 7] = if middle { [7, 1, 2, 3, 4, 5, 6] } else { [1, 2, 3, 4, 5, 6, 7] };
        let check = match weighted(&digits, &weights) % 11 {
            10 => weighted(&digits, &weights.map(|weight| weight + 2)) % 11 % 10,
            check => check,
        };
        check == u32::from(digits[7])
    })
}

/// Ukrainian taxpayer: weights -1, 5, 7, 9, 4, 6, 10, 5, 7 modulo 11. Source: Державна податкова служба, *РНОКПП*.
pub fn ua_rntrc(value: &str) -> bool {
    digits::<10>(value, b" ").is_some_and(|digits| {
        number(&digits) > 0 && weighted(&digits, &[10, 5, 7, 9, 4, 6, 10, 5, 7]) % 11 % 10 == u32::from(digits[9])
    })
}

/// Belarusian payer: nine characters, of people two letters first, of which the second counts as its place among those
/// in use. Source: Министерство по налогам и сборам, *УНП*.
pub fn by_unp(value: &str) -> bool {
    let value = value.trim().strip_prefix("УНП").unwrap_or(value);
    compact(value, b" ").is_some_and(|text| {
        let text = without(&text, "UNP");
        let person = is_shaped(text, "AA0000000");
        let Some(tail) = text.get(2..).and_then(exactly::<7>) else { return false };
        let (first, second) = if person {
            let second = b"ABCEHKMOPT".iter().position(|letter| *letter == text[1]);
            let Some(second) = second.filter(|_| b"ABCEHKM".contains(&text[0])) else { return false };
            (text[0] - b'A' + 10, second as u8)
        } else {
            let Some([first @ 1..=7, second]) = exactly::<2>(&text[..2]) else { return false };
            (first, second)
        };
        let sum = weighted(&[first, second], &[29, 23]) + weighted(&tail, &[19, 17, 13, 7, 5, 3]);
        sum % 11 == u32::from(tail[6])
    })
}

/// Russian taxpayer: ten digits of a company, twelve of a person. Source: Приказ ФНС России ЕД-7-14/559@.
pub fn ru_inn(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let check = |digits: &[u8], weights: &[u8]| weighted(digits, weights) % 11 % 10;
        let company = exactly::<10>(&text)
            .is_some_and(|digits| check(&digits, &[2, 4, 10, 3, 5, 9, 4, 6, 8]) == u32::from(digits[9]));
        let person = exactly::<12>(&text).is_some_and(|digits| {
            check(&digits, &[7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == u32::from(digits[10])
                && check(&digits, &[3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8]) == u32::from(digits[11])
        });
        (company || person) && text.iter().any(|byte| *byte != b'0')
    })
}

/// Russian register of companies: thirteen digits, remainder by 11; fifteen of entrepreneurs, remainder by 13.
/// Source: Приказ Минфина России 165н.
pub fn ru_ogrn(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let check = |digits: &[u8], modulus: u64| match digits.split_last() {
            Some((check, rest)) => number(rest) % modulus % 10 == u64::from(*check),
            None => false,
        };
        text.first() != Some(&b'0')
            && (exactly::<13>(&text).is_some_and(|digits| check(&digits, 11))
                || exactly::<15>(&text).is_some_and(|digits| check(&digits, 13)))
    })
}

/// Russian pension insurance number: weights 9 to 1, remainder by 101. Source: Постановление Правления ПФР 192п.
pub fn ru_snils(value: &str) -> bool {
    digits::<11>(value, b" -").is_some_and(|digits| {
        let check = weighted(&digits, &[9, 8, 7, 6, 5, 4, 3, 2, 1]) % 101 % 100;
        number(&digits[..9]) > 1_001_998 && check == two(&digits, 9)
    })
}

/// Azerbaijani payer: weights 4, 1, 8, 6, 2, 7, 5, 3 modulo 11, then 1 of a company or 2 of a person.
/// Source: Dövlət Vergi Xidməti, *VÖEN*.
pub fn az_voen(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        padded::<10>(&text, 9).is_some_and(|digits| {
            matches!(digits[9], 1 | 2) && weighted(&digits, &[4, 1, 8, 6, 2, 7, 5, 3]) % 11 == u32::from(digits[8])
        })
    })
}

/// Turkish person: two check digits, of sevenfold odd places less even ones, and of the sum.
/// Source: Nüfus ve Vatandaşlık İşleri, *T.C. kimlik numarası*.
pub fn tr_national_id(value: &str) -> bool {
    digits::<11>(value, b" ").is_some_and(|digits| {
        let first = weighted(&digits, &[7, 9, 7, 9, 7, 9, 7, 9, 7]) % 10;
        let sum = digits[..10].iter().map(|digit| u32::from(*digit)).sum::<u32>();
        digits[0] != 0 && first == u32::from(digits[9]) && sum % 10 == u32::from(digits[10])
    })
}

/// Turkish taxpayer: each digit plus its distance, doubled so often, modulo 9. Source: Gelir İdaresi, *vergi kimlik no*.
pub fn tr_vkn(value: &str) -> bool {
    digits::<10>(value, b" ").is_some_and(|digits| {
        let one = |(distance, digit): (u32, &u8)| match (u32::from(*digit) + distance) % 10 {
            0 => 0,
            moved => match moved * 2_u32.pow(distance) % 9 {
                0 => 9,
                figure => figure,
            },
        };
        let sum: u32 = (1..=9).rev().zip(&digits[..9]).map(one).sum();
        complement(sum, 10) == u32::from(digits[9])
    })
}

/// Turkish licence plate: province, one to three letters, two to four digits. Source: Karayolları Trafik Yönetmeliği.
pub fn tr_plate(value: &str) -> bool {
    const TAILS: [&str; 8] = ["A00", "A000", "A0000", "AA00", "AA000", "AA0000", "AAA00", "AAA000"];
    compact(value, b" -").is_some_and(|text| {
        let Some((province, tail)) = text.split_first_chunk::<2>() else { return false };
        let shaped = TAILS.iter().any(|shape| is_shaped(tail, shape)) || is_shaped(tail, "AAA0000");
        exactly::<2>(province).is_some_and(|digits| (1..=81).contains(&two(&digits, 0))) && shaped
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("AZ_VOEN", az_voen),
    ("BG_EGN", bg_egn),
    ("BG_PNF", bg_pnf),
    ("BG_VAT", bg_vat),
    ("BY_UNP", by_unp),
    ("MD_IDNO", md_idno),
    ("RU_INN", ru_inn),
    ("RU_OGRN", ru_ogrn),
    ("RU_SNILS", ru_snils),
    ("TR_LICENSE_PLATE", tr_plate),
    ("TR_NATIONAL_ID", tr_national_id),
    ("TR_TCKIMLIK", tr_national_id),
    ("TR_VKN", tr_vkn),
    ("UA_EDRPOU", ua_edrpou),
    ("UA_RNTRC", ua_rntrc),
];
