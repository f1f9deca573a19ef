//! `build`: the gateway, with the BPF object in it where the host can build one.

use std::path::PathBuf;

use anyhow::Result;

use crate::setup::Group;
use crate::{build_ebpf, paths, pgo, run, setup};

/// What to build.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Args {
    /// Build optimised.
    #[arg(long)]
    release: bool,
    /// Build optimised for what it does under the benchmark's load: twice, with a run of it between.
    #[arg(long)]
    pgo: bool,
}

/// The task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let binary = if args.pgo { pgo::gateway()? } else { gateway(args.release)? };
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
