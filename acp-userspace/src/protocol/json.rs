//! One strict walk over a JSON body (RFC 8259), shared by everything that reads it.
//!
//! [`Walker::walk`] checks the whole text and leaves a flat list of nodes in document order; a [`Document`] is that list
//! beside the original bytes, and a [`Node`] one entry of it. Nothing is copied but strings that hold escapes: every
//! other text is borrowed from the body, and every node knows its span there, so that a change is a splice of
//! the original and never a re-serialisation. All buffers live in the [`Walker`], one per worker: a walk allocates only
//! when a body is larger than any before it.
//!
//! Stricter than the RFC, because two readers must not see two requests in one body (THREATS A9): UTF-8 without a
//! byte order mark, no lone surrogate escapes, no key twice in an object after unescaping, at any depth. The
//! outermost [`Limits::folded_depth`] levels also refuse keys that differ only in case or in invisible characters.
//! Depth and node count are bounded. Numbers stay text until somebody asks; [`Number`] says whether the answer is exact.
//!
//! One reader, not two. simd-json's tape as a validating first reader was measured beside this walk (`benches/safety.rs`,
//! best of 600 windows): 0.35 µs for 1 KiB of prose and 1.14 µs for 1 KiB of small members, where the walk alone takes 0.20
//! and 0.87, spans and duplicate keys included. It would prove nothing the walk does not, refuses numbers beyond 64 bits
//! that are valid and travel as text, and with the scan (0.11 and 0.75) would miss the 2 µs that a body may cost. So it is a
//! second opinion in the tests, not on the path.
//!
//! **Invariant:** whatever `walk` accepts, serde_json accepts, with the same strings (property test below).

use std::ops::Range;

use crate::reason::Reason;

mod escape;
mod fold;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod keys;
mod number;
#[cfg(any(test, feature = "fuzzing"))]
mod oracle;
mod pointer;
mod strings;
mod walk;

pub use escape::write_string;
pub use fold::fold;
pub use number::Number;
pub use pointer::Pointers;
pub use walk::Walker;

/// Deepest nesting that [`Limits::depth`] may allow: what common readers take without recursion trouble.
pub const DEPTH_MAX: usize = 64;

/// Bounds on one document.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Objects and arrays open at once, at most [`DEPTH_MAX`].
    pub depth: usize,
    /// Keys and values in all; each costs 24 bytes of the worker's memory.
    pub nodes: usize,
    /// How many outermost levels refuse keys that are equal only after [`fold()`]; 0 = exact equality everywhere.
    pub folded_depth: usize,
}

impl Default for Limits {
    /// 64 levels; 262 144 nodes (6 MiB: an 8 MiB body has room for 32 bytes per node); exact key comparison.
    fn default() -> Self {
        Self { depth: DEPTH_MAX, nodes: 1 << 18, folded_depth: 0 }
    }
}

/// Why a body is not the JSON it has to be. Offsets are bytes into the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not UTF-8 (RFC 8259 §8.1).
    #[error("not UTF-8 at byte {0}")]
    Utf8(usize),
    /// Starts with U+FEFF, which RFC 8259 §8.1 forbids to add.
    #[error("starts with a byte order mark")]
    ByteOrderMark,
    /// Breaks the grammar.
    #[error("unexpected byte or end at byte {0}")]
    Syntax(usize),
    /// Something follows the document.
    #[error("trailing data at byte {0}")]
    Trailing(usize),
    /// A control character stands unescaped in a string.
    #[error("unescaped control character at byte {0}")]
    Control(usize),
    /// An escape is unknown, cut short, or half of a surrogate pair.
    #[error("invalid escape at byte {0}")]
    Escape(usize),
    /// An object ending here holds a key twice.
    #[error("duplicate key in the object ending at byte {0}")]
    DuplicateKey(usize),
    /// Nested deeper than allowed.
    #[error("nested too deep at byte {0}")]
    TooDeep(usize),
    /// More nodes than allowed, or more bytes than 32 bits count.
    #[error("too large")]
    TooLarge,
}

impl JsonError {
    /// The refusal's reason code.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        match self {
            Self::DuplicateKey(_) => Reason::DuplicateKey,
            _ => Reason::InvalidJson,
        }
    }
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`: its children alternate [`Kind::Key`] and value.
    Object,
    /// `[…]`
    Array,
    /// A member's name; its value is the next node.
    Key,
    /// A string value.
    String,
    /// A number.
    Number,
    /// `true` or `false`.
    Bool(bool),
    /// `null`
    Null,
}

/// One node as stored: 24 bytes.
#[derive(Debug, Clone, Copy)]
struct Raw {
    /// Token in the original, quotes included.
    start: u32,
    end: u32,
    /// Index behind this subtree.
    next: u32,
    /// Index of the enclosing container; [`NONE`] for the root.
    parent: u32,
    /// Index into the walker's unescaped texts; [`NONE`] when the text is the original's.
    text: u32,
    kind: Kind,
}

/// No index.
const NONE: u32 = u32::MAX;

/// A checked body: the original and its nodes.
#[derive(Clone, Copy)]
pub struct Document<'a> {
    original: &'a str,
    walker: &'a Walker,
}

impl std::fmt::Debug for Document<'_> {
    /// Sizes only: a body is a caller's data and does not print.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Document")
            .field("bytes", &self.original.len())
            .field("nodes", &self.walker.nodes.len())
            .finish()
    }
}

impl<'a> Document<'a> {
    /// The body, byte for byte.
    #[must_use]
    pub fn original(&self) -> &'a str {
        self.original
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> Node<'a> {
        Node { document: *self, index: 0 }
    }

    /// The node of this [`Node::index`].
    #[must_use]
    pub fn node(&self, index: usize) -> Option<Node<'a>> {
        (index < self.walker.nodes.len()).then_some(Node { document: *self, index: index as u32 })
    }

    /// Every node in document order.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let document = *self;
        (0..document.walker.nodes.len() as u32).map(move |index| Node { document, index })
    }

    /// Every key and every array, in document order.
    pub fn keys_and_arrays(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let document = *self;
        let wanted =
            document.walker.nodes.iter().zip(0..).filter(|(raw, _)| matches!(raw.kind, Kind::Key | Kind::Array));
        wanted.map(move |(_, index)| Node { document, index })
    }

    /// The innermost string, key or number whose token covers byte `at` of the original.
    #[must_use]
    pub fn token_at(&self, at: usize) -> Option<Node<'a>> {
        self.token_near(&mut 0, at)
    }

    /// As [`Document::token_at`]. `near` is the [`Node::index`] to begin at, which is then that of the last node that
    /// begins no later than `at`: quick where one place lies a little behind the one before.
    #[must_use]
    pub fn token_near(&self, near: &mut usize, at: usize) -> Option<Node<'a>> {
        let nodes = &self.walker.nodes;
        let begun = |node: &Raw| node.start as usize <= at;
        let (mut low, mut high) = (0, (*near).min(nodes.len()));
        if nodes.get(high).is_some_and(begun) {
            let mut step = 1;
            while nodes.get(high + step).is_some_and(begun) {
                high += step;
                step *= 2;
            }
            (low, high) = (high, nodes.len().min(high + step));
        }
        let index = (low + nodes[low..high].partition_point(begun)).checked_sub(1)?;
        *near = index;
        let node = Node { document: *self, index: index as u32 };
        (node.kind().is_text() && node.span().contains(&at)).then_some(node)
    }

    /// The strings and keys that hold escapes, in document order.
    pub fn escaped_nodes(&self) -> impl Iterator<Item = Node<'a>> + use<'a> {
        let document = *self;
        document.walker.escaped.iter().map(move |escaped| Node { document, index: escaped.node })
    }

    /// Unescaped texts of all strings and keys that hold escapes, each followed by a NUL, as one buffer.
    /// [`Document::escaped_at`] maps back.
    #[must_use]
    pub fn escaped_text(&self) -> &'a str {
        &self.walker.text
    }

    /// The string or key that byte `at` of [`Document::escaped_text`] belongs to, and where its text begins there.
    #[must_use]
    pub fn escaped_at(&self, at: usize) -> Option<(Node<'a>, usize)> {
        let escaped = &self.walker.escaped;
        let found = escaped[escaped.partition_point(|e| e.start as usize <= at).checked_sub(1)?];
        ((found.end as usize) > at).then_some((Node { document: *self, index: found.node }, found.start as usize))
    }
}

impl Kind {
    /// Carries text of its own: a string, key or number.
    #[must_use]
    pub const fn is_text(self) -> bool {
        matches!(self, Self::Key | Self::String | Self::Number)
    }
}

/// One value or key of a [`Document`].
#[derive(Clone, Copy)]
pub struct Node<'a> {
    document: Document<'a>,
    index: u32,
}

impl std::fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Node").field("kind", &self.kind()).field("span", &self.span()).finish()
    }
}

impl PartialEq for Node<'_> {
    /// The same node of the same walk.
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && std::ptr::eq(self.document.walker, other.document.walker)
    }
}

impl<'a> Node<'a> {
    fn raw(&self) -> &'a Raw {
        &self.document.walker.nodes[self.index as usize]
    }

    fn at(&self, index: u32) -> Self {
        Self { document: self.document, index }
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.raw().kind
    }

    /// Position in document order; names the node within its document.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index as usize
    }

    /// The token in the original, quotes and brackets included.
    #[must_use]
    pub fn span(&self) -> Range<usize> {
        self.raw().start as usize..self.raw().end as usize
    }

    /// The token as it stands in the original.
    #[must_use]
    pub fn token(&self) -> &'a str {
        &self.document.original[self.span()]
    }

    /// Text of a string or key, unescaped; the literal of a number; `None` for anything else.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        let raw = self.raw();
        match raw.kind {
            Kind::Number => Some(self.token()),
            Kind::Key | Kind::String if raw.text == NONE => {
                Some(&self.document.original[raw.start as usize + 1..raw.end as usize - 1])
            }
            Kind::Key | Kind::String => {
                let escaped = self.document.walker.escaped[raw.text as usize];
                Some(&self.document.walker.text[escaped.start as usize..escaped.end as usize])
            }
            _ => None,
        }
    }

    /// The same as bytes: cheaper where nobody wants to know that they are characters.
    #[must_use]
    pub fn bytes(&self) -> Option<&'a [u8]> {
        let raw = self.raw();
        let quotes = match raw.kind {
            Kind::Number => 0,
            Kind::Key | Kind::String if raw.text == NONE => 1,
            _ => return self.text().map(str::as_bytes),
        };
        self.document.original.as_bytes().get(raw.start as usize + quotes..raw.end as usize - quotes)
    }

    /// The text of a string value; `None` for keys, numbers and the rest.
    #[must_use]
    pub fn as_str(&self) -> Option<&'a str> {
        if self.kind() == Kind::String { self.text() } else { None }
    }

    /// Whether a string's or key's token holds escapes, so that its text is not the original's bytes.
    #[must_use]
    pub fn has_escapes(&self) -> bool {
        self.raw().text != NONE
    }

    /// A number's value, exact or not at all; `None` if it is no number.
    #[must_use]
    pub fn number(&self) -> Option<Number> {
        (self.kind() == Kind::Number).then(|| Number::read(self.token()))
    }

    /// The enclosing object or array.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let parent = self.raw().parent;
        (parent != NONE).then(|| self.at(parent))
    }

    /// The key of a member's value; `None` for array items, keys and the root.
    #[must_use]
    pub fn key(&self) -> Option<Self> {
        let before = self.at(self.index.checked_sub(1)?);
        (before.kind() == Kind::Key && self.kind() != Kind::Key).then_some(before)
    }

    /// The value of the member a key is of; `None` for anything else.
    #[must_use]
    pub fn value(&self) -> Option<Self> {
        (self.kind() == Kind::Key).then(|| self.at(self.index + 1))
    }

    /// The members of an object, in order; none for anything else.
    pub fn members(&self) -> impl Iterator<Item = (Self, Self)> + use<'a> {
        let mut keys = self.children_if(Kind::Object);
        std::iter::from_fn(move || Some((keys.next()?, keys.next()?)))
    }

    /// The items of an array, in order; none for anything else.
    pub fn items(&self) -> impl Iterator<Item = Self> + use<'a> {
        self.children_if(Kind::Array)
    }

    fn children_if(&self, kind: Kind) -> impl Iterator<Item = Self> + use<'a> {
        let this = *self;
        let end = if this.kind() == kind { this.raw().next } else { 0 };
        let mut index = this.index + 1;
        std::iter::from_fn(move || {
            let node = (index < end).then(|| this.at(index))?;
            index = node.raw().next;
            Some(node)
        })
    }

    /// The value of member `key`; linear in the object's members.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Self> {
        self.members().find(|(name, _)| name.text() == Some(key)).map(|(_, value)| value)
    }

    /// The node that follows this one's subtree.
    fn behind(&self) -> Self {
        self.at(self.raw().next)
    }

    /// The node's JSON pointer (RFC 6901), cut as [`Pointers`] says. For many nodes, use that.
    #[must_use]
    pub fn pointer(&self) -> String {
        Pointers::default().of(*self, |_| false)
    }

    /// Whether `other` lies in this subtree (or is it).
    #[must_use]
    pub fn encloses(&self, other: &Self) -> bool {
        (self.index..self.raw().next).contains(&other.index)
    }
}

#[cfg(test)]
mod tests;
