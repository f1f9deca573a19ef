//! A server under test as a child process: pinned, logged to a file, ended with its parent.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::proc::ProcessTree;
use super::sys;

/// From start to the first accepted connection; the gateway loads kernel programs in that time.
const START_MAX: Duration = Duration::from_secs(20);
/// From SIGTERM to the end, for a server that drains; then SIGKILL.
const STOP_MAX: Duration = Duration::from_secs(40);

/// A running child. Dropping it ends it.
pub(super) struct Server {
    name: String,
    child: Option<Child>,
    log: PathBuf,
}

impl Server {
    /// Starts `command` on `cores`, its output going to `server.log` in `directory`.
    ///
    /// # Errors
    /// When it cannot be executed.
    pub(super) fn start(name: &str, command: &mut Command, cores: &[usize], directory: &Path) -> Result<Self> {
        let log = directory.join("server.log");
        let output = File::create(&log).with_context(|| format!("creating {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = spawn(command, cores).with_context(|| format!("starting {name} ({command:?})"))?;
        Ok(Self { name: name.to_owned(), child: Some(child), log })
    }

    /// The process' id.
    pub(super) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Waits until it accepts connections at `address`.
    ///
    /// # Errors
    /// When it ends first or takes too long; the message shows the end of its log.
    pub(super) fn wait_listening(&mut self, address: SocketAddrV4) -> Result<()> {
        self.wait_until(|| TcpStream::connect(address).is_ok())
    }

    /// Waits until `GET path` at `address` is answered with 200.
    ///
    /// # Errors
    /// As [`Self::wait_listening`].
    pub(super) fn wait_ready(&mut self, address: SocketAddrV4, path: &str) -> Result<()> {
        self.wait_until(|| answers_200(address, path).unwrap_or(false))
    }

    fn wait_until(&mut self, ready: impl Fn() -> bool) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        loop {
            if let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() {
                bail!("{} ended with {status}:\n{}", self.name, self.log_tail());
            }
            if ready() {
                return Ok(());
            }
            if Instant::now() > deadline {
                bail!("{} is not ready after {START_MAX:?}:\n{}", self.name, self.log_tail());
            }
            sleep(Duration::from_millis(20));
        }
    }

    /// Resident memory of its process tree, KiB.
    pub(super) fn rss_kib(&self) -> u64 {
        ProcessTree::below(self.pid()).rss_kib()
    }

    /// Asks it to end and waits for that.
    ///
    /// # Errors
    /// When it fails, or does not end in time and is killed: its records cannot be trusted then.
    pub(super) fn stop(mut self) -> Result<()> {
        match self.end()? {
            Some(status) if status.success() || status.code().is_none() => Ok(()),
            Some(status) => bail!("{} ended with {status}:\n{}", self.name, self.log_tail()),
            None => bail!("{} had to be killed {STOP_MAX:?} after SIGTERM", self.name),
        }
    }

    /// The status it ended with, or `None` if it had to be killed.
    fn end(&mut self) -> Result<Option<ExitStatus>> {
        let Some(mut child) = self.child.take() else { return Ok(None) };
        sys::signal(child.id(), libc::SIGTERM);
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                sys::forget_child(child.id());
                return Ok(Some(status));
            }
            sleep(Duration::from_millis(5));
        }
        child.kill()?;
        child.wait()?;
        sys::forget_child(child.id());
        Ok(None)
    }

    fn log_tail(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(2_000)..]).into_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Only on a failure elsewhere, which is what gets reported.
        let _ = self.end();
    }
}

/// Spawns `command` on `cores`, to be ended with this process however that ends.
///
/// # Errors
/// When it cannot be executed.
pub(super) fn spawn(command: &mut Command, cores: &[usize]) -> std::io::Result<Child> {
    let (parent, cores) = (std::process::id(), cores.to_vec());
    // SAFETY: between fork and exec the closure only makes system calls and reads memory owned by it; it neither
    // allocates nor locks. (xtask has a single thread where it spawns.)
    unsafe {
        command.pre_exec(move || {
            sys::die_with(parent, libc::SIGTERM)?;
            sys::pin(&cores)
        })
    };
    let child = command.spawn()?;
    sys::register_child(child.id());
    Ok(child)
}

/// Whether `GET path` is answered with 200.
fn answers_200(address: SocketAddrV4, path: &str) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::V4(address), Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(&start == b"HTTP/1.1 200")
}

/// A loopback address with a port that was free a moment ago.
///
/// # Errors
/// When there is none.
pub(super) fn free_address() -> Result<SocketAddrV4> {
    free_port(Ipv4Addr::LOCALHOST)
}

/// The same at another address of this host.
///
/// # Errors
/// When there is none.
pub(super) fn free_port(address: Ipv4Addr) -> Result<SocketAddrV4> {
    match TcpListener::bind((address, 0)).context("a free port")?.local_addr()? {
        SocketAddr::V4(address) => Ok(address),
        SocketAddr::V6(_) => bail!("asked for IPv4 and got IPv6"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let directory = std::env::temp_dir().join(format!("acp-bench-test-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        directory
    }

    #[test]
    fn a_server_that_fails_at_start_is_reported_with_its_log() {
        let directory = directory("fails");
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such key: lisen >&2; exit 3"]);
        let mut server =
            Server::start("sample", &mut command, &sys::allowed_cores().expect("cores"), &directory).expect("starts");
        let error = server.wait_listening(free_address().expect("port")).expect_err("ends").to_string();
        assert!(error.contains("no such key: lisen") && error.contains('3'), "{error}");
        fs::remove_dir_all(directory).expect("cleaned up");
    }

    #[test]
    fn a_server_is_ended_by_sigterm() {
        let directory = directory("stops");
        let mut command = Command::new("sleep");
        command.arg("60");
        let server =
            Server::start("sample", &mut command, &sys::allowed_cores().expect("cores"), &directory).expect("starts");
        let pid = server.pid();
        server.stop().expect("stops");
        assert!(!Path::new(&format!("/proc/{pid}")).exists());
        fs::remove_dir_all(directory).expect("cleaned up");
    }
}
