//! Dates of birth: a day behind a word for birth ("born on 12/5/1979", `"dob": "1979-12-05"`, "geboren am 5.12.1979").
//!
//! The only value is a whole day, so a few words may stand between. Eight digits in a row count where the word assigns
//! them. A date of birth is an identifier of the HIPAA Privacy Rule (45 CFR 164.514 (b)(2)(i)(C)).

use super::place::Place;
use super::{Kind, Report, date};

/// Keywords that say it alone.
const KEYWORDS: &[&str] = &[
    "birth date",
    "birth day",
    "birthdate",
    "birthday",
    "birthdays",
    "birth",
    "born",
    "dob",
    "d.o.b",
    "naissance",
    "nacimiento",
    "nascimento",
    "nascita",
    "nascido",
    "nascida",
    "nasc",
    "geburtsdatum",
    "geburtstag",
    "geboren",
    "geb",
    "geboortedatum",
    "urodzenia",
    "urodzony",
    "urodzona",
];
/// How many words that tell nothing may stand between.
const STRANGE_MAX: usize = 3;
const CONFIDENCE: u8 = 85;

pub(super) fn find(place: &Place<'_>, report: &mut Report<'_>) {
    let Some(from) = place.keyword(KEYWORDS) else { return };
    place.values(from, STRANGE_MAX, |at, way| {
        let plain = || date::read_plain(place.text, at).filter(|_| way.named && way.strange == 0);
        let end = date::read(place.text, at).or_else(plain)?;
        report(Kind::DateOfBirth, at..end, way.confidence(CONFIDENCE));
        Some(end)
    });
}
