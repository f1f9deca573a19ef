//! Configuration in two steps: `raw` is what the file says, [`resolved`] is what it means, checked. Only the second
//! is passed on; nothing below this module reads the file or the environment.
//!
//! - Every mistake is reported at once, with file, line, column, the key's path and what to write instead.
//! - Unknown keys, contradictions, and rules that could never act are mistakes: a configuration that is not enforced
//!   as it reads is worse than none.
//! - Secrets come from files or systemd credentials only (THREATS B10); files that others can write are refused, and
//!   a set of files is taken only when it reads the same twice (THREATS A29).
//!
//! Defaults and their reasons stand beside the keys in `raw.rs`; docs/configuration.md is made of the same lines.

use std::path::Path;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use toml::de::{DeTable, DeValue};

mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod mistake;
mod places;
mod raw;
mod read;
mod reference;
mod resolve;
pub mod resolved;
mod units;
mod url;

pub use mistake::{Mistake, Mistakes};
pub use places::{Places, Subject};
pub use reference::reference;
pub use resolved::Config;
pub(crate) use units::duration;

use files::{Files, Holds};
use mistake::{At, Collector};
use read::FromToml;

/// Readings of a set of files before giving up on two that agree.
const READINGS_MAX: usize = 6;

/// Between two readings that differ; an editor or a mount of a new volume is done sooner.
const READING_PAUSE: Duration = Duration::from_millis(50);

/// Loads a configuration: the file, and every file it names, read until two readings in a row agree.
///
/// Blocks on the file system, up to a third of a second beyond it; not for a worker thread.
///
/// # Errors
/// Every mistake found.
pub fn load(path: &Path) -> Result<Config, Mistakes> {
    until_stable(|| read_set(path)).unwrap_or_else(|| {
        let why = "keeps changing while it is read; try again when it does not".to_owned();
        Err(Mistakes::of_file(&path.to_string_lossy(), why))
    })
}

/// Repeats a reading until its digest is that of the reading before; `None` after [`READINGS_MAX`].
fn until_stable<T>(mut read: impl FnMut() -> (T, [u8; 32])) -> Option<T> {
    let mut before = None;
    for reading in 0..READINGS_MAX {
        if reading > 1 {
            std::thread::sleep(READING_PAUSE);
        }
        let (outcome, seen) = read();
        if before == Some(seen) {
            return Some(outcome);
        }
        before = Some(seen);
    }
    None
}

/// Reads a configuration from text; relative paths in it start at `base`, and the files there are read once.
///
/// # Errors
/// Every mistake found.
pub fn parse(text: &str, base: &Path) -> Result<Config, Mistakes> {
    parse_with("acp.toml", text, Trust::Deployed, &mut Files::new(base))
}

/// The same for `acp dev`, whose throwaway issuer is on loopback.
///
/// # Errors
/// Every mistake found.
pub fn parse_dev(text: &str, base: &Path) -> Result<Config, Mistakes> {
    parse_with("acp.toml", text, Trust::Throwaway, &mut Files::new(base))
}

/// Where issuers may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// Anywhere but on loopback and other addresses that keys are never fetched from.
    Deployed,
    /// On loopback too: the issuer of `acp dev`.
    Throwaway,
}

/// One reading of the whole set, and the digest of what was read.
fn read_set(path: &Path) -> (Result<Config, Mistakes>, [u8; 32]) {
    let name = path.to_string_lossy();
    let base = path.parent().unwrap_or(Path::new(""));
    let mut files = Files::new(base);
    let outcome = files
        .read(path, Holds::Rules)
        .and_then(|bytes| String::from_utf8(bytes).map_err(|_| "is not UTF-8 text".to_owned()))
        .map_err(|why| Mistakes::of_file(&name, why))
        .and_then(|text| parse_with(&name, &text, Trust::Deployed, &mut files));
    (outcome, files.seen())
}

fn parse_with(name: &str, text: &str, trust: Trust, files: &mut Files<'_>) -> Result<Config, Mistakes> {
    if text.len() as u64 > files::FILE_BYTES_MAX {
        return Err(Mistakes::of_file(name, format!("is larger than {} bytes", files::FILE_BYTES_MAX)));
    }
    let mut found = Collector::default();
    // The parser bounds nesting by itself.
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        found.add(&At { span: error.span().unwrap_or_default(), ..At::default() }, error.message());
    }
    if !errors.is_empty() {
        return Err(found.finish(name, text));
    }
    let root = At::default();
    let file = raw::File::read(&DeValue::Table(table.into_inner()), &root, &mut found);
    found.resolving();
    let config = file.map(|file| {
        let mut config = resolve::resolve(&file, text_digest(text), trust, files, &mut found);
        config.places = Places::of(&file, name, text);
        config
    });
    match config {
        Some(config) if found.is_empty() => Ok(config),
        _ => Err(found.finish(name, text)),
    }
}

fn text_digest(text: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

#[cfg(test)]
mod tests;
