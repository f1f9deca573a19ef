//! A bound on the CPU of the gateway, by a cgroup (version 1 or 2) that it is started in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// Short, so that a gateway that has used its share does not stand still for long.
const PERIOD_US: u32 = 10_000;

/// The cgroup; removed when dropped, which works once its process is gone.
pub(super) struct Quota {
    node: PathBuf,
}

impl Quota {
    /// A cgroup that may use `percent` of a core.
    ///
    /// # Errors
    /// When there is no CPU controller, or it cannot be written to.
    pub(super) fn new(percent: u32) -> Result<Self> {
        let name = format!("acp-bench-{}", std::process::id());
        let quota = PERIOD_US / 100 * percent;
        let first = Path::new("/sys/fs/cgroup/cpu");
        let quota = if first.is_dir() {
            let made = Self { node: first.join(name) };
            fs::create_dir(&made.node).context("making a cgroup")?;
            fs::write(made.node.join("cpu.cfs_period_us"), PERIOD_US.to_string())?;
            fs::write(made.node.join("cpu.cfs_quota_us"), quota.to_string())?;
            made
        } else {
            let made = Self { node: Path::new("/sys/fs/cgroup").join(name) };
            fs::create_dir(&made.node).context("making a cgroup")?;
            fs::write(made.node.join("cpu.max"), format!("{quota} {PERIOD_US}"))?;
            made
        };
        Ok(quota)
    }

    /// Writes a script that runs `binary` within the bound.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn wrap(&self, binary: &Path, directory: &Path) -> Result<PathBuf> {
        let script = directory.join("acp-within-quota");
        let (node, binary) = (self.node.display(), binary.display());
        fs::write(&script, format!("#!/bin/sh\necho $$ > '{node}/cgroup.procs' && exec '{binary}' \"$@\"\n"))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
        Ok(script)
    }
}

impl Drop for Quota {
    fn drop(&mut self) {
        // Left behind, it bounds nobody.
        let _ = fs::remove_dir(&self.node);
    }
}
