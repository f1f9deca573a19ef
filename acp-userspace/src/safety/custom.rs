//! Types of the operator's own: forms from the configuration, looked for in each text by itself.
//!
//! Each form is one pass of a linear engine over every string, key and number, over path, query, form and text, and over
//! what they stand for when they are decoded; who has no such type pays nothing. What a form may cost is bounded where
//! the configuration is read.
//!
//! Matches of a form do not overlap: each is looked for behind the one before. In a text that goes on they are counted
//! from where it was decided, which no match goes over, so that they are the same however it came.

use std::ops::Range;

use super::scanner::ScannerError;
use super::screen::{Body, Content, Hit, Place, percent_decode, push};
use crate::config::resolved::{CustomDetector, Detector};
use crate::protocol::json::{Kind, Node};

/// How far before a match a word counts, in bytes: as for the types that are built in.
const CONTEXT_BYTES: usize = 48;

/// Adds what the forms find in `content` to `hits`; in a raw body, behind `from`.
///
/// # Errors
/// More findings than there is room for.
pub(super) fn search(
    detectors: &[CustomDetector],
    content: &Content<'_>,
    from: usize,
    hits: &mut Vec<Hit>,
) -> Result<(), ScannerError> {
    match content.body {
        Body::Empty => {}
        Body::Json(document) => {
            for node in document.nodes() {
                if let Some(text) =
                    node.text().filter(|_| matches!(node.kind(), Kind::String | Kind::Number | Kind::Key))
                {
                    in_text(detectors, (text.as_bytes(), 0), name(node), Place::Node(node.index()), hits)?;
                }
            }
        }
        Body::Form(body) => in_encoded(detectors, body, Place::Form, hits)?,
        Body::Raw(body) => in_text(detectors, (body, from), None, Place::Raw, hits)?,
    }
    in_encoded(detectors, content.path.as_bytes(), Place::Path, hits)?;
    in_encoded(detectors, content.query.unwrap_or_default().as_bytes(), Place::Query, hits)
}

fn in_encoded(
    detectors: &[CustomDetector],
    text: &[u8],
    place: Place,
    hits: &mut Vec<Hit>,
) -> Result<(), ScannerError> {
    let mut decoded = Vec::new();
    percent_decode(text, &mut decoded);
    in_text(detectors, (&decoded, 0), None, place, hits)
}

/// Adds what the forms find in a text, behind a place in it.
pub(super) fn in_text(
    detectors: &[CustomDetector],
    (text, from): (&[u8], usize),
    name: Option<&str>,
    place: Place,
    hits: &mut Vec<Hit>,
) -> Result<(), ScannerError> {
    for CustomDetector { detector, regex, context, validator, confidence } in detectors {
        let mut at = from;
        while let Some(found) = regex.find_at(text, at) {
            // No form matches the empty text, so that this goes on.
            at = found.end();
            let said = context.is_empty() || is_said(context, &text[..found.start()], name);
            let value = || std::str::from_utf8(found.as_bytes()).unwrap_or_default();
            if said && validator.is_none_or(|validator| validator(value())) {
                push(hits, hit(*detector, place, found.range(), *confidence))?;
            }
        }
    }
    Ok(())
}

const fn hit(detector: Detector, place: Place, range: Range<usize>, confidence: u8) -> Hit {
    Hit { detector, place, range, confidence, is_part: false }
}

/// Whether one of the words stands shortly before, or in the member's name.
fn is_said(words: &[String], before: &[u8], name: Option<&str>) -> bool {
    let near = &before[before.len().saturating_sub(CONTEXT_BYTES)..];
    let (near, name) = (near.to_ascii_lowercase(), name.unwrap_or_default().to_ascii_lowercase());
    words.iter().any(|word| memchr::memmem::find(&near, word.as_bytes()).is_some() || name.contains(word.as_str()))
}

/// The name of the member a value stands in, directly or in an array.
fn name(node: Node<'_>) -> Option<&str> {
    node.key().or_else(|| node.parent()?.key())?.text()
}

#[cfg(test)]
mod tests;
