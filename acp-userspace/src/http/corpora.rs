//! The public HTTP corpora against the codec: what has to be refused is refused before a server ever sees it.
//!
//! Reads `$ACP_CORPORA/http` (or `../shared/corpora/http` beside the repository) and says so when there is none.
//! Expectations about statuses, upstreams and responses need a server; here only the reading of bytes is judged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine;
use serde_json::Value;

use super::chunked::{ChunkError, Decoder};
use super::head::{Framing, HeadError, HeadLimits, RequestHead, parse_request};

const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, headers_max: 64 };

/// What the codec makes of a whole connection's bytes.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    /// So many requests, each complete; the last one may have asked to close.
    Complete {
        requests: usize,
        closes: bool,
    },
    /// So many requests, then one that never ends.
    Incomplete {
        requests: usize,
    },
    Head(HeadError),
    Body(ChunkError),
}

impl Reading {
    fn refused(&self) -> bool {
        matches!(self, Self::Head(_) | Self::Body(_))
    }

    fn requests(&self) -> usize {
        match self {
            Self::Complete { requests, .. } | Self::Incomplete { requests } => *requests,
            Self::Head(_) | Self::Body(_) => 0,
        }
    }
}

/// Reads requests until the bytes end, the connection would close, or a fault.
fn read(mut bytes: &[u8]) -> Reading {
    let mut requests = 0;
    loop {
        if bytes.is_empty() && requests > 0 {
            return Reading::Complete { requests, closes: false };
        }
        let head = match parse_request(bytes, &LIMITS, &mut 0) {
            Ok(Some(head)) => head,
            Ok(None) => return Reading::Incomplete { requests },
            Err(error) => return Reading::Head(error),
        };
        let body = &bytes[head.len..];
        match body_len(&head, body) {
            Ok(Some(len)) => bytes = &body[len..],
            Ok(None) => return Reading::Incomplete { requests },
            Err(error) => return Reading::Body(error),
        }
        requests += 1;
        if !head.keep_alive {
            return Reading::Complete { requests, closes: true };
        }
    }
}

/// Length of the body on the wire, if it is all there.
fn body_len(head: &RequestHead<'_>, body: &[u8]) -> Result<Option<usize>, ChunkError> {
    match head.framing {
        Framing::None | Framing::UntilClose => Ok(Some(0)),
        Framing::Length(length) => Ok(usize::try_from(length).ok().filter(|&length| length <= body.len())),
        Framing::Chunked => {
            let decoded = Decoder::new().decode(body, &mut |_| {})?;
            Ok(decoded.done.then_some(decoded.consumed))
        }
    }
}

/// Runs `judge` over a corpus file and prints how many records it judged how; `None` = not a matter of parsing.
fn run(file: &str, judge: impl Fn(&Value, &[u8], &Reading) -> Option<Result<(), &'static str>>) {
    let root = std::env::var_os("ACP_CORPORA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora")), PathBuf::from);
    let path = root.join("http").join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        assert!(std::env::var_os("ACP_CORPORA").is_none(), "ACP_CORPORA is set but {} cannot be read", path.display());
        return println!("SKIPPED: no corpus at {}", path.display());
    };
    let (mut counts, mut wrong) = (BTreeMap::<&str, usize>::new(), Vec::new());
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let raw = record["raw_b64"].as_str().or_else(|| record["client_chunks_b64"][0].as_str()).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(raw).unwrap();
        let reading = read(&bytes);
        let verdict = judge(&record, &bytes, &reading);
        *counts
            .entry(match verdict {
                None => "not judged here",
                Some(_) => "judged",
            })
            .or_default() += 1;
        *counts.entry(if reading.refused() { "refused" } else { "not refused" }).or_default() += 1;
        if let Some(Err(why)) = verdict {
            wrong.push(format!("{}: {why}: {reading:?}", record["id"]));
        }
    }
    println!("{file}: {counts:?}");
    assert!(wrong.is_empty(), "{file}: {} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn expect(holds: bool, why: &'static str) -> Option<Result<(), &'static str>> {
    Some(if holds { Ok(()) } else { Err(why) })
}

fn text<'r>(record: &'r Value, key: &str) -> &'r str {
    record[key].as_str().unwrap_or_default()
}

#[test]
fn http11probe() {
    run("http11probe.jsonl", |record, _, reading| match text(record, "expect") {
        "400" | "400 or close" | "400 (rejected) or 2xx without control chars" => {
            expect(reading.refused(), "has to be refused")
        }
        "400/close/timeout" | "400/414/431 or close" | "400/505/close/timeout" => {
            expect(!matches!(reading, Reading::Complete { .. }), "has to be refused or time out")
        }
        wanted if wanted.starts_with("2") => expect(!reading.refused(), "has to be accepted"),
        _ => None,
    });
}

#[test]
fn http_desync_guardian() {
    /// Compliant by the RFC's letter, refused by our rule that the only transfer coding is one `chunked`.
    const STRICTER: [&str; 2] =
        ["Different Transfer-Encoding headers", "Transfer-Encoding with a param: chunked;custom_param"];
    run("http_desync_guardian.jsonl", |record, bytes, reading| match text(record, "tier") {
        "Severe" => expect(reading.refused(), "has to be refused"),
        "Ambiguous" => {
            let closes = parse_request(bytes, &LIMITS, &mut 0).is_ok_and(|head| head.is_some_and(|h| !h.keep_alive));
            expect(reading.refused() || closes, "has to be refused, or close")
        }
        "Compliant" if STRICTER.contains(&text(record, "id")) => expect(reading.refused(), "our rule refuses it"),
        "Compliant" => expect(!reading.refused(), "has to be accepted"),
        _ => None,
    });
}

#[test]
fn llhttp_request_fixtures() {
    /// That parser has a list of methods; ours takes any token and leaves 405 to the routes.
    const LOOSER: &str = "invalid / ICE protocol, but not really / HTTP protocol and ANNOUNCE method";
    run("llhttp_request_fixtures.jsonl", |record, _, reading| {
        let complete = record["messages_complete"].as_u64().unwrap_or(0) as usize;
        match (text(record, "expect"), text(record, "parser_mode")) {
            // A refusal may come after requests that were complete; ours has to come no later.
            ("reject", "request") if text(record, "id") != LOOSER => {
                expect(reading.requests() <= complete, "reads more than a strict parser")
            }
            _ => None,
        }
    });
}

#[test]
fn smuggler_te_mutations() {
    run("smuggler_te_mutations.jsonl", |_, bytes, reading| {
        if reading.refused() {
            return Some(Ok(()));
        }
        // What is let through is framed by its length alone, and no field in it could pass for the other framing.
        let head = parse_request(bytes, &LIMITS, &mut 0).unwrap().unwrap();
        let alike = head.headers.iter().any(|header| {
            let folded: String = header.name.chars().filter(char::is_ascii_alphabetic).collect();
            folded.eq_ignore_ascii_case("transferencoding")
        });
        let by_length = matches!(head.framing, Framing::Length(_));
        expect(by_length && !alike && reading.requests() <= 1, "could be read twice")
    });
}

#[test]
fn constructed_gateway_cases() {
    run("constructed_gateway_cases.jsonl", |record, _, reading| match text(record, "id") {
        id if id.starts_with("te-multi") || id.starts_with("chunk-size") || id.starts_with("spoof-bare") => {
            expect(reading.refused(), "has to be refused")
        }
        "upgrade-pipelined" | "upgrade-foobar-pipelined" => expect(reading.refused(), "has to be refused"),
        "early-401-chunked" | "early-401-get-body" => {
            expect(reading.requests() <= 1, "reads the body as a second request")
        }
        _ => expect(!reading.refused(), "the head is well-formed"),
    });
}

#[test]
fn h2spec_captures() {
    run("h2spec_captures.jsonl", |_, bytes, reading| {
        expect(!bytes.starts_with(b"PRI * ") || *reading == Reading::Head(HeadError::Http2Preface), "is HTTP/2")
    });
}
