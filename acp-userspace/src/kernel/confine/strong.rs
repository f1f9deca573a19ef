//! Who in a cgroup could get around its confinement: privileges that the hooks of a cgroup cannot hold.
//!
//! Packet sockets are in front of the network stack; whoever is root can move to another cgroup, or remove the pins.
//! Confinement is for processes without such privileges, and this is how one finds out about the others.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The capabilities that matter, by bit (linux/capability.h), and what they are good for.
const CAPABILITIES: [(u32, &str); 5] = [
    (12, "CAP_NET_ADMIN: devices and routes"),
    (13, "CAP_NET_RAW: packet sockets"),
    (16, "CAP_SYS_MODULE: the kernel itself"),
    (19, "CAP_SYS_PTRACE: other processes' sockets"),
    (21, "CAP_SYS_ADMIN: other cgroups, BPF"),
];

/// Cgroups below the confined one that are looked through, itself included.
const CGROUPS_MAX: usize = 1_024;

/// A line for each process of the cgroup and those below it that is not held by it, and how many processes there are,
/// this one not counted.
#[must_use]
pub fn look(cgroup: &Path) -> (Vec<String>, usize) {
    let mut processes = processes(cgroup);
    processes.remove(&std::process::id());
    let lines = processes.iter().filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let why = strength(&status)?;
        let name = status.lines().find_map(|line| line.strip_prefix("Name:\t")).unwrap_or("?");
        Some(format!("process {pid} ({name}) can get around it: {why}"))
    });
    (lines.collect(), processes.len())
}

fn processes(cgroup: &Path) -> BTreeSet<u32> {
    let mut processes = BTreeSet::new();
    let mut left: Vec<PathBuf> = vec![cgroup.to_path_buf()];
    let mut seen = 0;
    while let Some(directory) = left.pop() {
        let text = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        processes.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
        seen += 1;
        let below = fs::read_dir(&directory).into_iter().flatten().flatten();
        let below = below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        left.extend(below.map(|entry| entry.path()).take(CGROUPS_MAX.saturating_sub(seen + left.len())));
    }
    processes
}

/// Why a process with this `/proc/PID/status` is not held; `None` if it is.
fn strength(status: &str) -> Option<String> {
    let field = |name| status.lines().find_map(|line: &str| line.strip_prefix(name));
    let effective = field("CapEff:\t").and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let mut why: Vec<&str> =
        CAPABILITIES.iter().filter(|(bit, _)| effective & (1 << bit) != 0).map(|(_, what)| *what).collect();
    // Real, effective, saved, file system.
    if field("Uid:\t").and_then(|ids| ids.split('\t').nth(1)) == Some("0") {
        why.push("it is root: it may move to another cgroup");
    }
    (!why.is_empty()).then(|| why.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(uid: u32, capabilities: u64) -> String {
        format!("Name:\tx\nUid:\t1000\t{uid}\t1000\t1000\nCapEff:\t{capabilities:016x}\n")
    }

    #[test]
    fn who_is_root_or_makes_packet_sockets_is_not_held_and_others_are() {
        assert_eq!(strength(&status(1000, 0)), None);
        // CAP_NET_BIND_SERVICE changes nothing.
        assert_eq!(strength(&status(1000, 1 << 10)), None);
        assert!(strength(&status(1000, 1 << 13)).is_some_and(|why| why.contains("CAP_NET_RAW")));
        assert!(strength(&status(0, 0)).is_some_and(|why| why.contains("root")));
        assert_eq!(strength(""), None);
    }

    #[test]
    fn a_cgroup_that_is_not_there_has_no_processes() {
        assert_eq!(look(Path::new("/nonexistent")), (Vec::new(), 0));
    }
}
