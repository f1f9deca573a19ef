//! One worker's memory of decisions.
//!
//! Cedar costs 12 µs and more per question, a remembered answer well under one. Everything here is derived from one
//! [`PolicySet`]; another set empties it (a worker that for a moment serves two configurations pays in misses, never
//! in wrong answers). Keys hold all that a decision depends on: [`Identity::digest`], the target, and the context
//! values that the applicable policies read, byte for byte up to [`EXACT_BYTES_MAX`], by SHA-256 beyond. Every map is
//! bounded and hashes under a random key.

use std::sync::Arc;

use cedar_policy as cedar;
use smallvec::SmallVec;

use super::clock::Clock;
use super::context::{Facts, ReadError, decode, encode};
use super::evaluate::{Outcome, Profile, Question, Slice, Verdict};
use super::set::{PolicySet, Target};
use super::{Resource, missing_scopes};
use crate::identity::Identity;
use crate::ids::Key128;

/// Decisions kept per worker.
pub const DECISIONS_MAX: u32 = 16_384;
/// Identities whose entities are kept per worker.
const PROFILES_MAX: u32 = 4_096;
/// Slices kept per worker, one per target and set of groups.
const SLICES_MAX: u32 = 1_024;
/// Context encodings up to this length are compared as they are.
const EXACT_BYTES_MAX: usize = 256;

/// The cache. Make one per worker and lend it to every decision.
#[derive(Debug)]
pub struct DecisionCache {
    /// [`PolicySet::stamp`] of all entries.
    stamp: u64,
    bound: Clock<(Key128, u32), Arc<Bound>>,
    /// The one asked for last: a request asks twice, whether the tool may be known of and whether it may be called.
    latest: Option<(Key128, u32, Arc<Bound>)>,
    decisions: Clock<DecisionKey, Verdict>,
    profiles: Clock<Key128, Arc<Profile>>,
    slices: Clock<(u32, SmallVec<[u32; 8]>), Arc<Slice>>,
    scratch: Vec<u8>,
    authorizer: cedar::Authorizer,
}

#[derive(Debug)]
struct DecisionKey {
    identity: Key128,
    target: u32,
    context: Box<[u8]>,
}

/// An identity at a target.
#[derive(Debug)]
pub(super) struct Bound {
    profile: Arc<Profile>,
    slice: Arc<Slice>,
    /// Whether the token lacks a scope of the route.
    pub(super) lacks_scope: bool,
    /// Whether the caller may know of the target.
    pub(super) visible: bool,
    /// Why nothing can be evaluated for this identity here.
    pub(super) cause: Option<ReadError>,
    /// The decision, when the call itself makes no difference.
    fixed: Option<Verdict>,
}

/// A decision on one call.
pub(super) type Decided = Result<Verdict, ReadError>;

impl Default for DecisionCache {
    fn default() -> Self {
        Self::new()
    }
}

impl DecisionCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stamp: 0,
            bound: Clock::new(DECISIONS_MAX),
            latest: None,
            decisions: Clock::new(DECISIONS_MAX),
            profiles: Clock::new(PROFILES_MAX),
            slices: Clock::new(SLICES_MAX),
            scratch: Vec::new(),
            authorizer: cedar::Authorizer::new(),
        }
    }

    /// What is known of an identity at a target; found out if need be.
    pub(super) fn bind(
        &mut self,
        identity: &Identity,
        resource: Resource<'_>,
        target: &Target,
        set: &PolicySet,
    ) -> Arc<Bound> {
        self.follow(set);
        let number = number(resource);
        if let Some((who, what, bound)) = &self.latest
            && (*who, *what) == (identity.digest, number)
        {
            return Arc::clone(bound);
        }
        let hash = self.bound.hash((identity.digest.0, number));
        let known = self.bound.get(hash, |key| *key == (identity.digest, number)).map(|bound| Arc::clone(bound));
        let bound = known.unwrap_or_else(|| {
            let bound = Arc::new(self.find_out(identity, number, target, set));
            self.bound.insert(hash, (identity.digest, number), Arc::clone(&bound));
            bound
        });
        self.latest = Some((identity.digest, number, Arc::clone(&bound)));
        bound
    }

    /// Decides one call of a bound identity.
    pub(super) fn decide(
        &mut self,
        identity: &Identity,
        resource: Resource<'_>,
        target: &Target,
        bound: &Bound,
        facts: &Facts<'_>,
    ) -> Decided {
        if let Some(verdict) = &bound.fixed {
            return Ok(verdict.clone());
        }
        let reads = bound.slice.reads();
        self.scratch.clear();
        self.scratch.push(EXACT);
        encode(reads, facts, &mut self.scratch)?;
        let digest;
        let context = if self.scratch.len() <= EXACT_BYTES_MAX {
            &self.scratch[..]
        } else {
            digest = context_digest(&self.scratch);
            &digest[..]
        };
        let (who, number) = (identity.digest, number(resource));
        let hash = self.decisions.hash((who.0, number, context));
        let found = |key: &DecisionKey| key.identity == who && key.target == number && *key.context == *context;
        if let Some(verdict) = self.decisions.get(hash, found) {
            return Ok(verdict.clone());
        }
        let question = bound.question(&self.authorizer, target);
        let verdict = question.decide(decode(reads, target.call, &self.scratch[1..]));
        let key = DecisionKey { identity: who, target: number, context: context.into() };
        self.decisions.insert(hash, key, verdict.clone());
        Ok(verdict)
    }

    /// Empties the cache when the set is not the one it was filled from.
    fn follow(&mut self, set: &PolicySet) {
        if self.stamp != set.stamp() {
            self.bound.clear();
            self.latest = None;
            self.decisions.clear();
            self.profiles.clear();
            self.slices.clear();
            self.stamp = set.stamp();
        }
    }

    #[cold]
    fn find_out(&mut self, identity: &Identity, number: u32, target: &Target, set: &PolicySet) -> Bound {
        let profile = self.profile(identity, set);
        let slice = self.slice(number, target, &profile, set);
        let mut bound = Bound {
            lacks_scope: !missing_scopes(identity, &target.route).is_empty(),
            visible: false,
            cause: None,
            fixed: None,
            profile,
            slice,
        };
        if !bound.slice.evaluable(&bound.profile) {
            bound.fixed = Some(Verdict::error());
            bound.cause = Some(ReadError::Claim);
            return bound;
        }
        let question = bound.question(&self.authorizer, target);
        if bound.slice.reads().context_free() {
            let verdict = question.decide(decode(bound.slice.reads(), target.call, &[]));
            bound.visible = verdict.outcome == Outcome::Permit;
            bound.fixed = Some(verdict);
        } else {
            bound.visible = question.visible();
        }
        bound
    }

    fn profile(&mut self, identity: &Identity, set: &PolicySet) -> Arc<Profile> {
        let hash = self.profiles.hash(identity.digest.0);
        if let Some(profile) = self.profiles.get(hash, |key| *key == identity.digest) {
            return Arc::clone(profile);
        }
        let profile = Arc::new(Profile::new(identity, set));
        self.profiles.insert(hash, identity.digest, Arc::clone(&profile));
        profile
    }

    fn slice(&mut self, number: u32, target: &Target, profile: &Profile, set: &PolicySet) -> Arc<Slice> {
        let relevant: SmallVec<[u32; 8]> = target.relevant(profile.groups()).collect();
        let hash = self.slices.hash((number, &relevant[..]));
        if let Some(slice) = self.slices.get(hash, |key| key.0 == number && key.1 == relevant) {
            return Arc::clone(slice);
        }
        let slice = Arc::new(Slice::new(set, target, &relevant));
        self.slices.insert(hash, (number, relevant), Arc::clone(&slice));
        slice
    }
}

impl Bound {
    fn question<'a>(&'a self, authorizer: &'a cedar::Authorizer, target: &'a Target) -> Question<'a> {
        Question { authorizer, target, profile: &self.profile, slice: &self.slice }
    }
}

/// One number over tools and routes.
#[expect(clippy::cast_possible_truncation, reason = "a configuration of 2³¹ tools does not load")]
const fn number(resource: Resource<'_>) -> u32 {
    match resource {
        Resource::Tool(tool) => (tool.index as u32) << 1,
        Resource::Route(route) => ((route.index as u32) << 1) | 1,
    }
}

/// First byte of a context key that is the encoding itself.
const EXACT: u8 = 0;
/// First byte of one that is a digest: the two never meet.
const DIGEST: u8 = 1;

fn context_digest(encoded: &[u8]) -> [u8; 33] {
    let mut key = [DIGEST; 33];
    key[1..].copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, encoded).as_ref());
    key
}
