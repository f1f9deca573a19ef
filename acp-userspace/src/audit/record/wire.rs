//! The compact binary form of a record in a worker's ring: little-endian scalars, length-prefixed texts, lists last.
//!
//! Encoding cannot fail: single texts are cut at [`TEXT_BYTES_MAX`], whose sum leaves room in [`ENTRY_BYTES_MAX`], and
//! lists end where the room does (the record then says `truncated`). Decoding takes any bytes and answers with a view
//! that borrows from them, or `None`; it never panics and never allocates. The layout is private to one build:
//! [`layout`] names it, and a ring of another layout is not decoded.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{
    AuthMethod, Bytes, Decision, ENTRY_BYTES_MAX, Intent, KeyedDigest, Latency, Layer, OUTCOME_BYTES_MAX, Outcome,
    Peer, Refusal, Versions, Who, WouldBe,
};
use crate::clock::Now;
use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::ids::{Key128, RequestId};
use crate::reason::Reason;
use crate::safety::{Evidence, Finding, FoundAt};
use crate::text::CallerText;
use crate::usage::HoldPart;

mod cursor;
mod lists;

use cursor::{Reader, Writer};
pub use lists::{Findings, Parts, PlaceView, Places, Texts, WouldBes};

/// Most bytes of one text. OpenID Connect Core §2 bounds `sub` at 255 characters; the other texts are names.
pub const TEXT_BYTES_MAX: usize = 256;

const INTENT: u8 = 1;
const OUTCOME: u8 = 2;
const REFUSAL: u8 = 3;
const ABANDONED: u8 = 4;
const ATTACHED: u8 = 5;

/// Most bytes of an entry that only marks something.
pub const MARK_BYTES_MAX: usize = 16;

/// Changes whenever the meaning of a stored byte does.
const WIRE_VERSION: u64 = 3;

/// Names the layout: the wire version and every enum that is stored by number.
#[must_use]
pub fn layout() -> u64 {
    let names = Reason::ALL.iter().map(|r| r.code()).chain(Detector::ALL.iter().map(|d| d.name()));
    names.flat_map(str::bytes).fold(WIRE_VERSION, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

/// One decoded entry.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "lives on the stack of the one loop that decodes")]
pub enum Entry<'a> {
    /// An intent or a refusal.
    Request(RequestView<'a>),
    /// The end of an intent.
    Outcome(OutcomeView<'a>),
    /// A task ended without an outcome (it panicked): the intent stays open for good.
    Abandoned(RequestId),
    /// A worker took the ring over from a dead one: intents before this entry stay open for good.
    Attached,
}

/// What intents and refusals have in common, and what each has of its own.
#[derive(Clone, Copy, Debug)]
pub struct RequestView<'a> {
    /// Its id.
    pub request_id: RequestId,
    /// When it was decided.
    pub now: Now,
    /// From where it came.
    pub peer: Peer,
    /// Who asked, if verified.
    pub who: Option<Who<'a>>,
    /// Route name.
    pub route: &'a str,
    /// Path template.
    pub path: &'a str,
    /// Tool id.
    pub tool: &'a str,
    /// Verb.
    pub verb: &'a str,
    /// Data labels.
    pub labels: Texts<'a>,
    /// Deciding policies.
    pub policies: Texts<'a>,
    /// Findings in the request.
    pub findings: Findings<'a>,
    /// Where they lie.
    pub places: Places<'a>,
    /// How grave they are.
    pub score: u8,
    /// Numbers that became strings.
    pub numbers_to_text: u32,
    /// Why it passed unsearched.
    pub unscreened: Option<Reason>,
    /// Would-be decisions.
    pub would: WouldBes<'a>,
    /// Keyed digest of the arguments.
    pub arguments: Option<KeyedDigest>,
    /// Price, micro-dollars.
    pub price_microusd: u64,
    /// What decided.
    pub versions: Versions,
    /// Per layer.
    pub latency: Latency,
    /// A list did not fit.
    pub truncated: bool,
    /// What it has of its own.
    pub fate: Fate<'a>,
}

/// Whether the request went on.
#[derive(Clone, Copy, Debug)]
pub enum Fate<'a> {
    /// It did: an outcome follows.
    Sent {
        /// The hold's id.
        hold_id: u64,
        /// Its parts.
        parts: Parts<'a>,
    },
    /// It did not.
    Refused(RefusedView<'a>),
}

/// What only a refusal has; see [`Refusal`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is the one of `Refusal` by the same name")]
pub struct RefusedView<'a> {
    pub reason: Reason,
    pub layer: Layer,
    pub claimed_kid: &'a str,
    pub claimed_token: Option<Key128>,
    pub asked: &'a str,
    pub rule: &'a str,
    pub detail: &'a str,
    pub missing_scopes: Texts<'a>,
    pub bytes_in: u64,
}

/// A decoded outcome; see [`Outcome`].
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each field is the one of `Outcome` by the same name")]
pub struct OutcomeView<'a> {
    pub request_id: RequestId,
    pub now: Now,
    pub reason: Reason,
    pub decision: Decision,
    pub upstream_status: Option<u16>,
    pub upstream: &'a str,
    pub settled_microusd: u64,
    pub bytes: Bytes,
    pub findings: Findings<'a>,
    pub places: Places<'a>,
    pub score: u8,
    pub numbers_to_text: u32,
    pub unscreened: Option<Reason>,
    pub upstream_ns: u64,
    pub total_ns: u64,
    pub edits: u32,
}

/// Stores an intent; returns its length. `buf` has at least [`ENTRY_BYTES_MAX`] bytes.
pub fn encode_intent(buf: &mut [u8], intent: &Intent<'_>) -> usize {
    let mut w = Writer::new(buf, ENTRY_BYTES_MAX);
    w.u8(INTENT);
    let flag = w.flag();
    w.moment(intent.request_id, intent.now);
    w.peer(&intent.peer);
    w.who(Some(&intent.who));
    w.call(&intent.call);
    w.digest(intent.arguments);
    w.u64(intent.price_microusd);
    w.versions(&intent.versions);
    w.latency(&intent.latency);
    w.u64(intent.hold.id);
    w.parts(&intent.hold.parts);
    w.found(intent.findings, intent.evidence);
    w.texts(intent.policies.iter().map(|p| &**p));
    w.texts(intent.call.labels.iter().map(|l| &**l));
    w.would(intent.would);
    w.finish(flag)
}

/// Stores a refusal; returns its length. `buf` has at least [`ENTRY_BYTES_MAX`] bytes.
pub fn encode_refusal(buf: &mut [u8], refusal: &Refusal<'_>) -> usize {
    let mut w = Writer::new(buf, ENTRY_BYTES_MAX);
    w.u8(REFUSAL);
    let flag = w.flag();
    w.moment(refusal.request_id, refusal.now);
    w.peer(&refusal.peer);
    w.who(refusal.who.as_ref());
    w.call(&refusal.call);
    w.digest(refusal.arguments);
    w.u64(refusal.price_microusd);
    w.versions(&refusal.versions);
    w.latency(&refusal.latency);
    w.u8(refusal.reason as u8);
    w.u8(refusal.layer as u8);
    w.key(refusal.claimed_token);
    w.u64(refusal.bytes_in);
    for text in [refusal.claimed_kid, refusal.asked, refusal.rule, refusal.detail] {
        w.text(&CallerText::new(text).printable());
    }
    w.texts(refusal.missing_scopes.iter().copied());
    w.found(refusal.findings, refusal.evidence);
    w.texts(refusal.policies.iter().map(|p| &**p));
    w.texts(refusal.call.labels.iter().map(|l| &**l));
    w.would(refusal.would);
    w.finish(flag)
}

/// Stores an outcome; returns its length. `buf` has at least [`OUTCOME_BYTES_MAX`] bytes.
pub fn encode_outcome(buf: &mut [u8], outcome: &Outcome<'_>) -> usize {
    let mut w = Writer::new(buf, OUTCOME_BYTES_MAX);
    w.u8(OUTCOME);
    let flag = w.flag();
    w.moment(outcome.request_id, outcome.now);
    w.u8(outcome.reason as u8);
    w.u8(outcome.decision as u8);
    w.u16(outcome.upstream_status.unwrap_or(0));
    w.u64(outcome.settled_microusd);
    let Bytes { request_in, request_out, response_in, response_out } = outcome.bytes;
    for n in [request_in, request_out, response_in, response_out, outcome.upstream_ns, outcome.total_ns] {
        w.u64(n);
    }
    w.u32(outcome.edits);
    w.text(outcome.upstream);
    w.found(outcome.findings, outcome.evidence);
    w.finish(flag)
}

/// Stores that a task ended without an outcome.
pub fn encode_abandoned(buf: &mut [u8], request_id: RequestId) -> usize {
    let mut w = Writer::new(buf, OUTCOME_BYTES_MAX);
    w.u8(ABANDONED);
    w.bytes(&request_id.0);
    w.len()
}

/// Stores that a worker took the ring over.
pub fn encode_attached(buf: &mut [u8]) -> usize {
    let mut w = Writer::new(buf, OUTCOME_BYTES_MAX);
    w.u8(ATTACHED);
    w.len()
}

/// The request's id if the entry is an intent: a look at the first bytes, without decoding.
#[must_use]
pub fn intent_id(bytes: &[u8]) -> Option<RequestId> {
    let (tag, rest) = bytes.split_first()?;
    (*tag == INTENT).then(|| rest.get(1..13)?.try_into().ok().map(RequestId)).flatten()
}

/// What an entry says; `None` if it is none of ours.
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Entry<'_>> {
    let mut r = Reader::new(bytes);
    match r.u8()? {
        tag @ (INTENT | REFUSAL) => decode_request(&mut r, tag == INTENT).map(Entry::Request),
        OUTCOME => decode_outcome(&mut r).map(Entry::Outcome),
        ABANDONED => Some(Entry::Abandoned(RequestId(r.array()?))),
        ATTACHED => Some(Entry::Attached),
        _ => None,
    }
}

fn decode_request<'a>(r: &mut Reader<'a>, sent: bool) -> Option<RequestView<'a>> {
    let truncated = r.u8()? != 0;
    let (request_id, now) = r.moment()?;
    let peer = r.peer()?;
    let who = r.who()?;
    let [route, path, tool, verb] = [r.text()?, r.text()?, r.text()?, r.text()?];
    let arguments = r.digest()?;
    let price_microusd = r.u64()?;
    let versions = r.versions()?;
    let latency = r.latency()?;
    let fate = if sent { decode_sent(r)? } else { decode_refused(r)? };
    let (score, numbers_to_text, unscreened) = (r.u8()?, r.u32()?, r.unscreened()?);
    let (findings, places) = (r.findings()?, r.places()?);
    let (policies, labels) = (r.texts()?, r.texts()?);
    let would = r.would()?;
    Some(RequestView {
        request_id,
        now,
        peer,
        who,
        route,
        path,
        tool,
        verb,
        labels,
        policies,
        findings,
        places,
        score,
        numbers_to_text,
        unscreened,
        would,
        arguments,
        price_microusd,
        versions,
        latency,
        truncated,
        fate,
    })
}

fn decode_sent<'a>(r: &mut Reader<'a>) -> Option<Fate<'a>> {
    Some(Fate::Sent { hold_id: r.u64()?, parts: r.parts()? })
}

fn decode_refused<'a>(r: &mut Reader<'a>) -> Option<Fate<'a>> {
    Some(Fate::Refused(RefusedView {
        reason: r.reason()?,
        layer: r.layer()?,
        claimed_token: r.key()?,
        bytes_in: r.u64()?,
        claimed_kid: r.text()?,
        asked: r.text()?,
        rule: r.text()?,
        detail: r.text()?,
        missing_scopes: r.texts()?,
    }))
}

fn decode_outcome<'a>(r: &mut Reader<'a>) -> Option<OutcomeView<'a>> {
    r.u8()?;
    let (request_id, now) = r.moment()?;
    let reason = r.reason()?;
    let decision = *Decision::ALL.get(usize::from(r.u8()?))?;
    let upstream_status = Some(r.u16()?).filter(|status| *status != 0);
    let settled_microusd = r.u64()?;
    let bytes = Bytes { request_in: r.u64()?, request_out: r.u64()?, response_in: r.u64()?, response_out: r.u64()? };
    let (upstream_ns, total_ns) = (r.u64()?, r.u64()?);
    let edits = r.u32()?;
    let upstream = r.text()?;
    let (score, numbers_to_text, unscreened) = (r.u8()?, r.u32()?, r.unscreened()?);
    let (findings, places) = (r.findings()?, r.places()?);
    Some(OutcomeView {
        request_id,
        now,
        reason,
        decision,
        upstream_status,
        upstream,
        settled_microusd,
        bytes,
        findings,
        places,
        score,
        numbers_to_text,
        unscreened,
        upstream_ns,
        total_ns,
        edits,
    })
}

#[cfg(test)]
mod tests;
