//! Answers that come piece by piece: screened as they come, with no more held back than what is undecided (THREATS A8).
//!
//! A stream is of events ([`crate::protocol::sse`]) or of plain text. In an event, every string that is whole is screened
//! as in any answer; a string that carries a text on ([`crate::protocol::delta`]) is a piece of that text, and the event
//! waits until all its pieces are decided (`undecided` says when). Lines that are no data are screened as text, data that
//! is no JSON as pieces of one text. Events leave in order, as they came but for the edits in them.
//!
//! Invariants:
//! - What leaves depends on the bytes alone. There is no clock here, and decisions are taken only where the bytes say: at
//!   the end of an event, of a line, and every `STEP_BYTES` of plain text, and of a text of which much is undecided, once
//!   a part of that is new; so it is the same for every way of cutting the stream into reads.
//! - Undecided bytes leave by more input or by the end of their text. At a bound, or where they cannot be read, the stream
//!   ends: they are never let go.
//! - What is held is bounded: by the longest event, by `TEXTS_MAX` texts of `HOLD_BYTES_MAX`, and by the bytes of events
//!   that wait.
//!
//! Where no enforced rule changes or blocks anything, nothing waits; the findings are counted all the same.

use std::borrow::Cow;
use std::ops::Range;

use super::rules::RouteRules;
use super::screen::{self, Content, Scan};
use super::tokenise::Caller;
use super::total::Total;
use super::{Edit, Evidence, Finding, Restored};
use crate::config::resolved::Detector;
use crate::protocol::json::Walker;
use crate::protocol::sse::Events;
use crate::reason::Reason;
use held::Queue;
use text::Text;
use undecided::Reach;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod held;
mod text;
mod undecided;

/// Texts of one stream that go on at once.
const TEXTS_MAX: usize = 64;
/// Plain text is looked at as often, and at the end of every line.
const STEP_BYTES: usize = 256;

/// What a stream is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// `text/event-stream`
    Events,
    /// Text without structure.
    Text,
}

/// What screening takes: rules, whose answer it is, and a worker's memory.
#[derive(Debug)]
pub struct Tools<'t> {
    judge: Judge<'t>,
    walker: &'t mut Walker,
}

/// What judges a text.
#[derive(Debug)]
struct Judge<'t> {
    rules: Cow<'t, RouteRules>,
    caller: &'t Caller<'t>,
    restored: &'t [Restored],
    scan: &'t mut Scan,
}

impl<'t> Tools<'t> {
    /// For an answer to a call of `caller` that carried `restored` in clear.
    pub fn new(
        rules: &'t RouteRules,
        caller: &'t Caller<'t>,
        restored: &'t [Restored],
        walker: &'t mut Walker,
        scan: &'t mut Scan,
    ) -> Self {
        let rules = if restored.is_empty() {
            Cow::Borrowed(rules)
        } else {
            Cow::Owned(rules.with_tokens_of(&restored.iter().map(|restored| restored.detector).collect::<Vec<_>>()))
        };
        Self { judge: Judge { rules, caller, restored, scan }, walker }
    }
}

impl Judge<'_> {
    /// Searches `content`, what is decided of which ends at `from`.
    fn look(&mut self, content: &Content<'_>, from: usize, total: &mut Total) -> Result<(), StreamRefused> {
        let looked = screen::look(content, from, &self.rules, self.restored, self.scan);
        looked.map_err(|refused| total.refuse(refused).into())
    }

    /// Decides on what was found, as far as it `counts`.
    fn act(
        &mut self,
        content: &Content<'_>,
        total: &mut Total,
        counts: impl Fn(Option<usize>, &Range<usize>) -> bool,
    ) -> Result<Vec<Edit>, StreamRefused> {
        let screened = screen::act(self.caller, content, &self.rules, self.scan, counts);
        let screened = screened.map_err(|refused| StreamRefused::from(total.refuse(refused)))?;
        total.add(&screened.findings, screened.evidence, &self.rules)?;
        Ok(screened.edits)
    }

    /// What detectors may do.
    fn reach(&self) -> Reach {
        let wanted = self.rules.wanted();
        let phrases = Detector::ALL.into_iter().any(|one| wanted.contains(one) && is_phrase(one));
        let longest = self.restored.iter().map(|restored| restored.value.len()).max();
        Reach { phrases: phrases || longest.is_some(), longest: longest.unwrap_or_default() }
    }
}

/// Whether what a detector finds may begin or end in plain words, or be told by words behind it. What is newer than this
/// list counts as such, and holds text back longer, until somebody looked. Media lie in one word, longer than a plain one.
fn is_phrase(detector: Detector) -> bool {
    use Detector::{Address, HiddenText, Jailbreak, Person, PromptInjection, SwiftBic, UnscannableMedia};
    matches!(detector, Address | Jailbreak | Person | PromptInjection | SwiftBic)
        || (detector > HiddenText && detector != UnscannableMedia)
}

/// Why a stream ends early: [`Reason::ContentBlocked`], [`Reason::ScannerFailed`] or [`Reason::ResponseUnscannable`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", reason.title())]
pub struct StreamRefused {
    /// The reason.
    pub reason: Reason,
}

impl From<Reason> for StreamRefused {
    fn from(reason: Reason) -> Self {
        Self { reason }
    }
}

/// One answer's screening.
#[derive(Debug)]
pub struct StreamScreen {
    source: Source,
    total: Total,
}

#[derive(Debug)]
enum Source {
    Events(Events, Queue),
    Text(Text, Steps),
}

impl StreamScreen {
    /// For a stream of this kind. An event may have `held_bytes_max` bytes, and as many may wait.
    #[must_use]
    pub fn new(kind: StreamKind, held_bytes_max: usize) -> Self {
        let source = match kind {
            StreamKind::Events => Source::Events(Events::new(held_bytes_max), Queue::new(held_bytes_max)),
            StreamKind::Text => Source::Text(Text::default(), Steps::default()),
        };
        Self { source, total: Total::default() }
    }

    /// Adds what was found in the fields of its head.
    ///
    /// # Errors
    /// With that alone it is too grave to pass.
    pub fn begin_with(
        &mut self,
        findings: &[Finding],
        evidence: Evidence,
        rules: &RouteRules,
    ) -> Result<(), StreamRefused> {
        Ok(self.total.add(findings, evidence, rules)?)
    }

    /// Takes the next bytes of the stream; what may leave is appended to `out`, on an error too.
    ///
    /// # Errors
    /// Why nothing more may leave. The stream is over then.
    pub fn push(&mut self, bytes: &[u8], tools: &mut Tools<'_>, out: &mut Vec<u8>) -> Result<(), StreamRefused> {
        match &mut self.source {
            Source::Events(events, queue) => {
                events.push(bytes);
                loop {
                    let event = events.next_event();
                    let event = event.map_err(|_| StreamRefused { reason: Reason::ResponseUnscannable })?;
                    let Some(event) = event else { return Ok(()) };
                    queue.take(&event, tools, &mut self.total, out)?;
                }
            }
            Source::Text(text, steps) => {
                let mut rest = bytes;
                while !rest.is_empty() {
                    let (part, is_whole) = steps.next(&mut rest);
                    if steps.hides(part) {
                        return Err(StreamRefused { reason: Reason::ResponseUnscannable });
                    }
                    text.push(part);
                    if is_whole {
                        text.decide_into(false, &mut tools.judge, &mut self.total, out)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// The stream is over: what was undecided is decided.
    ///
    /// # Errors
    /// As [`StreamScreen::push`].
    pub fn end(&mut self, tools: &mut Tools<'_>, out: &mut Vec<u8>) -> Result<(), StreamRefused> {
        match &mut self.source {
            Source::Events(events, queue) => {
                if let Some(event) = events.rest() {
                    queue.take(&event, tools, &mut self.total, out)?;
                }
                queue.end(tools, &mut self.total, out)
            }
            Source::Text(text, _) => text.decide_into(true, &mut tools.judge, &mut self.total, out),
        }
    }

    /// Bytes that wait.
    #[must_use]
    pub fn held(&self) -> usize {
        match &self.source {
            Source::Events(events, queue) => events.held() + queue.held(),
            Source::Text(text, _) => text.undecided(),
        }
    }

    /// What was found so far, one entry per (type, action, mode).
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.total.findings
    }

    /// Where it lies, and how grave it is.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        &self.total.evidence
    }

    /// How many places were changed so far.
    #[must_use]
    pub fn edits(&self) -> usize {
        self.total.edits
    }
}

/// Where plain text is looked at: told by its bytes, not by how they were read.
#[derive(Debug, Default)]
struct Steps {
    /// Bytes since the last look.
    since: usize,
    /// Whether the text begins as JSON does, once it has begun.
    json: Option<bool>,
    /// The last byte was a backslash.
    escaped: bool,
}

impl Steps {
    /// Whether the text may be JSON, whatever it is called, with an escape that hides what it spells (`\u0030`, `\/`).
    fn hides(&mut self, bytes: &[u8]) -> bool {
        if self.json.is_none() {
            let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
            self.json = first.map(|byte| matches!(byte, b'{' | b'[' | b'"'));
        }
        let hides = |byte: u8| {
            let is_escape = self.escaped && matches!(byte, b'u' | b'/');
            self.escaped = byte == b'\\' && !self.escaped;
            is_escape
        };
        self.json == Some(true) && bytes.iter().copied().any(hides)
    }

    /// The next part of `rest`, and whether the text is looked at behind it.
    fn next<'b>(&mut self, rest: &mut &'b [u8]) -> (&'b [u8], bool) {
        let room = rest.len().min(STEP_BYTES - self.since);
        let len = memchr::memchr(b'\n', &rest[..room]).map_or(room, |newline| newline + 1);
        let part = &rest[..len];
        *rest = &rest[len..];
        let is_whole = part.ends_with(b"\n") || self.since + len == STEP_BYTES;
        self.since = if is_whole { 0 } else { self.since + len };
        (part, is_whole)
    }
}

#[cfg(test)]
mod tests;
