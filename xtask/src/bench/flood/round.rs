//! One round of one flood, by a gateway of its own: nobody, the victim alone, the victim with the offender, the offender
//! alone.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::super::acp::Gateway;
use super::super::lab::Lab;
use super::super::measure::{self, milliseconds};
use super::super::proc::ProcessTree;
use super::super::{load, offender};
use super::blast;
use super::machine::Machine;
use super::programs::{Counting, Counts};
use super::scenario::Flood;
use super::wire::Wire;
use super::{Sides, Sizes};

/// After a start, until the gateway has nothing left to do.
const SETTLE_MS: u64 = 1_000;
/// The window with nobody there.
const IDLE_MS: u64 = 2_000;
/// Of SYNs as fast as they can be made.
const BLAST_MS: u64 = 1_000;
/// Before the window of the victim alone.
const WARM_UP_MS: u64 = 1_000;

/// What a round runs with.
#[derive(Clone, Copy)]
pub(super) struct Field<'a> {
    /// Binaries, keys, cores.
    pub(super) lab: &'a Lab,
    /// The two sides' tokens.
    pub(super) sides: &'a Sides,
    /// Who answers behind the gateway.
    pub(super) backend: SocketAddrV4,
    /// The other host, where there is one.
    pub(super) wire: Option<&'a Wire>,
    /// Pace, connections, lengths.
    pub(super) sizes: &'a Sizes,
}

impl Field<'_> {
    /// The victims' load on `gateway` from loopback, where nobody floods: requests per second on a schedule, warmed up and
    /// measured for so many milliseconds.
    pub(super) fn clean_load(
        &self,
        gateway: &Gateway,
        connections: usize,
        (warm_up_ms, window_ms): (u64, u64),
        rate: f64,
    ) -> load::Args {
        load::Args {
            target: gateway.address(),
            source: Ipv4Addr::LOCALHOST,
            netns: None,
            connections,
            warm_up_ms,
            window_ms,
            rate: Some(rate),
            deadline_us: u64::MAX,
            tokens: self.sides.victims.clone(),
            watch: gateway.server().pid(),
            seed: 1,
        }
    }
}

/// What a round came to.
pub(super) struct Round {
    pub(super) quiet: load::Outcome,
    pub(super) flood: load::Outcome,
    pub(super) offender: offender::Outcome,
    pub(super) alone: offender::Outcome,
    /// CPU of gateway and machine in a window of `alone`'s length with nobody there.
    pub(super) idle_ns: u64,
    pub(super) idle_machine_ns: u64,
    pub(super) window_ms: u64,
    /// The gateway's programs while the offender was alone.
    pub(super) programs: Counts,
    /// SYNs as fast as they can be made, where there is a wire to put them on.
    pub(super) blast: Option<Blast>,
}

/// What a second host can do to the gateway's host without a socket.
pub(super) struct Blast {
    pub(super) frames_per_second: f64,
    pub(super) programs: Counts,
}

impl Round {
    /// Extra CPU of the gateway per attempt that got nothing, microseconds; negative if the flood made it cheaper.
    pub(super) fn cpu_us_per_refused(&self) -> f64 {
        let victim = self.quiet.cpu_us_per_request() * self.flood.answered as f64;
        (self.flood.cpu_ns as f64 / 1e3 - victim) / self.offender.got_nothing().max(1) as f64
    }

    /// The same with nobody but the offender, less what the gateway uses in the same time with nobody.
    pub(super) fn cpu_us_per_refused_alone(&self) -> f64 {
        (self.alone.cpu_ns as f64 - self.idle_ns as f64) / 1e3 / self.alone.got_nothing().max(1) as f64
    }

    /// CPU of the whole machine per attempt, microseconds, less what it uses with nobody there: the offender's own work
    /// is in it.
    pub(super) fn machine_us_per_attempt(&self) -> f64 {
        (self.alone.machine_ns as f64 - self.idle_machine_ns as f64) / 1e3 / self.alone.made().max(1) as f64
    }

    /// The same less what the offender's process was charged with.
    pub(super) fn others_us_per_attempt(&self) -> f64 {
        self.machine_us_per_attempt() - self.alone.own_ns as f64 / 1e3 / self.alone.made().max(1) as f64
    }

    /// Share of the attempts beside the victim that met the kernel before anything was accepted.
    pub(super) fn kept_out_share(&self, flood: Flood) -> f64 {
        let kept_out = if flood.is_silent() { self.offender.unanswered } else { self.offender.refused };
        kept_out as f64 / self.offender.made().max(1) as f64
    }

    /// CPU of the machine with nobody there, milliseconds per second: what others did to the round.
    pub(super) fn idle_machine_ms_per_second(&self) -> f64 {
        self.idle_machine_ns as f64 / 1e3 / self.window_ms as f64
    }

    /// CPU of an idle gateway, milliseconds per second.
    pub(super) fn idle_ms_per_second(&self) -> f64 {
        self.idle_ns as f64 / 1e3 / self.window_ms as f64
    }
}

/// Runs the round; `rate` is the victim's.
pub(super) fn run(field: Field<'_>, flood: Flood, rate: f64) -> Result<Round> {
    let Field { lab, sizes, .. } = field;
    let gateway = start(field, flood)?;
    let window_ms = milliseconds(flood.window_seconds(sizes.seconds));
    let (idle_ns, idle_machine_ns) = idle(&gateway, window_ms)?;
    let calm = load::Args { warm_up_ms: WARM_UP_MS, ..victim(field, flood, &gateway, window_ms, Some(rate)) };
    let quiet = measure::generate(lab, &load::Args { window_ms: milliseconds(sizes.seconds), ..calm })?;
    let attack = offence(field, flood, &gateway, window_ms);
    let offence = measure::part(lab, "offend", &attack.to_command_line())?;
    let beside = measure::generate(lab, &victim(field, flood, &gateway, window_ms, Some(rate)))?;
    let offender = offender::Outcome::from_json(&offence.wait()?)?;
    // The penalty goes on.
    let again = offender::Args { warm_up_ms: attack.warm_up_ms.min(2_000), ..attack };
    let counting = Counting::start(gateway.server().pid())?;
    let alone = offender::Outcome::from_json(&measure::part(lab, "offend", &again.to_command_line())?.wait()?)?;
    let programs = counting.stop()?;
    let blast = match field.wire {
        Some(wire) if flood.is_wired() && flood.kernel() != "off" => Some(blast(lab, wire, &gateway)?),
        _ => None,
    };
    for what in [&quiet, &beside].into_iter().filter_map(|outcome| outcome.first_error.as_ref()) {
        eprintln!("  a request of the victim failed: {what}");
    }
    gateway.stop()?;
    Ok(Round { quiet, flood: beside, offender, alone, idle_ns, idle_machine_ns, window_ms, programs, blast })
}

/// The source is still under its penalty.
fn blast(lab: &Lab, wire: &Wire, gateway: &Gateway) -> Result<Blast> {
    let args = blast::Args { target: gateway.address(), netns: wire.namespace().to_owned(), window_ms: BLAST_MS };
    let counting = Counting::start(gateway.server().pid())?;
    let said = measure::part(lab, "blast", &args.to_command_line())?.wait()?;
    let programs = counting.stop()?;
    let numbers: Option<Vec<f64>> = said.split_whitespace().map(|number| number.parse().ok()).collect();
    let Some([frames, ns]) = numbers.as_deref() else { bail!("the blast printed {said:?}") };
    Ok(Blast { frames_per_second: frames * 1e9 / ns.max(1.0), programs })
}

/// What the victim reaches alone, requests per second.
pub(super) fn quiet_maximum(field: Field<'_>, flood: Flood) -> Result<f64> {
    let gateway = start(field, flood)?;
    let load = load::Args { warm_up_ms: WARM_UP_MS, ..victim(field, flood, &gateway, 2_000, None) };
    let outcome = measure::generate(field.lab, &load)?;
    if outcome.errors > 0 {
        bail!("{} failed requests without any offender: {:?}", outcome.errors, outcome.first_error);
    }
    gateway.stop()?;
    Ok(outcome.per_second())
}

fn start(field: Field<'_>, flood: Flood) -> Result<Gateway> {
    let setting = flood.setting(&field.sides.tenant);
    let name = format!("acp-flood-{}", flood.name());
    let gateway = Gateway::start(field.lab, &name, &field.lab.acp, field.backend, &setting)?;
    if flood.is_silent() && flood.is_wired() && !gateway.log()?.contains("drops by native XDP") {
        bail!("no native XDP on the wire: see the log of {name}");
    }
    Ok(gateway)
}

/// CPU that the gateway, and the machine, use with nobody there: nanoseconds in a window of this length.
fn idle(gateway: &Gateway, window_ms: u64) -> Result<(u64, u64)> {
    thread::sleep(Duration::from_millis(SETTLE_MS));
    let tree = ProcessTree::below(gateway.server().pid());
    let (machine, before) = (Machine::now()?, tree.cpu()?);
    thread::sleep(Duration::from_millis(IDLE_MS));
    let (used, busy) = (tree.cpu()? - before, Machine::now()?.busy_ns_since(&machine));
    let scaled = |ns: u64| ns.saturating_mul(window_ms) / IDLE_MS;
    Ok((scaled(u64::try_from(used.as_nanos()).context("a short time")?), scaled(busy)))
}

fn victim(field: Field<'_>, flood: Flood, gateway: &Gateway, window_ms: u64, rate: Option<f64>) -> load::Args {
    load::Args {
        target: gateway.address(),
        source: flood.victim(),
        netns: namespace(field, flood),
        connections: field.sizes.connections,
        warm_up_ms: flood.head_start_ms(),
        window_ms,
        rate,
        deadline_us: field.sizes.deadline_ms * 1_000,
        tokens: field.sides.victims.clone(),
        watch: gateway.server().pid(),
        seed: 1,
    }
}

fn offence(field: Field<'_>, flood: Flood, gateway: &Gateway, window_ms: u64) -> offender::Args {
    offender::Args {
        target: gateway.address(),
        source: flood.offender(),
        netns: namespace(field, flood),
        rate: field.sizes.offender_rate,
        warm_up_ms: flood.head_start_ms(),
        window_ms,
        tokens: field.sides.offender.clone(),
        watch: gateway.server().pid(),
    }
}

fn namespace(field: Field<'_>, flood: Flood) -> Option<String> {
    field.wire.filter(|_| flood.is_wired()).map(|wire| wire.namespace().to_owned())
}
