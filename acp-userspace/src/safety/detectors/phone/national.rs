//! Numbers as they are written within a country, told by how their digits are grouped.
//!
//! Which country is not known, so that a grouping counts which is that of some national plan's numbers and of few other
//! things. A trunk zero or an area code in parentheses says most; without them, dates, amounts with spaces
//! between thousands, addresses of four bytes, ranges of years and the like are written alike, and left. A number of
//! seven digits counts only where it is the whole text: in a sentence it is a range or an amount as often.

use super::{Found, begins_apart, continues_word, ends_apart, is_phone_separator, joined_before, opening};
use crate::safety::detectors::context::Context;
use crate::safety::detectors::digits::Window;

/// Area, exchange and line of the North American plan.
const NORTH_AMERICAN: u8 = 85;
/// With a trunk zero, or an area code in parentheses.
const WITH_AREA: u8 = 70;
/// Grouped as some country's numbers are.
const GROUPED: u8 = 50;
/// In a row, with a trunk zero, in a text without a name.
const TRUNK_ZERO: u8 = 40;
/// In a row, ten digits of the North American plan that are the whole text.
const TEN_DIGITS: u8 = 35;

/// Digits of a number with its trunk zero: from Lebanon's to China's and Germany's.
const WITH_AREA_DIGITS: std::ops::RangeInclusive<usize> = 8..=12;
/// What freephone numbers begin with in most plans that have a trunk zero. Their subscribers' numbers have up to ten
/// digits (Germany, Nigeria).
const FREEPHONE: &[u8] = b"0800";
const FREEPHONE_DIGITS_MAX: usize = 14;

/// How many spaces beside a number are looked over, and how much of the word behind them is read, in bytes.
const NEAR: usize = 8;

pub(super) fn find(window: &Window<'_>) -> Option<Found> {
    // Behind a `+` stands a number of a length that its country does not have.
    if window.groups.len() < 2 || joined_before(window) || window.before() == Some(b'+') {
        return None;
    }
    north_american(window).or_else(|| {
        let apart = begins_apart(window);
        let grouped = || grouped(window, &Shape::of(window)?);
        if apart { grouped().or_else(|| one_by_one(window)) } else { None }
    })
}

/// Digits in a row that are a national number by their first digits and length, if nothing else is said of them.
///
/// Eleven digits behind one zero are how most of the world writes its mobiles (07 in the United Kingdom, 09 in the
/// Philippines, 05 in Turkey, 070 to 090 in Japan; identifiers have no zero there, or more than one), ten those of North
/// America, area code and exchange beginning with 2 to 9.
pub(super) fn in_a_row(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    let digits = window.digits(0);
    let apart = !joined_before(window) && window.before() != Some(b'+') && begins_apart(window);
    if !apart || !context.is_unnamed() || continues_word(window, 0) || !ends_apart(window, 0) {
        return None;
    }
    let is_all = || context.is_whole(window.groups[0].start..window.groups[0].end);
    let confidence = match *digits {
        [b'0', b'5'..=b'9', ..] if digits.len() == 11 => TRUNK_ZERO,
        [b'0', b'2'..=b'4', ..] if digits.len() == 11 && is_all() => TRUNK_ZERO,
        [b'2'..=b'9', _, _, b'2'..=b'9', ..] if digits.len() == 10 && is_all() => TEN_DIGITS,
        _ => return None,
    };
    Some(found(window, 0, confidence))
}

/// Numbers whose digits may be grouped in any way, for their beginning says what they are: a trunk zero in parentheses
/// ("(0)30 - 12 34 56"), and Australia's 1300 and 1800 if they are the whole text.
fn one_by_one(window: &Window<'_>) -> Option<Found> {
    let called = || window.text[..opening(window)].last().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let trunk = window.digits(0) == b"0" && window.before() == Some(b'(') && window.separator(0) == b")" && !called();
    let (mut digits, mut last) = (0, 0);
    for (i, group) in window.groups.iter().enumerate() {
        (digits, last) = (digits + group.len(), i);
        let joint = window.separator(i);
        if digits > *WITH_AREA_DIGITS.end() || !(is_phone_separator(joint) || matches!(joint, b" -" | b"- ")) {
            break;
        }
    }
    let subscriber = matches!(window.digits(0), b"1300" | b"1800") && digits == 10 && is_all(window, last);
    let fits = (trunk && WITH_AREA_DIGITS.contains(&digits) || subscriber) && !continues_word(window, last);
    fits.then(|| found(window, last, GROUPED))
}

/// 3-3-4 or 3-7 with area code and exchange beginning with 2 to 9, an optional 1 before.
fn north_american(window: &Window<'_>) -> Option<Found> {
    let skip = usize::from(window.digits(0) == b"1");
    let (area, behind) = (window.digits(skip), window.separator(skip));
    let (exchange, last) = match window.digits(skip + 1).len() {
        3 if window.digits(skip + 2).len() == 4 => (window.digits(skip + 1), skip + 2),
        7 if !matches!(behind, b" " | b".") => (&window.digits(skip + 1)[..3], skip + 1),
        _ => return None,
    };
    let shape = area.len() == 3
        && area[0] >= b'2'
        && (exchange[0] >= b'2' || is_toll_free(area))
        && is_phone_separator(behind)
        && (last == skip + 1 || belong_together(behind, window.separator(skip + 1)))
        && (skip == 0 || is_phone_separator(window.separator(0)))
        && !continues_word(window, last)
        && !matches!(window.separator(last), b"-" | b".");
    shape.then(|| found(window, last, NORTH_AMERICAN))
}

/// Whether one number has `first` behind its area code and `second` behind its exchange: the same, "(415) 555-0132", or
/// "415 555-0132".
fn belong_together(first: &[u8], second: &[u8]) -> bool {
    matches!(second, b" " | b"-" | b"." | b" - ")
        && (first == second || first.contains(&b')') || (first, second) == (b" ", b"-"))
}

/// 800, 833 to 888: of their numbers, those with an exchange that is never assigned are everybody's examples.
fn is_toll_free(area: &[u8]) -> bool {
    matches!(area, b"800" | b"833" | b"844" | b"855" | b"866" | b"877" | b"888")
}

fn found(window: &Window<'_>, last: usize, confidence: u8) -> Found {
    Found { groups: last + 1, range: opening(window)..window.groups[last].end, confidence }
}

/// How the digits of a whole run are grouped.
struct Shape {
    /// Each group's digits in four bits, the last group in the lowest.
    lens: u32,
    digits: usize,
    /// Index of the last group.
    last: usize,
    /// The one separator between all groups.
    uniform: Option<u8>,
}

impl Shape {
    /// `None` where the groups are too many, too long, or no more than part of something.
    fn of(window: &Window<'_>) -> Option<Self> {
        const GROUPS_MAX: usize = 6;
        let (mut lens, mut digits) = (0, 0);
        let mut uniform = <[u8; 1]>::try_from(window.separator(0)).map(|[byte]| byte).ok();
        for (i, group) in window.groups.iter().enumerate() {
            if i == GROUPS_MAX || group.len() > 9 && (group.len() > 10 || window.digits(0) != FREEPHONE) {
                return None;
            }
            (lens, digits) = (lens << 4 | group.len() as u32, digits + group.len());
            if ends_apart(window, i) {
                return (i > 0 && !continues_word(window, i)).then_some(Self { lens, digits, last: i, uniform });
            }
            let separator = window.separator(i);
            if !is_phone_separator(separator) {
                return None;
            }
            uniform = uniform.filter(|byte| separator == [*byte]);
        }
        None
    }
}

fn grouped(window: &Window<'_>, shape: &Shape) -> Option<Found> {
    let dots = (0..shape.last).any(|i| window.separator(i).contains(&b'.'));
    if dots && shape.uniform != Some(b'.') || is_date(window) || is_listed(window, shape.last) {
        return None;
    }
    let confidence = if with_area(window, shape) {
        WITH_AREA
    } else {
        (without_area(window, shape) || is_all(window, shape.last) && alone(window, shape)).then_some(GROUPED)?
    };
    Some(found(window, shape.last, confidence))
}

/// `(20) 3346 1234`: what is between the parentheses is an area code, and no year.
fn in_parentheses(window: &Window<'_>) -> bool {
    window.before() == Some(b'(') && window.separator(0).starts_with(b")") && !is_year(window.digits(0))
}

/// Whether the number begins with a trunk zero or an area code in parentheses, and goes on as subscribers' numbers
/// do: in one group, or in short ones.
fn with_area(window: &Window<'_>, shape: &Shape) -> bool {
    let begins = match window.digits(0) {
        // An international prefix, or a number with leading zeros; decimals.
        [b'0', b'0', ..] => false,
        [b'0'] => shape.last > 1 && window.digits(1)[0] != b'0',
        [b'0', ..] => true,
        // The trunk prefix of Russia and Kazakhstan.
        [b'8'] => window.separator(0) == b" (" && shape.last > 1,
        _ => in_parentheses(window),
    };
    let goes_on = match shape.last {
        1 => window.digits(1).len() >= 5,
        last => (1..last).all(|i| window.digits(i).len() <= 5) && window.digits(last).len() >= 2,
    };
    let free = window.digits(0) == FREEPHONE && shape.digits <= FREEPHONE_DIGITS_MAX;
    // Four bytes of an address, pairs of times, code points, early dates, social security numbers.
    let other = matches!(shape.lens, 0x3333 | 0x2222 | 0x444 | 0x422 | 0x224 | 0x324 | 0x325);
    let dotted =
        shape.uniform == Some(b'.') && !matches!(shape.lens, 0x22222 | 0x334 | 0x3322 | 0x4222 | 0x244 | 0x234);
    let enough = free && shape.digits > *WITH_AREA_DIGITS.start() || WITH_AREA_DIGITS.contains(&shape.digits);
    begins && goes_on && (!other || free) && !dotted && enough && window.digits(0).len() <= 6
}

/// Whether the digits are grouped as a national number without a trunk prefix, and as few other things.
fn without_area(window: &Window<'_>, shape: &Shape) -> bool {
    match shape.uniform {
        _ if window.digits(0)[0] == b'0' => false,
        Some(b' ') => match shape.lens {
            0x233 | 0x333 => !is_amount(window, shape.last),
            0x26 => window.digits(1)[0] != b'0',
            // Turkish and Russian numbers without their trunk prefix.
            0x3322 => matches!(window.digits(0)[0], b'2'..=b'5' | b'9'),
            lens => matches!(
                lens,
                0x2222 | 0x3222 | 0x2322 | 0x323 | 0x234 | 0x334 | 0x344 | 0x244 | 0x2334 | 0x424 | 0x434
            ),
        },
        Some(b'-') => match shape.lens {
            // Malaysian numbers that cost the caller as much from everywhere (MCMC, *Numbering and Electronic Addressing Plan*).
            0x1324 => window.digits(0) == b"1" && matches!(window.digits(1), [b'3' | b'6'..=b'9', b'0', b'0']),
            lens => matches!(lens, 0x2222 | 0x37 | 0x344 | 0x244),
        },
        _ => false,
    }
}

/// Whether they are if there is nothing else in the text.
#[rustfmt::skip]
fn alone(window: &Window<'_>, shape: &Shape) -> bool {
    match shape.uniform {
        Some(b'-') => {
            matches!(shape.lens, 0x34 | 0x44 | 0x52 | 0x333 | 0x322 | 0x1333) && !is_year(window.digits(0))
        }
        Some(b' ') => match shape.lens {
            0x133 => !is_amount(window, shape.last),
            0x44 => !is_year(window.digits(0)) && !is_year(window.digits(1)),
            lens => matches!(
                lens,
                0x222 | 0x24 | 0x15 | 0x34 | 0x43 | 0x25 | 0x17 | 0x35 | 0x46 | 0x322 | 0x224 | 0x126 | 0x134 | 0x324 | 0x2222 | 0x12222
            ),
        },
        // "08-12 34 56", "(8 12) 34-56-78", "8 (029) 491-19-11"
        None => matches!(shape.lens, 0x2222 | 0x4222 | 0x12222 | 0x13322 | 0x14222),
        Some(_) => false,
    }
}

/// Whether the number is one column of several: digits, or a word with digits in it, stand beside it with nothing but spaces
/// between, or a time does.
fn is_listed(window: &Window<'_>, last: usize) -> bool {
    let before = &window.text[..opening(window)];
    let behind = &window.text[window.groups[last].end..];
    let spaces = |bytes: &mut dyn Iterator<Item = &u8>| bytes.take(NEAR).take_while(|byte| **byte == b' ').count();
    let (left, right) = (spaces(&mut before.iter().rev()), spaces(&mut behind.iter()));
    let mut word = before.iter().rev().skip(left).take(NEAR).take_while(|byte| byte.is_ascii_alphanumeric());
    let time = |colon: Option<&u8>, digit: Option<&u8>| colon == Some(&b':') && digit.is_some_and(u8::is_ascii_digit);
    left > 0 && word.any(u8::is_ascii_digit)
        || behind.get(right).is_some_and(u8::is_ascii_digit)
        || time(before.last(), before.iter().rev().nth(1))
        || time(behind.first(), behind.get(1))
}

/// Whether the text is the number.
fn is_all(window: &Window<'_>, last: usize) -> bool {
    opening(window) == 0 && window.groups[last].end == window.text.len()
}

/// Whether thousands are between the spaces: they are round, or decimals follow.
fn is_amount(window: &Window<'_>, last: usize) -> bool {
    window.digits(last) == b"000"
        || matches!(window.text[window.groups[last].end..], [b',', digit, ..] if digit.is_ascii_digit())
}

/// Whether the first groups are year, month and day, or the reverse, or the first is all three.
pub(super) fn is_date(window: &Window<'_>) -> bool {
    let within = |digits: &[u8], most| matches!(digits, [a, b] if (1..=most).contains(&(10 * (a - b'0') + b - b'0')));
    let year_first = |year: &[u8], month: &[u8], day: &[u8]| is_year(year) && within(month, 12) && within(day, 31);
    let [a, b, c] = [0, 1, 2].map(|i| window.digits(i));
    match *a {
        [ref year @ .., _, _, _, _] if year.len() == 4 => year_first(year, &a[4..6], &a[6..]),
        _ => year_first(a, b, c) || year_first(c, b, a) || year_first(c, a, b),
    }
}

/// 1900 to 2099.
fn is_year(digits: &[u8]) -> bool {
    matches!(digits, [b'1', b'9', _, _] | [b'2', b'0', _, _])
}
