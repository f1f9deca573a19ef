//! After a crash: what the log says of calls whose leases the ledger could not settle.
//!
//! Every call had its intent in the log before it was sent, so a lease's remainder that no intent names was not spent
//! and goes back; an intent without an outcome counts as its whole hold.

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

/// Settles the leases of an earlier process with what the log in `dir` says.
///
/// # Errors
/// The ledger or the log cannot be read.
pub(super) fn reconcile(store: &mut LedgerStore, dir: &Path) -> anyhow::Result<()> {
    if store.unfolded_since().context("the ledger cannot be read")?.is_none() {
        return Ok(());
    }
    let mut parts: HashMap<String, Vec<SettledPart>> = HashMap::new();
    let mut outcomes: HashMap<String, u64> = HashMap::new();
    let mut numbers: Vec<u64> = std::fs::read_dir(dir)?
        .filter_map(|entry| entry.ok()?.file_name().to_str().and_then(files::segment_number))
        .collect();
    numbers.sort_unstable();
    for number in numbers {
        let path = dir.join(files::segment(number));
        let lines =
            BufReader::new(File::open(&path).with_context(|| format!("cannot read {}", path.display()))?).lines();
        for line in lines {
            note(&line?, &mut parts, &mut outcomes);
        }
    }
    for (id, parts) in &mut parts {
        let settled = outcomes.get(id).copied();
        parts.iter_mut().for_each(|part| part.settled = settled.map(|settled| settled.min(part.held)));
    }
    let reconciled = store.reconcile(parts.into_values().flatten()).context("the ledger cannot be reconciled")?;
    if reconciled.leases > 0 {
        tracing::warn!(
            leases = reconciled.leases,
            spent_microusd = reconciled.spent_microusd,
            returned_microusd = reconciled.returned_microusd,
            "the last process did not close its ledger; leases were settled with the log"
        );
    }
    Ok(())
}

/// Keeps what one line says of holds and outcomes. Lines of other kinds, and the chain's own, say nothing of them.
fn note(line: &str, parts: &mut HashMap<String, Vec<SettledPart>>, outcomes: &mut HashMap<String, u64>) {
    let Ok(record) = serde_json::from_str::<Record>(line) else { return };
    let Some(id) = record.id else { return };
    if let Some(settled) = record.settled_microusd.filter(|_| matches!(record.kind.as_str(), "request" | "outcome")) {
        outcomes.insert(id.clone(), settled);
    }
    let Some(hold) = record.hold else { return };
    let held = hold.parts.iter().filter_map(|(budget, lease, held)| {
        let budget = Key128(unhex(budget)?);
        Some(SettledPart { budget, lease: *lease, held: *held, settled: None })
    });
    parts.insert(id, held.collect());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intents_and_outcomes_of_one_id_are_joined_across_lines() {
        let (mut parts, mut outcomes) = (HashMap::new(), HashMap::new());
        let key = "03".repeat(16);
        for line in [
            format!(r#"{{"kind":"intent","id":"a","hold":{{"id":1,"held_microusd":9,"parts":[["{key}",2,9]]}}}}"#),
            r#"{"kind":"outcome","id":"a","settled_microusd":4}"#.to_owned(),
            format!(r#"{{"kind":"intent","id":"b","hold":{{"id":2,"held_microusd":9,"parts":[["{key}",2,9]]}}}}"#),
            r#"{"block":{"count":3}}"#.to_owned(),
            "torn".to_owned(),
        ] {
            note(&line, &mut parts, &mut outcomes);
        }
        assert_eq!((parts.len(), parts["a"][0].budget, parts["a"][0].held), (2, Key128([3; 16]), 9));
        assert_eq!((outcomes.get("a"), outcomes.get("b")), (Some(&4), None));
    }
}
