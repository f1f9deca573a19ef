//! Records as a table. Columns take the width of the first rows; later rows that need more push their line out.

use jiff::tz::TimeZone;

use super::Output;
use crate::audit::query::Record;
use crate::audit::query::value::{address, shown};

/// Rows that are looked at before the first is printed.
const SAMPLE: usize = 200;

/// Widest a column gets.
const WIDTH_MAX: usize = 40;

const HEADS: [&str; 10] =
    ["TIME", "DECISION", "REASON", "USER", "TENANT", "TOOL", "LABELS", "FOUND", "COST", "REQUEST"];

type Row = [String; HEADS.len()];

/// Prints rows.
pub(super) struct Table {
    zone: TimeZone,
    waiting: Vec<Row>,
    widths: Option<[usize; HEADS.len()]>,
}

impl Table {
    pub(super) fn new(zone: TimeZone) -> Self {
        Self { zone, waiting: Vec::new(), widths: None }
    }

    pub(super) fn row(&mut self, record: &Record, output: &mut Output<'_>) -> anyhow::Result<()> {
        self.waiting.push(self.cells(record));
        if self.widths.is_some() || self.waiting.len() >= SAMPLE {
            self.flush(output)?;
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, output: &mut Output<'_>) -> anyhow::Result<()> {
        if !self.waiting.is_empty() {
            self.flush(output)?;
        }
        Ok(())
    }

    fn flush(&mut self, output: &mut Output<'_>) -> anyhow::Result<()> {
        if self.widths.is_none() {
            let mut widths = HEADS.map(str::len);
            for row in &self.waiting {
                for (width, cell) in widths.iter_mut().zip(row) {
                    *width = (*width).max(cell.chars().count()).min(WIDTH_MAX);
                }
            }
            self.widths = Some(widths);
            self.print(&HEADS.map(str::to_owned), output)?;
        }
        for row in std::mem::take(&mut self.waiting) {
            self.print(&row, output)?;
        }
        Ok(())
    }

    fn print(&self, row: &Row, output: &mut Output<'_>) -> anyhow::Result<()> {
        let widths = self.widths.unwrap_or_default();
        let mut line = String::new();
        for (n, (cell, width)) in row.iter().zip(widths).enumerate() {
            let padded = format!("{cell:<width$}  ");
            line.push_str(&if n == 1 { output.paint(&padded, cell) } else { padded });
        }
        writeln!(output.out, "{}", line.trim_end())?;
        Ok(())
    }

    fn cells(&self, record: &Record) -> Row {
        let time =
            record.time().map(|time| time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S%.3f").to_string());
        let user = match record.text("kind") {
            "summary" => address(record),
            _ => record.subject().to_owned(),
        };
        let request = match record.text("kind") {
            "summary" => format!("{} requests", record.number("count")),
            "event" => record.text("event").to_owned(),
            _ => record.text("id").to_owned(),
        };
        [
            time.unwrap_or_default(),
            decision(record).to_owned(),
            shown(record.text("reason")),
            shown(&user),
            shown(record.text("tenant")),
            shown(if record.text("tool").is_empty() { record.text("asked") } else { record.text("tool") }),
            shown(&record.texts("labels").collect::<Vec<_>>().join(",")),
            shown(&findings(record)),
            cost(record),
            shown(&request),
        ]
    }
}

/// What stands in the decision column.
pub(super) fn decision(record: &Record) -> &str {
    if record.is_pending() { "open" } else { record.text("decision") }
}

/// `email×2 redact, us_ssn×1 block`, request and answer together.
pub(super) fn findings(record: &Record) -> String {
    let lists = ["findings", "response_findings"].into_iter();
    let all = lists.flat_map(|key| record.fields.get(key).and_then(serde_json::Value::as_array).into_iter().flatten());
    let one = |finding: &serde_json::Value| {
        let text = |key: &str| finding.get(key).and_then(serde_json::Value::as_str).unwrap_or("").to_owned();
        let observed = if text("mode") == "observe" { " (observed)" } else { "" };
        format!("{}×{} {}{observed}", text("type"), finding.get("count").unwrap_or(&0.into()), text("action"))
    };
    all.map(one).collect::<Vec<_>>().join(", ")
}

/// What the call cost, or would have.
fn cost(record: &Record) -> String {
    match record.fields.get("settled_microusd").and_then(serde_json::Value::as_u64) {
        Some(settled) => usd(settled),
        None => String::new(),
    }
}

/// Micro-dollars as dollars, without trailing zeros.
pub(super) fn usd(microusd: u64) -> String {
    let text = format!("{}.{:06}", microusd / 1_000_000, microusd % 1_000_000);
    format!("${}", text.trim_end_matches('0').trim_end_matches('.'))
}
