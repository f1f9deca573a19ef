//! When an auditor means: times in the words people use, as exact intervals in a time zone.
//!
//! `2026-11-17T09:00:00Z` (RFC 3339), `2026-11-17 09:00` and `2026-11-17` (in the zone), `now`, `today`, `yesterday`,
//! `3 days ago`, `tuesday` (the latest one, today included), `last tuesday` (the latest before today), and `this` or
//! `last` `week` (from Monday) or `month`. A day, week or month means its beginning after `--since` and its end after
//! `--until`. A weekday, week or month after `--since` without `--until` means all of it, and nothing behind it.
//!
//! Days are those of the zone: a day on which clocks change has 23 or 25 hours.

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{Span, Timestamp, Zoned};

/// A phrase that means no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// Not understood.
    #[error(
        "'{0}' is no time I know: try 2026-11-17, 2026-11-17T09:00:00Z, today, yesterday, 'last tuesday', '3 days ago'"
    )]
    Unknown(String),
    /// Beyond what a calendar holds.
    #[error("'{0}' lies beyond the calendar")]
    Range(String),
    /// Ends before it begins.
    #[error("the interval ends before it begins")]
    Empty,
    /// Not a zone.
    #[error("'{0}' is no time zone I know: try UTC, Europe/Berlin, +02:00 or local")]
    Zone(String),
}

/// From (included) to (not included); open where `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Interval {
    /// First instant.
    pub from: Option<Timestamp>,
    /// The instant behind the last.
    pub to: Option<Timestamp>,
}

/// What one phrase means.
struct Meaning {
    from: Zoned,
    /// Its end, where it means more than an instant.
    to: Option<Zoned>,
    /// Whether it means all of it when it stands alone.
    whole: bool,
}

/// The zone of that name: `local`, an IANA name, or an offset.
///
/// # Errors
/// There is none of that name.
pub fn zone(name: &str) -> Result<TimeZone, WhenError> {
    let unknown = || WhenError::Zone(name.to_owned());
    match name {
        "local" => Ok(TimeZone::system()),
        "UTC" | "utc" | "Z" => Ok(TimeZone::UTC),
        _ if name.starts_with(['+', '-']) => offset(name).map(TimeZone::fixed).ok_or_else(unknown),
        _ => TimeZone::get(name).map_err(|_| unknown()),
    }
}

fn offset(name: &str) -> Option<Offset> {
    let (hours, minutes) = name[1..].split_once(':').unwrap_or((&name[1..], "0"));
    let seconds =
        hours.parse::<i32>().ok().filter(|h| *h < 24)? * 3600 + minutes.parse::<i32>().ok().filter(|m| *m < 60)? * 60;
    Offset::from_seconds(if name.starts_with('-') { -seconds } else { seconds }).ok()
}

impl Interval {
    /// What `since` and `until` mean at `now`, in its zone.
    ///
    /// # Errors
    /// A phrase is not understood, or the end is before the beginning.
    pub fn parse(since: Option<&str>, until: Option<&str>, now: &Zoned) -> Result<Self, WhenError> {
        let since = since.map(|phrase| meaning(phrase, now)).transpose()?;
        let until = until.map(|phrase| meaning(phrase, now)).transpose()?;
        let alone = since.as_ref().filter(|since| since.whole).and_then(|since| since.to.clone());
        let to = until.map(|until| until.to.unwrap_or(until.from)).or(alone).map(|to| to.timestamp());
        let from = since.map(|since| since.from.timestamp());
        if from.zip(to).is_some_and(|(from, to)| from > to) {
            return Err(WhenError::Empty);
        }
        Ok(Self { from, to })
    }

    /// Whether it holds `time`.
    #[must_use]
    pub fn contains(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }

    /// In words, in `zone`.
    #[must_use]
    pub fn describe(&self, zone: &TimeZone) -> String {
        let print = |time: Timestamp| time.to_zoned(zone.clone()).strftime("%A %Y-%m-%d %H:%M:%S %Z").to_string();
        match (self.from.map(print), self.to.map(print)) {
            (None, None) => "all there is".to_owned(),
            (Some(from), None) => format!("from {from} until now"),
            (None, Some(to)) => format!("until {to}"),
            (Some(from), Some(to)) => format!("from {from} until {to}"),
        }
    }
}

fn meaning(phrase: &str, now: &Zoned) -> Result<Meaning, WhenError> {
    let text = phrase.trim().to_ascii_lowercase();
    let unknown = || WhenError::Unknown(phrase.to_owned());
    let range = |_| WhenError::Range(phrase.to_owned());
    if let Ok(time) = phrase.trim().parse::<Timestamp>() {
        return Ok(instant(time.to_zoned(now.time_zone().clone())));
    }
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["now"] => Ok(instant(now.clone())),
        ["today"] => day(now.date(), now, false).map_err(range),
        ["yesterday"] => now.yesterday().and_then(|zoned| day(zoned.date(), now, false)).map_err(range),
        [count, unit, "ago"] => ago(count, unit, now).ok_or_else(unknown)?.map_err(range),
        ["this", "week"] => week(now, 0).map_err(range),
        ["last", "week"] => week(now, 1).map_err(range),
        ["this", "month"] => month(now, 0).map_err(range),
        ["last", "month"] => month(now, 1).map_err(range),
        ["last", name] => latest(weekday(name).ok_or_else(unknown)?, now, 1).map_err(range),
        ["on", name] | [name] if weekday(name).is_some() => {
            latest(weekday(name).ok_or_else(unknown)?, now, 0).map_err(range)
        }
        _ => calendar(&text, now).ok_or_else(unknown)?.map_err(range),
    }
}

fn instant(at: Zoned) -> Meaning {
    Meaning { from: at, to: None, whole: false }
}

fn days(first: Date, behind: Date, now: &Zoned, whole: bool) -> Result<Meaning, jiff::Error> {
    let start = |date: Date| date.to_zoned(now.time_zone().clone());
    Ok(Meaning { from: start(first)?, to: Some(start(behind)?), whole })
}

fn day(date: Date, now: &Zoned, whole: bool) -> Result<Meaning, jiff::Error> {
    days(date, date.tomorrow()?, now, whole)
}

fn week(now: &Zoned, back: i64) -> Result<Meaning, jiff::Error> {
    let into = i64::from(now.weekday().since(Weekday::Monday));
    let monday = now.date().checked_sub(Span::new().days(into + 7 * back))?;
    days(monday, monday.checked_add(Span::new().days(7))?, now, true)
}

fn month(now: &Zoned, back: i64) -> Result<Meaning, jiff::Error> {
    let first = now.date().first_of_month().checked_sub(Span::new().months(back))?;
    days(first, first.checked_add(Span::new().months(1))?, now, true)
}

/// The latest such day, at least `days_back` days ago.
fn latest(weekday: Weekday, now: &Zoned, days_back: i64) -> Result<Meaning, jiff::Error> {
    let from = now.date().checked_sub(Span::new().days(days_back))?;
    let back = i64::from(from.weekday().since(weekday));
    day(from.checked_sub(Span::new().days(back))?, now, true)
}

fn ago(count: &str, unit: &str, now: &Zoned) -> Option<Result<Meaning, jiff::Error>> {
    let count = if matches!(count, "a" | "an" | "one") { 1 } else { count.parse::<i64>().ok().filter(|n| *n >= 0)? };
    let span = match unit.strip_suffix('s').unwrap_or(unit) {
        "second" => Span::new().try_seconds(count),
        "minute" => Span::new().try_minutes(count),
        "hour" => Span::new().try_hours(count),
        "day" => Span::new().try_days(count),
        "week" => Span::new().try_weeks(count),
        "month" => Span::new().try_months(count),
        "year" => Span::new().try_years(count),
        _ => return None,
    };
    Some(span.and_then(|span| now.checked_sub(span)).map(instant))
}

/// A date, or a date and a time of day, in the zone.
fn calendar(text: &str, now: &Zoned) -> Option<Result<Meaning, jiff::Error>> {
    let text = text.to_ascii_uppercase();
    if text.len() == 10 {
        return text.parse::<Date>().ok().map(|date| day(date, now, false));
    }
    let time = text.parse::<DateTime>().ok()?;
    Some(time.to_zoned(now.time_zone().clone()).map(instant))
}

fn weekday(name: &str) -> Option<Weekday> {
    const NAMES: [(&str, Weekday); 7] = [
        ("monday", Weekday::Monday),
        ("tuesday", Weekday::Tuesday),
        ("wednesday", Weekday::Wednesday),
        ("thursday", Weekday::Thursday),
        ("friday", Weekday::Friday),
        ("saturday", Weekday::Saturday),
        ("sunday", Weekday::Sunday),
    ];
    NAMES.iter().find(|(full, _)| *full == name || &full[..3] == name).map(|(_, weekday)| *weekday)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Monday 2026-11-23, noon in Berlin (11:00 UTC).
    fn now() -> Zoned {
        "2026-11-23T12:00:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    #[track_caller]
    fn check(since: &str, until: &str, expected: &str) {
        let phrase = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let interval = Interval::parse(phrase(since).as_deref(), phrase(until).as_deref(), &now()).unwrap();
        let print = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
        assert_eq!(format!("{}..{}", print(interval.from), print(interval.to)), expected);
    }

    #[test]
    fn weekdays_alone_mean_the_whole_day() {
        check("last tuesday", "", "2026-11-16T23:00:00Z..2026-11-17T23:00:00Z");
        check("Tuesday", "", "2026-11-16T23:00:00Z..2026-11-17T23:00:00Z");
        check("on tue", "", "2026-11-16T23:00:00Z..2026-11-17T23:00:00Z");
        check("monday", "", "2026-11-22T23:00:00Z..2026-11-23T23:00:00Z");
        check("last monday", "", "2026-11-15T23:00:00Z..2026-11-16T23:00:00Z");
        check("last tuesday", "now", "2026-11-16T23:00:00Z..2026-11-23T11:00:00Z");
        check("last week", "", "2026-11-15T23:00:00Z..2026-11-22T23:00:00Z");
        check("this month", "", "2026-10-31T23:00:00Z..2026-11-30T23:00:00Z");
        check("last month", "", "2026-09-30T22:00:00Z..2026-10-31T23:00:00Z");
    }

    #[test]
    fn other_phrases_reach_until_now_and_an_end_is_included() {
        check("", "", "..");
        check("today", "", "2026-11-22T23:00:00Z..");
        check("yesterday", "", "2026-11-21T23:00:00Z..");
        check("yesterday", "yesterday", "2026-11-21T23:00:00Z..2026-11-22T23:00:00Z");
        check("3 days ago", "", "2026-11-20T11:00:00Z..");
        check("an hour ago", "now", "2026-11-23T10:00:00Z..2026-11-23T11:00:00Z");
        check("2026-11-01", "2026-11-02", "2026-10-31T23:00:00Z..2026-11-02T23:00:00Z");
        check("2026-11-01 09:30", "2026-11-01T10:00", "2026-11-01T08:30:00Z..2026-11-01T09:00:00Z");
        check("2026-11-17T09:00:00Z", "", "2026-11-17T09:00:00Z..");
        check("2026-11-17t09:00:00+09:00", "", "2026-11-17T00:00:00Z..");
    }

    #[test]
    fn a_day_on_which_clocks_change_has_its_own_length() {
        check("2026-10-25", "2026-10-25", "2026-10-24T22:00:00Z..2026-10-25T23:00:00Z");
        check("2026-03-29", "2026-03-29", "2026-03-28T23:00:00Z..2026-03-29T22:00:00Z");
    }

    #[test]
    fn what_means_no_time_is_refused() {
        for phrase in
            ["", "soon", "last", "last noon", "-3 days ago", "3 moons ago", "2026-13-01", "99999999 years ago"]
        {
            assert!(Interval::parse(Some(phrase), None, &now()).is_err(), "{phrase}");
        }
        assert_eq!(
            Interval::parse(Some("today"), Some("yesterday"), &now()).map(|i| i.to),
            Ok(Some(now().start_of_day().unwrap().timestamp()))
        );
        assert_eq!(Interval::parse(Some("now"), Some("last week"), &now()), Err(WhenError::Empty));
    }

    #[test]
    fn zones_have_names_or_offsets() {
        assert_eq!(zone("UTC").unwrap(), TimeZone::UTC);
        assert!(zone("Europe/Berlin").is_ok() && zone("local").is_ok());
        assert_eq!(zone("-03:30").unwrap(), TimeZone::fixed(Offset::from_seconds(-12_600).unwrap()));
        for name in ["", "Nowhere/Land", "+99:00", "+01:99", "+x"] {
            assert!(zone(name).is_err(), "{name}");
        }
    }

    #[test]
    fn an_interval_describes_itself_in_its_zone() {
        let interval = Interval::parse(Some("last tuesday"), None, &now()).unwrap();
        assert_eq!(
            interval.describe(now().time_zone()),
            "from Tuesday 2026-11-17 00:00:00 CET until Wednesday 2026-11-18 00:00:00 CET"
        );
        assert!(interval.contains("2026-11-17T22:59:59Z".parse().unwrap()));
        assert!(!interval.contains("2026-11-17T23:00:00Z".parse().unwrap()));
    }
}
