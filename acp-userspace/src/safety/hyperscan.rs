//! The anchors that are words as Hyperscan block databases: one for each family, and one of secrets and words, which
//! is faster than one after the other. The engine's types stop here.
//!
//! They are compiled when rules are (tens of milliseconds, never on a request), and shared; each worker has
//! a scratch of its own. The callback is a bare push into preallocated room: it runs inside C code, where a panic
//! would end the process.

use hyperscan::{BlockDatabase, Builder as _, HsError, Matching, Pattern, PatternFlags, Patterns};

use super::detectors::{phrases, secrets, words};
use super::scanner::{Anchor, Candidate, Family, Scanner, ScannerError, Sink};

/// The compiled anchors.
pub struct Hyperscan {
    secrets: BlockDatabase,
    words: BlockDatabase,
    phrases: BlockDatabase,
    /// Secrets first, then words.
    both: BlockDatabase,
}

impl std::fmt::Debug for Hyperscan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hyperscan")
    }
}

/// The rules' anchors did not compile, or no engine fits this CPU.
#[derive(Debug, thiserror::Error)]
#[error("the content scanner cannot be built: {0}")]
pub struct CompileError(String);

/// One worker's engine memory.
pub struct Scratch {
    secrets: hyperscan::Scratch,
    words: hyperscan::Scratch,
    phrases: hyperscan::Scratch,
    both: hyperscan::Scratch,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scratch")
    }
}

impl Hyperscan {
    /// Compiles the anchors for this CPU.
    ///
    /// # Errors
    /// When the engine refuses: an unsupported CPU, or no memory.
    pub fn compile() -> Result<Self, CompileError> {
        let of_secrets = || secrets::ANCHORS.iter().map(|anchor| (anchor.expression, anchor.caseless));
        let of_words = || words::all().map(|word| (word.needle, true));
        let (secrets, words) = (database(of_secrets())?, database(of_words())?);
        let phrases = database(phrases::all().map(|anchor| (anchor.expression, anchor.caseless)))?;
        Ok(Self { secrets, words, both: database(of_secrets().chain(of_words()))?, phrases })
    }
}

/// The database of `expressions`, each with whether letters match in both cases; numbered as they come.
fn database(expressions: impl Iterator<Item = (&'static str, bool)>) -> Result<BlockDatabase, CompileError> {
    let patterns: Patterns = expressions
        .enumerate()
        .map(|(index, (expression, caseless))| {
            // Newlines are ordinary bytes: without DOTALL only `.` would differ, which no expression uses.
            let flags = if caseless { PatternFlags::CASELESS } else { PatternFlags::empty() };
            let mut pattern = Pattern::with_flags(expression, flags)?;
            pattern.id = Some(index);
            Ok(pattern)
        })
        .collect::<Result<_, hyperscan::Error>>()
        .map_err(|error| CompileError(error.to_string()))?;
    patterns.build().map_err(|error| CompileError(error.to_string()))
}

impl Scanner for Hyperscan {
    type Scratch = Scratch;

    fn scratch(&self) -> Result<Scratch, ScannerError> {
        let of = |database: &BlockDatabase| database.alloc_scratch().map_err(|_| ScannerError::Engine);
        let (secrets, words) = (of(&self.secrets)?, of(&self.words)?);
        Ok(Scratch { secrets, words, both: of(&self.both)?, phrases: of(&self.phrases)? })
    }

    fn scan(
        &self,
        family: Family,
        bytes: &[u8],
        scratch: &mut Scratch,
        sink: &mut impl Sink,
    ) -> Result<(), ScannerError> {
        if u32::try_from(bytes.len()).is_err() {
            return Err(ScannerError::TooLarge);
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let (database, scratch) = match family {
            Family::Secrets => (&self.secrets, &scratch.secrets),
            Family::Words => (&self.words, &scratch.words),
            Family::Phrases => (&self.phrases, &scratch.phrases),
            Family::Both => (&self.both, &scratch.both),
        };
        let secrets = if family == Family::Words { 0 } else { secrets::ANCHORS.len() as u32 };
        let on_match = |id: u32, _from: u64, to: u64, _flags: u32| {
            let anchor = match (family, id.checked_sub(secrets)) {
                (Family::Phrases, _) => Anchor::Phrase(id as u8),
                (_, Some(word)) => Anchor::Word(word as u8),
                (_, None) => Anchor::Secret(id as u8),
            };
            let taken = sink.candidate(Candidate { anchor, end: to as u32 });
            if taken { Matching::Continue } else { Matching::Terminate }
        };
        database.scan(bytes, scratch, on_match).map_err(|error| match error {
            hyperscan::Error::Hyperscan(HsError::ScanTerminated) => ScannerError::Full,
            _ => ScannerError::Engine,
        })
    }
}

/// Anchors of secrets are numbered in a byte.
const _: () = assert!(secrets::ANCHORS.len() <= u8::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::safety::scanner::Candidates;

    fn scan(text: &[u8], room: usize) -> Result<Vec<(Anchor, u32)>, ScannerError> {
        let scanner = Hyperscan::compile().expect("compiles");
        let mut scratch = scanner.scratch().expect("scratch");
        let mut candidates = Candidates::with_room(room);
        scanner.scan(Family::Words, text, &mut scratch, &mut candidates)?;
        Ok(candidates.sorted().iter().map(|c| (c.anchor, c.end)).collect())
    }

    #[test]
    fn reports_each_anchor_where_it_ends() {
        let of = |needle| Anchor::Word(words::all().position(|word| word.needle == needle).expect("a word") as u8);
        assert_eq!(scan(b"my SWIFT code", 9), Ok(vec![(of("swift"), 8)]));
        assert_eq!(scan(b"bicbic", 9), Ok(vec![(of("bic"), 3), (of("bic"), 6)]));
        assert_eq!(scan(b"bi c", 9), Ok(vec![]));
        assert_eq!(scan(b"", 9), Ok(vec![]));
    }

    #[test]
    fn a_match_too_many_is_an_error_not_a_short_result() {
        let many = "bic".repeat(50);
        assert_eq!(scan(many.as_bytes(), 50).map(|found| found.len()), Ok(50));
        assert_eq!(scan(many.as_bytes(), 49), Err(ScannerError::Full));
    }
}
