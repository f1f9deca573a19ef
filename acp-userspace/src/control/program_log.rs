//! What the kernel's programs say of their decisions, kept for whoever asks and passed on to the gateway's own log.
//!
//! Lines that say the same of the same address within one look are one, with a count: a flood is a line per look and
//! source. The last [`KEPT_MAX`] are kept under numbers without a gap, so that a reader who was too slow sees how many it
//! missed; what the kernel had no room for, and what is different beyond `GROUPS_MAX` in one look, is counted.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use acp_ebpf::log::Line;

use super::service::SharedPlane;
use super::status::Status;
use crate::clock::{Now, mono_ns};
use crate::kernel::log::{self, Level};

/// Lines that are kept.
pub const KEPT_MAX: usize = 4_096;
/// Different lines of one look.
const GROUPS_MAX: usize = 256;
/// The longest time that the programs are made to say something.
pub const TIME_MAX: Duration = Duration::from_secs(24 * 3_600);

const SECOND_NS: u64 = 1_000_000_000;

/// A line as it is listed.
#[derive(Clone, Debug)]
pub struct Said {
    /// Counts up by one, from zero in each process.
    pub number: u64,
    /// Nanoseconds since the Unix epoch.
    pub wall_ns: u64,
    /// The first of them.
    pub line: Line,
    /// How many were the same.
    pub count: u64,
}

/// What is answered to whoever asks.
#[derive(Debug)]
pub struct Answer {
    /// Whether there are programs that can say anything.
    pub available: bool,
    /// How much they say, and for how many seconds more.
    pub on: Option<(Level, u64)>,
    /// The number of the line that comes next.
    pub next: u64,
    /// Lines that are nowhere.
    pub lost: u64,
    /// Those asked for that are kept still.
    pub lines: Vec<Said>,
}

/// The control thread's part.
pub(super) struct Kept {
    plane: SharedPlane,
    lines: VecDeque<Said>,
    next: u64,
    /// Beyond [`GROUPS_MAX`].
    lost: u64,
}

impl Kept {
    /// Nothing yet.
    pub(super) fn new(plane: SharedPlane) -> Self {
        Self { plane, lines: VecDeque::new(), next: 0, lost: 0 }
    }

    /// Takes what was said since the last look.
    pub(super) fn tend(&mut self, status: &Status) {
        let mut groups = Groups::default();
        let in_kernel = {
            let mut plane = self.plane.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(log) = plane.log() else { return };
            log.read(&mut |line| groups.add(line));
            log.lost()
        };
        self.lost += groups.lost;
        status.program_lines_lost.store(in_kernel + self.lost, Ordering::Relaxed);
        let now = Now::read();
        for (line, count) in groups.lines {
            let wall_ns = now.wall_ns.saturating_sub(now.mono_ns.saturating_sub(line.at_ns));
            let address = log::address(&line).unwrap_or_default();
            tracing::info!(target: "acp::programs", address, detail = line.detail, count, "{}", log::name(&line));
            self.keep(Said { number: self.next, wall_ns, line, count });
        }
    }

    fn keep(&mut self, said: Said) {
        if self.lines.len() >= KEPT_MAX {
            self.lines.pop_front();
        }
        self.next = said.number + 1;
        self.lines.push_back(said);
    }

    /// Switches the log on for so long, or off with zero.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn set(&self, level: Level, time: Duration) -> Result<(), String> {
        let time_ns = u64::try_from(time.min(TIME_MAX).as_nanos()).unwrap_or(u64::MAX);
        let on = (time_ns > 0).then(|| (level, mono_ns().saturating_add(time_ns)));
        let mut plane = self.plane.lock().unwrap_or_else(PoisonError::into_inner);
        let log = plane.log().ok_or("there are no programs in the kernel that could say anything")?;
        log.set(on).map_err(|error| error.to_string())
    }

    /// The last `max` of the lines from `from` on.
    pub(super) fn answer(&self, from: u64, max: usize) -> Answer {
        let now_ns = mono_ns();
        let mut plane = self.plane.lock().unwrap_or_else(PoisonError::into_inner);
        let log = plane.log();
        let on = log.as_ref().and_then(|log| log.on(now_ns));
        let wanted = self.lines.iter().filter(|said| said.number >= from);
        let over = wanted.clone().count().saturating_sub(max);
        Answer {
            available: log.is_some(),
            on: on.map(|(level, until_ns)| (level, (until_ns - now_ns).div_ceil(SECOND_NS))),
            next: self.next,
            lost: self.lost + log.map_or(0, |log| log.lost()),
            lines: wanted.skip(over).cloned().collect(),
        }
    }
}

/// The lines of one look, in the order in which they first came.
#[derive(Default)]
struct Groups {
    lines: Vec<(Line, u64)>,
    lost: u64,
}

impl Groups {
    fn add(&mut self, line: Line) {
        // From the end: a flood says the same again and again.
        let same = self.lines.iter().rposition(|(first, _)| Line { at_ns: first.at_ns, ..line } == *first);
        match same {
            Some(at) => self.lines[at].1 += 1,
            None if self.lines.len() < GROUPS_MAX => self.lines.push((line, 1)),
            None => self.lost += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::kernel::NonePlane;

    fn line(at_ns: u64, last: u8) -> Line {
        let address = acp_ebpf::addr::v4_mapped([192, 0, 2, last]);
        Line { at_ns, address, detail: 0, port: 0, event: 0, pad: 0 }
    }

    #[test]
    fn what_differs_in_its_moment_only_is_one_line_and_what_is_too_much_is_counted() {
        let mut groups = Groups::default();
        (0..1_000).for_each(|at| groups.add(line(at, (at % 3) as u8)));
        assert_eq!(groups.lines.iter().map(|(_, count)| count).sum::<u64>(), 1_000);
        assert_eq!(groups.lines.iter().map(|(line, _)| line.at_ns).collect::<Vec<_>>(), [0, 1, 2]);
        let each = |detail| Line { detail, ..line(0, 1) };
        (1..=300).for_each(|detail| groups.add(each(detail)));
        assert_eq!((groups.lines.len(), groups.lost), (GROUPS_MAX, 300 - (GROUPS_MAX as u64 - 3)));
    }

    #[test]
    fn the_last_lines_are_kept_under_numbers_without_a_gap() {
        let mut kept = Kept::new(Arc::new(Mutex::new(Box::<NonePlane>::default())));
        for number in 0..KEPT_MAX as u64 + 10 {
            kept.keep(Said { number, wall_ns: 0, line: line(0, 1), count: 1 });
        }
        let numbers = |from, max| kept.answer(from, max).lines.iter().map(|said| said.number).collect::<Vec<_>>();
        let next = KEPT_MAX as u64 + 10;
        assert_eq!(numbers(0, usize::MAX), (10..next).collect::<Vec<_>>());
        assert_eq!(numbers(0, 2), [next - 2, next - 1]);
        assert_eq!(numbers(next - 1, 5), [next - 1]);
        assert!(numbers(next, 5).is_empty());
        assert_eq!((kept.answer(0, 0).next, kept.answer(0, 0).available), (next, false));
        assert!(kept.set(Level::Refusals, Duration::from_secs(1)).is_err_and(|why| why.contains("no programs")));
    }
}
