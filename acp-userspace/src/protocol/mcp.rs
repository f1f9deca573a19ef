//! Model Context Protocol: what one POST says, and the few messages the gateway writes itself.
//!
//! A body is one JSON-RPC 2.0 message (batches left the protocol with 2025-06-18). [`Message::read`] checks its envelope
//! strictly: a member that JSON-RPC does not name, a null id or positional params are refused, because the
//! gateway judges what it reads and the upstream acts on what *it* reads. Walk the body with
//! [`LIMITS`], so that look-alike keys in envelope, params and top-level arguments are refused too (THREATS A9).
//!
//! [`headers`] compares the headers that revision 2026-07-28 mirrors from the body, [`sse`] finds the messages in an
//! event stream that was read whole, [`tools`] filters `tools/list` answers, [`mod@write`] makes errors and refusals.
//! Which tool is visible, and what a caller may do, is decided elsewhere.
//!
//! Revisions 2025-06-18 and 2025-11-25 (initialize, opaque `Mcp-Session-Id`) and 2026-07-28 (stateless) are served.

use super::json::{DEPTH_MAX, Document, Kind as Json, Limits, Node, Number};
use crate::reason::Reason;

pub mod headers;
pub mod sse;
pub mod tools;
pub mod write;

/// How bodies of MCP routes are walked: envelope, params and the arguments' own keys are compared folded.
pub const LIMITS: Limits = Limits { depth: DEPTH_MAX, nodes: 1 << 18, folded_depth: 3 };

/// Methods that are passed on; every other is refused (THREATS A17).
pub const METHODS: [&str; 6] =
    ["initialize", "notifications/initialized", "ping", "server/discover", "tools/list", "tools/call"];

/// JSON-RPC error codes used here: JSON-RPC 2.0 §5.1, and MCP's own range.
pub mod code {
    /// The body is no JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// The envelope is not a request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// The method is not served.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// Unknown tool; also a tool the caller may not see, which must look the same.
    pub const INVALID_PARAMS: i32 = -32602;
    /// The gateway failed.
    pub const INTERNAL_ERROR: i32 = -32603;
    /// `HeaderMismatch`: a mirrored header differs from the body, or is missing (2026-07-28).
    pub const HEADER_MISMATCH: i32 = -32020;
    /// `UnsupportedProtocolVersion` (2026-07-28).
    pub const UNSUPPORTED_VERSION: i32 = -32022;
}

/// Why a body is no MCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum McpError {
    /// An array: several messages in one POST.
    #[error("batches are not part of the protocol")]
    Batch,
    /// Not an object.
    #[error("a message is an object")]
    NotAnObject,
    /// A member no JSON-RPC message has, or members of two kinds together.
    #[error("the envelope's members do not make one message")]
    Envelope,
    /// `jsonrpc` is missing or not "2.0".
    #[error("jsonrpc must be \"2.0\"")]
    Version,
    /// `id` is neither a string nor an integer.
    #[error("id must be a string or an integer")]
    Id,
    /// `params` is not an object.
    #[error("params must be an object")]
    Params,
    /// `tools/call` without a name, or with arguments that are no object.
    #[error("tools/call needs a name, and arguments only as an object")]
    Call,
    /// A mirrored header is missing, malformed, or differs from the body.
    #[error("a mirrored header does not match the body")]
    HeaderMismatch,
    /// `MCP-Protocol-Version` names a revision that is not served.
    #[error("the protocol version is not supported")]
    UnsupportedVersion,
}

impl McpError {
    /// The refusal's reason code; its status is 400, as the transport demands.
    #[must_use]
    pub const fn reason(&self) -> Reason {
        Reason::InvalidRpc
    }

    /// The JSON-RPC error code to answer with.
    #[must_use]
    pub const fn code(&self) -> i32 {
        match self {
            Self::HeaderMismatch => code::HEADER_MISMATCH,
            Self::UnsupportedVersion => code::UNSUPPORTED_VERSION,
            Self::Params | Self::Call => code::INVALID_PARAMS,
            _ => code::INVALID_REQUEST,
        }
    }
}

/// What a message is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer: `id` and `method`.
    Request,
    /// Wants none: `method` only; answered 202.
    Notification,
    /// Answers the server: `id` and `result` or `error`. Refused by the pipeline until server-initiated requests are
    /// tracked (THREATS A17).
    Response,
}

/// One message, borrowed from the walked body.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// What it is.
    pub kind: Kind,
    /// A string or an integer, as the client wrote it; echoed by its token.
    pub id: Option<Node<'a>>,
    /// The method; empty for a response.
    pub method: &'a str,
    /// An object, if present.
    pub params: Option<Node<'a>>,
    /// The tool and its arguments, when the method is `tools/call`.
    pub call: Option<ToolCall<'a>>,
}

/// The part of a `tools/call` that is judged.
#[derive(Debug, Clone, Copy)]
pub struct ToolCall<'a> {
    /// The tool's name, byte for byte.
    pub name: &'a str,
    /// Its arguments: an object, if present.
    pub arguments: Option<Node<'a>>,
}

impl<'a> Message<'a> {
    /// Reads the one message of `document`.
    ///
    /// # Errors
    /// The first rule of the envelope that it breaks. [`Message::id_of`] still finds the id to answer to.
    pub fn read(document: Document<'a>) -> Result<Self, McpError> {
        let root = document.root();
        match root.kind() {
            Json::Object => {}
            Json::Array => return Err(McpError::Batch),
            _ => return Err(McpError::NotAnObject),
        }
        let envelope = Envelope::read(root)?;
        let kind = envelope.kind()?;
        let method = match envelope.method {
            Some(method) => method.as_str().ok_or(McpError::Envelope)?,
            None => "",
        };
        if envelope.params.is_some_and(|params| params.kind() != Json::Object) {
            return Err(McpError::Params);
        }
        let call = if method == "tools/call" { Some(tool_call(kind, envelope.params)?) } else { None };
        Ok(Self { kind, id: envelope.id, method, params: envelope.params, call })
    }

    /// Whether the method is one that is passed on.
    #[must_use]
    pub fn is_served(&self) -> bool {
        METHODS.contains(&self.method) && (self.kind == Kind::Notification) == self.method.starts_with("notifications/")
    }

    /// The id of a message that [`Message::read`] refused, if it has a usable one.
    #[must_use]
    pub fn id_of(document: Document<'a>) -> Option<Node<'a>> {
        document.root().get("id").filter(is_id)
    }
}

/// The members JSON-RPC names.
#[derive(Default)]
struct Envelope<'a> {
    id: Option<Node<'a>>,
    method: Option<Node<'a>>,
    params: Option<Node<'a>>,
    /// `result` or `error`, not both.
    answer: Option<Node<'a>>,
}

impl<'a> Envelope<'a> {
    fn read(root: Node<'a>) -> Result<Self, McpError> {
        let mut envelope = Self::default();
        let mut version = None;
        for (key, value) in root.members() {
            match key.text() {
                Some("jsonrpc") => version = value.as_str(),
                Some("id") => envelope.id = Some(value),
                Some("method") => envelope.method = Some(value),
                Some("params") => envelope.params = Some(value),
                Some("result" | "error") if envelope.answer.is_none() => envelope.answer = Some(value),
                _ => return Err(McpError::Envelope),
            }
        }
        if version == Some("2.0") { Ok(envelope) } else { Err(McpError::Version) }
    }

    fn kind(&self) -> Result<Kind, McpError> {
        if self.id.is_some_and(|id| !is_id(&id)) {
            return Err(McpError::Id);
        }
        match (self.id, self.method, self.answer) {
            (Some(_), Some(_), None) => Ok(Kind::Request),
            (None, Some(_), None) => Ok(Kind::Notification),
            (Some(_), None, Some(_)) if self.params.is_none() => Ok(Kind::Response),
            _ => Err(McpError::Envelope),
        }
    }
}

fn is_id(id: &Node<'_>) -> bool {
    id.as_str().is_some() || matches!(id.number(), Some(Number::Int(_)))
}

fn tool_call<'a>(kind: Kind, params: Option<Node<'a>>) -> Result<ToolCall<'a>, McpError> {
    let params = params.filter(|_| kind == Kind::Request).ok_or(McpError::Call)?;
    let name = params.get("name").and_then(|name| name.as_str()).filter(|name| !name.is_empty());
    let arguments = params.get("arguments");
    if arguments.is_some_and(|arguments| arguments.kind() != Json::Object) {
        return Err(McpError::Call);
    }
    Ok(ToolCall { name: name.ok_or(McpError::Call)?, arguments })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::json::Walker;

    #[track_caller]
    fn check(body: &str, expected: Result<(Kind, &str), McpError>) {
        let mut walker = Walker::new();
        let document = walker.walk(body.as_bytes(), &LIMITS).expect("valid JSON");
        let read = Message::read(document).map(|message| (message.kind, message.method));
        assert_eq!(read, expected, "{body}");
    }

    #[test]
    fn reads_the_three_kinds_of_message() {
        check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, Ok((Kind::Request, "tools/list")));
        check(r#"{"jsonrpc":"2.0","id":"a","method":"ping","params":{}}"#, Ok((Kind::Request, "ping")));
        check(r#"{"method":"notifications/x","jsonrpc":"2.0"}"#, Ok((Kind::Notification, "notifications/x")));
        check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Ok((Kind::Response, "")));
    }

    #[test]
    fn refuses_envelopes_that_two_readers_could_take_differently() {
        check(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#, Err(McpError::Batch));
        check(r#""ping""#, Err(McpError::NotAnObject));
        check(r#"{"id":1,"method":"ping"}"#, Err(McpError::Version));
        check(r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Err(McpError::Version));
        check(r#"{"jsonrpc":"2.0","id":null,"method":"ping"}"#, Err(McpError::Id));
        check(r#"{"jsonrpc":"2.0","id":1.5,"method":"ping"}"#, Err(McpError::Id));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#, Err(McpError::Envelope));
        check(r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, Err(McpError::Envelope));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}"#, Err(McpError::Envelope));
        check(r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Err(McpError::Envelope));
        check(r#"{"jsonrpc":"2.0","id":1}"#, Err(McpError::Envelope));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}"#, Err(McpError::Params));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call"}"#, Err(McpError::Call));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":7}}"#, Err(McpError::Call));
        check(r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":""}}"#, Err(McpError::Call));
        check(r#"{"jsonrpc":"2.0","method":"tools/call","params":{"name":"a"}}"#, Err(McpError::Call));
        let list = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":[]}}"#;
        check(list, Err(McpError::Call));
    }

    #[test]
    fn look_alike_keys_of_the_envelope_do_not_walk() {
        let mut walker = Walker::new();
        for body in [
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","Method":"tools/call"}"#,
            r#"{"method":"tools/call","params":{"name":"a","NAME":"b"}}"#,
            r#"{"method":"tools/call","params":{"name":"a","arguments":{"amount":1,"amou\u200bnt":2}}}"#,
        ] {
            assert_eq!(walker.walk(body.as_bytes(), &LIMITS).unwrap_err().reason(), Reason::DuplicateKey);
        }
    }

    #[test]
    fn a_tool_call_shows_its_name_and_arguments() {
        let body =
            br#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"caf\u00e9","arguments":{"a":1}}}"#;
        let mut walker = Walker::new();
        let message = Message::read(walker.walk(body, &LIMITS).unwrap()).unwrap();
        let call = message.call.unwrap();
        assert_eq!(call.name, "caf\u{e9}");
        assert_eq!(call.arguments.unwrap().token(), r#"{"a":1}"#);
        assert_eq!(message.id.unwrap().token(), "9");
        assert!(message.is_served());
    }

    #[test]
    fn only_listed_methods_are_served_and_only_as_what_they_are() {
        #[track_caller]
        fn check(body: &str, served: bool) {
            let mut walker = Walker::new();
            let document = walker.walk(body.as_bytes(), &LIMITS).unwrap();
            assert_eq!(Message::read(document).unwrap().is_served(), served, "{body}");
        }
        check(r#"{"jsonrpc":"2.0","id":1,"method":"server/discover"}"#, true);
        check(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, true);
        check(r#"{"jsonrpc":"2.0","id":1,"method":"notifications/initialized"}"#, false);
        check(r#"{"jsonrpc":"2.0","method":"tools/list"}"#, false);
        check(r#"{"jsonrpc":"2.0","id":1,"method":"resources/read","params":{"uri":"file:///"}}"#, false);
        check(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, false);
    }
}
