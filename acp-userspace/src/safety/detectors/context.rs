//! Words that say what a number is, where its shape alone does not.

use std::cell::Cell;
use std::ops::Range;

use crate::safety::redact::PLACEHOLDER;

/// How far back a word of the same line counts, in bytes: a short clause ("my social security number is").
const REACH: usize = 48;
/// How far on a word of the same clause counts, in bytes ("… är mitt personnummer").
const REACH_BEHIND: usize = 32;
/// How much of a JSON member's name is read.
const KEY_BYTES_MAX: usize = 64;

/// Declares [`Topic`], and the words of each in lower case. Whatever follows those of more than three bytes ("phones",
/// "cardholder"); shorter ones stand alone ("tel", not "tell"). Words of other alphabets count wherever they stand, for
/// some are written without spaces, and in the case that is given.
macro_rules! topics {
    ($($topic:ident: [$($word:literal),+ $(,)?],)+) => {
        /// What words may speak of.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Topic {
            $($topic,)+
        }

        /// By [`Topic`].
        const WORDS: &[Words] = &[$(Words::of(&[$($word),+]),)+];
    };
}

topics! {
    SocialSecurity: ["ssn", "social security", "social_security", "social-security", "socialsecurity", "soc sec", "ss#"],
    Card: [
        "card", "credit", "debit", "visa", "mastercard", "maestro", "amex", "american express", "diners", "discover",
        "jcb", "payment", "pan", "cc",
    ],
    Phone: [
        "phone", "telephone", "telef", "telep", "tel", "mobile", "cell", "celular", "fax", "call", "dial", "whatsapp",
        "sms", "msisdn", "contact", "hotline", "my registered", "gsm", "movil", "m\u{f3}vil", "handy", "ponsel", "pager",
        "desk:", "office:", "direct:", "switchboard", "reach me", "reach us", "reach our", "reach him", "reach her",
        "телефон", "Телефон", "тел.", "Тел.", "тел:", "Тел:", "τηλ", "Τηλ", "电话", "電話", "手机", "手機", "携帯", "전화",
        "휴대폰", "โทร", "फ़ोन", "फोन", "هاتف", "تلفن", "טלפון",
    ],
    Insurance: ["nino", "ni", "national insurance", "national_insurance", "nationalinsurance", "insurance number"],
    Pan: ["pan", "permanent account", "permanent_account", "income tax", "pancard"],
    Nhs: ["nhs", "national health"],
    Sin: ["sin", "social insurance", "social_insurance", "socialinsurance", "nas"],
    Tfn: ["tfn", "tax file", "tax_file", "taxfile"],
    Medicare: ["medicare"],
    Aadhaar: ["aadhaar", "aadhar", "adhaar", "adhar", "uidai", "uid", "आधार"],
    Spanish: ["dni", "nif", "nie", "documento nacional", "identidad"],
    Singaporean: ["nric", "fin", "singapore"],
    French: ["nir", "insee", "secu", "nss"],
    GermanTax: ["steuer", "idnr", "tin", "tax id", "tax_id", "taxid"],
    Cpf: ["cpf", "cadastro de pessoa"],
    Cnpj: ["cnpj", "cadastro nacional"],
    Pesel: ["pesel"],
    Korean: ["rrn", "resident registration", "resident_registration", "korean", "주민등록"],
    Swedish: ["personnummer", "personnr", "pnr", "personal identity", "samordningsnummer", "swedish"],
    Thai: ["thai", "national id", "tnin", "citizen id", "ประชาชน", "เลขประจำตัว"],
    Turkish: ["kimlik", "tckn", "tc no", "t.c.", "turkish", "vatanda\u{15f}", "vatandas", "ki\u{15f}i"],
    SouthAfrican: ["south african", "rsa id", "sa id", "id number", "id no", "id_number", "idnumber", "refugee"],
    Finnish: ["hetu", "henkil", "finnish"],
    Npi: ["npi", "national provider", "national_provider"],
    Prescriber: ["dea", "prescriber", "certificate", "controlled substance", "narcotic", "registrant"],
    Provider: ["npi", "provider", "national provider", "national_provider"],
    Routing: ["routing", "aba", "rtn", "transit number"],
    Taxpayer: ["itin", "taxpayer", "tax id", "tax_id", "taxid", "tin"],
    Employer: ["ein", "fein", "employer id", "employer_id", "tax id", "tax_id", "taxid", "federal tax", "federal id"],
}

/// Words to look for, and what they begin with.
struct Words {
    words: &'static [&'static str],
    /// By the class of a word's first byte: bit `n`, some word goes on with a byte of class `n`.
    seconds: [u32; CLASSES],
}

const CLASSES: usize = 29;
/// The class of what begins a character beyond ASCII, of what continues one, and of what is no letter.
const BEYOND: u8 = 26;
const CONTINUED: u8 = 27;
const OTHER: u8 = 28;

/// What a byte is: a letter, 0 to 25 in either case, or one of the classes above.
const CLASS: [u8; 256] = {
    let (mut classes, mut byte) = ([OTHER; 256], 0);
    while byte < 256 {
        classes[byte] = match byte as u8 {
            letter @ b'a'..=b'z' => letter - b'a',
            letter @ b'A'..=b'Z' => letter - b'A',
            0xc0.. => BEYOND,
            0x80.. => CONTINUED,
            _ => OTHER,
        };
        byte += 1;
    }
    classes
};

impl Words {
    const fn of(words: &'static [&'static str]) -> Self {
        let (mut seconds, mut i) = ([0; CLASSES], 0);
        while i < words.len() {
            let word = words[i].as_bytes();
            let first = CLASS[word[0] as usize];
            assert!(word.len() > 1 && first <= BEYOND, "a word begins with a letter and goes on");
            seconds[first as usize] |= 1 << CLASS[word[1] as usize];
            i += 1;
        }
        Self { words, seconds }
    }
}

/// What stands before a run of digits; each topic is looked for once, when it is asked for.
pub(super) struct Context<'a> {
    text: &'a [u8],
    start: usize,
    key: &'a [u8],
    /// By topic: bit `n` of the first is set once it was looked for, of the second if it was found.
    said: Cell<(u32, u32)>,
}

impl<'a> Context<'a> {
    /// The context of the run that begins at `start`, in the JSON member `key`.
    pub(super) fn new(text: &'a [u8], start: usize, key: Option<&'a str>) -> Self {
        let key = key.unwrap_or_default().as_bytes();
        Self { text, start, key: &key[..key.len().min(KEY_BYTES_MAX)], said: Default::default() }
    }

    /// The end of the line before the run.
    fn before(&self) -> &'a [u8] {
        let before = &self.text[self.start.saturating_sub(REACH)..self.start];
        let line = memchr::memrchr(b'\n', before).map_or(0, |newline| newline + 1);
        &before[line..]
    }

    /// Whether it is known already that no word of `topic` does.
    pub(super) fn is_silent(&self, topic: Topic) -> bool {
        let (asked, said) = self.said.get();
        (asked & !said) >> topic as u32 & 1 != 0
    }

    /// Whether a word of `topic` stands shortly before, or in the member's name.
    pub(super) fn says(&self, topic: Topic) -> bool {
        let (mut asked, mut said) = self.said.get();
        let bit = 1 << topic as u32;
        if asked & bit == 0 {
            let words = &WORDS[topic as usize];
            let before = self.start - self.before().len()..self.start;
            let says = tells(self.key, 0..self.key.len(), words) || tells(self.text, before, words);
            asked |= bit;
            said |= if says { bit } else { 0 };
            self.said.set((asked, said));
        }
        said & bit != 0
    }

    /// Whether a word of `topic` follows the number that ends at `end`, in the same clause. A word with a sign of
    /// assignment or another number behind it speaks of what comes next.
    pub(super) fn says_behind(&self, topic: Topic, end: usize) -> bool {
        let behind = &self.text[end..self.text.len().min(end + REACH_BEHIND)];
        let is_end = |byte: &u8| byte.is_ascii_digit() || b",;:.!?=#|\"\n\t".contains(byte);
        let len = behind.iter().position(is_end).unwrap_or(behind.len());
        let next = behind.get(len).is_some_and(|byte| byte.is_ascii_digit() || b":=#|".contains(byte));
        !next && tells(self.text, end..end + len, &WORDS[topic as usize])
    }

    /// Whether nothing names the text.
    pub(super) fn is_unnamed(&self) -> bool {
        self.key.is_empty()
    }

    /// Whether `range` is all of a text that nothing names, but for spaces.
    pub(super) fn is_whole(&self, range: Range<usize>) -> bool {
        self.key.is_empty()
            && self.text[..range.start].iter().rev().all(u8::is_ascii_whitespace)
            && self.text[range.end..].iter().all(u8::is_ascii_whitespace)
    }
}

/// Topics are counted in the bits of a `u32`.
const _: () = assert!(WORDS.len() <= 32);

/// Finds one of `words` where a word begins: `ssn` in "SSN:", "user_ssn" and "userSsn", not in "passnumber".
fn has_word(text: &[u8], words: &Words) -> bool {
    let Some((byte, rest)) = text.split_first() else { return false };
    let mut first = CLASS[usize::from(*byte)];
    rest.iter().enumerate().any(|(at, byte)| {
        let second = CLASS[usize::from(*byte)];
        let class = std::mem::replace(&mut first, second);
        // The first two bytes leave few places to look at.
        words.seconds[usize::from(class)] >> second & 1 != 0
            && (class == BEYOND || may_begin(text, at))
            && words.words.iter().any(|word| begins_with(&text[at..], word.as_bytes()))
    })
}

/// Whether the letter at `at` may be the first of a word: behind no letter, or the capital behind a small one.
fn may_begin(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else { return true };
    CLASS[usize::from(before)] >= BEYOND || (before.is_ascii_lowercase() && text[at].is_ascii_uppercase())
}

/// Whether one of `words` stands in this part of a text, the labels of placeholders left out: they say what stood
/// there, not what stands beside it.
fn tells(text: &[u8], part: Range<usize>, words: &Words) -> bool {
    let found = &text[part.clone()];
    has_word(found, words) && (memchr::memchr(b']', found).is_none() || has_word(&without_labels(text, part), words))
}

/// This part of a text, with blanks for the placeholders that end in it.
fn without_labels(text: &[u8], part: Range<usize>) -> Vec<u8> {
    let mut without = text[part.clone()].to_vec();
    for end in memchr::memchr_iter(b']', &text[part.clone()]).map(|at| part.start + at) {
        if let Some(open) = open_placeholder(&text[..end]) {
            without[open.saturating_sub(part.start)..end - part.start].fill(b' ');
        }
    }
    without
}

/// Whether the last word of `text` is the label of a placeholder.
pub(super) fn ends_in_placeholder(text: &[u8]) -> bool {
    text.iter().rposition(u8::is_ascii_alphanumeric).is_some_and(|at| open_placeholder(&text[..=at]).is_some())
}

/// Where a placeholder begins that has not ended at the end of `text`.
fn open_placeholder(text: &[u8]) -> Option<usize> {
    const LABEL_BYTES_MAX: usize = 32;
    let from = text.len().saturating_sub(PLACEHOLDER.len() + LABEL_BYTES_MAX);
    let open = from + memchr::memrchr(b'[', &text[from..])?;
    (text[open..].starts_with(PLACEHOLDER.as_bytes()) && !text[open..].contains(&b']')).then_some(open)
}

/// Whether `text` begins with `word`, and a short word ends there.
fn begins_with(text: &[u8], word: &[u8]) -> bool {
    let alone = word.len() > 3 || !text.get(word.len()).is_some_and(u8::is_ascii_lowercase);
    alone && text.get(..word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholders_label_is_no_word() {
        for (text, says) in [
            ("[REDACTED:PHONE] or ", false),
            ("[REDACTED:US_BANK_ACCOUNT] phone ", true),
            ("phone [REDACTED:EMAIL] ", true),
            ("[REDACTED:PHONE] [REDACTED:PHONE] ", false),
            ("[ACTED:PHONE] ", true),
            ("[REDACTED:PHONE and nothing that ends it, phone] ", true),
        ] {
            let number = [text, "12345678"].concat();
            assert_eq!(Context::new(number.as_bytes(), text.len(), None).says(Topic::Phone), says, "{text}");
            assert_eq!(Context::new(b"12345678", 0, Some(text)).says(Topic::Phone), says, "{text}");
        }
        // A label of which the window holds the end alone.
        let cut = format!("[REDACTED:PHONE]{}12345678", " ".repeat(REACH - 6));
        assert!(!Context::new(cut.as_bytes(), cut.len() - 8, None).says(Topic::Phone));
        assert!(ends_in_placeholder(b"[REDACTED:SECRET]: ") && !ends_in_placeholder(b"[REDACTED:SECRET] secret: "));
    }

    #[test]
    fn words_are_found_where_words_begin() {
        for text in ["SSN:", "my ssn is", "user_ssn", "userSsn", "ssn", "its SSN", "(ssn"] {
            assert!(has_word(text.as_bytes(), &Words::of(&["ssn"])), "{text}");
        }
        for text in ["passnumber", "lessness", "", "ss", "ssnot"] {
            assert!(!has_word(text.as_bytes(), &Words::of(&["ssn"])), "{text}");
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

    #[test]
    fn a_word_behind_counts_within_its_clause() {
        let says = |text: &str| Context::new(text.as_bytes(), 0, None).says_behind(Topic::Swedish, 3);
        for text in ["123 is my personnummer", "123 (pnr)", "123, "].into_iter().zip([true, true, false]) {
            assert_eq!(says(text.0), text.1, "{}", text.0);
        }
        for text in [
            "123 and personnummer: 4",
            "123 pnr 4",
            "123. My pnr",
            "123, pnr",
            "123 of all those people who have a pnr",
        ] {
            assert!(!says(text), "{text}");
        }
    }

    #[test]
    fn words_of_other_alphabets_count_wherever_they_stand() {
        assert!(has_word("我的电话号码".as_bytes(), &Words::of(&["电话"])));
        assert!(has_word("เลขประจำตัวประชาชน".as_bytes(), &Words::of(&["ประชาชน"])));
        assert!(!has_word("我的号码".as_bytes(), &Words::of(&["电话"])));
    }

    /// The rule as it reads: every word at every place where one begins.
    fn has_word_at_length(text: &[u8], words: &[&str]) -> bool {
        (0..text.len()).any(|at| {
            let (byte, before) = (text[at], if at == 0 { b' ' } else { text[at - 1] });
            let begins = byte >= 0xc0
                || byte.is_ascii_alphabetic()
                    && (!before.is_ascii_alphabetic() || (before.is_ascii_lowercase() && byte.is_ascii_uppercase()));
            begins
                && words.iter().any(|word| {
                    let end = at + word.len();
                    let alone = word.len() > 3 || !text.get(end).is_some_and(u8::is_ascii_lowercase);
                    alone && text.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()))
                })
        })
    }

    #[test]
    fn words_are_found_as_by_trying_each_everywhere() {
        use proptest::prelude::*;
        let words = WORDS.iter().flat_map(|words| words.words.iter().map(|word| (*word).to_owned()));
        let word = prop::sample::select(words.collect::<Vec<_>>());
        let part = prop_oneof![
            word.clone(),
            word.clone().prop_map(|word| word.to_uppercase()),
            word.prop_map(|word| word.chars().skip(1).collect::<String>()),
            "[a-zA-Z_#\\- ]{0,3}",
            Just("\u{e9}[`@{".to_owned()),
        ];
        proptest!(|(parts in prop::collection::vec(part, 0..6))| {
            let text = parts.concat();
            for words in WORDS {
                let expected = has_word_at_length(text.as_bytes(), words.words);
                prop_assert_eq!(has_word(text.as_bytes(), words), expected, "{:?}", text);
            }
        });
    }
}
