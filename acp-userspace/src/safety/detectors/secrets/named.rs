//! Keys without a prefix, of providers whose own name stands before them: a name that holds the provider's, and a value
//! of exactly the form the provider issues.

use super::chars::{ALNUM, HEX, Set, UNRESERVED, URL, URL_DOT, URL_EQUALS, Words, contains_any};
use super::value::{ONE_BIT, entropy};
use super::{Kind, Secret, placeholder, token};

/// Least entropy: a row of equal digits is nobody's key.
const BITS_MIN: u32 = 5 * ONE_BIT / 2;

/// A provider's name, the rest of the name, and the sign of an assignment.
pub(super) const EXPRESSION: &str = concat!(
    r"(?:snyk|sonar|sumo|heroku|okta|messagebird|meraki|contribsys|twilio|datadog|octopus|airtable|cloudflare)",
    r#"[a-z_.\-]{0,24}[\\"'\])]{0,3}[ \t]{0,4}\??[:=]"#
);

/// What a provider issues.
enum Form {
    Uuid,
    /// So many of the set behind the prefix.
    Exactly(&'static str, Set, usize),
    /// Two halves of eight hexadecimal digits: a user and a password.
    Pair,
}

/// The provider's name, and what it issues.
const PROVIDERS: [(Words, Form); 16] = [
    // docs.snyk.io; devcenter.heroku.com (before 2024); developers.messagebird.com; octopus.com.
    (Words::of(&["snyk"]), Form::Uuid),
    (Words::of(&["heroku"]), Form::Uuid),
    (Words::of(&["messagebird"]), Form::Uuid),
    (Words::of(&["octopus"]), Form::Uuid),
    (Words::of(&["messagebird"]), Form::Exactly("", ALNUM, 25)),
    // docs.sonarsource.com, tokens before 9.5.
    (Words::of(&["sonar"]), Form::Exactly("", ALNUM, 40)),
    // help.sumologic.com: access id and access key.
    (Words::of(&["sumo"]), Form::Exactly("su", ALNUM, 12)),
    (Words::of(&["sumo"]), Form::Exactly("", ALNUM, 64)),
    // developer.okta.com: SSWS tokens.
    (Words::of(&["okta"]), Form::Exactly("00", URL_EQUALS, 40)),
    // developer.cisco.com/meraki.
    (Words::of(&["meraki"]), Form::Exactly("", HEX, 40)),
    // twilio.com/docs: API keys and auth tokens; docs.datadoghq.com: API keys.
    (Words::of(&["twilio"]), Form::Exactly("", HEX, 32)),
    (Words::of(&["datadog"]), Form::Exactly("", HEX, 32)),
    (Words::of(&["twilio"]), Form::Exactly("SK", HEX, 32)),
    // airtable.com/developers: personal access tokens; developers.cloudflare.com: API tokens.
    (Words::of(&["airtable"]), Form::Exactly("pat", URL_DOT, 79)),
    (Words::of(&["cloudflare"]), Form::Exactly("", URL, 40)),
    // github.com/sidekiq/sidekiq/wiki: credentials of the commercial gems.
    (Words::of(&["contribsys"]), Form::Pair),
];

impl Form {
    /// How long a value of it is.
    const fn len(&self) -> usize {
        match self {
            Self::Uuid => 36,
            Self::Exactly(prefix, _, len) => prefix.len() + *len,
            Self::Pair => 17,
        }
    }
}

/// Lengths of what is issued, a bit for each: most values are told by theirs alone.
const LENS: u128 = {
    let (mut lens, mut i) = (0, 0);
    while i < PROVIDERS.len() {
        lens |= 1 << PROVIDERS[i].1.len();
        i += 1;
    }
    lens
};

/// Whether something is issued that has so many bytes.
pub(super) fn may_have_len(len: usize) -> bool {
    len < u128::BITS as usize && LENS >> len & 1 != 0
}

/// What the name of a key says; an organisation's or an app's id has the form of a key too.
const KEYS: Words = Words::of(&["key", "token", "secret", "auth", "login", "access", "client", "contribsys"]);

/// The value assigned behind the sign that ends at `end`.
pub(super) fn find(text: &[u8], end: usize) -> Option<Secret> {
    const NAME_BYTES_MAX: usize = 64;
    let from = end.saturating_sub(NAME_BYTES_MAX);
    let rest = &text[end..text.len().min(end + 128)];
    let at = rest.iter().take(8).take_while(|byte| matches!(byte, b' ' | b'\t' | b'=' | b'>' | b':' | b'?')).count();
    let at = at + rest[at..].iter().take(2).take_while(|byte| matches!(byte, b'"' | b'\'' | b'\\' | b'`')).count();
    let len = rest[at..].iter().take_while(|byte| UNRESERVED.has(**byte) || matches!(byte, b':' | b'=')).count();
    let value = &rest[at..at + len];
    secret(last_name(&text[from..end]), value.strip_suffix(b".").unwrap_or(value), end + at)
}

/// The value of the JSON member `name`.
pub(super) fn of_member(name: &[u8], value: &[u8]) -> Option<Secret> {
    secret(name, value, 0)
}

/// The last name in `text`.
fn last_name(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| URL_DOT.has(*byte)).map_or(0, |at| at + 1);
    &text[end - URL_DOT.run_back(&text[..end], end)..end]
}

fn secret(name: &[u8], value: &[u8], start: usize) -> Option<Secret> {
    // What people write has a blank early on.
    if !may_have_len(value.len()) || value.iter().any(u8::is_ascii_whitespace) {
        return None;
    }
    let fits = |form: &Form| match form {
        _ if form.len() != value.len() => false,
        Form::Uuid => token::is_uuid(value),
        Form::Exactly(prefix, set, _) => value
            .strip_prefix(prefix.as_bytes())
            .is_some_and(|rest| rest.iter().all(|byte| set.has(*byte)) && is_mixed(rest)),
        Form::Pair => {
            let hex = |part: &[u8]| part.len() == 8 && part.iter().all(|byte| HEX.has(*byte));
            value.split_at_checked(8).is_some_and(|(user, rest)| hex(user) && rest.strip_prefix(b":").is_some_and(hex))
        }
    };
    let found = PROVIDERS.iter().any(|(provider, form)| fits(form) && contains_any(name, provider))
        && contains_any(name, &KEYS);
    (found && !placeholder::is_token(value) && entropy(value) >= BITS_MIN).then(|| Secret {
        kind: Kind::OtherToken,
        range: start..start + value.len(),
        confidence: 85,
    })
}

fn is_mixed(value: &[u8]) -> bool {
    value.iter().any(u8::is_ascii_digit) && value.iter().any(u8::is_ascii_alphabetic)
}
