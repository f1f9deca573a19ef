//! What the kernel plane costs a gateway that nobody attacks: the same load on two gateways, one with and one without,
//! in turn, window by window.
//!
//! Both run all the time and on the same core, so that what changes from minute to minute changes for both; several
//! pairs are started, because where a process' memory happens to lie makes more of a difference than what is measured.

use std::fmt::Write as _;

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::super::acp::{Gateway, Setting};
use super::super::load;
use super::super::measure;
use super::super::report::Spread;
use super::programs::{self, Counting, Counts, Hook};
use super::round::Field;
use super::verdict::Verdict;

/// Pairs of gateways.
const PAIRS: usize = 3;
/// Windows of each gateway of a pair.
const WINDOWS: usize = 6;
const WINDOW_MS: u64 = 1_500;
const WARM_UP_MS: u64 = 300;
/// Most that the kernel plane may add to the gateway's CPU.
const COST_TARGET: f64 = 0.01;

/// What came of it.
pub(super) struct Clean {
    /// CPU microseconds per request with the kernel plane and without, window by window.
    pairs: Vec<(f64, f64)>,
    /// The programs' own share of the gateway's CPU, in a window of its own.
    programs_share: f64,
    /// Their runs in that window, and how many requests were answered in it.
    counted: (Counts, u64),
    rate: f64,
}

/// Measures it at `rate` requests per second.
pub(super) fn run(field: Field<'_>, rate: f64) -> Result<Clean> {
    let (mut pairs, mut programs_share, mut counted) = (Vec::new(), 0.0, (Counts::new(), 0));
    for _ in 0..PAIRS {
        let [with, without] = ["required", "off"].map(|kernel| start(field, kernel));
        let (with, without) = (with?, without?);
        // Tokens are verified and pools filled.
        [&with, &without].into_iter().try_for_each(|gateway| window(field, gateway, rate).map(drop))?;
        for turn in 0..WINDOWS {
            let first = window(field, if turn % 2 == 0 { &with } else { &without }, rate)?;
            let second = window(field, if turn % 2 == 0 { &without } else { &with }, rate)?;
            let (with, without) = if turn % 2 == 0 { (first, second) } else { (second, first) };
            pairs.push((with.cpu_us_per_request(), without.cpu_us_per_request()));
        }
        let counting = Counting::start(with.server().pid())?;
        let outcome = window(field, &with, rate)?;
        let counts = counting.stop()?;
        programs_share = programs::total_ns(&counts) as f64 / outcome.cpu_ns.max(1) as f64;
        counted = (counts, outcome.answered);
        with.stop()?;
        without.stop()?;
    }
    Ok(Clean { pairs, programs_share, counted, rate })
}

fn start(field: Field<'_>, kernel: &'static str) -> Result<Gateway> {
    let setting = Setting { kernel, ..Setting::all_layers() };
    Gateway::start(field.lab, &format!("acp-clean-{kernel}"), &field.lab.acp, field.backend, &setting)
}

fn window(field: Field<'_>, gateway: &Gateway, rate: f64) -> Result<load::Outcome> {
    let load = field.clean_load(gateway, field.sizes.connections, (WARM_UP_MS, WINDOW_MS), rate);
    let outcome = measure::generate(field.lab, &load)?;
    if outcome.errors > 0 {
        bail!("{} failed requests of clean traffic: {:?}", outcome.errors, outcome.first_error);
    }
    Ok(outcome)
}

impl Clean {
    /// What the kernel plane adds, as a share of the gateway's CPU.
    fn cost(&self) -> Spread {
        Spread::of(self.pairs.iter().map(|(with, without)| with / without - 1.0))
    }

    /// Where the median lies with 95 % confidence: so many differences on either side of the middle.
    fn interval(&self) -> (f64, f64) {
        let mut costs: Vec<f64> = self.pairs.iter().map(|(with, without)| with / without - 1.0).collect();
        costs.sort_by(f64::total_cmp);
        let half = costs.len() as f64 / 2.0;
        let low = (half - half.sqrt() * 1.386).max(0.0) as usize;
        let at = |rank: usize| costs.get(rank).copied().unwrap_or(0.0);
        (at(low), at(costs.len().saturating_sub(1 + low)))
    }

    /// Held to the target.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let (median, (low, high)) = (self.cost().median, self.interval());
        let verdict = |what: &str, measured, met| Verdict {
            of: "clean".to_owned(),
            what: what.to_owned(),
            target: format!("≤ {:.0} %", 100.0 * COST_TARGET),
            measured,
            met,
        };
        let added = format!("{:.2} % (95 %: {:.2} to {:.2})", 100.0 * median, 100.0 * low, 100.0 * high);
        let ran = format!("{:.2} %", 100.0 * self.programs_share);
        vec![
            verdict("clean traffic: CPU of the programs", ran, self.programs_share <= COST_TARGET),
            // Missed only where it is not the noise of the pairs.
            verdict("clean traffic: CPU that the kernel plane adds", added, low <= COST_TARGET),
        ]
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let with = Spread::of(self.pairs.iter().map(|pair| pair.0));
        let without = Spread::of(self.pairs.iter().map(|pair| pair.1));
        format!(
            "clean: {:.2} µs per request with the kernel plane, {:.2} without, in {} windows of each at {:.0} requests/s; \
             the programs ran {:.3} % of the gateway's CPU{}",
            with.median,
            without.median,
            self.pairs.len(),
            self.rate,
            100.0 * self.programs_share,
            self.programs_to_text(),
        )
    }

    /// Each program's runs per request and nanoseconds per run, the warm-up's runs included.
    fn programs_to_text(&self) -> String {
        let (counts, requests) = &self.counted;
        let mut text = String::new();
        for hook in Hook::ALL {
            if let (Some(ns), Some((runs, _))) = (programs::per_run(counts, hook), counts.get(&hook)) {
                let _ = write!(text, "; {}: {ns:.0} ns, {:.2} a request", hook.name(), *runs as f64 / *requests as f64);
            }
        }
        text
    }

    /// For `flood.json`.
    pub(super) fn to_json(&self) -> Value {
        let (low, high) = self.interval();
        json!({
            "added_cpu_share": self.cost().median, "interval": [low, high], "programs_share": self.programs_share,
            "programs": self.programs_to_text().trim_start_matches("; "),
            "cpu_us_per_request": self.pairs.iter().map(|(with, without)| json!([with, without])).collect::<Vec<_>>(),
            "requests_per_second": self.rate.round(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(f64, f64)], programs_share: f64, met: [bool; 2]) {
        let clean = Clean { pairs: pairs.to_vec(), programs_share, counted: (Counts::new(), 0), rate: 1.0 };
        let verdicts = clean.verdicts();
        assert_eq!([verdicts[0].met, verdicts[1].met], met, "{}", verdicts[1].measured);
    }

    #[test]
    fn the_programs_are_judged_by_their_own_time_and_the_plane_by_what_pairs_differ_by() {
        check(&[(10.0, 10.0); 18], 0.01, [true, true]);
        check(&[(10.0, 10.0); 18], 0.011, [false, true]);
        check(&[(10.2, 10.0); 18], 0.0, [true, false]);
    }

    #[test]
    fn a_difference_that_may_be_noise_is_none() {
        let mut pairs = [(10.5, 10.0); 18];
        pairs[..4].fill((9.5, 10.0));
        check(&pairs, 0.0, [true, false]);
        pairs[..5].fill((9.5, 10.0));
        check(&pairs, 0.0, [true, true]);
    }
}
