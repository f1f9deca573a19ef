//! Request heads, case by case.

use proptest::prelude::*;

use super::super::Framing;
use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, headers_max: 64 };

#[track_caller]
fn parse(head: &str) -> Result<RequestHead<'_>, HeadError> {
    parse_request(head.as_bytes(), &LIMITS, &mut 0).map(|head| head.expect("a complete head"))
}

/// Parses a request with `lines` between the request line and `Host`.
#[track_caller]
fn check(lines: &str, expected: Result<Framing, HeadError>) {
    let head = format!("POST /a HTTP/1.1\r\n{lines}Host: h\r\n\r\n");
    assert_eq!(parse(&head).map(|head| head.framing), expected, "{lines:?}");
}

#[track_caller]
fn check_refused(head: &str, expected: HeadError) {
    assert_eq!(parse(&format!("{head}\r\n\r\n")).map(|_| ()), Err(expected), "{head:?}");
}

#[test]
fn reads_every_part_of_a_head() {
    let text =
        "POST /tools/crm?x=1 HTTP/1.1\r\nHost: h:80\r\nAuthorization:  Bearer a.b.c \t\r\nContent-Length: 3\r\n\r\nabc";
    let head = parse(text).unwrap();
    assert_eq!((head.method, head.path, head.query, head.host), ("POST", "/tools/crm", Some("x=1"), "h:80"));
    assert_eq!((head.http11, head.framing, head.keep_alive), (true, Framing::Length(3), true));
    assert_eq!(head.only("authorization"), Some(&b"Bearer a.b.c"[..]));
    assert_eq!(head.len, text.len() - 3);
    assert_eq!(head.headers.len(), 3);
}

#[test]
fn frames_requests_in_one_way_or_not_at_all() {
    check("", Ok(Framing::None));
    check("Content-Length: 0\r\n", Ok(Framing::Length(0)));
    check("Content-Length:  7 \r\n", Ok(Framing::Length(7)));
    check("Transfer-Encoding: chunked\r\n", Ok(Framing::Chunked));
    check("Content-Length: 7\r\nContent-Length: 7\r\n", Err(HeadError::LengthRepeated));
    check("Content-Length: 7, 7\r\n", Err(HeadError::LengthInvalid));
    check("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Err(HeadError::LengthAndTransferEncoding));
    for coding in [
        "",
        "identity",
        "gzip, chunked",
        "chunked, gzip",
        "chunked,",
        "chunked;x=y",
        "\"chunked\"",
        "xchunked",
        "Chunked",
    ] {
        check(&format!("Transfer-Encoding: {coding}\r\n"), Err(HeadError::TransferEncoding));
    }
    check("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Err(HeadError::TransferEncoding));
    check("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", Err(HeadError::TransferEncoding));
}

#[test]
fn refuses_what_two_readers_could_read_twice() {
    for (lines, fault) in [
        ("A: b\nC: d\r\n", HeadError::LineEnding),
        ("A: b\rC: d\r\n", HeadError::HeaderValue),
        ("A: b\r\n folded\r\n", HeadError::HeaderName),
        ("A: b\r\n\tfolded\r\n", HeadError::HeaderName),
        (" A: b\r\n", HeadError::HeaderName),
        ("A : b\r\n", HeadError::HeaderName),
        ("A\t: b\r\n", HeadError::HeaderName),
        (": b\r\n", HeadError::HeaderName),
        ("A\r\n", HeadError::HeaderName),
        ("A[b: c\r\n", HeadError::HeaderName),
        ("\u{e9}: c\r\n", HeadError::HeaderName),
        ("Transfer_Encoding: chunked\r\n", HeadError::HeaderName),
        ("content.length: 5\r\n", HeadError::HeaderName),
        ("A: b\0c\r\n", HeadError::HeaderValue),
        ("A: b\u{b}c\r\n", HeadError::HeaderValue),
        ("A: b\u{7f}\r\n", HeadError::HeaderValue),
    ] {
        check(lines, Err(fault));
    }
}

#[test]
fn refuses_request_lines_that_are_not_plain() {
    for head in
        ["GET  / HTTP/1.1", "GET\t/ HTTP/1.1", "GET / HTTP/1.1 ", "GET /  HTTP/1.1", "GET /", "GET", "G\"T / HTTP/1.1"]
    {
        let outcome = parse(&format!("{head}\r\nHost: h\r\n\r\n")).map(|_| ());
        assert!(
            matches!(outcome, Err(HeadError::RequestLine | HeadError::Version | HeadError::LineEnding)),
            "{head:?}: {outcome:?}"
        );
    }
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/1", "HTTP/01.01", "http/1.1", "HTTP/1.1x"] {
        let outcome = parse(&format!("GET / {version}\r\nHost: h\r\n\r\n")).map(|_| ());
        assert!(matches!(outcome, Err(HeadError::Version | HeadError::LineEnding)), "{version:?}: {outcome:?}");
    }
    let long = "A".repeat(METHOD_BYTES_MAX + 1);
    check_refused(&format!("{long} / HTTP/1.1\r\nHost: h"), HeadError::RequestLine);
    assert_eq!(parse("purge / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().method, "purge");
}

#[test]
fn refuses_what_it_will_not_become() {
    check_refused("PRI * HTTP/2.0", HeadError::Http2Preface);
    check_refused("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade", HeadError::Upgrade);
    check_refused("GET / HTTP/1.1\r\nHost: h\r\nUpgrade: h2c, websocket", HeadError::Upgrade);
    check_refused("CONNECT h:443 HTTP/1.1\r\nHost: h:443", HeadError::Target);
    check_refused("OPTIONS * HTTP/1.1\r\nHost: h", HeadError::Target);
    check_refused("GET /#x HTTP/1.1\r\nHost: h", HeadError::Fragment);
    let offer = "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n";
    assert!(parse(offer).unwrap().keep_alive);
}

#[test]
fn demands_one_valid_host_that_the_target_agrees_with() {
    check_refused("GET / HTTP/1.1", HeadError::HostMissing);
    check_refused("GET / HTTP/1.0", HeadError::HostMissing);
    check_refused("GET / HTTP/1.1\r\nHost: h\r\nHost: h", HeadError::HostRepeated);
    check_refused("GET / HTTP/1.1\r\nHost: a, b", HeadError::HostInvalid);
    check_refused("GET / HTTP/1.1\r\nHost:", HeadError::HostInvalid);
    check_refused("GET http://b/ HTTP/1.1\r\nHost: a", HeadError::HostMismatch);
    check_refused("GET http://a:80/ HTTP/1.1\r\nHost: a", HeadError::HostMismatch);
    check_refused("GET http://u@a/ HTTP/1.1\r\nHost: a", HeadError::HostMismatch);
    let head = parse("GET http://A:8080/x?y HTTP/1.1\r\nHost: a:8080\r\n\r\n").unwrap();
    assert_eq!((head.host, head.path, head.query), ("a:8080", "/x", Some("y")));
}

#[test]
fn keeps_the_connection_only_when_its_end_is_certain() {
    for (head, kept) in [
        ("POST / HTTP/1.1\r\nHost: h", true),
        ("POST / HTTP/1.1\r\nHost: h\r\nConnection: close", false),
        ("POST / HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, CLOSE", false),
        ("POST / HTTP/1.0\r\nHost: h", false),
        ("POST / HTTP/1.0\r\nHost: h\r\nConnection: keep-alive", false),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 0", true),
        ("GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1", false),
        ("HEAD / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked", false),
    ] {
        assert_eq!(parse(&format!("{head}\r\n\r\n")).unwrap().keep_alive, kept, "{head:?}");
    }
    check_refused("POST / HTTP/1.0\r\nHost: h\r\nTransfer-Encoding: chunked", HeadError::TransferEncodingForbidden);
}

#[test]
fn understands_one_expectation() {
    let expects = |head: &str| parse(&format!("{head}\r\n\r\n")).map(|head| head.expect_continue);
    assert_eq!(expects("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue"), Ok(true));
    assert_eq!(expects("POST / HTTP/1.0\r\nHost: h\r\nExpect: 100-continue"), Ok(false));
    assert_eq!(expects("POST / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok"), Err(HeadError::Expectation));
    assert_eq!(
        expects("POST / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nExpect: 100-continue"),
        Err(HeadError::Expectation)
    );
}

#[test]
fn ignores_one_empty_line_before_the_request() {
    let text = "\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(parse(text).unwrap().len, text.len());
    assert_eq!(parse("\r\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err(), HeadError::EmptyLines);
    assert_eq!(parse("\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap_err(), HeadError::LineEnding);
}

#[test]
fn refuses_garbage_at_its_first_byte() {
    for garbage in [&b"\x16\x03\x01"[..], b" ", b"\0", b"\xff", b"\r\n(", b"\r\n "] {
        let outcome = parse_request(garbage, &LIMITS, &mut 0).map(|_| ());
        assert_eq!(outcome, Err(HeadError::RequestLine), "{}", garbage.escape_ascii());
    }
    assert!(parse_request(b"\r", &LIMITS, &mut 0).unwrap().is_none());
    assert!(parse_request(b"", &LIMITS, &mut 0).unwrap().is_none());
}

#[test]
fn bounds_fields_and_bytes() {
    let limits = HeadLimits { bytes_max: 64, headers_max: 2 };
    let outcome = |text: &str| parse_request(text.as_bytes(), &limits, &mut 0).map(|head| head.map(|head| head.len));
    assert_eq!(outcome("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n\r\n"), Ok(Some(33)));
    assert_eq!(outcome("GET / HTTP/1.1\r\nHost: h\r\nA: b\r\nC: d\r\n\r\n"), Err(HeadError::TooManyHeaders));
    assert_eq!(outcome(&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(64))), Err(HeadError::TooLarge));
    assert_eq!(HeadError::TooManyHeaders.reason().status(), 431);
}

#[test]
fn parses_the_same_whole_and_byte_by_byte() {
    let text = "POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc";
    let mut scanned = 0;
    for cut in 0..text.len() - 3 {
        assert!(parse_request(&text.as_bytes()[..cut], &LIMITS, &mut scanned).unwrap().is_none(), "at {cut}");
    }
    let head = parse_request(text.as_bytes(), &LIMITS, &mut scanned).unwrap().unwrap();
    assert_eq!((head.len, head.framing), (text.len() - 3, Framing::Length(3)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Claim: no bytes panic; an accepted head has no CR or LF but in CRLF, and ends in its only empty line; bytes
    /// that come one at a time are read as the same head, and a fault is found no later than with the end.
    #[test]
    fn accepted_heads_are_made_of_lines(
        edits in proptest::collection::vec((0usize..100, prop_oneof![
            any::<u8>(),
            proptest::sample::select(&b"\r\n: \t,#/?"[..]),
        ], any::<bool>()), 0..3),
    ) {
        let mut bytes = b"POST /a?b HTTP/1.1\r\nHost: h:1\r\nContent-Length: 3\r\nA: b\r\nTE: x\r\n\r\nabc".to_vec();
        for (at, byte, insert) in edits {
            let at = at % bytes.len();
            if insert { bytes.insert(at, byte) } else { bytes[at] = byte }
        }
        let parse = |bytes, scanned: &mut usize| {
            parse_request(bytes, &LIMITS, scanned).map(|head| head.map(|head| (head.len, head.framing)))
        };
        let whole = parse(&bytes, &mut 0);
        if let Ok(Some((len, _))) = whole {
            let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
            let end = memchr::memmem::find(&bytes[start..], b"\r\n\r\n").map(|at| start + at + 4);
            prop_assert_eq!(end, Some(len));
            let lines = memchr::memmem::find_iter(&bytes[..len], b"\r\n").count();
            prop_assert_eq!(memchr::memchr2_iter(b'\r', b'\n', &bytes[..len]).count(), 2 * lines);
        }
        let mut scanned = 0;
        let piecewise = (0..=bytes.len())
            .map(|cut| parse(&bytes[..cut], &mut scanned))
            .find(|outcome| !matches!(outcome, Ok(None)))
            .unwrap_or(Ok(None));
        let later = whole.is_err() && !matches!(piecewise, Ok(Some(_)));
        prop_assert!(piecewise == whole || later, "{piecewise:?} {whole:?}");
    }
}
