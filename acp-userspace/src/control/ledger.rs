//! The spend ledger: leases on disk before workers may spend them.
//!
//! One thread owns the [`LedgerStore`]. It answers what workers want ([`LedgerStore::grant_pending`]) with leases, all of
//! one pass in one durable transaction, *then* publishes them; so whatever happens, what was spent was committed first.
//! [`LedgerStore::fold`] moves the spend of settled calls from leased to spent, gives idle slots' leases back, and
//! applies edited caps; [`LedgerStore::serve`] is the loop of both.
//!
//! A lease is at most one call or 1 % of the cap, so that is all a crash can leave in doubt. At start-up
//! [`LedgerStore::reconcile`] takes the audit's word for what leases of the previous boot were spent on: each spend had
//! an intent in the log before it was sent, so what no intent names was not spent. Where the log cannot prove that (it
//! was moved away, or power was lost), [`LedgerStore::forfeit`] counts every such lease as spent.
//!
//! Rows are keyed by budget *id* and principal: spend survives edits of caps and periods (THREATS A29). When a
//! period's length is edited, the current one ends by the old or the new alignment, whichever comes first.
//! A store that cannot commit grants nothing; calls with a price are then answered 503, never let through.
//!
//! **Invariants**, per row: spent + leased ≤ cap at each grant; leased = available + held + spend not yet folded; in
//! memory a row may be newer than on disk, but never says less is committed than workers were given.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use crate::clock::Now;
use crate::ids::Key128;
use crate::usage::Usage;
use crate::usage::plan::{BudgetRule, Plan, key128};

mod account;
mod rows;

use account::{Account, Moment};
use rows::{Row, Rows};

/// Between sweeps, and the longest an edited cap waits.
const PASS_INTERVAL: Duration = Duration::from_secs(1);

/// Between folds: what a scan of the audit after a crash has to cover, besides calls in flight.
const FOLD_INTERVAL: Duration = Duration::from_secs(5);

/// After a failed commit, before the next is tried.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Why the ledger could not be read or written. Always ours or the host's fault.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file cannot be opened or created.
    #[error("cannot open the ledger file")]
    File(#[source] std::io::Error),
    /// Another process has it open.
    #[error("another process has the ledger open: one ledger has one owner")]
    InUse,
    /// It is not a ledger, or no longer.
    #[error(
        "the ledger is damaged; nothing was changed. Keep a copy and restore it from a backup; or move it away, and a new \
         one begins in which nothing was spent in the current periods"
    )]
    Damaged(#[source] Box<redb::Error>),
    /// The store refused: read-only, full.
    #[error("the ledger store failed")]
    Store(#[source] Box<redb::Error>),
    /// The store failed before and is not open again.
    #[error("the ledger store is closed")]
    Closed,
}

impl LedgerError {
    fn store(error: impl Into<redb::Error>) -> Self {
        Self::Store(Box::new(error.into()))
    }

    /// Why an existing ledger does not open.
    fn open(error: redb::DatabaseError) -> Self {
        use redb::{DatabaseError, StorageError};
        use std::io::ErrorKind;
        match error {
            DatabaseError::DatabaseAlreadyOpen => Self::InUse,
            DatabaseError::Storage(StorageError::Corrupted(_)) => Self::Damaged(Box::new(error.into())),
            DatabaseError::Storage(StorageError::Io(ref io))
                if matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof) =>
            {
                Self::Damaged(Box::new(error.into()))
            }
            other => Self::store(other),
        }
    }
}

/// What the audit says of one part of a hold: an intent, and its outcome if there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SettledPart {
    /// [`crate::usage::HoldPart::budget`].
    pub budget: Key128,
    /// [`crate::usage::HoldPart::lease`].
    pub lease: u64,
    /// Micro-dollars held.
    pub held: u64,
    /// Micro-dollars settled; `None` without an outcome, which counts as all of it.
    pub settled: Option<u64>,
}

/// What [`LedgerStore::reconcile`] found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reconciled {
    /// Rows with a lease of an earlier boot.
    pub leases: usize,
    /// Micro-dollars of them that were spent.
    pub spent_microusd: u64,
    /// Micro-dollars proven unspent and returned.
    pub returned_microusd: u64,
}

/// What [`LedgerStore::grant_pending`] did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Granted {
    /// Slots that were answered.
    pub slots: usize,
    /// Micro-dollars leased.
    pub microusd: u64,
}

/// A budget's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spend {
    /// Start of the period, seconds since the Unix epoch.
    pub period_start: u64,
    /// Its end, exclusive.
    pub period_end: u64,
    /// Settled spend, micro-dollars. Exact when no call is in flight.
    pub spent_microusd: u64,
}

/// A lease that may be published once it is committed.
struct Staged {
    index: usize,
    amount: u64,
    headroom: u64,
    lease_max: u64,
    period_end: u64,
}

/// The ledger, held by one thread.
#[derive(Debug)]
pub struct LedgerStore {
    rows: Rows,
    /// By slot index; bounded by the number of slots.
    accounts: HashMap<usize, Account>,
    /// The plan whose caps were last applied.
    plan_serial: u64,
    /// Number of the audit log's newest segment; 0 = unknown.
    log: Arc<AtomicU64>,
}

impl LedgerStore {
    /// Opens or creates the ledger and drops rows of periods long past. One process may have it open.
    ///
    /// # Errors
    /// The file cannot be opened, locked or written.
    pub fn open(path: &Path, now: Now) -> Result<Self, LedgerError> {
        let mut rows = Rows::open(path)?;
        let past = |row: &Row| row.end.saturating_add(row.end - row.start.min(row.end)) <= now.unix_secs();
        let old: Vec<_> = rows.all()?.into_iter().filter(|(_, row)| past(row)).collect();
        if !old.is_empty() {
            rows.commit(&[], &old)?;
        }
        Ok(Self { rows, accounts: HashMap::new(), plan_serial: 0, log: Arc::default() })
    }

    /// From here on notes where in the audit log a lease's calls begin. `segment` is the number of the newest segment
    /// and may lag behind the truth, never run ahead of it. Without it the log is read from its beginning after a crash.
    pub fn follow_log(&mut self, segment: Arc<AtomicU64>) {
        self.log = segment;
    }

    /// Settles the leases of earlier boots by what the audit proves. Call it once, before the first grant, with every
    /// intent of the leases that may be open: those since [`LedgerStore::unfolded_since`].
    ///
    /// # Errors
    /// The store failed; the leases then still count as spent.
    pub fn reconcile(&mut self, outcomes: impl Iterator<Item = SettledPart>) -> Result<Reconciled, LedgerError> {
        let mut open: HashMap<Key128, SmallVec<[(Row, u64); 2]>> = HashMap::new();
        for (budget, row) in self.rows.all()? {
            open.entry(budget).or_default().push((row, 0));
        }
        for part in outcomes {
            let Some(rows) = open.get_mut(&part.budget) else { continue };
            // A generation belongs to the last period that began with or before it.
            let Some((row, spent)) = rows.iter_mut().rev().find(|(row, _)| row.first <= part.lease) else { continue };
            if part.lease >= row.unfolded {
                *spent += part.settled.unwrap_or(part.held).min(part.held);
            }
        }
        let leases = open.into_iter().flat_map(|(budget, rows)| {
            rows.into_iter().filter(|(row, _)| row.leased > 0).map(move |(row, spent)| (budget, row, spent))
        });
        self.settle_leases(leases.collect())
    }

    /// Counts the leases of earlier boots as spent, for want of a log that says what they were spent on.
    ///
    /// # Errors
    /// The store failed; they count as spent all the same, when their budgets are next used.
    pub fn forfeit(&mut self) -> Result<Reconciled, LedgerError> {
        let open = self.rows.all()?.into_iter().filter(|(_, row)| row.leased > 0);
        self.settle_leases(open.map(|(budget, row)| (budget, row, row.leased)).collect())
    }

    /// Ends leases, of each of which so much was spent.
    fn settle_leases(&mut self, leases: Vec<(Key128, Row, u64)>) -> Result<Reconciled, LedgerError> {
        let mut report = Reconciled { leases: leases.len(), ..Reconciled::default() };
        let mut settled = Vec::with_capacity(leases.len());
        for (budget, row, spent) in leases {
            report.spent_microusd += spent;
            report.returned_microusd += row.leased.saturating_sub(spent);
            settled.push((budget, Row { spent: row.spent.saturating_add(spent), leased: 0, ..row }));
        }
        if !settled.is_empty() {
            self.rows.commit(&settled, &[])?;
        }
        Ok(report)
    }

    /// Number of the audit segment before which nothing was written about a lease that is open now: where a scan of the
    /// log for [`LedgerStore::reconcile`] begins; 0 = at its beginning. `None` when no lease is open.
    ///
    /// # Errors
    /// The store failed.
    pub fn unfolded_since(&mut self) -> Result<Option<u64>, LedgerError> {
        let open = self.rows.all()?.into_iter().filter(|(_, row)| row.leased > 0);
        Ok(open.map(|(_, row)| row.since).min())
    }

    /// Answers every slot that wants a lease, in one durable transaction; applies the plan's caps if it is a new plan.
    ///
    /// # Errors
    /// The store failed: nothing was granted, and the wishes stand.
    pub fn grant_pending(&mut self, usage: &Usage, plan: &Plan, now: Now) -> Result<Granted, LedgerError> {
        if self.plan_serial != plan.serial() {
            self.apply_caps(usage, plan);
            self.plan_serial = plan.serial();
        }
        let mut wishes = Vec::new();
        usage.budgets.drain_wishes(|index, want| wishes.push((index, want)));
        if wishes.is_empty() {
            return Ok(Granted::default());
        }
        let mut staged = Vec::with_capacity(wishes.len());
        let result = self.stage_all(usage, plan, now, &wishes, &mut staged).and_then(|()| self.commit());
        if let Err(error) = result {
            for grant in &staged {
                if let Some(account) = self.accounts.get_mut(&grant.index) {
                    account.row.leased -= grant.amount;
                }
            }
            wishes.iter().for_each(|(index, want)| usage.budgets.renew_wish(*index, *want));
            return Err(error);
        }
        for grant in &staged {
            usage.budgets.publish(grant.index, grant.amount, grant.headroom, grant.lease_max, grant.period_end);
        }
        Ok(Granted { slots: staged.len(), microusd: staged.iter().map(|grant| grant.amount).sum() })
    }

    /// Moves settled spend from leased to spent, gives the leases of idle slots back, applies caps; one transaction.
    ///
    /// # Errors
    /// The store failed; what was folded in memory is written with the next commit.
    pub fn fold(&mut self, usage: &Usage, plan: &Plan, now: Now) -> Result<(), LedgerError> {
        let at = self.moment(now);
        let mut idle = Vec::new();
        for account in self.accounts.values_mut() {
            account.fold_settled(usage);
            if account.is_idle(usage) && account.give_back(usage) {
                idle.push(account.index);
            } else {
                account.begin_generation(usage, at);
            }
        }
        self.apply_caps(usage, plan);
        self.commit()?;
        for index in idle {
            if let Some(account) = self.accounts.remove(&index) {
                usage.budgets.retire(index, account.entry);
            }
        }
        Ok(())
    }

    /// Gives every unspent lease back, for a clean shutdown. Holds still open stay leased, as after a crash.
    ///
    /// # Errors
    /// The store failed; the leases then count as spent until they are reconciled.
    pub fn close(mut self, usage: &Usage) -> Result<(), LedgerError> {
        for account in self.accounts.values_mut() {
            account.fold_settled(usage);
            account.give_back(usage);
        }
        self.commit()
    }

    /// A budget's standing in its latest period; `None` if it was never used. See [`crate::usage::budget_key`].
    ///
    /// # Errors
    /// The store failed.
    pub fn spend(&mut self, usage: &Usage, budget: Key128) -> Result<Option<Spend>, LedgerError> {
        let account = self.accounts.values().find(|account| account.budget == budget);
        let (row, spent) = match account {
            Some(account) => (account.row, account.spent(usage)),
            None => match self.rows.latest(budget)? {
                Some(row) => (row, row.committed()),
                None => return Ok(None),
            },
        };
        Ok(Some(Spend { period_start: row.start, period_end: row.end, spent_microusd: spent }))
    }

    /// The standing of each budget in each period that the ledger remembers. Leases that were not returned count as
    /// spent.
    ///
    /// # Errors
    /// The store failed.
    pub fn standings(&mut self) -> Result<Vec<(Key128, Spend)>, LedgerError> {
        let standing =
            |row: Row| Spend { period_start: row.start, period_end: row.end, spent_microusd: row.committed() };
        Ok(self.rows.all()?.into_iter().map(|(budget, row)| (budget, standing(row))).collect())
    }

    /// Micro-dollars spent in every period the ledger remembers, over all budgets. Leases that were not returned (a
    /// gateway that was killed) count as spent.
    ///
    /// # Errors
    /// The store failed.
    pub fn total_spent(&mut self) -> Result<u64, LedgerError> {
        Ok(self.rows.all()?.into_iter().map(|(_, row)| row.committed()).sum())
    }

    /// The ledger thread: grants as soon as something waits, sweeps and folds now and then, until `stop` is set and the
    /// thread unparked; then closes. `report` learns after each pass whether it succeeded, for readiness.
    /// Only one thread may serve a [`Usage`].
    ///
    /// # Errors
    /// Only from closing; before, a failure of the store is logged once and tried again.
    pub fn serve(
        mut self,
        usage: &Arc<Usage>,
        plan: impl Fn() -> Arc<Plan>,
        stop: &AtomicBool,
        mut report: impl FnMut(bool),
    ) -> Result<(), LedgerError> {
        let ledger = std::thread::current();
        usage.notify_with(move || ledger.unpark());
        let (mut swept, mut folded, mut failing) = (Instant::now(), Instant::now(), false);
        while !stop.load(Ordering::Acquire) {
            if !usage.is_waiting() {
                std::thread::park_timeout(PASS_INTERVAL);
            }
            let mut result = self.grant_pending(usage, &plan(), Now::read()).map(|_| ());
            if swept.elapsed() >= PASS_INTERVAL {
                swept = Instant::now();
                usage.sweep(Now::read());
            }
            if folded.elapsed() >= FOLD_INTERVAL {
                folded = Instant::now();
                result = result.and_then(|()| self.fold(usage, &plan(), Now::read()));
            }
            report(result.is_ok());
            match result {
                Ok(()) => failing = false,
                Err(error) => {
                    if !failing {
                        tracing::error!(error = &error as &dyn std::error::Error, "the ledger grants no leases");
                    }
                    failing = true;
                    std::thread::park_timeout(RETRY_INTERVAL);
                }
            }
        }
        self.close(usage)
    }

    fn stage_all(
        &mut self,
        usage: &Usage,
        plan: &Plan,
        now: Now,
        wishes: &[(usize, u64)],
        staged: &mut Vec<Staged>,
    ) -> Result<(), LedgerError> {
        let at = self.moment(now);
        for &(index, want) in wishes {
            // A slot given up meanwhile, or a rule that a reload removed: nobody waits for it.
            let Some((key, entry)) = usage.budgets.occupant(index) else { continue };
            let Some(rule) = plan.budget_of(entry.payload()) else { continue };
            if !self.accounts.contains_key(&index) {
                let latest = self.rows.latest(key128(key))?;
                self.accounts.insert(index, Account::open(usage, index, key128(key), entry, rule, latest, at));
            }
            if let Some(account) = self.accounts.get_mut(&index) {
                account.roll_if_ended(usage, rule, at);
                staged.push(stage(account, rule, want, usage));
            }
        }
        Ok(())
    }

    fn moment(&self, now: Now) -> Moment {
        Moment { now, segment: self.log.load(Ordering::Acquire) }
    }

    /// Writes all rows that changed.
    fn commit(&mut self) -> Result<(), LedgerError> {
        let (mut write, mut remove) = (Vec::new(), Vec::new());
        for account in self.accounts.values() {
            account.changes(&mut write, &mut remove);
        }
        if write.is_empty() && remove.is_empty() {
            return Ok(());
        }
        self.rows.commit(&write, &remove)?;
        self.accounts.values_mut().for_each(Account::committed);
        Ok(())
    }

    /// Publishes what each budget has left under the plan's caps; takes unreserved leases above a lowered cap back.
    fn apply_caps(&mut self, usage: &Usage, plan: &Plan) {
        for account in self.accounts.values_mut() {
            if let Some(rule) = plan.budget_of(account.entry.payload()) {
                account.apply_cap(usage, rule);
            }
        }
    }
}

/// The lease that answers a wish.
fn stage(account: &mut Account, rule: &BudgetRule, want: u64, usage: &Usage) -> Staged {
    let lease_max = rule.lease_max(want);
    let room = rule.cap.saturating_sub(account.row.committed());
    let amount = lease_max.saturating_sub(usage.budgets.available(account.index)).min(room);
    account.row.leased += amount;
    Staged { index: account.index, amount, headroom: room - amount, lease_max, period_end: account.row.end }
}

#[cfg(test)]
pub(super) mod for_test {
    use super::*;

    /// A ledger in which 10 micro-dollars were spent and 20 are leased, in a period that has not ended, to a process
    /// that began with segment 4 of the log and is dead.
    pub(in super::super) fn with_open_lease(dir: &Path) -> LedgerStore {
        let mut rows = Rows::open(&dir.join("ledger.redb")).unwrap();
        let row = Row { start: 0, end: u64::MAX, spent: 10, leased: 20, first: 2, unfolded: 2, since: 4 };
        rows.commit(&[(Key128([3; 16]), row)], &[]).unwrap();
        drop(rows);
        LedgerStore::open(&dir.join("ledger.redb"), Now { wall_ns: 0, mono_ns: 0 }).unwrap()
    }
}

#[cfg(test)]
mod tests;
