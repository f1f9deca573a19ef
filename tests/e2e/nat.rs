//! An offender and somebody who broke no limit behind one address: network namespaces, veth, nftables masquerade
//! (THREATS A1).
//!
//! `ACP_NAT_SECONDS` makes the floods longer than what a change has time for; 30 is what was promised, and what CI runs.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::backend::Backend;
use crate::netns::Netns;
use crate::process::wait_for;
use crate::site::{Extra, Gateway, Site, reading, token};
use crate::wait::let_pass;

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 1);
/// The address that everybody behind the NAT has for the gateway.
const NAT: &str = "10.77.1.2";
/// An attempt that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between requests of who broke no limit.
const PACE: Duration = Duration::from_millis(100);
/// The closed part of a penalty's cycle, and the wait for the next attempt.
const CLOSED_MAX: Duration = Duration::from_millis(2_750);

/// Three hosts: the gateway, a router that masquerades, and the clients behind it.
struct Network {
    gateway: Netns,
    clients: Netns,
    _router: Netns,
}

impl Network {
    /// `None`, said or failed, where the host does not allow it.
    fn new() -> Option<Self> {
        let made = Netns::new("g").zip(Netns::new("c")).zip(Netns::new("r"));
        let Some(((gateway, clients), router)) = made else {
            assert!(std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1"), "namespaces are required");
            eprintln!("SKIPPED: network namespaces need root and ip(8)");
            return None;
        };
        gateway.wire(("g0", &["10.77.1.1/24"]), &router, ("r0", &["10.77.1.2/24"]));
        clients.wire(("c0", &["10.77.2.2/24"]), &router, ("r1", &["10.77.2.1/24"]));
        clients.ip("route add default via 10.77.2.1");
        router.exec(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
        router.exec(&[
            "nft",
            "add table ip nat; add chain ip nat out { type nat hook postrouting priority 100 ; }; \
                              add rule ip nat out oifname r0 masquerade",
        ]);
        Some(Self { gateway, clients, _router: router })
    }
}

/// What became of the attempts of one client.
#[derive(Default)]
struct Tally {
    served: AtomicU64,
    limited: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

impl Tally {
    fn count(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Answered(200) => &self.served,
            Outcome::Answered(429) => &self.limited,
            Outcome::Refused => &self.refused,
            Outcome::Answered(_) | Outcome::Failed(_) => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Debug)]
enum Outcome {
    Answered(u16),
    Refused,
    Failed(#[expect(dead_code, reason = "is printed")] ErrorKind),
}

/// One request on a connection of its own.
fn attempt(address: SocketAddr, token: &str) -> Outcome {
    let request = format!(
        "GET /tools/crm/x HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    );
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        status.ok_or_else(|| std::io::Error::from(ErrorKind::InvalidData))
    };
    match ask() {
        Ok(status) => Outcome::Answered(status),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => {
            Outcome::Refused
        }
        Err(error) => Outcome::Failed(error.kind()),
    }
}

/// Asks without pause, whatever it is told, until it is dropped.
struct Offender {
    over: Arc<AtomicBool>,
    tally: Arc<Tally>,
    thread: Option<JoinHandle<()>>,
}

impl Offender {
    fn start(network: &Network, address: SocketAddr) -> Self {
        let (over, tally) = (Arc::new(AtomicBool::new(false)), Arc::new(Tally::default()));
        let (end, count, token) = (Arc::clone(&over), Arc::clone(&tally), token("auth0|offender"));
        let thread = in_namespace(&network.clients, move || {
            while !end.load(Ordering::Relaxed) {
                count.count(&attempt(address, &token));
                // Some two hundred a second: a flood to one user's limit, and bearable to the machine.
                let_pass(Duration::from_millis(4));
            }
        });
        Self { over, tally, thread: Some(thread) }
    }
}

impl Drop for Offender {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A thread whose sockets are in `namespace`.
fn in_namespace<T: Send + 'static>(namespace: &Netns, act: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (ready, is_ready) = std::sync::mpsc::channel();
    let thread = std::thread::scope(|scope| {
        scope
            .spawn(|| {
                namespace.enter();
                std::thread::spawn(move || {
                    let _ = ready.send(());
                    act()
                })
            })
            .join()
            .expect("the namespace can be entered")
    });
    is_ready.recv().expect("the thread runs");
    thread
}

/// How one who broke no limit fared.
#[derive(Debug, Default)]
struct Fared {
    attempts: u32,
    served: u32,
    /// Until the first request was served.
    waited: Duration,
    /// Refused after that.
    refused_later: u32,
}

/// Asks ten times a second for `over`, as a user that nobody has seen before.
fn innocent(network: &Network, address: SocketAddr, over: Duration) -> Fared {
    let token = token("auth0|innocent");
    let asking = in_namespace(&network.clients, move || {
        let (start, mut fared) = (Instant::now(), Fared::default());
        while start.elapsed() < over {
            let outcome = attempt(address, &token);
            fared.attempts += 1;
            match outcome {
                Outcome::Answered(200) => {
                    if fared.served == 0 {
                        fared.waited = start.elapsed();
                    }
                    fared.served += 1;
                }
                Outcome::Refused if fared.served == 0 => {}
                other => {
                    eprintln!("the innocent got {other:?}");
                    fared.refused_later += 1;
                }
            }
            let_pass(PACE);
        }
        fared
    });
    asking.join().expect("the client ends well")
}

/// The figures, for whoever wants to see them (`--nocapture`).
fn report(what: &str, fared: &Fared, offender: &Tally) {
    let Fared { attempts, served, waited, refused_later } = fared;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    eprintln!(
        "{what}: the innocent was served {served} of {attempts}, the first after {waited:.1?}, and refused {refused_later} \
         times after it; the offender was served {}, limited {}, refused {}, failed {}",
        count(&offender.served),
        count(&offender.limited),
        count(&offender.refused),
        count(&offender.failed),
    );
}

fn site(backend: &Backend, kernel: &str) -> Site {
    let sections = format!(
        r#"{crm}
[[usage.rate_limit]]
per = "user"
requests = 30
window = "1s"
burst = 30
"#,
        crm = reading(backend, "GET")
    );
    let kernel = format!("mode = \"auto\"\nloopback = true\nlearned_after = \"1s\"\n{kernel}");
    let site = Site::new(&Extra { sections: &sections, kernel: Some(&kernel), ..Extra::default() });
    let text = std::fs::read_to_string(site.path("acp.toml")).expect("just written");
    site.write("acp.toml", &text.replacen("127.0.0.1:0", &format!("{GATEWAY}:0"), 1));
    site
}

fn flood_time(short: u64) -> Duration {
    let seconds = std::env::var("ACP_NAT_SECONDS").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(seconds.unwrap_or(short))
}

/// The class of the one source there is.
fn class(site: &Site) -> Option<String> {
    let said = site.acp(&["kernel", "sources", "--format", "json"], "--socket", "admin.sock");
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let row: Value = serde_json::from_str(said.stdout.lines().next()?).expect("JSON");
    (row["source"] == NAT).then(|| row["class"].as_str().unwrap_or_default().to_owned())
}

/// A penalty longer than the first, just begun.
fn second_penalty(site: &Site) -> Option<()> {
    let said = site.acp(&["kernel", "penalties", "--format", "json"], "--socket", "admin.sock");
    let row: Value = serde_json::from_str(said.stdout.lines().next()?).expect("JSON");
    (row["source"] == NAT && row["step"] == "refuse" && row["seconds_left"].as_u64()? >= 8).then_some(())
}

/// Runs `test` on a gateway behind which there is a NAT, from a thread of its namespace.
fn behind_nat(kernel: &'static str, test: fn(&Network, &Site, &Gateway)) {
    let Some(network) = Network::new() else { return };
    let network = Arc::new(network);
    let inside = Arc::clone(&network);
    let tested = in_namespace(&network.gateway, move || {
        let backend = Backend::plain();
        let site = site(&backend, kernel);
        let gateway = site.start();
        test(&inside, &site, &gateway);
        gateway.stop();
    });
    if let Err(panic) = tested.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn threat_a01_behind_one_nat_an_offenders_flood_does_not_touch_an_innocent() {
    behind_nat("", |network, site, gateway| {
        let offender = Offender::start(network, gateway.address);
        wait_for("the offender to be learned of", || (class(site)? == "exclusive").then_some(()));
        wait_for("a penalty that is observed", || (gateway.metric("acp_kernel_would_refuse_total") > 0).then_some(()));
        let fared = innocent(network, gateway.address, flood_time(3));
        report("learned refusal off", &fared, &offender.tally);
        assert!(f64::from(fared.served) >= 0.99 * f64::from(fared.attempts), "{fared:?}");
        assert_eq!(offender.tally.refused.load(Ordering::Relaxed), 0, "observed only");
        assert!(offender.tally.limited.load(Ordering::Relaxed) > 0);
        assert_eq!(class(site).as_deref(), Some("shared"));
    });
}

#[test]
fn threat_a01_behind_one_nat_an_innocent_waits_for_one_open_window_and_is_never_refused_again() {
    behind_nat("client_addresses = \"direct\"", |network, site, gateway| {
        let offender = Offender::start(network, gateway.address);
        // The first penalty is over before it would open.
        wait_for("the second penalty", || second_penalty(site));
        assert!(offender.tally.refused.load(Ordering::Relaxed) > 20);
        let over = flood_time(0).max(CLOSED_MAX + Duration::from_secs(2));
        let fared = innocent(network, gateway.address, over);
        report("learned refusal on", &fared, &offender.tally);
        if over >= 10 * CLOSED_MAX {
            assert!(f64::from(fared.served) >= 0.9 * f64::from(fared.attempts), "{fared:?}");
        }
        assert!(fared.waited <= CLOSED_MAX && fared.served > 0, "{fared:?}");
        assert_eq!(fared.refused_later, 0, "{fared:?}");
        assert_eq!(class(site).as_deref(), Some("shared"));
        assert_eq!(gateway.metric("acp_kernel_penalties"), 0);
        let records = site.records(&["--events"]);
        for (step, at_least) in [("kernel_penalty", 2), ("kernel_pardon", 1)] {
            let said = records.iter().filter(|it| it["event"] == step).count();
            assert!(said >= at_least, "{step} is said {said} times");
        }
    });
}

/// Who was there before the offender is not refused for a moment.
#[test]
fn threat_a01_behind_one_nat_an_innocent_who_was_there_first_is_never_refused() {
    behind_nat("client_addresses = \"direct\"", |network, site, gateway| {
        assert_eq!(innocent(network, gateway.address, Duration::from_millis(150)).refused_later, 0);
        let offender = Offender::start(network, gateway.address);
        let fared = innocent(network, gateway.address, flood_time(3));
        report("learned refusal on, the innocent there first", &fared, &offender.tally);
        assert_eq!((fared.served, fared.refused_later), (fared.attempts, 0), "{fared:?}");
        assert_eq!(offender.tally.refused.load(Ordering::Relaxed), 0);
        assert_eq!(class(site).as_deref(), Some("shared"));
    });
}
