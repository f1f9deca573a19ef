//! From an anchor to a finding: the text around it is grown to token boundaries and validated.
//!
//! Precision comes from here, speed from the anchors. A detector sees one text at a time (a JSON string, key
//! or number, or a whole raw body) and never looks past its ends; `Context` lends it the words before the match
//! and the name of the JSON member it stands in.
//!
//! Where a word is the anchor (`words`), a detector is a `Word`: a needle of three to six bytes in lower case, the
//! types it may report, and `look: fn(&Announced<'_>, &mut Report<'_>)`, which is called for every place of the
//! needle, in the text (then `from` is where it ends) or in the name of the member the text is the value of (then
//! `from` is 0; `said` is the name up to the needle's end). A module of such detectors declares `pub(super) const
//! WORDS: &[Word]` and stands in `words::LISTS`.
//!
//! What each detector takes, and what it leaves, is said in its own file. All of them read ASCII digits; runs of digits are
//! read with the separators space, `-`, `.`, `/`, `(`, `)`.

use std::ops::Range;

use super::scanner::{Anchor, Candidate};
use crate::config::resolved::Detector;
use context::{Context, Topic};
use digits::Window;
use national::By;
use words::Announced;

mod bic;
mod codes;
mod context;
mod credit_card;
mod digits;
mod email;
mod national;
mod network;
mod personal;
mod phone;
pub(super) mod phrases;
pub(super) mod secrets;
mod us_ssn;
pub(super) mod words;

/// A set of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detectors(u128);

impl Detectors {
    /// The empty set.
    pub(super) const NONE: Self = Self(0);
    /// Those that open something.
    const SECRETS: Self = Self::of(Detector::SECRETS);
    /// Those that a shape anchors.
    const SHAPES: Self = Self::of(SHAPED).and(Self::NATIONAL);
    /// Those of [`national`].
    const NATIONAL: Self = {
        let (mut set, mut i) = (Self::NONE, 0);
        while i < national::FORMS.len() {
            set = set.and(Self::of(&[national::FORMS[i].detector]));
            i += 1;
        }
        set
    };
    /// Those that are told by a run of digits.
    const NUMBERS: Self = Self::of(&[Detector::UsSsn, Detector::CreditCard, Detector::Phone]).and(Self::NATIONAL);
    /// Those that a word anchors.
    const WORDS: Self = words::FOUND;
    /// Those of the lists of phrases.
    const PHRASES: Self = phrases::FOUND;

    /// Those that anything finds.
    #[cfg(test)]
    pub(super) const FOUND: Self = Self::SHAPES
        .and(Self::SECRETS)
        .and(Self::WORDS)
        .and(Self::PHRASES)
        .and(Self::of(Detector::CUSTOM))
        .and(Self::of(&[Detector::HiddenText, Detector::UnscannableMedia]));

    /// These.
    pub(super) const fn of(detectors: &[Detector]) -> Self {
        let (mut set, mut i) = (0, 0);
        while i < detectors.len() {
            set |= 1 << detectors[i] as u8;
            i += 1;
        }
        Self(set)
    }

    /// Those of either set.
    const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether some detector is in both.
    const fn overlaps(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// All of them.
    #[must_use]
    pub fn all() -> Self {
        Detector::ALL.into_iter().collect()
    }

    /// Whether `detector` is in it.
    #[must_use]
    pub fn contains(self, detector: Detector) -> bool {
        self.0 & (1 << detector as u8) != 0
    }

    /// Whether one is that a shape anchors: whatever is no secret, and not found by a word alone.
    #[must_use]
    pub(super) fn shapes(self) -> bool {
        self.overlaps(Self::SHAPES)
    }

    /// Whether one is that this anchor, which is a shape, may lead to.
    #[must_use]
    pub(super) fn led_to_by(self, anchor: Anchor) -> bool {
        const NETWORK: Detectors = Detectors::of(&[Detector::IpAddress, Detector::MacAddress]);
        match anchor {
            Anchor::Digits => self.overlaps(Self::NUMBERS),
            Anchor::At => self.contains(Detector::Email),
            Anchor::Dotted | Anchor::Colons | Anchor::Octets => self.overlaps(NETWORK),
            Anchor::Coded | Anchor::Pairs | Anchor::Token => self.overlaps(codes::FOUND),
            Anchor::Secret(_) | Anchor::Word(_) | Anchor::Phrase(_) => false,
        }
    }

    /// Whether one that is a secret is.
    #[must_use]
    pub(super) fn secrets(self) -> bool {
        self.overlaps(Self::SECRETS)
    }

    /// Whether one is that [`Family::Words`](super::scanner::Family::Words) finds.
    #[must_use]
    pub(super) fn words(self) -> bool {
        self.overlaps(Self::WORDS)
    }

    /// Whether one is that [`Family::Phrases`](super::scanner::Family::Phrases) finds.
    #[must_use]
    pub(super) fn phrases(self) -> bool {
        self.overlaps(Self::PHRASES)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Detector> for Detectors {
    fn from_iter<I: IntoIterator<Item = Detector>>(detectors: I) -> Self {
        Self(detectors.into_iter().fold(0, |set, detector| set | 1 << detector as u8))
    }
}

/// Looks at one candidate that ends at `end` in `text` and reports what stands there, with its confidence in percent.
/// `key` is the name of the JSON member. Returns how far the text is settled: candidates of the same anchor ending before
/// need no second look.
pub(super) fn examine(
    text: &[u8],
    key: Option<&str>,
    candidate: Candidate,
    settled: usize,
    wanted: Detectors,
    mut report: impl FnMut(Detector, Range<usize>, u8),
) -> usize {
    let end = candidate.end as usize;
    let mut hit = |hit: Option<Hit>| {
        if let Some(Hit { detector, range, confidence }) = hit.filter(|hit| wanted.contains(hit.detector)) {
            report(detector, range, confidence);
        }
    };
    match candidate.anchor {
        Anchor::Digits => return run(text, key, end, settled, wanted, report),
        Anchor::At => {
            hit(email::find(text, end).map(|range| Hit::new(Detector::Email, range, email::CONFIDENCE)));
        }
        Anchor::Dotted => {
            let (found, settled) = network::quads(text, end);
            hit(found);
            return settled;
        }
        Anchor::Colons => {
            let (found, settled) = network::colons(text, end);
            hit(found);
            return settled;
        }
        Anchor::Octets => {
            let (found, settled) = network::octets(text, end);
            hit(found);
            return settled;
        }
        Anchor::Coded => hit(codes::coded(text, key, end)),
        Anchor::Pairs => hit(codes::pairs(text, key, end)),
        Anchor::Token => hit(codes::token(text, key, end)),
        // An anchor may end behind the text it begins in.
        Anchor::Secret(_) | Anchor::Word(_) if text.get(..end).is_none_or(context::ends_in_placeholder) => {}
        Anchor::Secret(anchor) => {
            let secret = secrets::find(text, key, anchor.into(), end);
            hit(secret.map(|secret| Hit::new(secret.kind, secret.range, secret.confidence)));
        }
        Anchor::Word(word) => {
            let announced = Announced { text, from: end, said: &text[..end], name: None };
            words::examine(&announced, word, wanted, &mut report);
        }
        Anchor::Phrase(phrase) => phrases::examine(text, phrase, end, wanted, &mut report),
    }
    end
}

/// Reports the numbers of the run that the digit before `end` belongs to; returns where it ends.
fn run(
    text: &[u8],
    key: Option<&str>,
    end: usize,
    settled: usize,
    wanted: Detectors,
    mut report: impl FnMut(Detector, Range<usize>, u8),
) -> usize {
    let start = digits::run_start(text, end - 1, settled);
    // Versions, short ids and dates are what most runs are, and no identifier.
    if let Some(end) = digits::end_of_date(text, start).or_else(|| digits::end_if_fewer(text, start, DIGITS_MIN)) {
        return end;
    }
    let context = Context::new(text, start, key);
    digits::each_window(text, start, |window| {
        let found = number(window, &context, wanted);
        if let Some((detector, found)) = &found {
            report(*detector, found.range.clone(), found.confidence);
        }
        found.map_or(1, |(_, found)| found.groups)
    })
}

/// Digits of the shortest number that is taken: telephones' and identifiers' need no more.
const DIGITS_MIN: usize =
    if phone::DIGITS_MIN < national::DIGITS_MIN { phone::DIGITS_MIN } else { national::DIGITS_MIN };
const _: () = assert!(us_ssn::DIGITS >= DIGITS_MIN && credit_card::DIGITS_MIN >= DIGITS_MIN);

/// What a shape anchors and no run of digits.
const SHAPED: &[Detector] = &[
    Detector::UsSsn,
    Detector::Email,
    Detector::CreditCard,
    Detector::Phone,
    Detector::Iban,
    Detector::UkNino,
    Detector::InPan,
    Detector::UsMbi,
    Detector::ItFiscalCode,
    Detector::IpAddress,
    Detector::MacAddress,
    Detector::CryptoWallet,
];

/// What a detector found.
#[derive(Debug, PartialEq, Eq)]
struct Hit {
    detector: Detector,
    range: Range<usize>,
    /// How sure that is, in percent.
    confidence: u8,
}

impl Hit {
    const fn new(detector: Detector, range: Range<usize>, confidence: u8) -> Self {
        Self { detector, range, confidence }
    }
}

/// ASCII and whatever else is UTF-8, as text.
fn text_of(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// Reports what the word or phrase that ends there in the member's name `key` announces in its value `text`.
pub(super) fn examine_member(
    text: &[u8],
    key: &str,
    candidate: Candidate,
    wanted: Detectors,
    mut report: impl FnMut(Detector, Range<usize>, u8),
) {
    match (candidate.anchor, key.as_bytes().get(..candidate.end as usize)) {
        (Anchor::Word(word), Some(said)) if !context::ends_in_placeholder(said) => {
            let announced = Announced { text, from: 0, said, name: Some(key) };
            words::examine(&announced, word, wanted, &mut report);
        }
        (Anchor::Phrase(phrase), Some(_)) => phrases::examine_member(text, key, phrase, wanted, &mut report),
        _ => {}
    }
}

/// Whether the name of a member speaks of what this detector finds.
pub(super) fn names(key: &str, detector: Detector) -> bool {
    let topic = match detector {
        Detector::UsSsn => Some(Topic::SocialSecurity),
        Detector::CreditCard => Some(Topic::Card),
        Detector::Phone => Some(Topic::Phone),
        other => national::FORMS.iter().find(|form| form.detector == other).map(|form| form.topic),
    };
    topic.is_some_and(|topic| Context::new(b"", 0, Some(key)).says(topic))
}

/// What a detector found at the beginning of a window.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    /// Groups it covers.
    groups: usize,
    /// The text it covers.
    range: Range<usize>,
    /// How sure that is, in percent.
    confidence: u8,
}

/// The number that begins at the window's first group: the one most strictly validated, if several fit.
fn number(window: &Window<'_>, context: &Context<'_>, wanted: Detectors) -> Option<(Detector, Found)> {
    let digits = window.count_digits(credit_card::DIGITS_MIN);
    let try_one = |detector, least, find: fn(&Window<'_>, &Context<'_>) -> Option<Found>| {
        let found = if digits >= least && wanted.contains(detector) { find(window, context) } else { None };
        found.map(|found| (detector, found))
    };
    let enough = digits >= national::DIGITS_MIN && wanted.overlaps(Detectors::NATIONAL);
    let fitting = enough.then(|| national::fitting(window, wanted));
    let national = |by| national::find(window, context, by, fitting?);
    try_one(Detector::CreditCard, credit_card::DIGITS_MIN, credit_card::find)
        .or_else(|| national(By::RuleAndWord))
        .or_else(|| try_one(Detector::UsSsn, us_ssn::DIGITS, us_ssn::find))
        .or_else(|| national(By::Word))
        .or_else(|| {
            let phone = try_one(Detector::Phone, phone::DIGITS_MIN, phone::find);
            let sure = |found: &Option<(Detector, Found)>| found.as_ref().map_or(0, |(_, found)| found.confidence);
            if sure(&phone) >= phone::CERTAIN {
                return phone;
            }
            let national = national(By::Form);
            if sure(&national) > sure(&phone) { national } else { phone }
        })
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
pub(super) mod tests;
