//! How much of a text that goes on is decided: what was found in it, and what was not, will not change whatever follows.
//!
//! What is undecided begins at a *seam*: behind a blank, a comma or a quote that does not stand between two digits of one
//! number. It may begin at a seam when one of two things holds of it.
//!
//! - **Calm.** No finding goes over it: around it lie [`REACH`] bytes of plain words, from the last word that is not plain
//!   to the next, or to the word that is still being written. A plain word is of letters and ends in at most a mark of
//!   punctuation: no finding begins or ends in it, and none holds so many of them in a row. (Detectors of phrases would;
//!   while one is looked for, this rule does not count.)
//! - **Distance.** It lies [`FAR`] bytes behind, and nothing that was found goes over it. A finding that holds a seam is at
//!   most [`REACH`] bytes long, and is judged by no more than so many behind it. The one exception are keys in PEM form, for
//!   which the text is searched: nothing behind the first line of one is decided before its last, or before so many
//!   bytes that no detector reads on. Where values are looked for as they are, which may be of plain words and long, calm
//!   does not count either, and the distance is twice the longest.
//!
//! So text in plain words is decided word by word, text full of numbers, quotes or code is decided [`FAR`] bytes late,
//! and only what holds no seam, and numbers without an end, are undecided for longer; [`HOLD_BYTES_MAX`] bounds those.
//!
//! **Invariant:** decided bytes with [`CONTEXT_BYTES`] before them are judged as in the whole text (property test over the
//! corpora in `super::tests`).

use std::ops::Range;

use smallvec::SmallVec;

/// Longest finding that holds a seam, and how far a detector reads beyond what it finds; in bytes. The longest of today's
/// is a shared access signature, whose parameters may stand 200 bytes behind it.
const REACH: usize = 256;
/// How far behind a text is decided whatever it holds.
const FAR: usize = 2 * REACH;
/// How far from its first line a key in PEM form is read on: `secrets::FORWARD_BYTES_MAX` and its lines.
const OPEN_BYTES: usize = 4096 + 128 + REACH;
/// Most that may be undecided of one text: more than the longest secret that detectors read to its end.
pub(super) const HOLD_BYTES_MAX: usize = 16 << 10;
/// How much of what is decided is kept before the rest: detectors read back as far as 256 bytes before an anchor, and 64
/// before that.
pub(super) const CONTEXT_BYTES: usize = 512;
/// Longest plain word.
const WORD_BYTES_MAX: usize = 32;

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"-----END ";

/// What is looked for.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Reach {
    /// Some of it may be plain words alone.
    pub(super) phrases: bool,
    /// Bytes of the longest value that is looked for as it is: such a value may hold seams and be longer than [`REACH`].
    pub(super) longest: usize,
}

/// Where the undecided end of `text` begins, not before `decided`. `found` are all findings in it.
pub(super) fn undecided(text: &[u8], decided: usize, reach: Reach, found: &[Range<usize>]) -> usize {
    let found = joined(found);
    let bound = open_block(text, decided).unwrap_or(text.len());
    let calm = if reach.phrases { None } else { calm(text, bound) };
    let distant = distant(text, decided, bound.min(text.len().saturating_sub(FAR.max(2 * reach.longest))), &found);
    let seam = calm.max(distant).unwrap_or(decided);
    // By the rules above no finding goes over it; were one to, it would not be cut.
    let over = found.iter().find(|finding| finding.start < seam && seam < finding.end);
    over.map_or(seam, |over| over.start).max(decided)
}

/// Findings that overlap as one, in order: so none lies over the beginning of another.
fn joined(found: &[Range<usize>]) -> SmallVec<[Range<usize>; 4]> {
    let mut found: SmallVec<[Range<usize>; 4]> = found.iter().cloned().collect();
    found.sort_unstable_by_key(|finding| finding.start);
    found.dedup_by(|next, last| {
        let overlap = next.start < last.end;
        if overlap {
            last.end = last.end.max(next.end);
        }
        overlap
    });
    found
}

/// The last seam in a calm place.
fn calm(text: &[u8], bound: usize) -> Option<usize> {
    let (mut last_end, mut best) = (None::<usize>, None);
    let mut consider = |start: usize, last_end: Option<usize>| {
        if start <= bound && last_end.is_none_or(|end| start - end >= REACH) {
            best = Some(start);
        }
    };
    let mut at = 0;
    while at < text.len() {
        let gap = gap_len(&text[at..]);
        if gap > 0 {
            at += gap;
            continue;
        }
        let start = at;
        while at < text.len() && gap_len(&text[at..]) == 0 {
            at += 1;
        }
        if at == text.len() || !is_plain(&text[start..at]) {
            consider(start, last_end);
            last_end = Some(at);
        }
    }
    if last_end.is_none_or(|end| end < text.len()) {
        consider(text.len(), last_end);
    }
    best
}

/// The last seam up to `bound` that no finding goes over; `found` are disjoint and in order.
fn distant(text: &[u8], decided: usize, bound: usize, found: &[Range<usize>]) -> Option<usize> {
    let (mut at, mut before) = (bound, found);
    while at > decided {
        while let Some((_, rest)) = before.split_last().filter(|(last, _)| last.start >= at) {
            before = rest;
        }
        if let Some(over) = before.last().filter(|finding| at < finding.end) {
            at = over.start;
        } else if is_seam(text, at) {
            return Some(at);
        } else {
            at -= 1;
        }
    }
    None
}

/// Whether the text may be cut before the byte at `at`.
fn is_seam(text: &[u8], at: usize) -> bool {
    match text[..at].last() {
        Some(b',' | b'"') => true,
        Some(b'\n') => !ends_long_line(&text[..at - 1]),
        Some(byte) if byte.is_ascii_whitespace() => !is_within_number(text, at),
        _ => at >= 3 && is_ideograph(&text[at - 3..at]),
    }
}

/// Whether a line ends in so long a run that it may be one of many of encoded text, which are decoded as one.
fn ends_long_line(line: &[u8]) -> bool {
    const RUN_BYTES_MIN: usize = 56;
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.iter().rev().take_while(|byte| !byte.is_ascii_whitespace()).take(RUN_BYTES_MIN).count() == RUN_BYTES_MIN
}

/// Whether digits stand on both sides, with few between that may stand in a number.
fn is_within_number(text: &[u8], at: usize) -> bool {
    near_digit(text[..at].iter().rev()) && near_digit(text[at..].iter())
}

fn near_digit<'t>(bytes: impl Iterator<Item = &'t u8>) -> bool {
    const BETWEEN_MAX: usize = 3;
    let may_be_between = |byte: u8| matches!(byte, b' ' | b'\t' | b'-' | b'.' | b'(' | b')' | b'/' | b':');
    bytes.take(BETWEEN_MAX + 1).find(|byte| !may_be_between(**byte)).is_some_and(u8::is_ascii_digit)
}

/// Length of what stands between two words at the beginning of `text`: a blank, or a character of a script without blanks.
fn gap_len(text: &[u8]) -> usize {
    match text {
        [first, ..] if first.is_ascii_whitespace() => 1,
        [a, b, c, ..] if is_ideograph(&[*a, *b, *c]) => 3,
        _ => 0,
    }
}

/// Kana, ideographs and hangul (U+3041 to U+D7A3) in UTF-8; they stand in no finding.
fn is_ideograph(bytes: &[u8]) -> bool {
    let continued = |byte: u8| byte & 0xc0 == 0x80;
    match *bytes {
        [0xe3, b, c] => (0x81..=0xbf).contains(&b) && continued(c),
        [0xe4..=0xec, b, c] => continued(b) && continued(c),
        [0xed, b, c] => (0x80..=0x9d).contains(&b) && continued(c),
        _ => false,
    }
}

/// Whether a whole word is of letters alone, but for an opening parenthesis, marks at its end, and single hyphens and
/// apostrophes between letters.
fn is_plain(word: &[u8]) -> bool {
    let opened = word.strip_prefix(b"(").unwrap_or(word);
    let marks = opened.iter().rev().take_while(|byte| matches!(byte, b'.' | b',' | b';' | b':' | b'!' | b'?' | b')'));
    let core = &opened[..opened.len() - marks.count()];
    let mut after_letter = false;
    let mut plain = true;
    for byte in core {
        // Letters of Latin, Greek and Cyrillic: two bytes from U+00C0 to U+057F.
        let is_letter = byte.is_ascii_alphabetic() || matches!(byte, 0xc3..=0xd5 | 0x80..=0xbf);
        plain &= is_letter || (matches!(byte, b'-' | b'\'') && after_letter);
        after_letter = is_letter;
    }
    word.len() <= WORD_BYTES_MAX && ((plain && (after_letter || core.is_empty())) || core == b"-")
}

/// Where a key in PEM form begins that is not ended, and may still go on.
fn open_block(text: &[u8], decided: usize) -> Option<usize> {
    let from = decided.max((text.len() + 1).saturating_sub(OPEN_BYTES));
    let from = memchr::memmem::rfind(&text[from..], END).map_or(from, |end| from + end);
    memchr::memmem::find(&text[from..], BEGIN).map(|begin| from + begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Reach = Reach { phrases: false, longest: 0 };

    /// What of `text` is undecided.
    #[track_caller]
    fn check(text: &str, undecided_part: &str) {
        let at = undecided(text.as_bytes(), 0, NONE, &[]);
        assert_eq!(&text[at..], undecided_part, "{text:?}");
    }

    #[test]
    fn plain_text_is_decided_word_by_word() {
        check("", "");
        check("The sun rises in the ea", "ea");
        check("The sun rises, doesn't it? (Yes: it does.) ", "");
        check("un été à Zürich, co", "co");
        check("今日は", "");
        check("- well-known", "well-known");
    }

    #[test]
    fn what_is_not_plain_is_undecided_until_it_is_out_of_reach() {
        check("You have 3 options", "3 options");
        check("see a@b.example for", "a@b.example for");
        check("\"quoted", "\"quoted");
        let calm = "word ".repeat(REACH / 5 + 1);
        check(&format!("3 {calm}last"), "last");
        check(&format!("3 {}last", &calm[10..]), &format!("3 {}last", &calm[10..]));
        check(&format!("3 {calm}4 {calm}last"), "last");
        check(&format!("3 {calm}4 five last"), "4 five last");
    }

    #[test]
    fn anything_is_decided_at_a_distance_but_numbers_and_what_has_no_seam() {
        let code = "let x1 = 7;\n".repeat(100);
        let at = undecided(code.as_bytes(), 0, NONE, &[]);
        assert!(code.len() - at >= FAR && code.len() - at < FAR + 12);
        check(&"1 234-567".repeat(200), &"1 234-567".repeat(200));
        check(&"x1".repeat(2000), &"x1".repeat(2000));
        let list = "12,".repeat(1000);
        assert!(list.len() - undecided(list.as_bytes(), 0, NONE, &[]) < FAR + 3);
        assert_eq!(undecided(b"plain words ", 0, Reach { phrases: true, longest: 0 }, &[]), 0);
        let (known, code) = (Reach { phrases: true, longest: 900 }, code.repeat(2));
        let held = code.len() - undecided(code.as_bytes(), 0, known, &[]);
        assert!((1800..1812).contains(&held), "a known value may be as long: {held}");
    }

    #[test]
    fn a_finding_is_never_cut() {
        let code = "x1 ".repeat(400);
        let at = undecided(code.as_bytes(), 0, NONE, &[]);
        let found = [at - 20..at - 15, at - 9..at + 9];
        assert_eq!(undecided(code.as_bytes(), 0, NONE, &found), at - 9);
        assert_eq!(undecided(code.as_bytes(), at - 3, NONE, &found), at - 3);
        let overlapping = [at - 9..at + 9, at - 12..at - 8, at - 30..at - 9, at - 30..at - 20];
        assert_eq!(undecided(code.as_bytes(), 0, NONE, &overlapping), at - 30);
    }

    #[test]
    fn a_key_is_undecided_until_it_is_ended_or_too_long() {
        let key = format!("x -----BEGIN PRIVATE KEY-----\n{}", "MIIEvQ1+/A\n".repeat(300));
        check(&key, &key[2..]);
        let ended = format!("{key}-----END PRIVATE KEY-----\n{}", "x1 ".repeat(200));
        assert!(undecided(ended.as_bytes(), 0, NONE, &[]) > key.len());
        let long = format!("{key}{}", "MIIEvQ1+/A\n".repeat(300));
        assert!(undecided(long.as_bytes(), 0, NONE, &[]) > key.len());
    }
}
