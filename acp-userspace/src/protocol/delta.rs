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
use crate::ids::Key128;

/// Longest name that stands as it is in a [`TextId`], and longest chain of names; of longer ones a digest does.
const NAME_BYTES_MAX: usize = 64;
const NAMES_BYTES_MAX: usize = 192;
/// How much of the end of a name stands behind its digest, so that it says of what kind the text is.
const TAIL_BYTES: usize = 16;

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

/// What tells one text of a stream from another: names and numbers, each ended by a byte that is in neither. However long
/// they are and however deep the text stands, it takes `NAMES_BYTES_MAX` bytes and a name's at most.
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
        if name.len() > NAME_BYTES_MAX {
            self.digest(name.as_bytes());
        } else {
            self.0.extend_from_slice(name.as_bytes());
        }
        self.0.push(0xff);
        self
    }

    /// Stands for a long name; begins with a byte that is in no name.
    fn digest(&mut self, name: &[u8]) {
        self.0.push(0xfe);
        self.0.extend(Key128::of(&[name]).0.iter().flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]));
        self.0.extend_from_slice(&name[name.len() - TAIL_BYTES..]);
    }

    /// The same, with a digest instead of a long chain of names.
    fn bounded(self) -> Self {
        if self.0.len() <= NAMES_BYTES_MAX {
            return self;
        }
        let mut short = Self::default();
        short.digest(&self.0[..self.0.len() - 1]);
        short.0.push(0xff);
        short
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
    // The containers around the node, and what the texts directly in each are of.
    let mut around: Vec<(Node<'_>, TextId)> = Vec::new();
    for node in document.nodes() {
        while around.pop_if(|(container, _)| !container.encloses(&node)).is_some() {}
        let of = |around: &[(Node<'_>, TextId)]| around.last().map_or_else(|| TextId::of(""), |(_, id)| id.clone());
        let name = node.key().and_then(|key| key.text());
        match (node.kind(), name) {
            (Kind::Object | Kind::Array, name) => {
                let id = name.into_iter().fold(of(&around), TextId::and);
                around.push((node, numbered(id, node).bounded()));
            }
            (Kind::String, Some(name)) if TEXT_NAMES.contains(&name) => {
                deltas.pieces.push((node, of(&around).and(name)));
            }
            _ => {}
        }
    }
    deltas
}

/// What stands in a container: by its `index`, if it says one.
fn numbered(id: TextId, container: Node<'_>) -> TextId {
    let index = container.get("index").filter(|index| matches!(index.number(), Some(Number::Int(_))));
    match index {
        Some(index) => id.and("#").at(Some(index)),
        None => id,
    }
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

    /// The texts that an event carries on.
    fn texts(event: &str) -> Vec<TextId> {
        let mut walker = Walker::new();
        let document = walker.walk(event.as_bytes(), &Limits::default()).expect("valid JSON");
        read(document).pieces.into_iter().map(|(_, id)| id).collect()
    }

    #[test]
    fn texts_are_told_apart_in_little_room_however_long_and_deep_their_names() {
        let long = "n".repeat(10_000);
        let event =
            format!(r#"{{"{long}1":{{"text":"a"}},"{long}2":{{"text":"b"}},"n":[{{"text":"c"}},{{"text":"d"}}]}}"#);
        let [one, other, third, fourth] = &texts(&event)[..] else { panic!("four pieces") };
        assert!(one != other && other != third && third == fourth);
        assert!(texts(&event).iter().all(|id| id.0.len() <= NAMES_BYTES_MAX), "{one:?}");
        let deep = |name: &str| format!("{}{{\"{name}\":\"a\"}}{}", "{\"outer\":".repeat(60), "}".repeat(60));
        let ids = [texts(&deep("text")), texts(&deep("arguments")), texts(&deep("text")[9..].replacen("}}", "}", 1))];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[0] == texts(&deep("text")));
        assert!(ids.iter().flatten().all(|id| id.0.len() <= NAMES_BYTES_MAX + NAME_BYTES_MAX), "{ids:?}");
        assert!(ids[1][0].holds_json() && !ids[0][0].holds_json());
    }

    #[test]
    fn data_that_is_no_json_and_a_member_of_that_name_are_two_texts() {
        assert_ne!(texts(r#"{"data":"a"}"#), [TextId::of_data()]);
    }
}
