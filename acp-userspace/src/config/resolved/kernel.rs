//! The kernel plane, and the sources that are declared to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Cidr;

/// `[kernel]`.
#[derive(Debug, Clone)]
pub struct KernelConfig {
    /// Whether the kernel plane is used.
    pub mode: KernelMode,
    /// Sources that belong to one tenant.
    pub sources: Vec<DeclaredSource>,
    /// Loopback may be penalised (`acp dev`, tests, benches).
    pub loopback: bool,
    /// 429s a declared source may ignore within 10 s before it is refused (default 10).
    pub ignored_429_max: u32,
    /// First penalty (default 5 s); doubles to 60 s on repetition.
    pub penalty: Duration,
    /// cgroup2 directory to create the gateway's own node under; `None` = where the process is.
    pub cgroup: Option<PathBuf>,
}

/// Whether the kernel plane is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelMode {
    /// As much as the host allows.
    Auto,
    /// Refuse to start below tier K2.
    Required,
    /// User space only.
    Off,
}

/// One `[[kernel.source]]`.
#[derive(Debug, Clone)]
pub struct DeclaredSource {
    /// The block.
    pub cidr: Cidr,
    /// The tenant claim it belongs to.
    pub tenant: Arc<str>,
    /// The issuer entry's name; with one issuer, that one.
    pub issuer: Arc<str>,
}
