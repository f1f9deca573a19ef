//! The two doors: requests before policy sees them, answers before the client does.
//!
//! What is to be found is found by `search`; here it is decided what becomes of it. What is found in paths, queries and
//! forms cannot be edited, so an action that would edit it blocks.
//!
//! Costs nothing but a test when a route has no rules; allocates only for findings and edits.

use std::ops::Range;
use std::sync::Arc;

use super::redact::{self, Change};
use super::rules::RouteRules;
use super::scanner::ScannerError;
use super::{Edit, Finding, Screened};
use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::identity::Authenticated;
use crate::protocol::json::Document;
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
        action: rules.action(hit.detector, Mode::Enforce).map(|(action, _)| action),
    };
    Ok(scan.hits.iter().map(found).collect())
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
            (ContentAction::Block, _) | (_, Place::Form | Place::Path | Place::Query) => {
                return Err(refuse(hit.detector));
            }
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

#[cfg(test)]
mod tests;
