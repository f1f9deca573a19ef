//! The key file, and the subject keys in use.
//!
//! A key is made when a subject is first seen and appended before the first record that uses it. At most
//! [`CACHE_MAX`] are kept ready; all of them are let go when there are more, which costs each its key schedule again.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::AuditOpenError;
use super::dir::{private, write_whole};
use crate::audit::seal::keyfile::{KEYS_MAX, Keyfile};
use crate::audit::seal::{Owner, SubjectKey};

/// Keys kept ready (about 10 MiB of key schedules).
const CACHE_MAX: usize = 16_384;

/// The key file, open.
#[derive(Debug)]
pub(super) struct KeyStore {
    file: Arc<File>,
    bytes: u64,
    keys: Keyfile,
    /// Entries made and not yet in the file.
    pending: Vec<u8>,
    unsynced: bool,
    ready: HashMap<Owner, SubjectKey>,
}

impl KeyStore {
    /// Opens the key file, or makes one; a torn last entry is cut off.
    pub(super) fn open(path: &Path) -> Result<Self, AuditOpenError> {
        let io = |source| AuditOpenError::Io { path: path.to_owned(), source };
        if !path.exists() {
            let header = Keyfile::new_header().map_err(|_| AuditOpenError::Randomness)?;
            write_whole(path, &header).map_err(io)?;
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let (keys, whole) =
            Keyfile::parse(&bytes).map_err(|source| AuditOpenError::Keys { path: path.to_owned(), source })?;
        let file = private().open(path).map_err(io)?;
        if whole < bytes.len() {
            tracing::warn!(bytes = bytes.len() - whole, "cut off an unfinished entry at the end of subject.keys");
            file.set_len(whole as u64).map_err(io)?;
        }
        Ok(Self {
            file: Arc::new(file),
            bytes: whole as u64,
            keys,
            pending: Vec::new(),
            unsynced: false,
            ready: HashMap::new(),
        })
    }

    /// The owner's key, made if there is none. `None` if the operating system has no randomness.
    pub(super) fn key(&mut self, owner: Owner, now_secs: u64) -> Option<&SubjectKey> {
        if self.ready.len() >= CACHE_MAX && !self.ready.contains_key(&owner) {
            self.ready.clear();
        }
        match self.ready.entry(owner) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => {
                let key = find_or_make(&mut self.keys, &mut self.pending, owner, now_secs)?;
                Some(entry.insert(key))
            }
        }
    }

    /// Appends what was made since. Must succeed before records that use it are written.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(&self.pending, self.bytes)?;
        self.bytes += self.pending.len() as u64;
        self.pending.clear();
        self.unsynced = true;
        Ok(())
    }

    /// The file, if it changed since it was last asked for.
    pub(super) fn take_unsynced(&mut self) -> Option<Arc<File>> {
        std::mem::take(&mut self.unsynced).then(|| Arc::clone(&self.file))
    }

    /// Keys there are, erased ones included.
    pub(super) fn len(&self) -> usize {
        self.keys.len()
    }
}

fn find_or_make(keys: &mut Keyfile, pending: &mut Vec<u8>, owner: Owner, now_secs: u64) -> Option<SubjectKey> {
    let full = keys.len() >= KEYS_MAX;
    let mut index = owner.index(keys.index_key());
    if full && keys.find(index).is_none() {
        index = Owner::Overflow.index(keys.index_key());
    }
    if let Some((id, key)) = keys.find(index) {
        return SubjectKey::new(id, key);
    }
    let (id, entry) = keys.add(index, now_secs).ok()?;
    pending.extend_from_slice(&entry);
    SubjectKey::new(id, keys.key(id)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Key128;

    fn owner(n: u8) -> Owner {
        Owner::Subject { tenant: Key128([1; 16]), user: Key128([n; 16]) }
    }

    #[test]
    fn a_subject_keeps_its_key_across_restarts_and_a_torn_entry_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("subject.keys");
        let mut store = KeyStore::open(&path).unwrap();
        let first = store.key(owner(1), 5).unwrap().id();
        let second = store.key(owner(2), 5).unwrap().id();
        assert_eq!((first, store.key(owner(1), 6).unwrap().id()), (1, 1));
        store.flush().unwrap();
        store.flush().unwrap();
        let len = path.metadata().unwrap().len();
        std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .map(|mut f| io::Write::write_all(&mut f, b"torn"))
            .unwrap()
            .unwrap();
        let mut store = KeyStore::open(&path).unwrap();
        assert_eq!(path.metadata().unwrap().len(), len);
        assert_eq!(store.key(owner(2), 7).unwrap().id(), second);
        assert_eq!(store.len(), 2);
        let mode = std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
    }
}
