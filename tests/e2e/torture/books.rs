//! The books: what the log says, against the upstream's bill, the clients' answers and the ledger.
//!
//! Reads the log's lines as they are, block by block as it grows; that the chain holds is `acp audit verify`'s to say.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use serde_json::Value;

use super::{CAP_TENANT, CAP_USER, Told};
use crate::backend::Received;

/// A call as the log has it.
#[derive(Debug)]
struct Call {
    /// Budget and micro-dollars held.
    parts: Vec<(String, u64)>,
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Outcome {
    /// `None` where nobody saw the end of the call.
    settled: Option<u64>,
    status: Option<u64>,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Books {
    log: PathBuf,
    /// The segment being read, and how far.
    at: (u64, usize),
    calls: HashMap<String, Call>,
    /// Calls without outcome.
    open: HashSet<String>,
    refused: HashSet<String>,
    /// Refusals that a summary may stand for: those of unknown callers, and those for which a ring had no room. As
    /// recorded, in full or in a summary; and as told.
    summable_recorded: u64,
    summable_told: u64,
    told: Vec<Told>,
    told_whole: u64,
    seen: HashSet<String>,
    bill: BTreeMap<String, u64>,
    logged: BTreeMap<String, u64>,
    spent: BTreeMap<String, u64>,
    budget_of: BTreeMap<String, String>,
    lost_outcomes: u64,
}

impl Books {
    pub(super) fn new(log: PathBuf) -> Self {
        Self { log, at: (1, 0), ..Self::default() }
    }

    /// Answers that clients received whole; judged with the next [`Books::settle`].
    pub(super) fn told(&mut self, told: Vec<Told>) {
        self.told.extend(told);
    }

    /// Reads what the log has gained, up to its last whole block.
    pub(super) fn read_log(&mut self) {
        loop {
            let (number, from) = self.at;
            let segment = |number: u64| format!("segment-{number:08}.jsonl");
            let bytes = std::fs::read(self.log.join(segment(number)))
                .unwrap_or_else(|error| panic!("segment {number}: {error}"));
            let mut whole = from;
            let mut end = from;
            for line in bytes[from..].split_inclusive(|byte| *byte == b'\n') {
                end += line.len();
                if line.starts_with(b"{\"block\":") && line.ends_with(b"\n") {
                    whole = end;
                }
            }
            for line in bytes[from..whole].split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"kind\"")) {
                let record = serde_json::from_slice(line).unwrap_or_else(|error| panic!("segment {number}: {error}"));
                self.record(&record);
            }
            self.at = (number, whole);
            if !self.log.join(segment(number + 1)).exists() {
                return;
            }
            self.at = (number + 1, 0);
        }
    }

    fn record(&mut self, record: &Value) {
        let id = || record["id"].as_str().unwrap_or_else(|| panic!("no id in {record}")).to_owned();
        match record["kind"].as_str() {
            Some("summary") => self.summable_recorded += record["count"].as_u64().expect("a count"),
            Some("request") if record["hold"].is_null() => {
                self.summable_recorded += u64::from(record["auth"].is_null());
                assert!(self.refused.insert(id()), "a refusal is there twice: {record}");
            }
            Some("request") => {
                self.intent(&id(), record);
                self.outcome(&id(), record);
            }
            Some("intent") => self.intent(&id(), record),
            Some("outcome") => self.outcome(&id(), record),
            _ => {}
        }
    }

    fn intent(&mut self, id: &str, record: &Value) {
        let parts = record["hold"]["parts"].as_array().unwrap_or_else(|| panic!("no hold in {record}"));
        let part = |part: &Value| Some((part[0].as_str()?.to_owned(), part[2].as_u64()?));
        let parts = parts.iter().map(|each| part(each).unwrap_or_else(|| panic!("a strange hold: {record}"))).collect();
        let twice = self.calls.insert(id.to_owned(), Call { parts, outcome: None });
        assert!(twice.is_none(), "an intent is there twice: {record}");
        self.open.insert(id.to_owned());
    }

    fn outcome(&mut self, id: &str, record: &Value) {
        let call = self.calls.get_mut(id).unwrap_or_else(|| panic!("an outcome without intent: {record}"));
        assert!(self.open.remove(id), "an outcome is there twice: {record}");
        let settled = record["settled_microusd"].as_u64();
        self.lost_outcomes += u64::from(settled.is_none());
        for (budget, held) in &call.parts {
            *self.logged.entry(budget.clone()).or_default() += settled.map_or(*held, |settled| settled.min(*held));
        }
        call.outcome = Some(Outcome { settled, status: record["upstream_status"].as_u64() });
    }

    /// A request that reached the upstream: it must be in the log, and once.
    pub(super) fn saw(&mut self, request: &Received, price: u64) {
        let id = request.header("x-request-id").unwrap_or_else(|| panic!("no id: {request:?}"));
        let user = request.header("x-user-uid").unwrap_or_else(|| panic!("no user: {request:?}"));
        let call = self.calls.get(id).unwrap_or_else(|| panic!("{id} reached the upstream and is not in the log"));
        assert!(self.seen.insert(id.to_owned()), "{id} reached the upstream twice");
        let own = &call.parts.first().expect("a hold on the user's budget").0;
        assert_eq!(self.budget_of.entry(user.to_owned()).or_insert_with(|| own.clone()), own, "{user}'s budget");
        for (budget, held) in &call.parts {
            assert_eq!(*held, price, "what is held of {id} is its price");
            *self.bill.entry(budget.clone()).or_default() += price;
        }
    }

    /// Compares all books, with the ledger's as `acp usage spent --each` prints it.
    pub(super) fn settle(&mut self, ledger: &str) {
        assert!(self.open.is_empty(), "calls without outcome after a start: {:?}", self.open);
        for told in std::mem::take(&mut self.told) {
            self.judge(&told);
        }
        assert!(
            self.summable_told <= self.summable_recorded,
            "{} refusals of unknown callers or for want of room were told, {} are recorded",
            self.summable_told,
            self.summable_recorded
        );
        self.spent.clear();
        for line in ledger.lines() {
            let line: Value = serde_json::from_str(line).expect("a JSON line");
            let spent = line["spent_microusd"].as_u64().expect("an amount");
            *self.spent.entry(line["budget"].as_str().expect("a budget").to_owned()).or_default() += spent;
        }
        let users: HashSet<&String> = self.budget_of.values().collect();
        for (budget, spent) in &self.spent {
            let cap = if users.contains(budget) { CAP_USER } else { CAP_TENANT };
            let of = |book: &BTreeMap<String, u64>| book.get(budget).copied().unwrap_or(0);
            let (bill, logged) = (of(&self.bill), of(&self.logged));
            assert!(bill <= *spent, "{budget}: the upstream's bill is {bill}, but {spent} is spent");
            assert!(*spent <= logged, "{budget}: {spent} is spent, but the log has {logged}");
            assert!(*spent <= cap, "{budget}: {spent} is spent of {cap}");
        }
        for (budget, bill) in &self.bill {
            assert!(self.spent.contains_key(budget), "{budget}: the upstream's bill is {bill}, the ledger has nothing");
        }
    }

    /// An answer that a client received whole has its outcome, or its refusal, in the log.
    fn judge(&mut self, Told { id, status, code }: &Told) {
        self.told_whole += 1;
        let recorded = self.refused.contains(id) || self.calls.contains_key(id);
        if *status == 401 || (code == "audit_unavailable" && !recorded) {
            self.summable_told += 1;
            return;
        }
        let outcome = self.calls.get(id).and_then(|call| call.outcome.as_ref());
        match (status, outcome) {
            (200, Some(Outcome { settled: Some(_), status: Some(200) })) => {}
            (200, _) => panic!("{id} was answered 200, the log has {outcome:?}"),
            (_, Some(Outcome { settled: Some(_), .. })) => {}
            _ => assert!(self.refused.contains(id), "{id} was answered {status} {code}, the log has {outcome:?}"),
        }
    }

    /// What there is to show, as rows of a table.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&'static str, String)> {
        let users: HashSet<&String> = self.budget_of.values().collect();
        let sum = |book: &BTreeMap<String, u64>| {
            let own: u64 = book.iter().filter(|(budget, _)| users.contains(budget)).map(|(_, n)| n).sum();
            format!("{}.{:06} USD", own / 1_000_000, own % 1_000_000)
        };
        let exhausted = self.spent.iter().filter(|(budget, n)| users.contains(budget) && **n + 10_000 > CAP_USER);
        [
            ("answers checked", self.told_whole.to_string()),
            ("calls the upstream saw", self.seen.len().to_string()),
            ("calls in the log", self.calls.len().to_string()),
            ("of these, outcome unknown", self.lost_outcomes.to_string()),
            ("refusals in the log", self.refused.len().to_string()),
            (
                "refusals that may be summed up",
                format!("{} told, {} recorded", self.summable_told, self.summable_recorded),
            ),
            ("the upstream's bill", sum(&self.bill)),
            ("spent by the ledger", sum(&self.spent)),
            ("settled by the log", sum(&self.logged)),
            ("users at the end of their budget", format!("{} of {}", exhausted.count(), users.len())),
        ]
        .into_iter()
    }
}
