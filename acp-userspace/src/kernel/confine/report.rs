//! Refusals of confinements, read from their rings and told in sums.
//!
//! A process that tries in a loop is one line a second, not a million: refusals that differ only in their moment are
//! counted together. Bounded: what a second brings beyond [`GROUPS_MAX`] different ones is counted as *lost*, like what
//! found the ring full, and said. A ring has one reader at a time, which a lock sees to; what nobody read is told by the
//! next one.

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use acp_ebpf::addr;
use acp_ebpf::confine::{Meta, Peer, Refusal, TCP, UDP, count, hook};
use aya::maps::{Array, Map, MapData, MapError, PerCpuArray, RingBuf};

use super::pins::{self, Pins};
use super::{COUNTS, ConfineError, META, REFUSED};

/// Different refusals that are told of in one go.
pub const GROUPS_MAX: usize = 256;

/// Records read per look: more than the ring holds, so that a look empties it and yet ends.
const READ_MAX: usize = 8_192;

/// Refusals that differ only in their moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Group {
    first: Refusal,
    /// How many there were.
    pub count: u64,
}

/// What the last interval brought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// The refusals, in the order in which they first came.
    pub groups: Vec<Group>,
    /// Refusals of which nothing more is known.
    pub lost: u64,
}

impl Tally {
    /// Counts a refusal.
    pub fn add(&mut self, refusal: &Refusal) {
        let same = |group: &&mut Group| Refusal { at_ns: group.first.at_ns, ..*refusal } == group.first;
        if let Some(group) = self.groups.iter_mut().find(same) {
            group.count += 1;
        } else if self.groups.len() < GROUPS_MAX {
            self.groups.push(Group { first: *refusal, count: 1 });
        } else {
            self.lost += 1;
        }
    }

    /// Whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty() && self.lost == 0
    }
}

impl Group {
    /// Where it happened: `socket`, `bind`, `connect`, `send` or `packet`.
    #[must_use]
    pub fn step(&self) -> &'static str {
        match self.first.hook {
            hook::SOCKET => "socket",
            hook::BIND => "bind",
            hook::CONNECT => "connect",
            hook::SEND => "send",
            _ => "packet",
        }
    }

    /// The process and its name; a packet has none that could be known.
    #[must_use]
    pub fn process(&self) -> Option<(u32, String)> {
        let name = self.first.comm.split(|byte| *byte == 0).next().unwrap_or_default();
        let process = || (self.first.pid, String::from_utf8_lossy(name).into_owned());
        (self.first.hook != hook::PACKET).then(process)
    }

    /// Its user, or the one of the packet's socket.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.first.uid
    }

    /// Where to, and by which protocol; `None` for sockets, and for packets that cannot be read.
    #[must_use]
    pub fn destination(&self) -> Option<(SocketAddr, String)> {
        let peer = self.first.peer;
        let readable = self.first.hook != hook::SOCKET && peer.protocol != 0;
        readable.then(|| (SocketAddr::new(addr::ip(peer.address), peer.port), protocol(peer)))
    }

    /// The kind of socket that was refused.
    #[must_use]
    pub fn socket(&self) -> Option<String> {
        let Refusal { family, kind, peer, hook, .. } = self.first;
        let family = if i32::from(family) == libc::AF_INET6 { "inet6" } else { "inet" };
        (hook == hook::SOCKET).then(|| format!("{family} {} {}", kind_name(kind), protocol(peer)))
    }
}

fn kind_name(kind: u8) -> String {
    match i32::from(kind) {
        libc::SOCK_STREAM => "stream".into(),
        libc::SOCK_DGRAM => "dgram".into(),
        libc::SOCK_RAW => "raw".into(),
        other => other.to_string(),
    }
}

fn protocol(peer: Peer) -> String {
    match u8::try_from(peer.protocol) {
        Ok(TCP) => "tcp".into(),
        Ok(UDP) => "udp".into(),
        Ok(1) => "icmp".into(),
        Ok(58) => "icmpv6".into(),
        _ => peer.protocol.to_string(),
    }
}

/// A confinement's ring, open. It can be read to its end whatever becomes of the pins.
pub struct Reader {
    /// The confinement's name among the pins.
    pub name: String,
    /// The cgroup, for the reports.
    pub cgroup: PathBuf,
    /// The kernel's number for the ring: another one under the same name is another confinement.
    ring: u32,
    refusals: RingBuf<MapData>,
    counts: PerCpuArray<MapData, u64>,
    meta: Array<MapData, Meta>,
    /// Held as long as this lives.
    _lock: File,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("name", &self.name).field("cgroup", &self.cgroup).finish_non_exhaustive()
    }
}

impl Reader {
    /// Opens a pinned confinement's.
    ///
    /// # Errors
    /// It is of another version, or gone, or somebody reads it already.
    pub fn open(pins: &Pins, name: &str) -> Result<Self, ConfineError> {
        let cgroup = pins.look(name)?.rules.cgroup;
        let path = pins.path(name);
        let other = |_: MapError| ConfineError::OtherVersion(path.clone());
        let data = pins::open(&path, REFUSED)?;
        let ring = id(&data)?;
        let refusals = Map::RingBuf(data).try_into().map_err(other)?;
        let counts = Map::PerCpuArray(pins::open(&path, COUNTS)?).try_into().map_err(other)?;
        let meta = Map::Array(pins::open(&path, META)?).try_into().map_err(other)?;
        Ok(Self { name: name.to_owned(), cgroup, ring, refusals, counts, meta, _lock: lock(&path)? })
    }

    /// Whether what is pinned under the name is still this.
    #[must_use]
    pub fn is_current(&self, pins: &Pins) -> bool {
        pins::open(&pins.path(&self.name), REFUSED).and_then(|data| id(&data)).is_ok_and(|ring| ring == self.ring)
    }

    /// Adds what came since the last look.
    pub fn read(&mut self, tally: &mut Tally) {
        for _ in 0..READ_MAX {
            let Some(record) = self.refusals.next() else { break };
            match Refusal::from_bytes(&record) {
                Some(refusal) => tally.add(&refusal),
                None => tally.lost += 1,
            }
        }
        let lost = pins::sums(&self.counts)[count::LOST as usize];
        if let Ok(mut meta) = self.meta.get(&0, 0)
            && meta.lost_told < lost
        {
            tally.lost += lost - meta.lost_told;
            meta.lost_told = lost;
            if let Err(error) = self.meta.set(0, meta, 0) {
                tracing::warn!(%error, "losses will be told of again");
            }
        }
    }
}

/// Nobody else reads it as long as the file lives.
fn lock(path: &Path) -> Result<File, ConfineError> {
    let failed = |source| ConfineError::Io { what: "lock", path: path.to_path_buf(), source };
    let directory = File::open(path).map_err(failed)?;
    match directory.try_lock() {
        Ok(()) => Ok(directory),
        Err(TryLockError::WouldBlock) => Err(ConfineError::Reported(path.to_path_buf())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

fn id(data: &MapData) -> Result<u32, ConfineError> {
    data.info().map(|info| info.id()).map_err(|source| ConfineError::Map { map: REFUSED, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(at_ns: u64, pid: u32) -> Refusal {
        let peer = Peer { address: addr::v4_mapped([192, 0, 2, 1]), port: 443, protocol: 6 };
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"curl");
        Refusal { at_ns, pid, uid: 1000, comm, peer, hook: hook::CONNECT, family: 0, kind: 0, pad: 0 }
    }

    #[test]
    fn a_loop_of_refusals_is_one_group_and_another_process_another() {
        let mut tally = Tally::default();
        (0..1_000).for_each(|at_ns| tally.add(&refusal(at_ns, 7)));
        tally.add(&refusal(5, 8));
        assert_eq!(tally.groups.iter().map(|group| group.count).collect::<Vec<_>>(), [1_000, 1]);
        assert_eq!(tally.lost, 0);
        let group = &tally.groups[0];
        assert_eq!((group.step(), group.process(), group.uid()), ("connect", Some((7, "curl".to_owned())), 1000));
        assert_eq!(group.destination(), Some(("192.0.2.1:443".parse().expect("an address"), "tcp".to_owned())));
        assert_eq!(group.socket(), None);
    }

    #[test]
    fn more_kinds_of_refusals_than_can_be_told_are_counted_as_lost() {
        let mut tally = Tally::default();
        (0..GROUPS_MAX as u32 + 5).for_each(|pid| tally.add(&refusal(0, pid)));
        tally.add(&refusal(9, 0));
        assert_eq!((tally.groups.len(), tally.groups[0].count, tally.lost), (GROUPS_MAX, 2, 5));
    }

    #[test]
    fn a_refused_socket_says_what_it_would_have_been_and_a_packet_names_no_process() {
        let raw = Refusal {
            peer: Peer { address: [0; 16], port: 0, protocol: 58 },
            hook: hook::SOCKET,
            family: libc::AF_INET6 as u8,
            kind: libc::SOCK_RAW as u8,
            ..refusal(0, 7)
        };
        let raw = Group { first: raw, count: 1 };
        assert_eq!((raw.socket().as_deref(), raw.destination()), (Some("inet6 raw icmpv6"), None));
        let packet = Group { first: Refusal { hook: hook::PACKET, ..refusal(0, 0) }, count: 1 };
        assert_eq!((packet.process(), packet.destination().is_some()), (None, true));
        let unreadable = Peer { address: [0; 16], port: 0, protocol: 0 };
        let packet = Group { first: Refusal { peer: unreadable, ..packet.first }, count: 1 };
        assert_eq!(packet.destination(), None);
    }
}
