//! Whether every refusal is accounted for: per reason, the log's records and summaries against the gateway's counters;
//! and in all, both against the answers that clients saw.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use anyhow::{Context as _, Result};

/// Requests by reason.
pub(super) type Counts = BTreeMap<String, u64>;

/// The counters.
pub(super) fn counted(metrics: &str) -> Counts {
    let lines = metrics.lines().filter_map(|line| line.strip_prefix("acp_requests_total{reason=\""));
    let pairs = lines.filter_map(|line| line.split_once("\"} "));
    pairs
        .filter_map(|(reason, count)| Some((reason.to_owned(), count.trim().parse().ok()?)))
        .filter(|(_, n)| *n > 0)
        .collect()
}

/// The log.
///
/// # Errors
/// When it cannot be read.
pub(super) fn recorded(audit: &Path) -> Result<Counts> {
    let mut counts = Counts::new();
    for entry in fs::read_dir(audit)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            let mut lines = BufReader::with_capacity(1 << 20, File::open(&path)?);
            let mut line = String::new();
            while lines.read_line(&mut line).with_context(|| format!("{}", path.display()))? > 0 {
                if let Some((reason, count)) = of_line(&line) {
                    match counts.get_mut(reason) {
                        Some(total) => *total += count,
                        None => drop(counts.insert(reason.to_owned(), count)),
                    }
                }
                line.clear();
            }
        }
    }
    Ok(counts)
}

/// Why the requests ended that a line stands for, and how many they are.
fn of_line(line: &str) -> Option<(&str, u64)> {
    let kind = line.strip_prefix("{\"kind\":\"")?.split('"').next()?;
    let reason = text(line, "\"reason\":\"")?;
    match kind {
        "request" | "outcome" => Some((reason, 1)),
        "summary" => {
            let (_, rest) = line.split_once("\"count\":")?;
            let end = rest.find(|symbol: char| !symbol.is_ascii_digit()).unwrap_or(rest.len());
            Some((reason, rest[..end].parse().ok()?))
        }
        _ => None,
    }
}

fn text<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    line.split_once(name)?.1.split('"').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_once_summaries_by_their_count_and_intents_not_at_all() {
        let check = |line: &str, expected| assert_eq!(of_line(line), expected, "{line}");
        check(r#"{"kind":"request","id":"r","decision":"deny","reason":"rate_limited"}"#, Some(("rate_limited", 1)));
        check(r#"{"kind":"outcome","id":"r","reason":"allowed"}"#, Some(("allowed", 1)));
        check(r#"{"kind":"intent","id":"r"}"#, None);
        check(r#"{"kind":"summary","reason":"invalid_token","count":41,"x":1}"#, Some(("invalid_token", 41)));
        check(r#"{"block":{"records":2}}"#, None);
    }

    #[test]
    fn reads_the_counters() {
        let text = "# x\nacp_requests_total{reason=\"allowed\"} 12\nacp_requests_total{reason=\"internal\"} 0\n";
        assert_eq!(counted(text), Counts::from([("allowed".to_owned(), 12)]));
    }
}
