//! The event loop of the load generator: connections, schedule, window.

use std::collections::VecDeque;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::super::histogram::Histogram;
use super::super::http::Request;
use super::super::proc::ProcessTree;
use super::super::sys::{self, Epoll};
use super::connection::{Connection, Step};
use super::pace::Pace;
use super::{Args, Outcome};

/// After the window: how long requests that are out may take before they count as lost.
const DRAIN: Duration = Duration::from_secs(5);
/// A run with this many failures is ended early: it has failed, and retrying only floods the logs.
const ERRORS_MAX: u64 = 1_000;

/// One run of the load.
pub(super) struct Engine<'a> {
    args: &'a Args,
    requests: Vec<Request>,
    tree: ProcessTree,
    epoll: Epoll,
    connections: Vec<Connection>,
    /// Connections without a request out, longest idle first. Only used in open loop.
    idle: VecDeque<usize>,
    pace: Option<Pace>,
    start: Instant,
    /// Requests sent so far, which is also the index of the next one due.
    sent: u64,
    random: u64,
    latencies: Histogram,
    outcome: Outcome,
    /// Wall and CPU time at the window's first edge, once it is crossed.
    opened: Option<(Duration, Duration)>,
}

impl<'a> Engine<'a> {
    /// Connects.
    ///
    /// # Errors
    /// When nobody listens or no descriptors are left.
    pub(super) fn new(args: &'a Args, requests: Vec<Request>) -> Result<Self> {
        let mut engine = Self {
            args,
            requests,
            tree: ProcessTree::below(args.watch),
            epoll: Epoll::new(args.connections.max(1))?,
            connections: Vec::new(),
            idle: VecDeque::new(),
            pace: args.rate.map(Pace::new),
            start: Instant::now(),
            sent: 0,
            // Never zero, where xorshift would stay.
            random: args.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            latencies: Histogram::new(),
            outcome: Outcome::default(),
            opened: None,
        };
        for index in 0..args.connections {
            let stream = engine.connect(index)?;
            engine.connections.push(Connection::new(stream));
        }
        Ok(engine)
    }

    fn connect(&self, index: usize) -> Result<TcpStream> {
        let stream = sys::start_connect(self.args.source, self.args.target)
            .with_context(|| format!("connecting to {}", self.args.target))?;
        self.epoll.add(&stream, index as u64)?;
        Ok(stream)
    }

    /// Warm-up, window, drain.
    ///
    /// # Errors
    /// When the server's process is gone or a lost connection cannot be replaced.
    pub(super) fn run(mut self) -> Result<Outcome> {
        let open = Duration::from_millis(self.args.warm_up_ms);
        let close = open + Duration::from_millis(self.args.window_ms);
        self.start = Instant::now();
        for index in 0..self.connections.len() {
            match self.pace {
                Some(_) => self.idle.push_back(index),
                None => self.send(index, Duration::ZERO)?,
            }
        }
        let mut ready = Vec::with_capacity(self.connections.len());
        loop {
            let now = self.start.elapsed();
            if now >= open && self.opened.is_none() {
                self.opened = Some((now, self.tree.cpu()?));
            }
            if now >= close || self.outcome.errors >= ERRORS_MAX {
                break;
            }
            self.send_due(now)?;
            let edge = if now < open { open } else { close };
            let wake = self.next_due().map_or(edge, |due| due.min(edge));
            self.take_events(wake.saturating_sub(self.start.elapsed()), Some(close), &mut ready)?;
        }
        self.close_window()?;
        self.drain(&mut ready)?;
        self.count_unsent(open, close);
        self.outcome.p50_ns = self.latencies.quantile(0.50);
        self.outcome.p99_ns = self.latencies.quantile(0.99);
        Ok(self.outcome)
    }

    /// When the next request of an open loop can go out: never while all connections are busy.
    fn next_due(&self) -> Option<Duration> {
        self.pace.filter(|_| !self.idle.is_empty()).map(|pace| pace.due(self.sent))
    }

    fn send_due(&mut self, now: Duration) -> Result<()> {
        while let Some(due) = self.next_due().filter(|&due| due <= now) {
            let Some(index) = self.idle.pop_front() else { break };
            self.send(index, due)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize, due: Duration) -> Result<()> {
        let user = self.draw();
        let step = self.connections[index].send(&self.requests[user], self.sent, due);
        self.sent += 1;
        match step {
            Step::Failed(what) => self.replace(index, Some(what)),
            _ => Ok(()),
        }
    }

    /// A user at random (xorshift64).
    fn draw(&mut self) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random % self.requests.len() as u64) as usize
    }

    /// Waits for events and acts on them. With `until`, a closed loop sends its next requests before that time.
    fn take_events(&mut self, timeout: Duration, until: Option<Duration>, ready: &mut Vec<u64>) -> Result<()> {
        self.epoll.wait(timeout, ready).context("waiting for events")?;
        for key in ready.drain(..) {
            self.advance(key as usize, until)?;
        }
        Ok(())
    }

    fn advance(&mut self, index: usize, until: Option<Duration>) -> Result<()> {
        match self.connections[index].advance() {
            Step::Waiting => Ok(()),
            Step::Closed => self.replace(index, None),
            Step::Failed(what) => self.replace(index, Some(what)),
            Step::Answered { due, close } => {
                let now = self.start.elapsed();
                self.count(due, now);
                if close {
                    self.replace(index, None)?;
                } else if self.pace.is_some() {
                    self.idle.push_back(index);
                }
                if self.pace.is_none() && until.is_some_and(|until| now < until) && !self.connections[index].busy() {
                    return self.send(index, now);
                }
                Ok(())
            }
        }
    }

    /// Counts a good answer.
    fn count(&mut self, due: Duration, now: Duration) {
        self.outcome.answered_in_all += 1;
        let open = Duration::from_millis(self.args.warm_up_ms);
        let close = open + Duration::from_millis(self.args.window_ms);
        // A closed loop has no schedule: what completes in the window is the window's.
        let belongs = match self.pace {
            Some(_) => due >= open && due < close,
            None => self.opened.is_some() && self.outcome.window_ns == 0,
        };
        if belongs {
            let latency = nanoseconds(now.saturating_sub(due));
            self.latencies.record(latency);
            self.outcome.answered += 1;
            self.outcome.on_time += u64::from(latency / 1_000 <= self.args.deadline_us);
        }
    }

    /// Puts a new connection in the place of one that ended, with a failure or without.
    fn replace(&mut self, index: usize, failure: Option<String>) -> Result<()> {
        let was_busy = self.connections[index].busy();
        if let Some(what) = failure {
            self.outcome.errors += 1;
            self.outcome.first_error.get_or_insert(what);
        }
        let waits_in_idle = self.pace.is_some() && self.idle.contains(&index);
        self.connections[index] = Connection::new(self.connect(index)?);
        if self.outcome.window_ns > 0 || self.outcome.errors >= ERRORS_MAX {
            return Ok(());
        }
        match self.pace {
            Some(_) if !waits_in_idle => self.idle.push_back(index),
            None if was_busy => return self.send(index, self.start.elapsed()),
            _ => {}
        }
        Ok(())
    }

    fn close_window(&mut self) -> Result<()> {
        let (opened, cpu) = self.opened.unwrap_or_default();
        self.outcome.cpu_ns = nanoseconds(self.tree.cpu()?.saturating_sub(cpu));
        // At least 1: zero means that the window is not yet closed.
        self.outcome.window_ns = nanoseconds(self.start.elapsed().saturating_sub(opened)).max(1);
        Ok(())
    }

    /// Lets what is out come back, so that the server has nothing unfinished when it is asked for its records.
    fn drain(&mut self, ready: &mut Vec<u64>) -> Result<()> {
        let deadline = Instant::now() + DRAIN;
        while self.connections.iter().any(Connection::busy) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.outcome.errors += self.connections.iter().filter(|connection| connection.busy()).count() as u64;
                self.outcome.first_error.get_or_insert_with(|| format!("no answer within {DRAIN:?}"));
                break;
            }
            self.take_events(left, None, ready)?;
        }
        Ok(())
    }

    /// Open loop: what was due in the window but never found a free connection is at least as late as it is now.
    fn count_unsent(&mut self, open: Duration, close: Duration) {
        let Some(pace) = self.pace else { return };
        self.outcome.due = pace.due_before(close) - pace.due_before(open);
        let now = self.start.elapsed();
        for index in self.sent.max(pace.due_before(open))..pace.due_before(close) {
            self.latencies.record(nanoseconds(now.saturating_sub(pace.due(index))));
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::super::http::ANSWER;
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    /// A server thread per connection; `answer` is given the number of the request on its connection.
    fn serve(answer: fn(u64) -> Option<String>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                std::thread::spawn(move || answer_all(stream, answer));
            }
        });
        address
    }

    fn answer_all(mut stream: TcpStream, answer: fn(u64) -> Option<String>) {
        let (mut seen, mut buffer, mut count) = (Vec::new(), [0; 4096], 0);
        while let Ok(size @ 1..) = stream.read(&mut buffer) {
            seen.extend_from_slice(&buffer[..size]);
            let Some(head) = seen.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            if seen.len() < head + 4 + super::super::super::http::BODY_BYTES {
                continue;
            }
            seen.clear();
            let Some(text) = answer(count) else { return };
            let _ = stream.write_all(text.as_bytes());
            count += 1;
        }
    }

    fn good() -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{ANSWER}", ANSWER.len())
    }

    fn load(server: SocketAddr, rate: Option<f64>) -> Outcome {
        let SocketAddr::V4(target) = server else { panic!("IPv6") };
        let args = Args {
            target,
            source: Ipv4Addr::LOCALHOST,
            netns: None,
            connections: 4,
            warm_up_ms: 50,
            window_ms: 300,
            rate,
            deadline_us: 100_000,
            tokens: "unused".into(),
            watch: std::process::id(),
            seed: 3,
        };
        let requests = (0..3).map(|user| Request::new("x", &format!("token-{user}"))).collect();
        Engine::new(&args, requests).and_then(Engine::run).expect("runs")
    }

    #[test]
    fn closed_loop_counts_what_completes_in_the_window() {
        let outcome = load(serve(|_| Some(good())), None);
        assert_eq!(outcome.errors, 0, "{:?}", outcome.first_error);
        assert!(outcome.answered > 50, "{outcome:?}");
        assert!(outcome.answered < outcome.answered_in_all, "the warm-up is not in the window");
        assert!(outcome.window_ns > 250_000_000, "{outcome:?}");
        assert!(outcome.p50_ns > 0 && outcome.p99_ns >= outcome.p50_ns);
        assert!(outcome.cpu_ns > 0);
    }

    #[test]
    fn open_loop_keeps_its_rate() {
        let outcome = load(serve(|_| Some(good())), Some(200.0));
        assert_eq!(outcome.errors, 0, "{:?}", outcome.first_error);
        assert_eq!(outcome.due, 60);
        assert_eq!(outcome.answered, 60);
        assert_eq!(outcome.answered_in_all, 70);
    }

    /// Answers at once, except that each connection's first answer takes this long.
    fn stall(count: u64, milliseconds: u64) -> Option<String> {
        if count == 0 {
            std::thread::sleep(Duration::from_millis(milliseconds));
        }
        Some(good())
    }

    #[test]
    fn open_loop_charges_a_stall_to_all_that_were_due_during_it() {
        // Until 200 ms nothing is answered: of what is due from 50 ms on, that before 100 ms is over 100 ms late.
        let outcome = load(serve(|count| stall(count, 200)), Some(200.0));
        assert_eq!((outcome.due, outcome.answered), (60, 60), "{outcome:?}");
        assert!(outcome.on_time <= 51, "{outcome:?}");
        assert!(outcome.p99_ns > 130_000_000, "{outcome:?}");
    }

    #[test]
    fn what_never_found_a_free_connection_counts_as_late_not_as_absent() {
        let outcome = load(serve(|count| stall(count, 500)), Some(200.0));
        assert_eq!((outcome.due, outcome.answered, outcome.on_time), (60, 0, 0), "{outcome:?}");
        assert!(outcome.p50_ns > 150_000_000, "{outcome:?}");
    }

    #[test]
    fn a_refusal_is_an_error_with_its_text() {
        let refuse = |_| Some("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_owned());
        let outcome = load(serve(refuse), Some(50.0));
        assert_eq!(outcome.answered_in_all, 0);
        assert!(outcome.errors > 0);
        assert_eq!(outcome.first_error.as_deref(), Some("status 403: no"));
    }

    #[test]
    fn a_body_with_one_byte_changed_is_an_error() {
        let alter = |_| Some(good().replace("won", "wan"));
        let outcome = load(serve(alter), Some(50.0));
        assert!(outcome.first_error.expect("an error").starts_with("an altered body"));
    }

    #[test]
    fn a_connection_closed_before_its_answer_is_an_error() {
        let outcome = load(serve(|count| (count < 2).then(good)), Some(100.0));
        assert!(outcome.errors > 0);
        assert!(outcome.answered_in_all > 0, "and the next connection goes on");
    }

    #[test]
    fn an_announced_close_is_none() {
        let close = |_| Some(good().replace("OK\r\n", "OK\r\nConnection: close\r\n"));
        let outcome = load(serve(close), Some(100.0));
        assert_eq!(outcome.errors, 0, "{:?}", outcome.first_error);
        assert_eq!(outcome.answered, 30);
    }

    #[test]
    fn a_hopeless_run_ends_early() {
        let outcome = load(serve(|_| None), None);
        assert!((ERRORS_MAX..ERRORS_MAX + 8).contains(&outcome.errors), "{outcome:?}");
    }
}
