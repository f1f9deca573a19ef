//! Request targets (RFC 9112 §3.2) and authorities (RFC 3986 §3.2).

use std::net::Ipv6Addr;
use std::str::FromStr;

use super::HeadError;

/// A DNS name has at most 253 characters; with brackets and port nothing sensible is longer than this.
const HOST_BYTES_MAX: usize = 262;

/// A target, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// Only in absolute form.
    pub(super) authority: Option<&'b str>,
    /// Starts with `/`.
    pub(super) path: &'b str,
    /// Without `?`.
    pub(super) query: Option<&'b str>,
}

/// Splits an origin-form or absolute-form target.
///
/// # Errors
/// [`HeadError::Fragment`]; [`HeadError::Target`] for the other forms, an alien scheme, or bytes outside RFC 3986's
/// `pchar` and `/` in the path. A query may hold any visible ASCII (browsers leave `|{}[]` as they are there).
pub(super) fn parse(target: &str) -> Result<Target<'_>, HeadError> {
    if memchr::memchr(b'#', target.as_bytes()).is_some() {
        return Err(HeadError::Fragment);
    }
    let (authority, rest) = split_authority(target)?;
    let (path, query) = match memchr::memchr(b'?', rest.as_bytes()) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let path = if path.is_empty() && authority.is_some() { "/" } else { path };
    let plain = path.starts_with('/')
        && path.bytes().all(|byte| PATH[usize::from(byte)])
        && query.is_none_or(|query| query.bytes().all(|byte| byte.is_ascii_graphic()));
    if plain { Ok(Target { authority, path, query }) } else { Err(HeadError::Target) }
}

/// `http://authority` or `https://authority` in front of the path, if the target does not start with `/`.
fn split_authority(target: &str) -> Result<(Option<&str>, &str), HeadError> {
    if target.starts_with('/') {
        return Ok((None, target));
    }
    let (scheme, rest) = target.split_once("://").ok_or(HeadError::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(HeadError::Target);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    Ok((Some(&rest[..end]), &rest[end..]))
}

/// `uri-host [ ":" port ]` as text: an IPv6 literal in brackets, else letters, digits, `-`, `.`, `_`.
///
/// Narrower than RFC 3986's `reg-name` (no percent-encoding, no sub-delims): names that resolve need no more, and
/// `Host: x/#@evil` must not be one (CVE-2026-49468).
///
/// # Errors
/// [`HeadError::HostInvalid`].
pub(super) fn host(value: &[u8]) -> Result<&str, HeadError> {
    let text = std::str::from_utf8(value).map_err(|_| HeadError::HostInvalid)?;
    let (name, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (literal, port) = rest.split_once(']').ok_or(HeadError::HostInvalid)?;
            Ipv6Addr::from_str(literal).map_err(|_| HeadError::HostInvalid)?;
            ("v6", port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let name_ok =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    let port_ok = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            matches!(digits.len(), 1..=5) && digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
        });
    if name_ok && port_ok && text.len() <= HOST_BYTES_MAX { Ok(text) } else { Err(HeadError::HostInvalid) }
}

/// `pchar / "/"` (RFC 3986 §3.3); `%` stands for pct-encoded, whose digits normalisation checks.
const PATH: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let others = b"-._~%!$&'()*+,;=:@/";
    let mut i = 0;
    while i < others.len() {
        table[others[i] as usize] = true;
        i += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, expected: (Option<&str>, &str, Option<&str>)) {
        let (authority, path, query) = expected;
        assert_eq!(parse(target), Ok(Target { authority, path, query }), "{target:?}");
    }

    #[test]
    fn takes_origin_and_absolute_form_apart() {
        check("/", (None, "/", None));
        check("/a/b%20c?x=1&y={|}", (None, "/a/b%20c", Some("x=1&y={|}")));
        check("/a??", (None, "/a", Some("?")));
        check("http://h:8080/a?b", (Some("h:8080"), "/a", Some("b")));
        check("HTTP://h", (Some("h"), "/", None));
        check("https://h?q", (Some("h"), "/", Some("q")));
        check("//evil/a", (None, "//evil/a", None));
    }

    #[test]
    fn refuses_other_forms_and_bytes() {
        for bad in
            ["*", "example.com:443", "a", "?x", "ftp://h/", "http:/h", "/a b", "/caf\u{e9}", "/a\\b", "/a\"", "/{x}"]
        {
            assert_eq!(parse(bad), Err(HeadError::Target), "{bad:?}");
        }
        for bad in ["/a#b", "http://h/#", "/?#"] {
            assert_eq!(parse(bad), Err(HeadError::Fragment), "{bad:?}");
        }
    }

    #[test]
    fn accepts_names_and_literals_as_host() {
        for good in ["localhost", "localhost:8080", "a_b.example.com", "127.0.0.1:1", "[::1]", "[::1]:443"] {
            assert_eq!(host(good.as_bytes()), Ok(good));
        }
        let long = "a".repeat(HOST_BYTES_MAX + 1);
        let bad = [
            "", ":80", "h:", "h:65536", "h:000001", "h:+1", "h/p", "u@h", "h, h", "x/#@evil", "[::1", "[v6]", "[::1]x",
        ];
        for bad in bad.into_iter().chain(["h%41", "a b", "caf\u{e9}", &long]) {
            assert_eq!(host(bad.as_bytes()), Err(HeadError::HostInvalid), "{bad:?}");
        }
    }
}
