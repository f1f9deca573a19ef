//! A worker's part in a hand-over: it stops accepting, says when no request is under way, and takes connections from the
//! process before. See [`crate::server::handing`].

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::time::Duration;

use super::{HOLD, HOUSEKEEPING, Worker, begin};
use crate::server::handing::{self, HandOver, Passed, Phase, Rest};
use crate::server::runtime::{Driver, TcpStream, UnixStream};

/// A request under way.
pub(in crate::server) struct Busy(Rc<Worker>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.set(self.0.busy.get() - 1);
    }
}

impl Worker {
    /// How far the gateway is with handing over.
    pub(in crate::server) fn hand_over(&self) -> &HandOver {
        &self.shared.hand_over
    }

    /// Whether the gateway hands over: no request may begin then.
    pub(in crate::server) fn hands_over(&self) -> bool {
        self.shared.hand_over.phase() >= Phase::Holding
    }

    /// Counts a request that is under way, until what it gives is dropped.
    pub(in crate::server) fn begin(self: &Rc<Self>) -> Busy {
        self.busy.set(self.busy.get() + 1);
        Busy(Rc::clone(self))
    }

    /// Looks how far the gateway is with handing over: stops accepting, and says when no request is under way.
    pub(super) fn tend_hand_over(&self) {
        let holding = self.hands_over();
        if self.holding.replace(holding) != holding {
            self.with_plane(|plane| plane.mute(holding));
            if holding {
                let accepting = self.accepting.take().cancel();
                self.accepting.replace(accepting);
            }
        }
        let rest = match (holding && self.stopped.get(), self.busy.get()) {
            (false, _) => Rest::Working,
            (true, 0) => Rest::Quiet,
            (true, _) => Rest::Closed,
        };
        self.shared.hand_over.set_rest(self.index, rest);
    }

    /// Until the next look at shared state.
    pub(super) fn pause(&self) -> Duration {
        if self.shared.hand_over.phase() == Phase::Serving { HOUSEKEEPING } else { HOLD }
    }
}

/// Takes the connections that the process before passes on, until it is gone.
pub(super) async fn adopt(worker: Rc<Worker>) {
    let Some(socket) = worker.hand_over().incoming().and_then(|fd| fd.try_clone_to_owned().ok()) else { return };
    let readiness = socket.try_clone().and_then(|socket| {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true).and_then(|()| UnixStream::from_std(socket))
    });
    let Ok(readiness) = readiness else { return tracing::error!("connections cannot be taken over") };
    loop {
        match handing::take(socket.as_fd()) {
            Ok(Some(passed)) => go_on(&worker, passed),
            Ok(None) => return,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if readiness.readable(false).await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "a connection was lost in the hand-over"),
        }
    }
}

/// Goes on with a connection where the process before left it.
fn go_on(worker: &Rc<Worker>, passed: Passed) {
    let Passed { stream, about, input } = passed;
    let stream = match worker.metrics.driver.value() == Driver::Epoll as u64 {
        true => stream.set_nonblocking(true),
        false => stream.set_nonblocking(false),
    }
    .and_then(|()| TcpStream::from_std(stream));
    let stream = match stream {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "a connection was lost in the hand-over"),
    };
    worker.metrics.accepted.inc();
    // It had a place; bounds are for those who come.
    let place = worker.place(about.peer.ip());
    worker.with_plane(|plane| plane.enter(stream.as_raw_fd(), about.peer, about.state()));
    begin(worker, stream, about.peer, |connection| {
        connection.place = place;
        connection.take_over(&about, input);
    });
}
