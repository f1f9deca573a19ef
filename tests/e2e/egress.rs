//! The egress guard of a running gateway: its upstreams are reached, over reloads too; what connects elsewhere from its
//! cgroup is refused by the kernel, counted and in the audit log.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::backend::Backend;
use crate::client::post;
use crate::confine::cgroup2;
use crate::process::{Process, acp, run, wait_for};
use crate::site::{Extra, Gateway, Site, crm, token};

fn extra(sections: &str) -> Extra<'_> {
    Extra { sections, kernel: Some("mode = \"auto\""), ..Extra::default() }
}

fn sections(backend: &Backend) -> String {
    let tool = "\n[[route.tool]]\nname = \"crm/read\"\nmatch = { method = \"POST\", path = \"*\" }\nverb = \"read\"\n";
    crm(backend) + tool
}

/// Where the gateway's cgroup is.
pub(crate) fn cgroup(gateway: &Gateway) -> PathBuf {
    let text = std::fs::read_to_string(format!("/proc/{}/cgroup", gateway.process.id())).expect("it runs");
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("cgroup2").to_owned();
    cgroup2().expect("it is mounted").join(own)
}

/// Whether something in the gateway's cgroup connects to `to`: what a library that was talked into it would do.
fn connects(gateway: &Gateway, to: SocketAddr) -> bool {
    connects_in(&cgroup(gateway), to)
}

/// The same where the cgroup is known.
pub(crate) fn connects_in(cgroup: &Path, to: SocketAddr) -> bool {
    let script = format!("echo $$ > \"$0\" && exec bash -c 'exec 3<>/dev/tcp/{}/{}'", to.ip(), to.port());
    run(Command::new("sh").args(["-c", &script]).arg(cgroup.join("cgroup.procs"))).code == Some(0)
}

#[test]
fn threat_a20_what_connects_past_the_address_rules_is_refused_by_the_kernel_and_said() {
    let (first, second) = (Backend::plain(), Backend::plain());
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    let past = elsewhere.local_addr().expect("an address");
    let before = sections(&first);
    let site = Site::new(&extra(&before));
    let mut gateway = site.start();
    if gateway.metric("acp_egress_guarded") == 0 {
        assert!(std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1"), "the guard is required");
        eprintln!("SKIPPED: this host has no egress guard");
        return;
    }
    let ask = |gateway: &Gateway| gateway.ask(post("/tools/crm/x", &token("auth0|alice"), "{}")).status;
    assert_eq!(ask(&gateway), 200);
    assert!(connects(&gateway, first.address));
    assert!(!connects(&gateway, second.address), "not an upstream's yet");
    assert!(!connects(&gateway, past));
    let refusals = || {
        let mut records = site.records(&["--events"]);
        records.retain(|record| record["event"] == "egress_refused");
        records
    };
    let records = wait_for("both refusals in the log", || Some(refusals()).filter(|records| records.len() == 2));
    let detail = &records[1]["detail"];
    assert_eq!(detail["destination"], past.to_string());
    assert!(detail["pid"].as_u64().is_some_and(|pid| pid > 0), "{detail}");
    wait_for("the metric", || (gateway.metric("acp_egress_refused_total") == 2).then_some(()));

    let after = sections(&second);
    site.configure(&extra(&after));
    gateway.process.signal("HUP");
    wait_for("the other upstream", || (ask(&gateway) == 200 && !second.received().is_empty()).then_some(()));
    assert!(connects(&gateway, second.address));
    assert!(!connects(&gateway, past));
    wait_for("the metric", || (gateway.metric("acp_egress_refused_total") == 3).then_some(()));
    assert_eq!(gateway.metric("acp_egress_lost_total"), 0);

    // The process that takes over goes on with the guard.
    let mut next = acp();
    let next = Gateway::of(Process::start(next.args(["run", "--take-over", "--config"]).arg(site.path("acp.toml"))));
    assert_eq!(gateway.process.ended().code(), Some(0), "{}", gateway.process.stderr.text());
    assert_eq!(next.metric("acp_egress_guarded"), 1);
    assert_eq!(ask(&next), 200);
    assert!(connects(&next, second.address));
    assert!(!connects(&next, past));
    next.stop();
}
