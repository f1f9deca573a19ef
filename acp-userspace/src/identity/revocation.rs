//! What was revoked: single tokens, subjects, keys. An immutable part of the snapshot, consulted on every request.
//!
//! A revocation need not be kept longer than `identity.token_lifetime_max`, because no token it can hit lives longer:
//! that and [`REVOCATIONS_MAX`] bound the set (THREATS A18). Each set has an epoch, unique in the process, so that a
//! cached token is looked up once per set and not once per request.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::ids::{Key128, UserId};

/// Most revocations held at once: a few MiB, and far beyond what one day of incidents brings.
pub const REVOCATIONS_MAX: usize = 65_536;

/// One thing that is no longer trusted. Issuers are named by their entry (`Issuer::name`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Revocation {
    /// The token with this `jti`.
    Token {
        /// Issuer entry.
        issuer: String,
        /// `jti`.
        token_id: String,
    },
    /// Every token of a subject issued at or before a time; tokens without `iat` always.
    Subject {
        /// Who.
        user: UserId,
        /// Unix seconds; `u64::MAX` for all.
        issued_until: u64,
    },
    /// Every token that this key verified (`acp keys distrust`).
    Key {
        /// Issuer entry.
        issuer: String,
        /// `kid`.
        kid: String,
    },
}

/// More than [`REVOCATIONS_MAX`] revocations.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("more than {REVOCATIONS_MAX} revocations")]
pub struct TooManyRevocations;

/// The set of one moment.
#[derive(Debug)]
pub struct Revocations {
    epoch: u64,
    tokens: HashSet<Key128>,
    subjects: HashMap<Key128, u64>,
    keys: HashSet<Key128>,
}

impl Revocations {
    /// The set of these.
    ///
    /// # Errors
    /// When there are more than [`REVOCATIONS_MAX`].
    pub fn new(revoked: impl IntoIterator<Item = Revocation>) -> Result<Self, TooManyRevocations> {
        let mut set = Self::default();
        for (held, revocation) in revoked.into_iter().enumerate() {
            if held == REVOCATIONS_MAX {
                return Err(TooManyRevocations);
            }
            set.insert(revocation);
        }
        Ok(set)
    }

    fn insert(&mut self, revocation: Revocation) {
        match revocation {
            Revocation::Token { issuer, token_id } => {
                self.tokens.insert(token_key(&issuer, &token_id));
            }
            Revocation::Subject { user, issued_until } => {
                let until = self.subjects.entry(user.key()).or_insert(issued_until);
                *until = (*until).max(issued_until);
            }
            Revocation::Key { issuer, kid } => {
                self.keys.insert(signing_key(&issuer, &kid));
            }
        }
    }

    /// Unique in the process.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether the issuer's key is distrusted.
    pub(super) fn key(&self, issuer: &str, kid: &str) -> bool {
        !self.keys.is_empty() && self.keys.contains(&signing_key(issuer, kid))
    }

    /// Whether the token with this [`token_key`] is revoked.
    pub(super) fn token(&self, token: &Key128) -> bool {
        self.tokens.contains(token)
    }

    /// Whether the subject with this table key is revoked for a token issued then.
    pub(super) fn subject(&self, user: &Key128, issued_at: Option<u64>) -> bool {
        self.subjects.get(user).is_some_and(|until| issued_at.is_none_or(|issued_at| issued_at <= *until))
    }
}

/// Nothing revoked.
impl Default for Revocations {
    fn default() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let epoch = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { epoch, tokens: HashSet::new(), subjects: HashMap::new(), keys: HashSet::new() }
    }
}

/// Table key of a `jti` within its issuer entry.
pub(super) fn token_key(issuer: &str, token_id: &str) -> Key128 {
    Key128::of(&[b"jti", issuer.as_bytes(), token_id.as_bytes()])
}

fn signing_key(issuer: &str, kid: &str) -> Key128 {
    Key128::of(&[b"kid", issuer.as_bytes(), kid.as_bytes()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revocation_hits_what_it_names_and_nothing_else() {
        let user = UserId { issuer: "a".into(), subject: "s".into() };
        let set = Revocations::new([
            Revocation::Token { issuer: "a".into(), token_id: "t".into() },
            Revocation::Subject { user: user.clone(), issued_until: 100 },
            Revocation::Subject { user: user.clone(), issued_until: 50 },
            Revocation::Key { issuer: "a".into(), kid: "k".into() },
        ])
        .unwrap();
        assert!(set.token(&token_key("a", "t")) && !set.token(&token_key("b", "t")));
        assert!(set.key("a", "k") && !set.key("b", "k") && !set.key("a", "t"));
        assert!(set.subject(&user.key(), Some(100)) && set.subject(&user.key(), None));
        assert!(!set.subject(&user.key(), Some(101)));
        let namesake = UserId { issuer: "b".into(), subject: "s".into() };
        assert!(!set.subject(&namesake.key(), Some(1)));
        assert_ne!(set.epoch(), Revocations::default().epoch());
    }

    #[test]
    fn refuses_more_revocations_than_the_bound() {
        let many = |count: usize| (0..count).map(|i| Revocation::Token { issuer: "a".into(), token_id: i.to_string() });
        assert!(Revocations::new(many(REVOCATIONS_MAX)).is_ok());
        assert_eq!(Revocations::new(many(REVOCATIONS_MAX + 1)).unwrap_err(), TooManyRevocations);
    }
}
