//! The seam between bytes and what searches them: anchors go to a [`Sink`], nothing else comes back.
//!
//! An anchor is a cheap necessary condition ("seven digits or separators", "something@something", a token's prefix); the
//! detectors look at the text around it and decide. What searches may therefore report too much, and must never report too
//! little: whatever keeps the engine from reporting everything is a [`ScannerError`], which refuses the content (THREATS
//! A25). Anchors that are shapes are found by `shapes`, those that are words by a [`Scanner`].

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anchor {
    /// A digit and six more bytes that are digits or separators. Ends behind the digit.
    Digits,
    /// A character of an address, `@`, the first of a host. Ends behind the latter.
    At,
    /// Four numbers with dots between. Ends behind the first digit of the fourth.
    Dotted,
    /// Two colons, four bytes between them or fewer. Ends behind the second.
    Colons,
    /// Hyphens three bytes apart, or dots five apart, as in a MAC address. Ends behind the last.
    Octets,
    /// Two letters at the beginning of a word, and two digits. Ends behind them.
    Coded,
    /// The same, and two more digits, with separators between. Ends behind them.
    Pairs,
    /// The first ten letters and digits of a code that has no long run of digits, or the first sixteen of any word.
    Token,
    /// What a secret begins with, or the name before it: by number, as the detectors of secrets count them.
    Secret(u8),
    /// A word that announces values: by number, as the detectors' words are counted.
    Word(u8),
    /// What a phrase or a name is told by: by number, as the lists of phrases count them.
    Phrase(u8),
}

/// Anchors that the engine searches together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// [`Anchor::Secret`].
    Secrets,
    /// [`Anchor::Word`].
    Words,
    /// Secrets and words, faster than one after the other.
    Both,
    /// [`Anchor::Phrase`].
    Phrases,
}

/// Separators that may stand between two digits of one run.
pub const SEPARATORS_MAX: usize = 3;

/// An anchor that was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub anchor: Anchor,
    /// Where it ends, in the scanned bytes.
    pub end: u32,
}

/// Where anchors go.
pub trait Sink {
    /// Takes one; false stops the scan, which then fails. Called from inside the engine: it must not panic.
    fn candidate(&mut self, candidate: Candidate) -> bool;
}

/// Why content could not be searched to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScannerError {
    /// More matches than there is room for.
    #[error("too many matches")]
    Full,
    /// The engine failed.
    #[error("the engine failed")]
    Engine,
    /// More encodings within encodings than are looked through for a body of this size.
    #[error("too much to decode")]
    Undecoded,
    /// More bytes than the engine counts.
    #[error("too many bytes")]
    TooLarge,
}

/// An engine, shared by all workers.
pub trait Scanner {
    /// What one worker needs to use it.
    type Scratch: Send;

    /// Memory for one worker.
    ///
    /// # Errors
    /// When there is none.
    fn scratch(&self) -> Result<Self::Scratch, ScannerError>;

    /// Reports every anchor of `family` in `bytes`, in any order.
    ///
    /// # Errors
    /// When an anchor may have gone unreported.
    fn scan(
        &self,
        family: Family,
        bytes: &[u8],
        scratch: &mut Self::Scratch,
        sink: &mut impl Sink,
    ) -> Result<(), ScannerError>;
}

/// A fixed amount of room for candidates.
#[derive(Debug)]
pub struct Candidates {
    list: Vec<Candidate>,
    room: usize,
}

impl Candidates {
    /// Room for `room` of them, allocated now.
    #[must_use]
    pub fn with_room(room: usize) -> Self {
        Self { list: Vec::with_capacity(room), room }
    }

    /// Forgets what was collected.
    pub fn clear(&mut self) {
        self.list.clear();
    }

    /// What was collected, by rising end.
    pub fn sorted(&mut self) -> &[Candidate] {
        if !self.list.is_sorted_by_key(|candidate| candidate.end) {
            self.list.sort_unstable_by_key(|candidate| candidate.end);
        }
        &self.list
    }
}

impl Sink for Candidates {
    fn candidate(&mut self, candidate: Candidate) -> bool {
        let fits = self.list.len() < self.room;
        if fits {
            self.list.push(candidate);
        }
        fits
    }
}
