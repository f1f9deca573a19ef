//! The gateway's own node in the cgroup v2 tree, where the ledger's program is attached.
//!
//! A socket belongs to the cgroup its process was in when it was *created*, and an accepted one to its listener's: the
//! process enters the node before it opens listeners. The node outlives a process that dies; the next one to start
//! removes it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// The name of a process' node is this and its id.
const PREFIX: &str = "acp-";

/// Why the process has no node of its own.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// Every distribution since 2019 mounts it, possibly beside v1 at `/sys/fs/cgroup/unified`.
    #[error("no cgroup2 file system is mounted")]
    NotMounted,
    /// Read-only in most containers; needs a writable, delegated subtree.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// The node. Left and removed when dropped, as far as privileges then allow.
#[derive(Debug)]
pub struct CgroupNode {
    parent: PathBuf,
    path: PathBuf,
}

impl CgroupNode {
    /// Creates a node under `parent`, by default where the process is, and moves the process into it. Removes those
    /// of processes that are gone.
    ///
    /// # Errors
    /// If there is no cgroup2, or it may not be written.
    pub fn enter(parent: Option<&Path>) -> Result<Self, CgroupError> {
        let parent = match parent {
            Some(parent) => parent.to_path_buf(),
            None => own_directory()?,
        };
        remove_stale(&parent);
        let path = parent.join(format!("{PREFIX}{}", std::process::id()));
        match fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(CgroupError::Io { what: "create", path, source: error });
            }
            _ => {}
        }
        let node = Self { parent, path };
        join(&node.path)?;
        Ok(node)
    }

    /// Moves the process into a node that another process made, and is about to leave to it.
    ///
    /// # Errors
    /// It may not be entered.
    pub fn join(path: &Path) -> Result<Self, CgroupError> {
        join(path)?;
        Ok(Self { parent: path.parent().unwrap_or(path).to_owned(), path: path.to_owned() })
    }

    /// The node, open, to attach programs to.
    ///
    /// # Errors
    /// If it was removed.
    pub fn open(&self) -> Result<File, CgroupError> {
        File::open(&self.path).map_err(|source| CgroupError::Io { what: "open", path: self.path.clone(), source })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for CgroupNode {
    fn drop(&mut self) {
        // What fails here is cleaned up by the next start.
        let _ = join(&self.parent).and_then(|()| {
            fs::remove_dir(&self.path).map_err(|source| CgroupError::Io {
                what: "remove",
                path: self.path.clone(),
                source,
            })
        });
    }
}

/// Moves the process, all its threads, into `node`.
fn join(node: &Path) -> Result<(), CgroupError> {
    // 0 is the writing process itself (cgroups(7), "cgroup.procs").
    fs::write(node.join("cgroup.procs"), "0").map_err(|source| CgroupError::Io {
        what: "enter",
        path: node.to_path_buf(),
        source,
    })
}

/// Removes nodes of processes that are gone. A node in use cannot be removed, whatever its name says.
fn remove_stale(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(id) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
        if id.parse::<u32>().is_ok() && !Path::new("/proc").join(id).exists() {
            let _ = fs::remove_dir(entry.path());
        }
    }
}

/// The directory of the process' own cgroup.
fn own_directory() -> Result<PathBuf, CgroupError> {
    let read = |path: &'static str| {
        fs::read_to_string(path).map_err(|source| CgroupError::Io { what: "read", path: path.into(), source })
    };
    locate(&read("/proc/self/mountinfo")?, &read("/proc/self/cgroup")?).ok_or(CgroupError::NotMounted)
}

/// Where the cgroup named in `cgroup` (`/proc/PID/cgroup`) is found, given `mountinfo` (proc_pid_mountinfo(5)).
fn locate(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        if filesystem.split(' ').next() != Some("cgroup2") {
            return None;
        }
        let mut fields = mount.split(' ').skip(3);
        let (root, mounted_at) = (fields.next()?, fields.next()?);
        let below = Path::new(own).strip_prefix(root).ok()?;
        Some(Path::new(mounted_at).join(below).components().collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mountinfo: &str, cgroup: &str, expected: Option<&str>) {
        assert_eq!(locate(mountinfo, cgroup), expected.map(PathBuf::from));
    }

    const UNIFIED: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate";
    const HYBRID: &str = "31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                          32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

    #[test]
    fn finds_the_own_cgroup_under_either_layout() {
        check(UNIFIED, "0::/system.slice/acp.service\n", Some("/sys/fs/cgroup/system.slice/acp.service"));
        check(UNIFIED, "0::/\n", Some("/sys/fs/cgroup"));
        check(HYBRID, "9:name=systemd:/\n8:cpu:/x\n0::/\n", Some("/sys/fs/cgroup/unified"));
    }

    #[test]
    fn a_mount_of_a_subtree_shows_only_what_is_below_it() {
        let bound = "30 23 0:26 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup2 ro";
        check(bound, "0::/docker/abc/gateway\n", Some("/sys/fs/cgroup/gateway"));
        check(bound, "0::/docker/other\n", None);
    }

    #[test]
    fn a_host_without_cgroup2_has_no_node() {
        check("31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu", "1:cpu:/\n", None);
        check(UNIFIED, "1:cpu:/\n", None);
        check("", "", None);
        check("nonsense - cgroup2", "0::/\n", None);
    }
}
