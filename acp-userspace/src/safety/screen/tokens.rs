//! Tokens in what is screened: those a request presents, and the values that must become tokens again in an answer.
//!
//! A token is looked for as it stands and, in strings with escapes, as they read; never across two strings. One in a
//! path, a query, a form or a raw body has to be the caller's too, but stays a token: there is nothing to edit, or no
//! pointer that a permit could name.

use std::ops::Range;

use memchr::memmem;

use super::search::{FINDINGS_MAX, Hit, Place, resolve};
use super::{Body, Content, ContentRefused, Finding, FoundAt, RouteRules, Scan, found_at, tally};
use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::protocol::json::{Document, Kind, Node, Pointers};
use crate::safety::redact::Change;
use crate::safety::scanner::ScannerError;
use crate::safety::tokenise::{Caller, Restored, TOKENS_MAX, TokenRefused, Tokens};

/// Shortest value that is looked for in an answer as it is: shorter ones are anybody's.
const VALUE_BYTES_MIN: usize = 4;

/// The tokens of a request that are the caller's.
#[derive(Debug, Default)]
pub(super) struct Presented {
    /// All of those in JSON strings, in order: node, and place in its text.
    known: Vec<(usize, Range<usize>)>,
    /// Those that become values.
    opened: Vec<(usize, Range<usize>, Restored)>,
}

impl Presented {
    pub(super) fn is_empty(&self) -> bool {
        self.opened.is_empty()
    }

    pub(super) fn into_restored(self) -> Vec<Restored> {
        self.opened.into_iter().map(|(_, _, restored)| restored).collect()
    }

    /// Edits in the making: tokens to values.
    pub(super) fn changes(&self) -> Vec<Change> {
        let change = |(node, range, restored): &(usize, Range<usize>, Restored)| Change {
            node: *node,
            range: range.clone(),
            detector: restored.detector,
            action: ContentAction::Detokenize,
            rule: "safety.detokenize".into(),
            text: String::from_utf8_lossy(&restored.value).into_owned().into(),
        };
        self.opened.iter().map(change).collect()
    }

    /// Findings, and values that go out in clear among them.
    pub(super) fn tally(&self, hits: &[Hit], rules: &RouteRules) -> Vec<Finding> {
        let mut findings = tally(hits, rules);
        for (_, _, Restored { detector, .. }) in &self.opened {
            let (action, mode) = (ContentAction::Detokenize, Mode::Enforce);
            match findings.iter_mut().find(|known| known.detector == *detector && known.action == action) {
                Some(known) => known.count += 1,
                None => findings.push(Finding { detector: *detector, count: 1, confidence: 100, action, mode }),
            }
        }
        findings.sort_by_key(|finding| (finding.detector, finding.mode == Mode::Observe, finding.action));
        findings
    }

    /// Their places.
    pub(super) fn places(&self, hits: &[Hit], content: &Content<'_>) -> Vec<FoundAt> {
        let opened = self.opened.iter().map(|(node, range, restored)| Hit {
            detector: restored.detector,
            place: Place::Node(*node),
            range: range.clone(),
            confidence: 100,
            is_part: false,
        });
        if self.opened.is_empty() {
            return found_at(hits, content);
        }
        let mut all: Vec<_> = hits.iter().cloned().chain(opened).collect();
        all.sort_by_key(|hit| (hit.place, hit.range.start));
        found_at(&all, content)
    }
}

/// The tokens of a request; each has to be the caller's (THREATS A26).
pub(super) fn presented(
    tokens: &Tokens,
    caller: &Caller<'_>,
    content: &Content<'_>,
) -> Result<Presented, ContentRefused> {
    let mut presented = Presented::default();
    match content.body {
        Body::Json(document) => in_document(tokens, caller, document, &mut presented)?,
        Body::Form(body) | Body::Raw(body) => in_text(tokens, caller, body)?,
        Body::Empty => {}
    }
    in_text(tokens, caller, content.path.as_bytes())?;
    in_text(tokens, caller, content.query.unwrap_or_default().as_bytes())?;
    Ok(presented)
}

/// Tokens where no value comes back: each has to be the caller's all the same.
pub(in crate::safety) fn in_text(tokens: &Tokens, caller: &Caller<'_>, text: &[u8]) -> Result<(), ContentRefused> {
    for range in every(tokens, text).map_err(ContentRefused::failed)? {
        let token = tokens.next(text, range.start).ok_or(TokenRefused::Foreign);
        token.and_then(|token| tokens.detokenize(caller, &token)).map_err(ContentRefused::of_token)?;
    }
    Ok(())
}

fn in_document(
    tokens: &Tokens,
    caller: &Caller<'_>,
    document: Document<'_>,
    presented: &mut Presented,
) -> Result<(), ContentRefused> {
    let mut pointers = Pointers::default();
    let found = located(document, |text| every(tokens, text)).map_err(ContentRefused::failed)?;
    for (at, range) in found {
        let Some(node) = document.node(at) else { continue };
        let text = node.text().unwrap_or_default().as_bytes();
        let token = tokens.next(text, range.start).ok_or(TokenRefused::Foreign).map_err(ContentRefused::of_token)?;
        let restored = tokens.detokenize(caller, &token).map_err(ContentRefused::of_token)?;
        let whole = restored.value.is_ascii() || std::str::from_utf8(&restored.value).is_ok();
        let is_key = node.kind() == Kind::Key;
        if whole && !is_key && permits(tokens, caller, restored.detector, node, &pointers.of(node, |_| false)) {
            presented.opened.push((at, range.clone(), restored));
        }
        presented.known.push((at, range));
    }
    Ok(())
}

/// Whether a value of this type may come back in a node. A pointer that was cut names a place above it: none is permitted
/// for its sake.
fn permits(tokens: &Tokens, caller: &Caller<'_>, detector: Detector, node: Node<'_>, pointer: &str) -> bool {
    let depth = std::iter::successors(node.parent(), |parent| parent.parent()).count();
    pointer.matches('/').count() == depth && tokens.permits(caller, detector, pointer)
}

/// Where tokens lie in a text.
fn every(tokens: &Tokens, text: &[u8]) -> Result<Vec<Range<usize>>, ScannerError> {
    let (mut all, mut at) = (Vec::new(), 0);
    while let Some(token) = tokens.next(text, at) {
        if all.len() == TOKENS_MAX {
            return Err(ScannerError::Full);
        }
        at = token.range.end;
        all.push(token.range);
    }
    Ok(all)
}

/// What `find` finds in the texts of a document, in their order: node, and place in its text.
fn located(
    document: Document<'_>,
    find: impl Fn(&[u8]) -> Result<Vec<Range<usize>>, ScannerError>,
) -> Result<Vec<(usize, Range<usize>)>, ScannerError> {
    let mut all = Vec::new();
    for range in find(document.original().as_bytes())? {
        let Some(node) = document.token_at(range.start).filter(|node| !node.has_escapes()) else { continue };
        let text = node.text().unwrap_or_default();
        // The text of a number is its token; a string's begins behind the quote.
        let base = node.span().start + (node.span().len() - text.len()) / 2;
        if range.start >= base && range.end <= base + text.len() {
            all.push((node.index(), range.start - base..range.end - base));
        }
    }
    for range in find(document.escaped_text().as_bytes())? {
        let Some((node, base)) = document.escaped_at(range.start) else { continue };
        if range.start >= base && range.end <= base + node.text().map_or(0, str::len) {
            all.push((node.index(), range.start - base..range.end - base));
        }
    }
    all.sort_by_key(|(node, range)| (*node, range.start));
    Ok(all)
}

/// Values that went out in clear are findings in the answer, whatever surrounds them there; in a raw body, behind `from`.
pub(super) fn again(
    restored: &[Restored],
    content: &Content<'_>,
    from: usize,
    rules: &RouteRules,
    scan: &mut Scan,
) -> Result<(), ScannerError> {
    let before = scan.hits.len();
    for Restored { detector, value } in restored.iter().filter(|restored| restored.value.len() >= VALUE_BYTES_MIN) {
        let find = |text: &[u8]| {
            let all: Vec<_> =
                memmem::find_iter(text, value).map(|at| at..at + value.len()).take(FINDINGS_MAX + 1).collect();
            if all.len() > FINDINGS_MAX { Err(ScannerError::Full) } else { Ok(all) }
        };
        let hit = |place, range| Hit { detector: *detector, place, range, confidence: 100, is_part: false };
        match content.body {
            Body::Json(document) => {
                let found = located(document, find)?.into_iter();
                scan.hits.extend(found.map(|(node, range)| hit(Place::Node(node), range)));
            }
            Body::Raw(body) => {
                let found = find(&body[from..])?.into_iter();
                scan.hits.extend(found.map(|range| hit(Place::Raw, from + range.start..from + range.end)));
            }
            Body::Empty | Body::Form(_) => {}
        }
        if scan.hits.len() > FINDINGS_MAX {
            return Err(ScannerError::Full);
        }
    }
    if scan.hits.len() > before {
        resolve(&mut scan.hits, rules);
    }
    Ok(())
}

/// What looks like a secret and is a token of the caller's is none.
pub(super) fn leave_alone(
    caller: &Caller<'_>,
    content: &Content<'_>,
    rules: &RouteRules,
    presented: &Presented,
    hits: &mut Vec<Hit>,
) {
    let (Some(tokens), Body::Json(document), false) = (rules.tokens(), content.body, hits.is_empty()) else { return };
    let own;
    let known = if presented.known.is_empty() {
        let found = located(document, |text| every(tokens, text)).unwrap_or_default();
        own = found.into_iter().filter(|at| is_own(tokens, caller, document, at)).collect::<Vec<_>>();
        &own
    } else {
        &presented.known
    };
    let within = |hit: &Hit, (node, range): &(usize, Range<usize>)| {
        hit.place == Place::Node(*node) && hit.range.start >= range.start && hit.range.end <= range.end
    };
    hits.retain(|hit| !known.iter().any(|token| within(hit, token)));
}

fn is_own(tokens: &Tokens, caller: &Caller<'_>, document: Document<'_>, at: &(usize, Range<usize>)) -> bool {
    let text = document.node(at.0).and_then(|node| node.text()).unwrap_or_default();
    tokens.next(text.as_bytes(), at.1.start).is_some_and(|token| tokens.detokenize(caller, &token).is_ok())
}

#[cfg(test)]
mod tests;
