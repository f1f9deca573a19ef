//! Waiting: for a condition, with a deadline. The one place where tests sleep.

use std::time::{Duration, Instant};

/// Between two looks at a condition that cannot announce itself.
const LOOK: Duration = Duration::from_millis(2);

/// What `ready` gives within `time`, asked again until it gives something.
pub(crate) fn within<T>(time: Duration, mut ready: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + time;
    loop {
        let value = ready();
        if value.is_some() || Instant::now() >= deadline {
            return value;
        }
        let_pass(LOOK);
    }
}

/// Time passes and nothing is waited for: the pace of a client, the slowness of a peer, the moment of a kill is itself
/// what is tried.
pub(crate) fn let_pass(time: Duration) {
    std::thread::sleep(time);
}
