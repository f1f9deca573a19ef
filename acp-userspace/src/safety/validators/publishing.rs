//! Books, periodicals, music, films and those who make them: identifiers of ISO/TC 46.

use super::checksums::{mod_11_2, mod_37_36};
use super::countries::begins_with_country;
use super::finance::is_ean;
use super::text::{compact, is_shaped};

/// ISBN, ISO 2108: ten characters with modulo 11, or thirteen digits with GS1's check digit.
pub fn isbn(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| match text.len() {
        10 => is_weighted_11(&text),
        13 => (text.starts_with(b"978") || text.starts_with(b"979")) && !text.starts_with(b"9790") && is_ean(&text),
        _ => false,
    })
}

/// ISSN, ISO 3297: eight characters with modulo 11.
pub fn issn(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| text.len() == 8 && is_weighted_11(&text))
}

/// Digits, the last of which may be `X` for ten, weighted with their distance from the end and 1, modulo 11.
fn is_weighted_11(text: &[u8]) -> bool {
    let mut sum = 0;
    for (weight, byte) in (1..).zip(text.iter().rev()) {
        let value = match byte {
            b'0'..=b'9' => u32::from(byte - b'0'),
            b'X' if weight == 1 => 10,
            _ => return false,
        };
        sum += value * weight;
    }
    sum.is_multiple_of(11)
}

/// ISMN, ISO 10957: `979-0` and nine digits with GS1's check digit, or the older `M` in place of `979-0`.
pub fn ismn(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let mut long = *b"9790000000000";
        if is_shaped(&text, "m000000000") {
            long[4..].copy_from_slice(&text[1..]);
            return is_ean(&long);
        }
        is_shaped(&text, "9790000000000") && text.starts_with(b"9790") && is_ean(&text)
    })
}

/// ISAN, ISO 15706: sixteen hexadecimal digits of root and episode, eight of a version, and after each, unless none is
/// written, a check character of MOD 37,36 over what stands before it.
pub fn isan(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let is_hex = |part: &[u8]| part.iter().all(u8::is_ascii_hexdigit);
        let (root, rest) = text.split_at(text.len().min(16));
        let whole_root = root.len() == 16 && is_hex(root);
        whole_root
            && match rest.len() {
                0 => true,
                1 => mod_37_36(&text),
                8 => is_hex(rest),
                10 => {
                    let mut all = [0; 25];
                    all[..16].copy_from_slice(root);
                    all[16..].copy_from_slice(&rest[1..]);
                    is_hex(&rest[1..9]) && mod_37_36(&text[..17]) && mod_37_36(&all)
                }
                _ => false,
            }
    })
}

/// ISNI and ORCID, ISO 27729: sixteen characters, MOD 11-2.
pub fn isni(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| text.len() == 16 && mod_11_2(&text))
}

/// ISIL, ISO 15511: a country or one of the prefixes of its register, a hyphen, and up to eleven characters.
pub fn isil(value: &str) -> bool {
    const OTHERS: [&str; 6] = ["EUR", "O", "OCLC", "ZDB", "GTB", "M"];
    let Some((prefix, unit)) = value.split_once('-') else { return false };
    let known = (prefix.len() == 2 && begins_with_country(prefix.as_bytes())) || OTHERS.contains(&prefix);
    let of_unit = |byte: u8| byte.is_ascii_alphanumeric() || b":/-".contains(&byte);
    known && (1..=11).contains(&unit.len()) && unit.bytes().all(of_unit)
}

/// ISRC, ISO 3901: prefix, registrant, year and recording. It has no checksum.
pub fn isrc(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "AAXXX0000000"))
}

/// GRid, the Global Release Identifier of IFPI: `A1`, issuer and release, MOD 37,36.
pub fn grid(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| text.len() == 18 && text.starts_with(b"A1") && mod_37_36(&text))
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("GRID", grid),
    ("ISAN", isan),
    ("ISBN", isbn),
    ("ISIL", isil),
    ("ISMN", ismn),
    ("ISNI", isni),
    ("ISRC", isrc),
    ("ISSN", issn),
];
