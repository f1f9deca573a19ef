//! Runs of digits: groups of them with few separators between, seen through a sliding window.

use crate::safety::scanner::SEPARATORS_MAX;

/// Groups a detector may look ahead; a card written digit by digit has 19.
const WINDOW: usize = 24;
/// Groups kept at hand: moving them up costs each no more than one copy, and few are cheap to set up.
const BUFFER: usize = 2 * WINDOW;

/// Consecutive digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Group {
    pub(super) fn len(self) -> usize {
        self.end - self.start
    }
}

/// The groups that follow one position of a run.
pub(super) struct Window<'a> {
    pub(super) text: &'a [u8],
    /// At least one.
    pub(super) groups: &'a [Group],
}

impl<'a> Window<'a> {
    /// The digits of group `i`; empty behind the last.
    pub(super) fn digits(&self, i: usize) -> &'a [u8] {
        self.groups.get(i).map_or(&[], |group| &self.text[group.start..group.end])
    }

    /// How many digits its groups have in all; counts no further than `enough`.
    pub(super) fn count_digits(&self, enough: usize) -> usize {
        let mut digits = 0;
        for group in self.groups {
            digits += group.len();
            if digits >= enough {
                break;
            }
        }
        digits
    }

    /// What stands between group `i` and the next.
    pub(super) fn separator(&self, i: usize) -> &'a [u8] {
        match (self.groups.get(i), self.groups.get(i + 1)) {
            (Some(a), Some(b)) => &self.text[a.end..b.start],
            _ => &[],
        }
    }

    /// The byte before the first group.
    pub(super) fn before(&self) -> Option<u8> {
        byte_before(self.text, self.groups[0].start)
    }

    /// Whether the first group continues a word (`-` joins words too) or, behind a `.`, a number. The letter of an escape
    /// (`\n`: text quoted once more than it was unquoted) is no word.
    pub(super) fn joined_before(&self) -> bool {
        let start = self.groups[0].start;
        if let [.., b'\\', b'n' | b'r' | b't'] = self.text[..start] {
            return false;
        }
        match self.before() {
            Some(b'-') => byte_before(self.text, start - 1).is_some_and(|b| b.is_ascii_alphanumeric()),
            Some(b'.') => byte_before(self.text, start - 1).is_some_and(|b| b.is_ascii_digit()),
            Some(b) => is_word(b),
            None => false,
        }
    }

    /// Whether group `i` is continued by a word, or by more digits joined by `-` or `.`.
    pub(super) fn joined_after(&self, i: usize) -> bool {
        let Some(end) = self.groups.get(i).map(|group| group.end) else { return false };
        match self.text.get(end) {
            Some(b'-' | b'.') => self.text.get(end + 1).is_some_and(u8::is_ascii_digit),
            Some(b) => is_word(*b),
            None => false,
        }
    }
}

fn byte_before(text: &[u8], at: usize) -> Option<u8> {
    at.checked_sub(1).map(|before| text[before])
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'-' | b'.' | b'(' | b')' | b'/')
}

/// Where the run begins that the digit at `at` belongs to, not looking before `floor`.
pub(super) fn run_start(text: &[u8], at: usize, floor: usize) -> usize {
    let (mut start, mut separators) = (at, 0);
    for i in (floor..at).rev() {
        if text[i].is_ascii_digit() {
            (start, separators) = (i, 0);
        } else if is_separator(text[i]) && separators < SEPARATORS_MAX {
            separators += 1;
        } else {
            break;
        }
    }
    start
}

/// Where the run that begins at `start` ends, if it has fewer than `least` digits. Reads no further than those.
pub(super) fn end_if_fewer(text: &[u8], start: usize, least: usize) -> Option<usize> {
    let (mut digits, mut end, mut separators) = (0, start, 0);
    for (at, byte) in text[start..].iter().enumerate() {
        if byte.is_ascii_digit() {
            digits += 1;
            if digits == least {
                return None;
            }
            (end, separators) = (start + at + 1, 0);
        } else if is_separator(*byte) && separators < SEPARATORS_MAX {
            separators += 1;
        } else {
            break;
        }
    }
    Some(end)
}

/// Where the run that begins at `start` ends, if it is a date as programs write it (`2026-03-01`), alone or with the hour
/// behind it. Behind `+` or `(` it may be something else.
pub(super) fn end_of_date(text: &[u8], start: usize) -> Option<usize> {
    let [century @ .., y3, y4, b'-', m1, m2, b'-', d1, d2] = text[start..].first_chunk::<10>()? else {
        return None;
    };
    let two = |a: &u8, b: &u8| (a.is_ascii_digit() && b.is_ascii_digit()).then(|| 10 * (a - b'0') + (b - b'0'));
    let is_date = matches!(century, b"19" | b"20")
        && two(y3, y4).is_some()
        && matches!(two(m1, m2), Some(1..=12))
        && matches!(two(d1, d2), Some(1..=31));
    let end = start + 10;
    let called = matches!(byte_before(text, start), Some(b'+' | b'('));
    if !is_date || called || text.get(end).is_some_and(u8::is_ascii_digit) {
        return None;
    }
    match group_after(text, end) {
        None => Some(end),
        Some(hour) if hour.len() == 2 && group_after(text, hour.end).is_none() => Some(hour.end),
        Some(_) => None,
    }
}

/// Shows `visit` the run that begins at `start` from each of its groups on; `visit` says how many groups it is
/// done with. Returns where the run ends. Linear in the run.
pub(super) fn each_window(text: &[u8], start: usize, mut visit: impl FnMut(&Window<'_>) -> usize) -> usize {
    let mut groups = [Group::default(); BUFFER];
    let (mut from, mut len, mut end) = (0, 0, start);
    let mut next = Some(group_at(text, start));
    loop {
        if len - from < WINDOW && next.is_some() {
            if from > 0 {
                groups.copy_within(from..len, 0);
                (from, len) = (0, len - from);
            }
            while let Some(group) = next.filter(|_| len < BUFFER) {
                groups[len] = group;
                len += 1;
                end = group.end;
                next = group_after(text, group.end);
            }
        }
        if from == len {
            return end;
        }
        let ahead = len.min(from + WINDOW);
        let done = visit(&Window { text, groups: &groups[from..ahead] });
        from += done.clamp(1, ahead - from);
    }
}

fn group_at(text: &[u8], start: usize) -> Group {
    let mut end = start;
    while text.get(end).is_some_and(u8::is_ascii_digit) {
        end += 1;
    }
    Group { start, end }
}

fn group_after(text: &[u8], end: usize) -> Option<Group> {
    let mut start = end;
    while start <= end + SEPARATORS_MAX && text.get(start).is_some_and(|byte| is_separator(*byte)) {
        start += 1;
    }
    let group = group_at(text, start);
    (start - end <= SEPARATORS_MAX && group.len() > 0).then_some(group)
}
