//! The peer: Microsoft Presidio in a Python environment of its own, driven by `presidio.py`.

use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::engine::Engine;
use super::names::{Dialect, KindId};
use crate::setup;

/// The program that runs in the environment.
const DRIVER: &str = include_str!("presidio.py");

/// As an engine. `confidence_min` in percent.
pub(super) const fn engine(confidence_min: u64) -> Engine {
    Engine { name: "Presidio", dialect: Dialect::Presidio, confidence_min, has_header: true }
}

/// The command; installs Presidio if it is not there.
///
/// # Errors
/// When it cannot be installed.
pub(super) fn command() -> Result<Command> {
    let python = setup::ensure_presidio().context("no Presidio (--without-presidio measures without it)")?;
    let mut command = Command::new(python);
    // One thread: the model's matrices are small, and CPU time is compared.
    command.args(["-c", DRIVER, setup::PRESIDIO_MODEL]).env("OMP_NUM_THREADS", "1").env("OPENBLAS_NUM_THREADS", "1");
    Ok(command)
}

/// What it says about itself, in a sentence.
pub(super) fn describe(header: &Value) -> String {
    let word = |name: &str| header[name].as_str().unwrap_or("?").to_owned();
    format!(
        "presidio-analyzer {}, spaCy {} with the model {}, every predefined local recogniser of every country on",
        word("presidio"),
        word("spacy"),
        word("model")
    )
}

/// Its types that are not in the table.
pub(super) fn unmapped(header: &Value) -> Vec<String> {
    let types = header["types"].as_array().into_iter().flatten().filter_map(Value::as_str);
    types.filter(|name| KindId::of_finding(name, Dialect::Presidio).is_none()).map(str::to_owned).collect()
}
