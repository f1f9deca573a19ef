//! What the configuration means: every default filled in, every reference resolved, every number in base units.
//!
//! Built by `config::resolve` only; the rest of the gateway treats it as facts. Each section of the file that is more than
//! a few lines has a file of its own below. Amounts are integers: durations in [`std::time::Duration`], money in
//! micro-dollars (budgets) and pico-dollars (unit prices).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use super::places::Places;

mod audit;
mod groups;
mod identity;
mod kernel;
mod listen;
mod route;
mod safety;
mod upstream;
mod usage;

pub use audit::{AuditConfig, Durability};
pub use groups::Group;
pub use identity::{ClaimNames, IdentityConfig, Issuer, JwksSource, Tenants};
pub use kernel::{ClientAddresses, DeclaredSource, KernelConfig, KernelMode};
pub use listen::{Driver, Listen};
pub use route::{ContentCoding, FORWARDED_METHODS, Protocol, Route, Segment, Tool, ToolMatch};
pub use safety::{
    ContentAction, CustomDetector, Detector, DetokenizeRule, Direction, SafetyConfig, SafetyRule, TokenKey,
    TokensConfig,
};
pub use upstream::{Credentials, Secret, Upstream};
pub use usage::{Budget, LoopGuard, Per, RateLimit, Runaway, UsageConfig};

/// The whole configuration of one generation.
#[derive(Debug)]
pub struct Config {
    /// Where clients connect, and the bounds on what they may send.
    pub listen: Listen,
    /// Token issuers.
    pub identity: IdentityConfig,
    /// Content rules, in file order.
    pub safety: SafetyConfig,
    /// Cedar policies.
    pub policy: PolicyConfig,
    /// Limits, budgets, loop guard.
    pub usage: UsageConfig,
    /// Backends, by index from [`Route::upstream`].
    pub upstreams: Vec<Arc<Upstream>>,
    /// Routes, longest path first.
    pub routes: Vec<Arc<Route>>,
    /// The audit log.
    pub audit: AuditConfig,
    /// The kernel plane.
    pub kernel: KernelConfig,
    /// Health, metrics and the admin socket.
    pub admin: AdminConfig,
    /// SHA-256 of the file's bytes (policy files have their own digest), for the record.
    pub digest: [u8; 32],
    /// Where its parts stand in the file.
    pub places: Places,
}

impl Config {
    /// Rules that decide rather than only record what they would have decided (THREATS B1): the policies count as one.
    #[must_use]
    pub fn enforced_rules(&self) -> usize {
        let usage = &self.usage;
        let content = self.safety.rules.iter().map(|rule| rule.mode);
        let limits = usage.rate_limits.iter().map(|limit| limit.mode);
        let budgets = usage.budgets.iter().map(|budget| budget.mode);
        let guard = usage.loop_guard.iter().map(|guard| guard.mode);
        let score = self.safety.block_score.map(|_| self.safety.score_mode);
        let all = content.chain(score).chain(limits).chain(budgets).chain(guard).chain([self.policy.mode]);
        all.filter(|mode| *mode == Mode::Enforce).count()
    }
}

/// An address block.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Cidr {
    /// Network address, host bits zero.
    pub address: IpAddr,
    /// Prefix length, 0..=32 or 0..=128.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `ip` lies in the block. An IPv4-mapped IPv6 address is judged as the IPv4 address it carries.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(ip)) => {
                self.prefix == 0 || (u32::from(net) ^ u32::from(ip)) >> (32 - u32::from(self.prefix)) == 0
            }
            (IpAddr::V6(net), IpAddr::V6(ip)) => {
                self.prefix == 0 || (u128::from(net) ^ u128::from(ip)) >> (128 - u32::from(self.prefix)) == 0
            }
            _ => false,
        }
    }
}

/// Whether a rule acts or only records what it would have done (THREATS B1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Decide.
    #[default]
    Enforce,
    /// Record the decision, let the request pass.
    Observe,
}

/// `[policy]`.
#[derive(Debug, Default)]
pub struct PolicyConfig {
    /// Cedar sources: (name, text), read when the configuration was.
    pub sources: Vec<(String, String)>,
    /// The built-in rule that maps `tool:<name>:<verb>` scopes to a permit (default true); shown by `acp policy`.
    pub scope_rule: bool,
    /// Enforce or observe.
    pub mode: Mode,
}

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Unix socket of everything that changes state, mode 0600.
    pub socket: PathBuf,
    /// Health and metrics, loopback only.
    pub metrics: SocketAddr,
}
