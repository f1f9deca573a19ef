//! Tax numbers by a word: those of US taxpayers who are no employers, however mistyped, and the Italian codice fiscale
//! in groups.
//!
//! The IRS's numbers for people (ITIN, ATIN for children in adoption) have nine digits and begin with 9 (IRM 3.21.263,
//! 3.13.40). Those of a proper group are found by their form; here a word says so, and a letter behind is taken for a slip
//! of the pen. A codice fiscale is printed in groups on cards and forms (D.M. 23.12.1976): `RSS MRA 85T10 A562S`.

use super::identifier::Identifier;
use super::place::Place;
use super::{Kind, Report};
use crate::safety::validators::italy_greece::it_fiscal_code;

const TAXPAYERS: &[&str] = &[
    "tax id number",
    "tax id no",
    "tax id",
    "taxpayer identification number",
    "taxpayer id number",
    "taxpayer id",
    "itin",
    "atin",
];
const CONFIDENCE: u8 = 45;

/// US taxpayers.
pub(super) fn american(place: &Place<'_>, report: &mut Report<'_>) {
    let Some(from) = place.keyword(TAXPAYERS) else { return };
    place.values(from, 1, |at, way| {
        let number = Identifier::read(place.text, at).filter(|number| {
            let slip = number.letters == 1 && number.letters_last == 1;
            number.digits == 9 && place.text[at] == b'9' && (slip || is_adoption(place.text, number))
        })?;
        let end = number.range.end;
        report(Kind::UsItin, number.range, way.confidence(CONFIDENCE));
        Some(end)
    });
}

/// Whether the group of a number without letters is that of children in adoption, which no other form has.
fn is_adoption(text: &[u8], number: &Identifier) -> bool {
    let mut digits = text[number.range.clone()].iter().filter(|byte| byte.is_ascii_digit());
    number.letters == 0 && digits.nth(3) == Some(&b'9') && digits.next() == Some(&b'3')
}

/// Letters and digits of a codice fiscale.
const CODE: usize = 16;
/// Blanks and hyphens within it.
const JOINTS_MAX: usize = 6;
const CODED: u8 = 95;

/// Italian ones: "codice fiscale", "fiscal code".
pub(super) fn italian(place: &Place<'_>, report: &mut Report<'_>) {
    let codice = || place.keyword(&["fiscale"]).filter(|_| place.is_behind(&["codice", "cod", "c"]));
    let Some(from) = place.keyword(&["fiscal code"]).or_else(codice) else { return };
    place.values(from, 1, |at, _| {
        let end = code_end(place.text, at)?;
        let code = std::str::from_utf8(&place.text[at..end]).ok().filter(|code| it_fiscal_code(code))?;
        report(Kind::ItFiscalCode, at..at + code.len(), CODED);
        Some(end)
    });
}

/// Where sixteen letters and digits end, single blanks and hyphens between; `None` where more follow.
fn code_end(text: &[u8], at: usize) -> Option<usize> {
    let (mut count, mut joined) = (0, false);
    for (end, byte) in (at..).zip(text[at..].iter().take(CODE + JOINTS_MAX)) {
        match byte {
            b' ' | b'-' if !joined && count > 0 => joined = true,
            _ if byte.is_ascii_alphanumeric() => (count, joined) = (count + 1, false),
            _ => return None,
        }
        if count == CODE {
            return (!text.get(end + 1).is_some_and(u8::is_ascii_alphanumeric)).then_some(end + 1);
        }
    }
    None
}
