//! Rows on their way to a gateway's audit log. Bounded: what a gateway does not take for too long becomes a number.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use serde_json::Value;

use crate::cli::kernel::socket;
use crate::control::confine::{LOST, RefusedRow};

/// Rows that wait for a gateway.
const PENDING_MAX: usize = 4_096;
/// Rows sent in one go.
const BATCH: usize = 512;

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: VecDeque<RefusedRow>,
    /// By cgroup, what the rows stood for that had to make room.
    overflowed: BTreeMap<String, u64>,
    /// Whether the last try failed, which is said once.
    failing: bool,
}

impl Outbox {
    /// Takes a row; the oldest makes room.
    pub(super) fn push(&mut self, row: RefusedRow) {
        if self.pending.len() == PENDING_MAX
            && let Some(oldest) = self.pending.pop_front()
        {
            *self.overflowed.entry(oldest.cgroup).or_default() += oldest.count;
        }
        self.pending.push_back(row);
    }

    /// Sends what waits, as far as the gateway takes it. Says when that begins and ends to fail.
    pub(super) fn send(&mut self, gateway: &Path) {
        if self.pending.is_empty() && self.overflowed.is_empty() {
            return;
        }
        let result = self.try_send(|rows| post(gateway, rows));
        match &result {
            Err(error) if !self.failing => {
                tracing::warn!("refusals cannot be put in the audit log, and wait: {error:#}");
            }
            Ok(()) if self.failing => tracing::warn!("the gateway takes refusals again"),
            _ => {}
        }
        self.failing = result.is_err();
    }

    fn try_send(&mut self, mut post: impl FnMut(&[RefusedRow]) -> anyhow::Result<usize>) -> anyhow::Result<()> {
        loop {
            while self.pending.len() < PENDING_MAX
                && let Some((cgroup, count)) = self.overflowed.pop_first()
            {
                self.pending.push_back(RefusedRow { cgroup, refused: LOST.into(), count, ..RefusedRow::default() });
            }
            let length = self.pending.len().min(BATCH);
            if length == 0 {
                return Ok(());
            }
            let taken = post(&self.pending.make_contiguous()[..length])?.min(length);
            self.pending.drain(..taken);
            anyhow::ensure!(taken > 0, "its audit writer is behind");
        }
    }
}

/// How many of the rows, from the first on, the gateway took.
fn post(gateway: &Path, rows: &[RefusedRow]) -> anyhow::Result<usize> {
    let answer = socket::ask(gateway, "/kernel/refused", Some(&serde_json::to_value(rows)?))?;
    anyhow::ensure!(answer.status == 200, "the gateway answered {}", answer.status);
    let taken = serde_json::from_slice::<Value>(&answer.body)?["taken"].as_u64().unwrap_or(0);
    Ok(usize::try_from(taken)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(count: u64) -> RefusedRow {
        RefusedRow { cgroup: "/a".into(), refused: "connect".into(), count, ..RefusedRow::default() }
    }

    #[test]
    fn rows_that_were_not_taken_wait_and_none_is_sent_twice() {
        let mut outbox = Outbox::default();
        (0..600).for_each(|count| outbox.push(row(count)));
        let mut sent = Vec::new();
        let mut room = 550;
        let error = outbox.try_send(|rows| {
            let taken = rows.len().min(room);
            room -= taken;
            sent.extend(rows[..taken].iter().map(|row| row.count));
            Ok(taken)
        });
        assert!(error.is_err(), "no room is an error");
        assert!(outbox.try_send(|_| anyhow::bail!("gone")).is_err());
        let all = outbox.try_send(|rows| {
            sent.extend(rows.iter().map(|row| row.count));
            Ok(rows.len())
        });
        assert!(all.is_ok());
        assert_eq!(sent, (0..600).collect::<Vec<_>>());
    }

    #[test]
    fn what_a_gateway_does_not_take_for_too_long_is_a_number_in_the_end() {
        let mut outbox = Outbox::default();
        (0..PENDING_MAX + 10).for_each(|_| outbox.push(row(3)));
        let (mut known, mut lost) = (0, 0);
        let sent = outbox.try_send(|rows| {
            for row in rows {
                *(if row.refused == LOST { &mut lost } else { &mut known }) += row.count;
            }
            Ok(rows.len())
        });
        assert!(sent.is_ok());
        assert_eq!((known, lost), (3 * PENDING_MAX as u64, 30));
    }
}
