//! Development tasks, one file each: `cargo xtask dev`, `cargo xtask test`, …
//!
//! Compiles with nothing that `setup` installs, because it is what installs it. Everything it says goes to standard
//! error; standard output belongs to the program that a task ends in.

mod bench;
mod build;
mod build_ebpf;
mod ci;
mod deny;
mod dev;
mod fuzz;
mod paths;
mod pgo;
mod run;
mod setup;
mod sim;
mod test;
mod toolchain;
mod torture;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Development tasks of the Agentic Control Plane gateway.
#[derive(Parser)]
#[command(bin_name = "cargo xtask", version, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what is missing on this machine.
    Setup(setup::Args),
    /// Build the BPF object that the gateway embeds.
    BuildEbpf,
    /// Build the gateway, BPF object included.
    Build(build::Args),
    /// Set up, build, and start the gateway with sample issuer, backend, tenants and policy.
    Dev(dev::Args),
    /// Set up, build, and run every test.
    Test(test::Args),
    /// Measure CPU per request beside nginx, HAProxy and Envoy; or the flood; or accuracy beside Presidio.
    Bench(Box<bench::Args>),
    /// Kill the gateway at random moments under load, and check its books after each restart.
    Torture(torture::Args),
    /// Simulate interleaved requests, faults, reloads and crashes by seed, against a model of what must be decided.
    Sim(sim::Args),
    /// Run the fuzz targets (cargo-fuzz, nightly).
    Fuzz(fuzz::Args),
    /// What CI runs: formatting, lints, licences, documentation, tests.
    Ci,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().task {
        Task::Setup(args) => setup::run(&args),
        Task::BuildEbpf => build_ebpf::run(),
        Task::Build(args) => build::run(&args),
        Task::Dev(args) => dev::run(&args),
        Task::Test(args) => test::run(&args),
        Task::Bench(args) => bench::run(*args),
        Task::Torture(args) => torture::run(&args),
        Task::Sim(args) => sim::run(&args),
        Task::Fuzz(args) => fuzz::run(&args),
        Task::Ci => ci::run(),
    };
    if let Err(error) = result {
        eprintln!("xtask: {error:#}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn no_two_options_contradict_each_other() {
        super::Arguments::command().debug_assert();
    }
}
