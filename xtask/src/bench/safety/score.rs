//! What an engine's findings are worth against the labels.
//!
//! A label is found by a finding of its kind that overlaps it; a finding is right where it overlaps a label that agrees
//! with it, wrong where the labels are complete for its kind and none does, and otherwise not judged. Labels and findings
//! are counted apart: two findings inside one label find it once and are right twice.

use std::collections::BTreeMap;
use std::ops::Range;

use super::corpus::{Record, Weight};
use super::dispute::{self, Contradictions};
use super::forms::Row;
use super::names::KindId;

/// What an engine says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What.
    pub(super) kind: KindId,
    /// Where, in bytes of UTF-8.
    pub(super) range: Range<usize>,
    /// Whether something would be done about it by default, beyond flagging it.
    pub(super) acted_on: bool,
}

/// One row's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Values to be found.
    pub(super) labels: usize,
    /// Of these, found.
    pub(super) found: usize,
    /// Found, and labelled with a position.
    pub(super) located: usize,
    /// Of these, by a finding with exactly the label's ends.
    pub(super) exact: usize,
    /// Findings that some label agrees with.
    pub(super) right: usize,
    /// Findings that no label agrees with, though all would be labelled.
    pub(super) wrong: usize,
}

impl Tally {
    /// Share of the labels found.
    pub(super) fn recall(&self) -> Option<f64> {
        share(self.found, self.labels)
    }

    /// Share of the judged findings that are right.
    pub(super) fn precision(&self) -> Option<f64> {
        share(self.right, self.right + self.wrong)
    }

    /// Share of the found labels whose ends were found as well.
    pub(super) fn exactness(&self) -> Option<f64> {
        share(self.exact, self.located)
    }

    /// The sum.
    pub(super) fn add(&mut self, other: &Self) {
        self.labels += other.labels;
        self.found += other.found;
        self.located += other.located;
        self.exact += other.exact;
        self.right += other.right;
        self.wrong += other.wrong;
    }
}

/// `None` of nothing.
pub(super) fn share(part: usize, whole: usize) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// One engine's counts.
#[derive(Debug, Default)]
pub(super) struct Score {
    /// By row.
    pub(super) rows: BTreeMap<Row, Tally>,
    /// What counts neither for nor against the engine, by row.
    pub(super) disputes: BTreeMap<Row, Dispute>,
    /// Everything missed or wrong, for whoever wants to look at it.
    pub(super) mistakes: Vec<Mistake>,
}

/// What is left out of one row's counts, for the reader to put back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Dispute {
    /// Disputed labels.
    pub(super) labels: usize,
    /// Of these, found all the same.
    pub(super) found: usize,
    /// Findings that labels cannot judge.
    pub(super) unjudged: usize,
}

/// One thing missed, or found where it is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Its row.
    pub(super) row: Row,
    /// The record, by place in the corpus.
    pub(super) record: usize,
    /// Where in its text; the whole of it where the label has no position.
    pub(super) range: Range<usize>,
    /// Missed, or found wrongly.
    pub(super) missed: bool,
}

impl Score {
    /// Of all records, with each record's findings.
    pub(super) fn of(records: &[Record], findings: &[Vec<Finding>]) -> Self {
        let mut score = Self::default();
        let contradictions = Contradictions::of(records);
        for (index, (record, findings)) in records.iter().zip(findings).enumerate() {
            score.count_labels(index, record, findings);
            score.count_expected(index, record, findings);
            score.count_findings(index, record, findings, &contradictions);
        }
        score
    }

    fn count_labels(&mut self, index: usize, record: &Record, findings: &[Finding]) {
        for label in &record.labels {
            let mut hits = findings
                .iter()
                .filter(|finding| finding.kind.finds(label.row.kind) && overlap(&finding.range, &label.range));
            let exact = hits.clone().any(|finding| finding.range == label.range);
            let found = hits.next().is_some();
            match label.weight {
                Weight::Weak => continue,
                Weight::Disputed => {
                    let dispute = self.disputes.entry(label.row).or_default();
                    dispute.labels += 1;
                    dispute.found += usize::from(found);
                    continue;
                }
                Weight::Full => {}
            }
            let tally = self.rows.entry(label.row).or_default();
            tally.labels += 1;
            tally.found += usize::from(found);
            tally.located += usize::from(found);
            tally.exact += usize::from(exact);
            if !found {
                self.mistakes.push(Mistake { row: label.row, record: index, range: label.range.clone(), missed: true });
            }
        }
    }

    fn count_expected(&mut self, index: usize, record: &Record, findings: &[Finding]) {
        let Some((row, count)) = record.expected else { return };
        let found = findings.iter().filter(|finding| finding.kind.finds(row.kind)).count().min(count);
        if record.expected_disputed {
            let dispute = self.disputes.entry(row).or_default();
            dispute.labels += count;
            dispute.found += found;
            return;
        }
        let tally = self.rows.entry(row).or_default();
        tally.labels += count;
        tally.found += found;
        if found < count {
            self.mistakes.push(Mistake { row, record: index, range: 0..record.text.len(), missed: true });
        }
    }

    fn count_findings(&mut self, index: usize, record: &Record, findings: &[Finding], others: &Contradictions<'_>) {
        for finding in findings.iter().filter(|finding| record.scope.covers(finding.kind)) {
            let agreeing: Vec<Weight> = record
                .labels
                .iter()
                .filter(|label| finding.kind.agrees_with(label.row.kind) && overlap(&finding.range, &label.range))
                .map(|label| label.weight)
                .collect();
            let value = record.text.get(finding.range.clone()).unwrap_or_default();
            let row = Row::of(finding.kind, value, record.rule.as_deref());
            if agreeing.contains(&Weight::Full) {
                self.rows.entry(row).or_default().right += 1;
            } else if !agreeing.is_empty() {
                // Weak and disputed labels say nothing.
            } else if dispute::is_left_out(finding.kind, value) || others.has(&record.file, row, value) {
                self.disputes.entry(row).or_default().unjudged += 1;
            } else {
                self.rows.entry(row).or_default().wrong += 1;
                self.mistakes.push(Mistake { row, record: index, range: finding.range.clone(), missed: false });
            }
        }
    }
}

fn overlap(left: &Range<usize>, right: &Range<usize>) -> bool {
    left.start < right.end && right.start < left.end
}

#[cfg(test)]
mod tests;
