//! A worker's own handle on the kernel plane: made by the control thread, moved into the worker, shared with nobody.
//!
//! A connection's life, as the server sees it: [`WorkerPlane::admit`] right after accept, [`WorkerPlane::bind`] at its
//! first verified request, [`WorkerPlane::closed`] just before the descriptor is closed, and [`WorkerPlane::load`]
//! whenever their number changes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use acp_ebpf::ledger::{self, Close, SkState, tcp};
use acp_ebpf::steer::DRAINING;
use acp_ebpf::{ConnClosed, TenantSlot, addr};
use aya::maps::{MapData, MapError, SkStorage};
use hashbrown::HashMap;

use super::gate::Admission;
use super::load::Loads;
use super::{Shared, socket};
use crate::ids::TenantId;

/// See the module's documentation.
#[derive(Debug)]
pub struct WorkerPlane {
    pub(super) index: u32,
    pub(super) shared: Arc<Shared>,
    /// Slots this worker has asked for before; bounded as [`super::Tenants`] is.
    pub(super) slots: HashMap<TenantId, TenantSlot>,
    /// Where `acp_steer` reads this worker's load; `None` where nothing steers.
    pub(super) loads: Option<Arc<Loads>>,
    pub(super) draining: bool,
    pub(super) ledger: Ledger,
}

/// Who keeps the ledger.
#[derive(Debug)]
pub(super) enum Ledger {
    /// `acp_ledger`; the worker binds tenants through its own descriptor of the socket storage.
    Kernel(SkStorage<MapData, SkState>),
    /// The worker, from `TCP_INFO`; one entry per open connection.
    User(HashMap<RawFd, Open>),
}

/// An open connection in the worker's own ledger.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    peer: SocketAddr,
    state: SkState,
}

impl WorkerPlane {
    /// Decides on a connection that was accepted from the socket peer `peer`. On [`Admission::Refuse`] the server
    /// calls [`socket::reset_on_close`] and closes it, and calls nothing else here for it.
    pub fn admit(&mut self, fd: RawFd, peer: SocketAddr, now_ns: u64) -> Admission {
        let admission = self.shared.gate.admit(peer.ip(), now_ns);
        if let (Admission::Accept, Ledger::User(open)) = (admission, &mut self.ledger) {
            open.insert(fd, Open { peer, state: SkState::opened(now_ns) });
            self.shared.opened.fetch_add(1, Ordering::Relaxed);
        }
        admission
    }

    /// The slot of a tenant: what [`WorkerPlane::bind`] takes. Locks once per tenant and worker.
    pub fn slot(&mut self, tenant: &TenantId) -> TenantSlot {
        if let Some(slot) = self.slots.get(tenant) {
            return *slot;
        }
        let slot = self.shared.tenants.slot(tenant);
        // What has no slot is not remembered: those tenants are not bounded.
        if slot != TenantSlot::UNATTRIBUTED {
            self.slots.insert(tenant.clone(), slot);
        }
        slot
    }

    /// Binds a verified tenant to the connection; a second tenant makes its bytes nobody's alone. Costs two system
    /// calls where the kernel keeps the ledger: call it when a connection's tenant changes, not per request.
    ///
    /// # Errors
    /// If `fd` is no socket, or the kernel has no memory for its storage. The connection is then unattributed.
    pub fn bind(&mut self, fd: RawFd, tenant: TenantSlot, now_ns: u64) -> Result<(), MapError> {
        match &mut self.ledger {
            Ledger::User(open) => {
                if let Some(open) = open.get_mut(&fd) {
                    open.state = open.state.bind(tenant).unwrap_or(open.state);
                }
                Ok(())
            }
            Ledger::Kernel(states) => {
                let state = match states.get(&fd, 0) {
                    Err(MapError::KeyNotFound) => SkState::opened(now_ns),
                    state => state?,
                };
                state.bind(tenant).map_or(Ok(()), |bound| states.insert(&fd, bound, 0))
            }
        }
    }

    /// Tells the steering how many connections the worker has: one store into mapped memory.
    pub fn load(&mut self, connections: u32) {
        if let Some(loads) = &self.loads
            && !self.draining
        {
            loads.set(self.index, connections.min(DRAINING - 1));
        }
    }

    /// From now on no connection is steered to this worker.
    pub fn drain(&mut self) {
        self.draining = true;
        if let Some(loads) = &self.loads {
            loads.set(self.index, DRAINING);
        }
    }

    /// The record of a connection that is about to be closed, where the worker keeps the ledger; `None` where the
    /// kernel does, which reports by [`super::KernelPlane::drain`]. `eof` says that the client's end of stream was
    /// read. Counts are exact, to the byte unless a reset ended the connection.
    pub fn closed(&mut self, fd: RawFd, eof: bool, now_ns: u64) -> Option<ConnClosed> {
        let Ledger::User(open) = &mut self.ledger else { return None };
        let open = open.remove(&fd)?;
        let record = open.record(fd, eof, now_ns);
        let counter = if record.is_ok() { &self.shared.closed } else { &self.shared.lost };
        counter.fetch_add(1, Ordering::Relaxed);
        record.ok()
    }
}

impl Open {
    fn record(&self, fd: RawFd, eof: bool, now_ns: u64) -> io::Result<ConnClosed> {
        let info = socket::tcp_info(fd)?;
        let local = socket::local(fd)?;
        let flags = self.state.flags | ledger::USER | if eof { ledger::PEER_FIN } else { 0 };
        // A socket that is closed on both sides while user space still holds it: both FINs were acknowledged.
        let old_state = match u32::from(info.tcpi_state) {
            tcp::CLOSE if eof => tcp::FIN_WAIT2,
            state => state,
        };
        let all_acked = info.tcpi_unacked == 0 && info.tcpi_notsent_bytes == 0;
        let close = Close { old_state, flags, all_acked };
        Ok(ConnClosed {
            cookie: socket::cookie(fd)?,
            bytes_in: close.bytes_in(info.tcpi_bytes_received),
            bytes_acked: close.bytes_acked(info.tcpi_bytes_acked),
            opened_ns: self.state.opened_ns,
            duration_ns: now_ns.saturating_sub(self.state.opened_ns),
            remote: addr::address(self.peer.ip()),
            local: addr::address(local.ip()),
            tenant: self.state.tenant,
            flags,
            srtt_us: info.tcpi_rtt,
            segs_in: info.tcpi_segs_in,
            segs_out: info.tcpi_segs_out,
            retrans: info.tcpi_total_retrans,
            remote_port: self.peer.port(),
            local_port: local.port(),
        })
    }
}
