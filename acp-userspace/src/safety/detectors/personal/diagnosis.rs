//! ICD-10 codes: behind "ICD-10", or behind a word for diagnosis where the code has its dot.
//!
//! A code is a letter, a digit, a digit or A or B, and up to four more places behind a dot (CMS, *ICD-10-CM Official
//! Guidelines for Coding and Reporting*, section I.A). So made are also paper sizes, parts of cars and columns of
//! tables, hence the words.

use super::place::Place;
use super::{Kind, Report};

const CODES: &[&str] =
    &["icd 10 cm", "icd 10 code", "icd 10 codes", "icd 10", "icd10", "icd code", "icd codes", "icd", "icd10code"];
const DIAGNOSES: &[&str] = &[
    "diagnosis",
    "diagnoses",
    "diagnosis code",
    "diagnosis codes",
    "diagnosiscode",
    "diagnosed with",
    "diagnosed",
    "diagnostic code",
];
const CODE: u8 = 85;
const DIAGNOSIS: u8 = 70;

pub(super) fn find(place: &Place<'_>, report: &mut Report<'_>) {
    let code = CODES.iter().filter_map(|keyword| place.keyword(&[keyword])).max();
    let said = code.or_else(|| DIAGNOSES.iter().filter_map(|keyword| place.keyword(&[keyword])).max());
    let Some(from) = said else { return };
    place.values(from, 1, |at, way| {
        let (end, dotted) = read(place.text, at)?;
        let enough = dotted || (code.is_some() && way.strange == 0);
        let confidence = if code.is_some() { CODE } else { DIAGNOSIS };
        enough.then(|| report(Kind::Icd10, at..end, way.confidence(confidence)))?;
        Some(end)
    });
}

/// The end of the code that begins at `at`, and whether it has its dot.
fn read(text: &[u8], at: usize) -> Option<(usize, bool)> {
    let [letter, digit, third, ..] = *text.get(at..)? else { return None };
    let head = letter.is_ascii_uppercase() && digit.is_ascii_digit();
    if !head || !(third.is_ascii_digit() || matches!(third, b'A' | b'B')) {
        return None;
    }
    let dotted = text.get(at + 3) == Some(&b'.') && text.get(at + 4).is_some_and(u8::is_ascii_alphanumeric);
    let from = at + 3 + usize::from(dotted);
    let more =
        text[from..].iter().take(5).take_while(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()).count();
    let end = from + more;
    let free = !text.get(end).is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_');
    (more <= 4 && free).then_some((end, dotted))
}
