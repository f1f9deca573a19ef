//! Personal fields, sealed: AES-256-GCM under one key per (tenant, subject), so that deleting the key erases the person
//! from a log that stays whole (THREATS B14). The chain covers the ciphertext.
//!
//! A record's nonce is its request id: 96 bits that never repeat, so nothing has to be drawn or stored. A record that
//! is written again after a crash is the same text under the same nonce, which tells nothing new. A summary has the
//! nonce of its first refusal with one bit flipped, because before the crash that one may have had a record.
//! Which key is whose is known by an index, an HMAC over (tenant, user) under a key of the key file's own: who holds
//! the log alone learns neither names nor, by guessing, that a name occurs in it.

use std::net::{IpAddr, SocketAddr};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;

use crate::ids::{Key128, RequestId};

pub mod keyfile;

/// The key's bytes; does not print.
#[derive(Clone)]
pub struct KeyBytes(pub(crate) [u8; 32]);

impl std::fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyBytes(…)")
    }
}

/// Whose key it is, without saying who.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Index(pub [u8; 16]);

/// Whom a key seals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Owner {
    /// A user in a tenant.
    Subject {
        /// Table key of the tenant.
        tenant: Key128,
        /// Table key of the user.
        user: Key128,
    },
    /// The sources of one day's unauthenticated requests (days since the epoch).
    Day(u64),
    /// Subjects beyond the bound of the key file, all together.
    Overflow,
}

impl Owner {
    /// The owner's index under `key`.
    #[must_use]
    pub fn index(&self, key: &hmac::Key) -> Index {
        let mut message = [0; 33];
        match self {
            Self::Subject { tenant, user } => {
                message[0] = 1;
                message[1..17].copy_from_slice(&tenant.0);
                message[17..].copy_from_slice(&user.0);
            }
            Self::Day(day) => {
                message[0] = 2;
                message[1..9].copy_from_slice(&day.to_le_bytes());
            }
            Self::Overflow => message[0] = 3,
        }
        let tag = hmac::sign(key, &message);
        let mut index = [0; 16];
        index.copy_from_slice(&tag.as_ref()[..16]);
        Index(index)
    }
}

/// What names a person in a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Personal {
    /// `sub`; empty where no caller was verified.
    pub subject: String,
    /// The client's address.
    pub address: SocketAddr,
}

/// The nonce of a summary whose first refusal is `first`.
#[must_use]
pub fn summary_nonce(first: RequestId) -> RequestId {
    let mut nonce = first;
    nonce.0[0] ^= 0x80;
    nonce
}

/// A key ready for use.
#[derive(Debug)]
pub struct SubjectKey {
    id: u64,
    aead: LessSafeKey,
}

impl SubjectKey {
    /// From the key file's bytes; `None` for bytes AES-256 does not take (there are none).
    #[must_use]
    pub fn new(id: u64, bytes: &KeyBytes) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, &bytes.0).ok()?;
        Some(Self { id, aead: LessSafeKey::new(key) })
    }

    /// Its id in the key file.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Seals what names a person in record `id` into `out`, which is replaced. False if the cipher fails (it does not).
    pub fn seal(&self, id: RequestId, subject: &str, address: SocketAddr, out: &mut Vec<u8>) -> bool {
        out.clear();
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend_from_slice(&ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend_from_slice(&ip.octets());
            }
        }
        out.extend_from_slice(&address.port().to_le_bytes());
        out.extend_from_slice(subject.as_bytes());
        let nonce = Nonce::assume_unique_for_key(id.0);
        self.aead.seal_in_place_append_tag(nonce, Aad::from(self.id.to_le_bytes()), out).is_ok()
    }

    /// Opens what [`Self::seal`] made; `None` if any byte, the record's id or the key is another.
    #[must_use]
    pub fn open(&self, id: RequestId, sealed: &[u8]) -> Option<Personal> {
        let mut bytes = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(id.0);
        let plain = self.aead.open_in_place(nonce, Aad::from(self.id.to_le_bytes()), &mut bytes).ok()?;
        let (version, rest) = plain.split_first()?;
        let (ip, rest): (IpAddr, &[u8]) = match version {
            4 => rest.split_first_chunk::<4>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
            6 => rest.split_first_chunk::<16>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
            _ => return None,
        };
        let (port, subject) = rest.split_first_chunk::<2>()?;
        Some(Personal {
            subject: std::str::from_utf8(subject).ok()?.to_owned(),
            address: SocketAddr::new(ip, u16::from_le_bytes(*port)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(id: u64, byte: u8) -> SubjectKey {
        SubjectKey::new(id, &KeyBytes([byte; 32])).unwrap()
    }

    #[test]
    fn only_the_same_key_and_record_open_a_box() {
        let (id, other) = (RequestId([1; 12]), RequestId([2; 12]));
        let mut sealed = Vec::new();
        for address in ["203.0.113.7:40001", "[2001:db8::7]:1"] {
            let address: SocketAddr = address.parse().unwrap();
            assert!(key(7, 1).seal(id, "auth0|alice", address, &mut sealed));
            let personal = Personal { subject: "auth0|alice".into(), address };
            assert_eq!(key(7, 1).open(id, &sealed), Some(personal));
            assert_eq!(key(7, 1).open(other, &sealed), None);
            assert_eq!(key(8, 1).open(id, &sealed), None);
            assert_eq!(key(7, 2).open(id, &sealed), None);
            sealed[3] ^= 1;
            assert_eq!(key(7, 1).open(id, &sealed), None);
        }
        assert_eq!(key(7, 1).open(id, &[]), None);
    }

    #[test]
    fn owners_have_indices_of_their_own() {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]);
        let (a, b) = (Key128([1; 16]), Key128([2; 16]));
        let owners = [
            Owner::Subject { tenant: a, user: b },
            Owner::Subject { tenant: b, user: a },
            Owner::Day(0),
            Owner::Day(1),
            Owner::Overflow,
        ];
        let indices: std::collections::HashSet<_> = owners.iter().map(|owner| owner.index(&hmac)).collect();
        assert_eq!(indices.len(), owners.len());
    }
}
