//! What the kernel plane costs a gateway that nobody attacks: the same load on two gateways, one with and one without,
//! in turn, window by window.
//!
//! Both run all the time and on the same core, so that what changes from minute to minute changes for both; several
//! pairs are started, because where a process' memory happens to lie makes more of a difference than what is measured.

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::super::acp::{Gateway, Setting};
use super::super::load;
use super::super::measure;
use super::super::report::Spread;
use super::programs::{self, Counting};
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
    rate: f64,
}

/// Measures it at `rate` requests per second.
pub(super) fn run(field: Field<'_>, rate: f64) -> Result<Clean> {
    let (mut pairs, mut programs_share) = (Vec::new(), 0.0);
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
        let counted = window(field, &with, rate)?;
        programs_share = programs::total_ns(&counting.stop()?) as f64 / counted.cpu_ns.max(1) as f64;
        with.stop()?;
        without.stop()?;
    }
    Ok(Clean { pairs, programs_share, rate })
}

fn start(field: Field<'_>, kernel: &'static str) -> Result<Gateway> {
    let setting = Setting { kernel, ..Setting::all_layers() };
    Gateway::start(field.lab, &format!("acp-clean-{kernel}"), &field.lab.acp, field.backend, &setting)
}

fn window(field: Field<'_>, gateway: &Gateway, rate: f64) -> Result<load::Outcome> {
    let load = load::Args {
        target: gateway.address(),
        source: std::net::Ipv4Addr::LOCALHOST,
        netns: None,
        connections: field.sizes.connections,
        warm_up_ms: WARM_UP_MS,
        window_ms: WINDOW_MS,
        rate: Some(rate),
        deadline_us: u64::MAX,
        tokens: field.sides.victims.clone(),
        watch: gateway.server().pid(),
        seed: 1,
    };
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

    /// The middle half of it.
    fn middle(&self) -> (f64, f64) {
        let mut costs: Vec<f64> = self.pairs.iter().map(|(with, without)| with / without - 1.0).collect();
        costs.sort_by(f64::total_cmp);
        let at = |share: usize| costs.get(costs.len() * share / 4).copied().unwrap_or(0.0);
        (at(1), at(3))
    }

    /// Held to the target.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let (median, (low, high)) = (self.cost().median, self.middle());
        vec![Verdict {
            of: "clean".to_owned(),
            what: "clean traffic: CPU that the kernel plane adds".to_owned(),
            target: format!("≤ {:.0} %", 100.0 * COST_TARGET),
            measured: format!("{:.2} % (middle half {:.2} to {:.2})", 100.0 * median, 100.0 * low, 100.0 * high),
            met: median <= COST_TARGET,
        }]
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let with = Spread::of(self.pairs.iter().map(|pair| pair.0));
        let without = Spread::of(self.pairs.iter().map(|pair| pair.1));
        format!(
            "clean: {:.2} µs per request with the kernel plane, {:.2} without, in {} windows of each at {:.0} requests/s; \
             the programs ran {:.3} % of the gateway's CPU",
            with.median,
            without.median,
            self.pairs.len(),
            self.rate,
            100.0 * self.programs_share,
        )
    }

    /// For `flood.json`.
    pub(super) fn to_json(&self) -> Value {
        let (low, high) = self.middle();
        json!({
            "added_cpu_share": self.cost().median, "middle_half": [low, high], "programs_share": self.programs_share,
            "cpu_us_per_request": self.pairs.iter().map(|(with, without)| json!([with, without])).collect::<Vec<_>>(),
            "requests_per_second": self.rate.round(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pairs: &[(f64, f64)], met: bool) {
        let clean = Clean { pairs: pairs.to_vec(), programs_share: 0.0, rate: 1.0 };
        assert_eq!(clean.verdicts()[0].met, met, "{}", clean.verdicts()[0].measured);
    }

    #[test]
    fn the_cost_is_the_median_of_what_each_pair_differs_by() {
        check(&[(10.0, 10.0), (10.09, 10.0), (20.0, 10.0)], true);
        check(&[(10.0, 10.0), (10.2, 10.0), (20.0, 10.0)], false);
        check(&[(9.0, 10.0), (9.9, 10.0), (20.0, 10.0)], true);
    }
}
