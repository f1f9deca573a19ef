//! `WWW-Authenticate` for what identity and scopes refuse (RFC 6750 §3, RFC 9728 §5.1).
//!
//! A request without credentials learns how to get some and no error code (RFC 6750 §3.1); a bad token learns
//! `invalid_token` and the reason's title; a short one learns every scope it needs at once. All of it comes from the
//! configuration and from our own fixed texts, nothing from the caller.

use crate::reason::Reason;

/// What the field has to say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Challenge {
    /// Come back with a token.
    NoCredentials,
    /// The token is no good; the text says why.
    InvalidToken(&'static str),
    /// The token lacks a scope.
    InsufficientScope,
}

impl Challenge {
    /// The challenge that belongs to a refusal: for every 401, and for 403 `insufficient_scope`.
    #[must_use]
    pub fn of(reason: Reason) -> Option<Self> {
        match reason {
            Reason::MissingToken => Some(Self::NoCredentials),
            Reason::InsufficientScope => Some(Self::InsufficientScope),
            reason if reason.status() == 401 => Some(Self::InvalidToken(reason.title())),
            _ => None,
        }
    }

    /// Appends the field's value to `out`. `resource_metadata` is the URL of the protected-resource metadata, if there is
    /// one; `scopes` are those the route needs.
    pub fn write(self, out: &mut Vec<u8>, resource_metadata: Option<&str>, scopes: &[String]) {
        out.extend_from_slice(b"Bearer realm=\"acp\"");
        if let Some(url) = resource_metadata {
            parameter(out, "resource_metadata", [url]);
        }
        match self {
            Self::NoCredentials => {}
            Self::InvalidToken(description) => {
                parameter(out, "error", ["invalid_token"]);
                parameter(out, "error_description", [description]);
            }
            Self::InsufficientScope => parameter(out, "error", ["insufficient_scope"]),
        }
        if !scopes.is_empty() {
            parameter(out, "scope", scopes.iter().map(String::as_str));
        }
    }
}

/// `, name="a b"` with the words joined by spaces. Bytes a quoted-string cannot hold (RFC 9110 §5.6.4) are left out.
fn parameter<'a>(out: &mut Vec<u8>, name: &str, words: impl IntoIterator<Item = &'a str>) {
    out.extend_from_slice(b", ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    for (i, word) in words.into_iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        for byte in word.bytes().filter(|byte| (b' '..=b'~').contains(byte)) {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(reason: Reason, metadata: Option<&str>, scopes: &[&str], expected: &str) {
        let mut out = Vec::new();
        let scopes: Vec<_> = scopes.iter().map(ToString::to_string).collect();
        Challenge::of(reason).unwrap().write(&mut out, metadata, &scopes);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn no_credentials_get_no_error_code() {
        check(Reason::MissingToken, None, &[], r#"Bearer realm="acp""#);
        check(
            Reason::MissingToken,
            Some("https://a/.well-known/oauth-protected-resource"),
            &["tool:crm:read", "tool:crm:write"],
            r#"Bearer realm="acp", resource_metadata="https://a/.well-known/oauth-protected-resource", scope="tool:crm:read tool:crm:write""#,
        );
    }

    #[test]
    fn a_bad_token_is_told_why_and_a_short_one_what_it_lacks() {
        let expired = r#"Bearer realm="acp", error="invalid_token", error_description="The token has expired""#;
        check(Reason::ExpiredToken, None, &[], expired);
        let short = r#"Bearer realm="acp", error="insufficient_scope", scope="a b""#;
        check(Reason::InsufficientScope, None, &["a", "b"], short);
    }

    #[test]
    fn only_401_and_insufficient_scope_are_challenges() {
        for reason in Reason::ALL {
            let expected = reason.status() == 401 || *reason == Reason::InsufficientScope;
            assert_eq!(Challenge::of(*reason).is_some(), expected, "{reason:?}");
        }
    }

    #[test]
    fn quotes_cannot_end_the_parameter() {
        check(Reason::MissingToken, Some("a\"b\\c\r\nd"), &[], r#"Bearer realm="acp", resource_metadata="a\"b\\cd""#);
    }
}
