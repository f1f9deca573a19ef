//! How grave what was found is, as one number from 0 to 100.
//!
//! For each type: its severity ([`Detector::severity`]) times the highest confidence of its findings, and 5 more for
//! each doubling of their number, 100 at most. Types are put together as independent chances: what is left to 100
//! after one is reduced by the next. So one certain card number is 90, one e-mail address at 95 % is 28, two hundred of
//! them are 63, and a card number beside an address is 92.
//!
//! Only findings that an enforced rule heeds count: a rule that observes must not make content refused, nor does a
//! value that a permit lets through. The number is
//! about what was *found*, whatever becomes of it; docs/content-safety.md has the arithmetic for operators.

use super::Finding;
use crate::config::resolved::{ContentAction, Detector, Mode};

/// Points for each doubling of a type's findings.
const DOUBLING: u32 = 5;

/// The score of these findings.
#[must_use]
pub fn score(findings: &[Finding]) -> u8 {
    // In hundredths of a point.
    let mut left = 10_000;
    for of_type in findings.chunk_by(|a, b| a.detector == b.detector) {
        let enforced = || of_type.iter().filter(|finding| counts(finding));
        let count = enforced().fold(0_u32, |sum, finding| sum.saturating_add(finding.count));
        if let (Some(doublings), Some(surest)) = (count.checked_ilog2(), enforced().max_by_key(|f| f.confidence)) {
            left = left * (100 - points(surest.detector, surest.confidence, doublings)) / 100;
        }
    }
    // Lies between 0 and 100.
    ((10_000 - left) / 100) as u8
}

/// Whether a finding adds to the score: not one that was let through on purpose.
fn counts(finding: &Finding) -> bool {
    finding.mode == Mode::Enforce && finding.action != ContentAction::Detokenize
}

fn points(detector: Detector, confidence: u8, doublings: u32) -> u32 {
    let sure = u32::from(detector.severity()) * u32::from(confidence.min(100)) / 100;
    (sure + DOUBLING * doublings).min(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(detector: Detector, count: u32, confidence: u8) -> Finding {
        Finding { detector, count, confidence, action: ContentAction::Flag, mode: Mode::Enforce }
    }

    #[track_caller]
    fn check(findings: &[Finding], expected: u8) {
        assert_eq!(score(findings), expected);
    }

    #[test]
    fn types_add_up_as_independent_chances() {
        check(&[], 0);
        check(&[finding(Detector::Email, 1, 95)], 28);
        check(&[finding(Detector::CreditCard, 1, 100)], 90);
        check(&[finding(Detector::Email, 1, 95), finding(Detector::Phone, 1, 95)], 48);
        check(&[finding(Detector::Email, 1, 95), finding(Detector::CreditCard, 1, 100)], 92);
        check(&[finding(Detector::PrivateKey, 1, 100)], 100);
    }

    #[test]
    fn a_doubling_counts_five_points() {
        check(&[finding(Detector::Email, 2, 95)], 33);
        check(&[finding(Detector::Email, 3, 95)], 33);
        check(&[finding(Detector::Email, 200, 95)], 63);
        check(&[finding(Detector::Email, u32::MAX, 100), finding(Detector::Email, u32::MAX, 100)], 100);
    }

    #[test]
    fn findings_of_one_type_are_one_whatever_became_of_each() {
        let masked = Finding { action: ContentAction::Mask, ..finding(Detector::Email, 1, 40) };
        check(&[masked, finding(Detector::Email, 1, 95)], 33);
    }

    #[test]
    fn what_is_only_observed_does_not_count() {
        let observed = Finding { mode: Mode::Observe, ..finding(Detector::UsSsn, 5, 99) };
        check(&[observed], 0);
        check(&[finding(Detector::Email, 1, 95), observed], 28);
    }
}
