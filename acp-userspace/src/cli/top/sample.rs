//! One look at a gateway: its metrics, and the rows that have no place among metrics.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

/// What the admin socket said at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Sample {
    /// Since the first look.
    pub(super) at: Duration,
    pub(super) metrics: Metrics,
    pub(super) status: Readiness,
    pub(super) tenants: Vec<TenantRow>,
    pub(super) connections: Vec<ConnectionRow>,
    pub(super) penalties: Vec<PenaltyRow>,
}

/// `/status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Readiness {
    pub(super) ready: bool,
    pub(super) unready: Vec<String>,
    pub(super) degraded: Vec<String>,
    pub(super) kernel_tier: String,
    pub(super) generation: u64,
}

/// A row of `/tenants`; without tenant: callers that nobody vouched for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct TenantRow {
    pub(super) tenant: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) sent: u64,
    pub(super) refused: u64,
}

/// A row of `/kernel/connections`, as far as it is summed up.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct ConnectionRow {
    pub(super) tenant: Option<String>,
    pub(super) issuer: Option<String>,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

/// A row of `/kernel/penalties`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct PenaltyRow {
    pub(super) step: String,
}

/// Series of an OpenMetrics text by their name and labels, as they are written there.
#[derive(Debug, Clone, Default)]
pub(super) struct Metrics(HashMap<String, f64>);

impl Metrics {
    /// Reads what is understood; the rest, comments included, is left out.
    pub(super) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        Self(
            samples
                .filter_map(|line| line.rsplit_once(' '))
                .filter_map(|(s, v)| Some((s.to_owned(), v.parse().ok()?)))
                .collect(),
        )
    }

    /// A series' value, 0 if there is none.
    pub(super) fn value(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }

    /// Values of a family by the value of its one label.
    pub(super) fn by<'a>(&'a self, family: &'a str, label: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
        self.0.iter().filter_map(move |(series, value)| {
            let labels = series.strip_prefix(family)?.strip_prefix('{')?.strip_suffix('}')?;
            Some((labels.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"')?, *value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_series_with_and_without_a_label() {
        let text = "# HELP acp_requests Requests.\nacp_requests_total{reason=\"allowed\"} 12\nacp_requests_total{reason=\"loop_detected\"} 3\nacp_ready 1\nnonsense\nacp_bad x\n# EOF\n";
        let metrics = Metrics::parse(text);
        assert_eq!(metrics.value("acp_ready"), 1.0);
        assert_eq!(metrics.value("acp_bad"), 0.0);
        let mut reasons: Vec<_> = metrics.by("acp_requests_total", "reason").collect();
        reasons.sort_by(|a, b| a.0.cmp(b.0));
        assert_eq!(reasons, [("allowed", 12.0), ("loop_detected", 3.0)]);
        assert_eq!(metrics.by("acp_requests", "reason").count(), 0);
    }
}
