//! What of the kernel plane one process leaves to the next at a hand-over: its maps and attachments, as descriptors.
//!
//! Nothing is loaded, attached or even touched: programs and maps live on as long as somebody holds them, so a penalty
//! refuses and the ledger counts throughout, and the next process needs no privilege. Passed descriptors rather than pins
//! in bpffs: no mount, no permission, no name that two gateways share, nothing stale left behind by a process that died.
//! The price: the programs stay those of the first process until the gateway is restarted. Whether the next process can
//! speak to them is what [`acp_ebpf::ABI`] says.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use aya::Ebpf;
use aya::maps::{Map, MapData, MapError};

use super::bpf::BpfError;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Bequest {
    /// Maps by name.
    pub maps: HashMap<String, OwnedFd>,
    /// What keeps programs attached.
    pub links: Vec<OwnedFd>,
    /// The cgroup node that the ledger is attached to.
    pub cgroup: Option<PathBuf>,
}

impl Bequest {
    /// Every map of a loaded object.
    pub(super) fn of(ebpf: &Ebpf) -> Result<Self, BpfError> {
        let mut maps = HashMap::new();
        for (name, map) in ebpf.maps().filter(|(name, _)| !name.starts_with('.')) {
            if let Some(data) = data(map) {
                maps.insert(name.to_owned(), duplicate(data.fd().as_fd())?);
            }
        }
        Ok(Self { maps, ..Self::default() })
    }

    /// The same again, with what is attached by now.
    pub(super) fn duplicate(&self) -> Result<Self, BpfError> {
        let maps = self.maps.iter().map(|(name, fd)| Ok((name.clone(), duplicate(fd.as_fd())?)));
        let links = attachments().map_err(|source| BpfError::Io { what: "list what is attached", source })?;
        Ok(Self { maps: maps.collect::<Result<_, BpfError>>()?, links, cgroup: self.cgroup.clone() })
    }

    /// The map of this name, through a descriptor of its own.
    pub(super) fn data(&self, name: &'static str) -> Result<MapData, BpfError> {
        let fd = self.maps.get(name).ok_or(BpfError::Missing(name))?;
        MapData::from_fd(duplicate(fd.as_fd())?).map_err(|source| BpfError::Map { map: name, source })
    }

    /// The same in its type, which is checked.
    pub(super) fn map<M: TryFrom<Map, Error = MapError>>(&self, name: &'static str) -> Result<M, BpfError> {
        let map = Map::from_map_data(self.data(name)?).and_then(M::try_from);
        map.map_err(|source| BpfError::Map { map: name, source })
    }
}

fn duplicate(fd: BorrowedFd<'_>) -> Result<OwnedFd, BpfError> {
    fd.try_clone_to_owned().map_err(|source| BpfError::Io { what: "duplicate a descriptor", source })
}

fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LpmTrie(data)
        | Map::RingBuf(data)
        | Map::SkStorage(data)
        | Map::ReusePortSockArray(data) => Some(data),
        _ => None,
    }
}

/// Every attachment that this process holds: aya keeps their descriptors to itself, the kernel names them.
fn attachments() -> io::Result<Vec<OwnedFd>> {
    let mut links = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")?.flatten() {
        let is_link = fs::read_link(entry.path()).is_ok_and(|target| {
            target.to_str().is_some_and(|name| name.starts_with("anon_inode:bpf") && name.ends_with("link"))
        });
        if let (true, Some(fd)) = (is_link, entry.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok())) {
            // SAFETY: attachments are never closed while the plane that made them, which is asking, lives.
            links.push(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
        }
    }
    Ok(links)
}
