//! A worker's own handle on the kernel plane: made by the control thread, moved into the worker, shared with nobody.
//!
//! A connection's life, as the server sees it: [`WorkerPlane::admit`] right after accept, [`WorkerPlane::bind`] at its
//! first verified request, [`WorkerPlane::closed`] just before the descriptor is closed, and [`WorkerPlane::load`]
//! whenever their number changes. [`WorkerPlane::live`] lists the connections that are open.

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
    /// The connections that are open.
    pub(super) open: HashMap<RawFd, Open>,
}

/// Who keeps the ledger.
#[derive(Debug)]
pub(super) enum Ledger {
    /// `acp_ledger`; the worker binds tenants through its own descriptor of the socket storage.
    Kernel(SkStorage<MapData, SkState>),
    /// The worker, from `TCP_INFO`.
    User,
}

/// An open connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    peer: SocketAddr,
    state: SkState,
}

impl WorkerPlane {
    /// Decides on a connection that was accepted from the socket peer `peer`. On [`Admission::Refuse`] the server
    /// calls [`socket::reset_on_close`] and closes it, and calls nothing else here for it.
    pub fn admit(&mut self, fd: RawFd, peer: SocketAddr, now_ns: u64) -> Admission {
        self.say(Loads::arrived);
        let admission = self.shared.gate.admit(peer.ip(), now_ns);
        if admission == Admission::Accept {
            self.open.insert(fd, Open { peer, state: SkState::opened(now_ns) });
            if matches!(self.ledger, Ledger::User) {
                self.shared.opened.fetch_add(1, Ordering::Relaxed);
            }
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
        let known = self.state(fd, now_ns);
        let state = match &self.ledger {
            Ledger::User => known,
            Ledger::Kernel(states) => match states.get(&fd, 0) {
                Err(MapError::KeyNotFound) => known,
                state => state?,
            },
        };
        let Some(bound) = state.bind(tenant) else { return Ok(()) };
        if let Some(open) = self.open.get_mut(&fd) {
            open.state = bound;
        }
        match &mut self.ledger {
            Ledger::User => Ok(()),
            Ledger::Kernel(states) => states.insert(&fd, bound, 0),
        }
    }

    /// Tells the steering how many connections the worker has: one store into mapped memory.
    pub fn load(&mut self, connections: u32) {
        self.say(|loads, index| loads.set(index, connections.min(DRAINING - 1)));
    }

    /// Tells the steering that whoever was on the way has arrived, or will not: for a worker that looks at its accept
    /// queue, ten times a second or so.
    pub fn looked(&mut self) {
        self.say(Loads::settle);
    }

    fn say(&self, what: impl FnOnce(&Loads, u32)) {
        if let Some(loads) = &self.loads
            && !self.draining
        {
            what(loads, self.index);
        }
    }

    /// While the gateway hands over the steering is told nothing: what it knows becomes the next process' to say.
    pub fn mute(&mut self, muted: bool) {
        self.draining = muted;
    }

    /// What the ledger knows of a connection that is to be passed on to another process, where the worker keeps it.
    #[must_use]
    pub fn state(&self, fd: RawFd, now_ns: u64) -> SkState {
        self.open.get(&fd).map_or_else(|| SkState::opened(now_ns), |open| open.state)
    }

    /// Takes a connection up that another process passed on. No penalty is asked: it was established before.
    pub fn enter(&mut self, fd: RawFd, peer: SocketAddr, state: SkState) {
        self.open.insert(fd, Open { peer, state });
        if matches!(self.ledger, Ledger::User) {
            self.shared.opened.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets a connection that was passed on.
    pub fn leave(&mut self, fd: RawFd) {
        self.open.remove(&fd);
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
    /// read. Counts are exact, to the byte unless a reset ended the connection. `audited_in` is how many bytes of
    /// requests the audit log has of it; where there are any, they cost two system calls if the kernel keeps the ledger.
    pub fn closed(&mut self, fd: RawFd, eof: bool, audited_in: u64, now_ns: u64) -> Option<ConnClosed> {
        let mut open = self.open.remove(&fd)?;
        if let Ledger::Kernel(states) = &mut self.ledger {
            if audited_in > 0 {
                let state = match states.get(&fd, 0) {
                    // No tenant was bound to it. Where the client has ended it already, its record was written.
                    Err(MapError::KeyNotFound) => Ok(open.state),
                    state => state,
                };
                let left = state.and_then(|state| states.insert(&fd, state.audited(audited_in), 0));
                left.unwrap_or_else(|error| tracing::debug!(%error, "the ledger was not told what was audited"));
            }
            return None;
        }
        if audited_in > 0 {
            open.state = open.state.audited(audited_in);
        }
        let record = open.record(fd, eof, now_ns);
        let counter = if record.is_ok() { &self.shared.closed } else { &self.shared.lost };
        counter.fetch_add(1, Ordering::Relaxed);
        record.ok()
    }

    /// The connections that are this tenant's alone.
    #[must_use]
    pub fn bound_to(&self, tenant: TenantSlot) -> Vec<RawFd> {
        let is_its =
            |state: &SkState| state.tenant == tenant && state.flags & (ledger::BOUND | ledger::MULTI) == ledger::BOUND;
        let nobody = tenant == TenantSlot::UNATTRIBUTED;
        self.open.iter().filter(|(_, open)| !nobody && is_its(&open.state)).map(|(fd, _)| *fd).collect()
    }

    /// The connections that are open, as the kernel has them at this moment: one system call for each. A connection
    /// whose socket cannot be asked any more is left out.
    pub fn live(&self, now_ns: u64) -> Vec<Live> {
        self.open.iter().filter_map(|(fd, open)| open.live(*fd, now_ns).ok()).collect()
    }
}

/// An open connection as it is listed.
#[derive(Clone, Copy, Debug)]
pub struct Live {
    /// Socket cookie: the key that joins it to the audit log.
    pub cookie: u64,
    /// The socket's peer.
    pub peer: SocketAddr,
    /// The first tenant verified on it.
    pub tenant: TenantSlot,
    /// Requests of several tenants came over it.
    pub mixed: bool,
    /// Since it was accepted.
    pub age_ns: u64,
    /// Bytes received; they count the client's end of stream as one.
    pub bytes_in: u64,
    /// Bytes sent and acknowledged.
    pub bytes_out: u64,
    /// Segments sent again.
    pub retrans: u32,
    /// Smoothed round-trip time.
    pub srtt_us: u32,
}

impl Open {
    fn live(&self, fd: RawFd, now_ns: u64) -> io::Result<Live> {
        let info = socket::tcp_info(fd)?;
        Ok(Live {
            cookie: socket::cookie(fd)?,
            peer: self.peer,
            tenant: self.state.tenant,
            mixed: self.state.flags & ledger::MULTI != 0,
            age_ns: now_ns.saturating_sub(self.state.opened_ns),
            bytes_in: info.tcpi_bytes_received,
            bytes_out: info.tcpi_bytes_acked,
            retrans: info.tcpi_total_retrans,
            srtt_us: info.tcpi_rtt,
        })
    }

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
            audited_in: self.state.audited_in,
        })
    }
}
