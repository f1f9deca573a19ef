//! The workers' loads, in memory that is the BPF map itself: a worker reports by a store, not by a system call.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, Ordering};

use acp_ebpf::steer::{WORKERS_MAX, WorkerLoad};

const BYTES: usize = WORKERS_MAX as usize * size_of::<WorkerLoad>();

/// The load array (`BPF_F_MMAPABLE`), mapped.
#[derive(Debug)]
pub(super) struct Loads {
    base: NonNull<WorkerLoad>,
}

// SAFETY: the mapping is not tied to a thread, and is only reached through atomics.
unsafe impl Send for Loads {}
// SAFETY: as above.
unsafe impl Sync for Loads {}

impl Loads {
    /// Maps the array behind `map`.
    pub(super) fn map(map: BorrowedFd<'_>) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice; it fails unless the map has that many bytes.
        let base = unsafe { libc::mmap(ptr::null_mut(), BYTES, protection, libc::MAP_SHARED, map.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(base.cast()).map(|base| Self { base }).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Stores how many connections a worker has; an index outside the array is ignored, here and below.
    pub(super) fn set(&self, worker: u32, connections: u32) {
        if let Some(load) = self.of(worker) {
            load.connections.store(connections, Ordering::Relaxed);
        }
    }

    /// One of those that were on their way to a worker is there.
    pub(super) fn arrived(&self, worker: u32) {
        let Some(load) = self.of(worker) else { return };
        let seen = load.seen.load(Ordering::Relaxed);
        if seen != load.steered.load(Ordering::Relaxed) {
            load.seen.store(seen.wrapping_add(1), Ordering::Relaxed);
        }
    }

    /// Nobody else is on the way to a worker.
    pub(super) fn settle(&self, worker: u32) {
        if let Some(load) = self.of(worker) {
            load.seen.store(load.steered.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn of(&self, worker: u32) -> Option<Load<'_>> {
        if worker >= WORKERS_MAX {
            return None;
        }
        // SAFETY: the index is within the mapping, which lives as long as `self`; the fields are 4-byte aligned and
        // every access on this side is atomic.
        unsafe {
            let load = self.base.as_ptr().add(worker as usize);
            Some(Load {
                connections: AtomicU32::from_ptr(&raw mut (*load).connections),
                steered: AtomicU32::from_ptr(&raw mut (*load).steered),
                seen: AtomicU32::from_ptr(&raw mut (*load).seen),
            })
        }
    }
}

/// The words of a [`WorkerLoad`].
struct Load<'m> {
    connections: &'m AtomicU32,
    steered: &'m AtomicU32,
    seen: &'m AtomicU32,
}

impl Drop for Loads {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`, which nothing refers to any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), BYTES) };
    }
}
