//! The public HTTP corpora against the codec: what has to be refused is refused before a server ever sees it.
//!
//! Expectations about statuses, upstreams and responses need a server (`tests/e2e/http_corpus.rs`); here only the
//! reading of bytes is judged.

use base64::Engine;
use serde_json::Value;

use super::chunked::{ChunkError, Decoder};
use super::head::{Framing, HeadError, HeadLimits, RequestHead, parse_request};
use crate::corpora::{Level, Tally, Verdict, member as text, records, with_host};

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

/// Runs `judge` over a corpus file.
#[track_caller]
fn run(file: &'static str, judge: impl Fn(&Value, &[u8]) -> (Level, Verdict)) {
    let Some(records) = records(file) else { return };
    let mut tally = Tally::new("codec", file);
    for record in &records {
        let raw = record["raw_b64"].as_str().or_else(|| record["client_chunks_b64"][0].as_str()).unwrap();
        let bytes = base64::engine::general_purpose::STANDARD.decode(raw).unwrap();
        let (level, verdict) = judge(record, &bytes);
        tally.judge(text(record, "id"), level, verdict);
    }
    tally.finish();
}

fn expect(holds: bool, why: &str, reading: &Reading) -> Verdict {
    Verdict::of(holds, || format!("{why}: {reading:?}"))
}

#[test]
fn http11probe() {
    run("http/http11probe.jsonl", |record, bytes| {
        let level = if text(record, "level") == "Must" { Level::Must } else { Level::Other };
        let reading = read(bytes);
        let verdict = match text(record, "expect") {
            "400" | "400 or close" | "400 (rejected) or 2xx without control chars" => {
                expect(reading.refused(), "has to be refused", &reading)
            }
            "400/close/timeout" | "400/414/431 or close" | "400/505/close/timeout" => {
                expect(!matches!(reading, Reading::Complete { .. }), "has to be refused or time out", &reading)
            }
            wanted if wanted.starts_with('2') => expect(!reading.refused(), "has to be accepted", &reading),
            _ => Verdict::NotApplicable("about the answer, or either reading is right"),
        };
        (level, verdict)
    });
}

#[test]
fn http_desync_guardian() {
    run("http/http_desync_guardian.jsonl", |record, bytes| {
        let reading = read(bytes);
        match text(record, "tier") {
            "Severe" => (Level::Must, expect(reading.refused(), "has to be refused", &reading)),
            "Ambiguous" => {
                let head = parse_request(bytes, &LIMITS, &mut 0);
                let closes = head.is_ok_and(|head| head.is_some_and(|head| !head.keep_alive));
                (Level::Must, expect(reading.refused() || closes, "has to be refused, or close", &reading))
            }
            "Compliant" => (Level::Other, expect(!reading.refused(), "has to be accepted", &reading)),
            _ => (Level::Other, Verdict::NotApplicable("either reading is right")),
        }
    });
}

#[test]
fn llhttp_request_fixtures() {
    run("http/llhttp_request_fixtures.jsonl", |record, bytes| {
        let complete = record["messages_complete"].as_u64().unwrap_or(0) as usize;
        let verdict = match (text(record, "expect"), text(record, "parser_mode")) {
            (_, mode) if mode != "request" => {
                Verdict::NotApplicable("a lenient mode of that parser; there is none here")
            }
            ("accept", _) => {
                let reading = read(&with_host(bytes));
                expect(!reading.refused() && reading.requests() == complete, "has to be accepted", &reading)
            }
            ("paused", _) => {
                let reading = read(&with_host(bytes));
                expect(reading.refused(), "there are no other protocols here", &reading)
            }
            // A refusal may come after requests that were complete; ours has to come no later.
            _ => {
                let reading = read(&with_host(bytes));
                expect(reading.requests() <= complete, "reads more than a strict parser", &reading)
            }
        };
        (Level::Other, verdict)
    });
}

#[test]
fn smuggler_te_mutations() {
    run("http/smuggler_te_mutations.jsonl", |_, bytes| {
        let reading = read(bytes);
        if reading.refused() {
            return (Level::Must, Verdict::Pass);
        }
        // What is let through is framed by its length alone, and no field in it could pass for the other framing.
        let head = parse_request(bytes, &LIMITS, &mut 0).unwrap().unwrap();
        let alike = head.headers.iter().any(|header| {
            let folded: String = header.name.chars().filter(char::is_ascii_alphabetic).collect();
            folded.eq_ignore_ascii_case("transferencoding")
        });
        let by_length = matches!(head.framing, Framing::Length(_));
        (Level::Must, expect(by_length && !alike && reading.requests() <= 1, "could be read twice", &reading))
    });
}

#[test]
fn constructed_gateway_cases() {
    run("http/constructed_gateway_cases.jsonl", |record, bytes| {
        let reading = read(bytes);
        let verdict = match text(record, "id") {
            id if id.starts_with("te-multi") || id.starts_with("chunk-size") || id.starts_with("spoof-bare") => {
                expect(reading.refused(), "has to be refused", &reading)
            }
            "upgrade-pipelined" | "upgrade-foobar-pipelined" => {
                expect(reading.refused(), "has to be refused", &reading)
            }
            "early-401-chunked" | "early-401-get-body" => {
                expect(reading.requests() <= 1, "reads the body as a second request", &reading)
            }
            _ => expect(!reading.refused(), "the head is well-formed", &reading),
        };
        (Level::Must, verdict)
    });
}

#[test]
fn h2spec_captures() {
    println!("h2 captures: HTTP/2 is not served; what they ask of it is not checked, only that they are refused");
    run("http/h2spec_captures.jsonl", |_, bytes| {
        let reading = read(bytes);
        let preface = bytes.starts_with(b"PRI * ");
        let refused = if preface { reading == Reading::Head(HeadError::Http2Preface) } else { reading.refused() };
        (Level::Must, expect(refused, "is HTTP/2", &reading))
    });
}
