//! A raw HTTP/1.1 client: sends the bytes it is given, reads answers by their framing, notices when it is hung up on.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// An answer that takes longer never comes.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Loopback addresses given to clients in turn: refusals of unknown callers are recorded in full only up to ten a
/// second per source.
static SOURCES: AtomicU8 = AtomicU8::new(0);

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Status line and fields.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A field's value; names are compared without case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The reason code of a refusal, whose shape is checked (RFC 9457).
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_eq!(problem["instance"].as_str(), self.header("x-request-id"), "{problem}");
        let code = problem["code"].as_str().expect("a code").to_owned();
        assert_eq!(problem["type"], format!("urn:acp:reason:{code}"), "{problem}");
        code
    }

    /// The id under which the log has it.
    #[track_caller]
    pub(crate) fn id(&self) -> String {
        self.header("x-request-id").unwrap_or_else(|| panic!("no id: {self:?}")).to_owned()
    }
}

/// A connection to the gateway.
pub(crate) struct Client {
    stream: TcpStream,
    /// Read, and behind the last answer.
    buf: Vec<u8>,
}

impl Client {
    /// Connects from a loopback address of its own.
    #[track_caller]
    pub(crate) fn connect(gateway: SocketAddr) -> Self {
        Self::try_connect(gateway).expect("the gateway accepts")
    }

    /// The same with a gateway that may be gone.
    pub(crate) fn try_connect(gateway: SocketAddr) -> Option<Self> {
        Self::connect_from(Ipv4Addr::new(127, 9, 9, SOURCES.fetch_add(1, Ordering::Relaxed).clamp(1, 254)), gateway)
    }

    /// The same from this address, which others may use too.
    pub(crate) fn connect_from(source: Ipv4Addr, gateway: SocketAddr) -> Option<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(IpAddr::V4(source), 0).into()).expect("a loopback address");
        socket.connect(&gateway.into()).ok()?;
        socket.set_read_timeout(Some(READ_TIMEOUT)).expect("a timeout");
        socket.set_tcp_nodelay(true).expect("no delay");
        Some(Self { stream: socket.into(), buf: Vec::new() })
    }

    /// Sends bytes as they are; a gateway that hung up already is not an error here.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Sends bytes and reads one answer.
    #[track_caller]
    pub(crate) fn ask(&mut self, bytes: impl AsRef<[u8]>) -> Answer {
        self.send(bytes).answer()
    }

    /// Sends a request and reads its answer, which has a length or comes in chunks; `None` when the gateway is gone.
    pub(crate) fn try_ask(&mut self, request: &str) -> Option<Answer> {
        self.stream.write_all(request.as_bytes()).ok()?;
        while !is_whole(&self.buf) {
            if !self.more() {
                return None;
            }
        }
        Some(self.answer())
    }

    /// Reads one answer with its body.
    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        let mut answer = self.head();
        let header = |name: &str| answer.header(name).map(str::to_owned);
        if header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            while let Some(chunk) = self.chunk() {
                answer.body.extend(chunk);
            }
        } else if let Some(length) = header("content-length") {
            answer.body = self.take(length.parse().expect("a length"));
        } else if !matches!(answer.status, 204 | 304) && answer.status >= 200 {
            while self.more() {}
            answer.body = std::mem::take(&mut self.buf);
        }
        answer
    }

    /// Reads the head of an answer and leaves its body unread.
    #[track_caller]
    pub(crate) fn head(&mut self) -> Answer {
        let end = loop {
            if let Some(at) = self.buf.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more(), "closed within a head: {:?}", String::from_utf8_lossy(&self.buf));
        };
        let head = String::from_utf8(self.take(end)).expect("a head is text");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Answer { status: status.unwrap_or_else(|| panic!("no status: {head}")), head, body: Vec::new() }
    }

    /// Reads one chunk of a chunked body; `None` is its end.
    #[track_caller]
    pub(crate) fn chunk(&mut self) -> Option<Vec<u8>> {
        let end = loop {
            if let Some(at) = self.buf.windows(2).position(|two| two == b"\r\n") {
                break at;
            }
            assert!(self.more(), "closed within a chunk size");
        };
        let line = self.take(end + 2);
        let size = std::str::from_utf8(&line[..end]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let size = size.unwrap_or_else(|| panic!("no chunk size: {line:?}"));
        let mut chunk = self.take(size + 2);
        assert_eq!(chunk.split_off(size), b"\r\n", "a chunk ends in CRLF");
        (size > 0).then_some(chunk)
    }

    /// Shuts down the sending side: nothing more comes.
    pub(crate) fn finish_sending(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next bytes, as many as there are up to `count`; they stay to be read.
    #[track_caller]
    pub(crate) fn peek(&mut self, count: usize) -> &[u8] {
        while self.buf.len() < count && self.more() {}
        &self.buf[..count.min(self.buf.len())]
    }

    /// Reads one answer to HEAD: its body is not sent, but by who could not read the method either.
    #[track_caller]
    pub(crate) fn answer_to_head(&mut self) -> Answer {
        let mut answer = self.head();
        if !matches!(self.peek(7), b"" | b"HTTP/1.") {
            let length = answer.header("content-length").and_then(|length| length.parse().ok());
            answer.body = self.take(length.expect("a length"));
        }
        answer
    }

    /// Everything up to the end of the connection.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.buf)
    }

    /// The gateway hung up, and said nothing more before it did.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "said before it closed: {:?}", String::from_utf8_lossy(&rest));
    }

    #[track_caller]
    fn take(&mut self, count: usize) -> Vec<u8> {
        while self.buf.len() < count {
            assert!(self.more(), "closed {} bytes too early", count - self.buf.len());
        }
        let rest = self.buf.split_off(count);
        std::mem::replace(&mut self.buf, rest)
    }

    /// Reads more; false at the end of the connection, however it ended.
    #[track_caller]
    fn more(&mut self) -> bool {
        let mut some = [0; 16 * 1024];
        match self.stream.read(&mut some) {
            Ok(0) => false,
            Ok(n) => {
                self.buf.extend_from_slice(&some[..n]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {READ_TIMEOUT:?}")
            }
            Err(_) => false,
        }
    }
}

/// Whether a whole answer stands at the beginning, framed by its length or in chunks.
fn is_whole(buf: &[u8]) -> bool {
    let Some(head) = buf.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4) else { return false };
    let text = String::from_utf8_lossy(&buf[..head]).to_ascii_lowercase();
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match value("content-length:").and_then(|length| length.parse::<usize>().ok()) {
        Some(length) => buf.len() >= head + length,
        None => value("transfer-encoding:") == Some("chunked") && has_last_chunk(&buf[head..]),
    }
}

fn has_last_chunk(mut body: &[u8]) -> bool {
    while let Some(at) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..at]).ok().and_then(|text| usize::from_str_radix(text, 16).ok());
        let Some(rest) = size.and_then(|size| body.get(at + 2 + size + 2..)) else { return false };
        if size == Some(0) {
            return true;
        }
        body = rest;
    }
    false
}

/// A request with a body of this length.
pub(crate) fn post(path: &str, token: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A request without a body.
pub(crate) fn get(path: &str, token: &str) -> String {
    bare("GET", path, token)
}

/// A request without a body, with this method.
pub(crate) fn bare(method: &str, path: &str, token: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n")
}
