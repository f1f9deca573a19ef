//! The report: Markdown whose tables can be read on a terminal as they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::engine::Cost;
use super::forms::{Class, Row};
use super::names::{Dialect, KindId};
use super::negatives::Hits;
use super::score::{Dispute, Score, Tally, share};
use super::verdict::{FORMAT_MIN, NEGATIVES_PER_HIT, Verdict};

/// One engine's results.
pub(super) struct Side {
    /// Heading of its columns.
    pub(super) name: &'static str,
    /// Its names.
    pub(super) dialect: Dialect,
    /// On the labelled texts.
    pub(super) score: Score,
    /// What that took, and for how many texts.
    pub(super) cost: (Cost, usize),
    /// On the corpora's negatives, and on lines of this machine.
    pub(super) negatives: [Hits; 2],
}

/// The rows that somebody labels or finds, with the gateway's verdict.
pub(super) fn judge(acp: &Side, peer: Option<&Side>) -> Vec<(Row, Verdict)> {
    let sides = || std::iter::once(acp).chain(peer);
    let rows: BTreeSet<Row> = sides().flat_map(|side| side.score.rows.keys().copied()).collect();
    let tally = |side: &Side, row| side.score.rows.get(&row).copied().unwrap_or_default();
    let verdict = |row| Verdict::of(row, &tally(acp, row), peer.map(|peer| tally(peer, row)).as_ref());
    rows.into_iter().map(|row| (row, verdict(row))).collect()
}

/// The accuracy by row, and its sums.
pub(super) fn accuracy(acp: &Side, peer: Option<&Side>, verdicts: &[(Row, Verdict)]) -> String {
    let sides: Vec<&Side> = std::iter::once(acp).chain(peer).collect();
    let is_offered = |row: &Row| sides.iter().any(|side| row.kind.offered_by(side.dialect));
    let mut lines = vec![heading(&sides)];
    for (row, verdict) in verdicts.iter().filter(|(row, _)| is_offered(row)) {
        let tallies: Vec<_> = sides.iter().map(|side| side.tally(|other| other == *row)).collect();
        lines.push(line(row.to_string(), class_name(row.class()), &sides_of(&sides, &tallies, *row), verdict.name()));
    }
    for class in [Class::Format, Class::Context] {
        let ours = |row: Row| row.class() == class && row.kind.offered_by(Dialect::Acp);
        lines.push(line("**all that acp offers**".to_owned(), class_name(class), &sums(&sides, ours, 1), ""));
        if peer.is_some() {
            let both = |row: Row| ours(row) && row.kind.offered_by(Dialect::Presidio);
            lines.push(line("**all that both offer**".to_owned(), class_name(class), &sums(&sides, both, 2), ""));
        }
    }
    let mut text = table(&lines);
    let neither: Vec<String> = verdicts
        .iter()
        .filter(|(row, _)| !is_offered(row))
        .map(|(row, _)| format!("{row} ({})", acp.tally(|other| other == *row).labels))
        .collect();
    if !neither.is_empty() {
        let _ = writeln!(text, "\nLabelled, and offered by neither: {}.", neither.join(", "));
    }
    text + &notes(&sides)
}

/// What the reader has to know to read the table.
fn notes(sides: &[&Side]) -> String {
    let of_labels = |side: &&Side| {
        let (labels, found) =
            side.score.disputes.values().fold((0, 0), |(labels, found), it| (labels + it.labels, found + it.found));
        format!("{} found {found} of {labels}", side.name)
    };
    let disputed = sides.iter().map(of_labels).collect::<Vec<_>>().join(", ");
    format!(
        "\nRecall is of labels, precision of the findings judged (in brackets). `-`: the engine has no such detector; \
         nothing: nothing to judge. Format-bound rows pass from {FORMAT_MIN}, context-bound ones if recall and precision \
         are both ahead of Presidio's. Labels whose value cannot be what they say count nowhere ({disputed}); nor do \
         findings whose value the same source labels elsewhere, or its text names and the source left out. With both put \
         back, as the sources have it:\n\n{}",
        as_labelled(sides)
    )
}

/// The rows that disputes change, with every label taken for right and every finding without one for wrong.
fn as_labelled(sides: &[&Side]) -> String {
    let rows: BTreeSet<Row> = sides.iter().flat_map(|side| side.score.disputes.keys().copied()).collect();
    let mut lines = vec![heading(sides)];
    lines[0].pop();
    for row in rows {
        let tallies: Vec<_> = sides.iter().map(|side| side.as_labelled(row)).collect();
        let mut line = line(row.to_string(), class_name(row.class()), &sides_of(sides, &tallies, row), "");
        line.pop();
        lines.push(line);
    }
    table(&lines)
}

/// Texts in which nothing is to be found, and what was found.
pub(super) fn negatives(acp: &Side, peer: Option<&Side>) -> String {
    let sides: Vec<&Side> = std::iter::once(acp).chain(peer).collect();
    let mut lines =
        vec![["texts", "engine", "looked at", "hit", "acted on", "acted on in 10 000"].map(str::to_owned).to_vec()];
    for (index, name) in ["corpora", "source code and logs"].into_iter().enumerate() {
        for side in &sides {
            let Hits { texts, hit, acted_on, .. } = &side.negatives[index];
            let acted = |text: String| if side.dialect == Dialect::Acp { text } else { "-".to_owned() };
            let rate = share(acted_on * NEGATIVES_PER_HIT, *texts).map_or(String::new(), |rate| format!("{rate:.2}"));
            let counts = [texts.to_string(), hit.to_string(), acted(acted_on.to_string()), acted(rate)];
            lines.push([vec![name.to_owned(), side.name.to_owned()], counts.to_vec()].concat());
        }
    }
    let note = "\nIn brackets: acted on by default, that is edited or blocked, by mistake. Real e-mail addresses, network \
                addresses and URLs in source code and logs are none.\n";
    table(&lines) + "\n" + &negatives_by_kind(&sides) + note
}

fn negatives_by_kind(sides: &[&Side]) -> String {
    let mut kinds: BTreeMap<KindId, usize> = BTreeMap::new();
    for hits in sides.iter().flat_map(|side| &side.negatives) {
        hits.kinds.iter().for_each(|(kind, (hit, _))| *kinds.entry(*kind).or_default() += hit);
    }
    let mut lines = vec![vec!["type".to_owned()]];
    for side in sides {
        lines[0].extend(["corpora", "code, logs"].map(|texts| format!("{}: {texts}", side.name)));
    }
    for kind in kinds.into_keys() {
        let mut line = vec![kind.kind().name.to_owned()];
        for side in sides {
            line.extend(side.negatives.iter().map(|hits| match (hits.kinds.get(&kind), side.dialect) {
                (None, dialect) if !kind.offered_by(dialect) => "-".to_owned(),
                (None, _) => "0".to_owned(),
                (Some((hit, acted_on)), Dialect::Acp) => format!("{hit} ({acted_on})"),
                (Some((hit, _)), Dialect::Presidio) => hit.to_string(),
            }));
        }
        lines.push(line);
    }
    table(&lines)
}

/// What the labelled texts took.
pub(super) fn cost(acp: &Side, peer: Option<&Side>) -> String {
    let columns = ["engine", "texts", "wall, s", "CPU, s", "of this loading, s", "texts per CPU second"];
    let mut lines = vec![columns.map(str::to_owned).to_vec()];
    for side in std::iter::once(acp).chain(peer) {
        let (Cost { cpu, loading, wall }, texts) = side.cost;
        let seconds = |time: std::time::Duration| format!("{:.2}", time.as_secs_f64());
        let rate = texts as f64 / cpu.saturating_sub(loading).as_secs_f64().max(1e-9);
        // Without a header there is no telling.
        let loading = if loading.is_zero() { String::new() } else { seconds(loading) };
        let times = [seconds(wall), seconds(cpu), loading, format!("{rate:.0}")];
        lines.push([vec![side.name.to_owned(), texts.to_string()], times.to_vec()].concat());
    }
    table(&lines)
}

impl Side {
    /// One row, disputes put back.
    fn as_labelled(&self, row: Row) -> Tally {
        let tally = self.tally(|other| other == row);
        let Dispute { labels, found, unjudged } = self.score.disputes.get(&row).copied().unwrap_or_default();
        Tally { labels: tally.labels + labels, found: tally.found + found, wrong: tally.wrong + unjudged, ..tally }
    }

    /// The sum of some rows.
    fn tally(&self, wanted: impl Fn(Row) -> bool) -> Tally {
        let mut sum = Tally::default();
        self.score.rows.iter().filter(|(row, _)| wanted(**row)).for_each(|(_, tally)| sum.add(tally));
        sum
    }
}

fn heading(sides: &[&Side]) -> Vec<String> {
    let of_each = |what: &str| sides.iter().map(|side| format!("{what} {}", side.name)).collect::<Vec<_>>();
    let start = ["type", "class", "labels"].map(str::to_owned).to_vec();
    [start, of_each("recall"), of_each("precision"), of_each("exact"), vec!["verdict".to_owned()]].concat()
}

/// Each engine's counts, `None` where it has no such detector.
fn sides_of(sides: &[&Side], tallies: &[Tally], row: Row) -> Vec<Option<Tally>> {
    sides.iter().zip(tallies).map(|(side, tally)| row.kind.offered_by(side.dialect).then_some(*tally)).collect()
}

/// The first `engines`' sums of some rows, `None` for the others.
fn sums(sides: &[&Side], wanted: impl Fn(Row) -> bool, engines: usize) -> Vec<Option<Tally>> {
    sides.iter().enumerate().map(|(index, side)| (index < engines).then(|| side.tally(&wanted))).collect()
}

fn line(name: String, class: &str, tallies: &[Option<Tally>], verdict: &str) -> Vec<String> {
    let labels = tallies.iter().flatten().map(|tally| tally.labels).max().unwrap_or_default();
    let mut line = vec![name, class.to_owned(), labels.to_string()];
    let cell = |text: fn(&Tally) -> String| {
        tallies.iter().map(move |tally| tally.map_or("-".to_owned(), |tally| text(&tally)))
    };
    let number = |share: Option<f64>| share.map_or(String::new(), |share| format!("{share:.3}"));
    line.extend(cell(|tally| tally.recall().map_or(String::new(), |share| format!("{share:.3}"))));
    line.extend(cell(|tally| {
        tally.precision().map_or(String::new(), |share| format!("{share:.3} ({})", tally.right + tally.wrong))
    }));
    line.extend(tallies.iter().map(|tally| tally.map_or("-".to_owned(), |tally| number(tally.exactness()))));
    line.push(verdict.to_owned());
    line
}

fn class_name(class: Class) -> &'static str {
    match class {
        Class::Format => "format",
        Class::Context => "context",
    }
}

/// A Markdown table; the first line is its heading. The first column is to the left, the others as their text.
fn table(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or_default().max(3)).collect();
    let mut text = String::new();
    for (number, line) in lines.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(text, "| {cell:<width$} ");
        }
        text.push_str("|\n");
        if number == 0 {
            widths.iter().for_each(|width| text.push_str(&format!("|{}", "-".repeat(width + 2))));
            text.push_str("|\n");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(name: &'static str, dialect: Dialect, rows: &[(&str, Tally)]) -> Side {
        let row = |name: &str| Row::of(KindId::of_label(name).expect("a kind"), "", None);
        let rows = rows.iter().map(|(name, tally)| (row(name), *tally)).collect();
        Side {
            name,
            dialect,
            score: Score { rows, ..Score::default() },
            cost: Default::default(),
            negatives: Default::default(),
        }
    }

    fn sides() -> (Side, Side) {
        let all = Tally { labels: 4, found: 4, located: 4, exact: 2, right: 3, wrong: 0 };
        let half = Tally { found: 2, right: 1, wrong: 1, ..all };
        let title = Tally { labels: 7, ..Tally::default() };
        let acp = side("acp", Dialect::Acp, &[("IBAN", all), ("SECRET", half), ("KR_FRN", title), ("TITLE", title)]);
        let peer = side("Presidio", Dialect::Presidio, &[("IBAN", half), ("SECRET", title), ("KR_FRN", all)]);
        (acp, peer)
    }

    /// The cells of the line that begins with `name`.
    #[track_caller]
    fn cells<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
        let line = text.lines().find(|line| line.starts_with(&format!("| {name} "))).expect("a line");
        line.trim_matches('|').split('|').map(str::trim).collect()
    }

    #[test]
    fn an_engine_without_the_detector_gets_a_dash_and_no_sum() {
        let (acp, peer) = sides();
        let text = accuracy(&acp, Some(&peer), &judge(&acp, Some(&peer)));
        let iban = ["IBAN", "format", "4", "1.000", "0.500", "1.000 (3)", "0.500 (2)", "0.500", "0.500", "pass"];
        assert_eq!(cells(&text, "IBAN"), iban);
        let secret = ["SECRET, unmarked", "context", "4", "0.500", "-", "0.500 (2)", "-", "0.500", "-", ""];
        assert_eq!(cells(&text, "SECRET, unmarked"), secret);
        assert_eq!(cells(&text, "KR_FRN")[3..7], ["-", "1.000", "-", "1.000 (3)"]);
        assert_eq!(cells(&text, "**all that both offer**")[2..5], ["4", "1.000", "0.500"]);
        assert_eq!(cells(&text, "**all that acp offers**")[2..5], ["4", "1.000", "-"]);
        assert!(text.contains("offered by neither: TITLE (7)."), "{text}");
    }

    #[test]
    fn every_line_has_the_heading_s_columns() {
        let (acp, peer) = sides();
        for peer in [None, Some(&peer)] {
            let verdicts = judge(&acp, peer);
            for text in [accuracy(&acp, peer, &verdicts), negatives(&acp, peer), cost(&acp, peer)] {
                for part in text.split("\n\n").filter(|part| part.starts_with('|')) {
                    let counts: BTreeSet<_> = part.lines().map(|line| line.matches('|').count()).collect();
                    assert_eq!(counts.len(), 1, "{part}");
                }
            }
        }
    }
}
