//! Reason codes: one enum shared by responses, audit and metrics, and the one function that turns a reason into a
//! status. docs/reason-codes.md lists them; a test keeps the two equal.

/// What [`Reason::layer`] says, in the order of the request path.
pub const LAYERS: &[&str] =
    &["allowed", "protocol", "identity", "safety", "policy", "usage", "routing", "upstream", "audit", "gateway"];

macro_rules! reasons {
    ($($(#[doc = $doc:literal])+ $variant:ident = $code:literal, $status:literal, $title:literal;)+) => {
        /// Why a request ended as it did. The code is stable: operators alert on it, clients branch on it.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason { $($(#[doc = $doc])+ $variant,)+ }

        impl Reason {
            /// Every reason, in table order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable code, as it appears in `type`, audit and metrics.
            #[must_use]
            pub const fn code(self) -> &'static str { match self { $(Self::$variant => $code,)+ } }

            /// The HTTP status it is answered with (0: never answered).
            #[must_use]
            pub const fn status(self) -> u16 { match self { $(Self::$variant => $status,)+ } }

            /// RFC 9457 `title`: the same words for every occurrence.
            #[must_use]
            pub const fn title(self) -> &'static str { match self { $(Self::$variant => $title,)+ } }

            /// What it means, for docs/reason-codes.md.
            #[must_use]
            pub const fn meaning(self) -> &'static str { match self { $(Self::$variant => concat!($($doc,)+),)+ } }
        }
    };
}

reasons! {
    /// All layers agreed and the upstream answered.
    Allowed = "allowed", 200, "Allowed";
    /// The head breaks RFC 9112 or is ambiguous; the connection closes.
    MalformedRequest = "malformed_request", 400, "Malformed request";
    /// Content-Length and Transfer-Encoding leave the body's end open to two readings; the connection closes.
    AmbiguousFraming = "ambiguous_framing", 400, "Ambiguous framing";
    /// The target does not normalise to one path (encoded slash, dot segments, fragment, bad percent-encoding).
    AmbiguousPath = "ambiguous_path", 400, "Ambiguous path";
    /// More than one Authorization field.
    DuplicateAuthorization = "duplicate_authorization", 400, "More than one Authorization field";
    /// The body is not the JSON it has to be.
    InvalidJson = "invalid_json", 400, "Invalid JSON";
    /// An object holds the same key twice, so two readers could see two requests.
    DuplicateKey = "duplicate_key", 400, "Duplicate JSON key";
    /// The JSON-RPC envelope breaks MCP's rules.
    InvalidRpc = "invalid_rpc", 400, "Invalid JSON-RPC message";
    /// No bearer token came with the request.
    MissingToken = "missing_token", 401, "A bearer token is required";
    /// The token is malformed, uses a refused algorithm, or its signature does not verify.
    InvalidToken = "invalid_token", 401, "The token is not valid";
    /// The token's `exp` has passed.
    ExpiredToken = "expired_token", 401, "The token has expired";
    /// The token's `nbf` lies ahead.
    TokenNotYetValid = "token_not_yet_valid", 401, "The token is not valid yet";
    /// The token was issued for another service.
    WrongAudience = "wrong_audience", 401, "The token is for another audience";
    /// No configured issuer has this `iss`.
    UnknownIssuer = "unknown_issuer", 401, "The token's issuer is not trusted";
    /// The issuer has no key of this `kid`.
    UnknownKey = "unknown_key", 401, "The token's key is not known";
    /// `exp - iat` exceeds identity.token_lifetime_max.
    TokenLifetime = "token_lifetime", 401, "The token lives too long";
    /// The token or its subject was revoked.
    RevokedToken = "revoked_token", 401, "The token was revoked";
    /// The issuer may not assert this tenant.
    TenantNotAllowed = "tenant_not_allowed", 403, "The issuer may not assert this tenant";
    /// An operator put the tenant in quarantine; the connection closes.
    TenantQuarantined = "tenant_quarantined", 403, "The tenant is in quarantine";
    /// The token lacks a scope the route needs.
    InsufficientScope = "insufficient_scope", 403, "More scope is needed";
    /// A safety rule blocks what the content holds.
    ContentBlocked = "content_blocked", 403, "Blocked by a content rule";
    /// No policy permits the call, or one forbids it.
    PolicyDenied = "policy_denied", 403, "Not permitted";
    /// A policy could not be evaluated; it denies.
    PolicyError = "policy_error", 403, "Not permitted";
    /// An edit would change an argument that the deciding policies read.
    EditConflict = "edit_conflict", 403, "Not permitted as it would be sent";
    /// No route has this path.
    UnknownRoute = "unknown_route", 404, "Not found";
    /// The route has no such tool, or the caller may not see it.
    UnknownTool = "unknown_tool", 404, "Not found";
    /// The method is not served here.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed";
    /// Head or body did not arrive in time.
    RequestTimeout = "request_timeout", 408, "The request came too slowly";
    /// The body exceeds the route's bound.
    BodyTooLarge = "body_too_large", 413, "The body is too large";
    /// Content type, charset or encoding is not one the route takes.
    UnsupportedMediaType = "unsupported_media_type", 415, "The body's type is not supported";
    /// `Expect` holds something other than 100-continue.
    ExpectationFailed = "expectation_failed", 417, "Expectation failed";
    /// A rate limit is exhausted.
    RateLimited = "rate_limited", 429, "Rate limit exceeded";
    /// The call would exceed a budget.
    QuotaExceeded = "quota_exceeded", 429, "Budget exceeded";
    /// Too many identical calls in the window.
    LoopDetected = "loop_detected", 429, "Identical calls in a loop";
    /// Too many denied requests; the denial bucket is empty.
    DenialLimited = "denial_limited", 429, "Too many denied requests";
    /// The tenant holds its share of limiter slots or calls in flight.
    TenantShare = "tenant_share", 429, "The tenant's share is used up";
    /// Head larger than the bound, or too many fields.
    HeadTooLarge = "head_too_large", 431, "The head is too large";
    /// The client closed before its answer was due.
    ClientClosed = "client_closed", 499, "Client closed the request";
    /// A bug of ours; the connection closes.
    Internal = "internal", 500, "Internal error";
    /// The upstream cannot be reached or closed early.
    UpstreamFailed = "upstream_failed", 502, "The upstream failed";
    /// The upstream's answer breaks HTTP framing.
    UpstreamFraming = "upstream_framing", 502, "The upstream's answer is malformed";
    /// The upstream refused the gateway's own credentials.
    UpstreamAuth = "upstream_auth", 502, "The upstream refused the gateway";
    /// The upstream's name resolves to an address it must not have.
    AddressBlocked = "address_blocked", 502, "The upstream's address is not allowed";
    /// The answer cannot be screened although a rule says it must be.
    ResponseUnscannable = "response_unscannable", 502, "The answer cannot be screened";
    /// The audit log cannot take the record; nothing is sent that cannot be recorded.
    AuditUnavailable = "audit_unavailable", 503, "Audit is unavailable";
    /// The spend ledger cannot grant a lease.
    LedgerUnavailable = "ledger_unavailable", 503, "The ledger is unavailable";
    /// The issuer's keys cannot be had.
    KeysUnavailable = "keys_unavailable", 503, "Keys are unavailable";
    /// The scanner failed; unscreened content is not passed on.
    ScannerFailed = "scanner_failed", 503, "Content could not be screened";
    /// A bound on buffers is reached, or the request's turn did not come within a second.
    Overloaded = "overloaded", 503, "Overloaded";
    /// The upstream did not answer in time.
    UpstreamTimeout = "upstream_timeout", 504, "The upstream was too slow";
}

impl Reason {
    /// The layer that decides so, for views that sum up: one of [`LAYERS`].
    #[must_use]
    pub const fn layer(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::MalformedRequest
            | Self::AmbiguousFraming
            | Self::AmbiguousPath
            | Self::InvalidJson
            | Self::DuplicateKey
            | Self::InvalidRpc
            | Self::RequestTimeout
            | Self::BodyTooLarge
            | Self::UnsupportedMediaType
            | Self::ExpectationFailed
            | Self::HeadTooLarge => "protocol",
            Self::DuplicateAuthorization
            | Self::MissingToken
            | Self::InvalidToken
            | Self::ExpiredToken
            | Self::TokenNotYetValid
            | Self::WrongAudience
            | Self::UnknownIssuer
            | Self::UnknownKey
            | Self::TokenLifetime
            | Self::RevokedToken
            | Self::TenantNotAllowed
            | Self::TenantQuarantined
            | Self::KeysUnavailable => "identity",
            Self::ContentBlocked | Self::ResponseUnscannable | Self::ScannerFailed => "safety",
            Self::InsufficientScope | Self::PolicyDenied | Self::PolicyError | Self::EditConflict => "policy",
            Self::RateLimited
            | Self::QuotaExceeded
            | Self::LoopDetected
            | Self::DenialLimited
            | Self::TenantShare
            | Self::LedgerUnavailable => "usage",
            Self::UnknownRoute | Self::UnknownTool | Self::MethodNotAllowed | Self::AddressBlocked => "routing",
            Self::UpstreamFailed | Self::UpstreamFraming | Self::UpstreamAuth | Self::UpstreamTimeout => "upstream",
            Self::AuditUnavailable => "audit",
            Self::ClientClosed | Self::Internal | Self::Overloaded => "gateway",
        }
    }

    /// RFC 9457 `type`: a stable URI reference.
    #[must_use]
    pub fn type_uri(self) -> String {
        format!("urn:acp:reason:{}", self.code())
    }

    /// The reason of a code, as audit readers need it.
    #[must_use]
    pub fn from_code(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }

    /// The connection cannot be used again: its framing is in doubt, or its client is too slow.
    #[must_use]
    pub const fn closes_connection(self) -> bool {
        matches!(
            self,
            Self::MalformedRequest
                | Self::AmbiguousFraming
                | Self::DuplicateAuthorization
                | Self::RequestTimeout
                | Self::TenantQuarantined
                | Self::HeadTooLarge
                | Self::ClientClosed
                | Self::Internal
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_documentation_lists_every_reason() {
        const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reason-codes.md");
        const BEGIN: &str = "<!-- reasons: begin -->\n";
        const END: &str = "<!-- reasons: end -->\n";
        let docs = std::fs::read_to_string(DOCS).unwrap();
        let (before, rest) = docs.split_once(BEGIN).expect("the begin mark");
        let (now, after) = rest.split_once(END).expect("the end mark");
        let mut table = "| code | status | title | when | connection |\n|---|---|---|---|---|\n".to_owned();
        for reason in Reason::ALL {
            let after = if reason.closes_connection() { "closes" } else { "stays" };
            let (code, status, title) = (reason.code(), reason.status(), reason.title());
            table.push_str(&format!("| `{code}` | {status} | {title} | {} | {after} |\n", reason.meaning().trim()));
        }
        if std::env::var_os("ACP_BLESS").is_some() {
            std::fs::write(DOCS, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
        } else {
            assert!(now == table, "docs/reason-codes.md is out of date; run this test with ACP_BLESS=1");
        }
    }

    #[test]
    fn codes_are_unique_and_found_again() {
        let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(*reason));
        }
    }
}
