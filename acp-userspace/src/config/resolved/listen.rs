//! Where clients connect, and the bounds on what they may send.

use std::net::SocketAddr;
use std::time::Duration;

use super::Cidr;

/// `[listen]`.
#[derive(Debug)]
pub struct Listen {
    /// The address every worker listens on.
    pub address: SocketAddr,
    /// The URL clients use; audience checks and metadata are built from it, never from Host.
    pub public_url: String,
    /// Proxies whose PROXY v2 / X-Forwarded-For is believed; inert for the kernel.
    pub trusted_proxies: Vec<Cidr>,
    /// Their connections begin with a PROXY header of version 2.
    pub proxy_protocol: bool,
    /// Worker threads, one per core; 0 in the file means all cores of the process' affinity mask.
    pub workers: usize,
    /// Which I/O driver the workers use.
    pub driver: Driver,
    /// Bytes of a request or response head (default 16 KiB: twice nginx's usual 8 KiB, for long tokens).
    pub head_bytes_max: usize,
    /// Fields of a head (default 64).
    pub headers_max: usize,
    /// Bytes of a request body unless the route says otherwise (default 8 MiB).
    pub body_bytes_max: usize,
    /// Connections over all workers (default 10 000); further ones are closed at accept.
    pub connections_max: usize,
    /// Bytes of bodies buffered over all workers (default 256 MiB).
    pub buffered_bytes_max: usize,
    /// The same for one tenant (default 64 MiB).
    pub buffered_bytes_per_tenant_max: usize,
    /// From accept, or the previous answer's end plus first byte, to the end of the head (default 10 s).
    pub head_timeout: Duration,
    /// For the whole body (default 30 s).
    pub body_timeout: Duration,
    /// Between requests of a kept-alive connection (default 75 s, nginx's).
    pub idle_timeout: Duration,
    /// For a client to take an answer's bytes, per write (default 30 s).
    pub write_timeout: Duration,
    /// Unread body drained after an early answer before the connection is closed instead (default 64 KiB).
    pub drain_bytes_max: usize,
    /// After SIGTERM, before connections are cut (default 30 s).
    pub drain_timeout: Duration,
}

/// Which I/O driver the workers use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// io_uring as far as the kernel has it, else epoll.
    Auto,
    /// epoll, even where io_uring would work.
    Epoll,
}
