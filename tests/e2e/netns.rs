//! Network namespaces: hosts of their own inside this one, wired as a test says, gone when it ends.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Namespaces made so far.
static MADE: AtomicU32 = AtomicU32::new(0);

/// A namespace, named so that neither two runs nor two tests of one meet.
pub(crate) struct Netns {
    name: String,
}

impl Netns {
    /// A new one with loopback up; `None` without the privilege or the tools.
    pub(crate) fn new(role: &str) -> Option<Self> {
        let name = format!("acp{}-{}{role}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let made =
            Command::new("ip").args(["netns", "add", &name]).output().is_ok_and(|output| output.status.success());
        let netns = made.then_some(Self { name })?;
        netns.ip("link set lo up");
        Some(netns)
    }

    /// Two ends of a cable: `here` in this namespace, `there` in the other, each with its addresses.
    #[track_caller]
    pub(crate) fn wire(&self, here: (&str, &[&str]), other: &Self, there: (&str, &[&str])) {
        self.ip(&format!("link add {} type veth peer name {} netns {}", here.0, there.0, other.name));
        for (netns, (link, addresses)) in [(self, here), (other, there)] {
            for address in addresses {
                // Without waiting for the detection of duplicates.
                let flag = if address.contains(':') { " nodad" } else { "" };
                netns.ip(&format!("address add {address} dev {link}{flag}"));
            }
            netns.ip(&format!("link set {link} up"));
        }
    }

    /// Runs `ip` in it.
    #[track_caller]
    pub(crate) fn ip(&self, command: &str) {
        self.exec(&["ip"].into_iter().chain(command.split(' ')).collect::<Vec<_>>());
    }

    /// Runs a program in it.
    #[track_caller]
    pub(crate) fn exec(&self, program: &[&str]) {
        let output = Command::new("ip").args(["netns", "exec", &self.name]).args(program).output();
        let output = output.expect("the program starts");
        assert!(output.status.success(), "{program:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Moves the calling thread into it, and so every thread, process and socket it makes from then on.
    #[track_caller]
    #[expect(unsafe_code, reason = "the standard library has no setns")]
    pub(crate) fn enter(&self) {
        let namespace = File::open(format!("/run/netns/{}", self.name)).expect("it was made");
        // SAFETY: changes the network namespace of the calling thread and touches no memory; the descriptor is open.
        let rc = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
        assert_eq!(rc, 0, "setns: {}", std::io::Error::last_os_error());
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // Its cables go with it.
        let _ = Command::new("ip").args(["netns", "delete", &self.name]).status();
    }
}
