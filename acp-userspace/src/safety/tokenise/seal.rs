//! The seal of a reversible token: deterministic authenticated encryption with associated data.
//!
//! A synthetic-IV scheme (Rogaway and Shrimpton, "Deterministic Authenticated-Encryption", 2006): the IV is a
//! pseudorandom function of tenant, type and value, the value is encrypted under it, and the receiver makes the IV anew
//! and compares. The function is HMAC-SHA-256, cut to 128 bits, the cipher AES-256 in counter mode, with two keys from
//! HKDF (RFC 5869) over master key, key id, issuer, tenant and type. Equal values have equal tokens, and that is all
//! that two tokens tell: the scheme is secure up to about 2⁶⁴ values under one key, and a forgery is as hard as
//! guessing 128 bits.
//!
//! Why not AES-256-GCM under a nonce made from the value: two values that met in 96 bits would give its authentication
//! key away, and SP 800-38D §8.2 admits two ways to make a nonce, neither of which is this one. Why not AES-SIV (RFC
//! 5297): no FIPS module has it. HMAC, AES-CTR and HKDF are approved algorithms (FIPS 198-1, SP 800-38A, SP 800-56C)
//! and all three are aws-lc's.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::cipher::{
    AES_256, DecryptingKey, DecryptionContext, EncryptingKey, EncryptionContext, UnboundCipherKey,
};
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::{constant_time, hkdf, hmac};

use crate::ids::TenantId;

/// Bytes of the synthetic IV, which is also what authenticates.
pub(super) const IV_BYTES: usize = 16;

/// Names this scheme; another one will have another.
const SCHEME: &[u8] = b"acp token 1";

/// A master key, ready to make others of. Does not print.
pub(super) struct Master {
    id: Arc<str>,
    prk: hkdf::Prk,
}

impl fmt::Debug for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Master").field("id", &self.id).finish_non_exhaustive()
    }
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// The keys of one tenant and type.
struct Keys {
    iv: hmac::Key,
    cipher: [u8; 32],
}

impl Master {
    pub(super) fn new(id: &Arc<str>, secret: &[u8]) -> Self {
        Self { id: Arc::clone(id), prk: hkdf::Salt::new(hkdf::HKDF_SHA256, SCHEME).extract(secret) }
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Sixteen bytes that authenticate, then the encrypted value; `None` if the cipher fails (it does not).
    pub(super) fn seal(&self, tenant: &TenantId, kind: &str, value: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys(tenant, kind)?;
        let iv = self.iv(&keys, tenant, kind, value);
        let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, &keys.cipher).ok()?).ok()?;
        let mut sealed = [&iv, value].concat();
        key.less_safe_encrypt(&mut sealed[IV_BYTES..], EncryptionContext::Iv128(FixedLength::from(iv))).ok()?;
        Some(sealed)
    }

    /// The value; `None` unless it was sealed under this key for this tenant and type, to the last bit.
    pub(super) fn open(&self, tenant: &TenantId, kind: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys(tenant, kind)?;
        let (iv, encrypted) = sealed.split_first_chunk::<IV_BYTES>()?;
        let key = DecryptingKey::ctr(UnboundCipherKey::new(&AES_256, &keys.cipher).ok()?).ok()?;
        let mut value = encrypted.to_vec();
        key.decrypt(&mut value, DecryptionContext::Iv128(FixedLength::from(*iv))).ok()?;
        let expected = self.iv(&keys, tenant, kind, &value);
        constant_time::verify_slices_are_equal(iv, &expected).ok().map(|()| value)
    }

    /// The key of one-way tokens of a tenant and type; `None` if HKDF fails (it does not).
    pub(super) fn shape_key(&self, tenant: &TenantId, kind: &str) -> Option<hmac::Key> {
        self.derive::<32>(b"shape", tenant, kind).map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    fn keys(&self, tenant: &TenantId, kind: &str) -> Option<Keys> {
        let both = self.derive::<64>(b"seal", tenant, kind)?;
        let (iv, cipher) = both.split_first_chunk::<32>()?;
        Some(Keys { iv: hmac::Key::new(hmac::HMAC_SHA256, iv), cipher: cipher.try_into().ok()? })
    }

    fn derive<const N: usize>(&self, purpose: &[u8], tenant: &TenantId, kind: &str) -> Option<[u8; N]> {
        let mut info = Vec::with_capacity(128);
        for part in [purpose, self.id.as_bytes(), tenant.issuer.as_bytes(), tenant.tenant.as_bytes(), kind.as_bytes()] {
            info.extend_from_slice(&(part.len() as u64).to_le_bytes());
            info.extend_from_slice(part);
        }
        let mut out = [0; N];
        self.prk.expand(&[&info], Length(N)).ok()?.fill(&mut out).ok()?;
        Some(out)
    }

    /// The pseudorandom function of what is associated and the value, each part with its length.
    fn iv(&self, keys: &Keys, tenant: &TenantId, kind: &str, value: &[u8]) -> [u8; IV_BYTES] {
        let mut context = hmac::Context::with_key(&keys.iv);
        let associated: [&[u8]; 4] =
            [self.id.as_bytes(), tenant.issuer.as_bytes(), tenant.tenant.as_bytes(), kind.as_bytes()];
        for part in associated.into_iter().chain([value]) {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let mut iv = [0; IV_BYTES];
        iv.copy_from_slice(&context.sign().as_ref()[..IV_BYTES]);
        iv
    }
}
