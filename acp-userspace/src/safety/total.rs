//! What was found in content that is screened piece by piece, as one: its tally, its places, and how grave it all is.

use super::rules::RouteRules;
use super::screen::ContentRefused;
use super::{Evidence, Finding, PLACES_MAX, risk};
use crate::config::resolved::Mode;
use crate::reason::Reason;

/// Everything so far.
#[derive(Debug, Default)]
pub(super) struct Total {
    pub(super) findings: Vec<Finding>,
    pub(super) evidence: Evidence,
    /// Places that were changed.
    pub(super) edits: usize,
}

impl Total {
    /// Adds what was found in a piece.
    ///
    /// # Errors
    /// [`Reason::ContentBlocked`] when it all is graver than `safety.block_score` lets pass.
    pub(super) fn add(&mut self, findings: &[Finding], evidence: Evidence, rules: &RouteRules) -> Result<(), Reason> {
        self.tally(findings, evidence);
        match rules.block_score().filter(|(bound, _)| self.evidence.score >= *bound && !self.findings.is_empty()) {
            Some((_, Mode::Enforce)) => Err(Reason::ContentBlocked),
            Some((_, Mode::Observe)) => {
                self.evidence.would_block = true;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Adds what was found in a piece that does not pass; gives the reason.
    pub(super) fn refuse(&mut self, refused: ContentRefused) -> Reason {
        self.tally(&refused.findings, refused.evidence);
        refused.reason
    }

    fn tally(&mut self, findings: &[Finding], evidence: Evidence) {
        for finding in findings {
            let same = |known: &&mut Finding| {
                (known.detector, known.action, known.mode) == (finding.detector, finding.action, finding.mode)
            };
            match self.findings.iter_mut().find(same) {
                Some(known) => {
                    known.count = known.count.saturating_add(finding.count);
                    known.confidence = known.confidence.max(finding.confidence);
                }
                None => self.findings.push(*finding),
            }
        }
        for place in evidence.places {
            if self.evidence.places.len() < PLACES_MAX && !self.evidence.places.contains(&place) {
                self.evidence.places.push(place);
            }
        }
        self.evidence.unscreened = self.evidence.unscreened.or(evidence.unscreened);
        self.evidence.score = risk::score(&self.findings);
        self.evidence.numbers_to_text = self.evidence.numbers_to_text.saturating_add(evidence.numbers_to_text);
    }
}
