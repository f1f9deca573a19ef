//! Headers that repeat what the body says (MCP 2026-07-28, Streamable HTTP), and the revision they select.
//!
//! The gateway judges the body; a header that says something else would let an intermediary behind it judge another
//! call. So whatever is present must agree, in every revision, and 2026-07-28 must send what it mandates.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{McpError, Message};

/// Longest header value that is decoded; a tool's name has at most 128 characters.
const VALUE_BYTES_MAX: usize = 1_024;

/// Revision of the protocol a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revision {
    /// 2025-11-25 and earlier: initialize, sessions.
    Session,
    /// 2026-07-28: every request stands alone.
    Stateless,
}

impl Revision {
    /// The revision that `MCP-Protocol-Version` names; without it the client has not got past initialize, or is
    /// older than the header.
    ///
    /// # Errors
    /// [`McpError::UnsupportedVersion`] for one that is not served.
    pub fn of(version: Option<&[u8]>) -> Result<Self, McpError> {
        match version {
            None | Some(b"2024-11-05" | b"2025-03-26" | b"2025-06-18" | b"2025-11-25") => Ok(Self::Session),
            Some(b"2026-07-28") => Ok(Self::Stateless),
            Some(_) => Err(McpError::UnsupportedVersion),
        }
    }
}

/// The values of the mirrored headers, each of which must have come at most once.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mirrored<'a> {
    /// `MCP-Protocol-Version`
    pub version: Option<&'a [u8]>,
    /// `Mcp-Method`
    pub method: Option<&'a [u8]>,
    /// `Mcp-Name`
    pub name: Option<&'a [u8]>,
}

impl Mirrored<'_> {
    /// Compares the headers with the message they came with.
    ///
    /// # Errors
    /// [`McpError::HeaderMismatch`] or [`McpError::UnsupportedVersion`].
    pub fn check(&self, message: &Message<'_>) -> Result<Revision, McpError> {
        let revision = Revision::of(self.version)?;
        let mandatory = revision == Revision::Stateless;
        let declared = message
            .params
            .and_then(|params| params.get("_meta"))
            .and_then(|meta| meta.get("io.modelcontextprotocol/protocolVersion"));
        let version_agrees = match (self.version, declared) {
            (Some(version), Some(declared)) => declared.as_str().map(str::as_bytes) == Some(version),
            // A version the body declares and the header does not: whoever reads headers sees another revision.
            (None, Some(_)) => false,
            (_, None) => true,
        };
        let named = match message.method {
            "tools/call" | "prompts/get" => message.params.and_then(|params| params.get("name")),
            "resources/read" => message.params.and_then(|params| params.get("uri")),
            _ => None,
        };
        let method = Some(message.method).filter(|method| !method.is_empty());
        let agrees = version_agrees
            && same(self.method, method, mandatory)
            && same(self.name, named.and_then(|name| name.as_str()), mandatory);
        if agrees { Ok(revision) } else { Err(McpError::HeaderMismatch) }
    }
}

fn same(header: Option<&[u8]>, body: Option<&str>, mandatory: bool) -> bool {
    match (header, body) {
        (None, None) => true,
        (None, Some(_)) => !mandatory,
        (Some(_), None) => false,
        (Some(header), Some(body)) => header == body.as_bytes() || decode(header).as_deref() == Some(body.as_bytes()),
    }
}

/// The value of `=?base64?…?=`; `None` for anything else.
fn decode(value: &[u8]) -> Option<Vec<u8>> {
    let encoded = value.strip_prefix(b"=?base64?")?.strip_suffix(b"?=")?;
    if encoded.len() > VALUE_BYTES_MAX {
        return None;
    }
    STANDARD.decode(encoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::Walker;
    use crate::protocol::mcp::LIMITS;

    #[track_caller]
    fn check(headers: Mirrored<'_>, params: &str, expected: Result<Revision, McpError>) {
        let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#);
        let mut walker = Walker::new();
        let message = Message::read(walker.walk(body.as_bytes(), &LIMITS).unwrap()).unwrap();
        assert_eq!(headers.check(&message), expected, "{headers:?} {body}");
    }

    const NEW: Option<&[u8]> = Some(b"2026-07-28");
    const CALL: Option<&[u8]> = Some(b"tools/call");

    #[test]
    fn the_stateless_revision_must_mirror_method_and_name() {
        let params = r#"{"name":"crm"}"#;
        let headers = Mirrored { version: NEW, method: CALL, name: Some(b"crm") };
        check(headers, params, Ok(Revision::Stateless));
        check(Mirrored { name: None, ..headers }, params, Err(McpError::HeaderMismatch));
        check(Mirrored { method: None, ..headers }, params, Err(McpError::HeaderMismatch));
        check(Mirrored { name: Some(b"CRM"), ..headers }, params, Err(McpError::HeaderMismatch));
        check(Mirrored { method: Some(b"tools/list"), ..headers }, params, Err(McpError::HeaderMismatch));
    }

    #[test]
    fn earlier_revisions_need_no_mirror_but_may_not_contradict() {
        let params = r#"{"name":"crm"}"#;
        check(Mirrored::default(), params, Ok(Revision::Session));
        check(Mirrored { version: Some(b"2025-06-18"), ..Mirrored::default() }, params, Ok(Revision::Session));
        check(Mirrored { name: Some(b"other"), ..Mirrored::default() }, params, Err(McpError::HeaderMismatch));
        check(
            Mirrored { version: Some(b"2031-01-01"), ..Mirrored::default() },
            params,
            Err(McpError::UnsupportedVersion),
        );
    }

    #[test]
    fn encoded_names_are_decoded() {
        let headers = Mirrored { version: NEW, method: CALL, name: Some(b"=?base64?Y2Fmw6k=?=") };
        check(headers, r#"{"name":"caf\u00e9"}"#, Ok(Revision::Stateless));
        check(headers, r#"{"name":"cafe"}"#, Err(McpError::HeaderMismatch));
        let broken = Mirrored { name: Some(b"=?base64?*?="), ..headers };
        check(broken, r#"{"name":"caf\u00e9"}"#, Err(McpError::HeaderMismatch));
    }

    #[test]
    fn the_version_in_meta_must_be_the_header_s() {
        let meta = |version: &str| {
            format!(r#"{{"name":"crm","_meta":{{"io.modelcontextprotocol/protocolVersion":"{version}"}}}}"#)
        };
        let headers = Mirrored { version: NEW, method: CALL, name: Some(b"crm") };
        check(headers, &meta("2026-07-28"), Ok(Revision::Stateless));
        check(headers, &meta("2025-06-18"), Err(McpError::HeaderMismatch));
        check(Mirrored::default(), &meta("2026-07-28"), Err(McpError::HeaderMismatch));
    }
}
