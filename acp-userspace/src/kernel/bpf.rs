//! The kernel plane with BPF (tiers K1 and K2): the programs of `acp-ebpf`, loaded, attached and spoken to.
//!
//! Everything that needs a capability happens in [`BpfPlane::open`]; what comes later is map look-ups, updates and
//! mapped memory, which go by descriptor. aya's maps want `&mut self`, so each worker is given a descriptor of its own
//! instead of a lock.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use acp_ebpf::ledger::SkState;
use acp_ebpf::penalty::mode;
use acp_ebpf::steer::{DRAINING, WORKERS_MAX};
use acp_ebpf::{ConnClosed, Penalty, SourceKey, globals, stats};
use aya::maps::{Map, MapData, MapError, PerCpuArray, ReusePortSockArray, RingBuf, SkStorage};
use aya::programs::{CgroupAttachMode, ProgramError, SkReuseport, SockOps};
use aya::{Ebpf, EbpfError, EbpfLoader};

use super::bequest::Bequest;
use super::cgroup::{CgroupError, CgroupNode};
use super::drop::Silence;
use super::egress::Egress;
use super::gate::LATE_NS;
use super::load::Loads;
use super::log::ProgramLog;
use super::quarantine::Freezer;
use super::table::Table;
use super::worker::{Ledger, WorkerPlane};
use super::{KernelError, KernelPlane, Shared, Stats, Tier, socket};
use crate::clock::mono_ns;
use crate::config::resolved::KernelConfig;
use crate::ids::TenantId;

/// The programs, where the build had them.
#[cfg(acp_bpf_object)]
pub const OBJECT: Option<&[u8]> = Some(aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/acp.bpf.o")));
/// The programs, where the build had them.
#[cfg(not(acp_bpf_object))]
pub const OBJECT: Option<&[u8]> = None;

/// Records read per [`KernelPlane::drain`]: more than the ring holds, so that one call empties it and yet ends.
const DRAIN_MAX: usize = 16_384;

/// Why BPF could not be used.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// The binary has no programs in it.
    #[error("the binary has no BPF object")]
    NoObject,
    /// The object could not be loaded.
    #[error("cannot create the maps")]
    Load(#[from] EbpfError),
    /// A program was refused or could not be attached.
    #[error("cannot load or attach {program}")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why not.
        #[source]
        source: ProgramError,
    },
    /// A map could not be used.
    #[error("cannot use the map {map}")]
    Map {
        /// Its name.
        map: &'static str,
        /// Why not.
        #[source]
        source: MapError,
    },
    /// The object lacks a map or a program that this version expects.
    #[error("the BPF object has no {0}: it was built from other sources")]
    Missing(&'static str),
    /// A system call around the maps failed.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The listeners do not fit what the programs can steer.
    #[error("{0} listeners, of 1 to {WORKERS_MAX}")]
    Listeners(usize),
    /// The cgroup node is gone.
    #[error("cannot use the cgroup node")]
    Cgroup(#[from] CgroupError),
    /// The ledger's program is attached and yet not called.
    #[error("the self-test opened a listener that acp_ledger did not see")]
    SelfTest,
}

/// See the module's documentation.
pub struct BpfPlane {
    shared: Arc<Shared>,
    penalties: Table,
    /// Penalties for which the table had no slot.
    unplaced: u64,
    stats: PerCpuArray<MapData, u64>,
    loads: Arc<Loads>,
    /// The socket storage and the ring, once `acp_ledger` is attached (K2).
    ledger: Option<KernelLedger>,
    /// The switch of `acp_drop`, once it is attached anywhere (K3).
    silence: Option<Silence>,
    /// The guard of the gateway's own connections (K2, if the kernel takes it).
    egress: Option<Arc<Egress>>,
    /// What drops for quarantines (K2, if the kernel takes it).
    freezer: Option<Freezer>,
    /// What the programs say; `None` where those of an earlier process have no log.
    log: Option<ProgramLog>,
    /// Dropped last of the BPF parts: it holds the programs and the ledger's attachment. `None` where another process
    /// loaded them.
    ebpf: Option<Ebpf>,
    /// What the next process can be left; of this one's attachments only those that were left to it.
    bequest: Bequest,
    /// Left after the program attached to it is gone.
    node: Option<CgroupNode>,
}

struct KernelLedger {
    states: MapData,
    /// `None` until it is first read, where another process read it before: a reader begins where the ring stood when it
    /// was made, and that one reads on until it leaves.
    events: Option<RingBuf<MapData>>,
}

impl BpfPlane {
    /// Loads the programs and attaches `acp_steer` to the group of `listeners`, one per worker (K1).
    pub(super) fn open(object: Option<&[u8]>, listeners: &[BorrowedFd<'_>]) -> Result<Self, BpfError> {
        let workers = listeners.len();
        if workers == 0 || workers > WORKERS_MAX as usize {
            return Err(BpfError::Listeners(workers));
        }
        let seed = seed()?;
        let mut ebpf = load(object, workers as u32, port(listeners[0])?, seed)?;
        load_steer(&mut ebpf)?;
        let bequest = Bequest::of(&ebpf)?;
        let penalties = Table::begin(bequest.data("PENALTY")?.fd().as_fd(), seed).map_err(NOT_MAPPED)?;
        let loads = map_loads(&mut ebpf, workers as u32)?;
        attach_steer(&mut ebpf, listeners)?;
        Ok(Self {
            shared: Arc::default(),
            penalties,
            unplaced: 0,
            stats: take(&mut ebpf, "STATS")?,
            loads: Arc::new(loads),
            ledger: None,
            silence: None,
            egress: None,
            freezer: None,
            log: Some(ProgramLog::of(&mut ebpf)?),
            ebpf: Some(ebpf),
            bequest,
            node: None,
        })
    }

    /// Goes on with the programs and maps of another process, at the tier that it reached.
    pub(super) fn inherit(bequest: Bequest, tier: Tier) -> Result<Self, BpfError> {
        let loads = Loads::map(bequest.data("WORKER_LOAD")?.fd().as_fd());
        let loads = loads.map_err(|source| BpfError::Io { what: "map WORKER_LOAD", source })?;
        let ledger = match tier {
            Tier::K0 | Tier::K1 => None,
            _ => Some(KernelLedger { states: bequest.data("SK_STATE")?, events: None }),
        };
        let silence = (tier == Tier::K3).then(|| bequest.map("SILENT").map(Silence::resume)).transpose()?;
        Ok(Self {
            shared: Arc::default(),
            penalties: Table::resume(bequest.data("PENALTY")?.fd().as_fd()).map_err(NOT_MAPPED)?,
            unplaced: 0,
            stats: bequest.map("STATS")?,
            loads: Arc::new(loads),
            ledger,
            silence,
            log: ProgramLog::inherit(&bequest),
            ebpf: None,
            egress: Egress::inherit(&bequest).map(Arc::new),
            freezer: Freezer::inherit(&bequest),
            node: bequest.cgroup.as_deref().map(CgroupNode::join).transpose()?,
            bequest,
        })
    }

    fn programs(&mut self) -> Result<&mut Ebpf, BpfError> {
        self.ebpf.as_mut().ok_or(BpfError::NoObject)
    }

    /// Attaches `acp_ledger` to `node` and sees it work (K2).
    pub(super) fn keep_ledger(&mut self, node: CgroupNode) -> Result<(), BpfError> {
        let attached = self.attach_ledger(&node);
        // Held whatever happened: the listeners are in it.
        let directory = node.path().display().to_string();
        self.bequest.cgroup = Some(node.path().to_owned());
        self.node = Some(node);
        attached?;
        self.self_test()?;
        let states = take_data(self.programs()?, "SK_STATE", |map| match map {
            Map::SkStorage(data) => Some(data),
            _ => None,
        })?;
        self.ledger = Some(KernelLedger { states, events: Some(take(self.programs()?, "EVENTS")?) });
        tracing::debug!(cgroup = directory, "acp_ledger attached");
        Ok(())
    }

    /// Attaches `acp_drop` to the interfaces (K3). Returns a line for each that has none in the end.
    pub(super) fn drop_on(&mut self, interfaces: &[Arc<str>]) -> Result<Vec<String>, BpfError> {
        let (silence, lacks) = Silence::start(self.programs()?, interfaces)?;
        self.silence = Some(silence);
        Ok(lacks)
    }

    /// Attaches what the tiers do not depend on. Returns a line for each that could not be had.
    pub(super) fn attach_extras(&mut self, config: &KernelConfig) -> Vec<String> {
        let mut lacks = Vec::new();
        let (Some(node), Some(ebpf)) = (&self.node, &mut self.ebpf) else { return lacks };
        match Freezer::attach(ebpf, node) {
            Ok(freezer) => self.freezer = Some(freezer),
            Err(error) => lacks.push(format!("no quarantine in the kernel: {}", super::chain(&error))),
        }
        if config.egress_guard {
            match Egress::attach(ebpf, node) {
                Ok(egress) => self.egress = Some(Arc::new(egress)),
                Err(error) => lacks.push(format!("no egress guard: {}", super::chain(&error))),
            }
        }
        lacks
    }

    fn attach_ledger(&mut self, node: &CgroupNode) -> Result<(), BpfError> {
        const NAME: &str = "acp_ledger";
        let failed = |source| BpfError::Program { program: NAME, source };
        let directory = node.open()?;
        let program = self.programs()?.program_mut(NAME).ok_or(BpfError::Missing(NAME))?;
        let program: &mut SockOps = program.try_into().map_err(failed)?;
        program.load().map_err(failed)?;
        // Links of cgroup programs are multi by nature; the flag that says so is refused for them.
        program.attach(directory, CgroupAttachMode::Single).map_err(failed)?;
        Ok(())
    }

    /// Opens a listener and looks whether `acp_ledger` counted it: attached to another cgroup than the process is in,
    /// it would keep an empty ledger in silence.
    fn self_test(&mut self) -> Result<(), BpfError> {
        let before = self.counter(stats::LISTENING);
        std::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0))
            .map_err(|source| BpfError::Io { what: "open a listener for the self-test", source })?;
        if self.counter(stats::LISTENING) > before { Ok(()) } else { Err(BpfError::SelfTest) }
    }

    fn counter(&self, index: u32) -> u64 {
        self.stats.get(&index, 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }
}

impl KernelPlane for BpfPlane {
    fn penalise(&mut self, source: IpAddr, penalty: Penalty) -> Result<(), KernelError> {
        let late_ns = if penalty.mode == mode::OBSERVE { 0 } else { LATE_NS };
        self.shared.penalise(source, penalty, late_ns)?;
        if penalty.mode == mode::OBSERVE {
            // Counted at accept; one that refused before it must not go on in the kernel.
            self.penalties.remove(SourceKey::of_ip(source));
            return Ok(());
        }
        if self.penalties.put(SourceKey::of_ip(source), penalty, mono_ns()).is_err() {
            self.unplaced += 1;
            tracing::warn!(%source, "no slot for a penalty in the kernel: the source is refused after accept");
            return self.shared.penalise(source, penalty, 0);
        }
        match &mut self.silence {
            Some(silence) if penalty.mode == mode::SILENT => Ok(silence.extend(penalty.until_ns)?),
            _ => Ok(()),
        }
    }

    fn pardon(&mut self, source: IpAddr) -> bool {
        self.penalties.remove(SourceKey::of_ip(source));
        self.shared.pardon(source)
    }

    fn drain(&mut self, sink: &mut dyn FnMut(&ConnClosed)) -> usize {
        if let Some(silence) = &mut self.silence {
            silence.tend(mono_ns());
        }
        let Some(ledger) = &mut self.ledger else { return 0 };
        if ledger.events.is_none() {
            ledger.events = self.bequest.map("EVENTS").ok();
        }
        let Some(events) = &mut ledger.events else { return 0 };
        let mut drained = 0;
        while drained < DRAIN_MAX
            && let Some(record) = events.next()
        {
            drained += 1;
            if let Some(closed) = ConnClosed::from_bytes(&record) {
                sink(&closed);
            }
        }
        drained
    }

    fn stats(&self) -> Stats {
        let mut all = self.shared.stats();
        all.refused = self.counter(stats::REFUSED);
        all.dropped = self.counter(stats::DROPPED);
        all.unplaced = self.unplaced;
        all.steered = self.counter(stats::STEERED);
        all.unsteered = self.counter(stats::UNSTEERED);
        if self.ledger.is_some() {
            all.opened = self.counter(stats::OPENED);
            all.closed = self.counter(stats::CLOSED);
            all.lost = self.counter(stats::LOST);
        }
        all
    }

    fn freeze(&mut self, tenant: &TenantId, until_ns: u64) -> Result<bool, KernelError> {
        let slot = self.shared.tenants.slot(tenant);
        Ok(self.freezer.as_mut().map_or(Ok(false), |freezer| freezer.freeze(slot, until_ns))?)
    }

    fn frozen(&self) -> u64 {
        self.freezer.as_ref().map_or(0, Freezer::dropped)
    }

    fn log(&mut self) -> Option<&mut ProgramLog> {
        self.log.as_mut()
    }

    fn egress(&self) -> Option<Arc<Egress>> {
        self.egress.clone()
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    fn worker(&self, index: u32) -> Result<WorkerPlane, KernelError> {
        let ledger = match &self.ledger {
            Some(ledger) => Ledger::Kernel(own_descriptor(&ledger.states)?),
            None => Ledger::User,
        };
        self.loads.set(index, 0);
        self.loads.settle(index);
        let loads = Some(Arc::clone(&self.loads));
        let shared = Arc::clone(&self.shared);
        let (slots, open) = (hashbrown::HashMap::new(), hashbrown::HashMap::new());
        Ok(WorkerPlane { index, shared, slots, loads, draining: false, ledger, open })
    }

    fn bequest(&self) -> Result<Bequest, KernelError> {
        Ok(self.bequest.duplicate()?)
    }

    fn worker_down(&mut self, index: u32) {
        self.loads.set(index, DRAINING);
    }
}

/// What nobody outside knows: see [`acp_ebpf::table`].
fn seed() -> Result<u64, BpfError> {
    let mut seed = [0; 8];
    aws_lc_rs::rand::fill(&mut seed)
        .map_err(|_| BpfError::Io { what: "choose a seed", source: io::Error::other("no randomness") })?;
    Ok(u64::from_ne_bytes(seed))
}

fn load(object: Option<&[u8]>, workers: u32, port: u16, seed: u64) -> Result<Ebpf, BpfError> {
    let object = object.ok_or(BpfError::NoObject)?;
    Ok(EbpfLoader::new()
        .override_global(globals::WORKERS, &workers, true)
        .override_global(globals::PORT, &u32::from(port), true)
        .override_global(globals::SEED, &seed, true)
        .load(object)?)
}

/// Maps the loads. A worker that is not there yet takes no connections.
fn map_loads(ebpf: &mut Ebpf, workers: u32) -> Result<Loads, BpfError> {
    let map = take_data(ebpf, "WORKER_LOAD", |map| match map {
        Map::Array(data) => Some(data),
        _ => None,
    })?;
    let loads = Loads::map(map.fd().as_fd()).map_err(|source| BpfError::Io { what: "map WORKER_LOAD", source })?;
    (0..workers).for_each(|worker| loads.set(worker, DRAINING));
    Ok(loads)
}

/// Loads `acp_steer`, while the object still has the descriptors of all its maps; loaded, it keeps them itself.
fn load_steer(ebpf: &mut Ebpf) -> Result<(), BpfError> {
    let program = steer(ebpf)?;
    program.load().map_err(|source| BpfError::Program { program: STEER, source })
}

/// Puts the listeners where `acp_steer` finds them, and attaches it to the group they form.
fn attach_steer(ebpf: &mut Ebpf, listeners: &[BorrowedFd<'_>]) -> Result<(), BpfError> {
    let mut workers: ReusePortSockArray<MapData> = take(ebpf, "WORKERS")?;
    for (worker, listener) in listeners.iter().enumerate() {
        let stored = workers.set(worker as u32, listener, 0);
        stored.map_err(|source| BpfError::Map { map: "WORKERS", source })?;
    }
    steer(ebpf)?.attach(listeners[0]).map_err(|source| BpfError::Program { program: STEER, source })
}

const NOT_MAPPED: fn(io::Error) -> BpfError = |source| BpfError::Io { what: "map PENALTY", source };

const STEER: &str = "acp_steer";

fn steer(ebpf: &mut Ebpf) -> Result<&mut SkReuseport, BpfError> {
    let program = ebpf.program_mut(STEER).ok_or(BpfError::Missing(STEER))?;
    program.try_into().map_err(|source| BpfError::Program { program: STEER, source })
}

fn port(listener: BorrowedFd<'_>) -> Result<u16, BpfError> {
    let local = socket::local(listener.as_raw_fd());
    local.map(|local| local.port()).map_err(|source| BpfError::Io { what: "read the listener's address", source })
}

pub(super) fn take<M: TryFrom<Map, Error = MapError>>(ebpf: &mut Ebpf, name: &'static str) -> Result<M, BpfError> {
    let map = ebpf.take_map(name).ok_or(BpfError::Missing(name))?;
    map.try_into().map_err(|source| BpfError::Map { map: name, source })
}

fn take_data(ebpf: &mut Ebpf, name: &'static str, data: fn(Map) -> Option<MapData>) -> Result<MapData, BpfError> {
    ebpf.take_map(name).and_then(data).ok_or(BpfError::Missing(name))
}

/// The socket storage through another descriptor of the same map.
fn own_descriptor(states: &MapData) -> Result<SkStorage<MapData, SkState>, BpfError> {
    let failed = |source| BpfError::Map { map: "SK_STATE", source };
    let descriptor: OwnedFd = states
        .fd()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| BpfError::Io { what: "duplicate a descriptor", source })?;
    let data = MapData::from_fd(descriptor).map_err(failed)?;
    Map::SkStorage(data).try_into().map_err(failed)
}
