//! Connections to upstreams: per worker, so without locks, reused last-in-first-out.
//!
//! The pool's key is (address, TLS identity, credential, generation) (THREATS A20); upstreams are plain HTTP so far,
//! and credential and generation live in the snapshot's generation, so the key is (upstream, address, generation). An
//! idle connection that says anything, or was closed meanwhile, is not used again:
//! bytes beyond a framed answer would be read as the answer to somebody else's request.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use hashbrown::HashMap;

use super::runtime::{self, TcpStream};

/// Whose connections may be exchanged for one another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct PoolKey {
    /// Index of the upstream in the generation's configuration.
    pub upstream: usize,
    /// The resolved and checked address.
    pub address: SocketAddr,
    /// Snapshot generation of configuration and credentials.
    pub generation: u64,
}

struct Idle {
    stream: TcpStream,
    since_ns: u64,
}

/// A worker's idle upstream connections.
#[derive(Default)]
pub(super) struct Pool {
    idle: RefCell<HashMap<PoolKey, Vec<Idle>>>,
}

/// A connection in use.
pub(super) struct Leased {
    /// The socket.
    pub stream: TcpStream,
    /// Where it goes back to.
    pub key: PoolKey,
    /// It served a request before: its peer may have closed it in the meantime.
    pub reused: bool,
    /// The upstream took the whole request; a connection that it did not is not used again.
    pub intact: bool,
}

impl Pool {
    /// An idle connection of `key`, the one used last first. Each is looked at, however short it was idle: one system call,
    /// against an answer that one client's upstream sends behind its own for the next client to read.
    #[must_use]
    pub(super) fn take(&self, key: PoolKey) -> Option<Leased> {
        let mut idle = self.idle.borrow_mut();
        let of_key = idle.get_mut(&key)?;
        while let Some(Idle { stream, .. }) = of_key.pop() {
            if is_silent(&stream) {
                return Some(Leased { stream, key, reused: true, intact: true });
            }
        }
        None
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// The connect's own, or `TimedOut` after `timeout`.
    pub(super) async fn connect(&self, key: PoolKey, timeout: Duration) -> io::Result<Leased> {
        let stream = runtime::timeout(timeout, TcpStream::connect_addr(key.address))
            .await
            .unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))?;
        stream.set_nodelay(true)?;
        Ok(Leased { stream, key, reused: false, intact: true })
    }

    /// Gives back a connection whose last answer was read to its framed end, nothing more.
    pub(super) fn give(&self, leased: Leased, now_ns: u64, kept_max: usize) {
        let mut idle = self.idle.borrow_mut();
        let of_key = idle.entry(leased.key).or_default();
        if leased.intact && of_key.len() < kept_max {
            of_key.push(Idle { stream: leased.stream, since_ns: now_ns });
        }
    }

    /// Closes what was idle for too long, and everything of other generations.
    pub(super) fn expire(&self, now_ns: u64, generation: u64, idle_timeout: impl Fn(usize) -> Duration) {
        self.idle.borrow_mut().retain(|key, of_key| {
            let oldest_ns = now_ns.saturating_sub(idle_timeout(key.upstream).as_nanos() as u64);
            of_key.retain(|idle| idle.since_ns > oldest_ns);
            key.generation == generation && !of_key.is_empty()
        });
    }

    /// Idle connections.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.idle.borrow().values().map(Vec::len).sum()
    }
}

/// Neither closed nor talking out of turn.
fn is_silent(stream: &TcpStream) -> bool {
    let mut byte = 0_u8;
    // SAFETY: one byte is read into a live u8; MSG_PEEK leaves it in the queue, MSG_DONTWAIT never blocks.
    let got = unsafe { libc::recv(stream.as_raw_fd(), (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
    got < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::mono_ns;
    use crate::server::runtime::Driver;
    use std::io::Write;
    use std::net::TcpListener;

    fn key(listener: &TcpListener) -> PoolKey {
        PoolKey { upstream: 0, address: listener.local_addr().unwrap(), generation: 1 }
    }

    #[test]
    fn threat_a20_reuses_the_last_connection_and_drops_closed_or_talking_ones() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let key = key(&listener);
        runtime::run(Driver::UringDefer, |_| async move {
            let pool = Pool::default();
            let second = Duration::from_secs(1);
            pool.give(pool.connect(key, second).await.unwrap(), mono_ns(), 4);
            let closing = listener.accept().unwrap().0;
            drop(closing);
            assert!(pool.take(key).is_none(), "the peer closed it");

            pool.give(pool.connect(key, second).await.unwrap(), mono_ns(), 4);
            let mut talking = listener.accept().unwrap().0;
            talking.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
            assert!(pool.take(key).is_none(), "the peer spoke out of turn");

            pool.give(pool.connect(key, second).await.unwrap(), mono_ns(), 4);
            let quiet = listener.accept().unwrap().0;
            assert!(pool.take(PoolKey { generation: 2, ..key }).is_none(), "another generation's");
            let quiet_one = pool.take(key).unwrap();
            assert!(quiet_one.reused);
            drop(quiet);

            pool.give(Leased { intact: false, ..quiet_one }, mono_ns(), 4);
            assert!(pool.take(key).is_none(), "it did not take its request");
        })
        .unwrap();
    }

    #[test]
    fn keeps_no_more_than_its_bound_and_expires() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let key = key(&listener);
        runtime::run(Driver::UringDefer, |_| async move {
            let pool = Pool::default();
            for _ in 0..3 {
                pool.give(pool.connect(key, Duration::from_secs(1)).await.unwrap(), 1_000, 2);
            }
            assert_eq!(pool.len(), 2);
            pool.expire(1_000 + 55_000_000_000, 1, |_| Duration::from_secs(56));
            assert_eq!(pool.len(), 2);
            pool.expire(1_000 + 56_000_000_000, 1, |_| Duration::from_secs(56));
            assert_eq!(pool.len(), 0);
        })
        .unwrap();
    }
}
