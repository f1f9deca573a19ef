//! The decoder, byte by byte and at random.

use proptest::prelude::*;

use super::*;
use crate::http::write;

/// Decodes `parts` in turn; the data, the bytes consumed and whether the body ended.
fn decode(parts: &[&[u8]]) -> Result<(Vec<u8>, usize, bool), ChunkError> {
    let (mut decoder, mut data, mut consumed) = (Decoder::new(), Vec::new(), 0);
    for part in parts {
        consumed += decoder.decode(part, &mut |bytes| data.extend_from_slice(bytes))?.consumed;
    }
    Ok((data, consumed, decoder.is_done()))
}

#[track_caller]
fn check(body: &str, expected: &str) {
    let (data, consumed, done) = decode(&[body.as_bytes()]).unwrap();
    assert_eq!((data.as_slice(), done), (expected.as_bytes(), true), "{body:?}");
    assert_eq!(consumed, body.len(), "{body:?}");
}

#[track_caller]
fn check_refused(body: &str, fault: ChunkError) {
    assert_eq!(decode(&[body.as_bytes()]), Err(fault), "{body:?}");
    let bytes: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
    assert_eq!(decode(&bytes), Err(fault), "byte by byte: {body:?}");
}

#[test]
fn decodes_chunks_and_drops_extensions_and_trailers() {
    check("0\r\n\r\n", "");
    check("5\r\nhello\r\n0\r\n\r\n", "hello");
    check("A\r\n0123456789\r\n1\r\nx\r\n000\r\n\r\n", "0123456789x");
    check("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello");
    check("5;a;b=c;d=\"e;\\\" f\"\r\nhello\r\n0;last\r\n\r\n", "hello");
    check("1\r\nx\r\n0\r\nHost: evil\r\nX-Empty:\r\n\r\n", "x");
}

#[test]
fn stops_at_the_end_of_the_body() {
    let (data, consumed, done) = decode(&[b"1\r\nx\r\n0\r\n\r\nGET / HTTP/1.1\r\n"]).unwrap();
    assert_eq!((data.as_slice(), consumed, done), (&b"x"[..], 11, true));
    let mut decoder = Decoder::new();
    decoder.decode(b"0\r\n\r\n", &mut |_| {}).unwrap();
    assert_eq!(decoder.decode(b"more", &mut |_| {}), Ok(Decoded { consumed: 0, done: true }));
}

#[test]
fn announces_a_chunk_before_its_data_comes() {
    let mut decoder = Decoder::new();
    decoder.decode(b"2\r\nab\r\nFFFFFFFFFFFFFFFF\r\n", &mut |_| {}).unwrap();
    assert_eq!(decoder.announced(), u64::MAX);
}

#[test]
fn refuses_sizes_that_are_not_plain_hex() {
    for bad in ["\r\n", "+5\r\n", "-1\r\n", " 5\r\n", "5 \r\n", "0x5\r\n", "g\r\n", "5,\r\n", "5\n", "\n", "5\r\r\n"] {
        let fault = decode(&[bad.as_bytes()]).unwrap_err();
        assert!(matches!(fault, ChunkError::Size | ChunkError::LineEnding), "{bad:?}: {fault:?}");
    }
    check_refused("FFFFFFFFFFFFFFFF0\r\n", ChunkError::Size);
    check_refused("00000000000000000\r\n", ChunkError::Size);
}

#[test]
fn refuses_data_that_is_not_where_its_size_says() {
    check_refused("5\r\nhello!!\r\n0\r\n\r\n", ChunkError::LineEnding);
    check_refused("5\r\nhello\n0\r\n\r\n", ChunkError::LineEnding);
    check_refused("5\r\nhello\r0\r\n\r\n", ChunkError::LineEnding);
    check_refused("5\r\nhelloX\n0\r\n\r\n", ChunkError::LineEnding);
    check_refused("0\r\n\rX", ChunkError::LineEnding);
}

#[test]
fn refuses_malformed_extensions_and_trailers() {
    for bad in ["5;\r\n", "5; a\r\n", "5;a\rX", "5;a\n", "5;a=\r\n", "5;a=\"b\r", "5;a=\"b\"c", "5;=b\r\n", "5;a;\r\n"]
    {
        let fault = decode(&[bad.as_bytes()]).unwrap_err();
        assert!(matches!(fault, ChunkError::Extension | ChunkError::LineEnding), "{bad:?}: {fault:?}");
    }
    for bad in ["0\r\n: x", "0\r\nA : x", "0\r\n folded", "0\r\nA\r\n", "0\r\nA: b\n", "0\r\nA: b\rc", "0\r\nA: \0"] {
        check_refused(bad, ChunkError::Trailer);
    }
}

#[test]
fn bounds_what_it_drops() {
    let long = |len: u32| "a".repeat(len as usize);
    check(&format!("0;{}\r\n\r\n", long(EXTENSION_BYTES_MAX - 1)), "");
    check_refused(&format!("0;{}", long(EXTENSION_BYTES_MAX + 1)), ChunkError::ExtensionTooLong);
    let many = "1;abcdefg\r\nx\r\n".repeat(EXTENSION_BYTES_MAX as usize / 8 + 1);
    check_refused(&many, ChunkError::ExtensionTooLong);
    check_refused(&format!("0\r\nA:{}", long(TRAILER_BYTES_MAX)), ChunkError::TrailerTooLong);
}

proptest! {
    /// Claim: no input panics, and how the input is split over reads changes neither data, end, nor verdict.
    #[test]
    fn splits_do_not_change_the_outcome(
        body in prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..64),
            proptest::collection::vec(proptest::sample::select(&b"0123456789abcdefF;=\"\\ \r\n:xX"[..]), 0..64),
            "([0-3](;[a-z]{1,3}(=\"?[a-z]{1,2}\"?)?)?\r\n[a-z]{0,3}\r\n){0,4}0\r\n([A-Z]:[a-z]{0,4}\r\n)?\r\n"
                .prop_map(String::into_bytes),
        ],
        cuts in proptest::collection::vec(0usize..64, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.sort_unstable();
        cuts.push(body.len());
        let mut from = 0;
        let parts: Vec<&[u8]> = cuts.into_iter().map(|cut| { let part = &body[from..cut]; from = cut; part }).collect();
        prop_assert_eq!(decode(&parts), decode(&[&body]));
    }

    /// Claim: what [`write`] encodes, the decoder reads back, to the last byte and no further.
    #[test]
    fn encoded_bodies_decode_to_themselves(
        parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..8),
        tail in proptest::collection::vec(any::<u8>(), 0..8),
    ) {
        let mut encoded = Vec::new();
        for part in &parts {
            write::chunk(&mut encoded, part);
        }
        encoded.extend_from_slice(write::LAST_CHUNK);
        let end = encoded.len();
        encoded.extend_from_slice(&tail);
        prop_assert_eq!(decode(&[&encoded]), Ok((parts.concat(), end, true)));
    }
}
