//! What the events of model APIs carry on: texts that come in pieces, one piece an event.
//!
//! A reader of such a stream appends piece to piece, so that what matters is the text they make together. [`read`] says
//! which strings of an event's data are pieces, of which text each, and which texts end with the event. Two shapes are
//! known (`super::openai`, `super::anthropic`); for any other, the strings under a name that such APIs use for text
//! are taken for pieces of what stands at the same place in the next event. All other strings are whole as they are.
//!
//! **Invariant:** texts are told apart by everything that could tell them apart to a reader, so that two texts never
//! count as one; what counts as two and is one is for the shapes to avoid.

use smallvec::SmallVec;

use super::json::{Document, Kind, Node, Number};
use super::{anthropic, openai};

/// Names under which unknown events carry text.
const TEXT_NAMES: [&str; 18] = [
    "text",
    "content",
    "delta",
    "token",
    "tokens",
    "completion",
    "response",
    "message",
    "output",
    "output_text",
    "generated_text",
    "arguments",
    "partial_json",
    "thinking",
    "reasoning",
    "reasoning_content",
    "transcript",
    "data",
];

/// What tells one text of a stream from another: names and numbers, each ended by a byte that is in neither.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TextId(SmallVec<[u8; 48]>);

impl TextId {
    /// The text of this name.
    #[must_use]
    pub(super) fn of(name: &str) -> Self {
        Self::default().and(name)
    }

    /// A part of it.
    #[must_use]
    pub(super) fn and(mut self, name: &str) -> Self {
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(0xff);
        self
    }

    /// The one of it that `index` says, as it is written; none is the first.
    #[must_use]
    pub(super) fn at(self, index: Option<Node<'_>>) -> Self {
        self.and(index.map_or("0", |index| index.token()))
    }

    /// What all texts are of.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// The text that the data of all events are together.
    #[must_use]
    pub fn of_data() -> Self {
        Self::of("data")
    }

    /// Whether it holds JSON: the arguments of a call.
    #[must_use]
    pub fn holds_json(&self) -> bool {
        let names = self.0.split(|byte| *byte == 0xff);
        names.into_iter().any(|name| name.ends_with(b"arguments") || name == b"partial_json")
    }

    /// Whether it is `other` or a part of that.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

/// What one event carries on.
#[derive(Debug, Default)]
pub struct Deltas<'a> {
    /// Strings that are pieces, in document order, and the text each belongs to.
    pub pieces: SmallVec<[(Node<'a>, TextId); 4]>,
    /// Texts that end with the event: all parts of these.
    pub ended: SmallVec<[TextId; 2]>,
}

impl<'a> Deltas<'a> {
    /// Takes `node` for a piece, if it is a string.
    pub(super) fn piece(&mut self, node: Option<Node<'a>>, id: impl FnOnce() -> TextId) {
        if let Some(node) = node.filter(|node| node.kind() == Kind::String) {
            self.pieces.push((node, id()));
        }
    }
}

/// What an event with this data carries on.
#[must_use]
pub fn read(document: Document<'_>) -> Deltas<'_> {
    let root = document.root();
    let mut deltas = openai::read(root).or_else(|| anthropic::read(root)).unwrap_or_else(|| unknown(document));
    deltas.pieces.sort_by_key(|(node, _)| node.index());
    deltas
}

/// Strings under a name for text; JSON-RPC, as MCP has it, carries whole messages.
fn unknown(document: Document<'_>) -> Deltas<'_> {
    let mut deltas = Deltas::default();
    if document.root().get("jsonrpc").is_some() {
        return deltas;
    }
    for node in document.nodes().filter(|node| node.kind() == Kind::String) {
        let Some(name) = node.key().and_then(|key| key.text()) else { continue };
        if TEXT_NAMES.contains(&name) {
            deltas.pieces.push((node, place(node)));
        }
    }
    deltas
}

/// Where a string stands: names, and for items of arrays their `index` if they say one.
fn place(node: Node<'_>) -> TextId {
    let mut id = TextId::default();
    let mut at = Some(node);
    while let Some(node) = at {
        if let Some(key) = node.key() {
            id = id.and(key.text().unwrap_or_default());
        }
        let index = node.get("index").filter(|index| matches!(index.number(), Some(Number::Int(_))));
        if let Some(index) = index {
            id = id.and("#").at(Some(index));
        }
        at = node.parent();
    }
    id
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::json::{Limits, Walker};

    /// The pieces of events, each text's joined, in the order they began; and behind every event how many texts it ends.
    #[track_caller]
    pub(in crate::protocol) fn check(events: &[&str], texts: &[&str], ended: &[usize]) {
        let mut walker = Walker::new();
        let (mut got, mut ends): (Vec<(TextId, String)>, Vec<usize>) = Default::default();
        for event in events {
            let document = walker.walk(event.as_bytes(), &Limits::default()).expect("valid JSON");
            let deltas = read(document);
            for (node, id) in &deltas.pieces {
                let text = node.text().expect("a string");
                match got.iter_mut().find(|(known, _)| known == id) {
                    Some((_, so_far)) => so_far.push_str(text),
                    None => got.push((id.clone(), text.to_owned())),
                }
            }
            let is_ended = |id: &TextId| deltas.ended.iter().any(|ended| id.is_of(ended));
            ends.push(got.iter().filter(|(id, _)| is_ended(id)).count());
        }
        let got: Vec<_> = got.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(got, texts, "{events:?}");
        assert_eq!(ends, ended, "{events:?}");
    }

    #[test]
    fn events_of_unknown_shape_carry_on_what_stands_under_a_name_for_text() {
        check(
            &[
                r#"{"token":{"id":1,"text":"a"},"model":"m"}"#,
                r#"{"token":{"id":2,"text":"b"},"model":"m"}"#,
                r#"{"candidates":[{"index":1,"content":{"parts":[{"text":"x"}]}}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"y"}]},"index":1}]}"#,
                r#"{"candidates":[{"content":{"parts":[{"text":"z"}]},"index":0}]}"#,
            ],
            &["ab", "xy", "z"],
            &[0; 5],
        );
    }

    #[test]
    fn a_message_of_mcp_is_whole() {
        check(&[r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"a"}]}}"#], &[], &[0]);
    }
}
