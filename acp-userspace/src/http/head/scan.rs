//! Finding the end of a head, once, however many reads it takes.

use super::{HeadError, Header, Headers};

/// `tchar` of RFC 9110 §5.6.2.
pub(in crate::http) const fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

/// Runs `parse` on what has come of the head that begins at `start`, and again only when its end has come: twice in
/// all, in how many pieces it may come. `parse` answers `None` for an incomplete head.
///
/// # Errors
/// Those of `parse` and [`end_of_head`].
pub(super) fn resume<'b, T>(
    buf: &'b [u8],
    start: usize,
    bytes_max: usize,
    scanned: &mut usize,
    parse: impl Fn(&'b [u8]) -> Result<Option<T>, HeadError>,
) -> Result<Option<T>, HeadError> {
    let within = buf.len().min(bytes_max);
    if *scanned == 0
        && let Some(head) = parse(&buf[start.min(within)..within])?
    {
        return Ok(Some(head));
    }
    match end_of_head(buf, start, bytes_max, scanned)? {
        Some(end) => parse(&buf[start..end])?.ok_or(HeadError::LineEnding).map(Some),
        None => Ok(None),
    }
}

/// Index past the empty line that ends the head which begins at `start`; `None` while it has not come.
///
/// Looks only at bytes from `*scanned` on and moves it forward. Visits each LF once and requires a CR before it, so
/// a head that uses lone LFs is refused at the first of them instead of at the deadline.
///
/// # Errors
/// [`HeadError::LineEnding`], or [`HeadError::TooLarge`] when `bytes_max` bytes hold no end.
fn end_of_head(buf: &[u8], start: usize, bytes_max: usize, scanned: &mut usize) -> Result<Option<usize>, HeadError> {
    let searched = buf.len().min(bytes_max);
    let from = (*scanned).max(start).min(searched);
    for offset in memchr::memchr_iter(b'\n', &buf[from..searched]) {
        let at = from + offset;
        if at == start || buf[at - 1] != b'\r' {
            return Err(HeadError::LineEnding);
        }
        if buf[start..at - 1].ends_with(b"\r\n") {
            return Ok(Some(at + 1));
        }
    }
    *scanned = searched;
    if buf.len() >= bytes_max { Err(HeadError::TooLarge) } else { Ok(None) }
}

/// Whether every line of `head` ends in CRLF, which httparse does not insist on. It does insist that a CR is
/// followed by LF, so looking at what precedes each field and at the very end is enough.
pub(super) fn lines_end_in_crlf(head: &[u8], fields: &[httparse::Header<'_>]) -> bool {
    let base = head.as_ptr().addr();
    head.ends_with(b"\r\n\r\n")
        && fields.iter().all(|field| {
            let at = field.name.as_ptr().addr() - base;
            head[..at].ends_with(b"\r\n")
        })
}

/// The fields of a head in our terms.
#[inline]
pub(super) fn fields<'b>(parsed: &[httparse::Header<'b>]) -> Headers<'b> {
    parsed.iter().map(|field| Header { name: field.name, value: field.value }).collect()
}

/// What httparse found, in our terms.
pub(super) fn fault(error: httparse::Error, first_line: HeadError) -> HeadError {
    match error {
        httparse::Error::HeaderName => HeadError::HeaderName,
        httparse::Error::HeaderValue => HeadError::HeaderValue,
        httparse::Error::NewLine => HeadError::LineEnding,
        httparse::Error::TooManyHeaders => HeadError::TooManyHeaders,
        httparse::Error::Version => HeadError::Version,
        httparse::Error::Status | httparse::Error::Token => first_line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(buf: &[u8], expected: Result<Option<usize>, HeadError>) {
        assert_eq!(end_of_head(buf, 0, 64, &mut 0), expected, "{}", buf.escape_ascii());
        let mut scanned = 0;
        for cut in 0..buf.len() {
            match end_of_head(&buf[..cut], 0, 64, &mut scanned) {
                Ok(None) => {}
                early => return assert_eq!(early, expected, "{} bytes of {}", cut, buf.escape_ascii()),
            }
        }
        assert_eq!(end_of_head(buf, 0, 64, &mut scanned), expected, "byte by byte: {}", buf.escape_ascii());
    }

    #[test]
    fn finds_the_same_end_whole_and_byte_by_byte() {
        check(b"", Ok(None));
        check(b"GET / HTTP/1.1\r\n", Ok(None));
        check(b"GET / HTTP/1.1\r\n\r", Ok(None));
        check(b"GET / HTTP/1.1\r\n\r\n", Ok(Some(18)));
        check(b"GET / HTTP/1.1\r\n\r\nGET /\n", Ok(Some(18)));
    }

    #[test]
    fn refuses_a_lone_lf_where_it_stands() {
        check(b"\n", Err(HeadError::LineEnding));
        check(b"GET / HTTP/1.1\n", Err(HeadError::LineEnding));
        check(b"GET / HTTP/1.1\r\nA: b\n\r\n", Err(HeadError::LineEnding));
    }

    #[test]
    fn counts_the_empty_line_within_the_bound() {
        let exact = [&[b'a'; 60][..], b"\r\n\r\n"].concat();
        check(&exact, Ok(Some(64)));
        let over = [&[b'a'; 61][..], b"\r\n\r\n"].concat();
        check(&over, Err(HeadError::TooLarge));
    }

    #[test]
    fn does_not_search_again_what_it_has_searched() {
        let mut scanned = 0;
        let buf = b"GET / HTTP/1.1\r\nA: b\r\n";
        assert_eq!(end_of_head(buf, 0, 64, &mut scanned), Ok(None));
        assert_eq!(scanned, buf.len());
    }
}
