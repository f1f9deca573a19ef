//! A JWK set (RFC 7517) as one issuer publishes it, judged before any of it is used (THREATS A21).
//!
//! The *document* is refused, and the last good one stays in force, when it cannot be what a careful issuer published:
//! too long, not unambiguous JSON, more than [`KEYS_MAX`] keys, a `kid` twice, symmetric or private key material
//! (whoever serves it lost it), or no key that can be used.
//! A *key* is passed over, and counted, when it is merely not for us: another type, `use` or `key_ops` without
//! signature verification, another `alg`, no `kid`, a modulus outside 2048 to 8192 bits, an exponent that is even or
//! below 2¹⁶ + 1 (NIST SP 800-56B §6.2), or a modulus with the ROCA fingerprint (CVE-2017-15361).
//!
//! What is left are [`VerifyingKey`]s: an RSA key that can verify RS256 and nothing else, whatever a token's header says.

use std::sync::Arc;

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::json;
use super::token::is_name;
use crate::ids::Key128;

/// Longest key document read, in bytes: 64 RSA-8192 keys with certificates fit.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// Most keys of one issuer. Issuers that rotate publish two or three, the largest about twenty.
pub const KEYS_MAX: usize = 64;

/// Members of a JWK that hold private or symmetric key material (RFC 7518 §6.2.2, §6.3.2, §6.4.1).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a key document is refused. The issuer's fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum JwksError {
    /// Longer than [`JWKS_BYTES_MAX`].
    #[error("the key document is longer than {JWKS_BYTES_MAX} bytes")]
    TooLong,
    /// Not an unambiguous JSON object with an array `keys` of objects.
    #[error("the key document is not a JWK set")]
    Malformed,
    /// More than [`KEYS_MAX`].
    #[error("the key document has more than {KEYS_MAX} keys")]
    TooManyKeys,
    /// Two keys of one `kid`.
    #[error("the key document repeats a key id")]
    DuplicateKeyId,
    /// A symmetric key, or a private member.
    #[error("the key document publishes secret key material")]
    SecretMaterial,
    /// No key is left that could verify a token.
    #[error("the key document has no usable RS256 key")]
    NoUsableKey,
}

/// One RSA public key of an issuer. It verifies RS256 only.
#[derive(Debug)]
pub struct VerifyingKey {
    /// Its id within the issuer.
    pub kid: Arc<str>,
    /// Digest of modulus and exponent: tells a key from a later one of the same id.
    pub digest: Key128,
    key: ParsedPublicKey,
}

impl VerifyingKey {
    /// Whether `signature` over `message` is by this key (RSASSA-PKCS1-v1_5 with SHA-256, RFC 7518 §3.3).
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

/// The usable keys of one document; never empty.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Arc<VerifyingKey>>,
    passed_over: usize,
    digest: Key128,
}

impl KeySet {
    /// Reads and judges a document.
    ///
    /// # Errors
    /// See [`JwksError`]; the caller keeps the keys it has.
    pub fn parse(document: &[u8]) -> Result<Self, JwksError> {
        if document.len() > JWKS_BYTES_MAX {
            return Err(JwksError::TooLong);
        }
        let members = json::object(document).map_err(|_| JwksError::Malformed)?;
        let listed = members.get("keys").and_then(Value::as_array).ok_or(JwksError::Malformed)?;
        if listed.len() > KEYS_MAX {
            return Err(JwksError::TooManyKeys);
        }
        let listed: Vec<_> = listed.iter().map(Value::as_object).collect::<Option<_>>().ok_or(JwksError::Malformed)?;
        if listed.iter().any(|jwk| is_secret(jwk)) {
            return Err(JwksError::SecretMaterial);
        }
        if repeats_key_id(&listed) {
            return Err(JwksError::DuplicateKeyId);
        }
        let keys: Vec<_> = listed.iter().filter_map(|jwk| usable(jwk)).map(Arc::new).collect();
        if keys.is_empty() {
            return Err(JwksError::NoUsableKey);
        }
        let parts: Vec<&[u8]> = keys.iter().flat_map(|key| [key.kid.as_bytes(), &key.digest.0[..]]).collect();
        Ok(Self { digest: Key128::of(&parts), passed_over: listed.len() - keys.len(), keys })
    }

    /// The key of this id.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&Arc<VerifyingKey>> {
        self.keys.iter().find(|key| &*key.kid == kid)
    }

    /// The ids, in document order.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.kid)
    }

    /// How many listed keys were not for us.
    #[must_use]
    pub const fn passed_over(&self) -> usize {
        self.passed_over
    }

    /// Digest over ids and keys: equal for documents that verify the same tokens.
    #[must_use]
    pub const fn digest(&self) -> Key128 {
        self.digest
    }
}

fn is_secret(jwk: &Map<String, Value>) -> bool {
    jwk.get("kty").and_then(Value::as_str) == Some("oct") || PRIVATE_MEMBERS.iter().any(|name| jwk.contains_key(*name))
}

fn repeats_key_id(listed: &[&Map<String, Value>]) -> bool {
    let mut ids: Vec<_> = listed.iter().filter_map(|jwk| jwk.get("kid")?.as_str()).collect();
    ids.sort_unstable();
    ids.windows(2).any(|pair| pair[0] == pair[1])
}

/// The key, if it can verify RS256 tokens of this issuer.
fn usable(jwk: &Map<String, Value>) -> Option<VerifyingKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let absent_or = |name: &str, expected: &str| jwk.get(name).is_none_or(|value| value.as_str() == Some(expected));
    let operations = jwk.get("key_ops").is_none_or(may_verify);
    if text("kty") != Some("RSA") || !absent_or("use", "sig") || !absent_or("alg", "RS256") || !operations {
        return None;
    }
    let kid = text("kid").filter(|kid| is_name(kid))?;
    let modulus = URL_SAFE_NO_PAD.decode(text("n")?).ok()?;
    let exponent = URL_SAFE_NO_PAD.decode(text("e")?).ok()?;
    rsa_key(kid, strip_zeros(&modulus), strip_zeros(&exponent))
}

fn may_verify(key_ops: &Value) -> bool {
    key_ops.as_array().is_some_and(|listed| listed.iter().any(|operation| operation == "verify"))
}

/// Some issuers prepend a zero octet, against RFC 7518 §6.3.1.1; it changes nothing.
fn strip_zeros(number: &[u8]) -> &[u8] {
    &number[number.iter().take_while(|byte| **byte == 0).count()..]
}

fn rsa_key(kid: &str, modulus: &[u8], exponent: &[u8]) -> Option<VerifyingKey> {
    let bits = modulus.len() * 8 - modulus.first()?.leading_zeros() as usize;
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let exponent_large_enough = exponent.len() >= 3 && exponent.len() <= 8;
    if !(2048..=8192).contains(&bits) || !odd(modulus) || !odd(exponent) || !exponent_large_enough {
        return None;
    }
    if has_roca_fingerprint(modulus) {
        return None;
    }
    let key =
        RsaPublicKeyComponents { n: modulus, e: exponent }.to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256).ok()?;
    Some(VerifyingKey { kid: kid.into(), digest: Key128::of(&[b"rsa", modulus, exponent]), key })
}

/// Whether the modulus lies, modulo every one of these primes, in the group that 65537 generates: certain for keys of
/// the broken generator (Nemec et al., CCS 2017, §2.2), about 2⁻²⁷ for others.
fn has_roca_fingerprint(modulus: &[u8]) -> bool {
    const PRIMES: [u32; 17] = [11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157];
    PRIMES.iter().all(|&prime| {
        let residue = modulus.iter().fold(0, |residue, &byte| (residue * 256 + u32::from(byte)) % prime);
        let mut power = 1;
        (0..prime).any(|_| {
            power = power * (65537 % prime) % prime;
            power == residue
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::dev::DevIssuer;
    use serde_json::json;

    fn key(kid: &str) -> Value {
        json!({"kty": "RSA", "kid": kid, "use": "sig", "alg": "RS256", "n": modulus(256), "e": "AQAB"})
    }

    /// An odd number of `bytes` bytes without the ROCA fingerprint; nothing is ever verified with it.
    fn modulus(bytes: usize) -> String {
        URL_SAFE_NO_PAD.encode(vec![0xfb; bytes])
    }

    #[track_caller]
    fn check(keys: Value, expected: Result<(usize, usize), JwksError>) {
        let document = json!({ "keys": keys }).to_string();
        let found = KeySet::parse(document.as_bytes()).map(|set| (set.keys.len(), set.passed_over));
        assert_eq!(found, expected, "{document}");
    }

    #[track_caller]
    fn check_change(name: &str, value: Value, usable: bool) {
        let mut changed = key("changed");
        match value {
            Value::Null => changed.as_object_mut().unwrap().remove(name),
            value => changed.as_object_mut().unwrap().insert(name.into(), value),
        };
        check(json!([key("good"), changed]), Ok(if usable { (2, 0) } else { (1, 1) }));
    }

    #[test]
    fn passes_over_keys_that_are_not_for_verifying_rs256() {
        check_change("alg", Value::Null, true);
        check_change("use", Value::Null, true);
        check_change("key_ops", json!(["verify"]), true);
        check_change("x5c", json!(["MIIB"]), true);
        check_change("alg", json!("PS256"), false);
        check_change("alg", json!(1), false);
        check_change("use", json!("enc"), false);
        check_change("key_ops", json!(["encrypt"]), false);
        check_change("key_ops", json!([]), false);
        check_change("kty", json!("EC"), false);
        check_change("kid", Value::Null, false);
        check_change("kid", json!("a\nb"), false);
        check_change("n", json!(modulus(255)), false);
        check_change("n", json!(modulus(1024)), true);
        check_change("n", json!(modulus(1025)), false);
        check_change("n", json!("not base64url!"), false);
        check_change("n", json!(""), false);
        check_change("e", json!("Aw"), false);
        check_change("e", json!("AQAA"), false);
        check_change("e", json!(""), false);
        check_change("e", Value::Null, false);
    }

    #[test]
    fn threat_a21_refuses_documents_that_no_careful_issuer_publishes() {
        check(json!([]), Err(JwksError::NoUsableKey));
        check(json!([{"kty": "EC", "kid": "e"}]), Err(JwksError::NoUsableKey));
        check(json!([key("a"), key("a")]), Err(JwksError::DuplicateKeyId));
        check(json!([key("a"), {"kty": "EC", "kid": "a"}]), Err(JwksError::DuplicateKeyId));
        check(json!([key("a"), 7]), Err(JwksError::Malformed));
        check(json!([key("a"), {"kty": "oct", "kid": "s"}]), Err(JwksError::SecretMaterial));
        for private in PRIVATE_MEMBERS {
            let mut leaked = key("b");
            leaked[private] = json!("AA");
            check(json!([key("a"), leaked]), Err(JwksError::SecretMaterial));
        }
        let many: Vec<_> = (0..=KEYS_MAX).map(|i| key(&i.to_string())).collect();
        check(json!(many[..KEYS_MAX]), Ok((KEYS_MAX, 0)));
        check(json!(many), Err(JwksError::TooManyKeys));
        for document in ["", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}", "\u{feff}{\"keys\":[]}"] {
            assert_eq!(KeySet::parse(document.as_bytes()).unwrap_err(), JwksError::Malformed, "{document}");
        }
        assert_eq!(KeySet::parse(&vec![b' '; JWKS_BYTES_MAX + 1]).unwrap_err(), JwksError::TooLong);
    }

    #[test]
    fn finds_keys_by_exact_id_and_tells_sets_apart() {
        let issuer = DevIssuer::generate("k").unwrap();
        let set = KeySet::parse(issuer.jwks().as_bytes()).unwrap();
        assert!(set.find("k").is_some() && set.find("K").is_none() && set.find("").is_none());
        assert_eq!(set.digest(), KeySet::parse(issuer.jwks().as_bytes()).unwrap().digest());
        let other = DevIssuer::generate("k").unwrap();
        assert_ne!(set.digest(), KeySet::parse(other.jwks().as_bytes()).unwrap().digest());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_give_a_set_or_an_error(bytes: Vec<u8>, text in "\\PC{0,80}") {
            let _ = (KeySet::parse(&bytes), KeySet::parse(format!("{{\"keys\":[{text}]}}").as_bytes()));
        }
    }
}
