//! Capabilities: which the process has, and how it gets rid of them all.
//!
//! Capabilities belong to a thread (capabilities(7)): they are dropped on the main thread before any other exists, so
//! that none is left with them. Everything that needs them, listeners and programs, is open by then, and the maps go on
//! working by descriptor alone.

use std::{fs, io};

use caps::{CapSet, Capability};

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// A thread that exists already would keep what this one drops.
    #[error("privileges must be dropped before any thread is started, {0} are running")]
    Threads(usize),
    /// The kernel refused.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel refused to change a capability set.
    #[error("cannot drop capabilities")]
    Caps(#[source] caps::errors::CapsError),
}

/// What the kernel plane's tiers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// CAP_BPF, or CAP_SYS_ADMIN which includes it: load programs and create maps.
    pub(super) bpf: bool,
    /// CAP_NET_ADMIN: attach to a cgroup.
    pub(super) net_admin: bool,
}

/// The capabilities in effect.
pub(super) fn held() -> Held {
    let has = |capability| caps::has_cap(None, CapSet::Effective, capability).unwrap_or(false);
    let admin = has(Capability::CAP_SYS_ADMIN);
    Held { bpf: admin || has(Capability::CAP_BPF), net_admin: admin || has(Capability::CAP_NET_ADMIN) }
}

/// Becomes `user` (uid, gid) if one is given, and drops every capability for good.
///
/// # Errors
/// If more than one thread is running, or the kernel refuses; the process should then not go on.
pub fn drop_privileges(user: Option<(u32, u32)>) -> Result<(), PrivilegeError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(PrivilegeError::Threads(threads));
    }
    forbid_regaining()?;
    if let Some((uid, gid)) = user {
        become_user(uid, gid)?;
    }
    drop_thread_capabilities()
}

/// Drops every capability for good but the one that opens files of other users, such as the gateway's admin socket.
///
/// # Errors
/// As [`drop_privileges`].
pub fn keep_file_access() -> Result<(), PrivilegeError> {
    let threads = fs::read_dir("/proc/self/task").map_or(1, Iterator::count);
    if threads > 1 {
        return Err(PrivilegeError::Threads(threads));
    }
    forbid_regaining()?;
    let had = caps::has_cap(None, CapSet::Permitted, Capability::CAP_DAC_OVERRIDE).map_err(PrivilegeError::Caps)?;
    let kept = had.then_some(Capability::CAP_DAC_OVERRIDE).into_iter().collect();
    for set in [CapSet::Ambient, CapSet::Inheritable] {
        caps::clear(None, set).map_err(PrivilegeError::Caps)?;
    }
    // What is permitted is what may be in effect: the smaller one first.
    for set in [CapSet::Effective, CapSet::Permitted] {
        caps::set(None, set, &kept).map_err(PrivilegeError::Caps)?;
    }
    Ok(())
}

/// Empties the bounding set, where that is allowed, and sets no_new_privs: no later execve can give anything back.
fn forbid_regaining() -> Result<(), PrivilegeError> {
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false) {
        caps::clear(None, CapSet::Bounding).map_err(PrivilegeError::Caps)?;
    }
    // SAFETY: PR_SET_NO_NEW_PRIVS takes integers only.
    let rc = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    check(rc, "set no_new_privs")
}

fn become_user(uid: u32, gid: u32) -> Result<(), PrivilegeError> {
    // SAFETY: a list of no groups; its pointer is not read.
    check(unsafe { libc::setgroups(0, std::ptr::null()) }, "leave the supplementary groups")?;
    // SAFETY: integers only.
    check(unsafe { libc::setresgid(gid, gid, gid) }, "change the group")?;
    // SAFETY: integers only.
    check(unsafe { libc::setresuid(uid, uid, uid) }, "change the user")
}

/// Empties the calling thread's other sets.
pub(super) fn drop_thread_capabilities() -> Result<(), PrivilegeError> {
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        caps::clear(None, set).map_err(PrivilegeError::Caps)?;
    }
    Ok(())
}

fn check(rc: libc::c_int, what: &'static str) -> Result<(), PrivilegeError> {
    if rc == 0 { Ok(()) } else { Err(PrivilegeError::Io { what, source: io::Error::last_os_error() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_to_drop_privileges_once_another_thread_runs() {
        // The test harness runs every test in a thread of its own.
        assert!(matches!(drop_privileges(None), Err(PrivilegeError::Threads(threads)) if threads > 1));
    }

    #[test]
    fn a_thread_that_dropped_its_capabilities_has_none() {
        let status = std::thread::spawn(|| {
            drop_thread_capabilities().expect("giving up needs no privilege");
            assert_eq!(held(), Held { bpf: false, net_admin: false });
            fs::read_to_string("/proc/thread-self/status").expect("proc is mounted")
        });
        let status = status.join().expect("the thread ends well");
        for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000")), "{set} in {status}");
        }
    }
}
