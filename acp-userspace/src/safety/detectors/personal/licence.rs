//! Driver's licence numbers: behind "driver's license", "driving licence" and the like, or "license number".
//!
//! States of the US use one to three letters and up to fourteen digits, or seven to twelve digits (AAMVA, *D20 Traffic
//! Records Systems Data Dictionary*); other countries, nearly anything of six to eighteen places. So the word has to say
//! that it is a driver's; "license number" alone tells it only of a number in groups or with letters, and less surely.

use super::identifier::Identifier;
use super::place::{Place, follows};
use super::{Kind, Report};

/// Keywords that need a driver beside them.
const LICENCES: &[&str] = &["license", "licence", "licenses", "licences"];
/// Keywords that do not.
const DRIVING: &[&str] = &["patente di guida", "patente", "hrerschein", "hrerscheinnummer"];
/// The driver, before the keyword.
const DRIVERS: &[&str] = &["driver", "drivers", "driver s", "driving", "operator s", "fü"];
/// A number, behind the keyword, that need not be a driver's.
const NUMBERS: &[&str] = &["license number", "licence number", "license no", "licence no", "license id", "licence id"];
/// Other things that have such a number, before the keyword.
const OTHERS: &[&str] = &["medical", "software", "business", "product", "nursing", "liquor", "firearm", "vehicle"];
const CONFIDENCE: u8 = 80;
const UNSAID: u8 = 45;

pub(super) fn find(place: &Place<'_>, report: &mut Report<'_>) {
    let umlaut = place.text[..place.start].ends_with("ü".as_bytes());
    let driving = if umlaut {
        DRIVING.iter().find_map(|keyword| follows(place.text, place.start, keyword))
    } else {
        place.keyword(DRIVING)
    };
    let drivers = driving.or_else(|| place.keyword(LICENCES).filter(|_| place.is_behind(DRIVERS)));
    let unsaid = || place.keyword(NUMBERS).filter(|_| !place.is_behind(OTHERS));
    let Some(from) = drivers.or_else(unsaid) else { return };
    place.values(from, usize::from(drivers.is_some()), |at, way| {
        let at = at + label(place.text, at);
        let said = drivers.is_some() && way.strange == 0;
        let number = Identifier::read(place.text, at).filter(|number| is_licence(number, said))?;
        let end = number.range.end;
        let confidence = if drivers.is_some() { CONFIDENCE } else { UNSAID };
        report(Kind::UsDriverLicense, number.range, way.confidence(confidence));
        Some(end)
    });
}

/// How long the label is that stands at `at` before the number: `DL:US98765432`.
fn label(text: &[u8], at: usize) -> usize {
    match text.get(at..at + 3) {
        Some([b'D' | b'd', b'L' | b'l', b':' | b'#' | b'-']) => 3,
        _ => 0,
    }
}

fn is_licence(number: &Identifier, said: bool) -> bool {
    let grouped = number.letters == 0 && number.groups[1] > 0;
    let mixed = (1..=8).contains(&number.letters);
    let plain = said && number.is_plain() && number.digits >= 7;
    let long_enough = (6..=18).contains(&number.len()) && number.digits >= 5;
    long_enough && !number.is_other_number() && (plain || mixed || (grouped && number.digits >= 7))
}
