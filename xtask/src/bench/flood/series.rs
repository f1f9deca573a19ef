//! All rounds of one flood: its lines of the tables, its JSON, its criteria.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::super::report::Spread;
use super::programs::{self, Hook};
use super::round::Round;
use super::scenario::Flood;
use super::verdict::Verdict;

/// See the module's documentation.
pub(super) struct Series {
    pub(super) flood: Flood,
    pub(super) rounds: Vec<Round>,
    /// The victim's requests per second.
    pub(super) rate: f64,
}

/// What is shown of a flood, under which title and which name in JSON.
type Figure = (&'static str, &'static str, fn(Flood, &Round) -> f64);

const FIGURES: [Figure; 18] = [
    ("victim on time, quiet %", "quiet_on_time_percent", |_, r| 100.0 * r.quiet.on_time_share()),
    ("victim on time, flood %", "flood_on_time_percent", |_, r| 100.0 * r.flood.on_time_share()),
    ("victim p50 quiet µs", "quiet_p50_us", |_, r| r.quiet.p50_ns as f64 / 1e3),
    ("victim p50 flood µs", "flood_p50_us", |_, r| r.flood.p50_ns as f64 / 1e3),
    ("victim p99 quiet µs", "quiet_p99_us", |_, r| r.quiet.p99_ns as f64 / 1e3),
    ("victim p99 flood µs", "flood_p99_us", |_, r| r.flood.p99_ns as f64 / 1e3),
    ("attempts made", "attempts", |_, r| r.offender.made() as f64),
    ("refused before accept", "refused_before_accept", |_, r| r.offender.refused as f64),
    ("not answered", "unanswered", |_, r| r.offender.unanswered as f64),
    ("answered 429", "answered_429", |_, r| r.offender.limited as f64),
    ("reset after accept", "reset_after_accept", |_, r| r.offender.dropped as f64),
    ("served", "served", |_, r| r.offender.served as f64),
    ("gateway µs per refused", "cpu_us_per_refused_attempt_alone", |_, r| r.cpu_us_per_refused_alone()),
    ("  beside the victim", "cpu_us_per_refused_attempt", |_, r| r.cpu_us_per_refused()),
    ("machine µs per attempt", "machine_us_per_attempt", |_, r| r.machine_us_per_attempt()),
    ("  without the offender", "others_us_per_attempt", |_, r| r.others_us_per_attempt()),
    ("idle gateway, ms per s", "idle_cpu_ms_per_second", |_, r| r.idle_ms_per_second()),
    ("idle machine, ms per s", "idle_machine_ms_per_second", |_, r| r.idle_machine_ms_per_second()),
];

impl Series {
    fn spread(&self, value: impl Fn(&Round) -> f64) -> Spread {
        Spread::of(self.rounds.iter().map(value))
    }

    /// Nanoseconds per run of a program, where it ran.
    fn per_run(&self, hook: Hook) -> Option<Spread> {
        let figures: Vec<f64> =
            self.rounds.iter().filter_map(|round| programs::per_run(&round.programs, hook)).collect();
        (!figures.is_empty()).then(|| Spread::of(figures))
    }

    /// The same in the blast.
    fn per_run_in_blast(&self, hook: Hook) -> Option<Spread> {
        let blasts = self.rounds.iter().filter_map(|round| round.blast.as_ref());
        let figures: Vec<f64> = blasts.filter_map(|blast| programs::per_run(&blast.programs, hook)).collect();
        (!figures.is_empty()).then(|| Spread::of(figures))
    }

    /// Frames per second of the blast.
    fn blast(&self) -> Option<Spread> {
        let figures: Vec<f64> =
            self.rounds.iter().filter_map(|round| Some(round.blast.as_ref()?.frames_per_second)).collect();
        (!figures.is_empty()).then(|| Spread::of(figures))
    }

    /// Failed requests of the victim.
    pub(super) fn errors(&self) -> u64 {
        self.rounds.iter().map(|round| round.quiet.errors + round.flood.errors).sum()
    }

    /// Each criterion that holds for this flood.
    pub(super) fn verdicts(&self) -> Vec<Verdict> {
        let flood = self.flood;
        let verdict = |what: &str, target, measured, met| Verdict {
            of: flood.name().into(),
            what: what.into(),
            target,
            measured,
            met,
        };
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let mut verdicts = Vec::new();
        if let Some(target) = flood.on_time_target() {
            let share = self.spread(|round| round.flood.on_time_share()).median;
            verdicts.push(verdict("victim's requests on time", at_least(target), percent(share), share >= target));
        }
        if let Some(target) = flood.kept_out_target() {
            let share = self.spread(|round| round.kept_out_share(flood)).median;
            let what = if flood.is_silent() { "attempts not answered" } else { "attempts refused before accept" };
            verdicts.push(verdict(what, at_least(target), percent(share), share >= target));
        }
        if let Some(target) = flood.cpu_us_target() {
            let Spread { median, low, high } = self.spread(Round::cpu_us_per_refused_alone);
            let measured = format!("{median:.2} µs ({low:.2} to {high:.2})");
            verdicts.push(verdict(
                "gateway CPU per refused attempt",
                format!("≤ {target} µs"),
                measured,
                median <= target,
            ));
        }
        for hook in Hook::ALL {
            // Frame by frame is what a program in front of the stack is for: it is judged by as many as there can be.
            let (figure, when) = match self.per_run_in_blast(hook) {
                Some(figure) => (Some(figure), ", SYNs without pause"),
                None => (self.per_run(hook).filter(|_| hook != Hook::Xdp), ""),
            };
            if let (Some(Spread { median, .. }), Some(target)) = (figure, hook.target_ns()) {
                let what = format!("{} program per run{when}", hook.name());
                verdicts.push(verdict(&what, format!("≤ {target} ns"), format!("{median:.0} ns"), median <= target));
            }
        }
        verdicts
    }

    /// For `flood.json`.
    pub(super) fn to_json(&self) -> Value {
        let thousandths = |value: f64| json!((value * 1e3).round() / 1e3);
        let mut object = serde_json::Map::new();
        for (_, name, value) in FIGURES {
            object.insert(name.to_owned(), thousandths(self.spread(|round| value(self.flood, round)).median));
        }
        for hook in Hook::ALL {
            if let Some(spread) = self.per_run(hook) {
                object.insert(format!("{}_ns_per_run", hook.name()), thousandths(spread.median));
            }
            if let Some(spread) = self.per_run_in_blast(hook) {
                object.insert(format!("{}_ns_per_run_in_blast", hook.name()), thousandths(spread.median));
            }
        }
        if let Some(spread) = self.blast() {
            object.insert("blast_frames_per_second".to_owned(), json!(spread.median.round()));
        }
        object.insert("kernel".to_owned(), json!(self.flood.kernel()));
        object.insert("victim_requests_per_second".to_owned(), json!(self.rate.round()));
        object.insert("errors".to_owned(), json!(self.errors()));
        let rounds: Vec<Value> = self.rounds.iter().map(|round| round.offender.to_json()).collect();
        object.insert("offender_rounds".to_owned(), json!(rounds));
        Value::Object(object)
    }
}

fn at_least(share: f64) -> String {
    format!("≥ {:.0} %", 100.0 * share)
}

/// One line a figure, one column a flood: medians, with the spread of the rounds where there are several.
pub(super) fn to_text(all: &[Series]) -> String {
    const TITLE: usize = 26;
    const COLUMN: usize = 26;
    let mut text = format!("{:<TITLE$}", "");
    for series in all {
        let _ = write!(text, "{:>COLUMN$}", series.flood.name());
    }
    for (title, _, value) in FIGURES {
        let cells = all.iter().map(|series| Some(series.spread(|round| value(series.flood, round))));
        line(&mut text, title, cells);
    }
    for hook in Hook::ALL {
        line(&mut text, &format!("{} ns per run", hook.name()), all.iter().map(|series| series.per_run(hook)));
    }
    line(&mut text, "SYNs without pause, per s", all.iter().map(Series::blast));
    for hook in Hook::ALL {
        line(&mut text, &format!("  {} ns per run", hook.name()), all.iter().map(|it| it.per_run_in_blast(hook)));
    }
    text.push('\n');
    text
}

fn line(text: &mut String, title: &str, cells: impl Iterator<Item = Option<Spread>>) {
    let _ = write!(text, "\n{title:<26}");
    for cell in cells {
        let cell = match cell {
            None => "–".to_owned(),
            Some(Spread { median, low, high }) if low == high => figure(median),
            Some(Spread { median, low, high }) => format!("{} ({}–{})", figure(median), figure(low), figure(high)),
        };
        let _ = write!(text, "{cell:>26}");
    }
}

/// No more digits than mean something.
fn figure(value: f64) -> String {
    if value.abs() >= 100.0 || value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

#[cfg(test)]
mod tests {
    use super::super::super::{load, offender};
    use super::super::programs::Counts;
    use super::super::round::Blast;
    use super::*;

    /// A victim of 10 000 requests at 16 µs, and an offender of 5 000 attempts that cost `extra_us` each.
    fn round(on_time: u64, extra_us: u64) -> Round {
        let quiet = load::Outcome {
            answered: 10_000,
            due: 10_000,
            on_time: 10_000,
            cpu_ns: 160_000_000,
            window_ns: 1_000_000_000,
            ..Default::default()
        };
        let flood =
            load::Outcome { on_time, answered: 5_000, cpu_ns: 80_000_000 + extra_us * 5_000_000, ..quiet.clone() };
        let offender =
            offender::Outcome { refused: 4_990, limited: 10, cpu_ns: extra_us * 5_000_000, ..Default::default() };
        // 4 ms a second of the gateway's, and 10 of the machine's, go to nobody; the offender uses 3 µs for an attempt.
        let alone = offender::Outcome {
            cpu_ns: offender.cpu_ns + 4_000_000,
            machine_ns: 50_000_000,
            own_ns: 15_000_000,
            ..offender
        };
        Round {
            quiet,
            flood,
            offender,
            alone,
            idle_ns: 4_000_000,
            idle_machine_ns: 10_000_000,
            window_ms: 1_000,
            programs: Counts::from([(Hook::Reuseport, (5_000, 1_500_000))]),
            blast: None,
        }
    }

    fn series(flood: Flood, rounds: Vec<Round>) -> Series {
        Series { flood, rounds, rate: 10_000.0 }
    }

    #[test]
    fn cpu_per_refused_attempt_leaves_out_what_the_victim_costs() {
        // Half of the victim's requests were answered in the flood, so half of its quiet cost is subtracted.
        assert_eq!(round(5_000, 3).cpu_us_per_refused(), 3.0);
        assert_eq!(round(5_000, 3).cpu_us_per_refused_alone(), 3.0);
        assert_eq!(round(5_000, 3).idle_ms_per_second(), 4.0);
    }

    #[test]
    fn the_machine_is_counted_without_its_idling_and_without_the_offender() {
        assert_eq!(round(5_000, 3).idle_machine_ms_per_second(), 10.0);
        assert_eq!(round(5_000, 3).machine_us_per_attempt(), 8.0);
        assert_eq!(round(5_000, 3).others_us_per_attempt(), 5.0);
    }

    #[track_caller]
    fn check(flood: Flood, on_time: u64, extra_us: u64, met: &[bool]) {
        let verdicts = series(flood, vec![round(on_time, extra_us)]).verdicts();
        assert_eq!(verdicts.iter().map(|verdict| verdict.met).collect::<Vec<_>>(), met, "{}", flood.name());
    }

    #[test]
    fn each_criterion_is_judged() {
        // On time, kept out, CPU, the program.
        check(Flood::Declared, 9_000, 1, &[true, true, true, true]);
        check(Flood::Declared, 8_999, 0, &[false, true, true, true]);
        check(Flood::Declared, 10_000, 2, &[true, true, false, true]);
        check(Flood::Silent, 10_000, 0, &[true, false, true, true]);
        check(Flood::DeclaredUser, 10_000, 9, &[true, true, true]);
        check(Flood::Shared, 8_000, 60, &[true, true]);
        check(Flood::Shared, 7_999, 60, &[false, true]);
        check(Flood::DeclaredOff, 0, 60, &[true]);
    }

    #[test]
    fn a_program_that_takes_too_long_is_missed() {
        let mut slow = round(10_000, 0);
        // Of a frame now and then, which is not judged.
        slow.programs.insert(Hook::Xdp, (2_000, 900_000));
        assert!(series(Flood::Wire, vec![round(10_000, 0)]).verdicts().iter().all(|verdict| verdict.met));
        slow.blast = Some(Blast { frames_per_second: 1e5, programs: Counts::from([(Hook::Xdp, (2_000, 302_000))]) });
        let verdicts = series(Flood::Wire, vec![slow]).verdicts();
        let xdp = verdicts.iter().find(|verdict| verdict.what.starts_with("XDP")).expect("it ran");
        assert_eq!((xdp.met, xdp.measured.as_str()), (false, "151 ns"));
    }

    #[test]
    fn json_names_every_figure_of_the_table() {
        let json = series(Flood::Declared, vec![round(9_500, 27), round(9_400, 29)]).to_json();
        assert_eq!(json["cpu_us_per_refused_attempt"], 28.0);
        assert_eq!(json["flood_on_time_percent"], 94.5);
        assert_eq!(json["reuseport_ns_per_run"], 300.0);
        assert!(FIGURES.iter().all(|(_, name, _)| json[name].is_number()), "{json}");
        let text = to_text(&[series(Flood::Declared, vec![round(9_500, 27)])]);
        assert!(FIGURES.iter().all(|(title, _, _)| text.contains(title)), "{text}");
    }
}
