//! Secrets: provider tokens, private keys, JWTs, connection strings, and values that are assigned to a secret's name.
//!
//! [`ANCHORS`] says what the engine looks for, [`find`] judges what stands where one ended, and [`assigned`] judges the
//! value of a JSON member whose name is a secret's. A provider's token is taken by the length, character set and,
//! where there is one, checksum that the provider publishes (`providers`); a PEM block and a JWT by what they hold
//! (`pem`, `jwt`); a password by the URL, header or command it stands in (`connection`, `authorization`); all else by
//! its name and the entropy of its value (`assignment`, `value`), or by the sentence that tells it (`told`). What people write in a secret's place ("EXAMPLE",
//! "xxxx", `${VAR}`) is none (`placeholder`).
//!
//! A finding covers the secret itself, not the name, the user or the host beside it.
//!
//! Invariants: a look reads at most [`BACK_BYTES_MAX`] before the anchor's end and [`FORWARD_BYTES_MAX`] after it,
//! allocates nothing, and takes any bytes. A secret that is longer is reported as far as it was read.

use std::ops::Range;

use super::context;
use crate::config::resolved::Detector as Kind;

mod assignment;
mod authorization;
mod base64;
mod chars;
mod connection;
mod jwt;
mod marked;
mod named;
mod pem;
mod placeholder;
mod providers;
mod token;
mod told;
mod value;

/// Furthest a look reads back from the anchor's end.
pub(in crate::safety) const BACK_BYTES_MAX: usize = 256;
/// Furthest a look reads on from the anchor's end: a 4096-bit RSA key in PEM is 3.2 KiB.
pub(in crate::safety) const FORWARD_BYTES_MAX: usize = 4096;

/// Shortest value that a secret's name announces.
pub(in crate::safety) const VALUE_BYTES_MIN: usize = value::BYTES_MIN;

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::safety) struct Secret {
    /// What it opens: one of [`Kind::SECRETS`].
    pub kind: Kind,
    /// Where, in the text that was given.
    pub range: Range<usize>,
    /// How sure that is, in percent.
    pub confidence: u8,
}

/// What makes a place worth a look; `expression` is given to the engine.
#[derive(Debug)]
pub(in crate::safety) struct Anchor {
    /// Bounded, with at least three literal bytes.
    pub expression: &'static str,
    /// Whether letters match in both cases.
    pub caseless: bool,
    look: Look,
}

/// Who judges the place.
#[derive(Debug)]
enum Look {
    /// A provider's prefix and [`token::TAIL`] more bytes.
    Prefix(&'static [token::Token]),
    /// Whoever knows the form: the text, and where the anchor ended.
    At(fn(&[u8], usize) -> Option<Secret>),
}

const fn prefix(expression: &'static str, tokens: &'static [token::Token]) -> Anchor {
    Anchor { expression, caseless: false, look: Look::Prefix(tokens) }
}

const fn at(expression: &'static str, look: fn(&[u8], usize) -> Option<Secret>) -> Anchor {
    Anchor { expression, caseless: false, look: Look::At(look) }
}

const fn caseless(expression: &'static str, look: fn(&[u8], usize) -> Option<Secret>) -> Anchor {
    Anchor { expression, caseless: true, look: Look::At(look) }
}

/// What the engine looks for.
pub(in crate::safety) const ANCHORS: &[Anchor] = &[
    prefix(providers::cloud::AWS_EXPRESSION, providers::cloud::AWS),
    prefix(providers::cloud::GCP_EXPRESSION, providers::cloud::GCP),
    prefix(providers::code::GITHUB_EXPRESSION, providers::code::GITHUB),
    prefix(providers::code::GITLAB_EXPRESSION, providers::code::GITLAB),
    prefix(providers::work::SLACK_EXPRESSION, providers::work::SLACK),
    prefix(providers::work::STRIPE_EXPRESSION, providers::work::STRIPE),
    prefix(providers::ai::ANTHROPIC_EXPRESSION, providers::ai::ANTHROPIC),
    prefix(providers::ai::OTHER_EXPRESSION, providers::ai::OTHER),
    prefix(providers::cloud::OTHER_EXPRESSION, providers::cloud::OTHER),
    prefix(providers::code::OTHER_EXPRESSION, providers::code::OTHER),
    prefix(providers::work::OTHER_EXPRESSION, providers::work::OTHER),
    at(marked::OPENAI_EXPRESSION, marked::openai),
    at(marked::AZURE_CLIENT_EXPRESSION, marked::azure_client),
    at(marked::AZURE_SERVICE_EXPRESSION, marked::azure_service),
    at(marked::AZURE_ACCOUNT_EXPRESSION, marked::azure_account),
    at(marked::AZURE_SIGNATURE_EXPRESSION, marked::azure_signature),
    at(marked::TELEGRAM_EXPRESSION, marked::telegram),
    at(marked::MAILCHIMP_EXPRESSION, marked::mailchimp),
    at(marked::TERRAFORM_EXPRESSION, marked::terraform),
    at(marked::FACEBOOK_EXPRESSION, marked::facebook),
    at(marked::DISCORD_EXPRESSION, marked::discord),
    at(pem::EXPRESSION, pem::find),
    at(jwt::EXPRESSION, jwt::find),
    at(connection::URL_EXPRESSION, connection::in_url),
    at(connection::CURL_EXPRESSION, connection::in_curl),
    caseless(authorization::EXPRESSION, authorization::find),
    caseless(named::EXPRESSION, named::find),
    caseless(assignment::EXPRESSION, assignment::find),
    caseless(told::EXPRESSION, told::find),
];

/// The secret whose anchor, the `anchor`th of [`ANCHORS`], ends at `end` in `text`. `key` is the JSON member's name,
/// where the text is its value: a token that needs a secret's name beside it is taken on the strength of that one.
pub(in crate::safety) fn find(text: &[u8], key: Option<&str>, anchor: usize, end: usize) -> Option<Secret> {
    let before = text.get(..end)?;
    match ANCHORS.get(anchor)?.look {
        Look::Prefix(tokens) => token::find(text, before.len(), tokens, key),
        Look::At(look) => look(text, before.len()),
    }
}

/// Whether the member `key`, whose value has so many bytes, [`VALUE_BYTES_MIN`] or more, is worth [`assigned`]: cheap, and
/// rarely true.
pub(in crate::safety) fn may_be_assigned(key: &[u8], value_len: usize) -> bool {
    assignment::may_be_of_member(key, value_len)
}

/// The secret that is the value of the JSON member `key`, if that is a secret's name and the value looks like one.
pub(in crate::safety) fn assigned(key: &str, value: &[u8]) -> Option<Secret> {
    if context::ends_in_placeholder(key.as_bytes()) { None } else { assignment::of_member(key, value) }
}

#[cfg(test)]
mod corpus_tests;
#[cfg(test)]
mod tests;
