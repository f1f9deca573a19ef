//! Poland, Czechia, Slovakia, Hungary, Romania, Albania, and the countries of former Yugoslavia.

use super::checksums::{complement, mod_11_10, rising, weighted};
use super::text::{compact, digits, exactly, is_birthday, is_shaped, is_short_birthday, number, padded, two, without};

/// Polish person: birthday whose month names the century, weights 1, 3, 7, 9 modulo 10.
/// Source: ustawa o ewidencji ludności of 24 September 2010, art. 15.
pub fn pl_pesel(value: &str) -> bool {
    digits::<11>(value, b"").is_some_and(|digits| {
        let (year, month) = (two(&digits, 0), two(&digits, 2));
        let century = [1900, 2000, 2100, 2200, 1800][(month / 20) as usize];
        is_birthday(century + year, month % 20, two(&digits, 4))
            && complement(weighted(&digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3]), 10) == u32::from(digits[10])
    })
}

/// Polish company in statistics: nine digits, or fourteen of a branch. Source: GUS, *REGON*.
pub fn pl_regon(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let check = |digits: &[u8], weights: &[u8], check: u8| weighted(digits, weights) % 11 % 10 == u32::from(check);
        let nine = |digits: &[u8]| number(digits) > 0 && check(digits, &[8, 9, 2, 3, 4, 5, 6, 7], digits[8]);
        match text.len() {
            9 => exactly::<9>(&text).is_some_and(|digits| nine(&digits)),
            14 => exactly::<14>(&text).is_some_and(|digits| {
                nine(&digits[..9]) && check(&digits, &[2, 4, 8, 5, 0, 9, 7, 3, 6, 1, 2, 4, 8], digits[13])
            }),
            _ => false,
        }
    })
}

/// Polish taxpayer: weights 6, 5, 7, 2, 3, 4, 5, 6, 7 modulo 11. Source: ustawa of 13 October 1995; VIES FAQ.
pub fn pl_nip(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<10>(without(&text, "PL")).is_some_and(|digits| {
            digits[0] != 0 && weighted(&digits, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == u32::from(digits[9])
        })
    })
}

/// Czech company: weights 8 to 2 modulo 11. Source: Český statistický úřad, *IČO*.
pub fn cz_ico(value: &str) -> bool {
    digits::<8>(value, b" ").is_some_and(|digits| is_ico(&digits))
}

fn is_ico(digits: &[u8; 8]) -> bool {
    (11 - rising(&digits[..7], 8) % 11) % 10 == u32::from(digits[7])
}

/// Czech and Slovak person: birthday (month plus 50 for women, plus 20 where serials ran out), serial, and since 1954 a
/// multiple of eleven. Source: zákon 133/2000 Sb., § 13; zákon 301/1995 Z. z.
pub fn cz_person(value: &str) -> bool {
    compact(value, b" /").is_some_and(|text| {
        let Some(birth) = text.get(..6).and_then(exactly::<6>) else { return false };
        let year = two(&birth, 0);
        let month = match two(&birth, 2) {
            month @ 51.. => month - 50,
            month => month,
        };
        let (month, day) = (if month > 20 { month - 20 } else { month }, two(&birth, 4));
        match text.len() {
            9 => {
                let century = if year < 54 { 1900 } else { 1800 };
                exactly::<9>(&text).is_some() && is_birthday(century + year, month, day)
            }
            10 => exactly::<10>(&text).is_some_and(|digits| {
                let century = if year < 54 { 2000 } else { 1900 };
                // Until 1985 a remainder of ten was written as 0.
                let check = number(&digits[..9]) % 11 % 10 == u64::from(digits[9]);
                is_birthday(century + year, month, day) && check
            }),
            _ => false,
        }
    })
}

/// Czech VAT number: of a company eight digits not from 9, of people a birth number, or nine digits from 6.
/// Source: VIES FAQ; zákon 235/2004 Sb.
pub fn cz_vat(value: &str) -> bool {
    compact(value, b" /").is_some_and(|text| {
        let text = without(&text, "CZ");
        let company = exactly::<8>(text).is_some_and(|digits| digits[0] != 9 && is_ico(&digits));
        let special = exactly::<9>(text).is_some_and(|digits| {
            let check = match 11 - rising(&digits[1..8], 8) % 11 {
                10 => 9,
                11 => 8,
                check => (19 - check) % 10,
            };
            digits[0] == 6 && check == u32::from(digits[8])
        });
        company || special || std::str::from_utf8(text).is_ok_and(cz_person)
    })
}

/// Slovak VAT number: ten digits that eleven divides, from 1 to 9 and 2, 3, 4, 7, 8 or 9 third. Source: VIES FAQ.
pub fn sk_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<10>(without(&text, "SK")).is_some_and(|digits| {
            digits[0] != 0 && matches!(digits[2], 2 | 3 | 4 | 7 | 8 | 9) && number(&digits).is_multiple_of(11)
        })
    })
}

/// Hungarian VAT number: weights 9, 7, 3, 1 modulo 10. Source: NAV, *adószám*; VIES FAQ.
pub fn hu_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<8>(without(&text, "HU")).is_some_and(|digits| {
            number(&digits) > 0 && weighted(&digits, &[9, 7, 3, 1, 9, 7, 3, 1]).is_multiple_of(10)
        })
    })
}

/// Person of the former Yugoslavia (JMBG, EMŠO): birthday with three digits of the year, region, serial and check digit.
/// Source: Uradni list SRS 14/1977; Zakon o centralnem registru prebivalstva.
pub fn yu_jmbg(value: &str) -> bool {
    digits::<13>(value, b" ").is_some_and(|digits| {
        let year = number(&digits[4..7]) as u32;
        let year = year + if year >= 800 { 1000 } else { 2000 };
        is_birthday(year, two(&digits, 2), two(&digits, 0))
            && complement(weighted(&digits, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]), 11) == u32::from(digits[12])
    })
}

/// Slovenian VAT number: weights 8 to 2 modulo 11. Source: FURS, *davčna številka*; VIES FAQ.
pub fn si_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<8>(without(&text, "SI")).is_some_and(|digits| {
            let check = 11 - rising(&digits[..7], 8) % 11;
            digits[0] != 0 && check < 11 && check % 10 == u32::from(digits[7])
        })
    })
}

/// Slovenian company: six digits, a check digit of weights 7 to 2, and possibly three characters of a unit.
/// Source: AJPES, *matična številka*.
pub fn si_company(value: &str) -> bool {
    compact(value, b" .").is_some_and(|text| {
        let (head, unit) = text.split_at(text.len().min(7));
        exactly::<7>(head).is_some_and(|digits| {
            let check = 11 - rising(&digits[..6], 7) % 11;
            check < 11 && check % 10 == u32::from(digits[6]) && (unit.is_empty() || is_shaped(unit, "X00"))
        })
    })
}

/// Croatian person or company: ISO 7064 MOD 11,10. Source: Zakon o osobnom identifikacijskom broju.
pub fn hr_oib(value: &str) -> bool {
    compact(value, b" -")
        .is_some_and(|text| exactly::<11>(without(&text, "HR")).is_some_and(|digits| mod_11_10(&digits)))
}

/// Serbian taxpayer: ISO 7064 MOD 11,10. Source: Poreska uprava, *PIB*.
pub fn rs_pib(value: &str) -> bool {
    digits::<9>(value, b" -.").is_some_and(|digits| mod_11_10(&digits))
}

/// Macedonian taxpayer: weights 7 to 2 twice, modulo 11. Source: Управа за јавни приходи, *ЕДБ*.
pub fn mk_edb(value: &str) -> bool {
    let value = value.strip_prefix("МК").unwrap_or(value);
    compact(value, b" -").is_some_and(|text| {
        exactly::<13>(without(&text, "MK")).is_some_and(|digits| {
            complement(weighted(&digits, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]), 11) % 10 == u32::from(digits[12])
        })
    })
}

/// Albanian taxpayer: decade, eight digits, a letter. Source: Drejtoria e Përgjithshme e Tatimeve, *NIPT*.
pub fn al_nipt(value: &str) -> bool {
    compact(value, b" ()").is_some_and(|text| {
        let text = if text.len() == 12 { without(&text, "AL") } else { &text };
        is_shaped(text, "A00000000A") && text[0] <= b'M'
    })
}

/// Romanian person: sex and century, birthday, county, serial, weights 2 7 9 1 4 6 3 5 8 2 7 9 modulo 11.
/// Source: OUG 97/2005; Decretul-Lege 112/1990.
pub fn ro_cnp(value: &str) -> bool {
    digits::<13>(value, b" -").is_some_and(|digits| {
        let (year, month, day) = (two(&digits, 1), two(&digits, 3), two(&digits, 5));
        let born = match digits[0] {
            1 | 2 => is_birthday(1900 + year, month, day),
            3 | 4 => is_birthday(1800 + year, month, day),
            5 | 6 => is_birthday(2000 + year, month, day),
            7..=9 => is_short_birthday(year, month, day),
            _ => false,
        };
        let county = matches!(two(&digits, 7), 1..=48 | 51 | 52 | 70 | 80..=83);
        let check = weighted(&digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
        born && county && u32::from(digits[12]) == if check == 10 { 1 } else { check }
    })
}

/// Romanian taxpayer: two to ten digits, weights 7 5 3 2 1 7 5 3 2 modulo 11. Source: Cod fiscal; VIES FAQ.
pub fn ro_cui(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        padded::<10>(without(&text, "RO"), 2).is_some_and(|digits| {
            number(&digits[..9]) > 0
                && 10 * weighted(&digits, &[7, 5, 3, 2, 1, 7, 5, 3, 2]) % 11 % 10 == u32::from(digits[9])
        })
    })
}

/// Romanian trade register: `J`, `F` or `C`, county, number and year; or since 2024 year, number, county and a check
/// digit, fourteen characters. Source: Legea 265/2022.
pub fn ro_onrc(value: &str) -> bool {
    if compact(value, b" ").is_some_and(|text| is_shaped(&text, "A0000000000000") && b"JFC".contains(&text[0])) {
        return true;
    }
    let Some((kind, rest)) = value.trim().split_at_checked(1) else { return false };
    let mut parts = rest.split(['/', '-', ' ']).filter(|part| !part.is_empty());
    let mut part = |least: u64, most: u64| {
        let digits = parts.next().and_then(|part| padded::<6>(part.as_bytes(), 1));
        digits.is_some_and(|digits| (least..=most).contains(&number(&digits)))
    };
    matches!(kind, "J" | "F" | "C") && part(1, 52) && part(1, 999_999) && part(1990, 2099) && parts.next().is_none()
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("AL_NIPT", al_nipt),
    ("CZ_DIC", cz_vat),
    ("CZ_ICO", cz_ico),
    ("CZ_RC", cz_person),
    ("HR_OIB", hr_oib),
    ("HU_ANUM", hu_vat),
    ("MK_EDB", mk_edb),
    ("PL_NIP", pl_nip),
    ("PL_PESEL", pl_pesel),
    ("PL_REGON", pl_regon),
    ("RO_CNP", ro_cnp),
    ("RO_CUI", ro_cui),
    ("RO_ONRC", ro_onrc),
    ("RS_PIB", rs_pib),
    ("SI_DDV", si_vat),
    ("SI_EMSO", yu_jmbg),
    ("SI_MATICNA", si_company),
    ("SK_DPH", sk_vat),
    ("SK_ICO", cz_ico),
    ("SK_RC", cz_person),
    ("YU_JMBG", yu_jmbg),
];
