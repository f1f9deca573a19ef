//! The seam between bytes and the engine that searches them: anchors go to a [`Sink`], nothing else comes back.
//!
//! An anchor is a cheap necessary condition ("eight digits close together", "something@something"); the detectors
//! look at the text around it and decide. A scanner therefore may report too much, and must never report too
//! little: whatever keeps it from reporting everything is a [`ScannerError`], which refuses the content (THREATS A25).

/// What a scanner looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anchor {
    /// A character of an address, `@`, the first of a host. Ends behind the latter.
    At,
    /// The eighth digit of a run, and every further one; up to three separators stand between any two. Ends behind it.
    Digits,
    /// What a secret begins with, or the name before it: by number, as the detectors of secrets count them.
    Secret(u8),
    /// A word that announces values: by number, as the detectors' words are counted.
    Word(u8),
}

impl Anchor {
    /// Anchors whose looks settle text for later ones of the same kind, counted from 0. A secret's
    /// and a word's look is bounded whatever lies before it, so none has to be.
    pub(super) const fn settles(self) -> Option<usize> {
        match self {
            Self::At => Some(0),
            Self::Digits => Some(1),
            Self::Secret(_) | Self::Word(_) => None,
        }
    }
}

/// Anchors that are searched together: an engine of few that are alike is faster than one of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// [`Anchor::At`] and [`Anchor::Digits`].
    Numbers,
    /// [`Anchor::Secret`].
    Secrets,
    /// [`Anchor::Word`].
    Words,
}

/// Separators that may stand between two digits of an anchor.
pub const SEPARATORS_MAX: usize = 3;

/// Longest text an anchor needs: eight digits and the separators between them.
/// Text scanned in blocks overlaps by this much.
pub const ANCHOR_BYTES_MAX: usize = 8 + 7 * SEPARATORS_MAX;

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
