//! From findings to edits of the original bytes.
//!
//! `redact` writes `[REDACTED:<TYPE>]`, `mask` stars for all but the last four characters, the others what
//! [`super::tokenise`] makes. In a JSON string without escapes only the finding's own bytes change; a string with
//! escapes is written anew as a whole; a number becomes a string unless its digits were exchanged for others. Where
//! findings overlap, the strictest action covers them all. A key that would come to equal another key of its object
//! cannot be edited: the caller blocks instead.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use super::Edit;
use crate::config::resolved::{ContentAction, Detector};
use crate::protocol::json::{Document, Kind, Node, Pointers, write_string};

/// What stands before the label where a value was redacted.
pub(in crate::safety) const PLACEHOLDER: &str = "[REDACTED:";
/// Characters that a mask leaves.
const MASK_KEEPS: usize = 4;

/// A finding whose enforced action changes bytes.
#[derive(Debug, Clone)]
pub(super) struct Change {
    /// Index of the JSON node; 0 for a raw body.
    pub(super) node: usize,
    /// Within the node's text, or the raw body.
    pub(super) range: Range<usize>,
    pub(super) detector: Detector,
    /// One that changes bytes.
    pub(super) action: ContentAction,
    /// The rule that wants it.
    pub(super) rule: Arc<str>,
    /// What stands there afterwards; known once overlaps are joined.
    pub(super) text: Cow<'static, str>,
}

/// An edit would make two keys of an object equal; the rule that wanted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyCollision(pub(super) Arc<str>);

/// Joins changes that overlap: sorted by node and place, the strictest action over the union.
pub(super) fn join(changes: &mut Vec<Change>) {
    changes.sort_by_key(|change| (change.node, change.range.start, std::cmp::Reverse(change.range.end)));
    changes.dedup_by(|next, kept| {
        let overlap = next.node == kept.node && next.range.start < kept.range.end;
        if overlap {
            kept.range.end = kept.range.end.max(next.range.end);
            if next.action > kept.action {
                (kept.action, kept.detector, kept.rule) = (next.action, next.detector, Arc::clone(&next.rule));
            }
        }
        overlap
    });
}

/// The text that stands in place of `original`, masked.
pub(super) fn masked(original: &str) -> String {
    let stars = original.chars().count().saturating_sub(MASK_KEEPS);
    let kept = original.char_indices().nth(stars).map_or("", |(at, _)| &original[at..]);
    "*".repeat(stars) + kept
}

/// Edits of a raw body.
pub(super) fn raw(changes: &[Change]) -> Vec<Edit> {
    let edit = |change: &Change| {
        let Change { range, text, .. } = change;
        Edit { range: range.clone(), bytes: text.as_bytes().to_vec(), pointer: None }
    };
    changes.iter().map(edit).collect()
}

/// Edits of a JSON body; `changes` are joined. Keys with a finding print as `*` in pointers (THREATS A16).
pub(super) fn json(document: Document<'_>, changes: &[Change]) -> Result<Vec<Edit>, KeyCollision> {
    check_keys(document, changes)?;
    let found = |key: Node<'_>| changes.binary_search_by_key(&key.index(), |change| change.node).is_ok();
    let mut pointers = Pointers::default();
    let mut edits = Vec::with_capacity(changes.len());
    for of_node in changes.chunk_by(|a, b| a.node == b.node) {
        let Some(node) = of_node.first().and_then(|change| document.node(change.node)) else { continue };
        let mut push = |range: Range<usize>, bytes: Vec<u8>| {
            edits.push(Edit { range, bytes, pointer: Some(pointers.of(node, found)) });
        };
        if node.kind() == Kind::Number || node.has_escapes() {
            let (mut bytes, text) = (Vec::new(), rewritten(node, of_node));
            if node.kind() == Kind::Number && is_integer(&text) {
                bytes.extend_from_slice(text.as_bytes());
            } else {
                write_string(&text, &mut bytes);
            }
            push(node.span(), bytes);
        } else {
            let base = node.span().start + 1;
            for change in of_node {
                push(base + change.range.start..base + change.range.end, escaped(&change.text));
            }
        }
    }
    Ok(edits)
}

/// A text as it stands inside a JSON string: a value that came back may have any characters.
fn escaped(text: &str) -> Vec<u8> {
    if text.bytes().all(|byte| byte >= b' ' && !matches!(byte, b'"' | b'\\')) {
        return text.as_bytes().to_vec();
    }
    let mut bytes = Vec::with_capacity(text.len() + 2);
    write_string(text, &mut bytes);
    bytes.pop();
    bytes.remove(0);
    bytes
}

/// The text of `node` with its changes made.
fn rewritten(node: Node<'_>, changes: &[Change]) -> String {
    let text = node.text().unwrap_or_default();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for change in changes {
        out.push_str(&text[at..change.range.start]);
        out.push_str(&change.text);
        at = change.range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// Whether a text is a whole number as JSON has them (RFC 8259 §6).
fn is_integer(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) && (text.len() == 1 || !text.starts_with('0'))
}

/// Whether every object still has distinct keys once its edited keys are written; looks at each object once.
fn check_keys(document: Document<'_>, changes: &[Change]) -> Result<(), KeyCollision> {
    let mut objects: Vec<(usize, &Arc<str>)> = changes
        .iter()
        .filter_map(|change| {
            let key = document.node(change.node).filter(|node| node.kind() == Kind::Key)?;
            Some((key.parent()?.index(), &change.rule))
        })
        .collect();
    objects.sort_unstable_by_key(|(object, _)| *object);
    objects.dedup_by_key(|(object, _)| *object);
    for (object, rule) in objects {
        let members = document.node(object).into_iter().flat_map(|object| object.members());
        let mut seen = HashSet::new();
        for (key, _) in members {
            let text = match of_node(changes, key) {
                [] => Cow::Borrowed(key.text().unwrap_or_default()),
                changes => Cow::Owned(rewritten(key, changes)),
            };
            if !seen.insert(text) {
                return Err(KeyCollision(Arc::clone(rule)));
            }
        }
    }
    Ok(())
}

fn of_node<'c>(changes: &'c [Change], node: Node<'_>) -> &'c [Change] {
    let from = changes.partition_point(|change| change.node < node.index());
    let len = changes[from..].iter().take_while(|change| change.node == node.index()).count();
    &changes[from..from + len]
}

/// Edits that overlap, fall, or lie outside what they edit: none of ours do, so nothing may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("edits do not fit the body")]
pub struct BadEdits;

/// Length of what [`splice`] makes of a body of `len` bytes.
#[must_use]
pub fn spliced_len(len: usize, edits: &[Edit]) -> usize {
    edits.iter().fold(len, |len, edit| len - edit.range.len() + edit.bytes.len())
}

/// Appends `original` to `out` with `edits` made.
///
/// # Errors
/// [`BadEdits`] when they do not lie in the body, rise and stay apart; `out` then holds a part only.
pub fn splice(original: &[u8], edits: &[Edit], out: &mut Vec<u8>) -> Result<(), BadEdits> {
    let mut at = 0;
    for edit in edits {
        out.extend_from_slice(original.get(at..edit.range.start).ok_or(BadEdits)?);
        out.extend_from_slice(&edit.bytes);
        at = edit.range.end;
        if at < edit.range.start {
            return Err(BadEdits);
        }
    }
    out.extend_from_slice(original.get(at..).ok_or(BadEdits)?);
    Ok(())
}

/// What a string or number will say once `edits` are made: the text policies judge.
#[must_use]
pub fn text_as_sent<'a>(node: Node<'a>, edits: &[Edit]) -> Option<Cow<'a, str>> {
    let span = node.span();
    let from = edits.partition_point(|edit| edit.range.end <= span.start);
    let inside: Vec<Edit> = edits[from..]
        .iter()
        .take_while(|edit| edit.range.end <= span.end)
        .map(|edit| Edit { range: edit.range.start - span.start..edit.range.end - span.start, ..edit.clone() })
        .collect();
    let text = node.text()?;
    if inside.is_empty() {
        return Some(Cow::Borrowed(text));
    }
    let mut token = Vec::new();
    splice(node.token().as_bytes(), &inside, &mut token).ok()?;
    let text =
        if token.starts_with(b"\"") { serde_json::from_slice(&token).ok() } else { String::from_utf8(token).ok() };
    text.map(Cow::Owned)
}
