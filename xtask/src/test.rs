//! `test`: every test, in one command.
//!
//! Tests learn what the machine has from the environment: `ACP_CORPORA` (recorded inputs, if there are any beside the
//! checkout), `ACP_TEST_PYTHON` (an interpreter with the packages of `setup --for test`),
//! `ACP_TEST_MCP_SERVER` (the script of an MCP server for Node), `ACP_REQUIRE_BPF=1` (fail instead of skipping where
//! BPF does not work).

use std::ffi::OsString;

use anyhow::Result;

use crate::setup::Group;
use crate::{build_ebpf, paths, run, setup};

/// Which tests to run.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Passed on to `cargo test --workspace`, such as `--test kernel` or a filter.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// The task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tools = setup::ensure(&[Group::Build, Group::Test])?;
    build_ebpf::build_if_possible(tools.bpf.as_ref())?;
    cargo_test(&args.rest)
}

fn cargo_test(rest: &[OsString]) -> Result<()> {
    let mut cargo = run::cargo();
    cargo.args(["test", "--workspace"]).args(rest);
    cargo.env("ACP_TEST_PYTHON", paths::venv().join("bin/python"));
    cargo.env("ACP_TEST_MCP_SERVER", paths::mcp_server());
    let corpora = paths::root().join("../shared/corpora");
    if std::env::var_os("ACP_CORPORA").is_none()
        && let Ok(corpora) = corpora.canonicalize()
    {
        cargo.env("ACP_CORPORA", corpora);
    }
    // The summary lines of the tests go to standard output, as those of plain `cargo test` do.
    run::step("testing", || run::run_with_stdout(&mut cargo))
}
