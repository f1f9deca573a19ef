//! Identity: who is calling. A bearer token becomes [`Authenticated`], or the request ends here.
//!
//! [`authenticate`] is the one door. It finds the token's verified claims on the connection, in the core's cache, or by
//! verifying it (RS256, RFC 8725, RFC 9068), and then, *on every call*, checks what can change between two requests:
//! issuer entry and key still current, `exp`, `nbf`, lifetime, revocation, and the route's audience (THREATS A6). What
//! no route can loosen (`alg`, `typ`, `crit`, `cnf`, the claims' forms) is judged once, before anything is cached.
//!
//! Left to others: fetching keys (`control::jwks`), scopes a call needs (policy), what the failure looks like on the
//! wire ([`IdentityError::reason`], [`Challenge`]). No I/O, no clock: the snapshot ([`Trust`]) and `now` are parameters.
//!
//! Cost: a connection or core hit is a hash of 32 bytes and a comparison of the token, about a thousand instructions with
//! the checks of every request; cold 28 µs (20 of it RSA-2048) on a two-core VM (`benches/identity.rs`).

use std::sync::Arc;

use crate::clock::Now;
use crate::config::resolved::{IdentityConfig, Issuer, Route};
use crate::ids::{Key128, TenantId, UserId};

mod cache;
mod challenge;
pub mod dev;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod json;
pub mod jwks;
pub(crate) mod keys;
mod revocation;
mod token;
mod verify;

pub use cache::{CacheCounts, ConnectionToken, TokenCache};
pub use challenge::Challenge;
pub use error::{IdentityError, TokenFault};
pub use keys::{IssuerKeys, KeyState, Keys};
pub use revocation::{REVOCATIONS_MAX, Revocation, Revocations, TooManyRevocations};
pub use token::TOKEN_BYTES_MAX;
pub use verify::TokenHashKey;

use cache::{TokenHash, Verified};

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

/// What tokens are judged against: the parts of one snapshot, so that no request sees two (THREATS A29).
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// Issuers and bounds.
    pub config: &'a IdentityConfig,
    /// Keys made for exactly this configuration ([`Keys::for_config`]).
    pub keys: &'a Keys,
    /// What is no longer trusted.
    pub revoked: &'a Revocations,
}

/// Who sent this request to this route.
///
/// `authorization` yields the value of every Authorization field; `cache` is the core's, `last` the connection's.
///
/// # Errors
/// See [`IdentityError`]. After [`IdentityError::UnknownKey`] the caller may ask `control::jwks` for the key, wait at
/// most a second, and try once more with a new snapshot.
pub fn authenticate<'a>(
    mut authorization: impl Iterator<Item = &'a [u8]>,
    trust: Trust<'_>,
    route: &Route,
    cache: &mut TokenCache,
    last: &mut ConnectionToken,
    now: Now,
) -> Result<Authenticated, IdentityError> {
    let field = authorization.next().ok_or(IdentityError::MissingToken)?;
    if authorization.next().is_some() {
        return Err(IdentityError::DuplicateAuthorization);
    }
    let token = bearer(field)?;
    let hash = cache.hash(token);
    if let Some(verified) = last.get(hash, token).filter(|verified| verified.is_current(trust)) {
        cache.counts.connection_hits += 1;
        return admit(verified, trust, route, now);
    }
    let verified = look_up(token, hash, trust, cache, now)?;
    let admitted = admit(&verified, trust, route, now);
    last.set(hash, verified);
    admitted
}

/// The token of a `Bearer` credential (RFC 6750 §2.1); another scheme is no credential of ours.
fn bearer(field: &[u8]) -> Result<&[u8], IdentityError> {
    let scheme_end = field.iter().position(|&byte| byte == b' ').unwrap_or(field.len());
    let (scheme, token) = field.split_at(scheme_end);
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(IdentityError::MissingToken);
    }
    Ok(&token[token.iter().take_while(|&&byte| byte == b' ').count()..])
}

/// The token's verified claims: from the cache, else by verifying it, and then into the cache.
fn look_up(
    token: &[u8],
    hash: TokenHash,
    trust: Trust<'_>,
    cache: &mut TokenCache,
    now: Now,
) -> Result<Arc<Verified>, IdentityError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenFault::TooLong.into());
    }
    if let Some(verified) = cache.get(hash, token).filter(|verified| verified.is_current(trust)).map(Arc::clone) {
        cache.counts.core_hits += 1;
        return Ok(verified);
    }
    let digest = cache::token_digest(token);
    if cache.is_refused(&digest, trust.keys.generation(), now) {
        cache.counts.refused_again += 1;
        return Err(IdentityError::BadSignature);
    }
    cache.counts.cold += 1;
    let verified = verify::verify(token, trust, cache.hash_key(), now);
    if matches!(verified, Err(IdentityError::BadSignature)) {
        cache.refuse(digest, trust.keys.generation(), now);
    }
    let verified = Arc::new(verified?);
    cache.insert(hash, Arc::clone(&verified));
    Ok(verified)
}

/// The checks of every request, the connection-local hit included.
fn admit(verified: &Verified, trust: Trust<'_>, route: &Route, now: Now) -> Result<Authenticated, IdentityError> {
    let identity = &verified.identity;
    verify::check_times(identity.expires, identity.not_before, identity.issued_at, trust.config, now)?;
    if verified.is_revoked(trust) {
        return Err(IdentityError::Revoked);
    }
    if !route.audience.is_empty() && !verify::names_any(&identity.audience, &route.audience) {
        return Err(IdentityError::WrongAudience);
    }
    Ok(Authenticated { identity: Arc::clone(identity) })
}

/// What can have changed since a request was let in, for those that last (THREATS A18): the token's times, the subject's
/// and the key's revocation, and whether the issuer entry still has the key.
///
/// # Errors
/// Why the caller would not be let in now.
pub fn recheck(identity: &Identity, trust: Trust<'_>, now: Now) -> Result<(), IdentityError> {
    verify::check_times(identity.expires, identity.not_before, identity.issued_at, trust.config, now)?;
    let (issuer, kid) = (&identity.issuer, &identity.key_id);
    if trust.revoked.key(&issuer.name, kid) || trust.revoked.subject(&identity.user_key, identity.issued_at) {
        return Err(IdentityError::Revoked);
    }
    let mut entries = trust.config.issuers.iter().enumerate();
    let same = |entry: &Issuer| (&entry.name, &entry.issuer) == (&issuer.name, &issuer.issuer);
    let (index, entry) = entries.find(|(_, entry)| same(entry)).ok_or(IdentityError::UnknownIssuer)?;
    let keys = trust.keys.set_of(index, entry).ok_or(IdentityError::KeysUnavailable { issuer: index })?;
    match keys.find(kid) {
        Some(_) => Ok(()),
        None => Err(IdentityError::UnknownKey { issuer: index, kid: Arc::clone(kid) }),
    }
}

#[cfg(test)]
mod tests;
