//! The Node packages of the tests: a real MCP server from npm, at a pinned version, in the build cache.

use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Group;
use crate::{paths, run};

/// The official server that exercises every part of the protocol.
const MCP_SERVER: &str = "@modelcontextprotocol/server-everything@2026.8.31";

/// Installs what the groups need and is not there.
pub(super) fn ensure(groups: &[Group]) -> Result<()> {
    let cache = paths::node();
    let note = cache.join("acp-test.txt");
    let there = paths::mcp_server().is_file() && fs::read_to_string(&note).is_ok_and(|noted| noted == MCP_SERVER);
    if there || !groups.contains(&Group::Test) {
        return Ok(());
    }
    run::step(&format!("installing {MCP_SERVER} from npm"), || {
        let mut npm = Command::new("npm");
        // Packages are unpacked, none of their scripts run.
        npm.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error", "--prefix"]);
        run::run(npm.arg(&cache).arg(MCP_SERVER))
    })?;
    fs::write(&note, MCP_SERVER).context("cannot note what was installed")
}
