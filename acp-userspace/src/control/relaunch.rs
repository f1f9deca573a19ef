//! SIGUSR2: the gateway starts its own successor, from the file that its program is in by now, with the arguments that it
//! was started with; and what a service manager is told of all this (sd_notify(3)).
//!
//! The successor is a child, in the same cgroup and with the same environment. It needs no privilege, which its parent
//! could not give it: what needs one is handed over (see [`super::handover`]).

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The option that has a process take over.
const TAKE_OVER: &str = "--take-over";

/// How this process was started.
#[derive(Debug, Clone)]
pub struct Relaunch {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Relaunch {
    /// Remembers it; `None` where the system does not say. To be asked at start: later the file may be another.
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        let program = std::env::current_exe().ok()?;
        Some(Self { program, arguments: arguments(std::env::args_os().skip(1)) })
    }

    /// Starts the successor, and says in the log if it ends before this process does.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&self) -> std::io::Result<()> {
        let mut child = Command::new(&self.program).args(&self.arguments).stdin(Stdio::null()).spawn()?;
        tracing::info!(pid = child.id(), "SIGUSR2: a successor was started");
        std::thread::Builder::new().name("acp-successor".into()).spawn(move || match child.wait() {
            Ok(status) => tracing::error!(%status, "the successor ended; this process goes on"),
            Err(error) => tracing::error!(%error, "the successor cannot be waited for"),
        })?;
        Ok(())
    }
}

fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<_> = given.filter(|argument| argument != TAKE_OVER).collect();
    arguments.push(TAKE_OVER.into());
    arguments
}

/// Tells the service manager, if there is one, that this process serves and is the main one.
pub fn notify_serving() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = notify(&socket, &format!("READY=1\nMAINPID={}", std::process::id())) {
        tracing::warn!(%error, "the service manager cannot be told that this process serves");
    }
}

fn notify(socket: &std::ffi::OsStr, message: &str) -> std::io::Result<()> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    let address = match socket.as_bytes() {
        // An abstract name is written with an at sign.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(PathBuf::from(OsString::from_vec(path.to_vec())))?,
    };
    UnixDatagram::unbound()?.send_to_addr(message.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_takes_over_however_its_parent_was_started() {
        for given in [&["run", "-c", "acp.toml"][..], &["run", "--take-over", "-c", "acp.toml"]] {
            let made = arguments(given.iter().map(OsString::from));
            assert_eq!(made, ["run", "-c", "acp.toml", "--take-over"]);
        }
    }

    #[test]
    fn the_service_manager_hears_who_is_the_main_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        notify(path.as_os_str(), "READY=1\nMAINPID=7").unwrap();
        let mut heard = [0; 64];
        let length = manager.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\nMAINPID=7");
    }
}
