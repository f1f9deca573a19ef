//! `acp audit query`.

use clap::{Args, builder::PossibleValuesParser};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::log::{Log, lines, parse};
use super::table::Table;
use super::{Common, Format, Output, Zone, open};
use crate::audit::query::value::json_line;
use crate::audit::query::{Filter, Joiner, Record, Tally, Unsealer};
use crate::audit::record::Decision;
use crate::audit::when::Interval;

/// A record may be written this much later than it was decided: a drain, and two clocks read in turn.
const SLACK: SignedDuration = SignedDuration::from_mins(1);

#[derive(Debug, Args)]
pub(super) struct QueryArgs {
    #[command(flatten)]
    common: Common,
    /// Only this user: the token's `sub`, exactly.
    #[arg(long)]
    user: Option<String>,
    /// Only this tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// Only this tool, or the tools below it: `crm` finds `crm/contacts`.
    #[arg(long)]
    tool: Option<String>,
    /// Only tools with this data label.
    #[arg(long)]
    label: Option<String>,
    /// Only requests that ended so.
    #[arg(long, value_parser = PossibleValuesParser::new(Decision::ALL.map(Decision::name)))]
    decision: Option<String>,
    /// Only this reason code (docs/reason-codes.md).
    #[arg(long)]
    reason: Option<String>,
    /// From when: 2026-11-17T09:00:00Z, 2026-11-17, yesterday, 'last tuesday', '3 days ago'. A weekday, week or month
    /// without --until means all of it.
    #[arg(long)]
    since: Option<String>,
    /// Until when; a day includes its end.
    #[arg(long)]
    until: Option<String>,
    #[command(flatten)]
    zone: Zone,
    /// Events of the gateway itself too.
    #[arg(long)]
    events: bool,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Prints what matches, as it is found.
struct Printer<'a, 'b> {
    output: &'a mut Output<'b>,
    format: Format,
    table: Table,
    tally: Tally,
}

impl Printer<'_, '_> {
    fn print(&mut self, record: &Record) -> anyhow::Result<()> {
        self.tally.add(record);
        match self.format {
            Format::Table => self.table.row(record, self.output)?,
            Format::Json => writeln!(self.output.out, "{}", json_line(record))?,
        }
        Ok(())
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        let to = if self.format == Format::Json { &mut self.output.aside } else { &mut self.output.out };
        writeln!(to, "{text}")?;
        Ok(())
    }
}

pub(super) fn run(args: &QueryArgs, now: Timestamp, output: &mut Output<'_>) -> anyhow::Result<u8> {
    let now = args.zone.at(now)?;
    let zone = now.time_zone().clone();
    let filter = args.filter(Interval::parse(args.since.as_deref(), args.until.as_deref(), &now)?);
    let log = open(&args.common)?;
    let mut unsealer = log.unsealer()?;
    let mut printer = Printer { output, format: args.format, table: Table::new(zone.clone()), tally: Tally::default() };
    printer.say(&filter.interval.describe(&zone))?;
    search(&log, &filter, &mut unsealer, &mut |record| printer.print(record))?;
    printer.table.finish(printer.output)?;
    let tally = printer.tally.describe();
    printer.say(&tally)?;
    Ok(0)
}

impl QueryArgs {
    fn filter(&self, interval: Interval) -> Filter {
        Filter {
            user: self.user.clone(),
            tenant: self.tenant.clone(),
            tool: self.tool.clone(),
            label: self.label.clone(),
            decision: self.decision.clone(),
            reason: self.reason.clone(),
            interval,
            events: self.events,
        }
    }
}

/// Hands every record that matches to `found`, in log order; calls under way at the end come last.
fn search(
    log: &Log,
    filter: &Filter,
    unsealer: &mut Unsealer,
    found: &mut dyn FnMut(&Record) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut joiner = Joiner::default();
    let bounds = Bounds::of(&filter.interval);
    let mut check = |mut record: Record, unsealer: &mut Unsealer| {
        if filter.matches_plain(&record) {
            unsealer.unseal(&mut record);
            if filter.matches_person(&record) {
                return found(&record);
            }
        }
        Ok(())
    };
    for &number in log.segments() {
        if is_before(log, number, filter.interval.from) {
            continue;
        }
        if is_behind(log, number, filter.interval.to) && joiner.open() == 0 {
            break;
        }
        for (place, text) in lines(number, &log.read(number)?) {
            if bounds.exclude(text) {
                continue;
            }
            if let Some(record) = Record::parse(text, place).and_then(|record| joiner.push(record)) {
                check(record, unsealer)?;
            }
        }
    }
    joiner.finish().into_iter().try_for_each(|record| check(record, unsealer))
}

/// Whether all of the segment is older than `from`: the next one was opened before that.
fn is_before(log: &Log, number: u64, from: Option<Timestamp>) -> bool {
    let next = log.segments().iter().find(|n| **n > number).and_then(|next| log.opened(*next));
    from.zip(next).is_some_and(|(from, opened)| opened < from.saturating_sub(SLACK).unwrap_or(from))
}

/// Whether all of the segment is younger than `to`; it may still hold outcomes of older intents.
fn is_behind(log: &Log, number: u64, to: Option<Timestamp>) -> bool {
    to.zip(log.opened(number)).is_some_and(|(to, opened)| opened > to.saturating_add(SLACK).unwrap_or(to))
}

/// The interval as the log prints times: lines outside of it need not be parsed.
struct Bounds {
    from: Option<String>,
    to: Option<String>,
}

impl Bounds {
    fn of(interval: &Interval) -> Self {
        let print = |time: Timestamp| time.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S").to_string();
        Self { from: interval.from.map(print), to: interval.to.map(print) }
    }

    /// Whether the line is surely outside. Outcomes never are: their intent may be inside.
    fn exclude(&self, text: &[u8]) -> bool {
        const KEY: &[u8] = b"\"time\":\"";
        if text.starts_with(b"{\"kind\":\"outcome\"") {
            return false;
        }
        let Some(at) = memchr::memmem::find(text, KEY) else { return false };
        let Some(time) = text.get(at + KEY.len()..at + KEY.len() + 19) else { return false };
        self.from.as_ref().is_some_and(|from| time < from.as_bytes())
            || self.to.as_ref().is_some_and(|to| time > to.as_bytes())
    }
}

/// The records of one request id: those lines that name it, newest segment first.
pub(super) fn of_request(log: &Log, id: &str) -> anyhow::Result<Vec<Record>> {
    let mut unsealer = log.unsealer()?;
    let needle = memchr::memmem::Finder::new(id);
    let mut joiner = Joiner::default();
    let mut found = Vec::new();
    let mut older = Vec::new();
    for &number in log.segments().iter().rev() {
        let bytes = log.read(number)?;
        if needle.find(&bytes).is_none() {
            continue;
        }
        let named = lines(number, &bytes).filter(|(_, text)| needle.find(text).is_some());
        let mut records: Vec<Record> = named.filter_map(|(place, text)| parse(place, text, &mut unsealer)).collect();
        let complete = records.iter().any(|record| matches!(record.text("kind"), "request" | "intent"));
        records.append(&mut older);
        older = records;
        if complete {
            break;
        }
    }
    found.extend(older.into_iter().filter(|record| record.text("id") == id).filter_map(|record| joiner.push(record)));
    found.extend(joiner.finish());
    Ok(found)
}
