//! `[safety.tokens]` and `[[safety.detokenize]]`: keys that can be read, and permits that can be used.

use std::sync::Arc;

use super::super::files::{Files, Holds};
use super::super::mistake::Collector;
use super::super::raw;
use super::super::resolved::{ContentAction, DetokenizeRule, Route, SafetyRule, Secret, TokenKey, TokensConfig};
use super::safety::{World, detectors, may_assert};
use super::{check_name, secret_path, texts, unique, within};

/// Bytes of a master key.
const KEY_BYTES: usize = 32;
/// Keys at once: rotations do not overlap more than that.
const KEYS_MAX: usize = 8;
/// Bytes of a key's id, which every token repeats.
const ID_BYTES_MAX: usize = 16;

/// Keys; rules that make tokens need one.
pub(super) fn tokens(
    raw: &raw::Safety,
    rules: &[SafetyRule],
    files: &mut Files<'_>,
    found: &mut Collector,
) -> TokensConfig {
    let list = &raw.tokens.key;
    unique(list.iter().map(|key| (key.id.as_str(), &key.id.at)), "the key id", found);
    found.expect(list.len() <= KEYS_MAX, &list.at, || format!("has more than {KEYS_MAX} keys"));
    let keys: Vec<_> = list.iter().filter_map(|raw| key(raw, files, found)).collect();
    for (rule, raw) in rules.iter().zip(raw.rule.iter()) {
        let needs = matches!(rule.action, ContentAction::Tokenize | ContentAction::Pseudonymize);
        found.expect(!needs || !list.is_empty(), &raw.action.at, || {
            "needs a key to make tokens with; add [[safety.tokens.key]]".to_owned()
        });
    }
    TokensConfig { keys, values_per_hour: within(&raw.tokens.values_per_hour, 1, 65_536, found) as u32 }
}

fn key(raw: &raw::TokenKey, files: &mut Files<'_>, found: &mut Collector) -> Option<TokenKey> {
    let id = &*raw.id.value;
    let plain = matches!(id.len(), 1..=ID_BYTES_MAX) && id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9'));
    found.expect(plain, &raw.id.at, || format!("has to be 1 to {ID_BYTES_MAX} of a to z and 0 to 9"));
    let secret = secret_path(&raw.file, &raw.credential, files).and_then(|file| {
        let text = files.read(&file, Holds::Secret).map_err(|why| (&raw.file.at, why))?;
        let bytes = key_bytes(&text).ok_or_else(|| {
            let why =
                "names a file that holds no key: 64 hexadecimal digits are expected, as from openssl rand -hex 32";
            (&raw.file.at, why.to_owned())
        })?;
        Ok(TokenKey { id: id.into(), secret: Secret::new(bytes), file })
    });
    secret.map_err(|(at, why)| found.add(at, why)).ok()
}

/// The bytes that hexadecimal digits say, white space around them left out.
fn key_bytes(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    if text.len() != 2 * KEY_BYTES || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..KEY_BYTES).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()).collect()
}

/// Permits; one that could never be used is a mistake.
pub(super) fn permits(raw: &raw::Safety, world: &World<'_>, found: &mut Collector) -> Vec<DetokenizeRule> {
    let ids: Vec<String> = raw
        .detokenize
        .iter()
        .enumerate()
        .map(|(i, permit)| permit.id.value.clone().unwrap_or_else(|| format!("safety.detokenize.{i}")))
        .collect();
    unique(ids.iter().map(String::as_str).zip(raw.detokenize.iter().map(|p| &p.id.at)), "the permit id", found);
    raw.detokenize.iter().zip(&ids).map(|(permit, id)| self::permit(permit, id, raw, world, found)).collect()
}

fn permit(
    raw: &raw::Detokenize,
    id: &str,
    safety: &raw::Safety,
    world: &World<'_>,
    found: &mut Collector,
) -> DetokenizeRule {
    check_name(id, &raw.id.at, found);
    found.expect(!safety.tokens.key.is_empty(), &raw.tools.at, || {
        "never acts: there is no [[safety.tokens.key]]".to_owned()
    });
    for (list, what) in [(&raw.detect, "type"), (&raw.tools, "tool"), (&raw.pointers, "pointer")] {
        found.expect(!list.is_empty(), &list.at, || format!("names no {what}, so nothing is permitted"));
    }
    found.expect(!raw.roles.is_empty() || !raw.subjects.is_empty(), &raw.roles.at, || {
        "or `subjects` has to say whose calls carry the values".to_owned()
    });
    for tool in raw.tools.iter() {
        let of = |route: &&Arc<Route>| route.tools.iter().any(|known| *known.name == *tool.value);
        found.expect(world.routes.iter().any(|route| of(&route)), &tool.at, || format!("{:?} is no tool", tool.value));
    }
    for pointer in raw.pointers.iter() {
        found.expect(pointer.is_empty() || pointer.starts_with('/'), &pointer.at, || {
            "is no JSON pointer: it has to start with / or be empty (RFC 6901)".to_owned()
        });
    }
    for tenant in raw.tenants.iter() {
        found.expect(world.issuers.iter().any(|issuer| may_assert(issuer, tenant)), &tenant.at, || {
            "is no tenant that an issuer may assert".to_owned()
        });
    }
    DetokenizeRule {
        id: id.into(),
        detect: detectors(&raw.detect, found),
        tools: texts(&raw.tools),
        pointers: texts(&raw.pointers),
        roles: texts(&raw.roles),
        subjects: texts(&raw.subjects),
        tenants: texts(&raw.tenants),
    }
}
