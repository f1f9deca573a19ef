//! Records for tests: an allowed call of a patient record, with every field filled.

use super::*;
use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::ids::{TenantId, UserId};
use crate::safety::FoundAt;
use crate::usage::HoldPart;

/// Monday 2026-11-23 12:00:00 UTC.
pub(crate) const NOON_NS: u64 = 1_795_435_200_000_000_000;

pub(crate) fn id(n: u32) -> RequestId {
    let mut id = [7; 12];
    id[8..].copy_from_slice(&n.to_be_bytes());
    RequestId(id)
}

pub(crate) fn now() -> Now {
    Now { wall_ns: NOON_NS, mono_ns: 5_000_000_000 }
}

pub(crate) fn peer() -> Peer {
    Peer { address: "203.0.113.7:40001".parse().unwrap(), cookie: 41, tenant_slot: 3 }
}

pub(crate) fn who(subject: &str) -> Who<'_> {
    let user = UserId { issuer: "auth0".into(), subject: subject.into() };
    let tenant = TenantId { issuer: "auth0".into(), tenant: "org_acme".into() };
    Who {
        tenant: "org_acme",
        issuer: "auth0",
        subject,
        client: Some("chat-app"),
        key_id: "kid-1",
        tenant_key: tenant.key(),
        user_key: user.key(),
        token_hash: Key128([9; 16]),
        method: AuthMethod::BearerJwt,
    }
}

pub(crate) fn finding() -> Finding {
    Finding { detector: Detector::Email, count: 2, confidence: 95, action: ContentAction::Redact, mode: Mode::Enforce }
}

/// Where the finding lies; its key is hostile.
pub(crate) fn evidence() -> Evidence {
    let place = "#/to/0/\u{1b}[2J 078-05-1120".to_owned();
    Evidence {
        places: vec![FoundAt { detector: Detector::Email, place }],
        score: 28,
        would_block: false,
        numbers_to_text: 1,
        unscreened: Some(Reason::ScannerFailed),
    }
}

pub(crate) fn outcome() -> Outcome<'static> {
    const FINDINGS: [Finding; 1] = [Finding {
        detector: Detector::Phone,
        count: 1,
        confidence: 70,
        action: ContentAction::Flag,
        mode: Mode::Observe,
    }];
    Outcome {
        request_id: id(1),
        now: Now { wall_ns: NOON_NS + 3_000_000, mono_ns: 5_003_000_000 },
        reason: Reason::Allowed,
        decision: Decision::Allow,
        upstream_status: Some(200),
        upstream: "crm",
        settled_microusd: 2000,
        bytes: Bytes { request_in: 1024, request_out: 1030, response_in: 512, response_out: 512 },
        findings: &FINDINGS,
        evidence: &NO_EVIDENCE,
        upstream_ns: 1_900_000,
        total_ns: 3_000_000,
        edits: 2,
    }
}

/// Calls `use_it` with a full intent of `alice`.
pub(crate) fn with_intent<T>(use_it: impl FnOnce(&Intent<'_>) -> T) -> T {
    let parts = [HoldPart { budget: Key128([3; 16]), lease: 12, held_microusd: 2000 }].into_iter().collect();
    let hold = Hold::detached(77, parts);
    let (labels, policies): ([Arc<str>; 1], [Arc<str>; 1]) = (["patient".into()], ["scope:crm/contacts".into()]);
    use_it(&Intent {
        request_id: id(1),
        now: now(),
        who: who("auth0|alice"),
        peer: peer(),
        call: Call {
            route: "/tools/crm",
            path: "/tools/crm/contacts",
            tool: "crm/contacts",
            verb: "read",
            labels: &labels,
        },
        policies: &policies,
        findings: &[finding()],
        evidence: &evidence(),
        arguments: Some(KeyedDigest { key_id: 1, digest: [5; 16] }),
        price_microusd: 2000,
        hold: &hold,
        would: &[WouldBe { layer: Layer::Usage, rule: "user", reason: Reason::RateLimited }],
        versions: Versions { config: [1; 8], policy: [2; 8], keys: 4, snapshot: 6 },
        latency: Latency { head: 700, identity: 60, body: 900, safety: 1200, policy: 150, usage: 90, routing: 110 },
    })
}
