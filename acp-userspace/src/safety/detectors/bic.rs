//! Business identifier codes of banks (SWIFT codes; ISO 9362): institution, country, location, and a branch or none.
//!
//! Their form has no checksum and is that of many English words, so one is taken only behind a word that speaks of it
//! (`SWIFT`, `BIC`), on the same line, in upper case. Confidence 85; with a digit in it, which no word has, 95.

use super::Detectors;
use super::words::{Announced, Report, Word};
use crate::config::resolved::Detector;
use crate::safety::validators::finance::bic;

/// What announces one.
pub(super) const WORDS: &[Word] = &[
    Word { needle: "swift", finds: FINDS, look: |said, report| look(said, 5, report) },
    Word { needle: "bic", finds: FINDS, look: |said, report| look(said, 3, report) },
];

const FINDS: Detectors = Detectors::of(&[Detector::SwiftBic]);

/// How far behind the word a code begins at most: "SWIFT/BIC code of the bank: ".
const REACH: usize = 40;
/// With and without branch.
const LEN_MAX: usize = 11;
const LEN_MIN: usize = 8;

const FORM: u8 = 85;
const FORM_WITH_DIGIT: u8 = 95;

fn look(announced: &Announced<'_>, word_len: usize, report: &mut Report<'_>) {
    if !announced.begins_word(word_len) {
        return;
    }
    let text = announced.text;
    let to = text.len().min(announced.from + REACH + LEN_MAX);
    let line = memchr::memchr(b'\n', &text[announced.from..to]).map_or(to, |newline| announced.from + newline);
    let mut at = announced.from;
    while at < line && at <= announced.from + REACH {
        let len = text[at..].iter().take(LEN_MAX + 1).take_while(|byte| byte.is_ascii_alphanumeric()).count();
        let code = &text[at..at + len];
        let apart = at == 0 || !(text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_');
        let upper = !code.iter().any(u8::is_ascii_lowercase);
        if (len == LEN_MIN || len == LEN_MAX) && apart && upper && std::str::from_utf8(code).is_ok_and(bic) {
            let digit = code.iter().any(u8::is_ascii_digit);
            report(Detector::SwiftBic, at..at + len, if digit { FORM_WITH_DIGIT } else { FORM });
            return;
        }
        at += len.max(1);
    }
}

#[cfg(test)]
mod tests {
    use crate::config::resolved::Detector::SwiftBic;
    use crate::safety::detectors::tests::{check, check_in};

    #[test]
    fn a_code_is_taken_behind_its_word() {
        check("SWIFT: DEUTDEFF", &[(SwiftBic, "DEUTDEFF")]);
        check("our bank's BIC is BNPAFRPPXXX.", &[(SwiftBic, "BNPAFRPPXXX")]);
        check("swift/bic code NEDSZAJJ", &[(SwiftBic, "NEDSZAJJ")]);
        check_in("CHASUS33", Some("bic"), &[(SwiftBic, "CHASUS33")]);
        check_in("CHASUS33", Some("swiftCode"), &[(SwiftBic, "CHASUS33")]);
    }

    #[test]
    fn a_word_that_only_ends_like_it_announces_nothing() {
        check("arabic CHASUS33", &[]);
        check_in("CHASUS33", Some("arabic"), &[]);
    }

    #[test]
    fn no_word_no_country_and_no_code_is_left() {
        for left in [
            "DEUTDEFF",
            "SWIFT\nDEUTDEFF",
            "swift: deutdeff",
            "SWIFT: DEUTQQFF",
            "SWIFT: DEUTDEFFX",
            "SWIFT: xDEUTDEFF",
        ] {
            check(left, &[]);
        }
        check("the SWIFT language is not what the following line of prose means: DEUTDEFF", &[]);
    }
}
