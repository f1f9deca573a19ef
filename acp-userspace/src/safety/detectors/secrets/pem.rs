//! Private keys in text: PEM (RFC 7468 §10, §11; RFC 1421 headers), OpenSSH and `OpenPGP` armor.
//!
//! Taken: a `BEGIN … PRIVATE KEY` line with a body of base64 behind it, up to its `END` line or as far as the body
//! goes: a key that was cut off is a key still. Line ends may be real, escaped (`\n`, `\\n`), blanks, or the quotes and
//! commas of a string that was written over several lines. Left: the line alone, and bodies that stand for one.

use super::chars::BASE64;
use super::{FORWARD_BYTES_MAX, Kind, Secret};

/// `BEGIN` alone would find certificates and public keys too.
pub(super) const EXPRESSION: &str = r"-----BEGIN [A-Z0-9 ]{0,24}PRIVATE KEY";

const BEGIN: &[u8] = b"-----BEGIN ";
const DASHES: &[u8] = b"-----";
/// Most bytes of a BEGIN or END line.
const LINE_BYTES_MAX: usize = 64;
/// Fewest characters of base64: an Ed25519 key has 64, one that was cut for a sample fewer.
const BODY_MIN: usize = 40;
/// Fewest different characters: forty random ones have thirty.
const DISTINCT_MIN: u32 = 12;

/// The key whose first line says `PRIVATE KEY` before `end`.
pub(super) fn find(text: &[u8], end: usize) -> Option<Secret> {
    let from = end.saturating_sub(LINE_BYTES_MAX);
    let start = from + text[from..end].windows(BEGIN.len()).rposition(|window| window == BEGIN)?;
    let rest = &text[end..text.len().min(end + FORWARD_BYTES_MAX)];
    let label = rest.strip_prefix(b" BLOCK").unwrap_or(rest);
    let body = label.strip_prefix(DASHES)?;
    let before = rest.len() - body.len();
    let (len, is_key) = body_len(body);
    is_key.then(|| Secret {
        kind: Kind::PrivateKey,
        range: start..end + before + len + end_line_len(&body[len..]),
        confidence: 99,
    })
}

/// How far the body goes, and whether it is a key's.
fn body_len(body: &[u8]) -> (usize, bool) {
    let (mut seen, mut count) = (0u128, 0);
    let headers = headers_len(body);
    let len = body[headers..].iter().take_while(|byte| is_body(**byte)).count();
    for byte in body[headers..headers + len].iter().filter(|byte| BASE64.has(**byte)) {
        seen |= 1 << (byte & 127);
        count += 1;
    }
    (headers + len, count >= BODY_MIN && seen.count_ones() >= DISTINCT_MIN)
}

fn is_body(byte: u8) -> bool {
    BASE64.has(byte) || byte.is_ascii_whitespace() || matches!(byte, b'\\' | b'"' | b'\'' | b',' | b'`')
}

/// How long the headers are ("Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,…", "Version: …"): up to the last of the
/// first lines that holds a colon.
fn headers_len(body: &[u8]) -> usize {
    const HEADERS_BYTES_MAX: usize = 512;
    let head = &body[..body.len().min(HEADERS_BYTES_MAX)];
    let Some(colon) = head.iter().rposition(|byte| *byte == b':') else { return 0 };
    let in_body = head[..colon].windows(DASHES.len()).any(|window| window == DASHES);
    let line = head[colon..].iter().position(|byte| matches!(byte, b'\n' | b'\\')).map_or(head.len(), |at| colon + at);
    if in_body { 0 } else { line }
}

/// How long the `END` line is, if it is there.
fn end_line_len(rest: &[u8]) -> usize {
    let line = &rest[..rest.len().min(LINE_BYTES_MAX)];
    let Some(label) = line.strip_prefix(b"-----END ") else { return 0 };
    let close = label.windows(DASHES.len()).position(|window| window == DASHES);
    close.map_or(0, |at| line.len() - label.len() + at + DASHES.len())
}
