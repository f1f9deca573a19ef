//! Connections at a hand-over: what the workers of the process that goes, and of the one that comes, do with them.
//!
//! The listeners are the same sockets in both, so what waits in their queues is lost to nobody. The old process' workers
//! stop accepting, let the requests under way end, and hold every other connection where it is: between two requests.
//! Once the new process serves, each of them is passed on, its socket and what was read of it, the first time there is
//! something to do on it; its client sees the same connection go on.
//!
//! **Invariant:** from [`Phase::Holding`] on no request begins, so once every worker was quiet none is under way, and
//! nothing more is written to the log.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use acp_ebpf::{SkState, TenantSlot};
use serde::{Deserialize, Serialize};

use super::descriptors;

/// How far a process is with going.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Phase {
    /// Not at all.
    Serving,
    /// Workers look at the phase more often.
    Preparing,
    /// No connection is accepted, and no request begins.
    Holding,
    /// The next process serves: connections go there.
    Passing,
}

/// How far a worker is with holding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub(super) enum Rest {
    /// Not at all.
    Working,
    /// It accepts nothing.
    Closed,
    /// Nor is a request under way.
    Quiet,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct HandOver {
    phase: AtomicU8,
    /// [`Rest`], per worker.
    rest: Box<[AtomicU8]>,
    /// Where connections go.
    to: OnceLock<OwnedFd>,
    /// Where those of the process before come from.
    from: Option<OwnedFd>,
}

impl HandOver {
    /// For so many workers, which take connections from `from`.
    #[must_use]
    pub fn new(workers: usize, from: Option<OwnedFd>) -> Self {
        let rest = (0..workers).map(|_| AtomicU8::new(Rest::Working as u8)).collect();
        Self { phase: AtomicU8::new(0), rest, to: OnceLock::new(), from }
    }

    /// How far it is: one load.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Acquire) {
            0 => Phase::Serving,
            1 => Phase::Preparing,
            2 => Phase::Holding,
            _ => Phase::Passing,
        }
    }

    /// Goes on, or back to [`Phase::Serving`].
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Names the socket that connections are passed to; once, before [`Phase::Passing`].
    pub fn pass_to(&self, socket: OwnedFd) {
        // There is one successor at most: a second socket would be of none.
        let _ = self.to.set(socket);
    }

    /// Whether no worker accepts: who comes now waits in the listeners' queues.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.all(Rest::Closed)
    }

    /// Whether every worker is quiet.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.all(Rest::Quiet)
    }

    fn all(&self, least: Rest) -> bool {
        self.rest.iter().all(|worker| worker.load(Ordering::Acquire) >= least as u8)
    }

    pub(super) fn set_rest(&self, worker: usize, rest: Rest) {
        self.rest[worker].store(rest as u8, Ordering::Release);
    }

    /// The socket that this process' workers take connections from, if another was there before.
    pub(super) fn incoming(&self) -> Option<BorrowedFd<'_>> {
        self.from.as_ref().map(AsFd::as_fd)
    }

    /// Passes a connection on; its descriptor stays open here.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] while the next process is busy; else it cannot be passed on.
    pub(super) fn pass(&self, stream: BorrowedFd<'_>, about: &About, input: &[u8]) -> io::Result<()> {
        let to = self.to.get().ok_or(io::ErrorKind::NotConnected)?;
        let mut message = serde_json::to_vec(about)?;
        message.push(b'\n');
        message.extend_from_slice(input);
        descriptors::send(to.as_fd(), &message, &[stream], false)
    }
}

/// What the next process has to know of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct About {
    pub(super) peer: SocketAddr,
    /// The client, as a trusted balancer introduced it; else the peer.
    pub(super) client: SocketAddr,
    pub(super) audited_in: u64,
    pub(super) ignored: u32,
    tenant: (u32, u32),
    flags: u32,
    opened_ns: u64,
}

impl About {
    pub(super) fn new(peer: SocketAddr, client: SocketAddr, audited_in: u64, ignored: u32, state: SkState) -> Self {
        let SkState { tenant, flags, opened_ns, .. } = state;
        Self { peer, client, audited_in, ignored, tenant: (tenant.slot, tenant.generation), flags, opened_ns }
    }

    /// What the ledger knows of it, where the worker keeps the ledger.
    pub(super) fn state(&self) -> SkState {
        let tenant = TenantSlot { slot: self.tenant.0, generation: self.tenant.1 };
        SkState { tenant, flags: self.flags, ..SkState::opened(self.opened_ns) }
    }
}

/// A connection that was passed on.
pub(super) struct Passed {
    pub(super) stream: std::net::TcpStream,
    pub(super) about: About,
    /// Read, and not acted on.
    pub(super) input: Vec<u8>,
}

/// Takes the next connection that is passed on; `None` when the process before is gone.
///
/// # Errors
/// [`io::ErrorKind::WouldBlock`] if none is there; else what came is none.
pub(super) fn take(socket: BorrowedFd<'_>) -> io::Result<Option<Passed>> {
    let Some((bytes, mut fds)) = descriptors::receive(socket, false)? else { return Ok(None) };
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "what came is no connection");
    let at = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(odd)?;
    let about = serde_json::from_slice(&bytes[..at]).map_err(|_| odd())?;
    let stream = fds.pop().filter(|_| fds.is_empty()).ok_or_else(odd)?.into();
    Ok(Some(Passed { stream, about, input: bytes[at + 1..].to_vec() }))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use socket2::{Domain, Socket, Type};

    use super::*;

    #[test]
    fn what_was_read_of_a_connection_goes_with_it() {
        let (from, to) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        let old = HandOver::new(1, None);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let tenant = TenantSlot { slot: 3, generation: 1 };
        let state = SkState { tenant, flags: 1, ..SkState::opened(77) };
        let about = About::new(peer, "192.0.2.7:5".parse().unwrap(), 9, 2, state);
        assert!(old.pass(server.as_fd(), &about, b"GET /\n").is_err(), "there is nobody yet");
        old.pass_to(from.into());
        old.pass(server.as_fd(), &about, b"GET /\n").unwrap();
        drop(server);
        let passed = take(to.as_fd()).unwrap().unwrap();
        assert_eq!((passed.about.state(), &passed.about, &*passed.input), (state, &about, &b"GET /\n"[..]));
        assert_eq!(passed.stream.peer_addr().unwrap(), client.local_addr().unwrap());
        drop(old);
        assert!(take(to.as_fd()).unwrap().is_none());
    }

    #[test]
    fn what_is_no_connection_is_an_error() {
        let (from, to) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).unwrap();
        for bytes in [&b"what"[..], b"{}\n", b"\n"] {
            descriptors::send(from.as_fd(), bytes, &[], true).unwrap();
            assert_eq!(take(to.as_fd()).err().map(|error| error.kind()), Some(io::ErrorKind::InvalidData));
        }
    }

    #[test]
    fn it_is_closed_and_quiet_when_every_worker_is() {
        let handing = HandOver::new(2, None);
        handing.set_rest(0, Rest::Quiet);
        assert!(!handing.is_closed() && !handing.is_quiet());
        handing.set_rest(1, Rest::Closed);
        assert!(handing.is_closed() && !handing.is_quiet());
        handing.set_rest(1, Rest::Quiet);
        assert!(handing.is_closed() && handing.is_quiet());
        for phase in [Phase::Preparing, Phase::Holding, Phase::Passing, Phase::Serving] {
            handing.enter(phase);
            assert_eq!(handing.phase(), phase);
        }
    }
}
