//! Postal addresses, at lower confidence: there is no form that all of them have.
//!
//! | told by | what is taken | confidence |
//! |---|---|---|
//! | a word for a street | the house number and names before it, and what follows: flat, city, state and ZIP | 55; with ZIP or flat 70 |
//! | a flat ("Apt. 12", "Suite 300") | from the first number of the line before it, to the postal code behind | 60 |
//! | a military post office ("PSC 12, Box 3, APO AE 09123") | USPS Publication 28, section 225 | 85 |
//! | a post box | the box and its number | 55 |
//! | "zip code" | the code | 50 |
//! | "address", "lives at" | a number and names behind it, in either order, or names and a number | 50 |
//!
//! Forms follow USPS Publication 28; names of streets in other languages are read where a flat or a word for address
//! stands beside. Names begin with a capital or are no ASCII.

use std::ops::Range;

use super::identifier::Identifier;
use super::place::{Place, follows};
use super::{Kind, Report};

const STREET: u8 = 55;
const WHOLE: u8 = 70;
const UNIT: u8 = 60;
const MILITARY: u8 = 85;
const BOX: u8 = 55;
const NAMED: u8 = 50;
const CODE: u8 = 50;

/// Words that end the name of a street (USPS Publication 28, appendix C1), as far as they are common.
const SUFFIXES: &[&str] = &[
    "street",
    "streets",
    "avenue",
    "boulevard",
    "road",
    "drive",
    "lane",
    "court",
    "parkway",
    "highway",
    "st",
    "ave",
    "rd",
    "dr",
    "ln",
    "blvd",
];
/// Names before the word for a street.
const NAMES_MAX: usize = 4;
/// How far a flat may stand from the first number of its address.
const UNIT_REACH: usize = 64;
/// How far behind a street or a flat its postal code may stand, and how many words and lines before it.
const CODE_REACH: usize = 80;
const CODE_WORDS_MAX: usize = 6;

/// A number, names and a word for a street.
pub(super) fn street(place: &Place<'_>, report: &mut Report<'_>) {
    let suffix = place.start + usize::from(place.text[place.start] == b' ');
    let Some(end) = SUFFIXES.iter().find_map(|word| follows(place.text, suffix, word)) else { return };
    let Some(start) = house_before(place.text, suffix) else { return };
    let (end, whole) = rest(place.text, end);
    report(Kind::Address, start..end, if whole { WHOLE } else { STREET });
}

/// Where the house number of the street begins whose names end before `end`.
fn house_before(text: &[u8], end: usize) -> Option<usize> {
    let mut at = end;
    for names in 0..=NAMES_MAX {
        let word = word_before(text, at)?;
        let token = &text[word.clone()];
        let number = is_house(token);
        let ordinal = token.first()?.is_ascii_digit() && token.last()?.is_ascii_alphabetic() && !number;
        if number && names > 0 {
            return (!is_preceded(text, word.start)).then_some(word.start);
        }
        if !(is_name(token) || ordinal) {
            return None;
        }
        at = word.start;
    }
    None
}

/// Whether a number that begins at `start` is the rest of another.
fn is_preceded(text: &[u8], start: usize) -> bool {
    start > 0 && matches!(text[start - 1], b'.' | b'$' | b'#' | b'/' | b':' | b'-' | b'_')
}

/// The word before `end`, over one blank or more.
fn word_before(text: &[u8], end: usize) -> Option<Range<usize>> {
    let blanks = text[..end].iter().rev().take(2).take_while(|byte| **byte == b' ').count();
    let end = end - blanks;
    let of_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte >= 0x80 || matches!(byte, b'.' | b'\'' | b'-');
    let start = text[..end].iter().rposition(|byte| !of_word(byte)).map_or(0, |at| at + 1);
    (start < end && blanks > 0).then_some(start..end)
}

/// One to five digits, and possibly a letter.
fn is_house(token: &[u8]) -> bool {
    let digits = token.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (1..=5).contains(&digits)
        && match &token[digits..] {
            [] => true,
            [letter] => letter.is_ascii_alphabetic(),
            _ => false,
        }
}

fn is_name(token: &[u8]) -> bool {
    token.first().is_some_and(|first| first.is_ascii_uppercase() || *first >= 0x80)
}

/// The end of the address whose street or flat ends at `end`, and whether more of it was found.
fn rest(text: &[u8], end: usize) -> (usize, bool) {
    let flat = flat_behind(text, end);
    let from = flat.unwrap_or(end);
    let code = code_behind(text, from);
    (code.unwrap_or(from), flat.is_some() || code.is_some())
}

/// The end of a flat behind `from`: `, Apt 3B`.
fn flat_behind(text: &[u8], from: usize) -> Option<usize> {
    let at = from + signs(text, from)?;
    let word = ["apt", "suite", "unit", "ste", "floor", "#"]
        .iter()
        .find(|word| text.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes())))?;
    flat_number(text, at + word.len())
}

/// The end of the number of a flat, behind signs.
fn flat_number(text: &[u8], from: usize) -> Option<usize> {
    let signs = text.get(from..)?.iter().take(3).take_while(|byte| matches!(byte, b'.' | b' ' | b'#')).count();
    let at = from + signs;
    let len = text[at..].iter().take(6).take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let number = &text[at..at + len];
    let fits = (1..=5).contains(&len)
        && number.iter().any(u8::is_ascii_digit)
        && number[..len - 1].iter().all(u8::is_ascii_digit);
    fits.then_some(at + len)
}

/// Blanks, commas and ends of lines at `from`.
fn signs(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < from + 12 {
        match text.get(at..)? {
            [b'\\', b'n' | b'r', ..] => at += 2,
            [b' ' | b',' | b'\n' | b'\r' | b'.' | b'>' | b'}' | b'?', ..] => at += 1,
            _ => return Some(at - from),
        }
    }
    None
}

/// The end of the postal code behind `from`, over a city and a state.
fn code_behind(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    for _ in 0..=CODE_WORDS_MAX {
        let skipped = signs(text, at)?;
        at += skipped;
        if skipped == 0 || at > from + CODE_REACH {
            return None;
        }
        let of_word =
            |byte: &&u8| byte.is_ascii_alphanumeric() || **byte >= 0x80 || matches!(**byte, b'-' | b'\'' | b'(' | b')');
        let len = text[at..].iter().take_while(of_word).count();
        let word = &text[at..at + len];
        if is_code(word) {
            return Some(at + len);
        }
        // A city or state, which is no sentence going on.
        let named =
            is_name(word) || word.first() == Some(&b'(') || [&b"nan"[..], b"de", b"of", b"the", b"la"].contains(&word);
        if !named || word.iter().any(u8::is_ascii_digit) {
            return None;
        }
        at += len;
    }
    None
}

/// Four to six digits, or five and four.
fn is_code(word: &[u8]) -> bool {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    match &word[digits..] {
        [] => (4..=6).contains(&digits),
        [b'-', more @ ..] => digits == 5 && more.len() == 4 && more.iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// A flat, with the line before it.
pub(super) fn unit(place: &Place<'_>, report: &mut Report<'_>) {
    let start = place.start + usize::from(place.text[place.start] == b' ');
    let flat = ["apt", "suite", "ste"].iter().find_map(|word| follows(place.text, start, word));
    let Some(end) = flat.and_then(|at| flat_number(place.text, at)) else { return };
    let Some(start) = line_before(place.text, start) else { return };
    let end = code_behind(place.text, end).unwrap_or(end);
    report(Kind::Address, start..end, UNIT);
}

/// Where the address begins whose flat begins at `end`: at the first number of the line, if names follow, or at the names
/// before it.
fn line_before(text: &[u8], end: usize) -> Option<usize> {
    let from = end.saturating_sub(UNIT_REACH);
    // The flat may stand on a line of its own.
    let before = trim_signs(&text[from..end]);
    let line = last_line(before);
    let begins = |at: &usize| *at == line || matches!(before[*at - 1], b' ' | b'"' | b'\'' | b'(' | b':' | b'>' | b'}');
    let number = (line..before.len()).filter(begins).find(|at| {
        let mut words = before[*at..].split(|byte| *byte == b' ');
        before[*at].is_ascii_digit()
            && before[*at..].iter().any(|byte| !byte.is_ascii_digit())
            && words.all(|word| !STOPS.iter().any(|stop| stop.as_bytes().eq_ignore_ascii_case(word)))
    })?;
    let mut words = before[line..].split(|byte| *byte == b' ');
    // "Via Roma 131": the names before the number are of it, if nothing else is on the line.
    let names = before[line..number].split(|byte| *byte == b' ').all(|word| word.is_empty() || is_name(word));
    let start = if names { line + leading_signs(&before[line..]) } else { number };
    words.any(is_name).then_some(from + start)
}

/// Words that are of no address.
const STOPS: &[&str] = &["and", "is", "my", "at", "with", "are", "was", "for", "to", "in"];

/// `text` without blanks, ends of lines and marks of quotation at its end.
fn trim_signs(text: &[u8]) -> &[u8] {
    let mut text = text;
    loop {
        text = match text {
            [rest @ .., b'\\', b'n' | b'r'] => rest,
            [rest @ .., b' ' | b'\n' | b'\r' | b'\t' | b',' | b'>' | b'}' | b'?' | b'|'] => rest,
            _ => return text,
        }
    }
}

/// Where the last line of `text` begins.
fn last_line(text: &[u8]) -> usize {
    let line = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    text.windows(2).rposition(|pair| pair == b"\\n").map_or(line, |at| line.max(at + 2))
}

fn leading_signs(line: &[u8]) -> usize {
    line.iter().take_while(|byte| !byte.is_ascii_alphanumeric() && **byte < 0x80).count()
}

/// `APO AE 09123`, with the unit and box before it.
pub(super) fn military(place: &Place<'_>, report: &mut Report<'_>) {
    let text = place.text;
    let Some(office) =
        place.start.checked_sub(1).filter(|at| matches!(text[*at].to_ascii_uppercase(), b'A' | b'F' | b'D'))
    else {
        return;
    };
    let region = matches!(text.get(place.end).map(u8::to_ascii_uppercase), Some(b'A' | b'E' | b'P'));
    let code = text.get(place.end + 1..).and_then(|rest| rest.strip_prefix(b" "));
    let digits = code.map_or(0, |code| code.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count());
    if region && digits == 5 {
        report(Kind::Address, box_before(text, office)..place.end + 7, MILITARY);
    }
}

/// Where the line before the office at `end` begins, if it is a unit and a box or a ship.
fn box_before(text: &[u8], end: usize) -> usize {
    let from = end.saturating_sub(UNIT_REACH);
    let lower =
        |at: usize, word: &[u8]| text[at..end].get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    (from..end)
        .find(|at| ["psc", "unit", "uss", "usn", "usc", "cmr"].iter().any(|word| lower(*at, word.as_bytes())))
        .unwrap_or(end)
}

/// `P.O. Box 123`.
pub(super) fn post_box(place: &Place<'_>, report: &mut Report<'_>) {
    let text = place.text;
    let boxed = ["o box", ".o. box"].iter().find_map(|word| follows(text, place.start, word));
    let letter = place.start.checked_sub(1).filter(|at| text[*at].eq_ignore_ascii_case(&b'p'));
    let (Some(end), Some(start)) = (boxed, letter) else { return };
    let digits =
        text.get(end..).unwrap_or_default().iter().skip(1).take(7).take_while(|byte| byte.is_ascii_digit()).count();
    if (1..=6).contains(&digits) && text[end] == b' ' {
        let end = end + 1 + digits;
        report(Kind::Address, start..code_behind(text, end).unwrap_or(end), BOX);
    }
}

/// Names and a number behind a word for address.
pub(super) fn named(place: &Place<'_>, report: &mut Report<'_>) {
    let Some(from) = place.keyword(&["address", "addresses", "lives at", "lives on"]) else { return };
    if place.is_behind(&["ip", "mac", "email", "mail", "e mail", "wallet", "memory", "physical", "bind", "listen"]) {
        return;
    }
    let mut at = from;
    for _ in 0..6 {
        let Some(skipped) = lead(place.text, at) else { return };
        at += skipped;
        if let Some(end) = named_street(place.text, at) {
            let (end, _) = rest(place.text, end);
            return report(Kind::Address, at..end, NAMED);
        }
        let word = place.text[at..].iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
        if !LEADS.iter().any(|lead| lead.as_bytes().eq_ignore_ascii_case(&place.text[at..at + word])) {
            return;
        }
        at += word;
    }
}

/// Words between "address" and the address.
const LEADS: &[&str] =
    &["is", "it", "to", "for", "the", "same", "following", "at", "line", "with", "s", "post", "mail", "corner", "of"];

/// Signs between "address" and the address.
fn lead(text: &[u8], from: usize) -> Option<usize> {
    let sign = |byte: &&u8| {
        byte.is_ascii_whitespace() || matches!(**byte, b':' | b'?' | b'"' | b'\'' | b'*' | b'=' | b'_' | b'-')
    };
    let len = text.get(from..)?.iter().take(16).take_while(sign).count();
    (from + len < text.len() && len < 16).then_some(len)
}

/// Words of an address behind a word for one.
const NAMED_WORDS_MAX: usize = 7;

/// The end of a number and names, or names and a number, or both.
fn named_street(text: &[u8], from: usize) -> Option<usize> {
    let (mut at, mut end) = (from, from);
    let (mut names, mut numbers) = (0, 0);
    for words in 0..NAMED_WORDS_MAX {
        let of_word =
            |byte: &&u8| byte.is_ascii_alphanumeric() || **byte >= 0x80 || matches!(**byte, b'\'' | b'.' | b'/' | b'-');
        let len = text[at..].iter().take_while(of_word).count();
        let word = &text[at..at + len];
        let word = word.strip_suffix(b".").unwrap_or(word);
        let particle = (1..=5).contains(&word.len()) && word.iter().all(u8::is_ascii_lowercase);
        let small = words > 0 && particle && !STOPS.iter().any(|stop| stop.as_bytes() == word);
        if is_house(word) {
            numbers += 1;
        } else if is_name(word) {
            names += 1;
        } else if !small {
            break;
        }
        // A small word does not end an address.
        if !small {
            end = at + word.len();
        }
        at += len;
        match text.get(at) {
            Some(b' ') => at += 1,
            _ => break,
        }
    }
    let begins = text[from].is_ascii_digit() || text[..end].last().is_some_and(u8::is_ascii_alphanumeric);
    (begins && (1..=3).contains(&numbers) && names > 0).then_some(end)
}

/// A postal code behind a word for it.
pub(super) fn code(place: &Place<'_>, report: &mut Report<'_>) {
    let Some(from) = place.keyword(&["zip code", "postal code"]) else { return };
    place.values(from, 0, |at, way| {
        let number = Identifier::read(place.text, at).filter(|number| is_code(&place.text[number.range.clone()]))?;
        let end = number.range.end;
        report(Kind::Address, number.range, way.confidence(CODE));
        Some(end)
    });
}
