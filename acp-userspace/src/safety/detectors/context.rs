//! Words that say what a number is, where its shape alone does not.

use std::cell::Cell;

/// How far back a word of the same line counts, in bytes: a short clause ("my social security number is").
const REACH: usize = 48;
/// How much of a JSON member's name is read.
const KEY_BYTES_MAX: usize = 64;

/// What words may speak of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    SocialSecurity,
    Card,
    Phone,
}

impl Topic {
    /// Its words, in lower case. Whatever follows those of more than three letters ("phones", "cardholder"); shorter ones
    /// stand alone ("tel", not "tell").
    const fn words(self) -> &'static [&'static str] {
        match self {
            Self::SocialSecurity => {
                &["ssn", "social security", "social_security", "social-security", "socialsecurity", "soc sec", "ss#"]
            }
            Self::Card => &[
                "card",
                "credit",
                "debit",
                "visa",
                "mastercard",
                "maestro",
                "amex",
                "american express",
                "diners",
                "discover",
                "jcb",
                "payment",
                "pan",
                "cc",
            ],
            Self::Phone => &[
                "phone",
                "telephone",
                "tel",
                "mobile",
                "cell",
                "fax",
                "call",
                "dial",
                "whatsapp",
                "sms",
                "msisdn",
                "contact",
                "hotline",
            ],
        }
    }
}

/// What stands before a run of digits; each topic is looked for once.
pub(super) struct Context<'a> {
    before: &'a [u8],
    key: &'a [u8],
    said: [Cell<Option<bool>>; 3],
}

impl<'a> Context<'a> {
    /// The context of the run that begins at `start`, in the JSON member `key`.
    pub(super) fn new(text: &'a [u8], start: usize, key: Option<&'a str>) -> Self {
        let key = key.unwrap_or_default().as_bytes();
        let before = &text[start.saturating_sub(REACH)..start];
        let line = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        Self { before: &before[line..], key: &key[..key.len().min(KEY_BYTES_MAX)], said: Default::default() }
    }

    /// Whether a word of `topic` stands shortly before, or in the member's name.
    pub(super) fn says(&self, topic: Topic) -> bool {
        let said = &self.said[topic as usize];
        said.get().unwrap_or_else(|| {
            let says = has_word(self.key, topic.words()) || has_word(self.before, topic.words());
            said.set(Some(says));
            says
        })
    }
}

/// Finds one of `words` where a word begins: `ssn` in "SSN:", "user_ssn" and "userSsn", not in "passnumber".
fn has_word(text: &[u8], words: &[&str]) -> bool {
    let mut before = b' ';
    text.iter().enumerate().any(|(at, byte)| {
        let begins = byte.is_ascii_alphabetic()
            && (!before.is_ascii_alphabetic() || (before.is_ascii_lowercase() && byte.is_ascii_uppercase()));
        before = *byte;
        begins
            && words.iter().any(|word| {
                let end = at + word.len();
                let alone = word.len() > 3 || !text.get(end).is_some_and(u8::is_ascii_lowercase);
                alone && text.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_where_words_begin() {
        for text in ["SSN:", "my ssn is", "user_ssn", "userSsn", "ssn", "its SSN", "(ssn"] {
            assert!(has_word(text.as_bytes(), &["ssn"]), "{text}");
        }
        for text in ["passnumber", "lessness", "", "ss", "ssnot"] {
            assert!(!has_word(text.as_bytes(), &["ssn"]), "{text}");
        }
    }

    #[test]
    fn only_what_is_near_counts() {
        let text = [b"phone".as_slice(), &[b' '; 60], b"12345678"].concat();
        assert!(!Context::new(&text, 65, None).says(Topic::Phone));
        assert!(Context::new(&text, 40, None).says(Topic::Phone));
        assert!(!Context::new(b"phone\n12345678", 6, None).says(Topic::Phone));
        assert!(Context::new(&text, 65, Some("homePhone")).says(Topic::Phone));
        assert!(!Context::new(&text, 65, Some("homePhone")).says(Topic::Card));
    }
}
