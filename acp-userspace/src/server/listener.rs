//! Listening sockets: one per worker on the same address (`SO_REUSEPORT`), opened on the main thread before any other
//! exists, kept by the supervisor so that a restarted worker finds its queue again.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

/// Accept queue; the kernel caps it at `net.core.somaxconn` (4 096 by default since Linux 5.4).
const BACKLOG: i32 = 4096;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_one_port_chosen_by_the_kernel() {
        let listeners = open("127.0.0.1:0".parse().unwrap(), 3).unwrap();
        let ports: Vec<u16> = listeners.iter().map(|l| l.local_addr().unwrap().port()).collect();
        assert!(ports[0] != 0 && ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }
}
