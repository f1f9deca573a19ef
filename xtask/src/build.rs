//! `build`: the gateway, with the BPF object in it where the host can build one.

use std::path::PathBuf;

use anyhow::Result;

use crate::setup::Group;
use crate::{build_ebpf, paths, run, setup};

/// What to build.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Args {
    /// Build optimised.
    #[arg(long)]
    release: bool,
}

/// The task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = gateway(args.release)?;
    eprintln!("xtask: built {}", binary.display());
    Ok(())
}

/// Sets up, builds, and says where the gateway is.
pub(crate) fn gateway(release: bool) -> Result<PathBuf> {
    let tools = setup::ensure(&[Group::Build])?;
    build_ebpf::build_if_possible(tools.bpf.as_ref())?;
    let mut cargo = run::cargo();
    cargo.args(["build", "--package", "acp-userspace", "--bin", "acp"]);
    if release {
        cargo.arg("--release");
    }
    run::step("building the gateway (some minutes the first time)", || run::run(&mut cargo))?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| paths::root().join("target"), PathBuf::from);
    Ok(target.join(if release { "release" } else { "debug" }).join("acp"))
}
