//! Content safety: is the data clean. Bytes become findings, chosen actions and [`Edit`]s; the bytes themselves are left
//! alone.
//!
//! `shapes` and [`hyperscan`] name places worth a look ([`scanner`] says what such a place is), [`detectors`] decide what
//! stands there, [`rules`] what is done about it for each call and direction, [`risk`] how grave it is, [`redact`] how the
//! bytes change ([`tokenise`] into what can be turned back), [`inflate`] what was compressed. [`screen()`] and
//! [`screen_response`] are the doors the pipeline uses, [`screen_fields`] the one for what a head says beside, and
//! [`stream`] the one for answers that come piece by piece.
//!
//! Invariants: findings carry counts, never values. Every edit leaves valid JSON. What could not be searched to its end
//! is refused, and so is what an action would have to edit where nothing can be edited.

use std::ops::Range;
use std::sync::Arc;

use crate::config::resolved::{ContentAction, Detector, Mode};
use crate::identity::{Authenticated, Identity};
use crate::reason::Reason;

pub mod catalogue;
mod custom;
pub(crate) mod decode;
pub mod detectors;
mod fields;
mod form;
#[cfg(any(test, feature = "fuzzing"))]
mod fuzz;
pub mod hyperscan;
pub mod inflate;
#[cfg(target_arch = "x86_64")]
mod lanes;
pub mod redact;
pub mod risk;
pub mod rules;
pub mod scanner;
pub(crate) mod screen;
mod shapes;
pub mod stream;
pub mod tokenise;
mod total;
pub mod validators;

pub use fields::{Field, FieldEdits, FieldsScreened, screen_fields, screen_response_fields, together};
pub use form::screen_form;
pub use redact::{splice, spliced_len, text_as_sent};
pub use rules::{BLOCK_SCORE_RULE, RouteRules, RuleError, RuleSet, Scope, ScopeNames};
pub use screen::{
    Body, Content, ContentRefused, FINDINGS_MAX, Match, ResponseScreened, Scan, find, risk_of, screen, screen_response,
};

pub use tokenise::{Caller, Restored};

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
    /// How sure the surest of them is, percent.
    pub confidence: u8,
    /// The strictest action that a rule of this mode chose.
    pub action: ContentAction,
    /// `Observe`: the action was recorded, not taken.
    pub mode: Mode,
}

/// Where a finding lies: never what stands there, nor a key that is a finding itself (THREATS A16).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundAt {
    /// The type.
    pub detector: Detector,
    /// `#` and a JSON pointer (RFC 6901 §6, without its percent-encoding), in which keys with a finding print as `*`;
    /// or `body`, `form`, `header`, `path` or `query`. Keys are the caller's text.
    pub place: String,
}

/// What a record says of findings beyond their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Evidence {
    /// The first of the places, at most [`PLACES_MAX`].
    pub places: Vec<FoundAt>,
    /// How grave it all is: see [`risk`].
    pub score: u8,
    /// `safety.block_score` would refuse it, if it did more than observe.
    pub would_block: bool,
    /// Numbers of a JSON body that became strings, because what is written in their place is none.
    pub numbers_to_text: u32,
    /// Why some of it was not searched and passed all the same, as its route says.
    pub unscreened: Option<Reason>,
}

impl Evidence {
    /// What passed without being searched.
    pub(super) fn unscreened(reason: Reason) -> Self {
        Self { unscreened: Some(reason), ..Self::default() }
    }
}

/// No finding, no evidence.
pub static NO_EVIDENCE: Evidence =
    Evidence { places: Vec::new(), score: 0, would_block: false, numbers_to_text: 0, unscreened: None };

/// Most places that a record names for one direction: enough to find the field, too few to be a copy of the document.
pub const PLACES_MAX: usize = 8;

/// What most requests have none of.
#[derive(Debug, Default)]
struct Aside {
    evidence: Evidence,
    restored: Vec<Restored>,
    fields: Vec<FieldEdits>,
}

/// Proof that the request's content was scanned and no enforced rule blocks it.
#[derive(Debug)]
pub struct Screened {
    auth: Authenticated,
    findings: Vec<Finding>,
    /// There is some when there are findings.
    aside: Option<Box<Aside>>,
    edits: Vec<Edit>,
}

impl Screened {
    /// A request that could not be searched to its end and passes all the same.
    fn unscreened(auth: Authenticated, reason: Reason) -> Self {
        let aside = Aside { evidence: Evidence::unscreened(reason), ..Aside::default() };
        Self { auth, findings: Vec::new(), aside: Some(Box::new(aside)), edits: Vec::new() }
    }

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

    /// Where it lies, and how grave it is.
    #[must_use]
    pub fn evidence(&self) -> &Evidence {
        self.aside.as_ref().map_or(&NO_EVIDENCE, |aside| &aside.evidence)
    }

    /// The values that go out in clear, and have to become tokens again in the answer.
    #[must_use]
    pub fn restored(&self) -> &[Restored] {
        self.aside.as_ref().map_or(&[], |aside| &aside.restored)
    }

    /// What will be changed before it is sent.
    #[must_use]
    pub fn edits(&self) -> &[Edit] {
        &self.edits
    }

    /// What will be changed in the fields of its head, in their order.
    #[must_use]
    pub fn field_edits(&self) -> &[FieldEdits] {
        self.aside.as_ref().map_or(&[], |aside| &aside.fields)
    }

    /// For tests of later layers only.
    #[cfg(test)]
    pub(crate) fn for_test(auth: Authenticated, findings: Vec<Finding>, edits: Vec<Edit>) -> Self {
        Self { auth, findings, aside: None, edits }
    }
}
