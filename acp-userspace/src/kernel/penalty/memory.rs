//! What of a [`PenaltyBook`] outlives the process: whose penalty a source is under, how often the next one is doubled,
//! and which answers were ignored lately. An offender that made the gateway restart has gained nothing by it.
//!
//! Instants are of the monotonic clock here; whoever writes them down translates them. **Invariant:** nothing that is
//! taken back is worse than what this process could have decided itself: no penalty ends later than [`PENALTY_MAX_NS`]
//! from now, none is of an exempt source, and none refuses where the configuration says that it is only observed.

use acp_ebpf::penalty::mode;
use acp_ebpf::{Penalty, SourceKey};

use super::{IGNORED_MAX, LEVEL_MAX, Offender, PENALTY_MAX_NS, PenaltyBook, Record, SOURCES_MAX};
use crate::config::resolved::Mode;

/// One source's record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remembered {
    /// Whose it is.
    pub source: SourceKey,
    /// Who broke the limit.
    pub offender: Offender,
    /// How often the next penalty is doubled.
    pub level: u32,
    /// The last penalty, which may be over; good conduct is counted from its end.
    pub penalty: Penalty,
    /// When answers were ignored since, oldest first.
    pub ignored: Vec<u64>,
}

impl PenaltyBook {
    /// Every record that says something, in no order.
    #[must_use]
    pub fn remembered(&self, now_ns: u64) -> Vec<Remembered> {
        let told = self.book.iter().filter(|(_, record)| !record.is_forgotten(now_ns));
        told.filter_map(|(source, record)| {
            Some(Remembered {
                source: *source,
                offender: record.offender?,
                level: record.level,
                penalty: record.penalty,
                ignored: record.ignored.iter().copied().collect(),
            })
        })
        .collect()
    }

    /// Whether a penalty began or ended since this was last asked: what was written down is not true any more.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// Takes back what an earlier process wrote down; the penalty, if it is in force and the configuration still has
    /// it, is to be given to [`crate::kernel::KernelPlane::penalise`].
    pub fn recall(&mut self, row: Remembered, now_ns: u64) -> Option<Penalty> {
        let ip = row.source.ip();
        if self.sources.is_exempt(ip) || self.book.len() >= SOURCES_MAX {
            return None;
        }
        let until_ns = row.penalty.until_ns.min(now_ns.saturating_add(PENALTY_MAX_NS));
        let penalty = Penalty { since_ns: row.penalty.since_ns.min(now_ns), until_ns, trickle: 0, ..row.penalty };
        let latest = row.ignored.len().saturating_sub(IGNORED_MAX as usize);
        let record = Record {
            ignored: row.ignored[latest..].iter().map(|&at_ns| at_ns.min(now_ns)).collect(),
            level: row.level.min(LEVEL_MAX),
            until_ns,
            penalty,
            offender: Some(row.offender),
        };
        if record.is_forgotten(now_ns) {
            return None;
        }
        self.book.insert(row.source, record);
        let declared = self.sources.owner(ip).is_some();
        let observed = if declared { self.rules.declared } else { self.rules.learned } == Mode::Observe;
        let penalty = if observed { penalty.with_mode(mode::OBSERVE) } else { penalty };
        (now_ns < until_ns).then_some(penalty)
    }
}
