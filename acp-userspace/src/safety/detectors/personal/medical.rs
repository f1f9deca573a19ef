//! What hospitals, insurers and authorities number: medical records, members of a health plan, Medicare's beneficiaries,
//! those who prescribe.
//!
//! | kind | words | value | confidence |
//! |---|---|---|---|
//! | medical record | MRN, medical record (number), medical file, patient id | five to twelve places, four digits or more | 85; before the word 65 |
//! | plan member | member, subscriber, beneficiary or policy number, where health or insurance is spoken of | six to fifteen places, five digits or more | 75 |
//! | MBI | MBI, Medicare | CMS, *Understanding the MBI format* | 95 |
//! | DEA number | DEA | 21 CFR 1301.13, with its check digit | 95 |
//!
//! Medical record and health plan numbers are identifiers of the HIPAA Privacy Rule (45 CFR 164.514 (b)(2)(i)(H), (I));
//! no authority says how they are made.

use super::identifier::Identifier;
use super::place::{Place, begins_word};
use super::{Kind, Report};
use crate::safety::validators::health::{us_dea, us_mbi};

const RECORDS: &[&str] = &[
    "medical record",
    "medical records",
    "medical rec",
    "medical file",
    "medical chart",
    "med rec",
    "med record",
    "mrn",
    "mrns",
    "patient id",
    "patient number",
    "patient no",
    "patient identifier",
    "patient file",
    "patientid",
    "medicalrecordnumber",
];
const RECORD: u8 = 85;
const RECORD_BEFORE: u8 = 65;

/// Medical record numbers.
pub(super) fn record(place: &Place<'_>, report: &mut Report<'_>) {
    if let Some(end) = marked(place) {
        return report(Kind::Mrn, place.start..end, RECORD);
    }
    let Some(from) = place.keyword(RECORDS) else { return };
    let mut found = false;
    place.values(from, 0, |at, way| {
        let number = Identifier::read(place.text, at).filter(is_record)?;
        found = true;
        let end = number.range.end;
        report(Kind::Mrn, number.range, way.confidence(RECORD));
        Some(end)
    });
    let mixed = |number: &Identifier| is_record(number) && number.letters > 0 && number.digits >= 6;
    if !found && let Some(range) = place.value_before(mixed) {
        report(Kind::Mrn, range, RECORD_BEFORE);
    }
}

/// The end of a number that carries the word itself: `MRN-163868`.
fn marked(place: &Place<'_>) -> Option<usize> {
    let mark = &place.text[place.start..place.end];
    let joined = mark.eq_ignore_ascii_case(b"mrn") && matches!(place.text.get(place.end), Some(b'-' | b'0'..=b'9'));
    let number = Identifier::read(place.text, place.start).filter(|_| joined && place.begins())?;
    (number.letters == 3 && (4..=12).contains(&number.digits)).then_some(number.range.end)
}

fn is_record(number: &Identifier) -> bool {
    let affixed = number.letters == 0 || number.letters == number.letters_first;
    (4..=12).contains(&number.digits) && number.letters <= 4 && affixed && !number.is_other_number()
}

/// Words that start with "medica": records, Medicare and Medicaid.
pub(super) fn medical(place: &Place<'_>, report: &mut Report<'_>) {
    record(place, report);
    beneficiary(place, report);
    if place.keyword(&["medicaid"]).is_some() {
        plan(place, report);
    }
}

/// Keywords of a plan, behind which a word or sign has to announce the number.
const PLANS: &[&str] =
    &["health plan", "health insurance", "medicaid", "insurance policy", "insurance member", "insurance subscriber"];
/// Keywords of its number.
const NUMBERS: &[&str] = &[
    "insurance number",
    "insurance no",
    "insurance id",
    "subscriber id",
    "subscriber number",
    "subscriber no",
    "beneficiary number",
    "beneficiary id",
];
/// Keywords of the number of whoever is a member of anything.
const MEMBERS: &[&str] = &["member id", "member number", "member no"];
/// Other insurances, before the keyword. The British national one has a form of its own.
const OTHERS: &[&str] = &["national", "social", "car", "auto", "life", "travel", "home"];
/// What makes a member one of a plan.
const HEALTH: [&[u8]; 10] =
    [b"health", b"insur", b"medic", b"plan", b"patient", b"aetna", b"cigna", b"blue cross", b"kaiser", b"humana"];
const PLAN: u8 = 75;

/// Numbers of a health plan's members.
pub(super) fn plan(place: &Place<'_>, report: &mut Report<'_>) {
    let member = || place.keyword(MEMBERS).filter(|_| speaks_of_health(place));
    let number = place.keyword(NUMBERS).or_else(member);
    let Some(from) = number.or_else(|| place.keyword(PLANS)).filter(|_| !place.is_behind(OTHERS)) else { return };
    place.values(from, 0, |at, way| {
        let announced = number.is_some() || way.named;
        let number = Identifier::read(place.text, at).filter(|number| announced && is_member(number))?;
        let end = number.range.end;
        report(Kind::UsHealthInsuranceId, number.range, way.confidence(PLAN));
        Some(end)
    });
}

fn speaks_of_health(place: &Place<'_>) -> bool {
    HEALTH.iter().any(|word| place.text.windows(word.len()).any(|window| window.eq_ignore_ascii_case(word)))
}

fn is_member(number: &Identifier) -> bool {
    (6..=15).contains(&number.len()) && number.digits >= 5 && number.letters <= 5 && !number.is_other_number()
}

/// Medicare Beneficiary Identifiers.
pub(super) fn beneficiary(place: &Place<'_>, report: &mut Report<'_>) {
    checked(place, &["mbi", "medicare"], us_mbi, Kind::UsMbi, report);
}

/// DEA registrations.
pub(super) fn registration(place: &Place<'_>, report: &mut Report<'_>) {
    checked(place, &["dea"], us_dea, Kind::UsDea, report);
}

const CHECKED: u8 = 95;

/// Identifiers that a validator knows.
fn checked(place: &Place<'_>, keywords: &[&str], valid: fn(&str) -> bool, kind: Kind, report: &mut Report<'_>) {
    let Some(from) = place.keyword(keywords) else { return };
    place.values(from, 2, |at, _| {
        let number = Identifier::read(place.text, at).filter(|_| begins_word(place.text, at))?;
        let value = std::str::from_utf8(&place.text[number.range.clone()]).ok().filter(|value| valid(value))?;
        let end = number.range.start + value.len();
        report(kind, number.range, CHECKED);
        Some(end)
    });
}
