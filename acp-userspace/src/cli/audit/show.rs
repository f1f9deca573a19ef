//! `acp audit show`: why a request ended as it did.

use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::log::{Log, lines, parse};
use super::table::{decision, findings, usd};
use super::{Common, Format, Output, Zone, open, query};
use crate::audit::query::Record;
use crate::audit::query::value::{address, json_line, shown};
use crate::ids::RequestId;
use crate::reason::Reason;

#[derive(Debug, Args)]
pub(super) struct ShowArgs {
    #[command(flatten)]
    common: Common,
    /// The request's id, as its answer and the upstream saw it: req_ and 24 hexadecimal digits.
    id: String,
    #[command(flatten)]
    zone: Zone,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

pub(super) fn run(args: &ShowArgs, now: Timestamp, output: &mut Output<'_>) -> anyhow::Result<u8> {
    let zone = args.zone.at(now)?.time_zone().clone();
    let Some(id) = RequestId::parse(&args.id) else {
        anyhow::bail!("'{}' is no request id: it is req_ and 24 hexadecimal digits", shown(&args.id));
    };
    let log = open(&args.common)?;
    let records = query::of_request(&log, &args.id)?;
    for record in &records {
        match args.format {
            Format::Json => writeln!(output.out, "{}", json_line(record))?,
            Format::Table => explain(record, &zone, output)?,
        }
    }
    if records.is_empty() {
        writeln!(output.aside, "{}", not_found(&log, id)?)?;
    }
    Ok(u8::from(records.is_empty()))
}

/// Of a refusal that was only counted, the summary it is in.
fn not_found(log: &Log, id: RequestId) -> anyhow::Result<String> {
    let mut unsealer = log.unsealer()?;
    for &number in log.segments() {
        let bytes = log.read(number)?;
        let summaries = lines(number, &bytes).filter(|(_, text)| text.starts_with(b"{\"kind\":\"summary\""));
        for record in summaries.filter_map(|(place, text)| parse(place, text, &mut unsealer)) {
            let [first, last] = ["first", "last"].map(|key| RequestId::parse(record.text(key)));
            let within =
                first.zip(last).is_some_and(|(first, last)| first.0[..8] == id.0[..8] && (first..=last).contains(&id));
            if within {
                return Ok(format!(
                    "{id} has no record of its own: it may be one of {} refusals ({}) of a flood from {} at {}, which \
                     are summarised in segment {}, line {}",
                    record.number("count"),
                    record.text("reason"),
                    address(&record),
                    record.text("time"),
                    record.place.segment,
                    record.place.line
                ));
            }
        }
    }
    Ok(format!("the log has no record of {id}"))
}

fn explain(record: &Record, zone: &TimeZone, output: &mut Output<'_>) -> anyhow::Result<()> {
    let verdict = decision(record);
    writeln!(output.out, "{}  {}", record.text("id"), output.paint(&verdict.to_uppercase(), verdict))?;
    for (name, text) in facts(record, zone) {
        if !text.is_empty() {
            writeln!(output.out, "  {name:<11} {}", shown(&text))?;
        }
    }
    Ok(())
}

/// What there is to say, in the order one asks.
fn facts(record: &Record, zone: &TimeZone) -> Vec<(&'static str, String)> {
    let text = |key: &str| record.text(key).to_owned();
    let time =
        record.time().map(|time| time.to_zoned(zone.clone()).strftime("%A %Y-%m-%d %H:%M:%S%.6f %Z").to_string());
    vec![
        ("when", time.unwrap_or_default()),
        ("why", reason(record)),
        ("layer", text("layer")),
        ("rule", text("rule")),
        ("missing", list(record, "missing_scopes")),
        ("detail", text("detail")),
        ("asked for", text("asked")),
        ("who", who(record)),
        ("from", from(record)),
        ("token", token(record)),
        ("call", call(record)),
        ("labels", list(record, "labels")),
        ("policies", list(record, "policies")),
        ("found", findings(record)),
        ("would", would(record)),
        ("arguments", text("arguments")),
        ("cost", cost(record)),
        ("upstream", upstream(record)),
        ("bytes", numbers(record, "bytes", "")),
        ("latency", numbers(record, "latency_ns", " ns")),
        ("decided by", versions(record)),
        ("in the log", format!("segment {}, line {}", record.place.segment, record.place.line)),
    ]
}

fn reason(record: &Record) -> String {
    let code = record.text("reason");
    match Reason::from_code(code) {
        Some(reason) => format!("{code}: {} (HTTP {})", reason.meaning().trim(), reason.status()),
        None if record.text("outcome") == "unknown" => {
            format!("the outcome is unknown: {} before it was there", record.text("cause").replace('_', " "))
        }
        None if record.is_pending() => "it is under way, or its outcome is not in the log yet".to_owned(),
        None => code.to_owned(),
    }
}

fn who(record: &Record) -> String {
    if record.text("tenant").is_empty() {
        return "nobody that was verified".to_owned();
    }
    let actor = record.text("actor");
    let through = if actor.is_empty() { String::new() } else { format!(", through {actor}") };
    format!("{} of {} (vouched for by {}){through}", record.subject(), record.text("tenant"), record.text("issuer"))
}

fn from(record: &Record) -> String {
    let address = match &record.personal {
        Some(_) => address(record),
        None if record.erased => "(erased)".to_owned(),
        None => "(sealed)".to_owned(),
    };
    format!("{address}, socket cookie {}, kernel slot {}", record.number("cookie"), record.number("slot"))
}

fn token(record: &Record) -> String {
    let pick = |verified: &str, claimed: &str| {
        let text = record.text(verified);
        if text.is_empty() { record.text(claimed).to_owned() } else { text.to_owned() }
    };
    let (hash, kid) = (pick("token", "claimed_token"), pick("kid", "claimed_kid"));
    if hash.is_empty() && kid.is_empty() { String::new() } else { format!("{hash}, key {kid}") }
}

fn call(record: &Record) -> String {
    let words = [record.text("tool"), record.text("verb")].join(" ");
    let path = record.text("path");
    let path = if path.is_empty() { String::new() } else { format!(" at {path}") };
    let route = record.text("route");
    let route = if route.is_empty() { String::new() } else { format!(" (route {route})") };
    format!("{}{path}{route}", words.trim()).trim().to_owned()
}

fn would(record: &Record) -> String {
    let one = |would: &Value| {
        let text = |key: &str| would.get(key).and_then(Value::as_str).unwrap_or("").to_owned();
        format!("{} {} ({})", text("layer"), text("rule"), text("reason"))
    };
    let list = record.fields.get("would").and_then(Value::as_array);
    list.map(|list| list.iter().map(one).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}

fn cost(record: &Record) -> String {
    let Some(hold) = record.fields.get("hold") else {
        let price = record.number("price_microusd");
        return if price == 0 { String::new() } else { format!("{} asked, nothing held", usd(price)) };
    };
    let held = hold.get("held_microusd").and_then(Value::as_u64).unwrap_or(0);
    let id = hold.get("id").and_then(Value::as_u64).unwrap_or(0);
    let price = usd(record.number("price_microusd"));
    match record.fields.get("settled_microusd").and_then(Value::as_u64) {
        Some(settled) => format!("price {price}, held {} (hold {id}), settled {}", usd(held), usd(settled)),
        None => format!("price {price}, held {} (hold {id}), not settled", usd(held)),
    }
}

fn upstream(record: &Record) -> String {
    let name = record.text("upstream");
    if name.is_empty() {
        return String::new();
    }
    let status = match record.number("upstream_status") {
        0 => "no answer".to_owned(),
        status => format!("status {status}"),
    };
    format!(
        "{name}, {status}, {} ns to the answer, {} ns in all",
        record.number("upstream_ns"),
        record.number("total_ns")
    )
}

fn versions(record: &Record) -> String {
    if record.text("config").is_empty() {
        return String::new();
    }
    format!(
        "generation {}: configuration {}…, policies {}…, keys {} (whole digests: the start or reload event)",
        record.number("generation"),
        record.text("config"),
        record.text("policy"),
        record.number("keys")
    )
}

fn list(record: &Record, key: &str) -> String {
    record.texts(key).collect::<Vec<_>>().join(", ")
}

/// `request_in 1024, response_out 512`.
fn numbers(record: &Record, key: &str, unit: &str) -> String {
    let fields = record.fields.get(key).and_then(Value::as_object);
    let one = |(name, n): (&String, &Value)| format!("{name} {n}{unit}");
    fields.map(|fields| fields.iter().map(one).collect::<Vec<_>>().join(", ")).unwrap_or_default()
}
