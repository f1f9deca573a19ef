//! Upstreams that lie about where their answers end: the client gets a clean 502, or sees its answer cut short, or gets
//! what was framed; there is a record; the connection is never used again; and nobody else gets a byte of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::backend::{Backend, Then, json, raw};
use crate::client::{Client, bare, get};
use crate::site::{Extra, Gateway, Site, token};

/// What the client of a lie sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Seen {
    /// 502 with this code.
    Refused(&'static str),
    /// 200, and then an end that is none; the log has this reason.
    Cut(&'static str),
    /// One or the other, by how much was read at once.
    Broken(&'static str),
    /// This status and body, and nothing of what lies behind.
    Answered(u16, &'static str),
}

use Seen::{Answered, Broken, Cut, Refused};

const FRAMING: &str = "upstream_framing";
const FAILED: &str = "upstream_failed";

struct Lie {
    name: &'static str,
    method: &'static str,
    bytes: String,
    seen: Seen,
}

/// An answer with these fields and body.
fn answer(fields: &str, body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n{fields}\r\n{body}")
}

/// An answer that somebody else must not get.
const POISON: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\npoison";

fn lies() -> Vec<Lie> {
    let chunked = |body: &str| answer("Transfer-Encoding: chunked\r\n", body);
    let mut lies = Vec::new();
    let mut tell = |name, bytes: String, seen| lies.push(Lie { name, method: "GET", bytes, seen });

    tell("bytes-behind-a-length", answer("Content-Length: 2\r\n", "ok") + "more", Answered(200, "ok"));
    tell("an-answer-behind-a-length", answer("Content-Length: 2\r\n", "ok") + POISON, Answered(200, "ok"));
    tell("an-answer-behind-chunks", chunked("2\r\nok\r\n0\r\n\r\n") + POISON, Answered(200, "ok"));
    tell("an-answer-behind-204", "HTTP/1.1 204 No Content\r\n\r\n".to_owned() + POISON, Answered(204, ""));
    tell("an-answer-behind-304", "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned() + POISON, Answered(304, ""));
    tell("a-body-of-304", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\npoison".to_owned(), Answered(304, ""));

    tell("two-lengths", answer("Content-Length: 2\r\nContent-Length: 3\r\n", "ok!"), Refused(FRAMING));
    tell("a-length-twice", answer("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"), Refused(FRAMING));
    tell("lengths-in-a-list", answer("Content-Length: 2, 2\r\n", "ok"), Refused(FRAMING));
    tell("a-signed-length", answer("Content-Length: +2\r\n", "ok"), Refused(FRAMING));
    tell("an-octal-length", answer("Content-Length: 02\r\n", "ok"), Refused(FRAMING));
    tell("a-length-of-204", "HTTP/1.1 204 No Content\r\nContent-Length: 6\r\n\r\npoison".to_owned(), Refused(FRAMING));
    tell(
        "length-and-chunks",
        answer("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        Refused(FRAMING),
    );
    tell(
        "chunks-and-length",
        answer("Transfer-Encoding: chunked\r\nContent-Length: 2\r\n", "0\r\n\r\n"),
        Refused(FRAMING),
    );
    tell("another-coding", answer("Transfer-Encoding: gzip\r\n", "ok"), Refused(FRAMING));
    tell("codings-in-a-list", answer("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), Refused(FRAMING));
    tell("a-coding-with-a-mark", answer("Transfer_Encoding: chunked\r\nContent-Length: 2\r\n", "ok"), Refused(FRAMING));
    tell("chunks-of-old", chunked("0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0"), Refused(FRAMING));

    tell("a-folded-field", answer("A: b\r\n c: d\r\nContent-Length: 2\r\n", "ok"), Refused(FRAMING));
    tell("a-lone-lf", answer("A: b\nContent-Length: 2\r\n", "ok"), Refused(FRAMING));
    tell("a-lone-cr", answer("A: b\rContent-Length: 9\r\nContent-Length: 2\r\n", "ok"), Refused(FRAMING));
    tell("a-nul", answer("A: \0\r\nContent-Length: 2\r\n", "ok"), Refused(FRAMING));
    tell("a-spaced-name", answer("Content-Length : 2\r\n", "ok"), Refused(FRAMING));
    tell("no-name", answer(": b\r\nContent-Length: 2\r\n", "ok"), Refused(FRAMING));
    tell("a-large-head", answer(&format!("A: {}\r\n", "a".repeat(20_000)), "ok"), Refused(FRAMING));
    tell("many-fields", answer(&"A: b\r\n".repeat(300), "ok"), Refused(FRAMING));
    for (name, line) in [
        ("garbage", "lp0 on fire"),
        ("no-head", "<html>"),
        ("another-protocol", "ICY 200 OK"),
        ("another-version", "HTTP/2.0 200 OK"),
        ("a-status-of-two-digits", "HTTP/1.1 20 OK"),
        ("a-status-beyond-599", "HTTP/1.1 999 OK"),
    ] {
        tell(name, format!("{line}\r\nContent-Length: 2\r\n\r\nok"), Refused(FRAMING));
    }

    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    tell("a-storm-of-hints", hint.repeat(1_000) + POISON, Refused(FRAMING));
    tell(
        "a-body-of-a-hint",
        "HTTP/1.1 103 Early Hints\r\nContent-Length: 6\r\n\r\n".to_owned() + POISON,
        Refused(FRAMING),
    );
    tell(
        "another-protocol-granted",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n".to_owned() + POISON,
        Refused(FRAMING),
    );

    tell("silence", String::new(), Refused(FAILED));
    tell("half-a-head", "HTTP/1.1 200 OK\r\nContent-".to_owned(), Refused(FAILED));
    tell("a-short-body", answer("Content-Length: 20\r\n", "ok"), Cut(FAILED));
    tell("chunks-without-an-end", chunked("2\r\nok\r\n"), Cut(FAILED));
    tell("half-a-chunk", chunked("5\r\nok"), Cut(FAILED));
    for (name, body) in [
        ("a-chunk-size-of-words", "zz\r\nok\r\n0\r\n\r\n"),
        ("a-signed-chunk-size", "-2\r\nok\r\n0\r\n\r\n"),
        ("a-spaced-chunk-size", "2 \r\nok\r\n0\r\n\r\n"),
        ("a-chunk-size-beyond-64-bits", "10000000000000002\r\nok\r\n0\r\n\r\n"),
        ("a-chunk-longer-than-said", "2\r\nokay\r\n0\r\n\r\n"),
        ("a-chunk-that-ends-in-lf", "2\r\nok\n0\r\n\r\n"),
        ("a-folded-trailer", "2\r\nok\r\n0\r\n x: y\r\n\r\n"),
    ] {
        tell(name, chunked(body), Refused(FRAMING));
    }
    let flood = |size: usize| format!("2;{}\r\nok\r\n0\r\n\r\n", "a".repeat(size));
    tell("a-flood-of-extensions", chunked(&flood(5_000)), Broken(FRAMING));
    let trailer = format!("2\r\nok\r\n0\r\nT: {}\r\n\r\n", "a".repeat(10_000));
    tell("a-flood-of-trailers", chunked(&trailer), Broken(FRAMING));
    // More than is read at once: the answer has begun when the lie shows.
    let long = format!("40000\r\n{}", "a".repeat(0x4_0000));
    tell("a-long-chunk-longer-than-said", chunked(&(long + "more\r\n0\r\n\r\n")), Cut(FRAMING));

    let body_of_head = answer("Content-Length: 6\r\n", "poison");
    lies.push(Lie { name: "a-body-of-head", method: "HEAD", bytes: body_of_head, seen: Answered(200, "") });
    lies
}

thread_local! {
    /// Each connection to the upstream has a thread of its own: whether a lie was told on it.
    static LIED: Cell<bool> = const { Cell::new(false) };
}

/// Tells the lie that the path names, and the truth otherwise; notes requests that come on a connection behind a lie.
fn liar(lies: &[Lie], reused: Arc<Mutex<Vec<String>>>) -> Backend {
    let told: BTreeMap<_, _> =
        lies.iter().map(|lie| (format!("/{}", lie.name), (lie.bytes.clone(), lie.seen))).collect();
    Backend::start(move |request, stream| {
        if LIED.get() {
            reused.lock().unwrap_or_else(PoisonError::into_inner).push(request.line.clone());
        }
        let Some((bytes, seen)) = request.line.split(' ').nth(1).and_then(|path| told.get(path)) else {
            return json(stream, &serde_json::json!({ "id": request.header("x-request-id") }).to_string());
        };
        LIED.set(true);
        raw(stream, bytes);
        // Where more is announced than comes, the end is part of the lie; elsewhere the connection stays open.
        if matches!(seen, Refused(FAILED) | Cut(FAILED)) { Then::Close } else { Then::Keep }
    })
}

fn sections(backend: &Backend) -> String {
    let address = backend.address;
    format!(
        r#"
[[upstream]]
name = "liar"
url = "http://{address}"
allow_loopback = ["{address}"]
[[route]]
path = "/tools/crm"
upstream = "liar"
[[route.tool]]
name = "crm/read"
match = {{ method = "GET", path = "*" }}
verb = "read"
[[route.tool]]
name = "crm/look"
match = {{ method = "HEAD", path = "*" }}
verb = "read"
"#
    )
}

/// Hears a lie out; gives the request's id.
#[track_caller]
fn hear(gateway: &Gateway, lie: &Lie, token: &str) -> String {
    let (name, mut client) = (lie.name, gateway.connect());
    client.send(bare(lie.method, &format!("/tools/crm/{name}"), token));
    let start = String::from_utf8_lossy(client.peek(12)).into_owned();
    assert_eq!(start.len(), 12, "{name}: no answer but {start:?}");
    let seen = match lie.seen {
        Broken(code) if start == "HTTP/1.1 502" => Refused(code),
        Broken(code) => Cut(code),
        seen => seen,
    };
    match seen {
        Refused(code) => {
            let answer = client.answer();
            assert_eq!((answer.status, answer.code().as_str()), (502, code), "{name}: {answer:?}");
            answer.id()
        }
        Answered(status, body) => {
            let answer = if lie.method == "HEAD" { client.head() } else { client.answer() };
            assert_eq!((answer.status, answer.body.as_slice()), (status, body.as_bytes()), "{name}: {answer:?}");
            answer.id()
        }
        Cut(_) | Broken(_) => {
            let head = client.head();
            assert_eq!(head.status, 200, "{name}: {head:?}");
            let rest = client.rest();
            assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 0x5_0000, "{name}: looks complete");
            head.id()
        }
    }
}

/// Everybody else gets the answer to what they asked.
#[track_caller]
fn check_others(others: &mut [Client], token: &str, behind: &str) {
    for other in others {
        let answer = other.ask(get("/tools/crm/truth", token));
        assert_eq!(
            (answer.status, answer.json()["id"].as_str()),
            (200, answer.header("x-request-id")),
            "behind {behind}"
        );
    }
}

#[test]
fn no_lie_of_an_upstream_reaches_anybody_else() {
    let (lies, reused) = (lies(), Arc::<Mutex<Vec<String>>>::default());
    let backend = liar(&lies, Arc::clone(&reused));
    let site = Site::new(&Extra { sections: &sections(&backend), ..Extra::default() });
    let gateway = site.start();
    let (alice, others_token) = (token("auth0|alice"), token("auth0|others"));
    // Enough to have some on every worker.
    let mut others: Vec<_> = (0..6).map(|_| gateway.connect()).collect();
    check_others(&mut others, &others_token, "nothing");
    let ids: Vec<_> = lies
        .iter()
        .map(|lie| {
            let id = hear(&gateway, lie, &alice);
            check_others(&mut others, &others_token, lie.name);
            id
        })
        .collect();
    gateway.stop();
    let reused = reused.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(reused.is_empty(), "asked on a connection that had lied: {reused:?}");
    let log = site.records(&["--user", "auth0|alice"]);
    for (lie, id) in lies.iter().zip(&ids) {
        let record = log
            .iter()
            .find(|record| record["id"] == id.as_str())
            .unwrap_or_else(|| panic!("no record of {}", lie.name));
        let reason = match lie.seen {
            Refused(code) | Cut(code) | Broken(code) => code,
            Answered(..) => "allowed",
        };
        assert_eq!(record["reason"], reason, "{}: {record}", lie.name);
    }
    assert_eq!(log.len(), lies.len(), "one record each");
    println!("{} lies heard", lies.len());
}
