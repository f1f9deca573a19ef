//! Events that wait for the pieces of text in them to be decided, and the texts they are pieces of.

use std::collections::VecDeque;
use std::ops::Range;

use smallvec::SmallVec;

use super::text::{Changes, Slot, Text};
use super::{StreamRefused, TEXTS_MAX, Tools, Total};
use crate::protocol::delta::{self, TextId};
use crate::protocol::json::{self, JsonError, Kind, write_string};
use crate::protocol::sse::{Data, Event, Places};
use crate::reason::Reason;
use crate::safety::Edit;
use crate::safety::redact::splice;
use crate::safety::rules::RouteRules;
use crate::safety::screen::{Body, Content};

/// What `OpenAI` and those like it end a stream with.
const DONE: &[u8] = b"[DONE]";

/// Events in order, from the first that waits.
#[derive(Debug)]
pub(super) struct Queue {
    texts: Vec<(TextId, Text)>,
    events: VecDeque<Held>,
    /// Number of the first event.
    first: u64,
    held: usize,
    held_max: usize,
}

/// An event that waits.
#[derive(Debug)]
struct Held {
    bytes: Vec<u8>,
    /// Where its pieces stand.
    pieces: SmallVec<[Spot; 1]>,
    edits: Vec<Edit>,
    /// How many of its pieces are not decided.
    waiting: usize,
}

/// Where a piece stands in its event.
#[derive(Debug)]
enum Spot {
    /// A JSON string with its quotes, and whether it holds escapes.
    String(Range<usize>, bool),
    /// Data as it is.
    Data(Places),
}

/// The texts that an event carries on or ends.
#[derive(Debug, Default)]
struct Touched {
    grown: SmallVec<[TextId; 4]>,
    ended: SmallVec<[TextId; 2]>,
}

impl Queue {
    pub(super) fn new(held_max: usize) -> Self {
        Self { texts: Vec::new(), events: VecDeque::new(), first: 0, held: 0, held_max }
    }

    /// Bytes of the events that wait.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Screens an event; it and those before it go to `out` as far as they are decided.
    pub(super) fn take(
        &mut self,
        event: &Event<'_>,
        tools: &mut Tools<'_>,
        total: &mut Total,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamRefused> {
        self.held += event.bytes.len();
        if self.held > self.held_max {
            return Err(StreamRefused { reason: Reason::ResponseUnscannable });
        }
        let bytes = event.bytes.to_vec();
        let mut held = Held { bytes, pieces: SmallVec::new(), edits: Vec::new(), waiting: 0 };
        lines(event, &mut held, tools, total)?;
        let touched = match event.data() {
            Some(data) => self.data(&data, &mut held, tools, total)?,
            None => Touched::default(),
        };
        self.wait(held);
        for id in touched.grown {
            self.decide(|text| *text == id, false, tools, total)?;
        }
        for id in touched.ended {
            self.decide(|text| text.is_of(&id), true, tools, total)?;
        }
        self.flush(total, out)
    }

    /// Ends all texts.
    pub(super) fn end(
        &mut self,
        tools: &mut Tools<'_>,
        total: &mut Total,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamRefused> {
        self.decide(|_| true, true, tools, total)?;
        self.flush(total, out)
    }

    /// Screens what is whole in an event's data, and adds what is not to its texts.
    fn data(
        &mut self,
        data: &Data<'_>,
        held: &mut Held,
        tools: &mut Tools<'_>,
        total: &mut Total,
    ) -> Result<Touched, StreamRefused> {
        let mut touched = Touched::default();
        let text = &*data.text;
        if text == DONE {
            touched.ended.push(TextId::all());
            return Ok(touched);
        }
        let document = match tools.walker.walk(text, &json::Limits::default()) {
            Ok(document) if matches!(document.root().kind(), Kind::Object | Kind::Array | Kind::String) => document,
            Err(error) if hides(text, error) => {
                return Err(StreamRefused { reason: Reason::ResponseUnscannable });
            }
            _ => {
                touched.grown.push(TextId::of_data());
                self.grow(TextId::of_data(), text, Spot::Data(data.places.clone()), held, &tools.judge.rules)?;
                return Ok(touched);
            }
        };
        let mut deltas = delta::read(document);
        if document.root().kind() == Kind::String {
            deltas.pieces.push((document.root(), TextId::of_data()));
        }
        let content = Content::body(Body::Json(document));
        let is_piece = |index| deltas.pieces.binary_search_by_key(&index, |(node, _)| node.index()).is_ok();
        let whole = |node: Option<usize>, _: &_| !node.is_some_and(is_piece);
        tools.judge.look(&content, 0, total)?;
        let edits = tools.judge.act(&content, total, whole)?;
        held.edits.extend(edits.into_iter().map(|edit| Edit { range: data.places.of(edit.range), ..edit }));
        for (node, id) in deltas.pieces {
            let Some(text) = node.text().filter(|text| !text.is_empty()) else { continue };
            let spot = Spot::String(data.places.of(node.span()), node.has_escapes());
            self.grow(id.clone(), text.as_bytes(), spot, held, &tools.judge.rules)?;
            if !touched.grown.contains(&id) {
                touched.grown.push(id);
            }
        }
        touched.ended = deltas.ended;
        Ok(touched)
    }

    /// Adds a piece of `held` to a text.
    fn grow(
        &mut self,
        id: TextId,
        text: &[u8],
        spot: Spot,
        held: &mut Held,
        rules: &RouteRules,
    ) -> Result<(), StreamRefused> {
        let index = match self.texts.iter().position(|(known, _)| *known == id) {
            Some(index) => index,
            None => self.add(id)?,
        };
        let grown = &mut self.texts[index].1;
        if rules.alters() {
            let slot = Slot { event: self.first + self.events.len() as u64, piece: held.pieces.len() };
            held.pieces.push(spot);
            held.waiting += 1;
            grown.push_piece(text, slot);
        } else {
            grown.push(text);
        }
        Ok(())
    }

    /// A new text. One that was ended is kept, because some go on all the same, until there is no more room.
    fn add(&mut self, id: TextId) -> Result<usize, StreamRefused> {
        if self.texts.len() == TEXTS_MAX {
            let ended = self.texts.iter().position(|(_, text)| text.undecided() == 0);
            self.texts.remove(ended.ok_or(StreamRefused { reason: Reason::ResponseUnscannable })?);
        }
        let text = Text::new(id.holds_json());
        self.texts.push((id, text));
        Ok(self.texts.len() - 1)
    }

    /// Decides what can be of the texts that `which` names, at their end everything.
    fn decide(
        &mut self,
        which: impl Fn(&TextId) -> bool,
        at_end: bool,
        tools: &mut Tools<'_>,
        total: &mut Total,
    ) -> Result<(), StreamRefused> {
        let (events, first) = (&mut self.events, self.first);
        for (_, text) in self.texts.iter_mut().filter(|(id, _)| which(id)) {
            text.decide(at_end, &mut tools.judge, total, |slot, changes| {
                if let Some(held) = events.get_mut((slot.event - first) as usize) {
                    held.settle(slot.piece, changes);
                }
            })?;
        }
        Ok(())
    }

    /// Adds an event. One that waits for nothing itself goes with the one before it, so that many of them take little.
    fn wait(&mut self, mut held: Held) {
        match self.events.back_mut().filter(|_| held.waiting == 0) {
            Some(last) => {
                let start = last.bytes.len();
                let placed = |edit: Edit| Edit { range: start + edit.range.start..start + edit.range.end, ..edit };
                last.edits.extend(held.edits.into_iter().map(placed));
                last.bytes.append(&mut held.bytes);
            }
            None => self.events.push_back(held),
        }
    }

    /// Lets go of the events that wait for nothing more.
    fn flush(&mut self, total: &mut Total, out: &mut Vec<u8>) -> Result<(), StreamRefused> {
        while let Some(mut event) = self.events.pop_front_if(|event| event.waiting == 0) {
            self.first += 1;
            self.held -= event.bytes.len();
            event.edits.sort_by_key(|edit| edit.range.start);
            total.edits += event.edits.len();
            splice(&event.bytes, &event.edits, out).map_err(|_| StreamRefused { reason: Reason::Internal })?;
        }
        Ok(())
    }
}

impl Held {
    /// A piece is decided.
    fn settle(&mut self, piece: usize, changes: Changes) {
        self.waiting -= 1;
        match &self.pieces[piece] {
            _ if changes.is_empty() => {}
            Spot::String(span, false) => {
                let edit = |(range, bytes): (Range<usize>, Vec<u8>)| {
                    let start = span.start + 1;
                    Edit { range: start + range.start..start + range.end, bytes: escaped(&bytes), pointer: None }
                };
                self.edits.extend(changes.into_iter().map(edit));
            }
            Spot::String(span, true) => {
                let text: String = serde_json::from_slice(&self.bytes[span.clone()]).unwrap_or_default();
                let (mut changed, mut at) = (Vec::new(), 0);
                for (range, bytes) in changes {
                    changed.extend_from_slice(text.as_bytes().get(at..range.start).unwrap_or_default());
                    changed.extend_from_slice(&bytes);
                    at = range.end;
                }
                changed.extend_from_slice(text.as_bytes().get(at..).unwrap_or_default());
                let mut bytes = Vec::new();
                write_string(&String::from_utf8_lossy(&changed), &mut bytes);
                self.edits.push(Edit { range: span.clone(), bytes, pointer: None });
            }
            Spot::Data(places) => {
                let edit = |(range, bytes): (Range<usize>, Vec<u8>)| Edit {
                    range: places.of(range),
                    bytes: on_lines(&bytes),
                    pointer: None,
                };
                self.edits.extend(changes.into_iter().map(edit));
            }
        }
    }
}

/// Screens the lines that are no data: comments, names, ids.
fn lines(event: &Event<'_>, held: &mut Held, tools: &mut Tools<'_>, total: &mut Total) -> Result<(), StreamRefused> {
    for line in event.lines().filter(|line| line.name != b"data") {
        let content = Content::body(Body::Raw(&event.bytes[line.span.clone()]));
        tools.judge.look(&content, 0, total)?;
        let edits = tools.judge.act(&content, total, |_, _| true)?;
        let start = line.span.start;
        let placed = |edit: Edit| Edit { range: start + edit.range.start..start + edit.range.end, ..edit };
        held.edits.extend(edits.into_iter().map(placed));
    }
    Ok(())
}

/// Whether data that is no JSON of ours may be JSON to another reader, so that its escapes would hide what they spell.
fn hides(text: &[u8], error: JsonError) -> bool {
    use JsonError::{DuplicateKey, TooDeep, TooLarge};
    let begins = text.trim_ascii_start().first();
    matches!(error, DuplicateKey(_) | TooDeep(_) | TooLarge) || matches!(begins, Some(b'{' | b'[' | b'"'))
}

/// A text as it stands between the quotes of a JSON string.
fn escaped(text: &[u8]) -> Vec<u8> {
    let mut token = Vec::new();
    write_string(&String::from_utf8_lossy(text), &mut token);
    token.pop();
    token.remove(0);
    token
}

/// A text as it stands in data: each line on one of its own.
fn on_lines(text: &[u8]) -> Vec<u8> {
    text.split(|byte| matches!(byte, b'\n' | b'\r')).collect::<Vec<_>>().join(&b"\ndata: "[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: &[u8], waiting: usize, edit: Option<Range<usize>>) -> Held {
        let edits = edit.into_iter().map(|range| Edit { range, bytes: b"*".to_vec(), pointer: None }).collect();
        Held { bytes: bytes.to_vec(), pieces: SmallVec::new(), edits, waiting }
    }

    #[test]
    fn what_waits_for_nothing_goes_with_the_event_before_it() {
        let mut queue = Queue::new(1 << 20);
        queue.wait(event(b"data: 1\n\n", 1, None));
        for _ in 0..1000 {
            queue.wait(event(b": 2\n\n", 0, Some(2..3)));
        }
        queue.wait(event(b"data: 3\n\n", 1, None));
        assert_eq!(queue.events.len(), 2, "only what waits takes an entry");
        queue.events.iter_mut().for_each(|event| event.waiting = 0);
        queue.held = queue.events.iter().map(|event| event.bytes.len()).sum();
        let mut out = Vec::new();
        queue.flush(&mut Total::default(), &mut out).expect("edits fit");
        assert_eq!(out, [b"data: 1\n\n", &*b": *\n\n".repeat(1000), b"data: 3\n\n"].concat());
    }
}
