//! From two looks to what is shown: rates per second, sums by layer and by tenant.

use std::collections::BTreeMap;

use super::sample::{Metrics, Readiness, Sample, TenantRow};
use crate::reason::{LAYERS, Reason};

/// What is shown.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figures {
    pub(super) status: Readiness,
    /// Requests finished per second.
    pub(super) requests: f64,
    /// Median and 99th percentile of their times, milliseconds; `None` when there were none.
    pub(super) latency_ms: Option<(f64, f64)>,
    /// Client connections open now.
    pub(super) open: f64,
    /// Requests that wait for their turn now.
    pub(super) waiting: f64,
    /// Client connections accepted per second.
    pub(super) accepted: f64,
    /// Audit records written per second.
    pub(super) records: f64,
    /// Refusals by layer, in the order of the request path.
    pub(super) layers: Vec<Count>,
    /// What the kernel plane did, by step.
    pub(super) kernel: Vec<Count>,
    /// Sources under penalty now, by step.
    pub(super) penalties: BTreeMap<String, usize>,
    pub(super) tenants: Vec<Tenant>,
}

/// Something counted.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Count {
    pub(super) name: &'static str,
    pub(super) per_second: f64,
    pub(super) total: f64,
}

/// A tenant's row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tenant {
    pub(super) name: String,
    /// Requests per second that all layers agreed to.
    pub(super) sent: f64,
    /// Requests per second refused.
    pub(super) refused: f64,
    pub(super) sent_total: u64,
    pub(super) refused_total: u64,
    pub(super) connections: u64,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
}

const KERNEL: &[(&str, &str)] = &[
    ("refused", "acp_kernel_refused_total"),
    ("dropped", "acp_kernel_dropped_total"),
    ("would refuse", "acp_kernel_would_refuse_total"),
    ("turned away", "acp_connections_turned_away_total"),
];

impl Figures {
    /// What happened between two looks. A gateway that was restarted between them counts from zero: its rates are
    /// those of its own time.
    pub(super) fn between(before: &Sample, after: &Sample) -> Self {
        let seconds = (after.at.saturating_sub(before.at)).as_secs_f64();
        let (old, new) = (&before.metrics, &after.metrics);
        let series = |name: &'static str, series: &str| count(name, old.value(series), new.value(series), seconds);
        let by_reason = |metrics: &Metrics, layer: &str| {
            let reasons = metrics.by("acp_requests_total", "reason");
            reasons.filter(|(code, _)| layer_of(code) == layer).map(|(_, value)| value).sum::<f64>()
        };
        let layer = |layer: &&'static str| count(layer, by_reason(old, layer), by_reason(new, layer), seconds);
        let layers: Vec<Count> = LAYERS.iter().map(layer).collect();
        let mut penalties = BTreeMap::new();
        for row in &after.penalties {
            *penalties.entry(row.step.clone()).or_default() += 1;
        }
        Self {
            status: after.status.clone(),
            requests: layers.iter().map(|count| count.per_second).sum(),
            latency_ms: quantile(old, new, 0.5).zip(quantile(old, new, 0.99)),
            open: new.value("acp_connections_open"),
            waiting: new.value("acp_turns_waiting"),
            accepted: series("", "acp_connections_accepted_total").per_second,
            records: series("", "acp_audit_records_total").per_second,
            layers: layers.into_iter().filter(|count| count.name != "allowed").collect(),
            kernel: KERNEL.iter().map(|(name, metric)| series(name, metric)).collect(),
            penalties,
            tenants: tenants(before, after, seconds),
        }
    }
}

fn layer_of(code: &str) -> &'static str {
    // A code that this program does not know is of a newer gateway.
    Reason::ALL.iter().find(|reason| reason.code() == code).map_or("gateway", |reason| reason.layer())
}

fn count(name: &'static str, old: f64, new: f64, seconds: f64) -> Count {
    Count { name, per_second: rate(old, new, seconds), total: new }
}

fn rate(old: f64, new: f64, seconds: f64) -> f64 {
    let more = if new >= old { new - old } else { new };
    if seconds > 0.0 { more / seconds } else { 0.0 }
}

/// The upper bound of the bucket that holds a quantile of the requests between two looks, milliseconds.
fn quantile(old: &Metrics, new: &Metrics, q: f64) -> Option<f64> {
    let buckets = |metrics: &Metrics| {
        let bound = |le: &str| if le == "+Inf" { Some(f64::INFINITY) } else { le.parse::<f64>().ok() };
        let buckets = metrics.by("acp_request_duration_seconds_bucket", "le");
        let mut buckets: Vec<(f64, f64)> = buckets.filter_map(|(le, value)| Some((bound(le)?, value))).collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets
    };
    let (old, new) = (buckets(old), buckets(new));
    let before = |at: usize| old.get(at).map_or(0.0, |bucket| bucket.1);
    let grown: Vec<(f64, f64)> = new.iter().enumerate().map(|(at, (le, n))| (*le, n - before(at))).collect();
    let all = grown.last().filter(|bucket| bucket.1 > 0.0)?.1;
    grown.iter().find(|(_, n)| *n >= q * all).map(|(le, _)| le * 1e3)
}

fn tenants(before: &Sample, after: &Sample, seconds: f64) -> Vec<Tenant> {
    let key = |tenant: &Option<String>, issuer: &Option<String>| (tenant.clone(), issuer.clone());
    let old: BTreeMap<_, &TenantRow> = before.tenants.iter().map(|row| (key(&row.tenant, &row.issuer), row)).collect();
    let mut rows: BTreeMap<_, Tenant> = BTreeMap::new();
    for row in &after.tenants {
        let key = key(&row.tenant, &row.issuer);
        let was = old.get(&key).map_or((0, 0), |row| (row.sent, row.refused));
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let per_second = |old: u64, new: u64| rate(old as f64, new as f64, seconds);
        let tenant = rows.entry(key).or_default();
        tenant.sent = per_second(was.0, row.sent);
        tenant.refused = per_second(was.1, row.refused);
        (tenant.sent_total, tenant.refused_total) = (row.sent, row.refused);
    }
    for row in &after.connections {
        let tenant = rows.entry(key(&row.tenant, &row.issuer)).or_default();
        tenant.connections += 1;
        tenant.bytes_in += row.bytes_in;
        tenant.bytes_out += row.bytes_out;
    }
    let several = |name: &str| rows.keys().filter(|(tenant, _)| tenant.as_deref() == Some(name)).count() > 1;
    let name = |(tenant, issuer): &(Option<String>, Option<String>)| match (tenant, issuer) {
        (None, _) => "(unverified)".to_owned(),
        (Some(tenant), Some(issuer)) if several(tenant) => format!("{tenant} ({issuer})"),
        (Some(tenant), _) => tenant.clone(),
    };
    rows.iter().map(|(key, row)| Tenant { name: name(key), ..row.clone() }).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cli::top::sample::{ConnectionRow, PenaltyRow};

    fn tenant(tenant: Option<&str>, issuer: Option<&str>, sent: u64, refused: u64) -> TenantRow {
        TenantRow { tenant: tenant.map(str::to_owned), issuer: issuer.map(str::to_owned), sent, refused }
    }

    fn look(at: u64, metrics: &str, tenants: Vec<TenantRow>) -> Sample {
        Sample { at: Duration::from_secs(at), metrics: Metrics::parse(metrics), tenants, ..Sample::default() }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks_and_refusals_go_to_their_layer() {
        let text = |allowed, limited, expired, refused| {
            format!(
                "acp_requests_total{{reason=\"allowed\"}} {allowed}\nacp_requests_total{{reason=\"rate_limited\"}} \
                 {limited}\nacp_requests_total{{reason=\"expired_token\"}} {expired}\nacp_kernel_refused_total {refused}\n"
            )
        };
        let figures = Figures::between(&look(1, &text(100, 10, 0, 0), vec![]), &look(3, &text(300, 10, 4, 7), vec![]));
        assert_eq!(figures.requests, 102.0);
        let layer = |name| figures.layers.iter().find(|count| count.name == name).unwrap().clone();
        assert_eq!(layer("identity"), Count { name: "identity", per_second: 2.0, total: 4.0 });
        assert_eq!(layer("usage"), Count { name: "usage", per_second: 0.0, total: 10.0 });
        assert_eq!(figures.kernel[0], Count { name: "refused", per_second: 3.5, total: 7.0 });
    }

    #[test]
    fn a_restarted_gateway_has_no_negative_rates() {
        let figures = Figures::between(
            &look(0, "acp_requests_total{reason=\"allowed\"} 1000\n", vec![tenant(Some("acme"), None, 1_000, 0)]),
            &look(1, "acp_requests_total{reason=\"allowed\"} 10\n", vec![tenant(Some("acme"), None, 10, 0)]),
        );
        assert_eq!((figures.requests, figures.tenants[0].sent), (10.0, 10.0));
    }

    #[test]
    fn percentiles_are_those_of_the_requests_between_the_looks() {
        let text = |fast: u32, slow: u32| {
            let (bucket, all) = ("acp_request_duration_seconds_bucket", fast + slow);
            format!("{bucket}{{le=\"0.001\"}} {fast}\n{bucket}{{le=\"0.1\"}} {all}\n{bucket}{{le=\"+Inf\"}} {all}\n")
        };
        let between = |old: &str, new: &str| Figures::between(&look(0, old, vec![]), &look(1, new, vec![])).latency_ms;
        assert_eq!(between(&text(1000, 0), &text(1090, 10)), Some((1.0, 100.0)));
        assert_eq!(between(&text(1000, 0), &text(1000, 0)), None);
    }

    #[test]
    fn a_tenants_row_joins_the_logs_counts_and_the_kernels_connections() {
        let connection = |tenant: Option<&str>, issuer: Option<&str>| ConnectionRow {
            tenant: tenant.map(str::to_owned),
            issuer: issuer.map(str::to_owned),
            bytes_in: 5,
            bytes_out: 7,
        };
        let mut after = look(
            2,
            "",
            vec![
                tenant(Some("acme"), Some("a"), 4, 2),
                tenant(Some("acme"), Some("b"), 0, 1),
                tenant(None, None, 0, 8),
            ],
        );
        after.connections =
            vec![connection(Some("acme"), Some("a")), connection(Some("acme"), Some("a")), connection(None, None)];
        after.penalties = vec![PenaltyRow { step: "refuse".to_owned() }, PenaltyRow { step: "refuse".to_owned() }];
        let figures = Figures::between(&look(0, "", vec![]), &after);
        let names: Vec<&str> = figures.tenants.iter().map(|tenant| tenant.name.as_str()).collect();
        assert_eq!(names, ["(unverified)", "acme (a)", "acme (b)"]);
        let acme = &figures.tenants[1];
        assert_eq!((acme.connections, acme.bytes_in, acme.bytes_out, acme.sent, acme.refused), (2, 10, 14, 2.0, 1.0));
        assert_eq!(figures.penalties, BTreeMap::from([("refuse".to_owned(), 2)]));
    }
}
