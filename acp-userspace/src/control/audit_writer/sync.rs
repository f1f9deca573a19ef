//! `fdatasync` on a thread of its own: a slow disk delays durability, never the draining of rings.
//!
//! Requests that arrive while one runs are merged into the next (group commit). A sync that failed may have lost data,
//! so the failure sticks.

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::audit::ring::DurableMark;

#[derive(Debug)]
struct Job {
    segment: Arc<File>,
    keys: Option<Arc<File>>,
    positions: Vec<u64>,
    number: u64,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    failed: AtomicBool,
    /// The last job that ended, well or not.
    ended: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    job: Option<Job>,
    asked: u64,
    stop: bool,
}

/// The syncing thread; stops when dropped, after the job it is at.
#[derive(Debug)]
pub(super) struct Syncer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// Starts the thread; after each sync it marks the rings' positions as durable.
    pub(super) fn start(marks: Vec<DurableMark>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("acp-audit-sync".into()).spawn(move || run(&theirs, &marks))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Asks for a sync of all that was written so far; its number, for [`Self::has_ended`].
    pub(super) fn request(&self, segment: Arc<File>, keys: Option<Arc<File>>, positions: Vec<u64>) -> u64 {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        // A merged request still owes the key file its sync; segments are synced before they are left.
        let keys = keys.or_else(|| state.job.take().and_then(|job| job.keys));
        state.asked += 1;
        let number = state.asked;
        state.job = Some(Job { segment, keys, positions, number });
        self.shared.wake.notify_one();
        number
    }

    /// Whether that sync, or a later one that it was merged into, is over. Whether it failed is [`Self::failed`]'s to say.
    pub(super) fn has_ended(&self, number: u64) -> bool {
        self.shared.ended.load(Ordering::Acquire) >= number
    }

    /// Whether any sync failed.
    pub(super) fn failed(&self) -> bool {
        self.shared.failed.load(Ordering::Relaxed)
    }
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic there has been reported by the panic hook already.
            let _ = thread.join();
        }
    }
}

fn run(shared: &Shared, marks: &[DurableMark]) {
    while let Some(job) = next(shared) {
        let keys = job.keys.map_or(Ok(()), |keys| keys.sync_data());
        match keys.and_then(|()| job.segment.sync_data()) {
            Ok(()) => marks.iter().zip(job.positions).for_each(|(mark, position)| mark.set(position)),
            Err(_) => shared.failed.store(true, Ordering::Relaxed),
        }
        shared.ended.store(job.number, Ordering::Release);
    }
}

fn next(shared: &Shared) -> Option<Job> {
    let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if let Some(job) = state.job.take() {
            return Some(job);
        }
        if state.stop {
            return None;
        }
        state = shared.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
}
