//! Which tier the host allows, and one line for each thing it lacks.
//!
//! Probing asks cheap questions only; what it cannot foresee (a seccomp profile, a verifier of another mind) shows when
//! the programs are loaded, and is reported the same way.

use std::fs;

use aya::util::KernelVersion;

use super::caps;

/// From this release on maps can be used by descriptor whatever `kernel.unprivileged_bpf_disabled` says (Linux commit
/// c8644cd0efe7): before it, dropping capabilities would cut the gateway off from its own maps.
const MAPS_BY_DESCRIPTOR: KernelVersion = KernelVersion::new(5, 19, 0);

/// What matters about the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Host {
    object: bool,
    capabilities: caps::Held,
    /// Linux before [`MAPS_BY_DESCRIPTOR`].
    old_kernel: bool,
    /// `kernel.unprivileged_bpf_disabled` is not 0.
    unprivileged_disabled: bool,
}

impl Host {
    /// This host.
    pub(super) fn read() -> Self {
        let setting = fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled");
        Self {
            object: super::bpf::OBJECT.is_some(),
            capabilities: caps::held(),
            old_kernel: KernelVersion::current().is_ok_and(|version| version < MAPS_BY_DESCRIPTOR),
            unprivileged_disabled: setting.map_or(true, |setting| setting.trim() != "0"),
        }
    }

    /// What K1 lacks.
    pub(super) fn lacks_for_k1(&self) -> Vec<String> {
        let mut lacks = Vec::new();
        if !self.object {
            lacks.push("this binary was built without the BPF object (cargo xtask build-ebpf, then build)".into());
        }
        if !self.capabilities.bpf {
            lacks.push("no CAP_BPF: run as root, or give it AmbientCapabilities=CAP_BPF CAP_NET_ADMIN".into());
        }
        if self.old_kernel && self.unprivileged_disabled {
            lacks.push(
                "Linux before 5.19 closes BPF maps to a process without capabilities: kernel.unprivileged_bpf_disabled=0 \
                 or a newer one is needed"
                    .into(),
            );
        }
        lacks
    }

    /// What K2 lacks besides a cgroup node.
    pub(super) fn lacks_for_k2(&self) -> Vec<String> {
        if self.capabilities.net_admin {
            return Vec::new();
        }
        vec!["no CAP_NET_ADMIN: the ledger's program cannot be attached to the gateway's cgroup".into()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: Host = Host {
        object: true,
        capabilities: caps::Held { bpf: true, net_admin: true },
        old_kernel: false,
        unprivileged_disabled: true,
    };

    #[track_caller]
    fn check(host: Host, k1: &[&str], k2: &[&str]) {
        for (lacks, expected) in [(host.lacks_for_k1(), k1), (host.lacks_for_k2(), k2)] {
            assert_eq!(lacks.len(), expected.len(), "{lacks:?}");
            for (line, part) in lacks.iter().zip(expected) {
                assert!(line.contains(part), "{line:?} does not say {part:?}");
            }
        }
    }

    #[test]
    fn need_b06_says_each_thing_that_is_missing_in_a_line_of_its_own() {
        check(GOOD, &[], &[]);
        check(Host { object: false, ..GOOD }, &["without the BPF object"], &[]);
        let none = caps::Held { bpf: false, net_admin: false };
        check(Host { object: false, capabilities: none, ..GOOD }, &["BPF object", "CAP_BPF"], &["CAP_NET_ADMIN"]);
        check(Host { capabilities: caps::Held { net_admin: false, ..GOOD.capabilities }, ..GOOD }, &[], &["NET_ADMIN"]);
    }

    #[test]
    fn an_old_kernel_is_enough_only_where_maps_are_open_to_everyone() {
        check(Host { old_kernel: true, ..GOOD }, &["before 5.19"], &[]);
        check(Host { old_kernel: true, unprivileged_disabled: false, ..GOOD }, &[], &[]);
    }
}
