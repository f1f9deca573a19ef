//! One live budget slot as the ledger's thread sees it: its row, and the generations not yet folded into it.
//!
//! Generations are consecutive numbers. Those from `unfolded` to `generation` have a book in the slot; those below
//! `row.first` belong to the previous period's row. The first of a boot is derived from the wall clock (seconds ·
//! 2¹⁶), so that none is used twice even after a row was dropped.

use super::rows::Row;
use crate::clock::Now;
use crate::ids::Key128;
use crate::usage::Usage;
use crate::usage::budget::BOOKS;
use crate::usage::plan::BudgetRule;
use crate::usage::table::Entry;

/// Folds without any change after which a slot's lease is given back.
const IDLE_FOLDS: u32 = 24;

/// When something happens: by the clock, and in the audit log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Now,
    /// Number of the log's newest segment.
    pub(super) segment: u64,
}

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) index: usize,
    pub(super) budget: Key128,
    pub(super) entry: Entry,
    pub(super) row: Row,
    /// The previous period, while it has generations to fold.
    previous: Option<Row>,
    unfolded: u64,
    generation: u64,
    /// The newest audit segment when each generation with a book began.
    began: [u64; BOOKS],
    /// What is on disk.
    written: Option<Row>,
    previous_written: Option<Row>,
    /// Rows to remove.
    ended: Option<Row>,
    idle_folds: u32,
    last_seen: (u64, u64),
}

impl Account {
    /// Takes up a budget from its latest row. A lease that an earlier boot left open counts as spent.
    pub(super) fn open(
        usage: &Usage,
        index: usize,
        budget: Key128,
        entry: Entry,
        rule: &BudgetRule,
        latest: Option<Row>,
        at: Moment,
    ) -> Self {
        let now = at.now;
        let generation = first_generation(now, latest, usage.budgets.next_tag(index));
        let current = latest.filter(|row| row.end > now.unix_secs());
        let row = match current {
            Some(row) => Row { spent: row.committed(), leased: 0, ..row },
            None => fresh_row(rule, generation, at, latest.map_or(0, |row| row.end)),
        };
        usage.budgets.begin(index, generation, false, Some(row.end));
        Self {
            index,
            budget,
            entry,
            row,
            previous: None,
            unfolded: generation,
            generation,
            began: [at.segment; BOOKS],
            written: current,
            previous_written: None,
            ended: None,
            idle_folds: 0,
            last_seen: (0, 0),
        }
    }

    /// Begins a new period when the old one has ended. Periods only move forward, whatever the clock does.
    pub(super) fn roll_if_ended(&mut self, usage: &Usage, rule: &BudgetRule, at: Moment) {
        let now = at.now;
        // An edited length may end it early.
        self.row.end = self.row.end.min(rule.period(now.unix_secs().max(self.row.start)).1);
        if self.row.end > now.unix_secs() {
            return;
        }
        self.fold_settled(usage);
        // Two periods back nothing is folded any more: holds that are still open there stay spent.
        while self.unfolded < self.row.first || self.generation - self.unfolded + 1 >= BOOKS as u64 {
            let spent = usage.budgets.close_book(self.index, self.unfolded);
            self.fold_one(spent);
        }
        let next = fresh_row(rule, self.next_generation(at), at, self.row.end);
        let unspent = usage.budgets.begin(self.index, self.generation, false, Some(next.end));
        self.row.leased = self.row.leased.saturating_sub(unspent);
        self.ended = self.previous.take();
        self.previous = Some(std::mem::replace(&mut self.row, next));
        self.previous_written = self.written.take();
        self.fold_settled(usage);
    }

    /// Folds the generations whose holds have all settled, oldest first, up to the current one.
    pub(super) fn fold_settled(&mut self, usage: &Usage) {
        while self.unfolded < self.generation {
            let (held, spent) = usage.budgets.book(self.index, self.unfolded);
            if held > 0 {
                break;
            }
            self.fold_one(spent);
        }
    }

    /// Begins a new generation in the same period if the current one has something to fold and a book is free.
    pub(super) fn begin_generation(&mut self, usage: &Usage, at: Moment) {
        let (_, spent) = usage.budgets.book(self.index, self.generation);
        if spent > 0 && self.generation - self.unfolded + 1 < BOOKS as u64 {
            let generation = self.next_generation(at);
            usage.budgets.begin(self.index, generation, true, None);
        }
    }

    /// Whether nothing happened for [`IDLE_FOLDS`] folds.
    pub(super) fn is_idle(&mut self, usage: &Usage) -> bool {
        let (held, spent) = usage.budgets.book(self.index, self.generation);
        let seen = (usage.budgets.available(self.index), held.saturating_add(spent));
        self.idle_folds = if seen == self.last_seen { self.idle_folds + 1 } else { 0 };
        self.last_seen = seen;
        self.idle_folds >= IDLE_FOLDS
    }

    /// Takes what is available back; with no hold open also folds the current generation. Whether nothing is left.
    pub(super) fn give_back(&mut self, usage: &Usage) -> bool {
        self.row.leased = self.row.leased.saturating_sub(usage.budgets.withdraw(self.index));
        let (held, _) = usage.budgets.book(self.index, self.generation);
        if held > 0 || self.unfolded < self.generation {
            return false;
        }
        // Nothing can be held any more: nothing is available. A refund on its way is not spent and goes nowhere.
        let spent = usage.budgets.close_book(self.index, self.generation);
        self.fold_one(spent);
        self.row.leased = 0;
        self.generation += 1;
        usage.budgets.begin(self.index, self.generation, false, Some(self.row.end));
        true
    }

    /// Publishes what the cap leaves. Above a lowered cap, what is available is taken back.
    pub(super) fn apply_cap(&mut self, usage: &Usage, rule: &BudgetRule) {
        if self.row.committed() > rule.cap {
            let taken = usage.budgets.withdraw(self.index);
            self.row.leased = self.row.leased.saturating_sub(taken);
        }
        let room = rule.cap.saturating_sub(self.row.committed());
        usage.budgets.publish_headroom(self.index, room);
    }

    /// Settled spend of the current period.
    pub(super) fn spent(&self, usage: &Usage) -> u64 {
        let open = self.unfolded.max(self.row.first)..=self.generation;
        open.map(|generation| usage.budgets.book(self.index, generation).1).sum::<u64>() + self.row.spent
    }

    /// The rows to write and to remove.
    pub(super) fn changes(&self, write: &mut Vec<(Key128, Row)>, remove: &mut Vec<(Key128, Row)>) {
        let mut changed = |row: Option<Row>, written: Option<Row>| match row {
            Some(row) if Some(row) != written => write.push((self.budget, row)),
            _ => {}
        };
        changed(Some(self.current()), self.written);
        changed(self.previous_row(), self.previous_written);
        remove.extend(self.ended.map(|row| (self.budget, row)));
    }

    /// Notes that the changes are on disk.
    pub(super) fn committed(&mut self) {
        self.written = Some(self.current());
        self.previous_written = self.previous_row();
        self.ended = None;
    }

    fn current(&self) -> Row {
        self.stamped(self.row, self.unfolded.max(self.row.first))
    }

    fn previous_row(&self) -> Option<Row> {
        self.previous.map(|row| self.stamped(row, self.unfolded.min(self.row.first)))
    }

    fn stamped(&self, row: Row, unfolded: u64) -> Row {
        Row { unfolded, since: self.began[unfolded as usize % BOOKS], ..row }
    }

    fn next_generation(&mut self, at: Moment) -> u64 {
        self.generation += 1;
        self.began[self.generation as usize % BOOKS] = at.segment;
        self.generation
    }

    fn fold_one(&mut self, spent: u64) {
        let older = self.unfolded < self.row.first;
        self.unfolded += 1;
        match &mut self.previous {
            Some(row) if older => {
                row.fold(spent);
                // All holds of the period have settled: what they returned was not spent.
                row.leased = if self.unfolded < self.row.first { row.leased } else { 0 };
            }
            _ => self.row.fold(spent),
        }
    }
}

fn first_generation(now: Now, latest: Option<Row>, tag: u16) -> u64 {
    let after = latest.map_or(0, |row| row.unfolded.max(row.first).saturating_add(BOOKS as u64));
    let least = (now.unix_secs() << 16).max(after);
    // The next number with the low bits that the slot's word has not had for longest.
    least + u64::from(tag.wrapping_sub(least as u16))
}

/// The period that `now` lies in, not before the last one ended: rows are found by their start.
fn fresh_row(rule: &BudgetRule, generation: u64, at: Moment, last_end: u64) -> Row {
    let (start, end) = rule.period(at.now.unix_secs());
    let start = start.max(last_end);
    Row { start, end, spent: 0, leased: 0, first: generation, unfolded: generation, since: at.segment }
}
