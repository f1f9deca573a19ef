use proptest::prelude::*;

use super::*;

/// Requests put together of lines that servers have disagreed about.
fn connection() -> impl Strategy<Value = Vec<u8>> {
    let line = proptest::sample::select(
        &[
            "POST / HTTP/1.1",
            "GET /a?b HTTP/1.1",
            "HEAD http://h/x HTTP/1.1",
            "POST / HTTP/1.0",
            "PUT //x HTTP/1.1",
            "GET /  HTTP/1.1",
            "OPTIONS * HTTP/1.1",
            "GET http://h HTTP/1.1",
            "get /%2e%2e/ HTTP/1.1",
        ][..],
    );
    let field = proptest::sample::select(
        &[
            "Host: h",
            "Host: h",
            "Host: h",
            "Host:h ",
            "Content-Length: 3",
            "Content-Length: 0",
            "content-length:\t5",
            "Content-Length: +3",
            "Content-Length: 3, 3",
            "Transfer-Encoding: chunked",
            "transfer-encoding:chunked",
            "Transfer-Encoding: Chunked",
            "Transfer-Encoding: gzip",
            "Transfer-Encoding : chunked",
            "Transfer_Encoding: chunked",
            "Connection: close",
            "Connection: keep-alive",
            "Connection: x",
            "A: b\x0bc",
            "A: \u{e9}",
            "A:",
            " folded",
            "A: b\nC: d",
            "A: b\rC: d",
            "Expect: 100-continue",
            "Upgrade: h2c",
            "X: a, b",
        ][..],
    );
    let body = proptest::sample::select(
        &[
            "",
            "abc",
            "abcde",
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n",
            "3\nabc\n0\n\n",
            "3 \r\nabc\r\n0\r\n\r\n",
            "03\r\nabc\r\n00\r\n\r\n",
            "3\r\nabcX\r\n0\r\n\r\n",
            "\r\n",
            "\r\n\r\n",
            "5\r\nabc",
        ][..],
    );
    let framed = proptest::sample::select(
        &[
            ("", ""),
            ("Content-Length: 3\r\n", "abc"),
            ("Transfer-Encoding: chunked\r\n", "3;x=y\r\nabc\r\n0\r\nT: v\r\n\r\n"),
            ("Content-Length: 16\r\n", "GET / HTTP/1.1\r\n"),
        ][..],
    );
    let odd = (line.clone(), proptest::collection::vec(field.clone(), 0..5), body).prop_map(|(line, fields, body)| {
        format!("{line}\r\n{}\r\n{body}", fields.iter().map(|field| format!("{field}\r\n")).collect::<String>())
    });
    let plausible = (proptest::bool::weighted(0.2), line, framed, proptest::option::weighted(0.5, field)).prop_map(
        |(any_line, line, (framing, body), field)| {
            let line = if any_line { line } else { "POST /a?b HTTP/1.1" };
            let field = field.map(|field| format!("{field}\r\n")).unwrap_or_default();
            format!("{line}\r\nHost: h\r\n{framing}{field}\r\n{body}")
        },
    );
    let request = prop_oneof![1 => odd, 4 => plausible];
    proptest::collection::vec(request, 1..4).prop_map(|requests| requests.concat().into_bytes())
}

#[test]
fn both_read_a_plain_pipeline() {
    let bytes = b"POST /a?b HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
                  POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n0\r\n\r\n\
                  \r\nGET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    assert_eq!(ours(bytes).len(), 3);
    assert_eq!(ours(bytes), theirs(bytes));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Claim: the requests we read are the first ones that hyper reads.
    #[test]
    fn what_we_accept_hyper_reads_alike(bytes in connection()) {
        let (ours, theirs) = (ours(&bytes), theirs(&bytes));
        prop_assert!(ours.len() <= theirs.len(), "{ours:?}\n{theirs:?}");
        prop_assert_eq!(&ours[..], &theirs[..ours.len()]);
    }
}
