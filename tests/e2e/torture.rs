//! `kill -9` at random moments under load, again and again on one state directory; after each restart log, ledger, what
//! the upstream saw and what the clients were told must agree.
//!
//! A kill comes 10–500 ms after the gateway is ready; now and then within its start, within its drain, or late enough
//! that the ledger folds (5 s). Users spend small budgets to their ends. `cargo xtask torture --kills N --seed S` runs
//! as many as one likes; an ordinary test run has a few. The seed decides the moments and the requests, not how threads
//! interleave: a breach names seed and kill, and leaves the directory for whoever looks into it.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{Backend, Received, Then, json, raw};
use crate::process::{acp, run, wait_for};
use crate::site::{Extra, Gateway, Site, priced};
use crate::wait::let_pass;

#[path = "torture/books.rs"]
mod books;
#[path = "torture/load.rs"]
mod load;

use books::Books;
use load::Told;

/// Kills of an ordinary test run.
const KILLS: u64 = 15;
const SEED: u64 = 20;

/// Clients at a time, each with a user of its own.
const CLIENTS: u64 = 6;

/// Kills after which other users come: by then most of the first have spent their budgets.
const KILLS_PER_USERS: u64 = 12;

/// Micro-dollars, as the configuration below has them.
const PRICE_READ: u64 = 2_000;
const PRICE_WRITE: u64 = 10_000;
const CAP_USER: u64 = 300_000;
const CAP_TENANT: u64 = 2_000_000_000;

/// Keys of `[audit]` by which rings go round, segments turn and heads are signed in the short time that there is.
const SMALL: &str = r#"
ring_bytes = "128 KiB"
segment_bytes = "1 MiB"
head_interval = "1s"
"#;

fn sections(backend: &Backend) -> String {
    format!(
        r#"
[[usage.budget]]
per = "user"
max_spend = "0.3 USD"
period = "30d"
[[usage.budget]]
per = "tenant"
max_spend = "2000 USD"
period = "30d"
{crm}"#,
        crm = priced(backend, "0.002 USD", "0.01 USD")
    )
}

/// What the upstream charges for a request that reached it.
fn price(request: &Received) -> u64 {
    if request.line.starts_with("POST ") { PRICE_WRITE } else { PRICE_READ }
}

/// Answers at once, late, in chunks or at length, as the path says.
fn answer(request: &Received, stream: &mut std::net::TcpStream) -> Then {
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    let pause = || let_pass(Duration::from_millis(path.len() as u64 % 4 * 5));
    if path.contains("slow") {
        pause();
    } else if path.contains("chunks") {
        raw(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
        for part in ["1\r\n[\r\n", "1\r\n1\r\n", "1\r\n]\r\n"] {
            raw(stream, part);
            pause();
        }
        raw(stream, "0\r\n\r\n");
        return Then::Keep;
    } else if path.contains("large") {
        return json(stream, &format!("\"{}\"", "x".repeat(200_000)));
    }
    json(stream, r#"{"ok":true}"#)
}

/// SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// How a process meets its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// So long after it was started.
    Starting(Duration),
    /// So long after it was ready, under load.
    Serving(Duration),
    /// So long after SIGTERM, which came under load.
    Draining(Duration),
}

impl End {
    fn choose(kill: u64, random: &mut Random) -> Self {
        let mut within = |from: u64, to: u64| Duration::from_millis(from + random.below(to - from));
        match kill {
            // The very first starts make keys, instance, ledger.
            0..3 => Self::Starting(within(5, 150)),
            _ if kill % 40 == 7 => Self::Serving(within(5_000, 5_600)),
            _ => match within(0, 8).as_millis() {
                0 => Self::Starting(within(0, 600)),
                1 => Self::Draining(within(0, 80)),
                _ => Self::Serving(within(10, 500)),
            },
        }
    }
}

/// One state directory and all that happened to it.
struct Torture {
    seed: u64,
    kill: u64,
    random: Random,
    backend: Backend,
    site: Site,
    books: Books,
    answers: BTreeMap<(u16, String), u64>,
    starts: Vec<Duration>,
}

impl Drop for Torture {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.site.keep();
            let Self { seed, kill, .. } = self;
            eprintln!("BREACH at kill {kill} of seed {seed}; state in {}", self.site.path("").display());
        }
    }
}

impl Torture {
    fn new(seed: u64, durability: &str) -> Self {
        let backend = Backend::start(answer);
        let audit = format!("{SMALL}durability = \"{durability}\"");
        let site = Site::new(&Extra { sections: &sections(&backend), audit: &audit, ..Extra::default() });
        let books = Books::new(site.path("audit"));
        let random = Random(seed);
        Self { seed, kill: 0, random, backend, site, books, answers: BTreeMap::new(), starts: Vec::new() }
    }

    #[track_caller]
    fn start(&mut self) -> Gateway {
        let begin = Instant::now();
        let gateway = self.site.start();
        self.starts.push(begin.elapsed());
        gateway
    }

    /// Starts the gateway, checks what it made of the last one's death, and has it die its own.
    fn once(&mut self) {
        match End::choose(self.kill, &mut self.random) {
            End::Starting(after) => {
                let mut process = self.site.spawn();
                let_pass(after);
                process.kill();
            }
            end => {
                let mut gateway = self.start();
                self.check();
                self.load_until(&mut gateway, end);
            }
        }
        self.kill += 1;
    }

    fn load_until(&mut self, gateway: &mut Gateway, end: End) {
        let over = AtomicBool::new(false);
        let (address, first) = (gateway.address, self.kill / KILLS_PER_USERS * CLIENTS);
        let seeds: Vec<Random> = (0..CLIENTS).map(|_| Random(self.random.below(u64::MAX))).collect();
        let told: Vec<Told> = std::thread::scope(|scope| {
            let clients: Vec<_> = (first..)
                .zip(seeds)
                .map(|(user, random)| {
                    let over = &over;
                    scope.spawn(move || load::drive(address, user, random, over))
                })
                .collect();
            match end {
                End::Starting(after) | End::Serving(after) => let_pass(after),
                End::Draining(after) => {
                    wait_for("every client to be connected", || {
                        (gateway.metric("acp_connections_accepted_total") >= CLIENTS).then_some(())
                    });
                    gateway.process.signal("TERM");
                    let_pass(after);
                }
            }
            gateway.process.kill();
            over.store(true, Ordering::Release);
            clients.into_iter().flat_map(|client| client.join().expect("a client that does not panic")).collect()
        });
        told.iter().for_each(|told| *self.answers.entry((told.status, told.code.clone())).or_default() += 1);
        self.books.told(told);
    }

    /// With the gateway up and no load on it: everything that happened before is in the books, once.
    fn check(&mut self) {
        self.books.read_log();
        let received = self.backend.take_received();
        received.iter().for_each(|request| self.books.saw(request, price(request)));
        // A running gateway holds the ledger's lock; nobody writes to it while there is no load.
        let copy = self.site.path("copy.redb");
        std::fs::copy(self.site.path("ledger.redb"), &copy).expect("the ledger can be copied");
        let said = self.site.acp(&["usage", "spent", "--each"], "--ledger", "copy.redb");
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        self.books.settle(&said.stdout);
    }

    /// Starts and stops it in order; checks the whole chain, that it contains a head kept from before, and that
    /// tampering is found.
    fn finish(&mut self, kept_head: Option<&Path>) {
        let mut gateway = self.start();
        self.check();
        gateway.process.signal("TERM");
        assert_eq!(gateway.process.ended().code(), Some(0), "{}", gateway.process.stderr.text());
        let log = self.site.path("audit");
        assert_eq!(verify(&log, None), Ok(()));
        if let Some(head) = kept_head {
            assert_eq!(verify(&log, Some(head)), Ok(()), "the log goes on from the head kept from an earlier start");
        }
        self.tamper(&log);
    }

    /// A changed byte, a removed record, a cut tail: each is detected.
    fn tamper(&mut self, log: &Path) {
        let mut segments: Vec<PathBuf> = files(log).into_iter().filter(|path| is_segment(path)).collect();
        segments.sort_unstable();
        let eventful: Vec<&PathBuf> = segments.iter().filter(|path| records(path) > 2).collect();
        assert!(!eventful.is_empty(), "there are records to tamper with");
        let chosen = eventful[self.random.below(eventful.len() as u64) as usize];
        let bytes = std::fs::read(chosen).expect("a segment");
        let mut changed = bytes.clone();
        changed[self.random.below(bytes.len() as u64) as usize] ^= 1;
        self.check_tampered(log, chosen, Some(changed), "a changed byte");

        let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        let of_records: Vec<usize> = (0..lines.len()).filter(|n| lines[*n].starts_with(b"{\"kind\"")).collect();
        let gone = of_records[self.random.below(of_records.len() as u64) as usize];
        let kept: Vec<&[u8]> = lines.iter().enumerate().filter(|(n, _)| *n != gone).map(|(_, line)| *line).collect();
        self.check_tampered(log, chosen, Some(kept.concat()), "a removed record");

        let last = segments.last().expect("a segment");
        let bytes = std::fs::read(last).expect("a segment");
        let ends: Vec<usize> = (0..bytes.len() - 1).filter(|n| bytes[*n] == b'\n').map(|n| n + 1).collect();
        let cut = ends[self.random.below(ends.len() as u64) as usize];
        self.check_tampered(log, last, Some(bytes[..cut].to_vec()), "a cut tail");
        self.check_tampered(log, last, None, "a removed segment");
    }

    #[track_caller]
    fn check_tampered(&self, log: &Path, segment: &Path, bytes: Option<Vec<u8>>, what: &str) {
        let copy = self.site.path("tampered");
        std::fs::create_dir(&copy).expect("a directory");
        for path in files(log) {
            let to = copy.join(path.file_name().expect("a name"));
            match (path == segment, &bytes) {
                (false, _) => std::fs::hard_link(&path, to).expect("a link"),
                (true, Some(bytes)) => std::fs::write(to, bytes).expect("a copy"),
                (true, None) => {}
            }
        }
        assert!(verify(&copy, None).is_err(), "{what} goes unnoticed in {}", segment.display());
        std::fs::remove_dir_all(&copy).expect("a directory of ours");
    }

    fn table(&self) -> String {
        let mut starts = self.starts.clone();
        starts.sort_unstable();
        let of = |share: usize| starts[(starts.len() - 1) * share / 100].as_millis();
        let answers = self.answers.iter().map(|((status, code), n)| format!("{n} × {status} {code}"));
        let rows = [
            ("seed", self.seed.to_string()),
            ("kills", self.kill.to_string()),
            ("start to ready", format!("{} ms median, {} ms 99th percentile", of(50), of(99))),
            (
                "answers received whole",
                answers.map(|answer| answer.trim_end().to_owned()).collect::<Vec<_>>().join(", "),
            ),
        ];
        let rows = rows.into_iter().chain(self.books.rows());
        rows.map(|(name, value)| format!("{name:<32} {value}\n")).collect()
    }
}

fn files(directory: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path()).collect()
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "jsonl")
}

fn records(segment: &Path) -> usize {
    let bytes = std::fs::read(segment).expect("a segment");
    bytes.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"{\"kind\"")).count()
}

/// What `acp audit verify` has against a log.
fn verify(log: &Path, head: Option<&Path>) -> Result<(), String> {
    let mut command = acp();
    command.args(["audit", "verify", "--dir"]).arg(log);
    if let Some(head) = head {
        command.arg("--head").arg(head);
    }
    let said = run(&mut command);
    if said.code == Some(0) { Ok(()) } else { Err(said.stdout + &said.stderr) }
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|error| panic!("{name}={text}: {error}")))
}

#[test]
fn threat_a04_after_kills_at_any_moment_log_ledger_upstream_and_clients_agree() {
    let (kills, seed) = (number("ACP_TORTURE_KILLS", KILLS), number("ACP_TORTURE_SEED", SEED));
    let begin = Instant::now();
    let durability = std::env::var("ACP_TORTURE_DURABILITY").unwrap_or_else(|_| "batch".to_owned());
    let mut torture = Torture::new(seed, &durability);
    let head = torture.site.path("kept-head.json");
    for n in 0..kills {
        torture.once();
        if n == kills / 2 {
            // As an operator keeps it elsewhere: whatever happens later, the log must go on from here.
            let _ = std::fs::copy(torture.site.path("audit/head.json"), &head);
        }
        if (n + 1) % 25 == 0 {
            say(&format!("{} of {kills} kills, {:.0} s\n", n + 1, begin.elapsed().as_secs_f64()));
        }
    }
    torture.finish(head.exists().then_some(&*head));
    say(&format!("{}{:<32} {:.0} s\n", torture.table(), "duration", begin.elapsed().as_secs_f64()));
}

/// Past the harness' capture: whoever waits for hundreds of kills wants to see them go by.
fn say(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
