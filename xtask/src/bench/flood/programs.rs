//! What the gateway's BPF programs cost: how often each ran and for how long, as the kernel counts it while somebody asks
//! for it (`BPF_ENABLE_STATS`). The count itself is in the figure, some tens of nanoseconds a run.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

use super::super::sys;

/// Fewer runs than this say nothing about one.
const RUNS_MIN: u64 = 1_000;

/// A program, by the hook it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    /// `acp_steer`: once per connection attempt.
    Reuseport,
    /// `acp_ledger`: once per event of a connection.
    SockOps,
    /// `acp_drop`: once per frame.
    Xdp,
    /// `acp_quarantine`: once per packet that arrives for a socket of the gateway's, whoever is in quarantine or not.
    Quarantine,
}

impl Hook {
    /// All, in the order of the tables.
    pub(super) const ALL: [Self; 4] = [Self::Reuseport, Self::SockOps, Self::Xdp, Self::Quarantine];

    /// As in `enum bpf_prog_type` (linux/bpf.h); `None` for hooks that are not looked at.
    fn of(program_type: u64) -> Option<Self> {
        match program_type {
            21 => Some(Self::Reuseport),
            13 => Some(Self::SockOps),
            6 => Some(Self::Xdp),
            8 => Some(Self::Quarantine),
            _ => None,
        }
    }

    /// Its name in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reuseport => "reuseport",
            Self::SockOps => "sock_ops",
            Self::Xdp => "XDP",
            Self::Quarantine => "quarantine",
        }
    }

    /// Most that one run may take, nanoseconds; `None` where that is only shown.
    pub(super) fn target_ns(self) -> Option<f64> {
        match self {
            Self::Reuseport | Self::SockOps => Some(400.0),
            Self::Xdp => Some(150.0),
            Self::Quarantine => None,
        }
    }
}

/// Runs, and nanoseconds of all of them.
pub(super) type Counts = BTreeMap<Hook, (u64, u64)>;

/// Counting, until it is dropped.
pub(super) struct Counting {
    pid: u32,
    before: Counts,
    _on: OwnedFd,
}

impl Counting {
    /// Starts to count what the programs do that the process holds.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, or on kernels before 5.8.
    pub(super) fn start(pid: u32) -> Result<Self> {
        let on = sys::count_bpf_runs().context("BPF_ENABLE_STATS")?;
        Ok(Self { pid, before: counts(pid)?, _on: on })
    }

    /// What they did since.
    ///
    /// # Errors
    /// When the process is gone.
    pub(super) fn stop(self) -> Result<Counts> {
        let mut counts = counts(self.pid)?;
        for (hook, (runs, ns)) in &mut counts {
            let (runs_before, ns_before) = self.before.get(hook).copied().unwrap_or_default();
            (*runs, *ns) = (runs.saturating_sub(runs_before), ns.saturating_sub(ns_before));
        }
        Ok(counts)
    }
}

/// Nanoseconds per run, where there were enough of them.
pub(super) fn per_run(counts: &Counts, hook: Hook) -> Option<f64> {
    let (runs, ns) = *counts.get(&hook)?;
    (runs >= RUNS_MIN).then(|| ns as f64 / runs as f64)
}

/// Nanoseconds of all programs.
pub(super) fn total_ns(counts: &Counts) -> u64 {
    counts.values().map(|(_, ns)| ns).sum()
}

/// Of every program that the process has a descriptor of; several descriptors of one count once.
fn counts(pid: u32) -> Result<Counts> {
    let directory = format!("/proc/{pid}/fdinfo");
    let mut by_id = BTreeMap::new();
    for entry in fs::read_dir(&directory).with_context(|| directory.clone())?.flatten() {
        // A descriptor may be closed between the two calls.
        let Ok(text) = fs::read_to_string(entry.path()) else { continue };
        if let Some((id, program)) = read(&text) {
            by_id.insert(id, program);
        }
    }
    let mut counts = Counts::new();
    for (hook, runs, ns) in by_id.into_values() {
        let (all_runs, all_ns) = counts.entry(hook).or_default();
        (*all_runs, *all_ns) = (*all_runs + runs, *all_ns + ns);
    }
    Ok(counts)
}

/// A program's id, hook, runs and nanoseconds (`bpf_prog_show_fdinfo`, kernel/bpf/syscall.c).
fn read(fdinfo: &str) -> Option<(u64, (Hook, u64, u64))> {
    let field = |name: &str| {
        let line = fdinfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.trim().parse::<u64>().ok()
    };
    let hook = Hook::of(field("prog_type")?)?;
    Some((field("prog_id")?, (hook, field("run_cnt")?, field("run_time_ns")?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEER: &str = "pos:\t0\nflags:\t02000002\nmnt_id:\t16\nino:\t1058\nprog_type:\t21\nprog_jited:\t1\nprog_tag:\t0a\n\
                         memlock:\t4096\nprog_id:\t7\nrun_time_ns:\t600000\nrun_cnt:\t2000\nrecursion_misses:\t0\n";

    #[test]
    fn reads_a_programs_descriptor_and_no_other() {
        assert_eq!(read(STEER), Some((7, (Hook::Reuseport, 2_000, 600_000))));
        assert_eq!(read(&STEER.replace("\t21\n", "\t1\n")), None);
        assert_eq!(read("pos:\t0\nflags:\t02\nmap_type:\t6\nmap_id:\t9\n"), None);
    }

    #[test]
    fn a_few_runs_are_no_figure() {
        let counts = Counts::from([(Hook::Reuseport, (2_000, 600_000)), (Hook::Xdp, (10, 900))]);
        assert_eq!(per_run(&counts, Hook::Reuseport), Some(300.0));
        assert_eq!(per_run(&counts, Hook::Xdp), None);
        assert_eq!(per_run(&counts, Hook::SockOps), None);
        assert_eq!(total_ns(&counts), 600_900);
    }

    #[test]
    fn a_process_without_programs_has_none() {
        assert_eq!(counts(std::process::id()).expect("proc is mounted"), Counts::new());
    }
}
