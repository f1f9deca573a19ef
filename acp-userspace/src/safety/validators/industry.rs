//! Devices, ships, containers, chemicals, energy and trade: things, not people, but they name one device or delivery.

use super::checksums::{luhn, luhn_sum, weighted};
use super::finance::is_ean;
use super::text::{all_digits, base36, compact, digits, exactly, is_shaped, number, two, without};

/// IMEI, 3GPP TS 23.003 §6.2: fourteen digits, with a Luhn digit or the two digits of a software version.
pub fn imei(value: &str) -> bool {
    compact(value, b" -/").is_some_and(|text| match text.len() {
        14 | 16 => all_digits(&text),
        15 => exactly::<15>(&text).is_some_and(|digits| luhn(&digits)),
        _ => false,
    })
}

/// MEID, 3GPP2 S.R0048: fourteen hexadecimal digits, of which the first is a letter unless it is an IMEI, and possibly a
/// Luhn digit to base 16; or eighteen decimal digits.
pub fn meid(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        if !text.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        let base = if all_digits(&text[..text.len().min(14)]) { 10 } else { 16 };
        match text.len() {
            14 => true,
            15 => {
                let mut values = [0; 15];
                for (value, byte) in values.iter_mut().zip(text.iter()) {
                    *value = base36(*byte).unwrap_or(0);
                }
                luhn_sum(&values, base).is_multiple_of(base)
            }
            18 => all_digits(&text),
            _ => false,
        }
    })
}

/// IMSI, ITU-T E.212: a mobile country code of a region or for test and international use, fourteen or fifteen digits.
pub fn imsi(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let country = matches!(text.first_chunk(), Some(b"001" | b"901" | b"999" | [b'2'..=b'7', b'0'..=b'9', _]));
        matches!(text.len(), 14 | 15) && all_digits(&text) && country
    })
}

/// MAC address, IEEE 802-2014 §8.1: six octets with `-` or `:`, or three times two with `.`.
pub fn mac_address(value: &str) -> bool {
    let all = |separator: char, parts: usize, len: usize| {
        value.split(separator).count() == parts
            && value.split(separator).all(|part| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    all(':', 6, 2) || all('-', 6, 2) || all('.', 3, 4)
}

/// IPv4 or IPv6 address, RFC 4291 §2.2 and RFC 6943 §3.1.1 (strict form), possibly with a prefix length or zone.
pub fn ip_address(value: &str) -> bool {
    let (address, prefix) = value.split_once('/').unwrap_or((value, "0"));
    let (address, zone) = address.split_once('%').unwrap_or((address, "z"));
    let Ok(parsed) = address.parse::<std::net::IpAddr>() else { return false };
    let most = if parsed.is_ipv4() { 32 } else { 128 };
    let in_range = all_digits(prefix.as_bytes()) && prefix.parse::<u8>().is_ok_and(|prefix| prefix <= most);
    let zoned = parsed.is_ipv6() || !value.contains('%');
    in_range && zoned && !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_graphic())
}

/// IMO ship number, IMO Resolution A.1117(30): weights 7 to 2 modulo 10.
pub fn imo(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        exactly::<7>(without(&text, "IMO"))
            .is_some_and(|digits| weighted(&digits, &[7, 6, 5, 4, 3, 2]) % 10 == u32::from(digits[6]))
    })
}

/// Freight container, ISO 6346 Annex A: owner, category, serial, and weights of powers of two modulo 11.
pub fn iso6346(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        // Letters count from 10 on, without the multiples of eleven.
        let value =
            |byte: &u8| base36(*byte).map_or(0, |value| u32::from(value) + u32::from(value.saturating_sub(1) / 10));
        let sum: u32 = text.iter().take(10).enumerate().map(|(at, byte)| value(byte) << at).sum();
        is_shaped(&text, "AAAA0000000")
            && matches!(text[3], b'U' | b'J' | b'Z' | b'R')
            && sum % 11 % 10 == u32::from(text[10] - b'0')
    })
}

/// CAS registry number: up to seven digits, two, and a check digit of weights rising from the right, modulo 10.
/// Source: Chemical Abstracts Service, *Check Digit Verification of CAS Registry Numbers*.
pub fn cas_registry(value: &str) -> bool {
    let mut parts = value.split('-');
    let (Some(first), Some(second), Some(check), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return false;
    };
    let Ok(check) = check.parse::<u32>() else { return false };
    let shaped = (2..=7).contains(&first.len()) && second.len() == 2 && !first.starts_with('0') && check < 10;
    let body = || first.bytes().chain(second.bytes());
    shaped
        && body().all(|byte| byte.is_ascii_digit())
        && value.ends_with(|last: char| last.to_digit(10) == Some(check))
        && body().rev().zip(1..).map(|(byte, weight)| u32::from(byte - b'0') * weight).sum::<u32>() % 10 == check
}

/// EC number of a chemical: three, three and a check digit, weights 1 to 6 modulo 11.
/// Source: European Chemicals Agency, *EC Inventory*.
pub fn eu_ec_number(value: &str) -> bool {
    let hyphens = value.bytes().filter(|byte| *byte == b'-').count();
    let written = hyphens == 0 || (hyphens == 2 && is_shaped(value.as_bytes(), "000-000-0"));
    digits::<7>(value, b"-").is_some_and(|digits| {
        written && digits[0] >= 2 && weighted(&digits, &[1, 2, 3, 4, 5, 6]) % 11 == u32::from(digits[6])
    })
}

/// EIC, the Energy Identification Code of ENTSO-E: sixteen of letters, digits and hyphens, MOD 37 with weights 16 to 2.
pub fn eic(value: &str) -> bool {
    let Ok(text) = <&[u8; 16]>::try_from(value.trim().as_bytes()) else { return false };
    let value = |byte: &u8| if *byte == b'-' { Some(36) } else { base36(byte.to_ascii_uppercase()).map(u32::from) };
    let sum =
        text[..15].iter().zip((2..=16).rev()).try_fold(0, |sum, (byte, weight)| Some(sum + value(byte)? * weight));
    let Some(sum) = sum.filter(|sum| *sum > 0) else { return false };
    text[..2].iter().all(u8::is_ascii_digit) && text[15] != b'-' && value(&text[15]) == Some(36 - (sum - 1) % 37)
}

/// NACE activity, Regulation (EC) 1893/2006 Annex I: a section's letter, or a division (01 to 99), group or class of it.
pub fn eu_nace(value: &str) -> bool {
    let text = value.as_bytes();
    let divided = is_shaped(text, "00.00") || is_shaped(text, "00.0") || is_shaped(text, "00");
    (is_shaped(text, "A") && text[0] <= b'V') || (divided && two(&[text[0] - b'0', text[1] - b'0'], 0) > 0)
}

/// Element strings of GS1-128, GS1 General Specifications §3: pairs of an application identifier in parentheses and
/// data of the length and kind it says. Identifiers not listed here may hold up to 90 characters.
pub fn gs1_128(value: &str) -> bool {
    let Some(mut rest) = value.trim().strip_prefix('(') else { return false };
    loop {
        let Some((identifier, data)) = rest.split_once(')') else { return false };
        let (data, following) = match data.split_once('(') {
            Some((data, following)) => (data, Some(following)),
            None => (data, None),
        };
        if !is_element(identifier.as_bytes(), data.trim_end().as_bytes()) {
            return false;
        }
        match following {
            Some(following) => rest = following,
            None => return true,
        }
    }
}

/// Whether `data` is what the application identifier stands for.
fn is_element(identifier: &[u8], data: &[u8]) -> bool {
    let digits = |least: usize, most: usize| (least..=most).contains(&data.len()) && all_digits(data);
    let text = |most: usize| (1..=most).contains(&data.len()) && data.iter().all(|byte| (b'!'..=b'z').contains(byte));
    if !(2..=4).contains(&identifier.len()) || !all_digits(identifier) {
        return false;
    }
    match number(&[identifier[0] - b'0', identifier[1] - b'0']) {
        0 => digits(18, 18) && is_ean(data),
        1..=3 => digits(14, 14) && is_ean(data),
        11..=17 => digits(6, 6) && is_gs1_date(data),
        20 => digits(2, 2),
        30 | 37 => digits(1, 8),
        31..=36 => identifier.len() == 4 && digits(6, 6),
        39 => identifier.len() == 4 && digits(1, 18),
        41 => identifier.len() == 3 && digits(13, 13) && is_ean(data),
        10 | 21 | 22 | 24 | 25 => text(30),
        _ => text(90),
    }
}

/// Year, month and day; the day may be 00 for the whole month.
fn is_gs1_date(data: &[u8]) -> bool {
    exactly::<6>(data).is_some_and(|digits| (1..=12).contains(&two(&digits, 2)) && two(&digits, 4) <= 31)
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("CASRN", cas_registry),
    ("EU_ECNUMBER", eu_ec_number),
    ("EU_EIC", eic),
    ("EU_NACE", eu_nace),
    ("GS1_128", gs1_128),
    ("IMEI", imei),
    ("IMO", imo),
    ("IMSI", imsi),
    ("IP_ADDRESS", ip_address),
    ("ISO6346", iso6346),
    ("MAC_ADDRESS", mac_address),
    ("MEID", meid),
];
