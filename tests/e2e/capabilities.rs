//! Child processes that lack capabilities: taken from their bounding set before they begin, so that not even root has
//! them (capabilities(7), "Capabilities and execution of programs by root").

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// linux/capability.h. Where a service is delegated a cgroup of its own it may write there; the root of the tree, where
/// tests run, is read-only to whoever lacks this.
pub(crate) const DAC_OVERRIDE: libc::c_ulong = 1;
/// Network administration: what attaches programs.
pub(crate) const NET_ADMIN: libc::c_ulong = 12;
/// Since Linux 5.8.
pub(crate) const BPF: libc::c_ulong = 39;
/// More than there are.
const ALL: libc::c_ulong = 64;

/// Leaves the process that `command` starts no capability but these. It does not start where this one may not do that.
#[expect(unsafe_code, reason = "the standard library has no prctl")]
pub(crate) fn leave_only(command: &mut Command, kept: &'static [libc::c_ulong]) {
    let drop_others = || {
        for capability in (0..ALL).filter(|capability| !kept.contains(capability)) {
            // SAFETY: this prctl takes an integer and touches no memory.
            let rc = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            let error = io::Error::last_os_error();
            // One that the kernel does not know is not there to be kept.
            if rc != 0 && error.raw_os_error() != Some(libc::EINVAL) {
                return Err(error);
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec the closure only makes system calls and reads constants.
    unsafe { command.pre_exec(drop_others) };
}
