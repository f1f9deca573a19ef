//! Listening sockets: one per worker on the same address (`SO_REUSEPORT`), opened on the main thread before any other
//! exists, kept by the supervisor so that a restarted worker finds its queue again.
//!
//! Two moments when the runtime's accept is not enough: a process without descriptors (`Reserve`), and the beginning
//! of a drain (`close`).

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use socket2::{Domain, Protocol, Socket, Type};

/// Accept queue; the kernel caps it at `net.core.somaxconn` (4 096 by default since Linux 5.4).
const BACKLOG: i32 = 4096;

/// The same while the worker does not keep up. What waits in a long queue has been given up by the time it is accepted;
/// a SYN that finds a short one full costs nothing, and is sent again in a second.
const BACKLOG_CROWDED: i32 = 256;

/// Opens `count` blocking listeners on `address` (io_uring wants them so; the epoll driver's worker switches its own).
/// With port 0 the first one's port is used for all.
///
/// # Errors
/// The address is in use, not ours, or needs a privilege that is missing.
pub fn open(address: SocketAddr, count: usize) -> io::Result<Vec<TcpListener>> {
    let first = open_one(address)?;
    let address = first.local_addr()?;
    let mut all = vec![first];
    for _ in 1..count {
        all.push(open_one(address)?);
    }
    Ok(all)
}

fn open_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_port(true)?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it: one system call saved per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections turned away in one go when there are no descriptors.
const SHED_MAX: usize = 256;

/// A descriptor kept for the moment when there are no others: without it, connections would wait in the queue until
/// some other connection ends, and their clients would not learn why.
#[derive(Debug, Default)]
pub(super) struct Reserve(Option<File>);

impl Reserve {
    /// Sets one aside, if there is one.
    pub(super) fn new() -> Self {
        let mut reserve = Self::default();
        reserve.refill();
        reserve
    }

    fn refill(&mut self) {
        if self.0.is_none() {
            self.0 = File::open("/dev/null").ok();
        }
    }

    /// Resets what waits in the queue now, and says how many there were. Never blocks; nothing else may be accepting
    /// from `listener`.
    pub(super) fn shed(&mut self, listener: &TcpListener) -> usize {
        self.0 = None;
        let mut shed = 0;
        while shed < SHED_MAX {
            let Some((stream, _)) = take(listener) else { break };
            // A reset leaves no TIME_WAIT behind, and the client learns at once.
            let _ = crate::kernel::socket::reset_on_close(stream.as_raw_fd());
            shed += 1;
        }
        self.refill();
        shed
    }
}

/// Whether accept failed because this process, or the host, has no descriptor left.
pub(super) fn out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Makes the accept queue short while the worker does not keep up, and long again.
pub(super) fn crowd(listener: &TcpListener, crowded: bool) {
    let backlog = if crowded { BACKLOG_CROWDED } else { BACKLOG };
    // SAFETY: listen(2) takes no memory; the descriptor is the listener's own and open. A failure changes nothing.
    unsafe { libc::listen(listener.as_raw_fd(), backlog) };
}

/// A connection that waits already; never blocks. Nothing else may be accepting from `listener`.
pub(super) fn take(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    if is_waiting(listener) { listener.accept().ok() } else { None }
}

/// Whether a connection can be accepted without waiting. Only the worker takes from its queue, so it stays there.
fn is_waiting(listener: &TcpListener) -> bool {
    let mut poll = libc::pollfd { fd: listener.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `poll` is one live pollfd; a zero timeout does not block.
    let ready = unsafe { libc::poll(&raw mut poll, 1, 0) };
    ready == 1 && poll.revents & libc::POLLIN != 0
}

/// Takes what the queue holds, and closes it: the kernel refuses whoever comes later, or gives them to another process
/// that listens on the port. A pending accept ends with an error. Handshakes that end between the last look at the queue
/// and its closing, some microseconds, are reset.
pub(super) fn close(listener: &TcpListener) -> Vec<(TcpStream, SocketAddr)> {
    let mut taken = Vec::new();
    // The ring's pending accept may take a connection from under a look at the queue: nothing here may wait for one.
    if listener.set_nonblocking(true).is_ok() {
        while taken.len() < BACKLOG as usize
            && let Ok(accepted) = listener.accept()
        {
            taken.push(accepted);
        }
    }
    // SAFETY: shutdown(2) takes no memory; the descriptor is the listener's own and open.
    unsafe { libc::shutdown(listener.as_raw_fd(), libc::SHUT_RD) };
    taken
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Read, Write};

    use super::*;

    fn queue(waiting: usize) -> (TcpListener, Vec<TcpStream>) {
        let listener = open("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        (listener, (0..waiting).map(|_| TcpStream::connect(address).unwrap()).collect())
    }

    #[test]
    fn who_waits_without_a_descriptor_for_it_learns_at_once() {
        let (listener, clients) = queue(3);
        let mut reserve = Reserve::new();
        assert_eq!((reserve.shed(&listener), reserve.shed(&listener)), (3, 0), "and an empty queue is not waited for");
        assert!(reserve.0.is_some(), "there is one for the next time");
        for mut client in clients {
            assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
    }

    #[test]
    fn closing_gives_what_is_queued_and_refuses_who_comes_later() {
        let (listener, clients) = queue(3);
        let address = listener.local_addr().unwrap();
        let supervisors = listener.try_clone().unwrap();
        let mut taken = close(&listener);
        assert_eq!(taken.len(), 3);
        for ((server, peer), mut client) in taken.iter_mut().zip(clients) {
            assert_eq!(*peer, client.local_addr().unwrap());
            server.write_all(b"x").unwrap();
            client.read_exact(&mut [0; 1]).unwrap();
        }
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert!(supervisors.accept().is_err());
        assert!(close(&listener).is_empty(), "again, or by a worker that died before: nothing happens");
    }

    #[test]
    fn listeners_share_one_port_chosen_by_the_kernel() {
        let listeners = open("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }
}
