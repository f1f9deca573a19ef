//! Identifiers of digits that an authority gives a person, a company or a bank, told by checksum and by how they are
//! written.
//!
//! [`FORMS`] says what is taken: a pattern, a rule, and how sure that is. A checksum of one digit holds for one number in
//! ten, so digits in a row count only where a word says what they are, or where they are the whole text and nothing names
//! it; a grouping that is one authority's own counts by itself. A number joined to a word or to more digits is left.

use std::ops::Range;

use super::context::{Context, Topic};
use super::digits::Window;
use super::{Found, text_of};
use crate::config::resolved::Detector;
use crate::safety::validators::{
    Validator, africa_middle_east, central_europe, east_asia, eastern_europe, finance, france_benelux, germany, health,
    iberia, latin_america, nordic_baltic, north_america, south_asia_oceania,
};

/// One way to write an identifier.
pub(super) struct Form {
    /// `0` is a digit, `A` a letter, a space one of space and `-`, the same throughout; all else stands for itself.
    pub(super) pattern: &'static str,
    pub(super) detector: Detector,
    /// What else has to hold; `None`: nothing, and a word has to speak of it.
    pub(super) rule: Option<Validator>,
    pub(super) topic: Topic,
    /// Confidence of it in a text; 0: not taken.
    pub(super) alone: u8,
    /// Confidence where it is the whole of a text that has no name.
    pub(super) whole: u8,
    /// Confidence where a word speaks of it.
    pub(super) said: u8,
}

const fn form(
    pattern: &'static str,
    detector: Detector,
    rule: Validator,
    topic: Topic,
    [alone, whole, said]: [u8; 3],
) -> Form {
    Form { pattern, detector, rule: Some(rule), topic, alone, whole, said }
}

const fn unchecked(pattern: &'static str, detector: Detector, topic: Topic, said: u8) -> Form {
    Form { pattern, detector, rule: None, topic, alone: 0, whole: 0, said }
}

/// Everything that is taken. Of several that fit, the surest counts; of these, the first.
#[rustfmt::skip]
pub(super) const FORMS: &[Form] = {
    use Detector as D;
    &[
        form("0000000000", D::UkNhs, health::uk_nhs, Topic::Nhs, [0, 40, 95]),
        form("000 000 0000", D::UkNhs, health::uk_nhs, Topic::Nhs, [0, 50, 95]),
        form("000 000 000", D::CaSin, north_america::ca_sin, Topic::Sin, [50, 60, 95]),
        form("000000000", D::CaSin, north_america::ca_sin, Topic::Sin, [0, 40, 95]),
        form("000 000 000", D::AuTfn, south_asia_oceania::au_tfn, Topic::Tfn, [50, 50, 95]),
        form("000000000", D::AuTfn, south_asia_oceania::au_tfn, Topic::Tfn, [0, 40, 95]),
        form("0000 00000 0", D::AuMedicare, health::au_medicare, Topic::Medicare, [85, 90, 95]),
        form("0000000000", D::AuMedicare, health::au_medicare, Topic::Medicare, [0, 40, 95]),
        form("0000 0000 0000", D::InAadhaar, south_asia_oceania::in_aadhaar, Topic::Aadhaar, [75, 85, 95]),
        form("000000000000", D::InAadhaar, south_asia_oceania::in_aadhaar, Topic::Aadhaar, [0, 45, 95]),
        unchecked("000000000000", D::InAadhaar, Topic::Aadhaar, 50),
        unchecked("00000000000000", D::InAadhaar, Topic::Aadhaar, 50),
        form("00000000A", D::EsDni, iberia::es_dni, Topic::Spanish, [70, 80, 95]),
        form("00000000-A", D::EsDni, iberia::es_dni, Topic::Spanish, [80, 90, 95]),
        form("0000000A", D::EsDni, iberia::es_nif, Topic::Spanish, [0, 60, 90]),
        form("0000000-A", D::EsDni, iberia::es_nif, Topic::Spanish, [0, 60, 90]),
        form("A0000000A", D::EsNie, iberia::es_nie, Topic::Spanish, [85, 90, 95]),
        form("A0000000-A", D::EsNie, iberia::es_nie, Topic::Spanish, [85, 90, 95]),
        form("A-0000000-A", D::EsNie, iberia::es_nie, Topic::Spanish, [85, 90, 95]),
        form("A0000000A", D::SgNricFin, east_asia::sg_nric_fin, Topic::Singaporean, [80, 85, 95]),
        form("0 00 00 00 000 000 00", D::FrNir, france_benelux::fr_nir, Topic::French, [95, 95, 99]),
        form("000000000000000", D::FrNir, france_benelux::fr_nir, Topic::French, [70, 80, 95]),
        // Born in Corsica: 2A or 2B is the department.
        form("0 00 00 0A 000 000 00", D::FrNir, france_benelux::fr_nir, Topic::French, [95, 95, 99]),
        form("00 000 000 000", D::DeTaxId, germany::tax_id, Topic::GermanTax, [75, 80, 95]),
        form("00000000000", D::DeTaxId, germany::tax_id, Topic::GermanTax, [0, 45, 95]),
        form("000.000.000-00", D::BrCpf, latin_america::br_cpf, Topic::Cpf, [95, 95, 99]),
        form("00000000000", D::BrCpf, latin_america::br_cpf, Topic::Cpf, [0, 45, 95]),
        form("00.000.000/0000-00", D::BrCnpj, latin_america::br_cnpj, Topic::Cnpj, [95, 95, 99]),
        form("00000000000000", D::BrCnpj, latin_america::br_cnpj, Topic::Cnpj, [0, 60, 95]),
        form("00000000000", D::PlPesel, central_europe::pl_pesel, Topic::Pesel, [0, 50, 95]),
        form("000000-0000000", D::KrRrn, east_asia::kr_resident, Topic::Korean, [85, 90, 95]),
        form("0000000000000", D::KrRrn, east_asia::kr_resident, Topic::Korean, [0, 45, 95]),
        form("000000-0000", D::SePersonnummer, nordic_baltic::se_person, Topic::Swedish, [80, 85, 95]),
        form("00000000-0000", D::SePersonnummer, nordic_baltic::se_person, Topic::Swedish, [85, 90, 95]),
        // Those older than a hundred have a plus sign.
        form("00000000+0000", D::SePersonnummer, nordic_baltic::se_person, Topic::Swedish, [85, 90, 95]),
        form("000000+0000", D::SePersonnummer, nordic_baltic::se_person, Topic::Swedish, [80, 85, 95]),
        form("000000000000", D::SePersonnummer, nordic_baltic::se_person, Topic::Swedish, [0, 60, 95]),
        form("0000000000", D::SePersonnummer, nordic_baltic::se_person, Topic::Swedish, [0, 45, 95]),
        form("0 0000 00000 00 0", D::ThTnin, east_asia::th_person, Topic::Thai, [90, 90, 95]),
        form("0000000000000", D::ThTnin, east_asia::th_person, Topic::Thai, [0, 45, 95]),
        form("00000000000", D::TrNationalId, eastern_europe::tr_national_id, Topic::Turkish, [0, 55, 95]),
        form("0000000000000", D::ZaIdNumber, africa_middle_east::za_id, Topic::SouthAfrican, [0, 60, 95]),
        form("000000 0000 000", D::ZaIdNumber, africa_middle_east::za_id, Topic::SouthAfrican, [70, 80, 95]),
        form("000000-000A", D::FiPersonalIdentityCode, nordic_baltic::fi_person, Topic::Finnish, [95, 95, 99]),
        form("0000000000", D::UsNpi, health::us_npi, Topic::Provider, [0, 40, 95]),
        form("0000 000 000", D::UsNpi, health::us_npi, Topic::Provider, [0, 60, 95]),
        unchecked("0000000000", D::UsNpi, Topic::Npi, 60),
        // The second place of a company's is 9.
        form("AA0000000", D::UsDea, health::us_dea, Topic::Prescriber, [0, 50, 90]),
        form("A00000000", D::UsDea, health::us_dea, Topic::Prescriber, [0, 50, 90]),
        form("000000000", D::UsAbaRouting, finance::us_aba_routing, Topic::Routing, [0, 45, 90]),
        unchecked("000000000", D::UsAbaRouting, Topic::Routing, 50),
        form("000 00 0000", D::UsItin, north_america::us_itin, Topic::Taxpayer, [80, 85, 95]),
        form("000000000", D::UsItin, north_america::us_itin, Topic::Taxpayer, [0, 0, 85]),
        form("00-0000000", D::UsEin, north_america::us_ein, Topic::Employer, [50, 60, 90]),
        form("000000000", D::UsEin, north_america::us_ein, Topic::Employer, [0, 0, 70]),
    ]
};

/// Digits of the shortest, in one run: a Corsican's letter ends it.
pub(super) const DIGITS_MIN: usize = 6;

/// How much of what stands before counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A rule holds and a word says so.
    RuleAndWord,
    /// A word says so.
    Word,
    /// The form alone.
    Form,
}

/// Forms, by their places in [`FORMS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Forms(u64);

impl Forms {
    const fn and(self, form: usize) -> Self {
        Self(self.0 | 1 << form)
    }

    fn each(self) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(self.0), |left| Some(left & left.wrapping_sub(1)))
            .take_while(|left| *left != 0)
            .map(|left| left.trailing_zeros() as usize)
    }
}

/// The forms that fit what begins at the window's first group, or with the letter before that, and whose rules hold.
pub(super) fn fitting(window: &Window<'_>, wanted: super::Detectors) -> Forms {
    let (text, digits) = (window.text, window.groups[0].len());
    let mut fitting = Forms(0);
    for form in BY_DIGITS.get(digits).copied().unwrap_or(Forms(0)).each() {
        if let Some(range) = place(form, window).filter(|_| wanted.contains(FORMS[form].detector))
            && stands_apart(text, range.clone())
            && FORMS[form].rule.is_none_or(|rule| text_of(&text[range]).is_some_and(rule))
        {
            fitting = fitting.and(form);
        }
    }
    fitting
}

/// The identifier that is of the surest of these forms.
pub(super) fn find(window: &Window<'_>, context: &Context<'_>, by: By, fitting: Forms) -> Option<(Detector, Found)> {
    let mut best: Option<(Detector, Range<usize>, u8)> = None;
    for (form, range) in fitting.each().filter_map(|form| Some((&FORMS[form], place(form, window)?))) {
        let confidence = match by {
            By::RuleAndWord if form.rule.is_none() => 0,
            By::RuleAndWord | By::Word if is_said(form, context, window.text, &range) => form.said,
            By::RuleAndWord | By::Word => 0,
            By::Form if context.is_whole(range.clone()) => form.alone.max(form.whole),
            By::Form => form.alone,
        };
        if confidence > best.as_ref().map_or(0, |(_, _, best)| *best) {
            best = Some((form.detector, range, confidence));
        }
    }
    let (detector, range, confidence) = best?;
    let groups = window.groups.iter().take_while(|group| group.start < range.end).count();
    Some((detector, Found { groups, range, confidence }))
}

/// Where this form would be written, if its pattern fits.
fn place(form: usize, window: &Window<'_>) -> Option<Range<usize>> {
    let start = window.groups[0].start.checked_sub(LED[form].before.into())?;
    fits(&window.text[start..], FORMS[form].pattern).map(|len| start..start + len)
}

/// The most digits that a form has in a row, and one.
const DIGITS_END: usize = 16;

/// The forms whose first group has so many digits.
const BY_DIGITS: [Forms; DIGITS_END] = {
    let mut all = [Forms(0); DIGITS_END];
    let mut form = 0;
    while form < FORMS.len() {
        let digits = LED[form].digits as usize;
        all[digits] = all[digits].and(form);
        form += 1;
    }
    all
};

/// What stands before the first group's digits, and how many these are.
#[derive(Debug, Clone, Copy)]
struct Led {
    before: u8,
    digits: u8,
}

/// By form.
const LED: [Led; FORMS.len()] = {
    let mut all = [Led { before: 0, digits: 0 }; FORMS.len()];
    let mut i = 0;
    while i < all.len() {
        let pattern = FORMS[i].pattern.as_bytes();
        let mut at = 0;
        while pattern[at] != b'0' {
            at += 1;
        }
        all[i].before = at as u8;
        while at < pattern.len() && pattern[at] == b'0' {
            (at, all[i].digits) = (at + 1, all[i].digits + 1);
        }
        i += 1;
    }
    all
};

/// How many bytes of `text` the pattern takes.
fn fits(text: &[u8], pattern: &str) -> Option<usize> {
    let mut separator = None;
    let fits = |(expected, byte): (u8, &u8)| match expected {
        b'0' => byte.is_ascii_digit(),
        b'A' => byte.is_ascii_alphabetic(),
        b' ' => matches!(byte, b' ' | b'-') && *separator.get_or_insert(*byte) == *byte,
        literal => *byte == literal,
    };
    (text.len() >= pattern.len() && pattern.bytes().zip(text).all(fits)).then_some(pattern.len())
}

/// Whether neither a word nor more digits join what stands at `range`.
fn stands_apart(text: &[u8], range: Range<usize>) -> bool {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let joins = |byte: u8| matches!(byte, b'-' | b'.' | b'/' | b' ');
    let before = match text[..range.start] {
        [.., b'\\', b'n' | b'r' | b't'] => true,
        [.., digit, joint] if digit.is_ascii_digit() && joins(joint) => false,
        [.., letter, b'-'] if letter.is_ascii_alphabetic() => false,
        [.., byte] => !is_word(byte) && !matches!(byte, b'+' | b'$'),
        [] => true,
    };
    let behind = match text[range.end..] {
        [joint, digit, ..] if digit.is_ascii_digit() && joins(joint) => false,
        [byte, ..] => !is_word(byte) && byte != b'%',
        [] => true,
    };
    before && behind
}

/// How far back the heading of a column counts, for providers are listed in tables.
const HEADING: usize = 512;

fn is_said(form: &Form, context: &Context<'_>, text: &[u8], range: &Range<usize>) -> bool {
    let before = &text[range.start.saturating_sub(HEADING)..range.start];
    let heading = || memchr::memmem::find(before, b"NPI").is_some();
    context.says(form.topic)
        || form.rule.is_some() && context.says_behind(form.topic, range.end)
        || form.detector == Detector::UsNpi && heading()
}

#[cfg(test)]
mod tests;
