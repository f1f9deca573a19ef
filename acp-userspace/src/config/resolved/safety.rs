//! Content rules: what is looked for, and what happens to it.

use std::sync::Arc;

use super::Mode;

/// `[safety]`.
#[derive(Debug, Default)]
pub struct SafetyConfig {
    /// Rules in file order; of several that match a finding the strictest acts (block > redact > mask > flag).
    pub rules: Vec<SafetyRule>,
}

/// One `[[safety.rule]]`.
#[derive(Debug, Clone)]
pub struct SafetyRule {
    /// Stable id, for records (default `safety.rule.N`).
    pub id: Arc<str>,
    /// What it looks for.
    pub detect: Vec<Detector>,
    /// What happens.
    pub action: ContentAction,
    /// Which way.
    pub direction: Direction,
    /// Route names it is limited to; empty = all.
    pub routes: Vec<String>,
    /// Enforce or observe.
    pub mode: Mode,
}

/// What can be detected.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Detector {
    /// US social security number.
    UsSsn = 0,
    /// E-mail address.
    Email = 1,
    /// Payment card number (ISO/IEC 7812, Luhn).
    CreditCard = 2,
    /// Telephone number.
    Phone = 3,
}

impl Detector {
    /// Every detector, in numeric order.
    pub const ALL: [Self; 4] = [Self::UsSsn, Self::Email, Self::CreditCard, Self::Phone];

    /// The name in configuration, records and placeholders.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UsSsn => "us_ssn",
            Self::Email => "email",
            Self::CreditCard => "credit_card",
            Self::Phone => "phone",
        }
    }
}

/// What a rule does with a finding, in rising strictness.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContentAction {
    /// Record only.
    Flag,
    /// Keep the last four characters, star the rest.
    Mask,
    /// Replace by `[REDACTED:<type>]`.
    Redact,
    /// Refuse the request, or withhold the answer.
    Block,
}

/// Which way content flows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// Client to upstream.
    Request,
    /// Upstream to client.
    Response,
    /// Both ways.
    #[default]
    Both,
}
