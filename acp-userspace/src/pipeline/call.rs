//! What a request asks for, read from path and body: a tool and its arguments, or a message of the route's protocol.

use std::borrow::Cow;
use std::sync::Arc;

use aws_lc_rs::hmac;

use super::trail::{RpcReply, Stop, Trail};
use crate::audit::record::{KeyedDigest, Layer};
use crate::config::resolved::{Protocol, Route, Tool};
use crate::http::head::RequestHead;
use crate::policy::{Argument, ArgumentView, Resource};
use crate::protocol::json::{self, Kind, Node, Walker};
use crate::protocol::mcp::headers::{Mirrored, Revision};
use crate::protocol::mcp::{self, Message};
use crate::protocol::multipart::{self, Part};
use crate::reason::Reason;
use crate::routing::Target;
use crate::safety::{self, Body, Content, Edit};

/// A call, borrowing from the body.
pub(super) struct Call<'a> {
    /// The tool; `None` for a message of the protocol itself.
    pub(super) tool: Option<&'a Arc<Tool>>,
    body: Body<'a>,
    /// What policies read as `context.arguments`.
    arguments: Option<Node<'a>>,
    /// JSON pointer of `arguments` in the body.
    root: &'static str,
    /// The body as a form in parts, if it is one.
    form: Option<(&'a [u8], Vec<Part>)>,
    /// A `tools/list`, in this revision.
    pub(super) tool_list: Option<Revision>,
}

impl<'a> Call<'a> {
    /// Reads the body of a request; `tool` is what the path named, on HTTP routes.
    pub(super) fn read(
        walker: &'a mut Walker,
        head: &RequestHead<'_>,
        target: &Target<'a, '_>,
        tool: Option<&'a Arc<Tool>>,
        bytes: &'a [u8],
        trail: &mut Trail,
    ) -> Result<Self, Stop> {
        match target.route().protocol {
            Protocol::Http => Self::http(walker, head, target.route(), tool, bytes),
            Protocol::Mcp => Self::mcp(walker, head, target, bytes, trail),
        }
    }

    fn http(
        walker: &'a mut Walker,
        head: &RequestHead<'_>,
        route: &Route,
        tool: Option<&'a Arc<Tool>>,
        bytes: &'a [u8],
    ) -> Result<Self, Stop> {
        let call = |body, arguments| Self { tool, body, arguments, root: "", form: None, tool_list: None };
        if bytes.is_empty() {
            return Ok(call(Body::Empty, None));
        }
        let declared = media_type(head)?;
        let is_json = declared.eq_ignore_ascii_case("application/json");
        if !is_json && !route.content_types.iter().any(|listed| listed.eq_ignore_ascii_case(declared)) {
            return Err(undecodable("the route does not take this content type"));
        }
        if declared.eq_ignore_ascii_case("multipart/form-data") {
            let named = head.only("content-type").and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
            let parts = multipart::boundary(named).and_then(|boundary| multipart::parts(bytes, boundary));
            let form = Some((bytes, parts.map_err(|error| undecodable("").detail(error.to_string()))?));
            return Ok(Self { form, ..call(Body::Raw(bytes), None) });
        }
        // What parses as JSON is JSON, whatever its Content-Type says (THREATS A9).
        match walker.walk(bytes, &json::Limits::default()) {
            Ok(document) => Ok(call(Body::Json(document), Some(document.root()))),
            Err(error) if is_json || is_unread_json(&error) => Err(bad_json(error)),
            Err(_) if declared.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                Ok(call(Body::Form(bytes), None))
            }
            Err(_) => Ok(call(Body::Raw(bytes), None)),
        }
    }

    fn mcp(
        walker: &'a mut Walker,
        head: &RequestHead<'_>,
        target: &Target<'a, '_>,
        bytes: &'a [u8],
        trail: &mut Trail,
    ) -> Result<Self, Stop> {
        if !media_type(head)?.eq_ignore_ascii_case("application/json") {
            return Err(undecodable("an MCP message is application/json"));
        }
        let document = match walker.walk(bytes, &mcp::LIMITS) {
            Ok(document) => document,
            Err(error) => return Err(bad_json(error).rpc_code(mcp::code::PARSE_ERROR)),
        };
        let malformed = |error: mcp::McpError| {
            Stop::new(Layer::Routing, error.reason()).detail(error.to_string()).rpc_code(error.code())
        };
        trail.rpc = Some(RpcReply {
            id: Message::id_of(document).map(|id| id.token().to_owned()),
            revision: Revision::Session,
        });
        let message = Message::read(document).map_err(malformed)?;
        // Two readers of a repeated field may take different ones.
        let repeated = |name| head.all(name).nth(1).is_some();
        if ["mcp-protocol-version", "mcp-method", "mcp-name"].into_iter().any(repeated) {
            return Err(malformed(mcp::McpError::HeaderMismatch));
        }
        let mirrored = Mirrored {
            version: head.only("mcp-protocol-version"),
            method: head.only("mcp-method"),
            name: head.only("mcp-name"),
        };
        let revision = mirrored.check(&message).map_err(malformed)?;
        if let Some(reply) = &mut trail.rpc {
            reply.revision = revision;
        }
        if !message.is_served() {
            return Err(Stop::new(Layer::Routing, Reason::InvalidRpc)
                .detail("the method is not served")
                .asked(message.method)
                .rpc_code(mcp::code::METHOD_NOT_FOUND));
        }
        let body = Body::Json(document);
        let tool_list = (message.method == "tools/list").then_some(revision);
        let Some(called) = message.call else {
            return Ok(Self { tool: None, body, arguments: None, root: "", form: None, tool_list });
        };
        let Some(tool) = target.mcp_tool(called.name) else {
            return Err(Stop::new(Layer::Routing, Reason::UnknownTool).asked(called.name));
        };
        trail.tool = Some(Arc::clone(tool));
        Ok(Self {
            tool: Some(tool),
            body,
            arguments: called.arguments,
            root: "/params/arguments",
            form: None,
            tool_list: None,
        })
    }

    /// What safety looks at.
    pub(super) fn content<'c>(&self, query: Option<&'c str>, path: &'c str) -> Content<'c>
    where
        'a: 'c,
    {
        Content { body: self.body, query, path }
    }

    /// JSON pointer of the tool's arguments in the body.
    pub(super) const fn root(&self) -> &'static str {
        self.root
    }

    /// The body as a form in parts.
    pub(super) fn form(&self) -> Option<(&[u8], &[Part])> {
        self.form.as_ref().map(|(body, parts)| (*body, parts.as_slice()))
    }

    /// What policy is asked about.
    pub(super) fn resource<'c>(&'c self, route: &'c Route) -> Resource<'c> {
        match self.tool {
            Some(tool) => Resource::Tool(tool),
            None => Resource::Route(route),
        }
    }
}

/// A call's arguments with the edits that will be made to them: what policies judge is what is sent.
pub(super) struct Sent<'c, 'a> {
    call: &'c Call<'a>,
    edits: Vec<Edit>,
}

impl<'c, 'a> Sent<'c, 'a> {
    /// `call` after `edits`, which are copied: they move on with the request while it is judged.
    pub(super) fn new(call: &'c Call<'a>, edits: &[Edit]) -> Self {
        Self { call, edits: edits.to_vec() }
    }
}

impl ArgumentView for Sent<'_, '_> {
    fn value(&self, path: &[&str]) -> Option<Argument<'_>> {
        let node = path.iter().try_fold(self.call.arguments?, |node, key| node.get(key))?;
        Some(argument(node, &self.edits))
    }

    fn root(&self) -> &str {
        self.call.root
    }
}

fn argument<'v>(node: Node<'v>, edits: &'v [Edit]) -> Argument<'v> {
    match node.kind() {
        Kind::Object => Argument::Object,
        Kind::Array => Argument::List(Box::new(node.items().map(|item| argument(item, edits)))),
        Kind::Bool(value) => Argument::Bool(value),
        Kind::Null => Argument::Null,
        kind @ (Kind::Number | Kind::Key | Kind::String) => match safety::text_as_sent(node, edits) {
            Some(Cow::Borrowed(_)) if kind == Kind::Number => Argument::Number(Cow::Borrowed(node.token())),
            // A number that is edited is a string from then on.
            Some(text) => Argument::Text(text),
            // Cannot be said; an object is no scalar, so whoever reads it is denied.
            None => Argument::Object,
        },
    }
}

/// The declared media type, without parameters; a charset other than UTF-8 is refused (THREATS A9).
fn media_type<'h>(head: &RequestHead<'h>) -> Result<&'h str, Stop> {
    let mut values = head.all("content-type");
    let value = match (values.next(), values.next()) {
        (Some(value), None) => std::str::from_utf8(value).map_err(|_| undecodable("Content-Type is malformed"))?,
        (None, _) => return Err(undecodable("the body has no Content-Type")),
        (Some(_), Some(_)) => return Err(undecodable("Content-Type is repeated")),
    };
    let mut parts = value.split(';');
    let essence = parts.next().unwrap_or_default().trim();
    for parameter in parts {
        let (name, charset) = parameter.split_once('=').unwrap_or((parameter, ""));
        if name.trim().eq_ignore_ascii_case("charset") {
            let charset = charset.trim().trim_matches('"');
            if !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("utf8") {
                return Err(undecodable("the only charset is UTF-8"));
            }
        }
    }
    Ok(essence)
}

/// JSON that breaks no grammar and is still not read, so that its escapes would hide what they spell from whoever took
/// it for text.
pub(super) const fn is_unread_json(error: &json::JsonError) -> bool {
    use json::JsonError::{DuplicateKey, TooDeep, TooLarge};
    matches!(error, DuplicateKey(_) | TooDeep(_) | TooLarge)
}

fn undecodable(detail: &'static str) -> Stop {
    Stop::new(Layer::Safety, Reason::UnsupportedMediaType).detail(detail)
}

fn bad_json(error: json::JsonError) -> Stop {
    Stop::new(Layer::Safety, error.reason()).detail(error.to_string())
}

/// Keys the digests that name a call's arguments in the log (THREATS A16: nine digits are guessed from a plain hash).
pub struct ArgumentKey {
    id: u32,
    key: hmac::Key,
}

impl std::fmt::Debug for ArgumentKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArgumentKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ArgumentKey {
    /// A key named `id` in records.
    #[must_use]
    pub fn new(id: u32, secret: &[u8; 32]) -> Self {
        Self { id, key: hmac::Key::new(hmac::HMAC_SHA256, secret) }
    }

    /// Digest of everything that tells one call of a tool from another: method, path, query, body.
    #[must_use]
    pub fn digest(&self, method: &str, path: &str, query: Option<&str>, body: &[u8]) -> KeyedDigest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [method.as_bytes(), path.as_bytes(), query.unwrap_or_default().as_bytes()] {
            context.update(&(part.len() as u64).to_le_bytes());
            context.update(part);
        }
        context.update(body);
        let tag = context.sign();
        let mut digest = [0; 16];
        digest.copy_from_slice(&tag.as_ref()[..16]);
        KeyedDigest { key_id: self.id, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_judge_arguments_as_they_will_be_sent() {
        let mut walker = Walker::default();
        let bytes = br#"{"to":"a@b.example","n":4111111111111111,"list":["x"],"on":true}"#;
        let document = walker.walk(bytes, &json::Limits::default()).unwrap();
        let root = document.root();
        let edit = |key: &str, token: &str| {
            let span = root.get(key).unwrap().span();
            Edit { range: span.start..span.end, bytes: token.as_bytes().to_vec(), pointer: Some(format!("/{key}")) }
        };
        let call = Call {
            tool: None,
            body: Body::Json(document),
            arguments: Some(root),
            root: "",
            form: None,
            tool_list: None,
        };
        let sent = Sent::new(&call, &[edit("to", "\"[EMAIL]\""), edit("n", "\"[CARD]\"")]);
        assert!(matches!(sent.value(&["to"]), Some(Argument::Text(text)) if text == "[EMAIL]"));
        assert!(matches!(sent.value(&["n"]), Some(Argument::Text(text)) if text == "[CARD]"));
        assert!(matches!(sent.value(&["on"]), Some(Argument::Bool(true))));
        assert!(sent.value(&["list", "x"]).is_none());
        let unedited = Sent::new(&call, &[]);
        assert!(matches!(unedited.value(&["to"]), Some(Argument::Text(text)) if text == "a@b.example"));
        assert!(matches!(unedited.value(&["n"]), Some(Argument::Number(text)) if text == "4111111111111111"));
    }

    #[test]
    fn threat_a16_digests_tell_calls_apart_and_depend_on_the_key() {
        let key = ArgumentKey::new(1, &[1; 32]);
        let digest = |query, body: &[u8]| key.digest("POST", "/tools/crm", query, body).digest;
        assert_eq!(digest(None, b"{}"), digest(None, b"{}"));
        assert_ne!(digest(None, b"{}"), digest(None, b"{ }"));
        assert_ne!(digest(Some("a"), b"b"), digest(None, b"ab"));
        assert_ne!(ArgumentKey::new(1, &[2; 32]).digest("POST", "/tools/crm", None, b"{}").digest, digest(None, b"{}"));
    }
}
