//! `[[safety.detector]]`: forms that compile, are bounded in what they cost, and belong to a custom type.
//!
//! The engine is linear in the text whatever the form; what a form can make dear is the work for each byte. That is
//! bounded by the size of its compiled program ([`PROGRAM_BYTES_MAX`]) and the length of its matches
//! ([`MATCH_BYTES_MAX`]), both derived when the configuration is read, and refused above.

use regex::bytes::{Regex, RegexBuilder};

use super::super::mistake::{At, Collector};
use super::super::raw;
use super::super::resolved::{CustomDetector, Detector};
use super::within;
use crate::safety::validators;

/// Forms of one configuration: each is one more pass over the texts.
const FORMS_MAX: usize = 32;
/// Bytes of a form.
const FORM_BYTES_MAX: usize = 1024;
/// Bytes of a match; longer ones are no identifiers.
const MATCH_BYTES_MAX: usize = 256;
/// Bytes of a match at least: shorter ones are everywhere.
const MATCH_BYTES_MIN: usize = 4;
/// Bytes of a compiled form.
const PROGRAM_BYTES_MAX: usize = 256 << 10;

pub(super) fn detectors(raw: &raw::Safety, found: &mut Collector) -> Vec<CustomDetector> {
    let list = &raw.detector;
    found.expect(list.len() <= FORMS_MAX, &list.at, || format!("has more than {FORMS_MAX} forms"));
    list.iter().filter_map(|raw| detector(raw, found)).collect()
}

fn detector(raw: &raw::CustomDetector, found: &mut Collector) -> Option<CustomDetector> {
    let detector = Detector::CUSTOM.iter().copied().find(|custom| custom.name() == raw.r#type.value);
    found.expect(detector.is_some(), &raw.r#type.at, || {
        let names: Vec<_> = Detector::CUSTOM.iter().map(|custom| custom.name()).collect();
        format!("{:?} is no custom type; there are: {}", raw.r#type.value, names.join(", "))
    });
    for word in raw.context.iter() {
        found.expect(!word.is_empty() && word.is_ascii(), &word.at, || "has to be a word in ASCII".to_owned());
    }
    let validator = raw.validator.as_deref().and_then(validators::by_name);
    found.expect(raw.validator.is_none() || validator.is_some(), &raw.validator.at, || {
        let names: Vec<_> = validators::names().collect();
        format!("is no validator; there are: {}", names.join(", "))
    });
    let confidence = within(&raw.confidence, 1, 100, found) as u8;
    let regex = compiled(&raw.regex, &raw.regex.at, found)?;
    let context = raw.context.iter().map(|word| word.to_ascii_lowercase()).collect();
    Some(CustomDetector { detector: detector?, regex, context, validator, confidence })
}

/// The form, if its cost is bounded.
fn compiled(form: &str, at: &At, found: &mut Collector) -> Option<Regex> {
    if form.len() > FORM_BYTES_MAX {
        found.add(at, format!("is longer than {FORM_BYTES_MAX} bytes"));
        return None;
    }
    // The parser's own bounds on nesting hold; it refuses what could match invalid UTF-8.
    let parsed = regex_syntax::parse(form).map_err(|error| found.add(at, format!("is no regex: {error}"))).ok()?;
    let (least, most) = (parsed.properties().minimum_len(), parsed.properties().maximum_len());
    if least.is_none_or(|least| least < MATCH_BYTES_MIN) {
        found.add(at, format!("matches fewer than {MATCH_BYTES_MIN} bytes, which would be found everywhere"));
        return None;
    }
    if most.is_none_or(|most| most > MATCH_BYTES_MAX) {
        let why = format!("matches more than {MATCH_BYTES_MAX} bytes; write {{4,40}} instead of + or *");
        found.add(at, why);
        return None;
    }
    let built = RegexBuilder::new(form).size_limit(PROGRAM_BYTES_MAX).build();
    let dear = |_| {
        let why = format!(
            "costs too much: compiled it has more than {} KiB; write [0-9] and [a-z] instead of \\d and \\w, and \
             fewer repetitions",
            PROGRAM_BYTES_MAX >> 10
        );
        found.add(at, why);
    };
    built.map_err(dear).ok()
}
