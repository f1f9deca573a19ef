//! What the fuzz bodies of this concern share: a caller, and rules for everything that can be found.

use std::sync::Arc;

use regex::bytes::Regex;

use super::rules::{RouteRules, ScopeNames};
use super::tokenise::Caller;
use crate::clock::Now;
use crate::config::resolved::{
    ContentAction, CustomDetector, Detector, DetokenizeRule, Direction, SafetyConfig, SafetyRule, Secret, TokenKey,
    TokensConfig,
};
use crate::ids::{Key128, TenantId};

/// Bytes told apart from what is fuzzed: the first byte of an input, if it has one.
pub(super) const fn split(input: &[u8]) -> Option<(u8, &[u8])> {
    match input.split_first() {
        Some((first, rest)) => Some((*first, rest)),
        None => None,
    }
}

/// Runs `use_it` as somebody of this tenant, in this hour.
pub(super) fn as_caller<T>(tenant: &str, hour: u64, use_it: impl FnOnce(&Caller<'_>) -> T) -> T {
    let id = TenantId { issuer: "idp".into(), tenant: tenant.into() };
    use_it(&Caller {
        tenant: &id,
        tenant_key: Key128::of(&[tenant.as_bytes()]),
        user_key: Key128::of(&[tenant.as_bytes(), b"alice"]),
        subject: "alice",
        roles: &[],
        tool: "crm/contacts",
        root: "",
        now: Now { wall_ns: hour.wrapping_mul(3_600_000_000_000), mono_ns: 0 },
    })
}

/// One rule for every type, a type of one's own among them; tokens under this key, which alice may have back anywhere.
pub(super) fn rules(action: ContentAction, key: u8) -> RouteRules {
    let employee = Regex::new(r"\bEMP-[0-9]{6}\b").expect("a regex");
    let form = CustomDetector {
        detector: Detector::Custom1,
        regex: employee,
        context: vec![],
        validator: None,
        confidence: 90,
    };
    let config = SafetyConfig {
        rules: vec![SafetyRule::new("rule", &Detector::ALL, action)],
        detectors: vec![form],
        tokens: TokensConfig { keys: vec![token_key(key)], values_per_hour: 1 << 16 },
        detokenize: vec![everywhere()],
        ..SafetyConfig::default()
    };
    let names = ScopeNames { route: "r", tool: None, tenant: "acme" };
    RouteRules::compile(&config, &names, Direction::Response).expect("the engine compiles")
}

fn token_key(byte: u8) -> TokenKey {
    TokenKey { id: Arc::from("k1"), secret: Secret::new(vec![byte; 32]), file: "token.key".into() }
}

fn everywhere() -> DetokenizeRule {
    DetokenizeRule {
        id: "everywhere".into(),
        detect: Detector::ALL.to_vec(),
        tools: vec!["crm/contacts".into()],
        pointers: (0..=32).map(|depth| "/*".repeat(depth)).collect(),
        roles: Vec::new(),
        subjects: vec!["alice".into()],
        tenants: Vec::new(),
    }
}

/// Numbers from a seed, the same ones each time (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }

    /// `bytes` in pieces of one to `most`, cut only where that `may` be.
    pub(super) fn pieces<'b>(&mut self, bytes: &'b [u8], most: usize, may: impl Fn(usize) -> bool) -> Vec<&'b [u8]> {
        let (mut pieces, mut at) = (Vec::new(), 0);
        while at < bytes.len() {
            let mut end = (at + 1 + self.below(most)).min(bytes.len());
            while end < bytes.len() && !may(end) {
                end += 1;
            }
            pieces.push(&bytes[at..end]);
            at = end;
        }
        pieces
    }
}
