//! `build-ebpf`: the programs of `acp-ebpf` for `bpfel-unknown-none`, put where the gateway's build embeds them.

use std::fs;

use anyhow::{Context as _, Result};

use crate::setup::BpfTools;
use crate::{paths, run, setup};

const TARGET: &str = "bpfel-unknown-none";

/// The task: without the tools it fails.
pub(crate) fn run() -> Result<()> {
    build(&setup::bpf_tools_or_fail()?)
}

/// Builds if the host has the tools. If not, the gateway will start without its kernel plane, which is said here and
/// again when it starts; an object of an earlier build is removed, so that it is never embedded beside newer sources.
pub(crate) fn build_if_possible(tools: Option<&BpfTools>) -> Result<()> {
    let Some(tools) = tools else {
        eprintln!("xtask: NO KERNEL PLANE: the tools to build BPF are missing, user space will do all of its work");
        let object = paths::bpf_object();
        if object.exists() {
            fs::remove_file(object).context("cannot remove the outdated BPF object")?;
        }
        return Ok(());
    };
    build(tools)
}

fn build(tools: &BpfTools) -> Result<()> {
    // In its own directory: another compiler, and no waiting for a build of the gateway.
    let target = paths::root().join("target/bpf");
    let flags = [
        format!("-Clinker={}", tools.linker.display()),
        // BTF is made from debug information, and the socket storage map needs it.
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
    ];
    let mut cargo = tools.toolchain.cargo();
    cargo.current_dir(paths::root()).env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    // The gateway's release profile is not for the verifier's eyes; the linker optimises all of it as one anyway.
    cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1");
    cargo.args(["build", "--locked", "--release", "--package", "acp-ebpf", "--bin", "acp", "--features", "bpf"]);
    cargo.args(["-Zbuild-std=core", "--target", TARGET, "--target-dir"]).arg(&target);
    let what = format!("building the BPF programs with {}", tools.toolchain.sysroot().display());
    run::step(&what, || run::run(&mut cargo))?;
    install(&target.join(TARGET).join("release/acp"))
}

/// Copies the object only if it differs: the gateway is rebuilt whenever it is touched.
fn install(built: &std::path::Path) -> Result<()> {
    let (object, built) = (paths::bpf_object(), fs::read(built).context("cannot read the BPF object")?);
    if fs::read(&object).is_ok_and(|old| old == built) {
        return Ok(());
    }
    fs::create_dir_all(object.parent().expect("a file in a directory"))?;
    fs::write(&object, built).context("cannot write the BPF object")
}
