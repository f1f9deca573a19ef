//! Germany. Medical numbers are in [`health`](super::health).

use super::checksums::{cross, icao, mod_11_10, mod_97_10};
use super::text::{all_digits, compact, digits, exactly, is_shaped, number, two, without};

/// Tax identification number: ten digits of which one comes twice or three times, ISO 7064 MOD 11,10. Ten different
/// digits, which examples like to use, are taken too.
/// Source: § 139b AO; Bundeszentralamt für Steuern, *Steuerliche Identifikationsnummer*.
pub fn tax_id(value: &str) -> bool {
    digits::<11>(value, b" -/").is_some_and(|digits| {
        let mut counts = [0; 10];
        for digit in &digits[..10] {
            counts[usize::from(*digit)] += 1;
        }
        let repeated = counts.iter().filter(|count| **count > 1).count();
        digits[0] != 0 && repeated <= 1 && counts.iter().all(|count| *count <= 3) && mod_11_10(&digits)
    })
}

/// Regional tax number of ten or eleven digits, or the national one of thirteen: the office's land, then its number with
/// a zero behind. Source: ELSTER, *Prüfung der Steuernummer*, § 2.
pub fn tax_number(value: &str) -> bool {
    compact(value, b" -./").is_some_and(|text| match text.len() {
        10 | 11 => all_digits(&text),
        13 => {
            let long =
                matches!(text.first_chunk(), Some(b"11" | b"21" | b"22" | b"23" | b"24" | b"26" | b"27" | b"28"));
            let short = matches!(text[0], b'1' | b'3' | b'4' | b'5' | b'9');
            all_digits(&text) && (long || short) && text[4] == b'0'
        }
        _ => false,
    })
}

/// VAT identification number: nine digits, ISO 7064 MOD 11,10. Source: § 27a UStG; VIES FAQ.
pub fn vat(value: &str) -> bool {
    compact(value, b" -./,").is_some_and(|text| {
        exactly::<9>(without(&text, "DE")).is_some_and(|digits| digits[0] != 0 && mod_11_10(&digits))
    })
}

/// Serial number of an identity card with its check digit: nine or ten characters, ICAO 9303-3; or `T` and eight digits,
/// as samples are printed without it. Source: PAuswV Annex 3; BSI TR-03110.
pub fn id_card(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let old = is_shaped(&text, "t00000000");
        let new = matches!(text.len(), 9 | 10) && is_serial(&text) && icao(&text);
        old || new
    })
}

/// Serial number of a passport with its check digit, ICAO 9303-3. Source: PassV Annex 1.
pub fn passport(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| text.len() == 9 && is_serial(&text) && icao(&text))
}

/// Digits and the letters that serial numbers use, a letter first, check digit last.
fn is_serial(text: &[u8]) -> bool {
    let used = |byte: &u8| byte.is_ascii_digit() || b"CFGHJKLMNPRTVWXYZ".contains(byte);
    text.first().is_some_and(u8::is_ascii_uppercase) && text.iter().all(used)
}

/// Pension insurance number: area, birthday (plus 50 where it was needed twice), initial, serial and check digit of
/// weights 2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1 with digits added up. Source: § 2 VKVV.
pub fn social_security(value: &str) -> bool {
    compact(value, b" -/").is_some_and(|text| {
        if !is_shaped(&text, "00000000A000") {
            return false;
        }
        let letter = text[8] - b'A' + 1;
        let digit = |byte: &u8| byte - b'0';
        let values = text[..8].iter().map(digit).chain([letter / 10, letter % 10]).chain(text[9..11].iter().map(digit));
        let weights = [2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1];
        let sum: u32 = values.zip(weights).map(|(value, weight)| cross(u32::from(value) * weight)).sum();
        let Some(birth) = exactly::<6>(&text[2..8]) else { return false };
        let day = two(&birth, 0);
        matches!(day, 1..=31 | 51..=81) && (1..=12).contains(&two(&birth, 2)) && sum % 10 == u32::from(text[11] - b'0')
    })
}

/// Commercial register: court, register (`HRA`, `HRB`, `GnR`, `PR`, `VR`, `GsR`), number and possibly letters of the
/// place. Courts are not checked by name. Source: § 8 HRV.
pub fn commercial_register(value: &str) -> bool {
    const REGISTERS: [&str; 6] = ["HRA", "HRB", "GnR", "PR", "VR", "GsR"];
    if value.len() > 128 {
        return false;
    }
    let parted = REGISTERS.iter().find_map(|register| {
        let (court, entry) = value.split_once(register)?;
        Some((court.strip_suffix(' ')?, entry))
    });
    let Some((court, entry)) = parted else { return false };
    let of_court = |c: char| c.is_alphabetic() || " .-/()".contains(c);
    let mut words = entry.split_ascii_whitespace();
    let number = words.next().is_some_and(|number| number.len() <= 6 && all_digits(number.as_bytes()));
    let place =
        words.next().is_none_or(|place| place.len() <= 3 && place.bytes().all(|byte| byte.is_ascii_uppercase()));
    court.chars().any(char::is_alphabetic) && court.chars().all(of_court) && number && place && words.next().is_none()
}

/// Leitweg-ID of a public buyer: two to twelve digits, possibly up to thirty characters, ISO 7064 MOD 97-10.
/// Source: KoSIT, *Formatspezifikation Leitweg-ID* 2.0.
pub fn leitweg(value: &str) -> bool {
    let mut parts = value.split('-');
    let (Some(coarse), Some(second)) = (parts.next(), parts.next()) else { return false };
    let (fine, check) = match parts.next() {
        Some(check) => (second, check),
        None => ("", second),
    };
    let shaped = (2..=12).contains(&coarse.len()) && all_digits(coarse.as_bytes()) && fine.len() <= 30;
    shaped && check.len() == 2 && parts.next().is_none() && compact(value, b"-").is_some_and(|text| mod_97_10(&text))
}

/// Postcode: 01001 to 99998. Source: Deutsche Post, *Leitregionen*.
pub fn postcode(value: &str) -> bool {
    digits::<5>(value, b"").is_some_and(|digits| (1001..=99_998).contains(&number(&digits)))
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("DE_HANDELSREGISTERNUMMER", commercial_register),
    ("DE_ID_CARD", id_card),
    ("DE_LEITWEG", leitweg),
    ("DE_PASSPORT", passport),
    ("DE_PLZ", postcode),
    ("DE_SOCIAL_SECURITY", social_security),
    ("DE_STNR", tax_number),
    ("DE_TAX_ID", tax_id),
    ("DE_VAT", vat),
    ("DE_VAT_ID", vat),
];
