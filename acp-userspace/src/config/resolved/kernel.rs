//! The kernel plane, and the sources that are declared to it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Cidr, Mode};

/// `[kernel]`.
#[derive(Debug, Clone)]
pub struct KernelConfig {
    /// Whether the kernel plane is used.
    pub mode: KernelMode,
    /// Whether penalties are enforced, or counted only.
    pub penalties: Mode,
    /// What the operator says of the addresses that connections come from.
    pub client_addresses: ClientAddresses,
    /// Sources that belong to one tenant.
    pub sources: Vec<DeclaredSource>,
    /// Sources that are never refused and never learned of.
    pub exempt: Vec<Cidr>,
    /// How long one user has to be alone on a source before it counts as that user's (default 10 min).
    pub learned_after: Duration,
    /// Where shared sources are written down.
    pub shared_sources: PathBuf,
    /// Loopback may be penalised (`acp dev`, tests, benches).
    pub loopback: bool,
    /// 429s a declared source may ignore within 10 s before it is refused (default 10).
    pub ignored_429_max: u32,
    /// First penalty (default 5 s); doubles to 60 s on repetition.
    pub penalty: Duration,
    /// Interfaces on which a silent penalty's SYNs are dropped.
    pub interfaces: Vec<Arc<str>>,
    /// The gateway's own connections are held in the kernel.
    pub egress_guard: bool,
    /// cgroup2 directory to create the gateway's own node under; `None` = where the process is.
    pub cgroup: Option<PathBuf>,
}

impl Default for KernelConfig {
    /// No sources, and the documented default of everything else.
    fn default() -> Self {
        Self {
            mode: KernelMode::Auto,
            penalties: Mode::Enforce,
            client_addresses: ClientAddresses::Unknown,
            sources: Vec::new(),
            exempt: Vec::new(),
            learned_after: Duration::from_secs(600),
            shared_sources: PathBuf::new(),
            loopback: false,
            ignored_429_max: 10,
            penalty: Duration::from_secs(5),
            interfaces: Vec::new(),
            egress_guard: true,
            cgroup: None,
        }
    }
}

/// What the operator says of the addresses that connections come from (THREATS A1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAddresses {
    /// They may be a load balancer's: what would be refused of learned sources is counted.
    Unknown,
    /// They are the clients' own, or those of the NAT before them: learned sources are refused.
    Direct,
}

/// Whether the kernel plane is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KernelMode {
    /// As much as the host allows.
    Auto,
    /// Refuse to start below tier K2, or K3 where interfaces are named.
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
