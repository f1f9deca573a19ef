//! The fuzz targets over their seeds, over the corpora where they are, and over a fixed number of seeds changed at
//! random, the same ones in every run.

use std::panic::catch_unwind;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::audit::record::{ENTRY_BYTES_MAX, Layer, Refusal, sample, wire};
use crate::corpora;
use crate::reason::Reason;

/// Changed seeds per target: a second or two for most.
const CHANGED: usize = 4_000;

/// The same, of a target whose every input is a stream that is screened several times over.
const CHANGED_STREAMS: usize = 400;

/// Longest input made here, as cargo-fuzz's own default.
const BYTES_MAX: usize = 4_096;

type Body = fn(&[u8]);

/// Runs a target over everything there is for it.
#[track_caller]
fn run(name: &str, body: Body, others: Vec<Vec<u8>>) {
    run_changed(name, body, others, CHANGED);
}

/// The same, over so many changed seeds.
#[track_caller]
fn run_changed(name: &str, body: Body, others: Vec<Vec<u8>>, changed: usize) {
    let seeds = seeds(name);
    let (committed, count) = (seeds.len(), others.len());
    let inputs: Vec<_> = seeds.into_iter().chain(others).collect();
    inputs.iter().for_each(|input| try_one(name, body, input));
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..changed {
        try_one(name, body, &random.changed(&inputs));
    }
    println!("{name}: {committed} seeds, {count} other inputs, {changed} changed at random");
}

#[track_caller]
fn try_one(name: &str, body: Body, input: &[u8]) {
    assert!(catch_unwind(|| body(input)).is_ok(), "{name} fails on b\"{}\"", input.escape_ascii());
}

/// The files of `fuzz/seeds/NAME`.
#[track_caller]
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(name);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{name} has no seeds");
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// One of `inputs` after one to four changes.
    fn changed(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = inputs[self.below(inputs.len())].clone();
        for _ in 0..=self.below(4) {
            self.change(&mut bytes, inputs);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    /// A byte replaced, put in or taken out, a piece repeated, or the rest of another input.
    fn change(&mut self, bytes: &mut Vec<u8>, inputs: &[Vec<u8>]) {
        const ODD: &[u8] = b"\0\t\n\r \"#%&'*+,-./0123456789:;<=>?@[\\]_`{|}~\x7f\x80\xc0\xe2\xff";
        let at = self.below(bytes.len() + 1);
        let byte = if self.below(4) == 0 { self.next() as u8 } else { ODD[self.below(ODD.len())] };
        match self.below(5) {
            0 if at < bytes.len() => bytes[at] = byte,
            1 if at < bytes.len() => _ = bytes.remove(at),
            2 => {
                let end = (at + self.below(16)).min(bytes.len());
                bytes.extend_from_within(at..end);
            }
            3 => {
                let other = &inputs[self.below(inputs.len())];
                bytes.truncate(at);
                bytes.extend_from_slice(&other[self.below(other.len() + 1)..]);
            }
            _ => bytes.insert(at, byte),
        }
    }
}

/// The request bytes of the HTTP corpora.
fn requests() -> Vec<Vec<u8>> {
    let files = [
        "http/http11probe.jsonl",
        "http/llhttp_request_fixtures.jsonl",
        "http/http_desync_guardian.jsonl",
        "http/constructed_gateway_cases.jsonl",
    ];
    let records = files.into_iter().filter_map(corpora::records).flatten();
    records.map(|record| STANDARD.decode(corpora::member(&record, "raw_b64")).unwrap()).collect()
}

/// A member of every record, behind a byte that says what it is.
fn members(file: &str, member: &str, kind: Option<u8>) -> Vec<Vec<u8>> {
    let records = corpora::records(file).unwrap_or_default();
    let texts = records.iter().map(|record| corpora::member(record, member).as_bytes());
    texts.map(|text| kind.into_iter().chain(text.iter().copied()).collect()).collect()
}

#[test]
fn request_head() {
    run("request_head", super::request_head, requests());
}

#[test]
fn response_head() {
    run("response_head", super::response_head, Vec::new());
}

#[test]
fn chunked() {
    let bodies = requests().into_iter().filter_map(|request| {
        let body = memchr::memmem::find(&request, b"\r\n\r\n")? + 4;
        Some([&[2], &request[body..]].concat())
    });
    run("chunked", super::chunked, bodies.collect());
}

#[test]
fn decode() {
    run("decode", super::decode, Vec::new());
}

#[test]
fn json() {
    run("json", super::json, Vec::new());
}

/// Recorded event streams, behind these bytes.
fn streams(head: &[u8]) -> Vec<Vec<u8>> {
    let records = corpora::records("llm/recorded_openai_exchanges.jsonl").unwrap_or_default();
    let streams = records.iter().filter(|record| record["streaming"] == true);
    let bodies = streams.filter_map(|record| record["response"]["body"].as_str());
    bodies.map(|body| [head, body.as_bytes()].concat()).collect()
}

#[test]
fn sse() {
    run("sse", super::sse, streams(&[7]));
}

#[test]
fn stream() {
    let texts = ["pii/presidio_recognizer_tests.jsonl", "pii/secrets_gitleaks.jsonl"];
    let texts = texts.into_iter().flat_map(|file| members(file, "text", Some(1)));
    let texts = texts.map(|text| [&[1, 40], &text[1..]].concat());
    run_changed("stream", super::stream, streams(&[0, 200]).into_iter().chain(texts).collect(), CHANGED_STREAMS);
}

/// The labelled texts, behind a byte that says what becomes of them: raw, and as JSON.
fn texts() -> Vec<Vec<u8>> {
    let files =
        ["pii/presidio_recognizer_tests.jsonl", "pii/presidio_evaluator_generated.jsonl", "pii/secrets_gitleaks.jsonl"];
    let raw: Vec<_> = files.into_iter().flat_map(|file| members(file, "text", Some(2))).collect();
    let quoted = |text: &Vec<u8>| {
        let text = serde_json::Value::from(String::from_utf8_lossy(&text[1..]));
        [&[0], text.to_string().as_bytes()].concat()
    };
    let json: Vec<_> = raw.iter().map(quoted).collect();
    raw.into_iter().chain(json).collect()
}

#[test]
fn edits() {
    run("edits", super::edits, texts());
}

#[test]
fn tokens() {
    run("tokens", super::tokens, texts());
}

#[test]
fn inflate() {
    run("inflate", super::inflated, Vec::new());
}

#[test]
fn multipart() {
    run("multipart", super::multipart, Vec::new());
}

#[test]
fn token() {
    run("token", super::token, members("jwt/wycheproof_jws.jsonl", "jws", Some(0)));
}

#[test]
fn path() {
    run("path", super::path, members("ssrf/wpt_url_parsing.jsonl", "input", None));
}

#[test]
fn config() {
    run("config", super::config, Vec::new());
}

/// Entries as workers store them.
fn entries() -> Vec<Vec<u8>> {
    fn stored(encode: impl FnOnce(&mut [u8]) -> usize) -> Vec<u8> {
        let mut entry = vec![0; 1 + ENTRY_BYTES_MAX];
        let len = encode(&mut entry[1..]);
        entry.truncate(1 + len);
        entry
    }
    let refusal = Refusal::new(sample::id(9), sample::now(), sample::peer(), Layer::Identity, Reason::InvalidToken);
    vec![
        sample::with_intent(|intent| stored(|buf| wire::encode_intent(buf, intent))),
        stored(|buf| wire::encode_outcome(buf, &sample::outcome())),
        stored(|buf| wire::encode_refusal(buf, &refusal)),
    ]
}

#[test]
fn audit() {
    run("audit", super::audit, entries());
}
