//! The egress guard: the gateway's own TCP connections, held in the kernel to the addresses that passed the address rules
//! (THREATS A20).
//!
//! Whoever decides on an address lists it here before it is connected to: the publisher those of the upstreams, the key
//! service those of issuers, for the time of a fetch. The programs are attached to the gateway's own cgroup while there
//! are privileges for it, and refuse once [`Egress::enforce`] was called.
//!
//! **Invariants.** An address is in the kernel's list before a worker can see it. One that is no longer an upstream's
//! stays for `GRACE`, for requests that began with the snapshot before, and then ends by its deadline.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use acp_ebpf::addr;
use acp_ebpf::confine::{Peer, Refusal, TCP};
use acp_ebpf::egress::{FOR_EVER, count};
use aya::Ebpf;
use aya::maps::{Array, HashMap, MapData, MapError, PerCpuArray, RingBuf};
use aya::programs::{CgroupAttachMode, CgroupSockAddr};
use hashbrown::HashMap as Table;

use super::bequest::Bequest;
use super::bpf::{BpfError, take};
use super::cgroup::CgroupNode;
use super::confine::report::Tally;
use crate::clock::mono_ns;

const PROGRAMS: [&str; 2] = ["acp_egress4", "acp_egress6"];
const ALLOWED: &str = "EGRESS_ALLOWED";
const ON: &str = "EGRESS_ON";

/// How long an address that is no longer resolved can still be connected to.
const GRACE: Duration = Duration::from_secs(60);
/// Records read per look: more than the ring holds.
const READ_MAX: usize = 2_048;

/// The guard. Shared by whoever lists addresses; never on a request's path.
#[derive(Debug)]
pub struct Egress(Mutex<Lists>);

struct Lists {
    allowed: HashMap<MapData, Peer, u64>,
    on: Array<MapData, u32>,
    refused: RingBuf<MapData>,
    counts: PerCpuArray<MapData, u64>,
    /// As the kernel has it: address → its deadline.
    held: Table<Peer, u64>,
    /// Losses as last told.
    lost: u64,
}

impl std::fmt::Debug for Lists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lists").field("held", &self.held.len()).finish_non_exhaustive()
    }
}

impl Egress {
    /// Loads the programs and attaches them to the gateway's own cgroup. They let everything pass until
    /// [`Egress::enforce`].
    pub(super) fn attach(ebpf: &mut Ebpf, node: &CgroupNode) -> Result<Self, BpfError> {
        let directory = node.open()?;
        for name in PROGRAMS {
            let failed = |source| BpfError::Program { program: name, source };
            let program = ebpf.program_mut(name).ok_or(BpfError::Missing(name))?;
            let program: &mut CgroupSockAddr = program.try_into().map_err(failed)?;
            program.load().map_err(failed)?;
            // Links of cgroup programs are multi by nature; the flag that says so is refused for them.
            program.attach(&directory, CgroupAttachMode::Single).map_err(failed)?;
        }
        Ok(Self(Mutex::new(Lists {
            allowed: take(ebpf, ALLOWED)?,
            on: take(ebpf, ON)?,
            refused: take(ebpf, "EGRESS_REFUSED")?,
            counts: take(ebpf, "EGRESS_COUNTS")?,
            held: Table::new(),
            lost: 0,
        })))
    }

    /// Goes on with the maps of another process, if its guard holds: the programs are attached to the cgroup that this one
    /// joined too.
    pub(super) fn inherit(bequest: &Bequest) -> Option<Self> {
        let on: Array<MapData, u32> = bequest.map(ON).ok()?;
        if on.get(&0, 0).ok()? == 0 {
            return None;
        }
        let allowed: HashMap<MapData, Peer, u64> = bequest.map(ALLOWED).ok()?;
        let counts: PerCpuArray<MapData, u64> = bequest.map("EGRESS_COUNTS").ok()?;
        let held = allowed.iter().filter_map(Result::ok).collect();
        let lost = counts.get(&count::LOST, 0).map_or(0, |per_cpu| per_cpu.iter().sum());
        Some(Self(Mutex::new(Lists { allowed, on, refused: bequest.map("EGRESS_REFUSED").ok()?, counts, held, lost })))
    }

    /// From now on what is not listed is refused.
    ///
    /// # Errors
    /// The kernel's; nothing is refused then.
    pub fn enforce(&self) -> Result<(), BpfError> {
        self.lists().on.set(0, 1, 0).map_err(|source| BpfError::Map { map: ON, source })
    }

    /// These are the upstreams', and the name servers', until the next call; others than these end after `GRACE`.
    pub fn hold(&self, addresses: impl IntoIterator<Item = SocketAddr>) {
        let now_ns = mono_ns();
        let mut lists = self.lists();
        let wanted: Vec<Peer> = addresses.into_iter().map(peer).collect();
        for peer in &wanted {
            lists.put(*peer, FOR_EVER);
        }
        for (peer, until_ns) in changes(&lists.held, &wanted, now_ns) {
            match until_ns {
                Some(until_ns) => lists.put(peer, until_ns),
                None => lists.remove(peer),
            }
        }
    }

    /// This one may be connected to for so long, whatever else is listed.
    pub fn allow_for(&self, address: SocketAddr, time: Duration) {
        let mut lists = self.lists();
        let (peer, until_ns) = (peer(address), mono_ns().saturating_add(nanos(time)));
        if lists.held.get(&peer).is_none_or(|held| *held < until_ns) {
            lists.put(peer, until_ns);
        }
    }

    /// Adds what was refused since the last look.
    pub fn read(&self, tally: &mut Tally) {
        let mut lists = self.lists();
        for _ in 0..READ_MAX {
            let Some(record) = lists.refused.next() else { break };
            match Refusal::from_bytes(&record) {
                Some(refusal) => tally.add(&refusal),
                None => tally.lost += 1,
            }
        }
        let lost = lists.counts.get(&count::LOST, 0).map_or(0, |per_cpu| per_cpu.iter().sum());
        tally.lost += lost - std::mem::replace(&mut lists.lost, lost).min(lost);
    }

    /// Connections refused since the start.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.lists().counts.get(&count::REFUSED, 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }

    fn lists(&self) -> std::sync::MutexGuard<'_, Lists> {
        // What is held is only a memory of the kernel's list: half a change is repaired by the next one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lists {
    fn put(&mut self, peer: Peer, until_ns: u64) {
        // Even if it is held so: a process that was to take over, and did not, may have given it a deadline.
        match self.allowed.insert(peer, until_ns, 0) {
            Ok(()) => drop(self.held.insert(peer, until_ns)),
            Err(error) => {
                let (ip, port) = (addr::ip(peer.address), peer.port);
                tracing::error!(%ip, port, %error, "cannot list an address for the egress guard: it will be refused");
            }
        }
    }

    fn remove(&mut self, peer: Peer) {
        match self.allowed.remove(&peer) {
            Err(error) if !matches!(error, MapError::KeyNotFound) => {
                tracing::debug!(%error, "an address past its deadline stays listed");
            }
            _ => drop(self.held.remove(&peer)),
        }
    }
}

/// What becomes of the addresses that are held and not wanted: those held for good get a deadline (`Some`), those past
/// theirs go (`None`).
fn changes(held: &Table<Peer, u64>, wanted: &[Peer], now_ns: u64) -> Vec<(Peer, Option<u64>)> {
    let unwanted = held.iter().filter(|(peer, _)| !wanted.contains(peer));
    unwanted
        .filter_map(|(peer, until_ns)| match *until_ns {
            FOR_EVER => Some((*peer, Some(now_ns.saturating_add(nanos(GRACE))))),
            over if over <= now_ns => Some((*peer, None)),
            _ => None,
        })
        .collect()
}

fn peer(address: SocketAddr) -> Peer {
    Peer { address: addr::address(address.ip()), port: address.port(), protocol: u16::from(TCP) }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_is_wanted_no_longer_ends_after_a_grace_and_then_goes() {
        let at = |last: u8| peer(SocketAddr::from(([192, 0, 2, last], 80)));
        let held = Table::from_iter([(at(1), FOR_EVER), (at(2), FOR_EVER), (at(3), 10), (at(4), 2_000)]);
        let mut changes = changes(&held, &[at(1)], 1_000);
        changes.sort_by_key(|(peer, _)| *peer);
        // 1 is wanted, 4 has time left.
        assert_eq!(changes, [(at(2), Some(1_000 + 60_000_000_000)), (at(3), None)]);
    }
}
