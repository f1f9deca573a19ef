//! The chunked transfer coding (RFC 9112 §7.1), decoded incrementally and without leniency.
//!
//! ```text
//! chunk      = 1*16HEXDIG *( ";" token [ "=" ( token / quoted-string ) ] ) CRLF data CRLF
//! last-chunk = 1*16"0" … CRLF ; then field lines, each ending in CRLF, and an empty line
//! ```
//! Extensions and trailers are parsed, bounded and dropped: §7.1.1 obliges a recipient to ignore extensions it does
//! not know, and no trailer may become a field that was checked before it came (THREATS A13). White space around
//! the size, a sign, `0x`, an empty size and a lone LF are errors: each was somebody's request smuggling.
//!
//! The decoder holds a few words, copies nothing, and bounds only its own overhead; the body's bound is the caller's,
//! who can ask [`Decoder::announced`] before reading a large chunk.

use super::head::is_tchar;

/// Bytes of extensions over a whole body. Each chunk could otherwise carry an unbounded comment, which some servers
/// read at a high price (CVE-2023-39326).
pub const EXTENSION_BYTES_MAX: u32 = 4 * 1024;

/// Bytes of the trailer section; what it says is dropped, so a modest head's worth is plenty.
pub const TRAILER_BYTES_MAX: u32 = 8 * 1024;

/// Digits of a chunk size: as many as fit u64.
const SIZE_DIGITS_MAX: u8 = 16;

/// Why a body was refused; its end is unknown, so the connection has to close.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    /// Empty, longer than 16 digits, or not hexadecimal.
    #[error("a chunk size is malformed")]
    Size,
    /// A malformed chunk extension.
    #[error("a chunk extension is malformed")]
    Extension,
    /// More than [`EXTENSION_BYTES_MAX`].
    #[error("the chunk extensions are too long")]
    ExtensionTooLong,
    /// Data longer than its size said, or a line that does not end in CRLF.
    #[error("a chunk does not end where its size says")]
    LineEnding,
    /// A malformed trailer field.
    #[error("a trailer field is malformed")]
    Trailer,
    /// More than [`TRAILER_BYTES_MAX`].
    #[error("the trailers are too long")]
    TrailerTooLong,
}

/// What one call of [`Decoder::decode`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// Bytes of the input that belong to this body. All of it, unless the body ended before.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// Decodes one body, however it is split over reads.
#[derive(Debug, Clone, Default)]
pub struct Decoder {
    state: State,
    /// Data bytes handed out.
    delivered: u64,
    /// Data bytes of the current chunk still to come.
    remaining: u64,
    /// Digits of the current size.
    digits: u8,
    extension_bytes: u32,
    trailer_bytes: u32,
}

/// What the next byte has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// A digit of a chunk size, or what ends it.
    #[default]
    Size,
    /// First byte of an extension's name.
    ExtensionStart,
    ExtensionName,
    /// First byte of an extension's value.
    ValueStart,
    ValueToken,
    Quoted,
    QuotedPair,
    /// After a closing quote.
    QuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    /// First byte of a trailer line, or the CR of the last.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Done,
}

impl Decoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the body is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Data bytes handed out so far and still to come in the current chunk: what the body is known to hold.
    #[must_use]
    pub fn announced(&self) -> u64 {
        self.delivered.saturating_add(self.remaining)
    }

    /// Takes `input`, the next bytes of the connection, and hands the data in it to `sink` in as few slices as there
    /// are chunks.
    ///
    /// # Errors
    /// [`ChunkError`]. What was handed out before is correct but the body is not: it must not be used as a whole.
    pub fn decode(&mut self, input: &[u8], sink: &mut impl FnMut(&[u8])) -> Result<Decoded, ChunkError> {
        let mut at = 0;
        while at < input.len() && self.state != State::Done {
            if self.state == State::Data {
                let here = usize::try_from(self.remaining).unwrap_or(usize::MAX).min(input.len() - at);
                sink(&input[at..at + here]);
                at += here;
                self.delivered = self.delivered.saturating_add(here as u64);
                self.remaining -= here as u64;
                if self.remaining == 0 {
                    self.state = State::DataCr;
                }
            } else {
                self.state = self.step(input[at])?;
                at += 1;
            }
        }
        Ok(Decoded { consumed: at, done: self.is_done() })
    }

    /// One byte of framing.
    fn step(&mut self, byte: u8) -> Result<State, ChunkError> {
        match self.state {
            State::Size => self.size(byte),
            State::SizeLf => self.size_end(byte),
            State::ExtensionStart
            | State::ExtensionName
            | State::ValueStart
            | State::ValueToken
            | State::Quoted
            | State::QuotedPair
            | State::QuotedEnd => self.extension(byte),
            State::Data | State::DataCr => expect(byte, b'\r', State::DataLf),
            State::DataLf => {
                self.digits = 0;
                expect(byte, b'\n', State::Size)
            }
            State::TrailerStart | State::TrailerName | State::TrailerValue | State::TrailerLf => self.trailer(byte),
            State::LastLf => expect(byte, b'\n', State::Done),
            State::Done => Ok(State::Done),
        }
    }

    fn size(&mut self, byte: u8) -> Result<State, ChunkError> {
        if let Some(digit) = (byte as char).to_digit(16) {
            if self.digits == SIZE_DIGITS_MAX {
                return Err(ChunkError::Size);
            }
            self.digits += 1;
            self.remaining = self.remaining << 4 | u64::from(digit);
            return Ok(State::Size);
        }
        match byte {
            _ if self.digits == 0 => Err(ChunkError::Size),
            b'\r' => Ok(State::SizeLf),
            b';' => Ok(State::ExtensionStart),
            _ => Err(ChunkError::Size),
        }
    }

    fn size_end(&mut self, byte: u8) -> Result<State, ChunkError> {
        expect(byte, b'\n', if self.remaining == 0 { State::TrailerStart } else { State::Data })
    }

    fn extension(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX {
            return Err(ChunkError::ExtensionTooLong);
        }
        match (self.state, byte) {
            (State::ExtensionStart | State::ExtensionName, _) if is_tchar(byte) => Ok(State::ExtensionName),
            (State::ExtensionName, b'=') => Ok(State::ValueStart),
            (State::ValueStart, b'"') => Ok(State::Quoted),
            (State::ValueStart | State::ValueToken, _) if is_tchar(byte) => Ok(State::ValueToken),
            (State::Quoted, b'"') => Ok(State::QuotedEnd),
            (State::Quoted, b'\\') => Ok(State::QuotedPair),
            (State::Quoted | State::QuotedPair, _) if is_text(byte) => Ok(State::Quoted),
            (State::ExtensionName | State::ValueToken | State::QuotedEnd, b';') => Ok(State::ExtensionStart),
            (State::ExtensionName | State::ValueToken | State::QuotedEnd, b'\r') => Ok(State::SizeLf),
            _ => Err(ChunkError::Extension),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkError> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(ChunkError::TrailerTooLong);
        }
        match (self.state, byte) {
            (State::TrailerStart, b'\r') => Ok(State::LastLf),
            (State::TrailerStart | State::TrailerName, _) if is_tchar(byte) => Ok(State::TrailerName),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_text(byte) => Ok(State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            _ => Err(ChunkError::Trailer),
        }
    }
}

fn expect(byte: u8, wanted: u8, next: State) -> Result<State, ChunkError> {
    if byte == wanted { Ok(next) } else { Err(ChunkError::LineEnding) }
}

/// HTAB, SP, VCHAR or obs-text: what a field value or a quoted string is made of.
const fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
}

#[cfg(test)]
mod tests;
