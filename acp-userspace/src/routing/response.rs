//! Which of the upstream's header fields reach the client (THREATS A13): those on the list, nothing else.
//!
//! Always: `Content-Type`, `Retry-After`, `Mcp-Session-Id`, `MCP-Protocol-Version`; per route what the operator
//! lists; `Location` when it stays on the upstream, rewritten to where the client finds it; `Content-Encoding` when
//! the answer is not read. Everything else, cookies, CORS, HSTS and rate limits included, is for the gateway to say.
//! `Cache-Control: private, no-store` is added: answers are one user's. Framing is written by the server.

use super::headers::line;
use super::path::{NormalPath, query_is_sound};
use super::{RoutingError, table};
use crate::config::resolved::{Route, Upstream};
use crate::http::head::ResponseHead;

/// Passed from every upstream.
const ALWAYS: [&str; 4] = ["content-type", "retry-after", "mcp-session-id", "mcp-protocol-version"];

/// Writes the fields of an answer that go to the client, each line complete; on an error `out` is as it was.
///
/// # Errors
/// If the upstream refused the gateway's credentials (401, 407), its head has two readings, or the answer is to be
/// `screened` and comes in parts (206) or encoded.
pub fn write_response_headers(
    head: &ResponseHead<'_>,
    route: &Route,
    upstream: &Upstream,
    screened: bool,
    out: &mut Vec<u8>,
) -> Result<(), RoutingError> {
    match head.status {
        401 | 407 => return Err(RoutingError::UpstreamAuth),
        206 if screened => return Err(RoutingError::ResponseUnscannable),
        _ => {}
    }
    let start = out.len();
    let written = write_listed(head, route, upstream, screened, out);
    if written.is_err() {
        out.truncate(start);
    } else {
        out.extend_from_slice(b"cache-control: private, no-store\r\n");
    }
    written
}

fn write_listed(
    head: &ResponseHead<'_>,
    route: &Route,
    upstream: &Upstream,
    screened: bool,
    out: &mut Vec<u8>,
) -> Result<(), RoutingError> {
    let mut typed = false;
    for header in &head.headers {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let listed = ALWAYS.into_iter().chain(route.response_headers.iter().map(String::as_str)).find(|name| is(name));
        if is("content-type") && std::mem::replace(&mut typed, true) {
            return Err(RoutingError::UpstreamHead);
        }
        if is("content-encoding") {
            write_encoding(header.value, screened, route, out)?;
        } else if is("location") {
            write_location(header.value, route, upstream, out);
        } else if let Some(name) = listed {
            line(name.as_bytes(), header.value, out);
        }
    }
    Ok(())
}

/// An answer that is read comes as it is, or in a coding that its route takes and that is undone; else not at all.
fn write_encoding(value: &[u8], screened: bool, route: &Route, out: &mut Vec<u8>) -> Result<(), RoutingError> {
    let identity = value.is_empty() || value.eq_ignore_ascii_case(b"identity");
    let undone = || route.content_codings.iter().any(|coding| value.eq_ignore_ascii_case(coding.name().as_bytes()));
    if screened && !identity && !undone() {
        return Err(RoutingError::ResponseUnscannable);
    }
    if !identity && !screened {
        line(b"content-encoding", value, out);
    }
    Ok(())
}

/// Writes where the client finds what the upstream points to; nothing if that is not below this route.
fn write_location(value: &[u8], route: &Route, upstream: &Upstream, out: &mut Vec<u8>) {
    let Some((path, query)) = std::str::from_utf8(value).ok().and_then(|value| own_target(value, upstream)) else {
        return;
    };
    let Ok(path) = NormalPath::parse(path) else { return };
    let Some(rest) = below(path.as_str(), &upstream.base_path) else { return };
    let prefix = route.path.trim_end_matches('/');
    out.extend_from_slice(b"location: ");
    out.extend_from_slice(prefix.as_bytes());
    out.extend_from_slice(if rest.is_empty() && !prefix.is_empty() { b"" } else { b"/" });
    out.extend_from_slice(rest.as_bytes());
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

/// Path and query of a URL at the upstream itself: absolute with its authority, or a path from its root.
fn own_target<'v>(value: &'v str, upstream: &Upstream) -> Option<(&'v str, Option<&'v str>)> {
    let local = match value.split_once("://") {
        None if value.starts_with('/') && !value.starts_with("//") => value,
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => {
            let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
            let authority = &rest[..end];
            let authority = authority.strip_suffix(":80").unwrap_or(authority);
            authority.eq_ignore_ascii_case(&table::authority(upstream)).then(|| &rest[end..])?
        }
        _ => return None,
    };
    let (path, query) = match local.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (local, None),
    };
    query.is_none_or(query_is_sound).then_some((if path.is_empty() { "/" } else { path }, query))
}

/// What of a path lies below a base, by whole segments.
fn below<'p>(path: &'p str, base: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(base)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::head::{Framing, Header};
    use crate::policy::fixtures::{route, upstream};

    fn answer(status: u16, headers: &[(&'static str, &'static str)], screened: bool) -> Result<String, RoutingError> {
        let head = ResponseHead {
            status,
            headers: headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect(),
            framing: Framing::None,
            keep_alive: true,
            len: 0,
        };
        let mut route = route(0, "/tools/crm", &[], Vec::new());
        route.response_headers = vec!["etag".into()];
        let mut out = Vec::new();
        write_response_headers(&head, &route, &upstream("crm.internal", 8080, "/api"), screened, &mut out)?;
        Ok(String::from_utf8(out).unwrap().replace("cache-control: private, no-store\r\n", "+"))
    }

    #[track_caller]
    fn location(value: &'static str, expected: &str) {
        let expected = if expected.is_empty() { "+".to_owned() } else { format!("location: {expected}\r\n+") };
        assert_eq!(answer(302, &[("Location", value)], true).unwrap(), expected, "{value}");
    }

    #[test]
    fn threat_a13_only_listed_fields_pass() {
        let dropped = [
            ("Set-Cookie", "a=b"),
            ("WWW-Authenticate", "Basic"),
            ("Alt-Svc", "h3"),
            ("Clear-Site-Data", "*"),
            ("Strict-Transport-Security", "max-age=1"),
            ("Access-Control-Allow-Origin", "*"),
            ("RateLimit", "x"),
            ("RateLimit-Policy", "x"),
            ("x-acp-reason", "allowed"),
            ("Cache-Control", "public"),
            ("Connection", "etag"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "5"),
            ("Server", "x"),
            ("x-request-id", "forged"),
        ];
        assert_eq!(answer(200, &dropped, true).unwrap(), "+");
        let passed = [
            ("Content-Type", "a/b"),
            ("RETRY-AFTER", "3"),
            ("mcp-session-id", "s"),
            ("MCP-Protocol-Version", "v"),
            ("ETag", "e"),
        ];
        assert_eq!(
            answer(200, &passed, true).unwrap(),
            "content-type: a/b\r\nretry-after: 3\r\nmcp-session-id: s\r\nmcp-protocol-version: v\r\netag: e\r\n+"
        );
    }

    #[test]
    fn threat_a13_the_upstreams_own_authentication_trouble_is_not_the_clients() {
        assert_eq!(answer(401, &[], false), Err(RoutingError::UpstreamAuth));
        assert_eq!(answer(407, &[], false), Err(RoutingError::UpstreamAuth));
        assert!(answer(403, &[], false).is_ok());
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_refused_where_it_must_be() {
        assert_eq!(answer(206, &[], true), Err(RoutingError::ResponseUnscannable));
        assert_eq!(answer(200, &[("Content-Encoding", "gzip")], true), Err(RoutingError::ResponseUnscannable));
        assert_eq!(answer(200, &[("Content-Encoding", "identity")], true).unwrap(), "+");
        assert_eq!(answer(200, &[("Content-Encoding", "br")], false).unwrap(), "content-encoding: br\r\n+");
        let twice = [("Content-Type", "text/html"), ("Content-Type", "application/json")];
        assert_eq!(answer(200, &twice, true), Err(RoutingError::UpstreamHead));
    }

    #[test]
    fn a_location_is_rewritten_or_dropped() {
        location("/api/contacts/7?x=1", "/tools/crm/contacts/7?x=1");
        location("http://crm.internal:8080/api/contacts", "/tools/crm/contacts");
        location("HTTP://CRM.internal:8080/api", "/tools/crm");
        location("https://crm.internal:8080/api/contacts", "");
        location("http://crm.internal/api/contacts", "");
        location("http://evil.example/api/contacts", "");
        location("http://crm.internal:8080@evil.example/api/x", "");
        location("http://crm.internal:8080\\@evil.example/api/x", "");
        location("//evil.example/api/x", "");
        location("/\\evil.example/api", "");
        location("/elsewhere", "");
        location("/apiary", "");
        location("/api/../admin", "");
        location("contacts", "");
        location("javascript:alert(1)", "");
    }
}
