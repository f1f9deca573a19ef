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
    /// Amazon Web Services key (access key id, secret access key, session token).
    AwsKey = 4,
    /// Google Cloud key, OAuth secret or token.
    GcpKey = 5,
    /// Microsoft Azure key, client secret or shared access signature.
    AzureKey = 6,
    /// GitHub token.
    GithubToken = 7,
    /// GitLab token.
    GitlabToken = 8,
    /// Slack token or incoming webhook.
    SlackToken = 9,
    /// Stripe secret key, restricted key or webhook secret.
    StripeKey = 10,
    /// `OpenAI` key.
    OpenaiKey = 11,
    /// Anthropic key.
    AnthropicKey = 12,
    /// Private key in PEM or age form.
    PrivateKey = 13,
    /// JSON Web Token (RFC 7519).
    Jwt = 14,
    /// Password in a URL, a header or a driver's settings.
    ConnectionString = 15,
    /// Token of another provider, known by its form.
    OtherToken = 16,
    /// Value of high entropy under a secret's name.
    GenericSecret = 17,
}

impl Detector {
    /// Every detector, in numeric order.
    pub const ALL: [Self; 18] = [
        Self::UsSsn,
        Self::Email,
        Self::CreditCard,
        Self::Phone,
        Self::AwsKey,
        Self::GcpKey,
        Self::AzureKey,
        Self::GithubToken,
        Self::GitlabToken,
        Self::SlackToken,
        Self::StripeKey,
        Self::OpenaiKey,
        Self::AnthropicKey,
        Self::PrivateKey,
        Self::Jwt,
        Self::ConnectionString,
        Self::OtherToken,
        Self::GenericSecret,
    ];

    /// Those that open something, in numeric order.
    pub const SECRETS: &[Self] = Self::ALL.split_at(Self::AwsKey as usize).1;

    /// The type in reports, as corpora and other scanners name it: all secrets are `SECRET`.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::UsSsn => "US_SSN",
            Self::Email => "EMAIL",
            Self::CreditCard => "CREDIT_CARD",
            Self::Phone => "PHONE",
            _ => "SECRET",
        }
    }

    /// The name in configuration, records and placeholders.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::UsSsn => "us_ssn",
            Self::Email => "email",
            Self::CreditCard => "credit_card",
            Self::Phone => "phone",
            Self::AwsKey => "aws_key",
            Self::GcpKey => "gcp_key",
            Self::AzureKey => "azure_key",
            Self::GithubToken => "github_token",
            Self::GitlabToken => "gitlab_token",
            Self::SlackToken => "slack_token",
            Self::StripeKey => "stripe_key",
            Self::OpenaiKey => "openai_key",
            Self::AnthropicKey => "anthropic_key",
            Self::PrivateKey => "private_key",
            Self::Jwt => "jwt",
            Self::ConnectionString => "connection_string",
            Self::OtherToken => "other_token",
            Self::GenericSecret => "generic_secret",
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

impl ContentAction {
    /// The name in configuration and reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flag => "flag",
            Self::Mask => "mask",
            Self::Redact => "redact",
            Self::Block => "block",
        }
    }
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
