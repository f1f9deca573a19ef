//! East and South-East Asia.

use super::checksums::{complement, cross, luhn, mod_11_2, rising, weighted};
use super::text::{
    compact, digits, exactly, is_birthday, is_shaped, is_short_birthday, is_uniform, number, padded, two,
};

/// Chinese resident: division, birthday, serial, MOD 11-2. Source: GB 11643-1999.
pub fn cn_resident(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let Some(digits) = text.get(..17).and_then(exactly::<17>).filter(|_| text.len() == 18) else { return false };
        let province =
            matches!(two(&digits, 0), 11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 91);
        let born = is_birthday(number(&digits[6..10]) as u32, two(&digits, 10), two(&digits, 12));
        province && born && mod_11_2(&text)
    })
}

/// Chinese organisation: eighteen of digits and letters without I, O, S, V and Z, powers of three modulo 31.
/// Source: GB 32100-2015.
pub fn cn_organisation(value: &str) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
    compact(value, b" -").is_some_and(|text| {
        let value = |byte: &u8| ALPHABET.iter().position(|known| known == byte).map(|place| place as u32);
        let sum = text
            .iter()
            .take(17)
            .try_fold((0, 1), |(sum, weight), byte| Some(((sum + value(byte)? * weight) % 31, weight * 3 % 31)));
        text.len() == 18
            && is_shaped(&text[..8], "XX000000")
            && sum.is_some_and(|(sum, _)| Some(complement(sum, 31)) == value(&text[17]))
    })
}

/// Taiwanese company: weights 1 2 1 2 1 2 4 1 with figures added up, a multiple of five; a seventh digit of 7 counts as 1
/// or 0. Source: 財政部, 統一編號檢查碼邏輯 (April 2023).
pub fn tw_company(value: &str) -> bool {
    digits::<8>(value, b" -").is_some_and(|digits| {
        let figures =
            digits.iter().zip([1, 2, 1, 2, 1, 2, 4, 1]).map(|(digit, weight)| cross(u32::from(*digit) * weight));
        let sum: u32 = figures.sum();
        number(&digits) > 0 && (sum.is_multiple_of(5) || (digits[6] == 7 && (sum + 1).is_multiple_of(5)))
    })
}

/// Japanese corporation: a check digit and twelve, weights 1 and 2 modulo 9. Source: 法人番号の指定等に関する省令.
pub fn jp_corporation(value: &str) -> bool {
    digits::<13>(value, b" -").is_some_and(|digits| {
        let sum: u32 = digits[1..].iter().rev().zip([1, 2].into_iter().cycle()).map(|(d, w)| u32::from(*d) * w).sum();
        9 - sum % 9 == u32::from(digits[0])
    })
}

/// Japanese person (My Number): weights 2 to 7 modulo 11. Source: 行政手続における特定の個人を識別するための番号の利用等に関する法律.
pub fn jp_person(value: &str) -> bool {
    digits::<12>(value, b" -").is_some_and(|digits| {
        !is_uniform(&digits) && complement(rising(&digits[..11], 7), 11) % 10 == u32::from(digits[11])
    })
}

/// Korean company: weights 1 3 7 1 3 7 1 3 5 and the tens of the last product, modulo 10.
/// Source: 국세청, 사업자등록번호.
pub fn kr_company(value: &str) -> bool {
    digits::<10>(value, b" -").is_some_and(|digits| {
        let sum = weighted(&digits, &[1, 3, 7, 1, 3, 7, 1, 3, 5]) + u32::from(digits[8]) * 5 / 10;
        number(&digits[..3]) > 100 && two(&digits, 3) > 0 && complement(sum, 10) == u32::from(digits[9])
    })
}

/// Korean resident: birthday, sex and century from 1 to 4, and since October 2020 six random digits; before, a region
/// and a check digit that [`kr_checked`] looks at. Source: 주민등록법 시행규칙 제2조.
pub fn kr_resident(value: &str) -> bool {
    kr_person(value).is_some_and(|digits| matches!(digits[6], 1..=4))
}

/// Korean foreigner: as a resident, with 5 to 8. Source: 출입국관리법 시행규칙.
pub fn kr_foreigner(value: &str) -> bool {
    kr_person(value).is_some_and(|digits| matches!(digits[6], 5..=8))
}

/// Whether a resident's or foreigner's number also has the region and check digit that were given until October 2020.
pub fn kr_checked(value: &str) -> bool {
    kr_person(value).is_some_and(|digits| {
        let foreign = matches!(digits[6], 5..=8);
        let check = (11 - weighted(&digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]) % 11) % 10;
        let check = if foreign { (check + 2) % 10 } else { check };
        two(&digits, 7) <= 96 && check == u32::from(digits[12])
    })
}

/// Six digits of a birthday in the century that the seventh names, and six more.
fn kr_person(value: &str) -> Option<[u8; 13]> {
    let digits = digits::<13>(value, b" -")?;
    let century = match digits[6] {
        1 | 2 | 5 | 6 => 1900,
        3 | 4 | 7 | 8 => 2000,
        _ => 1800,
    };
    is_birthday(century + two(&digits, 0), two(&digits, 2), two(&digits, 4)).then_some(digits)
}

/// Korean passport: `M`, `S`, `R`, `O` or `D`, three digits, a digit or letter, four digits. Source: 여권법 시행규칙.
pub fn kr_passport(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "A000X0000") && b"MSROD".contains(&text[0]))
}

/// Vietnamese taxpayer: ten digits, weights 31 29 23 19 17 13 7 5 3 modulo 11, possibly a branch from 001.
/// Source: Thông tư 105/2020/TT-BTC.
pub fn vn_mst(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let (head, branch) = text.split_at(text.len().min(10));
        let branched = branch.is_empty() || exactly::<3>(branch).is_some_and(|digits| number(&digits) > 0);
        branched
            && exactly::<10>(head).is_some_and(|digits| {
                let remainder = weighted(&digits, &[31, 29, 23, 19, 17, 13, 7, 5, 3]) % 11;
                number(&digits[2..9]) > 0 && 10 - remainder == u32::from(digits[9])
            })
    })
}

/// The check digit of Thailand's numbers: weights 13 to 2 modulo 11.
fn th_check(digits: &[u8; 13]) -> bool {
    (11 - rising(&digits[..12], 13) % 11) % 10 == u32::from(digits[12])
}

/// Thai person: kind from 1 to 8, province, check digit. Source: กรมการปกครอง, เลขประจำตัวประชาชน; ISO 3166-2:TH.
pub fn th_person(value: &str) -> bool {
    digits::<13>(value, b" -").is_some_and(|digits| {
        let province = matches!(two(&digits, 1), 10..=27 | 30..=49 | 50..=58 | 60..=67 | 70..=77 | 80..=86 | 90..=96);
        // The check digit of numbers used as examples is right in provinces that do not exist.
        matches!(digits[0], 1..=8) && province && th_check(&digits)
    })
}

/// Thai company: from 0 on. Source: กรมสรรพากร, เลขประจำตัวผู้เสียภาษีอากร.
pub fn th_company(value: &str) -> bool {
    digits::<13>(value, b" -").is_some_and(|digits| digits[0] == 0 && number(&digits) > 0 && th_check(&digits))
}

/// Thai taxpayer: either of the two.
pub fn th_taxpayer(value: &str) -> bool {
    th_person(value) || th_company(value)
}

/// Malaysian person: birthday and place of birth. It has no checksum. Source: JPN, *kod negeri*.
pub fn my_nric(value: &str) -> bool {
    digits::<12>(value, b" -*").is_some_and(|digits| {
        let place = matches!(two(&digits, 6), 1..=16 | 21..=68 | 71 | 72 | 74..=79 | 82..=93 | 98 | 99);
        is_short_birthday(two(&digits, 0), two(&digits, 2), two(&digits, 4)) && place
    })
}

/// Singaporean or foreigner: weights 2 7 6 5 4 3 2 modulo 11, a table of letters for each prefix.
/// Source: Immigration & Checkpoints Authority, *NRIC and FIN*, *M series*.
pub fn sg_nric_fin(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some(digits) = text.get(1..8).and_then(exactly::<7>).filter(|_| text.len() == 9) else { return false };
        let (added, letters): (u32, &[u8; 11]) = match text[0] {
            b'S' => (0, b"JZIHGFEDCBA"),
            b'T' => (4, b"JZIHGFEDCBA"),
            b'F' => (0, b"XWUTRQPNMLK"),
            b'G' => (4, b"XWUTRQPNMLK"),
            b'M' => (3, b"XWUTRQPNJLK"),
            _ => return false,
        };
        text[8] == letters[((weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]) + added) % 11) as usize]
    })
}

/// Singaporean entity: of a business, a company, or another kind. Source: ACRA, *Unique Entity Number*.
pub fn sg_uen(value: &str) -> bool {
    const OTHER: &[u8] = b"ABCDEFGHJKLMNPQRSTUVWX0123456789";
    const KINDS: &[u8] = b"CCCDCHCLCMCPCSCXDPFBFCFMFNGAGBGSHSLLLPMBMCMDMHMMMQNBNRPAPBPFRFRPSMSSTCTUVHXL";
    compact(value, b" -").is_some_and(|text| {
        let Some((check, head)) = text.split_last() else { return false };
        let letter = |digits: &[u8], weights: &[u8], letters: &[u8; 11]| {
            *check == letters[(weighted(digits, weights) % 11) as usize]
        };
        if let Some(digits) = exactly::<8>(head) {
            return letter(&digits, &[10, 4, 9, 3, 8, 2, 7, 1], b"XMKECAWLJDB");
        }
        if let Some(digits) = exactly::<9>(head) {
            let year = number(&digits[..4]);
            return (1800..2100).contains(&year) && letter(&digits, &[10, 8, 6, 4, 9, 7, 5, 3, 1], b"ZKCMDNERGWH");
        }
        let kind = is_shaped(head, "A00XX0000") && KINDS.as_chunks::<2>().0.iter().any(|kind| kind == &head[3..5]);
        let places = head.iter().map(|byte| OTHER.iter().position(|known| known == byte).unwrap_or(0) as u32);
        let sum: u32 = places.zip([4, 3, 5, 3, 10, 2, 2, 5, 7]).map(|(place, weight)| place * weight).sum();
        kind && matches!(head[0], b'R' | b'S' | b'T') && *check == OTHER[((sum + 6) % 11) as usize]
    })
}

/// Indonesian taxpayer: nine digits with Luhn's, office and branch; or sixteen, with 0 before or of a person.
/// Source: Peraturan Menteri Keuangan 112/2022.
pub fn id_npwp(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        if let Some(digits) = exactly::<15>(&text) {
            return number(&digits[..9]) > 0 && luhn(&digits[..9]);
        }
        exactly::<16>(&text).is_some_and(|digits| {
            let day = two(&digits, 6);
            let person = is_short_birthday(two(&digits, 10), two(&digits, 8), if day > 40 { day - 40 } else { day });
            if digits[0] == 0 { number(&digits[..10]) > 0 && luhn(&digits[1..10]) } else { person }
        })
    })
}

/// Philippine taxpayer: nine digits, possibly three to five of a branch. Source: BIR, Revenue Memorandum Order 40-2004.
pub fn ph_tin(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| matches!(text.len(), 9 | 12 | 13 | 14) && padded::<14>(&text, 9).is_some())
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("CN_RIC", cn_resident),
    ("CN_USCC", cn_organisation),
    ("ID_NPWP", id_npwp),
    ("JP_CN", jp_corporation),
    ("JP_IN_", jp_person),
    ("KR_BRN", kr_company),
    ("KR_FRN", kr_foreigner),
    ("KR_PASSPORT", kr_passport),
    ("KR_RRN", kr_resident),
    ("MY_NRIC", my_nric),
    ("PH_TIN", ph_tin),
    ("SG_NRIC_FIN", sg_nric_fin),
    ("SG_UEN", sg_uen),
    ("TH_MOA", th_company),
    ("TH_PIN", th_person),
    ("TH_TIN", th_taxpayer),
    ("TH_TNIN", th_person),
    ("TW_UBN", tw_company),
    ("VN_MST", vn_mst),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_korean_number_of_before_2020_also_has_a_check_digit() {
        assert!(kr_resident("960121-1021413") && kr_checked("960121-1021413"));
        assert!(kr_resident("960121-1021414") && !kr_checked("960121-1021414"));
        assert!(!kr_resident("960132-1021413") && !kr_checked("960132-1021413"));
        assert!(kr_foreigner("911124-5678901") && !kr_resident("911124-5678901"));
    }
}
