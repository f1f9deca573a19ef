//! From a token as a document to a verified, normalised identity: the cold path, once per token and core.
//!
//! The order is cheap and reject-only first, RSA last (DATAPATH B4): header, `iss`, `aud`, `exp`, `nbf`, lifetime, key
//! look-up, signature, and only then the claims that make the [`Identity`]. So an unknown `kid` asks for a fetch only
//! when the rest of the token looks right (THREATS A21).
//!
//! One strict reading serves check and use: no second parser sees the claims, the clock is a parameter, a required claim
//! that is missing is an error rather than a check left out.
//!
//! What a token says is taken whole or not at all: one scope element that is not an RFC 6749 §3.3 scope-token refuses
//! the token, rather than being dropped from it, because a filtered credential is one that nobody issued.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::cache::Verified;
use super::error::{IdentityError, TokenFault};
use super::jwks::VerifyingKey;
use super::revocation::token_key;
use super::token::{Claims, NAME_BYTES_MAX, Token, is_name};
use super::{Identity, Trust};
use crate::clock::Now;
use crate::config::resolved::{IdentityConfig, Issuer, Tenants};
use crate::ids::{Key128, TenantId, UserId};

/// Most scopes or roles of one token; each list reaches a header or a policy's entity whole.
pub(super) const LIST_MAX: usize = 256;

/// Key of the keyed token hash that names a token in the audit (THREATS B13). Per boot, or persisted by the caller.
#[derive(Clone, Debug)]
pub struct TokenHashKey(hmac::Key);

impl TokenHashKey {
    /// From 32 secret bytes.
    #[must_use]
    pub fn new(secret: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    fn hash(&self, token: &[u8]) -> Key128 {
        first_half(hmac::sign(&self.0, token).as_ref())
    }
}

/// Verifies `token` against the snapshot. Everything that holds for a token whatever the route is checked here; what
/// can change between requests is checked again by the caller on each of them.
pub(super) fn verify(
    bytes: &[u8],
    trust: Trust<'_>,
    hash_key: &TokenHashKey,
    now: Now,
) -> Result<Verified, IdentityError> {
    let token = Token::split(bytes)?;
    let kid = token.key_id()?;
    let claims = token.claims()?;
    let (index, issuer) = issuer_of(&claims, trust.config)?;
    if !names_any(&claims.audience, &issuer.audience) {
        return Err(IdentityError::WrongAudience);
    }
    check_times(claims.expires, claims.not_before, claims.issued_at, trust.config, now)?;
    if trust.revoked.key(&issuer.name, &kid) {
        return Err(IdentityError::Revoked);
    }
    let set = trust.keys.set_of(index, issuer).ok_or(IdentityError::KeysUnavailable { issuer: index })?;
    let Some(key) = set.find(&kid) else {
        return Err(IdentityError::UnknownKey { issuer: index, kid: kid.into() });
    };
    check_signature(&token, key)?;
    let token_id = claims.token_id.as_deref().map(|id| token_key(&issuer.name, id));
    let identity = Arc::new(identity(claims, issuer, key, hash_key.hash(bytes))?);
    Ok(Verified::new(bytes, identity, index, Arc::clone(key), token_id, trust.keys.generation()))
}

/// Checks the signature alone; `BadSignature` is the one failure worth remembering for a few seconds.
pub(super) fn check_signature(token: &Token<'_>, key: &VerifyingKey) -> Result<(), IdentityError> {
    let signature = URL_SAFE_NO_PAD.decode(token.signature).map_err(|_| TokenFault::NotBase64Url)?;
    if key.verifies(token.signed.as_bytes(), &signature) { Ok(()) } else { Err(IdentityError::BadSignature) }
}

/// `exp`, `nbf` and `iat` (RFC 7519 §4.1.4-6) with the configured leeway, and the lifetime bound (THREATS A18).
///
/// A token without `iat` may not have more left than a new one would: `exp - now ≤ lifetime_max + leeway`.
pub(super) fn check_times(
    expires: u64,
    not_before: Option<u64>,
    issued_at: Option<u64>,
    config: &IdentityConfig,
    now: Now,
) -> Result<(), IdentityError> {
    let (now, leeway, lifetime_max) = (now.unix_secs(), config.leeway.as_secs(), config.token_lifetime_max.as_secs());
    let ahead = |time: u64| time > now.saturating_add(leeway);
    if now >= expires.saturating_add(leeway) {
        return Err(IdentityError::Expired);
    }
    if not_before.is_some_and(ahead) {
        return Err(IdentityError::NotYetValid);
    }
    if issued_at.is_some_and(ahead) {
        return Err(IdentityError::IssuedInFuture);
    }
    let lifetime_ok = match issued_at {
        Some(issued_at) => expires.saturating_sub(issued_at) <= lifetime_max,
        None => expires.saturating_sub(now) <= lifetime_max.saturating_add(leeway),
    };
    if lifetime_ok { Ok(()) } else { Err(IdentityError::LifetimeTooLong) }
}

/// Whether `audience` names any of `accepted`, byte for byte.
pub(super) fn names_any(audience: &[String], accepted: &[String]) -> bool {
    accepted.iter().any(|accepted| audience.contains(accepted))
}

/// The entry whose `issuer` is exactly `iss` (RFC 8725 §3.8); configuration has one per issuer.
fn issuer_of<'a>(claims: &Claims, config: &'a IdentityConfig) -> Result<(usize, &'a Arc<Issuer>), IdentityError> {
    let mut entries = config.issuers.iter().enumerate();
    entries.find(|(_, entry)| *entry.issuer == *claims.issuer).ok_or(IdentityError::UnknownIssuer)
}

/// The one normal form of what the token says.
fn identity(
    claims: Claims,
    issuer: &Arc<Issuer>,
    key: &VerifyingKey,
    token_hash: Key128,
) -> Result<Identity, IdentityError> {
    if !is_header_name(&claims.subject) {
        return Err(TokenFault::ClaimMalformed("sub").into());
    }
    if claims.token_id.as_deref().is_some_and(|id| !is_name(id)) {
        return Err(TokenFault::ClaimMalformed("jti").into());
    }
    let user = UserId { issuer: Arc::clone(&issuer.name), subject: claims.subject.into() };
    let tenant = TenantId { issuer: Arc::clone(&issuer.name), tenant: tenant(&claims.all, issuer)? };
    let scopes =
        list(&claims.all, &issuer.claims.scopes, is_scope_token).ok_or(TokenFault::ClaimMalformed("scopes"))?;
    let roles = list(&claims.all, &issuer.claims.roles, is_name).ok_or(TokenFault::ClaimMalformed("roles"))?;
    let client = client(&claims.all)?;
    let custom = custom(claims.all, &issuer.claims.custom);
    let digest = digest(&user, &tenant, &scopes, &roles, client.as_deref(), &custom);
    Ok(Identity {
        issuer: Arc::clone(issuer),
        user_key: user.key(),
        tenant_key: tenant.key(),
        user,
        tenant,
        scopes,
        roles,
        claims: custom,
        audience: claims.audience,
        expires: claims.expires,
        not_before: claims.not_before,
        issued_at: claims.issued_at,
        client,
        key_id: Arc::clone(&key.kid),
        digest,
        token_hash,
    })
}

/// Fit for a header field as it is: printable ASCII (OpenID Connect Core §2 says so of `sub`) without a space at either
/// end, so that no reader can trim or decode it into another name.
fn is_header_name(text: &str) -> bool {
    is_name(text) && text.bytes().all(|b| (b' '..=b'~').contains(&b)) && text.trim_matches(' ').len() == text.len()
}

/// RFC 6749 §3.3: `1*( %x21 / %x23-5B / %x5D-7E )`.
fn is_scope_token(text: &str) -> bool {
    let allowed = |b: u8| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}

fn tenant(claims: &Map<String, Value>, issuer: &Issuer) -> Result<Arc<str>, IdentityError> {
    if let Tenants::Fixed(tenant) = &issuer.tenants {
        return Ok(Arc::clone(tenant));
    }
    let claimed = match claims.get(&issuer.claims.tenant) {
        None | Some(Value::Null) => return Err(IdentityError::TenantNotAllowed),
        Some(Value::String(claimed)) if is_header_name(claimed) => claimed,
        Some(_) => return Err(TokenFault::ClaimMalformed("tenant").into()),
    };
    match &issuer.tenants {
        Tenants::Listed(listed) if !listed.contains(claimed) => Err(IdentityError::TenantNotAllowed),
        _ => Ok(claimed.as_str().into()),
    }
}

/// A list claim: a space-separated string or an array of strings, each `valid`, without repeats; absent means empty.
/// `None` when it is anything else or longer than [`LIST_MAX`].
fn list(claims: &Map<String, Value>, name: &str, valid: fn(&str) -> bool) -> Option<Vec<Arc<str>>> {
    let elements: Vec<&str> = match claims.get(name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split(' ').filter(|element| !element.is_empty()).collect(),
        Some(Value::Array(array)) => array.iter().map(Value::as_str).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    if elements.len() > LIST_MAX || !elements.iter().all(|element| valid(element)) {
        return None;
    }
    let mut list: Vec<Arc<str>> = Vec::with_capacity(elements.len());
    for element in elements {
        if !list.iter().any(|known| **known == *element) {
            list.push(element.into());
        }
    }
    Some(list)
}

/// The acting client: `azp` (OpenID Connect Core §2), else `client_id` (RFC 9068 §2.2).
fn client(claims: &Map<String, Value>) -> Result<Option<Arc<str>>, TokenFault> {
    match claims.get("azp").or_else(|| claims.get("client_id")) {
        None => Ok(None),
        Some(Value::String(client)) if is_name(client) => Ok(Some(client.as_str().into())),
        Some(_) => Err(TokenFault::ClaimMalformed("azp")),
    }
}

fn custom(mut claims: Map<String, Value>, names: &[String]) -> Map<String, Value> {
    names.iter().filter_map(|name| Some((name.clone(), claims.remove(name)?))).collect()
}

/// Digest of everything a policy can read. Each list is preceded by its length, so no element can move between them.
fn digest(
    user: &UserId,
    tenant: &TenantId,
    scopes: &[Arc<str>],
    roles: &[Arc<str>],
    client: Option<&str>,
    custom: &Map<String, Value>,
) -> Key128 {
    let lengths = [scopes.len() as u64, roles.len() as u64, u64::from(client.is_some())].map(u64::to_le_bytes);
    let custom = Value::Object(custom.clone()).to_string();
    let mut parts: Vec<&[u8]> = vec![b"identity", user.issuer.as_bytes(), user.subject.as_bytes()];
    parts.push(tenant.tenant.as_bytes());
    parts.extend(lengths.iter().map(|length| &length[..]));
    parts.extend(scopes.iter().chain(roles).map(|element| element.as_bytes()));
    parts.extend([client.unwrap_or_default().as_bytes(), custom.as_bytes()]);
    Key128::of(&parts)
}

fn first_half(digest: &[u8]) -> Key128 {
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    Key128(key)
}
