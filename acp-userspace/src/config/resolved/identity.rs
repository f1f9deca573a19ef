//! Whose tokens are believed: issuers, where their keys are, what their claims mean.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Cidr;

/// `[identity]` and `[[identity.issuer]]`.
#[derive(Debug)]
pub struct IdentityConfig {
    /// Trusted issuers; at least one.
    pub issuers: Vec<Arc<Issuer>>,
    /// Largest `exp - iat` accepted (default 24 h); bounds the revocation set.
    pub token_lifetime_max: Duration,
    /// Clock leeway on exp and nbf (default 30 s).
    pub leeway: Duration,
    /// Not ready while the kernel calls the clock unsynchronised.
    pub require_sync: bool,
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
