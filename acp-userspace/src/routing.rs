//! Routing: where does it go. [`Routed`] is a request ready to be written: re-framed, with the verified identity in it.
//!
//! [`Target::find`] comes first of all layers: it gives the path its only reading, and names route, tool and upstream
//! by that reading; nothing is looked up by the raw text. [`route`] comes last: it writes the upstream request's head
//! from what was found, never from the client's bytes. The route's prefix is replaced by the upstream's base path:
//! `/tools/crm/contacts` on a route `/tools/crm` to `http://crm/api/crm` becomes `/api/crm/contacts`.
//!
//! Invariants:
//! - The path that was matched, authorised and recorded is the path that is sent.
//! - Client-sent identity, forwarding and tracing fields never reach an upstream, the client's token only where the
//!   configuration says `forward`; ours are written after the client's (`routing::headers`).
//! - Framing is ours: `Host` of the upstream, one `Content-Length`, no `Transfer-Encoding`, no `Upgrade`.
//! - Addresses are judged after they are resolved, by [`address`]; the connection goes to the address judged.

pub mod address;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod headers;
mod path;
mod response;
mod table;
mod trace;
mod url;

use std::sync::Arc;

use crate::config::resolved::{Credentials, Route, Tool, Upstream};
use crate::http::head::RequestHead;
use crate::ids::RequestId;
use crate::reason::Reason;
use crate::safety::{Field, FieldEdits};
use crate::usage::Admitted;

pub use headers::CONNECTION_NAMES_MAX;
pub use path::{NormalPath, PATH_BYTES_MAX, PathError};
pub use response::write_response_headers;
pub use table::{RouteTable, TableMistake};
pub use trace::TraceId;
pub use url::{Host, URL_BYTES_MAX, UrlError, UrlGuard, UrlParts};

use table::UpstreamEntry;

/// A request that cannot be routed, or an answer that cannot be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RoutingError {
    /// The path has not exactly one reading. The client's fault.
    #[error("the path is ambiguous")]
    Path(#[from] PathError),
    /// The query holds what no query may. The client's fault.
    #[error("the query has a character that is not allowed")]
    Query,
    /// `Connection` lists too many names. The client's fault.
    #[error("Connection lists more than {CONNECTION_NAMES_MAX} names")]
    Connection,
    /// No route has this path. The client's fault.
    #[error("no route has this path")]
    UnknownRoute,
    /// A method that is not forwarded. The client's fault.
    #[error("the method is not forwarded")]
    Method,
    /// The upstream refused the gateway's credentials. The operator's fault.
    #[error("the upstream refused the gateway's credentials")]
    UpstreamAuth,
    /// The upstream's head has two readings. Its fault.
    #[error("the upstream's head is ambiguous")]
    UpstreamHead,
    /// The answer is to be screened and comes in parts or encoded. The upstream's fault.
    #[error("the answer comes in a form that cannot be screened")]
    ResponseUnscannable,
}

impl RoutingError {
    /// The reason it is answered with.
    #[must_use]
    pub const fn reason(self) -> Reason {
        match self {
            Self::Path(_) | Self::Query => Reason::AmbiguousPath,
            Self::Connection => Reason::MalformedRequest,
            Self::UnknownRoute => Reason::UnknownRoute,
            Self::Method => Reason::MethodNotAllowed,
            Self::UpstreamAuth => Reason::UpstreamAuth,
            Self::UpstreamHead => Reason::UpstreamFraming,
            Self::ResponseUnscannable => Reason::ResponseUnscannable,
        }
    }
}

/// Whether a method is one of [`FORWARDED_METHODS`](crate::config::resolved::FORWARDED_METHODS).
const fn is_forwarded_method(method: &str) -> bool {
    matches!(method.as_bytes(), b"GET" | b"HEAD" | b"POST" | b"PUT" | b"PATCH" | b"DELETE" | b"OPTIONS")
}

/// Where a request goes, by the only reading of its target.
#[derive(Debug)]
pub struct Target<'t, 'r> {
    table: &'t RouteTable,
    route: &'t Arc<Route>,
    upstream: &'t UpstreamEntry,
    path: NormalPath<'r>,
    /// Where in `path` the part below the route begins.
    rest: usize,
    query: Option<&'r str>,
    method: &'r str,
}

impl<'t, 'r> Target<'t, 'r> {
    /// Finds the route of a request and checks what can be checked of its head. Sends nothing, charges nothing.
    ///
    /// # Errors
    /// With why it cannot be routed.
    pub fn find(table: &'t RouteTable, head: &RequestHead<'r>) -> Result<Self, RoutingError> {
        if !is_forwarded_method(head.method) {
            return Err(RoutingError::Method);
        }
        let path = NormalPath::parse(head.path)?;
        if !head.query.is_none_or(path::query_is_sound) {
            return Err(RoutingError::Query);
        }
        headers::connection_names(head).ok_or(RoutingError::Connection)?;
        let (route, rest) = table.find(&path).ok_or(RoutingError::UnknownRoute)?;
        let upstream = table.upstream_entry(route).ok_or(RoutingError::UnknownRoute)?;
        let rest = path.as_str().len() - rest.len();
        Ok(Self { table, route, upstream, path, rest, query: head.query, method: head.method })
    }

    /// The route.
    #[must_use]
    pub fn route(&self) -> &'t Arc<Route> {
        self.route
    }

    /// The upstream.
    #[must_use]
    pub fn upstream(&self) -> &'t Arc<Upstream> {
        &self.upstream.upstream
    }

    /// The query, as it is sent.
    #[must_use]
    pub fn query(&self) -> Option<&'r str> {
        self.query
    }

    /// The normal path.
    #[must_use]
    pub fn path(&self) -> &NormalPath<'r> {
        &self.path
    }

    /// The path below the route, without a slash in front; empty at the route itself.
    #[must_use]
    pub fn rest(&self) -> &str {
        &self.path.as_str()[self.rest..]
    }

    /// The client's fields that go on, credentials excepted: what content rules look at.
    pub fn fields<'h>(&'h self, head: &'h RequestHead<'_>) -> impl Iterator<Item = Field<'h>> {
        let rules = headers::Rules { forward_authorization: false, ..self.field_rules(false, false) };
        let traced = head.headers.iter().enumerate().filter(|(_, header)| trace::names(header.name));
        let all = headers::passing(head, rules).chain(traced);
        all.map(|(at, header)| Field { at, name: header.name, value: header.value })
    }

    /// What decides on the client's fields.
    fn field_rules(&self, screen_response: bool, edited: bool) -> headers::Rules<'_> {
        headers::Rules {
            forward_authorization: matches!(self.upstream.upstream.credentials, Credentials::Forward),
            cookies: self.route.cookies,
            screen_response,
            // What streams has no end to be collected to.
            codings: if self.route.streaming { &[] } else { &self.route.content_codings },
            edited,
            credential_name: self.upstream.credential_name.as_deref(),
        }
    }

    /// The tool this request calls, on an HTTP route.
    #[must_use]
    pub fn tool(&self) -> Option<&'t Arc<Tool>> {
        self.table.tool(self.route, self.method, self.rest())
    }

    /// The tool of this name, on an MCP route.
    #[must_use]
    pub fn mcp_tool(&self, name: &str) -> Option<&'t Arc<Tool>> {
        self.table.mcp_tool(self.route, name)
    }
}

/// What is sent besides the client's head.
#[derive(Debug, Clone, Copy)]
pub struct Outgoing {
    /// The request's name.
    pub request_id: RequestId,
    /// Bytes of the body as it is sent, edits spliced; `None` for no body.
    pub body: Option<u64>,
    /// The answer will be screened, so it has to come unencoded.
    pub screen_response: bool,
}

/// Proof that every layer agreed, and that the head in the output buffer was written from what they agreed on.
#[derive(Debug)]
pub struct Routed {
    admitted: Admitted,
    trace: TraceId,
}

impl Routed {
    /// What usage admitted.
    #[must_use]
    pub fn admitted(&self) -> &Admitted {
        &self.admitted
    }

    /// Gives the admission, and with it the hold, up to settlement.
    #[must_use]
    pub fn into_admitted(self) -> Admitted {
        self.admitted
    }

    /// The trace the upstream was told.
    #[must_use]
    pub fn trace(&self) -> TraceId {
        self.trace
    }
}

/// Writes the head of the upstream request, its empty line included, to the end of `out`. Allocates only if `out`
/// has to grow.
pub fn route(
    admitted: Admitted,
    target: &Target<'_, '_>,
    head: &RequestHead<'_>,
    outgoing: Outgoing,
    out: &mut Vec<u8>,
) -> Routed {
    let decoded = head.all("content-encoding").any(|coding| !coding.eq_ignore_ascii_case(b"identity"));
    let screened = admitted.permitted().screened();
    let edited = decoded || !screened.edits().is_empty();
    let trace = write(admitted.identity(), target, head, outgoing, (edited, screened.field_edits()), out);
    Routed { admitted, trace }
}

/// The same head without the proof, for measuring and for dry runs.
pub fn write_head(
    identity: &crate::identity::Identity,
    target: &Target<'_, '_>,
    head: &RequestHead<'_>,
    outgoing: Outgoing,
    edited: bool,
    out: &mut Vec<u8>,
) -> TraceId {
    write(identity, target, head, outgoing, (edited, &[]), out)
}

/// The head; whether the body is edited, and what is changed in the fields.
fn write(
    identity: &crate::identity::Identity,
    target: &Target<'_, '_>,
    head: &RequestHead<'_>,
    outgoing: Outgoing,
    (edited, field_edits): (bool, &[FieldEdits]),
    out: &mut Vec<u8>,
) -> TraceId {
    let entry = target.upstream;
    write_request_line(target, out);
    out.extend_from_slice(&entry.host_line);
    headers::write_client(head, target.field_rules(outgoing.screen_response, edited), field_edits, out);
    write_length(target.method, outgoing.body, out);
    headers::write_identity(identity, target.route, target.table.names_issuer, out);
    headers::line(b"x-request-id", &outgoing.request_id.text(), out);
    let trace = trace::write(head, outgoing.request_id, field_edits, out);
    out.extend_from_slice(&entry.credential_line);
    out.extend_from_slice(b"\r\n");
    trace
}

fn write_request_line(target: &Target<'_, '_>, out: &mut Vec<u8>) {
    let (base, rest) = (&target.upstream.upstream.base_path, target.rest());
    out.extend_from_slice(target.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(base.as_bytes());
    if base.is_empty() || !rest.is_empty() {
        out.push(b'/');
    }
    out.extend_from_slice(rest.as_bytes());
    if let Some(query) = target.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
}

/// RFC 9110 §8.6: a method that usually has content says 0 when it has none.
fn write_length(method: &str, body: Option<u64>, out: &mut Vec<u8>) {
    let length = match body {
        Some(length) => length,
        None if matches!(method, "POST" | "PUT" | "PATCH") => 0,
        None => return,
    };
    out.extend_from_slice(b"content-length: ");
    write_decimal(length, out);
    out.extend_from_slice(b"\r\n");
}

fn write_decimal(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            return out.extend_from_slice(&digits[at..]);
        }
    }
}

#[cfg(test)]
mod tests;
