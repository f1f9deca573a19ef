//! Payments and securities: cards, banks, instruments, legal entities. [`iban`](super::iban) has a file of its own.

use super::checksums::{complement, cross, ean, hybrid, luhn, luhn_letters, mod_97_10, remainder_97, weighted};
use super::countries::begins_with_country;
use super::iban::iban;
use super::text::{LEN_MAX, all_digits, base36, compact, digits, is_shaped, number};

/// Issuer ranges of payment cards: first and last six digits, and how long the number may be.
/// Sources: ISO/IEC 7812-1, and what the schemes publish (Visa, Mastercard, American Express, Discover and Diners,
/// JCB, UnionPay, Mir, Troy, UATP; Maestro as far as it is not another's).
const ISSUERS: &[(u32, u32, usize, usize)] = &[
    (100_000, 199_999, 15, 15), // UATP; JCB, older
    (213_100, 213_199, 15, 15), // JCB, older
    (220_000, 220_499, 16, 19), // Mir
    (222_100, 272_099, 16, 16), // Mastercard
    (300_000, 305_999, 14, 19), // Diners Club
    (309_500, 309_599, 14, 19), // Diners Club
    (340_000, 349_999, 15, 15), // American Express
    (350_000, 359_999, 16, 19), // JCB, which has 3528 to 3589; test data uses all of it
    (360_000, 369_999, 14, 19), // Diners Club
    (370_000, 379_999, 15, 15), // American Express
    (380_000, 399_999, 14, 19), // Diners Club
    (400_000, 499_999, 13, 19), // Visa; 14, 15, 17 and 18 are not issued
    (500_000, 509_999, 12, 19), // Maestro, Elo
    (510_000, 559_999, 16, 16), // Mastercard
    (560_000, 599_999, 12, 19), // Maestro
    (600_000, 699_999, 12, 19), // Discover, UnionPay, Maestro, RuPay, Elo, Hipercard
    (810_000, 817_199, 14, 19), // UnionPay
    (979_200, 979_299, 16, 16), // Troy
];

/// Payment card number: issuer range, length and Luhn (ISO/IEC 7812-1).
pub fn card(value: &str) -> bool {
    compact(value, b" -.").is_some_and(|text| all_digits(&text) && is_card(&text))
}

fn is_card(text: &[u8]) -> bool {
    if !(12..=19).contains(&text.len()) {
        return false;
    }
    let mut digits = [0; 19];
    for (digit, byte) in digits.iter_mut().zip(text) {
        *digit = byte - b'0';
    }
    let issuer = number(&digits[..6]) as u32;
    let issued = |(first, last, least, most): &(u32, u32, usize, usize)| {
        (*first..=*last).contains(&issuer) && (*least..=*most).contains(&text.len())
    };
    let visa = issuer / 100_000 != 4 || matches!(text.len(), 13 | 16 | 19);
    visa && ISSUERS.iter().any(issued) && luhn(&digits[..text.len()])
}

/// BIC (SWIFT code), ISO 9362: institution, country, location and possibly a branch. It has no checksum.
pub fn bic(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        (is_shaped(&text, "AAAAAAXX") || is_shaped(&text, "AAAAAAXXXXX")) && begins_with_country(&text[4..])
    })
}

/// US bank routing number: the Federal Reserve's ranges of the first two digits, weights 3, 7, 1 modulo 10.
/// Source: American Bankers Association, *Routing Number Policy*.
pub fn us_aba_routing(value: &str) -> bool {
    digits::<9>(value, b" -").is_some_and(|digits| {
        let range = matches!(number(&digits[..2]), 1..=12 | 21..=32 | 61..=72 | 80);
        range && weighted(&digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
    })
}

/// ISIN, ISO 6166: country or `X` prefix, nine letters and digits, Luhn over the digits letters stand for.
pub fn isin(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        is_shaped(&text, "AAXXXXXXXXX0")
            && (begins_with_country(&text) || text[0] == b'X' || text.starts_with(b"EU"))
            && luhn_letters(&text)
    })
}

/// LEI, ISO 17442-1: twenty letters and digits, ISO 7064 MOD 97-10.
pub fn lei(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| is_shaped(&text, "XXXXXXXXXXXXXXXXXX00") && mod_97_10(&text))
}

/// SEDOL: six digits and consonants, weights 1, 3, 1, 7, 3, 9, 1 modulo 10.
/// Source: London Stock Exchange, *SEDOL Masterfile Technical Specification*.
pub fn gb_sedol(value: &str) -> bool {
    compact(value, b" ").is_some_and(|text| {
        let consonants = !text.iter().any(|byte| b"AEIOU".contains(byte));
        // Numbers of digits only were issued before 2004; letters come first since.
        let values = text.iter().filter_map(|byte| base36(*byte)).zip([1, 3, 1, 7, 3, 9, 1]);
        let sum: u32 = values.map(|(value, weight)| u32::from(value) * weight).sum();
        is_shaped(&text, "XXXXXX0") && consonants && sum.is_multiple_of(10)
    })
}

/// FIGI, OMG *Financial Instrument Global Identifier* 1.0 §6: consonants and digits, a `G` third, modulo 10 of every
/// second value doubled.
pub fn figi(value: &str) -> bool {
    /// Prefixes left free for ISINs.
    const RESERVED: [&[u8]; 7] = [b"BS", b"BM", b"GG", b"GB", b"GH", b"KY", b"VG"];
    compact(value, b" ").is_some_and(|text| {
        let consonants = !text.iter().any(|byte| b"AEIOU".contains(byte));
        let one = |(at, byte): (usize, &u8)| base36(*byte).map_or(0, |value| cross(u32::from(value) << (at % 2)));
        let sum: u32 = text.iter().enumerate().take(11).map(one).sum();
        is_shaped(&text, "AAgXXXXXXXX0")
            && consonants
            && !RESERVED.contains(&&text[..2])
            && complement(sum, 10) == u32::from(text[11] - b'0')
    })
}

/// CFI, ISO 10962: category and group as in its table; of the four attributes only that they are letters in use.
pub fn cfi(value: &str) -> bool {
    const GROUPS: [(u8, &[u8]); 14] = [
        (b'E', b"SPCFLDYM"),
        (b'C', b"IHBEFSPM"),
        (b'D', b"BCWTSEGANDYM"),
        (b'R', b"APSWFDM"),
        (b'O', b"CPM"),
        (b'F', b"FC"),
        (b'S', b"RTECFM"),
        (b'H', b"RTECFM"),
        (b'I', b"FT"),
        (b'J', b"EFCRTM"),
        (b'K', b"RTECFYM"),
        (b'L', b"LRS"),
        (b'T', b"CTRIBDM"),
        (b'M', b"CM"),
    ];
    compact(value, b"").is_some_and(|text| {
        let known = |(category, groups): &(u8, &[u8])| *category == text[0] && groups.contains(&text[1]);
        is_shaped(&text, "AAAAAA") && GROUPS.iter().any(known) && !text[2..].contains(&b'Z')
    })
}

/// UPI, ISO 4914: `QZ`, nine digits and consonants without `Y`, and a check character, MOD 31,30 over that alphabet.
pub fn upi(value: &str) -> bool {
    const ALPHABET: &[u8] = b"0123456789BCDFGHJKLMNPQRSTVWXZ";
    compact(value, b"").is_some_and(|text| {
        let mut values = [0; 12];
        for (value, byte) in values.iter_mut().zip(text.iter()) {
            let Some(known) = ALPHABET.iter().position(|known| known == byte) else { return false };
            *value = known as u8;
        }
        is_shaped(&text, "qzXXXXXXXXXX") && hybrid(&values, 30)
    })
}

/// Structured creditor reference, ISO 11649: `RF`, two check digits and up to 21 letters and digits.
pub fn iso11649(value: &str) -> bool {
    compact(value, b" -.,/").is_some_and(|text| {
        (5..=25).contains(&text.len())
            && text.starts_with(b"RF")
            && is_shaped(&text[2..4], "00")
            && remainder_97(text[4..].iter().chain(&text[..4])) == Some(1)
    })
}

/// SEPA creditor identifier, EPC262-08 (attribute AT-02): MOD 97-10 without the three characters of the business code.
pub fn sepa_creditor(value: &str) -> bool {
    compact(value, b" -/?:().,'+").is_some_and(|text| {
        (8..=35).contains(&text.len())
            && is_shaped(&text[..4], "AA00")
            && begins_with_country(&text)
            && remainder_97(text[7..].iter().chain(&text[..4])) == Some(1)
    })
}

/// Serial number of a euro banknote: modulo 9 with a letter read as its place in ASCII. The first series has one letter
/// for the country, the second two, of which the first is the printer's.
/// Source: European Central Bank, *Serial numbers*.
pub fn euro_banknote(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| {
        let first = is_shaped(&text, "A00000000000") && b"DEFGHJLMNPRSTUVXYZ".contains(&text[0]);
        let second = is_shaped(&text, "AA0000000000") && b"DEFHJMNPRSTUVWXYZ".contains(&text[0]);
        let sum: u32 =
            text.iter().map(|byte| if byte.is_ascii_digit() { u32::from(byte - b'0') } else { u32::from(*byte) }).sum();
        (first || second) && sum.is_multiple_of(9)
    })
}

/// GS1 trade item and location numbers of 8, 12, 13 or 14 digits. Source: GS1 General Specifications §7.9.
pub fn ean_number(value: &str) -> bool {
    compact(value, b" -").is_some_and(|text| matches!(text.len(), 8 | 12 | 13 | 14) && is_ean(&text))
}

/// Whether ASCII digits carry the check digit of GS1.
pub(super) fn is_ean(text: &[u8]) -> bool {
    let mut digits = [0; LEN_MAX];
    let Some(digits) = digits.get_mut(..text.len()) else { return false };
    for (digit, byte) in digits.iter_mut().zip(text) {
        *digit = byte.wrapping_sub(b'0');
    }
    all_digits(text) && ean(digits)
}

/// Czech and Slovak account number: `prefix-number/bank`, modulo 11 over prefix and number each.
/// Source: Czech National Bank, Decree 169/2011.
pub fn cz_bank_account(value: &str) -> bool {
    const WEIGHTS: [u8; 10] = [6, 3, 7, 9, 10, 5, 8, 4, 2, 1];
    let Some((account, bank)) = value.trim().split_once('/') else { return false };
    let (prefix, account) = account.split_once('-').unwrap_or(("0", account));
    let holds = |part: &str, least: usize, most: usize| {
        let digits = super::text::padded::<10>(part.as_bytes(), least).filter(|_| part.len() <= most);
        digits.is_some_and(|digits| weighted(&digits, &WEIGHTS).is_multiple_of(11))
    };
    bank.len() == 4 && all_digits(bank.as_bytes()) && holds(prefix, 1, 6) && holds(account, 2, 10)
}

/// Norwegian account number: eleven digits, modulo 11. Source: Finans Norge, *Kontonummerstruktur*.
pub fn no_account(value: &str) -> bool {
    digits::<11>(value, b" -.").is_some_and(|digits| {
        complement(weighted(&digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]), 11) == u32::from(digits[10])
    })
}

/// What is known by name.
pub(super) const KINDS: super::Kinds = &[
    ("BIC", bic),
    ("CFI", cfi),
    ("CREDIT_CARD", card),
    ("CZ_BANKACCOUNT", cz_bank_account),
    ("EAN", ean_number),
    ("EU_AT_02", sepa_creditor),
    ("EU_BANKNOTE", euro_banknote),
    ("FIGI", figi),
    ("GB_SEDOL", gb_sedol),
    ("IBAN", iban),
    ("ISIN", isin),
    ("ISO11649", iso11649),
    ("LEI", lei),
    ("NO_KONTONR", no_account),
    ("UPI", upi),
    ("US_ABA_ROUTING", us_aba_routing),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_an_issuer_a_length_and_luhns_digit() {
        for value in
            ["4111 1111 1111 1111", "5555-5555-5555-4444", "378282246310005", "6304000000000000", "4222222222222"]
        {
            assert!(card(value), "{value}");
        }
        // Wrong digit, no issuer, a length Visa does not issue, too short, too long.
        for value in ["4111111111111112", "7000000000000005", "411111111111116", "41111111116", "41111111111111111111"]
        {
            assert!(!card(value), "{value}");
        }
    }

    #[test]
    fn a_routing_number_is_of_a_federal_reserve_bank() {
        assert!(us_aba_routing("021000021") && us_aba_routing("1210-42882"));
        assert!(!us_aba_routing("021000022") && !us_aba_routing("000000000") && !us_aba_routing("990000006"));
    }

    #[test]
    fn securities_have_their_checksums() {
        assert!(isin("US0378331005") && isin("XS0356705219") && !isin("US0378331003") && !isin("ZZ0378331005"));
        assert!(lei("529900T8BM49AURSDO55") && !lei("529900T8BM49AURSDO56"));
        assert!(figi("BBG000BLNQ16") && !figi("BBG000BLNQ17"));
        assert!(gb_sedol("0263494") && !gb_sedol("0263495"));
        assert!(bic("DEUTDEFF500") && bic("deutdeff") && !bic("DEUTZZFF"));
    }
}
