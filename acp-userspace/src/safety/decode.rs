//! Text behind text: what somebody reads who decodes what a scanner sees (THREATS A24).
//!
//! [`Decoder::layers`] shows each text that a given one stands for in another spelling, with a way back to the bytes it
//! came from:
//! - `plain`: percent-encoding (RFC 3986 §2.1), HTML character references, digits of other scripts, compatibility forms,
//!   dashes, spaces, characters that do not show, and marks on digits, all undone in one pass;
//! - `runs`: base64 (RFC 4648 §4 and §5) and hexadecimal, where what they encode is text that shows;
//! - `hidden`: tag characters and variation selectors that spell out something nobody sees.
//!
//! Where a run of base64 is a picture, sound, a document or an archive (`media`), a layer without a text says so.
//!
//! Layers of layers are shown to a depth of `DEPTH_MAX`; what would be deeper is not overlooked but refused. `suspect` says
//! in one cheap pass whether there can be any layer.
//!
//! Invariants: a [`Budget`] bounds the bytes that are produced, `DEPTH_MAX` how deep they lie; whoever meets either learns
//! it, and is never shown less for it (THREATS A25). The range that [`Layer::original`] answers holds every byte that the
//! asked one came from, and whole escapes and characters only. Nothing is allocated but the buffers, which are kept.

use std::ops::Range;

use super::scanner::ScannerError;
use map::Map;
pub(super) use suspect::suspect;

mod entity;
mod fold;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod hidden;
mod map;
mod media;
mod plain;
mod runs;
mod suspect;
#[cfg(test)]
mod tests;

/// Decodings within decodings that are looked through. Credentials in a file in a secret of an orchestrator are base64 three
/// times over; escapes of escapes count once.
const DEPTH_MAX: usize = 4;
/// Bytes of all decodings, for each byte of the body; with the body itself, eight (THREATS A25).
const BYTES_PER_BYTE: usize = 7;
/// Buffers larger than this are given back after use.
const KEPT_BYTES_MAX: usize = 64 << 10;

/// How many bytes may still be decoded.
#[derive(Debug, Default)]
pub(super) struct Budget {
    left: usize,
}

/// Not everything could be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// The budget is used up.
    Bytes,
    /// There are decodings deeper than are looked through.
    Depth,
}

impl From<Exhausted> for ScannerError {
    fn from(_: Exhausted) -> Self {
        Self::Undecoded
    }
}

impl Budget {
    /// For a body of this many bytes, with all that comes with it.
    pub(super) fn for_bytes(bytes: usize) -> Self {
        Self { left: bytes.saturating_mul(BYTES_PER_BYTE) }
    }

    /// These bytes are looked at.
    pub(super) fn take(&mut self, bytes: usize) -> Result<(), Exhausted> {
        self.left = self.left.checked_sub(bytes).ok_or(Exhausted::Bytes)?;
        Ok(())
    }
}

/// A decoded text.
#[derive(Debug)]
pub(super) struct Layer<'l> {
    /// What it says; empty where something hidden says nothing, and of media.
    pub(super) text: &'l [u8],
    /// What it is by itself, whatever it says, and where that stands in the text that it was decoded from.
    nature: Option<(Nature, Range<usize>)>,
    /// The text it was decoded from.
    source: &'l [u8],
    map: &'l Map,
    parent: Option<&'l Layer<'l>>,
}

/// What is worth a finding whatever it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// Text with no purpose but that nobody sees it.
    Hidden,
    /// What no detector reads.
    Media,
}

impl Layer<'_> {
    /// The bytes of the text that was given which `range` of this one came from.
    pub(super) fn original(&self, range: Range<usize>) -> Range<usize> {
        self.outer(self.map.original(range))
    }

    /// What it is by itself, and the bytes of the text that was given which are that.
    pub(super) fn nature(&self) -> Option<(Nature, Range<usize>)> {
        self.nature.clone().map(|(nature, range)| (nature, self.outer(range)))
    }

    /// Whether this run stood so in the source, where it was decoded already.
    fn has_taken_over(&self, run: &runs::Run) -> bool {
        self.map.is_verbatim(run.range.clone()) && runs::is_whole(self.source, self.map.original(run.range.clone()))
    }

    fn outer(&self, range: Range<usize>) -> Range<usize> {
        match self.parent {
            Some(parent) => parent.original(range),
            None => range,
        }
    }
}

/// One level's buffers.
#[derive(Debug, Default)]
struct Level {
    text: Vec<u8>,
    map: Map,
}

impl Level {
    fn clear(&mut self) {
        self.text.clear();
        self.map.clear();
    }

    fn give_back(&mut self) {
        self.text.shrink_to(KEPT_BYTES_MAX);
        self.map.shrink_to(KEPT_BYTES_MAX / size_of::<u64>());
    }
}

/// Buffers to decode into.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// The last is for what is too deep, and is never shown.
    levels: [Level; DEPTH_MAX + 1],
}

impl Decoder {
    /// Shows `visit` every text that `text` stands for, itself excepted.
    ///
    /// # Errors
    /// [`Exhausted`] as soon as there are more bytes or more depth than are looked at; then not everything was shown. What
    /// `visit` answers.
    pub(super) fn layers<E: From<Exhausted>>(
        &mut self,
        text: &[u8],
        budget: &mut Budget,
        visit: &mut impl FnMut(&Layer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let result = layers(text, None, &mut self.levels, budget, visit);
        self.levels.iter_mut().for_each(Level::give_back);
        result
    }
}

/// The layers of `text`, which `parent` was decoded to.
fn layers<E: From<Exhausted>>(
    text: &[u8],
    parent: Option<&Layer<'_>>,
    levels: &mut [Level],
    budget: &mut Budget,
    visit: &mut impl FnMut(&Layer<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Some((level, deeper)) = levels.split_first_mut() else { return Ok(()) };
    let mut show = |level: &Level, nature| -> Result<(), E> {
        if deeper.is_empty() {
            return Err(Exhausted::Depth.into());
        }
        budget.take(level.text.len())?;
        let layer = Layer { text: &level.text, nature, source: text, map: &level.map, parent };
        visit(&layer)?;
        layers(&level.text, Some(&layer), deeper, budget, visit)
    };
    level.clear();
    if plain::decode(text, level) {
        show(level, None)?;
    }
    for run in hidden::runs(text) {
        level.clear();
        hidden::decode(text, run.clone(), level);
        show(level, Some((Nature::Hidden, run)))?;
    }
    for run in runs::runs(text) {
        if parent.is_some_and(|parent| parent.has_taken_over(&run)) {
            continue;
        }
        level.clear();
        if runs::decode(text, &run, level) {
            show(level, run.is_media().then(|| (Nature::Media, run.padded(text))))?;
        }
    }
    Ok(())
}
