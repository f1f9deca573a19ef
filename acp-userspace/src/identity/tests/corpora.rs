//! The JWT corpora, through the same door as every request. `ACP_CORPORA` names their folder, else it is
//! `../shared/corpora` beside the repository; where that does not exist the tests say so and check nothing.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::identity::jwks::KeySet;
use crate::identity::token::Token;
use crate::identity::verify::check_signature;

fn read(name: &str) -> Option<String> {
    let named = std::env::var_os("ACP_CORPORA").map(PathBuf::from);
    let folder = named.clone().unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora").into());
    let text = fs::read_to_string(folder.join("jwt").join(name));
    assert!(named.is_none() || text.is_ok(), "ACP_CORPORA has no jwt/{name}");
    if text.is_err() {
        println!("jwt/{name}: no corpora here, nothing checked");
    }
    text.ok()
}

fn lines(name: &str) -> Vec<Value> {
    let text = read(name).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn text<'a>(record: &'a Value, member: &str) -> &'a str {
    record[member].as_str().unwrap_or_default()
}

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

#[test]
fn constructed_attacks_end_as_they_must() {
    let Some(document) = read("constructed_attacks.json") else { return };
    let corpus: Value = serde_json::from_str(&document).unwrap();
    let set = Arc::new(KeySet::parse(corpus["jwks"].to_string().as_bytes()).unwrap());
    let (mut must, mut hardening, mut deviating, mut chosen) = ([0; 2], [0; 2], Vec::new(), Vec::new());
    for case in corpus["cases"].as_array().unwrap() {
        let found = send(Some(Arc::clone(&set)), text(&corpus, "audience"), text(case, "token"));
        if let Err(error) = &found {
            assert_ne!(error.reason().status(), 503, "{}", case["id"]);
        }
        let as_expected = match text(case, "expect") {
            "accept" => found.is_ok(),
            "reject" => found.is_err(),
            _ => {
                chosen.push((text(case, "id").to_owned(), found.is_ok()));
                true
            }
        };
        let counts = if text(case, "level") == "must" { &mut must } else { &mut hardening };
        counts[usize::from(!as_expected)] += 1;
        if !as_expected {
            deviating.push((text(case, "id").to_owned(), found.map(drop)));
        }
    }
    println!("constructed: must {must:?}, hardening {hardening:?} ([as expected, deviating])");
    println!("left to policy, and whether accepted: {chosen:?}");
    assert!(deviating.is_empty(), "{deviating:?}");
}

/// A second opinion: nothing is accepted here that `jsonwebtoken`, with every check it has, refuses.
#[test]
fn what_is_accepted_here_is_accepted_by_an_independent_reader() {
    let Some(document) = read("constructed_attacks.json") else { return };
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

/// What this gateway does where the corpus leaves the choice; README of the corpus asks for it to be documented.
#[test]
fn choices_left_open_are_made_the_documented_way() {
    let Some(document) = read("constructed_attacks.json") else { return };
    let corpus: Value = serde_json::from_str(&document).unwrap();
    let set = Arc::new(KeySet::parse(corpus["jwks"].to_string().as_bytes()).unwrap());
    let accepted = ["valid-exp-float", "scope-array"];
    for case in corpus["cases"].as_array().unwrap() {
        if !matches!(text(case, "expect"), "accept" | "reject") {
            let found = send(Some(Arc::clone(&set)), text(&corpus, "audience"), text(case, "token"));
            assert_eq!(found.is_ok(), accepted.contains(&text(case, "id")), "{}: {found:?}", case["id"]);
        }
    }
}

/// RS256 is the only algorithm, so "as expected" for a valid JWS of another one is a refusal. The payloads are no claim
/// sets: `authenticate` refuses every record, the signature stage alone tells the valid ones.
#[test]
fn wycheproof_jws_signatures_are_told_apart() {
    let (mut valid, mut invalid, mut other_algorithm, mut deviating) = (0, 0, 0, Vec::new());
    for record in lines("wycheproof_jws.jsonl") {
        let jws = text(&record, "jws");
        let set = key_set(&record["key"]);
        assert!(send(set.clone(), "https://api.test", jws).is_err(), "{}", record["id"]);
        let verified = Token::split(jws.as_bytes()).map_err(IdentityError::from).and_then(|token| {
            let kid = token.key_id()?;
            let key = set.as_ref().and_then(|set| set.find(&kid)).ok_or(IdentityError::MissingToken)?;
            check_signature(&token, key)
        });
        match (text(&record, "result"), is_rs256(&record["key"]), verified.is_ok()) {
            ("valid", true, true) => valid += 1,
            ("valid", false, false) => other_algorithm += 1,
            ("invalid", _, false) => invalid += 1,
            _ => deviating.push((record["id"].clone(), verified)),
        }
    }
    println!("wycheproof_jws: {valid} valid, {invalid} invalid, {other_algorithm} of other algorithms; {deviating:?}");
    assert!(deviating.is_empty(), "{deviating:?}");
}

fn key_set(key: &Value) -> Option<Arc<KeySet>> {
    let document = if key["keys"].is_array() { key.clone() } else { json!({ "keys": [key] }) };
    KeySet::parse(document.to_string().as_bytes()).ok().map(Arc::new)
}

fn is_rs256(key: &Value) -> bool {
    let key = if key["keys"].is_array() { &key["keys"][0] } else { key };
    key["kty"] == "RSA" && key["alg"] == "RS256"
}

/// Keys with exponent 3 are not used at all, so their two valid signatures (edge cases of the exponent) are refused.
#[test]
fn wycheproof_raw_rs256_signatures_are_told_apart() {
    let (mut valid, mut invalid, mut small_exponent) = (0, 0, 0);
    for record in lines("wycheproof_rs256_raw.jsonl") {
        let [modulus, exponent, message, signature] =
            ["n_hex", "e_hex", "msg_hex", "sig_hex"].map(|member| unhex(text(&record, member)));
        let [n, e] = [modulus, exponent].map(|number| URL_SAFE_NO_PAD.encode(number));
        let verified = key_set(&json!({"kty": "RSA", "kid": "k", "alg": "RS256", "n": n, "e": e}))
            .is_some_and(|set| set.find("k").unwrap().verifies(&message, &signature));
        match (text(&record, "result"), text(&record, "e_hex"), verified) {
            ("valid", "010001", true) => valid += 1,
            ("valid", "03", false) => small_exponent += 1,
            ("invalid", _, false) => invalid += 1,
            _ => panic!("{}: {verified}", record["id"]),
        }
    }
    println!("wycheproof_rs256_raw: {valid} valid, {invalid} invalid, {small_exponent} valid with exponent 3 refused");
}

fn unhex(hex: &str) -> Vec<u8> {
    hex.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
fn rfc7520_examples_are_no_access_tokens() {
    let records = lines("rfc7520_jws.jsonl");
    for record in &records {
        let set = key_set(&json!({ "keys": record["keys"] }));
        for form in ["compact", "json_general", "json_flat"] {
            let serialised = record[form].as_str().map_or_else(|| record[form].to_string(), str::to_owned);
            assert!(send(set.clone(), "https://api.test", &serialised).is_err(), "{} {form}", record["id"]);
        }
    }
    println!("rfc7520_jws: {} examples refused in three forms each", records.len());
}
