//! A hand-over of what is in the kernel, on each tier that a process can reach with what it was given: to a process without
//! any capability. Penalties, quarantines, the egress guard and the programs' log go on, and at no moment in between does
//! anything pass that they hold.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::backend::Backend;
use crate::capabilities::{BPF, DAC_OVERRIDE, NET_ADMIN, leave_only};
use crate::client::{Client, get};
use crate::egress::{cgroup, connects_in};
use crate::process::{Process, acp, wait_for};
use crate::site::{Gateway, Site, token, token_with};
use crate::tiers::{can_give_capabilities, limited};

const OFFENDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 4);

fn site(backend: &Backend, interfaces: &str) -> Site {
    limited(backend, "requests = 500\nwindow = \"60s\"\nburst = 2", OFFENDER, interfaces)
}

fn run(site: &Site, more: &[&str], capabilities: &'static [libc::c_ulong]) -> Process {
    let mut command: Command = acp();
    command.arg("run").args(more).arg("--config").arg(site.path("acp.toml"));
    leave_only(&mut command, capabilities);
    Process::start(&mut command)
}

fn tier(gateway: &Gateway) -> String {
    let metrics = String::from_utf8(gateway.admin("/metrics").body).expect("text");
    let name = metrics.lines().find_map(|line| line.strip_prefix("acp_kernel_tier{tier=\"")).expect("the tier");
    name[..2].to_owned()
}

/// The one row of a list.
fn row(site: &Site, list: &str) -> Value {
    let said = site.acp(&["kernel", list, "--format", "json"], "--socket", "admin.sock");
    serde_json::from_str(said.stdout.trim())
        .unwrap_or_else(|_| panic!("one row of {list}: {}{}", said.stdout, said.stderr))
}

fn seconds_left(row: &Value) -> u64 {
    row["seconds_left"].as_u64().expect("a number")
}

fn pardon(site: &Site) {
    let pardoned = site.acp(&["kernel", "pardon", &OFFENDER.to_string()], "--socket", "admin.sock");
    assert_eq!(pardoned.code, Some(0), "{}", pardoned.stderr);
}

/// What one request on a connection of its own comes to; `None` if it was refused.
fn offend(gateway: SocketAddr) -> Option<u16> {
    let mut client = Client::connect_from(OFFENDER, gateway)?;
    Some(client.try_ask(&get("/tools/crm/x", &token("auth0|alice")))?.status)
}

fn call_of_globex(user: &str) -> String {
    let token = token_with(|claims| {
        claims["org_id"] = json!("globex");
        claims["sub"] = json!(user);
    });
    get("/tools/crm/x", &token)
}

fn frozen_call() -> String {
    call_of_globex("auth0|frozen")
}

/// Tries again and again to get past what holds: how often it tried, and how often it did.
fn keep_trying(over: &AtomicBool, passed: impl Fn() -> bool) -> (u64, u64) {
    let (tried, got) = (AtomicU64::new(0), AtomicU64::new(0));
    while !over.load(Ordering::Acquire) {
        got.fetch_add(u64::from(passed()), Ordering::Relaxed);
        tried.fetch_add(1, Ordering::Relaxed);
    }
    (tried.into_inner(), got.into_inner())
}

fn on(expected: &str, capabilities: &'static [libc::c_ulong], interfaces: &str) {
    if !can_give_capabilities() {
        return;
    }
    let backend = Backend::plain();
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    let past = elsewhere.local_addr().expect("an address");
    let site = site(&backend, interfaces);
    let mut old = Gateway::of(run(&site, &[], capabilities));
    assert_eq!(tier(&old), expected, "{}", old.process.stderr.text());
    let (in_kernel, address) = (expected >= "K2", old.address);

    wait_for("a penalty", || offend(address).is_none().then_some(()));
    let penalty = seconds_left(&row(&site, "penalties"));
    assert!(old.connect().ask(frozen_call()).status == 200);
    let quarantine = site.acp(&["kernel", "quarantine", "globex", "--for", "10m"], "--socket", "admin.sock");
    assert_eq!(quarantine.code, Some(0), "{}", quarantine.stderr);
    let log = site.acp(&["kernel", "log", "--for", "10m"], "--socket", "admin.sock");
    assert_eq!(log.code == Some(0), expected > "K0", "{}", log.stderr);
    let cgroup = in_kernel.then(|| cgroup(&old));
    assert_eq!(old.metric("acp_egress_guarded"), u64::from(in_kernel));

    let over = AtomicBool::new(false);
    let (new, frozen, guarded) = std::thread::scope(|scope| {
        let frozen = scope.spawn(|| {
            keep_trying(&over, || {
                Client::try_connect(address)
                    .and_then(|mut it| it.try_ask(&frozen_call()))
                    .is_some_and(|it| it.status != 403)
            })
        });
        let guarded = scope.spawn(|| cgroup.as_ref().map(|cgroup| keep_trying(&over, || connects_in(cgroup, past))));
        let handed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let new = Gateway::of(run(&site, &["--take-over"], &[]));
            assert_eq!(old.process.ended().code(), Some(0), "{}", old.process.stderr.text());
            new
        }));
        over.store(true, Ordering::Release);
        let ended = (frozen.join().expect("it ends well"), guarded.join().expect("it ends well"));
        match handed {
            Ok(new) => (new, ended.0, ended.1),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    });
    assert!(frozen.0 > 0 && frozen.1 == 0, "{expected}: {} of {} calls passed the quarantine", frozen.1, frozen.0);
    if let Some((tried, passed)) = guarded {
        assert!(tried > 0 && passed == 0, "{expected}: {passed} of {tried} connections passed the guard");
    }

    assert_eq!((new.address, tier(&new).as_str()), (address, expected));
    let kept = row(&site, "penalties");
    assert!(kept["source"] == OFFENDER.to_string() && seconds_left(&kept) <= penalty, "{kept}");
    wait_for("the offender to be refused still", || offend(address).is_none().then_some(()));
    let kept = row(&site, "quarantine");
    assert!(kept["tenant"] == "globex" && (500..=600).contains(&seconds_left(&kept)), "{kept}");
    assert_eq!(kept["dropped_by"] == "kernel", in_kernel, "{expected}: {kept}");
    assert_eq!(new.metric("acp_egress_guarded"), u64::from(in_kernel));
    if let Some(cgroup) = cgroup {
        assert!(connects_in(&cgroup, backend.address), "an upstream");
        assert!(!connects_in(&cgroup, past));
    }
    if expected > "K0" {
        wait_for("the programs to say that they refuse it", || {
            offend(address);
            let said = site.acp(&["kernel", "log", "--format", "json"], "--socket", "admin.sock").stdout;
            said.lines().any(|line| line.contains("\"refused\"") && line.contains("127.0.0.4")).then_some(())
        });
        let off = site.acp(&["kernel", "log", "--off"], "--socket", "admin.sock");
        assert_eq!(off.code, Some(0), "{}", off.stderr);
    }
    pardon(&site);
    assert!(offend(address).is_some(), "{expected}: what the old process put the new one ends");
    let lifted = site.acp(&["kernel", "quarantine", "globex", "--lift"], "--socket", "admin.sock");
    assert_eq!(lifted.code, Some(0), "{}", lifted.stderr);
    let user = call_of_globex("auth0|another");
    wait_for("the tenant to be served again", || {
        new.connect().try_ask(&user).filter(|answer| answer.status == 200).map(|_| ())
    });
    new.stop();
}

#[test]
fn need_b07_a_hand_over_on_k1_keeps_penalties_quarantine_and_log() {
    on("K1", &[BPF], "");
}

#[test]
fn need_b07_a_hand_over_on_k2_keeps_the_egress_guard_and_what_drops_for_a_quarantine_too() {
    on("K2", &[BPF, NET_ADMIN, DAC_OVERRIDE], "");
}

#[test]
fn need_b07_a_hand_over_on_k3_keeps_what_drops_on_the_interface_too() {
    on("K3", &[BPF, NET_ADMIN, DAC_OVERRIDE], "\"lo\"");
}

/// Follows the programs' log; it has a first refusal.
fn follow(site: &Site, gateway: SocketAddr) -> Process {
    let mut command = acp();
    command.args(["kernel", "log", "--for", "10m", "--follow", "--format", "json", "--socket"]);
    let follower = Process::start(command.arg(site.path("admin.sock")));
    wait_for("the first line", || {
        offend(gateway);
        follower.stdout.text().contains("\"refused\"").then_some(())
    });
    follower
}

/// The successor is this one's child, and has no privileges either.
#[test]
fn need_b07_a_signal_has_the_kernel_plane_handed_over_too() {
    if !can_give_capabilities() {
        return;
    }
    let backend = Backend::plain();
    let site = site(&backend, "\"lo\"");
    let mut old = Gateway::of(run(&site, &[], &[BPF, NET_ADMIN, DAC_OVERRIDE]));
    assert_eq!(tier(&old), "K3", "{}", old.process.stderr.text());
    let (address, cgroup) = (old.address, cgroup(&old));
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    wait_for("a penalty", || offend(address).is_none().then_some(()));
    let penalty = seconds_left(&row(&site, "penalties"));
    let follower = follow(&site, address);

    old.process.signal("USR2");
    let serving = |lines: &[String]| lines.iter().filter(|line| line.contains(" serving ")).nth(1).cloned();
    let line = old.process.stderr.wait("a second that serves", serving);
    let pid = line.split_whitespace().find_map(|word| word.strip_prefix("pid=")).expect("its process id").to_owned();
    assert_eq!(old.process.ended().code(), Some(0), "{}", old.process.stderr.text());

    assert!(offend(address).is_none(), "refused still");
    follower.stdout.wait("lines of the new process", |lines| {
        let begin = lines.iter().position(|line| line.contains("\"process\"") && line.contains(&pid))?;
        lines[begin..].iter().find(|line| line.contains("\"refused\"")).map(|_| ())
    });
    assert!(seconds_left(&row(&site, "penalties")) <= penalty);
    assert!(!connects_in(&cgroup, elsewhere.local_addr().expect("an address")), "the guard holds it too");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
        let held = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t")).expect("a set");
        assert_eq!(u64::from_str_radix(held, 16), Ok(0), "{set}");
    }
    pardon(&site);
    assert!(offend(address).is_some());
    let stop = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(stop.is_ok_and(|status| status.success()));
    wait_for("the successor to end", || Client::try_connect(address).is_none().then_some(()));
}
