//! The whole gateway on every tier of the kernel plane, each reached by what the process is really given: capabilities,
//! and interfaces to drop on. What an offender and its neighbours see is the same on all of them; and from the first
//! request on no thread has a capability.

use std::net::{Ipv4Addr, SocketAddr};

use crate::backend::Backend;
use crate::capabilities::{BPF, DAC_OVERRIDE, NET_ADMIN, leave_only};
use crate::client::{Client, get};
use crate::process::{Process, acp, wait_for};
use crate::site::{Extra, Gateway, Site, reading, token};

const OFFENDER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 3);
/// More attempts than the whole ladder takes.
const ATTEMPTS_MAX: usize = 1_000;

/// A site with a limit per user, whose `offender` is declared as acme's.
pub(crate) fn limited(backend: &Backend, limit: &str, offender: Ipv4Addr, interfaces: &str) -> Site {
    let crm = reading(backend, "GET");
    let sections = format!("{crm}\n[[usage.rate_limit]]\nper = \"user\"\n{limit}\n");
    let kernel = format!(
        "mode = \"auto\"\nloopback = true\npenalty = \"60s\"\ninterfaces = [{interfaces}]\n\
         [[kernel.source]]\ncidr = \"{offender}/32\"\ntenant = \"acme\"\n"
    );
    Site::new(&Extra { sections: &sections, kernel: Some(&kernel), ..Extra::default() })
}

fn site(backend: &Backend, interfaces: &str) -> Site {
    limited(backend, "requests = 2\nwindow = \"30s\"", OFFENDER, interfaces)
}

/// What one request on a connection of its own comes to; `None` if it was refused, before accept or after.
fn status(source: Ipv4Addr, gateway: SocketAddr, user: &str) -> Option<u16> {
    let mut client = Client::connect_from(source, gateway)?;
    Some(client.try_ask(&get("/tools/crm/x", &token(user)))?.status)
}

/// Every thread's sets of capabilities, and that none can come back.
#[track_caller]
fn has_no_capability(process: &Process) {
    let tasks = format!("/proc/{}/task", process.id());
    let mut threads = 0;
    for task in std::fs::read_dir(tasks).expect("the gateway runs").flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).expect("a task's status");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(status.contains(&format!("{set}:\t0000000000000000")), "{set} in {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
        threads += 1;
    }
    assert!(threads > 2, "workers and the writers of log and ledger run");
}

fn on(tier: &str, capabilities: &'static [libc::c_ulong], interfaces: &str) {
    let backend = Backend::plain();
    let site = site(&backend, interfaces);
    let mut command = acp();
    leave_only(command.arg("run").arg("--config").arg(site.path("acp.toml")), capabilities);
    let gateway = Gateway::of(Process::start(&mut command));
    let metrics = String::from_utf8(gateway.admin("/metrics").body).expect("text");
    assert!(metrics.contains(&format!("acp_kernel_tier{{tier=\"{tier} ")), "{tier}: {}", gateway.process.stderr.text());
    has_no_capability(&gateway.process);
    let guarded = u64::from(matches!(tier, "K2" | "K3"));
    assert_eq!(gateway.metric("acp_egress_guarded"), guarded, "{tier}: {}", gateway.process.stderr.text());

    // Served, told to wait, told again on a connection that is closed, refused.
    let ladder: Vec<Option<u16>> = (0..ATTEMPTS_MAX)
        .map_while({
            let mut over = false;
            move |_| {
                let status = status(OFFENDER, gateway.address, "auth0|alice");
                (!std::mem::replace(&mut over, status.is_none())).then_some(status)
            }
        })
        .collect();
    assert_eq!(&ladder[..2], [Some(200), Some(200)], "{tier}");
    assert_eq!(ladder.last(), Some(&None), "{tier}: never refused");
    let told = &ladder[2..ladder.len() - 1];
    assert!(told.len() >= 10 && told.iter().all(|status| *status == Some(429)), "{tier}: {ladder:?}");
    (0..5).for_each(|_| assert_eq!(status(OFFENDER, gateway.address, "auth0|alice"), None, "{tier}"));
    assert_eq!(status(NEIGHBOUR, gateway.address, "auth0|bob"), Some(200), "{tier}: a neighbour");
    wait_for("the penalty and the refusals in the metrics", || {
        (gateway.metric("acp_kernel_penalties") == 1 && gateway.metric("acp_kernel_refused_total") >= 6).then_some(())
    });

    let pardon = site.acp(&["kernel", "pardon", &OFFENDER.to_string()], "--socket", "admin.sock");
    assert_eq!(pardon.code, Some(0), "{}", pardon.stderr);
    assert_eq!(
        status(OFFENDER, gateway.address, "auth0|alice"),
        Some(429),
        "{tier}: pardoned, and still over the limit"
    );
    let rows = wait_for("the ledger's rows, and the pardon", || {
        let events = site.records(&["--events"]);
        let closed = events.iter().filter(|it| it["event"] == "connection_closed" && it["detail"]["tenant"] == "acme");
        let pardoned = events.iter().any(|it| it["event"] == "kernel_pardon");
        (closed.count() > told.len() && pardoned).then_some(events)
    });
    for event in ["kernel_penalty", "kernel_pardon"] {
        assert_eq!(rows.iter().filter(|it| it["event"] == event).count(), 1, "{tier}: {event}");
    }
    assert_eq!(gateway.metric("acp_kernel_ledger_breaches_total"), 0);
    has_no_capability(&gateway.process);
    gateway.stop();
}

/// Whether this process may take capabilities from its children, and has those to leave; said or failed if not.
pub(crate) fn can_give_capabilities() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").expect("proc is mounted");
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("0");
    let effective = u64::from_str_radix(effective.trim(), 16).unwrap_or(0);
    // CAP_SETPCAP beside those.
    let can = [8, NET_ADMIN, BPF].into_iter().all(|capability| effective >> capability & 1 == 1);
    assert!(can || std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1"), "capabilities are required");
    if !can {
        eprintln!("SKIPPED: needs CAP_SETPCAP, CAP_BPF and CAP_NET_ADMIN");
    }
    can
}

#[test]
fn the_ladder_is_the_same_on_k0_without_any_capability() {
    if can_give_capabilities() {
        on("K0", &[], "");
    }
}

#[test]
fn the_ladder_is_the_same_on_k1_with_cap_bpf_alone() {
    if can_give_capabilities() {
        on("K1", &[BPF], "");
    }
}

#[test]
fn the_ladder_is_the_same_on_k2_with_cap_net_admin_too() {
    if can_give_capabilities() {
        on("K2", &[BPF, NET_ADMIN, DAC_OVERRIDE], "");
    }
}

#[test]
fn the_ladder_is_the_same_on_k3_with_an_interface_to_drop_on() {
    if can_give_capabilities() {
        on("K3", &[BPF, NET_ADMIN, DAC_OVERRIDE], "\"lo\"");
    }
}
