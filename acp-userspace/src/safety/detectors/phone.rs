//! Telephone numbers, told by how they are written.
//!
//! | written | confidence |
//! |---|---|
//! | with `+` or `00` and calling code, as long as its country's numbers (E.164; `phone/plans.rs`) | 95 |
//! | in North American groups, (NXX) NXX-XXXX | 85 |
//! | with `+1`, but an area code or exchange that is never assigned | 70 |
//! | with a trunk zero or an area code in parentheses, in groups | 70 |
//! | in the groups of some country's numbers without either | 50 |
//! | 8 to 15 digits in any other way, 6 if in groups, where a word speaks of a telephone | 60 |
//! | 11 digits in a row behind a trunk zero, in a text without a name | 40 |
//! | 10 digits in a row of the North American plan that are a whole text without a name | 35 |
//!
//! A word halves what those below 95 lack to 100. It stands before the number, is the JSON member's name, or follows the
//! number ("fax", an extension). Without one, other digits in a row are an id; so is a number joined to a
//! word, and one of seven digits counts only where it is the whole text. The extension is not part of what is found.

use super::Found;
use super::context::{Context, Topic};
use super::digits::Window;

mod international;
mod national;
mod plans;

/// Digits of the shortest number: local ones in groups.
pub(super) const DIGITS_MIN: usize = 6;
/// Of those a word speaks of: fewer in a row are too many other things.
const BARE_DIGITS_MIN: usize = 8;
/// Of those with a trunk zero and an extension.
const EXTENDED_DIGITS_MIN: usize = 7;
/// Of those before `x` and an extension: `1920 1080x720` are sizes.
const BEFORE_X_DIGITS_MIN: usize = 10;

/// Of one in a list with nothing but spaces between: what most plans' numbers have.
const LISTED_DIGITS: usize = 10;

/// No word is asked for above.
pub(super) const CERTAIN: u8 = 95;
/// For what is told by a word alone.
const BY_WORD: u8 = 60;

/// Words that say behind a number what it was.
const BEHIND: [&str; 10] =
    ["fax", "mobile", "cell", "office", "phone", "tel", "telephone", "landline", "ext", "extension"];

/// The longest of them.
const BEHIND_BYTES_MAX: usize = 9;

pub(super) fn find(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    let Some(mut found) = international::find(window).or_else(|| national::find(window)) else {
        return by_word(window, context).or_else(|| national::in_a_row(window, context));
    };
    if found.confidence < CERTAIN && is_said(window.text, &found, context) {
        found.confidence += (100 - found.confidence) / 2;
    }
    Some(found)
}

/// Whatever a word says is one.
fn by_word(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    // Where the words before are known to be silent, one behind may still speak, but of a whole run.
    let vain = context.is_silent(Topic::Phone) && !begins_apart(window);
    let decimals = window.groups.len() == 2 && window.separator(0) == b".";
    if vain || decimals || joined_before(window) || national::is_date(window) {
        return None;
    }
    longest(window).filter(|found| {
        let digits = || window.text[found.range.clone()].iter().filter(|byte| byte.is_ascii_digit()).count();
        let x = matches!(window.text[found.range.end..], [b'x' | b'X', digit, ..] if digit.is_ascii_digit());
        is_said(window.text, found, context) || x && digits() >= BEFORE_X_DIGITS_MIN
    })
}

/// Whether an extension follows what ends at `end`: "ext. 49".
fn is_extended(text: &[u8], end: usize) -> bool {
    is_said_behind(text, end)
        && text[end..].trim_ascii_start().get(..3).is_some_and(|it| it.eq_ignore_ascii_case(b"ext"))
}

/// Whether a word speaks of a telephone. What follows is the cheaper question.
fn is_said(text: &[u8], found: &Found, context: &Context<'_>) -> bool {
    is_said_behind(text, found.range.end) || context.says(Topic::Phone)
}

/// As many groups as make no more than 15 digits; of a longer run, which is a list of numbers, as few as make ten. `None` if
/// they make too few, or the last is part of a word.
fn longest(window: &Window<'_>) -> Option<Found> {
    let (mut digits, mut groups) = (0, 0);
    let mut ten = None;
    for (i, group) in window.groups.iter().enumerate() {
        if i > 0 && !is_phone_separator(window.separator(i - 1)) {
            break;
        }
        if digits + group.len() > plans::DIGITS_MAX {
            (digits, groups) = ten.unwrap_or((digits, groups));
            break;
        }
        (digits, groups) = (digits + group.len(), i + 1);
        if digits >= LISTED_DIGITS {
            ten = ten.or(Some((digits, groups)));
        }
    }
    let last = window.groups.get(groups.checked_sub(1)?)?;
    let extended =
        || window.digits(0)[0] == b'0' && digits >= EXTENDED_DIGITS_MIN && is_extended(window.text, last.end);
    let enough = digits >= if groups > 1 { DIGITS_MIN } else { BARE_DIGITS_MIN } || extended();
    let whole = enough && !continues_word(window, groups - 1);
    whole.then(|| Found { groups, range: opening(window)..last.end, confidence: BY_WORD })
}

/// The first group, with the parenthesis or `+` before it.
fn opening(window: &Window<'_>) -> usize {
    let start = window.groups[0].start;
    if matches!(window.before(), Some(b'(' | b'+')) { start - 1 } else { start }
}

fn is_phone_separator(separator: &[u8]) -> bool {
    matches!(separator, b" " | b"-" | b"." | b"/" | b"(" | b")" | b") " | b" (" | b")-" | b"-(" | b" - " | b").")
}

/// Whether no digits stand before the window as if they were of the same number: with one separator between.
fn begins_apart(window: &Window<'_>) -> bool {
    !matches!(window.text[..opening(window)], [.., digit, b' ' | b'-' | b'.'] if digit.is_ascii_digit())
}

/// Whether no digits follow group `i` as if they were of the same number.
fn ends_apart(window: &Window<'_>, i: usize) -> bool {
    !is_phone_separator(window.separator(i)) || window.separator(i) == b" - " && i > 0
}

/// Whether the window begins in the middle of a word or an amount.
fn joined_before(window: &Window<'_>) -> bool {
    let before = &window.text[..window.groups[0].start];
    match before.last() {
        Some(0x80..) => before[before.len().saturating_sub(4)..]
            .utf8_chunks()
            .last()
            .and_then(|c| c.valid().chars().last())
            .is_some_and(is_letter),
        Some(b'$') => true,
        _ => window.joined_before(),
    }
}

/// Whether group `i` ends in the middle of a word or an amount; an extension (`x12`) is neither.
fn continues_word(window: &Window<'_>, i: usize) -> bool {
    let behind = &window.text[window.groups[i].end..];
    match *behind {
        [b'x' | b'X', next, ..] => !next.is_ascii_digit(),
        [0x80..=0xff, ..] => behind[..behind.len().min(4)]
            .utf8_chunks()
            .next()
            .and_then(|c| c.valid().chars().next())
            .is_some_and(is_letter),
        [next, ..] => next.is_ascii_alphanumeric() || matches!(next, b'_' | b'$' | b'%'),
        [] => false,
    }
}

/// Letters beyond ASCII of alphabets that are written with spaces between words, and their combining marks: Chinese has
/// none between a word and a number.
fn is_letter(c: char) -> bool {
    ('\u{c0}'..'\u{590}').contains(&c) && c.is_alphanumeric() || ('\u{300}'..'\u{370}').contains(&c)
}

/// Whether a word behind `end` says that the number that ends there was a telephone's: "… fax", "…-Office", "… (mobile)".
fn is_said_behind(text: &[u8], end: usize) -> bool {
    let behind = &text[end..];
    let apart = behind.iter().take(3).take_while(|byte| matches!(byte, b' ' | b'-' | b'(' | b',')).count();
    let behind = &behind[apart..];
    let len = behind.iter().take(BEHIND_BYTES_MAX + 1).take_while(|byte| byte.is_ascii_alphabetic()).count();
    apart > 0 && len > 2 && BEHIND.iter().any(|word| behind[..len].eq_ignore_ascii_case(word.as_bytes()))
}

#[cfg(test)]
mod tests;
