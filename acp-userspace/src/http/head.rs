//! Request and response heads: RFC 9112 §§2–6, as DATAPATH B1 narrows them.

use smallvec::SmallVec;

/// Bounds of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes up to and with the empty line.
    pub bytes_max: usize,
    /// Fields.
    pub headers_max: usize,
}

/// One field line. The name is a token as sent (compare case-insensitively); the value has its outer white space
/// removed and holds no CR, LF, NUL or other control byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'b> {
    /// Field name.
    pub name: &'b str,
    /// Field value.
    pub value: &'b [u8],
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// This many bytes (may be 0).
    Length(u64),
    /// `Transfer-Encoding: chunked`, alone and last.
    Chunked,
    /// Until the connection closes; responses only.
    UntilClose,
}

/// A request's head, read in the only way it can be.
#[derive(Debug)]
pub struct RequestHead<'b> {
    /// Method token, case-sensitive as sent.
    pub method: &'b str,
    /// Raw path of the target: starts with `/`, not yet normalised, no query.
    pub path: &'b str,
    /// Raw query without `?`; `None` when there is no `?`.
    pub query: Option<&'b str>,
    /// `Host`, or the authority of an absolute-form target (which must equal it), as sent.
    pub host: &'b str,
    /// True for HTTP/1.1, false for HTTP/1.0.
    pub http11: bool,
    /// Every field, in order.
    pub headers: SmallVec<[Header<'b>; 32]>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the client wants the connection kept.
    pub keep_alive: bool,
    /// `Expect: 100-continue` (HTTP/1.1 only).
    pub expect_continue: bool,
    /// Bytes of the head, the empty line included.
    pub len: usize,
}

impl<'b> RequestHead<'b> {
    /// All values of a field, in order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    }

    /// The only value of a field; `None` when absent or repeated.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&'b [u8]> {
        let mut values = self.all(name);
        let first = values.next()?;
        values.next().is_none().then_some(first)
    }
}

/// A response's head.
#[derive(Debug)]
pub struct ResponseHead<'b> {
    /// 100..=599.
    pub status: u16,
    /// Every field, in order.
    pub headers: SmallVec<[Header<'b>; 32]>,
    /// Where the body ends, the request's method considered (HEAD, 1xx, 204, 304: none).
    pub framing: Framing,
    /// Whether the upstream keeps the connection.
    pub keep_alive: bool,
    /// Bytes of the head, the empty line included.
    pub len: usize,
}
