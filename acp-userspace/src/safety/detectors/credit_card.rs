//! Payment card numbers (ISO/IEC 7812).
//!
//! Taken: 13 to 19 digits whose first digits are of a network that issues numbers of that length and whose last is the
//! Luhn digit, written together or in groups of three to seven with the same single space or `-` between. Twelve
//! digits (Maestro) and the networks that share their range with plain numbers (UATP) only where a word
//! before them, or the member's name, speaks of a card. A number joined to a word or to more digits is left: it is an id.

use super::Found;
use super::context::{Context, Topic};
use super::digits::Window;

const LEN_MAX: usize = 19;
/// Digits of a group where a number is written in groups: 4-4-4-4, 4-6-5, 4-4-4-4-3.
const GROUP_LEN: std::ops::RangeInclusive<usize> = 3..=7;

pub(super) fn find(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    if window.joined_before() {
        return None;
    }
    let start = window.groups[0].start;
    let separator = window.separator(0);
    let mut number = [0; LEN_MAX];
    let (mut len, mut found) = (0, None);
    for (i, group) in window.groups.iter().enumerate() {
        let continues = i == 0 || (matches!(separator, b" " | b"-") && window.separator(i - 1) == separator);
        let grouped = i == 0 || [*group, window.groups[0]].iter().all(|group| GROUP_LEN.contains(&group.len()));
        if !continues || !grouped || len + group.len() > LEN_MAX {
            break;
        }
        number[len..len + group.len()].copy_from_slice(window.digits(i));
        len += group.len();
        if !window.joined_after(i) && is_card(&number[..len], || context.says(Topic::Card)) {
            found = Some(Found { groups: i + 1, range: start..group.end });
        }
    }
    found
}

fn is_card(number: &[u8], says_card: impl Fn() -> bool) -> bool {
    number.len() >= 12 && luhn(number) && {
        match network(number) {
            Network::Card => true,
            Network::Ambiguous => says_card(),
            Network::None => false,
        }
    }
}

enum Network {
    Card,
    /// Issued, but so are many other numbers.
    Ambiguous,
    None,
}

/// Which network issues `number`, by issuer identification range and length.
fn network(number: &[u8]) -> Network {
    let prefix =
        |digits: usize| number[..digits].iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    let known = match number.len() {
        13 => two / 10 == 4,
        14 => matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39),
        15 => matches!(two, 34 | 37) || matches!(four, 2131 | 1800),
        16 => {
            two / 10 == 4
                || matches!(two, 50..=58 | 60..=69 | 36 | 38 | 39)
                || matches!(four, 2200..=2204 | 2221..=2720 | 3528..=3589 | 3095)
                || matches!(three, 300..=305)
        }
        17..=19 => two / 10 == 4 || matches!(two, 50 | 56..=58 | 60..=69) || matches!(four, 3528..=3589),
        _ => false,
    };
    let maestro = matches!(two, 50 | 56..=58 | 60..=69) && (12..=15).contains(&number.len());
    match known {
        true => Network::Card,
        false if maestro || (number.len() == 15 && two / 10 == 1) => Network::Ambiguous,
        false => Network::None,
    }
}

/// ISO/IEC 7812-1 annex B.
fn luhn(number: &[u8]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let digit = u32::from(digit - b'0') << (i % 2);
            digit - if digit > 9 { 9 } else { 0 }
        })
        .sum();
    sum.is_multiple_of(10) && number.iter().any(|digit| *digit != b'0')
}
