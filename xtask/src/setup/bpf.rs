//! The tools for BPF: a compiler with the sources of `core`, and bpf-linker, built once into the cache.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::packages;
use crate::toolchain::{LLVM, Toolchain};
use crate::{paths, run};

const LINKER_VERSION: &str = "0.13.0";

/// Debian's compiler with matching sources, in stable updates for the browsers' sake.
const RUST_PACKAGES: [&str; 3] = ["cargo-web", "rust-web-src", "rustc-web"];
/// What bpf-linker is linked with.
const LLVM_PACKAGES: [&str; 4] = ["libxml2-dev", "libzstd-dev", "llvm-22-dev", "zlib1g-dev"];

/// What building the programs takes.
pub(crate) struct BpfTools {
    pub(crate) toolchain: Toolchain,
    pub(crate) linker: PathBuf,
}

/// Finds or installs the tools.
pub(super) fn ensure() -> Result<BpfTools> {
    Ok(BpfTools { toolchain: toolchain()?, linker: linker()? })
}

fn toolchain() -> Result<Toolchain> {
    if let Some(toolchain) = Toolchain::find() {
        return Ok(toolchain);
    }
    if packages::is_available(RUST_PACKAGES[0]) {
        packages::install("a Rust compiler with the sources of core", &RUST_PACKAGES)?;
    } else if packages::on_path("rustup") {
        let mut rustup = Command::new("rustup");
        rustup.args(["component", "add", "rust-src"]);
        run::step("adding the sources of core to the Rust toolchain", || run::run(&mut rustup))?;
    } else {
        bail!(
            "missing: a Rust compiler with the sources of core. `rustup component add rust-src`, or on Debian: \
             sudo apt-get install -y --no-install-recommends {}",
            RUST_PACKAGES.join(" ")
        );
    }
    Toolchain::find().context("the Rust toolchain that was installed does not fit")
}

fn linker() -> Result<PathBuf> {
    let linker = paths::bpf_linker();
    if is_current(&linker) {
        return Ok(linker);
    }
    let llvm = PathBuf::from(format!("/usr/lib/llvm-{LLVM}/bin"));
    if !llvm.join("llvm-config").exists() {
        packages::install(&format!("LLVM {LLVM}"), &LLVM_PACKAGES)?;
    }
    let what = format!("building bpf-linker {LINKER_VERSION} (once, about 90 s on two cores)");
    run::step(&what, || run::run(&mut install_linker(&llvm)?))?;
    if !is_current(&linker) {
        bail!("{} does not run", linker.display());
    }
    Ok(linker)
}

fn is_current(linker: &Path) -> bool {
    run::output(Command::new(linker).arg("--version")).is_some_and(|version| version.ends_with(LINKER_VERSION))
}

fn install_linker(llvm: &Path) -> Result<Command> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path = std::env::join_paths(std::iter::once(llvm.to_path_buf()).chain(std::env::split_paths(&path)))?;
    let mut cargo = run::cargo();
    cargo.env("PATH", path).args(["install", "bpf-linker", "--version", LINKER_VERSION, "--locked", "--force"]);
    cargo.args(["--no-default-features", "--features"]).arg(format!("llvm-{LLVM}"));
    // Into the cache, never among the user's own programs.
    cargo.arg("--root").arg(paths::cache());
    Ok(cargo)
}
