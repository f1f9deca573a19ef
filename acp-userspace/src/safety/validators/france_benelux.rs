//! France, Monaco, Belgium, the Netherlands and Luxembourg.

use super::checksums::{luhn, remainder_97, weighted};
use super::text::{all_digits, compact, digits, exactly, is_shaped, is_short_birthday, number, padded, two, without};

/// French social security number: sex, birth, place, and 97 less the remainder; Corsica's `2A` and `2B` count as 19 and
/// 18. Source: décret 82-103; INSEE, *NIR*.
pub fn fr_nir(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let Some(text) = text.first_chunk::<15>().filter(|_| text.len() == 15) else { return false };
        let mut text = *text;
        match &text[5..7] {
            b"2A" => text[5..7].copy_from_slice(b"19"),
            b"2B" => text[5..7].copy_from_slice(b"18"),
            _ => {}
        }
        exactly::<15>(&text).is_some_and(|digits| {
            let sex = matches!(digits[0], 1..=4 | 7 | 8);
            let month = matches!(two(&digits, 3), 1..=12 | 20..=42 | 50..=99);
            sex && month && u64::from(two(&digits, 13)) == 97 - number(&digits[..13]) % 97
        })
    })
}

/// French company number: nine digits, Luhn. Source: code de commerce, art. R123-221.
pub fn fr_siren(value: &str) -> bool {
    digits::<9>(value, b" -.").is_some_and(|digits| number(&digits) > 0 && luhn(&digits))
}

/// French establishment number: a SIREN and five digits, Luhn; the post's sum of digits is a multiple of five.
/// Source: INSEE, *SIRET*.
pub fn fr_siret(value: &str) -> bool {
    digits::<14>(value, b" -.").is_some_and(|digits| {
        let sum: u32 = digits.iter().map(|digit| u32::from(*digit)).sum();
        let post = number(&digits[..9]) == 356_000_000 && sum.is_multiple_of(5);
        number(&digits) > 0 && (post || (luhn(&digits) && luhn(&digits[..9])))
    })
}

/// French trade register: `RCS`, town, `A` (a merchant) or `B` (a company), and the SIREN.
/// Source: code de commerce, art. R123-237.
pub fn fr_rcs(value: &str) -> bool {
    let Some(rest) = value.strip_prefix("RCS ").filter(|rest| rest.len() <= 128) else { return false };
    let Some(at) = rest.find(|c: char| c.is_ascii_digit()) else { return false };
    let (head, siren) = rest.split_at(at);
    let Some((town, kind)) = head.trim_end().rsplit_once(' ') else { return false };
    let of_town = |c: char| c.is_alphabetic() || " -'".contains(c);
    matches!(kind, "A" | "B" | "C" | "D") && town.chars().all(of_town) && !town.is_empty() && fr_siren(siren)
}

/// French VAT number: two characters and a SIREN. Digits are 12 plus three times its remainder by 97; letters other
/// than I and O count in a newer scheme. Source: code général des impôts, art. 286 ter; BOI-TVA-DECLA-20-10-20.
pub fn fr_vat(value: &str) -> bool {
    vat_parts(value).is_some_and(|(_, siren)| luhn(&siren) && number(&siren) > 0 && fr_key(value))
}

/// Monegasque VAT number: a French one whose company number begins with three zeros. Source: VIES FAQ.
pub fn mc_vat(value: &str) -> bool {
    vat_parts(value).is_some_and(|(_, siren)| siren.starts_with(&[0, 0, 0]) && fr_key(value))
}

fn vat_parts(value: &str) -> Option<([u8; 2], [u8; 9])> {
    let text = compact(value, b" -.")?;
    let (key, siren) = without(&text, "FR").split_first_chunk::<2>()?;
    Some((*key, exactly::<9>(siren)?))
}

/// Whether the two characters fit the company number.
fn fr_key(value: &str) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHJKLMNPQRSTUVWXYZ";
    let Some((key, siren)) = vat_parts(value) else { return false };
    let siren = number(&siren);
    if let Some(key) = exactly::<2>(&key) {
        return number(&key) == (12 + 3 * (siren % 97)) % 97;
    }
    let places = key.map(|byte| ALPHABET.iter().position(|known| *known == byte));
    let [Some(first), Some(second)] = places else { return false };
    let (first, second) = (first as u64, second as u64);
    let check =
        if first < 10 { first * 24 + second - 10.min(second) } else { (first * 34 + second).saturating_sub(100) };
    (siren + 1 + check / 11) % 11 == check % 11
}

/// French excise number: `FR`, office, activity and serial. It has no checksum. Source: DGDDI, *numéro d'accise*.
pub fn fr_excise(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "fr000000A0000"))
}

/// Which months a Belgian number may name: of the national register, or of the two kinds given to others, plus 20 where
/// the sex was unknown and 40 where it was known.
fn be_person(value: &str, months: fn(u32) -> bool) -> bool {
    digits::<11>(value, b" -.").is_some_and(|digits| {
        let (nine, check) = (number(&digits[..9]), number(&digits[9..]));
        let holds = [nine, 2_000_000_000 + nine].iter().any(|nine| 97 - nine % 97 == check);
        let month = two(&digits, 2);
        let born = match (month % 20, two(&digits, 4)) {
            (0, _) | (_, 0) => true,
            (month, day) => is_short_birthday(two(&digits, 0), month, day),
        };
        holds && months(month) && born
    })
}

/// Belgian national number: birthday, serial and 97 less the remainder. Source: arrêté royal of 3 April 1984.
pub fn be_national(value: &str) -> bool {
    be_person(value, |month| month <= 12)
}

/// Belgian number of those not in the national register. Source: Crossroads Bank for Social Security, *BIS*.
pub fn be_bis(value: &str) -> bool {
    be_person(value, |month| matches!(month, 20..=32 | 40..=52))
}

/// Either of the two.
pub fn be_ssn(value: &str) -> bool {
    be_national(value) || be_bis(value)
}

/// Belgian identity card: ten digits and their remainder by 97. Source: Fedict, *eID card number*.
pub fn be_eid(value: &str) -> bool {
    digits::<12>(value, b" -.").is_some_and(|digits| {
        let remainder = number(&digits[..10]) % 97;
        number(&digits[10..]) == if remainder == 0 { 97 } else { remainder }
    })
}

/// Belgian enterprise and VAT number: ten digits from 0 or 1, 97 less the remainder. Source: KBO/BCE; VIES FAQ.
pub fn be_vat(value: &str) -> bool {
    compact(value, b" -./").is_some_and(|text| {
        padded::<10>(without(&text, "BE"), 9).is_some_and(|digits| {
            digits[0] <= 1 && digits[1] != 0 && 97 - number(&digits[..8]) % 97 == number(&digits[8..])
        })
    })
}

/// Dutch citizen number: weights 9 to 2 and minus 1, modulo 11. Source: Logisch Ontwerp BSN.
pub fn nl_bsn(value: &str) -> bool {
    compact(value, b" -.")
        .is_some_and(|text| padded::<9>(&text, 8).is_some_and(|digits| number(&digits) > 0 && nl_eleven(&digits) == 0))
}

/// The remainder of the weighted sum of a citizen number.
fn nl_eleven(digits: &[u8; 9]) -> u32 {
    (weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]) + 10 * u32::from(digits[8])) % 11
}

/// Dutch number of a pupil without a citizen number: from 10 on, remainder 5. Source: DUO, *onderwijsnummer*.
pub fn nl_pupil(value: &str) -> bool {
    digits::<9>(value, b" -.").is_some_and(|digits| digits.starts_with(&[1, 0]) && nl_eleven(&digits) == 5)
}

/// Dutch VAT number: nine digits, `B` and two; the nine of a legal person's number, or all of it MOD 97-10.
/// Source: Belastingdienst, *btw-identificatienummer*; VIES FAQ.
pub fn nl_vat(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| {
        let Some((head, tail)) = without(&text, "NL").split_last_chunk::<3>() else { return false };
        let Some(digits) = padded::<9>(head, 7).filter(|_| is_shaped(tail, "b00")) else { return false };
        let whole = remainder_97(b"NL".iter().chain(head).chain(tail)) == Some(1);
        number(&digits) > 0 && (nl_eleven(&digits) == 0 || whole)
    })
}

/// Dutch identity card or passport: two letters, six letters or digits, a digit; no `O`.
/// Source: Rijksdienst voor Identiteitsgegevens, *documentnummer*.
pub fn nl_document(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| is_shaped(&text, "AAXXXXXX0") && !text.contains(&b'O'))
}

/// Dutch school: two digits, two letters, possibly two digits of a branch. Source: DUO, *BRIN*.
pub fn nl_school(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "00AA") || is_shaped(&text, "00AA00"))
}

/// Dutch postcode: four digits, two letters other than SA, SD and SS. Source: NEN 5825.
pub fn nl_postcode(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let text = without(&text, "NL");
        is_shaped(text, "0000AA") && text[0] != b'0' && !matches!(&text[4..], b"SA" | b"SD" | b"SS")
    })
}

/// Luxembourg VAT number: six digits and their remainder by 89. Source: VIES FAQ.
pub fn lu_vat(value: &str) -> bool {
    compact(value, b" -.:").is_some_and(|text| {
        all_digits(without(&text, "LU"))
            && exactly::<8>(without(&text, "LU"))
                .is_some_and(|digits| number(&digits[..6]) % 89 == number(&digits[6..]))
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("BE_BIS", be_bis),
    ("BE_EID", be_eid),
    ("BE_NN", be_national),
    ("BE_SSN", be_ssn),
    ("BE_VAT", be_vat),
    ("FR_ACCISE", fr_excise),
    ("FR_NIR", fr_nir),
    ("FR_RCS", fr_rcs),
    ("FR_SIREN", fr_siren),
    ("FR_SIRET", fr_siret),
    ("FR_TVA", fr_vat),
    ("LU_TVA", lu_vat),
    ("MC_TVA", mc_vat),
    ("NL_BRIN", nl_school),
    ("NL_BSN", nl_bsn),
    ("NL_BTW", nl_vat),
    ("NL_IDENTITEITSKAARTNUMMER", nl_document),
    ("NL_ONDERWIJSNUMMER", nl_pupil),
    ("NL_POSTCODE", nl_postcode),
];
