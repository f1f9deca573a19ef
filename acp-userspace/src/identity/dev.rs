//! A throwaway issuer: a fresh RSA key, its JWK set and discovery document, and tokens signed with it.
//!
//! For `acp dev`, tests and benchmarks only; `acp run` refuses it. The private key lives in memory, is never written
//! and ends with the process. No network: whoever uses it serves the documents.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The key could not be generated or used: the operating system has no randomness, or memory is exhausted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the throwaway issuer's key cannot be used")]
pub struct DevKeyError;

/// The issuer's one RSA-2048 key.
pub struct DevIssuer {
    kid: String,
    key: KeyPair,
    modulus: Vec<u8>,
}

impl fmt::Debug for DevIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DevIssuer").field("kid", &self.kid).finish_non_exhaustive()
    }
}

impl DevIssuer {
    /// A fresh key under this id (some 100 ms).
    ///
    /// # Errors
    /// When no key can be generated.
    pub fn generate(kid: &str) -> Result<Self, DevKeyError> {
        let key = KeyPair::generate(KeySize::Rsa2048).map_err(|_| DevKeyError)?;
        let modulus = modulus_of(key.public_key().as_ref()).ok_or(DevKeyError)?.to_vec();
        Ok(Self { kid: kid.to_owned(), key, modulus })
    }

    /// The JWK set (RFC 7517) to serve.
    #[must_use]
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.jwk()] }).to_string()
    }

    /// The public key as a JWK, to combine sets of several issuers' keys.
    #[must_use]
    pub fn jwk(&self) -> Value {
        let n = URL_SAFE_NO_PAD.encode(&self.modulus);
        json!({"kty": "RSA", "kid": self.kid, "use": "sig", "alg": "RS256", "n": n, "e": "AQAB"})
    }

    /// The public key as SubjectPublicKeyInfo in DER (RFC 5280 §4.1), for readers that take no JWKS.
    ///
    /// # Errors
    /// When it cannot be encoded.
    pub fn public_key_der(&self) -> Result<Vec<u8>, DevKeyError> {
        let der: PublicKeyX509Der<'_> = self.key.public_key().as_der().map_err(|_| DevKeyError)?;
        Ok(der.as_ref().to_vec())
    }

    /// The discovery document (OpenID Connect Discovery §3) to serve below `issuer`.
    #[must_use]
    pub fn discovery(issuer: &str, jwks_uri: &str) -> String {
        json!({
            "issuer": issuer,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        })
        .to_string()
    }

    /// An access token (RFC 9068) with these claims, as they are.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign(&self, claims: &Value) -> Result<String, DevKeyError> {
        let header = json!({"alg": "RS256", "typ": "at+jwt", "kid": self.kid});
        self.sign_parts(header.to_string().as_bytes(), claims.to_string().as_bytes())
    }

    /// A correctly signed JWS over any header and payload bytes, whatever they say.
    ///
    /// # Errors
    /// When the key cannot sign.
    pub fn sign_parts(&self, header: &[u8], payload: &[u8]) -> Result<String, DevKeyError> {
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .map_err(|_| DevKeyError)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        Ok(token)
    }
}

/// The modulus out of the DER `RSAPublicKey` (RFC 8017 §A.1.1) of a 2048-bit key with exponent 65537, whose every other
/// byte is fixed.
fn modulus_of(der: &[u8]) -> Option<&[u8]> {
    const HEAD: [u8; 9] = [0x30, 0x82, 0x01, 0x0a, 0x02, 0x82, 0x01, 0x01, 0x00];
    const EXPONENT: [u8; 5] = [0x02, 0x03, 0x01, 0x00, 0x01];
    der.strip_prefix(&HEAD)?.strip_suffix(&EXPONENT).filter(|modulus| modulus.len() == 256)
}
