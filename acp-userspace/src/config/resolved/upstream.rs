//! Backends, and what the gateway presents to them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Cidr;

/// One `[[upstream]]`.
#[derive(Debug)]
pub struct Upstream {
    /// Its name.
    pub name: Arc<str>,
    /// Host as configured: a name or an address literal.
    pub host: String,
    /// Port (default 80).
    pub port: u16,
    /// Path prefix of the URL, without a trailing slash ("" for none).
    pub base_path: String,
    /// CIDRs it may resolve into although private (THREATS A20).
    pub allow_private: Vec<Cidr>,
    /// Loopback addresses it may resolve into: exact address and port.
    pub allow_loopback: Vec<SocketAddr>,
    /// What the gateway presents to it.
    pub credentials: Credentials,
    /// To connect (default 2 s).
    pub connect_timeout: Duration,
    /// From the last request byte to the response head (default 60 s), then between any two bytes of the body.
    pub read_timeout: Duration,
    /// Idle connections kept per core (default 64).
    pub idle_connections_max: usize,
    /// How long an idle connection is kept (default 55 s, under nginx's 75 s).
    pub idle_timeout: Duration,
}

/// What the gateway presents upstream.
#[derive(Debug, Clone)]
pub enum Credentials {
    /// Nothing.
    None,
    /// The client's own token, unchanged. Refused for MCP routes (no token passthrough).
    Forward,
    /// A service credential: header name and value, read from a file (THREATS B10).
    Service {
        /// Lower-case header name, `authorization` by default.
        header: String,
        /// The value as sent.
        value: Secret,
        /// The file it came from.
        file: PathBuf,
    },
}

/// A secret that does not print and is compared in constant time.
#[derive(Clone)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// Wraps secret bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes.into())
    }

    /// The bytes, for the one place that sends them.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}
