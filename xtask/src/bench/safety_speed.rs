//! `bench --safety-speed`: how fast content safety is with every detector on, on clean, dense and hostile content.
//!
//! Runs `benches/safety.rs --table`, which measures every input at two sizes in one process, and judges what it prints: a
//! rate for clean tool calls and for dense texts, and for *every* input that its time per byte does not grow with its
//! size. Rates depend on the machine, ratios hardly.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::host;

/// Bytes per second of clean tool calls, in millions.
const CLEAN_MIN: f64 = 1_000.0;
/// Bytes per second of dense texts, in millions.
const DENSE_MIN: f64 = 100.0;
/// Screening of a clean call of 1 KiB, nanoseconds.
const CALL_MAX: f64 = 1_500.0;
/// Time per byte at the large size, in those at the small one.
const GROWTH_MAX: f64 = 1.5;

/// Options of `cargo xtask bench --safety-speed`.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub(super) struct Args {
    /// With --safety-speed: the compiled benchmark, instead of one that is built for it.
    #[arg(long, requires = "safety_speed", value_name = "FILE")]
    program: Option<PathBuf>,
    /// With --safety-speed: only inputs whose name or class (clean, dense, hostile) holds this.
    #[arg(long, requires = "safety_speed", default_value = "", value_name = "WORD")]
    input: String,
}

/// Measures, and prints the table.
///
/// # Errors
/// When the benchmark fails, or a figure is not what it has to be.
#[expect(clippy::print_stdout, reason = "the table is what the command is for")]
pub(super) fn run(args: &Args) -> Result<()> {
    let output = command(args).stderr(Stdio::inherit()).output().context("running the benchmark")?;
    if !output.status.success() {
        bail!("the benchmark failed: {}", output.status);
    }
    let lines = String::from_utf8_lossy(&output.stdout);
    let rows = lines.lines().filter(|line| line.starts_with('{')).map(Row::read).collect::<Result<Vec<_>>>()?;
    if rows.is_empty() {
        bail!("no input is called {:?}", args.input);
    }
    println!("{}\nMeasured on {}.", table(&rows), host::processor());
    let failures: Vec<String> = rows.iter().filter_map(Row::failure).collect();
    if !failures.is_empty() {
        bail!("{}", failures.join("; "));
    }
    Ok(())
}

fn command(args: &Args) -> Command {
    let mut command = match &args.program {
        Some(program) => Command::new(program),
        None => {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            cargo.args(["bench", "--package", "acp-userspace", "--bench", "safety", "--"]);
            cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
            cargo
        }
    };
    command.args(["--table", &args.input]);
    command
}

/// One input.
#[derive(Debug)]
struct Row {
    input: String,
    class: String,
    form: String,
    /// Of 1 KiB.
    call: Cost,
    small: Cost,
    large: Cost,
}

/// What it costs at one size.
#[derive(Debug)]
struct Cost {
    bytes: f64,
    walk_ns: f64,
    screen_ns: f64,
    refused: bool,
}

impl Row {
    fn read(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line).with_context(|| format!("reading {line}"))?;
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let cost = |name: &str| Cost::read(&value[name]);
        let (call, small, large) = (cost("call")?, cost("small")?, cost("large")?);
        Ok(Self { input: text("input"), class: text("class"), form: text("form"), call, small, large })
    }

    /// How much more a byte costs at the large size.
    fn growth(&self) -> f64 {
        self.large.ns_per_byte() / self.small.ns_per_byte()
    }

    /// Millions of bytes per second that it has to be screened at, if any.
    fn goal(&self) -> Option<f64> {
        match (self.class.as_str(), self.form.as_str(), self.input.as_str()) {
            ("clean", "Json", "tool calls") => Some(CLEAN_MIN),
            ("dense", "Json" | "Text", _) => Some(DENSE_MIN),
            _ => None,
        }
    }

    /// What is not as it has to be.
    fn failure(&self) -> Option<String> {
        let rate = self.small.rate();
        match self.goal() {
            Some(goal) if rate < goal => Some(format!("{}: {rate:.0} MB/s, not {goal:.0}", self.input)),
            Some(_) if self.class == "clean" && self.call.screen_ns > CALL_MAX => {
                Some(format!("{}: {:.0} ns for a call, not {CALL_MAX:.0}", self.input, self.call.screen_ns))
            }
            _ if self.growth() > GROWTH_MAX => Some(format!("{}: grows {:.2} times", self.input, self.growth())),
            _ => None,
        }
    }
}

impl Cost {
    fn read(value: &Value) -> Result<Self> {
        let number = |name: &str| value[name].as_f64().with_context(|| format!("no {name} in {value}"));
        Ok(Self {
            bytes: number("bytes")?,
            walk_ns: number("walk_ns")?,
            screen_ns: number("screen_ns")?,
            refused: value["refused"].as_bool().unwrap_or_default(),
        })
    }

    fn ns_per_byte(&self) -> f64 {
        self.screen_ns / self.bytes
    }

    /// Millions of bytes per second.
    fn rate(&self) -> f64 {
        1_000.0 / self.ns_per_byte()
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| input | read as | 1 KiB: walk, µs | screen, µs | 16 KiB: screen, ns/B | MB/s | larger | ns/B there | growth | |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let Row { input, class, form, call, small, large } = row;
        let verdict = match row.failure() {
            Some(_) => "FAIL",
            None if large.refused => "pass; refused",
            None => "pass",
        };
        let _ = writeln!(
            text,
            "| {class}: {} | {form} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} KiB | {:.2} | {:.2} | {verdict} |",
            input.replace('|', "\\|"),
            call.walk_ns / 1_000.0,
            call.screen_ns / 1_000.0,
            small.ns_per_byte(),
            small.rate(),
            large.bytes / 1024.0,
            large.ns_per_byte(),
            row.growth(),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(class: &str, small_ns: u32, large_ns: u32, expected: Option<&str>) {
        let cost = |bytes: u32, ns: u32| format!(r#"{{"bytes":{bytes},"walk_ns":0,"screen_ns":{ns},"refused":false}}"#);
        let line = format!(
            r#"{{"input":"tool calls","class":"{class}","form":"Json","call":{},"small":{},"large":{}}}"#,
            cost(1000, small_ns),
            cost(1000, small_ns),
            cost(4000, large_ns)
        );
        assert_eq!(Row::read(&line).expect("a row").failure().as_deref(), expected);
    }

    #[test]
    fn what_is_slow_or_grows_fails() {
        check("clean", 1_000, 4_000, None);
        check("clean", 1_001, 4_004, Some("tool calls: 999 MB/s, not 1000"));
        check("clean", 1_000, 6_004, Some("tool calls: grows 1.50 times"));
        check("dense", 10_000, 60_000, None);
        check("dense", 10_200, 40_800, Some("tool calls: 98 MB/s, not 100"));
        check("hostile", 90_000, 540_000, None);
        check("hostile", 90_000, 1_440_000, Some("tool calls: grows 4.00 times"));
        assert!(Row::read("{}").is_err());
    }
}
