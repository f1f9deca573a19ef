//! United Kingdom and Ireland. The NHS number is in [`health`](super::health).

use super::checksums::weighted;
use super::text::{compact, exactly, is_shaped, number, two, without};

/// National Insurance number: prefix, six digits, suffix `A` to `D`; some prefixes are not allocated.
/// Source: HM Revenue and Customs, NIM39110.
pub fn uk_nino(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let never = text.first_chunk().is_some_and(|prefix: &[u8; 2]| {
            b"DFIQUV".contains(&prefix[0])
                || b"DFIQUVO".contains(&prefix[1])
                || [b"BG", b"GB", b"KN", b"NK", b"NT", b"TN", b"ZZ"].contains(&prefix)
        });
        is_shaped(&text, "AA000000A") && !never && text[8] <= b'D'
    })
}

/// Unique Taxpayer Reference: a check digit and nine digits, modulo 11. Source: HM Revenue and Customs, *UTR modulus
/// check* (weights 6 7 8 9 10 5 4 3 2, check digits 2 1 9 8 7 6 5 4 3 2 1).
pub fn gb_utr(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        exactly::<10>(text.strip_suffix(b"K").unwrap_or(&text)).is_some_and(|digits| {
            let remainder = weighted(&digits[1..], &[6, 7, 8, 9, 10, 5, 4, 3, 2]) % 11;
            u32::from(digits[0]) == [2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1][remainder as usize]
        })
    })
}

/// UK VAT registration: nine digits with modulo 97, or with 55 added; twelve with a branch; `GD` and `HA` of authorities.
/// Source: HM Revenue and Customs, VATREC and European Commission, VIES FAQ.
pub fn gb_vat(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let text = match text.first_chunk() {
            Some(b"GB" | b"XI") => &text[2..],
            _ => &text[..],
        };
        let authority = |from: std::ops::Range<u32>, at: usize| {
            exactly::<3>(&text[at..]).is_some_and(|digits| from.contains(&(number(&digits) as u32)))
        };
        match text.len() {
            5 => match text.first_chunk() {
                Some(b"GD") => authority(0..500, 2),
                Some(b"HA") => authority(500..1000, 2),
                _ => false,
            },
            9 => exactly::<9>(text).is_some_and(|digits| is_gb_vat(&digits)),
            12 => exactly::<12>(text).is_some_and(|digits| is_gb_vat(&digits)),
            _ => false,
        }
    })
}

fn is_gb_vat(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[8, 7, 6, 5, 4, 3, 2]) + two(digits, 7);
    digits[0] + digits[1] + digits[2] > 0 && (sum.is_multiple_of(97) || (sum + 55).is_multiple_of(97))
}

/// UK driver number: five of the surname, decade, month (plus 50 for women), day, year, initials, and three more.
/// Source: Driver and Vehicle Licensing Agency, form D1 and DVLA/INF.
pub fn uk_driving_licence(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        // A surname shorter than five letters is filled with nines.
        let letters = text.iter().take(5).take_while(|byte| byte.is_ascii_uppercase()).count();
        let filled = text.iter().take(5).skip(letters).all(|byte| *byte == b'9');
        let Some(birth) = text.get(5..11).and_then(exactly::<6>) else { return false };
        let (month, day) = (two(&birth, 1), two(&birth, 3));
        is_shaped(&text, "XXXXX000000XXXAA")
            && letters > 0
            && filled
            && matches!(month, 1..=12 | 51..=62)
            && (1..=31).contains(&day)
            && text[11].is_ascii_uppercase()
            && (text[12].is_ascii_uppercase() || text[12] == b'9')
    })
}

/// UK passport: nine digits, or two letters and seven digits. Source: HM Passport Office, *Basic passport checks*.
pub fn uk_passport(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "000000000") || is_shaped(&text, "AA0000000"))
}

/// UK postcode: outward and inward part. Source: BS 7666-2, Royal Mail *Programmers' Guide* (letters not used by place).
pub fn uk_postcode(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let Some((outward, inward)) = text.split_last_chunk::<3>() else { return false };
        let shaped = ["A0", "A00", "AA0", "AA00", "A0A", "AA0A"].iter().any(|shape| is_shaped(outward, shape));
        let inward = is_shaped(inward, "0AA") && !inward.iter().any(|byte| b"CIKMOV".contains(byte));
        let first = !b"QVX".contains(&text[0]);
        inward && ((shaped && first) || outward == b"GIR")
    })
}

/// UK vehicle registration: current (of half-years until 2029), prefix, suffix and dateless
/// style. Source: DVLA, INF104.
pub fn uk_vehicle(value: &str) -> bool {
    const PREFIXED: [&str; 3] = ["A0AAA", "A00AAA", "A000AAA"];
    const SUFFIXED: [&str; 3] = ["AAA0A", "AAA00A", "AAA000A"];
    const DATELESS: [&str; 10] =
        ["A0000", "AA0000", "AA000", "AAA000", "AAA00", "AAA0", "AAA0000", "000AAA", "0000AA", "0AAA"];
    compact(value, b" ").is_some_and(|text| {
        let any = |shapes: &[&str]| shapes.iter().any(|shape| is_shaped(&text, shape));
        let of_year = |byte: Option<&u8>| byte.is_some_and(|byte| !b"IOUZ".contains(byte));
        let current = is_shaped(&text, "AA00AAA")
            && !text[..2].iter().any(|byte| b"IQZ".contains(byte))
            && matches!(two(&[text[2] - b'0', text[3] - b'0'], 0), 2..=29 | 51..=79);
        current
            || (any(&PREFIXED) && of_year(text.first()))
            || (any(&SUFFIXED) && of_year(text.last()))
            || any(&DATELESS)
    })
}

/// Irish PPS number and VAT number of people: seven digits, a letter of modulo 23, and possibly a second one that counts
/// nine times its place. Source: Department of Social Protection, *PPS number format*.
pub fn ie_pps(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let Some(digits) = text.get(..7).and_then(exactly::<7>) else { return false };
        let second = match text.get(8) {
            None | Some(b'W' | b'T' | b'X') => 0,
            Some(letter @ b'A'..=b'I') => u32::from(letter - b'A' + 1) * 9,
            Some(_) => return false,
        };
        matches!(text.len(), 8 | 9) && text[7] == ie_letter(&digits, second)
    })
}

fn ie_letter(digits: &[u8], second: u32) -> u8 {
    b"WABCDEFGHIJKLMNOPQRSTUV"[((weighted(digits, &[8, 7, 6, 5, 4, 3, 2]) + second) % 23) as usize]
}

/// Irish VAT number: a PPS number, or the older form with a letter, `+` or `*` second. Source: VIES FAQ; Revenue.
pub fn ie_vat(value: &str) -> bool {
    compact(value, b" -+*").is_some_and(|text| {
        let text = without(&text, "IE");
        if let Some(digits) = text.get(..7).and_then(exactly::<7>) {
            let second = match text.get(8) {
                None => 0,
                Some(letter @ b'A'..=b'I') => u32::from(letter - b'A' + 1) * 9,
                Some(_) => return false,
            };
            return matches!(text.len(), 8 | 9) && text[7] == ie_letter(&digits, second);
        }
        // The first digit moves behind the other five.
        let Some((first, rest)) = text.split_first() else { return false };
        let rest = if rest.first().is_some_and(u8::is_ascii_uppercase) { &rest[1..] } else { rest };
        let Some(five) = rest.get(..5).and_then(exactly::<5>) else { return false };
        let [a, b, c, d, e] = five;
        rest.len() == 6 && first.is_ascii_digit() && rest[5] == ie_letter(&[0, a, b, c, d, e, first - b'0'], 0)
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("GB_UTR", gb_utr),
    ("GB_VAT", gb_vat),
    ("IE_PPS", ie_pps),
    ("IE_VAT", ie_vat),
    ("UK_DRIVING_LICENCE", uk_driving_licence),
    ("UK_NINO", uk_nino),
    ("UK_PASSPORT", uk_passport),
    ("UK_POSTCODE", uk_postcode),
    ("UK_VEHICLE_REGISTRATION", uk_vehicle),
];
