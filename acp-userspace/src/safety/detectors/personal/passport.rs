//! Passport numbers: behind a word for passport, or before it ("X1234567 is my passport number").
//!
//! ICAO Doc 9303-4 gives the number nine places at most; states use six to nine letters and digits. A US number is nine
//! digits, or a letter and eight (Department of State, *Next Generation U.S. Passport*); so made, it is reported as
//! one unless the word is another country's. Words that merely stand between are allowed only before a number that
//! holds letters too.

use super::identifier::Identifier;
use super::place::{Place, Way};
use super::{Kind, Report};

/// Keywords that leave open whose it is, and those of other countries.
const ENGLISH: &[&str] = &["passport", "passports"];
const OTHERS: &[&str] = &[
    "passeport",
    "pasaporte",
    "passaporte",
    "passaporto",
    "reisepass",
    "reisepassnummer",
    "reisepasses",
    "pass nr",
    "pass nummer",
    "여권",
    "여권번호",
    "여권번호는",
];
const CONFIDENCE: u8 = 80;
const BEFORE: u8 = 65;
const STRANGE_MAX: usize = 1;

pub(super) fn find(place: &Place<'_>, report: &mut Report<'_>) {
    let english = place.keyword(ENGLISH);
    let Some(from) = english.or_else(|| place.keyword(OTHERS)) else { return };
    let mut found = false;
    place.values(from, STRANGE_MAX, |at, way| {
        let number = Identifier::read(place.text, at).filter(|number| is_passport(number, way))?;
        found = true;
        let end = number.range.end;
        let kind = if english.is_some() && is_american(&number) { Kind::UsPassport } else { Kind::Passport };
        report(kind, number.range, way.confidence(CONFIDENCE));
        Some(end)
    });
    if !found && let Some(range) = place.value_before(|number| is_passport(number, Way { strange: 1, named: false })) {
        report(Kind::Passport, range, BEFORE);
    }
}

fn is_passport(number: &Identifier, way: Way) -> bool {
    let digits_alone = number.is_plain() && way.strange == 0 && number.digits >= 7;
    let mixed = (1..=4).contains(&number.letters) && number.groups[1] == 0;
    (6..=10).contains(&number.len()) && number.digits >= 5 && (digits_alone || mixed)
}

/// Nine digits, or a letter and eight.
fn is_american(number: &Identifier) -> bool {
    number.len() == 9 && number.letters <= 1 && number.letters == number.letters_first
}
