//! Tokens already verified, per core and per connection, found by comparing the *whole* token.
//!
//! A cached entry says: signature good, these claims, this issuer entry, this key. Nothing in it depends on a route, and
//! every use is judged again by [`super::authenticate`] (THREATS A6). A hash only says where to look: equality of every
//! byte decides, so no prefix or short hash can hand one caller another's identity (CVE-2026-35030). The hash is taken
//! of the token's end, which is its signature and as good as random: only its issuer could aim two tokens at one slot.
//! The price is the tokens themselves in memory, at most [`super::TOKEN_BYTES_MAX`] bytes each; they are never printed.
//!
//! Bounds: [`TokenCache`] holds the configured number of entries; when full, a tenant with more than
//! [`TENANT_SHARE_PERCENT`] of them evicts its own, otherwise tenants over their share go first (CLOCK within each), so
//! a tenant with many tokens cannot empty the cache for others (THREATS A22). Failures are remembered for bad signatures
//! only, for [`REFUSED_NS`], and are void when the keys change. A connection remembers one token.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use hashbrown::HashTable;

use super::jwks::VerifyingKey;
use super::verify::TokenHashKey;
use super::{Identity, Trust};
use crate::clock::Now;
use crate::ids::Key128;

/// Largest part of a full cache that one tenant keeps when others want in, as for limiter slots.
pub(super) const TENANT_SHARE_PERCENT: usize = 25;

/// How long a bad signature is remembered: long enough to blunt a replay flood, short against any repair. DATAPATH B4.
pub(super) const REFUSED_NS: u64 = 5_000_000_000;

/// Slots for bad signatures; 12 KiB, overwritten at will.
const REFUSED_SLOTS: usize = 256;

/// Bytes of a token's end that its hash is taken of: the last 192 bits of an RS256 signature.
const HASHED_BYTES: usize = 32;

/// SHA-256 of a whole token: names those whose signature was bad, which are not kept.
pub(super) type TokenDigest = [u8; 32];

/// Where to look for a token; says nothing about equality.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct TokenHash(u64);

/// A token whose signature and claims were verified.
pub(super) struct Verified {
    pub(super) identity: Arc<Identity>,
    token: Box<[u8]>,
    issuer_index: usize,
    key: Arc<VerifyingKey>,
    /// Table key of `jti`, if it has one.
    token_id: Option<Key128>,
    /// Generation of the keys that `key` was last found in. Relaxed: a memo of one core's own look-ups.
    keys_generation: AtomicU64,
    /// Epoch of the revocations it was last found absent from; 0 = none.
    revocation_epoch: AtomicU64,
}

impl Verified {
    pub(super) fn new(
        token: &[u8],
        identity: Arc<Identity>,
        issuer_index: usize,
        key: Arc<VerifyingKey>,
        token_id: Option<Key128>,
        keys_generation: u64,
    ) -> Self {
        let revocation_epoch = AtomicU64::new(0);
        let keys_generation = AtomicU64::new(keys_generation);
        Self { identity, token: token.into(), issuer_index, key, token_id, keys_generation, revocation_epoch }
    }

    /// Whether the snapshot still has the issuer entry and the key it was verified with. If not, it is as if the token
    /// had never been seen.
    pub(super) fn is_current(&self, trust: Trust<'_>) -> bool {
        let issuer = &self.identity.issuer;
        if !trust.config.issuers.get(self.issuer_index).is_some_and(|entry| Arc::ptr_eq(entry, issuer)) {
            return false;
        }
        let generation = trust.keys.generation();
        if self.keys_generation.load(Ordering::Relaxed) == generation {
            return true;
        }
        let held = trust.keys.holds(self.issuer_index, issuer, &self.key);
        if held {
            self.keys_generation.store(generation, Ordering::Relaxed);
        }
        held
    }

    /// Whether the token, its subject or its key was revoked.
    pub(super) fn is_revoked(&self, trust: Trust<'_>) -> bool {
        let (revoked, identity) = (trust.revoked, &self.identity);
        if self.revocation_epoch.load(Ordering::Relaxed) == revoked.epoch() {
            return false;
        }
        let hit = revoked.key(&identity.issuer.name, &self.key.kid)
            || revoked.subject(&identity.user_key, identity.issued_at)
            || self.token_id.as_ref().is_some_and(|token| revoked.token(token));
        if !hit {
            self.revocation_epoch.store(revoked.epoch(), Ordering::Relaxed);
        }
        hit
    }
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// The token of the previous request on one connection, so that repeating it costs a comparison.
///
/// The comparison is not constant-time: whoever shares a connection shares its proxy, and the difference is about a
/// nanosecond per 32 bytes of a string with 256 bytes of signature at its end.
#[derive(Debug, Default)]
pub struct ConnectionToken {
    last: Option<(TokenHash, Arc<Verified>)>,
}

impl ConnectionToken {
    pub(super) fn get(&self, hash: TokenHash, token: &[u8]) -> Option<&Arc<Verified>> {
        self.last.as_ref().filter(|(of_last, last)| *of_last == hash && *last.token == *token).map(|(_, last)| last)
    }

    pub(super) fn set(&mut self, hash: TokenHash, verified: Arc<Verified>) {
        self.last = Some((hash, verified));
    }

    /// Forgets the token; the next request is looked up afresh.
    pub fn clear(&mut self) {
        self.last = None;
    }
}

/// How tokens were judged since the cache was made; for metrics.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CacheCounts {
    /// Same token as the connection's previous request.
    pub connection_hits: u64,
    /// Found in the core's cache.
    pub core_hits: u64,
    /// Verified or refused afresh.
    pub cold: u64,
    /// Refused because the same token's signature was bad a moment ago.
    pub refused_again: u64,
}

/// One core's verified tokens.
#[derive(Debug)]
pub struct TokenCache {
    index: HashTable<usize>,
    hasher: RandomState,
    slots: Vec<Slot>,
    hand: usize,
    entries_max: usize,
    /// Entries by tenant, and how many tenants hold more than `share`.
    tenants: HashMap<Key128, usize>,
    tenants_over: usize,
    share: usize,
    refused: Vec<Refused>,
    hash_key: TokenHashKey,
    pub(super) counts: CacheCounts,
}

#[derive(Debug)]
struct Slot {
    hash: TokenHash,
    verified: Arc<Verified>,
    /// CLOCK's bit: used since the hand last passed.
    used: bool,
}

#[derive(Clone, Copy, Debug)]
struct Refused {
    digest: TokenDigest,
    keys_generation: u64,
    until_mono_ns: u64,
}

impl TokenCache {
    /// An empty cache of at most `entries_max` tokens (at least one). `hash_key` names tokens in the audit.
    #[must_use]
    pub fn new(entries_max: usize, hash_key: TokenHashKey) -> Self {
        let free = Refused { digest: [0; 32], keys_generation: 0, until_mono_ns: 0 };
        Self {
            index: HashTable::new(),
            hasher: RandomState::new(),
            slots: Vec::new(),
            hand: 0,
            entries_max: entries_max.max(1),
            tenants: HashMap::new(),
            tenants_over: 0,
            share: (entries_max * TENANT_SHARE_PERCENT / 100).max(1),
            refused: vec![free; REFUSED_SLOTS],
            hash_key,
            counts: CacheCounts::default(),
        }
    }

    /// How tokens were judged so far.
    #[must_use]
    pub const fn counts(&self) -> CacheCounts {
        self.counts
    }

    /// Tokens held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) const fn hash_key(&self) -> &TokenHashKey {
        &self.hash_key
    }

    /// The hash to look a token up by, here and on connections.
    pub(super) fn hash(&self, token: &[u8]) -> TokenHash {
        TokenHash(self.hasher.hash_one(&token[token.len().saturating_sub(HASHED_BYTES)..]))
    }

    pub(super) fn get(&mut self, hash: TokenHash, token: &[u8]) -> Option<&Arc<Verified>> {
        let at = self.find(hash, token)?;
        let slot = &mut self.slots[at];
        slot.used = true;
        Some(&slot.verified)
    }

    fn find(&self, hash: TokenHash, token: &[u8]) -> Option<usize> {
        self.index.find(hash.0, |at| *self.slots[*at].verified.token == *token).copied()
    }

    pub(super) fn insert(&mut self, hash: TokenHash, verified: Arc<Verified>) {
        if let Some(at) = self.find(hash, &verified.token) {
            self.remove(at);
        }
        if self.slots.len() >= self.entries_max {
            let victim = self.victim(&verified.identity.tenant_key);
            self.remove(victim);
        }
        let count = self.tenants.entry(verified.identity.tenant_key).or_default();
        *count += 1;
        self.tenants_over += usize::from(*count == self.share + 1);
        let slots = &self.slots;
        self.index.insert_unique(hash.0, slots.len(), |at| slots[*at].hash.0);
        self.slots.push(Slot { hash, verified, used: false });
    }

    /// Remembers that this token's signature is bad under these keys.
    pub(super) fn refuse(&mut self, digest: TokenDigest, keys_generation: u64, now: Now) {
        let until_mono_ns = now.mono_ns.saturating_add(REFUSED_NS);
        self.refused[refused_slot(&digest)] = Refused { digest, keys_generation, until_mono_ns };
    }

    /// Whether this token's signature was bad a moment ago under the same keys.
    pub(super) fn is_refused(&self, digest: &TokenDigest, keys_generation: u64, now: Now) -> bool {
        let refused = &self.refused[refused_slot(digest)];
        refused.until_mono_ns > now.mono_ns && refused.keys_generation == keys_generation && refused.digest == *digest
    }

    /// The slot to free for a token of `tenant`: one of its own when it has its share, else one of a tenant over its
    /// share, else any; in each case the first that was not used since the hand last passed. At most two rounds.
    fn victim(&mut self, tenant: &Key128) -> usize {
        let held = |tenant: &Key128| self.tenants.get(tenant).copied().unwrap_or(0);
        let own = held(tenant) >= self.share;
        for _ in 0..2 * self.slots.len() {
            let at = self.hand % self.slots.len();
            self.hand = at + 1;
            let owner = self.slots[at].verified.identity.tenant_key;
            let candidate = if own { owner == *tenant } else { self.tenants_over == 0 || held(&owner) > self.share };
            if candidate && !std::mem::take(&mut self.slots[at].used) {
                return at;
            }
        }
        self.hand % self.slots.len()
    }

    /// Frees a slot. The last one takes its place, so the hand's order is only roughly that of insertion.
    fn remove(&mut self, at: usize) {
        let slot = self.slots.swap_remove(at);
        if let Ok(entry) = self.index.find_entry(slot.hash.0, |other| *other == at) {
            entry.remove();
        }
        if let Some(moved) = self.slots.get(at) {
            let from = self.slots.len();
            if let Some(entry) = self.index.find_mut(moved.hash.0, |other| *other == from) {
                *entry = at;
            }
        }
        let tenant = slot.verified.identity.tenant_key;
        if let Some(count) = self.tenants.get_mut(&tenant) {
            self.tenants_over -= usize::from(*count == self.share + 1);
            *count -= 1;
            if *count == 0 {
                self.tenants.remove(&tenant);
            }
        }
    }
}

/// SHA-256 of the whole token.
pub(super) fn token_digest(token: &[u8]) -> TokenDigest {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, token).as_ref());
    bytes
}

fn refused_slot(digest: &TokenDigest) -> usize {
    usize::from(digest[0]) % REFUSED_SLOTS
}
