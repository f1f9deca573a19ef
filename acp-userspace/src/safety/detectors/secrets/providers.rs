//! The providers' tokens, by what they open: models (`ai`), infrastructure (`cloud`), source code and its supply chain
//! (`code`), and everything else people work with (`work`).
//!
//! A row is a prefix and what follows it, from the provider's documentation where it says so (named beside the row,
//! or above several), else from the tokens it issues. Rows that begin alike stand longest first. An expression
//! holds the prefixes of its rows and [`super::token::TAIL`] bytes of any token: `every_prefix_is_anchored` holds them
//! together.

use super::Kind;
use super::token::{Check, Part, Token};

pub(super) mod ai;
pub(super) mod cloud;
pub(super) mod code;
pub(super) mod work;

const fn token(kind: Kind, prefix: &'static str, body: &'static [Part]) -> Token {
    Token { kind, prefix, body, check: Check::Form }
}

const fn checked(kind: Kind, prefix: &'static str, body: &'static [Part], check: Check) -> Token {
    Token { kind, prefix, body, check }
}

/// A token of a provider that has no kind of its own.
const fn other(prefix: &'static str, body: &'static [Part]) -> Token {
    token(Kind::OtherToken, prefix, body)
}

const fn other_checked(prefix: &'static str, body: &'static [Part], check: Check) -> Token {
    checked(Kind::OtherToken, prefix, body, check)
}
