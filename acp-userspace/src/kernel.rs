//! The kernel plane: refuse declared sources under penalty before accept, steer, and keep the independent ledger.
//!
//! The kernel only repeats what `usage` decided. The control thread owns a [`KernelPlane`]; each worker gets a
//! [`WorkerPlane`] of its own. [`BpfPlane`] speaks to the programs of `acp-ebpf`, [`NonePlane`] does without; the same
//! tests hold for both (`tests/kernel.rs`).
//!
//! Order at start, on the main thread before any other exists: [`enter_cgroup`] → open the listeners → [`open`] →
//! [`drop_privileges`] → spawn. After that nothing here needs a privilege.
//!
//! **Invariants.** Every penalty ends by its own deadline, in the kernel as here: a gateway that dies leaves nobody
//! locked out. Nothing a client sends unauthenticated starts, lengthens or renews one (THREATS A2). A tier is never
//! claimed that was not reached: what is missing is said, line by line.

pub mod bequest;
pub mod book;
mod bpf;
mod caps;
mod cgroup;
pub mod confine;
mod drop;
pub mod egress;
mod gate;
mod load;
pub mod log;
mod none;
pub mod penalty;
mod probe;
mod quarantine;
pub mod socket;
pub mod source;
mod table;
mod tenants;
mod worker;
mod xdp_owner;

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub use acp_ebpf::{ConnClosed, Penalty, TenantSlot, addr, ledger};

pub use self::bequest::Bequest;
pub use self::bpf::{BpfError, BpfPlane, OBJECT};
pub use self::caps::{PrivilegeError, drop_privileges, keep_file_access};
pub use self::cgroup::{CgroupError, CgroupNode};
pub use self::gate::Admission;
pub use self::none::NonePlane;
pub use self::tenants::{SLOTS_MAX, Tenants};
pub use self::worker::{Live, WorkerPlane};
use crate::config::resolved::{KernelConfig, KernelMode};
use crate::ids::TenantId;

/// How much of the kernel plane is in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub enum Tier {
    /// Nothing: penalised sources are reset after accept, the ledger is read at close.
    K0,
    /// `acp_steer`: they are refused before accept, and connections go to the less loaded of two workers.
    K1,
    /// `acp_ledger` too: the kernel keeps the ledger and closes the gate of an open window.
    K2,
    /// `acp_drop` on every interface that `kernel.interfaces` names: silent penalties are not answered.
    K3,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::K0 => "K0 (user space only)",
            Self::K1 => "K1 (refuse and steer in the kernel)",
            Self::K2 => "K2 (refuse, steer and ledger in the kernel)",
            Self::K3 => "K3 (refuse, steer, ledger and drop in the kernel)",
        })
    }
}

/// The tier reached, and a line for each thing that a higher one lacks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reached {
    /// The tier.
    pub tier: Tier,
    /// What is missing, and the way out.
    pub why: Vec<String>,
}

/// What went wrong with the kernel plane.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// `kernel.mode = "required"` on a host that lacks something of what was asked for.
    #[error(
        "kernel.mode = \"required\" needs all that is configured, this host reaches {}: {}; set kernel.mode = \"auto\" to \
         start without", .0.tier, .0.why.join("; ")
    )]
    Required(Reached),
    /// BPF failed after it had worked.
    #[error("the kernel plane failed")]
    Bpf(#[from] BpfError),
    /// As many sources as can be held are under penalty.
    #[error("no room for another penalty: {} sources are under one", gate::HELD_MAX)]
    Full,
}

/// Counters since start. Where the kernel does not count, user space does, or they stay zero.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Attempts refused before accept.
    pub refused: u64,
    /// Attempts dropped without an answer.
    pub dropped: u64,
    /// Connections refused after accept.
    pub reset: u64,
    /// Penalties that found no slot in the kernel's table: of sources refused after accept.
    pub unplaced: u64,
    /// Connections let through a penalty's open window.
    pub trickled: u64,
    /// Connections that would have been refused, were penalties not only observed.
    pub observed: u64,
    /// Attempts sent to the less loaded of two workers.
    pub steered: u64,
    /// Attempts left to the kernel's hash.
    pub unsteered: u64,
    /// Connections opened.
    pub opened: u64,
    /// Connections closed, with a record.
    pub closed: u64,
    /// Connections closed whose record was lost: what the ledger lacks.
    pub lost: u64,
}

/// What both planes and all workers share.
#[derive(Debug, Default)]
pub struct Shared {
    gate: gate::Gate,
    tenants: Tenants,
    opened: AtomicU64,
    closed: AtomicU64,
    lost: AtomicU64,
}

impl Shared {
    fn penalise(&self, source: IpAddr, penalty: Penalty, late_ns: u64) -> Result<(), KernelError> {
        if self.gate.hold(addr::SourceKey::of_ip(source), penalty, late_ns) { Ok(()) } else { Err(KernelError::Full) }
    }

    fn pardon(&self, source: IpAddr) -> bool {
        self.gate.release(addr::SourceKey::of_ip(source))
    }

    fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            reset: read(&self.gate.refused),
            trickled: read(&self.gate.trickled),
            observed: read(&self.gate.observed),
            opened: read(&self.opened),
            closed: read(&self.closed),
            lost: read(&self.lost),
            ..Stats::default()
        }
    }
}

/// The control thread's half. See the module's documentation.
pub trait KernelPlane: Send {
    /// Refuses new connections of `source` (an IPv4 address, or the /64 of an IPv6 one) until the penalty's deadline,
    /// but for its open windows; takes the place of a penalty it is under already. Established ones stay. Where the
    /// kernel has no slot for it, it is refused after accept, and counted ([`Stats::unplaced`]).
    ///
    /// # Errors
    /// [`KernelError::Full`], or the kernel's.
    fn penalise(&mut self, source: IpAddr, penalty: Penalty) -> Result<(), KernelError>;

    /// Ends a penalty at once; whether there was one.
    fn pardon(&mut self, source: IpAddr) -> bool;

    /// Hands over the records of connections closed since the last call, oldest first, and returns how many. Every
    /// 50 ms is often enough (see [`ledger::EVENTS_BYTES`]). Nothing comes where the workers keep the ledger.
    fn drain(&mut self, sink: &mut dyn FnMut(&ConnClosed)) -> usize;

    /// The counters.
    fn stats(&self) -> Stats;

    /// A worker's half; again for one that was restarted. Its listener is the one given to [`open`], or a duplicate.
    ///
    /// # Errors
    /// If no descriptor is left.
    fn worker(&self, index: u32) -> Result<WorkerPlane, KernelError>;

    /// What the next process needs to go on with the plane; nothing where there is nothing in the kernel.
    ///
    /// # Errors
    /// No descriptor is left.
    fn bequest(&self) -> Result<Bequest, KernelError> {
        Ok(Bequest::default())
    }

    /// Steers nothing to a worker that died, until [`KernelPlane::worker`] makes its successor.
    fn worker_down(&mut self, index: u32);

    /// The guard of the gateway's own connections; `None` below K2, or where its programs were refused.
    fn egress(&self) -> Option<Arc<egress::Egress>> {
        None
    }

    /// Drops what arrives on the connections that are the tenant's alone, until a deadline; 0 = no longer. Whether the
    /// kernel can: below K2 it cannot, nor for tenants beyond those that have a slot.
    ///
    /// # Errors
    /// The kernel's.
    fn freeze(&mut self, _tenant: &TenantId, _until_ns: u64) -> Result<bool, KernelError> {
        Ok(false)
    }

    /// Packets dropped for that since the start.
    fn frozen(&self) -> u64 {
        0
    }

    /// What the programs say of their decisions; `None` where there are none.
    fn log(&mut self) -> Option<&mut log::ProgramLog> {
        None
    }

    /// What the planes and workers share.
    fn shared(&self) -> &Arc<Shared>;

    /// The penalties in force, by source.
    fn penalties(&self, now_ns: u64) -> Vec<(IpAddr, Penalty)> {
        self.shared().gate.penalties(now_ns)
    }

    /// The tenants behind the slots of the ledger's records.
    fn tenants(&self) -> &Tenants {
        &self.shared().tenants
    }
}

/// Moves the process into a cgroup node of its own, which the ledger needs and which must happen before the listeners
/// are opened. `None` where the kernel plane is off.
pub fn enter_cgroup(config: &KernelConfig) -> Option<Result<CgroupNode, CgroupError>> {
    (config.mode != KernelMode::Off).then(|| CgroupNode::enter(config.cgroup.as_deref()))
}

/// Opens as much of the kernel plane as configuration and host allow. `listeners` are the workers', in their order,
/// all of one `SO_REUSEPORT` group.
///
/// # Errors
/// [`KernelError::Required`] if `kernel.mode = "required"` and K2 was not reached, or K3 where interfaces are named. A
/// lower tier is otherwise not an error, but said in [`Reached::why`].
pub fn open(
    config: &KernelConfig,
    node: Option<Result<CgroupNode, CgroupError>>,
    listeners: &[BorrowedFd<'_>],
) -> Result<(Box<dyn KernelPlane>, Reached), KernelError> {
    open_object(OBJECT, config, node, listeners)
}

/// [`open`] with programs other than [`OBJECT`]: for tests of what becomes of those that a kernel refuses.
///
/// # Errors
/// As [`open`].
pub fn open_object(
    object: Option<&[u8]>,
    config: &KernelConfig,
    node: Option<Result<CgroupNode, CgroupError>>,
    listeners: &[BorrowedFd<'_>],
) -> Result<(Box<dyn KernelPlane>, Reached), KernelError> {
    let (plane, reached) = match config.mode {
        KernelMode::Off => {
            let why = vec!["kernel.mode = \"off\"".to_owned()];
            (Box::<NonePlane>::default() as Box<dyn KernelPlane>, Reached { tier: Tier::K0, why })
        }
        KernelMode::Auto | KernelMode::Required => climb(object, config, node, listeners),
    };
    let wanted = if config.interfaces.is_empty() { Tier::K2 } else { Tier::K3 };
    if config.mode == KernelMode::Required && reached.tier < wanted {
        return Err(KernelError::Required(reached));
    }
    Ok((plane, reached))
}

/// Goes on with the plane of another process, as far as it had come.
///
/// # Errors
/// [`KernelError::Required`] as in [`open`], or a map is not what it was said to be.
pub fn inherit(
    config: &KernelConfig,
    bequest: Bequest,
    reached: Reached,
) -> Result<(Box<dyn KernelPlane>, Reached), KernelError> {
    let wanted = if config.interfaces.is_empty() { Tier::K2 } else { Tier::K3 };
    if config.mode == KernelMode::Required && reached.tier < wanted {
        return Err(KernelError::Required(reached));
    }
    let plane: Box<dyn KernelPlane> = match reached.tier {
        Tier::K0 => Box::<NonePlane>::default(),
        tier => Box::new(BpfPlane::inherit(bequest, tier)?),
    };
    Ok((plane, reached))
}

/// Goes up the tiers until one is out of reach.
fn climb(
    object: Option<&[u8]>,
    config: &KernelConfig,
    node: Option<Result<CgroupNode, CgroupError>>,
    listeners: &[BorrowedFd<'_>],
) -> (Box<dyn KernelPlane>, Reached) {
    let host = probe::Host::read();
    let k0 = |why| (Box::<NonePlane>::default() as Box<dyn KernelPlane>, Reached { tier: Tier::K0, why });
    let why = host.lacks_for_k1();
    if !why.is_empty() {
        return k0(why);
    }
    let mut plane = match BpfPlane::open(object, listeners) {
        Ok(plane) => plane,
        Err(error) => return k0(vec![chain(&error)]),
    };
    let mut why = host.lacks_for_k2();
    match node {
        Some(Ok(node)) if why.is_empty() => why.extend(plane.keep_ledger(node).err().map(|error| chain(&error))),
        Some(Ok(_)) => {}
        Some(Err(error)) => why.push(format!("no cgroup node: {}", chain(&error))),
        None => why.push("the process did not enter a cgroup node".into()),
    }
    if !why.is_empty() {
        return (Box::new(plane), Reached { tier: Tier::K1, why });
    }
    // Beside the tiers: without them the gateway does all the rest.
    let extras = plane.attach_extras(config);
    if config.interfaces.is_empty() {
        return (Box::new(plane), Reached { tier: Tier::K2, why: extras });
    }
    why.extend(plane.drop_on(&config.interfaces).unwrap_or_else(|error| vec![chain(&error)]));
    let tier = if why.is_empty() { Tier::K3 } else { Tier::K2 };
    why.extend(extras);
    (Box::new(plane), Reached { tier, why })
}

/// An error and its causes in one line. The verifier's complaints fill pages: their ends are kept, the rest is logged.
fn chain(error: &dyn Error) -> String {
    const ENDS: usize = 400;
    let causes = std::iter::successors(error.source(), |&cause| cause.source());
    let text = causes.fold(error.to_string(), |line, cause| format!("{line}: {cause}"));
    tracing::debug!("{text}");
    let line = text.split('\n').filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ");
    let characters = line.chars().count();
    if characters <= 2 * ENDS {
        return line;
    }
    let head: String = line.chars().take(ENDS).collect();
    let tail: String = line.chars().skip(characters - ENDS).collect();
    format!("{head} … {tail}")
}
