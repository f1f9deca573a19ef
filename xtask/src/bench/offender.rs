//! The offender of `--flood`: one user far over the limit, who opens a new connection for every attempt, at a fixed
//! pace, and takes no notice of being refused.
//!
//! An attempt is due on a schedule, as in [`super::load`]; one that finds all slots taken is counted as not made, so
//! the report shows when the pace was not kept. Connections are reset when done: an offender who leaves TIME_WAITs
//! behind runs out of ports before the gateway is tested.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::flood::machine::Machine;
use super::http::Request;
use super::load::pace::Pace;
use super::proc::ProcessTree;
use super::sys::{self, Epoll};

mod attempt;

use attempt::{Attempt, End};

/// Attempts under way at once: more than are due in the time one is waited for, so that a gateway that accepts and
/// does not answer cannot slow the offender down.
const SLOTS: usize = 8_192;
/// An attempt without an answer for this long is given up.
const PATIENCE: Duration = Duration::from_secs(1);

/// What to attempt. Given on the command line of the hidden `offend` part.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Args {
    /// The gateway.
    #[arg(long)]
    pub(super) target: SocketAddrV4,
    /// Address to connect from.
    #[arg(long)]
    pub(super) source: Ipv4Addr,
    /// Network namespace to connect from, if not this one.
    #[arg(long)]
    pub(super) netns: Option<String>,
    /// Connections per second.
    #[arg(long)]
    pub(super) rate: f64,
    /// Attempts before the measured window, milliseconds.
    #[arg(long)]
    pub(super) warm_up_ms: u64,
    /// The measured window, milliseconds.
    #[arg(long)]
    pub(super) window_ms: u64,
    /// File whose first token is the offender's.
    #[arg(long)]
    pub(super) tokens: PathBuf,
    /// Root of the process tree whose CPU time is measured.
    #[arg(long)]
    pub(super) watch: u32,
}

impl Args {
    /// The command line that parses to these arguments.
    pub(super) fn to_command_line(&self) -> Vec<String> {
        [
            ("--target", self.target.to_string()),
            ("--source", self.source.to_string()),
            ("--rate", self.rate.to_string()),
            ("--warm-up-ms", self.warm_up_ms.to_string()),
            ("--window-ms", self.window_ms.to_string()),
            ("--tokens", self.tokens.display().to_string()),
            ("--watch", self.watch.to_string()),
        ]
        .into_iter()
        .chain(self.netns.iter().map(|netns| ("--netns", netns.clone())))
        .flat_map(|(name, value)| [name.to_owned(), value])
        .collect()
    }
}

/// What came of the attempts due in the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// Refused by the kernel.
    pub(super) refused: u64,
    /// Answered with 429.
    pub(super) limited: u64,
    /// Answered with 200.
    pub(super) served: u64,
    /// Closed without an answer.
    pub(super) dropped: u64,
    /// Answered otherwise.
    pub(super) other: u64,
    /// Not answered in time.
    pub(super) unanswered: u64,
    /// Not made although due.
    pub(super) not_made: u64,
    /// CPU time of the watched tree in the window, nanoseconds.
    pub(super) cpu_ns: u64,
    /// CPU time of the whole machine in it.
    pub(super) machine_ns: u64,
    /// CPU time of the offender's own process in it.
    pub(super) own_ns: u64,
}

impl Outcome {
    /// Attempts that got nothing, however they were told.
    pub(super) fn refused_in_all(&self) -> u64 {
        self.refused + self.limited + self.dropped
    }

    /// The same with those that nobody answered.
    pub(super) fn got_nothing(&self) -> u64 {
        self.refused_in_all() + self.unanswered
    }

    /// Attempts made.
    pub(super) fn made(&self) -> u64 {
        self.got_nothing() + self.served + self.other
    }

    fn count(&mut self, end: End) {
        *match end {
            End::Refused => &mut self.refused,
            End::Limited => &mut self.limited,
            End::Served => &mut self.served,
            End::Dropped => &mut self.dropped,
            End::Other => &mut self.other,
            End::Unanswered => &mut self.unanswered,
            End::NotMade => &mut self.not_made,
        } += 1;
    }

    /// For the parent, and for `flood.json`.
    pub(super) fn to_json(self) -> Value {
        json!({
            "refused": self.refused, "limited": self.limited, "served": self.served, "dropped": self.dropped,
            "other": self.other, "unanswered": self.unanswered, "not_made": self.not_made, "cpu_ns": self.cpu_ns,
            "machine_ns": self.machine_ns, "own_ns": self.own_ns,
        })
    }

    /// Reads what the offender printed.
    ///
    /// # Errors
    /// When it is not one JSON object with all the numbers.
    pub(super) fn from_json(line: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(line.trim()).context("the offender printed no JSON")?;
        let number = |name: &str| value[name].as_u64().with_context(|| format!("the offender's `{name}`"));
        Ok(Self {
            refused: number("refused")?,
            limited: number("limited")?,
            served: number("served")?,
            dropped: number("dropped")?,
            other: number("other")?,
            unanswered: number("unanswered")?,
            not_made: number("not_made")?,
            cpu_ns: number("cpu_ns")?,
            machine_ns: number("machine_ns")?,
            own_ns: number("own_ns")?,
        })
    }
}

/// Makes the attempts and prints their [`Outcome`] as one line of JSON.
///
/// # Errors
/// When there is no token or the watched process is gone.
#[expect(clippy::print_stdout, reason = "the parent process reads it there")]
pub(super) fn run(args: &Args) -> Result<()> {
    sys::raise_open_files();
    sys::exact_timers();
    if let Some(netns) = &args.netns {
        sys::enter_network(netns).with_context(|| format!("entering {netns}"))?;
    }
    let tokens = std::fs::read_to_string(&args.tokens).with_context(|| format!("{}", args.tokens.display()))?;
    let token = tokens.split_whitespace().next().context("the offender has no token")?;
    let request = Request::new(&args.target.to_string(), token);
    println!("{}", Offender::new(args, request)?.run()?.to_json());
    Ok(())
}

/// The event loop.
struct Offender<'a> {
    args: &'a Args,
    request: Request,
    epoll: Epoll,
    /// Attempts by slot, with how often the slot was used: events of earlier users are ignored.
    slots: Vec<(u32, Option<Attempt>)>,
    free: Vec<usize>,
    outcome: Outcome,
}

impl<'a> Offender<'a> {
    fn new(args: &'a Args, request: Request) -> Result<Self> {
        Ok(Self {
            args,
            request,
            epoll: Epoll::new(SLOTS)?,
            slots: (0..SLOTS).map(|_| (0, None)).collect(),
            free: (0..SLOTS).collect(),
            outcome: Outcome::default(),
        })
    }

    fn run(mut self) -> Result<Outcome> {
        let (pace, tree) = (Pace::new(self.args.rate), ProcessTree::below(self.args.watch));
        let (open, close) = self.window();
        let (start, mut next, mut ready) = (Instant::now(), 0, Vec::with_capacity(SLOTS));
        let (mut opened, mut next_sweep) = (None, PATIENCE);
        loop {
            let now = start.elapsed();
            if now >= open && opened.is_none() {
                opened = Some((Machine::now()?, sys::process_cpu(std::process::id())?, tree.cpu()?));
            }
            if now >= close {
                break;
            }
            while pace.due(next) <= now {
                self.attempt(pace.due(next), next);
                next += 1;
            }
            if now >= next_sweep {
                self.give_up(now);
                next_sweep = now + PATIENCE / 10;
            }
            let wake = pace.due(next).min(if now < open { open } else { close });
            self.take_events(wake.saturating_sub(start.elapsed()), &mut ready)?;
        }
        let (machine, own, cpu) = opened.context("the window was never opened")?;
        let ns = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.outcome.cpu_ns = ns(tree.cpu()?.saturating_sub(cpu));
        self.outcome.own_ns = ns(sys::process_cpu(std::process::id())?.saturating_sub(own));
        self.outcome.machine_ns = Machine::now()?.busy_ns_since(&machine);
        while self.free.len() < SLOTS {
            self.take_events(PATIENCE / 10, &mut ready)?;
            self.give_up(start.elapsed());
        }
        Ok(self.outcome)
    }

    fn window(&self) -> (Duration, Duration) {
        let open = Duration::from_millis(self.args.warm_up_ms);
        (open, open + Duration::from_millis(self.args.window_ms))
    }

    fn count(&mut self, due: Duration, end: End) {
        let (open, close) = self.window();
        if due >= open && due < close {
            self.outcome.count(end);
        }
    }

    fn attempt(&mut self, due: Duration, number: u64) {
        let Some(slot) = self.free.pop() else { return self.count(due, End::NotMade) };
        let (uses, place) = &mut self.slots[slot];
        *uses = uses.wrapping_add(1);
        let key = u64::from(*uses) << 32 | slot as u64;
        let stream = sys::start_connect(self.args.source, self.args.target)
            .and_then(|stream| self.epoll.add(&stream, key).map(|()| stream));
        match stream {
            Ok(stream) => {
                let mut out = Vec::new();
                self.request.write_numbered(number, &mut out);
                *place = Some(Attempt::new(stream, due, out));
            }
            Err(error) => {
                self.free.push(slot);
                let refused = error.kind() == ErrorKind::ConnectionRefused;
                self.count(due, if refused { End::Refused } else { End::NotMade });
            }
        }
    }

    fn take_events(&mut self, timeout: Duration, ready: &mut Vec<u64>) -> Result<()> {
        self.epoll.wait(timeout, ready).context("waiting for events")?;
        for key in ready.drain(..) {
            let (slot, uses) = ((key & 0xffff_ffff) as usize, (key >> 32) as u32);
            let (current, place) = &mut self.slots[slot];
            let end = place.as_mut().filter(|_| *current == uses).and_then(Attempt::advance);
            if let Some(end) = end {
                self.close(slot, end);
            }
        }
        Ok(())
    }

    /// Ends the attempts that have waited too long.
    fn give_up(&mut self, now: Duration) {
        for slot in 0..SLOTS {
            let waits = self.slots[slot].1.as_ref().is_some_and(|attempt| now.saturating_sub(attempt.due) > PATIENCE);
            if waits {
                self.close(slot, End::Unanswered);
            }
        }
    }

    fn close(&mut self, slot: usize, end: End) {
        if let Some(attempt) = self.slots[slot].1.take() {
            // Fails only where the peer has reset the connection itself.
            let _ = sys::reset_on_close(&attempt.stream);
            self.count(attempt.due, end);
            self.free.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{SocketAddr, TcpListener};

    fn offend(target: SocketAddr, rate: f64) -> Outcome {
        let SocketAddr::V4(target) = target else { panic!("IPv6") };
        let args = Args {
            target,
            source: Ipv4Addr::new(127, 0, 0, 2),
            netns: None,
            rate,
            warm_up_ms: 100,
            window_ms: 400,
            tokens: "unused".into(),
            watch: std::process::id(),
        };
        Offender::new(&args, Request::new("x", "t")).and_then(Offender::run).expect("runs")
    }

    /// A server that gives each connection `answer` once its request has begun to arrive, then closes.
    fn serve(answer: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 8_192]);
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        address
    }

    #[test]
    fn counts_every_refusal_of_a_closed_port_at_the_given_pace() {
        let address = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
        let outcome = offend(address, 1_000.0);
        assert_eq!(outcome.refused, 400, "{outcome:?}");
        assert_eq!(outcome.made(), 400, "{outcome:?}");
    }

    #[test]
    fn tells_429_from_200_from_a_close() {
        let limited = offend(serve("HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n\r\n"), 200.0);
        assert_eq!((limited.limited, limited.made()), (80, 80), "{limited:?}");
        let served = offend(serve("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), 200.0);
        assert_eq!((served.served, served.refused_in_all()), (80, 0), "{served:?}");
        let dropped = offend(serve(""), 200.0);
        assert_eq!((dropped.dropped, dropped.refused_in_all()), (80, 80), "{dropped:?}");
    }

    #[test]
    fn gives_up_on_a_server_that_accepts_and_never_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let outcome = offend(listener.local_addr().expect("bound"), 100.0);
        assert_eq!(outcome.unanswered, 40, "{outcome:?}");
    }

    #[test]
    fn outcome_survives_the_pipe() {
        let outcome = Outcome {
            refused: 1,
            limited: 2,
            served: 3,
            dropped: 4,
            other: 5,
            unanswered: 6,
            not_made: 7,
            cpu_ns: 8,
            machine_ns: 9,
            own_ns: 10,
        };
        assert_eq!(Outcome::from_json(&outcome.to_json().to_string()).expect("reads"), outcome);
        assert_eq!(outcome.made(), 21);
    }
}
