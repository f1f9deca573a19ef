//! Codes of letters and digits, told by their shape and, where there is one, their checksum.
//!
//! | code | validated by | confidence, by a word |
//! |---|---|---|
//! | IBAN, printed or not (ISO 13616-1) | country's length and shape, mod 97 | 95 |
//! | UK national insurance number (HMRC NIM39110) | prefixes that are issued, suffix | 75, 95 |
//! | Indian permanent account number (Income Tax Act 139A) | kind of holder; 45, 60 where it is none | 75, 95 |
//! | US Medicare beneficiary in groups (CMS, *Understanding the MBI format*) | each place's alphabet | 85 |
//! | French social security number of a Corsican (INSEE, *NIR*), in a row | mod 97 | 95 |
//! | Finnish personal identity code (Act 661/2009) | date, mod 31 | 95 |
//! | Italian codice fiscale (D.M. 23.12.1976) | date, check character; 60 where only the shape is right | 95 |
//! | wallet of Bitcoin (base58check, BIP 173, BIP 350) or Ethereum (EIP-55) | checksum; 85 without one | 95 |
//!
//! A code that continues a word or is continued by one is left.

use std::ops::Range;

use super::context::{Context, Topic};
use super::{Detectors, Hit, text_of};
use crate::config::resolved::Detector;
use crate::safety::validators::{
    Validator, crypto, france_benelux, health, iban, italy_greece, nordic_baltic, south_asia_oceania, uk_ireland,
};

/// Whatever is found here.
pub(super) const FOUND: Detectors = Detectors::of(&[
    Detector::CryptoWallet,
    Detector::FiPersonalIdentityCode,
    Detector::FrNir,
    Detector::Iban,
    Detector::InPan,
    Detector::ItFiscalCode,
    Detector::UkNino,
    Detector::UsMbi,
]);

const CERTAIN: u8 = 95;
/// For what has a shape but no checksum.
const SHAPED: u8 = 75;
/// For an address of Ethereum in one case, and a beneficiary, which hold no checksum: nothing else has their form.
const UNCHECKED: u8 = 85;
/// For a permanent account number whose holder is of no kind, alone and by a word: a mistyped one.
const NO_HOLDER: (u8, u8) = (45, 60);

/// A fiscal code whose check character is wrong: nothing else has its shape.
const MISTYPED: u8 = 60;

/// Most bytes of a printed IBAN: 34 characters, and a separator behind each four.
const IBAN_BYTES_MAX: usize = 34 + 8;
/// Most bytes of a word that is looked at: a wallet of bech32 has 90.
const TOKEN_BYTES_MAX: usize = 90;
/// Bytes of a national insurance number with all its separators.
const NINO_BYTES_MAX: usize = 13;

/// The code whose letters and first two digits end at `end`.
pub(super) fn coded(text: &[u8], key: Option<&str>, end: usize) -> Option<Hit> {
    let start = end.checked_sub(4)?;
    iban(text, start).or_else(|| nino(text, key, start)).or_else(|| beneficiary(text, end))
}

/// The Medicare beneficiary whose last group, of two letters and two digits, ends at `end`: `1EG4-TE5-MK73`.
fn beneficiary(text: &[u8], end: usize) -> Option<Hit> {
    let start = end.checked_sub(13)?;
    let (first, second) = (text[start + 4], text[start + 8]);
    let grouped = first == second && matches!(first, b'-' | b' ');
    if grouped { checked(text, start..end, Detector::UsMbi, UNCHECKED, health::us_mbi) } else { None }
}

/// The national insurance number whose letters and first two pairs, printed apart, end at `end`.
pub(super) fn pairs(text: &[u8], key: Option<&str>, end: usize) -> Option<Hit> {
    nino(text, key, end.checked_sub(8)?)
}

/// The IBAN that begins at `start`, as long as its country's are.
fn iban(text: &[u8], start: usize) -> Option<Hit> {
    let country = [text[start].to_ascii_uppercase(), text[start + 1].to_ascii_uppercase()];
    let len = iban::iban_len(text_of(&country)?)?;
    let (mut count, mut separated) = (0, true);
    for (at, byte) in (start..).zip(text[start..].iter().take(IBAN_BYTES_MAX)) {
        match byte {
            b' ' | b'-' | b'.' if !separated => separated = true,
            _ if byte.is_ascii_alphanumeric() => (count, separated) = (count + 1, false),
            _ => return None,
        }
        if count == len {
            return checked(text, start..at + 1, Detector::Iban, CERTAIN, iban::iban);
        }
    }
    None
}

fn nino(text: &[u8], key: Option<&str>, start: usize) -> Option<Hit> {
    let (mut count, mut separated) = (0, true);
    for (at, byte) in (start..).zip(text[start..].iter().take(NINO_BYTES_MAX)) {
        match byte {
            b' ' | b'-' if !separated => separated = true,
            // Two letters, six digits, a letter.
            _ if byte.is_ascii_digit() && (2..8).contains(&count)
                || byte.is_ascii_uppercase() && !(2..8).contains(&count) =>
            {
                (count, separated) = (count + 1, false);
            }
            _ => return None,
        }
        if count == 9 {
            let said = Context::new(text, start, key).says(Topic::Insurance);
            return checked(
                text,
                start..at + 1,
                Detector::UkNino,
                if said { CERTAIN } else { SHAPED },
                uk_ireland::uk_nino,
            );
        }
    }
    None
}

/// The code that the word is whose first letters and digits end at `end`.
pub(super) fn token(text: &[u8], key: Option<&str>, end: usize) -> Option<Hit> {
    let is_word = |byte: &&u8| byte.is_ascii_alphanumeric();
    let start = end - text[end.saturating_sub(16)..end].iter().rev().take_while(is_word).count();
    let stop = end + text[end..].iter().take(TOKEN_BYTES_MAX).take_while(is_word).count();
    let word = &text[start..stop];
    match *word {
        [a, .., z] if word.len() == 10 && a.is_ascii_uppercase() && z.is_ascii_uppercase() => {
            let said = Context::new(text, start, key).says(Topic::Pan);
            let (holder, none) = if said { (CERTAIN, NO_HOLDER.1) } else { (SHAPED, NO_HOLDER.0) };
            checked(text, start..stop, Detector::InPan, holder, south_asia_oceania::in_pan)
                .or_else(|| checked(text, start..stop, Detector::InPan, none, is_shaped_as_pan))
        }
        [b'1'..=b'4' | b'7' | b'8', ..] if word.len() == 15 => {
            checked(text, start..stop, Detector::FrNir, CERTAIN, france_benelux::fr_nir)
        }
        [b'0'..=b'3', ..] if word.len() == 11 => {
            checked(text, start..stop, Detector::FiPersonalIdentityCode, CERTAIN, nordic_baltic::fi_person)
        }
        [b'0', b'x' | b'X', ..] if word.len() == 42 => {
            let confidence = if has_both_cases(&word[2..]) { CERTAIN } else { UNCHECKED };
            checked(text, start..stop, Detector::CryptoWallet, confidence, crypto::ethereum)
        }
        [a, ..] if word.len() == 16 && a.is_ascii_alphabetic() => {
            checked(text, start..stop, Detector::ItFiscalCode, CERTAIN, italy_greece::it_fiscal_code)
                .or_else(|| checked(text, start..stop, Detector::ItFiscalCode, MISTYPED, is_shaped_as_fiscal_code))
        }
        [b'1' | b'2' | b'3' | b'm' | b'n' | b'b' | b'B' | b't' | b'T', ..] if word.len() >= 25 => {
            checked(text, start..stop, Detector::CryptoWallet, CERTAIN, crypto::bitcoin)
        }
        _ => None,
    }
}

fn is_shaped_as_fiscal_code(code: &str) -> bool {
    is_shaped(code, "AAAAAA00A00A000A")
}

fn is_shaped_as_pan(code: &str) -> bool {
    is_shaped(code, "AAAAA0000A") && code.bytes().all(|byte| !byte.is_ascii_lowercase())
}

/// Whether `code` has digits and letters where `shape` has `0` and `A`.
fn is_shaped(code: &str, shape: &str) -> bool {
    let as_shaped = |(byte, shape): (u8, u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte.is_ascii_alphabetic(),
    };
    code.len() == shape.len() && code.bytes().zip(shape.bytes()).all(as_shaped)
}

fn has_both_cases(digits: &[u8]) -> bool {
    digits.iter().any(u8::is_ascii_lowercase) && digits.iter().any(u8::is_ascii_uppercase)
}

/// What stands at `range`, if it is no part of a word and `holds`.
fn checked(text: &[u8], range: Range<usize>, detector: Detector, confidence: u8, holds: Validator) -> Option<Hit> {
    let is_word = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let joined = is_word(text.get(range.end)) || is_word(range.start.checked_sub(1).map(|before| &text[before]));
    let valid = !joined && text_of(&text[range.clone()]).is_some_and(holds);
    valid.then(|| Hit::new(detector, range, confidence))
}

#[cfg(test)]
mod tests {
    use crate::config::resolved::Detector::{
        CryptoWallet, FiPersonalIdentityCode, FrNir, Iban, InPan, ItFiscalCode, UkNino, UsMbi,
    };
    use crate::safety::detectors::tests::{check, check_confidence};

    #[track_caller]
    fn found(code: &str, detector: crate::config::resolved::Detector) {
        for text in [code.to_owned(), format!("my {code}."), format!("({code})"), format!("x={code}, y")] {
            check(&text, &[(detector, code)]);
        }
        for text in [format!("{code}x"), format!("x{code}"), format!("_{code}"), format!("{code}_")] {
            check(&text, &[]);
        }
    }

    #[test]
    fn codes_are_found_by_shape_and_checksum() {
        found("GB82 WEST 1234 5698 7654 32", Iban);
        found("GB82WEST12345698765432", Iban);
        found("gb82-west-1234-5698-7654-32", Iban);
        found("AB123456C", UkNino);
        found("AB 12 34 56 C", UkNino);
        found("ABCPD1234Z", InPan);
        found("020594X903P", FiPersonalIdentityCode);
        found("RSSMRA85T10A562S", ItFiscalCode);
        found("16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyZ", CryptoWallet);
        found("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", CryptoWallet);
        found("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", CryptoWallet);
        found("2CD5-FG7-HJ89", UsMbi);
        found("2CD5 FG7 HJ89", UsMbi);
        found("185052A00608435", FrNir);
    }

    #[test]
    fn what_fails_its_check_is_left() {
        let wrong = [
            "GB83 WEST 1234 5698 7654 32",
            "GB82 WEST 1234 5698 7654",
            "BG123456C",
            "AB 12 34 56 E",
            "ABCPD12345",
            "2CD5-FG7 HJ89",
            "2CD5-FS7-HJ89",
            "185052A00608438",
            "020594X903Q",
            "16Yeky6GMjeNkAiNcBY7ZhrLoMSgg1BoyY",
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp",
            "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD",
        ];
        for wrong in wrong {
            check(wrong, &[]);
        }
    }

    #[test]
    fn a_word_makes_a_shape_surer() {
        check_confidence("AB123456C", 75);
        check_confidence("NI number AB123456C", 95);
        check_confidence("ABCPD1234Z", 75);
        check_confidence("PAN: ABCPD1234Z", 95);
        check_confidence("ABCXD1234Z", 45);
        check_confidence("PAN: ABCXD1234Z", 60);
        check_confidence("RSSMRA85T10A562S", 95);
        check_confidence("RSSMRA85T10A562T", 60);
        check_confidence("0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", 85);
        check_confidence("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", 95);
    }
}
