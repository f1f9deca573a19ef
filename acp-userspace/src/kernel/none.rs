//! The kernel plane without BPF (tier K0): the same penalties, kept at accept; the same ledger, read at close.
//!
//! It costs what the kernel plane saves: a handshake and an accept for every attempt of a refused source.

use std::net::IpAddr;
use std::sync::Arc;

use acp_ebpf::{ConnClosed, Penalty};
use hashbrown::HashMap;

use super::worker::{Ledger, WorkerPlane};
use super::{KernelError, KernelPlane, Shared, Stats};

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct NonePlane {
    shared: Arc<Shared>,
}

impl KernelPlane for NonePlane {
    fn penalise(&mut self, source: IpAddr, penalty: Penalty) -> Result<(), KernelError> {
        self.shared.penalise(source, penalty, 0)
    }

    fn pardon(&mut self, source: IpAddr) -> bool {
        self.shared.pardon(source)
    }

    fn drain(&mut self, _sink: &mut dyn FnMut(&ConnClosed)) -> usize {
        0
    }

    fn stats(&self) -> Stats {
        self.shared.stats()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn worker(&self, index: u32) -> Result<WorkerPlane, KernelError> {
        let (slots, open) = (HashMap::new(), HashMap::new());
        let shared = Arc::clone(&self.shared);
        Ok(WorkerPlane { index, shared, slots, loads: None, draining: false, ledger: Ledger::User, open })
    }

    fn worker_down(&mut self, _index: u32) {}
}
