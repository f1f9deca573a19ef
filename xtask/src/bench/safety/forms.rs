//! In which form a value is written, and whether that form says enough to ask for near certainty.
//!
//! A phone number with a country code says what it is; ten digits in a row may be anything. So [`Row`]s of the table are
//! kinds divided by form where the form decides, and each has one [`Class`] with one threshold.

use std::fmt;

use super::names::KindId;

/// What it takes to recognise something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Its own form or check digits.
    Format,
    /// The words around it.
    Context,
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// Its kind has one form.
    Whole,
    /// A phone number with a country code.
    International,
    /// Digits in groups.
    Separated,
    /// Digits only.
    Bare,
    /// A secret that carries its provider's mark.
    Marked,
    /// A secret by its place or its name only.
    Unmarked,
}

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Row {
    /// What.
    pub(super) kind: KindId,
    /// Written how.
    pub(super) form: Form,
}

impl Row {
    /// The row of a value. `rule` is the corpus's name for the case, which tells secrets apart: their positions are
    /// often not labelled.
    pub(super) fn of(kind: KindId, value: &str, rule: Option<&str>) -> Self {
        let form = match kind.kind().name {
            "PHONE" => phone(value),
            "US_SSN" if value.bytes().all(|byte| byte.is_ascii_digit()) => Form::Bare,
            "US_SSN" => Form::Separated,
            "SECRET" => secret(rule),
            _ => Form::Whole,
        };
        Self { kind, form }
    }

    /// The threshold that applies.
    pub(super) fn class(self) -> Class {
        match self.form {
            Form::Bare | Form::Unmarked => Class::Context,
            _ => self.kind.kind().class,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Whole => "",
            Form::International => ", international",
            Form::Separated => ", separated",
            Form::Bare => ", bare digits",
            Form::Marked => ", marked",
            Form::Unmarked => ", unmarked",
        };
        write!(out, "{}{form}", self.kind.kind().name)
    }
}

fn phone(value: &str) -> Form {
    let value = value.trim();
    match value {
        _ if value.bytes().all(|byte| byte.is_ascii_digit()) => Form::Bare,
        // ITU-T E.123 section 2.5, and the commonest international prefix (E.164 annex A).
        _ if value.starts_with(['+', '＋']) || value.starts_with("(+") || value.starts_with("00") => {
            Form::International
        }
        _ => Form::Separated,
    }
}

fn secret(rule: Option<&str>) -> Form {
    if rule.is_some_and(|rule| !UNMARKED_RULES.contains(&rule)) { Form::Marked } else { Form::Unmarked }
}

/// Cases whose secrets have no prefix, header or structure of their provider, only a name or a place: keys that are
/// mere hexadecimal or UUIDs, passwords in URLs, headers and command lines.
const UNMARKED_RULES: &[&str] = &[
    "atlassian-api-token",
    "aws",
    "azure",
    "azure_storage_key",
    "basic_auth",
    "basicauth",
    "cisco-meraki-api-key",
    "cloudant",
    "curl-auth-header",
    "curl-auth-user",
    "database-connection-string",
    "discord-client-id",
    "discord-client-secret",
    "etsy-access-token",
    "facebook-access-token",
    "generic-api-key",
    "heroku-api-key",
    "ibm_cloud_iam",
    "ibm_cos_hmac",
    "ip_public",
    "messagebird-client-id",
    "no-k8s-kind-secret",
    "okta-access-token",
    "sidekiq-secret",
    "sidekiq-sensitive-url",
    "snyk-api-token",
    "softlayer",
    "sonar-api-token",
    "sumologic-access-id",
    "sumologic-access-token",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(kind: &str, value: &str, rule: Option<&str>, form: Form, class: Class) {
        let row = Row::of(KindId::of_label(kind).expect("a kind"), value, rule);
        assert_eq!((row.form, row.class()), (form, class), "{kind} {value}");
    }

    #[test]
    fn digits_in_a_row_need_context_and_the_same_digits_in_groups_do_not() {
        check("PHONE", "2025550123", None, Form::Bare, Class::Context);
        check("PHONE", "(202) 555-0123", None, Form::Separated, Class::Format);
        check("US_SSN", "219099999", None, Form::Bare, Class::Context);
        check("US_SSN", "219-09-9999", None, Form::Separated, Class::Format);
        check("CREDIT_CARD", "4111111111111111", None, Form::Whole, Class::Format);
    }

    #[test]
    fn a_country_code_makes_a_phone_number_international() {
        check("PHONE", "+12025550123", None, Form::International, Class::Format);
        check("PHONE", "(+44) 20 7946 0958", None, Form::International, Class::Format);
        check("PHONE", "001-845-854-2110", None, Form::International, Class::Format);
    }

    #[test]
    fn a_secret_without_a_known_mark_needs_context() {
        check("SECRET", "", Some("github"), Form::Marked, Class::Format);
        check("SECRET", "", Some("snyk-api-token"), Form::Unmarked, Class::Context);
        check("SECRET", "", None, Form::Unmarked, Class::Context);
    }
}
