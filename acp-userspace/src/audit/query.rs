//! Reading the log as records: lines parsed, intents joined to their outcomes, people unsealed, and what was asked for.
//!
//! Pure: lines come in (in log order), records come out. Who opens the files decides how much is read; a [`Joiner`]
//! holds the intents whose outcome it has not seen, which the gateway bounds by what its rings hold.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::audit::seal::Personal;
use crate::audit::when::Interval;

mod unseal;
pub mod value;

pub use unseal::Unsealer;

/// Where a record stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Segment number.
    pub segment: u64,
    /// Line in it, from 1.
    pub line: u64,
}

/// One record: what its line (or its intent's and outcome's) says, and the person where the key is still there.
#[derive(Debug, Clone)]
pub struct Record {
    /// The line's fields; an outcome's are merged into its intent's, with its time as `ended`.
    pub fields: Map<String, Value>,
    /// What was sealed.
    pub personal: Option<Personal>,
    /// It was sealed, and the key was deleted.
    pub erased: bool,
    /// Where it stands; the intent's place where there are two lines.
    pub place: Place,
}

impl Record {
    /// Parses a line; `None` if it is no record.
    #[must_use]
    pub fn parse(line: &[u8], place: Place) -> Option<Self> {
        let Value::Object(fields) = serde_json::from_slice(line).ok()? else { return None };
        fields.contains_key("kind").then_some(Self { fields, personal: None, erased: false, place })
    }

    /// A text field; empty if it is not there.
    #[must_use]
    pub fn text(&self, key: &str) -> &str {
        self.fields.get(key).and_then(Value::as_str).unwrap_or("")
    }

    /// A number; 0 if it is not there.
    #[must_use]
    pub fn number(&self, key: &str) -> u64 {
        self.fields.get(key).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A list of texts.
    pub fn texts<'a>(&'a self, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        self.fields.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
    }

    /// When it was decided.
    #[must_use]
    pub fn time(&self) -> Option<Timestamp> {
        self.text("time").parse().ok()
    }

    /// Who asked, for people: the subject, or why it is not known.
    #[must_use]
    pub fn subject(&self) -> &str {
        match &self.personal {
            Some(personal) if !personal.subject.is_empty() => &personal.subject,
            None if !self.fields.contains_key("tenant") => "-",
            None if self.erased => "(erased)",
            None => "(sealed)",
            Some(_) => "-",
        }
    }

    /// Whether nobody has seen an outcome yet.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.text("kind") == "intent"
    }

    /// Takes over what the outcome says.
    fn end(&mut self, outcome: Self) {
        for (key, value) in outcome.fields {
            match key.as_str() {
                "id" | "mono_ns" => {}
                "time" => drop(self.fields.insert("ended".to_owned(), value)),
                "kind" => drop(self.fields.insert(key, "request".into())),
                _ => drop(self.fields.insert(key, value)),
            }
        }
    }
}

/// Joins intents and outcomes that are lines of their own.
#[derive(Debug, Default)]
pub struct Joiner {
    open: HashMap<String, Record>,
}

impl Joiner {
    /// Takes the next record of the log; gives one that is complete. An intent waits, an outcome without intent (it
    /// lies before what was read) passes as it is.
    pub fn push(&mut self, record: Record) -> Option<Record> {
        match record.text("kind") {
            "intent" => {
                self.open.insert(record.text("id").to_owned(), record);
                None
            }
            "outcome" => match self.open.remove(record.text("id")) {
                Some(mut intent) => {
                    intent.end(record);
                    Some(intent)
                }
                None => Some(record),
            },
            _ => Some(record),
        }
    }

    /// Intents that wait.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The intents that still wait at the end of the log, in its order.
    #[must_use]
    pub fn finish(self) -> Vec<Record> {
        let mut open: Vec<Record> = self.open.into_values().collect();
        open.sort_by_key(|record| (record.place.segment, record.place.line));
        open
    }
}

/// What is asked for; `None` asks for nothing in particular.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Subject, exactly.
    pub user: Option<String>,
    /// Tenant, exactly.
    pub tenant: Option<String>,
    /// Tool id, exactly, or all below it: `crm` finds `crm/contacts`.
    pub tool: Option<String>,
    /// A data label.
    pub label: Option<String>,
    /// `allow`, `deny` or `error`.
    pub decision: Option<String>,
    /// A reason code.
    pub reason: Option<String>,
    /// When.
    pub interval: Interval,
    /// Events too.
    pub events: bool,
}

impl Filter {
    /// Whether the record's time and plain fields match; the user is asked for after unsealing.
    #[must_use]
    pub fn matches_plain(&self, record: &Record) -> bool {
        let is = |wanted: &Option<String>, key: &str| wanted.as_deref().is_none_or(|wanted| record.text(key) == wanted);
        let tool = self.tool.as_deref().is_none_or(|wanted| {
            let rest = record.text("tool").strip_prefix(wanted);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let label = self.label.as_deref().is_none_or(|wanted| record.texts("labels").any(|label| label == wanted));
        let kind = match record.text("kind") {
            "event" => self.events && !self.asks_for_requests(),
            "summary" => !self.asks_for_calls(),
            "outcome" => false,
            _ => true,
        };
        kind && tool
            && label
            && is(&self.tenant, "tenant")
            && is(&self.decision, "decision")
            && is(&self.reason, "reason")
            && record.time().is_some_and(|time| self.interval.contains(time))
    }

    /// Whether the person matches.
    #[must_use]
    pub fn matches_person(&self, record: &Record) -> bool {
        self.user.as_deref().is_none_or(|wanted| record.personal.as_ref().is_some_and(|who| who.subject == wanted))
    }

    /// Asks for what only a verified caller's record has.
    fn asks_for_calls(&self) -> bool {
        self.user.is_some() || self.tenant.is_some() || self.tool.is_some() || self.label.is_some()
    }

    fn asks_for_requests(&self) -> bool {
        self.asks_for_calls() || self.decision.is_some() || self.reason.is_some()
    }
}

/// What was found, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records of single requests, and events.
    pub records: u64,
    /// Refused, by reason.
    pub refused: HashMap<String, u64>,
    /// Failed.
    pub errors: u64,
    /// Refusals that summaries stand for.
    pub summarised: u64,
}

impl Tally {
    /// Counts a record that matched.
    pub fn add(&mut self, record: &Record) {
        if record.text("kind") == "summary" {
            self.summarised += record.number("count");
            return;
        }
        self.records += 1;
        match record.text("decision") {
            "deny" => *self.refused.entry(record.text("reason").to_owned()).or_default() += 1,
            "error" => self.errors += 1,
            _ => {}
        }
    }

    /// One sentence: `5 records, 2 refused (1 policy_denied, 1 content_blocked)`.
    #[must_use]
    pub fn describe(&self) -> String {
        let plural = |n: u64| if n == 1 { "" } else { "s" };
        let refused: u64 = self.refused.values().sum();
        let mut text = format!("{} record{}, {refused} refused", self.records, plural(self.records));
        let mut reasons: Vec<_> = self.refused.iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
        if !reasons.is_empty() {
            let reasons: Vec<String> = reasons.iter().map(|(reason, n)| format!("{n} {reason}")).collect();
            text.push_str(&format!(" ({})", reasons.join(", ")));
        }
        if self.errors > 0 {
            text.push_str(&format!(", {} failed", self.errors));
        }
        if self.summarised > 0 {
            let n = self.summarised;
            text.push_str(&format!("; {n} more refusal{} of unverified callers in summaries", plural(n)));
        }
        text
    }
}

#[cfg(test)]
mod tests;
