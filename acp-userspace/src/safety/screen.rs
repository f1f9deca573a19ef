//! The two doors: requests before policy sees them, answers before the client does.
//!
//! JSON is searched twice at most: the original as it stands, whose structure no anchor crosses, and the unescaped
//! texts of the strings that hold escapes, of which the long ones are left out of the first search. The engine is shown
//! only the stretches of a text that can hold an anchor. What the search names is looked at inside its own string, key or
//! number. Paths, queries and forms are percent-decoded first; what is found there cannot be edited, so an
//! action that would edit it blocks. Long texts are searched in overlapping blocks.
//!
//! Costs nothing but a test when a route has no rules; allocates only for findings and edits.

use std::ops::Range;
use std::sync::Arc;

use super::detectors::{self, Detectors};
use super::hyperscan::{Hyperscan, Scratch};
use super::redact::{self, Change};
use super::rules::RouteRules;
use super::scanner::{ANCHOR_BYTES_MAX, Anchor, Candidate, Candidates, Scanner, ScannerError};
use super::stretches::stretches;
use super::{Edit, Finding, Screened};
use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::identity::Authenticated;
use crate::protocol::json::{Document, Kind, Node};
use crate::reason::Reason;

/// Bytes searched at once: what fits the first cache level beside the engine's tables.
const BLOCK_BYTES: usize = 16 << 10;
/// Shortest string with escapes that is left out of the search of the original, where nothing of it is found.
const SKIPPED_BYTES_MIN: usize = 64;
/// Candidates of one block: no two anchors end at one byte, so there is room for all.
const CANDIDATES_MAX: usize = BLOCK_BYTES;
/// Findings of one body; more are an error, because each costs an edit (THREATS A25).
pub const FINDINGS_MAX: usize = 8_192;

/// What is screened.
#[derive(Debug, Clone, Copy)]
pub struct Content<'a> {
    /// The body.
    pub body: Body<'a>,
    /// The query as received, without `?`.
    pub query: Option<&'a str>,
    /// The path below the route, percent-encoded as it will be sent; empty for answers.
    pub path: &'a str,
}

/// A body as the route's protocol reads it.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// There is none.
    Empty,
    /// Whatever parses as JSON, however it is declared.
    Json(Document<'a>),
    /// `application/x-www-form-urlencoded`: decoded to be searched, never edited.
    Form(&'a [u8]),
    /// Anything else, byte by byte.
    Raw(&'a [u8]),
}

impl<'a> Content<'a> {
    /// A body alone, as answers have it.
    #[must_use]
    pub const fn body(body: Body<'a>) -> Self {
        Self { body, query: None, path: "" }
    }
}

/// Content that does not pass.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason.title())]
pub struct ContentRefused {
    /// [`Reason::ContentBlocked`] or [`Reason::ScannerFailed`].
    pub reason: Reason,
    /// What was found until then.
    pub findings: Vec<Finding>,
    /// The rule that blocks.
    pub rule: Option<Arc<str>>,
}

/// What screening an answer decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseScreened {
    /// One entry per (type, action, mode).
    pub findings: Vec<Finding>,
    /// What is changed before it is sent.
    pub edits: Vec<Edit>,
}

/// One worker's memory for screening: 128 KiB and the engine's scratch, more only after content with many findings.
#[derive(Debug)]
pub struct Scan {
    engine: Option<(Arc<Hyperscan>, Scratch)>,
    candidates: Candidates,
    hits: Vec<Hit>,
    decoded: Vec<u8>,
}

/// One finding's place.
#[derive(Debug, Clone)]
struct Hit {
    detector: Detector,
    place: Place,
    range: Range<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the text of this JSON node.
    Node(usize),
    /// In a raw body.
    Raw,
    /// Where nothing can be edited.
    Fixed,
}

impl Default for Scan {
    fn default() -> Self {
        Self { engine: None, candidates: Candidates::with_room(CANDIDATES_MAX), hits: Vec::new(), decoded: Vec::new() }
    }
}

/// Screens a request.
///
/// # Errors
/// [`Reason::ContentBlocked`] when an enforced rule blocks what was found, or an edit it asks for cannot be made;
/// [`Reason::ScannerFailed`] when not everything could be searched.
pub fn screen(
    auth: Authenticated,
    content: &Content<'_>,
    rules: &RouteRules,
    scan: &mut Scan,
) -> Result<Screened, ContentRefused> {
    let ResponseScreened { findings, edits } = screen_response(content, rules, scan)?;
    Ok(Screened { auth, findings, edits })
}

/// Screens an answer that was read whole.
///
/// # Errors
/// As [`screen`].
pub fn screen_response(
    content: &Content<'_>,
    rules: &RouteRules,
    scan: &mut Scan,
) -> Result<ResponseScreened, ContentRefused> {
    if rules.is_empty() {
        return Ok(ResponseScreened::default());
    }
    scan.search(content, rules).map_err(|_: ScannerError| ContentRefused {
        reason: Reason::ScannerFailed,
        findings: Vec::new(),
        rule: None,
    })?;
    if scan.hits.is_empty() {
        return Ok(ResponseScreened::default());
    }
    decide(&scan.hits, content, rules)
}

/// Tallies findings and turns enforced actions into edits or a refusal.
fn decide(hits: &[Hit], content: &Content<'_>, rules: &RouteRules) -> Result<ResponseScreened, ContentRefused> {
    let findings = tally(hits, rules);
    let refuse = |detector| ContentRefused {
        reason: Reason::ContentBlocked,
        findings: findings.clone(),
        rule: rules.action(detector, Mode::Enforce).map(|(_, rule)| rule.clone()),
    };
    let mut changes = Vec::new();
    for hit in hits {
        let Some((action, _)) = rules.action(hit.detector, Mode::Enforce) else { continue };
        match (action, hit.place) {
            (ContentAction::Flag, _) => {}
            (ContentAction::Block, _) | (_, Place::Fixed) => return Err(refuse(hit.detector)),
            (ContentAction::Mask | ContentAction::Redact, Place::Node(node)) => {
                changes.push(Change { node, range: hit.range.clone(), detector: hit.detector, action });
            }
            (ContentAction::Mask | ContentAction::Redact, Place::Raw) => {
                changes.push(Change { node: 0, range: hit.range.clone(), detector: hit.detector, action });
            }
        }
    }
    redact::join(&mut changes);
    let edits = match content.body {
        Body::Json(document) => redact::json(document, &changes).map_err(|collision| refuse(collision.0))?,
        Body::Raw(body) => redact::raw(body, &changes),
        Body::Empty | Body::Form(_) => Vec::new(),
    };
    Ok(ResponseScreened { findings, edits })
}

fn tally(hits: &[Hit], rules: &RouteRules) -> Vec<Finding> {
    let mut findings = Vec::new();
    for detector in Detector::ALL {
        let count = hits.iter().filter(|hit| hit.detector == detector).count() as u32;
        for mode in [Mode::Enforce, Mode::Observe] {
            if let Some((action, _)) = rules.action(detector, mode).filter(|_| count > 0) {
                findings.push(Finding { detector, count, action, mode });
            }
        }
    }
    findings
}

impl Scan {
    /// Fills `hits` with everything the rules look for.
    fn search(&mut self, content: &Content<'_>, rules: &RouteRules) -> Result<(), ScannerError> {
        self.hits.clear();
        let wanted = rules.wanted();
        let Some(scanner) = rules.scanner() else { return Err(ScannerError::Engine) };
        let mut search = self.prepare(scanner, wanted)?;
        match content.body {
            Body::Empty => {}
            Body::Json(document) => {
                search.original(document)?;
                search.escaped(document)?;
            }
            Body::Form(body) => search.encoded(body)?,
            Body::Raw(body) => search.plain(body, Place::Raw)?,
        }
        search.encoded(content.path.as_bytes())?;
        search.encoded(content.query.unwrap_or_default().as_bytes())
    }

    /// Pairs the buffers with the scanner; its scratch is made anew only after a reload brought another one.
    fn prepare(&mut self, scanner: &Arc<Hyperscan>, wanted: Detectors) -> Result<Search<'_>, ScannerError> {
        if !self.engine.as_ref().is_some_and(|(used, _)| Arc::ptr_eq(used, scanner)) {
            self.engine = Some((scanner.clone(), scanner.scratch()?));
        }
        let Some((scanner, scratch)) = &mut self.engine else { return Err(ScannerError::Engine) };
        let (candidates, hits, decoded) = (&mut self.candidates, &mut self.hits, &mut self.decoded);
        Ok(Search { scanner, scratch, candidates, hits, decoded, wanted })
    }
}

/// One search, borrowing from [`Scan`].
struct Search<'s> {
    scanner: &'s Hyperscan,
    scratch: &'s mut Scratch,
    candidates: &'s mut Candidates,
    hits: &'s mut Vec<Hit>,
    decoded: &'s mut Vec<u8>,
    wanted: Detectors,
}

/// A text that a candidate lies in.
struct Found<'a> {
    text: &'a [u8],
    /// Where it begins in what was searched.
    base: usize,
    key: Option<&'a str>,
    place: Place,
}

impl Search<'_> {
    /// The body as it stands; strings with escapes are left to [`Search::escaped`].
    fn original(&mut self, document: Document<'_>) -> Result<(), ScannerError> {
        let mut from = 0;
        for long in document.escaped_nodes().map(|node| node.span()).filter(|span| span.len() >= SKIPPED_BYTES_MIN) {
            self.part(document, from..long.start)?;
            from = long.end;
        }
        self.part(document, from..document.original().len())
    }

    /// What lies between two tokens of the body.
    fn part(&mut self, document: Document<'_>, part: Range<usize>) -> Result<(), ScannerError> {
        let from = part.start;
        self.each(&document.original().as_bytes()[part], |candidate| {
            let node = document.token_at(from + candidate.end as usize - 1).filter(|node| !node.has_escapes())?;
            let text = node.text().filter(|text| node.kind() != Kind::Number || !is_quantity(text))?;
            // The text of a number is its token; a string's begins behind the quote.
            let base = node.span().start + (node.span().len() - text.len()) / 2 - from;
            Some(Found { text: text.as_bytes(), base, key: name(node), place: Place::Node(node.index()) })
        })
    }

    /// The unescaped texts.
    fn escaped(&mut self, document: Document<'_>) -> Result<(), ScannerError> {
        self.each(document.escaped_text().as_bytes(), |candidate| {
            let (node, base) = document.escaped_at(candidate.end as usize - 1)?;
            Some(Found { text: node.text()?.as_bytes(), base, key: name(node), place: Place::Node(node.index()) })
        })
    }

    /// A path, a query or a form.
    fn encoded(&mut self, text: &[u8]) -> Result<(), ScannerError> {
        if !can_hold_anchor(text) {
            return Ok(());
        }
        let mut decoded = std::mem::take(self.decoded);
        percent_decode(text, &mut decoded);
        let result = self.plain(&decoded, Place::Fixed);
        *self.decoded = decoded;
        result
    }

    fn plain(&mut self, text: &[u8], place: Place) -> Result<(), ScannerError> {
        self.each(text, |_| Some(Found { text, base: 0, key: None, place }))
    }

    /// Searches what of `bytes` can hold an anchor, block by block; `locate` says which text a candidate lies in.
    fn each<'a>(
        &mut self,
        bytes: &'a [u8],
        locate: impl Fn(&Candidate) -> Option<Found<'a>>,
    ) -> Result<(), ScannerError> {
        let mut settled = [0; 2];
        for stretch in stretches(bytes) {
            let mut from = stretch.start;
            loop {
                let to = stretch.end.min(from + BLOCK_BYTES);
                self.block(bytes, from..to, &mut settled, &locate)?;
                if to == stretch.end {
                    break;
                }
                from = to - ANCHOR_BYTES_MAX;
            }
        }
        Ok(())
    }

    fn block<'a>(
        &mut self,
        bytes: &'a [u8],
        block: Range<usize>,
        settled: &mut [usize; 2],
        locate: &impl Fn(&Candidate) -> Option<Found<'a>>,
    ) -> Result<(), ScannerError> {
        let from = block.start;
        self.candidates.clear();
        self.scanner.scan(&bytes[block], self.scratch, self.candidates)?;
        for candidate in self.candidates.sorted() {
            let candidate = Candidate { end: candidate.end + from as u32, ..*candidate };
            let settled = &mut settled[candidate.anchor as usize];
            if candidate.end as usize <= *settled {
                continue;
            }
            if let Some(found) = locate(&candidate) {
                *settled = examine(self.hits, &found, candidate, *settled, self.wanted)?;
            }
        }
        Ok(())
    }
}

/// Lets the detectors look at one candidate; returns what is settled, in searched bytes.
fn examine(
    hits: &mut Vec<Hit>,
    found: &Found<'_>,
    candidate: Candidate,
    settled: usize,
    wanted: Detectors,
) -> Result<usize, ScannerError> {
    let base = found.base;
    let within = Candidate { end: candidate.end - base as u32, ..candidate };
    let mut full = false;
    let end = detectors::examine(
        found.text,
        found.key,
        within,
        settled.saturating_sub(base),
        wanted,
        |detector, range, _| {
            full |= hits.len() >= FINDINGS_MAX;
            if !full {
                hits.push(Hit { detector, place: found.place, range });
            }
        },
    );
    if full { Err(ScannerError::Full) } else { Ok(base + end) }
}

/// The name of the member a value stands in, directly or in an array.
fn name(node: Node<'_>) -> Option<&str> {
    node.key().or_else(|| node.parent()?.key())?.text()
}

/// Whether a number has a fraction or an exponent: no identifier is written so, and embeddings are full of them.
fn is_quantity(number: &str) -> bool {
    number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// Whether `text` could hold an anchor once decoded: paths and queries seldom do.
fn can_hold_anchor(text: &[u8]) -> bool {
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits >= 8 || text.iter().any(|byte| matches!(byte, b'@' | b'%'))
}

/// Decodes `%XX` and `+`; `&` and `;` become newlines, which no detector crosses. Broken escapes stay as they are.
fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at += 1;
        out.push(match byte {
            b'+' => b' ',
            b'&' | b';' => b'\n',
            b'%' => match hex_byte(&text[at..]) {
                Some(decoded) => {
                    at += 2;
                    decoded
                }
                None => b'%',
            },
            byte => *byte,
        });
    }
}

fn hex_byte(text: &[u8]) -> Option<u8> {
    let digit = |i: usize| char::from(*text.get(i)?).to_digit(16);
    Some((digit(0)? << 4 | digit(1)?) as u8)
}

/// Anchors by number, as `settled` counts them.
const _: () = assert!(Anchor::At as usize == 0 && Anchor::Digits as usize == 1);

#[cfg(test)]
mod tests;
