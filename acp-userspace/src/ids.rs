//! Names for the parties of a request, as newtypes where two of a kind could be swapped.

use std::fmt;
use std::sync::Arc;

/// A tenant: the tenant claim *as asserted by one issuer entry*. Equal claims of two issuers are two tenants
/// (THREATS A7).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TenantId {
    /// The issuer entry's stable name in the configuration.
    pub issuer: Arc<str>,
    /// The value of the tenant claim.
    pub tenant: Arc<str>,
}

/// A user: `sub` *within one issuer entry* (RFC 7519 §4.1.2: unique in the issuer's context only).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UserId {
    /// The issuer entry's stable name in the configuration.
    pub issuer: Arc<str>,
    /// The verified `sub` claim.
    pub subject: Arc<str>,
}

/// First 128 bits of SHA-256 over the length-prefixed parts of an identifier: a fixed-size exact key for tables.
/// 2⁶⁴ work to collide by birthday, 2¹²⁸ to hit a given victim.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct Key128(pub [u8; 16]);

impl Key128 {
    /// Digest of `parts`, each preceded by its length so that ("ab","c") and ("a","bc") differ.
    #[must_use]
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut context = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        let digest = context.finish();
        let mut key = [0; 16];
        key.copy_from_slice(&digest.as_ref()[..16]);
        Self(key)
    }
}

impl TenantId {
    /// The table key of this tenant.
    #[must_use]
    pub fn key(&self) -> Key128 {
        Key128::of(&[b"tenant", self.issuer.as_bytes(), self.tenant.as_bytes()])
    }
}

impl UserId {
    /// The table key of this user.
    #[must_use]
    pub fn key(&self) -> Key128 {
        Key128::of(&[b"user", self.issuer.as_bytes(), self.subject.as_bytes()])
    }
}

/// A request's name in response, log, audit and upstream headers: `req_` and 24 lower-case hex digits.
///
/// Made of a random per-worker prefix (64 bits) and a counter, so it costs no system call and no two workers or
/// boots repeat one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub [u8; 12]);

impl RequestId {
    /// Length of the printed form.
    pub const TEXT_LEN: usize = 28;

    /// The printed form, on the stack.
    #[must_use]
    pub fn text(self) -> [u8; Self::TEXT_LEN] {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = *b"req_000000000000000000000000";
        for (i, byte) in self.0.iter().enumerate() {
            text[4 + 2 * i] = HEX[usize::from(byte >> 4)];
            text[5 + 2 * i] = HEX[usize::from(byte & 15)];
        }
        text
    }

    /// Parses the printed form; `None` unless it is exactly that.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.strip_prefix("req_")?;
        if hex.len() != 24 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            return None;
        }
        let mut id = [0; 12];
        for (i, byte) in id.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.text()).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes [`RequestId`]s for one worker.
#[derive(Debug)]
pub struct RequestIds {
    prefix: [u8; 8],
    counter: u32,
}

impl RequestIds {
    /// A new sequence with a random prefix.
    ///
    /// # Panics
    /// If the operating system has no randomness to give, which the gateway cannot run without.
    #[must_use]
    pub fn new() -> Self {
        let mut prefix = [0; 8];
        aws_lc_rs::rand::fill(&mut prefix).expect("the operating system provides randomness");
        Self { prefix, counter: 0 }
    }

    /// The next id; after 2³² of them a new prefix is drawn.
    pub fn next_id(&mut self) -> RequestId {
        let mut id = [0; 12];
        id[..8].copy_from_slice(&self.prefix);
        id[8..].copy_from_slice(&self.counter.to_be_bytes());
        match self.counter.checked_add(1) {
            Some(next) => self.counter = next,
            None => *self = Self::new(),
        }
        RequestId(id)
    }
}

impl Default for RequestIds {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_id_prints_and_parses_back() {
        let mut ids = RequestIds::new();
        let (a, b) = (ids.next_id(), ids.next_id());
        assert_ne!(a, b);
        assert_eq!(RequestId::parse(&a.to_string()), Some(a));
        assert_eq!(RequestId::parse("req_7f8a"), None);
        assert_eq!(RequestId::parse(&a.to_string().to_uppercase()), None);
    }

    #[test]
    fn keys_separate_their_parts() {
        assert_ne!(Key128::of(&[b"ab", b"c"]), Key128::of(&[b"a", b"bc"]));
        let user = UserId { issuer: "a".into(), subject: "x".into() };
        let tenant = TenantId { issuer: "a".into(), tenant: "x".into() };
        assert_ne!(user.key(), tenant.key());
    }
}
