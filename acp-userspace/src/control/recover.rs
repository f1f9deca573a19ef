//! After a crash: what the log says of calls whose leases the ledger could not settle.
//!
//! Every call had its intent in the log before it was sent, so a lease's remainder that no intent names was not spent
//! and goes back; an intent without an outcome counts as its whole hold. That is proof only where the log is whole:
//! after a power loss, or when a segment or ring was taken away, the leases count as spent.
//!
//! Reads the log from the segment on that the ledger names, and keeps no more than the calls in flight and one sum per
//! lease: a start costs what can still be open, not what was ever logged.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use anyhow::Context;
use hashbrown::HashMap;
use serde::Deserialize;

use super::ledger::{LedgerStore, SettledPart};
use crate::audit::chain::unhex;
use crate::audit::files;
use crate::ids::Key128;

/// The fields of a record that money is about.
#[derive(Debug, Deserialize)]
struct Record {
    kind: String,
    id: Option<String>,
    hold: Option<Hold>,
    settled_microusd: Option<u64>,
}

#[derive(Debug, Deserialize)]
struct Hold {
    parts: Vec<(String, u64, u64)>,
}

/// One budget's part of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    budget: Key128,
    lease: u64,
    held: u64,
}

/// What was read so far.
#[derive(Debug, Default)]
struct Spent {
    /// Intents whose outcome was not read yet.
    open: HashMap<String, Vec<Part>>,
    /// Micro-dollars by budget and lease.
    sums: HashMap<(Key128, u64), u64>,
}

/// Settles the leases of an earlier process with what the log in `dir` says; `whole` as in
/// [`super::audit_writer::Opened`].
///
/// # Errors
/// The ledger or the log cannot be read.
pub fn reconcile(store: &mut LedgerStore, dir: &Path, whole: bool) -> anyhow::Result<()> {
    let Some(since) = store.unfolded_since().context("the ledger cannot be read")? else { return Ok(()) };
    let segments = segments(dir)?;
    if !whole || !covers(&segments, since) {
        let forfeited = store.forfeit().context("the ledger cannot be reconciled")?;
        tracing::warn!(
            leases = forfeited.leases,
            spent_microusd = forfeited.spent_microusd,
            "the last process did not close its ledger, and the log cannot say what it spent: its leases count as spent"
        );
        return Ok(());
    }
    let mut spent = Spent::default();
    for number in segments.into_iter().filter(|number| *number >= since) {
        let path = dir.join(files::segment(number));
        spent.read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    }
    let reconciled = store.reconcile(spent.parts()).context("the ledger cannot be reconciled")?;
    tracing::warn!(
        leases = reconciled.leases,
        spent_microusd = reconciled.spent_microusd,
        returned_microusd = reconciled.returned_microusd,
        "the last process did not close its ledger; leases were settled with the log"
    );
    Ok(())
}

/// Whether all segments from `since` on are there. A log that ends before is another one.
fn covers(segments: &[u64], since: u64) -> bool {
    let read = &segments[segments.partition_point(|number| *number < since)..];
    let gapless = read.windows(2).all(|pair| pair[0] + 1 == pair[1]);
    gapless && read.first().is_some_and(|first| since == 0 || *first == since)
}

/// Numbers of the segments there are, rising.
fn segments(dir: &Path) -> anyhow::Result<Vec<u64>> {
    let entries = std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))?;
    let mut numbers: Vec<u64> =
        entries.filter_map(|entry| entry.ok()?.file_name().to_str().and_then(files::segment_number)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

impl Spent {
    fn read(&mut self, path: &Path) -> std::io::Result<()> {
        let mut file = BufReader::with_capacity(1 << 16, File::open(path)?);
        let mut line = Vec::new();
        while file.read_until(b'\n', &mut line)? > 0 {
            self.note(&line);
            line.clear();
        }
        Ok(())
    }

    /// Keeps what one line says of holds and outcomes. Lines of other kinds, and the chain's own, say nothing of them.
    fn note(&mut self, line: &[u8]) {
        if !line.starts_with(b"{\"kind\":\"") {
            return;
        }
        let Ok(Record { kind, id: Some(id), hold, settled_microusd }) = serde_json::from_slice(line) else { return };
        let parts = hold.map(|hold| hold.parts.iter().filter_map(Part::read).collect::<Vec<_>>());
        match (&*kind, parts) {
            ("request", Some(parts)) => self.add(&parts, settled_microusd),
            ("intent", Some(parts)) => _ = self.open.insert(id, parts),
            // Of an intent before the first segment read: its lease was folded before.
            ("outcome", _) => {
                if let Some(parts) = self.open.remove(&id) {
                    self.add(&parts, settled_microusd);
                }
            }
            _ => {}
        }
    }

    /// A call ended; without a known amount it cost all that was held.
    fn add(&mut self, parts: &[Part], settled: Option<u64>) {
        for part in parts {
            let spent = settled.map_or(part.held, |settled| settled.min(part.held));
            let sum = self.sums.entry((part.budget, part.lease)).or_default();
            *sum = sum.saturating_add(spent);
        }
    }

    /// One part per lease, with all that was spent of it.
    fn parts(mut self) -> impl Iterator<Item = SettledPart> {
        for parts in std::mem::take(&mut self.open).into_values() {
            self.add(&parts, None);
        }
        let part = |((budget, lease), spent)| SettledPart { budget, lease, held: spent, settled: Some(spent) };
        self.sums.into_iter().map(part)
    }
}

impl Part {
    fn read((budget, lease, held): &(String, u64, u64)) -> Option<Self> {
        Some(Self { budget: Key128(unhex(budget)?), lease: *lease, held: *held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::ledger::for_test::with_open_lease;

    const BUDGET: Key128 = Key128([3; 16]);

    fn intent(id: &str, kind: &str, held: u64, settled: &str) -> String {
        let key = "03".repeat(16);
        let hold = format!(r#""hold":{{"id":1,"held_microusd":{held},"parts":[["{key}",2,{held}]]}}"#);
        format!(r#"{{"kind":"{kind}","id":"{id}",{hold}{settled}}}"#)
    }

    #[track_caller]
    fn check(lines: &[String], expected: u64) {
        let mut spent = Spent::default();
        lines.iter().for_each(|line| spent.note(line.as_bytes()));
        let parts: Vec<SettledPart> = spent.parts().collect();
        let all = SettledPart { budget: BUDGET, lease: 2, held: expected, settled: Some(expected) };
        assert_eq!(parts, [all]);
    }

    #[test]
    fn intents_and_outcomes_are_joined_across_lines_and_summed_per_lease() {
        let outcome = |id: &str| format!(r#"{{"kind":"outcome","id":"{id}","settled_microusd":4}}"#);
        let unknown = r#"{"kind":"outcome","id":"c","outcome":"unknown"}"#.to_owned();
        let a = intent("a", "intent", 9, "");
        check(&[a.clone(), outcome("a")], 4);
        check(&[a.clone(), outcome("a"), outcome("a")], 4);
        check(&[a.clone(), intent("c", "intent", 7, ""), unknown, outcome("a")], 11);
        check(&[a, intent("b", "request", 9, r#","settled_microusd":5"#)], 14);
        check(&[intent("b", "request", 3, r#","settled_microusd":5"#), r#"{"block":{"count":3}}"#.into()], 3);
        check(&[outcome("z"), "torn".into(), intent("a", "intent", 9, "")], 9);
    }

    #[test]
    fn a_log_covers_a_lease_when_no_segment_since_is_missing() {
        for (segments, since, expected) in [
            (&[1, 2, 3][..], 2, true),
            (&[3], 3, true),
            (&[2, 3], 0, true),
            (&[], 0, false),
            (&[1, 2, 3], 4, false),
            (&[1, 3, 4], 2, false),
            (&[2, 4], 2, false),
            (&[2, 4], 0, false),
        ] {
            assert_eq!(covers(segments, since), expected, "{segments:?} since {since}");
        }
    }

    #[test]
    fn leases_count_as_spent_where_the_log_proves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = with_open_lease(dir.path());
        assert_eq!(store.unfolded_since().unwrap(), Some(4));
        // A new log after the old one was moved away.
        std::fs::write(dir.path().join(files::segment(3)), "").unwrap();
        reconcile(&mut store, dir.path(), true).unwrap();
        assert_eq!((store.total_spent().unwrap(), store.unfolded_since().unwrap()), (30, None));

        let dir = tempfile::tempdir().unwrap();
        let mut store = with_open_lease(dir.path());
        std::fs::write(dir.path().join(files::segment(4)), "").unwrap();
        reconcile(&mut store, dir.path(), false).unwrap();
        assert_eq!((store.total_spent().unwrap(), store.unfolded_since().unwrap()), (30, None));

        let dir = tempfile::tempdir().unwrap();
        let mut store = with_open_lease(dir.path());
        // What stands before the lease's first segment is not read: here, nothing that could be.
        std::fs::create_dir(dir.path().join(files::segment(3))).unwrap();
        std::fs::write(dir.path().join(files::segment(4)), "").unwrap();
        reconcile(&mut store, dir.path(), true).unwrap();
        assert_eq!((store.total_spent().unwrap(), store.unfolded_since().unwrap()), (10, None), "nothing was sent");
    }
}
