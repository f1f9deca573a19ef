//! How often the control loop looks at the workers' queues: every few milliseconds while there are connections, rarely
//! while there is none, because nothing but a connection makes a worker say anything.
//!
//! Asked for with figures that workers keep anyway, so that being woken costs them nothing.

use std::time::Duration;

/// Between looks while there are connections: how fast an ignored limit becomes a penalty.
const BRISK: Duration = Duration::from_millis(5);

/// Between looks while there is none. The first connection after a pause is noticed this late; what it may be waiting
/// for, a key, is waited for twenty times longer.
const QUIET: Duration = Duration::from_millis(50);

/// Workers say how many connections they have ten times a second; until then a new one only shows in the count of all.
const LINGER_NS: u64 = 300_000_000;

/// The loop's pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    accepted: u64,
    brisk_until_ns: u64,
}

impl Pace {
    /// How long to wait until the next look, given the connections accepted so far and those that are open.
    pub(super) fn next(&mut self, accepted: u64, open: u64, now_ns: u64) -> Duration {
        if open > 0 || accepted != self.accepted {
            self.accepted = accepted;
            self.brisk_until_ns = now_ns.saturating_add(LINGER_NS);
        }
        if now_ns < self.brisk_until_ns { BRISK } else { QUIET }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brisk_with_connections_and_a_while_after_and_quiet_without() {
        const S: u64 = 1_000_000_000;
        const { assert!(BRISK.as_millis() * 10 <= QUIET.as_millis()) };
        let mut pace = Pace::default();
        assert_eq!(pace.next(0, 0, S), QUIET);
        assert_eq!(pace.next(1, 0, 2 * S), BRISK, "came, and is not counted as open yet");
        assert_eq!(pace.next(1, 0, 2 * S + LINGER_NS - 1), BRISK);
        assert_eq!(pace.next(1, 1, 3 * S), BRISK);
        assert_eq!(pace.next(1, 1, 9 * S), BRISK, "open for long");
        assert_eq!(pace.next(1, 0, 9 * S + LINGER_NS), QUIET);
    }
}
