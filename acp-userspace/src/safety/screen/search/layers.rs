//! What texts stand for, searched like the texts themselves (THREATS A24).
//!
//! A finding in a decoded text lies where that came from: edits cover the whole of an escape, a character or an encoded
//! run. What the name of a member stands for tells of its value, as the name itself does. Text that a reader does not see
//! is a finding itself, and what no detector reads. All texts of one content share one budget; whoever uses it up is
//! refused (THREATS A25).

use smallvec::SmallVec;

use super::{Found, Hit, Place, Search, is_quantity, name, push};
use crate::config::resolved::Detector;
use crate::protocol::json::{Document, Kind, Node};
use crate::safety::custom;
use crate::safety::decode::{Exhausted, Layer, Nature, suspect};
use crate::safety::detectors::{self, secrets, words};
use crate::safety::scanner::{Candidate, Family, Scanner, ScannerError};

/// How sure it is that tags or variation selectors hide something, in percent.
const HIDDEN: u8 = 90;
/// How sure it is that base64 which begins as a file does is one.
const MEDIA: u8 = 90;
/// Texts that the name of a member stands for and that its value is looked at with.
const NAMES_MAX: usize = 2;

impl Search<'_> {
    /// The layers of every string, key and number of a body. Clean ones are passed over by one look at the whole.
    pub(super) fn layers_of_json(&mut self, document: Document<'_>) -> Result<(), ScannerError> {
        let original = document.original().as_bytes();
        let mut at = 0;
        while let Some(found) = suspect(original, at) {
            at = found + 1;
            if let Some(node) = document.token_at(found) {
                at = node.span().end;
                self.layers_of_node(node, |node| !node.has_escapes())?;
            }
        }
        let escaped = document.escaped_text().as_bytes();
        at = 0;
        while let Some(found) = suspect(escaped, at) {
            at = found + 1;
            if let Some((node, base)) = document.escaped_at(found) {
                at = at.max(base + node.text().unwrap_or_default().len());
                self.layers_of_node(node, |_| true)?;
            }
        }
        Ok(())
    }

    fn layers_of_node<'a>(&mut self, node: Node<'a>, wanted: impl Fn(Node<'a>) -> bool) -> Result<(), ScannerError> {
        let Some(text) = node.text().filter(|_| wanted(node)) else { return Ok(()) };
        self.layers(text.as_bytes(), name(node), Place::Node(node.index()))?;
        if node.kind() == Kind::Key { self.named(node, text) } else { Ok(()) }
    }

    /// The value of the member `key`, and the direct items of an array, under what its name stands for.
    fn named(&mut self, key: Node<'_>, name: &str) -> Result<(), ScannerError> {
        let mut names = SmallVec::<[String; NAMES_MAX]>::new();
        let mut visit = |layer: &Layer<'_>| {
            let fits = layer.text.len() <= words::KEY_BYTES_MAX && names.len() < NAMES_MAX;
            names.extend(std::str::from_utf8(layer.text).ok().filter(|_| fits).map(str::to_owned));
            Ok::<_, Exhausted>(())
        };
        self.decoder.layers(name.as_bytes(), &mut self.budget, &mut visit)?;
        let value = self.document.and_then(|document| document.node(key.index() + 1)).filter(|_| !names.is_empty());
        for value in value.into_iter().flat_map(|value| std::iter::once(value).chain(value.items())) {
            let text = value.text().filter(|text| value.kind() != Kind::Number || !is_quantity(text));
            let (Some(text), place) = (text, Place::Node(value.index())) else { continue };
            for name in &names {
                self.budget.take(text.len())?;
                self.each(text.as_bytes(), |_| Some(Found { text: text.as_bytes(), base: 0, key: Some(name), place }))?;
                self.member(text.as_bytes(), name, place)?;
                self.layers(text.as_bytes(), Some(name), place)?;
            }
        }
        Ok(())
    }

    /// The layers of a text.
    pub(super) fn layers(&mut self, text: &[u8], key: Option<&str>, place: Place) -> Result<(), ScannerError> {
        if suspect(text, 0).is_none() {
            return Ok(());
        }
        let (mut decoder, mut budget) = (std::mem::take(self.decoder), std::mem::take(&mut self.budget));
        let result = decoder.layers(text, &mut budget, &mut |layer: &Layer<'_>| self.layer(layer, text, key, place));
        (*self.decoder, self.budget) = (decoder, budget);
        result
    }

    fn layer(&mut self, layer: &Layer<'_>, text: &[u8], key: Option<&str>, place: Place) -> Result<(), ScannerError> {
        if let Some((nature, range)) = layer.nature() {
            let (detector, confidence) = match nature {
                Nature::Hidden => (Detector::HiddenText, HIDDEN),
                Nature::Media => (Detector::UnscannableMedia, MEDIA),
            };
            if self.wanted.contains(detector) {
                push(self.hits, Hit { detector, place, range, confidence, is_part: false })?;
            }
        }
        let before = self.hits.len();
        self.each(layer.text, |_| Some(Found { text: layer.text, base: 0, key, place }))?;
        if !self.forms.is_empty() {
            let from = if self.from == 0 { 0 } else { behind(layer, self.from) };
            custom::in_text(self.forms, (layer.text, from), key, place, self.hits)?;
        }
        if let Some(key) = key {
            self.member(layer.text, key, place)?;
        }
        // A key that was decoded may have told something of its value; that lies elsewhere.
        for hit in self.hits[before..].iter_mut().filter(|hit| hit.place == place) {
            hit.range = whole_characters(text, layer.original(hit.range.clone()));
        }
        Ok(())
    }

    /// What the name of a member tells of its value, one or the other of them decoded.
    fn member(&mut self, text: &[u8], key: &str, place: Place) -> Result<(), ScannerError> {
        if self.wanted.secrets()
            && let Some(secret) = secrets::assigned(key, text).filter(|secret| self.wanted.contains(secret.kind))
        {
            let secrets::Secret { kind: detector, range, confidence } = secret;
            push(self.hits, Hit { detector, place, range, confidence, is_part: false })?;
        }
        if !self.wanted.words() {
            return Ok(());
        }
        self.candidates.clear();
        let read = &key.as_bytes()[..key.len().min(words::KEY_BYTES_MAX)];
        self.scanner.scan(Family::Words, read, self.scratch, self.candidates)?;
        for candidate in self.candidates.sorted() {
            let mut pushed = Ok(());
            let mut report = |detector, range, confidence| {
                pushed =
                    pushed.and_then(|()| push(self.hits, Hit { detector, place, range, confidence, is_part: false }));
            };
            detectors::examine_member(text, key, Candidate { ..*candidate }, self.wanted, &mut report);
            pushed?;
        }
        Ok(())
    }
}

/// The first byte of a decoded text that came from `from` or from behind it.
fn behind(layer: &Layer<'_>, from: usize) -> usize {
    let (mut low, mut high) = (0, layer.text.len());
    while low < high {
        let middle = low.midpoint(high);
        if layer.original(middle..middle + 1).start < from {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// `range` of `text`, grown to the characters it lies in.
fn whole_characters(text: &[u8], range: std::ops::Range<usize>) -> std::ops::Range<usize> {
    let inside = |at: usize| text.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    let (mut start, mut end) = (range.start, range.end);
    while start > 0 && inside(start) {
        start -= 1;
    }
    while inside(end) {
        end += 1;
    }
    start..end
}
