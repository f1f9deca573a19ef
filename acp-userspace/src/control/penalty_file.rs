//! The file of penalties: which sources are under one, and what they did before, so that a restart forgives nothing.
//!
//! Written anew, whole or not at all, half a second after a penalty began or ended, and when the gateway stops. A line per
//! source: address; `user` or `tenant`, and their keys; doublings; when the last penalty began and ends, in milliseconds
//! since the Unix epoch; what it does; how many connections an open window lets through; when answers were ignored. A
//! line that cannot be read is passed over and counted. It survives `kill -9` and not, for sure, a power loss: by the time
//! that a host is up again every penalty is over.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use acp_ebpf::{Penalty, SourceKey};

use crate::audit::chain::{hex, unhex};
use crate::clock::Now;
use crate::ids::Key128;
use crate::kernel::book::Principal;
use crate::kernel::penalty::memory::Remembered;
use crate::kernel::penalty::{IGNORED_MAX, Offender, SOURCES_MAX};

const MS_NS: u64 = 1_000_000;

/// Most that is read: a full book of lines of the longest form.
const BYTES_MAX: u64 = SOURCES_MAX as u64 * (256 + 16 * IGNORED_MAX as u64);

/// Beside the file of shared sources.
#[must_use]
pub fn path(shared_sources: &Path) -> PathBuf {
    shared_sources.with_extension("penalties")
}

/// What the file holds, in the terms of this process' monotonic clock, and how many lines cannot be read; nothing if there
/// is no file.
///
/// # Errors
/// It cannot be read.
pub fn load(path: &Path, now: Now) -> io::Result<(Vec<Remembered>, usize)> {
    let mut text = Vec::new();
    match File::open(path) {
        Ok(file) => drop(file.take(BYTES_MAX).read_to_end(&mut text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let (rows, bad): (Vec<_>, Vec<_>) = lines.map(|line| parse(line, now)).partition(Option::is_some);
    Ok((rows.into_iter().flatten().take(SOURCES_MAX).collect(), bad.len()))
}

/// Puts these rows in the place of what the file held.
///
/// # Errors
/// The disk's; the file is as it was.
pub fn store(path: &Path, rows: &[Remembered], now: Now) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(rows.iter().map(|row| line(row, now)).collect::<String>().as_bytes())?;
    fs::rename(&new, path)
}

fn line(row: &Remembered, now: Now) -> String {
    let wall = |mono_ns: u64| match mono_ns.checked_sub(now.mono_ns) {
        Some(ahead) => now.wall_ns.saturating_add(ahead) / MS_NS,
        None => now.wall_ns.saturating_sub(now.mono_ns - mono_ns) / MS_NS,
    };
    let (kind, user, tenant) = match &row.offender {
        Offender::User(who) => ("user", hex(&who.user.0), who.tenant),
        Offender::Tenant(tenant) => ("tenant", "-".to_owned(), *tenant),
    };
    let Penalty { since_ns, until_ns, mode, open_max, .. } = row.penalty;
    let mut text = format!("{} {kind} {user} {} {} ", row.source.ip(), hex(&tenant.0), row.level);
    // Writing to a string does not fail.
    let _ = write!(text, "{} {} {mode} {open_max} ", wall(since_ns), wall(until_ns));
    let ignored: Vec<String> = row.ignored.iter().map(|at_ns| wall(*at_ns).to_string()).collect();
    let _ = writeln!(text, "{} .", if ignored.is_empty() { "-".to_owned() } else { ignored.join(",") });
    text
}

fn parse(line: &[u8], now: Now) -> Option<Remembered> {
    let mono = |wall_ms: u64| {
        let wall_ns = wall_ms.saturating_mul(MS_NS);
        match wall_ns.checked_sub(now.wall_ns) {
            Some(ahead) => now.mono_ns.saturating_add(ahead),
            None => now.mono_ns.saturating_sub(now.wall_ns - wall_ns),
        }
    };
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    let source: IpAddr = words.next()?.parse().ok()?;
    let (kind, user, tenant) = (words.next()?, words.next()?, Key128(unhex(words.next()?)?));
    let offender = match kind {
        "user" => Offender::User(Principal { user: Key128(unhex(user)?), tenant }),
        "tenant" if user == "-" => Offender::Tenant(tenant),
        _ => return None,
    };
    let level = words.next()?.parse().ok()?;
    let (since_ns, until_ns) = (mono(words.next()?.parse().ok()?), mono(words.next()?.parse().ok()?));
    let (mode, open_max) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let ignored = match words.next()? {
        "-" => Vec::new(),
        list => list.split(',').map(|at| at.parse().ok().map(mono)).collect::<Option<_>>()?,
    };
    let penalty = Penalty { since_ns, until_ns, trickle: 0, mode, open_max };
    // The end of the line's own: a number that was cut off is another number.
    let whole = words.next() == Some(".") && words.next().is_none();
    whole.then(|| Remembered { source: SourceKey::of_ip(source), offender, level, penalty, ignored })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: u64 = 1_000 * MS_NS;

    fn row(source: &str, offender: Offender, ignored: Vec<u64>) -> Remembered {
        let source = SourceKey::of_ip(source.parse().expect("a test address"));
        let penalty = Penalty::new(100 * S, 120 * S).with_open_max(8);
        Remembered { source, offender, level: 3, penalty, ignored }
    }

    fn rows() -> Vec<Remembered> {
        let who = Principal { user: Key128([1; 16]), tenant: Key128([2; 16]) };
        vec![
            row("198.51.100.7", Offender::User(who), Vec::new()),
            row("2001:db8::", Offender::Tenant(who.tenant), vec![121 * S, 122 * S]),
        ]
    }

    #[test]
    fn threat_a02_what_was_written_is_read_back_and_ends_when_it_would_have() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(&dir.path().join("shared-sources"));
        let now = Now { wall_ns: 1_000_000 * S, mono_ns: 105 * S };
        store(&path, &rows(), now).unwrap();
        assert_eq!(load(&path, now).unwrap(), (rows(), 0));
        // Ten seconds later, after a reboot: what was 15 s ahead is 5 s ahead.
        let (later, _) = load(&path, Now { wall_ns: 1_000_010 * S, mono_ns: 2 * S }).unwrap();
        assert_eq!(later[0].penalty.until_ns, 7 * S);
        store(&path, &[], now).unwrap();
        assert_eq!(load(&path, now).unwrap(), (Vec::new(), 0));
    }

    #[test]
    fn a_line_that_was_cut_off_or_is_not_ours_is_passed_over_and_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p");
        let now = Now { wall_ns: 1_000_000 * S, mono_ns: 105 * S };
        let mut text: String = rows().iter().map(|row| line(row, now)).collect();
        text.truncate(text.len() - 2);
        fs::write(&path, text + "\nwhat?\n\u{fffd}\n").unwrap();
        let (read, bad) = load(&path, now).unwrap();
        assert_eq!((read, bad), (rows()[..1].to_vec(), 3));
        assert_eq!(load(&dir.path().join("none"), now).unwrap(), (Vec::new(), 0));
    }

    proptest! {
        #[test]
        fn no_bytes_are_more_than_a_line_that_cannot_be_read(bytes: Vec<u8>, wall_ns: u64, mono_ns: u64) {
            let _ = parse(&bytes, Now { wall_ns, mono_ns });
        }
    }
}
