//! Records as JSON lines: written by hand into one reused buffer, because this runs once per request.
//!
//! Format 1 is described by docs/audit-record.schema.json, which tests hold against every kind of line. Empty lists and
//! unknown texts are left out. Strings are escaped so that a terminal shows nothing but text: control characters and
//! the ones that print as nothing or reorder their neighbours leave as `\u` escapes.

use crate::audit::record::wire::{
    Fate, Findings, OutcomeView, Parts, Places, RefusedView, RequestView, Texts, WouldBes,
};
use crate::audit::record::{Decision, Latency, Versions};
use crate::clock::Now;
use crate::config::resolved::Mode;
use crate::ids::RequestId;
use crate::reason::Reason;
use crate::usage::HoldPart;

pub mod event;
pub(in crate::audit) mod text;

pub use text::Stamp;
use text::{hex, number, string};

/// Version of the record format, in every segment's header.
pub const FORMAT: u32 = 1;

/// The sealed part of a record: key id and the box, in base64 as it is printed.
#[derive(Clone, Copy, Debug)]
pub struct SealedBox<'a> {
    /// Which subject key opens it.
    pub key: u64,
    /// Base64.
    pub text: &'a [u8],
}

/// Appends lines to a buffer.
#[derive(Debug, Default)]
pub struct Lines {
    /// The lines so far.
    pub buf: Vec<u8>,
    stamp: Stamp,
}

/// Why a summary stands for several refusals.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SummaryCause {
    /// One source, or all together, sent more than is recorded in full.
    Flood,
    /// The worker's ring had no room for them.
    RingFull,
    /// The gateway was killed before it wrote their summaries.
    Interrupted,
}

impl SummaryCause {
    /// The name in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Flood => "flood",
            Self::RingFull => "ring_full",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Several unauthenticated refusals in one record.
#[derive(Clone, Copy, Debug)]
pub struct Summary<'a> {
    /// Why.
    pub cause: SummaryCause,
    /// Their common reason, if they have one.
    pub reason: Option<Reason>,
    /// How many.
    pub count: u64,
    /// The first and the last one's id, if known.
    pub ids: Option<(RequestId, RequestId)>,
    /// Their source.
    pub source: Option<SealedBox<'a>>,
}

impl Lines {
    /// One line for an intent and its outcome, or for a refusal.
    pub fn request(&mut self, request: &RequestView<'_>, outcome: Option<&OutcomeView<'_>>, sealed: SealedBox<'_>) {
        let kind = match (&request.fate, outcome) {
            (Fate::Sent { .. }, None) => "intent",
            _ => "request",
        };
        self.open(kind, request.request_id, request.now);
        match (&request.fate, outcome) {
            (Fate::Refused(refused), _) => {
                self.verdict(Decision::of(refused.reason), refused.reason);
                self.word(",\"layer\":", refused.layer.name());
            }
            (Fate::Sent { .. }, Some(outcome)) => self.verdict(outcome.decision, outcome.reason),
            (Fate::Sent { .. }, None) => {}
        }
        self.party(request, sealed);
        self.called(request);
        match &request.fate {
            Fate::Sent { hold_id, parts } => self.hold(*hold_id, *parts),
            Fate::Refused(refused) => self.refused(refused),
        }
        if let Some(outcome) = outcome {
            self.ended(outcome);
        }
        self.close();
    }

    /// The outcome of an intent that has a line of its own.
    pub fn outcome(&mut self, outcome: &OutcomeView<'_>) {
        self.open("outcome", outcome.request_id, outcome.now);
        self.verdict(outcome.decision, outcome.reason);
        self.ended(outcome);
        self.close();
    }

    /// The outcome of an intent whose worker or process ended first.
    pub fn unknown(&mut self, id: RequestId, now: Now, cause: &'static str) {
        self.open("outcome", id, now);
        self.word(",\"decision\":", Decision::Error.name());
        self.word(",\"reason\":", "unknown");
        self.word(",\"outcome\":", "unknown");
        self.word(",\"cause\":", cause);
        self.close();
    }

    /// Several refusals in one line.
    pub fn summary(&mut self, now: Now, summary: &Summary<'_>) {
        self.buf.extend_from_slice(b"{\"kind\":\"summary\"");
        self.moment(now);
        self.word(",\"decision\":", Decision::Deny.name());
        if let Some(reason) = summary.reason {
            self.word(",\"reason\":", reason.code());
        }
        self.word(",\"cause\":", summary.cause.name());
        self.int(",\"count\":", summary.count);
        if let Some((first, last)) = summary.ids {
            for (key, id) in [(",\"first\":\"", first), (",\"last\":\"", last)] {
                self.raw(key);
                self.buf.extend_from_slice(&id.text());
                self.raw("\"");
            }
        }
        if let Some(source) = summary.source {
            self.sealed(source);
        }
        self.close();
    }

    fn open(&mut self, kind: &str, id: RequestId, now: Now) {
        self.raw("{\"kind\":\"");
        self.raw(kind);
        self.raw("\",\"id\":\"");
        self.buf.extend_from_slice(&id.text());
        self.raw("\"");
        self.moment(now);
    }

    fn moment(&mut self, now: Now) {
        self.raw(",\"time\":\"");
        self.stamp.write(&mut self.buf, now.wall_ns);
        self.int("\",\"mono_ns\":", now.mono_ns);
    }

    fn close(&mut self) {
        self.raw("}\n");
    }

    fn verdict(&mut self, decision: Decision, reason: Reason) {
        self.word(",\"decision\":", decision.name());
        self.word(",\"reason\":", reason.code());
    }

    fn party(&mut self, request: &RequestView<'_>, sealed: SealedBox<'_>) {
        if let Some(who) = &request.who {
            self.string(",\"tenant\":", who.tenant);
            self.string(",\"issuer\":", who.issuer);
            if let Some(client) = who.client {
                self.string(",\"actor\":", client);
            }
            self.word(",\"auth\":", who.method.name());
            self.string(",\"kid\":", who.key_id);
            self.hex(",\"token\":", &who.token_hash.0);
        }
        self.sealed(sealed);
        self.int(",\"cookie\":", request.peer.cookie);
        self.int(",\"slot\":", u64::from(request.peer.tenant_slot));
    }

    fn sealed(&mut self, sealed: SealedBox<'_>) {
        self.int(",\"sealed\":{\"key\":", sealed.key);
        self.raw(",\"box\":\"");
        self.buf.extend_from_slice(sealed.text);
        self.raw("\"}");
    }

    fn called(&mut self, request: &RequestView<'_>) {
        for (key, text) in [
            (",\"route\":", request.route),
            (",\"path\":", request.path),
            (",\"tool\":", request.tool),
            (",\"verb\":", request.verb),
        ] {
            self.known(key, text);
        }
        self.strings(",\"labels\":[", request.labels);
        self.strings(",\"policies\":[", request.policies);
        self.findings(",\"findings\":[", request.findings, request.places);
        self.score(",\"score\":", request.score);
        self.numbers_to_text(",\"numbers_to_text\":", request.numbers_to_text);
        self.unscreened(",\"unscreened\":", request.unscreened);
        self.would(request.would);
        if let Some(arguments) = request.arguments {
            self.int(",\"arguments\":\"", u64::from(arguments.key_id));
            self.raw(":");
            hex(&mut self.buf, &arguments.digest);
            self.raw("\"");
        }
        if request.price_microusd > 0 {
            self.int(",\"price_microusd\":", request.price_microusd);
        }
        self.versions(&request.versions);
        self.latency(&request.latency);
        if request.truncated {
            self.raw(",\"truncated\":true");
        }
    }

    fn versions(&mut self, versions: &Versions) {
        if *versions == Versions::default() {
            return;
        }
        self.hex(",\"config\":", &versions.config);
        self.hex(",\"policy\":", &versions.policy);
        self.int(",\"keys\":", versions.keys);
        self.int(",\"generation\":", versions.snapshot);
    }

    fn latency(&mut self, latency: &Latency) {
        let layers = [
            ("\"head\":", latency.head),
            ("\"identity\":", latency.identity),
            ("\"body\":", latency.body),
            ("\"safety\":", latency.safety),
            ("\"policy\":", latency.policy),
            ("\"usage\":", latency.usage),
            ("\"routing\":", latency.routing),
        ];
        self.raw(",\"latency_ns\":{");
        let mut first = true;
        for (key, ns) in layers.into_iter().filter(|(_, ns)| *ns > 0) {
            self.comma(&mut first);
            self.int(key, ns);
        }
        self.raw("}");
    }

    fn hold(&mut self, id: u64, parts: Parts<'_>) {
        self.int(",\"hold\":{\"id\":", id);
        self.int(",\"held_microusd\":", parts.map(|part| part.held_microusd).max().unwrap_or(0));
        self.raw(",\"parts\":[");
        let mut first = true;
        for HoldPart { budget, lease, held_microusd } in parts {
            self.comma(&mut first);
            self.raw("[\"");
            hex(&mut self.buf, &budget.0);
            self.int("\",", lease);
            self.int(",", held_microusd);
            self.raw("]");
        }
        self.raw("]}");
    }

    fn refused(&mut self, refused: &RefusedView<'_>) {
        for (key, text) in [
            (",\"claimed_kid\":", refused.claimed_kid),
            (",\"asked\":", refused.asked),
            (",\"rule\":", refused.rule),
            (",\"detail\":", refused.detail),
        ] {
            self.known(key, text);
        }
        if let Some(token) = refused.claimed_token {
            self.hex(",\"claimed_token\":", &token.0);
        }
        self.strings(",\"missing_scopes\":[", refused.missing_scopes);
        if refused.bytes_in > 0 {
            self.int(",\"bytes\":{\"request_in\":", refused.bytes_in);
            self.raw("}");
        }
    }

    fn ended(&mut self, outcome: &OutcomeView<'_>) {
        self.known(",\"upstream\":", outcome.upstream);
        if let Some(status) = outcome.upstream_status {
            self.int(",\"upstream_status\":", u64::from(status));
        }
        self.int(",\"settled_microusd\":", outcome.settled_microusd);
        self.int(",\"bytes\":{\"request_in\":", outcome.bytes.request_in);
        self.int(",\"request_out\":", outcome.bytes.request_out);
        self.int(",\"response_in\":", outcome.bytes.response_in);
        self.int(",\"response_out\":", outcome.bytes.response_out);
        self.raw("}");
        self.findings(",\"response_findings\":[", outcome.findings, outcome.places);
        self.score(",\"response_score\":", outcome.score);
        self.numbers_to_text(",\"response_numbers_to_text\":", outcome.numbers_to_text);
        self.unscreened(",\"response_unscreened\":", outcome.unscreened);
        if outcome.edits > 0 {
            self.int(",\"edits\":", u64::from(outcome.edits));
        }
        self.int(",\"upstream_ns\":", outcome.upstream_ns);
        self.int(",\"total_ns\":", outcome.total_ns);
    }

    fn findings(&mut self, key: &str, findings: Findings<'_>, places: Places<'_>) {
        let mut first = true;
        for finding in findings {
            self.begin(key, &mut first);
            self.word("{\"type\":", finding.detector.name());
            self.int(",\"count\":", u64::from(finding.count));
            self.int(",\"confidence\":", u64::from(finding.confidence));
            self.word(",\"action\":", finding.action.name());
            if finding.mode == Mode::Observe {
                self.word(",\"mode\":", "observe");
            }
            let mut no_place = true;
            for at in places.filter(|at| at.detector == finding.detector) {
                self.begin(",\"at\":[", &mut no_place);
                string(&mut self.buf, at.place);
            }
            self.end(no_place);
            self.raw("}");
        }
        self.end(first);
    }

    /// A risk score above 0.
    fn score(&mut self, key: &str, score: u8) {
        if score > 0 {
            self.int(key, u64::from(score));
        }
    }

    /// How many numbers became strings, if any did.
    fn numbers_to_text(&mut self, key: &str, count: u32) {
        if count > 0 {
            self.int(key, u64::from(count));
        }
    }

    /// Why it passed unsearched, if it did.
    fn unscreened(&mut self, key: &str, reason: Option<Reason>) {
        if let Some(reason) = reason {
            self.word(key, reason.code());
        }
    }

    fn would(&mut self, would: WouldBes<'_>) {
        let mut first = true;
        for would in would {
            self.begin(",\"would\":[", &mut first);
            self.word("{\"layer\":", would.layer.name());
            self.string(",\"rule\":", would.rule);
            self.word(",\"reason\":", would.reason.code());
            self.raw("}");
        }
        self.end(first);
    }

    fn strings(&mut self, key: &str, texts: Texts<'_>) {
        let mut first = true;
        for text in texts {
            self.begin(key, &mut first);
            string(&mut self.buf, text);
        }
        self.end(first);
    }

    /// The list's key before its first element, a comma before every other.
    fn begin(&mut self, key: &str, first: &mut bool) {
        self.raw(if *first { key } else { "," });
        *first = false;
    }

    /// Closes a list that had an element.
    fn end(&mut self, empty: bool) {
        if !empty {
            self.raw("]");
        }
    }

    fn comma(&mut self, first: &mut bool) {
        if !std::mem::replace(first, false) {
            self.raw(",");
        }
    }

    fn raw(&mut self, text: &str) {
        self.buf.extend_from_slice(text.as_bytes());
    }

    fn int(&mut self, key: &str, n: u64) {
        self.raw(key);
        number(&mut self.buf, n);
    }

    /// A word of ours that needs no escaping.
    fn word(&mut self, key: &str, word: &str) {
        self.raw(key);
        self.raw("\"");
        self.raw(word);
        self.raw("\"");
    }

    fn string(&mut self, key: &str, text: &str) {
        self.raw(key);
        string(&mut self.buf, text);
    }

    /// A string unless it is empty.
    fn known(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.string(key, text);
        }
    }

    fn hex(&mut self, key: &str, bytes: &[u8]) {
        self.raw(key);
        self.raw("\"");
        hex(&mut self.buf, bytes);
        self.raw("\"");
    }
}

#[cfg(test)]
mod tests;
