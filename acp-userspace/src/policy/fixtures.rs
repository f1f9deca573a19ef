//! Identities, tools and routes for tests of policy and routing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use crate::config::resolved::{
    ClaimNames, Credentials, Issuer, JwksSource, Protocol, Route, Segment, Tenants, Tool, ToolMatch, Upstream,
};
use crate::identity::{Authenticated, Identity};
use crate::ids::{Key128, TenantId, UserId};
use crate::safety::{Edit, Finding, Screened};

pub(crate) fn issuer(name: &str) -> Arc<Issuer> {
    Arc::new(Issuer {
        name: name.into(),
        issuer: format!("https://{name}.example/").into(),
        audience: vec!["acp".into()],
        jwks: JwksSource::Discovery,
        claims: ClaimNames {
            tenant: "org_id".into(),
            scopes: "scope".into(),
            roles: "roles".into(),
            custom: vec!["department".into()],
        },
        tenants: Tenants::Any,
        allow_private: Vec::new(),
    })
}

/// An identity of the issuer entry `idp`.
pub(crate) fn identity(subject: &str, scopes: &[&str], roles: &[&str], claims: serde_json::Value) -> Arc<Identity> {
    identity_of("idp", subject, scopes, roles, claims)
}

pub(crate) fn identity_of(
    entry: &str,
    subject: &str,
    scopes: &[&str],
    roles: &[&str],
    claims: serde_json::Value,
) -> Arc<Identity> {
    let user = UserId { issuer: entry.into(), subject: subject.into() };
    let tenant = TenantId { issuer: entry.into(), tenant: "org_acme".into() };
    let digest = json!([entry, subject, scopes, roles, claims]).to_string();
    Arc::new(Identity {
        issuer: issuer(entry),
        user_key: user.key(),
        tenant_key: tenant.key(),
        user,
        tenant,
        scopes: scopes.iter().map(|scope| Arc::from(*scope)).collect(),
        roles: roles.iter().map(|role| Arc::from(*role)).collect(),
        claims: claims.as_object().cloned().unwrap_or_default(),
        audience: vec!["acp".into()],
        expires: u64::MAX,
        not_before: None,
        issued_at: None,
        client: None,
        key_id: "k".into(),
        digest: Key128::of(&[digest.as_bytes()]),
        token_hash: Key128([0; 16]),
    })
}

pub(crate) fn screened(identity: &Arc<Identity>, findings: Vec<Finding>, edits: Vec<Edit>) -> Screened {
    Screened::for_test(Authenticated::for_test(Arc::clone(identity)), findings, edits)
}

/// A tool recognised by `method` and `pattern` (segments, `*` for any one).
pub(crate) fn http_tool(index: usize, name: &str, verb: &str, method: &str, pattern: &str) -> Arc<Tool> {
    let segment = |text: &str| if text == "*" { Segment::Any } else { Segment::Literal(text.into()) };
    let segments = pattern.split('/').filter(|text| !text.is_empty()).map(segment).collect();
    tool(index, name, verb, ToolMatch::Http { method: method.into(), segments })
}

pub(crate) fn tool(index: usize, name: &str, verb: &str, matcher: ToolMatch) -> Arc<Tool> {
    Arc::new(Tool {
        index,
        name: name.into(),
        matcher,
        verb: verb.into(),
        price_picousd: 0,
        labels: vec!["patient".into()],
    })
}

pub(crate) fn route(index: usize, path: &str, scopes: &[&str], tools: Vec<Arc<Tool>>) -> Route {
    Route {
        index,
        name: path.into(),
        path: path.into(),
        upstream: 0,
        protocol: Protocol::Http,
        scopes: scopes.iter().map(|scope| (*scope).to_owned()).collect(),
        audience: Vec::new(),
        tools,
        body_bytes_max: 1 << 20,
        content_types: Vec::new(),
        content_codings: Vec::new(),
        response_headers: Vec::new(),
        cookies: false,
        half_close: false,
        fails_open: false,
        streaming: false,
    }
}

pub(crate) fn upstream(host: &str, port: u16, base_path: &str) -> Upstream {
    Upstream {
        name: "crm".into(),
        host: host.into(),
        port,
        base_path: base_path.into(),
        allow_private: Vec::new(),
        allow_loopback: Vec::new(),
        credentials: Credentials::None,
        connect_timeout: Duration::from_secs(2),
        read_timeout: Duration::from_secs(60),
        idle_connections_max: 64,
        idle_timeout: Duration::from_secs(55),
    }
}
