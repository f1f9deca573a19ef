//! The file of shared sources: what the source book must not forget over a restart (THREATS A2).
//!
//! A line per source: its address (the first of an IPv6 /64), until when several users share it, and until when several
//! tenants do, in seconds since the Unix epoch; 0 = they never did. Lines are appended as sources are found shared, and
//! the last line of a source counts; a line that cannot be read, such as one that a crash cut off, is passed over and
//! counted. At start, and when it has grown to `LINES_MAX`, the file is written anew with what still holds.
//!
//! The clock on disk is the wall's, the book's the monotonic one: a wall clock set back lets a source be shared for
//! longer, but never for more than `AHEAD_MAX_NS`; one set ahead may forget it, which costs a penalty that its first
//! other user ends.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use acp_ebpf::SourceKey;

use crate::clock::Now;
use crate::kernel::book::{SHARED_NS, SOURCES_MAX, Sharing};

/// Lines after which the file is written anew: each source of a full book twice.
const LINES_MAX: usize = 2 * SOURCES_MAX;
/// Most that is read of a file: lines of the longest form, and twice as many as are ever written.
const BYTES_MAX: u64 = 4 * SOURCES_MAX as u64 * 64;
/// Longest that a line is believed to hold: a day, and the hour by which it is written ahead.
const AHEAD_MAX_NS: u64 = SHARED_NS + SHARED_NS / 24;

const SECOND_NS: u64 = 1_000_000_000;

/// What is known of the sources, in seconds since the Unix epoch: users, tenants.
type Known = HashMap<SourceKey, (u64, u64)>;

/// See the module's documentation. Blocks on the disk.
#[derive(Debug)]
pub struct SharedSources {
    path: PathBuf,
    /// Lines in the file, unreadable ones included.
    lines: usize,
}

/// What a file held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// What still holds, in the terms of this process' monotonic clock.
    pub shared: Vec<(SourceKey, Sharing)>,
    /// Lines that could not be read.
    pub unreadable: usize,
}

impl SharedSources {
    /// Reads the file, if there is one, and writes it anew with what still holds.
    ///
    /// # Errors
    /// It cannot be read or written. Sources that were shared are then unknown.
    pub fn open(path: &Path, now: Now) -> io::Result<(Self, Loaded)> {
        let (known, unreadable) = read(path, now.unix_secs())?;
        let mut file = Self { path: path.to_owned(), lines: 0 };
        file.replace(&known)?;
        let shared = known.into_iter().map(|(source, until)| (source, to_monotonic(until, now))).collect();
        Ok((file, Loaded { shared, unreadable }))
    }

    /// Writes sources down; durable when it returns.
    ///
    /// # Errors
    /// The disk's. Some of the lines may be in the file.
    pub fn append(&mut self, shared: &[(SourceKey, Sharing)], now: Now) -> io::Result<()> {
        if self.lines.saturating_add(shared.len()) > LINES_MAX {
            let (known, _) = read(&self.path, now.unix_secs())?;
            self.replace(&known)?;
        }
        let lines = shared.iter().map(|(source, shared)| (*source, to_wall(*shared, now)));
        let text = text_of(lines);
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        file.write_all(text.as_bytes())?;
        self.lines = self.lines.saturating_add(shared.len());
        file.sync_data()
    }

    /// Puts a file with these lines in the place of the one that is there: whole, or not at all.
    fn replace(&mut self, known: &Known) -> io::Result<()> {
        let new = self.path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text_of(known.iter().map(|(source, until)| (*source, *until))).as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &self.path)?;
        if let Some(directory) = self.path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            File::open(directory)?.sync_all()?;
        }
        self.lines = known.len();
        Ok(())
    }
}

/// What holds at `now_secs`, and the number of lines that cannot be read; nothing if there is no file.
fn read(path: &Path, now_secs: u64) -> io::Result<(Known, usize)> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => drop(file.take(BYTES_MAX).read_to_end(&mut bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let (mut known, mut unreadable) = (Known::new(), 0);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        match parse(line) {
            Some((source, (users, tenants))) if now_secs < users.max(tenants) => {
                if known.len() < SOURCES_MAX || known.contains_key(&source) {
                    known.insert(source, (users, tenants));
                }
            }
            Some((source, _)) => drop(known.remove(&source)),
            None => unreadable += 1,
        }
    }
    Ok((known, unreadable))
}

fn parse(line: &[u8]) -> Option<(SourceKey, (u64, u64))> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let source: IpAddr = words.next()?.parse().ok()?;
    let until = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    // The end of the line's own: a number that was cut off is another number.
    (words.next() == Some(".") && words.next().is_none()).then_some((SourceKey::of_ip(source), until))
}

fn text_of(known: impl Iterator<Item = (SourceKey, (u64, u64))>) -> String {
    let mut text = String::new();
    for (source, (users, tenants)) in known {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} {users} {tenants} .", source.ip());
    }
    text
}

fn to_wall(shared: Sharing, now: Now) -> (u64, u64) {
    let wall = |until_ns: u64| match until_ns.checked_sub(now.mono_ns) {
        Some(left_ns) if until_ns > 0 => now.unix_secs().saturating_add(left_ns.div_ceil(SECOND_NS)),
        _ => 0,
    };
    (wall(shared.users_until_ns), wall(shared.tenants_until_ns))
}

fn to_monotonic((users, tenants): (u64, u64), now: Now) -> Sharing {
    let mono = |until_secs: u64| match until_secs.checked_sub(now.unix_secs()) {
        None | Some(0) => 0,
        Some(left) => now.mono_ns.saturating_add(left.saturating_mul(SECOND_NS).min(AHEAD_MAX_NS)),
    };
    Sharing { users_until_ns: mono(users), tenants_until_ns: mono(tenants) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR_NS: u64 = 3600 * SECOND_NS;

    fn now(unix_secs: u64, mono_ns: u64) -> Now {
        Now { wall_ns: unix_secs * SECOND_NS, mono_ns }
    }

    fn source(text: &str) -> SourceKey {
        SourceKey::of_ip(text.parse().expect("a test address"))
    }

    fn users(until_ns: u64) -> Sharing {
        Sharing { users_until_ns: until_ns, tenants_until_ns: 0 }
    }

    fn load(path: &Path, now: Now) -> Loaded {
        let (_, mut loaded) = SharedSources::open(path, now).expect("the file opens");
        loaded.shared.sort_unstable_by_key(|(source, _)| *source);
        loaded
    }

    #[test]
    fn threat_a02_a_shared_source_is_shared_after_a_restart_and_a_reboot_for_what_is_left_of_its_day() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared-sources");
        let (mut file, loaded) = SharedSources::open(&path, now(1_000_000, HOUR_NS)).unwrap();
        assert_eq!(loaded, Loaded::default());
        let (office, home) = (source("198.51.100.7"), source("2001:db8::1"));
        file.append(&[(office, users(4 * HOUR_NS)), (home, users(2 * HOUR_NS))], now(1_000_000, HOUR_NS)).unwrap();
        file.append(&[(office, users(5 * HOUR_NS))], now(1_000_000, HOUR_NS)).unwrap();

        // Two hours later, after a reboot: three of the four hours that the second line gave are left, less one.
        let later = now(1_000_000 + 2 * 3600, SECOND_NS);
        let expected = vec![(office, users(SECOND_NS + 2 * HOUR_NS))];
        assert_eq!(load(&path, later), Loaded { shared: expected, unreadable: 0 });
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1, "what is over is not kept");
    }

    #[test]
    fn a_line_that_was_cut_off_or_is_not_ours_is_passed_over_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared-sources");
        fs::write(&path, b"192.0.2.1 1000900 0 .\nwhat?\n\xff\xfe\n192.0.2.2 1000900 0 . more\n192.0.2.3 10009")
            .unwrap();
        let loaded = load(&path, now(1_000_000, 0));
        assert_eq!((loaded.shared, loaded.unreadable), (vec![(source("192.0.2.1"), users(900 * SECOND_NS))], 4));
        assert_eq!(load(&path, now(1_000_000, 0)).unreadable, 0, "written anew");
    }

    #[test]
    fn a_wall_clock_that_was_set_back_shares_nothing_for_longer_than_a_day_and_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared-sources");
        fs::write(&path, format!("192.0.2.1 {} 0 .\n192.0.2.2 0 1000001 .\n", u64::MAX)).unwrap();
        let loaded = load(&path, now(1_000_000, 0)).shared;
        assert_eq!(loaded[0], (source("192.0.2.1"), users(AHEAD_MAX_NS)));
        assert_eq!(loaded[1].1, Sharing { users_until_ns: 0, tenants_until_ns: SECOND_NS });
    }

    #[test]
    fn what_grows_is_written_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shared-sources");
        let at = now(1_000_000, HOUR_NS);
        let (mut file, _) = SharedSources::open(&path, at).unwrap();
        let batch: Vec<_> = (0..SOURCES_MAX as u32 / 2)
            .map(|n| (source(&std::net::Ipv4Addr::from(n).to_string()), users(2 * HOUR_NS)))
            .collect();
        for _ in 0..5 {
            file.append(&batch, at).unwrap();
        }
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= LINES_MAX && file.lines == lines, "{lines}, said to be {}", file.lines);
        assert_eq!(load(&path, at).shared.len(), batch.len());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        assert!(SharedSources::open(Path::new("/nonexistent/shared-sources"), now(1_000_000, 0)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_lines_that_cannot_be_read(line: Vec<u8>) {
            if let Some((source, until)) = parse(&line) {
                prop_assert_eq!(parse(text_of(std::iter::once((source, until))).trim_end().as_bytes()), Some((source, until)));
            }
        }

        #[test]
        fn a_line_reads_back(address: IpAddr, users: u64, tenants: u64) {
            let (source, until) = (SourceKey::of_ip(address), (users, tenants));
            let text = text_of(std::iter::once((source, until)));
            prop_assert_eq!(parse(text.trim_end().as_bytes()), Some((source, until)));
        }
    }
}
