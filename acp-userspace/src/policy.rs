//! Policy: is this allowed. Deny by default, Cedar decides; [`Permitted`] keeps the ids of the policies that did.
//!
//! A [`PolicySet`] is compiled from the configuration and shared; each worker keeps a [`DecisionCache`]. [`decide`]
//! is the only way to a [`Permitted`]; [`judge`] is the same question without the proof, for `acp policy` and tests.
//!
//! Invariants:
//! - Nothing permits but a Cedar policy, and none of those that apply may forbid *or fail*: an evaluation error, an
//!   argument of another type than a policy takes it for, or a number that cannot be shown exactly denies, whether a
//!   permit or a forbid reads it.
//! - A caller who could not be permitted whatever it sent is answered as if the tool did not exist (THREATS A30).
//! - Arguments are read as they will be sent; a permit that read an argument which an edit touches is a denial.
//! - A decision depends on the identity, the target and the context values that the applicable policies read, and on
//!   nothing else: that is what the cache is keyed by.
//!
//! docs/policy.md is the operator's side: entities, attributes, types, examples.

mod cache;
mod clock;
mod context;
mod edits;
mod entity;
mod evaluate;
mod number;
mod reads;
mod set;
mod shape;
mod source;

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::config::resolved::{Mode, Route, Tool};
use crate::identity::Identity;
use crate::reason::Reason;
use crate::safety::{Edit, Finding, Screened};

pub use cache::{DECISIONS_MAX, DecisionCache};
pub use context::{Argument, ArgumentView, ENCODED_BYTES_MAX, LIST_LEN_MAX, NoArguments, ReadError, TEXT_BYTES_MAX};
pub use set::{PolicyEntry, PolicySet};
pub use source::{BUILT_IN, BUILT_IN_NAME, PolicyMistake, PolicyMistakes};

use context::Facts;
use evaluate::Outcome;
use set::Target;

/// Ids of the policies that decided.
pub type PolicyIds = SmallVec<[Arc<str>; 2]>;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Resource<'a> {
    /// To call a tool: `Action::"call"` on `Tool::"<name>"`.
    Tool(&'a Tool),
    /// To ask a route what it offers, or anything else of its protocol that reaches no tool (MCP `tools/list`,
    /// `initialize`, `ping`): `Action::"list"` on `Route::"<name>"`.
    Route(&'a Route),
}

/// One question.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// What is asked for.
    pub resource: Resource<'a>,
    /// With which arguments, as they will be sent.
    pub arguments: &'a dyn ArgumentView,
    /// From which client address.
    pub source: IpAddr,
}

/// Proof that a policy permits the call as it will be sent, and none forbids it.
#[derive(Debug)]
pub struct Permitted {
    screened: Screened,
    policies: PolicyIds,
    would_deny: Option<Reason>,
}

impl Permitted {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        self.screened.identity()
    }

    /// What safety found and will change.
    #[must_use]
    pub fn screened(&self) -> &Screened {
        &self.screened
    }

    /// The deciding policies.
    #[must_use]
    pub fn policies(&self) -> &PolicyIds {
        &self.policies
    }

    /// `policy.mode = "observe"` let a call pass that would have been denied.
    #[must_use]
    pub fn would_deny(&self) -> bool {
        self.would_deny.is_some()
    }

    /// Why it would have been.
    #[must_use]
    pub fn would_deny_reason(&self) -> Option<Reason> {
        self.would_deny
    }

    /// For tests of later layers only.
    #[cfg(test)]
    pub(crate) fn for_test(screened: Screened) -> Self {
        Self { screened, policies: PolicyIds::new(), would_deny: None }
    }
}

/// A denial. The client's fault, or the operator's choice; never ours.
#[derive(Debug, thiserror::Error)]
#[error("{}", .reason.title())]
pub struct PolicyRefused {
    /// `insufficient_scope`, `unknown_tool`, `policy_denied`, `policy_error` or `edit_conflict`.
    pub reason: Reason,
    /// The forbids that fired, or the policies that failed; none when nothing permits.
    pub policies: PolicyIds,
    /// Scopes of the route that the token lacks, for the record. The challenge names all of [`Route::scopes`].
    pub missing_scopes: Vec<Arc<str>>,
    /// What could not be read, for the record.
    #[source]
    pub cause: Option<ReadError>,
    /// What safety found, for the record.
    pub screened: Screened,
}

/// The answer to an [`Ask`].
#[derive(Debug, Clone)]
pub struct Ruling {
    /// Why not; `None` permits.
    pub denial: Option<Reason>,
    /// The policies that decided, or failed.
    pub policies: PolicyIds,
    /// What could not be read.
    pub cause: Option<ReadError>,
}

impl Ruling {
    fn denied(reason: Reason) -> Self {
        Self { denial: Some(reason), policies: PolicyIds::new(), cause: None }
    }
}

/// Decides whether a screened call may go on.
///
/// Warm, a decision is one or two look-ups. With `policy.mode = "observe"` a policy's denial passes and is kept in
/// [`Permitted::would_deny_reason`]; a missing route scope is no policy and always denies.
///
/// # Errors
/// With the reason, boxed to keep the good path small.
pub fn decide(
    screened: Screened,
    ask: &Ask<'_>,
    set: &PolicySet,
    cache: &mut DecisionCache,
) -> Result<Permitted, Box<PolicyRefused>> {
    let ruling = judge(screened.identity(), screened.findings(), screened.edits(), ask, set, cache);
    match ruling.denial {
        None => Ok(Permitted { screened, policies: ruling.policies, would_deny: None }),
        Some(reason) if set.mode() == Mode::Observe && reason != Reason::InsufficientScope => {
            Ok(Permitted { screened, policies: ruling.policies, would_deny: Some(reason) })
        }
        Some(reason) => Err(Box::new(refused(reason, ruling, set.target(ask.resource), screened))),
    }
}

#[cold]
fn refused(reason: Reason, ruling: Ruling, target: Option<&Target>, screened: Screened) -> PolicyRefused {
    let missing_scopes = match target {
        Some(target) if reason == Reason::InsufficientScope => missing_scopes(screened.identity(), &target.route),
        _ => SmallVec::new(),
    };
    let missing_scopes = missing_scopes.into_iter().map(Arc::from).collect();
    PolicyRefused { reason, policies: ruling.policies, missing_scopes, cause: ruling.cause, screened }
}

/// The same without a proof at the end, whatever the mode: what would be decided about these findings and edits.
#[must_use]
pub fn judge(
    identity: &Identity,
    findings: &[Finding],
    edits: &[Edit],
    ask: &Ask<'_>,
    set: &PolicySet,
    cache: &mut DecisionCache,
) -> Ruling {
    let Some(target) = set.target(ask.resource) else { return Ruling::denied(Reason::UnknownTool) };
    let bound = cache.bind(identity, ask.resource, target, set);
    if bound.lacks_scope {
        return Ruling::denied(Reason::InsufficientScope);
    }
    let hidden = |reason| if target.call && !bound.visible { Reason::UnknownTool } else { reason };
    let facts = Facts { arguments: ask.arguments, findings, source: ask.source };
    let verdict = match cache.decide(identity, ask.resource, target, &bound, &facts) {
        Ok(verdict) => verdict,
        Err(cause) => return Ruling { cause: Some(cause), ..Ruling::denied(hidden(Reason::PolicyError)) },
    };
    let denial = match verdict.outcome {
        Outcome::Permit if edits::conflict(edits, ask.arguments, &verdict.arguments) => Some(Reason::EditConflict),
        Outcome::Permit => None,
        Outcome::Deny => Some(hidden(Reason::PolicyDenied)),
        Outcome::Error => Some(hidden(Reason::PolicyError)),
    };
    Ruling { denial, policies: verdict.policies, cause: bound.cause }
}

/// Whether the caller may know of a tool: some call to it could be permitted. What `tools/list` shows, and the
/// difference between 403 and 404. Holds for observe mode too, where it hides nothing.
#[must_use]
pub fn visible(identity: &Identity, tool: &Tool, set: &PolicySet, cache: &mut DecisionCache) -> bool {
    let Some(target) = set.target(Resource::Tool(tool)) else { return false };
    set.mode() == Mode::Observe || cache.bind(identity, Resource::Tool(tool), target, set).visible
}

/// Scopes of a route that a token lacks. Any at all is `insufficient_scope`.
#[must_use]
pub fn missing_scopes<'r>(identity: &Identity, route: &'r Route) -> SmallVec<[&'r str; 4]> {
    let held = |scope: &str| identity.scopes.iter().any(|held| **held == *scope);
    route.scopes.iter().map(String::as_str).filter(|scope| !held(scope)).collect()
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
