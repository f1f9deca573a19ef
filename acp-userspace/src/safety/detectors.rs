//! From an anchor to a finding: the text around it is grown to token boundaries and validated.
//!
//! Precision comes from here, speed from the anchors. A detector sees one text at a time (a JSON string, key
//! or number, or a whole raw body) and never looks past its ends; `Context` lends it the words before the match
//! and the name of the JSON member it stands in.
//!
//! What each detector takes, and what it leaves, is said in its own file. All of them read ASCII digits and the
//! separators space, `-`, `.`, `(`, `)`.

use std::ops::Range;

use super::scanner::{Anchor, Candidate};
use crate::config::resolved::Detector;
use context::Context;
use digits::Window;

mod context;
mod credit_card;
mod digits;
mod email;
mod phone;
pub(super) mod secrets;
mod us_ssn;

/// A set of detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Detectors(u32);

impl Detectors {
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

    /// Whether one that is not a secret is: those are found by [`Family::Numbers`](super::scanner::Family::Numbers).
    #[must_use]
    pub(super) fn numbers(self) -> bool {
        self.0 & !Self::SECRETS.0 != 0
    }

    /// Whether one that is a secret is.
    #[must_use]
    pub(super) fn secrets(self) -> bool {
        self.0 & Self::SECRETS.0 != 0
    }

    /// Those that open something.
    const SECRETS: Self = {
        let (mut set, mut i) = (0, 0);
        while i < Detector::SECRETS.len() {
            set |= 1 << Detector::SECRETS[i] as u8;
            i += 1;
        }
        Self(set)
    };

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
    match candidate.anchor {
        Anchor::At => {
            if wanted.contains(Detector::Email)
                && let Some(range) = email::find(text, end)
            {
                report(Detector::Email, range, email::CONFIDENCE);
            }
            end
        }
        Anchor::Secret(anchor) => {
            if let Some(secret) = secrets::find(text, key, anchor.into(), end)
                && wanted.contains(secret.kind)
            {
                report(secret.kind, secret.range, secret.confidence);
            }
            end
        }
        Anchor::Digits => {
            let start = digits::run_start(text, end - 1, settled);
            let context = Context::new(text, start, key);
            digits::each_window(text, start, |window| {
                let found = number(window, &context, wanted);
                if let Some((detector, found)) = &found {
                    report(*detector, found.range.clone(), found.confidence);
                }
                found.map_or(1, |(_, found)| found.groups)
            })
        }
    }
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
    try_one(Detector::CreditCard, credit_card::DIGITS_MIN, credit_card::find)
        .or_else(|| try_one(Detector::UsSsn, us_ssn::DIGITS, us_ssn::find))
        .or_else(|| try_one(Detector::Phone, phone::DIGITS_MIN, phone::find))
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
pub(super) mod tests;
