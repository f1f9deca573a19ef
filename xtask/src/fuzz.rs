//! `fuzz`: the fuzz targets of `fuzz/` under cargo-fuzz, each for a while.
//!
//! Wants cargo-fuzz and a nightly toolchain; neither is installed by `setup`, because nothing else needs them. What a
//! target learns stays in `fuzz/corpus/`, what breaks it goes to `fuzz/artifacts/`.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::{paths, run};

/// What to run, and how long.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A target of `fuzz/targets`; all of them unless given.
    target: Option<String>,
    /// How long each runs.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

/// The task. Stops at the first target that fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    if !run::succeeds(nightly().args(["fuzz", "--version"])) {
        bail!(
            "no nightly toolchain, or no cargo-fuzz: rustup toolchain install nightly; cargo install cargo-fuzz --locked"
        );
    }
    let all = targets()?;
    let chosen: Vec<_> = all.iter().filter(|name| args.target.as_ref().is_none_or(|wanted| wanted == *name)).collect();
    if chosen.is_empty() {
        bail!("no such target; there are: {}", all.join(", "));
    }
    chosen.into_iter().try_for_each(|name| run::step(&format!("fuzzing {name}"), || fuzz(name, args.seconds)))
}

/// The names of `fuzz/targets`, sorted.
fn targets() -> Result<Vec<String>> {
    let folder = paths::root().join("fuzz/targets");
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let stem = |path: std::path::PathBuf| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let mut names: Vec<_> = entries.filter_map(|entry| stem(entry.ok()?.path())).collect();
    names.sort();
    Ok(names)
}

/// rustup's cargo: the one that runs us is the workspace's toolchain.
fn nightly() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.current_dir(paths::root()).env("RUSTUP_TOOLCHAIN", "nightly").env_remove("CARGO");
    cargo
}

fn fuzz(name: &str, seconds: u32) -> Result<()> {
    let folder = paths::root().join("fuzz");
    fs::create_dir_all(folder.join("corpus").join(name))?;
    let mut cargo = nightly();
    // The bodies are safe code: a sanitizer would watch what is not under test, at half the speed.
    cargo.args(["fuzz", "run", "--fuzz-dir", "fuzz", "--sanitizer", "none", name]);
    cargo.args([format!("fuzz/corpus/{name}"), format!("fuzz/seeds/{name}")]);
    cargo.args(["--".to_owned(), format!("-max_total_time={seconds}"), "-print_final_stats=1".to_owned()]);
    run::run(&mut cargo)
}
