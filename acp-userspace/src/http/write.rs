//! Writing heads and chunks: appends to a buffer, formats nothing, never lets a line break through.
//!
//! **Invariant:** whatever the arguments, a value stays within its line. Bytes that a field value cannot hold are
//! written as SP, as RFC 9110 §5.5 has recipients read them, so that a caller's text in a header of ours is a
//! nuisance and never a second header.

mod date;
mod problem;

pub use date::{DATE_LEN, DateCache, imf_fixdate};
pub use problem::{Problem, problem_json, write_problem};

/// The interim answer to `Expect: 100-continue`.
pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The last chunk, with an empty trailer section.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The empty line that ends a head.
pub const END_OF_HEAD: &[u8] = b"\r\n";

/// `HTTP/1.1 <status> <reason phrase>`. Statuses without a phrase of ours get an empty one (RFC 9112 §4).
pub fn status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(status));
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// `<method> <path>[?<query>] HTTP/1.1`. The parts come from a parsed head, or from routing, which hold no white
/// space; one that did would be written as `%20`.
pub fn request_line(out: &mut Vec<u8>, method: &str, path: &str, query: Option<&str>) {
    target_part(out, method);
    out.push(b' ');
    target_part(out, path);
    if let Some(query) = query {
        out.push(b'?');
        target_part(out, query);
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// `<name>: <value>`. The name is a token, ours or a parsed one.
pub fn header(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    debug_assert!(!name.is_empty() && name.bytes().all(super::head::is_tchar), "{name:?} is no field name");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    field_text(out, value);
    out.extend_from_slice(b"\r\n");
}

/// `<name>: <n>`, in decimal.
pub fn header_number(out: &mut Vec<u8>, name: &str, n: u64) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    decimal(out, n);
    out.extend_from_slice(b"\r\n");
}

/// `Content-Length: <n>`.
pub fn length(out: &mut Vec<u8>, n: u64) {
    header_number(out, "Content-Length", n);
}

/// `Transfer-Encoding: chunked`.
pub fn chunked(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
}

/// `Connection: close`.
pub fn close(out: &mut Vec<u8>) {
    out.extend_from_slice(b"Connection: close\r\n");
}

/// The size line of a chunk of `len` > 0 bytes; a chunk of 0 would end the body.
pub fn chunk_head(out: &mut Vec<u8>, len: usize) {
    debug_assert!(len > 0, "an empty chunk ends the body");
    hex(out, len as u64);
    out.extend_from_slice(b"\r\n");
}

/// The line break after a chunk's data.
pub fn chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// One chunk; nothing for no data.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        chunk_head(out, data.len());
        out.extend_from_slice(data);
        chunk_end(out);
    }
}

/// `n` in decimal, no leading zeros.
pub fn decimal(out: &mut Vec<u8>, n: u64) {
    digits::<10>(out, n);
}

/// `n` in lower-case hexadecimal, no leading zeros.
pub fn hex(out: &mut Vec<u8>, n: u64) {
    digits::<16>(out, n);
}

fn digits<const BASE: u64>(out: &mut Vec<u8>, mut n: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    // u64::MAX has 20 decimal digits.
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = DIGITS[(n % BASE) as usize];
        n /= BASE;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// A field value in which control bytes other than HTAB became SP.
fn field_text(out: &mut Vec<u8>, value: &[u8]) {
    let from = out.len();
    out.extend_from_slice(value);
    for byte in &mut out[from..] {
        let control = (*byte < b' ') & (*byte != b'\t') | (*byte == 0x7f);
        *byte = if control { b' ' } else { *byte };
    }
}

/// A part of a request line; control bytes and white space percent-encoded.
fn target_part(out: &mut Vec<u8>, part: &str) {
    if part.bytes().all(|byte| byte.is_ascii_graphic()) {
        return out.extend_from_slice(part.as_bytes());
    }
    for byte in part.bytes() {
        if byte.is_ascii_graphic() {
            out.push(byte);
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.extend_from_slice(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

/// Phrases of the statuses that we answer ourselves or that upstreams commonly send (RFC 9110 §15).
const fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn writes_lines_as_the_rfc_has_them() {
        check(|out| status_line(out, 429), "HTTP/1.1 429 Too Many Requests\r\n");
        check(|out| status_line(out, 299), "HTTP/1.1 299 \r\n");
        check(|out| request_line(out, "POST", "/a", Some("b=c")), "POST /a?b=c HTTP/1.1\r\n");
        check(|out| request_line(out, "GET", "/", None), "GET / HTTP/1.1\r\n");
        check(|out| header(out, "x-user-uid", b"u 1"), "x-user-uid: u 1\r\n");
        check(|out| length(out, 0), "Content-Length: 0\r\n");
        check(|out| length(out, u64::MAX), "Content-Length: 18446744073709551615\r\n");
    }

    #[test]
    fn no_value_leaves_its_line() {
        check(|out| header(out, "a", b"b\r\nx-user-uid: evil\0\x7f\t."), "a: b  x-user-uid: evil  \t.\r\n");
        check(|out| request_line(out, "GET", "/a b\r\nc", None), "GET /a%20b%0D%0Ac HTTP/1.1\r\n");
    }

    #[test]
    fn writes_chunks_and_never_an_empty_one() {
        check(|out| chunk(out, b""), "");
        check(|out| chunk(out, &[b'x'; 26]), "1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n");
        check(|out| hex(out, u64::MAX), "ffffffffffffffff");
    }

    #[test]
    fn every_reason_has_a_phrase() {
        for reason in crate::reason::Reason::ALL {
            assert!(reason.status() == 499 || !reason_phrase(reason.status()).is_empty(), "{}", reason.code());
        }
    }
}
