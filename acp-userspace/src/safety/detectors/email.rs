//! E-mail addresses (RFC 5321 §4.1.2 without quoted local parts and address literals).
//!
//! Taken: a local part of up to 64 bytes, and a host of at least two labels whose last is a top-level domain by form: two
//! letters or more, or punycode. Latin, Greek and Cyrillic letters count in both (RFC 6531), and marks on them. Left: hosts that end
//! in a common file suffix ("logo@2x.png"), and single-label hosts.

use std::ops::Range;

/// In percent: what has this form is an address, or was meant to be read as one.
pub(super) const CONFIDENCE: u8 = 95;

/// RFC 5321 §4.5.3.1.
const LOCAL_BYTES_MAX: usize = 64;
const HOST_BYTES_MAX: usize = 255;
/// RFC 1035 §2.3.4.
const LABEL_BYTES_MAX: usize = 63;

/// Last labels that are file suffixes and no top-level domains.
const SUFFIXES: [&str; 16] =
    ["png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "js", "json", "html", "htm", "xml", "pdf", "txt"];

/// The address whose `@` stands two bytes before `end`.
pub(super) fn find(text: &[u8], end: usize) -> Option<Range<usize>> {
    let at = end.checked_sub(2)?;
    let start = local_start(text, at)?;
    let host = host_end(text, at + 1)?;
    Some(start..host)
}

fn local_start(text: &[u8], at: usize) -> Option<usize> {
    let before = &text[at.saturating_sub(LOCAL_BYTES_MAX)..at];
    let run = before.iter().rev().take_while(|byte| !byte.is_ascii() || is_local(char::from(**byte))).count();
    // Bytes that are no UTF-8 end the local part, the cut of a character at its bound included.
    let last = before[before.len() - run..].utf8_chunks().last().filter(|chunk| chunk.invalid().is_empty())?.valid();
    let len: usize = last.chars().rev().take_while(|c| is_local(*c)).map(char::len_utf8).sum();
    let local = last[last.len() - len..].trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    (!local.is_empty()).then(|| at - local.len())
}

fn is_local(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'') || is_letter(c)
}

/// Letters of alphabets that are written with spaces between words: elsewhere the text before an address would be
/// taken for part of it.
fn is_letter(c: char) -> bool {
    let is_mark = ('\u{300}'..='\u{36f}').contains(&c);
    c.is_ascii_alphabetic() || (('\u{c0}'..'\u{590}').contains(&c) && (c.is_alphabetic() || is_mark))
}

fn host_end(text: &[u8], start: usize) -> Option<usize> {
    let rest = &text[start..text.len().min(start + HOST_BYTES_MAX)];
    let run = rest.iter().take_while(|byte| !byte.is_ascii() || is_host(char::from(**byte))).count();
    let valid = rest[..run].utf8_chunks().next()?.valid();
    let len: usize = valid.chars().take_while(|c| is_host(*c)).map(char::len_utf8).sum();
    // What is a label ends the host at the first that is none; what follows the last that can be a top-level domain
    // belongs to the sentence: "a@b.example.1" ends behind "example".
    let (mut at, mut end) = (0, None);
    for (i, label) in valid[..len].split('.').enumerate() {
        let whole = label.trim_end_matches('-');
        if !is_label(whole) {
            break;
        }
        if i > 0 && is_top_level(whole) {
            end = Some(start + at + whole.len());
        }
        if whole != label {
            break;
        }
        at += label.len() + 1;
    }
    end
}

fn is_host(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '-') || is_letter(c)
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= LABEL_BYTES_MAX && !label.starts_with('-')
}

fn is_top_level(label: &str) -> bool {
    let letters = label.chars().count() >= 2 && label.chars().all(is_letter);
    let punycode = label.len() > 4 && label.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("xn--"));
    (letters || punycode) && !SUFFIXES.iter().any(|suffix| label.eq_ignore_ascii_case(suffix))
}
