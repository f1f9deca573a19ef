//! What a reader must know to judge the numbers: machine, kernel, versions, set-up, and what they do not show.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::flood;
use super::keys::{TENANTS, USERS};
use super::lab::{self, Lab};
use super::measure::Sizes;

/// A load average above this is somebody else's work.
const BUSY: f64 = 0.5;

/// Facts about the run.
#[derive(Default)]
pub(super) struct Host {
    facts: Vec<(&'static str, String)>,
    caveats: Vec<String>,
}

impl Host {
    /// For the table of rows. `network` is what [`lab::isolate_network`] reached.
    pub(super) fn describe(lab: &Lab, network: &str, sizes: Sizes, rounds: usize) -> Self {
        let Sizes { seconds, connections, rate } = sizes;
        let load = format!(
            "{rounds} rounds × {seconds} s, {connections} connections, {USERS} users of {TENANTS} tenants at random, \
             1 KiB POST, latency at {rate} requests/s"
        );
        Self { facts: facts(lab, network, load), caveats: caveats(lab) }
    }

    /// For the flood.
    pub(super) fn describe_flood(lab: &Lab, network: &str, sizes: &flood::Sizes) -> Self {
        let flood::Sizes { rounds, seconds, connections, offender_rate, deadline_ms, .. } = sizes;
        let load = format!(
            "{rounds} rounds × {seconds} s, victim on {connections} connections, deadline {deadline_ms} ms, \
             offender {offender_rate} connects/s"
        );
        let caveats = vec![
            "Victim, offender and backend share the load's cores: what the offender takes there, the victim loses too."
                .to_owned(),
            "On loopback and veth a refused connect runs, RST included, in the offender's context; on a network card it \
             is softirq time. The machine's figure has it in either case."
                .to_owned(),
        ];
        Self { facts: facts(lab, network, load), caveats }
    }

    /// For the overload.
    pub(super) fn describe_overload(lab: &Lab, network: &str, load: String) -> Self {
        let caveats = vec![
            "Clients, backend and gateway share this machine's cores; the mob is nice, the polite callers are not."
                .to_owned(),
            "Demand is what was due; what found no free connection was not sent, and is said to be so.".to_owned(),
            "The audit log grows by design: it is shown and not judged.".to_owned(),
        ];
        Self { facts: facts(lab, network, load), caveats }
    }

    /// For `latest.json`.
    pub(super) fn to_json(&self) -> Value {
        let facts: serde_json::Map<String, Value> =
            self.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
        json!({"facts": facts, "caveats": self.caveats})
    }

    /// For people.
    pub(super) fn to_text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.facts {
            let _ = writeln!(text, "{name:<20}{value}");
        }
        for caveat in &self.caveats {
            let _ = writeln!(text, "- {caveat}");
        }
        text
    }
}

fn facts(lab: &Lab, network: &str, load: String) -> Vec<(&'static str, String)> {
    let mut facts = vec![
        ("cpu", processor()),
        ("kernel", read_line("/proc/sys/kernel/osrelease")),
        ("load average", format!("{:.2} in the minute before", load_average().unwrap_or(f64::NAN))),
        ("congestion control", lab::congestion_control()),
        ("network", network.to_owned()),
    ];
    facts.extend(lab.peers.versions());
    if let Some(version) = acp_version(lab) {
        facts.push(("acp", version));
    }
    facts.push(("cores", format!("server {:?}, load and backend {:?}", lab.cores.server, lab.cores.load)));
    facts.push(("load", load));
    facts
}

/// How many cores of which kind.
pub(super) fn processor() -> String {
    format!("{} × {}", core_count(), cpu_model())
}

fn caveats(lab: &Lab) -> Vec<String> {
    let mut caveats = vec![
        "CPU per request leads; requests/s is bounded by load and backend, which share the other cores.".to_owned(),
        "On loopback the sender's context runs the receiver's softirq: kernel TCP of both directions is charged to \
         whoever writes, for every row alike."
            .to_owned(),
        "Each request is a random user's, so that a cache of a connection's last token almost never hits.".to_owned(),
        "nginx-plain, haproxy-plain and haproxy-jwt write no log; envoy-jwt writes an access log, acp its audit log. \
         What kernel threads spend on writing them to disk is charged to nobody."
            .to_owned(),
        "nginx and HAProxy are what the distribution ships; newer releases may differ.".to_owned(),
    ];
    if load_average().is_some_and(|load| load > BUSY) {
        caveats.push(
            "The machine was busy before the run: expect a wide spread, and repeat it on an idle one.".to_owned(),
        );
    }
    if lab.cores.shared() {
        caveats
            .push("Server, load and backend share all cores: CPU per request includes their cache misses.".to_owned());
    }
    if lab::congestion_control() != "cubic" {
        caveats.push("Congestion control is not cubic; bbr paces by timers, which costs every row CPU.".to_owned());
    }
    caveats
}

fn acp_version(lab: &Lab) -> Option<String> {
    let output = Command::new(&lab.acp).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().trim_start_matches("acp ").to_owned()).filter(|version| !version.is_empty())
}

fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}

fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runnable threads, averaged over the last minute; what others did to the machine before the run.
fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn read_line(file: &str) -> String {
    fs::read_to_string(file).map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
