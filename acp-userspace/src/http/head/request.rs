//! Request heads.

use std::mem::MaybeUninit;

use super::fields::Facts;
use super::{Framing, HEADERS_CAP, HeadError, HeadLimits, RequestHead, scan, target};

/// The longest registered method has 17 characters (UPDATEREDIRECTREF); nothing sensible is longer than this.
pub const METHOD_BYTES_MAX: usize = 32;

/// Parses the head of a request at the start of `buf`, after at most one empty line.
///
/// `None` means that more bytes are needed. `scanned` belongs to the head being waited for: 0 at first, then left
/// alone until a head was returned, when it goes back to 0 with [`RequestHead::len`] bytes taken off `buf`.
///
/// # Errors
/// [`HeadError`], after which the connection has to close. Garbage is recognised by its first byte, a lone LF
/// where it stands; other faults when the head is complete.
pub fn parse_request<'b>(
    buf: &'b [u8],
    limits: &HeadLimits,
    scanned: &mut usize,
) -> Result<Option<RequestHead<'b>>, HeadError> {
    match start_of_head(buf)? {
        Some(start) => {
            scan::resume(buf, start, limits.bytes_max, scanned, |head| parse(head, start, limits.headers_max))
        }
        None => Ok(None),
    }
}

/// Where the request line begins; `None` when that is still to come.
fn start_of_head(buf: &[u8]) -> Result<Option<usize>, HeadError> {
    let start = if buf.starts_with(b"\r\n") { 2 } else { 0 };
    match buf[start..] {
        [] | [b'\r'] => Ok(None),
        [b'\r', b'\n', ..] => Err(HeadError::EmptyLines),
        [b'\r' | b'\n', ..] => Err(HeadError::LineEnding),
        [first, ..] if scan::is_tchar(first) => Ok(Some(start)),
        _ => Err(HeadError::RequestLine),
    }
}

/// Parses the head at the beginning of `bytes`, which `start` bytes precede.
#[inline(always)]
fn parse(bytes: &[u8], start: usize, headers_max: usize) -> Result<Option<RequestHead<'_>>, HeadError> {
    if bytes.starts_with(b"PRI * HTTP/2.0\r\n") {
        return Err(HeadError::Http2Preface);
    }
    let mut slots = [const { MaybeUninit::uninit() }; HEADERS_CAP];
    let mut parsed = httparse::Request::new(&mut []);
    let outcome = parsed
        .parse_with_uninit_headers(bytes, &mut slots[..headers_max.min(HEADERS_CAP)])
        .map_err(|error| scan::fault(error, HeadError::RequestLine))?;
    let (httparse::Status::Complete(len), Some(method), Some(uri), Some(version)) =
        (outcome, parsed.method, parsed.path, parsed.version)
    else {
        return Ok(None);
    };
    if !scan::lines_end_in_crlf(&bytes[..len], parsed.headers) {
        return Err(HeadError::LineEnding);
    }
    if method.len() > METHOD_BYTES_MAX {
        return Err(HeadError::RequestLine);
    }
    let facts = Facts::of(parsed.headers)?;
    let target = target::parse(uri)?;
    let host = target::host(facts.host.ok_or(HeadError::HostMissing)?)?;
    if target.authority.is_some_and(|authority| !authority.eq_ignore_ascii_case(host)) {
        return Err(HeadError::HostMismatch);
    }
    if facts.upgrade {
        return Err(HeadError::Upgrade);
    }
    let http11 = version == 1;
    let framing = framing(&facts, http11)?;
    let odd_body = matches!(method, "GET" | "HEAD") && !matches!(framing, Framing::None | Framing::Length(0));
    Ok(Some(RequestHead {
        method,
        path: target.path,
        query: target.query,
        host,
        http11,
        headers: scan::fields(parsed.headers),
        framing,
        // An HTTP/1.0 client cannot be told where a streamed answer ends but by closing.
        keep_alive: http11 && !facts.close && !odd_body,
        expect_continue: expectation(&facts)? && http11,
        len: start + len,
    }))
}

/// Whether `Expect: 100-continue` was sent.
fn expectation(facts: &Facts<'_>) -> Result<bool, HeadError> {
    match facts.expect {
        None => Ok(false),
        Some(value) if value.eq_ignore_ascii_case(b"100-continue") => Ok(true),
        Some(_) => Err(HeadError::Expectation),
    }
}

/// RFC 9112 §6.3, the cases of a request.
fn framing(facts: &Facts<'_>, http11: bool) -> Result<Framing, HeadError> {
    facts.check_exclusive()?;
    match (facts.chunked, facts.length) {
        (true, _) if !http11 => Err(HeadError::TransferEncodingForbidden),
        (true, _) if facts.chunked_odd_case => Err(HeadError::TransferEncoding),
        (true, _) => Ok(Framing::Chunked),
        (false, Some(length)) => Ok(Framing::Length(length)),
        (false, None) => Ok(Framing::None),
    }
}

#[cfg(test)]
mod tests;
