//! What may be sent, what came back, and how it ended.

use std::cell::RefCell;
use std::sync::Arc;

use super::call::is_unread_json;
use super::coded::Coded;
use super::trail::Trail;
use super::{Core, Current, Refused};
use crate::audit::record::{Bytes, Decision, Outcome};
use crate::audit::ring::OpenRecord;
use crate::clock::Now;
use crate::config::resolved::ContentCoding;
use crate::http::head::{Framing, ResponseHead};
use crate::http::write;
use crate::identity::{self, Identity, Trust};
use crate::ids::Key128;
use crate::policy;
use crate::protocol::json;
use crate::protocol::mcp;
use crate::protocol::mcp::headers::Revision;
use crate::reason::Reason;
use crate::routing;
use crate::safety::inflate::inflate;
use crate::safety::stream::{StreamKind, StreamScreen};
use crate::safety::{self, Body, Content, Evidence, Field, Finding, Scan};
use crate::usage::{self, Hold, LimitState, Settle};

/// Between two looks at whether the caller of a stream may have more of it (THREATS A18).
const RECHECK_NS: u64 = 30_000_000_000;

/// A request that all layers let pass: its intent is in the log, its cost is held, its bytes are ready.
pub struct Governed {
    /// Index of its route.
    pub route: usize,
    /// Whether a byte of it may have reached the upstream: from then on it costs.
    pub sent: bool,
    pub(super) trail: Box<Trail>,
    pub(super) ready: Ready,
    status: Option<u16>,
    first_ns: u64,
    /// What the answer's head says its body is.
    kind: ContentKind,
    pub(super) findings: Vec<Finding>,
    pub(super) evidence: Evidence,
    pub(super) stream: Option<Box<StreamScreen>>,
    /// How its body is compressed, if that is to be undone.
    coding: Option<ContentCoding>,
}

impl std::fmt::Debug for Governed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Governed").field("id", &self.trail.id).field("route", &self.route).finish_non_exhaustive()
    }
}

/// What the last layer leaves behind.
pub(super) struct Ready {
    pub(super) upstream: usize,
    pub(super) identity: Arc<Identity>,
    pub(super) hold: Hold,
    pub(super) record: OpenRecord,
    pub(super) limit: Option<LimitState>,
    pub(super) bytes: Bytes,
    pub(super) edits: u32,
    pub(super) tool_list: Option<Revision>,
}

/// How an answer is passed on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Handling {
    /// As it arrives.
    Pass,
    /// After [`screen_answer`] saw all of it.
    Whole,
    /// Through [`screen_piece`](super::screen_piece), as it arrives.
    Stream,
}

/// What [`screen_answer`] made of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Screening {
    /// It may be sent as it is.
    AsIs,
    /// What was written to `out` is sent instead.
    Edited,
}

impl Governed {
    pub(super) fn new(trail: Box<Trail>, ready: Ready) -> Self {
        Self {
            route: trail.route.unwrap_or_default(),
            trail,
            ready,
            sent: false,
            status: None,
            first_ns: 0,
            kind: ContentKind::Other,
            findings: Vec::new(),
            evidence: Evidence::default(),
            stream: None,
            coding: None,
        }
    }

    /// Index of its upstream.
    #[must_use]
    pub fn upstream(&self) -> usize {
        self.ready.upstream
    }

    /// Whose account buffers are held on.
    #[must_use]
    pub fn tenant_key(&self) -> Key128 {
        self.ready.identity.tenant_key
    }

    /// The snapshot it was decided by.
    #[must_use]
    pub fn snapshot(&self) -> &Current {
        &self.trail.snapshot
    }

    /// When its head was complete.
    #[must_use]
    pub fn began(&self) -> Now {
        self.trail.now
    }

    /// Nanoseconds since then.
    #[must_use]
    pub fn elapsed_ns(&self, now: Now) -> u64 {
        now.mono_ns.saturating_sub(self.trail.now.mono_ns)
    }

    /// The upstream's head is there.
    pub fn answered(&mut self, status: u16, mono_ns: u64) {
        self.status = Some(status);
        self.first_ns = mono_ns;
    }

    /// Whether the caller would still be let in, and when to ask again (CLOCK_MONOTONIC): a stream outlives the checks it
    /// began with.
    ///
    /// # Errors
    /// Why not.
    pub fn recheck(&self, current: &Current, now: Now) -> Result<u64, Reason> {
        let identity = &self.ready.identity;
        let config = &current.settings.config.identity;
        let trust = Trust { config, keys: &current.keys, revoked: &current.revoked };
        identity::recheck(identity, trust, now).map_err(|error| error.reason())?;
        let ends_secs = identity.expires.saturating_add(config.leeway.as_secs());
        let left_ns = ends_secs.saturating_mul(1_000_000_000).saturating_sub(now.wall_ns);
        Ok(now.mono_ns.saturating_add(RECHECK_NS.min(left_ns)))
    }

    /// What was found in the request.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.trail.findings
    }

    /// What was found in the answer so far.
    #[must_use]
    pub fn response_findings(&self) -> &[Finding] {
        self.stream.as_ref().map_or(&self.findings, |stream| stream.findings())
    }

    /// Whether the answer's head says that it is a stream of events.
    #[must_use]
    pub fn is_event_stream(&self) -> bool {
        self.kind == ContentKind::Events
    }

    /// Appends the event that ends a stream whose caller may have no more of it.
    pub fn write_last_event(&self, reason: Reason, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: error\ndata: ");
        write::problem_json(out, reason, reason.title(), self.trail.id);
        out.extend_from_slice(b"\n\n");
    }

    /// Counts body bytes of the answer: received, and sent on.
    pub fn moved(&mut self, received: u64, sent: u64) {
        self.ready.bytes.response_in += received;
        self.ready.bytes.response_out += sent;
    }

    /// Whether rules look at its answer.
    fn is_screened(&self) -> bool {
        self.trail.answer_is_screened()
    }

    /// How the answer with this head is passed on.
    ///
    /// # Errors
    /// `ResponseUnscannable` when a rule must see what cannot be read: an encoded, partial or binary body.
    pub fn handling(&mut self, response: &ResponseHead<'_>) -> Result<Handling, Reason> {
        if matches!(response.framing, Framing::Chunked | Framing::UntilClose) {
            self.kind = ContentKind::of(response.only("content-type"));
        }
        let ruled = self.is_screened();
        if !ruled && self.ready.tool_list.is_none() {
            return Ok(Handling::Pass);
        }
        if response.framing == Framing::None {
            return Ok(Handling::Pass);
        }
        let coded = Coded::of(response.all("content-encoding"), &self.trail.settings().config.routes[self.route]);
        let encoded = coded != Coded::Plain;
        self.kind = ContentKind::of(response.only("content-type"));
        let readable = match self.kind {
            ContentKind::Json | ContentKind::Text => true,
            ContentKind::Events => !ruled,
            ContentKind::Other => false,
        };
        // A length of zero has nothing to read, whatever it is called.
        let empty = response.framing == Framing::Length(0);
        let streamed = if empty || encoded || response.status == 206 { None } else { self.streamed(response.framing) };
        if let Some(kind) = streamed {
            self.begin_stream(kind);
            return Ok(Handling::Stream);
        }
        if !empty && (coded == Coded::Unknown || response.status == 206 || !readable) {
            return self.unread().map(|()| Handling::Pass);
        }
        self.coding = if let Coded::In(coding) = coded { Some(coding).filter(|_| !empty) } else { None };
        Ok(Handling::Whole)
    }

    /// The answer cannot be read: whether it passes all the same.
    fn unread(&mut self) -> Result<(), Reason> {
        let rules = self.trail.settings().rules.response(self.trail.scope());
        let in_clear = self.ready.tool_list.is_none() && self.trail.restored.is_empty();
        if in_clear && rules.is_some_and(|rules| rules.fails_open()) {
            self.evidence = Evidence { unscreened: Some(Reason::ResponseUnscannable), ..Evidence::default() };
            return Ok(());
        }
        Err(Reason::ResponseUnscannable)
    }

    /// How an answer is screened as it comes, if its route lets answers stream and it is one that does.
    fn streamed(&self, framing: Framing) -> Option<StreamKind> {
        let streaming = self.trail.settings().config.routes[self.route].streaming && self.ready.tool_list.is_none();
        match (self.kind, framing) {
            (ContentKind::Events, _) if streaming => Some(StreamKind::Events),
            (ContentKind::Text, Framing::Chunked | Framing::UntilClose) if streaming => Some(StreamKind::Text),
            _ => None,
        }
    }

    /// Appends the fields the client gets: the upstream's that are allowed through, as rules leave them, and ours.
    ///
    /// # Errors
    /// `UpstreamAuth` when the upstream refused the gateway's own credentials; what screening them refuses.
    pub fn write_fields(
        &mut self,
        core: &RefCell<Core>,
        response: &ResponseHead<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Reason> {
        let config = &self.trail.snapshot.settings.config;
        let (route, upstream) = (&config.routes[self.route], &config.upstreams[self.ready.upstream]);
        let screened = self.is_screened() && self.evidence.unscreened.is_none();
        let start = out.len();
        routing::write_response_headers(response, route, upstream, screened, out).map_err(|e| e.reason())?;
        if self.is_screened() {
            self.screen_fields(&mut core.borrow_mut().scan, start, out)?;
        }
        write::header(out, "x-request-id", &self.trail.id.text());
        if let Some(limit) = &self.ready.limit {
            usage::write_rate_limit_policy(begin(out, "RateLimit-Policy"), limit);
            out.extend_from_slice(b"\r\n");
            usage::write_rate_limit(begin(out, "RateLimit"), limit);
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }
}

impl Governed {
    /// Lets the rules see the fields in `out` from `start` on: what an upstream says in its head is content too.
    fn screen_fields(&mut self, scan: &mut Scan, start: usize, out: &mut Vec<u8>) -> Result<(), Reason> {
        let snapshot = self.trail.snapshot.clone();
        let Some(rules) = snapshot.settings.rules.response(self.trail.scope()) else { return Ok(()) };
        let lines = || out[start..].split_inclusive(|byte| *byte == b'\n').enumerate();
        let fields = lines().filter_map(|(at, line)| field(at, line));
        let tool = self.trail.tool.as_ref().map_or("", |tool| &tool.name);
        let caller = safety::Caller::new(&self.ready.identity, tool, "", self.trail.now);
        let found = safety::screen_response_fields(&caller, fields, rules, &self.trail.restored, scan);
        let found = found.map_err(|refused| {
            (self.findings, self.evidence) = (refused.findings, refused.evidence);
            refused.reason
        })?;
        if found.findings.is_empty() && found.evidence.unscreened.is_none() {
            return Ok(());
        }
        let mut edited = Vec::with_capacity(out.len() - start);
        for (at, line) in lines() {
            let edits = found.edits.iter().find(|field| field.at == at).map_or(&[][..], |field| &field.edits);
            match field(at, line).filter(|_| !edits.is_empty()) {
                Some(field) => {
                    edited.extend_from_slice(&line[..field.name.len() + 2]);
                    safety::splice(field.value, edits, &mut edited).map_err(|_| Reason::Internal)?;
                    edited.extend_from_slice(b"\r\n");
                }
                None => edited.extend_from_slice(line),
            }
            self.ready.edits += edits.len() as u32;
        }
        out.truncate(start);
        out.extend_from_slice(&edited);
        match &mut self.stream {
            Some(stream) => stream.begin_with(&found.findings, found.evidence, rules).map_err(|refused| refused.reason),
            None => {
                (self.findings, self.evidence) = (found.findings, found.evidence);
                Ok(())
            }
        }
    }
}

/// A field as it was written.
fn field(at: usize, line: &[u8]) -> Option<Field<'_>> {
    let line = line.strip_suffix(b"\r\n")?;
    let colon = memchr::memchr(b':', line)?;
    Some(Field { at, name: std::str::from_utf8(&line[..colon]).ok()?, value: line.get(colon + 2..)? })
}

/// Starts a field whose value is written next.
fn begin<'o>(out: &'o mut Vec<u8>, name: &str) -> &'o mut Vec<u8> {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out
}

/// What a Content-Type says about how to read a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ContentKind {
    Json,
    Text,
    Events,
    /// Nothing that can be read; text in an encoding that hides ASCII is none.
    Other,
}

impl ContentKind {
    fn of(value: Option<&[u8]>) -> Self {
        let value = value.unwrap_or_default();
        let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let essence = parts.next().unwrap_or_default();
        if !parts.all(keeps_ascii) {
            return Self::Other;
        }
        let is = |name: &[u8]| essence.eq_ignore_ascii_case(name);
        if is(b"text/event-stream") {
            Self::Events
        } else if is(b"application/json") || essence.to_ascii_lowercase().ends_with(b"+json") {
            Self::Json
        } else if essence.len() > 5 && essence[..5].eq_ignore_ascii_case(b"text/") {
            Self::Text
        } else {
            Self::Other
        }
    }
}

/// Whether a parameter of a Content-Type leaves ASCII text readable as it lies. In UTF-16, or UTF-7, no rule would
/// find anything.
fn keeps_ascii(parameter: &[u8]) -> bool {
    let mut halves = parameter.splitn(2, |byte| *byte == b'=').map(<[u8]>::trim_ascii);
    if !halves.next().is_some_and(|name| name.eq_ignore_ascii_case(b"charset")) {
        return true;
    }
    let charset = halves.next().unwrap_or_default();
    let charset = charset.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(charset);
    let readable: [&[u8]; 5] = [b"utf-8", b"utf8", b"us-ascii", b"iso-8859-1", b"windows-1252"];
    readable.iter().any(|name| charset.eq_ignore_ascii_case(name))
}

/// Lets the rules see a whole answer; what is to be sent instead goes to `out`.
///
/// # Errors
/// `ContentBlocked` when a rule withholds it, `ScannerFailed`, `ResponseUnscannable` when a tool list is none.
pub fn screen_answer(
    core: &RefCell<Core>,
    governed: &mut Governed,
    content: &[u8],
    out: &mut Vec<u8>,
) -> Result<Screening, Reason> {
    if let Some(coding) = governed.coding.take() {
        let max = governed.trail.settings().config.routes[governed.route].body_bytes_max;
        let plain = inflate(coding, content, max).map_err(|_| Reason::ResponseUnscannable)?;
        if screen_answer(core, governed, &plain, out)? == Screening::AsIs {
            out.extend_from_slice(&plain);
        }
        return Ok(Screening::Edited);
    }
    let core = &mut *core.borrow_mut();
    if let Some(revision) = governed.ready.tool_list {
        return filter_tools(core, governed, content, revision, out);
    }
    let snapshot = governed.trail.snapshot.clone();
    let Some(rules) = snapshot.settings.rules.response(governed.trail.scope()) else { return Ok(Screening::AsIs) };
    let body = match core.walker.walk(content, &json::Limits::default()) {
        Ok(document) => Body::Json(document),
        Err(_) if content.is_empty() => Body::Empty,
        // Read as raw bytes, its escapes would hide what they spell.
        Err(error) if governed.kind == ContentKind::Json || is_unread_json(&error) => {
            return governed.unread().map(|()| Screening::AsIs);
        }
        Err(_) => Body::Raw(content),
    };
    let trail = &governed.trail;
    let tool = trail.tool.as_ref().map_or("", |tool| &tool.name);
    let caller = safety::Caller::new(&governed.ready.identity, tool, "", trail.now);
    let content_of = Content::body(body);
    let screened = safety::screen_response(&caller, &content_of, rules, &trail.restored, &mut core.scan);
    let in_fields = (std::mem::take(&mut governed.findings), std::mem::take(&mut governed.evidence));
    let screened = screened.and_then(|screened| {
        (governed.findings, governed.evidence) =
            safety::together(in_fields, (screened.findings, screened.evidence), rules)?;
        Ok(screened.edits)
    });
    let edits = screened.map_err(|refused| {
        (governed.findings, governed.evidence) = (refused.findings, refused.evidence);
        refused.reason
    })?;
    if edits.is_empty() {
        return Ok(Screening::AsIs);
    }
    governed.ready.edits += edits.len() as u32;
    safety::splice(content, &edits, out).map_err(|_| Reason::Internal)?;
    Ok(Screening::Edited)
}

/// Leaves of a `tools/list` answer what the caller may call; the answer is JSON, or an event stream that holds it.
fn filter_tools(
    core: &mut Core,
    governed: &Governed,
    content: &[u8],
    revision: Revision,
    out: &mut Vec<u8>,
) -> Result<Screening, Reason> {
    let unscannable = |_| Reason::ResponseUnscannable;
    if content.is_empty() {
        return Ok(Screening::AsIs);
    }
    if governed.kind != ContentKind::Events {
        filter_message(core, governed, content, revision, out)?;
        return Ok(Screening::Edited);
    }
    let mut at = 0;
    for message in mcp::sse::messages(content).map_err(unscannable)? {
        out.extend_from_slice(&content[at..message.start]);
        filter_message(core, governed, &content[message.clone()], revision, out)?;
        at = message.end;
    }
    out.extend_from_slice(&content[at..]);
    Ok(Screening::Edited)
}

fn filter_message(
    core: &mut Core,
    governed: &Governed,
    message: &[u8],
    revision: Revision,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let settings = &governed.trail.snapshot.settings;
    let route = &settings.config.routes[governed.route];
    let decisions = RefCell::new(&mut core.decisions);
    let visible = |name: &str| {
        settings.routes.mcp_tool(route, name).is_some_and(|tool| {
            policy::visible(&governed.ready.identity, tool, &settings.policy, &mut decisions.borrow_mut())
        })
    };
    let document = core.walker.walk(message, &mcp::LIMITS).map_err(|_| Reason::ResponseUnscannable)?;
    // A notification that the server sends beside its answer lists nothing.
    if document.root().get("method").is_some() {
        out.extend_from_slice(message);
        return Ok(());
    }
    mcp::tools::filter(document, revision, visible, out).map(|_| ()).map_err(|_| Reason::ResponseUnscannable)
}

/// Ends a governed request: settles its hold and logs its outcome. What it returns is for a client that got no byte of
/// an answer yet.
pub fn finish(mut governed: Governed, reason: Reason, now: Now) -> Refused {
    governed.end_stream();
    let total_ns = governed.elapsed_ns(now);
    let Governed { trail, ready, sent, status, first_ns, findings, evidence, .. } = governed;
    let price = trail.tool.as_ref().map_or(0, |tool| tool.price_microusd());
    let settled = if sent { price } else { 0 };
    usage::settle(ready.hold, if sent { Settle::Charge(price) } else { Settle::Release });
    ready.record.outcome(&Outcome {
        request_id: trail.id,
        now,
        reason,
        decision: Decision::of(reason),
        upstream_status: status,
        upstream: &trail.settings().config.upstreams[ready.upstream].name,
        settled_microusd: settled,
        bytes: ready.bytes,
        findings: &findings,
        evidence: &evidence,
        upstream_ns: first_ns.saturating_sub(trail.now.mono_ns),
        total_ns,
        edits: ready.edits,
    });
    trail.ended(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: ContentKind) {
        assert_eq!(ContentKind::of(Some(value.as_bytes())), expected, "{value}");
    }

    #[test]
    fn a_body_is_what_its_type_says_and_unreadable_in_an_encoding_that_hides_ascii() {
        check("application/json", ContentKind::Json);
        check("application/problem+JSON; charset=UTF-8", ContentKind::Json);
        check("text/event-stream;charset=utf-8", ContentKind::Events);
        check("text/plain; charset=\"us-ascii\"; format=flowed", ContentKind::Text);
        check("text/html; charset=utf-16", ContentKind::Other);
        check("application/json;CHARSET = UTF-16LE", ContentKind::Other);
        check("text/plain; charset=utf-7", ContentKind::Other);
        check("image/png", ContentKind::Other);
        assert_eq!(ContentKind::of(None), ContentKind::Other);
    }
}
