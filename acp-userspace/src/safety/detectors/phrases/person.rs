//! Names of persons, by what stands before them. There is no list of names: words that begin with a capital are taken for
//! one where somebody says that a name follows. In languages that write all nouns so, and in alphabets without
//! capitals, that says little or nothing.
//!
//! | said by | what is taken | confidence |
//! |---|---|---|
//! | a title: Dr., Mrs, Prof., Herr, Señora | up to four words | 75 |
//! | an introduction: "my name is", "me llamo", "ich heiße" | the same | 75 |
//! | a label: "patient:", "attn:" | the same | 60 |
//! | "name:", a salutation, a close ("Regards,") | two to four words; behind "Dear" also one | 50 |
//! | a JSON member: `first_name`, `patientName` | the whole value, of up to four words; of `name`, two to four | 60 |

use std::ops::Range;

use super::{Anchor, Look};

/// How a name is announced: its confidence, and the least words it needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    confidence: u8,
    words_min: usize,
}

const fn name(expression: &'static str, caseless: bool, confidence: u8, words_min: usize) -> Anchor {
    Anchor { expression, caseless, look: Look::Name(Way { confidence, words_min }) }
}

pub(super) const ANCHORS: &[Anchor] = &[
    name(
        r"\b(?:Dr|Mr|Mrs|Ms|Miss|Prof|Professor|Doctor|Mme|Mlle|Monsieur|Madame|Herrn?|Frau|Sra|Sr|Señora?|Sig|Dott|Rev|Capt|Sgt)\.? ",
        false,
        75,
        1,
    ),
    name(
        r"\b(?:name is|name's|je m.{1,3}appelle|me llamo|nombre es|ich hei(?:ss|\xc3\x9f)e|name ist|mi chiamo|mio nome \xc3\xa8|meu nome \xc3\xa9|me chamo) ",
        true,
        75,
        1,
    ),
    name(
        r"\b(?:patient|attn|attention|passenger|applicant|cardholder|deceased|insured|employee|customer|client): ?",
        true,
        60,
        1,
    ),
    name(r"\bname: ?", true, 50, 2),
    name(r"\bdear ", true, 50, 1),
    name(r"\b(?:regards|sincerely|truly|wishes),[ \n]", true, 50, 2),
    Anchor { expression: "name|patient|passenger|cardholder", caseless: true, look: Look::Member },
];

/// Words of a name, at most.
const WORDS_MAX: usize = 4;
/// Bytes of one.
const WORD_BYTES_MAX: usize = 24;
/// Bytes of a member's value that is one.
const VALUE_BYTES_MAX: usize = 64;

/// The name behind the word that ends at `end`.
pub(super) fn behind(text: &[u8], end: usize, way: Way) -> Option<(Range<usize>, u8)> {
    let rest = &text[end..text.len().min(end + VALUE_BYTES_MAX + WORD_BYTES_MAX)];
    let (len, words) = read(rest.utf8_chunks().next().map_or("", |chunk| chunk.valid()));
    (words >= way.words_min && words > 0).then_some((end..end + len, way.confidence))
}

/// Names of members that hold a person's name, without separators and in lower case.
const MEMBERS: &[&str] = &[
    "firstname",
    "lastname",
    "fullname",
    "givenname",
    "familyname",
    "middlename",
    "surname",
    "patientname",
    "patient",
    "customername",
    "contactname",
    "employeename",
    "clientname",
    "holdername",
    "cardholdername",
    "cardholder",
    "passengername",
    "passenger",
    "recipientname",
    "sendername",
    "guestname",
    "maidenname",
    "personname",
];
const MEMBER: u8 = 60;
const BARE_MEMBER: u8 = 50;

/// The name that is the value of the member `key`.
pub(super) fn of_member(key: &str, value: &[u8]) -> Option<(Range<usize>, u8)> {
    let value = std::str::from_utf8(value).ok().filter(|value| value.len() <= VALUE_BYTES_MAX)?;
    let is =
        |name: &str| key.bytes().filter(u8::is_ascii_alphabetic).map(|byte| byte.to_ascii_lowercase()).eq(name.bytes());
    let (len, words) = read(value);
    let whole = len == value.len() && words > 0;
    match () {
        () if whole && MEMBERS.iter().any(|name| is(name)) => Some((0..len, MEMBER)),
        () if whole && words > 1 && is("name") => Some((0..len, BARE_MEMBER)),
        () => None,
    }
}

/// Words that begin with a capital and are no names, in small letters: those that follow a salutation or a label.
const OTHERS: &[&str] = &[
    "the",
    "this",
    "that",
    "please",
    "sir",
    "madam",
    "all",
    "team",
    "customer",
    "customers",
    "support",
    "user",
    "users",
    "friend",
    "friends",
    "hiring",
    "manager",
    "colleague",
    "colleagues",
    "santa",
    "diary",
    "i",
    "we",
    "you",
    "your",
    "my",
    "our",
    "it",
    "is",
    "no",
    "yes",
    "not",
    "none",
    "unknown",
    "null",
    "string",
    "name",
    "god",
    "lord",
    "president",
    "minister",
    "committee",
    "members",
    "everyone",
    "anyone",
    "thank",
    "thanks",
    "bugs",
    "robot",
    "fix",
    "ms",
    "mr",
];
/// Parts of names in small letters.
const PARTICLES: &[&str] = &[
    "de", "da", "di", "do", "dos", "das", "del", "della", "van", "von", "der", "den", "ter", "la", "le", "bin", "al",
    "el", "y", "e",
];

/// How long the name is that `text` begins with, and how many words it has without particles.
fn read(text: &str) -> (usize, usize) {
    let (mut end, mut at, mut words) = (0, 0, 0);
    while words < WORDS_MAX {
        let word = word(&text[at..]);
        let is_name = is_name(word) && !OTHERS.iter().any(|other| word.eq_ignore_ascii_case(other));
        let particle = words > 0 && PARTICLES.contains(&word);
        if word.is_empty() || !(is_name || particle) {
            break;
        }
        at += word.len();
        if is_name {
            words += 1;
            end = at;
        }
        match text[at..].strip_prefix(' ') {
            Some(_) => at += 1,
            None => break,
        }
    }
    (end, words)
}

/// Up to the next character that no name holds.
fn word(text: &str) -> &str {
    let part = |char: char| char.is_alphabetic() || matches!(char, '\'' | '\u{2019}' | '-');
    let len = text.find(|char| !part(char)).unwrap_or(text.len());
    // An initial has its dot.
    let initial = text[..len].chars().count() == 1 && text[len..].starts_with('.');
    let word = &text[..len + usize::from(initial)];
    // "Smith's", and the quote that a quotation ends with.
    let word = word.strip_suffix("'s").or(word.strip_suffix("\u{2019}s")).unwrap_or(word);
    word.trim_end_matches(['\'', '\u{2019}', '-'])
}

/// A capital and small letters, or an initial.
fn is_name(word: &str) -> bool {
    let mut chars = word.chars();
    let capital = chars.next().is_some_and(char::is_uppercase);
    let initial = word.ends_with('.');
    let small = chars.next_back().is_some_and(char::is_lowercase);
    capital && word.len() <= WORD_BYTES_MAX && (initial || small)
}
