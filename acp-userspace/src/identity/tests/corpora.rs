//! The JWT corpora, through the same door as every request.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::corpora::{self, Level, Tally, Verdict, member as text, records};
use crate::identity::jwks::KeySet;
use crate::identity::token::Token;
use crate::identity::verify::check_signature;

const ATTACKS: &str = "jwt/constructed_attacks.json";

/// One token through a fresh gateway that trusts `set`.
fn send(set: Option<Arc<KeySet>>, audience: &str, token: &str) -> Result<Authenticated, IdentityError> {
    let entry = issuer(|issuer| issuer.audience = vec![audience.to_owned()]);
    // The corpus' tokens live until 2100.
    let config = IdentityConfig { token_lifetime_max: Duration::from_secs(u64::from(u32::MAX)), ..config(vec![entry]) };
    let keys = Keys::for_config(&config, None).with(0, set, KeyState::Good);
    let trust = Trust { config: &config, keys: &keys, revoked: &Revocations::default() };
    let mut cache = TokenCache::new(4, TokenHashKey::new(&[7; 32]));
    let field = format!("Bearer {token}");
    authenticate([field.as_bytes()].into_iter(), trust, &route(&[]), &mut cache, &mut ConnectionToken::default(), at(T))
}

/// What this gateway accepts where the corpus leaves the choice, whose README asks for it to be documented; it refuses
/// the rest of those.
const CHOSEN: [&str; 2] = ["valid-exp-float", "scope-array"];

#[test]
fn constructed_attacks_end_as_they_must() {
    let Some(document) = corpora::text(ATTACKS) else { return };
    let corpus: Value = serde_json::from_str(&document).unwrap();
    let set = Arc::new(KeySet::parse(corpus["jwks"].to_string().as_bytes()).unwrap());
    let mut tally = Tally::new("identity", ATTACKS);
    for case in corpus["cases"].as_array().unwrap() {
        let found = send(Some(Arc::clone(&set)), text(&corpus, "audience"), text(case, "token"));
        let level = if text(case, "level") == "must" { Level::Must } else { Level::Other };
        let wanted = match text(case, "expect") {
            "accept" => true,
            "reject" => false,
            _ => CHOSEN.contains(&text(case, "id")),
        };
        let never_ours = found.as_ref().err().is_none_or(|error| error.reason().status() < 500);
        let verdict = Verdict::of(never_ours && found.is_ok() == wanted, || format!("{:?}", found.map(drop)));
        tally.judge(text(case, "id"), level, verdict);
    }
    tally.finish();
}

/// A second opinion: nothing is accepted here that `jsonwebtoken`, with every check it has, refuses.
#[test]
fn what_is_accepted_here_is_accepted_by_an_independent_reader() {
    let Some(document) = corpora::text(ATTACKS) else { return };
    let corpus: Value = serde_json::from_str(&document).unwrap();
    let set = Arc::new(KeySet::parse(corpus["jwks"].to_string().as_bytes()).unwrap());
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::RS256);
    validation.set_issuer(&[text(&corpus, "issuer")]);
    validation.set_audience(&[text(&corpus, "audience")]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.validate_nbf = true;
    let mut accepted = 0;
    for case in corpus["cases"].as_array().unwrap() {
        let token = text(case, "token");
        let Ok(found) = send(Some(Arc::clone(&set)), text(&corpus, "audience"), token) else { continue };
        let jwks = corpus["jwks"]["keys"].as_array().unwrap();
        let jwk = jwks.iter().find(|jwk| text(jwk, "kid") == &*found.identity().key_id).unwrap();
        let key = jsonwebtoken::DecodingKey::from_rsa_components(text(jwk, "n"), text(jwk, "e")).unwrap();
        let decoded = jsonwebtoken::decode::<Value>(token, &key, &validation).unwrap();
        assert_eq!(decoded.claims["sub"].as_str(), Some(&*found.identity().user.subject), "{}", case["id"]);
        accepted += 1;
    }
    assert!(accepted > 0);
}

/// The payloads are no claim sets: `authenticate` refuses every record, the signature stage alone tells the valid ones.
#[test]
fn wycheproof_jws_signatures_are_told_apart() {
    const FILE: &str = "jwt/wycheproof_jws.jsonl";
    let Some(records) = records(FILE) else { return };
    let mut tally = Tally::new("identity", FILE);
    for record in &records {
        let jws = text(record, "jws");
        let set = key_set(&record["key"]);
        assert!(send(set.clone(), "https://api.test", jws).is_err(), "{}", record["id"]);
        let verified = Token::split(jws.as_bytes()).map_err(IdentityError::from).and_then(|token| {
            let kid = token.key_id()?;
            let key = set.as_ref().and_then(|set| set.find(&kid)).ok_or(IdentityError::MissingToken)?;
            check_signature(&token, key)
        });
        let valid = text(record, "result") == "valid";
        let verdict = match (valid && is_rs256(&record["key"]), verified) {
            (false, Err(_)) if valid => Verdict::NotApplicable("valid by another algorithm than RS256, so refused"),
            (wanted, verified) => Verdict::of(verified.is_ok() == wanted, || format!("{verified:?}")),
        };
        tally.judge(text(record, "id"), Level::Must, verdict);
    }
    tally.finish();
}

fn key_set(key: &Value) -> Option<Arc<KeySet>> {
    let document = if key["keys"].is_array() { key.clone() } else { json!({ "keys": [key] }) };
    KeySet::parse(document.to_string().as_bytes()).ok().map(Arc::new)
}

fn is_rs256(key: &Value) -> bool {
    let key = if key["keys"].is_array() { &key["keys"][0] } else { key };
    key["kty"] == "RSA" && key["alg"] == "RS256"
}

#[test]
fn wycheproof_raw_rs256_signatures_are_told_apart() {
    const FILE: &str = "jwt/wycheproof_rs256_raw.jsonl";
    let Some(records) = records(FILE) else { return };
    let mut tally = Tally::new("identity", FILE);
    for record in &records {
        let [modulus, exponent, message, signature] =
            ["n_hex", "e_hex", "msg_hex", "sig_hex"].map(|member| unhex(text(record, member)));
        let [n, e] = [modulus, exponent].map(|number| URL_SAFE_NO_PAD.encode(number));
        let verified = key_set(&json!({"kty": "RSA", "kid": "k", "alg": "RS256", "n": n, "e": e}))
            .is_some_and(|set| set.find("k").unwrap().verifies(&message, &signature));
        let valid = text(record, "result") == "valid";
        // To take a bad signature is fatal; to refuse a good one is not.
        let level = if valid { Level::Other } else { Level::Must };
        tally.judge(text(record, "id"), level, Verdict::of(verified == valid, || format!("verified: {verified}")));
    }
    tally.finish();
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc7520_examples_are_no_access_tokens() {
    const FILE: &str = "jwt/rfc7520_jws.jsonl";
    let Some(records) = records(FILE) else { return };
    let mut tally = Tally::new("identity", FILE);
    for record in &records {
        let set = key_set(&json!({ "keys": record["keys"] }));
        let refused = ["compact", "json_general", "json_flat"].map(|form| {
            let serialised = record[form].as_str().map_or_else(|| record[form].to_string(), str::to_owned);
            send(set.clone(), "https://api.test", &serialised).is_err()
        });
        tally.judge(text(record, "id"), Level::Must, Verdict::of(refused == [true; 3], || format!("{refused:?}")));
    }
    tally.finish();
}
