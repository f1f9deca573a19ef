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

    /// Stores a worker's load; an index outside the array is ignored.
    pub(super) fn set(&self, worker: u32, connections: u32) {
        if worker >= WORKERS_MAX {
            return;
        }
        // SAFETY: the index is within the mapping, which lives as long as `self`; the field is 4-byte aligned and
        // every access on this side is atomic.
        let slot = unsafe { AtomicU32::from_ptr(&raw mut (*self.base.as_ptr().add(worker as usize)).connections) };
        slot.store(connections, Ordering::Relaxed);
    }
}

impl Drop for Loads {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`, which nothing refers to any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), BYTES) };
    }
}
