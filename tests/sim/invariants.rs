//! What has to hold, and how often it was looked at.

use std::collections::BTreeMap;

use serde_json::Value;

use super::model::Principal;
use super::rules::Rate;

macro_rules! invariants {
    ($($name:ident = $text:literal,)*) => {
        /// One thing that has to hold.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum Invariant { $(#[doc = $text] $name,)* }

        impl Invariant {
            pub(super) const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

invariants! {
    Decision = "each request is decided as the model says, reason included",
    Spend = "a budget's settled spend is the model's, to the micro-dollar, also after a crash",
    Cap = "the upstream's bill <= spent, and spent <= cap",
    Holds = "with no call in flight nothing is held, and no lease is open after a clean end",
    Rate = "over no window does a limit admit more than burst and rate",
    Intent = "what the upstream saw has its intent in the log, whatever happened since",
    Outcome = "an answer that was released, or a refusal that was told, has its record with the same reason",
    Settled = "an outcome settles what the model charged",
    Unknown = "an intent whose call ended with the process has the outcome unknown",
    Counted = "refusals that are not recorded one by one are counted",
    Known = "every record is of a request that came, once",
    Append = "no record that was in the log is gone or changed",
    Chain = "the chain verifies",
    Snapshot = "a record names one generation's configuration, policy and keys: the one its request began with",
    Content = "the upstream sees nothing that a rule blocks or redacts, no token, and the caller's own name",
}

/// A breach.
#[derive(Debug)]
pub(super) struct Breach {
    pub(super) invariant: Invariant,
    pub(super) what: String,
}

/// How often each was checked.
#[derive(Debug, Default, Clone)]
pub(super) struct Checks(pub(super) BTreeMap<Invariant, u64>);

impl Checks {
    pub(super) fn check(
        &mut self,
        invariant: Invariant,
        holds: bool,
        what: impl FnOnce() -> String,
    ) -> Result<(), Breach> {
        *self.0.entry(invariant).or_default() += 1;
        if holds { Ok(()) } else { Err(Breach { invariant, what: what() }) }
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (invariant, count) in &other.0 {
            *self.0.entry(*invariant).or_default() += count;
        }
    }
}

/// Admissions under one limit, while its numbers and the process stayed the same.
#[derive(Debug, Default)]
pub(super) struct Windows(BTreeMap<(Principal, u64), (Option<Rate>, Vec<u64>)>);

impl Windows {
    /// A call was admitted that came at `mono_ns`; `epoch` tells processes apart.
    pub(super) fn admitted(
        &mut self,
        principal: Principal,
        rate: Rate,
        epoch: u64,
        mono_ns: u64,
        checks: &mut Checks,
    ) -> Result<(), Breach> {
        let series = self.0.entry((principal, epoch)).or_default();
        if series.0 != Some(rate) {
            *series = (Some(rate), Vec::new());
        }
        series.1.push(mono_ns);
        let newest = &series.1;
        // Windows that end with any admission and begin with this one, or the other way round.
        let fits = newest.iter().all(|&other| {
            let (from, to) = (other.min(mono_ns), other.max(mono_ns));
            let inside = newest.iter().filter(|at| (from..=to).contains(*at)).count() as u64;
            inside <= rate.burst + (to - from) / rate.interval_ns()
        });
        checks.check(Invariant::Rate, fits, || format!("{principal:?} at {mono_ns} under {rate:?}"))
    }
}

/// What the log says of one request.
#[derive(Debug, Clone, Default)]
pub(super) struct Logged {
    /// Reason of its end; `None` while its intent is open.
    pub(super) reason: Option<String>,
    pub(super) settled: Option<u64>,
    pub(super) intent: bool,
    pub(super) versions: (String, String, u64, u64),
}

/// The log, joined by request.
#[derive(Debug, Default)]
pub(super) struct Joined {
    pub(super) requests: BTreeMap<String, Logged>,
    /// Refusals that summaries stand for.
    pub(super) summarised: u64,
}

impl Joined {
    /// Reads record lines in order.
    pub(super) fn read<'l>(lines: impl Iterator<Item = &'l [u8]>) -> Result<Self, Breach> {
        let mut joined = Self::default();
        for line in lines.filter(|line| line.starts_with(b"{\"kind\"")) {
            let record: Value = serde_json::from_slice(line).expect("a record is JSON");
            joined
                .record(&record)
                .map_err(|why| Breach { invariant: Invariant::Known, what: format!("{why}: {record}") })?;
        }
        Ok(joined)
    }

    fn record(&mut self, record: &Value) -> Result<(), &'static str> {
        let id = || record["id"].as_str().unwrap_or_default().to_owned();
        let text = |key: &str| record[key].as_str().map(str::to_owned);
        let kind = record["kind"].as_str().unwrap_or_default();
        match kind {
            "request" | "intent" => {
                let logged = Logged {
                    reason: text("reason"),
                    settled: record["settled_microusd"].as_u64(),
                    intent: !record["hold"].is_null(),
                    versions: (
                        text("config").unwrap_or_default(),
                        text("policy").unwrap_or_default(),
                        record["keys"].as_u64().unwrap_or_default(),
                        record["generation"].as_u64().unwrap_or_default(),
                    ),
                };
                if self.requests.insert(id(), logged).is_some() { Err("a request is there twice") } else { Ok(()) }
            }
            "outcome" => {
                let logged = self.requests.get_mut(&id()).ok_or("an outcome without intent")?;
                if logged.reason.is_some() {
                    return Err("an outcome is there twice");
                }
                (logged.reason, logged.settled) = (text("reason"), record["settled_microusd"].as_u64());
                Ok(())
            }
            "summary" => {
                self.summarised += record["count"].as_u64().unwrap_or_default();
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
