//! Values that only a word beside them tells: the word is the anchor, and what it announces is looked for near it.
//!
//! A [`Word`] is a needle and the function that looks. The engine finds the needle in any case, anywhere, also in the
//! middle of a longer word: whoever looks decides whether it is one. Where a needle stands in the name of a JSON member,
//! the member's value is looked at with the name as key, and so are the direct items of an array.
//!
//! Invariant: a look reads no further than 256 bytes before the needle's end and 512 after it; in the value of a member no
//! further than 512 from its start.

use std::ops::Range;

use super::{Detectors, bic, personal};
use crate::config::resolved::Detector;

/// Bytes of a member's name in which needles count, so that a long name does not have its value looked at too often.
pub(in crate::safety) const KEY_BYTES_MAX: usize = 128;

/// Words of a member's name that have its value looked at, as many as `patient_medical_insurance_member_id` holds. Each
/// has every item of a list looked at: a name of thirty words before a list of short items would cost microseconds a byte.
pub(in crate::safety) const PER_KEY_MAX: usize = 4;
/// Shortest value of a member that a word announces: a code of ICD-10 without its point.
pub(in crate::safety) const VALUE_BYTES_MIN: usize = 3;

/// Shortest needle.
const NEEDLE_BYTES_MIN: usize = 3;
/// Longest needle: longer ones make the engine three times slower.
pub(in crate::safety) const NEEDLE_BYTES_MAX: usize = 6;

/// A word that announces values.
pub(in crate::safety) struct Word {
    /// What the engine looks for, in lower case: letters, digits, space, `-` or `_`.
    pub(in crate::safety) needle: &'static str,
    /// What `look` may report.
    pub(super) finds: Detectors,
    /// Reports what the word announces.
    pub(super) look: fn(&Announced<'_>, &mut Report<'_>),
}

/// Takes what was found: what it is, where in [`Announced::text`], and how sure that is, in percent.
pub(in crate::safety) type Report<'r> = dyn FnMut(Detector, Range<usize>, u8) + 'r;

/// Where a word stands, and the text in which its value may.
#[derive(Debug, Clone, Copy)]
pub(in crate::safety) struct Announced<'a> {
    /// A string, key or number of JSON, or a whole raw body.
    pub(in crate::safety) text: &'a [u8],
    /// Where the value may begin: behind the needle, or at 0 if that stands in the name of the member `text` is of.
    pub(in crate::safety) from: usize,
    /// What was said up to the needle's end: the beginning of `text`, or of the member's name.
    pub(in crate::safety) said: &'a [u8],
    /// The whole name of the member `text` is of, if the needle stands in that.
    pub(in crate::safety) name: Option<&'a str>,
}

impl Announced<'_> {
    /// Whether the needle, of `len` bytes, is the beginning of a word: "bic" in "BIC", "bank_bic", "bankBic"; not in "arabic".
    pub(super) fn begins_word(&self, len: usize) -> bool {
        let (before, needle) = self.said.split_at(self.said.len().saturating_sub(len));
        match (before.last(), needle.first()) {
            (Some(before), Some(first)) => {
                !before.is_ascii_alphabetic() || (before.is_ascii_lowercase() && first.is_ascii_uppercase())
            }
            _ => true,
        }
    }
}

/// All words, by who looks for them. The engine numbers them in this order.
const LISTS: [&[Word]; 2] = [bic::WORDS, personal::WORDS];

const COUNT: usize = {
    let (mut count, mut list) = (0, 0);
    while list < LISTS.len() {
        count += LISTS[list].len();
        list += 1;
    }
    count
};

/// Words are numbered in a byte.
const _: () = assert!(COUNT <= u8::MAX as usize);

/// Every word, by its number.
static NUMBERED: [&Word; COUNT] = {
    let (mut all, mut count, mut list) = ([&LISTS[0][0]; COUNT], 0, 0);
    while list < LISTS.len() {
        let mut word = 0;
        while word < LISTS[list].len() {
            all[count] = &LISTS[list][word];
            (count, word) = (count + 1, word + 1);
        }
        list += 1;
    }
    all
};

/// All words, in the order of their numbers.
pub(in crate::safety) fn all() -> impl Iterator<Item = &'static Word> {
    NUMBERED.into_iter()
}

/// Whatever some word finds.
pub(super) const FOUND: Detectors = {
    let (mut found, mut list) = (Detectors::NONE, 0);
    while list < LISTS.len() {
        let mut word = 0;
        while word < LISTS[list].len() {
            let Word { needle, finds, .. } = &LISTS[list][word];
            assert!(NEEDLE_BYTES_MIN <= needle.len() && needle.len() <= NEEDLE_BYTES_MAX);
            found = found.and(*finds);
            word += 1;
        }
        list += 1;
    }
    found
};

/// Reports what the word of this number announces, as far as it is wanted.
pub(super) fn examine(announced: &Announced<'_>, word: u8, wanted: Detectors, report: &mut Report<'_>) {
    let Some(word) = NUMBERED.get(usize::from(word)).filter(|word| word.finds.overlaps(wanted)) else { return };
    (word.look)(announced, &mut |detector, range, confidence| {
        if wanted.contains(detector) {
            report(detector, range, confidence);
        }
    });
}
