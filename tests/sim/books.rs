//! The books compared: ledger, upstream's bill, and the log, against the model and what callers were told.

use std::collections::BTreeSet;
use std::path::Path;

use acp::reason::Reason;

use super::invariants::{Breach, Invariant, Joined};
use super::steps::Simulation;
use super::task::At;
use super::world;

impl Simulation {
    /// The ledger against the model, and both against the upstream's bill.
    pub(super) fn books(&mut self) -> Result<(), Breach> {
        let accounts = self.model.accounts.clone();
        for (principal, account) in accounts {
            let spent = self.world().spent(principal);
            let bill = self.bill.get(&principal).copied().unwrap_or_default();
            let said = || format!("{principal:?}: {account:?}, the ledger says {spent}, the upstream's bill is {bill}");
            self.checks.check(Invariant::Spend, spent == account.spent, said)?;
            let in_flight = account.spent + account.held;
            self.checks.check(Invariant::Cap, bill <= in_flight && in_flight <= account.cap_max, said)?;
        }
        Ok(())
    }

    /// Drains the log and reads all of it.
    pub(super) fn audit(&mut self) -> Result<(), Breach> {
        let now = self.now;
        if now.mono_ns < self.stalled_until {
            return Ok(());
        }
        self.world().drain(now);
        let joined = self.read()?;
        self.compare(&joined)
    }

    pub(super) fn read(&mut self) -> Result<Joined, Breach> {
        let records = self.world().verify();
        let chain = records.is_ok();
        self.checks.check(Invariant::Chain, chain, || format!("{records:?}"))?;
        let log = self.world().log();
        let lines: Vec<Vec<u8>> = log
            .iter()
            .flat_map(|(_, bytes)| bytes.split_inclusive(|b| *b == b'\n'))
            .filter(|line| line.starts_with(b"{\"kind\""))
            .map(<[u8]>::to_vec)
            .collect();
        let kept = lines.starts_with(&self.lines);
        self.checks.check(Invariant::Append, kept, || "the log is another than before".to_owned())?;
        let joined = Joined::read(lines.iter().map(Vec::as_slice))?;
        self.lines = lines;
        Ok(joined)
    }

    pub(super) fn compare(&mut self, joined: &Joined) -> Result<(), Breach> {
        let standing: BTreeSet<String> = self
            .running
            .iter()
            .filter(|running| matches!(running.task.at(), At::Send | At::Answer))
            .map(|running| running.task.id())
            .collect();
        for id in &standing {
            let logged = joined.requests.get(id);
            let open = logged.is_some_and(|logged| logged.intent && logged.reason.is_none());
            self.checks.check(Invariant::Intent, open, || format!("{id} is on its way: {logged:?}"))?;
        }
        for id in &self.seen {
            let intent = joined.requests.get(id).is_some_and(|logged| logged.intent);
            self.checks.check(Invariant::Intent, intent, || id.clone())?;
        }
        for (id, logged) in &joined.requests {
            let known = standing.contains(id) || self.expected.contains_key(id);
            self.checks.check(Invariant::Known, known, || format!("{id}: {logged:?}"))?;
        }
        let mut counted = 0;
        for (id, expected) in &self.expected {
            let Some(logged) = joined.requests.get(id) else {
                counted += u64::from(expected.countable);
                self.checks
                    .check(Invariant::Outcome, expected.countable, || format!("{id}: {expected:?} is not recorded"))?;
                continue;
            };
            let said = || format!("{id}: {expected:?}, the log has {logged:?}");
            let reason = expected.reason.map_or("unknown", Reason::code);
            let invariant = if expected.lost { Invariant::Unknown } else { Invariant::Outcome };
            // Of what a full ring refuses, the record may have room where the call had none.
            self.checks.check(invariant, logged.reason.as_deref() == Some(reason), said)?;
            self.checks.check(Invariant::Settled, logged.settled == expected.settled, said)?;
            self.checks.check(Invariant::Snapshot, logged.versions == expected.versions, said)?;
        }
        // Not all counts are summaries yet: those of this second are not.
        self.checks.check(Invariant::Counted, joined.summarised <= counted, || {
            format!("{} are counted, {counted} were told and not recorded", joined.summarised)
        })
    }

    /// After a clean end: nothing is held, nothing is leased, all books agree.
    pub(super) fn closed(&mut self, dir: &Path) -> Result<(), Breach> {
        let (spent, open) = world::closed_books(dir, self.now);
        self.checks.check(Invariant::Holds, !open, || "a lease is open".to_owned())?;
        for (principal, account) in &self.model.accounts {
            let ledger = spent.get(&world::key(*principal)).copied().unwrap_or_default();
            let said = || format!("{principal:?}: {account:?}, the ledger says {ledger}");
            self.checks.check(Invariant::Spend, ledger == account.spent, said)?;
            self.checks.check(Invariant::Holds, account.held == 0, said)?;
        }
        Ok(())
    }
}
