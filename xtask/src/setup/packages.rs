//! System packages, by their Debian names.

use std::path::Path;
use std::process::Command;
use std::sync::Once;

use anyhow::{Result, bail};

use super::{Group, python};
use crate::{pgo, run};

/// Something a task needs, and the packages that bring it.
struct Need {
    what: &'static str,
    is_there: fn() -> bool,
    packages: &'static [&'static str],
}

const BUILD: &[Need] = &[
    Need { what: "a C and C++ compiler", is_there: has_compilers, packages: &["build-essential"] },
    Need { what: "pkg-config", is_there: has_pkg_config, packages: &["pkg-config"] },
    Need { what: "the Hyperscan library", is_there: has_hyperscan, packages: HYPERSCAN },
];
const TEST: &[Need] = &[
    Need { what: "curl", is_there: || on_path("curl"), packages: &["curl"] },
    Need { what: "ip", is_there: || on_path("ip"), packages: &["iproute2"] },
    Need { what: "nft", is_there: || on_path("nft"), packages: &["nftables"] },
    Need { what: "Python's venv", is_there: python::can_make_venv, packages: &["python3-venv"] },
    Need { what: "Node.js and npm", is_there: || on_path("node") && on_path("npm"), packages: &["nodejs", "npm"] },
];
const BENCH: &[Need] = &[
    Need { what: "nginx", is_there: || on_path("nginx"), packages: &["nginx-light"] },
    Need { what: "HAProxy", is_there: || on_path("haproxy"), packages: &["haproxy"] },
    Need { what: "Python's venv", is_there: python::can_make_venv, packages: &["python3-venv"] },
];
const PROFILE: &[Need] = &[
    Need { what: "nginx", is_there: || on_path("nginx"), packages: &["nginx-light"] },
    Need { what: "llvm-profdata", is_there: || pgo::profdata().is_some(), packages: &["llvm-19"] },
];

/// Intel's original where it exists, its portable, API-compatible successor elsewhere.
const HYPERSCAN: &[&str] = if cfg!(target_arch = "x86_64") { &["libhyperscan-dev"] } else { &["libvectorscan-dev"] };

/// Installs what the groups need and is not there.
pub(super) fn ensure(groups: &[Group]) -> Result<()> {
    let needs = groups.iter().flat_map(|group| match group {
        Group::Build => BUILD,
        Group::Test => TEST,
        Group::Bench => BENCH,
        Group::Profile => PROFILE,
    });
    let missing: Vec<_> = needs.filter(|need| !(need.is_there)()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what = missing.iter().map(|need| need.what).collect::<Vec<_>>().join(", ");
    let mut packages: Vec<_> = missing.iter().flat_map(|need| need.packages).copied().collect();
    packages.sort_unstable();
    packages.dedup();
    install(&what, &packages)?;
    match missing.iter().find(|need| !(need.is_there)()) {
        None => Ok(()),
        Some(need) => bail!("{} is still missing after installing {}", need.what, packages.join(" ")),
    }
}

/// Installs packages, or says how to.
pub(super) fn install(what: &str, packages: &[&str]) -> Result<()> {
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    if !can_install() {
        bail!("missing: {what}. On Debian or Ubuntu: sudo {line}");
    }
    refresh_lists();
    run::step(&format!("installing {what} ({line})"), || run::run(&mut apt_install(packages)))
}

/// Whether the package could be installed here.
pub(super) fn is_available(package: &str) -> bool {
    if !can_install() {
        return false;
    }
    refresh_lists();
    let policy = run::output(Command::new("apt-cache").args(["policy", package]));
    policy.is_some_and(|policy| policy.contains("Candidate: ") && !policy.contains("Candidate: (none)"))
}

/// Whether a program is found on PATH.
pub(crate) fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = [Path::new("/usr/sbin"), Path::new("/sbin")].map(Path::to_path_buf);
    std::env::split_paths(&path).chain(system).any(|directory| directory.join(program).is_file())
}

fn can_install() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    is_root && on_path("apt-get")
}

fn apt_install(packages: &[&str]) -> Command {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive");
    apt.args(["install", "-y", "-qq", "--no-install-recommends"]).args(packages);
    apt
}

/// Fetches the package lists, once a run. Those of a machine's image are as old as the image: they name versions that
/// are gone, or that came before the one wanted. Without a network the old ones may still do.
fn refresh_lists() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        if run::run(Command::new("apt-get").args(["update", "-qq"])).is_err() {
            eprintln!("xtask: the package lists could not be fetched; going on with those that are here");
        }
    });
}

fn has_compilers() -> bool {
    on_path("cc") && on_path("c++")
}

fn has_pkg_config() -> bool {
    on_path("pkg-config") || on_path("pkgconf")
}

fn has_hyperscan() -> bool {
    run::succeeds(Command::new("pkg-config").args(["--exists", "libhs"]))
}
