//! The load generator: keep-alive connections, each with one request out at a time, from a process of its own, so that
//! its CPU time is nobody else's.
//!
//! Two modes. *Closed loop* (no rate): a connection sends its next request as soon as it has the last answer; shows
//! throughput and cost at saturation. *Open loop* (a rate): requests are due on a schedule ([`pace`]) and their latency
//! counts from when they were due; shows latency, and whether a victim of a flood is served on time.
//!
//! Every request is sent as a user drawn at random, so that a connection's last token is almost never its next one.
//! That is the hard choice, taken so that no cache that only remembers a connection's last token flatters its owner.
//!
//! An answer counts only with status 200 and the expected body, byte for byte. The server's CPU time is sampled by this
//! process at the edges of the measured window, so that exactly the window's requests and the window's CPU are related.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::http::Request;
use super::sys;

mod connection;
mod engine;
pub(super) mod pace;

/// What to send where. Given on the command line of the hidden `load` part.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// The server.
    #[arg(long)]
    pub(super) target: SocketAddrV4,
    /// Address to connect from.
    #[arg(long, default_value = "127.0.0.1")]
    pub(super) source: Ipv4Addr,
    /// Network namespace to connect from, if not this one.
    #[arg(long)]
    pub(super) netns: Option<String>,
    /// Keep-alive connections.
    #[arg(long)]
    pub(super) connections: usize,
    /// Load before the measured window, milliseconds.
    #[arg(long)]
    pub(super) warm_up_ms: u64,
    /// The measured window, milliseconds.
    #[arg(long)]
    pub(super) window_ms: u64,
    /// Requests per second (open loop); as fast as answers come without it.
    #[arg(long)]
    pub(super) rate: Option<f64>,
    /// Later answers are not on time, microseconds after their request was due.
    #[arg(long, default_value_t = u64::MAX)]
    pub(super) deadline_us: u64,
    /// File of bearer tokens, one a line.
    #[arg(long)]
    pub(super) tokens: PathBuf,
    /// Root of the process tree whose CPU time is measured.
    #[arg(long)]
    pub(super) watch: u32,
    /// Seed of the random choice of users.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

impl Args {
    /// The command line that parses to these arguments.
    pub(super) fn to_command_line(&self) -> Vec<String> {
        let mut line: Vec<String> = Vec::new();
        let mut option = |name: &str, value: String| line.extend([format!("--{name}"), value]);
        option("target", self.target.to_string());
        option("source", self.source.to_string());
        if let Some(netns) = &self.netns {
            option("netns", netns.clone());
        }
        option("connections", self.connections.to_string());
        option("warm-up-ms", self.warm_up_ms.to_string());
        option("window-ms", self.window_ms.to_string());
        if let Some(rate) = self.rate {
            option("rate", rate.to_string());
        }
        option("deadline-us", self.deadline_us.to_string());
        option("tokens", self.tokens.display().to_string());
        option("watch", self.watch.to_string());
        option("seed", self.seed.to_string());
        line
    }

    fn requests(&self) -> Result<Vec<Request>> {
        let tokens = std::fs::read_to_string(&self.tokens).with_context(|| format!("{}", self.tokens.display()))?;
        let host = self.target.to_string();
        let requests: Vec<Request> = tokens.split_whitespace().map(|token| Request::new(&host, token)).collect();
        if requests.is_empty() {
            bail!("{} holds no token", self.tokens.display());
        }
        Ok(requests)
    }
}

/// What came of it. Counts are of the window unless they say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// Good answers of the whole run, warm-up and drain included: what an audit log of the server must show.
    pub(super) answered_in_all: u64,
    /// Good answers: completed in the window (closed loop), or due in it (open loop).
    pub(super) answered: u64,
    /// Requests due, open loop only.
    pub(super) due: u64,
    /// Good answers within the deadline.
    pub(super) on_time: u64,
    /// Failures of the whole run.
    pub(super) errors: u64,
    /// What the first of them was.
    pub(super) first_error: Option<String>,
    /// Length of the window, nanoseconds.
    pub(super) window_ns: u64,
    /// CPU time of the watched tree, nanoseconds.
    pub(super) cpu_ns: u64,
    /// Median latency, nanoseconds.
    pub(super) p50_ns: u64,
    /// 99th percentile of latency, nanoseconds.
    pub(super) p99_ns: u64,
}

impl Outcome {
    /// Good answers per second.
    pub(super) fn per_second(&self) -> f64 {
        self.answered as f64 / Duration::from_nanos(self.window_ns.max(1)).as_secs_f64()
    }

    /// CPU time of the watched tree per good answer, microseconds.
    pub(super) fn cpu_us_per_request(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.answered.max(1) as f64
    }

    /// Share of the requests due that were answered on time, 0.0..=1.0.
    pub(super) fn on_time_share(&self) -> f64 {
        self.on_time as f64 / self.due.max(1) as f64
    }

    fn to_json(&self) -> Value {
        json!({
            "answered_in_all": self.answered_in_all, "answered": self.answered, "due": self.due,
            "on_time": self.on_time, "errors": self.errors, "first_error": self.first_error,
            "window_ns": self.window_ns, "cpu_ns": self.cpu_ns, "p50_ns": self.p50_ns, "p99_ns": self.p99_ns,
        })
    }

    /// Reads what the generator printed.
    ///
    /// # Errors
    /// When it is not one JSON object with all the numbers.
    pub(super) fn from_json(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line.trim()).context("the load generator printed no JSON")?;
        let number = |name: &str| value[name].as_u64().with_context(|| format!("the load generator's `{name}`"));
        Ok(Self {
            answered_in_all: number("answered_in_all")?,
            answered: number("answered")?,
            due: number("due")?,
            on_time: number("on_time")?,
            errors: number("errors")?,
            first_error: value["first_error"].as_str().map(str::to_owned),
            window_ns: number("window_ns")?,
            cpu_ns: number("cpu_ns")?,
            p50_ns: number("p50_ns")?,
            p99_ns: number("p99_ns")?,
        })
    }
}

/// Runs the load and prints its [`Outcome`] as one line of JSON.
///
/// # Errors
/// When it cannot start: no tokens, nobody listening, the watched process gone. Failed requests are counted instead.
#[expect(clippy::print_stdout, reason = "the parent process reads it there")]
pub(super) fn run(args: &Args) -> Result<()> {
    sys::raise_open_files();
    sys::exact_timers();
    if let Some(netns) = &args.netns {
        sys::enter_network(netns).with_context(|| format!("entering {netns}"))?;
    }
    let outcome = engine::Engine::new(args, args.requests()?)?.run()?;
    println!("{}", outcome.to_json());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn command_line_parses_back() {
        for rate in [None, Some(1234.5)] {
            let args = Args {
                target: "127.0.0.1:8080".parse().expect("an address"),
                source: Ipv4Addr::new(127, 0, 0, 3),
                netns: None,
                connections: 64,
                warm_up_ms: 1_000,
                window_ms: 5_000,
                rate,
                deadline_us: 50_000,
                tokens: "keys/tokens.txt".into(),
                watch: 42,
                seed: 7,
            };
            let line = std::iter::once("load".to_owned()).chain(args.to_command_line());
            let parsed = Line::try_parse_from(line).expect("parses").args;
            assert_eq!(format!("{parsed:?}"), format!("{args:?}"));
        }
    }

    #[test]
    fn outcome_survives_the_pipe() {
        let outcome = Outcome {
            answered_in_all: 12,
            answered: 10,
            due: 11,
            on_time: 9,
            errors: 1,
            first_error: Some("status 403: \"no\"".to_owned()),
            window_ns: 2_000_000_000,
            cpu_ns: 200_000,
            p50_ns: 5,
            p99_ns: 6,
        };
        assert_eq!(Outcome::from_json(&outcome.to_json().to_string()).expect("reads"), outcome);
        assert_eq!(outcome.per_second(), 5.0);
        assert_eq!(outcome.cpu_us_per_request(), 20.0);
    }

    #[test]
    fn a_missing_number_is_an_error_not_a_zero() {
        let error = Outcome::from_json("{\"answered\":1}").expect_err("incomplete");
        assert!(error.to_string().contains("answered_in_all"), "{error}");
    }
}
