//! Answers that rules look at while they pass: how they are begun, screened piece by piece, and settled.

use std::cell::RefCell;

use super::Core;
use super::answer::Governed;
use crate::reason::Reason;
use crate::safety::Caller;
use crate::safety::stream::{StreamKind, StreamScreen, Tools};

impl Governed {
    /// The answer is screened as it comes.
    pub(super) fn begin_stream(&mut self, kind: StreamKind) {
        let config = &self.snapshot().settings.config;
        let held_bytes_max = config.routes[self.route].body_bytes_max;
        self.stream = Some(Box::new(StreamScreen::new(kind, held_bytes_max)));
    }

    /// Bytes of the answer that wait to be decided upon.
    #[must_use]
    pub fn stream_held(&self) -> usize {
        self.stream.as_ref().map_or(0, |stream| stream.held())
    }

    /// Takes over what the stream's screening found.
    pub(super) fn end_stream(&mut self) {
        if let Some(stream) = self.stream.take() {
            (self.findings, self.evidence) = (stream.findings().to_vec(), stream.evidence().clone());
            self.ready.edits += u32::try_from(stream.edits()).unwrap_or(u32::MAX);
        }
    }
}

/// Lets the rules see the next bytes of an answer that is screened as it comes, or its end; what may leave is appended to
/// `out`, on an error too.
///
/// # Errors
/// Why nothing more of it may leave: `ContentBlocked`, `ScannerFailed`, `ResponseUnscannable`.
pub fn screen_piece(
    core: &RefCell<Core>,
    governed: &mut Governed,
    bytes: &[u8],
    at_end: bool,
    out: &mut Vec<u8>,
) -> Result<(), Reason> {
    let core = &mut *core.borrow_mut();
    let snapshot = governed.snapshot().clone();
    let rules = snapshot.settings.rules.response(governed.trail.scope()).ok_or(Reason::Internal)?;
    let trail = &governed.trail;
    let tool = trail.tool.as_ref().map_or("", |tool| &tool.name);
    let caller = Caller::new(&governed.ready.identity, tool, "", trail.now);
    let stream = governed.stream.as_mut().ok_or(Reason::Internal)?;
    let mut tools = Tools::new(rules, &caller, &trail.restored, &mut core.walker, &mut core.scan);
    let mut screened = stream.push(bytes, &mut tools, out);
    if at_end && screened.is_ok() {
        screened = stream.end(&mut tools, out);
    }
    screened.map_err(|refused| refused.reason)
}
