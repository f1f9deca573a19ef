//! Forms in parts (`multipart/form-data`): screened as the text they are, their JSON parts as JSON.
//!
//! The whole body is searched, names and file names with it; edits are made where a part is text or JSON. In anything else
//! an edit would break what it does not understand, so what would be edited there blocks. Tokens in a form are text: none
//! is turned back.

use std::ops::Range;

use super::rules::RouteRules;
use super::screen::{self, Body, Content, ContentRefused, Scan};
use super::total::Total;
use super::{Aside, Caller, Edit, Screened};
use crate::identity::Authenticated;
use crate::protocol::json::{self, JsonError, Walker};
use crate::protocol::multipart::{Part, PartKind};
use crate::reason::Reason;

/// Screens a request whose body is such a form; `content` has what it asks for beside.
///
/// # Errors
/// As [`screen`](super::screen()); `InvalidJson` or `DuplicateKey` for a JSON part that cannot be read.
pub fn screen_form(
    auth: Authenticated,
    caller: &Caller<'_>,
    content: &Content<'_>,
    form: (&[u8], &[Part]),
    rules: &RouteRules,
    scan: &mut Scan,
) -> Result<Screened, ContentRefused> {
    let (body, parts) = form;
    if rules.is_empty() {
        return Ok(Screened { auth, findings: Vec::new(), aside: None, edits: Vec::new() });
    }
    let mut walker = Walker::new();
    let kinds: Vec<PartKind> = parts.iter().map(|part| kind(part, body, &mut walker)).collect();
    let kind_at = |range: &Range<usize>| {
        let over = |part: &Part| part.content.start < range.end && range.start < part.content.end;
        parts.iter().zip(&kinds).find(|(part, _)| over(part)).map(|(_, kind)| *kind)
    };
    let mut total = Total::default();
    let beside = screen::screen_response(caller, &Content { body: Body::Empty, ..*content }, rules, &[], scan)?;
    total.add(&beside.findings, beside.evidence, rules).map_err(|reason| refused(reason, &total))?;
    let whole = Content::body(Body::Raw(body));
    if let Err(refused) = screen::look(&whole, 0, rules, &[], scan) {
        return if rules.fails_open() { Ok(Screened::unscreened(auth, refused.reason)) } else { Err(refused) };
    }
    let text = screen::act(caller, &whole, rules, scan, |_, range| kind_at(range) != Some(PartKind::Json))?;
    total.add(&text.findings, text.evidence, rules).map_err(|reason| refused(reason, &total))?;
    if text.edits.iter().any(|edit| kind_at(&edit.range) == Some(PartKind::Other)) {
        return Err(refused(Reason::ContentBlocked, &total));
    }
    let mut edits = text.edits;
    for (part, _) in parts.iter().zip(&kinds).filter(|(_, kind)| **kind == PartKind::Json) {
        let document = walker.walk(&body[part.content.clone()], &json::Limits::default());
        let document = document.map_err(|error| refused(error.reason(), &total))?;
        let json = screen::screen_response(caller, &Content::body(Body::Json(document)), rules, &[], scan)?;
        total.add(&json.findings, json.evidence, rules).map_err(|reason| refused(reason, &total))?;
        let start = part.content.start;
        edits.extend(json.edits.into_iter().map(|edit| Edit {
            range: start + edit.range.start..start + edit.range.end,
            pointer: None,
            ..edit
        }));
    }
    edits.sort_by_key(|edit| edit.range.start);
    let said = !total.findings.is_empty() || total.evidence.unscreened.is_some();
    let aside = said.then(|| Box::new(Aside { evidence: total.evidence, ..Aside::default() }));
    Ok(Screened { auth, findings: total.findings, aside, edits })
}

/// What a part is read as: what parses as JSON is JSON, and so is what would but for a rule of ours.
fn kind(part: &Part, body: &[u8], walker: &mut Walker) -> PartKind {
    use JsonError::{DuplicateKey, TooDeep, TooLarge};
    let content = &body[part.content.clone()];
    let begins = content.trim_ascii_start().first();
    if part.kind != PartKind::Text || !matches!(begins, Some(b'{' | b'[' | b'"')) {
        return part.kind;
    }
    match walker.walk(content, &json::Limits::default()) {
        Ok(_) | Err(DuplicateKey(_) | TooDeep(_) | TooLarge) => PartKind::Json,
        Err(_) => PartKind::Text,
    }
}

fn refused(reason: Reason, total: &Total) -> ContentRefused {
    ContentRefused { reason, findings: total.findings.clone(), evidence: total.evidence.clone(), rule: None }
}
