//! What the figures have to be, and whether they are.
//!
//! - What its own form gives away has to be found and to be right in at least 98 of 100 cases ([`FORMAT_MIN`]).
//! - What needs context has to be found more often, and be right more often, than by Presidio; equal is enough only
//!   where nothing is left to gain.
//! - Of texts with nothing in them, at most one in 10 000 may be acted on by default.
//!
//! A row that the gateway does not offer, or that nobody has labelled, is shown and not judged; so is one without a peer.

use super::forms::{Class, Row};
use super::names::Dialect;
use super::negatives::Hits;
use super::score::Tally;

/// Least recall, and least precision, of format-bound rows.
pub(super) const FORMAT_MIN: f64 = 0.98;
/// Texts of which one may be acted on although nothing is in it.
pub(super) const NEGATIVES_PER_HIT: usize = 10_000;
/// Fewer lines of source code and logs show nothing.
pub(super) const LINES_MIN: usize = 100_000;

/// Of one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it has to be.
    Pass,
    /// Not found often enough.
    LowRecall,
    /// Not right often enough.
    LowPrecision,
    /// For want of labels, of a detector, or of a peer.
    NotJudged,
}

impl Verdict {
    /// As the table shows it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::LowRecall => "MISS recall",
            Self::LowPrecision => "MISS precision",
            Self::NotJudged => "",
        }
    }

    /// Of the gateway's counts in `row`, beside the peer's if it ran.
    pub(super) fn of(row: Row, acp: &Tally, peer: Option<&Tally>) -> Self {
        let Some(recall) = acp.recall().filter(|_| row.kind.offered_by(Dialect::Acp)) else { return Self::NotJudged };
        // Nothing found, so nothing wrong: recall says it.
        let precision = acp.precision().unwrap_or(1.0);
        let peer = peer.filter(|_| row.kind.offered_by(Dialect::Presidio));
        let (enough_recall, enough_precision) = match (row.class(), peer) {
            (Class::Format, _) => (recall >= FORMAT_MIN, precision >= FORMAT_MIN),
            (Class::Context, None) => return Self::NotJudged,
            (Class::Context, Some(peer)) => (is_ahead(recall, peer.recall()), is_ahead(precision, peer.precision())),
        };
        match (enough_recall, enough_precision) {
            (false, _) => Self::LowRecall,
            (true, false) => Self::LowPrecision,
            (true, true) => Self::Pass,
        }
    }

    /// Whether the run fails by it.
    pub(super) fn is_failure(self) -> bool {
        matches!(self, Self::LowRecall | Self::LowPrecision)
    }
}

fn is_ahead(ours: f64, theirs: Option<f64>) -> bool {
    ours >= 1.0 || theirs.is_none_or(|theirs| ours > theirs)
}

/// Whether few enough texts without anything in them were acted on.
pub(super) fn few_enough(hits: &[&Hits]) -> bool {
    let texts: usize = hits.iter().map(|hits| hits.texts).sum();
    let acted_on: usize = hits.iter().map(|hits| hits.acted_on).sum();
    acted_on * NEGATIVES_PER_HIT <= texts
}

#[cfg(test)]
mod tests {
    use super::super::names::KindId;
    use super::*;

    /// Of 1000 labels and 1000 findings.
    fn tally(found: usize, right: usize) -> Tally {
        Tally { labels: 1000, found, right, wrong: 1000 - right, ..Tally::default() }
    }

    #[track_caller]
    fn check(label: &str, value: &str, acp: Tally, peer: Option<Tally>, expected: Verdict) {
        let row = Row::of(KindId::of_label(label).expect("a kind"), value, None);
        assert_eq!(Verdict::of(row, &acp, peer.as_ref()), expected, "{label} {acp:?} {peer:?}");
    }

    #[test]
    fn a_format_bound_row_needs_98_of_100_whatever_the_peer_does() {
        check("IBAN", "", tally(980, 980), None, Verdict::Pass);
        check("IBAN", "", tally(979, 980), None, Verdict::LowRecall);
        check("IBAN", "", tally(980, 979), Some(tally(0, 0)), Verdict::LowPrecision);
        check("IBAN", "", Tally { labels: 5, ..Tally::default() }, None, Verdict::LowRecall);
        let not_judged = Tally { labels: 5, found: 5, ..Tally::default() };
        check("IBAN", "", not_judged, None, Verdict::Pass);
    }

    #[test]
    fn a_context_bound_row_has_to_be_ahead_or_perfect() {
        check("PHONE", "2025550123", tally(500, 501), Some(tally(499, 500)), Verdict::Pass);
        check("PHONE", "2025550123", tally(500, 501), Some(tally(500, 500)), Verdict::LowRecall);
        check("PHONE", "2025550123", tally(501, 500), Some(tally(500, 500)), Verdict::LowPrecision);
        check("PHONE", "2025550123", tally(1000, 1000), Some(tally(1000, 1000)), Verdict::Pass);
        check("PHONE", "2025550123", tally(1, 1), Some(Tally { labels: 1000, ..Tally::default() }), Verdict::Pass);
    }

    #[test]
    fn rows_without_labels_detector_or_peer_are_not_judged() {
        check("IBAN", "", Tally { wrong: 9, ..Tally::default() }, None, Verdict::NotJudged);
        check("KR_FRN", "", tally(0, 0), Some(tally(9, 9)), Verdict::NotJudged);
        check("PHONE", "2025550123", tally(0, 0), None, Verdict::NotJudged);
        check("MRN", "", tally(0, 0), Some(tally(9, 9)), Verdict::NotJudged);
    }

    #[test]
    fn one_text_in_ten_thousand_may_be_acted_on() {
        let hits = |texts, acted_on| Hits { texts, acted_on, ..Hits::default() };
        assert!(few_enough(&[&hits(10_000, 1)]));
        assert!(!few_enough(&[&hits(9_999, 1)]));
        assert!(few_enough(&[&hits(2_000, 1), &hits(8_000, 0)]));
        assert!(!few_enough(&[&hits(10_000, 1), &hits(9_999, 1)]));
        assert!(few_enough(&[]));
    }
}
