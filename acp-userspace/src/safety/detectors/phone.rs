//! Telephone numbers.
//!
//! Taken on their shape alone: `+`, a calling code and 8 to 15 digits in all (E.164); North American numbers written in
//! their groups (3-3-4 or (3) 3-4, area and exchange beginning with 2 to 9, an optional 1 before). Anything else of 8 to
//! 15 digits, ten digits in a row included, is an id to this detector unless a word before it or the JSON member's name
//! speaks of a telephone. The confidence is 95, 85 and 60 percent in this order. National formats of other countries are therefore found only with such a word.

use std::ops::RangeInclusive;

use super::Found;
use super::context::{Context, Topic};
use super::digits::Window;

/// Digits of the shortest number; with fewer nobody writes a calling code.
pub(super) const DIGITS_MIN: usize = 8;
/// E.164 §6.2.1.
const DIGITS: RangeInclusive<usize> = DIGITS_MIN..=15;
/// Calling code 1 and ten digits.
const NORTH_AMERICAN_DIGITS: RangeInclusive<usize> = 11..=11;

/// Confidence in what is told by its `+`, by its groups, and by a word alone.
const INTERNATIONAL: u8 = 95;
const NORTH_AMERICAN: u8 = 85;
const BY_WORD: u8 = 60;

pub(super) fn find(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    international(window).or_else(|| north_american(window)).or_else(|| {
        // Where it is known that no word says so, that is the cheapest question; where words are still to be looked for, the
        // dearest.
        let plausible = !context.is_silent(Topic::Phone) && !window.joined_before() && !is_date(window);
        let found = if plausible { longest(window, DIGITS) } else { None };
        found.filter(|_| context.says(Topic::Phone))
    })
}

/// `+` and a number behind it; the range begins at the `+`.
fn international(window: &Window<'_>) -> Option<Found> {
    let start = window.groups[0].start;
    let plus = match window.text[..start] {
        [.., b'+'] => start - 1,
        [.., b'+', b'('] => start - 2,
        _ => return None,
    };
    if window.text[..plus].last().is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    let digits = if window.digits(0).first() == Some(&b'1') { NORTH_AMERICAN_DIGITS } else { DIGITS };
    let mut found = longest(window, digits).filter(|_| has_calling_code(window))?;
    found.range.start = plus;
    found.confidence = INTERNATIONAL;
    Some(found)
}

/// As many groups as make no more digits than `range` allows; `None` if they make fewer, or the last is part of a word.
fn longest(window: &Window<'_>, range: RangeInclusive<usize>) -> Option<Found> {
    let (mut digits, mut groups) = (0, 0);
    for (i, group) in window.groups.iter().enumerate() {
        let apart = i > 0 && !is_phone_separator(window.separator(i - 1));
        if apart || digits + group.len() > *range.end() {
            break;
        }
        digits += group.len();
        groups = i + 1;
    }
    let last = window.groups.get(groups.checked_sub(1)?)?;
    let whole = range.contains(&digits) && !continues_word(window, groups - 1);
    whole.then(|| Found { groups, range: opening(window)..last.end, confidence: BY_WORD })
}

/// Year, month and day, or the reverse.
fn is_date(window: &Window<'_>) -> bool {
    matches!([0, 1, 2].map(|i| window.digits(i).len()), [4, 2, 2] | [2, 2, 4])
}

fn north_american(window: &Window<'_>) -> Option<Found> {
    let skip = usize::from(window.digits(0) == b"1" && window.groups.len() > 1);
    let area = window.digits(skip);
    let (exchange, groups) = match window.digits(skip + 1).len() {
        3 if window.digits(skip + 2).len() == 4 => (window.digits(skip + 1), 3),
        7 => (&window.digits(skip + 1)[..3], 2),
        _ => return None,
    };
    let last = skip + groups - 1;
    let shape = area.len() == 3
        && area[0] >= b'2'
        && exchange[0] >= b'2'
        && (0..last).all(|i| is_phone_separator(window.separator(i)))
        && !window.joined_before()
        && !continues_word(window, last)
        && !matches!(window.separator(last), b"-" | b".");
    shape.then(|| Found {
        groups: last + 1,
        range: opening(window)..window.groups[last].end,
        confidence: NORTH_AMERICAN,
    })
}

/// The first group, with the parenthesis before it.
fn opening(window: &Window<'_>) -> usize {
    let start = window.groups[0].start;
    if window.before() == Some(b'(') { start - 1 } else { start }
}

fn is_phone_separator(separator: &[u8]) -> bool {
    matches!(separator, b" " | b"-" | b"." | b"(" | b")" | b") " | b" (" | b")-" | b"-(" | b" - " | b").")
}

/// Whether group `i` ends in the middle of a word; an extension (`x12`) is none.
fn continues_word(window: &Window<'_>, i: usize) -> bool {
    match window.text[window.groups[i].end..] {
        [b'x' | b'X', next, ..] => !next.is_ascii_digit(),
        [next, ..] => next.is_ascii_alphanumeric() || next == b'_',
        [] => false,
    }
}

/// Whether the digits begin with an assigned calling code (ITU-T E.164.D), which only few pairs cannot.
fn has_calling_code(window: &Window<'_>) -> bool {
    let mut digits = (0..window.groups.len()).flat_map(|i| window.digits(i)).copied();
    match (digits.next(), digits.next()) {
        (Some(b'1' | b'7'), _) => true,
        (Some(b'0'), _) | (Some(b'2'), Some(b'8')) | (Some(b'8'), Some(b'3' | b'9')) => false,
        (first, _) => first.is_some(),
    }
}
