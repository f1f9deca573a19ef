//! The kernel's table of penalties ([`acp_ebpf::table`]), in memory that is the BPF map itself: a source is put under a
//! penalty by stores in an order, not by system calls, and by this side alone.
//!
//! **Invariant:** one process writes at a time. The control thread writes, and after a hand-over the newcomer's begins when
//! the old one's has ended ([`crate::control::handover`]).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use acp_ebpf::table::{self, Crowded, ENTRIES, SLOTS, Slot, Slots, SlotsMut};
use acp_ebpf::{Penalty, SourceKey};

const BYTES: usize = ENTRIES as usize * size_of::<Slot>();

/// The array (`BPF_F_MMAPABLE`), mapped.
#[derive(Debug)]
pub(super) struct Table {
    base: NonNull<Slot>,
    seed: u64,
}

// SAFETY: the mapping is not tied to a thread, and is only reached through atomics.
unsafe impl Send for Table {}

impl Table {
    /// Maps the array behind `map`, which the programs look into with this seed.
    pub(super) fn begin(map: BorrowedFd<'_>, seed: u64) -> io::Result<Self> {
        let mut table = Self { base: base(map)?, seed };
        table.store(SLOTS, 0, seed);
        Ok(table)
    }

    /// Goes on with the array of another process.
    pub(super) fn resume(map: BorrowedFd<'_>) -> io::Result<Self> {
        let mut table = Self { base: base(map)?, seed: 0 };
        table.seed = table.load(SLOTS, 0);
        Ok(table)
    }

    /// Puts `source` under a penalty, in place of the one that it has.
    pub(super) fn put(&mut self, source: SourceKey, penalty: Penalty, now_ns: u64) -> Result<(), Crowded> {
        let seed = self.seed;
        table::put(self, seed, source, penalty, now_ns)
    }

    /// Ends the penalty of `source`, if it has one.
    pub(super) fn remove(&mut self, source: SourceKey) {
        let seed = self.seed;
        table::remove(self, seed, source);
    }

    fn word(&self, entry: u32, word: usize) -> &AtomicU64 {
        assert!(entry < ENTRIES && word < 8, "an entry and a word that there are");
        // SAFETY: within the mapping, which lives as long as `self`; aligned; every access on this side is atomic.
        unsafe { AtomicU64::from_ptr(self.base.as_ptr().add(entry as usize).cast::<u64>().add(word)) }
    }
}

impl Slots for Table {
    type At = u32;

    fn at(&self, index: u32) -> Option<u32> {
        (index < SLOTS).then_some(index)
    }

    fn load(&self, at: u32, word: usize) -> u64 {
        self.word(at, word).load(Ordering::Acquire)
    }
}

impl SlotsMut for Table {
    fn store(&mut self, at: u32, word: usize, value: u64) {
        self.word(at, word).store(value, Ordering::Release);
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `base`, which nothing refers to any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), BYTES) };
    }
}

fn base(map: BorrowedFd<'_>) -> io::Result<NonNull<Slot>> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice; it fails unless the map has that many bytes.
    let base = unsafe { libc::mmap(ptr::null_mut(), BYTES, protection, libc::MAP_SHARED, map.as_raw_fd(), 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(base.cast()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, FromRawFd};

    use super::*;

    const S: u64 = 1_000_000_000;

    /// Memory that is mapped as a map is.
    fn map() -> File {
        // SAFETY: a name that is a C string; the descriptor is this file's alone.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"table".as_ptr(), libc::MFD_CLOEXEC)) };
        file.set_len(BYTES as u64).expect("memory");
        file
    }

    #[test]
    fn the_process_that_takes_over_finds_what_the_other_put_and_ends_it() {
        let (map, source) = (map(), SourceKey::of([7; 16]));
        let mut old = Table::begin(map.as_fd(), 0x5eed).expect("mapped");
        assert_eq!(old.put(source, Penalty::new(S, 60 * S), S), Ok(()));
        let mut new = Table::resume(map.as_fd()).expect("mapped");
        let found = |table: &Table| table::find(table, 0x5eed, source).map(|(_, penalty)| penalty.until_ns);
        assert_eq!((new.seed, found(&new)), (0x5eed, Some(60 * S)));
        drop(old);
        assert_eq!(new.put(source, Penalty::new(S, 90 * S), S), Ok(()));
        assert_eq!(found(&new), Some(90 * S));
        new.remove(source);
        assert_eq!(found(&new), None);
    }
}
