//! What `/proc` says of a server: its process tree, CPU time and resident memory.

use std::fs;
use std::io;
use std::time::Duration;

use super::sys;

/// A process and all its descendants at one moment.
pub(super) struct ProcessTree {
    pids: Vec<u32>,
}

impl ProcessTree {
    /// The tree below `root`, which it includes.
    pub(super) fn below(root: u32) -> Self {
        let mut pids = vec![root];
        let mut next = 0;
        while let Some(&pid) = pids.get(next) {
            pids.extend(children(pid));
            next += 1;
        }
        Self { pids }
    }

    /// CPU time of all of them so far: user and system, every thread.
    ///
    /// # Errors
    /// When one of them has ended: a server that lost a process in a measurement has no valid measurement.
    pub(super) fn cpu(&self) -> io::Result<Duration> {
        self.pids.iter().map(|&pid| sys::process_cpu(pid)).sum()
    }

    /// Resident memory of all of them in KiB; pages shared between them count for each.
    pub(super) fn rss_kib(&self) -> u64 {
        self.pids.iter().filter_map(|&pid| rss_kib(pid)).sum()
    }
}

/// Child processes of every thread of `pid`.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok())
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

fn rss_kib(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn finds_a_grandchild_and_counts_its_memory() {
        // The trailing command keeps the shell from replacing itself by its child.
        let mut shell = Command::new("sh");
        shell.args(["-c", "sh -c 'cat; true'; true"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = shell.spawn().expect("a shell");
        let tree = (0..100)
            .map(|_| {
                std::thread::yield_now();
                ProcessTree::below(child.id())
            })
            .chain(std::iter::from_fn(|| Some(ProcessTree::below(child.id()))).take(100_000))
            .find(|tree| tree.pids.len() >= 3);
        let tree = tree.expect("the grandchild appears");
        assert!(tree.rss_kib() > 100);
        tree.cpu().expect("all alive");
        drop(child.stdin.take());
        child.wait().expect("ends with its input");
        assert!(tree.cpu().is_err(), "an ended process has no CPU time to compare");
    }
}
