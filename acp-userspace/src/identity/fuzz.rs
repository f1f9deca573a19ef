//! What has to hold of tokens and key documents whatever the bytes: the body of a fuzz target, run by `crate::fuzzing`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::jwks::{JWKS_BYTES_MAX, KEYS_MAX, KeySet};
use super::token::{TOKEN_BYTES_MAX, Token};

/// The first byte says what the rest is: a token, its header, its claims, or a key document.
pub fn token(data: &[u8]) {
    let Some((&kind, rest)) = data.split_first() else { return };
    match kind % 4 {
        0 => any_token(rest),
        1 => header(rest),
        2 => claims(rest),
        _ => keys(rest),
    }
}

/// What is split is put together again, and read without a panic.
fn any_token(bytes: &[u8]) {
    let Ok(token) = Token::split(bytes) else { return };
    assert!(bytes.len() <= TOKEN_BYTES_MAX);
    assert_eq!(format!("{}.{}", token.signed, token.signature).as_bytes(), bytes);
    assert_eq!(token.signed.matches('.').count(), 1);
    let _ = (token.key_id(), token.claims());
}

fn made(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
}

/// A header that is taken says RS256 and that key id to serde_json too, and asks for nothing else.
fn header(bytes: &[u8]) {
    let token = made(bytes, b"{}");
    let Ok(Ok(kid)) = Token::split(token.as_bytes()).map(|token| token.key_id()) else { return };
    let theirs: Value = serde_json::from_slice(bytes).expect("what is taken is JSON");
    assert_eq!((theirs["alg"].as_str(), theirs["kid"].as_str()), (Some("RS256"), Some(&*kid)));
    assert!(["crit", "b64", "zip", "cty"].iter().all(|name| theirs.get(name).is_none()));
    assert!(!kid.is_empty() && kid.len() <= 255 && !kid.chars().any(char::is_control));
}

/// Claims that are taken say the same to serde_json, and no fraction lengthens a token's life.
fn claims(bytes: &[u8]) {
    let token = made(b"{}", bytes);
    let Ok(Ok(claims)) = Token::split(token.as_bytes()).map(|token| token.claims()) else { return };
    let theirs: Value = serde_json::from_slice(bytes).expect("what is taken is JSON");
    assert_eq!(Some(&*claims.issuer), theirs["iss"].as_str());
    assert_eq!(Some(&*claims.subject), theirs["sub"].as_str());
    assert_eq!(claims.token_id.as_deref(), theirs["jti"].as_str());
    assert!(!claims.issuer.is_empty() && !claims.subject.is_empty() && !claims.audience.is_empty());
    let seconds = |name: &str| theirs[name].as_f64();
    assert!(claims.expires as f64 <= seconds("exp").expect("a number"));
    assert!(claims.not_before.is_none_or(|at| at as f64 >= seconds("nbf").expect("a number")));
    assert!(theirs.get("cnf").is_none(), "a token bound to a sender is no bearer token");
    assert_eq!(Value::Object(claims.all), theirs);
}

/// A key document that is taken is within its bounds and publishes no secret.
fn keys(bytes: &[u8]) {
    let Ok(set) = KeySet::parse(bytes) else { return };
    assert!(bytes.len() <= JWKS_BYTES_MAX);
    let theirs: Value = serde_json::from_slice(bytes).expect("what is taken is JSON");
    let listed = theirs["keys"].as_array().expect("a set");
    let ids: Vec<_> = set.key_ids().collect();
    assert!((1..=KEYS_MAX).contains(&ids.len()) && ids.len() <= listed.len() && listed.len() <= KEYS_MAX);
    for kid in ids {
        assert!(set.find(kid).is_some_and(|key| &*key.kid == kid));
        assert_eq!(listed.iter().filter(|key| key["kid"] == kid).count(), 1);
    }
    assert!(listed.iter().all(|key| key.get("d").is_none() && key.get("k").is_none()));
}
