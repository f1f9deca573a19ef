//! Budgets in memory: what workers may reserve, hold and settle without asking anybody.
//!
//! Each (budget, principal) has a slot. The control thread ([`crate::control::ledger`]) commits a *lease* to disk and
//! then adds it to the slot; workers take holds from it. Three kinds of money are kept apart:
//! *available* (leased, not yet held), *held* (by calls in flight) and *spent*.
//!
//! - `money` is one word: the low 16 bits of the lease's *generation* and the available amount. Each change of
//!   generation (a fold, a new period, a slot given up) changes the word, so a reservation made on an old reading fails.
//! - Held and spent are kept per generation in one of four *books*, so that the control thread can tell when all holds
//!   of a generation have settled and its spend is final. A hold that settles finds its own generation's book; if that
//!   was closed meanwhile the hold had already been counted as spent, and stays so (THREATS A11).
//! - What a settled hold did not use returns to `money`, unless a new period began: a hold settles into the period it
//!   was taken in.
//!
//! **Invariant:** lease = available + held + spent over the generations not yet folded, except for amounts on their way
//! between two words, which are always counted at least once. So nobody can reserve more than was committed.
//!
//! A worker never waits: a lease too short is an answer ([`Short::Pending`]), and so is an exhausted budget.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::prefetch::prefetch;
use crate::usage::table::{Entry, Full, Table, WhenFull};

const AMOUNT_BITS: u32 = 48;

/// Largest amount of one word: 281 million dollars in micro-dollars.
pub(crate) const AMOUNT_MAX: u64 = (1 << AMOUNT_BITS) - 1;

/// Generations of one slot that may have unsettled holds at a time.
pub(crate) const BOOKS: usize = 4;

/// Headroom of a slot whose ledger row was not read yet.
const UNKNOWN: u64 = u64::MAX;

/// Why a reservation was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Short {
    /// The lease does not cover it; the control thread was asked for more.
    Pending,
    /// The budget does not cover it, until this many seconds since the Unix epoch.
    Exhausted { until_secs: u64 },
}

/// A [`Short`], or the slot went to another key since it was looked up.
enum Refusal {
    Short(Short),
    Moved,
}

/// What a reservation took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reserved {
    pub(crate) index: usize,
    pub(crate) lease: u64,
}

/// One generation's holds and spend: (generation's low 16 bits, amount) each.
#[derive(Debug, Default)]
struct Book {
    held: AtomicU64,
    spent: AtomicU64,
}

/// Written by the control thread, except `money`, `want` and the books' amounts.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot {
    money: AtomicU64,
    /// Cap − spent − leased at the last publication; [`UNKNOWN`] before the first.
    headroom: AtomicU64,
    /// Below half of this, more is asked for.
    lease_max: AtomicU64,
    period_end_secs: AtomicU64,
    /// The current generation, and the first of the current period.
    generation: AtomicU64,
    period_generation: AtomicU64,
    /// Largest call that found the lease short, micro-dollars; 0 = nobody asked.
    want: AtomicU64,
    books: [Book; BOOKS],
}

/// All budget slots.
pub(crate) struct Budgets {
    /// (budget, principal) → slot index; the payload names the rule ([`rule_tag`]), 0 = given up.
    keys: Table,
    slots: Box<[Slot]>,
    wanting: Box<[AtomicU64]>,
    waiting: AtomicBool,
    notify: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for Budgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Budgets").field("slots", &self.slots.len()).finish_non_exhaustive()
    }
}

/// 51 bits that name a rule in its slots: never 0.
pub(crate) const fn rule_tag(mask: u128) -> u64 {
    (mask as u64) >> 14 << 1 | 1
}

impl Budgets {
    pub(crate) fn new(capacity: usize, share_percent: u8) -> Self {
        let keys = Table::new(capacity, |tag, _| tag == 0, WhenFull::Refuse).with_shares(share_percent);
        let slots: Box<[Slot]> = (0..keys.len()).map(|_| Slot::unknown()).collect();
        let wanting = (0..keys.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { keys, slots, wanting, waiting: AtomicBool::new(false), notify: OnceLock::new() }
    }

    /// Asks for the lines that [`Budgets::reserve`] reads, as a rule.
    pub(crate) fn prefetch(&self, key: u128) {
        prefetch(&self.slots[self.keys.prefetch(key)]);
    }

    /// Reserves `price` for the principal, or says why not. `owner` is the tenant whose share of slots counts.
    ///
    /// # Errors
    /// The outer [`Full`]: no slot for the key.
    pub(crate) fn reserve(
        &self,
        key: u128,
        rule: u64,
        owner: u128,
        price: u64,
        unix_secs: u64,
    ) -> Result<Result<Reserved, Short>, Full> {
        loop {
            let entry = self.entry(key, rule, owner)?;
            match self.reserve_at(entry, price, unix_secs) {
                Ok(reserved) => return Ok(Ok(reserved)),
                Err(Refusal::Short(short)) => return Ok(Err(short)),
                Err(Refusal::Moved) => {}
            }
        }
    }

    /// What could still be spent or held: available + not yet leased; `None` while unknown.
    pub(crate) fn remainder(&self, key: u128) -> Option<u64> {
        let slot = &self.slots[self.keys.find(key)?.index];
        let headroom = slot.headroom.load(Ordering::Relaxed);
        let available = amount(slot.money.load(Ordering::Relaxed));
        (headroom != UNKNOWN).then(|| headroom.saturating_add(available))
    }

    /// Ends a hold: `spent` ≤ `held` is spent, the rest returns.
    pub(crate) fn settle(&self, index: usize, lease: u64, held: u64, spent: u64) {
        let slot = &self.slots[index];
        let book = &slot.books[lease as usize % BOOKS];
        // Spent before held falls: who sees the generation without holds sees all of its spend.
        if !add(&book.spent, lease, spent) || !subtract(&book.held, lease, held) {
            return;
        }
        slot.refund(lease, held - spent);
    }

    fn entry(&self, key: u128, rule: u64, owner: u128) -> Result<Entry, Full> {
        match self.keys.find(key) {
            Some(entry) if entry.payload() == rule => Ok(entry),
            entry => self.keys.update(key, owner, 0, entry, |_| Ok(rule))?,
        }
    }

    fn reserve_at(&self, entry: Entry, price: u64, unix_secs: u64) -> Result<Reserved, Refusal> {
        let slot = &self.slots[entry.index];
        loop {
            let money = slot.money.load(Ordering::Acquire);
            // After the load: money published for another key is seen together with that key's generation.
            if !self.keys.is_current(entry) {
                return Err(Refusal::Moved);
            }
            let period_end = slot.period_end_secs.load(Ordering::Acquire);
            let available = amount(money);
            if unix_secs >= period_end || available < price {
                return Err(Refusal::Short(self.short(entry.index, money, price, unix_secs, period_end)));
            }
            // `generation` may be newer than `money` by a few; its low bits are `money`'s by definition.
            let lease = extend(slot.generation.load(Ordering::Acquire), tag(money));
            let book = &slot.books[lease as usize % BOOKS];
            // Held rises before money falls: once the generation changed, no hold of it can appear any more.
            if !add(&book.held, lease, price) {
                continue;
            }
            let rest = money - price;
            if slot.money.compare_exchange(money, rest, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                if amount(rest) < slot.lease_max.load(Ordering::Relaxed) / 2
                    && slot.want.load(Ordering::Relaxed) == 0
                    && slot.headroom.load(Ordering::Relaxed) > 0
                {
                    self.ask(entry.index, price);
                }
                return Ok(Reserved { index: entry.index, lease });
            }
            subtract(&book.held, lease, price);
        }
    }

    fn short(&self, index: usize, money: u64, price: u64, unix_secs: u64, period_end: u64) -> Short {
        let headroom = self.slots[index].headroom.load(Ordering::Acquire);
        if price > AMOUNT_MAX / 2 {
            return Short::Exhausted { until_secs: period_end };
        }
        if headroom == UNKNOWN || unix_secs >= period_end || headroom.saturating_add(amount(money)) >= price {
            self.ask(index, price);
            return Short::Pending;
        }
        Short::Exhausted { until_secs: period_end }
    }

    /// Tells the control thread that the slot wants a lease. Notifies only when nothing was waiting before.
    fn ask(&self, index: usize, price: u64) {
        self.slots[index].want.fetch_max(price.max(1), Ordering::AcqRel);
        self.wanting[index / 64].fetch_or(1 << (index % 64), Ordering::AcqRel);
        if !self.waiting.swap(true, Ordering::AcqRel)
            && let Some(notify) = self.notify.get()
        {
            notify();
        }
    }
}

/// The control thread's half. Only one thread may use it at a time; the ledger store is that thread.
impl Budgets {
    /// Whether a slot wants a lease.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }

    /// Sets what is called when a slot begins to wait. Later calls have no effect.
    pub(crate) fn notify_with(&self, notify: Box<dyn Fn() + Send + Sync>) {
        let _ = self.notify.set(notify);
    }

    /// Forgets the keys of slots that were given up.
    pub(crate) fn sweep(&self) {
        self.keys.reclaim_all(0);
    }

    /// Takes all wishes: (slot, largest call).
    pub(crate) fn drain_wishes(&self, mut each: impl FnMut(usize, u64)) {
        if !self.waiting.swap(false, Ordering::AcqRel) {
            return;
        }
        for (word, bits) in self.wanting.iter().enumerate() {
            if bits.load(Ordering::Relaxed) == 0 {
                continue;
            }
            let mut bits = bits.swap(0, Ordering::AcqRel);
            while bits != 0 {
                let index = word * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                each(index, self.slots[index].want.swap(0, Ordering::AcqRel));
            }
        }
    }

    /// Puts a wish back that could not be granted.
    pub(crate) fn renew_wish(&self, index: usize, want: u64) {
        self.slots[index].want.fetch_max(want, Ordering::AcqRel);
        self.wanting[index / 64].fetch_or(1 << (index % 64), Ordering::AcqRel);
        self.waiting.store(true, Ordering::Release);
    }

    /// The key and rule of a slot in use.
    pub(crate) fn occupant(&self, index: usize) -> Option<(u128, Entry)> {
        self.keys.key_at(index).filter(|(_, entry)| entry.payload() != 0)
    }

    /// Available in a slot now.
    pub(crate) fn available(&self, index: usize) -> u64 {
        amount(self.slots[index].money.load(Ordering::Acquire))
    }

    /// Generation bits the next [`Budgets::begin`] on this slot must have, so that no bits repeat within 65 536 changes.
    pub(crate) fn next_tag(&self, index: usize) -> u16 {
        tag(self.slots[index].money.load(Ordering::Acquire)).wrapping_add(1)
    }

    /// Begins a generation, keeping `keep` of what was available, and returns what was. With `period`, no hold of an
    /// earlier generation returns anything to it. The generation's book must be free.
    pub(crate) fn begin(&self, index: usize, generation: u64, keep: bool, period_end_secs: Option<u64>) -> u64 {
        let slot = &self.slots[index];
        let book = &slot.books[generation as usize % BOOKS];
        let empty = word(generation, 0);
        book.spent.store(empty, Ordering::Release);
        book.held.store(empty, Ordering::Release);
        slot.generation.store(generation, Ordering::Release);
        if period_end_secs.is_some() {
            // Before money changes: a refund that sees the new money sees this too and stays away.
            slot.period_generation.store(generation, Ordering::Release);
            slot.headroom.store(UNKNOWN, Ordering::Release);
        }
        let mut money = slot.money.load(Ordering::Acquire);
        let before = loop {
            let next = word(generation, if keep { amount(money) } else { 0 });
            match slot.money.compare_exchange(money, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break amount(money),
                Err(found) => money = found,
            }
        };
        if let Some(end) = period_end_secs {
            slot.period_end_secs.store(end, Ordering::Release);
        }
        before
    }

    /// Publishes a committed lease and what the budget still has beyond it.
    pub(crate) fn publish(&self, index: usize, lease: u64, headroom: u64, lease_max: u64, period_end_secs: u64) {
        let slot = &self.slots[index];
        slot.period_end_secs.store(period_end_secs, Ordering::Release);
        slot.lease_max.store(lease_max, Ordering::Relaxed);
        // Money before headroom falls: a worker between the two waits rather than be refused.
        slot.deposit(lease);
        slot.headroom.store(headroom, Ordering::Release);
    }

    /// Publishes what the budget has beyond the lease, if a lease was published before.
    pub(crate) fn publish_headroom(&self, index: usize, headroom: u64) {
        let slot = &self.slots[index].headroom;
        if slot.load(Ordering::Acquire) != UNKNOWN {
            slot.store(headroom, Ordering::Release);
        }
    }

    /// Takes everything available out of the slot.
    pub(crate) fn withdraw(&self, index: usize) -> u64 {
        let slot = &self.slots[index].money;
        let mut money = slot.load(Ordering::Acquire);
        loop {
            match slot.compare_exchange(money, money - amount(money), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return amount(money),
                Err(found) => money = found,
            }
        }
    }

    /// (held, spent) of a generation. With no holds left and a later generation current, spent is final.
    pub(crate) fn book(&self, index: usize, generation: u64) -> (u64, u64) {
        let book = &self.slots[index].books[generation as usize % BOOKS];
        let held = book.held.load(Ordering::Acquire);
        let spent = book.spent.load(Ordering::Acquire);
        (amount_of(held, generation), amount_of(spent, generation))
    }

    /// Closes a generation: holds still open count as spent and will settle nowhere. Returns its spend.
    pub(crate) fn close_book(&self, index: usize, generation: u64) -> u64 {
        let book = &self.slots[index].books[generation as usize % BOOKS];
        // A tag of another generation that this book will not serve before 65 532 more.
        let closed = word(generation.wrapping_sub(BOOKS as u64), 0);
        let held = book.held.swap(closed, Ordering::AcqRel);
        let spent = book.spent.swap(closed, Ordering::AcqRel);
        amount_of(held, generation).saturating_add(amount_of(spent, generation)).min(AMOUNT_MAX)
    }

    /// Gives the slot up: its key is forgotten. Nothing may be available or held.
    pub(crate) fn retire(&self, index: usize, entry: Entry) {
        let slot = &self.slots[index];
        slot.headroom.store(UNKNOWN, Ordering::Release);
        slot.lease_max.store(0, Ordering::Relaxed);
        let _ = self.keys.swap(entry, 0);
    }
}

impl Slot {
    fn unknown() -> Self {
        Self { headroom: AtomicU64::new(UNKNOWN), ..Self::default() }
    }

    fn deposit(&self, lease: u64) {
        let mut money = self.money.load(Ordering::Acquire);
        loop {
            let next = money + lease.min(AMOUNT_MAX - amount(money));
            match self.money.compare_exchange_weak(money, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(found) => money = found,
            }
        }
    }

    /// Returns what a hold of `lease` did not use, if its period is still the current one.
    fn refund(&self, lease: u64, unused: u64) {
        let mut money = self.money.load(Ordering::Acquire);
        while unused > 0 && lease >= self.period_generation.load(Ordering::Acquire) {
            let next = money + unused.min(AMOUNT_MAX - amount(money));
            match self.money.compare_exchange_weak(money, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return,
                Err(found) => money = found,
            }
        }
    }
}

const fn word(generation: u64, amount: u64) -> u64 {
    generation << AMOUNT_BITS | amount
}

const fn amount(word: u64) -> u64 {
    word & AMOUNT_MAX
}

const fn tag(word: u64) -> u16 {
    (word >> AMOUNT_BITS) as u16
}

/// The generation nearest to `near` whose low 16 bits are `tag`.
const fn extend(near: u64, tag: u16) -> u64 {
    near.wrapping_add_signed(tag.wrapping_sub(near as u16) as i16 as i64)
}

const fn amount_of(word: u64, generation: u64) -> u64 {
    if tag(word) == generation as u16 { amount(word) } else { 0 }
}

/// Adds to a book's amount, unless the book serves another generation.
fn add(book: &AtomicU64, generation: u64, more: u64) -> bool {
    change(book, generation, |amount| amount.saturating_add(more).min(AMOUNT_MAX))
}

fn subtract(book: &AtomicU64, generation: u64, less: u64) -> bool {
    change(book, generation, |amount| amount.saturating_sub(less))
}

fn change(book: &AtomicU64, generation: u64, next: impl Fn(u64) -> u64) -> bool {
    let mut found = book.load(Ordering::Acquire);
    while tag(found) == generation as u16 {
        let changed = word(generation, next(amount(found)));
        match book.compare_exchange_weak(found, changed, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return true,
            Err(now) => found = now,
        }
    }
    false
}

#[cfg(test)]
mod tests;
