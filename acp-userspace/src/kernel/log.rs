//! The programs' log: switched on for a while, read as lines.
//!
//! The ring and the switch are maps like all others, so they are passed on in a hand-over, and need no privilege once
//! they are there. aya-log would be neither: its level is fixed when the programs are loaded, its reader finds the ring
//! by an id that only a privileged process may look up, and what it loses it does not count.

use std::net::IpAddr;

use acp_ebpf::addr;
use acp_ebpf::log::{Line, Switch, event, level};
use aya::Ebpf;
use aya::maps::{Array, Map, MapData, PerCpuArray, RingBuf};
use serde::{Deserialize, Serialize};

use super::bequest::Bequest;
use super::bpf::{BpfError, take};

const SWITCH: &str = "LOG_SWITCH";
const LINES: &str = "LOG_LINES";
const LOST: &str = "LOG_LOST";

/// Lines read per look: more than the ring holds, so that a look empties it and yet ends.
const READ_MAX: usize = 8_192;

/// How much the programs say.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What they refuse, drop or lose.
    Refusals,
    /// Also what they let through an open window, and the listeners that they see.
    Decisions,
}

/// The maps.
pub struct ProgramLog {
    switch: Array<MapData, Switch>,
    lines: Lines,
    lost: PerCpuArray<MapData, u64>,
}

/// A reader begins where the ring stood when it was made. Where another process read it before, that is not before the
/// first look: until then the other one reads on.
enum Lines {
    Unread(MapData),
    Read(RingBuf<MapData>),
    Unreadable,
}

impl ProgramLog {
    /// Takes the maps.
    pub(super) fn of(ebpf: &mut Ebpf) -> Result<Self, BpfError> {
        Ok(Self { switch: take(ebpf, SWITCH)?, lines: Lines::Read(take(ebpf, LINES)?), lost: take(ebpf, LOST)? })
    }

    /// Goes on with the maps of another process; `None` if its programs are too old to have any.
    pub(super) fn inherit(bequest: &Bequest) -> Option<Self> {
        let lines = Lines::Unread(bequest.data(LINES).ok()?);
        Some(Self { switch: bequest.map(SWITCH).ok()?, lines, lost: bequest.map(LOST).ok()? })
    }

    /// Has the programs say so much until a deadline (CLOCK_MONOTONIC), or nothing.
    ///
    /// # Errors
    /// The kernel's.
    pub fn set(&mut self, on: Option<(Level, u64)>) -> Result<(), BpfError> {
        let switch = on.map_or_else(Switch::default, |(level, until_ns)| {
            let level = match level {
                Level::Refusals => level::REFUSALS,
                Level::Decisions => level::DECISIONS,
            };
            Switch { until_ns, level, pad: 0 }
        });
        self.switch.set(0, switch, 0).map_err(|source| BpfError::Map { map: SWITCH, source })
    }

    /// How much they say, and until when.
    #[must_use]
    pub fn on(&self, now_ns: u64) -> Option<(Level, u64)> {
        let switch = self.switch.get(&0, 0).ok().filter(|switch| switch.until_ns > now_ns)?;
        let level = if switch.level >= level::DECISIONS { Level::Decisions } else { Level::Refusals };
        Some((level, switch.until_ns))
    }

    /// Hands over what was said since the last look.
    pub fn read(&mut self, sink: &mut dyn FnMut(Line)) {
        self.lines = match std::mem::replace(&mut self.lines, Lines::Unreadable) {
            Lines::Unread(data) => {
                let ring = Map::from_map_data(data).and_then(RingBuf::try_from);
                ring.map_or(Lines::Unreadable, Lines::Read)
            }
            lines => lines,
        };
        let Lines::Read(ring) = &mut self.lines else { return };
        for _ in 0..READ_MAX {
            let Some(bytes) = ring.next() else { return };
            Line::from_bytes(&bytes).into_iter().for_each(&mut *sink);
        }
    }

    /// Lines that found the ring full, since the programs were loaded.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.get(&0, 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }
}

/// The word for what was decided.
#[must_use]
pub const fn name(line: &Line) -> &'static str {
    match line.event {
        event::REFUSED => "refused",
        event::DROPPED => "dropped",
        event::QUARANTINED => "quarantined",
        event::EGRESS => "egress_refused",
        event::UNRECORDED => "unrecorded",
        event::LET_THROUGH => "let_through",
        event::LISTENING => "listening",
        _ => "unknown",
    }
}

/// The word for what its detail is, if it has one.
#[must_use]
pub const fn detail_name(line: &Line) -> Option<&'static str> {
    match line.event {
        event::QUARANTINED => Some("slot"),
        event::EGRESS => Some("pid"),
        event::LET_THROUGH => Some("connections"),
        _ => None,
    }
}

/// Whose packet or connection it was, or where to; with a port where that says something.
#[must_use]
pub fn address(line: &Line) -> Option<String> {
    let ip: IpAddr = addr::ip(line.address);
    match line.port {
        _ if line.address == [0; 16] && line.event != event::LISTENING => None,
        0 => Some(ip.to_string()),
        port => Some(std::net::SocketAddr::new(ip, port).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_word_for_each_event_and_an_address_where_there_is_one() {
        let line = |event, address, port| Line { at_ns: 1, address, detail: 7, port, event, pad: 0 };
        let v4 = addr::v4_mapped([192, 0, 2, 1]);
        for event in 0..event::COUNT {
            assert_ne!(name(&line(event, v4, 0)), "unknown", "{event}");
        }
        assert_eq!(name(&line(event::COUNT, v4, 0)), "unknown");
        assert_eq!(address(&line(event::REFUSED, v4, 0)).as_deref(), Some("192.0.2.1"));
        assert_eq!(address(&line(event::EGRESS, v4, 443)).as_deref(), Some("192.0.2.1:443"));
        assert_eq!(address(&line(event::QUARANTINED, [0; 16], 0)), None);
        assert_eq!(address(&line(event::LISTENING, [0; 16], 80)).as_deref(), Some("[::]:80"));
    }
}
