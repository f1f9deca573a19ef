//! `/metrics`: OpenMetrics text, gathered when asked. Names are `acp_<noun>_<unit>`; labels come from enums, so their
//! number is bounded, and none names a user, tenant or token.

use std::fmt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::admin::Surface;
use super::status::Status;
use crate::config::resolved::Mode;
use crate::reason::Reason;
use crate::server::metrics::{Found, LATENCY_BOUNDS_US, Way, WorkerMetrics};

/// All metrics of this moment.
///
/// # Errors
/// Never in practice: writing to a string does not fail.
pub fn text(surface: &Surface) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gathering(surface.clone())));
    let mut out = String::new();
    text::encode(&mut out, &registry)?;
    Ok(out)
}

type NoLabels = [(&'static str, &'static str); 0];

#[derive(Debug)]
struct Gathering(Surface);

impl Collector for Gathering {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let workers = &self.0.shared.workers;
        let status = &self.0.status;
        let sum = |count: fn(&WorkerMetrics) -> u64| workers.iter().map(|worker| count(worker)).sum::<u64>();
        requests(&mut encoder, &self.0)?;
        findings(&mut encoder, &self.0)?;
        latency(&mut encoder, &self.0)?;

        for (name, help, value) in [
            ("acp_connections_accepted", "Client connections accepted.", sum(|w| w.accepted.value())),
            (
                "acp_connections_turned_away",
                "Client connections closed at accept: over a bound, from a source under penalty, or for lack of descriptors.",
                sum(|w| w.turned_away.value()),
            ),
            ("acp_upstream_connects", "Connections opened to upstreams.", sum(|w| w.upstream_connects.value())),
            ("acp_worker_panics", "Panics caught; each closed one connection.", sum(|w| w.panics.value())),
            ("acp_worker_restarts", "Workers that died and were replaced.", sum(|w| w.restarts.value())),
            (
                "acp_signals_lost",
                "Messages from workers that found the queue full.",
                self.0.shared.signals_lost.value(),
            ),
            ("acp_audit_records", "Records written to the audit log.", get(&status.audit_records)),
            ("acp_audit_bytes", "Bytes written to the audit log.", get(&status.audit_bytes)),
            (
                "acp_audit_summarised",
                "Unverified refusals that a summary accounts for instead of a record each.",
                get(&status.audit_summarised),
            ),
            (
                "acp_kernel_refused",
                "Connections of sources under penalty refused, before accept or at it.",
                get(&status.kernel_refused),
            ),
            (
                "acp_kernel_dropped",
                "Connection attempts of sources under a silent penalty that were not answered.",
                get(&status.kernel_dropped),
            ),
            (
                "acp_kernel_penalties_unplaced",
                "Penalties without a slot in the kernel's table: of sources refused after accept.",
                get(&status.kernel_unplaced),
            ),
            (
                "acp_kernel_penalties_observed",
                "Penalties that were earned and not enforced.",
                get(&status.kernel_observed),
            ),
            (
                "acp_kernel_would_refuse",
                "Connections served that an observed penalty would have refused.",
                get(&status.kernel_would_refuse),
            ),
            (
                "acp_kernel_steered",
                "Connection attempts sent to the less loaded of two workers.",
                get(&status.kernel_steered),
            ),
            (
                "acp_kernel_unsteered",
                "Connection attempts whose worker the kernel's hash chose, although it could be chosen.",
                get(&status.kernel_unsteered),
            ),
            ("acp_kernel_closed", "Rows of the kernel's connection ledger.", get(&status.kernel_closed)),
            (
                "acp_kernel_rows_lost",
                "Rows of the connection ledger that did not reach the audit log.",
                get(&status.kernel_lost) + get(&status.kernel_unwritten),
            ),
            (
                "acp_kernel_ledger_breaches",
                "Connections of which more bytes were audited than the kernel saw.",
                get(&status.kernel_breaches),
            ),
            ("acp_kernel_log_lost", "Lines of the programs' log that are nowhere.", get(&status.program_lines_lost)),
            ("acp_quarantine_loops", "Quarantines that the loop guard began.", get(&status.quarantine_loops)),
            (
                "acp_quarantine_resets",
                "Connections reset because their tenant is in quarantine.",
                get(&status.quarantine_resets),
            ),
            (
                "acp_quarantine_dropped",
                "Packets dropped in the kernel because their tenant is in quarantine.",
                get(&status.quarantine_dropped),
            ),
            (
                "acp_egress_refused",
                "Connections of the gateway itself that the kernel refused.",
                get(&status.egress_refused),
            ),
            ("acp_egress_lost", "Those of them that are in no event of the audit log.", get(&status.egress_lost)),
            (
                "acp_confine_refused",
                "What confined processes were refused, as acp confine reported it.",
                get(&status.confine_refused),
            ),
            (
                "acp_confine_lost",
                "Refusals of confined processes of which only the number is known.",
                get(&status.confine_lost),
            ),
            ("acp_clock_jumps", "Jumps of the wall clock beyond identity.leeway.", get(&status.clock_jumps)),
            ("acp_config_reloads", "Configurations accepted after the first.", get(&status.reloads)),
        ] {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let flag = |on: bool| i64::from(on);
        let level = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("acp_connections_open", "Client connections open now.", level(sum(|w| w.open.value()))),
            (
                "acp_turns_waiting",
                "Requests and connections that wait for their turn now: more is asked than there is time for.",
                level(sum(|w| w.waiting.value())),
            ),
            ("acp_buffered_bytes", "Bytes of bodies buffered now.", level(sum(|w| w.buffered_bytes.value()))),
            ("acp_kernel_penalties", "Sources under penalty now.", level(get(&status.kernel_penalties))),
            (
                "acp_kernel_sources_unsaved",
                "1 while it cannot be written down which sources are shared.",
                flag(status.kernel_unsaved.load(Relaxed)),
            ),
            (
                "acp_egress_guarded",
                "1 while the kernel holds the gateway's own connections.",
                flag(status.egress_guarded.load(Relaxed)),
            ),
            ("acp_quarantined", "Tenants in quarantine now.", level(get(&status.quarantined))),
            ("acp_ready", "1 when this process can serve.", flag(status.unready(&self.0.shared).is_empty())),
            ("acp_degraded", "1 when something works less well than it should.", flag(!status.degraded().is_empty())),
            (
                "acp_rules_enforced",
                "Rules that decide rather than only record; the policies count as one.",
                level(self.0.shared.snapshot.load().settings.config.enforced_rules() as u64),
            ),
            (
                "acp_clock_synchronised",
                "1 when the kernel says that the clock is kept right.",
                flag(status.clock_synchronised.load(Relaxed)),
            ),
            (
                "acp_config_generation",
                "Generation of the snapshot in force.",
                level(self.0.shared.snapshot.load().generation),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let imbalance = ConstGauge::new(imbalance(workers.iter().map(|worker| worker.open.value())));
        let help = "Open connections of the fullest worker, over the mean of all workers; 1 is even.";
        let descriptor = encoder.encode_descriptor("acp_worker_imbalance", help, None, imbalance.metric_type())?;
        imbalance.encode(descriptor)?;
        sources(&mut encoder, status)?;
        let tier = ConstGauge::new(1_i64);
        let help = "The kernel tier reached; see docs/kernel.md.";
        let mut family = encoder.encode_descriptor("acp_kernel_tier", help, None, tier.metric_type())?;
        tier.encode(family.encode_family(&[("tier", status.tier_name().as_str())])?)
    }
}

fn sources(encoder: &mut DescriptorEncoder<'_>, status: &Status) -> fmt::Result {
    let counts = *status.kernel_sources.lock().unwrap_or_else(PoisonError::into_inner);
    let help = "Sources that requests verified from, by class; see docs/kernel.md.";
    let mut family = encoder.encode_descriptor("acp_kernel_sources", help, None, MetricType::Gauge)?;
    for (class, value) in [("unknown", counts.unknown), ("exclusive", counts.exclusive), ("shared", counts.shared)] {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(family.encode_family(&[("class", class)])?)?;
    }
    Ok(())
}

/// The fullest worker's connections over the mean; 1 where there are none.
fn imbalance(open: impl Iterator<Item = u64>) -> f64 {
    let (workers, sum, most) = open.fold((0_u64, 0, 0), |(workers, sum, most), n| (workers + 1, sum + n, n.max(most)));
    if sum == 0 { 1.0 } else { (most * workers) as f64 / sum as f64 }
}

fn get(count: &AtomicU64) -> u64 {
    count.load(Relaxed)
}

fn requests(encoder: &mut DescriptorEncoder<'_>, surface: &Surface) -> fmt::Result {
    let help = "Requests finished, by reason code.";
    let mut family = encoder.encode_descriptor("acp_requests", help, None, MetricType::Counter)?;
    for reason in Reason::ALL {
        let total: u64 = surface.shared.workers.iter().map(|worker| worker.requests(*reason)).sum();
        ConstCounter::new(total).encode(family.encode_family(&[("reason", reason.code())])?)?;
    }
    Ok(())
}

/// What was found at least once: most of two thousand combinations never are.
fn findings(encoder: &mut DescriptorEncoder<'_>, surface: &Surface) -> fmt::Result {
    let help = "Findings in content, by type, by what became of them, by direction, and by the rule's mode.";
    let mut family = encoder.encode_descriptor("acp_content_findings", help, None, MetricType::Counter)?;
    for found in Found::all() {
        let total: u64 = surface.shared.workers.iter().map(|worker| worker.findings(found)).sum();
        if total > 0 {
            let direction = if found.way == Way::Request { "request" } else { "response" };
            let mode = if found.mode == Mode::Enforce { "enforce" } else { "observe" };
            let labels = [
                ("type", found.detector.name()),
                ("action", found.action.name()),
                ("direction", direction),
                ("mode", mode),
            ];
            ConstCounter::new(total).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn latency(encoder: &mut DescriptorEncoder<'_>, surface: &Surface) -> fmt::Result {
    let mut counts = [0_u64; LATENCY_BOUNDS_US.len() + 1];
    let mut sum_us = 0;
    for worker in &surface.shared.workers {
        let (of_worker, sum) = worker.latency();
        counts.iter_mut().zip(of_worker).for_each(|(count, more)| *count += more);
        sum_us += sum;
    }
    let bounds = LATENCY_BOUNDS_US.iter().map(|us| *us as f64 / 1e6).chain([f64::MAX]);
    let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
    let help = "From a request's head to its outcome.";
    let mut metric: MetricEncoder<'_> =
        encoder.encode_descriptor("acp_request_duration_seconds", help, None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabels>(sum_us as f64 / 1e6, counts.iter().sum(), &buckets, None)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    const DOCS: &str = include_str!("../../../docs/metrics.md");

    /// The families encoded above, by the only way they are named: a literal that starts with `acp_`.
    fn exposed() -> BTreeSet<&'static str> {
        let (code, _) = include_str!("metrics.rs").split_once("#[cfg(test)]").unwrap();
        code.split('"').skip(1).step_by(2).filter(|literal| literal.starts_with("acp_")).collect()
    }

    /// The first column of the table, without the suffix that the encoder gives counters.
    fn documented() -> BTreeSet<&'static str> {
        let (_, table) = DOCS.split_once("<!-- metrics: begin -->").unwrap();
        let (table, _) = table.split_once("<!-- metrics: end -->").unwrap();
        let names = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next());
        names.map(|name| name.strip_suffix("_total").unwrap_or(name)).collect()
    }

    #[test]
    fn imbalance_is_the_fullest_over_the_mean() {
        let check = |open: &[u64], expected: f64| assert_eq!(super::imbalance(open.iter().copied()), expected);
        check(&[5, 5], 1.0);
        check(&[6, 2], 1.5);
        check(&[8, 0, 0, 0], 4.0);
        check(&[0, 0], 1.0);
        check(&[], 1.0);
    }

    #[test]
    fn every_metric_is_documented_and_every_documented_metric_exists() {
        assert!(exposed().len() > 20, "{:?}", exposed());
        assert_eq!(exposed(), documented());
    }
}
