//! Every issuer's keys at one moment: the immutable part of a snapshot that tokens are verified against.
//!
//! **Invariant:** a [`Keys`] belongs to the configuration it was made for ([`Keys::for_config`]): look-ups name the
//! issuer entry itself, so keys fetched for one entry can never verify a token of another (THREATS A7), not even across
//! a reload that reorders them. Keys are found by (issuer, kid) and by nothing else.
//!
//! Every value has its own generation, unique in the process: a cached token that was checked against the same
//! generation needs no look-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::jwks::{KeySet, VerifyingKey};
use crate::config::resolved::{IdentityConfig, Issuer};

/// How far one issuer's keys can be trusted. Anything but `Good` is *degraded*, never *unready* (THREATS B8).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum KeyState {
    /// No fetch has succeeded yet: tokens of this issuer are answered 503.
    NeverFetched,
    /// The last fetch succeeded.
    Good,
    /// Fetches fail since this time (Unix seconds); the last good keys are still used.
    Stale {
        /// Unix seconds.
        since: u64,
    },
    /// Fetches failed for so long that the last good keys are no longer used: 503.
    Expired,
}

/// One issuer's keys.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    issuer: Arc<Issuer>,
    set: Option<Arc<KeySet>>,
    state: KeyState,
}

impl IssuerKeys {
    /// The entry they belong to.
    #[must_use]
    pub const fn issuer(&self) -> &Arc<Issuer> {
        &self.issuer
    }

    /// How far they can be trusted.
    #[must_use]
    pub const fn state(&self) -> KeyState {
        self.state
    }

    /// The keys in use; `None` before the first fetch and after expiry.
    #[must_use]
    pub const fn set(&self) -> Option<&Arc<KeySet>> {
        self.set.as_ref()
    }
}

/// All issuers' keys, in the order of [`IdentityConfig::issuers`].
#[derive(Debug)]
pub struct Keys {
    generation: u64,
    issuers: Vec<IssuerKeys>,
}

impl Keys {
    /// Keys for `config`: none yet, except the sets that `previous` has for an entry of the same name, issuer and key
    /// source, which a reload need not fetch again.
    #[must_use]
    pub fn for_config(config: &IdentityConfig, previous: Option<&Self>) -> Self {
        let issuers = config.issuers.iter().map(|issuer| {
            let known = previous.and_then(|keys| keys.issuers.iter().find(|known| same_source(&known.issuer, issuer)));
            IssuerKeys {
                issuer: Arc::clone(issuer),
                set: known.and_then(|known| known.set.clone()),
                state: known.map_or(KeyState::NeverFetched, |known| known.state),
            }
        });
        Self { generation: next_generation(), issuers: issuers.collect() }
    }

    /// The same keys but for one issuer's.
    #[must_use]
    pub fn with(&self, index: usize, set: Option<Arc<KeySet>>, state: KeyState) -> Self {
        let mut issuers = self.issuers.clone();
        if let Some(keys) = issuers.get_mut(index) {
            (keys.set, keys.state) = (set, state);
        }
        Self { generation: next_generation(), issuers }
    }

    /// Unique in the process.
    #[must_use]
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Every issuer's keys, in configuration order.
    #[must_use]
    pub fn issuers(&self) -> &[IssuerKeys] {
        &self.issuers
    }

    /// Whether any issuer's keys are not fresh; what /readyz shows as degraded.
    #[must_use]
    pub fn degraded(&self) -> bool {
        self.issuers.iter().any(|keys| keys.state != KeyState::Good)
    }

    /// The usable keys of exactly this entry.
    pub(super) fn set_of(&self, index: usize, issuer: &Arc<Issuer>) -> Option<&KeySet> {
        let keys = self.issuers.get(index).filter(|keys| Arc::ptr_eq(&keys.issuer, issuer))?;
        keys.set.as_deref()
    }

    /// Whether `key` is still one of this entry's.
    pub(super) fn holds(&self, index: usize, issuer: &Arc<Issuer>, key: &VerifyingKey) -> bool {
        let current = self.set_of(index, issuer).and_then(|set| set.find(&key.kid));
        current.is_some_and(|current| current.digest == key.digest)
    }
}

/// Whether two entries, of one configuration or of two, mean the same keys.
pub(crate) fn same_source(a: &Issuer, b: &Issuer) -> bool {
    a.name == b.name && a.issuer == b.issuer && a.jwks == b.jwks
}

fn next_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
