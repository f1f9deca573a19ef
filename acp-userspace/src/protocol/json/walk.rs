//! The walk itself: a loop over tokens with an explicit stack, no recursion.

use super::keys::{self, KeyPrint};
use super::strings::{Escaped, read_string};
use super::{DEPTH_MAX, Document, JsonError, Kind, Limits, NONE, Raw, number};

/// Nodes whose memory is kept between bodies; a larger body's is given back at the next walk.
const NODES_KEPT: usize = 1 << 16;
/// Bytes of unescaped text kept likewise.
const TEXT_KEPT: usize = 1 << 20;

/// Buffers of a walk, one per worker. At most 24 bytes per allowed node plus the body's own length.
#[derive(Debug, Default)]
pub struct Walker {
    pub(super) nodes: Vec<Raw>,
    /// Unescaped strings, each followed by a NUL.
    pub(super) text: String,
    /// Where each of them lies and whose it is, rising.
    pub(super) escaped: Vec<Escaped>,
    /// Keys of the objects now open, outermost first.
    keys: Vec<KeyPrint>,
    order: keys::Order,
    frames: Vec<Frame>,
}

/// A container that is open.
#[derive(Debug, Clone, Copy)]
struct Frame {
    node: u32,
    object: bool,
    /// Two keys may be equal: their prints fell on the same bit.
    suspect: bool,
    /// Where its keys begin in [`Walker::keys`].
    keys_from: u32,
    /// One bit per key's print.
    seen: u64,
}

impl Walker {
    /// Empty buffers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks `bytes` and lists its nodes.
    ///
    /// # Errors
    /// The first reason, in document order, why it is not the JSON it has to be; duplicate keys show at their object's
    /// end.
    pub fn walk<'a>(&'a mut self, bytes: &'a [u8], limits: &Limits) -> Result<Document<'a>, JsonError> {
        if bytes.len() >= NONE as usize {
            return Err(JsonError::TooLarge);
        }
        if bytes.starts_with(b"\xef\xbb\xbf") {
            return Err(JsonError::ByteOrderMark);
        }
        let original = std::str::from_utf8(bytes).map_err(|e| JsonError::Utf8(e.valid_up_to()))?;
        self.reset();
        let mut walk = Walk {
            original,
            bytes,
            at: 0,
            depth: limits.depth.min(DEPTH_MAX),
            nodes: limits.nodes.min(NONE as usize),
            folded: limits.folded_depth,
            walker: self,
        };
        walk.document()?;
        Ok(Document { original, walker: self })
    }

    fn reset(&mut self) {
        self.nodes.clear();
        self.text.clear();
        self.escaped.clear();
        self.keys.clear();
        self.frames.clear();
        self.nodes.shrink_to(NODES_KEPT);
        self.escaped.shrink_to(NODES_KEPT);
        self.keys.shrink_to(NODES_KEPT);
        self.order.shrink_to(NODES_KEPT, TEXT_KEPT);
        self.text.shrink_to(TEXT_KEPT);
    }
}

struct Walk<'w, 'a> {
    original: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    nodes: usize,
    folded: usize,
    walker: &'w mut Walker,
}

impl Walk<'_, '_> {
    fn document(&mut self) -> Result<(), JsonError> {
        self.space();
        while self.value()? || self.after_value()? {}
        if self.at == self.bytes.len() { Ok(()) } else { Err(JsonError::Trailing(self.at)) }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn syntax<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax(self.at))
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.at += 1;
        }
    }

    /// Reads the value that starts here. True if it opened a container, whose first value comes next.
    #[inline]
    fn value(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => self.string(Kind::String).map(|()| false),
            Some(b'{') => self.open(true),
            Some(b'[') => self.open(false),
            Some(b'-' | b'0'..=b'9') => {
                let start = self.at;
                self.at = number::end(self.bytes, start)?;
                self.push(start, Kind::Number).map(|()| false)
            }
            Some(b't') => self.literal(b"true", Kind::Bool(true)),
            Some(b'f') => self.literal(b"false", Kind::Bool(false)),
            Some(b'n') => self.literal(b"null", Kind::Null),
            _ => self.syntax(),
        }
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Result<bool, JsonError> {
        if !self.bytes[self.at..].starts_with(word) {
            return self.syntax();
        }
        let start = self.at;
        self.at += word.len();
        self.push(start, kind).map(|()| false)
    }

    /// Adds a node that begins at `start` and ends here.
    #[inline]
    fn push(&mut self, start: usize, kind: Kind) -> Result<(), JsonError> {
        let index = self.walker.nodes.len();
        if index >= self.nodes {
            return Err(JsonError::TooLarge);
        }
        let parent = self.walker.frames.last().map_or(NONE, |frame| frame.node);
        let (start, end) = (start as u32, self.at as u32);
        self.walker.nodes.push(Raw { start, end, next: index as u32 + 1, parent, text: NONE, kind });
        Ok(())
    }

    #[inline]
    fn string(&mut self, kind: Kind) -> Result<(), JsonError> {
        let start = self.at;
        let escaped = read_string(self.original, start, &mut self.walker.text)?;
        self.at = escaped.end;
        self.push(start, kind)?;
        if let Some(text) = escaped.text {
            let node = self.walker.nodes.len() - 1;
            self.walker.nodes[node].text = self.walker.escaped.len() as u32;
            self.walker.escaped.push(Escaped { start: text.start as u32, end: text.end as u32, node: node as u32 });
        }
        Ok(())
    }

    #[inline]
    fn open(&mut self, object: bool) -> Result<bool, JsonError> {
        if self.walker.frames.len() >= self.depth {
            return Err(JsonError::TooDeep(self.at));
        }
        let start = self.at;
        self.at += 1;
        self.push(start, if object { Kind::Object } else { Kind::Array })?;
        let node = self.walker.nodes.len() as u32 - 1;
        self.space();
        if self.peek() == Some(if object { b'}' } else { b']' }) {
            self.at += 1;
            self.walker.nodes[node as usize].end = self.at as u32;
            return Ok(false);
        }
        let keys_from = self.walker.keys.len() as u32;
        self.walker.frames.push(Frame { node, object, suspect: false, keys_from, seen: 0 });
        if object {
            self.member()?;
        }
        Ok(true)
    }

    /// Reads a key and its colon, up to the value.
    #[inline]
    fn member(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return self.syntax();
        }
        self.string(Kind::Key)?;
        self.note_key();
        self.space();
        if self.peek() != Some(b':') {
            return self.syntax();
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    #[inline]
    fn note_key(&mut self) {
        let node = self.walker.nodes.len() - 1;
        let print = keys::print(key_text(self.original, self.walker, node).as_bytes());
        let bit = keys::bit(print);
        if let Some(frame) = self.walker.frames.last_mut() {
            frame.suspect |= frame.seen & bit != 0;
            frame.seen |= bit;
        }
        self.walker.keys.push(KeyPrint { print, node: node as u32 });
    }

    /// Goes on behind a value: to the next one (true), out of the containers that end here, or to the text's end (false).
    #[inline]
    fn after_value(&mut self) -> Result<bool, JsonError> {
        loop {
            self.space();
            let Some(frame) = self.walker.frames.last().copied() else { return Ok(false) };
            match self.peek() {
                Some(b',') => {
                    self.at += 1;
                    self.space();
                    if frame.object {
                        self.member()?;
                    }
                    return Ok(true);
                }
                Some(b'}') if frame.object => self.close(frame)?,
                Some(b']') if !frame.object => self.close(frame)?,
                _ => return self.syntax(),
            }
        }
    }

    #[inline]
    fn close(&mut self, frame: Frame) -> Result<(), JsonError> {
        self.at += 1;
        let next = self.walker.nodes.len() as u32;
        let node = &mut self.walker.nodes[frame.node as usize];
        node.end = self.at as u32;
        node.next = next;
        if frame.object {
            self.check_keys(frame)?;
            self.walker.keys.truncate(frame.keys_from as usize);
        }
        self.walker.frames.pop();
        Ok(())
    }

    fn check_keys(&mut self, frame: Frame) -> Result<(), JsonError> {
        let folded = self.walker.frames.len() <= self.folded;
        if !frame.suspect && !folded {
            return Ok(());
        }
        let mut order = std::mem::take(&mut self.walker.order);
        let keys = &self.walker.keys[frame.keys_from as usize..];
        let text = |node: u32| key_text(self.original, self.walker, node as usize);
        let repeated = (frame.suspect && order.repeats(keys, text)) || (folded && order.repeats_folded(keys, text));
        self.walker.order = order;
        if repeated { Err(JsonError::DuplicateKey(self.at)) } else { Ok(()) }
    }
}

/// The text of key `node`, unescaped.
fn key_text<'t>(original: &'t str, walker: &'t Walker, node: usize) -> &'t str {
    let raw = &walker.nodes[node];
    match walker.escaped.get(raw.text as usize) {
        Some(escaped) => &walker.text[escaped.start as usize..escaped.end as usize],
        None => &original[raw.start as usize + 1..raw.end as usize - 1],
    }
}
