//! A tier of weak evidence, off unless a rule names it: names of persons, and phrases that try to override a model's
//! instructions or to lift its restrictions. Lists of rules with scores, no model: they find what is written as people
//! usually write it, in the languages of the lists, and miss whatever is put in other words. Somebody who knows the lists
//! gets past them, and a text *about* such phrases is found like the phrases. They are for flags, records and scores; a
//! policy that relies on them alone is not one.
//!
//! | found | by |
//! |---|---|
//! | `person` | titles, introductions ("my name is"), labels ("patient:"), names of JSON members (`person`) |
//! | `prompt_injection` | what says to ignore or to show instructions, marks of chat templates (`injection`) |
//! | `jailbreak` | personas without limits, and names of known ones (`jailbreak`) |
//!
//! An anchor is an expression of one engine of its own, which is asked only where a rule wants one of the three: clean text
//! costs nothing more elsewhere. A [`Rule`] then adds up weights over the sentence around the anchor ([`folded`]); the sum is
//! the confidence.
//!
//! Invariants: a look reads at most [`BACK_BYTES_MAX`] before the anchor's end and [`FORWARD_BYTES_MAX`] behind it, and
//! allocates nothing.

use std::ops::Range;

use super::Detectors;
use super::words::Report;
use crate::config::resolved::Detector;
use folded::Folded;

mod folded;
mod injection;
mod jailbreak;
mod person;

/// Furthest a look reads back from the anchor's end.
const BACK_BYTES_MAX: usize = 96;
/// Furthest a look reads on from it.
const FORWARD_BYTES_MAX: usize = 128;
/// Longest anchor.
pub(in crate::safety) const ANCHOR_BYTES_MAX: usize = 48;

/// What makes a place worth a look.
#[derive(Debug)]
pub(in crate::safety) struct Anchor {
    /// Bounded by [`ANCHOR_BYTES_MAX`]; given to the engine.
    pub(in crate::safety) expression: &'static str,
    /// Whether ASCII letters match in both cases.
    pub(in crate::safety) caseless: bool,
    look: Look,
}

/// Who judges the place.
#[derive(Debug)]
enum Look {
    /// A rule, in the text around it.
    Rule(&'static Rule),
    /// An expression that says it all.
    Mark(Detector, u8),
    /// A name behind a word for one.
    Name(person::Way),
    /// A name that is the value of the member.
    Member,
}

/// Lists of words whose weights add up, over one sentence.
#[derive(Debug)]
struct Rule {
    detector: Detector,
    parts: &'static [Part],
}

/// One of these words, whichever.
#[derive(Debug)]
struct Part {
    weight: u8,
    /// As they are folded: in small letters without accents. ASCII ones match where a word begins, and whatever follows
    /// them; others anywhere.
    words: &'static [&'static str],
}

const fn part(weight: u8, words: &'static [&'static str]) -> Part {
    Part { weight, words }
}

/// Least sum that is reported.
const LEAST: u8 = 75;
/// No rule list is surer.
const MOST: u8 = 95;

const fn rule(expression: &'static str, rule: &'static Rule) -> Anchor {
    Anchor { expression, caseless: true, look: Look::Rule(rule) }
}

const fn mark(detector: Detector, expression: &'static str, confidence: u8) -> Anchor {
    Anchor { expression, caseless: true, look: Look::Mark(detector, confidence) }
}

/// All anchors, by who looks.
const LISTS: [&[Anchor]; 3] = [injection::ANCHORS, jailbreak::ANCHORS, person::ANCHORS];

/// All anchors, in the order of their numbers.
pub(in crate::safety) fn all() -> impl Iterator<Item = &'static Anchor> {
    LISTS.into_iter().flatten()
}

/// What some anchor finds.
pub(super) const FOUND: Detectors = Detectors::of(&[Detector::Person, Detector::PromptInjection, Detector::Jailbreak]);

/// Reports what stands where this anchor ends.
pub(super) fn examine(text: &[u8], anchor: u8, end: usize, wanted: Detectors, report: &mut Report<'_>) {
    let Some(anchor) = all().nth(anchor.into()) else { return };
    let mut report = |detector, range: Range<usize>, confidence| {
        if wanted.contains(detector) {
            report(detector, range, confidence);
        }
    };
    match &anchor.look {
        Look::Rule(rule) if wanted.contains(rule.detector) => {
            if let Some((range, score)) = judge(text, end, rule) {
                report(rule.detector, range, score);
            }
        }
        Look::Mark(detector, confidence) => {
            let start = mark_start(&text[..end]);
            report(*detector, start..end, *confidence);
        }
        Look::Name(way) => {
            if let Some((range, confidence)) = person::behind(text, end, *way) {
                report(Detector::Person, range, confidence);
            }
        }
        Look::Rule(_) | Look::Member => {}
    }
}

/// Reports the name that the member `key`, in which the anchor stands, announces in its value `text`.
pub(super) fn examine_member(text: &[u8], key: &str, anchor: u8, wanted: Detectors, report: &mut Report<'_>) {
    let is_name = all().nth(anchor.into()).is_some_and(|anchor| matches!(anchor.look, Look::Member));
    if let Some((range, confidence)) = person::of_member(key, text).filter(|_| is_name)
        && wanted.contains(Detector::Person)
    {
        report(Detector::Person, range, confidence);
    }
}

/// Where the sign begins that opens the mark at the end of `text`.
fn mark_start(text: &[u8]) -> usize {
    let from = text.len().saturating_sub(ANCHOR_BYTES_MAX);
    text[from..].iter().rposition(|byte| matches!(byte, b'<' | b'[' | b'#')).map_or(from, |at| {
        let mut start = from + at;
        while start > from && text[start - 1] == text[start] {
            start -= 1;
        }
        start
    })
}

/// The sum of the rule's parts in the sentence around `end`, and from the first to the last of all their words: nothing of it is
/// left to be found once that is redacted.
fn judge(text: &[u8], end: usize, rule: &Rule) -> Option<(Range<usize>, u8)> {
    let base = end.saturating_sub(BACK_BYTES_MAX);
    let folded = Folded::sentence(&text[base..text.len().min(end + FORWARD_BYTES_MAX)], end - base);
    let (mut score, mut found) = (0_u8, None::<Range<usize>>);
    for part in rule.parts {
        let mut words = part.words.iter().filter_map(|word| folded.find(word)).peekable();
        if words.peek().is_some() {
            score = score.saturating_add(part.weight);
        }
        for word in words {
            found = Some(found.map_or(word.clone(), |found| found.start.min(word.start)..found.end.max(word.end)));
        }
    }
    let found = found.filter(|_| score >= LEAST)?;
    Some((base + found.start..base + found.end, score.min(MOST)))
}

/// Anchors are numbered in a byte.
const _: () = assert!(LISTS[0].len() + LISTS[1].len() + LISTS[2].len() <= u8::MAX as usize);

#[cfg(test)]
mod tests;
