//! Refusals: RFC 9457 problem documents, the one shape in which the gateway says no.

use super::{DATE_LEN, END_OF_HEAD, close, header, length, status_line};
use crate::ids::RequestId;
use crate::reason::Reason;

/// Everything a refusal says.
#[derive(Debug, Clone, Copy)]
pub struct Problem<'a> {
    /// Why: gives status, `type`, `title` and `code`.
    pub reason: Reason,
    /// What the caller may know about this occurrence; its own text in it has been through
    /// [`crate::text::CallerText`].
    pub detail: &'a str,
    /// `instance`, and the `x-request-id` field.
    pub request_id: RequestId,
    /// Further fields: `WWW-Authenticate`, `Retry-After`, `RateLimit`, `Allow`.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// Whether the connection closes after this answer; it does anyway if the reason demands it.
    pub close: bool,
    /// Answer to a HEAD request: the head only, `Content-Length` as for GET (RFC 9110 §9.3.2).
    pub head_only: bool,
}

/// Appends a complete response. Answers of reasons with status 0 or 499 have nobody to read them; they are written
/// as 400 all the same, so that no malformed status line can leave.
pub fn write_problem(out: &mut Vec<u8>, date: &[u8; DATE_LEN], problem: &Problem<'_>) {
    let mut body = Vec::with_capacity(320);
    problem_json(&mut body, problem.reason, problem.detail, problem.request_id);
    status_line(out, status(problem.reason));
    header(out, "Content-Type", b"application/problem+json");
    length(out, body.len() as u64);
    header(out, "Cache-Control", b"no-store");
    header(out, "Date", date);
    header(out, "x-request-id", &problem.request_id.text());
    for (name, value) in problem.headers {
        header(out, name, value);
    }
    if problem.close || problem.reason.closes_connection() {
        close(out);
    }
    out.extend_from_slice(END_OF_HEAD);
    if !problem.head_only {
        out.extend_from_slice(&body);
    }
}

/// Appends the problem object alone, as MCP results and `error.data` carry it.
pub fn problem_json(out: &mut Vec<u8>, reason: Reason, detail: &str, request_id: RequestId) {
    out.extend_from_slice(b"{\"type\":\"urn:acp:reason:");
    out.extend_from_slice(reason.code().as_bytes());
    out.extend_from_slice(b"\",\"title\":\"");
    escaped(out, reason.title());
    out.extend_from_slice(b"\",\"status\":");
    super::decimal(out, u64::from(status(reason)));
    out.extend_from_slice(b",\"detail\":\"");
    escaped(out, detail);
    out.extend_from_slice(b"\",\"instance\":\"");
    out.extend_from_slice(&request_id.text());
    out.extend_from_slice(b"\",\"code\":\"");
    out.extend_from_slice(reason.code().as_bytes());
    out.extend_from_slice(b"\"}");
}

const fn status(reason: Reason) -> u16 {
    match reason.status() {
        0 | 499 => 400,
        status => status,
    }
}

/// The inside of a JSON string (RFC 8259 §7).
fn escaped(out: &mut Vec<u8>, text: &str) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in text.as_bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0..=0x1f => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Framing, HeadLimits, parse_response};
    use crate::http::write::imf_fixdate;

    const LIMITS: HeadLimits = HeadLimits { bytes_max: 4096, headers_max: 32 };
    const ID: RequestId = RequestId([7; 12]);

    fn problem<'a>(reason: Reason, detail: &'a str) -> Problem<'a> {
        Problem { reason, detail, request_id: ID, headers: &[], close: false, head_only: false }
    }

    #[test]
    fn every_refusal_is_a_response_with_a_problem_document() {
        for &reason in Reason::ALL {
            let mut out = Vec::new();
            write_problem(&mut out, &imf_fixdate(0), &problem(reason, "why \"it\" is\n\u{1b}[31m\u{e9}"));
            let head = parse_response(&out, false, &LIMITS, &mut 0).unwrap().unwrap();
            assert_eq!(head.status, status(reason));
            assert_eq!(head.only("content-type"), Some(&b"application/problem+json"[..]));
            assert_eq!(head.only("connection").is_some(), reason.closes_connection(), "{}", reason.code());
            let body = &out[head.len..];
            assert_eq!(head.framing, Framing::Length(body.len() as u64));
            let json: serde_json::Value = serde_json::from_slice(body).unwrap();
            assert_eq!(json["detail"], "why \"it\" is\n\u{1b}[31m\u{e9}");
            assert_eq!(json["type"], reason.type_uri());
            assert_eq!(json["code"], reason.code());
            assert_eq!(json["title"], reason.title());
            assert_eq!(json["status"], status(reason));
            assert_eq!(json["instance"], ID.to_string());
        }
    }

    #[test]
    fn a_refused_head_request_gets_no_body() {
        let mut out = Vec::new();
        let headers: &[(&str, &[u8])] = &[("Retry-After", b"7"), ("X-Evil", b"a\r\nb: c")];
        let problem = Problem { headers, head_only: true, close: true, ..problem(Reason::RateLimited, "slow down") };
        write_problem(&mut out, &imf_fixdate(0), &problem);
        let head = parse_response(&out, true, &LIMITS, &mut 0).unwrap().unwrap();
        assert_eq!((head.len, head.keep_alive, head.framing), (out.len(), false, Framing::None));
        assert_eq!(head.only("retry-after"), Some(&b"7"[..]));
        assert!(head.only("b").is_none());
    }
}
