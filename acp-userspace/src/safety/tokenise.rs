//! Tokens in place of values: reversible ones that only this gateway can turn back, and one-way ones of the same shape
//! (THREATS A26).
//!
//! A reversible token is `acptok.<type>.<key id>.<base32>`: the value itself, sealed for its tenant and type (`seal`).
//! Nothing is stored, so tokens outlive restarts and are the same on every gateway that has the key. Equal values of a
//! tenant have equal tokens, which lets a model and its tools join on them, and tells whoever sees two that they are
//! equal, and how long they are; nothing else. A one-way token (`shape`) keeps the value's form and is never turned
//! back.
//!
//! Invariants: a token of another tenant, of an unknown key or changed in any character is refused, never passed on as
//! if it were text. How many values a subject may have turned into tokens in an hour is bounded (`budget`): who may
//! ask for the token of any guess could otherwise search nine digits.

use std::fmt;
use std::ops::Range;

use memchr::memmem::Finder;

use crate::clock::Now;
use crate::config::resolved::{Detector, DetokenizeRule, TokensConfig};
use crate::identity::Identity;
use crate::ids::{Key128, TenantId};
use budget::Budget;
use seal::Master;

mod base32;
mod budget;
mod seal;
mod shape;

/// Longest pointer that a permit can name: longer ones are cut where they are made, and may stand for deeper places.
const POINTER_BYTES_MAX: usize = 128;
/// What every token begins with.
const PREFIX: &str = "acptok.";
/// Bytes of a value that can become a token: the longest private keys in use.
pub const VALUE_BYTES_MAX: usize = 4096;
/// Tokens looked at in one body; more are refused (THREATS A25).
pub const TOKENS_MAX: usize = 4096;

/// Digits of the shortest token's last part: what authenticates an empty value.
const SEALED_DIGITS_MIN: usize = (seal::IV_BYTES * 8).div_ceil(5);

/// Id of what refuses, where records name a rule: a token that is not this tenant's.
pub const FOREIGN_TOKEN_RULE: &str = "safety.tokens";
/// The same: too many values of one subject or tenant in an hour.
pub const BUDGET_RULE: &str = "safety.tokens.values_per_hour";
/// The same: a value too long for a token.
pub const LENGTH_RULE: &str = "safety.tokens.length";

/// Whose content it is, for what, and when.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The tenant, which tokens are bound to.
    pub tenant: &'a TenantId,
    /// Table key of the tenant.
    pub tenant_key: Key128,
    /// Table key of the user, whose tokens are counted.
    pub user_key: Key128,
    /// The verified subject.
    pub subject: &'a str,
    /// The subject's roles.
    pub roles: &'a [std::sync::Arc<str>],
    /// Id of the tool that is called; empty for none.
    pub tool: &'a str,
    /// JSON pointer of the tool's arguments in the body.
    pub root: &'a str,
    /// The time.
    pub now: Now,
}

impl<'a> Caller<'a> {
    /// The caller of a tool.
    #[must_use]
    pub fn new(identity: &'a Identity, tool: &'a str, root: &'a str, now: Now) -> Self {
        Self {
            tenant: &identity.tenant,
            tenant_key: identity.tenant_key,
            user_key: identity.user_key,
            subject: &identity.user.subject,
            roles: &identity.roles,
            tool,
            root,
            now,
        }
    }
}

/// Why a value does not become a token; each names the rule that a record shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    /// The subject or its tenant had too many values made tokens in this hour.
    #[error("too many values in this hour")]
    Budget,
    /// The value is longer than [`VALUE_BYTES_MAX`].
    #[error("the value is too long for a token")]
    Length,
    /// A token that is not this tenant's, or was changed.
    #[error("a token that is not the caller's")]
    Foreign,
}

impl TokenRefused {
    /// What a record names as the rule.
    #[must_use]
    pub const fn rule(self) -> &'static str {
        match self {
            Self::Budget => BUDGET_RULE,
            Self::Length => LENGTH_RULE,
            Self::Foreign => FOREIGN_TOKEN_RULE,
        }
    }
}

/// A value that a token stood for, on its way to a destination that may have it. Does not print.
#[derive(Clone, PartialEq, Eq)]
pub struct Restored {
    /// Its type.
    pub detector: Detector,
    /// The value.
    pub value: Vec<u8>,
}

impl fmt::Debug for Restored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restored").field("detector", &self.detector).finish_non_exhaustive()
    }
}

/// The keys of one configuration, who may have values back, and how many were asked for.
#[derive(Debug)]
pub struct Tokens {
    /// The first makes tokens, all turn them back.
    masters: Vec<Master>,
    permits: Vec<DetokenizeRule>,
    budget: Budget,
    prefix: Finder<'static>,
}

impl Tokens {
    /// Ready for use; `None` if the configuration has no key.
    #[must_use]
    pub fn new(config: &TokensConfig, permits: &[DetokenizeRule]) -> Option<Self> {
        let masters: Vec<_> = config.keys.iter().map(|key| Master::new(&key.id, key.secret.expose())).collect();
        if masters.is_empty() {
            return None;
        }
        let (permits, budget) = (permits.to_vec(), Budget::new(config.values_per_hour));
        Some(Self { masters, permits, budget, prefix: Finder::new(PREFIX) })
    }

    /// The token of a value.
    ///
    /// # Errors
    /// The value is too long, or one too many in this hour.
    pub fn tokenize(&self, caller: &Caller<'_>, detector: Detector, value: &[u8]) -> Result<String, TokenRefused> {
        let Some(master) = self.masters.first() else { return Err(TokenRefused::Foreign) };
        if value.len() > VALUE_BYTES_MAX {
            return Err(TokenRefused::Length);
        }
        let sealed = master.seal(caller.tenant, detector.name(), value).ok_or(TokenRefused::Length)?;
        self.count(caller, &sealed)?;
        let mut token = format!("{PREFIX}{}.{}.", detector.name(), master.id());
        base32::encode(&sealed, &mut token);
        Ok(token)
    }

    /// A value of the same shape in its place, from which nobody can tell it; `None` if too few values have that shape.
    ///
    /// # Errors
    /// As for [`Tokens::tokenize`].
    pub fn pseudonymize(
        &self,
        caller: &Caller<'_>,
        detector: Detector,
        value: &str,
    ) -> Result<Option<String>, TokenRefused> {
        let Some(master) = self.masters.first() else { return Err(TokenRefused::Foreign) };
        // Without a key there is no such value either: what cannot be replaced is redacted.
        let Some(key) = master.shape_key(caller.tenant, detector.name()) else { return Ok(None) };
        let Some(replaced) = shape::replace(&key, value) else { return Ok(None) };
        self.count(caller, &shape::digest(&key, value))?;
        Ok(Some(replaced))
    }

    fn count(&self, caller: &Caller<'_>, sealed: &[u8]) -> Result<(), TokenRefused> {
        let Some((distinct, _)) = sealed.split_first_chunk::<16>() else { return Err(TokenRefused::Length) };
        self.budget.count(caller.tenant_key, caller.user_key, *distinct, caller.now.wall_ns)
    }

    /// The token that begins at or after `from`: where it lies, and what it says. Text that is no token is passed over.
    pub fn next<'t>(&self, text: &'t [u8], from: usize) -> Option<Token<'t>> {
        let mut at = from;
        loop {
            let start = at + self.prefix.find(text.get(at..)?)?;
            if let Some(token) = Token::parse(text, start) {
                return Some(token);
            }
            at = start + PREFIX.len();
        }
    }

    /// The value a token stands for.
    ///
    /// # Errors
    /// It is another tenant's, of a key that is not there, or changed.
    pub fn detokenize(&self, caller: &Caller<'_>, token: &Token<'_>) -> Result<Restored, TokenRefused> {
        let master = self.masters.iter().find(|master| master.id() == token.key).ok_or(TokenRefused::Foreign)?;
        let detector = Detector::ALL.into_iter().find(|detector| detector.name() == token.kind);
        let detector = detector.ok_or(TokenRefused::Foreign)?;
        let sealed = base32::decode(token.sealed).ok_or(TokenRefused::Foreign)?;
        let value = master.open(caller.tenant, token.kind, &sealed).ok_or(TokenRefused::Foreign)?;
        Ok(Restored { detector, value })
    }

    /// Whether the destination may have a value of this type at this JSON pointer of the body.
    #[must_use]
    pub fn permits(&self, caller: &Caller<'_>, detector: Detector, pointer: &str) -> bool {
        let Some(pointer) = pointer.strip_prefix(caller.root) else { return false };
        if pointer.len() > POINTER_BYTES_MAX {
            return false;
        }
        self.permits.iter().any(|permit| permit.admits(caller, detector, pointer))
    }
}

impl DetokenizeRule {
    fn admits(&self, caller: &Caller<'_>, detector: Detector, pointer: &str) -> bool {
        let any = |list: &[String], name: &str| list.iter().any(|listed| listed == name);
        let role = || caller.roles.iter().any(|role| any(&self.roles, role));
        self.detect.contains(&detector)
            && any(&self.tools, caller.tool)
            && (self.tenants.is_empty() || any(&self.tenants, &caller.tenant.tenant))
            && (any(&self.subjects, caller.subject) || role())
            && self.pointers.iter().any(|pattern| fits(pattern, pointer))
    }
}

/// Whether a pointer is the one that a rule names, where `*` stands for any one segment.
fn fits(pattern: &str, pointer: &str) -> bool {
    let (mut pattern, mut pointer) = (pattern.split('/'), pointer.split('/'));
    loop {
        match (pattern.next(), pointer.next()) {
            (None, None) => return true,
            (Some(wanted), Some(segment)) if wanted == "*" || wanted == segment => {}
            _ => return false,
        }
    }
}

/// Whether this byte right behind a token would be read as one of its own.
pub(super) const fn continues(byte: u8) -> bool {
    base32::is_digit(byte)
}

/// A token in a text, not yet opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token<'t> {
    /// Where it lies.
    pub range: Range<usize>,
    kind: &'t str,
    key: &'t str,
    sealed: &'t str,
}

impl<'t> Token<'t> {
    /// The token that begins at `start`, whose prefix was seen there.
    fn parse(text: &'t [u8], start: usize) -> Option<Self> {
        let rest = &text[start + PREFIX.len()..];
        let (kind, rest) = word(rest, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')?;
        let (key, rest) = word(rest.strip_prefix(b".")?, |byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())?;
        let (sealed, rest) = word(rest.strip_prefix(b".")?, base32::is_digit)?;
        if sealed.len() < SEALED_DIGITS_MIN {
            return None;
        }
        Some(Self { range: start..text.len() - rest.len(), kind, key, sealed })
    }
}

/// The longest beginning of bytes that all satisfy `is`, which are ASCII; at least one.
fn word(text: &[u8], is: impl Fn(u8) -> bool) -> Option<(&str, &[u8])> {
    let (word, rest) = text.split_at(text.iter().position(|byte| !is(*byte)).unwrap_or(text.len()));
    std::str::from_utf8(word).ok().filter(|word| !word.is_empty()).map(|word| (word, rest))
}

#[cfg(test)]
pub(super) mod tests;
