//! A request's body, read to its framed end and not one byte further.
//!
//! A body that arrived with its head is used where it lies; only the rest is read into a buffer of its own. Bytes
//! behind a chunked body become the start of the next request ([`Body::leftover`]). A body that nobody wanted is
//! drained within a bound, or the connection closes: its bytes are never read as a request (CVE-2025-4366,
//! CVE-2026-2833).

use std::ops::Range;

use super::buffers::Lease;
use super::runtime::{self, TcpStream};
use crate::http::chunked;
use crate::http::head::Framing;
use crate::reason::Reason;

/// Room made for each read of a body whose length is not known, and the step of its memory lease.
const READ_BYTES: usize = 16 * 1024;

/// Answer to `Expect: 100-continue` (RFC 9110 §10.1.1), sent once identity and limits passed.
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Where the content is.
#[derive(Debug)]
enum Place {
    /// In the connection's input buffer.
    Input(Range<usize>),
    /// In [`Body::own`].
    Own,
}

/// Whether the connection can carry another request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum After {
    /// The next request starts cleanly.
    Reusable,
    /// Close it: body bytes are, or may be, still to come.
    Close,
}

/// One request's body.
#[derive(Debug)]
pub(super) struct Body {
    framing: Framing,
    /// Offset of the first body byte in the input buffer.
    start: usize,
    place: Place,
    own: Vec<u8>,
    /// Content bytes of a chunked body decoded so far.
    decoded: usize,
    /// Nobody wants it any more: what is read is not kept.
    unwanted: bool,
    /// Bytes of the input buffer behind the head that belong to this body's framing.
    taken: usize,
    /// Bytes that were read behind the end of a chunked body.
    spill: Vec<u8>,
    decoder: chunked::Decoder,
    expect_continue: bool,
    complete: bool,
    lease: Option<Lease>,
}

impl Body {
    /// The body of a request whose head ends at `start` of the input buffer.
    #[must_use]
    pub(super) fn new(framing: Framing, start: usize, expect_continue: bool) -> Self {
        Self {
            framing,
            start,
            place: Place::Input(start..start),
            own: Vec::new(),
            decoded: 0,
            unwanted: false,
            taken: 0,
            spill: Vec::new(),
            decoder: chunked::Decoder::new(),
            expect_continue,
            complete: matches!(framing, Framing::None | Framing::Length(0)),
            lease: None,
        }
    }

    /// The content; all of it once [`Body::read`] succeeded.
    #[must_use]
    pub(super) fn bytes<'b>(&'b self, input: &'b [u8]) -> &'b [u8] {
        match &self.place {
            Place::Input(range) => &input[range.clone()],
            Place::Own => &self.own,
        }
    }

    /// Puts other content in its place, once it is complete; where it ended among the client's bytes stays known.
    pub(super) fn replace(&mut self, content: Vec<u8>, lease: Lease) {
        (self.own, self.place, self.lease) = (content, Place::Own, Some(lease));
    }

    /// Whether nothing of it is left to read.
    #[must_use]
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    /// Reads all of it, at most `max` bytes of content. `lease` sets memory aside for what did not come with the head.
    ///
    /// # Errors
    /// `BodyTooLarge`; `Overloaded` when no memory may be leased; `MalformedRequest` for chunk syntax; `ClientClosed`
    /// when the stream ended first.
    pub(super) async fn read(
        &mut self,
        stream: &mut TcpStream,
        input: &[u8],
        max: usize,
        lease: impl FnOnce(usize) -> Option<Lease>,
    ) -> Result<(), Reason> {
        if self.complete {
            return Ok(());
        }
        let Framing::Length(length) = self.framing else {
            self.lease = Some(lease(READ_BYTES).ok_or(Reason::Overloaded)?);
            return self.read_chunked(stream, input, max).await;
        };
        let length = usize::try_from(length).ok().filter(|n| *n <= max).ok_or(Reason::BodyTooLarge)?;
        if input.len() - self.start >= length {
            self.take_from_input(length);
            return Ok(());
        }
        self.lease = Some(lease(length).ok_or(Reason::Overloaded)?);
        self.read_length(stream, input, length).await
    }

    fn take_from_input(&mut self, length: usize) {
        self.taken = length;
        self.place = Place::Input(self.start..self.start + length);
        self.complete = true;
    }

    async fn read_length(&mut self, stream: &mut TcpStream, input: &[u8], length: usize) -> Result<(), Reason> {
        let have = &input[self.start..];
        self.go_ahead(stream, have).await?;
        self.taken = have.len();
        self.own = Vec::with_capacity(length);
        self.own.extend_from_slice(have);
        self.place = Place::Own;
        while self.own.len() < length {
            let missing = length - self.own.len();
            self.own = read_some(stream, std::mem::take(&mut self.own), missing).await?;
        }
        self.complete = true;
        Ok(())
    }

    async fn read_chunked(&mut self, stream: &mut TcpStream, input: &[u8], max: usize) -> Result<(), Reason> {
        let have = &input[self.start..];
        self.place = Place::Own;
        self.taken = have.len();
        if self.decode(have, max)? {
            return Ok(());
        }
        self.go_ahead(stream, have).await?;
        let mut raw = Vec::with_capacity(READ_BYTES);
        loop {
            raw = read_some(stream, raw, READ_BYTES).await?;
            if self.decode(&raw, max)? {
                return Ok(());
            }
            raw.clear();
        }
    }

    /// Decodes `raw` into `own`; true at the end of the body, with what lies behind it in `spill`.
    fn decode(&mut self, raw: &[u8], max: usize) -> Result<bool, Reason> {
        let (own, count, unwanted) = (&mut self.own, &mut self.decoded, self.unwanted);
        let mut keep = |data: &[u8]| {
            *count += data.len();
            if !unwanted {
                own.extend_from_slice(data);
            }
        };
        let decoded = self.decoder.decode(raw, &mut keep).map_err(|_| Reason::MalformedRequest)?;
        if self.decoded > max {
            return Err(Reason::BodyTooLarge);
        }
        let leased = self.lease.as_mut().is_none_or(|lease| lease.grow_to(self.own.len().next_multiple_of(READ_BYTES)));
        if !leased {
            return Err(Reason::Overloaded);
        }
        if decoded.done {
            self.complete = true;
            self.spill.extend_from_slice(&raw[decoded.consumed..]);
        }
        Ok(decoded.done)
    }

    /// Reads to the end of a body of `length` bytes and keeps none of it.
    async fn discard_length(&mut self, stream: &mut TcpStream, input: &[u8], length: usize) -> Result<(), Reason> {
        self.taken = input.len() - self.start;
        self.place = Place::Own;
        let mut left = length - self.taken;
        let mut scrap = Vec::with_capacity(left.min(READ_BYTES));
        while left > 0 {
            scrap.clear();
            scrap = read_some(stream, scrap, left).await?;
            left -= scrap.len();
        }
        self.complete = true;
        Ok(())
    }

    /// Tells a waiting client to send, unless its body is already on the way (RFC 9110 §10.1.1).
    async fn go_ahead(&mut self, stream: &mut TcpStream, have: &[u8]) -> Result<(), Reason> {
        if std::mem::take(&mut self.expect_continue) && have.is_empty() {
            let (written, _) = runtime::write_all(stream, CONTINUE.to_vec()).await;
            written.map_err(|_| Reason::ClientClosed)?;
        }
        Ok(())
    }

    /// Whether [`Body::drain`] has a chance: decides what the answer's `Connection` field says.
    #[must_use]
    pub(super) fn drainable(&self, input: &[u8], max: usize) -> bool {
        let arrived = input.len() - self.start;
        self.complete
            || match self.framing {
                Framing::Length(length) => usize::try_from(length)
                    .is_ok_and(|n| n <= arrived || (n <= max && !self.expect_continue && self.place_is_input())),
                Framing::Chunked => !self.expect_continue && self.place_is_input(),
                Framing::None | Framing::UntilClose => true,
            }
    }

    /// After an answer that did not wait for the body: discards what is left, at most `max` bytes of it.
    pub(super) async fn drain(&mut self, stream: &mut TcpStream, input: &[u8], max: usize) -> After {
        if self.complete {
            return After::Reusable;
        }
        self.lease = None;
        self.unwanted = true;
        match self.framing {
            // A client that waits for 100 may send its body now, or its next request: nobody can tell which.
            _ if !self.drainable(input, max) => After::Close,
            Framing::Length(length) => match usize::try_from(length) {
                Ok(length) if input.len() - self.start >= length => {
                    self.take_from_input(length);
                    After::Reusable
                }
                Ok(length) => finished(self.discard_length(stream, input, length).await),
                Err(_) => After::Close,
            },
            Framing::Chunked => finished(self.read_chunked(stream, input, max).await),
            Framing::None | Framing::UntilClose => After::Reusable,
        }
    }

    /// Nothing was read into a buffer of its own yet, so reading can still start.
    fn place_is_input(&self) -> bool {
        matches!(self.place, Place::Input(_))
    }

    /// What follows the request: turns the input buffer into the start of the next one.
    #[must_use]
    pub(super) fn leftover(self, mut input: Vec<u8>) -> Vec<u8> {
        let end = (self.start + self.taken).min(input.len());
        if end == input.len() {
            input.clear();
        } else {
            input.drain(..end);
        }
        input.extend_from_slice(&self.spill);
        input
    }
}

fn finished(read: Result<(), Reason>) -> After {
    if read.is_ok() { After::Reusable } else { After::Close }
}

/// Reads at least one byte into `buf`'s spare capacity, at most `max`.
async fn read_some(stream: &mut TcpStream, mut buf: Vec<u8>, max: usize) -> Result<Vec<u8>, Reason> {
    if buf.capacity() == buf.len() {
        buf.reserve(max.min(READ_BYTES));
    }
    match runtime::read_more(stream, buf, max).await {
        (Ok(0) | Err(_), _) => Err(Reason::ClientClosed),
        (Ok(_), buf) => Ok(buf),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::runtime::Driver;
    use std::io::Write;

    /// Drains the body behind `HEAD` in `input`, of which `later` is still to come.
    #[track_caller]
    fn check(framing: Framing, input: &'static [u8], later: &'static [u8], expected: After, next: &[u8]) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let accepted = listener.accept().unwrap().0;
        client.write_all(later).unwrap();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let got = runtime::run(Driver::UringDefer, |driver| async move {
            accepted.set_nonblocking(driver == Driver::Epoll).unwrap();
            let mut stream = TcpStream::from_std(accepted).unwrap();
            let mut body = Body::new(framing, 4, false);
            let after = body.drain(&mut stream, input, 16).await;
            assert_eq!(body.own.capacity(), 0, "nothing of it is kept");
            let mut rest = body.leftover(input.to_vec());
            loop {
                rest.reserve(64);
                let (read, more) = runtime::read_more(&mut stream, rest, 64).await;
                rest = more;
                if read.unwrap_or(0) == 0 {
                    return (after, rest);
                }
            }
        })
        .unwrap();
        assert_eq!(got.0, expected);
        if expected == After::Reusable {
            assert_eq!(got.1, next);
        }
    }

    #[test]
    fn an_unwanted_body_is_discarded_to_its_end_and_not_further() {
        check(Framing::Length(5), b"HEADab", b"cdeNEXT", After::Reusable, b"NEXT");
        check(Framing::Length(2), b"HEADabNEXT", b"", After::Reusable, b"NEXT");
        check(Framing::Chunked, b"HEAD5\r\nab", b"cde\r\n0\r\n\r\nNEXT", After::Reusable, b"NEXT");
        check(Framing::None, b"HEADNEXT", b"", After::Reusable, b"NEXT");
    }

    #[test]
    fn a_body_too_long_cut_short_or_malformed_closes_the_connection() {
        check(Framing::Length(17), b"HEADab", b"cdefghijklmnopqNEXT", After::Close, b"");
        check(Framing::Length(9), b"HEADab", b"cde", After::Close, b"");
        check(Framing::Chunked, b"HEAD11\r\n", b"abcdefghijklmnopq\r\n0\r\n\r\n", After::Close, b"");
        check(Framing::Chunked, b"HEADzz\r\n", b"", After::Close, b"");
    }
}
