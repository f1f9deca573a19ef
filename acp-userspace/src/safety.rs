//! Content safety: is the data clean. Bytes become findings, chosen actions and [`Edit`]s; the bytes themselves are left
//! alone.
//!
//! `shapes` and [`hyperscan`] name places worth a look ([`scanner`] says what such a place is), [`detectors`] decide what stands there, [`rules`] what is done about it per route and
//! direction, [`redact`] how the bytes change, and [`screen()`] and [`screen_response`] are the doors the pipeline uses.
//!
//! Invariants: findings carry counts, never values. Every edit leaves valid JSON. What could not be searched to its end
//! is refused, and so is what an action would have to edit where nothing can be edited.

use std::ops::Range;
use std::sync::Arc;

use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::identity::{Authenticated, Identity};

pub mod detectors;
pub mod hyperscan;
pub mod redact;
pub mod rules;
pub mod scanner;
mod screen;
mod shapes;
pub mod validators;

pub use redact::{splice, spliced_len, text_as_sent};
pub use rules::{RouteRules, RuleError, RuleSet};
pub use screen::{
    Body, Content, ContentRefused, FINDINGS_MAX, Match, ResponseScreened, Scan, find, screen, screen_response,
};

/// One change to a body, spliced by routing. Ranges lie in the original bytes, do not overlap, and rise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// What is replaced.
    pub range: Range<usize>,
    /// By what.
    pub bytes: Vec<u8>,
    /// JSON pointer (RFC 6901) of the string, key or number it falls in; `None` for a raw body.
    pub pointer: Option<String>,
}

/// What was found of one type in one direction: never a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The type.
    pub detector: Detector,
    /// How many.
    pub count: u32,
    /// The strictest action an enforced rule chose.
    pub action: ContentAction,
    /// `Observe`: the action was recorded, not taken.
    pub mode: Mode,
}

/// Proof that the request's content was scanned and no enforced rule blocks it.
#[derive(Debug)]
pub struct Screened {
    auth: Authenticated,
    findings: Vec<Finding>,
    edits: Vec<Edit>,
}

impl Screened {
    /// Who it is.
    #[must_use]
    pub fn identity(&self) -> &Arc<Identity> {
        self.auth.identity()
    }

    /// What was found, one entry per (type, action, mode).
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What will be changed before it is sent.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// For tests of later layers only.
    #[cfg(test)]
    pub(crate) fn for_test(auth: Authenticated, findings: Vec<Finding>, edits: Vec<Edit>) -> Self {
        Self { auth, findings, edits }
    }
}
