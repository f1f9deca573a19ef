//! What clients, issuers and upstreams should not send: each gets a problem document with the right code, or a closed
//! connection; there is a record of it; and a bystander's connection never notices.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use acp::identity::dev::DevIssuer;
use serde_json::json;

use crate::backend::{Backend, Then, json as answer_json, raw};
use crate::client::{Client, get, post};
use crate::process::wait_for;
use crate::site::{Extra, Gateway, Site, token, token_with};

const PATH: &str = "/tools/crm/any/x";

/// Bytes of a body that the tests' route takes.
const BODY_MAX: usize = 64 * 1024;

/// A route with one tool per method, and one to a dead upstream.
fn sections(upstream: SocketAddr, dead: SocketAddr) -> String {
    format!(
        r#"
[[upstream]]
name = "crm"
url = "http://{upstream}"
allow_loopback = ["{upstream}"]
read_timeout = "1s"
[[upstream]]
name = "dead"
url = "http://{dead}"
allow_loopback = ["{dead}"]
[[route]]
path = "/tools/crm"
upstream = "crm"
body_bytes_max = "64 KiB"
[[route.tool]]
name = "crm/any"
match = {{ method = "POST", path = "any/*" }}
verb = "read"
[[route.tool]]
name = "crm/read"
match = {{ method = "GET", path = "any/*" }}
verb = "read"
price = "0.002 USD"
[[route]]
path = "/tools/dead"
upstream = "dead"
[[route.tool]]
name = "crm/dead"
match = {{ method = "GET", path = "any" }}
verb = "read"
"#
    )
}

/// A gateway, and a connection to it that does nothing wrong.
struct World {
    backend: Backend,
    site: Site,
    gateway: Gateway,
    bystander: Client,
    token: String,
}

impl World {
    #[track_caller]
    fn new(backend: Backend, listen: &str) -> Self {
        let dead = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let sections = sections(backend.address, dead);
        let site = Site::new(&Extra { listen, sections: &sections, ..Extra::default() });
        let gateway = site.start();
        let bystander = gateway.connect();
        let mut world = Self { backend, site, gateway, bystander, token: token("auth0|alice") };
        world.unharmed();
        world
    }

    /// The bystander is still served, on the connection it always had.
    #[track_caller]
    fn unharmed(&mut self) {
        let answer = self.bystander.ask(get("/tools/crm/any/fine", &token("auth0|bystander")));
        assert_eq!(answer.status, 200, "the bystander: {answer:?}");
    }

    /// These bytes are answered so, and the log says the same.
    #[track_caller]
    fn check(&mut self, request: impl AsRef<[u8]>, status: u16, code: &str) -> Client {
        let mut client = self.gateway.connect();
        let answer = client.ask(request);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{answer:?}");
        let record = self.site.record(&answer.id());
        assert_eq!(record["reason"], code, "{record}");
        self.unharmed();
        client
    }

    /// The same, and the gateway hangs up.
    #[track_caller]
    fn check_closes(&mut self, request: impl AsRef<[u8]>, status: u16, code: &str) {
        self.check(request, status, code).assert_closed();
    }

    /// A POST with further fields and a body whose framing they give.
    fn odd(&self, fields: &str, body: &str) -> String {
        let token = &self.token;
        format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n{fields}\r\n{body}")
    }

    /// The upstream got nothing but what bystanders sent.
    #[track_caller]
    fn nothing_passed(self) {
        let passed: Vec<_> =
            self.backend.received().into_iter().filter(|got| !got.line.contains("/any/fine")).collect();
        assert!(passed.is_empty(), "{passed:#?}");
        self.gateway.stop();
    }
}

#[test]
fn threat_a03_one_source_takes_a_fifth_of_the_places_and_others_find_room() {
    let mut world = World::new(Backend::plain(), "workers = 1\nconnections_max = 42");
    let address = world.gateway.address;
    let flood: Vec<_> = (0..40).filter_map(|_| Client::connect_from([127, 0, 0, 2].into(), address)).collect();
    // The bystander holds one place; the flood's ninth would be more than a quarter of the 33 that are free then.
    wait_for("the rest to be turned away", || {
        (world.gateway.metric("acp_connections_turned_away_total") == flood.len() as u64 - 8).then_some(())
    });
    let mut newcomer = Client::connect_from([127, 0, 0, 3].into(), address).expect("a place");
    assert_eq!(newcomer.ask(get("/tools/crm/any/fine", &world.token)).status, 200);
    world.unharmed();
    drop((flood, newcomer));
    world.nothing_passed();
}

#[test]
fn malformed_heads_are_answered_and_hung_up_on() {
    let mut world = World::new(Backend::plain(), "");
    let token = world.token.clone();
    world.check_closes("\u{1}\u{2}garbage\r\n\r\n", 400, "malformed_request");
    world.check_closes(format!("GET {PATH} HTTP/1.1\nHost: gateway\n\n"), 400, "malformed_request");
    world.check_closes(format!("GET {PATH} HTTP/1.1\r\n\r\n"), 400, "malformed_request");
    world.check_closes(format!("GET {PATH} HTTP/2.0\r\nHost: gateway\r\n\r\n"), 400, "malformed_request");
    world.check_closes("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "malformed_request");
    world.check_closes(
        format!("GET {PATH} HTTP/1.1\r\nHost: gateway\r\nBad Name: x\r\n\r\n"),
        400,
        "malformed_request",
    );
    world.check_closes(format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"), 400, "malformed_request");
    world.check_closes(get("/tools/crm/any/x#fragment", &token), 400, "ambiguous_path");
    let long = "x".repeat(17 * 1024);
    world.check_closes(format!("GET {PATH} HTTP/1.1\r\nHost: gateway\r\nLong: {long}\r\n\r\n"), 431, "head_too_large");
    let many = "a: b\r\n".repeat(65);
    world.check_closes(format!("GET {PATH} HTTP/1.1\r\nHost: gateway\r\n{many}\r\n"), 431, "head_too_large");
    let twice = format!("Authorization: Bearer {token}\r\nContent-Length: 0\r\n");
    world.check_closes(world.odd(&twice, ""), 400, "duplicate_authorization");
    world.nothing_passed();
}

#[test]
fn framing_that_two_readers_could_read_differently_is_hung_up_on() {
    let mut world = World::new(Backend::plain(), "");
    let json = "Content-Type: application/json\r\n";
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    ] {
        world.check_closes(world.odd(&format!("{json}{fields}"), "0\r\n\r\n"), 400, "ambiguous_framing");
    }
    world.check_closes(world.odd("Content-Length : 5\r\n", "hello"), 400, "malformed_request");
    world.check_closes(world.odd("Content-Length: 5\nX: y\r\n", "hello"), 400, "malformed_request");
    let chunked = format!("{json}Transfer-Encoding: chunked\r\n");
    for body in ["5\nhello\r\n0\r\n\r\n", "zz\r\n", "2\r\n{}XX0\r\n\r\n", "-1\r\n"] {
        world.check_closes(world.odd(&chunked, body), 400, "malformed_request");
    }
    world.nothing_passed();
}

#[test]
fn paths_that_do_not_normalise_to_one_are_refused() {
    let mut world = World::new(Backend::plain(), "");
    for path in ["/tools/crm/any/..%2fx", "/tools/crm/any%2fx", "/tools/crm/../crm/any/x", "/tools/crm/any/%zz"] {
        world.check(get(path, &world.token.clone()), 400, "ambiguous_path");
    }
    world.check(get("/nowhere", &world.token.clone()), 404, "unknown_route");
    world.check(get("/tools/crm/ANY/x", &world.token.clone()), 404, "unknown_tool");
    world.nothing_passed();
}

#[test]
fn a_method_that_is_not_forwarded_is_405_and_told_which_are() {
    let mut world = World::new(Backend::plain(), "");
    let purge = get(PATH, &world.token.clone()).replace("GET", "PURGE");
    world.check(&purge, 405, "method_not_allowed");
    let answer = world.gateway.ask(&purge);
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"), "{answer:?}");
    world.nothing_passed();
}

#[test]
fn tokens_that_are_cut_or_alien_say_what_is_wrong_with_them() {
    let mut world = World::new(Backend::plain(), "");
    let good = world.token.clone();
    let now = jiff::Timestamp::now().as_second();
    let alien = DevIssuer::generate("test-key").expect("a key");
    let forged =
        alien.sign(&json!({"iss": "https://issuer.test/", "aud": "https://api.test", "sub": "x", "exp": now + 60}));
    let (header, rest) = good.split_once('.').expect("a token has dots");
    let (payload, _) = rest.split_once('.').expect("a token has dots");
    for broken in
        ["not.a.token", "e30", &good[..good.len() - 9], &forged.expect("a signature"), &format!("{header}.{payload}.")]
    {
        world.check(get(PATH, broken), 401, "invalid_token");
    }
    world.check(format!("GET {PATH} HTTP/1.1\r\nHost: gateway\r\n\r\n"), 401, "missing_token");
    let with = |key: &str, value: serde_json::Value| get(PATH, &token_with(|claims| claims[key] = value));
    world.check(with("iss", json!("https://elsewhere.test/")), 401, "unknown_issuer");
    world.check(with("aud", json!("https://elsewhere.test")), 401, "wrong_audience");
    world.check(with("exp", json!(now - 60)), 401, "expired_token");
    world.check(with("nbf", json!(now + 600)), 401, "token_not_yet_valid");
    world.check(with("exp", json!(now + 90 * 86_400)), 401, "token_lifetime");
    world.nothing_passed();
}

#[test]
fn a_key_that_nobody_has_is_unknown() {
    let mut world = World::new(Backend::plain(), "");
    let stranger = DevIssuer::generate("another-key").expect("a key");
    let now = jiff::Timestamp::now().as_second();
    let token = stranger.sign(&json!({
        "iss": "https://issuer.test/", "aud": "https://api.test", "sub": "x", "org_id": "acme", "iat": now, "exp": now + 60,
    }));
    world.check(get(PATH, &token.expect("a signature")), 401, "unknown_key");
    world.nothing_passed();
}

#[test]
fn threat_a09_bodies_that_cannot_be_read_are_not_passed_on() {
    let mut world = World::new(Backend::plain(), "");
    let length = |body: &str| format!("Content-Length: {}\r\n", body.len());
    let typed = |kind: &str, body: &str| format!("Content-Type: {kind}\r\n{}", length(body));
    for kind in ["text/csv", "application/json; charset=utf-16", "multipart/form-data; boundary=x"] {
        world.check(world.odd(&typed(kind, "{}"), "{}"), 415, "unsupported_media_type");
    }
    world.check(world.odd(&length("{}"), "{}"), 415, "unsupported_media_type");
    let gzip = format!("{}Content-Encoding: gzip\r\n", typed("application/json", "{}"));
    world.check(world.odd(&gzip, "{}"), 415, "unsupported_media_type");
    for body in ["{", "nonsense", r#"{"a":1}{"b":2}"#, "{\"a\":\"\u{1}\"}", r#"{"a":01}"#] {
        world.check(post(PATH, &world.token.clone(), body), 400, "invalid_json");
    }
    world.check(post(PATH, &world.token.clone(), r#"{"a":1,"\u0061":2}"#), 400, "duplicate_key");
    let deep = "[".repeat(10_000) + &"]".repeat(10_000);
    world.check(post(PATH, &world.token.clone(), &deep), 400, "invalid_json");
    world.nothing_passed();
}

#[test]
fn a_body_beyond_its_bound_is_413_however_it_comes() {
    let mut world = World::new(Backend::plain(), "");
    let json = "Content-Type: application/json\r\n";
    world.check(world.odd(&format!("{json}Content-Length: 9000000000\r\n"), ""), 413, "body_too_large");
    world.check(
        world.odd(&format!("{json}Content-Length: {}\r\nExpect: 100-continue\r\n", BODY_MAX + 1), ""),
        413,
        "body_too_large",
    );
    let body = format!("\"{}\"", "x".repeat(BODY_MAX - 1));
    world.check(post(PATH, &world.token.clone(), &body), 413, "body_too_large");
    let chunk = format!("{:x}\r\n{}\r\n", BODY_MAX + 1, "x".repeat(BODY_MAX + 1));
    world.check(world.odd(&format!("{json}Transfer-Encoding: chunked\r\n"), &chunk), 413, "body_too_large");
    let fits = format!("\"{}\"", "x".repeat(BODY_MAX - 2));
    assert_eq!(world.gateway.ask(post(PATH, &world.token, &fits)).status, 200, "the bound itself is allowed");
}

#[test]
fn heads_and_bodies_that_do_not_arrive_in_time_are_408() {
    let mut world = World::new(Backend::plain(), "head_timeout = \"500ms\"\nbody_timeout = \"500ms\"");
    world.check_closes(format!("GET {PATH} HTTP/1.1\r\nHost: gate"), 408, "request_timeout");
    let late = world.odd("Content-Type: application/json\r\nContent-Length: 5\r\n", "{");
    world.check_closes(late, 408, "request_timeout");
    world.nothing_passed();
}

#[test]
fn who_says_nothing_after_accept_has_a_heads_time_and_who_was_served_may_idle() {
    let mut world = World::new(Backend::plain(), "head_timeout = \"1s\"");
    // One after the other, so that the bystander has been idle for twice a head's time when it asks again.
    for _ in 0..2 {
        let began = Instant::now();
        // The client's patience is shorter than `idle_timeout`: a connection that is kept for that long fails here.
        world.gateway.connect().assert_closed();
        let kept = began.elapsed();
        assert!(kept > Duration::from_millis(500), "hung up on too early, after {kept:?}");
    }
    world.unharmed();
    world.nothing_passed();
}

/// An upstream whose answer depends on the path's last word.
fn liar() -> Backend {
    Backend::start(|request, stream| {
        let word = request.line.split(' ').nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or("");
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        let lie = match word {
            "extra" => format!("{head}Content-Length: 2\r\n\r\n{{}}HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"),
            "short" => format!("{head}Content-Length: 20\r\n\r\n{{}}"),
            "cut" => format!("{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}\r\n"),
            "silent" => String::new(),
            "slow" => {
                // Longer than the upstream's read_timeout: ends when the gateway hangs up.
                let _ = std::io::Read::read(stream, &mut [0; 1]);
                return Then::Close;
            }
            _ => return answer_json(stream, r#"{"ok":true}"#),
        };
        raw(stream, lie);
        let _ = stream.flush();
        if word == "extra" { Then::Keep } else { Then::Close }
    })
}

#[test]
fn an_upstream_that_is_dead_or_dawdles_is_a_gateway_error() {
    let mut world = World::new(liar(), "");
    let token = world.token.clone();
    world.check(get("/tools/dead/any", &token), 502, "upstream_failed");
    world.check(get("/tools/crm/any/silent", &token), 502, "upstream_failed");
    world.check(get("/tools/crm/any/slow", &token), 504, "upstream_timeout");
    world.gateway.stop();
}

#[test]
fn threat_a20_bytes_behind_an_answer_are_nobodys_answer() {
    let mut world = World::new(liar(), "");
    let token = world.token.clone();
    let mut client = world.gateway.connect();
    for _ in 0..3 {
        assert_eq!(client.ask(get("/tools/crm/any/extra", &token)).body, b"{}");
        let next = client.ask(get("/tools/crm/any/fine", &token));
        assert_eq!(next.body, br#"{"ok":true}"#, "the next request gets its own answer");
        world.unharmed();
    }
    world.gateway.stop();
}

#[test]
fn an_answer_cut_short_is_seen_to_be_cut_short() {
    let mut world = World::new(liar(), "");
    let token = world.token.clone();
    for word in ["short", "cut"] {
        let mut client = world.gateway.connect();
        let head = client.send(get(&format!("/tools/crm/any/{word}"), &token)).head();
        assert_eq!(head.status, 200);
        let rest = client.rest();
        assert!(!rest.ends_with(b"0\r\n\r\n") && rest.len() < 20, "{:?}", String::from_utf8_lossy(&rest));
        let record = world.site.record(&head.id());
        assert_eq!(record["reason"], "upstream_failed", "{record}");
        world.unharmed();
    }
    world.gateway.stop();
}

/// An HTTP/1.0 client knows the end of an answer by the end of the connection alone: a truncated one must not look whole.
#[test]
fn an_http_1_0_client_of_a_truncated_answer_is_reset() {
    let world = World::new(liar(), "");
    let ask = |word: &str| {
        let mut client = std::net::TcpStream::connect(world.gateway.address).expect("the gateway accepts");
        let request = get(&format!("/tools/crm/any/{word}"), &world.token).replace("HTTP/1.1", "HTTP/1.0");
        client.write_all(request.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        let end = client.read_to_end(&mut answer).map_err(|error| error.kind());
        (end.map(|_| ()), String::from_utf8(answer).expect("text"))
    };
    let (end, answer) = ask("cut");
    assert!(answer.starts_with("HTTP/1.1 200") && !answer.to_lowercase().contains("\r\ncontent-length"), "{answer}");
    assert_eq!(end, Err(ErrorKind::ConnectionReset), "{answer}");
    // One with a length shows by itself that it is short.
    let (_, answer) = ask("short");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    assert!(length.is_some_and(|length: usize| body.len() < length), "{answer}");
    world.gateway.stop();
}

/// A caller must not learn that a tool exists by what the gateway asks of a body, or by whether it waits for one.
#[test]
fn a_forbidden_tool_is_refused_as_an_unknown_one_before_its_body_is_read() {
    let world = World::new(Backend::plain(), "");
    let stranger = token_with(|claims| claims["scope"] = json!("tool:mail:read"));
    let ask = |path: &str, fields: &str| {
        let head = format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {stranger}\r\n{fields}\r\n");
        let answer = world.gateway.ask(head);
        let mut problem = answer.json();
        problem["instance"] = json!("");
        let fields: Vec<_> =
            answer.head.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name.to_owned()).collect();
        (answer.status, problem, fields)
    };
    // None of these bodies is ever sent.
    for fields in [
        "Content-Type: application/json\r\nContent-Length: 10\r\n",
        "Content-Type: application/json\r\nContent-Length: 10\r\nExpect: 100-continue\r\n",
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n",
        "Content-Type: text/csv\r\nContent-Length: 10\r\n",
        "Content-Type: application/json\r\nContent-Length: 100000\r\n",
        "Content-Type: application/json\r\nContent-Encoding: br\r\nContent-Length: 10\r\n",
    ] {
        let forbidden = ask(PATH, fields);
        assert_eq!(forbidden.0, 404, "{forbidden:?}");
        assert_eq!(forbidden, ask("/tools/crm/nothing/x", fields), "{fields}");
    }
    world.nothing_passed();
}

#[test]
fn a_call_whose_client_left_has_an_outcome_and_is_paid_for() {
    let gate = crate::backend::Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |request, stream| {
        if request.line.contains("/left ") {
            held.pass();
        }
        answer_json(stream, "{}")
    });
    let world = World::new(backend, "");
    let mut client = world.gateway.connect();
    client.send(get("/tools/crm/any/left", &world.token));
    wait_for("the call to be under way", || {
        world.backend.received().iter().any(|got| got.line.contains("/left ")).then_some(())
    });
    drop(client);
    let record = wait_for("the outcome", || {
        let records = world.site.records(&["--tool", "crm/read"]);
        records.into_iter().find(|record| record["reason"] == "client_closed")
    });
    assert_eq!((&record["upstream"], &record["settled_microusd"]), (&json!("crm"), &json!(2_000)), "{record}");
    gate.open();
    world.gateway.stop();
}

/// Digests of arguments are keyed, and the key lives as long as the process: equal ones are comparable only where the
/// key's id is the same.
#[test]
fn digests_of_arguments_name_the_key_they_were_made_with() {
    let world = World::new(Backend::plain(), "");
    let digest = |body: &str| {
        let answer = world.gateway.ask(post(PATH, &world.token, body));
        let digest = world.site.record(&answer.id())["arguments"].as_str().expect("a digest").to_owned();
        let (id, digest) = digest.split_once(':').expect("an id and a digest");
        (id.to_owned(), digest.to_owned())
    };
    let first = digest(r#"{"n":1}"#);
    assert_eq!(first, digest(r#"{"n":1}"#));
    let other = digest(r#"{"n":2}"#);
    assert!(first.0 == other.0 && first.1 != other.1, "{first:?} {other:?}");
    world.gateway.stop();
    let gateway = world.site.start();
    let answer = gateway.ask(post(PATH, &world.token, r#"{"n":1}"#));
    let again = world.site.record(&answer.id())["arguments"].as_str().expect("a digest").to_owned();
    assert!(!again.starts_with(&format!("{}:", first.0)) && !again.ends_with(&first.1), "{again} {first:?}");
    gateway.stop();
}

#[test]
fn need_b08_without_keys_it_serves_503_and_is_degraded_not_unready() {
    let backend = Backend::plain();
    let dead = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let sections = sections(backend.address, dead);
    let site = Site::new(&Extra { jwks: Some("none.json"), sections: &sections, ..Extra::default() });
    let gateway = site.start();
    let ready = gateway.admin("/readyz");
    assert_eq!(ready.status, 200);
    assert!(ready.json()["degraded"][0].as_str().is_some_and(|why| why.contains("keys")), "{ready:?}");
    let answer = gateway.ask(get(PATH, &token("auth0|alice")));
    assert_eq!((answer.status, answer.code().as_str()), (503, "keys_unavailable"));
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    assert_eq!(site.record(&answer.id())["reason"], "keys_unavailable");
    gateway.stop();
}

/// What hides in the body of a request that is refused before its body is read.
const HIDDEN: &str = "GET /admin HTTP/1.1\r\nHost: gateway\r\n\r\n";

/// A refused request with the hidden one in its body, then a good one: the hidden one is never taken for a request
/// (CVE-2025-4366, CVE-2026-2833).
#[track_caller]
fn check_hidden(world: &mut World, head: &str, body: &str, then: impl FnOnce(&mut Client)) {
    let mut client = world.gateway.connect();
    let refused = client.ask(format!("{head}{body}"));
    assert_eq!(refused.status, 401, "{refused:?}");
    then(&mut client);
    client.send(get("/tools/crm/any/behind", &world.token).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
    let rest = String::from_utf8_lossy(&client.rest()).into_owned();
    let answers: Vec<_> = rest.match_indices("HTTP/1.1 ").map(|(at, _)| &rest[at + 9..at + 12]).collect();
    assert!(answers.is_empty() || answers == ["200"], "closed, or exactly the next answer: {rest}");
    world.unharmed();
}

#[test]
fn the_body_of_a_refused_request_is_never_a_request() {
    let mut world = World::new(Backend::plain(), "");
    let length = format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\nContent-Length: {}\r\n\r\n", HIDDEN.len());
    let chunked = format!("POST {PATH} HTTP/1.1\r\nHost: gateway\r\nTransfer-Encoding: chunked\r\n\r\n");
    let expect = length.replace("\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n");
    let chunk = format!("{:x}\r\n{HIDDEN}\r\n0\r\n\r\n", HIDDEN.len());
    check_hidden(&mut world, &length, HIDDEN, |_| ());
    check_hidden(&mut world, &chunked, &chunk, |_| ());
    check_hidden(&mut world, &expect, HIDDEN, |_| ());
    check_hidden(&mut world, &length, "", |client| _ = client.send(HIDDEN));
    check_hidden(&mut world, &chunked, "", |client| _ = client.send(&chunk));
    check_hidden(&mut world, &expect, "", |client| _ = client.send(HIDDEN));
    check_hidden(&mut world, &length, &HIDDEN[..10], |client| _ = client.send(&HIDDEN[10..]));

    assert!(world.backend.received().iter().all(|got| !got.line.contains("admin")), "{:?}", world.backend.received());
    let (site, gateway) = (world.site, world.gateway);
    gateway.stop();
    let taken = site.records(&[]).into_iter().filter(|record| record.to_string().contains("/admin"));
    assert_eq!(taken.count(), 0, "no record of a request for /admin");
}
