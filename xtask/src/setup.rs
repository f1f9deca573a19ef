//! `setup`: what the other tasks need and this machine lacks.
//!
//! Finds out by looking, not by remembering, so it can be run at any time and takes a fraction of a second when nothing
//! is missing. System packages are installed as root on Debian and Ubuntu; elsewhere it says which, and fails. The
//! tools for BPF alone may be missing: the gateway then builds without its kernel plane, unless `ACP_REQUIRE_BPF=1`.

mod bpf;
mod node;
mod packages;
mod presidio;
mod python;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

pub(crate) use self::bpf::BpfTools;
pub(crate) use self::packages::on_path;
pub(crate) use self::presidio::{PRESIDIO_MODEL, ensure_presidio};

/// What to set up for.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Groups of tasks, separated by commas.
    #[arg(long = "for", value_enum, value_delimiter = ',', default_values_t = [Group::Build, Group::Test])]
    groups: Vec<Group>,
}

/// Tasks with the same needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Group {
    /// Build the gateway and its BPF programs.
    Build,
    /// Run the tests.
    Test,
    /// Run the benchmarks: the gateways to compare with.
    Bench,
    /// Build the gateway for what it does: the training's backend, and a tool that reads profiles.
    Profile,
}

/// What was found or installed.
pub(crate) struct Tools {
    /// `None` where the host cannot build BPF programs.
    pub(crate) bpf: Option<BpfTools>,
}

/// The task: everything has to be there in the end.
pub(crate) fn run(args: &Args) -> Result<()> {
    install(&args.groups)?;
    if args.groups.contains(&Group::Build) {
        bpf_tools_or_fail()?;
    }
    eprintln!("xtask: set up for {}", names(&args.groups));
    Ok(())
}

/// For the tasks: everything but, possibly, the tools for BPF.
pub(crate) fn ensure(groups: &[Group]) -> Result<Tools> {
    install(groups)?;
    let bpf = match bpf_tools_or_fail() {
        Ok(tools) => Some(tools),
        Err(error) if std::env::var_os("ACP_REQUIRE_BPF").is_some_and(|value| value == "1") => return Err(error),
        Err(error) => {
            eprintln!("xtask: {error:#}");
            None
        }
    };
    Ok(Tools { bpf })
}

/// The tools for BPF, installed if need be.
pub(crate) fn bpf_tools_or_fail() -> Result<BpfTools> {
    bpf::ensure().context("no tools to build BPF programs")
}

fn install(groups: &[Group]) -> Result<()> {
    packages::ensure(groups).with_context(|| format!("not set up for {}", names(groups)))?;
    python::ensure(groups)?;
    node::ensure(groups)
}

fn names(groups: &[Group]) -> String {
    groups.iter().map(|group| format!("{group:?}").to_lowercase()).collect::<Vec<_>>().join(", ")
}
