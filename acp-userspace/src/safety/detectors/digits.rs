//! Runs of digits: groups of them with few separators between, seen through a sliding window.

/// Groups a detector may look ahead; a card written digit by digit has 19.
const WINDOW: usize = 24;
/// Groups kept at hand, so that moving them up is rare.
const BUFFER: usize = 4 * WINDOW;
/// Separators that may stand between two groups of a run.
const SEPARATORS_MAX: usize = 3;

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

    /// Whether its groups have `least` digits in all.
    pub(super) fn has_digits(&self, least: usize) -> bool {
        let mut digits = 0;
        self.groups.iter().any(|group| {
            digits += group.len();
            digits >= least
        })
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

    /// Whether the first group continues a word (`-` joins words too) or, behind a `.`, a number.
    pub(super) fn joined_before(&self) -> bool {
        let start = self.groups[0].start;
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
    matches!(byte, b' ' | b'-' | b'.' | b'(' | b')')
}

/// Where the run begins that the digit at `at` belongs to, not looking before `floor`.
pub(super) fn run_start(text: &[u8], at: usize, floor: usize) -> usize {
    let (mut start, mut separators) = (at, 0);
    for (i, byte) in text.iter().enumerate().take(at).skip(floor).rev() {
        if byte.is_ascii_digit() {
            (start, separators) = (i, 0);
        } else if is_separator(*byte) && separators < SEPARATORS_MAX {
            separators += 1;
        } else {
            break;
        }
    }
    start
}

/// Shows `visit` the run that begins at `start` from each of its groups on; `visit` says how many groups it is
/// done with. Returns where the run ends. Linear in the run.
pub(super) fn each_window(text: &[u8], start: usize, mut visit: impl FnMut(&Window<'_>) -> usize) -> usize {
    let mut groups = [Group::default(); BUFFER];
    let (mut from, mut len, mut end) = (0, 0, start);
    let mut next = Some(group_at(text, start));
    loop {
        if len - from < WINDOW && next.is_some() {
            groups.copy_within(from..len, 0);
            (from, len) = (0, len - from);
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
    let len = text[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    Group { start, end: start + len }
}

fn group_after(text: &[u8], end: usize) -> Option<Group> {
    let separators = text[end..].iter().take(SEPARATORS_MAX + 1).take_while(|b| is_separator(**b)).count();
    let group = group_at(text, end + separators);
    (separators <= SEPARATORS_MAX && group.len() > 0).then_some(group)
}
