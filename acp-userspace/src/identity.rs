//! Identity: who is calling. A bearer token becomes [`Authenticated`], or the request ends here.

use std::sync::Arc;

use crate::config::resolved::Issuer;
use crate::ids::{Key128, TenantId, UserId};

/// One normalised identity, whatever the issuer calls its claims. Made once per verified token, shared by every
/// request that carries it. Holds nothing that depends on a route (THREATS A6).
#[derive(Debug)]
pub struct Identity {
    /// The entry that vouches for the token.
    pub issuer: Arc<Issuer>,
    /// `sub` within that entry.
    pub user: UserId,
    /// The tenant the entry asserts.
    pub tenant: TenantId,
    /// Table key of `user`.
    pub user_key: Key128,
    /// Table key of `tenant`.
    pub tenant_key: Key128,
    /// Scopes, each a valid RFC 6749 §3.3 scope-token, in token order without repeats.
    pub scopes: Vec<Arc<str>>,
    /// Roles, without repeats.
    pub roles: Vec<Arc<str>>,
    /// The configured custom claims that the token has.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// `aud`, as a list.
    pub audience: Vec<String>,
    /// `exp`, seconds since the epoch.
    pub expires: u64,
    /// `nbf`.
    pub not_before: Option<u64>,
    /// `iat`.
    pub issued_at: Option<u64>,
    /// The acting client: `azp`, else `client_id`.
    pub client: Option<Arc<str>>,
    /// The key that verified it.
    pub key_id: Arc<str>,
    /// Digest of everything a policy can read of the identity (issuer entry, sub, tenant, scopes, roles, claims):
    /// the policy cache's key part.
    pub digest: Key128,
    /// Keyed hash of the token: names it in the audit without revealing it.
    pub token_hash: Key128,
}

/// Proof that a token verified and passed every per-request check of the route.
#[derive(Debug, Clone)]
pub struct Authenticated {
    identity: Arc<Identity>,
}

impl Authenticated {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// For tests of later layers only.
    #[cfg(test)]
    pub(crate) fn for_test(identity: Arc<Identity>) -> Self {
        Self { identity }
    }
}
