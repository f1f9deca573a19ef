//! What has to hold of compressed bodies whatever the bytes: body of a fuzz target, run by `crate::fuzzing`.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};

use super::{Coding, InflateError, RATIO_FREE_BYTES, RATIO_MAX, inflate};

const BYTES_MAX: usize = 1 << 15;

/// A body; its first byte says its coding. What it decodes to stays within both bounds, is the same when there is room for
/// no more, and with a byte behind it the body is refused. The same bytes, encoded, come back; cut short or changed
/// somewhere they do not, or unchanged.
pub fn inflated(data: &[u8]) {
    let Some((&kind, body)) = data.split_first() else { return };
    check_round_trip(usize::from(kind), &body[..body.len().min(1 << 12)]);
    let coding = Coding::ALL[usize::from(kind) % Coding::ALL.len()];
    let Ok(decoded) = inflate(coding, body, BYTES_MAX) else { return };
    assert!(decoded.len() <= BYTES_MAX.min(RATIO_FREE_BYTES.max(body.len() * RATIO_MAX)));
    assert_eq!(inflate(coding, body, decoded.len()).as_ref(), Ok(&decoded));
    if let Some(less) = decoded.len().checked_sub(1) {
        assert_eq!(inflate(coding, body, less), Err(InflateError::TooLarge));
    }
    assert!(inflate(coding, &[body, b"\0"].concat(), BYTES_MAX).is_err());
}

fn check_round_trip(at: usize, body: &[u8]) {
    let written = "a vector takes everything";
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body).expect(written);
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::fast());
    zlib.write_all(body).expect(written);
    let encoded = [(Coding::Gzip, gzip.finish().expect(written)), (Coding::Deflate, zlib.finish().expect(written))];
    for (coding, mut encoded) in encoded {
        assert_eq!(inflate(coding, &encoded, BYTES_MAX).as_deref(), Ok(body), "{coding:?}");
        let at = at * encoded.len() / 256;
        assert!(inflate(coding, &encoded[..at], BYTES_MAX).is_err(), "{coding:?} of {at} bytes");
        encoded[at] ^= 1 << (at % 8);
        let changed = inflate(coding, &encoded, BYTES_MAX);
        // A gzip header says things that change nothing. Under cargo-fuzz, zlib's checksum is not looked at.
        assert!(changed.is_err() || changed.as_deref() == Ok(body) || coding == Coding::Deflate, "changed at {at}");
    }
}
