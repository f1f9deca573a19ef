//! US social security numbers (SSA POMS RM 10201.035).
//!
//! Taken: three, two and four digits with the same `-`, space or `.` between, area neither 000, 666 nor 9xx, group not
//! 00, serial not 0000. Nine digits in a row only where a word before them or the JSON member's name says so: one
//! number in nine of that length would pass the rules above. Numbers known from advertisements (078-05-1120)
//! count: who sends one means an SSN. Area 9xx is an ITIN or invalid, and left.

use super::Found;
use super::context::{Context, Topic};
use super::digits::Window;

/// Digits of a number.
pub(super) const DIGITS: usize = 9;

pub(super) fn find(window: &Window<'_>, context: &Context<'_>) -> Option<Found> {
    if window.joined_before() {
        return None;
    }
    let start = window.groups[0].start;
    if let &[a, b, c, d, e, f, g, h, i] = window.digits(0) {
        let valid = is_valid(&[a, b, c], &[d, e], &[f, g, h, i]) && !window.joined_after(0);
        return (valid && context.says(Topic::SocialSecurity))
            .then(|| Found { groups: 1, range: start..window.groups[0].end });
    }
    let separator = window.separator(0);
    let separated = matches!(separator, b"-" | b" " | b".") && window.separator(1) == separator;
    let valid = separated && is_valid(window.digits(0), window.digits(1), window.digits(2)) && !window.joined_after(2);
    valid.then(|| Found { groups: 3, range: start..window.groups[2].end })
}

fn is_valid(area: &[u8], group: &[u8], serial: &[u8]) -> bool {
    area.len() == 3
        && group.len() == 2
        && serial.len() == 4
        && area != b"000"
        && area != b"666"
        && area[0] != b'9'
        && group != b"00"
        && serial != b"0000"
}
