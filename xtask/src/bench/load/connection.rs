//! One keep-alive connection of the load: at most one request out, its answer read into a fixed buffer.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::super::http::{ANSWER, Progress, Request, read_answer};

/// Room for an answer; the backend's needs 500 bytes, a refusal's problem object hardly more.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// How much of an unexpected answer is shown.
const SHOWN_BYTES_MAX: usize = 300;

/// What an event led to.
pub(super) enum Step {
    /// Nothing yet.
    Waiting,
    /// The expected answer to the request that was due at `due`; the peer closes afterwards if `close`.
    Answered {
        /// When its request was due, from the start of the run.
        due: Duration,
        /// The connection cannot be used again.
        close: bool,
    },
    /// The peer closed while nothing was out, which it may.
    Closed,
    /// Anything else: the connection cannot be used again.
    Failed(String),
}

/// A connection.
pub(super) struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    filled: usize,
    /// When the request that is out was due.
    due: Option<Duration>,
}

impl Connection {
    /// Takes over a connected, non-blocking stream.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, out: Vec::new(), sent: 0, input: vec![0; ANSWER_BYTES_MAX], filled: 0, due: None }
    }

    /// Whether a request is out.
    pub(super) fn busy(&self) -> bool {
        self.due.is_some()
    }

    /// Sends a request that was due at `due`. Only for a connection that is not busy.
    pub(super) fn send(&mut self, request: &Request, number: u64, due: Duration) -> Step {
        debug_assert!(!self.busy());
        request.write_numbered(number, &mut self.out);
        (self.sent, self.filled, self.due) = (0, 0, Some(due));
        self.flush()
    }

    /// Does what the socket is ready for.
    pub(super) fn advance(&mut self) -> Step {
        match self.flush() {
            Step::Waiting => self.receive(),
            failed => failed,
        }
    }

    fn flush(&mut self) -> Step {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Step::Failed(format!("sending: {error}")),
            }
        }
        Step::Waiting
    }

    fn receive(&mut self) -> Step {
        loop {
            let room = self.input.len() - self.filled;
            if room == 0 {
                return Step::Failed(format!("an answer over {ANSWER_BYTES_MAX} bytes"));
            }
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) if self.due.is_none() => return Step::Closed,
                Ok(0) => return Step::Failed("closed before the answer was complete".to_owned()),
                Ok(_) if self.due.is_none() => return Step::Failed("bytes that nobody asked for".to_owned()),
                Ok(count) => {
                    self.filled += count;
                    match self.judge() {
                        // A short read emptied the socket: the next bytes make a new event.
                        Step::Waiting if count == room => {}
                        step => return step,
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waiting,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) if self.due.is_none() => return Step::Closed,
                Err(error) => return Step::Failed(format!("receiving: {error}")),
            }
        }
    }

    fn judge(&mut self) -> Step {
        let bytes = &self.input[..self.filled];
        match read_answer(bytes) {
            Progress::Partial => Step::Waiting,
            Progress::Malformed(what) => Step::Failed(format!("{what} in {}", shown(bytes))),
            Progress::Complete(answer) if answer.status != 200 => {
                Step::Failed(format!("status {}: {}", answer.status, shown(&bytes[answer.body])))
            }
            Progress::Complete(answer) if bytes[answer.body.clone()] != *ANSWER.as_bytes() => {
                Step::Failed(format!("an altered body: {}", shown(&bytes[answer.body])))
            }
            Progress::Complete(answer) if answer.body.end != self.filled => {
                Step::Failed("bytes beyond the answer".to_owned())
            }
            Progress::Complete(answer) => match self.due.take() {
                Some(due) => Step::Answered { due, close: answer.close },
                None => Step::Failed("an answer that nobody asked for".to_owned()),
            },
        }
    }
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN_BYTES_MAX)]).into_owned()
}
