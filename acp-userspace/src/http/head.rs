//! Request and response heads: RFC 9112 §§2–6, as DATAPATH B1 narrows them.
//!
//! [`parse_request`] and [`parse_response`] take whatever has arrived so far. They answer `None` until the head is
//! complete and remember in `scanned` how far the search for its end got, so feeding a head byte by byte costs one
//! pass, not one per byte.
//!
//! Narrower than the RFC on purpose, each because two readers could disagree:
//! - every line ends in CRLF; a lone CR or LF anywhere is an error (§2.2 lets a recipient accept a lone LF);
//! - one empty line before a request is ignored (§2.2 asks for at least one), a second is an error;
//! - `Content-Length` appears once, in digits without leading zeros; `Transfer-Encoding` appears once and says
//!   `chunked`, in lower case from a client; both together, or the latter on HTTP/1.0, are errors (§6.1, §6.3);
//! - `Host` appears exactly once, on HTTP/1.0 too, and an absolute-form target has to name the same authority (§3.2);
//! - paths hold RFC 3986 `pchar` and `/` only; the asterisk and authority forms are not served (`OPTIONS *`, CONNECT);
//! - `Upgrade` to anything but `h2c` is refused; `h2c` offers, which some clients attach to every plain request, are
//!   ignored as RFC 9110 §7.8 permits.
//!
//! Every [`HeadError`] ends its connection: after one, where the next message starts is anybody's guess.

use smallvec::SmallVec;

use crate::reason::Reason;

mod fields;
mod request;
mod response;
mod scan;
mod target;

pub use request::{METHOD_BYTES_MAX, parse_request};
pub use response::parse_response;
pub(super) use scan::is_tchar;

/// Fields that [`HeadLimits::headers_max`] may allow at most: the size of the array that a head is parsed into (8 KiB
/// of stack).
pub const HEADERS_CAP: usize = 256;

/// Bounds of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes up to and with the empty line.
    pub bytes_max: usize,
    /// Fields; more than [`HEADERS_CAP`] means that.
    pub headers_max: usize,
}

/// One field line. The name is a token as sent (compare case-insensitively); the value has its outer white space
/// removed and holds no CR, LF, NUL or other control byte except HTAB. Bytes above 0x7F are possible (`obs-text`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'b> {
    /// Field name.
    pub name: &'b str,
    /// Field value.
    pub value: &'b [u8],
}

/// The fields of a head, in order; more than 16 cost an allocation. A head is moved a few times, so its size counts.
pub type Headers<'b> = SmallVec<[Header<'b>; 16]>;

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
    pub headers: Headers<'b>,
    /// Where the body ends.
    pub framing: Framing,
    /// Whether the connection may carry another request: HTTP/1.1, no `Connection: close`, and no body on a GET or
    /// HEAD (RFC 9110 §9.3.1: such content is how requests are smuggled past a recipient that ignores it).
    pub keep_alive: bool,
    /// `Expect: 100-continue` (HTTP/1.1 only).
    pub expect_continue: bool,
    /// Bytes of the head, the empty line included.
    pub len: usize,
}

/// A response's head.
#[derive(Debug)]
pub struct ResponseHead<'b> {
    /// 100..=599, never 101.
    pub status: u16,
    /// Every field, in order.
    pub headers: Headers<'b>,
    /// Where the body ends, the request's method considered (HEAD, 1xx, 204, 304: none).
    pub framing: Framing,
    /// Whether the upstream keeps the connection.
    pub keep_alive: bool,
    /// Bytes of the head, the empty line included.
    pub len: usize,
}

impl<'b> RequestHead<'b> {
    /// All values of a field, in order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'b [u8]> + 's {
        fields::all(&self.headers, name)
    }

    /// The only value of a field; `None` when absent or repeated.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&'b [u8]> {
        fields::only(&self.headers, name)
    }
}

impl<'b> ResponseHead<'b> {
    /// All values of a field, in order.
    pub fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'b [u8]> + 's {
        fields::all(&self.headers, name)
    }

    /// The only value of a field; `None` when absent or repeated.
    #[must_use]
    pub fn only(&self, name: &str) -> Option<&'b [u8]> {
        fields::only(&self.headers, name)
    }
}

/// Whether `name` is a token, as field names and the parts of media types are (RFC 9110 §5.6.2).
#[must_use]
pub fn is_field_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(scan::is_tchar)
}

/// Why a head was refused. The text is fit for the peer: it quotes nothing of what the peer sent.
///
/// The client's fault in a request, the upstream's in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// No end of the head within the bound.
    #[error("the head is larger than the bound")]
    TooLarge,
    /// More fields than the bound.
    #[error("the head has too many fields")]
    TooManyHeaders,
    /// A CR without LF or a LF without CR.
    #[error("every line of the head must end in CRLF")]
    LineEnding,
    /// More than one empty line before the request.
    #[error("more than one empty line before the request line")]
    EmptyLines,
    /// Not `method SP target SP version`.
    #[error("the request line is malformed")]
    RequestLine,
    /// Not `version SP 3DIGIT SP reason`, or a status outside 100..=599.
    #[error("the status line is malformed")]
    StatusLine,
    /// Neither HTTP/1.0 nor HTTP/1.1.
    #[error("only HTTP/1.1 and HTTP/1.0 are served")]
    Version,
    /// HTTP/2's connection preface on an HTTP/1.1 port.
    #[error("HTTP/2 with prior knowledge is not served here; use HTTP/1.1")]
    Http2Preface,
    /// `Upgrade` to another protocol than h2c, or a 101 answer.
    #[error("upgrading to another protocol is not supported")]
    Upgrade,
    /// Empty, not a token, followed by white space, a folded line, or a framing field's name but for a mark
    /// (`Transfer_Encoding`).
    #[error("a field name is malformed")]
    HeaderName,
    /// A control byte in a value.
    #[error("a field value is malformed")]
    HeaderValue,
    /// Asterisk or authority form, an alien scheme, or a byte that no target has.
    #[error("the request target is malformed")]
    Target,
    /// `#` in the target.
    #[error("the request target has a fragment")]
    Fragment,
    /// No Host field.
    #[error("the Host field is missing")]
    HostMissing,
    /// Host more than once.
    #[error("the Host field is repeated")]
    HostRepeated,
    /// Host is not `uri-host [ ":" port ]`.
    #[error("the Host field is malformed")]
    HostInvalid,
    /// The absolute-form target names another authority than Host.
    #[error("the target's authority and the Host field differ")]
    HostMismatch,
    /// Content-Length more than once, equal or not.
    #[error("Content-Length is repeated")]
    LengthRepeated,
    /// Content-Length is not a plain decimal number.
    #[error("Content-Length is not a plain decimal number")]
    LengthInvalid,
    /// Both Content-Length and Transfer-Encoding.
    #[error("Content-Length and Transfer-Encoding exclude each other")]
    LengthAndTransferEncoding,
    /// Anything but one `chunked`.
    #[error("the only transfer coding is chunked")]
    TransferEncoding,
    /// Transfer-Encoding where it has no meaning: HTTP/1.0, 1xx, 204.
    #[error("Transfer-Encoding is not allowed here")]
    TransferEncodingForbidden,
    /// A length on an answer that has no body (1xx, 204).
    #[error("an answer without a body announces one")]
    LengthForbidden,
    /// `Expect` other than 100-continue.
    #[error("only Expect: 100-continue is understood")]
    Expectation,
}

impl HeadError {
    /// The reason a *request* with this fault is refused for. A response with one is
    /// [`Reason::UpstreamFraming`], whichever it is.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::TooLarge | Self::TooManyHeaders => Reason::HeadTooLarge,
            Self::LengthRepeated
            | Self::LengthInvalid
            | Self::LengthAndTransferEncoding
            | Self::TransferEncoding
            | Self::TransferEncodingForbidden
            | Self::LengthForbidden => Reason::AmbiguousFraming,
            Self::Fragment => Reason::AmbiguousPath,
            Self::Expectation => Reason::ExpectationFailed,
            Self::LineEnding
            | Self::EmptyLines
            | Self::RequestLine
            | Self::StatusLine
            | Self::Version
            | Self::Http2Preface
            | Self::Upgrade
            | Self::HeaderName
            | Self::HeaderValue
            | Self::Target
            | Self::HostMissing
            | Self::HostRepeated
            | Self::HostInvalid
            | Self::HostMismatch => Reason::MalformedRequest,
        }
    }
}
