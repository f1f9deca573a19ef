//! Payment card numbers (ISO/IEC 7812).
//!
//! Taken: 13 to 19 digits whose first digits are of a network that issues numbers of that length and whose last is the
//! Luhn digit, written together or in groups of three to seven with the same single space or `-` between. Of
//! other networks, of twelve digits (Maestro), or of 17 or 18 in a row, which is how message services number what they
//! hold ("snowflakes"), only where a word before them, or the member's name, speaks of a card. A number joined to a word
//! or to more digits is left: it is an id.

use super::Found;
use super::context::{Context, Topic};
use super::digits::Window;

const LEN_MAX: usize = 19;
/// Digits of the shortest number.
pub(super) const DIGITS_MIN: usize = 12;
const LEN: std::ops::RangeInclusive<usize> = DIGITS_MIN..=LEN_MAX;
/// Digits of a group where a number is written in groups: 4-4-4-4, 4-6-5, 4-4-4-4-3. The first is no shorter than four:
/// columns of three digits are numbers of their own.
const GROUP_LEN: std::ops::RangeInclusive<usize> = 3..=7;
const FIRST_GROUP_LEN: std::ops::RangeInclusive<usize> = 4..=7;

/// Confidence in what passes Luhn's check: under a network that issues such numbers, else by a word.
const ISSUED: u8 = 95;
const BY_WORD: u8 = 70;

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
        let grouped = i == 0 || GROUP_LEN.contains(&group.len()) && FIRST_GROUP_LEN.contains(&window.groups[0].len());
        if !continues || !grouped || len + group.len() > LEN_MAX {
            break;
        }
        number[len..len + group.len()].copy_from_slice(window.digits(i));
        len += group.len();
        if !window.joined_after(i)
            && let Some(confidence) = card(&number[..len], i == 0, || context.says(Topic::Card))
        {
            found = Some(Found { groups: i + 1, range: start..group.end, confidence });
        }
    }
    found
}

/// How sure it is that these digits, in one group or several, are a card's, if they can be.
fn card(number: &[u8], in_a_row: bool, says_card: impl Fn() -> bool) -> Option<u8> {
    let snowflake = in_a_row && matches!(number.len(), 17 | 18);
    if !LEN.contains(&number.len()) || !luhn(number) {
        None
    } else if is_issued(number) && (!snowflake || says_card()) {
        Some(ISSUED)
    } else {
        says_card().then_some(BY_WORD)
    }
}

/// Whether a network that is known for it issues numbers of this length under this issuer identification number.
fn is_issued(number: &[u8]) -> bool {
    let prefix = |len: usize| number[..len].iter().fold(0_u32, |value, digit| value * 10 + u32::from(digit - b'0'));
    let (one, two, three, four) = (prefix(1), prefix(2), prefix(3), prefix(4));
    let visa = one == 4;
    let mastercard = matches!(two, 51..=55) || matches!(four, 2221..=2720);
    let maestro_unionpay_discover = matches!(two, 50 | 56..=58) || one == 6;
    let diners = matches!(three, 300..=305 | 309) || matches!(two, 36 | 38 | 39);
    let jcb = matches!(four, 3528..=3589);
    match number.len() {
        13 => visa,
        14 => diners,
        15 => matches!(two, 34 | 37) || matches!(four, 2131 | 1800),
        16 => visa || mastercard || maestro_unionpay_discover || diners || jcb || matches!(four, 2200..=2204),
        17..=19 => visa || maestro_unionpay_discover || diners || jcb,
        _ => false,
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
