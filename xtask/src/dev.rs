//! `dev`: everything from a bare machine to a running gateway, `acp dev`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::build;

/// How to start it.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Build optimised: a longer first start, for measuring.
    #[arg(long)]
    release: bool,
    /// Passed on to `acp dev`, such as `--checks`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<OsString>,
}

/// The task. Becomes the gateway, so that signals and exit status are its own.
pub(crate) fn run(args: &Args) -> Result<()> {
    let acp = build::gateway(args.release)?;
    let error = Command::new(&acp).arg("dev").args(&args.rest).exec();
    Err(error).with_context(|| format!("cannot start {}", acp.display()))
}
