//! Fields of heads: what a client's or an upstream's fields say is screened like any other text (THREATS A14).
//!
//! Each field that goes on is one text, `name: value`, so that its name tells of its value. They are looked at together
//! first: most heads say nothing, and one look is enough to know. What is found in a value is edited there; what is found
//! in a name, which cannot be edited, blocks. Credentials are no content: routing leaves out what it forwards as such.
//!
//! Clients say the same in every request, so what was found clean lately is remembered ([`Clean`]): by all of its bytes, and
//! by the rules that found it so.
//!
//! Invariant: an edit lies within the value of one field, so that no field is lost and none is added.

use smallvec::SmallVec;

use super::rules::RouteRules;
use super::screen::{self, Body, Content, ContentRefused, ResponseScreened, Scan};
use super::total::Total;
use super::{Aside, Caller, Edit, Evidence, Finding, Restored, Screened};
use crate::reason::Reason;

/// Between two fields in the text that is looked at first: no detector and no encoded run goes on behind it.
const BETWEEN: &[u8] = b"\n\n";
/// What most heads hold: it is not looked at, under the names that have it.
const COMMON: [&[u8]; 5] =
    [b"*/*", b"application/json", b"text/event-stream", b"application/json, text/event-stream", b"private, no-store"];
const COMMON_NAMES: [&str; 3] = ["accept", "content-type", "cache-control"];

/// Heads that the rules found nothing in: one worker's memory, at most 32 KiB.
#[derive(Debug, Default)]
pub(super) struct Clean {
    /// Each at the place its bytes choose: what the rules are named by, and the text.
    known: Vec<(u64, Vec<u8>)>,
    /// Where the next is put together.
    text: Vec<u8>,
}

impl Clean {
    /// How many are remembered, and how long each may be.
    const HEADS: usize = 64;
    const BYTES_MAX: usize = 512;

    /// Whether these rules found nothing in this text.
    fn knows(&self, rules: &RouteRules, text: &[u8]) -> bool {
        rules.id().is_some_and(|id| {
            self.known.get(Self::place(id, text)).is_some_and(|known| known.0 == id && known.1 == text)
        })
    }

    /// Remembers that they did not, in place of another.
    fn learn(&mut self, rules: &RouteRules, text: &[u8]) {
        let Some(id) = rules.id().filter(|_| text.len() <= Self::BYTES_MAX) else { return };
        self.known.resize_with(Self::HEADS, Default::default);
        let (known_id, known) = &mut self.known[Self::place(id, text)];
        *known_id = id;
        known.clear();
        known.extend_from_slice(text);
    }

    /// Which of the places: whoever makes two texts collide has them searched each time.
    fn place(id: u64, text: &[u8]) -> usize {
        let mix = |hash: u64, word: u64| (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23);
        let (words, rest) = text.as_chunks();
        let hash = words.iter().fold(id, |hash, word| mix(hash, u64::from_le_bytes(*word)));
        mix(rest.iter().fold(hash, |hash, byte| mix(hash, u64::from(*byte))), 0) as usize % Self::HEADS
    }
}

/// A field that goes on.
#[derive(Debug, Clone, Copy)]
pub struct Field<'h> {
    /// Its place among the fields of its head.
    pub at: usize,
    /// Its name.
    pub name: &'h str,
    /// Its value.
    pub value: &'h [u8],
}

impl Field<'_> {
    /// Whether it is one that every other head holds.
    fn is_common(&self) -> bool {
        COMMON_NAMES.iter().any(|name| name.eq_ignore_ascii_case(self.name)) && COMMON.contains(&self.value)
    }

    fn write(&self, out: &mut Vec<u8>) {
        for part in [self.name.as_bytes(), b": ", self.value] {
            out.extend_from_slice(part);
        }
    }
}

/// As many as most heads have.
type Fields<'h> = SmallVec<[Field<'h>; 16]>;

/// What becomes of one field's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldEdits {
    /// The place of the field among those of its head.
    pub at: usize,
    /// Ranges lie in its value, do not overlap, and rise.
    pub edits: Vec<Edit>,
}

/// What screening fields decided.
#[derive(Debug, Default)]
pub struct FieldsScreened {
    /// One entry per (type, action, mode).
    pub findings: Vec<Finding>,
    /// Where they lie, and how grave it is.
    pub evidence: Evidence,
    /// What is changed, in the order of the fields.
    pub edits: Vec<FieldEdits>,
}

/// Screens the fields of a request that go on, beside what was decided on its content.
///
/// # Errors
/// As [`screen`](super::screen()): for what the fields hold, or for what they and the content come to together.
pub fn screen_fields<'h>(
    screened: Screened,
    caller: &Caller<'_>,
    fields: impl Iterator<Item = Field<'h>>,
    rules: &RouteRules,
    scan: &mut Scan,
) -> Result<Screened, ContentRefused> {
    if rules.is_empty() && rules.tokens().is_none() {
        return Ok(screened);
    }
    let fields: Fields<'_> = fields.filter(|field| !field.is_common()).collect();
    if let Some(tokens) = rules.tokens() {
        fields.iter().try_for_each(|field| screen::tokens_in_text(tokens, caller, field.value))?;
    }
    let found = look_at(caller, &fields, rules, &[], scan)?;
    if found.findings.is_empty() && found.evidence.unscreened.is_none() {
        return Ok(screened);
    }
    // What must not pass unread for the content's sake does not for theirs.
    if let Some(reason) = found.evidence.unscreened.filter(|_| !screened.restored().is_empty()) {
        return Err(ContentRefused { reason, findings: found.findings, evidence: Evidence::default(), rule: None });
    }
    let Screened { auth, findings, aside, edits } = screened;
    let aside = aside.map(|aside| *aside).unwrap_or_default();
    let content = (findings, aside.evidence);
    let (findings, evidence) = together(content, (found.findings, found.evidence), rules)?;
    let aside = Aside { evidence, restored: aside.restored, fields: found.edits };
    Ok(Screened { auth, findings, aside: Some(Box::new(aside)), edits })
}

/// Screens the fields of an answer that go on; `restored` is what its request carried in clear.
///
/// # Errors
/// As [`screen_response`](super::screen_response).
pub fn screen_response_fields<'h>(
    caller: &Caller<'_>,
    fields: impl Iterator<Item = Field<'h>>,
    rules: &RouteRules,
    restored: &[Restored],
    scan: &mut Scan,
) -> Result<FieldsScreened, ContentRefused> {
    let fields: Fields<'_> = fields.filter(|field| !field.is_common()).collect();
    look_at(caller, &fields, rules, restored, scan)
}

/// What was found in two parts of one message, as one.
///
/// # Errors
/// [`Reason::ContentBlocked`] when together they are graver than `safety.block_score` lets pass.
pub fn together(
    one: (Vec<Finding>, Evidence),
    other: (Vec<Finding>, Evidence),
    rules: &RouteRules,
) -> Result<(Vec<Finding>, Evidence), ContentRefused> {
    let mut total = Total::default();
    for (findings, evidence) in [one, other] {
        add(&mut total, &findings, evidence, rules)?;
    }
    Ok((total.findings, total.evidence))
}

fn add(total: &mut Total, findings: &[Finding], evidence: Evidence, rules: &RouteRules) -> Result<(), ContentRefused> {
    total.add(findings, evidence, rules).map_err(|reason| ContentRefused {
        reason,
        findings: total.findings.clone(),
        evidence: total.evidence.clone(),
        rule: Some(super::BLOCK_SCORE_RULE.into()),
    })
}

fn look_at(
    caller: &Caller<'_>,
    fields: &[Field<'_>],
    rules: &RouteRules,
    restored: &[Restored],
    scan: &mut Scan,
) -> Result<FieldsScreened, ContentRefused> {
    let mut found = FieldsScreened::default();
    if fields.is_empty() || rules.is_empty() && restored.is_empty() {
        return Ok(found);
    }
    let mut text = std::mem::take(&mut scan.clean.text);
    text.clear();
    for field in fields {
        field.write(&mut text);
        text.extend_from_slice(BETWEEN);
    }
    // With tokens, or values to be looked for, what is clean depends on whose request it is.
    let same_for_all = restored.is_empty() && rules.tokens().is_none();
    let known = same_for_all && scan.clean.knows(rules, &text);
    if known || is_clean(caller, &text, rules, restored, scan) {
        if same_for_all && !known {
            scan.clean.learn(rules, &text);
        }
        text.clear();
        text.shrink_to(Clean::BYTES_MAX);
        scan.clean.text = text;
        return Ok(found);
    }
    let mut total = Total::default();
    for field in fields {
        text.clear();
        field.write(&mut text);
        let content = Content::body(Body::Raw(&text));
        let ResponseScreened { findings, mut evidence, edits } =
            screen::screen_response(caller, &content, rules, restored, scan).map_err(named)?;
        evidence.places.iter_mut().for_each(|found| found.place = PLACE.to_owned());
        add(&mut total, &findings, evidence, rules)?;
        let value = field.name.len() + 2;
        if edits.iter().any(|edit| edit.range.start < value) {
            let (findings, evidence) = (total.findings, total.evidence);
            return Err(ContentRefused { reason: Reason::ContentBlocked, findings, evidence, rule: None });
        }
        let within = |edit: Edit| Edit { range: edit.range.start - value..edit.range.end - value, ..edit };
        let edits: Vec<_> = edits.into_iter().map(within).collect();
        if !edits.is_empty() {
            found.edits.push(FieldEdits { at: field.at, edits });
        }
    }
    (found.findings, found.evidence) = (total.findings, total.evidence);
    Ok(found)
}

/// What records call the place of what was found in a field.
const PLACE: &str = "header";

/// Whether nothing is found in all fields together. Whatever is wrong is told of the one it is wrong with.
fn is_clean(caller: &Caller<'_>, text: &[u8], rules: &RouteRules, restored: &[Restored], scan: &mut Scan) -> bool {
    let screened = screen::screen_response(caller, &Content::body(Body::Raw(text)), rules, restored, scan);
    screened.is_ok_and(|screened| screened.findings.is_empty() && screened.evidence.unscreened.is_none())
}

/// What does not pass lies in a field.
fn named(mut refused: ContentRefused) -> ContentRefused {
    refused.evidence.places.iter_mut().for_each(|found| found.place = PLACE.to_owned());
    refused
}

#[cfg(test)]
mod tests;
