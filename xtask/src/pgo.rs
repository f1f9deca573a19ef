//! The profiled build: compiled twice, the second time for what the first was seen to do.
//!
//! A request crosses code of a dozen modules and libraries, more than the first-level cache holds: where the compiler
//! puts what, and what it inlines, is a good part of its cost. The training is the benchmark's load, all six layers on,
//! and `acp scan` over the page that has an example of every type. What training does not reach is compiled for speed
//! all the same (`-pgso=false`): a gateway must not be slow on just those paths that only an attacker takes.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::setup::{self, Group, on_path};
use crate::{build_ebpf, paths, run};

/// Seconds of load to learn from.
const TRAINING: &str = "8";

/// The versions of LLVM whose tool reads the profiles of this compiler, newest first: their raw format has been the
/// same since 19.
const LLVM: std::ops::RangeInclusive<u32> = 19..=22;

/// Sets up, builds, trains, builds again, and says where the gateway is.
pub(crate) fn gateway() -> Result<PathBuf> {
    let tools = setup::ensure(&[Group::Build, Group::Profile])?;
    build_ebpf::build_if_possible(tools.bpf.as_ref())?;
    let merge = profdata().context("no llvm-profdata: install LLVM's tools, 19 or newer")?;
    let root = paths::root().join("target/pgo");
    let (raw, host) = (root.join("raw"), host()?);
    if raw.exists() {
        fs::remove_dir_all(&raw).with_context(|| format!("clearing {}", raw.display()))?;
    }
    let instrumented = run::step("building the gateway that counts what it runs", || {
        compile(&root.join("counting"), &host, &[format!("-Cprofile-generate={}", raw.display())])
    })?;
    run::step("training it", || train(&instrumented, &raw))?;
    let profile = root.join("acp.profdata");
    run::run(Command::new(&merge).arg("merge").arg("-o").arg(&profile).arg(&raw))?;
    // Cargo does not see that a profile changed.
    let optimised = root.join("optimised");
    if optimised.exists() {
        fs::remove_dir_all(&optimised).with_context(|| format!("clearing {}", optimised.display()))?;
    }
    let flags = [format!("-Cprofile-use={}", profile.display()), "-Cllvm-args=-pgso=false".to_owned()];
    let built = run::step("building the gateway for what was counted", || compile(&optimised, &host, &flags))?;
    let binary = root.join("acp");
    fs::copy(&built, &binary).with_context(|| format!("copying to {}", binary.display()))?;
    Ok(binary)
}

/// A release build with more flags for every crate of the target; build scripts run on the host, and without them.
fn compile(directory: &Path, host: &str, flags: &[String]) -> Result<PathBuf> {
    let given = std::env::var("RUSTFLAGS").ok();
    let flags = given.iter().chain(flags).map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut cargo = run::cargo();
    cargo.args(["build", "--release", "--locked", "--package", "acp-userspace", "--bin", "acp", "--target", host]);
    run::run(cargo.arg("--target-dir").arg(directory).env("RUSTFLAGS", flags))?;
    Ok(directory.join(host).join("release/acp"))
}

/// Runs it as it will be run, and over every kind of finding.
fn train(acp: &Path, raw: &Path) -> Result<()> {
    let profiles = raw.join("%m-%p.profraw");
    let this = std::env::current_exe().context("this binary")?;
    let load = ["bench", "--rows", "acp", "--rounds", "1", "--seconds", TRAINING, "--allow-missing", "--acp"];
    run::run(Command::new(this).args(load).arg(acp).env("LLVM_PROFILE_FILE", &profiles))?;
    let page = paths::root().join("docs/detectors.md");
    for _ in 0..3 {
        let text = File::open(&page).with_context(|| format!("{}", page.display()))?;
        let mut scan = Command::new(acp);
        scan.args(["scan", "--lines", "-"]).stdin(text).stdout(Stdio::null()).env("LLVM_PROFILE_FILE", &profiles);
        let status = scan.status().context("running `acp scan`")?;
        if status.code() != Some(1) {
            bail!("`acp scan` found nothing in {}: {status}", page.display());
        }
    }
    Ok(())
}

/// The tool that merges profiles: the toolchain's own, or one of an LLVM that reads them.
pub(crate) fn profdata() -> Option<PathBuf> {
    let sysroot = run::output(Command::new("rustc").args(["--print", "sysroot"])).map(PathBuf::from)?;
    let own = sysroot.join("lib/rustlib").join(host().ok()?).join("bin/llvm-profdata");
    if own.is_file() {
        return Some(own);
    }
    let newest_first = LLVM.rev().map(|version| format!("llvm-profdata-{version}"));
    newest_first.into_iter().find(|name| on_path(name)).map(PathBuf::from)
}

/// The target triple of this machine.
fn host() -> Result<String> {
    let version = run::output(Command::new("rustc").arg("-vV")).context("cannot run rustc")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_names_this_machine() {
        let host = host().expect("a host");
        assert!(host.contains("linux"), "{host}");
    }
}
