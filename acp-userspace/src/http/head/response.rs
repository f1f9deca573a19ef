//! Response heads, read from upstreams with the same suspicion.

use std::mem::MaybeUninit;

use super::fields::Facts;
use super::{Framing, HEADERS_CAP, HeadError, HeadLimits, ResponseHead, scan};

/// Parses the head of a response at the start of `buf`. `request_is_head` says that it answers a HEAD request.
///
/// `None` and `scanned` are as in [`super::parse_request`]. Interim answers (1xx) are returned like others: how many
/// of them to put up with is the caller's bound.
///
/// # Errors
/// [`HeadError`], whichever it is a framing failure of the upstream.
pub fn parse_response<'b>(
    buf: &'b [u8],
    request_is_head: bool,
    limits: &HeadLimits,
    scanned: &mut usize,
) -> Result<Option<ResponseHead<'b>>, HeadError> {
    if buf.first().is_some_and(|&byte| byte != b'H') {
        return Err(HeadError::StatusLine);
    }
    scan::resume(buf, 0, limits.bytes_max, scanned, |head| parse(head, request_is_head, limits.headers_max))
}

/// Parses the head at the beginning of `bytes`.
#[inline(always)]
fn parse(bytes: &[u8], request_is_head: bool, headers_max: usize) -> Result<Option<ResponseHead<'_>>, HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CAP];
    let mut parsed = httparse::Response::new(&mut []);
    let outcome = httparse::ParserConfig::default()
        .parse_response_with_uninit_headers(&mut parsed, bytes, &mut slots[..headers_max.min(HEADERS_CAP)])
        .map_err(|error| scan::fault(error, HeadError::StatusLine))?;
    let (httparse::Status::Complete(len), Some(status), Some(version)) = (outcome, parsed.code, parsed.version) else {
        return Ok(None);
    };
    if !scan::lines_end_in_crlf(&bytes[..len], parsed.headers) {
        return Err(HeadError::LineEnding);
    }
    let facts = Facts::of(parsed.headers)?;
    let http11 = version == 1;
    let framing = framing(status, request_is_head, http11, &facts)?;
    let keep_alive = http11 && !facts.close && framing != Framing::UntilClose;
    Ok(Some(ResponseHead { status, headers: scan::fields(parsed.headers), framing, keep_alive, len }))
}

/// RFC 9112 §6.3, the cases of a response.
fn framing(status: u16, request_is_head: bool, http11: bool, facts: &Facts<'_>) -> Result<Framing, HeadError> {
    facts.check_exclusive()?;
    match status {
        // Asking for no upgrade, we can be granted none.
        101 => return Err(HeadError::Upgrade),
        100..200 | 204 if facts.chunked => return Err(HeadError::TransferEncodingForbidden),
        100..200 | 204 if facts.length.is_some_and(|length| length > 0) => return Err(HeadError::LengthForbidden),
        100..600 => {}
        _ => return Err(HeadError::StatusLine),
    }
    if facts.chunked && !http11 {
        return Err(HeadError::TransferEncodingForbidden);
    }
    if request_is_head || matches!(status, 100..200 | 204 | 304) {
        return Ok(Framing::None);
    }
    match (facts.chunked, facts.length) {
        (true, _) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::UntilClose),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes_max: 1024, headers_max: 8 };

    #[track_caller]
    fn check(head: &str, request_is_head: bool, expected: Result<(u16, Framing, bool), HeadError>) {
        let bytes = format!("{head}\r\n\r\n");
        let got = parse_response(bytes.as_bytes(), request_is_head, &LIMITS, &mut 0);
        let got = got.map(|head| head.map(|head| (head.status, head.framing, head.keep_alive)));
        assert_eq!(got, expected.map(Some), "{head:?}");
    }

    #[test]
    fn frames_answers_by_length_chunks_or_close() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5", false, Ok((200, Framing::Length(5), true)));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", false, Ok((200, Framing::Chunked, true)));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", false, Ok((200, Framing::Chunked, true)));
        check("HTTP/1.1 200 OK", false, Ok((200, Framing::UntilClose, false)));
        check("HTTP/1.1 200", false, Ok((200, Framing::UntilClose, false)));
        check("HTTP/1.0 200 OK\r\nContent-Length: 5", false, Ok((200, Framing::Length(5), false)));
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close", false, Ok((200, Framing::Length(5), false)));
    }

    #[test]
    fn sees_no_body_where_there_can_be_none() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5", true, Ok((200, Framing::None, true)));
        check("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", true, Ok((200, Framing::None, true)));
        check("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", false, Ok((304, Framing::None, true)));
        check("HTTP/1.1 204 No Content", false, Ok((204, Framing::None, true)));
        check("HTTP/1.1 204 No Content\r\nContent-Length: 0", false, Ok((204, Framing::None, true)));
        check("HTTP/1.1 100 Continue", false, Ok((100, Framing::None, true)));
        check("HTTP/1.1 103 Early Hints\r\nLink: </a>", false, Ok((103, Framing::None, true)));
    }

    #[test]
    fn refuses_answers_that_lie_about_their_framing() {
        for (head, fault) in [
            ("HTTP/1.1 101 Switching", HeadError::Upgrade),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", HeadError::LengthRepeated),
            ("HTTP/1.1 200 OK\r\nContent-Length: five", HeadError::LengthInvalid),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked",
                HeadError::LengthAndTransferEncoding,
            ),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", HeadError::TransferEncoding),
            ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", HeadError::TransferEncodingForbidden),
            ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked", HeadError::TransferEncodingForbidden),
            ("HTTP/1.1 204 No Content\r\nContent-Length: 1", HeadError::LengthForbidden),
            ("HTTP/1.1 600 What", HeadError::StatusLine),
            ("HTTP/1.1 099 What", HeadError::StatusLine),
            ("HTTP/1.1 20 OK", HeadError::StatusLine),
            ("HTTP/2.0 200 OK", HeadError::Version),
            ("ICY 200 OK", HeadError::StatusLine),
            ("HTTP/1.1 200 OK\r\n folded: x", HeadError::HeaderName),
            ("HTTP/1.1 200 OK\r\nA: b\r\n c", HeadError::HeaderName),
            ("HTTP/1.1 200 OK\r\nA : b", HeadError::HeaderName),
            ("HTTP/1.1 200 OK\r\nA: b\rc", HeadError::HeaderValue),
        ] {
            check(head, false, Err(fault));
        }
    }

    #[test]
    fn waits_for_the_whole_head_within_its_bound() {
        let mut scanned = 0;
        assert!(parse_response(b"HTTP/1.1 200 OK\r\n", false, &LIMITS, &mut scanned).unwrap().is_none());
        let long = format!("HTTP/1.1 200 OK\r\nA: {}", "a".repeat(1024));
        assert_eq!(parse_response(long.as_bytes(), false, &LIMITS, &mut 0).unwrap_err(), HeadError::TooLarge);
    }
}
