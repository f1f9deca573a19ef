//! The walk itself: a loop over tokens with an explicit stack, no recursion.

use std::ops::Range;

use super::keys::{self, KeyPrint};
use super::strings::{Escaped, plain_end, unescape};
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
    /// [`Kind::Object`] or [`Kind::Array`]; anything else for [`OUTSIDE`].
    kind: Kind,
    /// Two keys may be equal: their prints fell on the same bits.
    suspect: bool,
    /// Where its keys begin in [`Walker::keys`].
    keys_from: u32,
    /// The bits of its keys' prints.
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
            top: OUTSIDE,
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
    /// The innermost open container; those around it wait in [`Walker::frames`], the outermost being [`OUTSIDE`].
    top: Frame,
    walker: &'w mut Walker,
}

/// What encloses the root: a container that no byte closes.
const OUTSIDE: Frame = Frame { node: NONE, kind: Kind::Null, suspect: false, keys_from: 0, seen: 0 };

impl Walk<'_, '_> {
    fn document(&mut self) -> Result<(), JsonError> {
        self.space();
        while self.value()? || self.after_value()? {}
        if self.at == self.bytes.len() { Ok(()) } else { Err(JsonError::Trailing(self.at)) }
    }

    #[inline(always)]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[cold]
    fn syntax<T>(&self) -> Result<T, JsonError> {
        Err(JsonError::Syntax(self.at))
    }

    /// Most bodies are compact, so one comparison settles it.
    #[inline(always)]
    fn space(&mut self) {
        while let Some(byte) = self.peek()
            && byte <= b' '
            && matches!(byte, b' ' | b'\n' | b'\r' | b'\t')
        {
            self.at += 1;
        }
    }

    /// Reads the value that starts here. True if it opened a container, whose first value comes next.
    #[inline(always)]
    fn value(&mut self) -> Result<bool, JsonError> {
        match self.peek() {
            Some(b'"') => self.string().map(|()| false),
            Some(b'{') => self.open(Kind::Object),
            Some(b'[') => self.open(Kind::Array),
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
    #[inline(always)]
    fn push(&mut self, start: usize, kind: Kind) -> Result<(), JsonError> {
        let index = self.walker.nodes.len();
        if index >= self.nodes {
            return Err(JsonError::TooLarge);
        }
        let (start, end) = (start as u32, self.at as u32);
        self.walker.nodes.push(Raw { start, end, next: index as u32 + 1, parent: self.top.node, text: NONE, kind });
        Ok(())
    }

    #[inline(always)]
    fn string(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let end = plain_end(self.bytes, start + 1);
        if self.bytes.get(end) != Some(&b'"') {
            return self.escaped_string(start, end, Kind::String).map(|_| ());
        }
        self.at = end + 1;
        self.push(start, Kind::String)
    }

    /// Reads the string or key at `start` whose first special byte is at `at`; returns where its text lies in
    /// [`Walker::text`].
    #[cold]
    fn escaped_string(&mut self, start: usize, at: usize, kind: Kind) -> Result<Range<usize>, JsonError> {
        let (text, end) = unescape(self.original, start + 1, at, &mut self.walker.text)?;
        self.at = end;
        self.push(start, kind)?;
        let node = self.walker.nodes.len() - 1;
        self.walker.nodes[node].text = self.walker.escaped.len() as u32;
        self.walker.escaped.push(Escaped { start: text.start as u32, end: text.end as u32, node: node as u32 });
        Ok(text)
    }

    #[inline]
    fn open(&mut self, kind: Kind) -> Result<bool, JsonError> {
        if self.walker.frames.len() >= self.depth {
            return Err(JsonError::TooDeep(self.at));
        }
        let start = self.at;
        self.at += 1;
        self.push(start, kind)?;
        let node = self.walker.nodes.len() as u32 - 1;
        self.space();
        if self.peek() == Some(if kind == Kind::Object { b'}' } else { b']' }) {
            self.at += 1;
            self.walker.nodes[node as usize].end = self.at as u32;
            return Ok(false);
        }
        let keys_from = self.walker.keys.len() as u32;
        let inner = Frame { node, kind, suspect: false, keys_from, seen: 0 };
        self.walker.frames.push(std::mem::replace(&mut self.top, inner));
        if kind == Kind::Object {
            self.member()?;
        }
        Ok(true)
    }

    /// Reads a key and its colon, up to the value.
    #[inline(always)]
    fn member(&mut self) -> Result<(), JsonError> {
        if self.peek() != Some(b'"') {
            return self.syntax();
        }
        self.key()?;
        self.space();
        if self.peek() != Some(b':') {
            return self.syntax();
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    #[inline(always)]
    fn key(&mut self) -> Result<(), JsonError> {
        let start = self.at;
        let end = plain_end(self.bytes, start + 1);
        let print = if self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            self.push(start, Kind::Key)?;
            keys::print(self.bytes, start + 1, end)
        } else {
            self.escaped_key(start, end)?
        };
        let bits = keys::bits(print);
        self.top.suspect |= self.top.seen & bits == bits;
        self.top.seen |= bits;
        self.walker.keys.push(KeyPrint { print, node: self.walker.nodes.len() as u32 - 1 });
        Ok(())
    }

    #[cold]
    fn escaped_key(&mut self, start: usize, at: usize) -> Result<u64, JsonError> {
        let text = self.escaped_string(start, at, Kind::Key)?;
        Ok(keys::print(self.walker.text.as_bytes(), text.start, text.end))
    }

    /// Goes on behind a value: to the next one (true), out of the containers that end here, or to the text's end (false).
    #[inline(always)]
    fn after_value(&mut self) -> Result<bool, JsonError> {
        loop {
            self.space();
            match (self.peek(), self.top.kind) {
                (Some(b','), Kind::Object) => {
                    self.at += 1;
                    self.space();
                    return self.member().map(|()| true);
                }
                (Some(b','), Kind::Array) => {
                    self.at += 1;
                    self.space();
                    return Ok(true);
                }
                (Some(b'}'), Kind::Object) | (Some(b']'), Kind::Array) => self.close()?,
                (_, Kind::Object | Kind::Array) => return self.syntax(),
                _ => return Ok(false),
            }
        }
    }

    #[inline]
    fn close(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        let next = self.walker.nodes.len() as u32;
        let node = &mut self.walker.nodes[self.top.node as usize];
        node.end = self.at as u32;
        node.next = next;
        if self.top.kind == Kind::Object {
            let folded = self.walker.frames.len() <= self.folded;
            if self.top.suspect || folded {
                self.check_keys(folded)?;
            }
            self.walker.keys.truncate(self.top.keys_from as usize);
        }
        self.top = self.walker.frames.pop().unwrap_or(OUTSIDE);
        Ok(())
    }

    #[cold]
    fn check_keys(&mut self, folded: bool) -> Result<(), JsonError> {
        let mut order = std::mem::take(&mut self.walker.order);
        let keys = &self.walker.keys[self.top.keys_from as usize..];
        let text = |node: u32| key_text(self.original, self.walker, node as usize);
        let repeated = (self.top.suspect && order.repeats(keys, text)) || (folded && order.repeats_folded(keys, text));
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
