//! What has to hold of findings, edits and tokens whatever the content: bodies of fuzz targets, run by `crate::fuzzing`.

use std::cell::RefCell;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;
use crate::config::resolved::ContentAction::{Mask, Redact, Tokenize};
use crate::protocol::json::{Kind, Limits, Node, Walker};
use crate::safety::fuzz::{as_caller, rules, split};
use crate::safety::splice;
use crate::safety::tokenise::VALUE_BYTES_MAX;

thread_local! {
    static SCAN: RefCell<Scan> = RefCell::default();
}

static REDACTING: LazyLock<RouteRules> = LazyLock::new(|| rules(Redact, 1));
static MASKING: LazyLock<RouteRules> = LazyLock::new(|| rules(Mask, 1));
static TOKENIZING: LazyLock<RouteRules> = LazyLock::new(|| rules(Tokenize, 1));
static OTHER_KEY: LazyLock<RouteRules> = LazyLock::new(|| rules(Tokenize, 2));

/// A body, as JSON if it is that and the first byte does not say otherwise.
///
/// Nothing is reported twice. What is sent is the body but for the places that were found, and still JSON if it was.
/// Where everything found was redacted, nothing is found any more, but beside what was redacted: a placeholder is shorter
/// or longer than the value was, and no part of a number, so that detectors which read around themselves may read on.
pub fn edits(input: &[u8]) {
    let Some((how, body)) = split(input) else { return };
    let rules = if how & 1 == 0 { &*REDACTING } else { &*MASKING };
    let mut walker = Walker::new();
    let document = if how & 2 == 0 { walker.walk(body, &Limits::default()).ok() } else { None };
    let content = Content::body(document.map_or(Body::Raw(body), Body::Json));
    let Some((hits, edits)) = screened(&content, rules) else { return };
    check_once(&hits);
    let mut out = Vec::new();
    splice(body, &edits, &mut out).expect("edits fit");
    let mut again = Walker::new();
    let sent = document.map(|_| again.walk(&out, &Limits::default()).expect("still JSON"));
    match (document, sent) {
        (Some(before), Some(after)) => check_document(&hits, before, after),
        _ => check_text(&ranges_of(&hits, Place::Raw), body, &out),
    }
    if how & 1 == 0 {
        let content = Content::body(sent.map_or(Body::Raw(&out), Body::Json));
        let left = screened(&content, rules).map(|(hits, _)| hits).unwrap_or_default();
        let again = left.iter().find(|hit| !is_beside_placeholder(&content, hit));
        assert_eq!(again.map(|hit| hit.detector), None, "{again:?} in {}", String::from_utf8_lossy(&out));
    }
}

/// What is found in an answer, and how it is changed; `None` if it does not pass.
fn screened(content: &Content<'_>, rules: &RouteRules) -> Option<(Vec<Hit>, Vec<Edit>)> {
    static HOUR: AtomicU64 = AtomicU64::new(0);
    // Each in an hour of its own, so that its values are not too many.
    let hour = HOUR.fetch_add(1, Relaxed);
    SCAN.with_borrow_mut(|scan| {
        look(content, 0, rules, &[], scan).ok()?;
        let hits = scan.hits.clone();
        let decided = as_caller("acme", hour, |caller| act(caller, content, rules, scan, |_, _| true));
        Some((hits, decided.ok()?.edits))
    })
}

/// Findings of one type in one place do not overlap, and none lies in another that is as sure.
pub(super) fn check_once(hits: &[Hit]) {
    for (at, hit) in hits.iter().enumerate() {
        assert!(!hit.range.is_empty(), "{hit:?}");
        for other in hits.iter().skip(at + 1).take_while(|other| other.place == hit.place) {
            let overlap = hit.range.start < other.range.end && other.range.start < hit.range.end;
            assert!(!overlap || hit.detector != other.detector, "twice: {hit:?} and {other:?}");
            let within = other.range.start >= hit.range.start && other.range.end <= hit.range.end;
            assert!(!within || other.confidence > hit.confidence, "twice: {other:?} in {hit:?}");
        }
    }
}

/// Whether a placeholder stands in what a detector looks at around a finding.
fn is_beside_placeholder(content: &Content<'_>, hit: &Hit) -> bool {
    const REACH: usize = 512;
    let node =
        if let (Place::Node(at), Body::Json(document)) = (hit.place, content.body) { document.node(at) } else { None };
    let (text, name) = match (node, content.body) {
        (Some(node), _) => (text(node), search::name(node).unwrap_or_default()),
        (None, Body::Raw(body)) => (body, ""),
        _ => return false,
    };
    let around = &text[hit.range.start.saturating_sub(REACH)..text.len().min(hit.range.end + REACH)];
    [around, name.as_bytes()].iter().any(|text| memchr::memmem::find(text, b"[REDACTED:").is_some())
}

/// The places found in one text, joined where they overlap.
fn ranges_of(hits: &[Hit], place: Place) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for hit in hits.iter().filter(|hit| hit.place == place) {
        match ranges.last_mut().filter(|last| hit.range.start < last.end) {
            Some(last) => last.end = last.end.max(hit.range.end),
            None => ranges.push(hit.range.clone()),
        }
    }
    ranges
}

/// Documents of the same nodes, which differ in what was found alone: byte by byte but for the tokens that hold it.
pub(super) fn check_document(hits: &[Hit], before: Document<'_>, after: Document<'_>) {
    assert_eq!(before.nodes().count(), after.nodes().count());
    let (mut at, mut sent_at) = (0, 0);
    for (node, sent) in before.nodes().zip(after.nodes()) {
        let ranges = ranges_of(hits, Place::Node(node.index()));
        if !node.kind().is_text() {
            assert_eq!(node.kind(), sent.kind());
            continue;
        }
        let between = (&before.original()[at..node.span().start], &after.original()[sent_at..sent.span().start]);
        assert_eq!(between.0, between.1, "between tokens");
        (at, sent_at) = (node.span().end, sent.span().end);
        if ranges.is_empty() {
            assert_eq!(node.token(), sent.token(), "a token that holds nothing");
        } else {
            assert!(node.kind() == sent.kind() || (node.kind(), sent.kind()) == (Kind::Number, Kind::String));
            check_text(&ranges, text(node), text(sent));
        }
    }
    assert_eq!(&before.original()[at..], &after.original()[sent_at..]);
}

fn text(node: Node<'_>) -> &[u8] {
    node.text().expect("a text").as_bytes()
}

/// `after` is `before` with a placeholder or a mask in each of these places.
fn check_text(ranges: &[Range<usize>], before: &[u8], after: &[u8]) {
    let (mut at, mut rest) = (0, after);
    for range in ranges {
        rest = rest.strip_prefix(&before[at..range.start]).expect("what stands before");
        let masked = String::from_utf8_lossy(&before[range.clone()]).chars().count();
        let len = match rest.strip_prefix(b"[REDACTED:") {
            Some(label) => b"[REDACTED:".len() + memchr::memchr(b']', label).expect("its end") + 1,
            None => {
                let stars = rest.iter().take_while(|byte| **byte == b'*').count();
                assert!(stars + 4 >= masked, "{stars} stars of {masked}");
                let kept = String::from_utf8_lossy(&before[range.clone()]);
                stars + kept.chars().skip(stars).map(char::len_utf8).sum::<usize>()
            }
        };
        rest = &rest[len.min(rest.len())..];
        at = range.end;
    }
    assert_eq!(rest, &before[at..], "what stands behind");
}

/// A body or a value; the first byte says of which type.
///
/// What a tenant had made a token comes back to it alone, bit for bit; of a body, every value does where all are permitted.
/// Whatever else opens is what would be made again.
pub fn tokens(input: &[u8]) {
    let Some((kind, value)) = split(input) else { return };
    check_value(Detector::ALL[usize::from(kind) % Detector::ALL.len()], value);
    check_parsing(input);
    let mut walker = Walker::new();
    if let Ok(document) = walker.walk(value, &Limits::default()) {
        check_body(document);
    }
}

fn made_by(rules: &'static RouteRules) -> &'static Tokens {
    rules.tokens().expect("there is a key")
}

fn next_hour() -> u64 {
    static HOUR: AtomicU64 = AtomicU64::new(0);
    HOUR.fetch_add(1, Relaxed)
}

fn check_value(kind: Detector, value: &[u8]) {
    let (tokens, other) = (made_by(&TOKENIZING), made_by(&OTHER_KEY));
    let hour = next_hour();
    let Ok(token) = as_caller("acme", hour, |caller| tokens.tokenize(caller, kind, value)) else {
        return assert!(value.len() > VALUE_BYTES_MAX, "refused");
    };
    let within = format!("\u{e9}acptok.{token}. {token}");
    let mut at = 0;
    for _ in 0..2 {
        let found = tokens.next(within.as_bytes(), at).expect("a token");
        assert_eq!(within[found.range.clone()], token);
        let opened =
            |tenant: &str, tokens: &Tokens| as_caller(tenant, hour, |caller| tokens.detokenize(caller, &found));
        assert_eq!(opened("acme", tokens), Ok(Restored { detector: kind, value: value.to_vec() }));
        assert_eq!(opened("globex", tokens), Err(TokenRefused::Foreign));
        assert_eq!(opened("acme", other), Err(TokenRefused::Foreign));
        at = found.range.end;
    }
}

/// Text that may hold tokens.
fn check_parsing(text: &[u8]) {
    let tokens = made_by(&TOKENIZING);
    let mut at = 0;
    as_caller("acme", next_hour(), |caller| {
        while let Some(token) = tokens.next(text, at) {
            assert!(token.range.start >= at && token.range.end <= text.len());
            if let Ok(Restored { detector, value }) = tokens.detokenize(caller, &token) {
                let made = tokens.tokenize(caller, detector, &value).expect("it was one");
                assert_eq!(made.as_bytes(), &text[token.range.clone()]);
            }
            at = token.range.end;
        }
    });
}

/// An answer that becomes one of tokens, and goes back as a request where every value is permitted.
fn check_body(document: Document<'_>) {
    let rules = &*TOKENIZING;
    let Some((_, edits)) = screened(&Content::body(Body::Json(document)), rules) else { return };
    let (mut out, mut walker) = (Vec::new(), Walker::new());
    splice(document.original().as_bytes(), &edits, &mut out).expect("edits fit");
    let sent = walker.walk(&out, &Limits::default()).expect("still JSON");
    let content = Content::body(Body::Json(sent));
    let presented = |tenant: &str| {
        as_caller(tenant, 0, |caller| tokens::presented(made_by(rules), caller, &content).map(|p| p.changes()))
    };
    let Ok(changes) = presented("acme") else {
        // Its own text was like a token.
        return assert!(
            made_by(rules).next(document.original().as_bytes(), 0).is_some()
                || document.escaped_nodes().next().is_some()
        );
    };
    // Where a token would have no end the value was redacted, and does not come back.
    if edits.iter().any(|edit| memchr::memmem::find(&edit.bytes, redact::PLACEHOLDER.as_bytes()).is_some()) {
        return;
    }
    assert!(edits.is_empty() || presented("globex").is_err(), "another tenant's");
    let back = redact::json(sent, &changes).expect("keys stay as they are");
    let mut returned = Vec::new();
    splice(&out, &back, &mut returned).expect("edits fit");
    let mut again = Walker::new();
    let returned = again.walk(&returned, &Limits::default()).expect("still JSON");
    for (before, after) in document.nodes().zip(returned.nodes()) {
        let deep = before.pointer().split('/').count() > 32 || before.pointer().len() > 120;
        if before.kind() != Kind::Key && !deep {
            assert_eq!(before.text(), after.text());
        }
    }
}
