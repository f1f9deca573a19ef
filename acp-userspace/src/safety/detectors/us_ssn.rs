//! US social security numbers (SSA POMS RM 10201.035, 20 CFR 422.103; ITINs: IRM 3.21.263.6).
//!
//! | written | confidence | where a word says so |
//! |---|---|---|
//! | three, two and four digits, the same `-`, space or `.` between | 90 | 99 |
//! | so, in an area never issued (000, 666, 9xx) | 40 | 60 |
//! | nine digits in a row, or in other groups | left | 80 |
//!
//! A word stands before the number or is the JSON member's name. Nine digits in a row are an SSN only by one: eight of nine
//! such numbers would pass the rules. Group 00 and serial 0000 are left. An area never issued is reported, for a
//! mistyped number is a leak too; 9xx is left where the number is an ITIN by its group. Numbers known from
//! advertisements (078-05-1120) count: who sends one means an SSN.

use super::Found;
use super::context::{Context, Topic};
use super::digits::Window;

/// Digits of a number.
pub(super) const DIGITS: usize = 9;

/// Confidence, alone and by a word.
const SEPARATED: (u8, u8) = (90, 99);
const NEVER_ISSUED: (u8, u8) = (40, 60);
const BY_WORD: u8 = 80;

pub(super) fn find(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    // Behind a `+` stands a telephone number.
    if window.joined_before() || window.before() == Some(b'+') {
        return None;
    }
    let separator = window.separator(0);
    let separated = matches!(separator, b"-" | b" " | b".") && window.separator(1) == separator;
    let form = if separated { area(window.digits(0), window.digits(1), window.digits(2)) } else { None };
    let Some(area) = form else { return by_word(window, context) };
    let (alone, said) = match area {
        Area::Issued => SEPARATED,
        Area::NeverIssued => NEVER_ISSUED,
    };
    let confidence = if context.says(Topic::SocialSecurity) { said } else { alone };
    (!window.joined_after(2)).then(|| Found {
        groups: 3,
        range: window.groups[0].start..window.groups[2].end,
        confidence,
    })
}

/// Nine digits however they are grouped: in a row, or one by one.
fn by_word(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    if context.is_silent(Topic::SocialSecurity) {
        return None;
    }
    let mut number = [0; DIGITS];
    let (mut len, mut groups) = (0, 0);
    while len < DIGITS {
        let digits = window.digits(groups);
        // An empty group is behind the last.
        number.get_mut(len..len + digits.len()).filter(|_| !digits.is_empty())?.copy_from_slice(digits);
        (len, groups) = (len + digits.len(), groups + 1);
    }
    let valid =
        area(&number[..3], &number[3..5], &number[5..]) == Some(Area::Issued) && !window.joined_after(groups - 1);
    (valid && context.says(Topic::SocialSecurity)).then(|| Found {
        groups,
        range: window.groups[0].start..window.groups[groups - 1].end,
        confidence: BY_WORD,
    })
}

#[derive(Debug, PartialEq, Eq)]
enum Area {
    Issued,
    NeverIssued,
}

/// What the area says of a number of this form; `None` where it is none, or an ITIN.
fn area(area: &[u8], group: &[u8], serial: &[u8]) -> Option<Area> {
    let form = area.len() == 3 && group.len() == 2 && serial.len() == 4 && group != b"00" && serial != b"0000";
    match area {
        _ if !form => None,
        b"000" | b"666" => Some(Area::NeverIssued),
        [b'9', ..] => (!is_itin(group)).then_some(Area::NeverIssued),
        _ => Some(Area::Issued),
    }
}

/// Whether the IRS issues numbers of this group under the areas 9xx.
fn is_itin(group: &[u8]) -> bool {
    matches!(group, [b'5', _] | [b'6', b'0'..=b'5'] | [b'7', _] | [b'8', b'0'..=b'8'] | [b'9', b'0'..=b'2' | b'4'..=b'9'])
}
