//! Asking Cedar: one slice, one call.
//!
//! Cedar itself skips a policy that fails to evaluate; here any failure in the slice denies, a permit's as much as a
//! forbid's (a deny rule that cannot be evaluated denies). Visibility is the same question with the call unknown:
//! Cedar's partial evaluation settles what the identity and the tool settle, and what remains is visible unless no
//! call could turn it into a permit.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy as cedar;
use serde_json::Value;
use smallvec::SmallVec;

use super::PolicyIds;
use super::entity::user_entity;
use super::reads::Reads;
use super::set::{PolicySet, Target};
use crate::identity::Identity;

/// What policies see of one identity, built once per identity and worker.
#[derive(Debug)]
pub(super) struct Profile {
    user: cedar::EntityUid,
    /// `None` if its attributes cannot be represented: nothing can be evaluated for it.
    entity: Option<cedar::Entity>,
    /// Claims that are not of the type policies take them for.
    unfit: std::collections::BTreeSet<Arc<str>>,
    /// The user, roles and tenant that policy scopes name, in order.
    groups: SmallVec<[u32; 8]>,
}

impl Profile {
    pub(super) fn new(identity: &Identity, set: &PolicySet) -> Self {
        let (user, parents) = set.naming().parties(identity);
        let mut groups: SmallVec<[u32; 8]> = parents.iter().chain([&user]).filter_map(|uid| set.group(uid)).collect();
        groups.sort_unstable();
        groups.dedup();
        let (entity, unfit) = user_entity(identity, (user.clone(), parents), set.claims());
        Self { user, entity, unfit, groups }
    }

    pub(super) fn groups(&self) -> &[u32] {
        &self.groups
    }
}

/// The object keys of an argument, from the arguments' root.
pub(super) type ArgumentPath = Vec<Arc<str>>;

/// The policies that apply to a kind of caller at one target, ready for Cedar.
#[derive(Debug)]
pub(super) struct Slice {
    policies: cedar::PolicySet,
    members: HashMap<cedar::PolicyId, Member>,
    reads: Reads,
    /// They cannot be put together; the load-time checks should make this impossible, so it only denies.
    broken: bool,
}

#[derive(Debug)]
struct Member {
    /// This worker's own copy: its reference count is not shared with other cores.
    id: Arc<str>,
    arguments: Vec<ArgumentPath>,
}

impl Slice {
    pub(super) fn new(set: &PolicySet, target: &Target, relevant: &[u32]) -> Self {
        let mut slice =
            Self { policies: cedar::PolicySet::new(), members: HashMap::new(), reads: Reads::none(), broken: false };
        for at in target.slice(relevant) {
            let source = set.source(at);
            slice.broken |= slice.reads.merge(&source.reads).is_err();
            slice.broken |= slice.policies.add(source.policy.clone()).is_err();
            let member = Member { id: Arc::from(&*source.id), arguments: argument_paths(&source.reads) };
            slice.members.insert(source.policy.id().clone(), member);
        }
        slice
    }

    pub(super) fn reads(&self) -> &Reads {
        &self.reads
    }

    /// Whether the identity has a claim that these policies read and that is not of the type they take it for.
    pub(super) fn evaluable(&self, profile: &Profile) -> bool {
        let unfit = self.reads.claims.fields.iter().any(|(name, _)| profile.unfit.contains(name));
        !self.broken && !unfit && profile.entity.is_some()
    }
}

fn argument_paths(reads: &Reads) -> Vec<ArgumentPath> {
    let mut paths = Vec::new();
    let mut note = |path: &[Arc<str>], _| {
        paths.push(path.to_vec());
        Ok::<(), std::convert::Infallible>(())
    };
    let Ok(()) = reads.arguments.visit(&mut Vec::new(), &mut note);
    paths
}

/// What Cedar said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Permit,
    Deny,
    Error,
}

/// A decision, and whose it was.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) outcome: Outcome,
    /// The permits or forbids that decided, or the policies that failed; in order of their ids.
    pub(super) policies: PolicyIds,
    /// What the deciding policies read of the arguments.
    pub(super) arguments: Arc<[ArgumentPath]>,
}

impl Verdict {
    pub(super) fn error() -> Self {
        Self { outcome: Outcome::Error, policies: PolicyIds::new(), arguments: Arc::default() }
    }
}

/// Everything Cedar needs but the call.
pub(super) struct Question<'a> {
    pub(super) authorizer: &'a cedar::Authorizer,
    pub(super) target: &'a Target,
    pub(super) profile: &'a Profile,
    pub(super) slice: &'a Slice,
}

impl Question<'_> {
    /// Decides one call; `None` for a context that could not be built denies as an error.
    pub(super) fn decide(&self, context: Option<cedar::Context>) -> Verdict {
        self.response(context).map_or_else(Verdict::error, |response| self.verdict(&response))
    }

    fn response(&self, context: Option<cedar::Context>) -> Option<cedar::Response> {
        let (user, action, resource) = self.parties();
        let request = cedar::Request::new(user, action, resource, context?, None).ok()?;
        Some(self.authorizer.is_authorized(&request, &self.slice.policies, &self.entities()?))
    }

    fn verdict(&self, response: &cedar::Response) -> Verdict {
        let errors: Vec<_> = response.diagnostics().errors().map(failed_policy).collect();
        let outcome = match response.decision() {
            _ if !errors.is_empty() => Outcome::Error,
            cedar::Decision::Allow => Outcome::Permit,
            cedar::Decision::Deny => Outcome::Deny,
        };
        let ids = if errors.is_empty() { response.diagnostics().reason().collect() } else { errors };
        let mut members: Vec<_> = ids.into_iter().filter_map(|id| self.slice.members.get(id)).collect();
        members.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        let mut arguments: Vec<_> = members.iter().flat_map(|member| member.arguments.iter().cloned()).collect();
        arguments.sort_unstable();
        arguments.dedup();
        Verdict {
            outcome,
            policies: members.iter().map(|member| Arc::clone(&member.id)).collect(),
            arguments: arguments.into(),
        }
    }

    /// Whether some call could be permitted.
    pub(super) fn visible(&self) -> bool {
        let (user, action, resource) = self.parties();
        let Some(entities) = self.entities() else { return false };
        let request = cedar::Request::builder().principal(user).action(action).resource(resource).build();
        let response = self.authorizer.is_authorized_partial(&request, &self.slice.policies, &entities);
        if response.definitely_errored().next().is_some() {
            return false;
        }
        let mut permitted = false;
        for policy in response.definitely_satisfied() {
            match policy.effect() {
                cedar::Effect::Forbid => return false,
                cedar::Effect::Permit => permitted = true,
            }
        }
        for policy in response.nontrivial_residuals() {
            match policy.effect() {
                cedar::Effect::Forbid if !residual_can_be(&policy, false) => return false,
                cedar::Effect::Forbid => {}
                cedar::Effect::Permit => permitted |= residual_can_be(&policy, true),
            }
        }
        permitted
    }

    fn parties(&self) -> (cedar::EntityUid, cedar::EntityUid, cedar::EntityUid) {
        (self.profile.user.clone(), self.target.action.clone(), self.target.resource.clone())
    }

    fn entities(&self) -> Option<cedar::Entities> {
        let user = self.profile.entity.clone()?;
        cedar::Entities::from_entities([user, self.target.entity.clone()], None).ok()
    }
}

fn failed_policy(error: &cedar::AuthorizationError) -> &cedar::PolicyId {
    match error {
        cedar::AuthorizationError::PolicyEvaluationError(error) => error.policy_id(),
    }
}

/// Whether what is left of a policy could come out as `value` for some call. Cedar leaves `unknown && false` as it
/// is; errs only towards yes.
fn residual_can_be(policy: &cedar::Policy, value: bool) -> bool {
    let Ok(policy) = policy.to_json() else { return true };
    let clauses = policy["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    let holds = |clause: &Value, value: bool| can_be(&clause["body"], value == (clause["kind"] == "when"));
    if value {
        clauses.iter().all(|clause| holds(clause, true))
    } else {
        clauses.iter().any(|clause| holds(clause, false))
    }
}

/// The same of an expression in Cedar's JSON form (its typed form has no unknowns).
fn can_be(expr: &Value, value: bool) -> bool {
    let Some((operator, of)) = expr.as_object().and_then(|fields| fields.iter().next()) else { return true };
    match operator.as_str() {
        "Value" => of.as_bool().is_none_or(|literal| literal == value),
        "!" => can_be(&of["arg"], !value),
        "&&" => both(&of["left"], &of["right"], value, true),
        "||" => both(&of["left"], &of["right"], value, false),
        "if-then-else" => {
            (can_be(&of["if"], true) && can_be(&of["then"], value))
                || (can_be(&of["if"], false) && can_be(&of["else"], value))
        }
        _ => true,
    }
}

/// `&&` goes on from a left side of `true`, `||` from one of `false`.
fn both(left: &Value, right: &Value, value: bool, goes_on: bool) -> bool {
    let through = can_be(left, goes_on) && can_be(right, value);
    if value == goes_on { through } else { through || can_be(left, value) }
}
