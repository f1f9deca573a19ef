//! The toolchain that builds for BPF: a rustc with the sources of its `core`, because no `core` is shipped for that
//! target.
//!
//! Found by what is there, never by name: a nightly without `rust-src` is common, and a stable one with it does as
//! well, since `RUSTC_BOOTSTRAP=1` unlocks `-Z build-std` on any.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// The LLVM that bpf-linker is built with; it reads bitcode up to its own version.
pub(crate) const LLVM: u32 = 22;

/// A toolchain that can build the programs.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// Its root: `bin/rustc` and `lib/rustlib/src/rust` are in it.
    sysroot: PathBuf,
}

impl Toolchain {
    /// The first one installed that fits: the active one, then rustup's others, then the system's.
    pub(crate) fn find() -> Option<Self> {
        candidates().into_iter().find(|sysroot| fits(sysroot)).map(|sysroot| Self { sysroot })
    }

    /// Its cargo, set up to use its rustc and unstable flags.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new(self.sysroot.join("bin/cargo"));
        cargo.env("RUSTC", self.sysroot.join("bin/rustc")).env("RUSTC_BOOTSTRAP", "1");
        // Wrappers and flags meant for the host's build, and rustup's choice of another toolchain.
        for variable in ["RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTFLAGS", "RUSTUP_TOOLCHAIN", "CARGO"] {
            cargo.env_remove(variable);
        }
        cargo
    }

    /// Its root, to be shown.
    pub(crate) fn sysroot(&self) -> &Path {
        &self.sysroot
    }
}

fn candidates() -> Vec<PathBuf> {
    let mut sysroots: Vec<_> =
        run::output(Command::new("rustc").args(["--print", "sysroot"])).map(PathBuf::from).into_iter().collect();
    sysroots.extend(rustup_toolchains());
    sysroots.push("/usr".into());
    sysroots
}

fn rustup_toolchains() -> Vec<PathBuf> {
    let home = std::env::var_os("RUSTUP_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".rustup")));
    let entries = home.and_then(|home| fs::read_dir(home.join("toolchains")).ok());
    let mut toolchains: Vec<_> = entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    toolchains.sort();
    toolchains
}

fn fits(sysroot: &Path) -> bool {
    let has = |file: &str| sysroot.join(file).exists();
    has("lib/rustlib/src/rust/library/core/Cargo.toml")
        && has("bin/cargo")
        && run::output(Command::new(sysroot.join("bin/rustc")).arg("-vV")).is_some_and(|version| is_usable(&version))
}

/// Judges `rustc -vV`: as new as the workspace asks for, and no newer LLVM than bpf-linker's.
fn is_usable(version: &str) -> bool {
    let field = |name: &str| version.lines().find_map(|line| line.strip_prefix(name)).map(numbers);
    let rust_version = numbers(env!("CARGO_PKG_RUST_VERSION"));
    field("release: ").is_some_and(|release| release >= rust_version)
        && field("LLVM version: ").and_then(|llvm| llvm.first().copied()).is_some_and(|major| major <= LLVM)
}

/// `1.97.0-nightly` → [1, 97, 0].
fn numbers(version: &str) -> Vec<u32> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release.split('.').map_while(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(release: &str, llvm: &str, usable: bool) {
        let version = format!("rustc\nbinary: rustc\nhost: x86_64\nrelease: {release}\nLLVM version: {llvm}");
        assert_eq!(is_usable(&version), usable, "{release} with LLVM {llvm}");
    }

    #[test]
    fn takes_a_compiler_between_the_workspaces_version_and_the_linkers_llvm() {
        check("1.95.0", "22.1.2", true);
        check("1.97.0-nightly", "22.1.4", true);
        check("1.100.0", "22.1.4", true);
        check("1.94.1", "21.1.0", false);
        check("1.110.0", "23.1.0", false);
        assert!(!is_usable(""));
    }
}
