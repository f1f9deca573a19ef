//! The one file that knows the data path's runtime is monoio, so that it can be swapped (monoio 0.2.4 is the last
//! release; DATAPATH B1).
//!
//! A worker tries three drivers in order: io_uring with `SINGLE_ISSUER | DEFER_TASKRUN` (Linux 6.1), io_uring with
//! `COOP_TASKRUN` (5.19), epoll. monoio's own default ring, without flags, costs more than epoll and is never used.
//!
//! Rules the rest of `server` follows because of this runtime: reads are not cancel-safe, so an operation ends by
//! itself, by [`Canceller`], or because the sweep shut its socket down; a task never wakes itself; yielding is a
//! timer; a panic would kill the worker, so each connection runs under `catch_unwind`.

use std::future::Future;
use std::io;
use std::time::Duration;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};

pub use monoio::buf::{IoBuf, IoBufMut, SliceMut};
pub use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, CancelableAsyncReadRent, Canceller};
pub use monoio::net::{TcpListener, TcpStream, UnixStream};
pub use monoio::{select, spawn};

/// Submission queue entries: one operation in flight per connection side, and completion queues hold twice as many.
const RING_ENTRIES: u32 = 4096;

/// Which driver a worker runs on, best first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Driver {
    /// io_uring, completions run when the worker asks for them.
    UringDefer,
    /// io_uring, completions run at the next kernel entry.
    UringCoop,
    /// epoll: io_uring is forbidden or too old.
    Epoll,
}

impl Driver {
    /// Name in logs, metrics and `ACP_RUNTIME`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UringDefer => "io_uring+defer_taskrun",
            Self::UringCoop => "io_uring+coop_taskrun",
            Self::Epoll => "epoll",
        }
    }
}

/// Runs `main` to its end on the best driver this host allows, at most `best`. `main` is told which it got.
///
/// # Errors
/// When not even epoll can be set up (no descriptors left).
pub fn run<F, T>(best: Driver, main: impl FnOnce(Driver) -> F) -> io::Result<T>
where
    F: Future<Output = T>,
{
    for driver in [Driver::UringDefer, Driver::UringCoop] {
        if (driver as u8) < (best as u8) {
            continue;
        }
        let mut ring = io_uring::IoUring::builder();
        match driver {
            Driver::UringDefer => ring.setup_single_issuer().setup_defer_taskrun(),
            _ => ring.setup_coop_taskrun(),
        };
        let built = RuntimeBuilder::<IoUringDriver>::new()
            .uring_builder(ring)
            .with_entries(RING_ENTRIES)
            .enable_timer()
            .build();
        match built {
            Ok(mut runtime) => return Ok(runtime.block_on(main(driver))),
            Err(error) => tracing::debug!(driver = driver.name(), %error, "driver not available"),
        }
    }
    let mut runtime = RuntimeBuilder::<LegacyDriver>::new().enable_timer().build()?;
    Ok(runtime.block_on(main(Driver::Epoll)))
}

/// Suspends the task; also the way to yield (`Duration::from_millis(0)` lets the ring be polled).
pub async fn sleep(duration: Duration) {
    monoio::time::sleep(duration).await;
}

/// `future`, or `None` when it took longer. The future is dropped then: only for operations whose loss is harmless
/// (a connect whose socket is dropped with it).
pub async fn timeout<F: Future>(duration: Duration, future: F) -> Option<F::Output> {
    monoio::time::timeout(duration, future).await.ok()
}

/// Reads into the spare capacity behind `buf`'s contents, at most `max` bytes. `Ok(0)` is end of stream.
/// The buffer comes back in every case.
pub async fn read_more(stream: &mut TcpStream, buf: Vec<u8>, max: usize) -> (io::Result<usize>, Vec<u8>) {
    let begin = buf.len();
    let end = buf.capacity().min(begin.saturating_add(max));
    debug_assert!(begin < end, "a read needs room");
    let (result, slice) = stream.read(buf.slice_mut(begin..end)).await;
    (result, slice.into_inner())
}

/// Writes all of `buf`; it comes back in every case.
pub async fn write_all(stream: &mut TcpStream, buf: Vec<u8>) -> (io::Result<()>, Vec<u8>) {
    let (result, buf) = stream.write_all(buf).await;
    (result.map(|_| ()), buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_driver_of_the_ladder_runs_a_task() {
        for best in [Driver::UringDefer, Driver::UringCoop, Driver::Epoll] {
            let got = run(best, |driver| async move {
                sleep(Duration::from_millis(1)).await;
                driver
            });
            assert!(got.expect("epoll is always there") as u8 >= best as u8);
        }
    }
}
