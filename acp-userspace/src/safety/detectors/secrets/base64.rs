//! Base64 (RFC 4648 §4 and §5) read byte by byte: what is needed to judge it, without room to hold it.

/// The bytes `text` encodes, in either alphabet, to its first character that is of neither or its padding.
pub(super) fn decode(text: &[u8]) -> impl Iterator<Item = u8> {
    let (mut bits, mut held) = (0u32, 0u32);
    text.iter().map_while(|byte| sextet(*byte)).filter_map(move |sextet| {
        bits = bits << 6 | u32::from(sextet);
        held += 6;
        (held >= 8).then(|| {
            held -= 8;
            (bits >> held) as u8
        })
    })
}

fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}
