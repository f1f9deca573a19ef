//! The entities policies speak of, and the schema they are validated against.
//!
//! ```cedar
//! entity Role, Tenant, Route;
//! entity User in [Role, Tenant] {
//!   subject: String, tenant: String, issuer: String, scopes: Set<String>, roles: Set<String>, claims: { … } };
//! entity Tool in [Route] { name: String, verb: String, scope: String, labels: Set<String>, route: String };
//! action "call" appliesTo { principal: User, resource: Tool, context: { arguments: { … }, findings: { … }, source: { address: ipaddr } } };
//! action "list" appliesTo { principal: User, resource: Route, context: { findings: { … }, source: { address: ipaddr } } };
//! ```
//!
//! With one issuer, `User`, `Role` and `Tenant` are named by the bare claim (`Role::"doctor"`). With several, equal
//! claims of two issuers are two parties (THREATS A7), so the issuer entry's name and `#` stand before it
//! (`Role::"okta#doctor"`), and a policy that leaves them out is refused at load rather than silently matching
//! nobody. Ids are made by constructors, never by joining Cedar text; mapped claims appear under `claims` only.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, LazyLock};

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use serde_json::{Value, json};

use super::context::claim_value;
use super::shape::{Kind, Scalar, Shape};
use crate::config::resolved::{Detector, Route, Tool};
use crate::identity::Identity;

/// Separates issuer and value where there are several issuers; an issuer URL cannot hold it (OpenID Connect Core §2).
pub(super) const ISSUER_SEPARATOR: char = '#';

macro_rules! entity_types {
    ($($name:ident = $text:literal),+) => {
        $(static $name: LazyLock<EntityTypeName> =
            LazyLock::new(|| $text.parse().expect("a plain identifier is an entity type name"));)+
    };
}
entity_types! { USER = "User", ROLE = "Role", TENANT = "Tenant", TOOL = "Tool", ROUTE = "Route", ACTION = "Action" }

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

/// `Tool::"…"`.
pub(super) fn tool_uid(name: &str) -> EntityUid {
    uid(&TOOL, name)
}

/// `Route::"…"`.
pub(super) fn route_uid(name: &str) -> EntityUid {
    uid(&ROUTE, name)
}

/// `Action::"…"`.
pub(super) fn action_uid(name: &str) -> EntityUid {
    uid(&ACTION, name)
}

/// How users, roles and tenants are named.
#[derive(Debug, Clone)]
pub(super) struct Naming {
    /// The issuer entries, when there are several.
    qualified: Option<Vec<Arc<str>>>,
}

impl Naming {
    /// Naming for these issuer entries.
    pub(super) fn new(issuers: &[Arc<str>]) -> Self {
        Self { qualified: (issuers.len() > 1).then(|| issuers.to_vec()) }
    }

    /// An issuer entry's name that would make ids ambiguous.
    pub(super) fn unusable_issuer(&self) -> Option<&Arc<str>> {
        self.qualified.iter().flatten().find(|name| name.contains(ISSUER_SEPARATOR))
    }

    /// Whether a policy may name this party.
    pub(super) fn names(&self, id: &str) -> bool {
        self.qualified.as_ref().is_none_or(|issuers| {
            id.split_once(ISSUER_SEPARATOR).is_some_and(|(issuer, _)| issuers.iter().any(|name| **name == *issuer))
        })
    }

    fn party(&self, kind: &EntityTypeName, issuer: &str, value: &str) -> EntityUid {
        match self.qualified {
            None => uid(kind, value),
            Some(_) => uid(kind, &[issuer, value].join("#")),
        }
    }

    /// The user, and every group it is in: its roles and its tenant.
    pub(super) fn parties(&self, identity: &Identity) -> (EntityUid, Vec<EntityUid>) {
        let issuer = &*identity.issuer.name;
        let user = self.party(&USER, issuer, &identity.user.subject);
        let roles = identity.roles.iter().map(|role| self.party(&ROLE, issuer, role));
        let tenant = self.party(&TENANT, issuer, &identity.tenant.tenant);
        (user, roles.chain([tenant]).collect())
    }
}

/// What kind of thing an entity literal of a policy names.
pub(super) enum Literal {
    /// A user, role or tenant.
    Party,
    Tool,
    Route,
    /// An action, or a type that the validator will report.
    Other,
}

impl Literal {
    pub(super) fn of(uid: &EntityUid) -> Self {
        match uid.type_name() {
            name if [&*USER, &*ROLE, &*TENANT].contains(&name) => Self::Party,
            name if *name == *TOOL => Self::Tool,
            name if *name == *ROUTE => Self::Route,
            _ => Self::Other,
        }
    }
}

/// The scope that the built-in rule asks for: `tool:<name>:<verb>`, `<name>` being the tool id's first segment.
pub(super) fn tool_scope(tool: &Tool) -> String {
    let name = tool.name.split('/').next().unwrap_or_default();
    ["tool", name, &tool.verb].join(":")
}

/// A user's entity, custom claims typed as `claims` says, and the names of those whose value is of another type.
pub(super) fn user_entity(
    identity: &Identity,
    (user, groups): (EntityUid, Vec<EntityUid>),
    claims: &Shape,
) -> (Option<Entity>, BTreeSet<Arc<str>>) {
    let mut unfit = BTreeSet::new();
    let claims = claim_value(&identity.claims, claims, &mut unfit);
    let attributes = HashMap::from([
        attribute("subject", text(&identity.user.subject)),
        attribute("tenant", text(&identity.tenant.tenant)),
        attribute("issuer", text(&identity.issuer.name)),
        attribute("scopes", texts(&identity.scopes)),
        attribute("roles", texts(&identity.roles)),
        attribute("claims", claims),
    ]);
    (Entity::new(user, attributes, groups.into_iter().collect()).ok(), unfit)
}

/// A tool's entity.
pub(super) fn tool_entity(tool: &Tool, route: &Route) -> Option<Entity> {
    let attributes = HashMap::from([
        attribute("name", text(&tool.name)),
        attribute("verb", text(&tool.verb)),
        attribute("scope", text(&tool_scope(tool))),
        attribute("labels", texts(&tool.labels)),
        attribute("route", text(&route.name)),
    ]);
    Entity::new(tool_uid(&tool.name), attributes, HashSet::from([route_uid(&route.name)])).ok()
}

/// A route's entity.
pub(super) fn route_entity(route: &Route) -> Entity {
    Entity::new_no_attrs(route_uid(&route.name), HashSet::new())
}

fn attribute(name: &str, value: RestrictedExpression) -> (String, RestrictedExpression) {
    (name.to_owned(), value)
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn texts(values: &[Arc<str>]) -> RestrictedExpression {
    RestrictedExpression::new_set(values.iter().map(|value| text(value)))
}

/// The schema, in Cedar's JSON form, for policies that read these arguments and claims.
pub(super) fn schema(arguments: &Shape, claims: &Shape) -> Value {
    let string = json!({"type": "String"});
    let strings = json!({"type": "Set", "element": {"type": "String"}});
    let findings: serde_json::Map<_, _> =
        Detector::ALL.iter().map(|detector| (detector.name().to_owned(), json!({"type": "Long"}))).collect();
    let findings = json!({"type": "Record", "attributes": findings});
    let source = json!({"type": "Record", "attributes": {"address": {"type": "Extension", "name": "ipaddr"}}});
    json!({"": {
        "entityTypes": {
            "Role": {}, "Tenant": {}, "Route": {},
            "User": {"memberOfTypes": ["Role", "Tenant"], "shape": {"type": "Record", "attributes": {
                "subject": string, "tenant": string, "issuer": string, "scopes": strings, "roles": strings,
                "claims": record_type(claims, true),
            }}},
            "Tool": {"memberOfTypes": ["Route"], "shape": {"type": "Record", "attributes": {
                "name": string, "verb": string, "scope": string, "labels": strings, "route": string,
            }}},
        },
        "actions": {
            "call": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Tool"], "context":
                {"type": "Record", "attributes":
                    {"arguments": record_type(arguments, true), "findings": findings, "source": source}}}},
            "list": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Route"], "context":
                {"type": "Record", "attributes": {"findings": findings, "source": source}}}},
        },
    }})
}

/// A record none of whose fields is sure to be there.
fn record_type(shape: &Shape, required: bool) -> Value {
    let fields: serde_json::Map<_, _> =
        shape.fields.iter().map(|(name, shape)| (name.to_string(), field_type(shape))).collect();
    json!({"type": "Record", "attributes": fields, "required": required})
}

fn field_type(shape: &Shape) -> Value {
    match shape.kind {
        Kind::Presence => json!({"type": "Boolean", "required": false}),
        Kind::Scalar(scalar) => scalar_type(scalar, Some(false)),
        Kind::Set(scalar) => json!({"type": "Set", "element": scalar_type(scalar, None), "required": false}),
        Kind::Record => record_type(shape, false),
    }
}

fn scalar_type(scalar: Scalar, required: Option<bool>) -> Value {
    let mut value = match scalar {
        Scalar::Bool => json!({"type": "Boolean"}),
        Scalar::Long => json!({"type": "Long"}),
        Scalar::Text => json!({"type": "String"}),
        Scalar::Decimal => json!({"type": "Extension", "name": "decimal"}),
    };
    if let (Some(required), Some(fields)) = (required, value.as_object_mut()) {
        fields.insert("required".to_owned(), required.into());
    }
    value
}
