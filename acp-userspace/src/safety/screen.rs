//! The two doors: requests before policy sees them, answers before the client does.
//!
//! What is to be found is found by `search`; here it is decided what becomes of it. What is found in paths, queries and
//! forms cannot be edited, so an action that would edit it blocks.
//!
//! Costs nothing but a test when a route has no rules; allocates only for findings and edits.

use std::ops::Range;
use std::sync::Arc;

use super::redact::{self, Change};
use super::rules::{BLOCK_SCORE_RULE, RouteRules};
use super::scanner::ScannerError;
use super::{Edit, Evidence, Finding, FoundAt, PLACES_MAX, Screened, risk};
use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::identity::Authenticated;
use crate::protocol::json::{Document, Pointers};
use crate::reason::Reason;
use search::{Hit, Place};

mod search;

pub use search::{FINDINGS_MAX, Scan};

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
    /// Where, and how grave it is.
    pub evidence: Evidence,
    /// The rule that blocks.
    pub rule: Option<Arc<str>>,
}

/// What screening an answer decided.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseScreened {
    /// One entry per (type, action, mode).
    pub findings: Vec<Finding>,
    /// Where they lie, and how grave they are.
    pub evidence: Evidence,
    /// What is changed before it is sent.
    pub edits: Vec<Edit>,
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
    let ResponseScreened { findings, evidence, edits } = screen_response(content, rules, scan)?;
    let evidence = if findings.is_empty() { None } else { Some(Box::new(evidence)) };
    Ok(Screened { auth, findings, evidence, edits })
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
        evidence: Evidence::default(),
        rule: None,
    })?;
    if scan.hits.is_empty() {
        return Ok(ResponseScreened::default());
    }
    decide(&scan.hits, content, rules)
}

/// Something that was found, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// What it is.
    pub detector: Detector,
    /// Where, in bytes of the text.
    pub range: Range<usize>,
    /// How sure that is, in percent.
    pub confidence: u8,
    /// The strictest action that an enforced rule has for it.
    pub action: Option<ContentAction>,
}

/// Everything in one plain text that `rules` look for, in order.
///
/// # Errors
/// When not everything could be searched.
pub fn find(text: &[u8], rules: &RouteRules, scan: &mut Scan) -> Result<Vec<Match>, ScannerError> {
    if rules.is_empty() {
        return Ok(Vec::new());
    }
    scan.search(&Content::body(Body::Raw(text)), rules)?;
    let found = |hit: &Hit| Match {
        detector: hit.detector,
        range: hit.range.clone(),
        confidence: hit.confidence,
        action: rules.action(hit.detector, hit.confidence, Mode::Enforce).map(|(action, _)| action),
    };
    Ok(scan.hits.iter().map(found).collect())
}

/// Tallies findings and turns enforced actions into edits or a refusal.
fn decide(hits: &[Hit], content: &Content<'_>, rules: &RouteRules) -> Result<ResponseScreened, ContentRefused> {
    let findings = tally(hits, rules);
    let score = risk::score(&findings);
    let exceeded = rules.block_score().filter(|(bound, _)| score >= *bound).map(|(_, mode)| mode);
    let would_block = exceeded == Some(Mode::Observe);
    let evidence = Evidence { places: places(hits, content), score, would_block };
    let refuse = |rule: Option<&Arc<str>>| ContentRefused {
        reason: Reason::ContentBlocked,
        findings: findings.clone(),
        evidence: evidence.clone(),
        rule: rule.cloned(),
    };
    let mut changes = Vec::new();
    for hit in hits {
        let Some((action, rule)) = rules.action(hit.detector, hit.confidence, Mode::Enforce) else { continue };
        let node = match (action, hit.place) {
            (ContentAction::Flag, _) => continue,
            (ContentAction::Block, _) | (_, Place::Form | Place::Path | Place::Query) => {
                return Err(refuse(Some(rule)));
            }
            (ContentAction::Mask | ContentAction::Redact, Place::Node(node)) => node,
            (ContentAction::Mask | ContentAction::Redact, Place::Raw) => 0,
        };
        changes.push(Change { node, range: hit.range.clone(), detector: hit.detector, action, rule: Arc::clone(rule) });
    }
    if exceeded == Some(Mode::Enforce) {
        return Err(refuse(Some(&BLOCK_SCORE_RULE.into())));
    }
    redact::join(&mut changes);
    let edits = match content.body {
        Body::Json(document) => redact::json(document, &changes).map_err(|collision| refuse(Some(&collision.0)))?,
        Body::Raw(body) => redact::raw(body, &changes),
        Body::Empty | Body::Form(_) => Vec::new(),
    };
    Ok(ResponseScreened { findings, evidence, edits })
}

/// Counts what was found by type, and by what becomes of it; in order of types, what is enforced first.
fn tally(hits: &[Hit], rules: &RouteRules) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for Hit { detector, confidence, .. } in hits {
        for mode in [Mode::Enforce, Mode::Observe] {
            let Some((action, _)) = rules.action(*detector, *confidence, mode) else { continue };
            let same = |known: &&mut Finding| (known.detector, known.action, known.mode) == (*detector, action, mode);
            match findings.iter_mut().find(same) {
                Some(known) => (known.count, known.confidence) = (known.count + 1, known.confidence.max(*confidence)),
                None => {
                    findings.push(Finding { detector: *detector, count: 1, confidence: *confidence, action, mode });
                }
            }
        }
    }
    findings.sort_by_key(|f| (f.detector, f.mode == Mode::Observe, f.action));
    findings
}

/// The first places of findings, each once; keys that hold one print as `*` (THREATS A16).
fn places(hits: &[Hit], content: &Content<'_>) -> Vec<FoundAt> {
    let found = |place: Place| hits.binary_search_by_key(&place, |hit| hit.place).is_ok();
    let mut pointers = Pointers::default();
    let mut places: Vec<FoundAt> = Vec::new();
    for of_place in hits.chunk_by(|a, b| a.place == b.place && a.detector == b.detector) {
        let Some(Hit { detector, place, .. }) = of_place.first() else { continue };
        if places.len() == PLACES_MAX {
            break;
        }
        let place = match (*place, content.body) {
            (Place::Node(node), Body::Json(document)) => match document.node(node) {
                Some(node) => format!("#{}", pointers.of(node, |key| found(Place::Node(key.index())))),
                None => continue,
            },
            (Place::Node(_) | Place::Raw, _) => "body".to_owned(),
            (Place::Form, _) => "form".to_owned(),
            (Place::Path, _) => "path".to_owned(),
            (Place::Query, _) => "query".to_owned(),
        };
        let one = FoundAt { detector: *detector, place };
        if !places.contains(&one) {
            places.push(one);
        }
    }
    places
}

#[cfg(test)]
mod tests;
