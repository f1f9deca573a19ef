//! Un-bypassable mode: a cgroup whose processes can reach the gateway, the resolvers that are named, and nothing else.
//!
//! The programs of `acp-ebpf`'s `confine` are attached to the cgroup, all nine or none, and pinned: the confinement is the
//! kernel's, and holds whether or not a process of ours lives. What is refused goes through a ring to whoever reports it
//! ([`report`]).
//!
//! **Invariants.** A confinement is changed by attaching the new programs before the old ones go: in between both hold,
//! never neither. What was attached in part is taken back. Without a place to pin there is no confinement, and that is an
//! error: one that ended with its process would be no promise.

pub mod pins;
pub mod report;
pub mod strong;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use acp_ebpf::addr;
use acp_ebpf::confine::{ABI, ALLOWED_MAX, Meta, PATH_MAX, Peer, TCP, UDP, role};
use aya::maps::{Array, HashMap, MapData, MapError};
use aya::pin::PinError;
use aya::programs::links::{FdLink, LinkError};
use aya::programs::{
    CgroupAttachMode, CgroupSkb, CgroupSkbAttachType, CgroupSock, CgroupSockAddr, Program, ProgramError,
};
use aya::{Ebpf, EbpfError};

use self::pins::Pins;
use super::bpf::OBJECT;

/// The programs, each pinned as its link.
const PROGRAMS: [&str; 9] = [
    "acp_confine_sock",
    "acp_confine_bind4",
    "acp_confine_bind6",
    "acp_confine_connect4",
    "acp_confine_connect6",
    "acp_confine_send4",
    "acp_confine_send6",
    "acp_confine_out",
    "acp_confine_in",
];
const ALLOWED: &str = "CONFINE_ALLOWED";
const REFUSED: &str = "CONFINE_REFUSED";
const COUNTS: &str = "CONFINE_COUNTS";
const META: &str = "CONFINE_META";
/// The maps, each pinned under its name.
const MAPS: [&str; 4] = [ALLOWED, REFUSED, COUNTS, META];

/// What was wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfineError {
    /// A confinement that lets nothing through, or something that cannot be reached anyway.
    #[error("{0}")]
    Rules(String),
    /// The binary has no programs in it.
    #[error("this binary was built without the BPF object (cargo xtask build-ebpf, then build)")]
    NoObject,
    /// Not a cgroup that could be confined.
    #[error("{path} {what}")]
    Cgroup {
        /// The path.
        path: PathBuf,
        /// What is the matter with it.
        what: &'static str,
    },
    /// There is nothing to pin to.
    #[error("{0} is not on a BPF file system: mount -t bpf bpf /sys/fs/bpf, or name another with --pins")]
    NoBpffs(PathBuf),
    /// Its refusals are read already.
    #[error("another process reports on {0}")]
    Reported(PathBuf),
    /// Pins of another version of `acp`.
    #[error("{0} was pinned by another version: acp confine --remove, then confine again")]
    OtherVersion(PathBuf),
    /// The maps could not be made.
    #[error("cannot create the maps (as root, or with CAP_BPF and CAP_NET_ADMIN)")]
    Load(#[from] EbpfError),
    /// The object lacks a map or a program that this version expects.
    #[error("the BPF object has no {0}: it was built from other sources")]
    Missing(&'static str),
    /// A program was refused or could not be attached; nothing is confined by half.
    #[error("cannot load or attach {program}; the cgroup is as it was before")]
    Program {
        /// Its name.
        program: &'static str,
        /// Why not.
        #[source]
        source: ProgramError,
    },
    /// A link could not be pinned.
    #[error("cannot keep {program}; the cgroup is as it was before")]
    Link {
        /// Its name.
        program: &'static str,
        /// Why not.
        #[source]
        source: LinkError,
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
    /// Something could not be pinned.
    #[error("cannot pin {what}")]
    Pin {
        /// What.
        what: &'static str,
        /// Why not.
        #[source]
        source: PinError,
    },
    /// A system call failed.
    #[error("cannot {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// What a cgroup is held to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rules {
    /// The cgroup2 directory.
    pub cgroup: PathBuf,
    /// Where connections may go.
    pub gateways: Vec<SocketAddr>,
    /// Where names may be asked for, over UDP and TCP.
    pub resolvers: Vec<SocketAddr>,
}

impl Rules {
    /// The list that the programs look in.
    fn allowed(&self) -> Result<Vec<(Peer, u32)>, ConfineError> {
        if self.gateways.is_empty() {
            return Err(ConfineError::Rules("a confinement needs a gateway to let through (--gateway)".into()));
        }
        let mut allowed = Vec::new();
        let named = self.gateways.iter().map(|at| (at, role::GATEWAY, &[TCP][..]));
        let named = named.chain(self.resolvers.iter().map(|at| (at, role::RESOLVER, &[UDP, TCP][..])));
        for (at, role, protocols) in named {
            if at.ip().is_unspecified() || at.port() == 0 {
                return Err(ConfineError::Rules(format!("{at} is no address that one could connect to")));
            }
            let address = addr::address(at.ip());
            let peer = |protocol: &u8| (Peer { address, port: at.port(), protocol: u16::from(*protocol) }, role);
            allowed.extend(protocols.iter().map(peer));
        }
        if allowed.len() > ALLOWED_MAX as usize {
            return Err(ConfineError::Rules(format!("more than {ALLOWED_MAX} addresses (a resolver counts twice)")));
        }
        Ok(allowed)
    }
}

/// Confines the cgroup from now on, in place of what it was held to before. Returns the confinement's name among `pins`.
///
/// # Errors
/// The cgroup is then as it was before.
pub fn apply(rules: &Rules, pins: &Pins) -> Result<String, ConfineError> {
    let allowed = rules.allowed()?;
    let (cgroup, meta) = open_cgroup(&rules.cgroup)?;
    let mut ebpf = Ebpf::load(OBJECT.ok_or(ConfineError::NoObject)?)?;
    fill(&mut ebpf, &allowed, meta)?;
    let staged = pins.stage(meta.cgroup)?;
    for map in MAPS {
        let pinned = ebpf.map(map).ok_or(ConfineError::Missing(map))?.pin(staged.path().join(map));
        pinned.map_err(|source| ConfineError::Pin { what: map, source })?;
    }
    for program in PROGRAMS {
        let link = attach(&mut ebpf, program, &cgroup)?;
        let pinned = link.pin(staged.path().join(program));
        pinned.map_err(|source| ConfineError::Pin { what: program, source })?;
    }
    staged.keep()
}

/// The directory, open, and what is to be known of it.
fn open_cgroup(path: &Path) -> Result<(File, Meta), ConfineError> {
    let failed = |what| move |source| ConfineError::Io { what, path: path.to_path_buf(), source };
    let wrong = |what| ConfineError::Cgroup { path: path.to_path_buf(), what };
    let path = path.canonicalize().map_err(failed("find"))?;
    let directory = File::open(&path).map_err(failed("open"))?;
    if pins::file_system(&directory).map_err(failed("look at"))? != libc::CGROUP2_SUPER_MAGIC {
        return Err(wrong("is no cgroup2 directory"));
    }
    // Every cgroup but the root has a type.
    if !path.join("cgroup.type").exists() {
        return Err(wrong("is the root of all cgroups, the gateway's among them: confine one below it"));
    }
    let bytes = path.as_os_str().as_bytes();
    let mut kept = [0; PATH_MAX];
    kept.get_mut(..bytes.len()).ok_or_else(|| wrong("is too long a path"))?.copy_from_slice(bytes);
    let cgroup = directory.metadata().map_err(failed("look at"))?.ino();
    Ok((directory, Meta { abi: ABI, path_len: bytes.len() as u32, cgroup, lost_told: 0, path: kept }))
}

fn fill(ebpf: &mut Ebpf, allowed: &[(Peer, u32)], meta: Meta) -> Result<(), ConfineError> {
    let failed = |map| move |source| ConfineError::Map { map, source };
    let list = ebpf.map_mut(ALLOWED).ok_or(ConfineError::Missing(ALLOWED))?;
    let mut list: HashMap<&mut MapData, Peer, u32> = list.try_into().map_err(failed(ALLOWED))?;
    for (peer, role) in allowed {
        list.insert(peer, role, 0).map_err(failed(ALLOWED))?;
    }
    let about = ebpf.map_mut(META).ok_or(ConfineError::Missing(META))?;
    let mut about: Array<&mut MapData, Meta> = about.try_into().map_err(failed(META))?;
    about.set(0, meta, 0).map_err(failed(META))
}

/// Loads a program and attaches it; the link detaches when dropped.
fn attach(ebpf: &mut Ebpf, name: &'static str, cgroup: &File) -> Result<FdLink, ConfineError> {
    // Links of cgroup programs are multi by nature; the flag that says so is refused for them.
    const MODE: CgroupAttachMode = CgroupAttachMode::Single;
    let failed = |source| ConfineError::Program { program: name, source };
    let unlinked = |source| ConfineError::Link { program: name, source };
    let cgroup = cgroup.as_fd();
    match ebpf.program_mut(name).ok_or(ConfineError::Missing(name))? {
        Program::CgroupSock(program) => {
            program.load().map_err(failed)?;
            let id = program.attach(cgroup, MODE).map_err(failed)?;
            CgroupSock::take_link(program, id).map_err(failed)?.try_into().map_err(unlinked)
        }
        Program::CgroupSockAddr(program) => {
            program.load().map_err(failed)?;
            let id = program.attach(cgroup, MODE).map_err(failed)?;
            CgroupSockAddr::take_link(program, id).map_err(failed)?.try_into().map_err(unlinked)
        }
        Program::CgroupSkb(program) => {
            program.load().map_err(failed)?;
            let way = match name {
                "acp_confine_in" => CgroupSkbAttachType::Ingress,
                _ => CgroupSkbAttachType::Egress,
            };
            let id = program.attach(cgroup, way, MODE).map_err(failed)?;
            CgroupSkb::take_link(program, id).map_err(failed)?.try_into().map_err(unlinked)
        }
        _ => Err(ConfineError::Missing(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(gateways: &[&str], resolvers: &[&str]) -> Rules {
        let parse = |all: &[&str]| all.iter().map(|at| at.parse().expect("an address")).collect();
        Rules { cgroup: "/".into(), gateways: parse(gateways), resolvers: parse(resolvers) }
    }

    #[test]
    fn a_gateway_is_reached_by_tcp_and_a_resolver_by_both() {
        let allowed = rules(&["[::ffff:192.0.2.1]:8080"], &["[2001:db8::53]:53"]).allowed().expect("good rules");
        let [(gateway, role::GATEWAY), (by_udp, role::RESOLVER), (by_tcp, role::RESOLVER)] = allowed[..] else {
            panic!("{allowed:?}")
        };
        assert_eq!(addr::ip(gateway.address).to_string(), "192.0.2.1", "mapped or not, it is one address");
        assert_eq!((gateway.port, gateway.protocol), (8080, 6));
        assert_eq!((by_udp.port, by_udp.protocol, by_tcp.protocol), (53, 17, 6));
    }

    #[test]
    fn rules_that_confine_to_nothing_or_to_too_much_are_refused() {
        let many: Vec<String> = (1..=65).map(|port| format!("192.0.2.1:{port}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (rules, part) in [
            (rules(&[], &["192.0.2.53:53"]), "needs a gateway"),
            (rules(&["0.0.0.0:8080"], &[]), "0.0.0.0:8080"),
            (rules(&["[::]:8080"], &[]), "[::]:8080"),
            (rules(&["192.0.2.1:0"], &[]), "192.0.2.1:0"),
            (rules(&many, &[]), "more than 64"),
        ] {
            let error = rules.allowed().expect_err(part).to_string();
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }

    #[test]
    fn a_directory_that_is_no_cgroup_is_refused() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = open_cgroup(dir.path()).map(|_| ()).expect_err("no cgroup").to_string();
        assert!(error.contains("is no cgroup2 directory"), "{error}");
        assert!(open_cgroup(&dir.path().join("none")).is_err());
    }
}
