//! `ci`: what has to pass before a change is merged, in the order of how soon it fails.

use std::time::Instant;

use anyhow::Result;

use crate::setup::Group;
use crate::{build_ebpf, deny, run, setup, test};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: [Step; 6] = [
    ("formatting", formatting),
    ("set-up and BPF programs", programs),
    ("licences, bans, sources", deny::run),
    ("lints", lints),
    ("documentation", documentation),
    ("tests", || test::run(&test::Args::default())),
];

/// The task. Stops at the first step that fails; says how long each took.
pub(crate) fn run() -> Result<()> {
    let mut times = Vec::new();
    let result = STEPS.iter().try_for_each(|(name, step)| {
        let start = Instant::now();
        let result = run::step(name, step);
        times.push(format!("{:>7.1} s  {name}", start.elapsed().as_secs_f64()));
        result
    });
    eprintln!("xtask: time per step:\n{}", times.join("\n"));
    result
}

fn formatting() -> Result<()> {
    run::run(run::cargo().args(["fmt", "--all", "--check"]))
}

fn programs() -> Result<()> {
    let tools = setup::ensure(&[Group::Build])?;
    build_ebpf::build_if_possible(tools.bpf.as_ref())
}

fn lints() -> Result<()> {
    run::run(run::cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<()> {
    let mut cargo = run::cargo();
    cargo.env("RUSTDOCFLAGS", "-D warnings");
    run::run(cargo.args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]))
}
