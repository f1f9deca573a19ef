//! How often the control loop looks at the workers' queues: every few milliseconds while they say something, four times
//! less often while there are connections that say nothing, rarely while there is none, because nothing but a connection
//! makes a worker say anything.
//!
//! Asked for with figures that workers keep anyway, so that being woken costs them nothing. A look costs the control
//! thread tens of microseconds on caches that the workers have filled since the last.

use std::time::Duration;

/// Between looks while workers say something: how fast an ignored limit becomes a penalty.
const BRISK: Duration = Duration::from_millis(5);

/// Between looks when they have said nothing for a while: how late the first word is heard.
const EASY: Duration = Duration::from_millis(20);

/// Between looks while there is no connection. The first one after a pause is noticed this late; what it may be waiting
/// for, a key, is waited for twenty times longer.
const QUIET: Duration = Duration::from_millis(50);

/// Workers say how many connections they have ten times a second; until then a new one only shows in the count of all.
const LINGER_NS: u64 = 300_000_000;

/// The loop's pace.
#[derive(Debug, Default)]
pub(super) struct Pace {
    accepted: u64,
    brisk_until_ns: u64,
    easy_until_ns: u64,
}

impl Pace {
    /// How long to wait until the next look, given whether this one found anything, the connections accepted so far and
    /// those that are open.
    pub(super) fn next(&mut self, heard: bool, accepted: u64, open: u64, now_ns: u64) -> Duration {
        let linger = now_ns.saturating_add(LINGER_NS);
        if heard || accepted != self.accepted {
            self.accepted = accepted;
            self.brisk_until_ns = linger;
        }
        if open > 0 {
            self.easy_until_ns = linger;
        }
        if now_ns < self.brisk_until_ns {
            BRISK
        } else if now_ns < self.easy_until_ns {
            EASY
        } else {
            QUIET
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brisk_while_something_happens_easy_with_connections_and_quiet_without() {
        const S: u64 = 1_000_000_000;
        const { assert!(BRISK.as_millis() * 10 <= QUIET.as_millis()) };
        let mut pace = Pace::default();
        assert_eq!(pace.next(false, 0, 0, S), QUIET);
        assert_eq!(pace.next(false, 1, 0, 2 * S), BRISK, "came, and is not counted as open yet");
        assert_eq!(pace.next(false, 1, 0, 2 * S + LINGER_NS - 1), BRISK);
        assert_eq!(pace.next(false, 1, 1, 3 * S), EASY, "open, and silent");
        assert_eq!(pace.next(true, 1, 1, 4 * S), BRISK, "said something");
        assert_eq!(pace.next(false, 1, 1, 4 * S + LINGER_NS - 1), BRISK);
        assert_eq!(pace.next(false, 1, 1, 9 * S), EASY);
        assert_eq!(pace.next(false, 1, 0, 9 * S + LINGER_NS - 1), EASY, "gone just now");
        assert_eq!(pace.next(false, 1, 0, 9 * S + LINGER_NS), QUIET);
    }
}
