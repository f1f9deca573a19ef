//! Bodies that came compressed (RFC 9110 §8.4.1): undone before they are read, within bounds.
//!
//! Read strictly, because two decoders must not see two bodies in one: exactly one gzip member (RFC 1952), zlib stream
//! (`deflate` is that, RFC 9110 §8.4.1.2), brotli stream (RFC 7932) or zstd frame (RFC 8878, window as RFC 9659 has
//! it), whole, with a checksum that fits where there is one, and nothing behind it. What was decoded is what is sent on;
//! the compressed bytes are nobody's any more.
//!
//! A bomb is stopped by two bounds, whichever is smaller: the most the caller takes, and `RATIO_MAX` times what came,
//! which small bodies are free of. Memory beyond the output is the decoders' own: at most 16 MiB for brotli's largest
//! window, 8 MiB for zstd's, 32 KiB for the others.

use std::io::{ErrorKind, Read};

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::bufread::{GzDecoder, ZlibDecoder};
use ruzstd::decoding::StreamingDecoder;

use crate::config::resolved::ContentCoding as Coding;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;

/// Decoded bytes per byte that came. JSON with many equal members reaches a few dozen; deflate can do 1 032, the others
/// much more.
const RATIO_MAX: usize = 128;
/// Below this the ratio says nothing: a few bytes of a page of blanks.
const RATIO_FREE_BYTES: usize = 64 << 10;
/// RFC 9659 §3.
const ZSTD_WINDOW_MAX: u64 = 8 << 20;
/// Written at once.
const STEP_BYTES: usize = 16 << 10;

/// Why a body cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InflateError {
    /// More than the caller takes.
    #[error("decodes to more than is taken")]
    TooLarge,
    /// More than `RATIO_MAX` times what came.
    #[error("decodes to more than its size can stand for")]
    Bomb,
    /// Ends before its end.
    #[error("the encoded body is cut short")]
    Truncated,
    /// Breaks its format, or fails its checksum.
    #[error("the encoded body is malformed")]
    Malformed,
    /// Something stands behind its end.
    #[error("something stands behind the encoded body")]
    Trailing,
}

impl InflateError {
    /// Whether it is too much, not broken.
    #[must_use]
    pub const fn is_size(self) -> bool {
        matches!(self, Self::TooLarge | Self::Bomb)
    }
}

/// Decodes `body` whole, to at most `max` bytes.
///
/// # Errors
/// [`InflateError`]; nothing of the body is to be used then.
pub fn inflate(coding: Coding, body: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    let by_ratio = RATIO_FREE_BYTES.max(body.len().saturating_mul(RATIO_MAX));
    let over = if by_ratio < max { InflateError::Bomb } else { InflateError::TooLarge };
    let bound = Bound { max: max.min(by_ratio), over };
    let mut rest = body;
    let out = match coding {
        Coding::Gzip => bound.read(GzDecoder::new(&mut rest))?,
        Coding::Deflate => bound.read(ZlibDecoder::new(&mut rest))?,
        Coding::Br => brotli(&mut rest, &bound)?,
        Coding::Zstd => zstd(&mut rest, &bound)?,
    };
    if rest.is_empty() { Ok(out) } else { Err(InflateError::Trailing) }
}

/// How much may be decoded, and what more is.
struct Bound {
    max: usize,
    over: InflateError,
}

impl Bound {
    fn read(&self, decoder: impl Read) -> Result<Vec<u8>, InflateError> {
        let mut out = Vec::new();
        let read = decoder.take(self.max as u64 + 1).read_to_end(&mut out);
        if out.len() > self.max {
            return Err(self.over);
        }
        read.map(|_| out).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => InflateError::Truncated,
            _ => InflateError::Malformed,
        })
    }
}

fn brotli(rest: &mut &[u8], bound: &Bound) -> Result<Vec<u8>, InflateError> {
    let alloc = StandardAlloc::default;
    let mut state = BrotliState::new(alloc(), alloc(), alloc());
    let (mut left, mut read, mut out, mut total) = (rest.len(), 0, Vec::new(), 0);
    loop {
        let written = out.len();
        // One byte more than is taken shows that there is more.
        out.resize(written + STEP_BYTES.min(bound.max + 1 - written), 0);
        let (mut room, mut at) = (out.len() - written, written);
        let result =
            BrotliDecompressStream(&mut left, &mut read, rest, &mut room, &mut at, &mut out, &mut total, &mut state);
        out.truncate(at);
        if out.len() > bound.max {
            return Err(bound.over);
        }
        match result {
            BrotliResult::ResultSuccess => break,
            BrotliResult::NeedsMoreOutput => {}
            BrotliResult::NeedsMoreInput => return Err(InflateError::Truncated),
            BrotliResult::ResultFailure => return Err(InflateError::Malformed),
        }
    }
    *rest = &rest[read..];
    Ok(out)
}

fn zstd(rest: &mut &[u8], bound: &Bound) -> Result<Vec<u8>, InflateError> {
    // Its reader says of a frame that is cut short only that it cannot read on.
    let mut source = Source { rest, ended: false };
    let decoder = StreamingDecoder::new_with_max_window_size(&mut source, ZSTD_WINDOW_MAX);
    let read = decoder.map_err(|_| InflateError::Malformed).and_then(|decoder| bound.read(decoder));
    match read {
        Err(InflateError::Malformed | InflateError::Truncated) if source.ended => Err(InflateError::Truncated),
        read => read,
    }
}

/// Remembers whether more was asked of it than it had.
struct Source<'s, 'b> {
    rest: &'s mut &'b [u8],
    ended: bool,
}

impl Read for Source<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.ended |= self.rest.is_empty() && !buf.is_empty();
        self.rest.read(buf)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const CODINGS: [Coding; 4] = [Coding::Gzip, Coding::Deflate, Coding::Br, Coding::Zstd];

    fn encode(coding: Coding, text: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::best();
        match coding {
            Coding::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Deflate => {
                let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Zstd => ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest),
            Coding::Br => stored_brotli(text),
        }
    }

    /// Uncompressed meta-blocks (RFC 7932 §9.2), bit by bit: a window of 16 bits, and lengths of four nibbles.
    fn stored_brotli(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for (i, part) in text.chunks(1 << 16).enumerate() {
            let length = part.len() as u32 - 1;
            // WBITS (one zero bit, first block only), ISLAST 0, MNIBBLES 0, MLEN - 1, ISUNCOMPRESSED 1.
            let header = length << 3 | 1 << 19;
            let (header, bytes) = if i == 0 { (header << 1, 3) } else { (header, 3) };
            out.extend_from_slice(&header.to_le_bytes()[..bytes]);
            out.extend_from_slice(part);
        }
        // ISLAST 1, ISLASTEMPTY 1.
        out.push(if text.is_empty() { 6 } else { 3 });
        out
    }

    #[test]
    fn what_was_encoded_is_decoded() {
        let long: Vec<u8> = (0..300_000u32).flat_map(|n| n.to_string().into_bytes()).take(300_000).collect();
        for coding in CODINGS {
            for text in [&b""[..], b"x", b"my ssn is 078-05-1120", &long] {
                assert_eq!(inflate(coding, &encode(coding, text), text.len()).as_deref(), Ok(text), "{coding:?}");
            }
        }
    }

    #[test]
    fn threat_a14_what_is_cut_short_is_refused_wherever_it_is_cut() {
        let text = b"my ssn is 078-05-1120, and so on ".repeat(8);
        for coding in CODINGS {
            let encoded = encode(coding, &text);
            for end in 0..encoded.len() {
                let refused = inflate(coding, &encoded[..end], 1 << 20);
                assert!(
                    matches!(refused, Err(InflateError::Truncated | InflateError::Malformed)),
                    "{coding:?} {end} of {}: {refused:?}",
                    encoded.len()
                );
            }
        }
    }

    #[test]
    fn what_stands_behind_or_is_broken_is_refused() {
        for coding in CODINGS {
            let encoded = encode(coding, b"one body");
            let twice = encoded.repeat(2);
            assert_eq!(inflate(coding, &twice, 1 << 20), Err(InflateError::Trailing), "{coding:?}");
            assert_eq!(inflate(coding, &[&encoded[..], b"\0"].concat(), 1 << 20), Err(InflateError::Trailing));
            assert!(inflate(coding, b"no such thing at all", 1 << 20).is_err(), "{coding:?}");
        }
        let mut changed = encode(Coding::Gzip, b"one body");
        let sum = changed.len() - 8;
        changed[sum] ^= 1;
        assert_eq!(inflate(Coding::Gzip, &changed, 1 << 20), Err(InflateError::Malformed));
    }

    #[test]
    fn threat_a14_a_bomb_is_stopped_at_the_smaller_bound() {
        let blanks = vec![b' '; 4 << 20];
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Zstd] {
            let bomb = encode(coding, &blanks);
            assert!(bomb.len() < 20_000, "{coding:?}");
            assert_eq!(inflate(coding, &bomb, 8 << 20), Err(InflateError::Bomb), "{coding:?}");
            assert_eq!(inflate(coding, &bomb, 1 << 10), Err(InflateError::TooLarge), "{coding:?}");
        }
        let large = encode(Coding::Br, &blanks);
        assert_eq!(inflate(Coding::Br, &large, blanks.len() - 1), Err(InflateError::TooLarge));
        for coding in CODINGS {
            let encoded = encode(coding, &blanks[..RATIO_FREE_BYTES]);
            assert_eq!(inflate(coding, &encoded, 1 << 20).map(|out| out.len()), Ok(RATIO_FREE_BYTES), "{coding:?}");
        }
    }

    #[test]
    fn a_window_beyond_the_standards_is_refused() {
        // Magic number, no single segment, a window of 2^(10 + 21) bytes.
        assert_eq!(inflate(Coding::Zstd, b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0", 1 << 20), Err(InflateError::Malformed));
    }
}
