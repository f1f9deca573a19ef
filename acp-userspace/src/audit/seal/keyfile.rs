//! The file of subject keys: a header with the index key, then one fixed-size entry per key, appended.
//!
//! An entry's id is its place, counted from 1. Deleting a key overwrites its entry in place: key and index become
//! zeros, the place stays taken. A torn last entry (killed while appending) is cut off; nothing refers to it yet,
//! because records are written after the key they use. So are entries at the end that are nothing but zeros (power was
//! lost before they reached the disk): there is no key in them to lose.

use std::collections::HashMap;

use aws_lc_rs::{digest, hmac, rand};

use super::{Index, KeyBytes};

/// Keys a file may hold; later subjects share one. 2²⁰ of them take 88 MiB, on disk and about as much in memory.
pub const KEYS_MAX: usize = 1 << 20;

/// Bytes of the header.
pub const HEADER_BYTES: usize = 64;
/// Bytes of an entry.
pub const ENTRY_BYTES: usize = 88;

const MAGIC: [u8; 16] = *b"acp-audit-keys-1";
const LIVE: u64 = 1;
const ERASED: u64 = 2;

/// Why a key file cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyfileError {
    /// Header magic or checksum.
    #[error("not a key file, or its header is damaged")]
    Header,
    /// An entry's checksum.
    #[error("entry {0} is damaged")]
    Entry(u64),
}

/// The keys, by id and by owner.
#[derive(Debug)]
pub struct Keyfile {
    index_key: hmac::Key,
    keys: Vec<Option<KeyBytes>>,
    by_index: HashMap<Index, u64>,
}

impl Keyfile {
    /// A new header: a random index key.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn new_header() -> Result<[u8; HEADER_BYTES], aws_lc_rs::error::Unspecified> {
        let mut header = [0; HEADER_BYTES];
        header[..16].copy_from_slice(&MAGIC);
        rand::fill(&mut header[16..48])?;
        let sum = checksum(&header[..48]);
        header[48..].copy_from_slice(&sum);
        Ok(header)
    }

    /// Reads a file; also the number of whole bytes, behind which a torn entry begins.
    ///
    /// # Errors
    /// The header or a whole entry is damaged.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), KeyfileError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(KeyfileError::Header)?;
        if header[..16] != MAGIC || header[48..] != checksum(&header[..48]) {
            return Err(KeyfileError::Header);
        }
        let mut file = Self {
            index_key: hmac::Key::new(hmac::HMAC_SHA256, &header[16..48]),
            keys: Vec::new(),
            by_index: HashMap::new(),
        };
        let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        // A checksum may end in zeros: an entry is there if any byte of it is.
        let entries =
            written.saturating_sub(HEADER_BYTES).div_ceil(ENTRY_BYTES).min((bytes.len() - HEADER_BYTES) / ENTRY_BYTES);
        let whole = HEADER_BYTES + entries * ENTRY_BYTES;
        let entries = bytes[HEADER_BYTES..whole].chunks_exact(ENTRY_BYTES);
        for entry in entries {
            file.read(entry)?;
        }
        Ok((file, whole))
    }

    fn read(&mut self, entry: &[u8]) -> Result<(), KeyfileError> {
        let id = self.keys.len() as u64 + 1;
        let damaged = || KeyfileError::Entry(id);
        let word = |at: usize| entry[at..at + 8].try_into().map(u64::from_le_bytes).map_err(|_| damaged());
        if entry[72..] != checksum(&entry[..72]) || word(0)? != id {
            return Err(damaged());
        }
        match word(16)? {
            LIVE => {
                let index = Index(entry[24..40].try_into().map_err(|_| damaged())?);
                let key = KeyBytes(entry[40..72].try_into().map_err(|_| damaged())?);
                self.by_index.insert(index, id);
                self.keys.push(Some(key));
            }
            ERASED => self.keys.push(None),
            _ => return Err(damaged()),
        }
        Ok(())
    }

    /// What indices are made with.
    #[must_use]
    pub fn index_key(&self) -> &hmac::Key {
        &self.index_key
    }

    /// Keys, erased ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The owner's key.
    #[must_use]
    pub fn find(&self, index: Index) -> Option<(u64, &KeyBytes)> {
        let id = *self.by_index.get(&index)?;
        Some((id, self.key(id)?))
    }

    /// A key by id; `None` if it was erased or never was.
    #[must_use]
    pub fn key(&self, id: u64) -> Option<&KeyBytes> {
        self.keys.get(usize::try_from(id.checked_sub(1)?).ok()?)?.as_ref()
    }

    /// Makes a key for an owner that has none: its id, and the entry to append.
    ///
    /// # Errors
    /// The operating system has no randomness.
    pub fn add(
        &mut self,
        index: Index,
        created_secs: u64,
    ) -> Result<(u64, [u8; ENTRY_BYTES]), aws_lc_rs::error::Unspecified> {
        let mut key = [0; 32];
        rand::fill(&mut key)?;
        let id = self.keys.len() as u64 + 1;
        self.keys.push(Some(KeyBytes(key)));
        self.by_index.insert(index, id);
        Ok((id, entry(id, created_secs, LIVE, index, &key)))
    }

    /// Erases the owner's key: its place in the file, and the entry to overwrite it with. `None` if it has none.
    pub fn erase(&mut self, index: Index) -> Option<(u64, [u8; ENTRY_BYTES])> {
        let id = self.by_index.remove(&index)?;
        *self.keys.get_mut(usize::try_from(id - 1).ok()?)? = None;
        let offset = HEADER_BYTES as u64 + (id - 1) * ENTRY_BYTES as u64;
        Some((offset, entry(id, 0, ERASED, Index([0; 16]), &[0; 32])))
    }
}

fn entry(id: u64, created_secs: u64, state: u64, index: Index, key: &[u8; 32]) -> [u8; ENTRY_BYTES] {
    let mut entry = [0; ENTRY_BYTES];
    for (i, word) in [id, created_secs, state].into_iter().enumerate() {
        entry[8 * i..8 * i + 8].copy_from_slice(&word.to_le_bytes());
    }
    entry[24..40].copy_from_slice(&index.0);
    entry[40..72].copy_from_slice(key);
    let sum = checksum(&entry[..72]);
    entry[72..].copy_from_slice(&sum);
    entry
}

fn checksum(bytes: &[u8]) -> [u8; 16] {
    let mut sum = [0; 16];
    sum.copy_from_slice(&digest::digest(&digest::SHA256, bytes).as_ref()[..16]);
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Index = Index([1; 16]);
    const B: Index = Index([2; 16]);

    fn with_two() -> Vec<u8> {
        let mut bytes = Keyfile::new_header().unwrap().to_vec();
        let (mut file, _) = Keyfile::parse(&bytes).unwrap();
        for index in [A, B] {
            bytes.extend_from_slice(&file.add(index, 5).unwrap().1);
        }
        bytes
    }

    #[test]
    fn keys_are_found_again_and_erased_for_good() {
        let mut bytes = with_two();
        let (mut file, whole) = Keyfile::parse(&bytes).unwrap();
        assert_eq!((file.len(), whole), (2, bytes.len()));
        let key = file.find(A).unwrap().1.0;
        let (offset, entry) = file.erase(A).unwrap();
        bytes[offset as usize..offset as usize + ENTRY_BYTES].copy_from_slice(&entry);
        assert!(file.erase(A).is_none() && file.key(1).is_none());
        let (file, _) = Keyfile::parse(&bytes).unwrap();
        assert!(file.find(A).is_none() && file.key(1).is_none());
        assert_eq!(file.find(B).unwrap().0, 2);
        assert!(!bytes.windows(32).any(|w| w == key));
    }

    #[test]
    fn a_torn_entry_is_cut_and_a_damaged_one_refused() {
        let bytes = with_two();
        for cut in HEADER_BYTES + ENTRY_BYTES..bytes.len() {
            let (file, whole) = Keyfile::parse(&bytes[..cut]).unwrap();
            assert_eq!((file.len(), whole), (1, HEADER_BYTES + ENTRY_BYTES));
        }
        for lost in [1, ENTRY_BYTES - 1, ENTRY_BYTES, 3 * ENTRY_BYTES + 5] {
            let (file, whole) = Keyfile::parse(&[&*bytes, &vec![0; lost]].concat()).unwrap();
            assert_eq!((file.len(), whole), (2, bytes.len()), "{lost} zeros");
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Keyfile::parse(&damaged).is_err(), "byte {at}");
        }
        assert!(Keyfile::parse(&bytes[..10]).is_err());
    }
}
