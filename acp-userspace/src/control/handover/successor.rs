//! The side of the process that takes over.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use socket2::{Domain, Socket, Type};

use super::{Answer, Ask, Estate, Left, Offer, PROTOCOL, Ready, Serves, complete, connect, receive, send};
use crate::kernel::{Bequest, Reached};

/// A gateway that serves and was asked.
#[derive(Debug)]
pub struct Predecessor {
    connection: Socket,
    pid: u32,
}

/// What it offers.
#[derive(Debug)]
pub struct Offered {
    /// Where clients connect.
    pub address: SocketAddr,
    /// One per worker, in their order.
    pub listeners: Vec<TcpListener>,
    /// The kernel plane.
    pub bequest: Bequest,
    /// How far that came.
    pub reached: Reached,
}

impl Predecessor {
    /// Asks the gateway at `path`; `same` is what must be the same in both configurations. `None` if there is none.
    ///
    /// # Errors
    /// It refuses, or does not understand.
    pub fn ask(path: &Path, same: Vec<(String, String)>) -> anyhow::Result<Option<(Self, Offered)>> {
        let connection = match connect(path) {
            Ok(connection) => connection,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(|| format!("cannot ask at {}", path.display())),
        };
        let ask = Ask { protocol: PROTOCOL, abi: acp_ebpf::ABI, pid: std::process::id(), same };
        send(&connection, &ask, &[])?;
        let (answer, fds) = receive::<Answer>(&connection)?.context("the gateway that serves hung up")?;
        match answer {
            Answer::Refused(why) => bail!("the gateway that serves refuses: {why}"),
            Answer::Offered(offer) => {
                let pid = offer.pid;
                let offered = accept(&connection, offer, fds).context("what is offered is not what was said")?;
                Ok(Some((Self { connection, pid }, offered)))
            }
        }
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Has it hold its requests for at most `hold_max`, and leave. Gives the socket that its connections come from, and
    /// what it counted; `None` of that if it died.
    ///
    /// # Errors
    /// It goes on serving instead, and says why.
    pub fn take_over(&self, hold_max: Duration) -> anyhow::Result<(OwnedFd, Option<Estate>)> {
        let (to, from) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None)?;
        let hold_max_ms = u64::try_from(hold_max.as_millis()).unwrap_or(u64::MAX);
        // One that is gone is found out about by its silence.
        let _ = send(&self.connection, &Ready { hold_max_ms }, &[to.into()]);
        match receive::<Left>(&self.connection) {
            Ok(Some((Left::Refused(why), _))) => bail!("the gateway that serves goes on: {why}"),
            Ok(Some((Left::Estate, mut fds))) => {
                let estate = fds.pop().context("nothing was left")?;
                Ok((from.into(), Some(Estate::load(estate)?)))
            }
            Ok(None) | Err(_) => {
                tracing::warn!(pid = self.pid, "the gateway that served died; its log and ledger say what it did");
                Ok((from.into(), None))
            }
        }
    }

    /// Says that this process serves.
    pub fn serves(self) {
        // One that died meanwhile has nothing to pass on.
        let _ = send(&self.connection, &Serves, &[]);
    }
}

fn accept(connection: &Socket, offer: Offer, mut fds: Vec<OwnedFd>) -> io::Result<Offered> {
    complete(connection, &mut fds, offer.listeners + offer.maps.len() + offer.links)?;
    let mut fds = fds.into_iter();
    let listeners: Vec<_> = fds.by_ref().take(offer.listeners).map(TcpListener::from).collect();
    let maps = offer.maps.into_iter().zip(fds.by_ref()).collect();
    let bequest = Bequest { maps, links: fds.collect(), cgroup: offer.cgroup };
    if listeners.is_empty() {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let reached = Reached { tier: offer.tier, why: offer.why };
    Ok(Offered { address: offer.address, listeners, bequest, reached })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_gateway_is_there_is_nothing_to_take_over() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Predecessor::ask(&dir.path().join("none"), Vec::new()).unwrap().is_none());
    }
}
