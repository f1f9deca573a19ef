//! Watches what a configuration is read from: its own folder with everything below, where policies lie, and the folders
//! of the upstreams' credentials, which are re-read on change (THREATS B10). Where nothing can be watched, SIGHUP still
//! works.
//!
//! A credential's folder may hold anything: only the credential itself and names that begin with `..` count, by which
//! mounted secrets are exchanged as a whole (`..data` of Kubernetes' volumes).

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::Config;
use crate::config::resolved::Credentials;

/// A running watch.
#[derive(Debug)]
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    folders: Vec<PathBuf>,
    credentials: Arc<Mutex<Vec<PathBuf>>>,
}

impl Watch {
    /// Watches the folder of the configuration at `path`, and what `config` names.
    pub(super) fn start(path: &Path, config: &Config, changed: mpsc::Sender<()>) -> Option<Self> {
        let credentials = Arc::new(Mutex::new(Vec::new()));
        let files = Arc::clone(&credentials);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let files = files.lock().unwrap_or_else(PoisonError::into_inner);
            if event.is_ok_and(|event| !event.kind.is_access() && event.paths.iter().any(|path| matters(path, &files)))
            {
                // A full queue has a change in it already.
                let _ = changed.try_send(());
            }
        });
        let watching = watcher.and_then(|mut watcher| {
            watcher.watch(folder(path), RecursiveMode::Recursive)?;
            Ok(Self { watcher, folders: vec![folder(path).to_owned()], credentials })
        });
        let mut watch =
            watching.inspect_err(|error| tracing::warn!(%error, "files are not watched; reload with SIGHUP")).ok()?;
        watch.cover(config);
        Some(watch)
    }

    /// Watches the credentials that this configuration names too.
    pub(super) fn cover(&mut self, config: &Config) {
        let named = config.upstreams.iter().filter_map(|upstream| match &upstream.credentials {
            Credentials::Service { file, .. } => Some(file.clone()),
            Credentials::None | Credentials::Forward => None,
        });
        let tokens = config.safety.tokens.keys.iter().map(|key| key.file.clone());
        let named: Vec<PathBuf> = named.chain(tokens).collect();
        for file in &named {
            let folder = folder(file);
            if self.folders.iter().any(|watched| watched == folder) {
                continue;
            }
            match self.watcher.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => self.folders.push(folder.to_owned()),
                Err(error) => {
                    tracing::warn!(%error, folder = %folder.display(), "a credential is not watched; reload with SIGHUP");
                }
            }
        }
        *self.credentials.lock().unwrap_or_else(PoisonError::into_inner) = named;
    }
}

/// Whether a change of this path can change what would be read.
fn matters(path: &Path, credentials: &[PathBuf]) -> bool {
    let rules = path.extension().is_some_and(|extension| extension == "toml" || extension == "cedar");
    let exchanged = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".."));
    rules || exchanged || credentials.iter().any(|file| file == path)
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_matters() {
        let credentials = [PathBuf::from("/run/secrets/token")];
        for path in ["/etc/acp/acp.toml", "/etc/acp/p/a.cedar", "/run/secrets/token", "/run/secrets/..data"] {
            assert!(matters(Path::new(path), &credentials), "{path}");
        }
        for path in ["/run/secrets/other", "/etc/acp/acp.toml.swp", "/etc/acp/token"] {
            assert!(!matters(Path::new(path), &credentials), "{path}");
        }
    }
}
