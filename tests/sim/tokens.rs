//! Tokens as text.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde_json::json;

use super::model::{Flaw, Minted};
use super::rules::{AUDIENCE, SUBJECTS, issuer_url};
use super::world;

/// The token itself: signing is the dearest part of a request, so one is signed once in a process.
pub(super) fn signed(subject: usize, minted: Minted) -> String {
    static SIGNED: Mutex<BTreeMap<String, String>> = Mutex::new(BTreeMap::new());
    let Minted { flaw, issued, expires } = minted;
    let who = &SUBJECTS[subject];
    let issuer = if flaw == Flaw::Issuer { issuer_url("nobody") } else { issuer_url(who.issuer) };
    let audience = if flaw == Flaw::Audience { "https://other.example.com" } else { AUDIENCE };
    let claims = json!({
        "iss": issuer, "aud": audience, "sub": who.name, "org_id": who.tenant, "scope": who.scopes,
        "iat": issued, "exp": expires,
    });
    let kid = if flaw == Flaw::Key { "key-9" } else { "key-1" };
    let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": kid}).to_string();
    let mut all = SIGNED.lock().unwrap_or_else(PoisonError::into_inner);
    let name = format!("{header}{claims}");
    let token = all.entry(name).or_insert_with(|| {
        world::issuer().sign_parts(header.as_bytes(), claims.to_string().as_bytes()).expect("a token")
    });
    if flaw != Flaw::Signature {
        return token.clone();
    }
    let dot = token.rfind('.').expect("a token has three parts");
    let other = if token.as_bytes()[dot + 9] == b'A' { "B" } else { "A" };
    let mut broken = token.clone();
    broken.replace_range(dot + 9..dot + 10, other);
    broken
}
