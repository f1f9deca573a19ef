//! The one reading of a request's path (RFC 3986 §§3.3, 6.2.2): what is matched is what is sent.
//!
//! A raw path either normalises to a [`NormalPath`] or is refused; nothing is repaired. Percent-encoding is decoded
//! once and only where that cannot change meaning: unreserved characters lose it, everything else keeps it in upper
//! case. Refused, because two servers read them in two ways: `.` and `..` segments in any spelling, empty segments,
//! `\`, `;` (path parameters), `%` that begins no triplet, an encoded `/`, `\`, `;` or control character, a second
//! layer of encoding (`%252e`), bytes that are not UTF-8 once decoded, `#`, and anything RFC 3986 does not allow in
//! a path. One slash at the end is dropped: `/a/` and `/a` are one route, and neither skips a check of the other.

use std::borrow::Cow;

/// Longest path, in bytes as sent: half the head's usual bound.
pub const PATH_BYTES_MAX: usize = 4_096;

/// A path in its only spelling: `/`, or segments each after a `/`, none of them empty or dots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath<'r>(Cow<'r, str>);

/// Why a path has more than one reading, or none. The client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// More than [`PATH_BYTES_MAX`] bytes.
    #[error("the path is too long")]
    TooLong,
    /// A `.` or `..` segment, encoded or not.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `//`.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A character that a path may not have, or that servers read differently.
    #[error("the path has a character that is not allowed")]
    Forbidden,
    /// `%` without two hex digits, or a second layer of encoding.
    #[error("the path has ambiguous percent-encoding")]
    PercentEncoding,
    /// The decoded bytes are not UTF-8.
    #[error("the path is not UTF-8")]
    NotUtf8,
}

impl<'r> NormalPath<'r> {
    /// Normalises a raw path; borrows it when it already is normal, which is the usual case.
    ///
    /// # Errors
    /// If it has not exactly one reading.
    pub fn parse(raw: &'r str) -> Result<Self, PathError> {
        if raw.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        let mut path: Cow<'r, str> =
            if raw.bytes().all(is_plain) { Cow::Borrowed(raw) } else { Cow::Owned(decode(raw.as_bytes())?) };
        if path.len() > 1 && path.ends_with('/') && !path.ends_with("//") {
            match &mut path {
                Cow::Borrowed(path) => *path = &path[..path.len() - 1],
                Cow::Owned(path) => _ = path.pop(),
            }
        }
        check_segments(&path)?;
        Ok(Self(path))
    }

    /// The path as matched and sent.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that stand for themselves and need no second look: `pchar` of RFC 3986 §3.3 without `%` and `;`.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        plain[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"/-._~!$&'()*+,=:@";
    let mut at = 0;
    while at < others.len() {
        plain[others[at] as usize] = true;
        at += 1;
    }
    plain
};

fn is_plain(byte: u8) -> bool {
    PLAIN[usize::from(byte)]
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn decode(raw: &[u8]) -> Result<String, PathError> {
    let mut normal = String::with_capacity(raw.len());
    // Decoded bytes of the current run of triplets, judged as UTF-8 together.
    let mut run = Vec::new();
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        if byte == b'%' {
            run.push(triplet(raw, at)?);
            at += 3;
            continue;
        }
        flush(&mut run, &mut normal)?;
        if !is_plain(byte) {
            return Err(PathError::Forbidden);
        }
        normal.push(char::from(byte));
        at += 1;
    }
    flush(&mut run, &mut normal)?;
    if second_layer(&normal) { Err(PathError::PercentEncoding) } else { Ok(normal) }
}

fn triplet(raw: &[u8], at: usize) -> Result<u8, PathError> {
    let digit = |at: usize| raw.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else { return Err(PathError::PercentEncoding) };
    u8::try_from(high * 16 + low).map_err(|_| PathError::PercentEncoding)
}

/// Writes a run of triplets.
fn flush(run: &mut Vec<u8>, normal: &mut String) -> Result<(), PathError> {
    if run.is_empty() {
        return Ok(());
    }
    let text = std::str::from_utf8(run).map_err(|_| PathError::NotUtf8)?;
    if text.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ';')) {
        return Err(PathError::Forbidden);
    }
    for &byte in run.iter() {
        push(byte, normal);
    }
    run.clear();
    Ok(())
}

/// Whether an encoded `%` is followed by two hex digits in normal form: someone else's triplet. Looked for in what comes
/// out, because the digits may be encoded in turn, each in its own way: `%252%65`.
fn second_layer(normal: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_hexdigit();
    normal.as_bytes().windows(5).any(|five| five.starts_with(b"%25") && hex(five[3]) && hex(five[4]))
}

fn push(byte: u8, normal: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    if is_unreserved(byte) {
        normal.push(char::from(byte));
    } else {
        normal.push('%');
        normal.push(char::from(HEX[usize::from(byte >> 4)]));
        normal.push(char::from(HEX[usize::from(byte & 15)]));
    }
}

fn check_segments(path: &str) -> Result<(), PathError> {
    if path == "/" {
        return Ok(());
    }
    for segment in path[1..].split('/') {
        match segment {
            "" => return Err(PathError::EmptySegment),
            "." | ".." => return Err(PathError::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// Whether a query may be sent on as it is: RFC 3986 §3.4's characters, and those that clients commonly leave
/// unencoded although it asks for encoding; never `#`, white space, control characters or bytes beyond ASCII.
pub(super) fn query_is_sound(query: &str) -> bool {
    query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(raw: &str, expected: Result<&str, PathError>) {
        assert_eq!(NormalPath::parse(raw).as_ref().map(NormalPath::as_str), expected.as_ref().copied(), "{raw}");
    }

    #[test]
    fn one_spelling_comes_out() {
        check("/", Ok("/"));
        check("/tools/crm/contacts", Ok("/tools/crm/contacts"));
        check("/tools/crm/", Ok("/tools/crm"));
        check("/%74ools/%7Euser", Ok("/tools/~user"));
        check("/a%20b", Ok("/a%20b"));
        check("/caf%c3%a9", Ok("/caf%C3%A9"));
        check("/a:b@c!$&'()*+,=", Ok("/a:b@c!$&'()*+,="));
        check("/a%3Fb%23c", Ok("/a%3Fb%23c"));
        check("/100%25", Ok("/100%25"));
        check("/...", Ok("/..."));
        check("/.well-known/x", Ok("/.well-known/x"));
    }

    #[test]
    fn dot_segments_are_refused_in_any_spelling() {
        for raw in
            ["/a/../b", "/a/./b", "/..", "/a/..", "/../", "/%2e%2e/b", "/a/%2E%2e", "/.%2e/b", "/%2e/b", "/a/%2e/"]
        {
            check(raw, Err(PathError::DotSegment));
        }
    }

    #[test]
    fn what_two_servers_could_read_in_two_ways_is_refused() {
        check("", Err(PathError::NotAbsolute));
        check("*", Err(PathError::NotAbsolute));
        check("tools", Err(PathError::NotAbsolute));
        check("http://evil/", Err(PathError::NotAbsolute));
        check("//", Err(PathError::EmptySegment));
        check("//evil/x", Err(PathError::EmptySegment));
        check("/a//b", Err(PathError::EmptySegment));
        check("/a//", Err(PathError::EmptySegment));
        check("/a%2fb", Err(PathError::Forbidden));
        check("/a%2Fb", Err(PathError::Forbidden));
        check("/a%5cb", Err(PathError::Forbidden));
        check("/a\\b", Err(PathError::Forbidden));
        check("/a;x=1", Err(PathError::Forbidden));
        check("/..;/b", Err(PathError::Forbidden));
        check("/a%3Bx", Err(PathError::Forbidden));
        check("/a%00", Err(PathError::Forbidden));
        check("/a%0d%0aX", Err(PathError::Forbidden));
        check("/a%7f", Err(PathError::Forbidden));
        check("/a%c2%85", Err(PathError::Forbidden));
        check("/a#b", Err(PathError::Forbidden));
        check("/a?b", Err(PathError::Forbidden));
        check("/a b", Err(PathError::Forbidden));
        check("/é", Err(PathError::Forbidden));
        check("/a%", Err(PathError::PercentEncoding));
        check("/a%2", Err(PathError::PercentEncoding));
        check("/a%zz", Err(PathError::PercentEncoding));
        check("/%252e%252e/b", Err(PathError::PercentEncoding));
        check("/%25%32e", Err(PathError::PercentEncoding));
        check("/%25%32%65", Err(PathError::PercentEncoding));
        check("/%252%65%252%65/b", Err(PathError::PercentEncoding));
        check("/%25%32e%252%45/b", Err(PathError::PercentEncoding));
        check("/%c0%ae%c0%ae/b", Err(PathError::NotUtf8));
        check("/%ff", Err(PathError::NotUtf8));
        check("/%c3/%a9", Err(PathError::NotUtf8));
        check(&format!("/{}", "a".repeat(PATH_BYTES_MAX)), Err(PathError::TooLong));
    }

    #[test]
    fn a_query_is_visible_ascii() {
        assert!(query_is_sound("a=1&filter[b]=c%20d"));
        assert!(
            !query_is_sound("a=1 2") && !query_is_sound("a#b") && !query_is_sound("é") && !query_is_sound("a\r\nb")
        );
    }

    proptest! {
        /// Whatever comes in: no panic; what comes out is in its only spelling and holds no way up or around.
        #[test]
        fn normal_paths_are_fixed_points(raw in "/[a-c./%25eEfF;\\\\ 0-9é]{0,24}") {
            if let Ok(path) = NormalPath::parse(&raw) {
                let text = path.as_str();
                prop_assert_eq!(NormalPath::parse(text).map(|again| again.as_str().to_owned()), Ok(text.to_owned()));
                prop_assert!(text.split('/').all(|segment| segment != "." && segment != ".."));
                prop_assert!(!text.contains("//") && !text.contains("%2F") && !text.contains("%5C"));
                prop_assert!(text.len() <= raw.len());
            }
        }

        #[test]
        fn any_string_is_answered(raw: String) {
            let _ = NormalPath::parse(&raw);
        }
    }
}
