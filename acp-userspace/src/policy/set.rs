//! The policies of one configuration, checked and sliced.
//!
//! Cedar walks every policy it is given (about 1 µs each), so the set is cut twice: at load by action and resource,
//! and per identity by the user, roles and tenant that a policy's scope names. What remains is the *slice*; Cedar
//! sees nothing else, and the context values that a slice reads are known before the first call ([`super::reads`]).
//!
//! A set compiles whole or not at all: policies that do not parse, do not validate against the generated schema, can
//! never apply, name a tool or route that is not configured, or contradict each other about an argument's type are
//! all reported together, each with file, line and id.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cedar_policy as cedar;
use cedar_policy::{ActionConstraint, EntityUid, PrincipalConstraint, ResourceConstraint};

use super::Resource;
use super::entity::{self, Literal, Naming};
use super::reads::Reads;
use super::shape::Shape;
use super::source::{BUILT_IN, BUILT_IN_NAME, PolicyMistake, PolicyMistakes, Source, parse, with_help};
use crate::config::resolved::{Issuer, Mode, PolicyConfig, Route};

/// The compiled policies of one configuration. Immutable, shared by all workers.
#[derive(Debug)]
pub struct PolicySet {
    /// Unique in the process: what caches tell sets apart by.
    stamp: u64,
    mode: Mode,
    naming: Naming,
    policies: Vec<Source>,
    /// Custom claims as the policies of the whole set take them.
    claims: Shape,
    /// Users, roles and tenants that policy scopes name.
    groups: HashMap<EntityUid, u32>,
    /// By `Tool::index`.
    tools: Vec<Target>,
    /// By [`Route::index`].
    routes: Vec<Target>,
    /// For the record: SHA-256 over names and texts of the sources.
    digest: [u8; 32],
}

/// Something that can be asked for, and the policies that may have a say in it.
#[derive(Debug)]
pub(super) struct Target {
    /// The tool's or route's name, to notice a caller that mixes configurations.
    pub(super) name: Arc<str>,
    pub(super) route: Arc<Route>,
    pub(super) action: EntityUid,
    pub(super) resource: EntityUid,
    /// The route that a tool is in.
    parent: EntityUid,
    pub(super) entity: cedar::Entity,
    /// Whether it has arguments: a call, not a list.
    pub(super) call: bool,
    /// Policies for any principal.
    general: Vec<u32>,
    /// Policies for one user, role or tenant.
    by_group: HashMap<u32, Vec<u32>>,
}

/// One policy, for `acp policy`.
#[derive(Debug, Clone, Copy)]
pub struct PolicyEntry<'s> {
    /// Its id.
    pub id: &'s str,
    /// The file it is in.
    pub file: &'s str,
    /// Its first line there, from 1.
    pub line: usize,
    /// Its Cedar text.
    policy: &'s cedar::Policy,
}

impl PolicyEntry<'_> {
    /// Its Cedar text.
    #[must_use]
    pub fn text(&self) -> String {
        self.policy.to_string()
    }
}

impl PolicySet {
    /// Compiles and checks the policies of a configuration.
    ///
    /// # Errors
    /// With everything that is wrong.
    pub fn compile(
        config: &PolicyConfig,
        issuers: &[Arc<Issuer>],
        routes: &[Arc<Route>],
    ) -> Result<Self, PolicyMistakes> {
        static STAMP: AtomicU64 = AtomicU64::new(1);
        let built_in = config.scope_rule.then_some((BUILT_IN_NAME, BUILT_IN));
        let files = built_in.into_iter().chain(config.sources.iter().map(|(name, text)| (&**name, &**text)));

        let mut mistakes = Vec::new();
        let mut policies = parse(files.clone(), &mut mistakes);
        let naming = Naming::new(&issuers.iter().map(|issuer| Arc::clone(&issuer.name)).collect::<Vec<_>>());
        check_names(&naming, &policies, routes, &mut mistakes);
        let claims = infer_types(&mut policies, &mut mistakes);
        validate(&policies, &claims, &mut mistakes);

        let groups = number_groups(&policies);
        let slicer = Slicer::new(&policies, &groups);
        let tools = slicer.tools(routes, &mut mistakes);
        let route_targets = routes.iter().map(|route| slicer.route(route)).collect();
        if !mistakes.is_empty() {
            return Err(PolicyMistakes(mistakes));
        }
        Ok(Self {
            stamp: STAMP.fetch_add(1, Ordering::Relaxed),
            mode: config.mode,
            naming,
            claims,
            groups,
            tools,
            routes: route_targets,
            digest: digest(files),
            policies,
        })
    }

    /// Enforce or observe.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// SHA-256 over the sources, for the record (THREATS A29).
    #[must_use]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }

    /// Every policy, built-in ones first, in file order.
    pub fn policies(&self) -> impl Iterator<Item = PolicyEntry<'_>> {
        self.policies.iter().map(|source| PolicyEntry {
            id: &source.id,
            file: &source.file,
            line: source.line,
            policy: &source.policy,
        })
    }

    pub(super) fn stamp(&self) -> u64 {
        self.stamp
    }

    pub(super) fn naming(&self) -> &Naming {
        &self.naming
    }

    pub(super) fn claims(&self) -> &Shape {
        &self.claims
    }

    pub(super) fn source(&self, policy: u32) -> &Source {
        &self.policies[policy as usize]
    }

    /// The target of a tool or route; `None` if it is of another configuration.
    pub(super) fn target(&self, resource: Resource<'_>) -> Option<&Target> {
        let (target, name) = match resource {
            Resource::Tool(tool) => (self.tools.get(tool.index), &tool.name),
            Resource::Route(route) => (self.routes.get(route.index), &route.name),
        };
        target.filter(|target| target.name == *name)
    }

    /// The number of a user, role or tenant, if any policy's scope names it.
    pub(super) fn group(&self, uid: &EntityUid) -> Option<u32> {
        self.groups.get(uid).copied()
    }
}

impl Target {
    /// Those of `groups` that make a difference here.
    pub(super) fn relevant<'g>(&'g self, groups: &'g [u32]) -> impl Iterator<Item = u32> + 'g {
        groups.iter().copied().filter(|group| self.by_group.contains_key(group))
    }

    /// The slice: policies that apply to a member of exactly these relevant groups.
    pub(super) fn slice<'g>(&'g self, relevant: &'g [u32]) -> impl Iterator<Item = u32> + 'g {
        let of_groups = relevant.iter().filter_map(|group| self.by_group.get(group)).flatten();
        self.general.iter().chain(of_groups).copied()
    }
}

/// Refuses names that no request can have, and issuer names that would make ids ambiguous.
fn check_names(naming: &Naming, policies: &[Source], routes: &[Arc<Route>], mistakes: &mut Vec<PolicyMistake>) {
    if let Some(name) = naming.unusable_issuer() {
        mistakes.push(PolicyMistake {
            file: "identity.issuer".to_owned(),
            policy: None,
            line: None,
            message: format!("with several issuers, an issuer's name may not hold `#`: {name}"),
        });
    }
    let tools: HashSet<&str> = routes.iter().flat_map(|route| &route.tools).map(|tool| &*tool.name).collect();
    let routes: HashSet<&str> = routes.iter().map(|route| &*route.name).collect();
    for source in policies {
        for uid in source.policy.entity_literals() {
            let id = uid.id().unescaped();
            let wrong = match Literal::of(&uid) {
                Literal::Tool if !tools.contains(id) => "there is no such tool",
                Literal::Route if !routes.contains(id) => "there is no such route",
                Literal::Party if !naming.names(id) => "with several issuers, write `<issuer name>#` before the id",
                _ => continue,
            };
            mistakes.push(source.mistake(format_args!("{uid}: {wrong}")));
        }
    }
}

/// Gives every argument and claim that is read a type. Claims have one type in the whole set.
fn infer_types(policies: &mut [Source], mistakes: &mut Vec<PolicyMistake>) -> Shape {
    let mut claims = Shape::record();
    loop {
        let mut learned = false;
        for source in policies.iter_mut() {
            match source.reads.propagate(&claims) {
                Ok(more) => learned |= more,
                Err(error) => mistakes.push(source.mistake(error)),
            }
            merge_claims(&mut claims, source, mistakes);
        }
        if !learned || !mistakes.is_empty() {
            break;
        }
    }
    for source in policies.iter_mut() {
        if let Err(error) = source.reads.settle(&claims) {
            mistakes.push(source.mistake(error));
        }
        merge_claims(&mut claims, source, mistakes);
    }
    claims
}

fn merge_claims(claims: &mut Shape, source: &Source, mistakes: &mut Vec<PolicyMistake>) {
    if let Err(conflict) = claims.merge(&source.reads.claims) {
        let (path, one, other) = (conflict.path.join("."), conflict.one.name(), conflict.other.name());
        let mistake =
            source.mistake(format_args!("`principal.claims.{path}` is {one} in another policy, {other} here"));
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }
}

/// Cedar's strict validation of each policy, under a schema made for what it reads.
fn validate(policies: &[Source], claims: &Shape, mistakes: &mut Vec<PolicyMistake>) {
    let mut validators: Vec<(&Shape, cedar::Validator)> = Vec::new();
    for source in policies {
        let arguments = &source.reads.arguments;
        let at = match validators.iter().position(|(shape, _)| *shape == arguments) {
            Some(at) => at,
            None => match cedar::Schema::from_json_value(entity::schema(arguments, claims)) {
                Ok(schema) => {
                    validators.push((arguments, cedar::Validator::new(schema)));
                    validators.len() - 1
                }
                Err(error) => {
                    mistakes.push(source.mistake(with_help(&error)));
                    continue;
                }
            },
        };
        validate_one(&validators[at].1, source, mistakes);
    }
}

fn validate_one(validator: &cedar::Validator, source: &Source, mistakes: &mut Vec<PolicyMistake>) {
    let set = match cedar::PolicySet::from_policies([source.policy.clone()]) {
        Ok(set) => set,
        Err(error) => return mistakes.push(source.mistake(error)),
    };
    let result = validator.validate(&set, cedar::ValidationMode::Strict);
    mistakes.extend(result.validation_errors().map(|error| source.mistake(with_help(error))));
    // Mixed scripts are how many languages write; everything else here is a policy that can never apply, or text
    // that does not show what it does.
    let warnings = result
        .validation_warnings()
        .filter(|warning| !matches!(warning, cedar::ValidationWarning::MixedScriptString(_)));
    mistakes.extend(warnings.map(|warning| source.mistake(with_help(warning))));
}

/// Numbers the users, roles and tenants that policy scopes name.
fn number_groups(policies: &[Source]) -> HashMap<EntityUid, u32> {
    let mut groups = HashMap::new();
    for source in policies {
        if let Some(uid) = principal_group(&source.policy) {
            let next = index(groups.len());
            groups.entry(uid).or_insert(next);
        }
    }
    groups
}

/// Whom a policy's scope names; `None` if it is for anyone. (`User` is the only type of principal.)
fn principal_group(policy: &cedar::Policy) -> Option<EntityUid> {
    match policy.principal_constraint() {
        PrincipalConstraint::Any | PrincipalConstraint::Is(_) => None,
        PrincipalConstraint::In(uid) | PrincipalConstraint::Eq(uid) | PrincipalConstraint::IsIn(_, uid) => Some(uid),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a configuration of 2³² policies does not load")]
const fn index(len: usize) -> u32 {
    len as u32
}

/// Cuts the set by action and resource.
struct Slicer<'s> {
    policies: &'s [Source],
    /// Of each policy; taken out once, since Cedar copies them at every call.
    scopes: Vec<Scope>,
}

struct Scope {
    group: Option<u32>,
    action: ActionConstraint,
    resource: ResourceConstraint,
}

impl<'s> Slicer<'s> {
    fn new(policies: &'s [Source], groups: &HashMap<EntityUid, u32>) -> Self {
        let scope = |source: &Source| Scope {
            group: principal_group(&source.policy).and_then(|uid| groups.get(&uid).copied()),
            action: source.policy.action_constraint(),
            resource: source.policy.resource_constraint(),
        };
        Self { policies, scopes: policies.iter().map(scope).collect() }
    }

    fn tools(&self, routes: &[Arc<Route>], mistakes: &mut Vec<PolicyMistake>) -> Vec<Target> {
        let mut tools: Vec<_> = routes.iter().flat_map(|route| route.tools.iter().map(move |t| (t, route))).collect();
        tools.sort_by_key(|(tool, _)| tool.index);
        let mut names = HashSet::new();
        let mut targets = Vec::with_capacity(tools.len());
        for (at, (tool, route)) in tools.into_iter().enumerate() {
            let fault = if !names.insert(&*tool.name) {
                Some("another tool has this name")
            } else if tool.index != at {
                Some("tools are not numbered one by one")
            } else {
                None
            };
            let entity = entity::tool_entity(tool, route);
            match (fault, entity) {
                (None, Some(entity)) => {
                    let target = self.target(&tool.name, route, "call", entity);
                    self.check_arguments(&target, mistakes);
                    targets.push(target);
                }
                (fault, _) => mistakes.push(PolicyMistake {
                    file: "route.tool".to_owned(),
                    policy: None,
                    line: None,
                    message: format!("{}: {}", tool.name, fault.unwrap_or("its attributes cannot be represented")),
                }),
            }
        }
        targets
    }

    fn route(&self, route: &Arc<Route>) -> Target {
        self.target(&route.name, route, "list", entity::route_entity(route))
    }

    fn target(&self, name: &Arc<str>, route: &Arc<Route>, action: &str, entity: cedar::Entity) -> Target {
        let mut target = Target {
            name: Arc::clone(name),
            route: Arc::clone(route),
            action: entity::action_uid(action),
            resource: entity.uid(),
            parent: entity::route_uid(&route.name),
            entity,
            call: action == "call",
            general: Vec::new(),
            by_group: HashMap::new(),
        };
        for (at, scope) in self.scopes.iter().enumerate() {
            match scope.group {
                _ if !scope.admits(&target) => {}
                None => target.general.push(index(at)),
                Some(group) => target.by_group.entry(group).or_default().push(index(at)),
            }
        }
        target
    }

    /// An argument of one tool has one type, whichever of its policies reads it.
    fn check_arguments(&self, target: &Target, mistakes: &mut Vec<PolicyMistake>) {
        let mut all = Reads::none();
        for at in target.general.iter().chain(target.by_group.values().flatten()) {
            let source = &self.policies[*at as usize];
            if let Err(error) = all.merge(&source.reads) {
                mistakes.push(source.mistake(format_args!("{error} by policies of the tool {}", target.name)));
            }
        }
    }
}

impl Scope {
    /// Whether action and resource admit the target.
    fn admits(&self, target: &Target) -> bool {
        let action = match &self.action {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(uid) => *uid == target.action,
            ActionConstraint::In(uids) => uids.contains(&target.action),
        };
        let is = |name: &cedar::EntityTypeName| name == target.resource.type_name();
        let within = |uid: &EntityUid| *uid == target.resource || (target.call && *uid == target.parent);
        action
            && match &self.resource {
                ResourceConstraint::Any => true,
                ResourceConstraint::Eq(uid) => *uid == target.resource,
                ResourceConstraint::In(uid) => within(uid),
                ResourceConstraint::Is(name) => is(name),
                ResourceConstraint::IsIn(name, uid) => is(name) && within(uid),
            }
    }
}

fn digest<'t>(files: impl Iterator<Item = (&'t str, &'t str)>) -> [u8; 32] {
    let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    for part in files.flat_map(|(name, text)| [name, text]) {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part.as_bytes());
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}
