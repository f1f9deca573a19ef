//! The one request the load sends and the little of HTTP/1.1 it needs to judge the answer.
//!
//! Every request is a `POST` of exactly [`BODY_BYTES`] of JSON. The text holds what makes a scanner look twice (`@`,
//! dates, versions, digit groups) and nothing that is personal data. Eight letters of the body and one user's token
//! differ from request to request, so that no two calls are identical and no loop guard has a reason to act.

use std::ops::Range;

/// Size of a request body.
pub(super) const BODY_BYTES: usize = 1024;
/// Where the load goes; every row accepts it.
pub(super) const PATH: &str = "/tools/crm/contacts";
/// What the backend answers, under `Content-Type: application/json`.
pub(super) const ANSWER: &str = concat!(
    r#"{"status":"ok","contacts":[{"id":"c-20417","company":"Northwind Traders","stage":"negotiation","owner":"team-west","#,
    r#""note":"Asked for the 2026-04 price list @ volume tier B; follow up after the 14.2 release."},"#,
    r#"{"id":"c-20418","company":"Contoso Ltd","stage":"won","owner":"team-east","note":"Renewal 88-12 signed."}],"next":null}"#,
);

const COUNTER: &str = "aaaaaaaa";

/// The body, with a field `trace` of eight letters that `Request::number` overwrites.
fn body() -> String {
    let head =
        format!(r#"{{"query":"open opportunities","trace":"{COUNTER}","limit":25,"fields":["id","company","stage"],"#);
    let head =
        head + r#""filter":{"updated_after":"2026-03-01T00:00:00Z","region":"EMEA","min_value":12500.75},"prompt":""#;
    // Near misses of each detector: an at sign without a domain, short digit groups, versions, order numbers.
    let prose = "Summarise every deal that moved since 2026-03-01. Mention @west and @east owners, seats @ 12.50 each, \
                 order 4417-12, ticket OPS-2291, build 10.4.2 and the 88-12 addendum; skip drafts older than 90 days. \
                 Keep the tone factual, cite the record id for each claim, and say \\\"unknown\\\" where data is missing. ";
    let tail = r#""}"#;
    let room = BODY_BYTES - head.len() - tail.len();
    // Cut at a space so that the escaped quotes stay whole, and padded with spaces.
    let prose: String = prose.repeat(4);
    let cut = prose[..room].rfind(' ').map_or(0, |space| space + 1);
    format!("{head}{}{}{tail}", &prose[..cut], " ".repeat(room - cut))
}

/// A request of one user, ready to be sent but for its number.
pub(super) struct Request {
    bytes: Vec<u8>,
    counter: Range<usize>,
}

impl Request {
    /// The request to `host` with `token` as bearer.
    pub(super) fn new(host: &str, token: &str) -> Self {
        let head = format!(
            "POST {PATH} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: acp-bench\r\nAccept: application/json\r\n\
             Authorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
        );
        let body = body();
        let start = head.len() + body.find(COUNTER).expect("the body names its counter");
        Self { bytes: (head + &body).into_bytes(), counter: start..start + COUNTER.len() }
    }

    /// Writes the request with this number into `out`, replacing what was there.
    pub(super) fn write_numbered(&self, number: u64, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(&self.bytes);
        for (digit, byte) in out[self.counter.clone()].iter_mut().rev().enumerate() {
            // Base 16 in the letters a to p: digits would look like an account number.
            *byte = b'a' + ((number >> (4 * digit)) & 0xf) as u8;
        }
    }
}

/// How far an answer has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes are needed.
    Partial,
    /// Here it is.
    Complete(Answer),
    /// It never will be one, for this reason.
    Malformed(&'static str),
}

/// A complete answer at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: u16,
    /// Where its body is; what the buffer holds beyond was not asked for.
    pub(super) body: Range<usize>,
    /// Whether the peer will close the connection.
    pub(super) close: bool,
}

/// Reads the answer at the start of `bytes`. Its body must be framed by `Content-Length`, as the backend's is.
pub(super) fn read_answer(bytes: &[u8]) -> Progress {
    let Some(head_end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Progress::Partial;
    };
    let Ok(head) = std::str::from_utf8(&bytes[..head_end]) else {
        return Progress::Malformed("a head that is not UTF-8");
    };
    let mut lines = head.split("\r\n");
    let Some(status) = lines.next().and_then(status_of) else {
        return Progress::Malformed("no HTTP/1.1 status line");
    };
    let (mut length, mut close) = (None, false);
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let Some(length) = length else { return Progress::Malformed("no Content-Length") };
    let start = head_end + 4;
    match start.checked_add(length) {
        Some(end) if end <= bytes.len() => Progress::Complete(Answer { status, body: start..end, close }),
        Some(_) => Progress::Partial,
        None => Progress::Malformed("an impossible Content-Length"),
    }
}

fn status_of(line: &str) -> Option<u16> {
    line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_is_a_kibibyte_of_json_whatever_its_number() {
        let request = Request::new("127.0.0.1", "t");
        let mut out = Vec::new();
        for number in [0, 1, 0xffff_ffff, u64::MAX] {
            request.write_numbered(number, &mut out);
            let body = &out[out.len() - BODY_BYTES..];
            assert!(out[..out.len() - BODY_BYTES].ends_with(b"\r\n\r\n"));
            let json: serde_json::Value = serde_json::from_slice(body).expect("JSON");
            assert!(json["prompt"].as_str().expect("text").len() > 500);
        }
    }

    #[test]
    fn two_numbers_make_two_bodies() {
        let request = Request::new("127.0.0.1", "t");
        let (mut one, mut other) = (Vec::new(), Vec::new());
        request.write_numbered(0x1_0000, &mut one);
        request.write_numbered(0x1_0001, &mut other);
        assert_eq!(one.len(), other.len());
        assert_ne!(one, other);
    }

    #[test]
    fn answer_of_the_backend_is_json_of_about_300_bytes() {
        serde_json::from_str::<serde_json::Value>(ANSWER).expect("JSON");
        assert!((280..340).contains(&ANSWER.len()), "{}", ANSWER.len());
    }

    const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: x\r\ncontent-LENGTH: 5\r\n\r\nhello";

    #[test]
    fn reads_an_answer_only_when_its_last_byte_is_there() {
        for cut in 0..WHOLE.len() {
            assert_eq!(read_answer(&WHOLE[..cut]), Progress::Partial, "{cut} bytes");
        }
        let body = WHOLE.len() - 5..WHOLE.len();
        assert_eq!(read_answer(WHOLE), Progress::Complete(Answer { status: 200, body, close: false }));
    }

    #[test]
    fn leaves_bytes_beyond_the_answer_outside_its_body() {
        let mut bytes = WHOLE.to_vec();
        bytes.extend_from_slice(b"HTTP/1.1 200 OK");
        let Progress::Complete(answer) = read_answer(&bytes) else { panic!("incomplete") };
        assert_eq!(&bytes[answer.body], b"hello");
    }

    #[track_caller]
    fn check(bytes: &str, expected: Progress) {
        assert_eq!(read_answer(bytes.as_bytes()), expected);
    }

    #[test]
    fn sees_that_the_peer_will_close() {
        let bytes = "HTTP/1.1 429 Too Many Requests\r\nConnection: Close\r\nContent-Length: 0\r\n\r\n";
        check(bytes, Progress::Complete(Answer { status: 429, body: bytes.len()..bytes.len(), close: true }));
    }

    #[test]
    fn refuses_what_it_cannot_frame() {
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Progress::Malformed("no Content-Length"));
        check("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Progress::Malformed("no Content-Length"));
        check("SSH-2.0-x\r\n\r\n", Progress::Malformed("no HTTP/1.1 status line"));
        let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", usize::MAX);
        check(&huge, Progress::Malformed("an impossible Content-Length"));
    }
}
