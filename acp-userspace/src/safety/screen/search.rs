//! One search: all that is wanted, in every text of the content, each place once.
//!
//! JSON is searched twice at most: the original as it stands, whose structure no anchor crosses, and the unescaped
//! texts of the strings that hold escapes, of which the long ones are left out of the first search. What the search
//! names is looked at inside its own string, key or number. Paths, queries and forms are percent-decoded first. Long
//! texts are searched in overlapping blocks. Items of arrays are looked at together too (`arrays`). Where the name of
//! a member holds a word that announces values, its value is looked at too. What a text stands for when it is decoded
//! (`layers`) is searched like the text itself.

use std::cell::Cell;
use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::{Body, Content};
use crate::config::resolved::{ContentAction, CustomDetector, Detector, Mode};
use crate::protocol::json::{Document, Kind, Node};
use crate::safety::custom;
use crate::safety::decode::{Budget, Decoder, suspect};
use crate::safety::detectors::{self, Detectors, phrases, secrets, words};
use crate::safety::fields::Clean;
use crate::safety::hyperscan::{Hyperscan, Scratch};
use crate::safety::rules::RouteRules;
use crate::safety::scanner::{Anchor, Candidate, Candidates, Family, Scanner, ScannerError};
use crate::safety::shapes::shapes;
use arrays::Joined;

mod arrays;
mod layers;

/// Bytes searched at once: what fits the first cache level beside the engine's tables.
pub(super) const BLOCK_BYTES: usize = 16 << 10;
/// Shortest string with escapes that is left out of the search of the original, where nothing of it is found.
const SKIPPED_BYTES_MIN: usize = 64;
/// Candidates of one block: as many mean hostile content, which is an error (THREATS A25).
const CANDIDATES_MAX: usize = BLOCK_BYTES;
/// Findings of one body; more are an error, because each costs an edit (THREATS A25).
pub const FINDINGS_MAX: usize = 8_192;
/// Findings before those are counted once that a text and what it decodes to have in common.
const HITS_MAX: usize = 4 * FINDINGS_MAX;

/// One worker's memory for screening: 128 KiB and the engine's scratch, more only after content with many findings.
#[derive(Debug)]
pub struct Scan {
    engine: Option<(Arc<Hyperscan>, Scratch)>,
    candidates: Candidates,
    pub(super) hits: Vec<Hit>,
    decoded: Vec<u8>,
    decoder: Decoder,
    joined: Joined,
    /// Fields of heads that were found clean.
    pub(in crate::safety) clean: Clean,
}

/// One finding's place.
#[derive(Debug, Clone)]
pub(in crate::safety) struct Hit {
    pub(in crate::safety) detector: Detector,
    pub(in crate::safety) place: Place,
    pub(in crate::safety) range: Range<usize>,
    pub(in crate::safety) confidence: u8,
    /// It is a part of a value only; others lie beside it.
    pub(in crate::safety) is_part: bool,
}

/// What a finding lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::safety) enum Place {
    /// In the text of this JSON node.
    Node(usize),
    /// In a raw body.
    Raw,
    /// In a form, which cannot be edited.
    Form,
    /// In the path, which cannot be edited.
    Path,
    /// In the query, which cannot be edited.
    Query,
}

impl Default for Scan {
    fn default() -> Self {
        let candidates = Candidates::with_room(CANDIDATES_MAX);
        let (hits, decoded, decoder, joined, clean) = Default::default();
        Self { engine: None, candidates, hits, decoded, decoder, joined, clean }
    }
}

impl Scan {
    /// Fills `hits` with everything the rules look for; of forms in a raw body, what lies behind `from`.
    pub(super) fn search(
        &mut self,
        content: &Content<'_>,
        from: usize,
        rules: &RouteRules,
    ) -> Result<(), ScannerError> {
        self.hits.clear();
        let Some(scanner) = rules.scanner() else { return Err(ScannerError::Engine) };
        let mut search = self.prepare(scanner, (rules, from), content)?;
        match content.body {
            Body::Empty => {}
            Body::Json(document) => {
                search.original(document)?;
                search.escaped(document)?;
                search.structure(document)?;
                search.layers_of_json(document)?;
            }
            Body::Form(body) => search.encoded(body, Place::Form)?,
            Body::Raw(body) => search.plain(body, Place::Raw)?,
        }
        search.encoded(content.path.as_bytes(), Place::Path)?;
        search.encoded(content.query.unwrap_or_default().as_bytes(), Place::Query)?;
        if !rules.custom().is_empty() {
            custom::search(rules.custom(), content, from, &mut self.hits)?;
        }
        resolve(&mut self.hits, rules);
        if self.hits.len() > FINDINGS_MAX { Err(ScannerError::Full) } else { Ok(()) }
    }

    /// Pairs the buffers with the scanner; its scratch is made anew only after a reload brought another one.
    fn prepare<'s>(
        &'s mut self,
        scanner: &Arc<Hyperscan>,
        (rules, from): (&'s RouteRules, usize),
        content: &Content<'s>,
    ) -> Result<Search<'s>, ScannerError> {
        if !self.engine.as_ref().is_some_and(|(used, _)| Arc::ptr_eq(used, scanner)) {
            self.engine = Some((scanner.clone(), scanner.scratch()?));
        }
        let Some((scanner, scratch)) = &mut self.engine else { return Err(ScannerError::Engine) };
        let (candidates, hits, decoded) = (&mut self.candidates, &mut self.hits, &mut self.decoded);
        let document = if let Body::Json(document) = content.body { Some(document) } else { None };
        let (decoder, joined, budget) = (&mut self.decoder, &mut self.joined, Budget::for_bytes(content.len()));
        let (wanted, forms) = (rules.wanted(), rules.custom());
        Ok(Search {
            document,
            scanner,
            scratch,
            candidates,
            hits,
            decoded,
            decoder,
            joined,
            budget,
            wanted,
            forms,
            from,
        })
    }
}

/// One search, borrowing from [`Scan`].
struct Search<'s> {
    /// What is searched, if it is JSON.
    document: Option<Document<'s>>,
    scanner: &'s Hyperscan,
    scratch: &'s mut Scratch,
    candidates: &'s mut Candidates,
    hits: &'s mut Vec<Hit>,
    decoded: &'s mut Vec<u8>,
    decoder: &'s mut Decoder,
    joined: &'s mut Joined,
    /// For all texts together.
    budget: Budget,
    wanted: Detectors,
    /// Forms of the operator's own, which are looked for in decoded texts here, in all others by [`custom`].
    forms: &'s [CustomDetector],
    /// Where the part of a raw body begins that is not decided yet.
    from: usize,
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
        let (from, near) = (part.start, Cell::new(0));
        self.each(&document.original().as_bytes()[part], |candidate| {
            let mut at = near.get();
            let node = document.token_near(&mut at, from + candidate.end as usize - 1);
            near.set(at);
            let node = node.filter(|node| !node.has_escapes())?;
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

    /// What names tell of values, and what the items of arrays say together.
    fn structure(&mut self, document: Document<'_>) -> Result<(), ScannerError> {
        let secrets = self.wanted.secrets();
        for node in document.keys_and_arrays() {
            if node.kind() == Kind::Array {
                self.array(node)?;
            } else if secrets {
                self.assigned(node)?;
            }
        }
        Ok(())
    }

    /// The value of a member, where a secret's name stands before it.
    fn assigned(&mut self, key: Node<'_>) -> Result<(), ScannerError> {
        let Some(node) = key.value().filter(|value| value.kind() == Kind::String) else { return Ok(()) };
        // Of most members the name and the value's length tell enough.
        let len = if node.has_escapes() { usize::MAX } else { node.span().len() - 2 };
        if len < secrets::VALUE_BYTES_MIN || !key.bytes().is_some_and(|name| secrets::may_be_assigned(name, len)) {
            debug_assert!(
                secrets::assigned(key.text().unwrap_or_default(), node.bytes().unwrap_or_default()).is_none()
            );
            return Ok(());
        }
        let Some(key) = key.text() else { return Ok(()) };
        let found = node.text().and_then(|text| secrets::assigned(key, text.as_bytes()));
        if let Some(secret) = found.filter(|secret| self.wanted.contains(secret.kind)) {
            let place = Place::Node(node.index());
            let secrets::Secret { kind: detector, range, confidence } = secret;
            push(self.hits, Hit { detector, place, range, confidence, is_part: false })?;
        }
        Ok(())
    }

    /// A path, a query or a form.
    fn encoded(&mut self, text: &[u8], place: Place) -> Result<(), ScannerError> {
        let anchored = self.wanted.secrets() || self.wanted.words() || self.wanted.phrases();
        let clean = (!anchored && !can_hold_shape(text)) || (!self.wanted.phrases() && is_plain_name(text));
        if clean && suspect(text, 0).is_none() {
            return Ok(());
        }
        let mut decoded = std::mem::take(self.decoded);
        percent_decode(text, &mut decoded);
        let result = self.plain(&decoded, place);
        *self.decoded = decoded;
        result
    }

    fn plain(&mut self, text: &[u8], place: Place) -> Result<(), ScannerError> {
        self.each(text, |_| Some(Found { text, base: 0, key: None, place }))?;
        self.layers(text, None, place)
    }

    /// Searches `bytes`; `locate` says which text a candidate lies in.
    fn each<'a>(
        &mut self,
        bytes: &'a [u8],
        locate: impl Fn(&Candidate) -> Option<Found<'a>>,
    ) -> Result<(), ScannerError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(ScannerError::TooLarge);
        }
        if self.wanted.shapes() {
            let mut places = shapes(bytes, self.wanted);
            while let Some(candidate) = places.next() {
                let Some(found) = locate(&candidate) else { continue };
                let settled = places.settled(candidate.anchor);
                places.settle(candidate.anchor, examine(self.hits, &found, candidate, settled, self.wanted)?);
            }
        }
        match (self.wanted.secrets(), self.wanted.words()) {
            (true, true) => self.blocks(Family::Both, secrets::BACK_BYTES_MAX, bytes, &locate)?,
            (true, false) => self.blocks(Family::Secrets, secrets::BACK_BYTES_MAX, bytes, &locate)?,
            (false, true) => self.blocks(Family::Words, words::NEEDLE_BYTES_MAX, bytes, &locate)?,
            (false, false) => {}
        }
        if self.wanted.phrases() {
            self.blocks(Family::Phrases, phrases::ANCHOR_BYTES_MAX, bytes, &locate)?;
        }
        Ok(())
    }

    /// Searches `bytes` block by block; each overlaps the one before by the longest anchor.
    fn blocks<'a>(
        &mut self,
        family: Family,
        overlap: usize,
        bytes: &'a [u8],
        locate: &impl Fn(&Candidate) -> Option<Found<'a>>,
    ) -> Result<(), ScannerError> {
        let (mut from, mut searched, mut names) = (0, 0, Names::default());
        loop {
            let to = bytes.len().min(from + BLOCK_BYTES);
            self.candidates.clear();
            self.scanner.scan(family, &bytes[from..to], self.scratch, self.candidates)?;
            for candidate in self.candidates.sorted() {
                let candidate = Candidate { end: candidate.end + from as u32, ..*candidate };
                // The block before has reported what ends where both overlap.
                if candidate.end as usize <= searched {
                    continue;
                }
                if let Some(found) = locate(&candidate) {
                    announced(self.hits, self.document, &found, candidate, &mut names, self.wanted)?;
                    examine(self.hits, &found, candidate, 0, self.wanted)?;
                }
            }
            if to == bytes.len() {
                return Ok(());
            }
            (from, searched) = (to - overlap, to);
        }
    }
}

/// The name that words were found in last, and how many of them it had until now.
#[derive(Debug, Default)]
struct Names {
    index: usize,
    words: usize,
}

impl Names {
    /// Counts one more in the name `index`; false if it had enough.
    fn count(&mut self, index: usize) -> bool {
        self.words = if self.index == index { self.words + 1 } else { 1 };
        self.index = index;
        self.words <= words::PER_KEY_MAX
    }
}

/// Looks at the value of the member whose name a word stands in, and at the direct items of an array.
fn announced(
    hits: &mut Vec<Hit>,
    document: Option<Document<'_>>,
    found: &Found<'_>,
    candidate: Candidate,
    names: &mut Names,
    wanted: Detectors,
) -> Result<(), ScannerError> {
    let (Anchor::Word(_) | Anchor::Phrase(_), Place::Node(index), Some(document)) =
        (candidate.anchor, found.place, document)
    else {
        return Ok(());
    };
    let name = document.node(index).filter(|node| node.kind() == Kind::Key).and_then(|name| name.text());
    let (Some(name), Some(value)) = (name, document.node(index + 1)) else { return Ok(()) };
    let said = Candidate { end: candidate.end - found.base as u32, ..candidate };
    if said.end as usize > words::KEY_BYTES_MAX || !names.count(index) {
        return Ok(());
    }
    let least = if let Anchor::Word(_) = candidate.anchor { words::VALUE_BYTES_MIN } else { 1 };
    for value in std::iter::once(value).chain(value.items()) {
        let Some(text) = value.text().filter(|text| text.len() >= least) else { continue };
        let mut reporter = Reporter { hits, place: Place::Node(value.index()), result: Ok(()) };
        detectors::examine_member(text.as_bytes(), name, said, wanted, |detector, range, confidence| {
            reporter.report(detector, range, confidence);
        });
        reporter.result?;
    }
    Ok(())
}

/// Collects what the detectors find in one text.
struct Reporter<'h> {
    hits: &'h mut Vec<Hit>,
    place: Place,
    result: Result<(), ScannerError>,
}

impl Reporter<'_> {
    fn report(&mut self, detector: Detector, range: Range<usize>, confidence: u8) {
        if self.result.is_ok() {
            self.result = push(self.hits, Hit { detector, place: self.place, range, confidence, is_part: false });
        }
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
    let mut reporter = Reporter { hits, place: found.place, result: Ok(()) };
    let report = |detector, range, confidence| reporter.report(detector, range, confidence);
    let end = detectors::examine(found.text, found.key, within, settled.saturating_sub(base), wanted, report);
    reporter.result.map(|()| base + end)
}

pub(in crate::safety) fn push(hits: &mut Vec<Hit>, hit: Hit) -> Result<(), ScannerError> {
    if hits.len() >= HITS_MAX {
        return Err(ScannerError::Full);
    }
    hits.push(hit);
    Ok(())
}

/// What no rule heeds goes. Nothing is reported twice: findings of one type that overlap are one, and what lies within
/// something at least as sure goes, unless a stricter action is meant for it.
pub(super) fn resolve(hits: &mut Vec<Hit>, rules: &RouteRules) {
    let key =
        |hit: &Hit| (hit.place, hit.range.start, std::cmp::Reverse((hit.range.end, hit.confidence)), hit.detector);
    hits.retain(|hit| rules.heeds(hit.detector, hit.confidence));
    if hits.len() < 2 {
        return;
    }
    let action = |hit: &Hit| rules.action(hit.detector, hit.confidence, Mode::Enforce).map(|(action, _)| action);
    loop {
        hits.sort_by_key(key);
        if !join(hits, action) {
            return;
        }
    }
}

/// One pass over sorted findings: true when some were joined, which may now cover others.
fn join(hits: &mut Vec<Hit>, action: impl Fn(&Hit) -> Option<ContentAction>) -> bool {
    // Those that are kept and reach as far as where we are: few, whatever the number of findings.
    let (mut open, mut kept, mut joined) = (SmallVec::<[usize; 8]>::new(), 0, false);
    for at in 0..hits.len() {
        let hit = &hits[at];
        open.retain(|other| hits[*other].place == hit.place && hits[*other].range.end > hit.range.start);
        let covers = |other: &Hit| {
            let within = hit.range.end <= other.range.end;
            within && hit.confidence <= other.confidence && action(hit) <= action(other)
        };
        if open.iter().any(|other| covers(&hits[*other])) {
            continue;
        }
        match open.iter().copied().find(|other| hits[*other].detector == hit.detector) {
            Some(same) => {
                let (end, confidence) = (hit.range.end, hit.confidence);
                let known = &mut hits[same];
                (known.range.end, known.confidence) = (known.range.end.max(end), known.confidence.max(confidence));
                joined = true;
            }
            None => {
                hits.swap(kept, at);
                open.push(kept);
                kept += 1;
            }
        }
    }
    hits.truncate(kept);
    joined
}

/// The name of the member a value stands in, directly or in an array.
pub(super) fn name(node: Node<'_>) -> Option<&str> {
    node.key().or_else(|| node.parent()?.key())?.text()
}

/// Whether a number has a fraction or an exponent: no identifier is written so, and embeddings are full of them.
fn is_quantity(number: &str) -> bool {
    number.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

/// Whether `text` could hold a shape once decoded: short paths and queries without digits do not.
fn can_hold_shape(text: &[u8]) -> bool {
    text.len() >= 16 || text.iter().any(|byte| byte.is_ascii_digit() || matches!(byte, b'@' | b'%' | b':'))
}

/// Whether `text` is a short name of lower-case letters, as most of a path are: nothing but phrases is found in one.
pub(super) fn is_plain_name(text: &[u8]) -> bool {
    const BYTES_MAX: usize = 11;
    text.len() <= BYTES_MAX && text.iter().all(|byte| matches!(byte, b'a'..=b'z' | b'-' | b'.' | b'/' | b'_'))
}

/// Decodes `%XX` and `+`; `&` and `;` become newlines, which no detector crosses. Broken escapes stay as they are.
pub(in crate::safety) fn percent_decode(text: &[u8], out: &mut Vec<u8>) {
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
