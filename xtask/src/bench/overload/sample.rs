//! What the gateway holds, once a second: memory, descriptors, threads, CPU, and the size of its log.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddrV4, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::super::sys;

/// One look.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sample {
    /// Anonymous memory, KiB: what the process itself has allocated.
    pub(super) anonymous_kib: u64,
    /// Resident memory, mapped rings and the binary included, KiB.
    pub(super) resident_kib: u64,
    /// Descriptors.
    pub(super) descriptors: u64,
    /// Threads.
    pub(super) threads: u64,
    /// CPU time so far.
    pub(super) cpu: Duration,
    /// Files of the audit directory, bytes.
    pub(super) audit_bytes: u64,
}

impl Sample {
    /// Looks at a process.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn take(pid: u32, audit: &Path) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).context("the gateway is gone")?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        let files = fs::read_dir(audit).into_iter().flatten().flatten();
        Ok(Self {
            anonymous_kib: field("RssAnon"),
            resident_kib: field("VmRSS"),
            descriptors: fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64,
            threads: field("Threads"),
            cpu: sys::process_cpu(pid)?,
            audit_bytes: files.filter_map(|file| Some(file.metadata().ok()?.len())).sum(),
        })
    }
}

/// The gateway's metrics, as text.
///
/// # Errors
/// When they cannot be had.
pub(in crate::bench) fn metrics(address: SocketAddrV4) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("the metrics")?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
