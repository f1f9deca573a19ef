//! Why a request has no identity. A variant is a fact; [`IdentityError::reason`] is the one place that turns it into
//! the reason code of response, audit and metrics.
//!
//! Nothing a caller sent is printed here except a `kid`, which passes through [`CallerText`].

use std::sync::Arc;

use crate::reason::Reason;
use crate::text::CallerText;

/// What is wrong with a token as a document, before any key is looked at. The client's or its issuer's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TokenFault {
    /// Longer than [`super::TOKEN_BYTES_MAX`].
    #[error("the token is too long")]
    TooLong,
    /// Not three segments: unsecured, encrypted (RFC 7516), or not a JWS at all.
    #[error("the token is not a JWS in compact form")]
    NotCompactJws,
    /// A segment is not unpadded, canonical base64url (RFC 7515 §2, RFC 4648 §3.5).
    #[error("a segment is not base64url")]
    NotBase64Url,
    /// The header is not one JSON object without repeated members.
    #[error("the header is not an unambiguous JSON object")]
    HeaderNotJson,
    /// `alg` is not the one algorithm accepted (RFC 8725 §3.1).
    #[error("the algorithm is not RS256")]
    AlgorithmNotAllowed,
    /// `crit`, `b64`, `zip` or `cty`: the header asks for processing that this gateway does not do (RFC 7515 §4.1.11).
    #[error("the header asks for an extension that is not understood")]
    ExtensionNotUnderstood,
    /// `typ` names another kind of token (RFC 8725 §3.11).
    #[error("the token is of another type")]
    TypeNotAllowed,
    /// `kid` is missing, not a string, too long, or has control characters.
    #[error("the key id is missing or malformed")]
    KeyIdMalformed,
    /// The payload is not one JSON object without repeated members.
    #[error("the payload is not an unambiguous JSON object")]
    ClaimsNotJson,
    /// A claim is missing or does not have the form it must have.
    #[error("the claim {0} is missing or malformed")]
    ClaimMalformed(&'static str),
    /// `cnf` binds the token to a key whose possession was not proven (RFC 7800 §3): it is no bearer token.
    #[error("the token is bound to a key")]
    SenderConstrained,
}

/// Why there is no identity.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum IdentityError {
    /// No Authorization field, or one of another scheme. The client's fault.
    #[error("no bearer token")]
    MissingToken,
    /// More than one Authorization field (RFC 9110 §11.6.2 allows one). The client's fault.
    #[error("more than one Authorization field")]
    DuplicateAuthorization,
    /// The token is malformed.
    #[error(transparent)]
    Token(#[from] TokenFault),
    /// The signature does not verify with the key that `kid` names.
    #[error("the signature does not verify")]
    BadSignature,
    /// `exp` plus the leeway has passed.
    #[error("the token has expired")]
    Expired,
    /// `nbf` less the leeway lies ahead.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iat` less the leeway lies ahead.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `exp - iat` exceeds the configured lifetime.
    #[error("the token lives too long")]
    LifetimeTooLong,
    /// `aud` names neither an audience of the issuer entry nor, where it has its own, one of the route.
    #[error("the token is for another audience")]
    WrongAudience,
    /// No entry has this `iss`.
    #[error("the issuer is not trusted")]
    UnknownIssuer,
    /// The issuer has no usable key of this id *now*: worth one rate-limited fetch, then a second try.
    #[error("the issuer has no key {}", CallerText::new(kid))]
    UnknownKey {
        /// Index into [`crate::config::resolved::IdentityConfig::issuers`].
        issuer: usize,
        /// The id asked for, at most 255 bytes.
        kid: Arc<str>,
    },
    /// The issuer's keys were never fetched, or the last good ones are too old to trust. Ours or the issuer's fault.
    #[error("the issuer's keys are unavailable")]
    KeysUnavailable {
        /// Index into [`crate::config::resolved::IdentityConfig::issuers`].
        issuer: usize,
    },
    /// The token, its subject or its key was revoked.
    #[error("the token was revoked")]
    Revoked,
    /// The token names no tenant, or one that the issuer entry may not assert.
    #[error("the issuer may not assert this tenant")]
    TenantNotAllowed,
}

impl IdentityError {
    /// The reason code of response, audit and metrics.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::MissingToken => Reason::MissingToken,
            Self::DuplicateAuthorization => Reason::DuplicateAuthorization,
            Self::Token(_) | Self::BadSignature => Reason::InvalidToken,
            Self::Expired => Reason::ExpiredToken,
            Self::NotYetValid | Self::IssuedInFuture => Reason::TokenNotYetValid,
            Self::LifetimeTooLong => Reason::TokenLifetime,
            Self::WrongAudience => Reason::WrongAudience,
            Self::UnknownIssuer => Reason::UnknownIssuer,
            Self::UnknownKey { .. } => Reason::UnknownKey,
            Self::KeysUnavailable { .. } => Reason::KeysUnavailable,
            Self::Revoked => Reason::RevokedToken,
            Self::TenantNotAllowed => Reason::TenantNotAllowed,
        }
    }
}
