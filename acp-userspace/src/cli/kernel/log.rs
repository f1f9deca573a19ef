//! `acp kernel log`: what the programs in the kernel decide, line by line.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Args, Format, socket};
use crate::config;
use crate::control::program_log::{KEPT_MAX, TIME_MAX};

/// Between two looks of a follower.
const LOOK: Duration = Duration::from_millis(250);
/// A follower waits so long for a gateway that is handed over, or restarted.
const PATIENCE: Duration = Duration::from_secs(30);

/// How much the programs say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    /// What they refuse, drop or lose.
    Refusals,
    /// Also what they let through an open window, and the listeners that they see.
    Decisions,
}

/// See [`super::Args`].
#[derive(Debug, clap::Args)]
pub(super) struct LogArgs {
    /// Have the programs say something from now on, for so long: `10m`, `1h`; 24 h at most.
    #[arg(long = "for", value_name = "TIME", group = "switch", value_parser = time)]
    time: Option<Duration>,
    /// How much they say.
    #[arg(long, value_enum, requires = "time", default_value_t = Level::Refusals)]
    level: Level,
    /// Have them say nothing any more.
    #[arg(long, group = "switch")]
    off: bool,
    /// Go on until interrupted.
    #[arg(long, short, conflicts_with = "off")]
    follow: bool,
    /// At most so many of the lines that are there.
    #[arg(long, default_value_t = KEPT_MAX)]
    max: usize,
}

/// Between a second and a day.
fn time(text: &str) -> Result<Duration, String> {
    let time = config::duration(text)?;
    let fits = (Duration::from_secs(1)..=TIME_MAX).contains(&time);
    fits.then_some(time).ok_or_else(|| "between 1s and 24h".to_owned())
}

pub(super) fn run(args: &Args, log: &LogArgs) -> anyhow::Result<ExitCode> {
    if log.off || log.time.is_some() {
        switch(&args.socket, log.level, log.time.unwrap_or_default())?;
    }
    if log.off || (log.time.is_some() && !log.follow) {
        return Ok(ExitCode::SUCCESS);
    }
    let mut place = Place { from: 0, process: None, lost: None };
    let mut answer = look(&args.socket, 0, log.max)?;
    if answer["level"].is_null() && answer["lines"].as_array().is_none_or(Vec::is_empty) {
        eprintln!("{}", why_silent(&answer));
    }
    loop {
        if !print(args.format, &place.take(&answer))? || !log.follow {
            return Ok(ExitCode::SUCCESS);
        }
        answer = look_again(&args.socket, place.from)?;
    }
}

/// The next look of a follower. While a gateway is handed over nobody answers for a moment.
fn look_again(socket: &Path, from: u64) -> anyhow::Result<Value> {
    let (start, mut said) = (Instant::now(), false);
    loop {
        std::thread::sleep(LOOK);
        match look(socket, from, KEPT_MAX) {
            Err(error) if start.elapsed() < PATIENCE => {
                if !std::mem::replace(&mut said, true) {
                    eprintln!("waiting for the gateway: {error:#}");
                }
            }
            answer => return answer,
        }
    }
}

fn why_silent(answer: &Value) -> &'static str {
    if answer["available"] == false {
        "there are no programs in the kernel: acp_kernel_tier says why"
    } else {
        "the log is off: acp kernel log --for 10m switches it on"
    }
}

/// How far a reader has come.
#[derive(Debug)]
struct Place {
    from: u64,
    process: Option<u64>,
    lost: Option<u64>,
}

impl Place {
    /// The lines that are new, and a line of our own where some are missing.
    fn take(&mut self, answer: &Value) -> Vec<Value> {
        let mut rows = answer["lines"].as_array().cloned().unwrap_or_default();
        let (process, lost) = (answer["process"].as_u64(), answer["lost"].as_u64().unwrap_or(0));
        let same = self.process == process;
        // What came before the first look was not missed.
        let told = self.lost.filter(|_| same).unwrap_or(lost);
        let first = rows.first().and_then(|row| row["number"].as_u64()).unwrap_or(self.from);
        let passed = if self.process.is_some() && same { first.saturating_sub(self.from) } else { 0 };
        let missed = lost.saturating_sub(told) + passed;
        if missed > 0 {
            rows.insert(0, json!({ "event": "lost", "count": missed }));
        }
        if self.process.is_some() && !same {
            // Another process, which counts from zero. What the old one heard last is not known here.
            rows = vec![json!({ "event": "process", "pid": process })];
            self.from = 0;
        } else {
            self.from = answer["next"].as_u64().unwrap_or(self.from);
        }
        (self.process, self.lost) = (process, Some(lost));
        rows
    }
}

/// Whether somebody still reads.
fn print(format: Format, rows: &[Value]) -> anyhow::Result<bool> {
    let text: String = match format {
        Format::Json => rows.iter().map(|row| format!("{row}\n")).collect(),
        Format::Table => rows.iter().map(line).collect(),
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        other => other.map(|()| true).map_err(Into::into),
    }
}

fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
    let mut line = format!("{:<24}  {:<14}  {}", text("time"), text("event"), text("address"));
    for key in ["slot", "pid", "connections"] {
        if let Some(value) = row[key].as_u64() {
            line.push_str(&format!("  {key}={value}"));
        }
    }
    match row["count"].as_u64() {
        Some(count) if count > 1 => format!("{line}  ×{count}\n"),
        _ => format!("{line}\n"),
    }
}

fn look(socket: &Path, from: u64, max: usize) -> anyhow::Result<Value> {
    let answer = socket::ask(socket, &format!("/kernel/log?from={from}&max={max}"), None)?;
    match answer.status {
        200 => serde_json::from_slice(&answer.body).context("the gateway's answer cannot be read"),
        404 => bail!("this gateway has no log of its programs: it is of another version"),
        status => bail!("the gateway answered {status}"),
    }
}

fn switch(socket: &Path, level: Level, time: Duration) -> anyhow::Result<()> {
    let asked = json!({ "level": level, "seconds": time.as_secs() });
    let answer = socket::ask(socket, "/kernel/log", Some(&asked))?;
    match answer.status {
        204 => Ok(()),
        status => bail!("the gateway answered {status}: {}", String::from_utf8_lossy(&answer.body).trim_end()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(process: u64, numbers: std::ops::Range<u64>, lost: u64) -> Value {
        let lines: Vec<Value> = numbers.clone().map(|number| json!({ "number": number })).collect();
        json!({ "process": process, "next": numbers.end, "lost": lost, "lines": lines })
    }

    #[test]
    fn a_follower_sees_each_line_once_and_how_many_it_missed() {
        let mut place = Place { from: 0, process: None, lost: None };
        assert_eq!(place.take(&answer(1, 50..53, 7)).len(), 3, "from before it came");
        assert_eq!(place.from, 53);
        assert_eq!(place.take(&answer(1, 53..54, 7)), [json!({ "number": 53 })]);
        let rows = place.take(&answer(1, 64..65, 9));
        assert_eq!(rows, [json!({ "event": "lost", "count": 12 }), json!({ "number": 64 })]);
        assert_eq!(place.take(&answer(2, 65..66, 9)), [json!({ "event": "process", "pid": 2 })], "another");
        assert_eq!(place.from, 0);
        assert_eq!(place.take(&answer(2, 0..66, 9)).len(), 66, "from its first line on");
    }

    #[test]
    fn a_line_is_for_people() {
        let row = json!({ "time": "2026-01-02T03:04:05.678Z", "event": "let_through", "address": "192.0.2.1", "connections": 3,
            "count": 1 });
        assert_eq!(line(&row), "2026-01-02T03:04:05.678Z  let_through     192.0.2.1  connections=3\n");
        let flood =
            json!({ "time": "2026-01-02T03:04:05.678Z", "event": "refused", "address": "192.0.2.1", "count": 17 });
        assert!(line(&flood).ends_with("192.0.2.1  ×17\n"));
    }
}
