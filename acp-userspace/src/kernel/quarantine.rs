//! The kernel's part of a quarantine: what arrives on a tenant's connections is dropped from the moment the map says so.
//!
//! Attached to the gateway's own cgroup while there are privileges for it; while there is no quarantine the program looks
//! at one word per packet. The deadline is the kernel's too: a gateway that dies leaves nobody frozen.

use acp_ebpf::TenantSlot;
use acp_ebpf::quarantine::{ATTACHED, SLOTS};
use aya::Ebpf;
use aya::maps::{Array, MapData, PerCpuArray};
use aya::programs::{CgroupAttachMode, CgroupSkb, CgroupSkbAttachType};

use super::bequest::Bequest;
use super::bpf::{BpfError, take};
use super::cgroup::CgroupNode;
use super::tenants::SLOTS_MAX;

const PROGRAM: &str = "acp_quarantine";
const DEADLINES: &str = "QUARANTINED";
const ON: &str = "QUARANTINE_ON";

const _: () = assert!(SLOTS == SLOTS_MAX + 1, "every slot has a deadline");

/// The maps.
pub(super) struct Freezer {
    deadlines: Array<MapData, u64>,
    on: Array<MapData, u64>,
    dropped: PerCpuArray<MapData, u64>,
    /// The last deadline, as the kernel has it.
    until_ns: u64,
}

impl Freezer {
    /// Loads the program and attaches it to the gateway's own cgroup.
    pub(super) fn attach(ebpf: &mut Ebpf, node: &CgroupNode) -> Result<Self, BpfError> {
        let failed = |source| BpfError::Program { program: PROGRAM, source };
        let program = ebpf.program_mut(PROGRAM).ok_or(BpfError::Missing(PROGRAM))?;
        let program: &mut CgroupSkb = program.try_into().map_err(failed)?;
        program.load().map_err(failed)?;
        // Links of cgroup programs are multi by nature; the flag that says so is refused for them.
        program.attach(node.open()?, CgroupSkbAttachType::Ingress, CgroupAttachMode::Single).map_err(failed)?;
        let mut on: Array<MapData, u64> = take(ebpf, ON)?;
        on.set(0, ATTACHED, 0).map_err(|source| BpfError::Map { map: ON, source })?;
        Ok(Self { deadlines: take(ebpf, DEADLINES)?, on, dropped: take(ebpf, "QUARANTINE_DROPPED")?, until_ns: 0 })
    }

    /// Goes on with the maps of another process, if its program is attached.
    pub(super) fn inherit(bequest: &Bequest) -> Option<Self> {
        let on: Array<MapData, u64> = bequest.map(ON).ok()?;
        let until_ns = on.get(&0, 0).ok().filter(|until_ns| *until_ns >= ATTACHED)?;
        let dropped = bequest.map("QUARANTINE_DROPPED").ok()?;
        Some(Self { deadlines: bequest.map(DEADLINES).ok()?, on, dropped, until_ns })
    }

    /// Freezes the connections of a tenant until the deadline, or, with 0, thaws them. Whether the tenant has a slot.
    pub(super) fn freeze(&mut self, tenant: TenantSlot, until_ns: u64) -> Result<bool, BpfError> {
        if tenant == TenantSlot::UNATTRIBUTED {
            return Ok(false);
        }
        let failed = |map| move |source| BpfError::Map { map, source };
        self.deadlines.set(tenant.slot, until_ns, 0).map_err(failed(DEADLINES))?;
        if until_ns > self.until_ns {
            self.on.set(0, until_ns, 0).map_err(failed(ON))?;
            self.until_ns = until_ns;
        }
        Ok(true)
    }

    /// Packets dropped since the start.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.get(&0, 0).map_or(0, |per_cpu| per_cpu.iter().sum())
    }
}
