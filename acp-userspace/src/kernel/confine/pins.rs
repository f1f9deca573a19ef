//! Where confinements are kept: a directory on a BPF file system, with one below it for each, named by its cgroup's id.
//!
//! A new confinement is put together beside the old one (`…_new`) and renamed when it is whole. A process that dies in
//! between leaves both in force, and the next one clears up.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use acp_ebpf::addr;
use acp_ebpf::confine::{ABI, Meta, Peer, count, role};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray};

use super::{ALLOWED, COUNTS, ConfineError, META, Rules};

const NEW: &str = "_new";

/// The directory.
#[derive(Clone, Debug)]
pub struct Pins(PathBuf);

/// A confinement as it is listed.
#[derive(Debug)]
pub struct Listed {
    /// Its name among the pins.
    pub name: String,
    /// What it is held to.
    pub rules: Rules,
    /// Whether the cgroup still exists. One that is gone confines nobody: a cgroup made anew at its path is another.
    pub alive: bool,
    /// Counters since it was confined, by [`count`].
    pub counts: [u64; count::MAX as usize],
}

/// A confinement that is being put together. Dropped, it is taken back.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
    name: String,
    kept: bool,
}

impl Pins {
    /// The directory, made if it is not there.
    ///
    /// # Errors
    /// It is on no BPF file system, or may not be written.
    pub fn open(path: &Path) -> Result<Self, ConfineError> {
        let failed = |what| move |source| ConfineError::Io { what, path: path.to_path_buf(), source };
        let above = path.parent().unwrap_or(path);
        let on = File::open(if path.exists() { path } else { above }).map_err(failed("open"))?;
        if file_system(&on).map_err(failed("look at"))? != libc::BPF_FS_MAGIC {
            return Err(ConfineError::NoBpffs(path.to_path_buf()));
        }
        make(path).map_err(failed("make"))?;
        Ok(Self(path.to_path_buf()))
    }

    /// Where one of them is pinned.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The names of all, finished or not.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn names(&self) -> Result<Vec<String>, ConfineError> {
        let entries =
            fs::read_dir(&self.0).map_err(|source| ConfineError::Io { what: "read", path: self.0.clone(), source })?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// What a confinement holds its cgroup to, and what it refused so far.
    ///
    /// # Errors
    /// It is of another version, or gone.
    pub fn look(&self, name: &str) -> Result<Listed, ConfineError> {
        let path = self.path(name);
        let failed = |map| move |source| ConfineError::Map { map, source };
        let other = |_: MapError| ConfineError::OtherVersion(path.clone());
        let about: Array<_, Meta> = Map::Array(open(&path, META)?).try_into().map_err(other)?;
        let meta = about.get(&0, 0).map_err(failed(META))?;
        if meta.abi != ABI {
            return Err(ConfineError::OtherVersion(path));
        }
        let allowed: HashMap<_, Peer, u32> = Map::HashMap(open(&path, ALLOWED)?).try_into().map_err(other)?;
        let length = (meta.path_len as usize).min(meta.path.len());
        let cgroup = PathBuf::from(std::ffi::OsStr::from_bytes(&meta.path[..length]));
        let alive = fs::metadata(&cgroup).is_ok_and(|now| now.ino() == meta.cgroup);
        let mut rules = Rules { cgroup, gateways: Vec::new(), resolvers: Vec::new() };
        for entry in allowed.iter() {
            let (peer, role) = entry.map_err(failed(ALLOWED))?;
            let at = SocketAddr::new(addr::ip(peer.address), peer.port);
            let list = if role == role::RESOLVER { &mut rules.resolvers } else { &mut rules.gateways };
            if !list.contains(&at) {
                list.push(at);
            }
        }
        rules.gateways.sort_unstable();
        rules.resolvers.sort_unstable();
        Ok(Listed { name: name.to_owned(), rules, alive, counts: self.counts(name)? })
    }

    /// The counters of one.
    ///
    /// # Errors
    /// As [`Pins::look`].
    pub fn counts(&self, name: &str) -> Result<[u64; count::MAX as usize], ConfineError> {
        let path = self.path(name);
        let counts: PerCpuArray<_, u64> = Map::PerCpuArray(open(&path, COUNTS)?)
            .try_into()
            .map_err(|_: MapError| ConfineError::OtherVersion(path))?;
        Ok(sums(&counts))
    }

    /// Ends a confinement: its programs are detached with the last of their pins.
    ///
    /// # Errors
    /// A pin cannot be removed; what is left of them holds on.
    pub fn remove(&self, name: &str) -> Result<(), ConfineError> {
        remove_all(&self.path(name))
    }

    /// The names under which this cgroup is confined.
    ///
    /// # Errors
    /// The directory cannot be read, or the cgroup is gone.
    pub fn names_of(&self, cgroup: &Path) -> Result<Vec<String>, ConfineError> {
        let found = fs::metadata(cgroup);
        let id = found.map_err(|source| ConfineError::Io { what: "find", path: cgroup.to_path_buf(), source })?.ino();
        let mut names = self.names()?;
        names.retain(|name| name.strip_suffix(NEW).unwrap_or(name) == id.to_string());
        Ok(names)
    }

    /// A place to put a confinement of this cgroup together, free of what an earlier try left.
    pub(super) fn stage(&self, cgroup: u64) -> Result<Staged, ConfineError> {
        let path = self.0.join(format!("{cgroup}{NEW}"));
        remove_all(&path)?;
        make(&path).map_err(|source| ConfineError::Io { what: "make", path: path.clone(), source })?;
        Ok(Staged { path, name: cgroup.to_string(), kept: false })
    }
}

impl Staged {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// It is whole: it takes the place of the old one.
    pub(super) fn keep(mut self) -> Result<String, ConfineError> {
        // From here on what is attached stays: an error leaves more in force than was asked for, never less.
        self.kept = true;
        let place = self.path.with_file_name(&self.name);
        remove_all(&place)?;
        fs::rename(&self.path, &place).map_err(|source| ConfineError::Io { what: "name", path: place, source })?;
        Ok(std::mem::take(&mut self.name))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.kept {
            // The next try clears up what is left.
            let _ = remove_all(&self.path);
        }
    }
}

/// A pinned map.
pub(super) fn open(path: &Path, map: &'static str) -> Result<MapData, ConfineError> {
    MapData::from_pin(path.join(map)).map_err(|source| ConfineError::Map { map, source })
}

/// The counters, over all CPUs.
pub(super) fn sums(counts: &PerCpuArray<MapData, u64>) -> [u64; count::MAX as usize] {
    let mut index = 0;
    [(); count::MAX as usize].map(|()| {
        let sum = counts.get(&index, 0).map_or(0, |per_cpu| per_cpu.iter().sum());
        index += 1;
        sum
    })
}

/// The magic number of the file system that an open file is on (statfs(2)).
pub(super) fn file_system(file: &File) -> io::Result<libc::c_long> {
    let mut found = std::mem::MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: the descriptor is open, and the buffer is of the call's own type.
    if unsafe { libc::fstatfs(file.as_raw_fd(), found.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so it filled the buffer.
    Ok(unsafe { found.assume_init() }.f_type)
}

fn make(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Removes a directory of pins; one that is not there is removed already.
fn remove_all(path: &Path) -> Result<(), ConfineError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ConfineError::Io { what: "remove", path: path.to_path_buf(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_bpf_file_system_there_is_no_confinement_and_the_way_out_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = Pins::open(&dir.path().join("acp")).expect_err("not on bpffs").to_string();
        assert!(error.contains("mount -t bpf"), "{error}");
    }
}
