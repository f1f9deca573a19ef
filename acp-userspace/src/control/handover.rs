//! Handing a running gateway over to another process: an upgrade, or a restart, without a failed request.
//!
//! | the process that serves | the one that takes over (`acp run --take-over`) |
//! |---|---|
//! | | reads its configuration, *asks*: its version of all of this, where its log and ledger are |
//! | *offers*: listeners, maps and attachments of the kernel plane, all as descriptors; goes on serving | gives up its privileges, fetches keys, resolves names, and is *ready* |
//! | holds connections between requests, waits until no request is under way; if that takes too long it goes on, and says so | waits |
//! | closes log and ledger, *leaves* what was counted | |
//! | waits | opens log and ledger, starts its workers, *serves* |
//! | passes its connections on as something happens on them, and ends | |
//!
//! **Invariants.** One process owns log and ledger at every moment: each is fenced by a lock, released before the other
//! side is told. A listener is closed by nobody while one of the two lives, so nobody who connects is refused or reset.
//! Until the log is closed everything can be undone: whatever becomes of the newcomer, the old process goes on. If the
//! *old* one dies after its offer the newcomer serves, from what is on the disk, as after any crash.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::kernel::Tier;
use crate::server::descriptors::{self, FDS_MAX};

mod estate;
mod host;
mod successor;

pub use estate::Estate;
pub use host::{Departure, Host, Listeners, Wanted};
pub use successor::{Offered, Predecessor};

/// Of the messages and of what they stand for.
const PROTOCOL: u32 = 1;

/// Where a gateway with this admin socket can be asked.
#[must_use]
pub fn socket(admin: &Path) -> PathBuf {
    let mut name = admin.as_os_str().to_owned();
    name.push(".take-over");
    name.into()
}

/// What the one that takes over asks.
#[derive(Debug, Serialize, Deserialize)]
struct Ask {
    protocol: u32,
    abi: u32,
    pid: u32,
    /// What must be the same, by the key of the configuration.
    same: Vec<(String, String)>,
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// It cannot be; the process goes on serving.
    Refused(String),
    /// Beside it are the listeners, the maps in this order, and the attachments.
    Offered(Offer),
}

#[derive(Debug, Serialize, Deserialize)]
struct Offer {
    pid: u32,
    address: SocketAddr,
    listeners: usize,
    tier: Tier,
    why: Vec<String>,
    maps: Vec<String>,
    links: usize,
    cgroup: Option<PathBuf>,
}

/// It is ready; beside it the socket that connections are to be passed to.
#[derive(Debug, Serialize, Deserialize)]
struct Ready {
    /// How long requests may be held.
    hold_max_ms: u64,
}

/// What is answered to that.
#[derive(Debug, Serialize, Deserialize)]
enum Left {
    /// It cannot be; the process goes on serving.
    Refused(String),
    /// Beside it a file with what was counted. Log and ledger are nobody's.
    Estate,
}

/// The newcomer serves.
#[derive(Debug, Serialize, Deserialize)]
struct Serves;

fn connect(path: &Path) -> io::Result<Socket> {
    let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None)?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket)
}

/// Sends a message; descriptors that one cannot carry follow in others.
fn send(socket: &Socket, message: &impl Serialize, fds: &[OwnedFd]) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    let mut parts = fds.chunks(FDS_MAX);
    descriptors::send(socket.as_fd(), &bytes, parts.next().unwrap_or_default(), true)?;
    parts.try_for_each(|part| descriptors::send(socket.as_fd(), b"+", part, true))
}

/// Receives a message and the descriptors beside it; `None` when the other side is gone.
fn receive<T: for<'a> Deserialize<'a>>(socket: &Socket) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let received = match descriptors::receive(socket.as_fd(), true) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => None,
        received => received?,
    };
    received.map(|(bytes, fds)| Ok((serde_json::from_slice(&bytes)?, fds))).transpose()
}

/// Receives further descriptors until there are so many.
fn complete(socket: &Socket, fds: &mut Vec<OwnedFd>, count: usize) -> io::Result<()> {
    while fds.len() < count {
        let Some((_, more)) = descriptors::receive(socket.as_fd(), true)? else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        if more.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        fds.extend(more);
    }
    Ok(())
}
