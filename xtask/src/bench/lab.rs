//! Where everything of one run is: directories, binaries, keys, cores, the private network.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::keys::Keys;
use super::peers::Peers;
use super::sys;

/// What every row needs to know.
pub(super) struct Lab {
    /// `target/bench`.
    pub(super) root: PathBuf,
    /// Worker threads or processes of every proxy.
    pub(super) workers: usize,
    /// Who runs where.
    pub(super) cores: Cores,
    /// Issuer and tokens.
    pub(super) keys: Keys,
    /// Peers' binaries.
    pub(super) peers: Peers,
    /// The gateway under test.
    pub(super) acp: PathBuf,
    /// Another build of it to compare with.
    pub(super) baseline: Option<PathBuf>,
}

impl Lab {
    /// An empty directory below the root, on a disk that is done with what was there before: gigabytes of logs that are
    /// removed hold up the next gateway's.
    ///
    /// # Errors
    /// When it cannot be emptied or made, or the disk fails.
    pub(super) fn fresh_directory(&self, name: &str) -> Result<PathBuf> {
        let directory = self.root.join(name);
        if directory.exists() {
            fs::remove_dir_all(&directory).with_context(|| format!("emptying {}", directory.display()))?;
        }
        fs::create_dir_all(&directory).with_context(|| format!("creating {}", directory.display()))?;
        let settled = File::open(&directory).and_then(|directory| sys::settle(&directory));
        settled.with_context(|| format!("waiting for the disk of {}", directory.display()))?;
        Ok(directory)
    }
}

/// The split of the machine: the server under test on its own cores, load and backend on the others, so that neither
/// the scheduler nor the load's caches decide which server looks better.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cores {
    /// For the server under test, every thread and child of it.
    pub(super) server: Vec<usize>,
    /// For load generator, offender and backend.
    pub(super) load: Vec<usize>,
}

impl Cores {
    /// Gives the server one core per worker from the end; if that leaves none for the load, all share all.
    ///
    /// # Errors
    /// When there are more workers than cores.
    pub(super) fn split(allowed: &[usize], workers: usize) -> Result<Self> {
        match allowed.len().checked_sub(workers) {
            None => bail!("{workers} workers on {} cores", allowed.len()),
            Some(_) if workers == 0 => bail!("0 workers serve nothing"),
            Some(0) => Ok(Self { server: allowed.to_vec(), load: allowed.to_vec() }),
            Some(rest) => {
                let (load, server) = allowed.split_at(rest);
                Ok(Self { server: server.to_vec(), load: load.to_vec() })
            }
        }
    }

    /// All of them, once each.
    pub(super) fn all(&self) -> Vec<usize> {
        let mut all = [self.load.as_slice(), &self.server].concat();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Whether server and load compete for cores.
    pub(super) fn shared(&self) -> bool {
        self.server == self.load
    }
}

const ALLOWED_CONTROLS: &str = "/proc/sys/net/ipv4/tcp_allowed_congestion_control";
const CONTROL: &str = "/proc/sys/net/ipv4/tcp_congestion_control";

/// Moves into a network namespace with `cubic` as congestion control, apart from the host's firewall rules, connection
/// tracking and other listeners. Must be called before anything is spawned. Returns what was reached, for the report.
pub(super) fn isolate_network() -> String {
    match enter_network_with_cubic() {
        Ok(()) => "own network namespace".to_owned(),
        Err(error) => format!("the host's network namespace ({error:#})"),
    }
}

fn enter_network_with_cubic() -> Result<()> {
    // A namespace may only choose an algorithm that is allowed on the host; a new one inherits the host's choice, which
    // may be bbr, whose pacing timers cost CPU and whose probing makes latencies wander.
    let allowed = fs::read_to_string(ALLOWED_CONTROLS)?;
    let widened = !allowed.split_whitespace().any(|control| control == "cubic");
    if widened {
        fs::write(ALLOWED_CONTROLS, format!("{} cubic", allowed.trim())).context("allowing cubic")?;
    }
    // /proc/sys/net shows the namespace of its reader; the host's list is reached through the descriptor opened before.
    let host = fs::OpenOptions::new().write(true).open(ALLOWED_CONTROLS);
    let entered = sys::enter_private_network().context("needs CAP_SYS_ADMIN");
    let chosen = entered.and_then(|()| fs::write(CONTROL, "cubic").context("choosing cubic"));
    if widened {
        use std::io::Write as _;
        host.and_then(|mut file| file.write_all(allowed.trim().as_bytes())).context("restoring the host's list")?;
    }
    chosen
}

/// The congestion control in use.
pub(super) fn congestion_control() -> String {
    fs::read_to_string(CONTROL).map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// The build directory this binary is in, two levels up from `debug/xtask`.
///
/// # Errors
/// When the binary was moved elsewhere or is gone.
pub(super) fn build_directory() -> Result<PathBuf> {
    let binary = std::env::current_exe().context("this binary")?;
    let directory = binary.ancestors().nth(2).filter(|path| path.is_dir());
    directory.map(Path::to_owned).with_context(|| format!("{} is in no build directory", binary.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(allowed: &[usize], workers: usize, server: &[usize], load: &[usize]) {
        let cores = Cores::split(allowed, workers).expect("a split");
        assert_eq!(cores, Cores { server: server.to_vec(), load: load.to_vec() });
    }

    #[test]
    fn server_and_load_get_their_own_cores_while_there_are_enough() {
        check(&[0, 1], 1, &[1], &[0]);
        check(&[0, 1, 2, 5], 2, &[2, 5], &[0, 1]);
        check(&[0, 1], 2, &[0, 1], &[0, 1]);
        check(&[3], 1, &[3], &[3]);
    }

    #[test]
    fn refuses_more_workers_than_cores_and_none() {
        assert!(Cores::split(&[0, 1], 3).is_err());
        assert!(Cores::split(&[0, 1], 0).is_err());
    }
}
