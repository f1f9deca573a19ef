//! What only the words around it tell: dates of birth, accounts, passports, licences, medical records, addresses, tax
//! numbers that are mistyped or printed in groups.
//!
//! [`WORDS`] says what the engine looks for: the beginning of a keyword ("passp"), without regard to case. The look
//! confirms the whole keyword ("passport", "passportNumber", "passeport") and reads on, over words that may stand between
//! ("number", "is", "no."), to the first thing that is made like the value; `place` says how. A few kinds are also told
//! by what stands before the word ("X1234567 is my passport number"). The value of a JSON member is judged by the
//! member's name in the same way, as if it stood in a text as `name: value`.
//!
//! A word without a fitting value beside it is nothing, and a value without a word is nothing: nine digits are an
//! account only where somebody says so.
//!
//! Invariants: a look reads at most [`BACK_BYTES_MAX`] bytes before the end of the word's anchor and
//! [`FORWARD_BYTES_MAX`] after it, allocates nothing, and takes any bytes.

use super::Detectors;
use super::words::{Announced, Report, Word};
use crate::config::resolved::Detector as Kind;
use place::Place;

mod account;
mod address;
mod birth;
mod date;
mod diagnosis;
mod identifier;
mod licence;
mod medical;
mod passport;
mod place;
mod taxpayer;

/// Furthest a look reads back from the end of a word's needle.
const BACK_BYTES_MAX: usize = 96;
/// Furthest a look reads on from the end of a word's needle.
const FORWARD_BYTES_MAX: usize = 160;
/// How much of a JSON member's name is read, and of its value.
const KEY_BYTES_MAX: usize = 64;
const VALUE_BYTES_MAX: usize = 128;

/// The word whose needle is this, which the function judges and which tells these kinds.
macro_rules! word {
    ($needle:literal, $judge:path, [$($kind:path),+]) => {
        Word {
            needle: $needle,
            finds: Detectors::of(&[$($kind),+]),
            look: |announced, report| look($needle.as_bytes(), $judge, announced, report),
        }
    };
}

/// What the engine looks for.
pub(super) const WORDS: &[Word] = &[
    word!("birth", birth::find, [Kind::DateOfBirth]),
    word!("born", birth::find, [Kind::DateOfBirth]),
    word!("dob", birth::find, [Kind::DateOfBirth]),
    word!("d.o.b", birth::find, [Kind::DateOfBirth]),
    word!("naiss", birth::find, [Kind::DateOfBirth]),
    word!("nacim", birth::find, [Kind::DateOfBirth]),
    word!("nasci", birth::find, [Kind::DateOfBirth]),
    word!("gebur", birth::find, [Kind::DateOfBirth]),
    word!("gebor", birth::find, [Kind::DateOfBirth]),
    word!("urodz", birth::find, [Kind::DateOfBirth]),
    word!("passp", passport::find, [Kind::UsPassport, Kind::Passport]),
    word!("pasap", passport::find, [Kind::UsPassport, Kind::Passport]),
    word!("passe", passport::find, [Kind::UsPassport, Kind::Passport]),
    word!("passap", passport::find, [Kind::UsPassport, Kind::Passport]),
    word!("reisep", passport::find, [Kind::UsPassport, Kind::Passport]),
    word!("pass-n", passport::find, [Kind::UsPassport, Kind::Passport]),
    word!("여권", passport::find, [Kind::UsPassport, Kind::Passport]),
    word!("licen", licence::find, [Kind::UsDriverLicense]),
    word!("patent", licence::find, [Kind::UsDriverLicense]),
    word!("hrersc", licence::find, [Kind::UsDriverLicense]),
    word!("accou", account::find, [Kind::UsBankAccount]),
    word!("acct", account::find, [Kind::UsBankAccount]),
    word!("acc:", account::find, [Kind::UsBankAccount]),
    word!("mrn", medical::record, [Kind::Mrn]),
    word!("medica", medical::medical, [Kind::Mrn, Kind::UsMbi, Kind::UsHealthInsuranceId]),
    word!("med re", medical::record, [Kind::Mrn]),
    word!("patien", medical::record, [Kind::Mrn]),
    word!("health", medical::plan, [Kind::UsHealthInsuranceId]),
    word!("insura", medical::plan, [Kind::UsHealthInsuranceId]),
    word!("member", medical::plan, [Kind::UsHealthInsuranceId]),
    word!("subscr", medical::plan, [Kind::UsHealthInsuranceId]),
    word!("benefi", medical::plan, [Kind::UsHealthInsuranceId]),
    word!("tax id", taxpayer::american, [Kind::UsItin]),
    word!("taxpay", taxpayer::american, [Kind::UsItin]),
    word!("itin", taxpayer::american, [Kind::UsItin]),
    word!("atin:", taxpayer::american, [Kind::UsItin]),
    word!("fiscal", taxpayer::italian, [Kind::ItFiscalCode]),
    word!("mbi", medical::beneficiary, [Kind::UsMbi]),
    word!("dea", medical::registration, [Kind::UsDea]),
    word!("icd", diagnosis::find, [Kind::Icd10]),
    word!("diagno", diagnosis::find, [Kind::Icd10]),
    word!("street", address::street, [Kind::Address]),
    word!("avenue", address::street, [Kind::Address]),
    word!("boulev", address::street, [Kind::Address]),
    word!(" road", address::street, [Kind::Address]),
    word!(" drive", address::street, [Kind::Address]),
    word!(" lane", address::street, [Kind::Address]),
    word!(" court", address::street, [Kind::Address]),
    word!("parkwa", address::street, [Kind::Address]),
    word!("highwa", address::street, [Kind::Address]),
    word!(" st ", address::street, [Kind::Address]),
    word!(" st,", address::street, [Kind::Address]),
    word!(" ave ", address::street, [Kind::Address]),
    word!(" ave,", address::street, [Kind::Address]),
    word!(" rd ", address::street, [Kind::Address]),
    word!(" rd,", address::street, [Kind::Address]),
    word!(" dr,", address::street, [Kind::Address]),
    word!(" ln,", address::street, [Kind::Address]),
    word!(" blvd", address::street, [Kind::Address]),
    word!("apt", address::unit, [Kind::Address]),
    word!("suite", address::unit, [Kind::Address]),
    word!(" ste ", address::unit, [Kind::Address]),
    word!("po a", address::military, [Kind::Address]),
    word!("o box", address::post_box, [Kind::Address]),
    word!(".o. b", address::post_box, [Kind::Address]),
    word!("addre", address::named, [Kind::Address]),
    word!("zip co", address::code, [Kind::Address]),
    word!("postal", address::code, [Kind::Address]),
    word!("lives ", address::named, [Kind::Address]),
];

/// Lets `judge` see the place where `needle` was found, in a text or in a member's name.
fn look(needle: &[u8], judge: fn(&Place<'_>, &mut Report<'_>), announced: &Announced<'_>, report: &mut Report<'_>) {
    let Announced { text, from, name, said } = *announced;
    match name {
        Some(name) => in_name(needle, judge, name.as_bytes(), said.len(), text, report),
        None if (needle.len()..=text.len()).contains(&from) => in_text(needle, judge, text, from, report),
        None => {}
    }
}

fn in_text(needle: &[u8], judge: fn(&Place<'_>, &mut Report<'_>), text: &[u8], end: usize, report: &mut Report<'_>) {
    let from = end.saturating_sub(BACK_BYTES_MAX);
    let window = &text[from..text.len().min(end + FORWARD_BYTES_MAX)];
    let place = Place { text: window, start: end - needle.len() - from, end: end - from };
    judge(&place, &mut |kind, range, confidence| report(kind, from + range.start..from + range.end, confidence));
}

/// Reads a member as it would stand in a text: `name: value`. The needle ends at `end` of the name.
fn in_name(
    needle: &[u8],
    judge: fn(&Place<'_>, &mut Report<'_>),
    name: &[u8],
    end: usize,
    value: &[u8],
    report: &mut Report<'_>,
) {
    let name = &name[..name.len().min(KEY_BYTES_MAX)];
    let value = &value[..value.len().min(VALUE_BYTES_MAX)];
    let Some(start) = end.checked_sub(needle.len()).filter(|_| end <= name.len()) else { return };
    let mut line = [0; KEY_BYTES_MAX + 2 + VALUE_BYTES_MAX];
    let base = name.len() + 2;
    let line = &mut line[..base + value.len()];
    line[..name.len()].copy_from_slice(name);
    line[name.len()..base].copy_from_slice(b": ");
    line[base..].copy_from_slice(value);
    judge(&Place { text: line, start, end }, &mut |kind, range, confidence| {
        if range.start >= base {
            report(kind, range.start - base..range.end - base, confidence);
        }
    });
}

#[cfg(test)]
mod tests;
