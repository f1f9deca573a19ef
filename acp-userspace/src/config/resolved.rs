//! What the configuration means: every default filled in, every reference resolved, every number in base units.
//!
//! Built by `config::resolve` only; the rest of the gateway treats it as facts. Amounts are integers: durations in
//! [`Duration`], money in micro-dollars (budgets) and pico-dollars (unit prices).

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::places::Places;

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

/// `[listen]`.
#[derive(Debug)]
pub struct Listen {
    /// The address every worker listens on.
    pub address: SocketAddr,
    /// The URL clients use; audience checks and metadata are built from it, never from Host.
    pub public_url: String,
    /// Proxies whose PROXY v2 / X-Forwarded-For is believed; inert for the kernel.
    pub trusted_proxies: Vec<Cidr>,
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

/// `[identity]` and `[[identity.issuer]]`.
#[derive(Debug)]
pub struct IdentityConfig {
    /// Trusted issuers; at least one.
    pub issuers: Vec<Arc<Issuer>>,
    /// Largest `exp - iat` accepted (default 24 h); bounds the revocation set.
    pub token_lifetime_max: Duration,
    /// Clock leeway on exp and nbf (default 30 s).
    pub leeway: Duration,
    /// Entries of each core's verified-token cache (default 8 192).
    pub cache_entries: usize,
    /// URL of the protected resource metadata, for challenges (RFC 9728 §5.1).
    pub resource_metadata: Option<String>,
    /// `acp dev` only: accept the throwaway issuer. `acp run` refuses it.
    pub dev_issuer: bool,
}

/// One `[[identity.issuer]]`.
#[derive(Debug)]
pub struct Issuer {
    /// Stable name of the entry (default: the issuer URL); part of every tenant and user id.
    pub name: Arc<str>,
    /// Exact `iss`.
    pub issuer: Arc<str>,
    /// Accepted audiences; a token needs one of them, and the route's if the route names some.
    pub audience: Vec<String>,
    /// Where the keys come from.
    pub jwks: JwksSource,
    /// Which claims mean what.
    pub claims: ClaimNames,
    /// Which tenants it may assert.
    pub tenants: Tenants,
    /// CIDRs the IdP's host may resolve into although private.
    pub allow_private: Vec<Cidr>,
}

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JwksSource {
    /// `<issuer>/.well-known/openid-configuration` → `jwks_uri`.
    Discovery,
    /// This URL.
    Url(String),
    /// This file, re-read when it changes.
    File(PathBuf),
}

/// Claim names of an issuer. A name is looked up as one top-level claim, never split at dots.
#[derive(Debug, Clone)]
pub struct ClaimNames {
    /// Tenant (default `org_id`).
    pub tenant: String,
    /// Scopes: a space-separated string or an array of strings (default `scope`).
    pub scopes: String,
    /// Roles: likewise (default `roles`).
    pub roles: String,
    /// Claims shown to policies under `principal.claims`.
    pub custom: Vec<String>,
}

/// Which tenants an issuer may assert (THREATS A7).
#[derive(Debug, Clone)]
pub enum Tenants {
    /// Any value of the claim (`["*"]`; only with a single issuer).
    Any,
    /// These values.
    Listed(Vec<String>),
    /// Every token belongs to this tenant whatever it claims.
    Fixed(Arc<str>),
}

/// `[safety]`.
#[derive(Debug, Default)]
pub struct SafetyConfig {
    /// Rules in file order; of several that match a finding the strictest acts (block > redact > mask > flag).
    pub rules: Vec<SafetyRule>,
}

/// One `[[safety.rule]]`.
#[derive(Debug, Clone)]
pub struct SafetyRule {
    /// Stable id, for records (default `safety.rule.N`).
    pub id: Arc<str>,
    /// What it looks for.
    pub detect: Vec<Detector>,
    /// What happens.
    pub action: ContentAction,
    /// Which way.
    pub direction: Direction,
    /// Route names it is limited to; empty = all.
    pub routes: Vec<String>,
    /// Enforce or observe.
    pub mode: Mode,
}

/// What can be detected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Detector {
    /// US social security number.
    UsSsn = 0,
    /// E-mail address.
    Email = 1,
    /// Payment card number (ISO/IEC 7812, Luhn).
    CreditCard = 2,
    /// Telephone number.
    Phone = 3,
}

impl Detector {
    /// Every detector, in numeric order.
    pub const ALL: [Self; 4] = [Self::UsSsn, Self::Email, Self::CreditCard, Self::Phone];

    /// The name in configuration, records and placeholders.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UsSsn => "us_ssn",
            Self::Email => "email",
            Self::CreditCard => "credit_card",
            Self::Phone => "phone",
        }
    }
}

/// What a rule does with a finding, in rising strictness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentAction {
    /// Record only.
    Flag,
    /// Keep the last four characters, star the rest.
    Mask,
    /// Replace by `[REDACTED:<type>]`.
    Redact,
    /// Refuse the request, or withhold the answer.
    Block,
}

/// Which way content flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Client to upstream.
    Request,
    /// Upstream to client.
    Response,
    /// Both ways.
    #[default]
    Both,
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

/// `[usage]`.
#[derive(Debug)]
pub struct UsageConfig {
    /// Rate limits.
    pub rate_limits: Vec<RateLimit>,
    /// Budgets.
    pub budgets: Vec<Budget>,
    /// Loop guard, if configured.
    pub loop_guard: Option<LoopGuard>,
    /// Denied requests per subject and minute before denials answer 429 (default 60; THREATS A30).
    pub denials_per_minute: u32,
    /// Slots of the limiter tables over all tenants (default 65 536).
    pub slots: usize,
    /// Largest share of the slots one tenant may hold, in percent (default 25).
    pub slots_tenant_share_percent: u8,
    /// Priced calls one user may have in flight where a budget exists (default 64: a busy client's connections;
    /// THREATS A12).
    pub calls_in_flight_max: u32,
    /// Largest share of a tenant budget's remainder that one user's open holds may take, in percent (default 25;
    /// THREATS A12). A user's only open call is exempt, so that the last of a budget can be spent.
    pub holds_user_share_percent: u8,
    /// Where the spend ledger lives.
    pub ledger: PathBuf,
}

impl Default for UsageConfig {
    /// No limits and no budgets, and the documented default of everything else.
    fn default() -> Self {
        Self {
            rate_limits: Vec::new(),
            budgets: Vec::new(),
            loop_guard: None,
            denials_per_minute: 60,
            slots: 65_536,
            slots_tenant_share_percent: 25,
            calls_in_flight_max: 64,
            holds_user_share_percent: 25,
            ledger: PathBuf::new(),
        }
    }
}

/// Whom a limit or budget counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Per {
    /// Each user.
    User,
    /// Each tenant.
    Tenant,
}

/// One `[[usage.rate_limit]]`: `requests` per `window`, at once up to `burst` (GCRA).
#[derive(Debug, Clone)]
pub struct RateLimit {
    /// Stable id, also the policy name in `RateLimit-Policy` (default `user`/`tenant`, numbered when repeated).
    pub id: Arc<str>,
    /// Whom it counts.
    pub per: Per,
    /// Requests per window, ≥ 1.
    pub requests: u64,
    /// The window.
    pub window: Duration,
    /// Requests admitted at once (default: `requests`).
    pub burst: u64,
    /// Enforce or observe.
    pub mode: Mode,
    /// Kernel penalty for a declared source whose tenant ignores this limit's 429s (default true).
    pub kernel: bool,
}

/// One `[[usage.budget]]`.
#[derive(Debug, Clone)]
pub struct Budget {
    /// Stable id: spend survives edits of the cap (default `user`/`tenant`, numbered when repeated).
    pub id: Arc<str>,
    /// Whose spend.
    pub per: Per,
    /// Cap per period, micro-dollars.
    pub max_spend_microusd: u64,
    /// Length of a period; periods are aligned to the Unix epoch.
    pub period: Duration,
    /// Enforce or observe.
    pub mode: Mode,
}

/// `[usage.loop_guard]`.
#[derive(Debug, Clone)]
pub struct LoopGuard {
    /// Identical calls of one human within the window that make a loop.
    pub identical_calls: u32,
    /// The window.
    pub window: Duration,
    /// Enforce or observe.
    pub mode: Mode,
}

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

/// What a route's bodies say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// Plain HTTP tools, listed one by one.
    Http,
    /// Model Context Protocol over streamable HTTP.
    Mcp,
}

/// One `[[route]]`.
#[derive(Debug)]
pub struct Route {
    /// Index into [`Config::routes`].
    pub index: usize,
    /// Its name: the path, unless named.
    pub name: Arc<str>,
    /// Path prefix, normalised: starts with `/`, no trailing slash; matches whole segments.
    pub path: String,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// What its bodies say.
    pub protocol: Protocol,
    /// Scopes every call needs; also the filter of `x-user-scope`. Empty = all the token's scopes pass.
    pub scopes: Vec<String>,
    /// Audiences accepted here; empty = the issuer's.
    pub audience: Vec<String>,
    /// Whether its answers may be event streams; then no response rule applies to it (the configuration sees to that).
    pub streaming: bool,
    /// Tools, in file order.
    pub tools: Vec<Arc<Tool>>,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Request content types besides `application/json`.
    pub content_types: Vec<String>,
    /// Response headers passed besides the default allow-list, lower case.
    pub response_headers: Vec<String>,
    /// Whether Cookie is passed on (default false).
    pub cookies: bool,
    /// FIN from the client is not a disconnect (default false).
    pub half_close: bool,
}

/// One `[[route.tool]]`.
#[derive(Debug)]
pub struct Tool {
    /// Index over all tools of the configuration.
    pub index: usize,
    /// Full id, e.g. `crm/contacts`; the Cedar entity `Tool::"crm/contacts"`.
    pub name: Arc<str>,
    /// How a request is recognised: HTTP method and path below the route, or the MCP tool's own name.
    pub matcher: ToolMatch,
    /// Verb, for `tool:<name>:<verb>` scopes (from configuration, never from live annotations).
    pub verb: Arc<str>,
    /// Price of one call, pico-dollars.
    pub price_picousd: u64,
    /// Data labels: policy attributes, and what the auditor asks by.
    pub labels: Vec<Arc<str>>,
}

impl Tool {
    /// Price of one call in micro-dollars, rounded up.
    #[must_use]
    pub const fn price_microusd(&self) -> u64 {
        self.price_picousd.div_ceil(1_000_000)
    }
}

/// How a tool is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolMatch {
    /// Method and path pattern below the route: segments, `*` for exactly one segment. Empty = the route itself.
    Http {
        /// Upper-case method.
        method: String,
        /// Segments.
        segments: Vec<Segment>,
    },
    /// `params.name` of `tools/call`, byte for byte.
    Mcp {
        /// The upstream's name of the tool.
        name: String,
    },
}

/// One segment of a tool's path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text, after normalisation.
    Literal(String),
    /// Any one segment.
    Any,
}

/// `[audit]`.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// Where rings, segments and keys live.
    pub dir: PathBuf,
    /// When an intent counts as logged.
    pub durability: Durability,
    /// Bytes of each worker's ring (default 8 MiB: 1 s at 4 000 requests/s).
    pub ring_bytes: usize,
    /// Bytes of a segment before it is closed (default 64 MiB).
    pub segment_bytes: u64,
    /// Age of a segment before it is closed (default 24 h).
    pub segment_age: Duration,
    /// Free bytes below which new work is refused (default 256 MiB).
    pub min_free_bytes: u64,
    /// Between signed heads (default 60 s).
    pub head_interval: Duration,
}

/// When an intent counts as logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// In the mapped ring; fsync per batch, at most 1 s later.
    Batch,
    /// After a group-committed fsync.
    Fsync,
}

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

/// `[admin]`.
#[derive(Debug, Clone)]
pub struct AdminConfig {
    /// Unix socket of everything that changes state, mode 0600.
    pub socket: PathBuf,
    /// Health and metrics, loopback only.
    pub metrics: SocketAddr,
}
