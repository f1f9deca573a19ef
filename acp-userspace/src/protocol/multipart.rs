//! `multipart/form-data` (RFC 7578, RFC 2046 §5.1.1), read strictly: two readers must not see two forms in one body.
//!
//! A body is its parts and the delimiters between them, nothing else: no preamble, no epilogue but a line end, no blanks
//! behind a delimiter. The boundary stands nowhere but in delimiters, which are lines of their own, ended by CRLF. Each
//! part has one `Content-Disposition: form-data` with a name, at most one `Content-Type`, and no transfer encoding
//! (RFC 7578 §4.7), so that its content is its bytes.

use std::ops::Range;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

/// Parts of one form: forms of people have a few dozen fields.
pub const PARTS_MAX: usize = 256;
/// Fields of one part, and bytes of them all.
const FIELDS_MAX: usize = 16;
const HEAD_BYTES_MAX: usize = 4096;
/// RFC 2046 §5.1.1.
const BOUNDARY_BYTES_MAX: usize = 70;

/// Why a body is no form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// Content-Type names no boundary, several, or one that cannot be.
    #[error("Content-Type has no proper boundary")]
    Boundary,
    /// The closing delimiter never comes.
    #[error("the closing boundary is missing")]
    Unclosed,
    /// Something stands before the first delimiter, behind the last, or beside one; or the boundary in a part.
    #[error("the boundary stands where no delimiter can")]
    Delimiter,
    /// A part's fields are malformed, too many or too long.
    #[error("a part's fields are malformed")]
    Head,
    /// A part has no single `Content-Disposition: form-data` with one name.
    #[error("a part has no name")]
    Disposition,
    /// A part is in a transfer encoding or a charset that hides its text.
    #[error("a part is encoded")]
    Encoded,
    /// More than [`PARTS_MAX`] parts.
    #[error("too many parts")]
    TooMany,
}

/// A part; places are in the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its content.
    pub content: Range<usize>,
    /// What its content is.
    pub kind: PartKind,
}

/// What a part's Content-Type says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// Text, as all parts without a Content-Type are.
    Text,
    /// JSON.
    Json,
    /// Anything else.
    Other,
}

/// The boundary that a Content-Type names.
///
/// # Errors
/// [`MultipartError::Boundary`].
pub fn boundary(content_type: &str) -> Result<&str, MultipartError> {
    let mut found = None;
    for parameter in content_type.split(';').skip(1) {
        let (name, value) = parameter.split_once('=').ok_or(MultipartError::Boundary)?;
        if name.trim().eq_ignore_ascii_case("boundary") && found.replace(unquoted(value.trim())).is_some() {
            return Err(MultipartError::Boundary);
        }
    }
    let is_ours = |boundary: &&str| {
        (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
            && !boundary.ends_with(' ')
            && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte))
    };
    found.filter(is_ours).ok_or(MultipartError::Boundary)
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

/// The parts of a body.
///
/// # Errors
/// [`MultipartError`].
pub fn parts(body: &[u8], boundary: &str) -> Result<Vec<Part>, MultipartError> {
    let delimiter = [b"--", boundary.as_bytes()].concat();
    let (mut parts, mut start) = (Vec::new(), None);
    for at in memchr::memmem::find_iter(body, &delimiter) {
        let end = at + delimiter.len();
        match start {
            None if at == 0 => {}
            Some(start) if body[..at].ends_with(b"\r\n") && at >= start + 2 => {
                parts.push(part(body, start..at - 2)?);
            }
            _ => return Err(MultipartError::Delimiter),
        }
        if parts.len() > PARTS_MAX {
            return Err(MultipartError::TooMany);
        }
        match &body[end..] {
            [b'\r', b'\n', ..] => start = Some(end + 2),
            b"--" | b"--\r\n" if start.is_some() => return Ok(parts),
            _ => return Err(MultipartError::Delimiter),
        }
    }
    Err(MultipartError::Unclosed)
}

fn part(body: &[u8], span: Range<usize>) -> Result<Part, MultipartError> {
    let bytes = &body[span.clone()];
    let end =
        memchr::memmem::find(bytes, b"\r\n\r\n").filter(|end| *end <= HEAD_BYTES_MAX).ok_or(MultipartError::Head)?;
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| MultipartError::Head)?;
    let (mut named, mut kind) = (false, None);
    for (i, line) in head.split("\r\n").enumerate() {
        let (name, value) = line.split_once(':').ok_or(MultipartError::Head)?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if i == FIELDS_MAX || name.is_empty() || !name.bytes().all(is_name) || line.contains(['\r', '\n', '\0']) {
            return Err(MultipartError::Head);
        }
        if name.eq_ignore_ascii_case("content-disposition") {
            if std::mem::replace(&mut named, true) || !is_form_data(value) {
                return Err(MultipartError::Disposition);
            }
        } else if name.eq_ignore_ascii_case("content-type") {
            if kind.replace(kind_of(value)?).is_some() {
                return Err(MultipartError::Head);
            }
        } else if name.eq_ignore_ascii_case("content-transfer-encoding")
            && !["7bit", "8bit", "binary"].iter().any(|plain| value.trim().eq_ignore_ascii_case(plain))
        {
            return Err(MultipartError::Encoded);
        }
    }
    let content = span.start + end + 4..span.end;
    if named { Ok(Part { content, kind: kind.unwrap_or(PartKind::Text) }) } else { Err(MultipartError::Disposition) }
}

/// Whether a disposition is `form-data` with exactly one name. What it is called is screened with the rest of the body.
fn is_form_data(value: &str) -> bool {
    let mut parameters = value.split(';').map(str::trim);
    let is_form = parameters.next().is_some_and(|kind| kind.eq_ignore_ascii_case("form-data"));
    let names = parameters.filter(|parameter| {
        parameter.split_once('=').is_some_and(|(name, _)| name.trim().eq_ignore_ascii_case("name"))
    });
    is_form && names.count() == 1
}

fn kind_of(value: &str) -> Result<PartKind, MultipartError> {
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    for parameter in parts {
        let (name, charset) = parameter.split_once('=').unwrap_or((parameter, ""));
        let plain =
            ["utf-8", "utf8", "us-ascii"].iter().any(|plain| unquoted(charset.trim()).eq_ignore_ascii_case(plain));
        if name.trim().eq_ignore_ascii_case("charset") && !plain {
            return Err(MultipartError::Encoded);
        }
    }
    Ok(match essence.as_str() {
        "application/json" => PartKind::Json,
        json if json.ends_with("+json") => PartKind::Json,
        text if text.starts_with("text/") => PartKind::Text,
        other if other.starts_with("multipart/") => return Err(MultipartError::Encoded),
        _ => PartKind::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contents of a body's parts; `~` stands for CRLF.
    #[track_caller]
    fn check(body: &str, expected: Result<&[(&str, PartKind)], MultipartError>) {
        let body = body.replace('~', "\r\n");
        let found = parts(body.as_bytes(), "b");
        let found: Result<Vec<_>, _> =
            found.map(|parts| parts.into_iter().map(|part| (&body[part.content], part.kind)).collect());
        assert_eq!(found.as_deref().map_err(|error| *error), expected, "{body:?}");
    }

    #[test]
    fn parts_are_what_stands_between_the_delimiters() {
        use PartKind::{Json, Other, Text};
        let named = "Content-Disposition: form-data; name=\"a\"";
        check(&format!("--b~{named}~~1~--b--"), Ok(&[("1", Text)]));
        check(&format!("--b~{named}~~~--b--~"), Ok(&[("", Text)]));
        check(
            &format!(
                "--b~content-type: application/json~{named}~~{{}}~--b~{named}; filename=\"x\"~Content-Type: image/png~~\0~\n-b~--b--"
            ),
            Ok(&[("{}", Json), ("\0\r\n\n-b", Other)]),
        );
    }

    #[test]
    fn a_form_that_two_readers_could_read_differently_is_none() {
        use MultipartError::{Delimiter, Disposition, Encoded, Head, Unclosed};
        let named = "Content-Disposition: form-data; name=\"a\"";
        check("", Err(Unclosed));
        check(&format!("--b~{named}~~1~"), Err(Unclosed));
        check("--b--", Err(Delimiter));
        check(&format!("x~--b~{named}~~1~--b--"), Err(Delimiter));
        check(&format!("--b~{named}~~1~--b--~x"), Err(Delimiter));
        check(&format!("--b ~{named}~~1~--b--"), Err(Delimiter));
        check(&format!("--b\n{named}~~1~--b--"), Err(Delimiter));
        check(&format!("--b~{named}~~1\n--b--"), Err(Delimiter));
        check(&format!("--b~{named}~~1--b~--b--"), Err(Delimiter));
        check(&format!("--b~{named}~~1~--bc~--b--"), Err(Delimiter));
        check(&format!("--b~{named}~1~--b--"), Err(Head));
        check(&format!("--b~{named}~ folded: 1~~1~--b--"), Err(Head));
        check("--b~~1~--b--", Err(Head));
        check("--b~Content-Type: text/plain~~1~--b--", Err(Disposition));
        check(&format!("--b~{named}~{named}~~1~--b--"), Err(Disposition));
        check(&format!("--b~{named}; name=b~~1~--b--"), Err(Disposition));
        check("--b~Content-Disposition: attachment; name=a~~1~--b--", Err(Disposition));
        check(&format!("--b~{named}~Content-Transfer-Encoding: base64~~1~--b--"), Err(Encoded));
        check(&format!("--b~{named}~Content-Type: text/plain; charset=utf-7~~1~--b--"), Err(Encoded));
        check(&format!("--b~{named}~Content-Type: multipart/mixed~~1~--b--"), Err(Encoded));
        check(&(format!("--b~{named}~~1~").repeat(PARTS_MAX + 1) + "--b--"), Err(MultipartError::TooMany));
    }

    #[test]
    fn a_boundary_is_named_once_and_properly() {
        assert_eq!(boundary("multipart/form-data; boundary=abc"), Ok("abc"));
        assert_eq!(boundary("multipart/form-data; charset=utf-8; BOUNDARY=\"a b\""), Ok("a b"));
        for other in ["", "; boundary=", "; boundary=a; boundary=b", "; boundary=\"a \"", "; boundary=a\u{e9}", "; x"] {
            assert_eq!(boundary(&format!("multipart/form-data{other}")), Err(MultipartError::Boundary), "{other}");
        }
        assert!(boundary(&format!("m/f; boundary={}", "a".repeat(71))).is_err());
    }
}
