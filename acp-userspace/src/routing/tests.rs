//! Routing as its callers see it: a head in, an upstream head out.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::config::resolved::{Protocol, Secret, ToolMatch};
use crate::http::head::{Framing, Header};
use crate::identity::Identity;
use crate::policy::Permitted;
use crate::policy::fixtures::{http_tool, identity, screened, tool, upstream};
use crate::safety::Edit;

fn head<'b>(method: &'b str, path: &'b str, headers: &[(&'b str, &'b str)]) -> RequestHead<'b> {
    RequestHead {
        method,
        path,
        query: None,
        host: "gateway.example",
        http11: true,
        headers: headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect(),
        framing: Framing::None,
        keep_alive: true,
        expect_continue: false,
        len: 0,
    }
}

/// Routes as configured by the test, longest path first.
fn table(routes: Vec<Route>, upstreams: Vec<Upstream>) -> RouteTable {
    let routes: Vec<_> = routes.into_iter().map(Arc::new).collect();
    let upstreams: Vec<_> = upstreams.into_iter().map(Arc::new).collect();
    RouteTable::compile(&routes, &upstreams, 1).unwrap_or_else(|mistakes| panic!("{mistakes:?}"))
}

fn crm_tools() -> Vec<Arc<Tool>> {
    vec![
        http_tool(0, "crm/contacts", "read", "POST", "contacts"),
        http_tool(1, "crm/contact", "read", "GET", "contacts/*"),
        http_tool(2, "crm/me", "read", "GET", "contacts/me"),
        http_tool(3, "crm/notes", "read", "GET", "contacts/*/notes"),
        http_tool(4, "crm/my-notes", "read", "GET", "contacts/me/*"),
    ]
}

fn crm() -> RouteTable {
    let routes = vec![
        crate::policy::fixtures::route(0, "/tools/crm/admin", &["admin"], Vec::new()),
        crate::policy::fixtures::route(1, "/tools/crm", &["tool:crm:read", "tool:crm:write"], crm_tools()),
        crate::policy::fixtures::route(2, "/tools", &[], vec![http_tool(5, "root/x", "read", "GET", "")]),
    ];
    table(routes, vec![upstream("crm.internal", 8080, "/api/crm")])
}

fn alice() -> Arc<Identity> {
    identity("auth0|8f3a2b1c", &["tool:crm:read", "tool:jira:write"], &[], json!({}))
}

const ID: RequestId = RequestId([7; 12]);

/// The upstream head, without its trace line.
fn sent(
    table: &RouteTable,
    who: &Arc<Identity>,
    head: &RequestHead<'_>,
    outgoing: Outgoing,
    edits: Vec<Edit>,
) -> String {
    let target = Target::find(table, head).unwrap();
    let admitted = Admitted::for_test(Permitted::for_test(screened(who, Vec::new(), edits)));
    let mut out = b"kept ".to_vec();
    let routed = route(admitted, &target, head, outgoing, &mut out);
    assert_ne!(routed.trace(), [0; 16]);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_prefix("kept ").unwrap();
    let lines = text.split_inclusive("\r\n").filter(|line| !line.starts_with("traceparent: "));
    lines.collect()
}

const PLAIN: Outgoing = Outgoing { request_id: ID, body: None, screen_response: false };

#[test]
fn the_backend_receives_the_request_with_the_verified_identity() {
    let head = head(
        "POST",
        "/tools/crm/contacts",
        &[
            ("Host", "gateway.example"),
            ("Authorization", "Bearer eyJ.secret"),
            ("Content-Type", "application/json"),
            ("Content-Length", "999"),
            ("X-User-Uid", "forged"),
            ("x.user.org", "forged"),
            ("x_user_scope", "forged"),
            ("X-Request-Id", "forged"),
            ("Cookie", "session=1"),
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("Accept-Encoding", "gzip"),
            ("Range", "bytes=0-"),
            ("Expect", "100-continue"),
            ("Transfer-Encoding", "chunked"),
            ("Upgrade", "h2c"),
        ],
    );
    let outgoing = Outgoing { body: Some(42), screen_response: true, ..PLAIN };
    assert_eq!(
        sent(&crm(), &alice(), &head, outgoing, Vec::new()),
        "POST /api/crm/contacts HTTP/1.1\r\n\
         host: crm.internal:8080\r\n\
         Content-Type: application/json\r\n\
         accept-encoding: identity\r\n\
         content-length: 42\r\n\
         x-user-uid: auth0|8f3a2b1c\r\n\
         x-user-org: org_acme\r\n\
         x-user-scope: tool:crm:read\r\n\
         x-request-id: req_070707070707070707070707\r\n\r\n"
    );
}

#[test]
fn scopes_are_the_tokens_within_the_routes_and_absent_if_none_is_left() {
    let table = crm();
    let text = sent(&table, &alice(), &head("GET", "/tools/crm/admin", &[]), PLAIN, Vec::new());
    assert!(!text.contains("x-user-scope"), "{text}");
    let text = sent(&table, &alice(), &head("GET", "/tools", &[]), PLAIN, Vec::new());
    assert!(text.contains("x-user-scope: tool:crm:read tool:jira:write\r\n"), "{text}");
    let none = identity("a", &[], &[], json!({}));
    assert!(!sent(&table, &none, &head("GET", "/tools", &[]), PLAIN, Vec::new()).contains("x-user-scope"));
}

#[test]
fn threat_a13_nothing_named_in_connection_takes_our_fields_away() {
    let head =
        head("GET", "/tools", &[("Connection", "x-user-uid, X-Request-Id, content-length, accept"), ("Accept", "a")]);
    let text = sent(&crm(), &alice(), &head, PLAIN, Vec::new());
    assert!(text.contains("x-user-uid: auth0|8f3a2b1c\r\n") && text.contains("x-request-id: "), "{text}");
    assert!(!text.contains("Accept"), "{text}");
    let names: Vec<_> = (0..=CONNECTION_NAMES_MAX).map(|i| format!("n{i}")).collect();
    let names = names.join(",");
    let many = super::tests::head("GET", "/tools", &[("Connection", &names)]);
    assert_eq!(Target::find(&crm(), &many).unwrap_err(), RoutingError::Connection);
}

#[test]
fn an_identity_cannot_write_fields() {
    let evil = identity("a\r\nx-user-org: other", &["s"], &[], json!({}));
    let text = sent(&crm(), &evil, &head("GET", "/tools", &[]), PLAIN, Vec::new());
    assert!(text.contains("x-user-uid: a%0D%0Ax-user-org:%20other\r\nx-user-org: org_acme\r\n"), "{text}");
}

#[test]
fn threat_a07_several_issuers_are_told_apart() {
    let routes = [Arc::new(crate::policy::fixtures::route(0, "/a", &[], Vec::new()))];
    let table = RouteTable::compile(&routes, &[Arc::new(upstream("h", 80, ""))], 2).unwrap();
    let text = sent(&table, &alice(), &head("GET", "/a", &[]), PLAIN, Vec::new());
    assert!(text.contains("x-user-issuer: idp\r\n"), "{text}");
}

#[test]
fn credentials_are_the_upstreams() {
    let with = |credentials| {
        let mut upstream = upstream("h", 80, "");
        upstream.credentials = credentials;
        table(vec![crate::policy::fixtures::route(0, "/a", &[], Vec::new())], vec![upstream])
    };
    let head = head("GET", "/a", &[("authorization", "Bearer client"), ("X-Api.Key", "client")]);
    let text = sent(&with(Credentials::Forward), &alice(), &head, PLAIN, Vec::new());
    assert!(text.contains("authorization: Bearer client\r\n"));

    let service = |header: &str| Credentials::Service {
        header: header.into(),
        value: Secret::new(b"Bearer service".to_vec()),
        file: "key".into(),
    };
    let text = sent(&with(service("authorization")), &alice(), &head, PLAIN, Vec::new());
    assert!(text.contains("authorization: Bearer service\r\n") && !text.contains("Bearer client"));
    let text = sent(&with(service("x-api-key")), &alice(), &head, PLAIN, Vec::new());
    assert!(text.contains("x-api-key: Bearer service\r\n") && !text.contains("client\r\n"), "{text}");
}

#[test]
fn cookies_and_encodings_pass_where_the_route_lets_them() {
    let mut route = crate::policy::fixtures::route(0, "/a", &[], Vec::new());
    route.cookies = true;
    let table = table(vec![route], vec![upstream("2001:db8::1", 8080, "")]);
    let head = head("GET", "/a/", &[("Cookie", "a=b"), ("Accept-Encoding", "br"), ("Content-Digest", "x")]);
    let text = sent(&table, &alice(), &head, PLAIN, Vec::new());
    assert!(text.starts_with(
        "GET / HTTP/1.1\r\nhost: [2001:db8::1]:8080\r\nCookie: a=b\r\nAccept-Encoding: br\r\nContent-Digest: x\r\n"
    ));
    let edit = Edit { range: 0..1, bytes: Vec::new(), pointer: None };
    assert!(!sent(&table, &alice(), &head, PLAIN, vec![edit]).contains("Content-Digest"));
}

#[test]
fn a_body_that_is_missing_has_length_0_where_one_is_usual() {
    let table = crm();
    assert!(sent(&table, &alice(), &head("POST", "/tools", &[]), PLAIN, Vec::new()).contains("content-length: 0\r\n"));
    assert!(!sent(&table, &alice(), &head("DELETE", "/tools", &[]), PLAIN, Vec::new()).contains("content-length"));
    let full = Outgoing { body: Some(u64::MAX), ..PLAIN };
    assert!(
        sent(&table, &alice(), &head("GET", "/tools", &[]), full, Vec::new())
            .contains("content-length: 18446744073709551615\r\n")
    );
}

/// Route name, rest and tool of a request.
#[track_caller]
fn find(method: &str, path: &str, expected: Result<(&str, &str, Option<&str>), RoutingError>) {
    let table = crm();
    let head = head(method, path, &[]);
    let target = Target::find(&table, &head);
    let found =
        target.as_ref().map(|target| (&*target.route().name, target.rest(), target.tool().map(|tool| &*tool.name)));
    assert_eq!(found.map_err(|error| *error), expected, "{method} {path}");
}

#[test]
fn the_longest_whole_segment_prefix_is_the_route() {
    find("GET", "/tools/crm/admin/x", Ok(("/tools/crm/admin", "x", None)));
    find("GET", "/tools/crm/administrator", Ok(("/tools/crm", "administrator", None)));
    find("GET", "/tools/crmx", Ok(("/tools", "crmx", None)));
    find("GET", "/tools", Ok(("/tools", "", Some("root/x"))));
    find("GET", "/toolsx", Err(RoutingError::UnknownRoute));
    find("GET", "/", Err(RoutingError::UnknownRoute));
}

#[test]
fn a_trailing_slash_skips_nothing() {
    find("POST", "/tools/crm/contacts/", Ok(("/tools/crm", "contacts", Some("crm/contacts"))));
    find("GET", "/tools/crm/admin/", Ok(("/tools/crm/admin", "", None)));
    find("POST", "/tools/crm/contacts//", Err(RoutingError::Path(PathError::EmptySegment)));
}

#[test]
fn no_spelling_of_a_path_reaches_another_route_or_tool() {
    find("GET", "/tools/crm/contacts/%2e%2e/admin", Err(RoutingError::Path(PathError::DotSegment)));
    find("GET", "/tools/crm/contacts/..%2fadmin", Err(RoutingError::Path(PathError::Forbidden)));
    find("GET", "/tools/crm/%61dmin", Ok(("/tools/crm/admin", "", None)));
    find("GET", "/tools/crm/ADMIN", Ok(("/tools/crm", "ADMIN", None)));
    find("POST", "/tools/crm/CONTACTS", Ok(("/tools/crm", "CONTACTS", None)));
}

#[test]
fn threat_a15_what_is_not_listed_is_no_tool() {
    for name in ["toString", "constructor", "__proto__", "hasOwnProperty", "", "*"] {
        let path = format!("/tools/crm/{name}");
        let table = crm();
        let head = head("POST", &path, &[]);
        assert!(Target::find(&table, &head).unwrap().tool().is_none(), "{name}");
    }
    find("GET", "/tools/crm/contacts", Ok(("/tools/crm", "contacts", None)));
    find("post", "/tools/crm/contacts", Err(RoutingError::Method));
    for method in ["CONNECT", "TRACE", "PROPFIND", "GETX", ""] {
        find(method, "/tools", Err(RoutingError::Method));
    }
}

#[test]
fn the_most_literal_pattern_wins() {
    find("GET", "/tools/crm/contacts/7", Ok(("/tools/crm", "contacts/7", Some("crm/contact"))));
    find("GET", "/tools/crm/contacts/me", Ok(("/tools/crm", "contacts/me", Some("crm/me"))));
    find("GET", "/tools/crm/contacts/7/notes", Ok(("/tools/crm", "contacts/7/notes", Some("crm/notes"))));
    find("GET", "/tools/crm/contacts/me/notes", Ok(("/tools/crm", "contacts/me/notes", Some("crm/my-notes"))));
    find("GET", "/tools/crm/contacts/7/notes/1", Ok(("/tools/crm", "contacts/7/notes/1", None)));
}

#[test]
fn mcp_tools_are_known_by_their_exact_name() {
    let mut route = crate::policy::fixtures::route(
        0,
        "/mcp",
        &[],
        vec![tool(0, "crm/find", "read", ToolMatch::Mcp { name: "find".into() })],
    );
    route.protocol = Protocol::Mcp;
    let table = table(vec![route], vec![upstream("h", 80, "/mcp")]);
    let head = head("POST", "/mcp", &[]);
    let target = Target::find(&table, &head).unwrap();
    assert!(target.mcp_tool("find").is_some() && target.tool().is_none());
    for name in ["Find", "find ", "fin", "toString", "crm/find", ""] {
        assert!(target.mcp_tool(name).is_none(), "{name:?}");
    }
}

#[test]
fn a_query_goes_on_as_it_is_or_not_at_all() {
    let table = crm();
    let mut head = head("GET", "/tools", &[]);
    head.query = Some("a=1&b=%20");
    assert!(sent(&table, &alice(), &head, PLAIN, Vec::new()).starts_with("GET /api/crm?a=1&b=%20 HTTP/1.1\r\n"));
    head.query = Some("a b");
    assert_eq!(Target::find(&table, &head).unwrap_err(), RoutingError::Query);
}

#[test]
fn all_mistakes_of_a_table_are_reported() {
    let mut route = crate::policy::fixtures::route(
        0,
        "/a",
        &[],
        vec![
            http_tool(0, "t/one", "read", "GET", "x"),
            http_tool(1, "t/two", "read", "GET", "x"),
            http_tool(2, "T/ONE", "read", "GET", "y"),
            http_tool(3, "t/three", "read", "TRACE", "z"),
            http_tool(4, "t/four", "read", "GET", "%61"),
            tool(5, "t/five", "read", ToolMatch::Mcp { name: "five".into() }),
        ],
    );
    route.response_headers = vec!["etag".into(), "transfer-encoding".into(), "x-acp-x".into()];
    let mut other = crate::policy::fixtures::route(1, "/a", &[], Vec::new());
    other.upstream = 9;
    let mut bad = upstream("h h", 80, "/x/../y");
    bad.name = "bad".into();
    let routes =
        [Arc::new(route), Arc::new(other), Arc::new(crate::policy::fixtures::route(2, "/b/", &[], Vec::new()))];
    let mistakes = RouteTable::compile(&routes, &[Arc::new(bad)], 1).unwrap_err();
    let all: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
    let all = all.join("\n");
    for expected in [
        "tool t/two cannot be told",
        "tool T/ONE cannot be told",
        "\"TRACE\" is not forwarded",
        "\"%61\" is not in normal form",
        "tool t/five does not match",
        "\"transfer-encoding\" cannot",
        "\"x-acp-x\" cannot",
        "another route has this path",
        "there is no such upstream",
        "\"/b/\" is not in normal form",
        "upstream bad: host or base path",
    ] {
        assert!(all.contains(expected), "{expected} in\n{all}");
    }
    assert!(!all.contains("etag"));
}

#[test]
fn an_mcp_route_never_forwards_the_clients_token() {
    let mut route = crate::policy::fixtures::route(0, "/mcp", &[], Vec::new());
    route.protocol = Protocol::Mcp;
    let mut upstream = upstream("h", 80, "");
    upstream.credentials = Credentials::Forward;
    let mistakes = RouteTable::compile(&[Arc::new(route)], &[Arc::new(upstream)], 1).unwrap_err();
    assert_eq!(mistakes, [TableMistake::TokenPassthrough("/mcp".into())]);
}
