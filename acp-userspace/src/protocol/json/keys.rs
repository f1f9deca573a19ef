//! Whether an object holds a key twice.
//!
//! Every key leaves a 64-bit print; an object whose prints fall on different bits of one word has no repeated
//! key, which settles nearly all of them in a few instructions. The rest is compared: pairwise while small, sorted
//! otherwise, so that no choice of keys costs more than n log n.

use super::fold::fold_onto;

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

/// A print: equal for equal keys, usually different for different ones. No defence against collisions, and none needed.
#[inline]
pub(super) fn print(key: &[u8]) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    let (head, tail) = match key {
        [head @ .., _, _, _, _, _, _, _, _] if !head.is_empty() => {
            (first_word(key).unwrap_or(0), first_word(&key[key.len() - 8..]).unwrap_or(0))
        }
        short => (word(short), 0),
    };
    (head ^ tail.rotate_left(29) ^ key.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn first_word(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk().map(|word| u64::from_le_bytes(*word))
}

/// The bit a print falls on: its top six bits, the best mixed ones.
#[inline]
pub(super) fn bit(print: u64) -> u64 {
    1 << (print >> 58)
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

    /// Whether two of `keys` have the same text once folded.
    pub(super) fn repeats_folded<'t>(&mut self, keys: &[KeyPrint], text: impl Fn(u32) -> &'t str) -> bool {
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
