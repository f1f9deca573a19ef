//! The audit directory: one owner, fixed names, files that are whole before they have their name.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::AuditOpenError;
use crate::audit::chain::{hex, unhex};
use crate::audit::files;

/// The directory, owned by this process while the value lives.
#[derive(Debug)]
pub(super) struct Dir {
    root: PathBuf,
    instance: String,
    boot: [u8; 16],
    signer: Ed25519KeyPair,
    _lock: File,
}

impl Dir {
    pub(super) fn open(root: &Path) -> Result<Self, AuditOpenError> {
        let io = |path: PathBuf| move |source| AuditOpenError::Io { path, source };
        DirBuilder::new().recursive(true).mode(0o700).create(root).map_err(io(root.to_owned()))?;
        let lock_path = root.join(files::LOCK);
        let lock = private().create(true).truncate(false).open(&lock_path).map_err(io(lock_path.clone()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(AuditOpenError::InUse { dir: root.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(AuditOpenError::Io { path: lock_path, source }),
        }
        let instance_path = root.join(files::INSTANCE);
        let instance = instance(&instance_path)?;
        Ok(Self { root: root.to_owned(), instance, boot: boot_id(), signer: signer(root)?, _lock: lock })
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn instance(&self) -> &str {
        &self.instance
    }

    pub(super) fn boot(&self) -> [u8; 16] {
        self.boot
    }

    pub(super) fn boot_text(&self) -> String {
        hex(&self.boot)
    }

    pub(super) fn signer(&self) -> &Ed25519KeyPair {
        &self.signer
    }

    pub(super) fn public_key(&self) -> String {
        BASE64.encode(self.signer.public_key().as_ref())
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Numbers of the segments there are, rising.
    pub(super) fn segments(&self) -> io::Result<Vec<u64>> {
        let mut numbers: Vec<u64> = self.names()?.iter().filter_map(|name| files::segment_number(name)).collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Ring files there are.
    pub(super) fn rings(&self) -> io::Result<Vec<PathBuf>> {
        let mut rings: Vec<PathBuf> = self.names()?.iter().map(|name| self.path(name)).collect();
        rings.retain(|path| path.extension().is_some_and(|extension| extension == files::RING));
        rings.sort_unstable();
        Ok(rings)
    }

    fn names(&self) -> io::Result<Vec<String>> {
        fs::read_dir(&self.root)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Removes files that a killed process had not finished: they never had their name.
    pub(super) fn remove_unfinished(&self) -> io::Result<()> {
        let names = self.names()?;
        names.iter().filter(|name| name.ends_with(".new")).try_for_each(|name| fs::remove_file(self.path(name)))
    }

    pub(super) fn create_segment(&self, number: u64, header: &[u8]) -> io::Result<File> {
        let path = self.path(&files::segment(number));
        write_whole(&path, header)
    }

    /// Replaces `head.json`.
    pub(super) fn replace_head(&self, line: &[u8]) -> io::Result<()> {
        write_whole(&self.path(files::HEAD), line).map(drop)
    }
}

/// Options of a file that is ours alone.
pub(super) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// Writes a file beside `path` and renames it: it is whole on disk before it has its name.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let mut file = private().create(true).truncate(true).open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())?;
    Ok(file)
}

/// The host's boot id; zeros where the kernel does not say.
fn boot_id() -> [u8; 16] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    unhex(&text.trim().replace('-', "")).unwrap_or_default()
}

fn instance(path: &Path) -> Result<String, AuditOpenError> {
    let io = |source| AuditOpenError::Io { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut id = [0; 8];
            rand::fill(&mut id).map_err(|_| AuditOpenError::Randomness)?;
            let text = hex(&id);
            write_whole(path, format!("{text}\n").as_bytes()).map_err(io)?;
            Ok(text)
        }
        Err(error) => Err(io(error)),
    }
}

/// The signing key, made on first use.
fn signer(root: &Path) -> Result<Ed25519KeyPair, AuditOpenError> {
    let path = root.join(files::SIGNING);
    let io = |source| AuditOpenError::Io { path: path.clone(), source };
    let bad = || AuditOpenError::SigningKey { path: path.clone() };
    let pair = match fs::read(&path) {
        Ok(pkcs8) => {
            let mode = fs::metadata(&path).map_err(io)?.permissions().mode();
            if mode & 0o077 != 0 {
                return Err(bad());
            }
            Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| bad())?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let pair = Ed25519KeyPair::generate().map_err(|_| AuditOpenError::Randomness)?;
            let pkcs8 = pair.to_pkcs8().map_err(|_| AuditOpenError::Randomness)?;
            write_whole(&path, pkcs8.as_ref()).map_err(io)?;
            pair
        }
        Err(error) => return Err(io(error)),
    };
    let public = format!("{}\n", BASE64.encode(pair.public_key().as_ref()));
    let beside = root.join(files::PUBLIC);
    if fs::read(&beside).ok().as_deref() != Some(public.as_bytes()) {
        write_whole(&beside, public.as_bytes()).map_err(|source| AuditOpenError::Io { path: beside, source })?;
    }
    Ok(pair)
}
