//! One process takes over from another under load: no request fails, the books agree, penalties stay; and whoever dies
//! on the way, somebody serves.
//!
//! `cargo xtask torture --hand-overs N` runs as many as one likes; an ordinary test run has a few.

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use acp::server::descriptors;
use serde_json::{Value, json};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::backend::{Backend, Gate, json};
use crate::client::{Client, get, post};
use crate::process::{Process, acp, run, wait_for};
use crate::site::{Extra, Gateway, Site, priced, token, token_with};
use crate::wait::let_pass;

/// Hand-overs of an ordinary test run.
const HAND_OVERS: u64 = 3;

/// Micro-dollars, as the configuration below has them.
const PRICE: u64 = 2_000;

/// Users of one client in turn, so that none of them comes near its rate limit.
const USERS: usize = 96;

/// Declared to be the tenant's.
const OFFICE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 66);

fn site(backend: &Backend, plane: &str) -> Site {
    let sections = format!(
        r#"
[[kernel.source]]
cidr = "{OFFICE}/32"
tenant = "acme"
[[usage.rate_limit]]
per = "user"
requests = 50
window = "1s"
[[usage.budget]]
per = "user"
max_spend = "1000 USD"
period = "30d"
{crm}"#,
        crm = priced(backend, "0.002 USD", "0.002 USD")
    );
    let kernel = format!("mode = \"{plane}\"\nloopback = true\npenalty = \"60s\"\nignored_429_max = 3");
    Site::new(&Extra { sections: &sections, kernel: Some(&kernel), listen: "workers = 2", ..Extra::default() })
}

/// Starts a process that takes over, and does not wait for it.
fn spawn_successor(site: &Site, hold_max: &str) -> Process {
    let config = site.path("acp.toml");
    Process::start(acp().args(["run", "--take-over", "--hold-max", hold_max, "--config"]).arg(config))
}

/// Hands `old` over; how long it held its requests.
fn hand_over(site: &Site, mut old: Gateway) -> (Gateway, u64) {
    let new = Gateway::of(spawn_successor(site, "20"));
    assert_eq!(new.address, old.address);
    let status = old.process.ended();
    assert_eq!(status.code(), Some(0), "{}", old.process.stderr.text());
    let line = old.process.stderr.wait_line("another process serves");
    let held = line.split_whitespace().find_map(|word| word.strip_prefix("held_ms=")?.parse().ok());
    (new, held.unwrap_or_else(|| panic!("no held_ms in {line}")))
}

/// What a client was told.
#[derive(Default)]
struct Told {
    ids: Vec<String>,
    failed: Vec<String>,
    longest: Duration,
}

impl Told {
    fn ask(&mut self, client: Option<Client>, request: &str) -> Option<Client> {
        let begin = Instant::now();
        let Some(mut client) = client else {
            self.failed.push("cannot connect".to_owned());
            return None;
        };
        match client.try_ask(request) {
            Some(answer) if answer.status == 200 => self.ids.push(answer.id()),
            Some(answer) => self.failed.push(answer.head),
            None => self.failed.push("the connection broke".to_owned()),
        }
        self.longest = self.longest.max(begin.elapsed());
        (!self.failed.last().is_some_and(|why| why.starts_with("the connection"))).then_some(client)
    }
}

/// How a client uses its connections.
#[derive(Clone, Copy)]
enum Manner {
    /// One for all requests, with this pause between them.
    Keeps(Duration),
    /// One for each.
    Anew,
}

fn drive(gateway: SocketAddr, number: usize, manner: Manner, over: &AtomicBool, asked: &AtomicU64) -> Told {
    let user = |n: usize| token_with(|claims| claims["sub"] = json!(format!("auth0|user-{number}-{n}")));
    let tokens: Vec<String> = (0..USERS).map(user).collect();
    let (mut told, mut kept) = (Told::default(), None);
    for n in 0_usize.. {
        if over.load(Ordering::Acquire) {
            break;
        }
        let token = &tokens[n % USERS];
        let path = format!("/tools/crm/{number}-{n}");
        let request = if n % 3 == 0 { post(&path, token, &format!("{{\"n\":{n}}}")) } else { get(&path, token) };
        let client = kept.take().or_else(|| Client::try_connect(gateway));
        kept = told.ask(client, &request);
        asked.fetch_add(1, Ordering::Relaxed);
        match manner {
            Manner::Keeps(pause) => let_pass(pause),
            Manner::Anew => kept = None,
        }
    }
    told
}

/// One request of the offender; whether it was refused, and before it was accepted.
fn refused(gateway: SocketAddr) -> Option<bool> {
    let request = get("/tools/crm/offend", &token("auth0|offender"));
    match Client::connect_from(OFFICE, gateway) {
        None => Some(true),
        Some(mut client) => client.try_ask(&request).is_none().then_some(false),
    }
}

/// Seconds that the offender's penalty goes on.
fn penalty(site: &Site) -> Option<u64> {
    let said = site.acp(&["kernel", "penalties", "--format", "json"], "--socket", "admin.sock");
    let row: Value = serde_json::from_str(said.stdout.lines().next()?).expect("JSON");
    (row["source"] == OFFICE.to_string()).then(|| row["seconds_left"].as_u64().expect("seconds"))
}

/// Has the offender earn a penalty that will outlast a hand-over; its seconds.
#[track_caller]
fn offend(site: &Site, gateway: SocketAddr) -> u64 {
    let request = get("/tools/crm/offend", &token("auth0|offender"));
    let mut client = None;
    wait_for("a penalty", || {
        for _ in 0..200 {
            let connected: Option<Client> = client.take().or_else(|| Client::connect_from(OFFICE, gateway));
            client = connected.and_then(|mut client| {
                let answer = client.try_ask(&request)?;
                (answer.header("connection") != Some("close")).then_some(client)
            });
        }
        penalty(site).filter(|left| *left >= 30)
    })
}

/// The ids of every call that the log has, each with its outcome and once.
fn logged(site: &Site) -> HashSet<String> {
    let (mut calls, mut open) = (HashSet::new(), BTreeSet::new());
    let mut segments: Vec<_> =
        std::fs::read_dir(site.path("audit")).expect("the log").map(|entry| entry.expect("a file").path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    segments.sort_unstable();
    for segment in segments {
        for line in std::fs::read_to_string(segment).expect("text").lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            let id = || record["id"].as_str().expect("an id").to_owned();
            match record["kind"].as_str() {
                Some("request") => assert!(calls.insert(id()), "{} is there twice", id()),
                Some("intent") => {
                    assert!(calls.insert(id()), "{} is there twice", id());
                    open.insert(id());
                }
                Some("outcome") => assert!(open.remove(&id()), "an outcome without a call, or a second one: {record}"),
                _ => {}
            }
        }
    }
    assert!(open.is_empty(), "calls without an outcome: {open:?}");
    calls
}

/// Micro-dollars by the ledger.
fn spent(site: &Site) -> u64 {
    let said = site.acp(&["usage", "spent", "--each"], "--ledger", "ledger.redb");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let amount = |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["spent_microusd"].as_u64();
    said.stdout.lines().map(|line| amount(line).expect("an amount")).sum()
}

fn hand_overs() -> u64 {
    std::env::var("ACP_HAND_OVERS").map_or(HAND_OVERS, |text| text.parse().expect("ACP_HAND_OVERS is a number"))
}

/// Ends the load.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Hands over again and again under load, with the kernel plane in this mode.
fn check(plane: &str) {
    let backend = Backend::plain();
    let site = site(&backend, plane);
    let first = site.start();
    let address = first.address;
    let prevents = !first.process.stderr.wait_line("kernel plane: K").contains("K0");
    let (over, asked) = (AtomicBool::new(false), AtomicU64::new(0));
    let manners = [
        Manner::Keeps(Duration::ZERO),
        Manner::Keeps(Duration::from_millis(1)),
        Manner::Keeps(Duration::from_millis(150)),
        Manner::Anew,
        Manner::Anew,
    ];
    let (mut held, rounds) = (Vec::new(), hand_overs());
    let mut kept = 0;
    let (told, gateway): (Vec<Told>, Gateway) = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..)
            .zip(manners)
            .map(|(number, manner)| {
                let (over, asked) = (&over, &asked);
                scope.spawn(move || drive(address, number, manner, over, asked))
            })
            .collect();
        let mut gateway = first;
        // Whatever goes wrong, the clients end.
        let _over = Over(&over);
        for _ in 0..rounds {
            let before = asked.load(Ordering::Relaxed);
            wait_for("load", || (asked.load(Ordering::Relaxed) >= before + 50).then_some(()));
            let left = penalty(&site).filter(|left| *left >= 20).unwrap_or_else(|| offend(&site, address));
            let ends = Instant::now() + Duration::from_secs(left - 1);
            let (new, held_ms) = hand_over(&site, gateway);
            gateway = new;
            held.push(held_ms);
            let listed = penalty(&site).is_some();
            if Instant::now() + Duration::from_secs(3) < ends {
                assert!(listed, "a penalty was forgotten");
                // But for its open windows, in which it is told again why.
                let how = wait_for("the offender to be refused still", || refused(address));
                assert_eq!(how, prevents, "refused before accept");
                kept += 1;
            }
        }
        over.store(true, Ordering::Release);
        let told = clients.into_iter().map(|client| client.join().expect("a client that does not panic")).collect();
        (told, gateway)
    });
    gateway.stop();

    let failed: Vec<&String> = told.iter().flat_map(|told| &told.failed).collect();
    assert!(failed.is_empty(), "{} of {} requests failed: {failed:?}", failed.len(), asked.load(Ordering::Relaxed));
    assert!(kept > 0, "no penalty was in force after any hand-over");
    let verified = run(acp().args(["audit", "verify", "--dir"]).arg(site.path("audit")));
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
    let logged = logged(&site);
    let answered: Vec<&String> = told.iter().flat_map(|told| &told.ids).collect();
    let missing = answered.iter().filter(|id| !logged.contains(**id)).count();
    assert_eq!(missing, 0, "answers that are not in the log");
    let events = site.records(&["--events"]);
    let named = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    assert_eq!(named("ledger_breach").len(), 0, "the kernel saw less than was audited");
    let cookies: Vec<&Value> = named("connection_closed").iter().map(|event| &event["detail"]["cookie"]).collect();
    let once: HashSet<String> = cookies.iter().map(|cookie| cookie.to_string()).collect();
    assert!(!once.is_empty() && once.len() == cookies.len(), "a connection that was passed on is one row");
    assert_eq!(named("start").len() as u64, rounds + 1);
    assert_eq!(named("stop").len() as u64, rounds + 1, "one owner after the other");
    let served = backend.received().len() as u64;
    assert_eq!(spent(&site), served * PRICE, "the ledger and the upstream's bill");
    held.sort_unstable();
    let longest = told.iter().map(|told| told.longest).max().unwrap_or_default();
    let rows = [
        ("hand-overs", format!("{rounds}, kernel plane {plane}")),
        ("requests answered 200", answered.len().to_string()),
        ("failed", failed.len().to_string()),
        ("requests held", format!("{} ms median, {} ms at most", held[held.len() / 2], held[held.len() - 1])),
        ("longest answer", format!("{} ms", longest.as_millis())),
        ("penalty still enforced", format!("{kept} of {kept}")),
        ("calls in the log, and billed", format!("{}, {served}", logged.len())),
    ];
    let table: String = rows.iter().map(|(name, value)| format!("{name:<32} {value}\n")).collect();
    // Past the harness' capture, for whoever asked for twenty.
    let _ = std::io::stderr().write_all(table.as_bytes());
}

#[test]
fn need_b07_hand_overs_under_load_fail_no_request_and_forget_no_penalty() {
    check("auto");
}

#[test]
fn need_b07_hand_overs_need_nothing_of_the_kernel() {
    check("off");
}

/// A newcomer of the test's own, to fall silent at any step.
struct Fake(Socket);

impl Fake {
    fn ask(site: &Site, change: impl FnOnce(&mut Value)) -> (Self, Value) {
        let socket = Socket::new(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        socket.connect(&SockAddr::unix(site.path("admin.sock.take-over")).expect("a path")).expect("a gateway");
        let path = |name: &str| site.path(name).display().to_string();
        let mut ask = json!({ "protocol": 1, "abi": acp_ebpf::ABI, "pid": std::process::id(), "same": [
            ["listen.address", "127.0.0.1:0"], ["audit.dir", path("audit")], ["usage.ledger", path("ledger.redb")],
            ["kernel.shared_sources", path("shared-sources")], ["kernel.egress_guard", "true"],
        ]});
        change(&mut ask);
        descriptors::send(socket.as_fd(), ask.to_string().as_bytes(), &[], true).expect("sent");
        let (bytes, _) = descriptors::receive(socket.as_fd(), true).expect("an answer").expect("an answer");
        (Self(socket), serde_json::from_slice(&bytes).expect("JSON"))
    }

    fn ready(&self) {
        let (to, _) = Socket::pair(Domain::UNIX, Type::SEQPACKET, None).expect("a pair");
        descriptors::send(self.0.as_fd(), br#"{"hold_max_ms":20000}"#, &[to.as_fd()], true).expect("sent");
    }
}

fn slow_backend(gate: &Gate) -> Backend {
    let gate = gate.clone();
    Backend::start(move |request, stream| {
        assert!(!request.line.contains("slow") || gate.pass(), "the test opens the gate");
        json(stream, r#"{"ok":true}"#)
    })
}

/// A call that is under way until the gate opens.
fn slow_call(backend: &Backend, gateway: &Gateway) -> Client {
    let mut client = gateway.connect();
    client.send(get("/tools/crm/slow", &token("auth0|slow")));
    wait_for("the call to reach the upstream", || (!backend.received().is_empty()).then_some(()));
    client
}

#[test]
fn need_b07_a_newcomer_that_dies_at_any_step_leaves_the_gateway_serving() {
    let gate = Gate::default();
    let backend = slow_backend(&gate);
    let site = site(&backend, "off");
    let mut gateway = site.start();
    let serves = || assert_eq!(gateway.ask(get("/tools/crm/x", &token("auth0|alice"))).status, 200);
    let mut slow = slow_call(&backend, &gateway);
    let (asked, offer) = Fake::ask(&site, |_| {});
    assert!(offer["Offered"]["listeners"] == 2, "{offer}");
    drop(asked);
    serves();
    // It dies while requests are held for it, because of the call that is under way.
    let (asked, _) = Fake::ask(&site, |_| {});
    asked.ready();
    gateway.process.stderr.wait_line("holding requests");
    let mut held = gateway.connect();
    held.send(get("/tools/crm/held", &token("auth0|held")));
    drop(asked);
    gateway.process.stderr.wait_line("the process that asked is gone");
    assert_eq!(held.answer().status, 200, "who was held goes on");
    serves();
    // It is there, and the call takes longer than it may hold the others.
    let mut late = spawn_successor(&site, "0");
    assert_eq!(late.ended().code(), Some(1));
    late.stderr.wait_line("calls were still under way");
    serves();
    gate.open();
    assert_eq!(slow.answer().status, 200);
    assert!(gateway.process.is_running());
    let (gateway, _) = hand_over(&site, gateway);
    gateway.stop();
}

#[test]
fn need_b07_where_the_old_process_dies_in_a_hand_over_the_new_one_serves() {
    let gate = Gate::default();
    let backend = slow_backend(&gate);
    let site = site(&backend, "off");
    let mut old = site.start();
    let _slow = slow_call(&backend, &old);
    let new = spawn_successor(&site, "30");
    old.process.stderr.wait_line("accepting nothing");
    // It waits in the queue of a listener that both have.
    let mut waiting = Client::connect(old.address);
    waiting.send(get("/tools/crm/x", &token("auth0|alice")));
    old.process.kill();
    let new = Gateway::of(new);
    assert_eq!((new.address, waiting.answer().status), (old.address, 200));
    gate.open();
    new.stop();
    let verified = run(acp().args(["audit", "verify", "--dir"]).arg(site.path("audit")));
    assert_eq!(verified.code, Some(0), "{}{}", verified.stdout, verified.stderr);
}

#[test]
fn need_b07_a_signal_has_the_gateway_start_its_own_successor() {
    let backend = Backend::plain();
    let site = site(&backend, "off");
    let mut old = site.start();
    let mut kept = old.connect();
    assert_eq!(kept.ask(get("/tools/crm/x", &token("auth0|alice"))).status, 200);
    old.process.signal("USR2");
    assert_eq!(kept.ask(get("/tools/crm/y", &token("auth0|alice"))).status, 200);
    let line = old
        .process
        .stderr
        .wait("a second that serves", |lines| lines.iter().filter(|line| line.contains(" serving ")).nth(1).cloned());
    let pid = line.split_whitespace().find_map(|word| word.strip_prefix("pid=")).expect("its process id").to_owned();
    assert_eq!(kept.ask(get("/tools/crm/z", &token("auth0|alice"))).status, 200, "the connection goes on there");
    assert_eq!(old.process.ended().code(), Some(0));
    assert_eq!(Client::connect(old.address).ask(get("/tools/crm/w", &token("auth0|alice"))).status, 200);
    let stop = std::process::Command::new("kill").args(["-TERM", &pid]).status();
    assert!(stop.is_ok_and(|status| status.success()));
    wait_for("the successor to end", || Client::try_connect(old.address).is_none().then_some(()));
}

#[test]
fn need_b07_a_hand_over_that_cannot_be_is_refused_with_the_way_out() {
    let backend = Backend::plain();
    let site = site(&backend, "off");
    let gateway = site.start();
    for (change, why) in [
        (json!(["abi", 999]), "kernel programs are of ABI 999"),
        (json!(["abi", 0]), "kernel programs are of ABI 0"),
        (json!(["abi", acp_ebpf::ABI - 1]), "those at work of"),
        (json!(["protocol", 999]), "version 999 of the hand-over"),
        (json!(["same", []]), "must not change in a hand-over"),
    ] {
        let (_, answer) = Fake::ask(&site, |ask| ask[change[0].as_str().expect("a key")] = change[1].clone());
        let said = answer["Refused"].as_str().unwrap_or_else(|| panic!("not refused: {answer}"));
        assert!(said.contains(why) && said.contains("stop this gateway and start the other"), "{said}");
    }
    assert_eq!(gateway.ask(get("/tools/crm/x", &token("auth0|alice"))).status, 200);
    gateway.stop();
    // With nobody there, it just starts.
    let alone = Gateway::of(spawn_successor(&site, "5"));
    alone.stop();
}
