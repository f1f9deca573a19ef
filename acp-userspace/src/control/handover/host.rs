//! The side of the process that serves: waits to be asked, on a thread of its own, and has the main thread do what is
//! asked.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::Context;
use socket2::Socket;

use super::{Answer, Ask, Left, Offer, PROTOCOL, Ready, Serves, complete, receive, send};
use crate::control::admin::bind_private;
use crate::control::service::SharedPlane;
use crate::kernel::{Bequest, Reached};

/// Longest that requests may be held, whatever is asked.
const HOLD_MAX: Duration = Duration::from_secs(60);

/// How long the other side may take for a message while nothing is held.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is offered.
pub struct Listeners {
    /// Where clients connect.
    pub address: SocketAddr,
    /// One per worker, in their order.
    pub sockets: Vec<TcpListener>,
    /// The kernel plane, and how far it came.
    pub plane: SharedPlane,
    /// The tier.
    pub reached: Reached,
    /// What must be the same in the other's configuration, by key.
    pub same: Vec<(String, String)>,
}

/// A request to the main thread: hold, wait, and leave.
pub struct Wanted {
    /// How long requests may be held.
    pub hold_max: Duration,
    /// Where connections are to be passed to.
    pub to: OwnedFd,
    connection: Arc<Socket>,
    answer: SyncSender<Result<OwnedFd, String>>,
    /// Whether the other side came to serve.
    serves: Receiver<bool>,
}

/// The process has left log and ledger, and waits for the other to serve.
pub struct Departure(Receiver<bool>);

impl Wanted {
    /// Whether the other side is gone already.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let peeked = self.connection.recv_with_flags(&mut byte, libc::MSG_PEEK | libc::MSG_DONTWAIT);
        !matches!(peeked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// It cannot be: says why, and this process goes on.
    pub fn refuse(self, why: String) {
        let _ = self.answer.send(Err(why));
    }

    /// Log and ledger are closed, and this was counted. Where connections go, and what to wait for.
    #[must_use]
    pub fn leave(self, estate: OwnedFd) -> (OwnedFd, Departure) {
        let _ = self.answer.send(Ok(estate));
        (self.to, Departure(self.serves))
    }
}

impl Departure {
    /// Waits until the other side serves; false if it died instead.
    #[must_use]
    pub fn wait(self) -> bool {
        self.0.recv().unwrap_or(false)
    }
}

/// The thread.
pub struct Host {
    offered: Listeners,
    wanted: Sender<Wanted>,
}

impl Host {
    /// Begins to listen at `path`; what is asked comes out of the receiver. A gateway that cannot be asked serves all the
    /// same, and says why.
    #[must_use]
    pub fn start(path: &Path, offered: Listeners) -> Receiver<Wanted> {
        let (wanted, asked) = mpsc::channel();
        if let Err(error) = Self::listen(path, Self { offered, wanted }) {
            tracing::warn!("hand-over: {error:#}: no process can take over from this one");
        }
        asked
    }

    fn listen(path: &Path, host: Self) -> anyhow::Result<()> {
        let _ = std::fs::remove_file(path);
        let socket = bind_private(path, socket2::Type::SEQPACKET)
            .and_then(|socket| socket.set_nonblocking(false).and_then(|()| socket.listen(1)).map(|()| socket))
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        std::thread::Builder::new().name("acp-hand-over".into()).spawn(move || host.run(&socket))?;
        Ok(())
    }

    fn run(&self, socket: &Socket) {
        while let Ok((connection, _)) = socket.accept() {
            match self.serve(connection) {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!("hand-over: {error:#}"),
            }
        }
    }

    /// One that wants to take over; whether it did.
    fn serve(&self, connection: Socket) -> anyhow::Result<bool> {
        connection.set_read_timeout(Some(PATIENCE))?;
        let Some((ask, _)) = receive::<Ask>(&connection)? else { return Ok(false) };
        tracing::info!(pid = ask.pid, "hand-over: a process asks to take over");
        let bequest = match self.refusal(&ask) {
            None => self.plane()?,
            Some(why) => {
                tracing::warn!("hand-over: refused: {why}");
                send(&connection, &Answer::Refused(why), &[])?;
                return Ok(false);
            }
        };
        self.offer(&connection, bequest)?;
        let Some((ready, mut fds)) = receive::<Ready>(&connection)? else {
            tracing::warn!("hand-over: the process that asked is gone; this one goes on");
            return Ok(false);
        };
        complete(&connection, &mut fds, 1)?;
        let to = fds.pop().context("no socket for connections")?;
        let (answer, answered) = mpsc::sync_channel(1);
        let (served, serves) = mpsc::channel();
        let connection = Arc::new(connection);
        let hold_max = Duration::from_millis(ready.hold_max_ms).min(HOLD_MAX);
        let wanted = Wanted { hold_max, to, connection: Arc::clone(&connection), answer, serves };
        self.wanted.send(wanted).ok().context("this gateway has stopped")?;
        match answered.recv()? {
            Err(why) => {
                tracing::warn!("hand-over: not now: {why}");
                send(&connection, &Left::Refused(why), &[])?;
                Ok(false)
            }
            Ok(estate) => {
                // From here on there is no way back: log and ledger are closed.
                let sent = send(&connection, &Left::Estate, &[estate]);
                let serves = sent.is_ok() && matches!(receive::<Serves>(&connection), Ok(Some(_)));
                let _ = served.send(serves);
                Ok(true)
            }
        }
    }

    /// Why it cannot be, if it cannot.
    fn refusal(&self, ask: &Ask) -> Option<String> {
        const WAY_OUT: &str = "stop this gateway and start the other instead";
        if ask.protocol != PROTOCOL {
            return Some(format!("it speaks version {} of the hand-over, this {PROTOCOL}; {WAY_OUT}", ask.protocol));
        }
        if ask.abi != acp_ebpf::ABI {
            let (theirs, ours) = (ask.abi, acp_ebpf::ABI);
            return Some(format!("its kernel programs are of ABI {theirs}, those at work of {ours}; {WAY_OUT}"));
        }
        let differs = self.offered.same.iter().find(|entry| !ask.same.contains(entry));
        differs.map(|(key, value)| format!("{key} is {value} here and must not change in a hand-over; {WAY_OUT}"))
    }

    fn plane(&self) -> anyhow::Result<Bequest> {
        let plane = self.offered.plane.lock().unwrap_or_else(PoisonError::into_inner);
        plane.bequest().context("the kernel plane cannot be left")
    }

    fn offer(&self, connection: &Socket, bequest: Bequest) -> anyhow::Result<()> {
        let (maps, map_fds): (Vec<_>, Vec<_>) = bequest.maps.into_iter().unzip();
        let offer = Offer {
            pid: std::process::id(),
            address: self.offered.address,
            listeners: self.offered.sockets.len(),
            tier: self.offered.reached.tier,
            why: self.offered.reached.why.clone(),
            maps,
            links: bequest.links.len(),
            cgroup: bequest.cgroup,
        };
        let listeners = self.offered.sockets.iter().map(|listener| listener.try_clone().map(OwnedFd::from));
        let mut fds = listeners.collect::<io::Result<Vec<_>>>()?;
        fds.extend(map_fds);
        fds.extend(bequest.links);
        Ok(send(connection, &Answer::Offered(offer), &fds)?)
    }
}
