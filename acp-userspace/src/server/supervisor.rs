//! Starts the workers, and replaces one that died.
//!
//! The supervisor keeps every listener, so a worker's accept queue outlives it; its replacement gets a duplicate.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::Shared;
use super::handing::Phase;
use super::listener;
use super::runtime::Driver;
use super::worker::{self, Parts, Signal};
use crate::kernel::WorkerPlane;
use crate::pipeline::Core;

/// Signals a worker may have under way to the control thread.
const SIGNALS_MAX: usize = 4096;

/// A worker that dies again this soon waits before it is replaced, so that a crash at start-up cannot spin.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// Makes what each incarnation of a worker starts with; called on the worker's own thread.
pub trait Supplies: Send + Sync + 'static {
    /// The pipeline's per-worker state.
    ///
    /// # Errors
    /// What is missing, in words for the operator.
    fn core(&self, worker: usize) -> anyhow::Result<Core>;
}

/// The running workers.
#[derive(Debug)]
pub struct Supervisor {
    slots: Vec<Slot>,
}

/// One worker's place.
struct Slot {
    index: usize,
    core: Option<usize>,
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
    started: Instant,
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("index", &self.index).field("core", &self.core).finish_non_exhaustive()
    }
}

/// What every worker has in common.
pub struct Common {
    /// Shared state.
    pub shared: Arc<Shared>,
    /// Per-worker state.
    pub supplies: Arc<dyn Supplies>,
    /// The best runtime driver to try.
    pub best: Driver,
    /// The kernel plane's half for a worker.
    pub plane: Box<dyn FnMut(usize) -> io::Result<WorkerPlane>>,
    /// Where the reading end of a new worker's queue goes.
    pub signals: Box<dyn FnMut(usize, rtrb::Consumer<Signal>)>,
}

impl Supervisor {
    /// Starts one worker per listener, pinned to the cores of the process' affinity mask in turn.
    ///
    /// # Errors
    /// A thread or a worker's part cannot be had.
    pub fn start(listeners: Vec<TcpListener>, common: &mut Common) -> io::Result<Self> {
        let cores = affinity();
        let mut slots = Vec::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            let core = cores.get(index % cores.len().max(1)).copied();
            let mut slot = Slot { index, core, listener, thread: None, started: Instant::now() };
            slot.start(common)?;
            slots.push(slot);
        }
        Ok(Self { slots })
    }

    /// Replaces workers that died. Called a few times per second.
    pub fn tend(&mut self, common: &mut Common) {
        if common.shared.hand_over.phase() == Phase::Passing {
            // Another process serves, and the listeners are its own.
            return;
        }
        let draining = common.shared.draining.load(std::sync::atomic::Ordering::Acquire);
        for slot in &mut self.slots {
            let dead = slot.thread.as_ref().is_none_or(JoinHandle::is_finished);
            if dead && draining {
                // Nobody serves its queue any more. A worker that drained has closed it already.
                drop(listener::close(&slot.listener));
            }
            if !dead || draining || slot.started.elapsed() < RESTART_PAUSE {
                continue;
            }
            tracing::error!(worker = slot.index, "worker died; starting another in its place");
            common.shared.workers[slot.index].restarts.inc();
            if let Err(error) = slot.start(common) {
                tracing::error!(worker = slot.index, %error, "cannot start a worker");
                slot.started = Instant::now();
            }
        }
    }

    /// Whether every worker has ended.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.slots.iter().all(|slot| slot.thread.as_ref().is_none_or(JoinHandle::is_finished))
    }
}

impl Slot {
    fn start(&mut self, common: &mut Common) -> io::Result<()> {
        let (producer, consumer) = rtrb::RingBuffer::new(SIGNALS_MAX);
        (common.signals)(self.index, consumer);
        let plane = (common.plane)(self.index)?;
        let listener = self.listener.try_clone()?;
        let metrics = Arc::clone(&common.shared.workers[self.index]);
        let workers = common.shared.workers.len();
        let (shared, supplies) = (Arc::clone(&common.shared), Arc::clone(&common.supplies));
        let (index, core, best) = (self.index, self.core, common.best);
        self.started = Instant::now();
        let thread = std::thread::Builder::new().name(format!("acp-worker-{index}")).spawn(move || {
            block_signals();
            if let Some(core) = core {
                pin(core);
            }
            match supplies.core(index) {
                Ok(core) => {
                    let parts = Parts { index, shared, core, plane, metrics, signals: producer, listener, workers };
                    if let Err(error) = worker::run(parts, best) {
                        tracing::error!(worker = index, %error, "worker ended");
                    }
                }
                Err(error) => tracing::error!(worker = index, %error, "worker cannot start"),
            }
        })?;
        self.thread = Some(thread);
        Ok(())
    }
}

/// The cores this process may run on.
#[must_use]
pub fn affinity() -> Vec<usize> {
    let mut set = cpu_set();
    // SAFETY: `set` is a live cpu_set_t of the size given; pid 0 is the calling thread.
    let rc = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    if rc != 0 {
        return Vec::new();
    }
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: `at` is below CPU_SETSIZE, the capacity of the set.
        .filter(|at| unsafe { libc::CPU_ISSET(*at, &set) })
        .collect()
}

/// Pins the calling thread; a worker on a core that has gone offline runs unpinned.
fn pin(core: usize) {
    let mut set = cpu_set();
    // SAFETY: `core` came out of a cpu_set_t, so it is below CPU_SETSIZE; the set is live and of the size given.
    unsafe {
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}

fn cpu_set() -> libc::cpu_set_t {
    // SAFETY: cpu_set_t is a plain bit array, for which all zeroes is the empty set.
    unsafe { std::mem::zeroed() }
}

/// Keeps signals on the control thread: one that interrupted a worker's ring would fail its wait.
fn block_signals() {
    // SAFETY: sigset_t is plain data that sigfillset initialises; pthread_sigmask reads it and writes nothing.
    unsafe {
        let mut all: libc::sigset_t = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, std::ptr::null_mut());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_can_be_pinned_to_any_core_of_the_mask() {
        let cores = affinity();
        assert!(!cores.is_empty());
        let last = *cores.last().unwrap();
        std::thread::spawn(move || {
            pin(last);
            assert_eq!(affinity(), [last]);
        })
        .join()
        .unwrap();
    }
}
