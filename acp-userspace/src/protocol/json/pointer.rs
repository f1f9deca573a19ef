//! JSON pointers (RFC 6901) of nodes, for records: short, and cheap for many nodes of one document.

use super::{Kind, Node};

/// Longest pointer written, in bytes; what lies deeper is named by `/*`. As long as any caller's text may be in a record.
const POINTER_BYTES_MAX: usize = 256;
/// Longest key written; a longer one is `*`.
const SEGMENT_BYTES_MAX: usize = 64;

/// Makes the pointers of nodes given in document order; remembers how far it has counted the arrays on the way, so
/// that each array is counted once.
#[derive(Debug, Default)]
pub struct Pointers<'a> {
    /// By level: the item reached, and its position.
    counted: Vec<Option<(Node<'a>, usize)>>,
}

impl<'a> Pointers<'a> {
    /// The pointer of `node`; a key's is its member's. Keys that `hide` chooses print as `*`.
    pub fn of(&mut self, node: Node<'a>, hide: impl Fn(Node<'a>) -> bool) -> String {
        let mut path = Vec::new();
        let mut at = Some(node);
        while let Some(node) = at.filter(|node| node.parent().is_some()) {
            path.push(node);
            at = node.parent();
        }
        let mut pointer = String::new();
        for (level, node) in path.into_iter().rev().enumerate() {
            let before = pointer.len();
            pointer.push('/');
            match if node.kind() == Kind::Key { Some(node) } else { node.key() } {
                Some(key) => push_key(key, &hide, &mut pointer),
                None => pointer.push_str(&self.position(level, node).to_string()),
            }
            if pointer.len() > POINTER_BYTES_MAX {
                pointer.truncate(before);
                pointer.push_str("/*");
                break;
            }
        }
        pointer
    }

    /// Position of an array's item.
    fn position(&mut self, level: usize, node: Node<'a>) -> usize {
        if self.counted.len() <= level {
            self.counted.resize(level + 1, None);
        }
        let known =
            self.counted[level].filter(|(item, _)| item.parent() == node.parent() && item.index() <= node.index());
        let (mut item, mut position) = match known {
            Some(known) => known,
            None => match node.parent().and_then(|parent| parent.items().next()) {
                Some(first) => (first, 0),
                None => return 0,
            },
        };
        while item.index() < node.index() {
            item = item.behind();
            position += 1;
        }
        self.counted[level] = Some((item, position));
        position
    }
}

fn push_key<'a>(key: Node<'a>, hide: &impl Fn(Node<'a>) -> bool, pointer: &mut String) {
    let text = key.text().unwrap_or_default();
    if text.len() > SEGMENT_BYTES_MAX || hide(key) {
        return pointer.push('*');
    }
    for c in text.chars() {
        match c {
            '~' => pointer.push_str("~0"),
            '/' => pointer.push_str("~1"),
            c => pointer.push(c),
        }
    }
}
