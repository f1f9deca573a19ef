//! The two doors: requests before policy sees them, answers before the client does.
//!
//! What is to be found is found by `search`; here it is decided what becomes of it. What is found in paths, queries and
//! forms cannot be edited, so an action that would edit it blocks. Tokens are what `tokens` sees to: in requests each
//! has to be the caller's own, and becomes its value where that is permitted; what a call carried in clear becomes
//! tokens again in its answer.
//!
//! Costs nothing but a test when a route has no rules and there are no tokens; allocates only for findings and edits.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use super::redact::{self, Change};
use super::rules::{BLOCK_SCORE_RULE, RouteRules};
use super::scanner::ScannerError;
use super::tokenise::{self, Caller, Restored, TokenRefused, Tokens};
use super::{Aside, Edit, Evidence, Finding, FoundAt, PLACES_MAX, Screened, risk};
use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::identity::Authenticated;
use crate::protocol::json::{Document, Pointers};
use crate::reason::Reason;
pub(super) use search::{Hit, Place, percent_decode, push};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod search;
mod tokens;

use tokens::Presented;
pub(super) use tokens::in_text as tokens_in_text;

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
    /// Bytes in all.
    fn len(&self) -> usize {
        let body = match self.body {
            Body::Empty => 0,
            Body::Json(document) => document.original().len(),
            Body::Form(body) | Body::Raw(body) => body.len(),
        };
        body + self.path.len() + self.query.map_or(0, str::len)
    }

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
/// [`Reason::ContentBlocked`] when an enforced rule blocks what was found, or an edit it asks for cannot be made, or a
/// token is not the caller's; [`Reason::ScannerFailed`] when not everything could be searched, unless the route lets that
/// pass.
pub fn screen(
    auth: Authenticated,
    caller: &Caller<'_>,
    content: &Content<'_>,
    rules: &RouteRules,
    scan: &mut Scan,
) -> Result<Screened, ContentRefused> {
    let presented = match rules.tokens() {
        Some(tokens) => tokens::presented(tokens, caller, content)?,
        None => Presented::default(),
    };
    if let Err(refused) = look(content, 0, rules, &[], scan) {
        let opens = rules.fails_open() && presented.is_empty();
        return if opens { Ok(Screened::unscreened(auth, refused.reason)) } else { Err(refused) };
    }
    let ResponseScreened { findings, evidence, edits } = decide(caller, content, rules, &presented, scan)?;
    let restored = presented.into_restored();
    let aside =
        if findings.is_empty() { None } else { Some(Box::new(Aside { evidence, restored, ..Aside::default() })) };
    Ok(Screened { auth, findings, aside, edits })
}

/// Screens an answer that was read whole; `restored` is what its request carried in clear.
///
/// # Errors
/// As [`screen`], but for tokens, which are text here.
pub fn screen_response(
    caller: &Caller<'_>,
    content: &Content<'_>,
    rules: &RouteRules,
    restored: &[Restored],
    scan: &mut Scan,
) -> Result<ResponseScreened, ContentRefused> {
    let own;
    let rules = if restored.is_empty() {
        rules
    } else {
        own = rules.with_tokens_of(&restored.iter().map(|restored| restored.detector).collect::<Vec<_>>());
        &own
    };
    if let Err(refused) = look(content, 0, rules, restored, scan) {
        let evidence = Evidence::unscreened(refused.reason);
        return if rules.fails_open() { Ok(ResponseScreened { evidence, ..Default::default() }) } else { Err(refused) };
    }
    decide(caller, content, rules, &Presented::default(), scan)
}

/// Searches `content`; what was found stays in `scan` until [`act`] has decided on it. Of a raw body that goes on, what
/// lies before `from` was decided before: matches that would depend on those before them are counted from there.
pub(super) fn look(
    content: &Content<'_>,
    from: usize,
    rules: &RouteRules,
    restored: &[Restored],
    scan: &mut Scan,
) -> Result<(), ContentRefused> {
    if rules.is_empty() {
        scan.hits.clear();
        return Ok(());
    }
    scan.search(content, from, rules).map_err(ContentRefused::failed)?;
    tokens::again(restored, content, from, rules, scan).map_err(ContentRefused::failed)
}

/// Where [`look`] found something in a raw body, in order.
pub(super) fn ranges(scan: &Scan) -> impl Iterator<Item = Range<usize>> {
    scan.hits.iter().map(|hit| hit.range.clone())
}

/// Decides on what [`look`] found, as far as it `counts`: by the JSON node it lies in, and the place there. Tokens are
/// text here.
pub(super) fn act(
    caller: &Caller<'_>,
    content: &Content<'_>,
    rules: &RouteRules,
    scan: &mut Scan,
    counts: impl Fn(Option<usize>, &Range<usize>) -> bool,
) -> Result<ResponseScreened, ContentRefused> {
    scan.hits.retain(|hit| {
        let node = if let Place::Node(node) = hit.place { Some(node) } else { None };
        counts(node, &hit.range)
    });
    decide(caller, content, rules, &Presented::default(), scan)
}

impl ContentRefused {
    /// Not everything could be searched.
    fn failed(_: ScannerError) -> Self {
        Self { reason: Reason::ScannerFailed, findings: Vec::new(), evidence: Evidence::default(), rule: None }
    }

    /// Something about a token, before anything else was looked at.
    fn of_token(refused: TokenRefused) -> Self {
        let (findings, evidence) = (Vec::new(), Evidence::default());
        Self { reason: Reason::ContentBlocked, findings, evidence, rule: Some(refused.rule().into()) }
    }
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
    let content = Content::body(Body::Raw(text));
    scan.search(&content, 0, rules)?;
    let found = |hit: &Hit| Match {
        detector: hit.detector,
        range: hit.range.clone(),
        confidence: hit.confidence,
        action: rules.action(hit.detector, hit.confidence, Mode::Enforce).map(|(action, _)| action),
    };
    Ok(scan.hits.iter().map(found).collect())
}

/// The risk score of what [`find`] found, and the mode of `safety.block_score` if it reaches that.
#[must_use]
pub fn risk_of(found: &[Match], rules: &RouteRules) -> (u8, Option<Mode>) {
    let acted_on = |one: &&Match| one.action.is_some();
    let mut findings: Vec<_> = found
        .iter()
        .filter(acted_on)
        .map(|Match { detector, confidence, action, .. }| Finding {
            detector: *detector,
            count: 1,
            confidence: *confidence,
            action: action.unwrap_or(ContentAction::Flag),
            mode: Mode::Enforce,
        })
        .collect();
    findings.sort_by_key(|finding| finding.detector);
    let score = risk::score(&findings);
    (score, rules.block_score().filter(|(bound, _)| score >= *bound).map(|(_, mode)| mode))
}

/// Tallies findings and turns enforced actions into edits or a refusal.
fn decide(
    caller: &Caller<'_>,
    content: &Content<'_>,
    rules: &RouteRules,
    presented: &Presented,
    scan: &mut Scan,
) -> Result<ResponseScreened, ContentRefused> {
    tokens::leave_alone(caller, content, rules, presented, &mut scan.hits);
    if scan.hits.is_empty() && presented.is_empty() {
        return Ok(ResponseScreened::default());
    }
    let hits = &scan.hits;
    let (findings, places) = (presented.tally(hits, rules), presented.places(hits, content));
    let score = risk::score(&findings);
    let exceeded = rules.block_score().filter(|(bound, _)| score >= *bound).map(|(_, mode)| mode);
    let would_block = exceeded == Some(Mode::Observe);
    let mut evidence = Evidence { places, score, would_block, ..Evidence::default() };
    let refuse = |rule: &str| ContentRefused {
        reason: Reason::ContentBlocked,
        findings: findings.clone(),
        evidence: evidence.clone(),
        rule: Some(rule.into()),
    };
    let mut changes = presented.changes();
    for hit in hits {
        let Some((action, rule)) = rules.action(hit.detector, hit.confidence, Mode::Enforce) else { continue };
        let node = match (action, hit.place) {
            (ContentAction::Flag | ContentAction::Detokenize, _) => continue,
            (ContentAction::Block, _) | (_, Place::Form | Place::Path | Place::Query) => return Err(refuse(rule)),
            (_, Place::Node(node)) => node,
            (_, Place::Raw) => 0,
        };
        // What would keep the end of a value would keep that of every part.
        let keeps = hit.is_part && matches!(action, ContentAction::Mask | ContentAction::Pseudonymize);
        let action = if keeps { ContentAction::Redact } else { action };
        let (range, rule) = (hit.range.clone(), Arc::clone(rule));
        changes.push(Change { node, range, detector: hit.detector, action, rule, text: Cow::Borrowed("") });
    }
    if exceeded == Some(Mode::Enforce) {
        return Err(refuse(BLOCK_SCORE_RULE));
    }
    redact::join(&mut changes);
    for at in 0..changes.len() {
        let (before, behind) = changes.split_at_mut(at + 1);
        let Some(change) = before.last_mut() else { continue };
        let meets = behind.first().is_some_and(|next| next.node == change.node && next.range.start == change.range.end);
        write(change, meets, caller, content, rules.tokens()).map_err(|refused| refuse(refused.rule()))?;
    }
    let edits = match content.body {
        Body::Json(document) => redact::json(document, &changes).map_err(|collision| refuse(&collision.0))?,
        Body::Raw(_) => redact::raw(&changes),
        Body::Empty | Body::Form(_) => Vec::new(),
    };
    if let Body::Json(document) = content.body {
        let became_text =
            |edit: &&Edit| edit.bytes.starts_with(b"\"") && !document.original()[edit.range.start..].starts_with('"');
        evidence.numbers_to_text = edits.iter().filter(became_text).count() as u32;
    }
    Ok(ResponseScreened { findings, evidence, edits })
}

/// Finds the text that a change writes. Where nobody could tell where a token ends, which is in the midst of a run of
/// base64, there is none: what is redacted does not come back, what is no token any more would have the call refused.
fn write(
    change: &mut Change,
    meets_another: bool,
    caller: &Caller<'_>,
    content: &Content<'_>,
    tokens: Option<&Tokens>,
) -> Result<(), TokenRefused> {
    let redacted = Cow::Borrowed(change.detector.placeholder());
    change.text = match (change.action, tokens) {
        (ContentAction::Detokenize, _) => return Ok(()),
        (ContentAction::Mask, _) => redact::masked(&original(change, content)).into(),
        (ContentAction::Tokenize, Some(_))
            if meets_another || next(change, content).is_some_and(tokenise::continues) =>
        {
            redacted
        }
        (ContentAction::Tokenize, Some(tokens)) => {
            tokens.tokenize(caller, change.detector, original(change, content).as_bytes())?.into()
        }
        (ContentAction::Pseudonymize, Some(tokens)) => {
            tokens.pseudonymize(caller, change.detector, &original(change, content))?.map_or(redacted, Cow::Owned)
        }
        _ => redacted,
    };
    Ok(())
}

/// The byte behind what a change takes the place of.
fn next(change: &Change, content: &Content<'_>) -> Option<u8> {
    let text = match content.body {
        Body::Json(document) => document.node(change.node)?.text()?.as_bytes(),
        Body::Raw(body) => body,
        Body::Empty | Body::Form(_) => return None,
    };
    text.get(change.range.end).copied()
}

/// What a change takes the place of.
fn original<'a>(change: &Change, content: &Content<'a>) -> Cow<'a, str> {
    match content.body {
        Body::Json(document) => {
            let text = document.node(change.node).and_then(|node| node.text()).unwrap_or_default();
            text.get(change.range.clone()).unwrap_or_default().into()
        }
        Body::Raw(body) => String::from_utf8_lossy(body.get(change.range.clone()).unwrap_or_default()),
        Body::Empty | Body::Form(_) => Cow::Borrowed(""),
    }
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
fn found_at(hits: &[Hit], content: &Content<'_>) -> Vec<FoundAt> {
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
