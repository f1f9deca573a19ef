//! One kind of client of `--overload`, in a process of its own: polite callers and seven kinds of bad ones.
//!
//! Attempts are due on a schedule, as in [`super::super::load`]; one that finds every slot taken counts as not sent. A
//! caller gives up after its patience and resets its connection; the others do what their kind says until the gateway
//! ends it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::super::guard;
use super::super::histogram::Histogram;
use super::super::http::{PATH, Request};
use super::super::load::pace::Pace;
use super::super::sys::{self, Epoll};
use super::client::{Client, Habit, Payload, Step};

/// Between looks at who has waited too long, and at who has another byte to trickle.
const SWEEP: Duration = Duration::from_millis(100);
/// Niceness of all but the polite callers: the mob must not win against the victim by the scheduler of one machine.
const NICE: i32 = 10;

/// Who they are.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Good tokens, good requests.
    Caller,
    /// Good requests with forged signatures.
    Forged,
    /// Heads of 60 KiB.
    HugeHead,
    /// Bodies that are announced with 1 GiB.
    HugeBody,
    /// Connects and resets.
    Churn,
    /// Connects and says nothing.
    Idle,
    /// A head, a byte a second.
    SlowHead,
    /// A body, a byte a second.
    SlowBody,
    /// Sends requests and never reads an answer.
    Deaf,
}

impl Kind {
    fn habit(self) -> Habit {
        match self {
            Self::Caller | Self::Forged | Self::HugeHead | Self::HugeBody => Habit::Call,
            Self::Churn => Habit::Knock,
            Self::Idle | Self::SlowHead | Self::SlowBody => Habit::Trickle,
            Self::Deaf => Habit::Flood,
        }
    }

    fn payloads(self, target: SocketAddrV4, tokens: &[String]) -> Result<Vec<Payload>> {
        let host = target.to_string();
        let numbered = |token: &String| Payload::Numbered(Request::new(&host, token));
        Ok(match self {
            Self::Caller | Self::SlowBody | Self::Deaf => tokens.iter().map(numbered).collect(),
            Self::Forged => tokens.iter().map(|token| Ok(numbered(&guard::forge(token)?))).collect::<Result<_>>()?,
            Self::HugeHead => vec![numbered(&"x".repeat(60_000))],
            Self::HugeBody => {
                let token = tokens.first().context("a token")?;
                let head = format!(
                    "POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n\
                     Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{{",
                    1 << 30
                );
                vec![Payload::Fixed(head.into_bytes())]
            }
            Self::SlowHead => {
                let head = format!("POST {PATH} HTTP/1.1\r\nHost: {host}\r\nX-Slow: {}", "a".repeat(4_096));
                vec![Payload::Fixed(head.into_bytes())]
            }
            Self::Churn | Self::Idle => vec![Payload::Fixed(Vec::new())],
        })
    }
}

/// What to do. Given on the command line of the hidden `mob` part.
#[derive(clap::Args, Clone, Debug)]
pub(in crate::bench) struct Args {
    /// Who.
    #[arg(long, value_enum)]
    pub(super) kind: Kind,
    /// The gateway.
    #[arg(long)]
    pub(super) target: SocketAddrV4,
    /// First address to connect from.
    #[arg(long)]
    pub(super) source: Ipv4Addr,
    /// How many addresses there are.
    #[arg(long)]
    pub(super) sources: u32,
    /// Connections at once.
    #[arg(long)]
    pub(super) slots: usize,
    /// Attempts per second.
    #[arg(long)]
    pub(super) rate: f64,
    /// How long, milliseconds.
    #[arg(long)]
    pub(super) run_ms: u64,
    /// An answer later than that after its request was due is not on time; nobody waits longer.
    #[arg(long)]
    pub(super) patience_ms: u64,
    /// Answers on one connection before it is closed for a new one.
    #[arg(long)]
    pub(super) answers_max: u32,
    /// File of tokens.
    #[arg(long)]
    pub(super) tokens: PathBuf,
    /// Not of the mob: keeps its priority.
    #[arg(long)]
    pub(super) polite: bool,
}

impl Args {
    /// The command line that parses to these arguments.
    pub(super) fn to_command_line(&self) -> Vec<String> {
        let kind = clap::ValueEnum::to_possible_value(&self.kind).map(|kind| kind.get_name().to_owned());
        let mut line: Vec<String> = [
            ("--kind", kind.unwrap_or_default()),
            ("--target", self.target.to_string()),
            ("--source", self.source.to_string()),
            ("--sources", self.sources.to_string()),
            ("--slots", self.slots.to_string()),
            ("--rate", self.rate.to_string()),
            ("--run-ms", self.run_ms.to_string()),
            ("--patience-ms", self.patience_ms.to_string()),
            ("--answers-max", self.answers_max.to_string()),
            ("--tokens", self.tokens.display().to_string()),
        ]
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect();
        line.extend(self.polite.then(|| "--polite".to_owned()));
        line
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Attempts due.
    pub(super) due: u64,
    /// Of them without a free slot.
    pub(super) not_sent: u64,
    /// Answered with 200 within the patience.
    pub(super) on_time: u64,
    /// Answers by status.
    pub(super) statuses: BTreeMap<u16, u64>,
    /// Ended by the gateway without an answer.
    pub(super) dropped: u64,
    /// Given up by the client.
    pub(super) given_up: u64,
    /// Median latency of good answers, nanoseconds.
    pub(super) p50_ns: u64,
    /// 99th percentile.
    pub(super) p99_ns: u64,
}

impl Outcome {
    pub(super) fn to_json(&self) -> Value {
        let statuses: serde_json::Map<String, Value> =
            self.statuses.iter().map(|(status, count)| (status.to_string(), json!(count))).collect();
        json!({
            "due": self.due, "not_sent": self.not_sent, "on_time": self.on_time, "statuses": statuses,
            "dropped": self.dropped, "given_up": self.given_up, "p50_ns": self.p50_ns, "p99_ns": self.p99_ns,
        })
    }

    /// Reads what a mob printed.
    ///
    /// # Errors
    /// When it is not one JSON object with all the numbers.
    pub(super) fn from_json(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line.trim()).context("a mob printed no JSON")?;
        let number = |name: &str| value[name].as_u64().with_context(|| format!("a mob's `{name}`"));
        let statuses = value["statuses"].as_object().context("a mob's `statuses`")?.iter();
        let statuses = statuses.map(|(status, count)| Ok((status.parse()?, count.as_u64().context("a count")?)));
        Ok(Self {
            due: number("due")?,
            not_sent: number("not_sent")?,
            on_time: number("on_time")?,
            statuses: statuses.collect::<Result<_>>()?,
            dropped: number("dropped")?,
            given_up: number("given_up")?,
            p50_ns: number("p50_ns")?,
            p99_ns: number("p99_ns")?,
        })
    }

    /// Answers that were refusals.
    pub(super) fn refusals(&self) -> u64 {
        self.statuses.iter().filter(|(status, _)| **status != 200).map(|(_, count)| count).sum()
    }
}

/// Runs and prints an [`Outcome`] as one line of JSON.
///
/// # Errors
/// When there is no token.
#[expect(clippy::print_stdout, reason = "the parent process reads it there")]
pub(in crate::bench) fn run(args: &Args) -> Result<()> {
    sys::raise_open_files();
    sys::exact_timers();
    if !args.polite {
        sys::be_nice(NICE);
    }
    println!("{}", Mob::new(args)?.run()?.to_json());
    Ok(())
}

struct Mob<'a> {
    args: &'a Args,
    payloads: Vec<Payload>,
    epoll: Epoll,
    /// By slot, with how often the slot was used: events of earlier users are ignored.
    slots: Vec<(u32, Option<Client>)>,
    /// Slots without a connection.
    free: Vec<usize>,
    /// Slots whose connection waits for its next request, longest first. May name one that has ended since.
    kept: VecDeque<(usize, u32)>,
    attempts: u64,
    latencies: Histogram,
    outcome: Outcome,
    start: Instant,
}

impl<'a> Mob<'a> {
    fn new(args: &'a Args) -> Result<Self> {
        let tokens = std::fs::read_to_string(&args.tokens).with_context(|| format!("{}", args.tokens.display()))?;
        let tokens: Vec<String> = tokens.split_whitespace().map(str::to_owned).collect();
        let payloads = args.kind.payloads(args.target, &tokens)?;
        if payloads.is_empty() {
            bail!("{} holds no token", args.tokens.display());
        }
        Ok(Self {
            args,
            payloads,
            epoll: Epoll::new(args.slots.clamp(1, 1_024))?,
            slots: (0..args.slots).map(|_| (0, None)).collect(),
            free: (0..args.slots).rev().collect(),
            kept: VecDeque::new(),
            attempts: 0,
            latencies: Histogram::new(),
            outcome: Outcome::default(),
            start: Instant::now(),
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let pace = Pace::new(self.args.rate);
        let end = Duration::from_millis(self.args.run_ms);
        let patience = Duration::from_millis(self.args.patience_ms);
        let (mut next, mut next_sweep, mut ready) = (0, SWEEP, Vec::new());
        self.start = Instant::now();
        loop {
            let now = self.start.elapsed();
            if now >= end + patience || (now >= end && self.args.kind.habit() != Habit::Call) {
                break;
            }
            while pace.due(next) <= now && pace.due(next) < end {
                self.attempt(pace.due(next));
                next += 1;
            }
            if now >= next_sweep {
                self.sweep(now);
                next_sweep = now + SWEEP;
            }
            let wake = if now < end { pace.due(next).min(next_sweep) } else { next_sweep };
            self.epoll.wait(wake.saturating_sub(self.start.elapsed()), &mut ready).context("waiting for events")?;
            for key in ready.drain(..) {
                self.advance((key & 0xffff_ffff) as usize, (key >> 32) as u32);
            }
        }
        // Nobody waits any longer.
        let waiting = self.slots.iter().filter_map(|(_, client)| client.as_ref()?.due);
        self.outcome.given_up += if self.args.kind.habit() == Habit::Call { waiting.count() as u64 } else { 0 };
        self.outcome.p50_ns = self.latencies.quantile(0.50);
        self.outcome.p99_ns = self.latencies.quantile(0.99);
        Ok(self.outcome)
    }

    /// One attempt: on a kept connection, or on a new one.
    fn attempt(&mut self, due: Duration) {
        self.outcome.due += 1;
        let number = self.attempts;
        self.attempts += 1;
        let payload = &self.payloads[(number.wrapping_mul(0x9e37_79b9) % self.payloads.len() as u64) as usize];
        while let Some((slot, uses)) = self.kept.pop_front() {
            let (current, place) = &mut self.slots[slot];
            if let Some(client) = place.as_mut().filter(|_| *current == uses) {
                client.call(payload, number, due);
                return self.advance(slot, uses);
            }
        }
        let Some(slot) = self.free.pop() else {
            self.outcome.not_sent += 1;
            return;
        };
        let (uses, place) = &mut self.slots[slot];
        *uses = uses.wrapping_add(1);
        let uses = *uses;
        let offset = (number % u64::from(self.args.sources.max(1))) as u32;
        let source = Ipv4Addr::from_bits(self.args.source.to_bits() + offset);
        let key = u64::from(uses) << 32 | slot as u64;
        let stream = sys::start_connect(source, self.args.target)
            .and_then(|stream| self.epoll.add(&stream, key).map(|()| stream));
        match stream {
            Ok(stream) => {
                let mut client = Client::new(stream, self.args.kind.habit());
                client.call(payload, number, due);
                *place = Some(client);
            }
            Err(_) => {
                self.outcome.dropped += 1;
                self.free.push(slot);
            }
        }
    }

    fn advance(&mut self, slot: usize, uses: u32) {
        let (current, place) = &mut self.slots[slot];
        let Some(client) = place.as_mut().filter(|_| *current == uses) else { return };
        match client.advance() {
            Step::Waiting => {}
            Step::Answered { status, due, close } => {
                let now = self.start.elapsed();
                let late = now.saturating_sub(due);
                *self.outcome.statuses.entry(status).or_default() += 1;
                if status == 200 {
                    self.latencies.record(u64::try_from(late.as_nanos()).unwrap_or(u64::MAX));
                    self.outcome.on_time += u64::from(late <= Duration::from_millis(self.args.patience_ms));
                }
                if close || client.answers >= self.args.answers_max {
                    self.end(slot);
                } else {
                    self.kept.push_back((slot, uses));
                }
            }
            Step::Done => self.end(slot),
            Step::Dropped => {
                self.outcome.dropped += 1;
                self.end(slot);
            }
        }
    }

    fn end(&mut self, slot: usize) {
        if let Some(client) = self.slots[slot].1.take() {
            // Fails only where the peer has reset the connection itself.
            let _ = sys::reset_on_close(&client.stream);
            self.free.push(slot);
        }
    }

    /// Lets callers give up, and the slow send their next byte.
    fn sweep(&mut self, now: Duration) {
        let patience = Duration::from_millis(self.args.patience_ms);
        let habit = self.args.kind.habit();
        for slot in 0..self.slots.len() {
            let (uses, place) = &mut self.slots[slot];
            let uses = *uses;
            let Some(client) = place else { continue };
            if habit == Habit::Call && client.due.is_some_and(|due| now.saturating_sub(due) > patience) {
                self.outcome.given_up += 1;
                self.end(slot);
            } else if habit == Habit::Trickle && client.trickle(now) {
                self.advance(slot, uses);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};

    fn outcome(kind: Kind, answer: &'static str) -> Outcome {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let Ok(SocketAddr::V4(target)) = listener.local_addr() else { panic!("IPv6") };
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                std::thread::spawn(move || {
                    let _ = stream.read(&mut [0; 8_192]);
                    let _ = stream.write_all(answer.as_bytes());
                    let _ = stream.read(&mut [0; 8_192]);
                });
            }
        });
        let tokens = std::env::temp_dir().join(format!("acp-mob-{}-{kind:?}", std::process::id()));
        std::fs::write(&tokens, "a.b.cdef").expect("written");
        let source = Ipv4Addr::LOCALHOST;
        let (slots, rate, run_ms, patience_ms) = (8, 50.0, 400, 300);
        let args = Args {
            kind,
            target,
            source,
            sources: 2,
            slots,
            rate,
            run_ms,
            patience_ms,
            answers_max: 1,
            tokens,
            polite: true,
        };
        let outcome = Mob::new(&args).and_then(Mob::run).expect("runs");
        std::fs::remove_file(&args.tokens).expect("removed");
        assert_eq!(Outcome::from_json(&outcome.to_json().to_string()).expect("reads"), outcome);
        outcome
    }

    #[test]
    fn a_caller_tells_served_from_refused_from_dropped_from_silence() {
        let served = outcome(Kind::Caller, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((served.due, served.on_time, served.refusals()), (20, 20, 0), "{served:?}");
        let refused = outcome(Kind::Forged, "HTTP/1.1 503 x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!((refused.on_time, refused.statuses.get(&503)), (0, Some(&20)), "{refused:?}");
        let silent = outcome(Kind::Caller, "");
        assert_eq!(silent.given_up + silent.not_sent + silent.dropped, 20, "{silent:?}");
    }

    #[test]
    fn the_slow_hold_their_slots_and_those_who_knock_do_not() {
        assert_eq!(outcome(Kind::Idle, "").not_sent, 12);
        assert_eq!(outcome(Kind::Churn, "").not_sent, 0);
    }
}
