//! `[usage]` and `[policy]`.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::files::{Files, Holds};
use super::super::mistake::{At, Collector};
use super::super::raw;
use super::super::read::Key;
use super::super::resolved::{Budget, LoopGuard, Mode, Per, PolicyConfig, RateLimit, Route, Runaway, UsageConfig};
use super::{check_name, unique, within, within_time};

pub(super) fn policy(raw: &raw::Policy, files: &mut Files<'_>, found: &mut Collector) -> PolicyConfig {
    found.expect(*raw.scope_rule || !raw.files.is_empty(), &raw.files.at, || {
        "is empty and scope_rule is false, so nothing would ever be permitted".to_owned()
    });
    let mut sources: Vec<(String, String)> = Vec::new();
    for pattern in raw.files.iter() {
        let paths = files.matching(pattern).map_err(|why| found.add(&pattern.at, why)).unwrap_or_default();
        for path in paths {
            let name = path.to_string_lossy().into_owned();
            if sources.iter().any(|(before, _)| *before == name) {
                found.add(&pattern.at, format!("names {name}, which is named before; its policies would count twice"));
                continue;
            }
            match files.read(&path, Holds::Rules).map(String::from_utf8) {
                Ok(Ok(text)) => sources.push((name, text)),
                Ok(Err(_)) => found.add(&pattern.at, format!("names {name}, which is not UTF-8 text")),
                Err(why) => found.add(&pattern.at, why),
            }
        }
    }
    PolicyConfig { sources, scope_rule: *raw.scope_rule, mode: *raw.mode }
}

pub(super) fn usage(raw: &raw::Usage, routes: &[Arc<Route>], files: &Files<'_>, found: &mut Collector) -> UsageConfig {
    UsageConfig {
        rate_limits: rate_limits(&raw.rate_limit, found),
        budgets: budgets(&raw.budget, routes, found),
        loop_guard: raw.loop_guard.as_ref().map(|guard| loop_guard(guard, found)),
        denials_per_minute: within(&raw.denials_per_minute, 1, 1_000_000, found) as u32,
        slots: within(&raw.slots, 64, 1 << 26, found) as usize,
        slots_tenant_share_percent: within(&raw.slots_tenant_share_percent, 1, 100, found) as u8,
        calls_in_flight_max: within(&raw.calls_in_flight_max, 1, 4_095, found) as u32,
        holds_user_share_percent: within(&raw.holds_user_share_percent, 1, 100, found) as u8,
        ledger: files.path(&raw.ledger),
    }
}

/// Ids: as written, else `user` or `tenant`, numbered from the second on.
fn ids<'r>(entries: impl Iterator<Item = (&'r Key<Option<String>>, Per)>, found: &mut Collector) -> Vec<String> {
    let mut unnamed: HashMap<Per, usize> = HashMap::new();
    let mut places: Vec<&At> = Vec::new();
    let mut ids = Vec::new();
    for (id, per) in entries {
        let base = match per {
            Per::User => "user",
            Per::Tenant => "tenant",
        };
        places.push(&id.at);
        ids.push(id.value.clone().unwrap_or_else(|| {
            let number = unnamed.entry(per).or_default();
            *number += 1;
            if *number == 1 { base.to_owned() } else { format!("{base}-{number}") }
        }));
    }
    for (id, at) in ids.iter().zip(&places) {
        check_name(id, at, found);
    }
    unique(ids.iter().map(String::as_str).zip(places), "the id", found);
    ids
}

fn rate_limits(raw: &[Key<raw::RateLimit>], found: &mut Collector) -> Vec<RateLimit> {
    let ids = ids(raw.iter().map(|limit| (&limit.id, *limit.per)), found);
    for (index, limit) in raw.iter().enumerate() {
        let same = |other: &&Key<raw::RateLimit>| {
            *other.per == *limit.per && *other.window == *limit.window && *other.mode == *limit.mode
        };
        if raw[..index].iter().any(|other| same(&other)) {
            found
                .add(&limit.window.at, "is another limit's window per the same: only the smaller of the two would act");
        }
    }
    raw.iter().zip(ids).map(|(limit, id)| rate_limit(limit, &id, found)).collect()
}

fn rate_limit(raw: &raw::RateLimit, id: &str, found: &mut Collector) -> RateLimit {
    within_time(&raw.window, "1s", "366d", found);
    let requests = within(&raw.requests, 1, 1_000_000_000, found);
    let burst = raw.burst.value.unwrap_or(requests);
    found.expect((1..=requests).contains(&burst), &raw.burst.at, || {
        format!("has to lie between 1 and requests, {requests}")
    });
    RateLimit {
        id: id.into(),
        per: *raw.per,
        requests,
        window: *raw.window,
        burst,
        mode: *raw.mode,
        kernel: *raw.kernel,
    }
}

fn budgets(raw: &[Key<raw::Budget>], routes: &[Arc<Route>], found: &mut Collector) -> Vec<Budget> {
    let ids = ids(raw.iter().map(|budget| (&budget.id, *budget.per)), found);
    let tools = || routes.iter().flat_map(|route| route.tools.iter());
    raw.iter()
        .zip(ids)
        .map(|(budget, id)| {
            let cap = budget.max_spend.0;
            within_time(&budget.period, "1m", "3660d", found);
            found.expect(cap % 1_000_000 == 0, &budget.max_spend.at, || {
                "is finer than a micro-dollar; write at most 6 decimal places".to_owned()
            });
            found.expect(cap > 0, &budget.max_spend.at, || {
                "is nothing, so every priced call would be refused; forbid them by policy".to_owned()
            });
            found.expect(tools().any(|tool| tool.price_picousd > 0), &budget.at, || {
                "could never be used up: no tool has a price".to_owned()
            });
            let dear = tools().find(|tool| cap > 0 && u128::from(tool.price_microusd()) * 1_000_000 > cap);
            if let Some(tool) = dear {
                found.add(
                    &budget.max_spend.at,
                    format!("is less than one call of {:?} costs, so it could never be called", tool.name),
                );
            }
            Budget {
                id: id.into(),
                per: *budget.per,
                max_spend_microusd: u64::try_from(cap / 1_000_000).unwrap_or(u64::MAX),
                period: *budget.period,
                mode: *budget.mode,
            }
        })
        .collect()
}

fn loop_guard(raw: &raw::LoopGuard, found: &mut Collector) -> LoopGuard {
    within_time(&raw.window, "1s", "1h", found);
    within_time(&raw.quarantine_for, "1s", "30d", found);
    let after = raw.quarantine_after.value;
    let at = &raw.quarantine_after.at;
    found.expect(after.is_none_or(|after| (2..=10_000).contains(&after)), at, || {
        "has to lie between 2 and 10000: one refusal is no sign of anything".to_owned()
    });
    found.expect(after.is_none() || *raw.mode == Mode::Enforce, at, || {
        "never comes: a loop that is only observed is not refused, so nobody goes on in spite of it".to_owned()
    });
    LoopGuard {
        identical_calls: within(&raw.identical_calls, 2, 1_000_000, found) as u32,
        window: *raw.window,
        mode: *raw.mode,
        runaway: after.map(|after| Runaway { after: after.min(10_000) as u32, time: *raw.quarantine_for }),
    }
}
