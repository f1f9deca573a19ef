//! International bank account numbers (ISO 13616-1): country, two check digits, and an account of the country's shape.

use super::checksums::remainder_97;
use super::text::compact;

/// What people write between groups of four; a few print hyphens.
pub(super) const SEPARATORS: &[u8] = b" -.";

/// Shape of the account by country, in the notation of its source: `8n` is eight digits, `a` letters, `c` either.
/// Source: SWIFT, *IBAN Registry*, with the adopted countries that joined up to release 99.
const SHAPES: &[(&str, &str)] = &[
    ("AD", "8n12c"),
    ("AE", "19n"),
    ("AL", "8n16c"),
    ("AT", "16n"),
    ("AZ", "4a20c"),
    ("BA", "16n"),
    ("BE", "12n"),
    ("BG", "4a6n8c"),
    ("BH", "4a14c"),
    ("BI", "23n"),
    ("BR", "23n1a1c"),
    ("BY", "4c4n16c"),
    ("CH", "5n12c"),
    ("CR", "18n"),
    ("CY", "8n16c"),
    ("CZ", "20n"),
    ("DE", "18n"),
    ("DJ", "23n"),
    ("DK", "14n"),
    ("DO", "4c20n"),
    ("EE", "16n"),
    ("EG", "25n"),
    ("ES", "20n"),
    ("FI", "14n"),
    ("FK", "2a12n"),
    ("FO", "14n"),
    ("FR", "10n11c2n"),
    ("GB", "4a14n"),
    ("GE", "2a16n"),
    ("GI", "4a15c"),
    ("GL", "14n"),
    ("GR", "7n16c"),
    ("GT", "24c"),
    ("HN", "4a20n"),
    ("HR", "17n"),
    ("HU", "24n"),
    ("IE", "4a14n"),
    ("IL", "19n"),
    ("IQ", "4a15n"),
    ("IS", "22n"),
    ("IT", "1a10n12c"),
    ("JO", "4a4n18c"),
    ("KW", "4a22c"),
    ("KZ", "3n13c"),
    ("LB", "4n20c"),
    ("LC", "4a24c"),
    ("LI", "5n12c"),
    ("LT", "16n"),
    ("LU", "3n13c"),
    ("LV", "4a13c"),
    ("LY", "21n"),
    ("MC", "10n11c2n"),
    ("MD", "20c"),
    ("ME", "18n"),
    ("MK", "3n10c2n"),
    ("MN", "16n"),
    ("MR", "23n"),
    ("MT", "4a5n18c"),
    ("MU", "4a19n3a"),
    ("NI", "4a20n"),
    ("NL", "4a10n"),
    ("NO", "11n"),
    ("OM", "3n16c"),
    ("PK", "4a16c"),
    ("PL", "24n"),
    ("PS", "4a21c"),
    ("PT", "21n"),
    ("QA", "4a21c"),
    ("RO", "4a16c"),
    ("RS", "18n"),
    ("RU", "14n15c"),
    ("SA", "2n18c"),
    ("SC", "4a20n3a"),
    ("SD", "14n"),
    ("SE", "20n"),
    ("SI", "15n"),
    ("SK", "20n"),
    ("SM", "1a10n12c"),
    ("SO", "19n"),
    ("ST", "21n"),
    ("SV", "4a20n"),
    ("TL", "19n"),
    ("TN", "20n"),
    ("TR", "6n16c"),
    ("UA", "6n19c"),
    ("VA", "18n"),
    ("VG", "4a16n"),
    ("XK", "16n"),
    ("YE", "4a4n18c"),
];

/// Whether `account` is made as `shape` says.
fn is_made(mut account: &[u8], shape: &str) -> bool {
    let mut count = 0;
    for part in shape.bytes() {
        if part.is_ascii_digit() {
            count = count * 10 + usize::from(part - b'0');
            continue;
        }
        let Some((group, rest)) = account.split_at_checked(count) else { return false };
        let fits = group.iter().all(|byte| match part {
            b'n' => byte.is_ascii_digit(),
            b'a' => byte.is_ascii_uppercase(),
            _ => byte.is_ascii_alphanumeric(),
        });
        if !fits {
            return false;
        }
        (account, count) = (rest, 0);
    }
    account.is_empty()
}

/// IBAN, ISO 13616-1 and ISO 7064 MOD 97-10; the check digits are 02 to 98.
pub fn iban(value: &str) -> bool {
    compact(value, SEPARATORS).is_some_and(|text| is_iban(&text))
}

/// The same of letters and digits without separators.
pub(super) fn is_iban(text: &[u8]) -> bool {
    let Some((head, account)) = text.split_first_chunk::<4>() else { return false };
    let Ok(at) = SHAPES.binary_search_by(|(country, _)| country.as_bytes().cmp(&head[..2])) else { return false };
    head[2..].iter().all(u8::is_ascii_digit)
        && (b"02"..=b"98").contains(&&[head[2], head[3]])
        && is_made(account, SHAPES[at].1)
        && remainder_97(account.iter().chain(head)) == Some(1)
}

/// How many letters and digits an IBAN of this country has; `None` for a country that has none.
#[must_use]
pub fn iban_len(country: &str) -> Option<usize> {
    let at = SHAPES.binary_search_by(|(known, _)| (*known).cmp(country)).ok()?;
    let mut count = 0;
    let groups = SHAPES[at].1.split_inclusive(|c: char| !c.is_ascii_digit());
    for group in groups {
        count += group[..group.len() - 1].parse::<usize>().ok()?;
    }
    Some(4 + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn countries_are_in_order_and_their_shapes_have_a_length() {
        assert!(SHAPES.is_sorted());
        for (country, _) in SHAPES {
            assert!((15..=34).contains(&iban_len(country).expect("a length")), "{country}");
        }
        assert_eq!(iban_len("NO"), Some(15));
        assert_eq!(iban_len("MT"), Some(31));
        assert_eq!(iban_len("RU"), Some(33));
        assert_eq!(iban_len("US"), None);
    }

    #[test]
    fn an_iban_has_its_countrys_shape_and_checksum() {
        for value in ["GB82 WEST 1234 5698 7654 32", "gb82west12345698765432", "BR1500000000000010932840814P2"] {
            assert!(iban(value), "{value}");
        }
        let wrong =
            ["GB82 WEST 1234 5698 7654 3", "GB83 WEST 1234 5698 7654 32", "GB82 1234 1234 5698 7654 32", "GB", "US12"];
        for value in wrong {
            assert!(!iban(value), "{value}");
        }
    }

    #[test]
    fn check_digits_that_the_rule_never_yields_are_wrong() {
        // 00, 01 and 99 leave the same remainders as 97, 98 and 02.
        assert!(!iban("GB01 BARC 2071 4583 6083 87") && !iban("GB00 HLFX 1101 6111 4553 65"));
    }
}
