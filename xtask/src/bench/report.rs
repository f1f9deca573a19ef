//! From samples to the table, the ratios and `latest.json`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::host::Host;
use super::measure::Sample;
use super::row::Row;

/// The gateway's CPU per request against a peer's, and what it is meant to stay under.
const TARGETS: [(Row, f64); 3] = [(Row::NginxPlain, 0.95), (Row::HaproxyJwt, 0.25), (Row::EnvoyJwt, 0.20)];

/// All rounds of a row.
pub(super) struct Series {
    /// Which.
    pub(super) row: Row,
    /// One per round, in order.
    pub(super) samples: Vec<Sample>,
}

/// The middle of some values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    /// Median.
    pub(super) median: f64,
    /// Smallest.
    pub(super) low: f64,
    /// Largest.
    pub(super) high: f64,
}

impl Spread {
    /// Of at least one value; all zero of none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&low), Some(&high)) = (values.first(), values.last()) else {
            return Self { median: 0.0, low: 0.0, high: 0.0 };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Self { median, low, high }
    }

    fn to_json(self) -> Value {
        json!([rounded(self.low), rounded(self.high)])
    }
}

impl Series {
    /// Requests per second.
    pub(super) fn rps(&self) -> Spread {
        Spread::of(self.samples.iter().map(|sample| sample.rps))
    }

    /// CPU microseconds per request.
    pub(super) fn cpu_us(&self) -> Spread {
        Spread::of(self.samples.iter().map(|sample| sample.cpu_us))
    }

    fn median(&self, value: fn(&Sample) -> f64) -> f64 {
        Spread::of(self.samples.iter().map(value)).median
    }

    /// Failed requests of all rounds.
    pub(super) fn errors(&self) -> u64 {
        self.samples.iter().map(|sample| sample.errors).sum()
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.row.name(),
            "rps": rounded(self.rps().median),
            "cpu_us_per_request": rounded(self.cpu_us().median),
            "p50_us": rounded(self.median(|sample| sample.p50_us)),
            "p99_us": rounded(self.median(|sample| sample.p99_us)),
            "rss_kib": self.median(|sample| sample.rss_kib as f64) as u64,
            "errors": self.errors(),
            "rounds": self.samples.len(),
            "cpu_us_at_fixed_rate": rounded(self.median(|sample| sample.cpu_us_at_rate)),
            "spread": {"rps": self.rps().to_json(), "cpu_us_per_request": self.cpu_us().to_json()},
        })
    }
}

/// The gateway against one peer.
pub(super) struct Ratio {
    /// `gateway/peer`, by row names.
    pub(super) name: String,
    /// Of the medians.
    pub(super) value: f64,
    /// Of the rounds, each against the peer's same round.
    pub(super) spread: Spread,
    /// What it should stay under.
    pub(super) target: f64,
}

impl Ratio {
    /// Whether it does.
    pub(super) fn met(&self) -> bool {
        self.value <= self.target
    }
}

/// Every ratio with a target that the measured rows allow, for each build of the gateway. A row with failed requests was
/// not measured: whoever refuses everything is neither cheap nor dear.
pub(super) fn ratios(all: &[Series]) -> Vec<Ratio> {
    let gateways = all.iter().filter(|series| series.row.is_acp() && series.errors() == 0);
    let against = |gateway: &Series| {
        TARGETS
            .iter()
            .filter_map(|&(peer, target)| {
                let peer = all.iter().find(|series| series.row == peer && series.errors() == 0)?;
                let pairs = gateway.samples.iter().zip(&peer.samples);
                Some(Ratio {
                    name: format!("{}/{}", gateway.row.name(), peer.row.name()),
                    value: gateway.cpu_us().median / peer.cpu_us().median,
                    spread: Spread::of(pairs.map(|(ours, theirs)| ours.cpu_us / theirs.cpu_us)),
                    target,
                })
            })
            .collect::<Vec<_>>()
    };
    gateways.flat_map(against).collect()
}

/// The contents of `latest.json`.
pub(super) fn to_json(all: &[Series], host: &Host) -> Value {
    let ratios = ratios(all);
    let object = |value: fn(&Ratio) -> Value| -> Map<String, Value> {
        ratios.iter().map(|ratio| (ratio.name.clone(), value(ratio))).collect()
    };
    json!({
        "rows": all.iter().map(Series::to_json).collect::<Vec<_>>(),
        "ratios": object(|ratio| rounded(ratio.value)),
        "targets": object(|ratio| json!(ratio.target)),
        "host": host.to_json(),
    })
}

/// The table and the ratios, for people.
pub(super) fn to_text(all: &[Series], host: &Host) -> String {
    let mut text = format!(
        "{:<14}{:>10}{:>13}{:>18}{:>12}{:>9}{:>9}{:>10}{:>8}\n",
        "row", "req/s", "CPU µs/req", "low–high", "at rate", "p50 µs", "p99 µs", "RSS KiB", "errors"
    );
    for series in all {
        let cpu = series.cpu_us();
        let _ = writeln!(
            text,
            "{:<14}{:>10.0}{:>13.2}{:>18}{:>12.2}{:>9.0}{:>9.0}{:>10.0}{:>8}",
            series.row.name(),
            series.rps().median,
            cpu.median,
            format!("{:.2}–{:.2}", cpu.low, cpu.high),
            series.median(|sample| sample.cpu_us_at_rate),
            series.median(|sample| sample.p50_us),
            series.median(|sample| sample.p99_us),
            series.median(|sample| sample.rss_kib as f64),
            series.errors(),
        );
    }
    for ratio in ratios(all) {
        let verdict = if ratio.met() { "pass" } else { "MISS" };
        let Ratio { name, value, spread, target } = &ratio;
        let _ = write!(text, "\n{name:<26}{value:>7.3}×  target ≤ {target:.2}×  {verdict}");
        let _ = write!(text, "  (rounds {:.3}–{:.3})", spread.low, spread.high);
    }
    text + "\n\n" + &host.to_text()
}

/// Three decimals: more would claim a precision that is not there.
fn rounded(value: f64) -> Value {
    json!((value * 1e3).round() / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(row: Row, cpu_us: &[f64]) -> Series {
        let sample = |&cpu_us: &f64| Sample {
            rps: 1e5 / cpu_us,
            cpu_us,
            cpu_us_at_rate: cpu_us + 1.0,
            p50_us: 100.0,
            p99_us: 900.0,
            rss_kib: 4_096,
            errors: 0,
        };
        Series { row, samples: cpu_us.iter().map(sample).collect() }
    }

    #[test]
    fn spread_of_odd_even_and_no_values() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, low: 1.0, high: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]), Spread { median: 2.5, low: 1.0, high: 4.0 });
        assert_eq!(Spread::of([]), Spread { median: 0.0, low: 0.0, high: 0.0 });
    }

    #[test]
    fn json_has_the_promised_shape() {
        let all = [series(Row::NginxPlain, &[20.0, 22.0, 24.0]), series(Row::Acp, &[16.5, 16.0, 17.0])];
        let json = to_json(&all, &Host::default());
        let names = ["name", "rps", "cpu_us_per_request", "p50_us", "p99_us", "rss_kib", "errors"];
        for row in json["rows"].as_array().expect("rows") {
            for name in names {
                assert!(!row[name].is_null(), "{name} in {row}");
            }
        }
        assert_eq!(json["rows"][1]["name"], "acp");
        assert_eq!(json["rows"][1]["cpu_us_per_request"], 16.5);
        assert_eq!(json["ratios"]["acp/nginx-plain"], 0.75);
        assert_eq!(json["targets"]["acp/nginx-plain"], 0.95);
    }

    #[test]
    fn a_ratio_needs_both_rows() {
        assert!(ratios(&[series(Row::NginxPlain, &[20.0])]).is_empty());
        assert!(ratios(&[series(Row::Acp, &[20.0]), series(Row::HaproxyPlain, &[20.0])]).is_empty());
        let mut failed = series(Row::NginxPlain, &[20.0]);
        failed.samples[0].errors = 1;
        assert!(ratios(&[failed, series(Row::Acp, &[20.0])]).is_empty());
    }

    #[test]
    fn a_missed_target_is_said_to_be_missed() {
        let all = [series(Row::EnvoyJwt, &[100.0]), series(Row::Acp, &[20.1]), series(Row::AcpBaseline, &[19.9])];
        let text = to_text(&all, &Host::default());
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).expect("a line").to_owned();
        assert!(line("acp/envoy-jwt").contains("MISS"));
        assert!(line("acp-baseline/envoy-jwt").contains("pass"));
    }
}
