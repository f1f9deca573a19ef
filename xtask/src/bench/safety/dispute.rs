//! Labels that cannot be right, and findings that labels cannot judge. Neither counts for or against an engine; the report
//! says how many there are and what each engine made of them.
//!
//! - A value that cannot be what its label says, by the rule of whoever issues it ([`LABELS`]).
//! - A secret whose body is one letter over and over: filler, which documentation has where a key would stand. Tests of
//!   detect-secrets and secretlint use it for keys to be found, tests of gitleaks (`gho_xxxx…`, `xoxb-xxxx…`,
//!   `pplx-xxxx…`) for what must not be, and nothing tells the ones from the others.
//! - A value that one record of a source labels and another one leaves unlabelled ([`Contradictions`]): tests of options
//!   that switch a rule off, and of lines that a tool cannot parse although the key is there.
//! - A value that its own text names for what it is, and that its source left out ([`UNLABELLED`]).

use std::collections::HashMap;

use super::corpus::Record;
use super::forms::{Class, Row};
use super::names::KindId;

/// Whether the label `name` of `value` cannot be right.
pub(super) fn is_label(name: &str, value: &str) -> bool {
    listed(LABELS, name, value) || name == "SECRET" && is_filler(value)
}

/// Whether `value`, labelled with nothing in its own record, is what a finding of `kind` says nevertheless.
pub(super) fn is_left_out(kind: KindId, value: &str) -> bool {
    listed(UNLABELLED, kind.kind().name, value)
}

/// A label's or a kind's name, a value, and why it is disputed.
type Disputed = (&'static str, &'static str, &'static str);

fn listed(list: &[Disputed], name: &str, value: &str) -> bool {
    list.iter().any(|(label, disputed, _)| *label == name && *disputed == value)
}

/// Whether ten bytes or more of `x`, in a row, stand for a secret's.
fn is_filler(value: &str) -> bool {
    const RUN: usize = 10;
    value.as_bytes().windows(RUN).any(|run| run.iter().all(|byte| byte.eq_ignore_ascii_case(&b'x')))
}

/// Labels whose value cannot be what they say.
const LABELS: &[Disputed] = &[
    ("CREDIT_CARD", "4532************7890", "masked"),
    ("IBAN", "IN60 ITDB000000000000XA", "India has no IBAN"),
    ("IN_AADHAAR", "12345678901204", "14 digits; an Aadhaar number has 12"),
    ("IN_AADHAAR", "98765432100003", "14 digits; an Aadhaar number has 12"),
    ("IN_AADHAAR", "98765432112319", "14 digits; an Aadhaar number has 12"),
    ("IN_PAN", "ABCDEZ1234F", "a PAN is five letters, four digits and a letter"),
    ("IN_PAN", "RAVMAN789KL", "a PAN is five letters, four digits and a letter"),
    ("IN_PAN", "SPRINTZ45678", "a PAN is five letters, four digits and a letter"),
    ("ROUTING_NUMBER", "HDFCANPR001", "an Indian bank's code, not an ABA number"),
    ("SECRET", "&other=stuff", "a URL's tail without the token"),
    ("SECRET", "[a-zA-Z0-9]{30}", "the pattern of a token, not a token"),
    ("US_SSN", "XXX-XX-2409", "masked"),
];

/// Values that are not labelled although their text or their source says what they are.
const UNLABELLED: &[Disputed] = &[
    ("IN_AADHAAR", "987654321012", "\"Aadhar number '987654321012'\""),
    (
        "SECRET",
        "3012a5754bbd716926f99c028f7ea428-us18",
        "gitleaks keeps it as \"False Negative\": a key its rule misses",
    ),
    ("US_BANK_ACCOUNT", "HDFC45678901", "\"bank account information (ACC: HDFC45678901)\""),
    ("US_BANK_ACCOUNT", "SBI0123456789", "\"bank account information … (ACC: SBI0123456789)\""),
    ("US_BANK_ACCOUNT", "SBI09876543", "\"bank account details (ACC: SBI09876543)\""),
    ("US_HEALTH_INSURANCE_ID", "CP198753", "\"patient insurance policy number CP198753\""),
    ("US_PASSPORT", "P12345678", "\"his passport number P12345678\""),
];

/// What each source says of values elsewhere: records of the same file that label a value in one place contradict those
/// that leave it unlabelled in another. Only values that are known by their form are compared: what a number is
/// that needs context may well change with it.
pub(super) struct Contradictions<'r> {
    labelled: HashMap<(&'r str, KindId), Vec<&'r str>>,
}

impl<'r> Contradictions<'r> {
    /// Of all records.
    pub(super) fn of(records: &'r [Record]) -> Self {
        let mut labelled: HashMap<_, Vec<&str>> = HashMap::new();
        for record in records {
            for label in &record.labels {
                labelled.entry((&*record.file, label.row.kind)).or_default().push(&record.text[label.range.clone()]);
            }
            if let Some((row, _)) = record.expected {
                labelled.entry((&*record.file, row.kind)).or_default().push(&record.text);
            }
        }
        Self { labelled }
    }

    /// Whether some record of `file` says of `value` what a finding in `row` says. A label without a position holds its
    /// value somewhere in the text.
    pub(super) fn has(&self, file: &str, row: Row, value: &str) -> bool {
        const BYTES_MIN: usize = 16;
        let labelled = || self.labelled.get(&(file, row.kind)).into_iter().flatten();
        row.kind.kind().class == Class::Format
            && value.len() >= BYTES_MIN
            && labelled().any(|text| text.contains(value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::Scope;
    use super::*;

    fn record(file: &str, text: &str, expected: Option<Row>) -> Record {
        let expected = expected.map(|row| (row, 1));
        let (text, file) = (text.into(), file.into());
        Record { text, labels: vec![], expected, expected_disputed: false, scope: Scope::Nothing, rule: None, file }
    }

    #[test]
    fn filler_is_no_secret_whatever_its_label_says() {
        assert!(is_label("SECRET", "ACxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx") && is_label("SECRET", "hf_XXXXXXXXXXX"));
        assert!(!is_label("SECRET", "hf_xxxxxxxxx0") && !is_label("MRN", "ACxxxxxxxxxxxx"));
    }

    #[test]
    fn only_the_same_source_contradicts_itself() {
        let secret = Row::of(KindId::of_label("SECRET").expect("a kind"), "", None);
        let records = [record("a", "token=0123456789abcdef-0", Some(secret))];
        let contradictions = Contradictions::of(&records);
        assert!(contradictions.has("a", secret, "0123456789abcdef"));
        assert!(!contradictions.has("b", secret, "0123456789abcdef"), "another source");
        assert!(!contradictions.has("a", secret, "1123456789abcdef"), "another value");
        assert!(!contradictions.has("a", secret, "0123456789"), "as short as chance allows");
        let passport = Row::of(KindId::of_label("US_PASSPORT").expect("a kind"), "", None);
        assert!(!contradictions.has("a", passport, "0123456789abcdef"), "another kind");
    }
}
