use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::config::resolved::{ContentAction, Detector, SafetyConfig, SafetyRule};
use crate::corpora;
use crate::safety::screen::{Body, Content, screen_response};
use crate::safety::tokenise::tests::with_caller;
use crate::safety::{RuleSet, rules::tests::route, splice};
use ContentAction::{Block, Flag, Mask, Redact};

/// What is looked for but phrases, with this action.
fn rules(action: ContentAction) -> &'static RouteRules {
    static COMPILED: LazyLock<Vec<(ContentAction, RuleSet)>> = LazyLock::new(|| {
        let calm: Vec<Detector> = Detector::ALL.into_iter().filter(|detector| !is_phrase(*detector)).collect();
        [Flag, Mask, Redact, Block].into_iter().map(|action| (action, compiled(&calm, action))).collect()
    });
    let (_, set) = COMPILED.iter().find(|(known, _)| *known == action).expect("one of four");
    set.response(0).expect("one route")
}

fn compiled(detectors: &[Detector], action: ContentAction) -> RuleSet {
    let rules = vec![SafetyRule::new("rule", detectors, action)];
    RuleSet::compile(&SafetyConfig { rules, ..SafetyConfig::default() }, &[route(0, "r")]).expect("compiles")
}

/// Everything is looked for, and redacted.
fn rules_of_all() -> &'static RouteRules {
    static COMPILED: LazyLock<RuleSet> = LazyLock::new(|| compiled(&Detector::ALL, Redact));
    COMPILED.response(0).expect("one route")
}

/// What became of a stream: what left, what was found, why it ended early.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    out: Vec<u8>,
    found: u32,
    refused: Option<Reason>,
}

/// A stream that comes in these pieces.
fn screened<'a>(kind: StreamKind, pieces: impl IntoIterator<Item = &'a [u8]>, action: ContentAction) -> Outcome {
    screened_by(kind, pieces, rules(action))
}

fn screened_by<'a>(kind: StreamKind, pieces: impl IntoIterator<Item = &'a [u8]>, rules: &RouteRules) -> Outcome {
    with_caller("idp", |caller| {
        let (mut walker, mut scan) = (Walker::new(), Scan::default());
        run(kind, pieces, &mut Tools::new(rules, caller, &[], &mut walker, &mut scan))
    })
}

fn run<'a>(kind: StreamKind, pieces: impl IntoIterator<Item = &'a [u8]>, tools: &mut Tools<'_>) -> Outcome {
    let (mut screen, mut out) = (StreamScreen::new(kind, 1 << 20), Vec::new());
    let pushed = pieces.into_iter().try_for_each(|piece| screen.push(piece, tools, &mut out));
    let ended = pushed.and_then(|()| screen.end(tools, &mut out));
    if ended.is_ok() {
        assert_eq!(screen.held(), 0, "nothing is left behind");
    }
    let found = screen.findings().iter().map(|finding| finding.count).sum();
    Outcome { out, found, refused: ended.err().map(|refused| refused.reason) }
}

fn in_one(kind: StreamKind, stream: &str, action: ContentAction) -> Outcome {
    screened(kind, [stream.as_bytes()], action)
}

/// What a whole text becomes, and how much was found in it.
fn whole(text: &str, rules: &RouteRules) -> (String, u32) {
    let content = Content::body(Body::Raw(text.as_bytes()));
    let screened = with_caller("idp", |caller| screen_response(caller, &content, rules, &[], &mut Scan::default()));
    let screened = screened.expect("nothing blocks");
    let mut out = Vec::new();
    splice(text.as_bytes(), &screened.edits, &mut out).expect("edits fit");
    let found = screened.findings.iter().map(|finding| finding.count).sum();
    (String::from_utf8(out).expect("UTF-8"), found)
}

/// Chat chunks that carry these pieces of content.
fn chat<'a>(pieces: impl IntoIterator<Item = &'a str>) -> String {
    let chunk = |choice: Value| {
        format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "model": "m", "choices": [choice]}))
    };
    let mut stream: String =
        pieces.into_iter().map(|piece| chunk(json!({"index": 0, "delta": {"content": piece}}))).collect();
    stream += &chunk(json!({"index": 0, "delta": {}, "finish_reason": "stop"}));
    stream + "data: [DONE]\n\n"
}

/// The content that a client of [`chat`] puts together.
#[track_caller]
fn content(stream: &[u8]) -> String {
    let stream = std::str::from_utf8(stream).expect("UTF-8");
    let chunks = stream.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).filter(|data| *data != "[DONE]");
    let content = |data: &str| {
        let chunk: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        chunk["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned()
    };
    chunks.map(content).collect()
}

/// Cuts `text` at these places, as far as they are boundaries of characters.
fn cut<'a>(text: &'a str, places: &[usize]) -> Vec<&'a str> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (text.len() + 1)).collect();
    places.retain(|place| text.is_char_boundary(*place));
    places.extend([0, text.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect()
}

const SSN: &str = "my ssn is 078-05-1120, thanks";

#[test]
fn threat_a08_a_value_split_over_deltas_is_found_wherever_it_is_cut() {
    for at in 0..=SSN.len() {
        let stream = chat([&SSN[..at], &SSN[at..]]);
        let outcome = in_one(StreamKind::Events, &stream, Redact);
        assert_eq!(content(&outcome.out), "my ssn is [REDACTED:US_SSN], thanks", "cut at {at}");
        assert_eq!((outcome.found, outcome.refused), (1, None));
    }
    let letters = SSN.as_bytes().chunks(1).map(|letter| std::str::from_utf8(letter).unwrap());
    let outcome = in_one(StreamKind::Events, &chat(letters), Mask);
    assert_eq!(content(&outcome.out), "my ssn is *******1120, thanks");
    assert_eq!(outcome.out.windows(4).filter(|four| four == b"data").count(), SSN.len() + 2, "no event is lost");
}

#[test]
fn a_change_over_several_deltas_is_written_into_the_first() {
    let stream = chat(["ssn \u{e9} 07", "8-05", "-1120", ". ok"]);
    let outcome = in_one(StreamKind::Events, &stream, Redact);
    let expected = stream
        .replace("\"ssn \u{e9} 07\"", "\"ssn \u{e9} [REDACTED:US_SSN]\"")
        .replace("\"8-05\"", "\"\"")
        .replace("\"-1120\"", "\"\"");
    assert_eq!(String::from_utf8(outcome.out).unwrap(), expected);
}

#[test]
fn a_piece_with_escapes_is_written_anew() {
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\n\\u0030\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"78-05-1120\\\"\"}}]}\n\n";
    let outcome = in_one(StreamKind::Events, stream, Redact);
    assert_eq!(content(&outcome.out), "a\n[REDACTED:US_SSN]\"");
}

#[test]
fn threat_a08_what_is_undecided_never_leaves_but_by_input_or_the_end() {
    let stream = chat(["The number is ", "078", "-05-", "1120"]);
    let events: Vec<&str> = stream.split_inclusive("\n\n").collect();
    with_caller("idp", |caller| {
        let (mut walker, mut scan, mut out) = (Walker::new(), Scan::default(), Vec::new());
        let mut tools = Tools::new(rules(Block), caller, &[], &mut walker, &mut scan);
        let mut screen = StreamScreen::new(StreamKind::Events, 1 << 20);
        screen.push(events[0].as_bytes(), &mut tools, &mut out).unwrap();
        assert_eq!(out, events[0].as_bytes(), "plain words leave at once");
        for event in &events[1..3] {
            screen.push(event.as_bytes(), &mut tools, &mut out).unwrap();
        }
        assert_eq!(out, events[0].as_bytes());
        let last = screen.push(events[3].as_bytes(), &mut tools, &mut out);
        let refused = last.and_then(|()| screen.end(&mut tools, &mut out));
        assert_eq!(refused.unwrap_err().reason, Reason::ContentBlocked);
        assert_eq!(out, events[0].as_bytes(), "what was held is gone");
    });
}

/// There is no clock to turn: were there one, ten seconds between any two bytes would have to change nothing, and the
/// least that can come between two looks at a clock is a byte.
#[test]
fn threat_a08_ten_seconds_between_any_two_bytes_change_nothing() {
    let stream =
        format!(": keep-alive 078-05-1120\n\n{}data: bob@exam\n\ndata: ple.com\n\n", chat(["tel 415-555", "-0132 x"]));
    for (kind, action) in [(StreamKind::Events, Redact), (StreamKind::Text, Mask), (StreamKind::Events, Block)] {
        let outcome = in_one(kind, &stream, action);
        assert_eq!(screened(kind, stream.as_bytes().chunks(1), action), outcome, "{kind:?} {action:?}");
    }
}

#[test]
fn threat_a08_at_the_bound_the_stream_ends() {
    let digits = "1 234 567 ".repeat(2000);
    for (kind, stream) in [(StreamKind::Text, digits.clone()), (StreamKind::Events, chat(cut(&digits, &[100, 9000])))] {
        let outcome = in_one(kind, &stream, Redact);
        assert_eq!(outcome.refused, Some(Reason::ResponseUnscannable));
        assert!(outcome.out.is_empty());
        let flagged = in_one(kind, &stream, Flag);
        assert_eq!(
            (flagged.refused, flagged.out),
            (None, stream.into_bytes()),
            "nothing waits where nothing is changed"
        );
    }
}

#[test]
fn threat_a14_comments_names_and_ids_of_events_are_screened() {
    let stream = ": a@b.example\r\nid: 078-05-1120\nevent: x\ndata: {}\n\n";
    let outcome = in_one(StreamKind::Events, stream, Redact);
    let expected = ": [REDACTED:EMAIL]\r\nid: [REDACTED:US_SSN]\nevent: x\ndata: {}\n\n";
    assert_eq!(String::from_utf8(outcome.out).unwrap(), expected);
}

#[test]
fn threat_a14_a_file_in_base64_over_several_deltas_is_one_finding() {
    let stream = chat([
        "![dot](data:image/png;base64,iVBORw0K",
        "GgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42m",
        "NkYPhf) done",
    ]);
    let outcome = in_one(StreamKind::Events, &stream, Redact);
    assert_eq!(
        (&*content(&outcome.out), outcome.found),
        ("![dot](data:image/png;base64,[REDACTED:UNSCANNABLE_MEDIA]) done", 1)
    );
    assert_eq!(in_one(StreamKind::Events, &stream, Flag).out, stream.as_bytes());
    assert_eq!(in_one(StreamKind::Events, &stream, Block).refused, Some(Reason::ContentBlocked));
}

#[test]
fn strings_that_are_whole_are_screened_with_their_event() {
    let stream =
        "data: {\"jsonrpc\":\"2.0\",\"result\":{\"content\":[{\"text\":\"call 415-555-0132\"}],\"ssn\":78051120}}\n\n";
    let outcome = in_one(StreamKind::Events, stream, Redact);
    let expected = stream.replace("415-555-0132", "[REDACTED:PHONE]");
    assert_eq!(String::from_utf8(outcome.out).unwrap(), expected);
}

#[test]
fn data_that_is_no_json_is_one_text() {
    let events = |events: [&str; 5]| events.map(|event| format!("data: {event}\n\n")).concat();
    let stream = events(["my ssn is 078-05", "-1120.", "\"Or a@b\"", "\".example or\"", "over\ndata: 415-555-0132"]);
    let outcome = in_one(StreamKind::Events, &stream, Redact);
    let data =
        ["my ssn is [REDACTED:US_SSN]", ".", "\"Or [REDACTED:EMAIL]\"", "\" or\"", "over\ndata: [REDACTED:PHONE]"];
    assert_eq!(String::from_utf8(outcome.out).unwrap(), events(data));
}

#[test]
fn data_that_another_reader_may_read_as_json_ends_the_stream() {
    for data in ["{\"a\":\"\\u0030\"", "[1,", "{\"a\":1,\"a\":2}", "{'a':1}"] {
        let outcome = in_one(StreamKind::Events, &format!("data: 1\n\ndata: {data}\n\n"), Redact);
        assert_eq!(outcome.refused, Some(Reason::ResponseUnscannable), "{data}");
    }
}

#[test]
fn arguments_of_calls_stay_json() {
    let arguments = redacted_arguments(&["{\"card\": 41111111", "11111111, \"ssn\": \"078-", "05-1120\"}"]);
    assert_eq!(arguments, json!({"card": "[REDACTED:CREDIT_CARD]", "ssn": "[REDACTED:US_SSN]"}));
}

/// What is decided ends within a string, or between two: a number that comes later is told from a string all the same.
#[test]
fn numbers_behind_what_was_decided_are_told_from_strings() {
    let words = "and so on ".repeat(80);
    for open in ["", "\\\" ", "\\\\"] {
        let note = format!("{{\"note\": \"{open}{words}");
        let pieces = [note.as_str(), "more\", \"card\": 4111111111111111, \"text\":", " \"4111111111111111\"}"];
        let arguments = redacted_arguments(&pieces);
        let expected = ["[REDACTED:CREDIT_CARD]"; 2];
        assert_eq!([&arguments["card"], &arguments["text"]], expected, "{open}");
    }
}

#[test]
fn numbers_that_become_text_are_counted_over_all_events() {
    let whole = |number: &str| format!("data: {{\"card\": {number}}}\n\n");
    let arguments = json!({"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "function": {
        "arguments": "{\"card\": 4012888888881881, \"text\": \"4111111111111111\"}"
    }}]}}]});
    let stream = [whole("4111111111111111"), whole("5500005555555559"), format!("data: {arguments}\n\n")].concat();
    let count = |action| {
        with_caller("idp", |caller| {
            let (mut walker, mut scan) = (Walker::new(), Scan::default());
            let mut tools = Tools::new(rules(action), caller, &[], &mut walker, &mut scan);
            let (mut screen, mut out) = (StreamScreen::new(StreamKind::Events, 1 << 20), Vec::new());
            screen.push(stream.as_bytes(), &mut tools, &mut out).expect("passes");
            screen.end(&mut tools, &mut out).expect("ends");
            screen.evidence().numbers_to_text
        })
    };
    assert_eq!([Redact, Flag].map(count), [3, 0]);
}

/// Where findings are only flagged, what they come to together still keeps a stream from leaving.
#[test]
fn a_stream_ends_where_its_score_is_too_high_and_holds_what_would_raise_it() {
    let rules = vec![SafetyRule::new("rule", &[Detector::CreditCard], Flag)];
    let config = SafetyConfig { rules, block_score: Some(60), ..SafetyConfig::default() };
    let set = RuleSet::compile(&config, &[route(0, "r")]).expect("compiles");
    let stream = chat(["All is well. ", "Her card is 4111 1111 ", "1111 1111, and ", "that is all."]);
    let outcome = screened_by(StreamKind::Events, [stream.as_bytes()], set.response(0).expect("a route"));
    assert_eq!((outcome.found, outcome.refused), (1, Some(Reason::ContentBlocked)));
    assert!(!String::from_utf8_lossy(&outcome.out).contains("4111"), "none of it has left");
    let clean = chat(["All is well."]);
    let outcome = screened_by(StreamKind::Events, [clean.as_bytes()], set.response(0).expect("a route"));
    assert_eq!((outcome.out, outcome.refused), (clean.into_bytes(), None));
}

/// Lines of encoded text are decoded as one, however far they go on.
#[test]
fn a_value_over_two_wrapped_lines_of_base64_is_found_as_in_the_whole() {
    let words = "and so on ".repeat(200);
    let (before, behind) = words.split_at(57 * 12 - 5);
    let encoded = STANDARD.encode(format!("{before} 078-05-1120 {behind}"));
    let lines: Vec<_> = encoded.as_bytes().chunks(76).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    let text = lines.join("\n");
    assert_eq!(whole(&text, rules(Redact)).1, 1, "found in the whole");
    check_text(&text, &(0..text.len()).step_by(50).collect::<Vec<_>>());
}

/// The arguments of a call that come in these pieces, as a client puts them together and reads them.
#[track_caller]
fn redacted_arguments(pieces: &[&str]) -> Value {
    let call = |arguments: &&str| {
        let delta = json!({"tool_calls": [{"index": 0, "function": {"arguments": arguments}}]});
        format!("data: {}\n\n", json!({"choices": [{"index": 0, "delta": delta}]}))
    };
    let stream: String = pieces.iter().map(call).collect();
    let outcome = in_one(StreamKind::Events, &stream, Redact);
    let text = String::from_utf8(outcome.out).unwrap();
    let arguments = text.split("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(|data| {
        let event: Value = serde_json::from_str(data).unwrap();
        event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().unwrap().to_owned()
    });
    serde_json::from_str(&arguments.collect::<String>()).expect("still JSON")
}

#[test]
fn plain_text_is_screened_as_it_comes() {
    let text = format!("{}write to a@b.example\nor call 415-555-0132", "many words ".repeat(100));
    let outcome = in_one(StreamKind::Text, &text, Redact);
    assert_eq!(String::from_utf8(outcome.out).unwrap(), whole(&text, rules(Redact)).0);
}

#[test]
fn text_that_may_be_json_ends_where_an_escape_hides_what_it_spells() {
    let hidden = "{\"ssn\":\"\\u0030\\u0037\\u0038-05-1120\"}";
    for pieces in [vec![hidden.as_bytes()], hidden.as_bytes().chunks(1).collect()] {
        let outcome = screened(StreamKind::Text, pieces, Redact);
        assert_eq!(outcome, Outcome { out: Vec::new(), found: 0, refused: Some(Reason::ResponseUnscannable) });
    }
    let later = format!("[1,\n{hidden}]");
    for pieces in [vec![later.as_bytes()], later.as_bytes().chunks(1).collect()] {
        assert_eq!(screened(StreamKind::Text, pieces, Redact).out.len(), 0, "a line of numbers is not decided yet");
    }
    let slash = in_one(StreamKind::Text, "{\"born\":\"1\\/2\\/1979\"}", Redact);
    assert_eq!(slash.refused, Some(Reason::ResponseUnscannable), "what a slash parts may be written so");
    for plain in ["{\"a\":\"\\\\u\\n\"}", "C:\\users\\/x"] {
        assert_eq!(in_one(StreamKind::Text, plain, Redact).refused, None, "{plain}");
    }
}

/// Every labelled text of the corpora as a stream, cut after every `step`th character: what a client puts together is
/// what the whole text would have become.
#[test]
fn texts_of_the_corpora_are_screened_alike_whole_and_in_pieces() {
    let texts = texts();
    for (i, text) in texts.iter().enumerate() {
        check_text(text, &(0..text.len()).step_by(1 + i % 7).collect::<Vec<_>>());
    }
    println!("{} texts", texts.len());
}

#[track_caller]
fn check_text(text: &str, places: &[usize]) {
    for rules in [rules(Redact), rules_of_all(), known::rules_of_forms()] {
        let stream = chat(cut(text, places));
        let outcome = screened_by(StreamKind::Events, [stream.as_bytes()], rules);
        let (expected, found) = whole(text, rules);
        assert_eq!(outcome.refused, None, "{text:?}");
        assert_eq!(content(&outcome.out), expected, "{text:?} cut at {places:?}");
        assert_eq!(outcome.found, found, "{text:?}");
        let plain = screened_by(StreamKind::Text, [text.as_bytes()], rules);
        assert_eq!(String::from_utf8_lossy(&plain.out), expected, "{text:?}");
    }
}

const CORPORA: [&str; 6] = [
    "pii/negatives_tool_calls.jsonl",
    "pii/presidio_evaluator_generated.jsonl",
    "pii/presidio_recognizer_tests.jsonl",
    "pii/secrets_detect_secrets.jsonl",
    "pii/secrets_gitleaks.jsonl",
    "pii/secrets_secretlint.jsonl",
];

/// Labelled texts; none without corpora.
fn texts() -> Vec<String> {
    let mut texts = vec![SSN.to_owned()];
    for file in CORPORA {
        for record in corpora::records(file).unwrap_or_default().iter().step_by(9) {
            texts.extend(record["text"].as_str().map(str::to_owned));
        }
    }
    texts
}

/// Streams as `OpenAI` sent them.
fn recorded() -> Vec<String> {
    let records = corpora::records("llm/recorded_openai_exchanges.jsonl").unwrap_or_default();
    let streams = records.iter().filter(|record| record["streaming"] == true);
    streams.filter_map(|record| record["response"]["body"].as_str().map(str::to_owned)).collect()
}

#[test]
fn recorded_streams_pass_bit_for_bit_and_alike_however_they_are_read() {
    for stream in recorded() {
        let outcome = in_one(StreamKind::Events, &stream, Redact);
        assert_eq!(outcome.refused, None);
        if outcome.found == 0 {
            assert_eq!(outcome.out, stream.as_bytes());
        }
        for step in [1, 7, 100, 4096] {
            assert_eq!(screened(StreamKind::Events, stream.as_bytes().chunks(step), Redact), outcome, "{step}");
        }
    }
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => "[a-z]{1,9}[,.]? ",
        1 => Just("078-05-1120 ".to_owned()),
        1 => Just("4111 1111 1111 1111, ".to_owned()),
        1 => Just("+1 415-555-0132\n".to_owned()),
        1 => Just("bob.smith@mail.example.com".to_owned()),
        1 => Just("password = \"hunter2hunter!x\" ".to_owned()),
        1 => Just("AKIAIOSFODNN7EXAMPLQ\n".to_owned()),
        1 => Just("postgres://u:s3cr3tpw@db.example/x ".to_owned()),
        1 => "[0-9]{1,5}[ -]?",
        1 => "[\"'{}:=\\\\,\u{e9}\u{4eca}]{1,3}",
    ];
    prop::collection::vec(word, 0..60).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_text_is_screened_alike_however_a_model_cut_it(text in words(), places in prop::collection::vec(any::<usize>(), 0..40)) {
        check_text(&text, &places);
    }

    #[test]
    fn a_stream_leaves_alike_however_it_was_read(
        text in words(),
        places in prop::collection::vec(any::<usize>(), 0..10),
        reads in prop::collection::vec(any::<usize>(), 0..20),
        action in prop::sample::select(vec![Flag, Mask, Redact, Block]),
    ) {
        let stream = chat(cut(&text, &places));
        for (kind, stream) in [(StreamKind::Events, &stream), (StreamKind::Text, &text)] {
            let mut reads: Vec<usize> = reads.iter().map(|read| read % (stream.len() + 1)).chain([0, stream.len()]).collect();
            reads.sort_unstable();
            let pieces: Vec<&[u8]> = reads.windows(2).map(|pair| &stream.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(screened(kind, pieces, action), in_one(kind, stream, action));
        }
    }
}

mod bounds;
mod known;
mod recorded;
