//! One attempt of the offender: connect, send, read the verdict.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::super::http::{Progress, read_answer};

/// Room for an answer.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    /// `ECONNREFUSED`: the kernel refused it before anything was accepted.
    Refused,
    /// Status 429.
    Limited,
    /// Status 200.
    Served,
    /// Accepted, then closed or reset without an answer.
    Dropped,
    /// Another answer.
    Other,
    /// No answer in time.
    Unanswered,
    /// Not made: no slot, port or descriptor was free.
    NotMade,
}

/// One attempt under way.
pub(super) struct Attempt {
    /// For closing.
    pub(super) stream: TcpStream,
    /// When it was due, from the start of the run.
    pub(super) due: Duration,
    /// Whether the connection is known to stand.
    connected: bool,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
}

impl Attempt {
    /// One on a stream that began to connect, with the request to send once it has.
    pub(super) fn new(stream: TcpStream, due: Duration, out: Vec<u8>) -> Self {
        Self { stream, due, connected: false, out, sent: 0, input: Vec::new() }
    }

    /// Goes on as far as it can; how it ended, if it did.
    pub(super) fn advance(&mut self) -> Option<End> {
        if !self.connected {
            match self.stream.take_error() {
                Ok(None) => self.connected = true,
                Ok(Some(error)) if error.kind() == ErrorKind::ConnectionRefused => return Some(End::Refused),
                Ok(Some(_)) | Err(_) => return Some(End::Dropped),
            }
        }
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => break,
            }
        }
        self.receive()
    }

    fn receive(&mut self) -> Option<End> {
        let mut buffer = [0; 2_048];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return Some(End::Dropped),
                Ok(count) => self.input.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => return Some(End::Dropped),
            }
            match read_answer(&self.input) {
                Progress::Partial if self.input.len() <= ANSWER_BYTES_MAX => {}
                Progress::Complete(answer) if answer.status == 429 => return Some(End::Limited),
                Progress::Complete(answer) if answer.status == 200 => return Some(End::Served),
                _ => return Some(End::Other),
            }
        }
    }
}
