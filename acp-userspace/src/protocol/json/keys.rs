//! Whether an object holds a key twice.
//!
//! Every key leaves a 64-bit print; an object where each print falls on new bits of one word has no repeated
//! key, which settles nearly all of them in a few instructions. The rest is compared: pairwise while small, sorted
//! otherwise, so that no choice of keys costs more than n log n.

use super::fold::{fold_onto, is_folded};

/// A key of an open object.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyPrint {
    pub(super) print: u64,
    pub(super) node: u32,
}

/// Keys compared pairwise: 496 pairs at most.
const PAIRWISE_MAX: usize = 32;

/// Scratch of the comparisons that need some.
#[derive(Debug, Default)]
pub(super) struct Order {
    sorted: Vec<KeyPrint>,
    folded: String,
    ranges: Vec<(u32, u32)>,
}

/// A print of the key at `start..end` of `text`: equal for equal keys, usually different for different ones. No
/// defence against collisions, and none needed.
#[inline(always)]
pub(super) fn print(text: &[u8], start: usize, end: usize) -> u64 {
    let len = end - start;
    let (head, tail) = match len {
        0 => (0, 0),
        // What follows a short key in the text is shifted out.
        1..8 => (word(text, start) << (64 - 8 * len), 0),
        8.. => (word(text, start), word(text, end - 8)),
    };
    (head ^ tail.rotate_left(29) ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Eight bytes as a little-endian word, zeros beyond the text's end.
#[inline(always)]
fn word(text: &[u8], at: usize) -> u64 {
    match text.get(at..at + 8).and_then(|word| word.try_into().ok()) {
        Some(word) => u64::from_le_bytes(word),
        None => last_word(&text[at..]),
    }
}

#[cold]
fn last_word(rest: &[u8]) -> u64 {
    rest.iter().take(8).rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// The two bits a print falls on, from its top bits, the best mixed ones.
#[inline(always)]
pub(super) fn bits(print: u64) -> u64 {
    1 << (print >> 58) | 1 << (print >> 52 & 63)
}

impl Order {
    pub(super) fn shrink_to(&mut self, keys: usize, bytes: usize) {
        self.sorted.shrink_to(keys);
        self.ranges.shrink_to(keys);
        self.folded.shrink_to(bytes);
    }

    /// Whether two of `keys` have the same text.
    pub(super) fn repeats<'t>(&mut self, keys: &[KeyPrint], text: impl Fn(u32) -> &'t str) -> bool {
        if keys.len() <= PAIRWISE_MAX {
            return keys
                .iter()
                .enumerate()
                .any(|(i, a)| keys[..i].iter().any(|b| a.print == b.print && text(a.node) == text(b.node)));
        }
        self.sorted.clear();
        self.sorted.extend_from_slice(keys);
        self.sorted.sort_unstable_by(|a, b| a.print.cmp(&b.print).then_with(|| text(a.node).cmp(text(b.node))));
        self.sorted.windows(2).any(|pair| pair[0].print == pair[1].print && text(pair[0].node) == text(pair[1].node))
    }

    /// Whether two of `keys`, known to differ, have the same text once folded.
    pub(super) fn repeats_folded<'t>(&mut self, keys: &[KeyPrint], text: impl Fn(u32) -> &'t str) -> bool {
        if keys.iter().all(|key| is_folded(text(key.node))) {
            return false;
        }
        self.folded.clear();
        self.ranges.clear();
        for key in keys {
            let start = self.folded.len();
            fold_onto(text(key.node), &mut self.folded);
            self.ranges.push((start as u32, self.folded.len() as u32));
        }
        let folded = |range: &(u32, u32)| &self.folded[range.0 as usize..range.1 as usize];
        self.ranges.sort_unstable_by(|a, b| folded(a).cmp(folded(b)));
        self.ranges.windows(2).any(|pair| folded(&pair[0]) == folded(&pair[1]))
    }
}
