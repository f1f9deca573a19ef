//! *Whatever the client sends, an upstream sees exactly the requests the gateway counted, each framed one way.*
//!
//! Every case of the HTTP corpora is sent to one gateway by a user of its own, three times over: at once, in small
//! pieces, and with another user's request behind it. The upstream (`recorder`) takes nothing on trust. Then the four
//! accounts are held against each other: what the upstream got, what clients were answered, the audit log, the metrics.
//! What the corpora expect of each case is judged on the first of the three.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use serde_json::Value;

use crate::client::{Answer, Client};
use crate::corpora::{Level, Tally, Verdict, member, records, with_host};
use crate::recorder::{Recorded, Recorder};
use crate::site::{Extra, Gateway, Site, token_for};

/// Clients at once.
const CLIENTS: usize = 12;

const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// Every method on paths of up to three segments. A client that shut down its sending side still gets its answer:
/// that is how the tests say that nothing more comes.
fn sections(upstream: &Recorder) -> String {
    let address = upstream.address;
    let mut text = format!(
        r#"
[[upstream]]
name = "any"
url = "http://{address}"
allow_loopback = ["{address}"]
[[route]]
path = "/"
upstream = "any"
half_close = true
content_types = ["text/plain", "application/x-www-form-urlencoded", "application/example", "example/query"]
"#
    );
    for method in METHODS {
        for depth in 0..4 {
            let path = vec!["*"; depth].join("/");
            let path = if depth == 0 { String::new() } else { format!(", path = \"{path}\"") };
            text += &format!(
                "[[route.tool]]\nname = \"any/{method}-{depth}\"\nmatch = {{ method = \"{method}\"{path} }}\nverb = \"read\"\n"
            );
        }
    }
    text
}

/// One case as it is sent.
struct Case {
    file: &'static str,
    record: Value,
    bytes: Vec<u8>,
    /// Sent with a good token.
    identified: bool,
}

impl Case {
    fn id(&self) -> &str {
        member(&self.record, "id")
    }

    /// The bytes with what a route of ours needs, for this user: a token, and the type of a body that has none.
    fn request(&self, user: &str) -> Vec<u8> {
        if !self.identified {
            return self.bytes.clone();
        }
        let mut fields = format!("Authorization: Bearer {}\r\n", token_for(user, "tool:any:read")).into_bytes();
        let head = self.bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or(self.bytes.len());
        if !contains(&self.bytes[..head], b"content-type:") {
            fields.extend_from_slice(b"Content-Type: text/plain\r\n");
        }
        let mut out = Vec::new();
        for (nth, line) in self.bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
            out.extend_from_slice(line);
            // Behind the first line that is not empty; a parser's fixtures are the only ones with good requests behind.
            let first = nth == usize::from(self.bytes.starts_with(b"\r\n")) && line.ends_with(b"\n");
            if first || self.file == LLHTTP && line.ends_with(b" HTTP/1.1\r\n") {
                out.extend_from_slice(&fields);
            }
        }
        out
    }
}

fn contains(bytes: &[u8], lower: &[u8]) -> bool {
    bytes.windows(lower.len()).any(|window| window.eq_ignore_ascii_case(lower))
}

const PROBE: &str = "http/http11probe.jsonl";
const GUARDIAN: &str = "http/http_desync_guardian.jsonl";
const LLHTTP: &str = "http/llhttp_request_fixtures.jsonl";
const SMUGGLER: &str = "http/smuggler_te_mutations.jsonl";
const CONSTRUCTED: &str = "http/constructed_gateway_cases.jsonl";

/// All cases; `None` where there are no corpora.
fn cases() -> Option<Vec<Case>> {
    let mut cases = Vec::new();
    for file in [PROBE, GUARDIAN, LLHTTP, SMUGGLER, CONSTRUCTED] {
        for record in records(file)? {
            let raw = base64::engine::general_purpose::STANDARD.decode(member(&record, "raw_b64")).expect("base64");
            let bytes = match file {
                LLHTTP => with_host(&raw),
                GUARDIAN if member(&record, "tier") == "Compliant" => with_body(raw),
                _ => raw,
            };
            cases.push(Case { file, identified: record["auth"] != "none", record, bytes });
        }
    }
    Some(cases)
}

/// These cases are heads alone; a good one gets the body that it announces.
fn with_body(mut head: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if field("transfer-encoding:").is_some() {
        head.extend_from_slice(b"0\r\n\r\n");
    } else if let Some(length) = field("content-length:") {
        head.extend(vec![b'a'; length.parse().unwrap_or(0)]);
    }
    head
}

/// How a case is sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Way {
    Whole,
    Pieces,
    /// Another user's request follows on the same connection.
    Victim,
}

/// What became of a case.
struct Outcome {
    answers: Vec<Answer>,
    /// Behind the last answer.
    rest: Vec<u8>,
}

impl Outcome {
    /// The first answer's status; `None` when the connection closed without any.
    fn status(&self) -> Option<u16> {
        self.answers.first().map(|answer| answer.status)
    }

    fn refused(&self) -> bool {
        self.status().is_none_or(|status| (400..500).contains(&status))
    }

    fn allowed(&self) -> impl Iterator<Item = &Answer> {
        self.answers.iter().filter(|answer| answer.status == 200)
    }

    fn statuses(&self) -> Vec<u16> {
        self.answers.iter().map(|answer| answer.status).collect()
    }

    fn seen(&self) -> String {
        let statuses = self.statuses();
        format!(
            "{statuses:?} {}",
            self.answers.first().map_or_else(String::new, |a| String::from_utf8_lossy(&a.body).into_owned())
        )
    }
}

fn user(way: Way, at: usize) -> String {
    format!("{way:?}-{at}")
}

fn victim(at: usize) -> String {
    format!("innocent-{at}")
}

/// Sends a case on a connection of its own, and reads to the connection's end.
#[track_caller]
fn send(gateway: &Gateway, case: &Case, way: Way, at: usize) -> Outcome {
    let request = case.request(&user(way, at));
    let mut client = gateway.connect();
    match way {
        Way::Whole => _ = client.send(&request),
        Way::Pieces => request.chunks(1 + request.len() / 16).for_each(|piece| _ = client.send(piece)),
        Way::Victim => {
            let token = token_for(&victim(at), "tool:any:read");
            client.send(&request);
            client.send(format!("GET /victim HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {token}\r\n\r\n"));
        }
    }
    client.finish_sending();
    let (answers, rest) = answers(client, case.bytes.starts_with(b"HEAD "));
    Outcome { answers, rest }
}

/// Every answer on a connection, and what is left behind the last.
fn answers(mut client: Client, to_head: bool) -> (Vec<Answer>, Vec<u8>) {
    let mut answers = Vec::new();
    loop {
        let next = client.peek(9);
        if next.is_empty() || !next.starts_with(b"HTTP/1.1 ") {
            return (answers, client.rest());
        }
        let first = answers.is_empty();
        let answer = if first && to_head { client.answer_to_head() } else { client.answer() };
        if answer.status >= 200 {
            answers.push(answer);
        }
    }
}

/// Sends all cases one way; the outcomes in order.
fn send_all(gateway: &Gateway, cases: &[Case], way: Way) -> Vec<Outcome> {
    let outcomes: Vec<Mutex<Option<Outcome>>> = cases.iter().map(|_| Mutex::default()).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while let Some((case, slot)) = {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    cases.get(at).map(|case| (at, case)).zip(outcomes.get(at))
                } {
                    let (at, case) = case;
                    *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(send(gateway, case, way, at));
                }
            });
        }
    });
    outcomes.into_iter().map(|slot| slot.into_inner().unwrap_or_default().expect("each was sent")).collect()
}

impl Case {
    /// Most answers that its bytes may have: more, and something in it was taken for a request.
    fn answers_max(&self) -> usize {
        match (self.file, self.record["messages_complete"].as_u64(), self.record["max_responses"].as_u64()) {
            // That parser counts a message when the next one begins; and the one behind the last good one is refused.
            (LLHTTP, complete, _) => complete.unwrap_or(0) as usize + 2,
            (CONSTRUCTED, _, max) => max.unwrap_or(2) as usize,
            _ => 1,
        }
    }
}

/// A request behind a case that was answered is answered as itself, or the connection ended; the case's own answers
/// are the same.
#[track_caller]
fn check_behind(case: &Case, alone: &Outcome, behind: &Outcome) {
    let (alone, behind) = (alone.statuses(), behind.statuses());
    let rest = behind.strip_prefix(alone.as_slice());
    // Of those fixtures some end in the middle of a further request.
    let holds = case.file == LLHTTP || alone.is_empty() || rest.is_some_and(|rest| matches!(rest, [] | [200]));
    assert!(holds, "{} {}: alone {alone:?}, with a request behind it {behind:?}", case.file, case.id());
}

/// The requests that the upstream got from this user.
fn of<'r>(requests: &'r [Recorded], user: &str) -> Vec<&'r Recorded> {
    requests.iter().filter(|request| request.user() == user).collect()
}

/// What holds of every connection, whatever was sent on it.
#[track_caller]
fn check_connection(case: &Case, way: Way, at: usize, outcome: &Outcome, requests: &[Recorded]) {
    let name = format!("{way:?} {} {}: {}", case.file, case.id(), outcome.seen());
    assert!(outcome.rest.is_empty(), "{name}: {}", outcome.rest.escape_ascii());
    let (own, others) = (of(requests, &user(way, at)), of(requests, &victim(at)));
    for answer in &outcome.answers {
        assert!(matches!(answer.status, 200 | 400..500), "{name}");
        assert!(answer.status != 405 || answer.header("allow").is_some(), "{name}: 405 without Allow");
        assert!(
            !case.identified || !matches!(answer.status, 401 | 403 | 429) || answer.code() == "missing_token",
            "{name}"
        );
    }
    let max = case.answers_max() + usize::from(way == Way::Victim);
    assert!(outcome.answers.len() <= max, "{name}: {} answers", outcome.answers.len());
    // Each request that went upstream was answered here, to nobody else, and by its own answer.
    let others: &[_] = if way == Way::Victim { &others } else { &[] };
    let sent: BTreeSet<_> = own.iter().chain(others).map(|request| request.id()).collect();
    let answered: BTreeSet<_> = outcome.allowed().map(|answer| answer.header("x-request-id").expect("an id")).collect();
    assert_eq!(sent, answered, "{name}");
    for answer in outcome.allowed().filter(|answer| !answer.body.is_empty()) {
        assert_eq!(answer.json()["id"].as_str(), answer.header("x-request-id"), "{name}: another's answer");
    }
    // Nothing of the case became part of the request behind it.
    for request in others {
        assert_eq!((request.method.as_str(), request.target.as_str()), ("GET", "/victim"), "{name}");
        assert!(request.body.is_empty() && request.all("x-smuggled").is_empty(), "{name}: {request:?}");
    }
    assert!(own.iter().all(|request| !request.target.contains("victim")), "{name}: {own:?}");
}

/// What is expected of a case beyond that, by its source.
fn judge(case: &Case, outcome: &Outcome, own: &[&Recorded], behind: &Outcome) -> (Level, Verdict) {
    let must = |holds: bool| (Level::Must, Verdict::of(holds, || outcome.seen()));
    match case.file {
        PROBE => probe(case, outcome, own),
        GUARDIAN => match member(&case.record, "tier") {
            "Severe" => must(outcome.refused() && own.is_empty()),
            // Forwarded is well, if nothing is taken from the connection behind it.
            "Ambiguous" => must(outcome.refused() || (own.len() == 1 && behind.answers.len() <= 1)),
            "Compliant" => {
                let forwarded = outcome.status() == Some(200) && own.len() == 1;
                (Level::Other, Verdict::of(forwarded, || outcome.seen()))
            }
            _ => (Level::Other, Verdict::of(outcome.refused() || own.len() == 1, || outcome.seen())),
        },
        LLHTTP => (Level::Other, llhttp(case, outcome)),
        SMUGGLER => {
            // One request, framed by its length alone (the upstream sees to that), and nothing left of a name that could
            // be taken for the other framing's. Inside another field's value it is text, whatever stands before it.
            let named = |line: &str| line.split(':').next().is_some_and(|name| alike(name) == "transferencoding");
            let clean = own.iter().all(|request| !request.head.lines().any(named));
            must(clean && (outcome.refused() && own.is_empty() || own.len() == 1))
        }
        _ => constructed(case, outcome, own),
    }
}

/// The letters of a name.
fn alike(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_lowercase()).collect()
}

fn probe(case: &Case, outcome: &Outcome, own: &[&Recorded]) -> (Level, Verdict) {
    let level = if member(&case.record, "level") == "Must" { Level::Must } else { Level::Other };
    let expect = member(&case.record, "expect");
    let first = outcome.answers.first();
    let holds = match expect {
        "2xx + echo" => first.is_some_and(|answer| answer.status == 200 && answer.json()["body"] == "hello"),
        "!101" => outcome.status() != Some(101),
        "405 + Allow header" if outcome.status() != Some(405) => {
            return (level, Verdict::NotApplicable("the method is served here; every 405 is checked for Allow"));
        }
        "405 + Allow header" => first.is_some_and(|answer| answer.header("allow").is_some()),
        "IMF-fixdate format" if outcome.status() == Some(200) => {
            return (level, Verdict::NotApplicable("Date is the upstream's to say, and this one says none"));
        }
        "2xx with a=1, b=2, c=3 in body" => {
            return (level, Verdict::NotApplicable("what an origin makes of Cookie; the gateway keeps it back"));
        }
        _ if expect.starts_with("Reject/drop") => {
            let kept = |request: &&Recorded| {
                contains(request.head.as_bytes(), b"content\tlength") || !request.all("transfer-encoding").is_empty()
            };
            outcome.refused() || !own.iter().any(kept)
        }
        _ => is_among(expect, outcome.status()),
    };
    (level, Verdict::of(holds, || format!("{expect}: {}", outcome.seen())))
}

/// Whether a status is one that a text such as "400/414/431 or close" lists; `None` is a closed connection.
fn is_among(expect: &str, status: Option<u16>) -> bool {
    let mut words = expect.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    match status {
        None => words.any(|word| matches!(word, "close" | "timeout")),
        Some(status) => words.any(|word| {
            word == status.to_string() || (matches!(word, "2xx" | "200-299") && (200..300).contains(&status))
        }),
    }
}

fn llhttp(case: &Case, outcome: &Outcome) -> Verdict {
    let complete = case.record["messages_complete"].as_u64().unwrap_or(0) as usize;
    let allowed = outcome.allowed().count();
    match (member(&case.record, "parser_mode"), member(&case.record, "expect")) {
        ("request", "accept") => {
            Verdict::of(allowed == complete && outcome.answers.len() == complete, || outcome.seen())
        }
        ("request", "reject") => Verdict::of(allowed <= complete, || outcome.seen()),
        ("request", _) => Verdict::of(outcome.refused(), || outcome.seen()),
        _ => Verdict::NotApplicable("a lenient mode of that parser; there is none here"),
    }
}

fn constructed(case: &Case, outcome: &Outcome, own: &[&Recorded]) -> (Level, Verdict) {
    let record = &case.record;
    let list = |name: &str| record[name].as_array().into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>();
    let within = |name: &str, count: usize| record[name].as_u64().is_none_or(|max| count as u64 <= max);
    let heads = || own.iter().map(|request| request.head.as_str());
    let forbidden = list("upstream_forbid").into_iter().chain(record["upstream_forbid_value"].as_str());
    let required = list("upstream_require");
    let holds = [
        within("max_responses", outcome.answers.len()),
        within("upstream_requests_max", own.len()),
        forbidden.into_iter().all(|text| heads().all(|head| !head.contains(text))),
        required.is_empty() || !own.is_empty(),
        required.iter().all(|text| heads().all(|head| head.contains(text))),
        case.identified || outcome.answers.len() == 1 && outcome.refused(),
        !matches!(member(record, "expect"), "reject" | "400 and close") || outcome.refused() && own.is_empty(),
        // What is decided on is what is sent, and it leads nowhere up.
        !case.id().starts_with("path-")
            || own
                .iter()
                .all(|request| !request.target.to_ascii_lowercase().contains("%2e") && !request.target.contains("..")),
        !heads().any(|head| head.contains("smuggled")),
    ];
    (Level::Must, Verdict::of(holds == [true; 9], || format!("{holds:?} {}", outcome.seen())))
}

#[test]
fn an_upstream_sees_exactly_the_requests_that_the_gateway_counted() {
    let Some(cases) = cases() else { return };
    let recorder = Recorder::start();
    let site = Site::new(&Extra { sections: &sections(&recorder), ..Extra::default() });
    let gateway = site.start();
    let ways = [Way::Whole, Way::Pieces, Way::Victim];
    let outcomes = ways.map(|way| send_all(&gateway, &cases, way));
    let metrics = String::from_utf8(gateway.admin("/metrics").body).expect("text");
    gateway.stop();

    recorder.with(|record| {
        assert!(record.faults.is_empty(), "the upstream cannot read:\n{}", record.faults.join("\n"));
        for (way, outcomes) in ways.iter().zip(&outcomes) {
            for (at, (case, outcome)) in cases.iter().zip(outcomes).enumerate() {
                check_connection(case, *way, at, outcome, &record.requests);
            }
        }
        let [whole, _, behind] = &outcomes;
        for ((case, alone), behind) in cases.iter().zip(whole).zip(behind) {
            check_behind(case, alone, behind);
        }
        for file in [PROBE, GUARDIAN, LLHTTP, SMUGGLER, CONSTRUCTED] {
            let mut tally = Tally::new("socket", file);
            for (at, case) in cases.iter().enumerate().filter(|(_, case)| case.file == file) {
                let own = of(&record.requests, &user(Way::Whole, at));
                let (level, verdict) = judge(case, &whole[at], &own, &behind[at]);
                tally.judge(case.id(), level, verdict);
            }
            tally.finish();
        }
        check_accounts(&site, &metrics, &record.requests, &outcomes);
    });
}

/// The upstream's account, the clients', the log's and the metrics' are one.
#[track_caller]
fn check_accounts(site: &Site, metrics: &str, requests: &[Recorded], outcomes: &[Vec<Outcome>; 3]) {
    let ids: BTreeSet<_> = requests.iter().map(|request| request.id().to_owned()).collect();
    assert_eq!(ids.len(), requests.len(), "no request was sent twice");
    let log = site.records(&[]);
    let upstream = log.iter().filter(|record| record["upstream"].is_string());
    let logged: BTreeSet<_> = upstream.filter_map(|record| record["id"].as_str().map(str::to_owned)).collect();
    assert_eq!(logged, ids, "the log has the calls that the upstream got, and no other");

    let count = |line: &str| line.rsplit(' ').next().and_then(|count| count.parse::<usize>().ok()).expect("a count");
    let counted = |prefix: &str| metrics.lines().filter(|line| line.starts_with(prefix)).map(count).sum::<usize>();
    assert_eq!(counted("acp_requests_total{reason=\"allowed\"}"), requests.len(), "the metrics count them");
    assert_eq!(counted("acp_worker_panics_total"), 0);
    let kind = |kind: &'static str| log.iter().filter(move |record| record["kind"] == kind);
    let summarised: u64 = kind("summary").filter_map(|record| record["count"].as_u64()).sum();
    let recorded = kind("request").count() + summarised as usize;
    assert_eq!(counted("acp_requests_total{"), recorded, "every request that was counted is in the log");
    let answers: usize = outcomes.iter().flatten().map(|outcome| outcome.answers.len()).sum();
    assert!(answers <= recorded, "every answer has its record");
    eprintln!(
        "{} connections, {answers} answers, {recorded} requests counted ({summarised} of them in summaries), {} upstream",
        outcomes.iter().map(Vec::len).sum::<usize>(),
        requests.len()
    );
}
