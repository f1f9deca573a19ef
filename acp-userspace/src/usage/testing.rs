//! Identities, tools and instants for this module's tests.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Now;
use crate::config::resolved::{
    Budget, ClaimNames, Issuer, JwksSource, LoopGuard, Mode, Per, RateLimit, Tenants, Tool, ToolMatch, UsageConfig,
};
use crate::identity::{Authenticated, Identity};
use crate::ids::{Key128, TenantId, UserId};
use crate::policy::Permitted;
use crate::safety::Screened;
use crate::usage::{AdmitError, Admitted, Plan, Usage, admit};

pub(crate) fn identity(tenant: &str, subject: &str) -> Arc<Identity> {
    let issuer = Arc::new(Issuer {
        name: "idp".into(),
        issuer: "https://idp.test/".into(),
        audience: Vec::new(),
        jwks: JwksSource::Discovery,
        claims: ClaimNames {
            tenant: "org_id".into(),
            scopes: "scope".into(),
            roles: "roles".into(),
            custom: Vec::new(),
        },
        tenants: Tenants::Any,
        allow_private: Vec::new(),
    });
    let user = UserId { issuer: "idp".into(), subject: subject.into() };
    let tenant = TenantId { issuer: "idp".into(), tenant: tenant.into() };
    Arc::new(Identity {
        issuer,
        user_key: user.key(),
        tenant_key: tenant.key(),
        user,
        tenant,
        scopes: Vec::new(),
        roles: Vec::new(),
        claims: serde_json::Map::new(),
        audience: Vec::new(),
        expires: 0,
        not_before: None,
        issued_at: None,
        client: None,
        key_id: "k".into(),
        digest: Key128([0; 16]),
        token_hash: Key128([0; 16]),
    })
}

pub(crate) fn permitted(identity: &Arc<Identity>) -> Permitted {
    Permitted::for_test(Screened::for_test(Authenticated::for_test(Arc::clone(identity)), Vec::new(), Vec::new()))
}

pub(crate) fn tool(name: &str, price_microusd: u64) -> Tool {
    Tool {
        index: 0,
        name: name.into(),
        matcher: ToolMatch::Mcp { name: name.into() },
        verb: "read".into(),
        price_picousd: price_microusd * 1_000_000,
        labels: Vec::new(),
    }
}

/// `ms` after an instant that is aligned to no period.
pub(crate) fn at(ms: u64) -> Now {
    Now { wall_ns: 1_800_000_123_000_000_000 + ms * 1_000_000, mono_ns: 5_000_000_000 + ms * 1_000_000 }
}

pub(crate) fn limit(id: &str, per: Per, requests: u64, window_secs: u64) -> RateLimit {
    let window = Duration::from_secs(window_secs);
    RateLimit { id: id.into(), per, requests, window, burst: requests, mode: Mode::Enforce, kernel: true }
}

pub(crate) fn budget(id: &str, per: Per, cap: u64) -> Budget {
    let period = Duration::from_secs(86_400);
    Budget { id: id.into(), per, max_spend_microusd: cap, period, mode: Mode::Enforce }
}

pub(crate) fn loop_guard(identical_calls: u32, window_secs: u64) -> LoopGuard {
    LoopGuard { identical_calls, window: Duration::from_secs(window_secs), mode: Mode::Enforce, runaway: None }
}

/// A gateway's usage layer, and calls through it.
pub(crate) struct World {
    pub(crate) usage: Arc<Usage>,
    pub(crate) plan: Plan,
}

impl World {
    pub(crate) fn new(config: &UsageConfig) -> Self {
        Self { usage: Usage::new(config), plan: Plan::compile(config) }
    }

    /// One call with arguments that never repeat unless `arguments` does.
    pub(crate) fn call(
        &self,
        identity: &Arc<Identity>,
        tool: &Tool,
        arguments: u128,
        ms: u64,
    ) -> Result<Admitted, AdmitError> {
        let digest = Key128(arguments.to_le_bytes());
        admit(&self.usage, &self.plan, permitted(identity), tool, digest, at(ms))
    }
}
