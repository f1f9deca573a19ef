//! `acp_drop` as native XDP, between two namespaces: what it drops of IPv4, IPv6, VLANs and fragments, and what it does
//! where it is not alone.

use std::ffi::CString;
use std::net::SocketAddr;

use super::*;
use crate::netns::Netns;

const NOW_ON: u64 = 60 * S;

/// The gateway's host and the clients', wired by `g0` and `c0`.
struct Wire {
    gateway: Netns,
    clients: Netns,
}

impl Wire {
    fn new() -> Option<Self> {
        let Some((gateway, clients)) = Netns::new("xg").zip(Netns::new("xc")) else {
            assert!(std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1"), "namespaces are required");
            say("everywhere: network namespaces need root and ip(8)");
            return None;
        };
        let (here, there) = (["10.78.1.1/24", "fd78:1::1/64", "fd78:2::1/64"], ["10.78.1.2/24", "10.78.1.3/24"]);
        gateway.wire(("g0", &here), &clients, ("c0", &there));
        for address in ["fd78:1::2/64", "fd78:2::2/64"] {
            clients.ip(&format!("address add {address} dev c0 nodad"));
        }
        Some(Self { gateway, clients })
    }

    /// Connects from `source`, which is in the clients' namespace.
    fn connect(&self, source: &str, to: SocketAddr) -> io::Result<()> {
        let source = SocketAddr::new(source.parse().expect("a test address"), 0);
        self.in_clients(move || {
            let socket = Socket::new(Domain::for_address(source), Type::STREAM, None)?;
            socket.bind(&source.into())?;
            socket.connect_timeout(&to.into(), MOMENT)
        })
    }

    /// Puts a frame on the wire as it is, addressed to the gateway's end.
    fn send(&self, frame: &[u8]) {
        self.in_clients(|| {
            let socket = Socket::new(Domain::PACKET, Type::RAW, None).expect("a packet socket");
            let name = CString::new("c0").expect("no NUL");
            // SAFETY: all zeroes is a valid address of that family; the name is a C string.
            let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
            address.sll_family = libc::AF_PACKET as u16;
            // SAFETY: as above.
            address.sll_ifindex = unsafe { libc::if_nametoindex(name.as_ptr()) } as i32;
            // SAFETY: the frame and the address outlive the call, and their lengths are theirs.
            let sent = unsafe {
                let to = (&raw const address).cast();
                let length = size_of_val(&address) as libc::socklen_t;
                libc::sendto(socket.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, to, length)
            };
            assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
        });
    }

    fn in_clients<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.clients.enter();
                act()
            });
            inside.join().expect("the thread ends well")
        })
    }
}

/// Runs `test` in the gateway's namespace, on K3 there.
fn on_the_wire(test: fn(&Wire, &mut World, u16)) {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(wire) = Wire::new() else { return };
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            wire.gateway.enter();
            match World::open_on(Tier::K3, "::", 1, "g0") {
                Ok(mut world) => {
                    let port = world.listeners[0].local_addr().expect("an address").port();
                    test(&wire, &mut world, port);
                }
                Err(reached) => skip(Tier::K3, &reached),
            }
        });
        if let Err(panic) = inside.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn silence(world: &mut World, source: &str) {
    let now = mono_ns();
    world.hold(source, Penalty::new(now, now + NOW_ON).with_mode(mode::SILENT));
}

#[test]
fn native_xdp_drops_a_silenced_source_of_either_family_and_nobody_else() {
    on_the_wire(|wire, world, port| {
        for (silenced, other, gateway) in
            [("10.78.1.2", "10.78.1.3", "10.78.1.1"), ("fd78:1::2", "fd78:2::2", "fd78:1::1")]
        {
            let to = SocketAddr::new(gateway.parse().expect("a test address"), port);
            wire.connect(silenced, to).expect("not yet");
            let before = world.plane.stats();
            silence(world, silenced);
            let error = wire.connect(silenced, to).expect_err("nobody answers");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{silenced}");
            let after = world.plane.stats();
            assert!(after.dropped > before.dropped && after.refused == before.refused, "{silenced}: {after:?}");
            wire.connect(other, to).expect("somebody else");
            world.plane.pardon(silenced.parse().expect("an address"));
            wire.connect(silenced, to).expect("pardoned");
        }
    });
}

/// A frame with a SYN to `port`; the checksums are nobody's concern before the stack.
fn frame(kind: &str, port: u16) -> Vec<u8> {
    let mut tcp = vec![0; 20];
    tcp[2..4].copy_from_slice(&port.to_be_bytes());
    (tcp[12], tcp[13]) = (0x50, 0x02);
    let v4 = |fragment: u16| {
        let mut packet = vec![0; 20];
        (packet[0], packet[3], packet[8], packet[9]) = (0x45, 40, 64, 6);
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet[12..20].copy_from_slice(&[10, 78, 1, 2, 10, 78, 1, 1]);
        packet
    };
    let options = || {
        let mut packet = v4(0x4000);
        (packet[0], packet[3]) = (0x46, 44);
        packet.extend([1; 4]);
        packet
    };
    let v6 = |next: u8, extension: &[u8]| {
        let mut packet = vec![0; 40];
        (packet[0], packet[5], packet[6], packet[7]) = (0x60, 20 + extension.len() as u8, next, 64);
        let address = |last: u8| [0xfd, 0x78, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last];
        packet[8..24].copy_from_slice(&address(2));
        packet[24..40].copy_from_slice(&address(1));
        packet.extend(extension);
        packet
    };
    let fragment = |offset: u8| v6(44, &[6, 0, 0, offset, 0, 0, 0, 1]);
    let mut frame = vec![0xff; 12];
    let (ethertype, packet): (&[u8], Vec<u8>) = match kind {
        "plain" => (&[0x08, 0x00], v4(0x4000)),
        "options" => (&[0x08, 0x00], options()),
        "one tag" => (&[0x81, 0x00, 0, 7, 0x08, 0x00], v4(0)),
        "three tags" => (&[0x81, 0x00, 0, 7, 0x81, 0x00, 0, 8, 0x81, 0x00, 0, 9, 0x08, 0x00], v4(0)),
        "plain, IPv6" => (&[0x86, 0xdd], v6(6, &[])),
        "one tag, IPv6" => (&[0x81, 0x00, 0, 7, 0x86, 0xdd], v6(6, &[])),
        "extension header, IPv6" => (&[0x86, 0xdd], v6(60, &[6, 0, 1, 4, 0, 0, 0, 0])),
        "two tags" => (&[0x88, 0xa8, 0, 7, 0x81, 0x00, 0, 8, 0x08, 0x00], v4(0)),
        "first fragment" => (&[0x08, 0x00], v4(0x2000)),
        "later fragment" => (&[0x08, 0x00], v4(0x0008)),
        "first fragment, IPv6" => (&[0x86, 0xdd], fragment(1)),
        "later fragment, IPv6" => (&[0x86, 0xdd], fragment(8)),
        other => panic!("no frame {other:?}"),
    };
    frame.extend(ethertype);
    frame.extend(packet);
    frame.extend(tcp);
    frame
}

#[test]
fn native_xdp_finds_the_syn_in_tagged_and_fragmented_frames() {
    on_the_wire(|wire, world, port| {
        silence(world, "10.78.1.2");
        silence(world, "fd78:1::2");
        for (kind, dropped) in [
            ("plain", true),
            ("options", true),
            ("one tag", true),
            ("three tags", false),
            ("plain, IPv6", true),
            ("one tag, IPv6", true),
            ("extension header, IPv6", true),
            ("two tags", true),
            ("first fragment", true),
            ("later fragment", false),
            ("first fragment, IPv6", true),
            ("later fragment, IPv6", false),
        ] {
            let before = world.plane.stats().dropped;
            wire.send(&frame(kind, port));
            // A frame that is not ours to drop, behind it on the same wire, says that the first one was seen.
            wire.send(&frame("plain", port));
            wait_for(|| (world.plane.stats().dropped > before + u64::from(dropped)).then_some(()));
            assert_eq!(world.plane.stats().dropped - before, 1 + u64::from(dropped), "{kind}");
            wire.send(&frame(kind, port ^ 1));
        }
    });
}

#[test]
fn anothers_xdp_program_is_named_and_left_alone_and_tcx_drops_behind_it() {
    on_the_wire(|wire, first, _| {
        let mut second = match World::open_on(Tier::K3, "::", 1, "g0") {
            Ok(world) => world,
            Err(reached) => return skip(Tier::K3, &reached),
        };
        let port = second.listeners[0].local_addr().expect("an address").port();
        let to = SocketAddr::new("10.78.1.1".parse().expect("an address"), port);
        silence(&mut second, "10.78.1.2");
        assert_eq!(wire.connect("10.78.1.2", to).expect_err("dropped").kind(), io::ErrorKind::TimedOut);
        assert!(second.plane.stats().dropped > 0, "behind the other's program");
        let port = first.listeners[0].local_addr().expect("an address").port();
        silence(first, "10.78.1.2");
        let to = SocketAddr::new(to.ip(), port);
        assert_eq!(wire.connect("10.78.1.2", to).expect_err("dropped").kind(), io::ErrorKind::TimedOut);
        assert!(first.plane.stats().dropped > 0, "which goes on");
    });
}

/// The interface is taken away under the gateway: what was dropped there has nowhere to come from, and everything else
/// goes on.
#[test]
fn an_interface_that_goes_away_takes_nothing_else_with_it() {
    on_the_wire(|wire, world, _| {
        silence(world, "10.78.1.2");
        wire.gateway.ip("link delete g0");
        silence(world, "::2");
        world.plane.drain(&mut |_| {});
        world.check("::1", false);
        world.plane.pardon("::2".parse().expect("an address"));
        world.check("::1", true);
    });
}

/// A program is on the interface, whatever that is called.
#[test]
fn an_interface_that_is_renamed_drops_on() {
    on_the_wire(|wire, world, port| {
        let to = SocketAddr::new("10.78.1.1".parse().expect("an address"), port);
        silence(world, "10.78.1.2");
        assert_eq!(wire.connect("10.78.1.2", to).expect_err("silence").kind(), io::ErrorKind::TimedOut);
        wire.gateway.ip("link set g0 down");
        wire.gateway.ip("link set g0 name renamed0");
        wire.gateway.ip("link set renamed0 up");
        let dropped = world.plane.stats().dropped;
        assert_eq!(wire.connect("10.78.1.2", to).expect_err("silence").kind(), io::ErrorKind::TimedOut);
        assert!(world.plane.stats().dropped > dropped);
        wait_for(|| wire.connect("10.78.1.3", to).ok());
    });
}

#[test]
fn an_interface_that_is_not_there_is_one_line_and_one_tier_less() {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let Err(reached) = World::open_on(Tier::K3, "127.0.0.1", 1, "acp-none0") else { panic!("there is none") };
    if reached.tier < Tier::K2 {
        return skip(Tier::K3, &reached);
    }
    assert_eq!(reached.why, ["no drop on acp-none0: there is no such interface"]);
}
