//! `acp_drop` on the interfaces that the operator names (tier K3): the SYNs of sources under a silent penalty are dropped
//! before the network stack sees them.
//!
//! Programs are attached once, while there are privileges for it, and do nothing until a word in a map says that some
//! penalty is silent. Native XDP is the cheapest; where the driver has none, or the interface has another's program,
//! which is never replaced, tcx does the same a little later; the stack's generic XDP is the last resort.

use std::ffi::CString;
use std::sync::Arc;

use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::tc::TcAttachOptions;
use aya::programs::{LinkOrder, ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use aya::util::KernelVersion;

use super::bpf::{BpfError, take};
use super::xdp_owner;

const XDP: &str = "acp_drop";
const TCX: &str = "acp_drop_tcx";

/// The release that brought tcx.
const TCX_SINCE: KernelVersion = KernelVersion::new(6, 6, 0);

/// The word in the map.
pub(super) struct Silence {
    word: Array<MapData, u32>,
    /// When the last silent penalty ends; 0 = there is none, and the word says so.
    until_ns: u64,
}

impl Silence {
    /// Takes the map, and attaches the programs to the interfaces. Returns a line for each that has none in the end.
    pub(super) fn start(ebpf: &mut Ebpf, interfaces: &[Arc<str>]) -> Result<(Self, Vec<String>), BpfError> {
        let mut lacks = Vec::new();
        for interface in interfaces {
            match attach(ebpf, interface) {
                Ok(how) => tracing::info!("kernel plane: {interface}: {how}"),
                Err(why) => lacks.push(format!("no drop on {interface}: {why}")),
            }
        }
        Ok((Self { word: take(ebpf, "SILENT")?, until_ns: 0 }, lacks))
    }

    /// Goes on with the map of another process, which keeps the programs attached.
    pub(super) const fn resume(word: Array<MapData, u32>) -> Self {
        Self { word, until_ns: 0 }
    }

    /// A silent penalty begins, or another's end changes nothing.
    pub(super) fn extend(&mut self, until_ns: u64) -> Result<(), BpfError> {
        let was_off = self.until_ns == 0;
        self.until_ns = self.until_ns.max(until_ns);
        if was_off { self.write(1) } else { Ok(()) }
    }

    /// Once the last silent penalty is over, frames need not be looked at.
    pub(super) fn tend(&mut self, now_ns: u64) {
        if self.until_ns != 0 && now_ns >= self.until_ns && self.write(0).is_ok() {
            self.until_ns = 0;
        }
    }

    fn write(&mut self, on: u32) -> Result<(), BpfError> {
        self.word.set(0, on, 0).map_err(|source| BpfError::Map { map: "SILENT", source })
    }
}

/// Attaches to one interface; says how, or why not.
fn attach(ebpf: &mut Ebpf, interface: &str) -> Result<String, String> {
    let index = index_of(interface).ok_or("there is no such interface")?;
    let other = xdp_owner::of(index).map_err(|error| format!("cannot ask whose XDP program it has: {error}"))?;
    let native = match &other {
        Some(program) => format!("it has another's XDP program, {program}, which is left alone"),
        None => match attach_xdp(ebpf, index, XdpMode::Driver) {
            Ok(()) => return Ok("drops by native XDP".to_owned()),
            Err(error) => format!("no native XDP: {}", super::chain(&error)),
        },
    };
    let tcx = match attach_tcx(ebpf, interface) {
        Ok(()) => return Ok(format!("drops by tcx ({native})")),
        Err(error) => error,
    };
    if other.is_none() && attach_xdp(ebpf, index, XdpMode::Skb).is_ok() {
        return Ok(format!("drops by generic XDP ({native}; no tcx: {tcx})"));
    }
    Err(format!("{native}; no tcx: {tcx}"))
}

fn index_of(interface: &str) -> Option<u32> {
    let name = CString::new(interface).ok()?;
    // SAFETY: the name is a C string that outlives the call.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

fn attach_xdp(ebpf: &mut Ebpf, index: u32, mode: XdpMode) -> Result<(), BpfError> {
    let failed = |source: ProgramError| BpfError::Program { program: XDP, source };
    let program: &mut Xdp = ebpf.program_mut(XDP).ok_or(BpfError::Missing(XDP))?.try_into().map_err(failed)?;
    if program.fd().is_err() {
        program.load().map_err(failed)?;
    }
    program.attach_to_if_index(index, mode).map(|_| ()).map_err(failed)
}

fn attach_tcx(ebpf: &mut Ebpf, interface: &str) -> Result<(), String> {
    if !KernelVersion::current().is_ok_and(|version| version >= TCX_SINCE) {
        return Err("needs Linux 6.6".to_owned());
    }
    let failed = |source: ProgramError| super::chain(&BpfError::Program { program: TCX, source });
    let program = ebpf.program_mut(TCX).ok_or_else(|| super::chain(&BpfError::Missing(TCX)))?;
    let program: &mut SchedClassifier = program.try_into().map_err(failed)?;
    if program.fd().is_err() {
        program.load().map_err(failed)?;
    }
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    program.attach_with_options(interface, TcAttachType::Ingress, first).map(|_| ()).map_err(failed)
}
