//! One connection of a mob, and what its kind does with it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::super::http::{Progress, Request, read_answer};

/// Room for an answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Between two bytes of the slow.
const TRICKLE: Duration = Duration::from_secs(1);
/// What of a numbered request the slow send at once: its head, so that its body is what comes slowly.
const PROMPT_BYTES: usize = 1_000;

/// What is sent.
pub(super) enum Payload {
    /// A good request, each with a number of its own.
    Numbered(Request),
    /// The same bytes each time; none for those who say nothing.
    Fixed(Vec<u8>),
}

/// How a client behaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Habit {
    /// Sends, waits for the answer, and keeps the connection.
    Call,
    /// Is gone as soon as it is connected.
    Knock,
    /// Sends a byte now and then.
    Trickle,
    /// Sends as much as it can, again and again, and reads nothing.
    Flood,
}

/// What an event led to.
pub(super) enum Step {
    /// Nothing yet.
    Waiting,
    /// An answer to the request that was due then.
    Answered {
        /// Its status.
        status: u16,
        /// When its request was due.
        due: Duration,
        /// The gateway will close.
        close: bool,
    },
    /// It has what it came for.
    Done,
    /// The gateway ended it without an answer.
    Dropped,
}

/// A client.
pub(super) struct Client {
    /// For closing.
    pub(super) stream: TcpStream,
    /// When the request that is out was due.
    pub(super) due: Option<Duration>,
    /// Answers so far.
    pub(super) answers: u32,
    habit: Habit,
    out: Vec<u8>,
    sent: usize,
    /// Up to where may be sent now.
    may: usize,
    trickled: Duration,
    input: Vec<u8>,
}

impl Client {
    /// One on a stream that began to connect.
    pub(super) fn new(stream: TcpStream, habit: Habit) -> Self {
        let (out, input, trickled) = (Vec::new(), Vec::new(), Duration::ZERO);
        Self { stream, due: None, answers: 0, habit, out, sent: 0, may: 0, trickled, input }
    }

    /// Has something to say, due then; it is sent by [`Self::advance`].
    pub(super) fn call(&mut self, payload: &Payload, number: u64, due: Duration) {
        self.may = match payload {
            Payload::Numbered(request) => {
                request.write_numbered(number, &mut self.out);
                if self.habit == Habit::Trickle { PROMPT_BYTES } else { self.out.len() }
            }
            Payload::Fixed(bytes) => {
                self.out.clone_from(bytes);
                if self.habit == Habit::Trickle { bytes.len().min(64) } else { bytes.len() }
            }
        };
        (self.sent, self.due, self.trickled) = (0, Some(due), due);
    }

    /// Allows the next byte, if its time has come.
    pub(super) fn trickle(&mut self, now: Duration) -> bool {
        let due = now.saturating_sub(self.trickled) >= TRICKLE && self.may < self.out.len();
        if due {
            self.trickled = now;
            self.may += 1;
        }
        due
    }

    /// Goes on as far as it can.
    pub(super) fn advance(&mut self) -> Step {
        match self.send() {
            Step::Waiting if self.habit != Habit::Flood => self.receive(),
            step => step,
        }
    }

    fn send(&mut self) -> Step {
        if self.habit == Habit::Knock {
            return match (self.stream.take_error(), self.stream.peer_addr()) {
                (Ok(None), Ok(_)) => Step::Done,
                (Ok(None), Err(_)) => Step::Waiting,
                _ => Step::Dropped,
            };
        }
        while self.sent < self.may {
            match self.stream.write(&self.out[self.sent..self.may]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waiting,
                // What a refusal says can still be read.
                Err(_) if self.habit == Habit::Call => return Step::Waiting,
                Err(_) => return Step::Dropped,
            }
            if self.habit == Habit::Flood && self.sent == self.may {
                self.sent = 0;
            }
        }
        Step::Waiting
    }

    fn receive(&mut self) -> Step {
        let mut buffer = [0; 2_048];
        loop {
            match self.stream.read(&mut buffer) {
                // A kept connection may be closed.
                Ok(0) if self.due.is_none() => return Step::Done,
                Ok(0) => return Step::Dropped,
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Step::Waiting,
                Err(_) if self.due.is_none() => return Step::Done,
                Err(_) => return Step::Dropped,
            }
            match read_answer(&self.input) {
                Progress::Partial if self.input.len() <= ANSWER_BYTES_MAX => {}
                Progress::Complete(answer) => {
                    self.answers += 1;
                    self.input.clear();
                    let Some(due) = self.due.take() else { return Step::Dropped };
                    // Whoever is not done sending cannot go on with this connection.
                    let close = answer.close || self.sent < self.out.len();
                    return Step::Answered { status: answer.status, due, close };
                }
                _ => return Step::Dropped,
            }
        }
    }
}
