//! What has to hold of screened streams whatever the bytes: body of a fuzz target, run by `crate::fuzzing`.

use std::cell::RefCell;
use std::sync::LazyLock;

use super::*;
use crate::config::resolved::ContentAction::{self, Block, Flag, Mask, Redact};
use crate::protocol::json::{Document, Kind, Limits};
use crate::protocol::sse::Data;
use crate::safety::fuzz::{Random, as_caller, rules, split};
use crate::safety::screen::{Body, screen_response};
use crate::safety::splice;

/// Longest event; shorter than some inputs, so that the bound is met.
const HELD_BYTES_MAX: usize = 1 << 12;

/// A stream. Its first byte says of which kind it is and what becomes of what is found, the second how it comes.
///
/// However it is read, the same leaves. Nothing is left behind at its end; events leave as many as they came, and what
/// was JSON in them is JSON. A text that comes in pieces becomes what it becomes whole.
pub fn stream(input: &[u8]) {
    let Some((how, (cuts, stream))) = split(input).and_then(|(how, rest)| Some((how, split(rest)?))) else { return };
    let kind = if how & 1 == 0 { StreamKind::Events } else { StreamKind::Text };
    let action = [Redact, Mask, Flag, Block][usize::from(how >> 1 & 3)];
    let mut random = Random(cuts.into());
    let whole = screened(kind, &[stream], action);
    assert_eq!(screened(kind, &stream.chunks(1).collect::<Vec<_>>(), action), whole, "byte by byte");
    let reads = random.pieces(stream, 1 + usize::from(cuts), |_| true);
    assert_eq!(screened(kind, &reads, action), whole, "in {} reads", reads.len());
    if action == Flag && whole.refused.is_none() {
        assert_eq!(whole.out, stream, "nothing changes");
    }
    if kind == StreamKind::Events && whole.refused.is_none() {
        assert_eq!(shapes(&whole.out), shapes(stream));
    }
    if let Ok(text) = std::str::from_utf8(stream)
        && matches!(action, Redact | Mask)
    {
        in_pieces(text, action, &mut random);
    }
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    out: Vec<u8>,
    findings: Vec<Finding>,
    evidence: Evidence,
    edits: usize,
    refused: Option<StreamRefused>,
}

thread_local! {
    static MEMORY: RefCell<(Walker, Scan)> = RefCell::default();
}

fn rules_for(action: ContentAction) -> &'static RouteRules {
    static COMPILED: LazyLock<[(ContentAction, RouteRules); 4]> =
        LazyLock::new(|| [Redact, Mask, Flag, Block].map(|action| (action, rules(action, 1))));
    COMPILED.iter().find(|(known, _)| *known == action).map(|(_, rules)| rules).expect("one of four")
}

fn screened(kind: StreamKind, pieces: &[&[u8]], action: ContentAction) -> Outcome {
    screened_within(HELD_BYTES_MAX, kind, pieces, action)
}

/// Where so many bytes may be held.
fn screened_within(held_bytes_max: usize, kind: StreamKind, pieces: &[&[u8]], action: ContentAction) -> Outcome {
    MEMORY.with_borrow_mut(|(walker, scan)| {
        as_caller("acme", 0, |caller| {
            let mut tools = Tools::new(rules_for(action), caller, &[], walker, scan);
            let (mut screen, mut out) = (StreamScreen::new(kind, held_bytes_max), Vec::new());
            let pushed = pieces.iter().try_for_each(|piece| screen.push(piece, &mut tools, &mut out));
            let ended = pushed.and_then(|()| screen.end(&mut tools, &mut out));
            assert!(ended.is_err() || screen.held() == 0, "something is left behind");
            let (findings, evidence, edits) = (screen.findings().to_vec(), screen.evidence().clone(), screen.edits());
            Outcome { out, findings, evidence, edits, refused: ended.err() }
        })
    })
}

/// Of each event, whether its data is JSON, and of how many nodes.
fn shapes(stream: &[u8]) -> Vec<Option<usize>> {
    let mut events = Events::new(usize::MAX);
    events.push(stream);
    let (mut shapes, mut walker) = (Vec::new(), Walker::new());
    let mut shape = |data: Option<Data<'_>>| {
        let data = data?;
        Some(walker.walk(&data.text, &Limits::default()).ok().filter(is_json)?.nodes().count())
    };
    while let Ok(Some(event)) = events.next_event() {
        shapes.push(shape(event.data()));
    }
    shapes.extend(events.rest().map(|event| shape(event.data())));
    shapes
}

/// What stands alone in an event, as a number does, is a piece of text.
fn is_json(document: &Document<'_>) -> bool {
    matches!(document.root().kind(), Kind::Object | Kind::Array | Kind::String)
}

/// A text in pieces, as a model sends it, and as plain text: what a client puts together is what the whole becomes.
fn in_pieces(text: &str, action: ContentAction, random: &mut Random) {
    let Some(expected) = whole(text, action) else { return };
    let pieces = random.pieces(text.as_bytes(), 12, |at| text.is_char_boundary(at));
    let chunk = |piece: &&[u8]| {
        let piece = serde_json::Value::from(String::from_utf8_lossy(piece));
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":{piece}}}}}]}}\n\n")
    };
    let stream: String = pieces.iter().map(chunk).collect();
    let outcome = screened_within(1 << 20, StreamKind::Events, &[stream.as_bytes()], action);
    if outcome.refused.is_none() {
        assert_eq!(content(&outcome.out), expected, "in pieces: {pieces:?}");
    }
    let plain = screened(StreamKind::Text, &[text.as_bytes()], action);
    if plain.refused.is_none() {
        assert_eq!(String::from_utf8_lossy(&plain.out), expected, "as plain text");
    }
}

/// What a whole text becomes; `None` if it is refused.
fn whole(text: &str, action: ContentAction) -> Option<String> {
    let content = Content::body(Body::Raw(text.as_bytes()));
    let screened = MEMORY.with_borrow_mut(|(_, scan)| {
        as_caller("acme", 0, |caller| screen_response(caller, &content, rules_for(action), &[], scan).ok())
    })?;
    let mut out = Vec::new();
    splice(text.as_bytes(), &screened.edits, &mut out).expect("edits fit");
    Some(String::from_utf8(out).expect("whole characters were edited"))
}

/// The text of such events.
fn content(stream: &[u8]) -> String {
    let stream = std::str::from_utf8(stream).expect("UTF-8");
    let text = |event: &str| {
        let event: serde_json::Value = serde_json::from_str(event).expect("JSON");
        event["choices"][0]["delta"]["content"].as_str().expect("a text").to_owned()
    };
    stream.split_terminator("\n\n").filter_map(|event| event.strip_prefix("data: ")).map(text).collect()
}
