//! Reads the rings of confinements, a few times a second, and tells of what was in them, once a second.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::outbox::Outbox;
use crate::control::confine::{LOST, RefusedRow};
use crate::kernel::confine::ConfineError;
use crate::kernel::confine::pins::Pins;
use crate::kernel::confine::report::{Group, Reader, Tally};

/// Between looks at the rings, which hold about 4 000 refusals each.
const LOOK: Duration = Duration::from_millis(200);
/// Between reports.
const REPORT: Duration = Duration::from_secs(1);

struct Reporter<'a> {
    pins: &'a Pins,
    /// The one confinement to report on; all if there is none.
    only: Option<&'a str>,
    gateway: Option<&'a Path>,
    readers: Vec<(Reader, Tally)>,
    /// Confinements that cannot be read, and why: said once.
    unreadable: BTreeMap<String, String>,
    outbox: Outbox,
}

/// Reports until SIGTERM or SIGINT. The confinements stay.
///
/// # Errors
/// The one confinement that was asked for cannot be read.
pub(super) fn run(pins: &Pins, only: Option<&str>, gateway: Option<&Path>) -> anyhow::Result<ExitCode> {
    let mut reporter =
        Reporter { pins, only, gateway, readers: Vec::new(), unreadable: BTreeMap::new(), outbox: Outbox::default() };
    let ends = ends_blocked()?;
    reporter.find()?;
    if let (Some(name), true) = (only, reporter.readers.is_empty()) {
        let why = reporter.unreadable.get(name).cloned().unwrap_or_else(|| "it is gone".to_owned());
        eprintln!("confined, and not reported from here: {why}");
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("reporting on {} confinements", reporter.readers.len());
    let mut told = Instant::now();
    loop {
        let over = ended_within(&ends, LOOK);
        reporter.read();
        if over || told.elapsed() >= REPORT {
            told = Instant::now();
            reporter.tell();
            reporter.find()?;
        }
        if over {
            return Ok(ExitCode::SUCCESS);
        }
    }
}

impl Reporter<'_> {
    fn read(&mut self) {
        self.readers.iter_mut().for_each(|(reader, tally)| reader.read(tally));
    }

    /// Opens what is new, and lets go of what is over. A ring that was removed meanwhile has been read to its end.
    fn find(&mut self) -> Result<(), ConfineError> {
        let pins = self.pins;
        self.readers.retain(|(reader, tally)| !tally.is_empty() || reader.is_current(pins));
        let names = pins.names()?;
        self.unreadable.retain(|name, _| names.contains(name));
        for name in names {
            let wanted = self.only.is_none_or(|only| only == name) && !name.ends_with("_new");
            if !wanted || self.readers.iter().any(|(reader, _)| reader.name == name) {
                continue;
            }
            match Reader::open(pins, &name) {
                Ok(reader) => {
                    self.unreadable.remove(&name);
                    self.readers.push((reader, Tally::default()));
                }
                Err(error) => {
                    let why = format!("{:#}", anyhow::Error::from(error));
                    if self.unreadable.insert(name.clone(), why.clone()).is_none() && self.only.is_none() {
                        tracing::warn!("{why}");
                    }
                }
            }
        }
        Ok(())
    }

    fn tell(&mut self) {
        let time = jiff::Timestamp::now().to_string();
        for (reader, tally) in &mut self.readers {
            let tally = std::mem::take(tally);
            let cgroup = reader.cgroup.display().to_string();
            let mut rows: Vec<RefusedRow> = tally.groups.iter().map(|group| row(&cgroup, group)).collect();
            if tally.lost > 0 {
                rows.push(RefusedRow { cgroup, refused: LOST.into(), count: tally.lost, ..RefusedRow::default() });
            }
            for row in rows {
                print(&time, &row);
                if self.gateway.is_some() {
                    self.outbox.push(row);
                }
            }
        }
        if let Some(gateway) = self.gateway {
            self.outbox.send(gateway);
        }
    }
}

fn row(cgroup: &str, group: &Group) -> RefusedRow {
    let (pid, comm) = group.process().unzip();
    let (destination, protocol) = group.destination().unzip();
    RefusedRow {
        cgroup: cgroup.to_owned(),
        refused: group.step().to_owned(),
        count: group.count,
        uid: Some(group.uid()),
        pid,
        comm,
        destination: destination.map(|at| at.to_string()),
        protocol,
        socket: group.socket(),
    }
}

/// One line, with the time in front. Nobody who listens is no reason to stop: the audit log does.
fn print(time: &str, row: &RefusedRow) {
    let Ok(Value::Object(row)) = serde_json::to_value(row) else { return };
    let mut line = Map::from_iter([("time".to_owned(), Value::from(time))]);
    line.extend(row);
    let _ = writeln!(io::stdout().lock(), "{}", Value::Object(line));
}

/// SIGTERM and SIGINT, no longer delivered but waited for.
fn ends_blocked() -> io::Result<libc::sigset_t> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: initialises the set, adds two signals to it and blocks them in this thread, the only one there is.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGTERM);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGINT);
        let set = set.assume_init();
        match libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) {
            0 => Ok(set),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

/// Waits, at most so long; whether it is time to end.
fn ended_within(ends: &libc::sigset_t, at_most: Duration) -> bool {
    let time = libc::timespec { tv_sec: 0, tv_nsec: at_most.subsec_nanos().into() };
    // SAFETY: reads the set and the time, and writes nothing.
    unsafe { libc::sigtimedwait(&raw const *ends, std::ptr::null_mut(), &raw const time) > 0 }
}
