//! Numbers with their calling code: `+44 20 7946 0958`, `+49 (0)30 1234567`, `0044 20 7946 0958`.
//!
//! `+` stands for whatever is dialled to leave a country (E.123 §3.1). Of these prefixes `00` is the one that is also
//! written, and counts where separators follow: too many ids begin with it. The trunk zero that some put in
//! parentheses behind the calling code is no digit of the number.

use super::plans::{DIGITS_MAX, Plan, plan};
use super::{Found, begins_apart, continues_word, ends_apart, is_phone_separator, joined_before};
use crate::safety::detectors::digits::Window;

/// A sign, and a number as long as those of its country are.
const VALID: u8 = 95;
/// A North American number whose area code or exchange begins with 0 or 1: none is assigned.
const UNASSIGNED: u8 = 70;

/// The number that begins at the window behind a sign: as many groups as its country's plan has numbers for. The range
/// begins at the sign.
pub(super) fn find(window: &Window<'_>) -> Option<Found> {
    let Sign { start, digits } = sign(window)?;
    let mut number = Number::default();
    let mut found = None;
    for (i, group) in window.groups.iter().enumerate() {
        let joined = i == 0 || is_phone_separator(window.separator(i - 1));
        let taken =
            joined && (is_trunk_zero(window, i) || number.take(&window.digits(i)[if i == 0 { digits } else { 0 }..]));
        if !taken {
            break;
        }
        let whole = number.is_whole() && !continues_word(window, i);
        // Behind zeros it is whole only at the end of all digits.
        if whole && (digits == 0 || i > 0 && ends_apart(window, i)) {
            found = Some(Found { groups: i + 1, range: start..group.end, confidence: number.confidence() });
        }
    }
    found
}

/// What says that a calling code follows.
struct Sign {
    start: usize,
    /// How many digits of the first group belong to it.
    digits: usize,
}

fn sign(window: &Window<'_>) -> Option<Sign> {
    let start = window.groups[0].start;
    let plus = match window.text[..start] {
        [.., b'+'] => start - 1,
        [.., b'+', b'('] => start - 2,
        _ if matches!(window.digits(0), [b'0', b'0', b'1'..=b'9', ..]) => {
            // Groups of four are hexadecimal as often, and dots are of other numbers.
            let fours = [0, 1, 2].iter().all(|i| window.digits(*i).len() == 4);
            let other = fours || [0, 1].iter().any(|i| window.separator(*i) == b".");
            return (begins_apart(window) && !joined_before(window) && !other).then_some(Sign { start, digits: 2 });
        }
        _ => return None,
    };
    // Behind a digit it is an addition, or a build's number.
    let sum = window.text[..plus].last().is_some_and(u8::is_ascii_digit);
    (!sum).then_some(Sign { start: plus, digits: 0 })
}

/// Whether group `i` is the zero of `(0)`.
fn is_trunk_zero(window: &Window<'_>, i: usize) -> bool {
    i > 0
        && window.digits(i) == b"0"
        && window.separator(i - 1).ends_with(b"(")
        && window.separator(i).starts_with(b")")
}

/// The digits behind the sign, as far as they have been read.
#[derive(Default)]
struct Number {
    digits: [u8; DIGITS_MAX],
    len: usize,
    /// Known from the first digit behind the calling code on.
    plan: Option<Plan>,
}

impl Number {
    /// Adds a group's digits; false where they are too many.
    fn take(&mut self, digits: &[u8]) -> bool {
        let Some(room) = self.digits[self.len..].get_mut(..digits.len()) else { return false };
        room.copy_from_slice(digits);
        self.len += digits.len();
        if self.plan.is_none() {
            self.plan = plan(&self.digits[..self.len]);
        }
        true
    }

    fn is_whole(&self) -> bool {
        self.plan.as_ref().is_some_and(|plan| plan.national_len.contains(&(self.len - plan.code_len)))
    }

    fn confidence(&self) -> u8 {
        if self.digits[0] == b'1' && (self.digits[1] < b'2' || self.digits[4] < b'2') { UNASSIGNED } else { VALID }
    }
}
