//! Denmark, the Faroes, Norway, Sweden, Finland, Estonia, Latvia and Lithuania.

use super::checksums::{complement, luhn, weighted};
use super::text::{all_digits, compact, digits, exactly, is_birthday, is_day, number, padded, two, without};

/// Danish person: birthday and serial, whose first digit names the century. Numbers given since 2007 carry no checksum.
/// Source: CPR-kontoret, *Personnummeret i CPR-systemet*.
pub fn dk_cpr(value: &str) -> bool {
    digits::<10>(value, b" -").is_some_and(|digits| {
        let year = two(&digits, 4);
        let century = match (digits[6], year) {
            (0..=3, _) | (4 | 9, 37..) => 1900,
            (5..=8, 58..) => 1800,
            _ => 2000,
        };
        is_birthday(century + year, two(&digits, 2), two(&digits, 0))
    })
}

/// Danish company: weights 2, 7, 6, 5, 4, 3, 2, 1 modulo 11. Source: Erhvervsstyrelsen, *CVR-nummer*.
pub fn dk_cvr(value: &str) -> bool {
    compact(value, b" -.,/:").is_some_and(|text| {
        exactly::<8>(without(&text, "DK"))
            .is_some_and(|digits| digits[0] != 0 && weighted(&digits, &[2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11))
    })
}

/// Faroese tax number: six digits. Source: TAKS, *V-tal*.
pub fn fo_vn(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| exactly::<6>(without(&text, "FO")).is_some())
}

/// Norwegian person: birthday (day plus 40 for a D-number, month plus 40 for a temporary one), serial that names the
/// century, and two check digits modulo 11. Source: Skatteetaten, *fødselsnummer*; Lov om folkeregistrering § 2-2.
pub fn no_person(value: &str) -> bool {
    digits::<11>(value, b" -.:").is_some_and(|digits| {
        let first = complement(weighted(&digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2]), 11);
        let second = complement(weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]), 11);
        let (day, month, year) = (two(&digits, 0), two(&digits, 2), two(&digits, 4));
        let century = match (number(&digits[6..9]), year) {
            (0..=499, _) | (900.., 40..) => 1900,
            (500..=749, 54..) => 1800,
            (500.., 0..=39) => 2000,
            _ => return false,
        };
        let day = if day > 40 { day - 40 } else { day };
        let month = if month > 40 { month - 40 } else { month };
        is_birthday(century + year, month, day) && first == u32::from(digits[9]) && second == u32::from(digits[10])
    })
}

/// Norwegian organisation: weights 3, 2, 7, 6, 5, 4, 3, 2 modulo 11. Source: Brønnøysundregistrene.
pub fn no_organisation(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let text = text.strip_suffix(b"MVA").unwrap_or(&text);
        exactly::<9>(without(text, "NO")).is_some_and(|digits| {
            number(&digits) > 0 && complement(weighted(&digits, &[3, 2, 7, 6, 5, 4, 3, 2]), 11) == u32::from(digits[8])
        })
    })
}

/// Swedish person: birthday (day plus 60 for a coordination number), serial and Luhn, possibly with the century.
/// Source: Skatteverket, SKV 704 and SKV 707.
pub fn se_person(value: &str) -> bool {
    compact(value, b" -+").is_some_and(|text| {
        let (century, digits) = match text.len() {
            12 => (exactly::<2>(&text[..2]), exactly::<10>(&text[2..])),
            _ => (None, exactly::<10>(&text)),
        };
        let Some(digits) = digits.filter(|_| text.len() == 10 || century.is_some()) else { return false };
        let (year, month, day) = (two(&digits, 0), two(&digits, 2), two(&digits, 4));
        let day = if day > 60 { day - 60 } else { day };
        let born = |century: u32| is_birthday(century * 100 + year, month, day);
        let born = century.map_or_else(|| born(18) || born(19) || born(20), |century| born(two(&century, 0)));
        born && luhn(&digits)
    })
}

/// Swedish organisation: ten digits, the third at least 2, Luhn. Source: Bolagsverket; SKV 709.
pub fn se_organisation(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        exactly::<10>(&text).is_some_and(|digits| digits[0] != 0 && digits[2] >= 2 && luhn(&digits))
    })
}

/// Swedish VAT number: an organisation's or person's number and `01`. Source: VIES FAQ; Skatteverket.
pub fn se_vat(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        exactly::<12>(without(&text, "SE")).is_some_and(|digits| two(&digits, 10) > 0 && luhn(&digits[..10]))
    })
}

/// Swedish postcode: five digits, not from 0. Source: PostNord, *Postnummersystemet*.
pub fn se_postcode(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| exactly::<5>(without(&text, "SE")).is_some_and(|digits| digits[0] != 0))
}

/// Finnish person: birthday, sign of the century, serial from 002 on (those from 900 are temporary), and a character of
/// the remainder by 31. A birthday that lies ahead is taken. Source: Digital and Population Data Services Agency, *Personal identity code*; decree 690/2022.
pub fn fi_person(value: &str) -> bool {
    let value = value.trim();
    let (Some(birth), Some(sign), Some(rest)) = (value.get(..6), value.as_bytes().get(6), value.get(7..)) else {
        return false;
    };
    let century = match sign.to_ascii_uppercase() {
        b'+' => 1800,
        b'-' | b'U'..=b'Y' => 1900,
        b'A'..=b'F' => 2000,
        _ => return false,
    };
    let (Some(birth), Some(rest)) = (exactly::<6>(birth.as_bytes()), compact(rest, b"")) else { return false };
    let Some(serial) = rest.get(..3).and_then(exactly::<3>).filter(|_| rest.len() == 4) else { return false };
    let remainder = (number(&birth) * 1000 + number(&serial)) % 31;
    number(&serial) >= 2
        && is_day(century + two(&birth, 4), two(&birth, 2), two(&birth, 0))
        && rest[3] == b"0123456789ABCDEFHJKLMNPRSTUVWXY"[remainder as usize]
}

/// Finnish company and VAT number: weights 7, 9, 10, 5, 8, 4, 2, 1 modulo 11. Source: PRH, *Y-tunnus*; VIES FAQ.
pub fn fi_company(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        padded::<8>(without(&text, "FI"), 7).is_some_and(|digits| {
            number(&digits) > 0 && weighted(&digits, &[7, 9, 10, 5, 8, 4, 2, 1]).is_multiple_of(11)
        })
    })
}

/// Finnish association: one to six digits. Source: PRH, *Yhdistysrekisteri*.
pub fn fi_association(value: &str) -> bool {
    compact(value, b" -._").is_some_and(|text| (1..=6).contains(&text.len()) && all_digits(&text))
}

/// Finnish construction worker: twelve digits. Source: Verohallinto, *Veronumero*.
pub fn fi_tax_number(value: &str) -> bool {
    digits::<12>(value, b" ").is_some()
}

/// The check digit of Estonia's and Lithuania's numbers: weights from 1 on, modulo 11; for ten, weights from 3 on.
fn two_step(digits: &[u8]) -> u32 {
    let from = |first: u32| {
        digits.iter().zip((1..=9).cycle().skip(first as usize - 1)).map(|(d, w)| u32::from(*d) * w).sum::<u32>()
    };
    match from(1) % 11 {
        10 => from(3) % 11 % 10,
        check => check,
    }
}

/// Person of Estonia or Lithuania: sex and century, birthday, serial and check digit. Source: EVS 585; Lietuvos
/// Respublikos gyventojų registro įstatymas, art. 8.
pub fn ee_person(value: &str) -> bool {
    digits::<11>(value, b" -").is_some_and(|digits| {
        let century = match digits[0] {
            1 | 2 => 1800,
            3 | 4 => 1900,
            5 | 6 => 2000,
            _ => return false,
        };
        let born = is_birthday(century + two(&digits, 1), two(&digits, 3), two(&digits, 5));
        born && two_step(&digits[..10]) == u32::from(digits[10])
    })
}

/// Estonian company: from 1, 7, 8 or 9 on. Source: Äriregister, *registrikood*.
pub fn ee_company(value: &str) -> bool {
    digits::<8>(value, b" ")
        .is_some_and(|digits| matches!(digits[0], 1 | 7 | 8 | 9) && two_step(&digits[..7]) == u32::from(digits[7]))
}

/// Estonian VAT number: weights 3, 7, 1 modulo 10. Source: VIES FAQ.
pub fn ee_vat(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        exactly::<9>(without(&text, "EE"))
            .is_some_and(|digits| weighted(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10))
    })
}

/// Lithuanian VAT number: nine digits with 1 last but one, or twelve. Source: VIES FAQ.
pub fn lt_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let text = without(&text, "LT");
        let nine =
            exactly::<9>(text).is_some_and(|digits| digits[7] == 1 && two_step(&digits[..8]) == u32::from(digits[8]));
        let twelve = exactly::<12>(text)
            .is_some_and(|digits| digits[10] == 1 && two_step(&digits[..11]) == u32::from(digits[11]));
        nine || twelve
    })
}

/// Latvian VAT number and person: of companies from 4 on, of people a birthday with its century or 32 and no birthday.
/// Source: VIES FAQ; Pilsonības un migrācijas lietu pārvalde, *personas kods*.
pub fn lv_vat(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some(digits) = exactly::<11>(without(&text, "LV")) else { return false };
        if digits[0] > 3 {
            return weighted(&digits, &[9, 1, 4, 8, 3, 10, 2, 5, 7, 6, 1]) % 11 == 3;
        }
        if digits.starts_with(&[3, 2]) {
            return true;
        }
        let born = is_birthday(1800 + u32::from(digits[6]) * 100 + two(&digits, 4), two(&digits, 2), two(&digits, 0));
        let sum = 1 + weighted(&digits, &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]);
        born && sum % 11 % 10 == u32::from(digits[10])
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("DK_CPR", dk_cpr),
    ("DK_CVR", dk_cvr),
    ("EE_IK", ee_person),
    ("EE_KMKR", ee_vat),
    ("EE_REGISTRIKOOD", ee_company),
    ("FI_ALV", fi_company),
    ("FI_ASSOCIATIONID", fi_association),
    ("FI_HETU", fi_person),
    ("FI_PERSONAL_IDENTITY_CODE", fi_person),
    ("FI_VERONUMERO", fi_tax_number),
    ("FI_YTUNNUS", fi_company),
    ("FO_VN", fo_vn),
    ("LT_ASMENS", ee_person),
    ("LT_PVM", lt_vat),
    ("LV_PVN", lv_vat),
    ("NO_FODSELSNUMMER", no_person),
    ("NO_ORGNR", no_organisation),
    ("SE_ORGANISATIONSNUMMER", se_organisation),
    ("SE_ORGNR", se_organisation),
    ("SE_PERSONNUMMER", se_person),
    ("SE_POSTNUMMER", se_postcode),
    ("SE_VAT", se_vat),
];
