//! JSON Web Tokens in compact form: JWS (RFC 7515 §7.1) and JWE (RFC 7516 §7.1).
//!
//! Taken: a header that decodes to a JSON object with an `alg` or `enc` (RFC 7515 §4.1.1), and a payload that decodes to
//! one too, or four further parts. The signature may be missing or empty (`"alg":"none"`, RFC 7518 §3.6): the claims are
//! there all the same. Left: what begins like a header and decodes to anything else.
//!
//! Cost: the parts of a token begin with the same letters as a header; a part that is no first one is left at once,
//! so every byte is read a fixed number of times.

use super::base64::decode;
use super::chars::{URL, begins_run};
use super::{FORWARD_BYTES_MAX, Kind, Secret};

/// `{"` in base64, and more of the same alphabet.
pub(super) const EXPRESSION: &str = r"eyJ[A-Za-z0-9_\-]{13}";

const EXPRESSION_BYTES: usize = 16;
/// How much of a header is decoded: `alg` stands early, certificates (`x5c`) make it long.
const HEADER_BYTES_MAX: usize = 2048;

/// The token whose first sixteen bytes end at `end`.
pub(super) fn find(text: &[u8], end: usize) -> Option<Secret> {
    let start = end.checked_sub(EXPRESSION_BYTES)?;
    let later_part = matches!(&text[..start], [.., before, b'.'] if URL.has(*before));
    if later_part || !begins_run(text, start, URL) {
        return None;
    }
    let token = &text[start..text.len().min(start + FORWARD_BYTES_MAX)];
    let header = part(token);
    let rest = token[header.len()..].strip_prefix(b".")?;
    let payload = part(rest);
    if !is_header(header) {
        return None;
    }
    let mut len = header.len() + 1 + payload.len();
    let (mut parts, mut signature) = (2, 0);
    while parts < 5 {
        let Some(more) = token[len..].strip_prefix(b".") else { break };
        signature = part(more).len();
        len += 1 + signature;
        parts += 1;
    }
    let is_token = parts == 5 || is_object(payload) || len == FORWARD_BYTES_MAX;
    // Padding is not of the form (RFC 7515 §2), and is written all the same.
    len += token[len..].iter().take(2).take_while(|byte| **byte == b'=').count();
    let confidence = if parts > 2 && signature > 0 { 98 } else { 80 };
    is_token.then(|| Secret { kind: Kind::Jwt, range: start..start + len, confidence })
}

fn part(text: &[u8]) -> &[u8] {
    &text[..URL.run(text, text.len())]
}

fn is_header(header: &[u8]) -> bool {
    let names = |name: &[u8]| {
        let mut matched = 0;
        decode(&header[..header.len().min(HEADER_BYTES_MAX)]).any(|byte| {
            matched = if byte == name[matched] { matched + 1 } else { usize::from(byte == name[0]) };
            matched == name.len()
        })
    };
    is_object(header) && (names(b"\"alg\"") || names(b"\"enc\""))
}

/// Whether `part` decodes to something between braces.
fn is_object(part: &[u8]) -> bool {
    let mut decoded = decode(part).filter(|byte| !byte.is_ascii_whitespace());
    decoded.next() == Some(b'{') && decoded.last() == Some(b'}')
}
