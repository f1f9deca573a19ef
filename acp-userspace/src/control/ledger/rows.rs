//! The ledger's rows on disk: one per budget, principal and period.
//!
//! Key: the budget's 16-byte key, then the period's start in big-endian seconds, so that a budget's rows lie together in
//! order of time. Value: six little-endian `u64`. A commit is durable (fsync) when it returns.
//!
//! A new ledger is whole before it has its name: a process killed while it makes one leaves no half of it behind, and an
//! empty file is damage, not a beginning. After a failed commit the database is closed and opened again before the next
//! one; it is never created anew then, as an empty ledger would forget all spend.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::LedgerError;
use crate::ids::Key128;

const SPEND: TableDefinition<'_, [u8; 24], [u8; 48]> = TableDefinition::new("spend_v1");

/// One budget's period.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Seconds since the Unix epoch.
    pub(super) start: u64,
    /// Exclusive.
    pub(super) end: u64,
    /// Micro-dollars of folded generations.
    pub(super) spent: u64,
    /// Micro-dollars leased and not folded: available, held, or spent by a later generation.
    pub(super) leased: u64,
    /// The period's first generation.
    pub(super) first: u64,
    /// The first generation whose spend is not in `spent` yet.
    pub(super) unfolded: u64,
    /// Number of the audit segment that was the newest when that generation began: its calls are in no earlier one.
    pub(super) since: u64,
}

impl Row {
    /// What counts against the cap.
    pub(super) const fn committed(&self) -> u64 {
        self.spent.saturating_add(self.leased)
    }

    /// Moves a generation's spend from leased to spent.
    pub(super) const fn fold(&mut self, spent: u64) {
        self.spent = self.spent.saturating_add(spent);
        self.leased = self.leased.saturating_sub(spent);
    }

    fn key(&self, budget: Key128) -> [u8; 24] {
        key(budget, self.start)
    }

    fn value(&self) -> [u8; 48] {
        let mut bytes = [0; 48];
        let fields = [self.end, self.spent, self.leased, self.first, self.unfolded, self.since];
        for (slot, field) in bytes.chunks_exact_mut(8).zip(fields) {
            slot.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    fn decode(key: [u8; 24], value: [u8; 48]) -> (Key128, Self) {
        let (budget, start) = key.split_at(16);
        let field = |n: usize| u64::from_le_bytes(array(&value[8 * n..8 * n + 8]));
        let row = Self {
            start: u64::from_be_bytes(array(start)),
            end: field(0),
            spent: field(1),
            leased: field(2),
            first: field(3),
            unfolded: field(4),
            since: field(5),
        };
        (Key128(array(budget)), row)
    }
}

/// The open database, or the wish to open it again.
#[derive(Debug)]
pub(super) struct Rows {
    path: PathBuf,
    database: Option<Database>,
}

impl Rows {
    /// Opens the ledger, creating it (mode 0600) if it does not exist.
    pub(super) fn open(path: &Path) -> Result<Self, LedgerError> {
        if !fs::exists(path).map_err(LedgerError::File)? {
            create(path)?;
        }
        let database = Database::open(path).map_err(LedgerError::open)?;
        Ok(Self { path: path.to_owned(), database: Some(database) })
    }

    /// The row of the latest period, if the budget was ever used.
    pub(super) fn latest(&mut self, budget: Key128) -> Result<Option<Row>, LedgerError> {
        self.reopening(|database| {
            let table = database.begin_read()?.open_table(SPEND)?;
            let last = table.range(key(budget, 0)..=key(budget, u64::MAX))?.next_back().transpose()?;
            Ok(last.map(|(key, value)| Row::decode(key.value(), value.value()).1))
        })
    }

    /// Every row, by budget and then by time.
    pub(super) fn all(&mut self) -> Result<Vec<(Key128, Row)>, LedgerError> {
        self.reopening(|database| {
            let table = database.begin_read()?.open_table(SPEND)?;
            let decode = |(key, value): (redb::AccessGuard<'_, [u8; 24]>, redb::AccessGuard<'_, [u8; 48]>)| {
                Row::decode(key.value(), value.value())
            };
            table.iter()?.map(|row| Ok(row.map(decode)?)).collect()
        })
    }

    /// Writes rows and removes others in one durable transaction.
    pub(super) fn commit(&mut self, write: &[(Key128, Row)], remove: &[(Key128, Row)]) -> Result<(), LedgerError> {
        self.reopening(|database| {
            let transaction = database.begin_write()?;
            {
                let mut table = transaction.open_table(SPEND)?;
                for (budget, row) in remove {
                    table.remove(row.key(*budget))?;
                }
                for (budget, row) in write {
                    table.insert(row.key(*budget), row.value())?;
                }
            }
            Ok(transaction.commit()?)
        })
    }

    /// Runs an operation; after one that failed the database is opened again first.
    fn reopening<T>(&mut self, operation: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, LedgerError> {
        if self.database.is_none() {
            self.database = Some(Database::open(&self.path).map_err(LedgerError::store)?);
        }
        let result = operation(self.existing()?);
        if result.is_err() {
            self.database = None;
        }
        result.map_err(LedgerError::store)
    }

    fn existing(&self) -> Result<&Database, LedgerError> {
        self.database.as_ref().ok_or(LedgerError::Closed)
    }

    /// For tests: every operation fails until [`Rows::repair`].
    #[cfg(test)]
    pub(super) fn break_store(&mut self) {
        self.database = None;
        self.path.set_extension("gone");
    }

    #[cfg(test)]
    pub(super) fn repair(&mut self) {
        self.path.set_extension("redb");
    }
}

/// Makes an empty ledger beside `path`, then gives it its name.
fn create(path: &Path) -> Result<(), LedgerError> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let file = OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&fresh);
    drop(file.map_err(LedgerError::File)?);
    let database = Database::create(&fresh).map_err(LedgerError::store)?;
    let transaction = database.begin_write().map_err(LedgerError::store)?;
    transaction.open_table(SPEND).map_err(LedgerError::store)?;
    transaction.commit().map_err(LedgerError::store)?;
    drop(database);
    let named = fs::rename(&fresh, path).and_then(|()| sync_directory_of(path));
    named.map_err(LedgerError::File)
}

fn sync_directory_of(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|directory| !directory.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn key(budget: Key128, start: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(&budget.0);
    key[16..].copy_from_slice(&start.to_be_bytes());
    key
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_as_written_and_the_latest_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let row = |start| Row { start, end: start + 10, spent: 2, leased: 3, first: 4, unfolded: 5, since: 6 };
        let (a, b) = (Key128([1; 16]), Key128([2; 16]));
        let mut rows = Rows::open(&path).unwrap();
        rows.commit(&[(a, row(10)), (a, row(300)), (b, row(20))], &[]).unwrap();
        drop(rows);
        let mut rows = Rows::open(&path).unwrap();
        assert_eq!(rows.latest(a).unwrap(), Some(row(300)));
        assert_eq!(rows.latest(Key128([3; 16])).unwrap(), None);
        rows.commit(&[], &[(a, row(300))]).unwrap();
        assert_eq!(rows.all().unwrap(), [(a, row(10)), (b, row(20))]);
    }

    #[test]
    fn need_b07_the_file_is_private_and_has_one_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        let _rows = Rows::open(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(Rows::open(&path).is_err());
    }

    #[test]
    fn a_process_killed_while_it_makes_the_ledger_leaves_nothing_that_stops_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        std::fs::write(dir.path().join("ledger.redb.new"), [0; 5000]).unwrap();
        let mut rows = Rows::open(&path).unwrap();
        assert_eq!(rows.all().unwrap(), []);
        assert!(!dir.path().join("ledger.redb.new").exists());
    }

    #[test]
    fn a_damaged_ledger_is_left_alone_and_the_way_out_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.redb");
        drop(Rows::open(&path).unwrap());
        let whole = std::fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn[..4096].fill(0);
        for damaged in [&b""[..], b"not a ledger", &torn, &whole[..100]] {
            std::fs::write(&path, damaged).unwrap();
            let error = Rows::open(&path).unwrap_err();
            assert!(matches!(error, LedgerError::Damaged(_)), "{error:?}");
            assert!(error.to_string().contains("restore it from a backup"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), damaged);
        }
    }
}
