//! The egress guard: the process' own TCP connections go where was listed, until a deadline, and nowhere else.

use std::net::UdpSocket;

use acp::kernel::confine::report::Tally;
use acp_ebpf::egress::ALLOWED_MAX;

use super::*;

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

#[track_caller]
fn check(to: SocketAddr, passes: bool) {
    let outcome = TcpStream::connect_timeout(&to, PATIENCE).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(outcome, if passes { Ok(()) } else { Err(io::ErrorKind::PermissionDenied) }, "to {to}");
}

/// The same port at another address of the host.
fn at(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("a test address"), port)
}

#[test]
fn threat_a20_the_gateways_own_connections_go_where_was_listed_and_nowhere_else() {
    on_tiers(&[Tier::K2, Tier::K3], "127.0.0.1", 1, |world| {
        let egress = world.plane.egress().expect("K2 has the guard");
        let ((_upstream, upstream), (_other, other)) = (listener(), listener());
        check(other, true);
        egress.hold([upstream]);
        egress.enforce().expect("enforced");
        check(upstream, true);
        check(at("::ffff:127.0.0.1", upstream.port()), true);
        check(other, false);
        check(at("::ffff:127.0.0.1", other.port()), false);
        check(at("127.0.0.2", upstream.port()), false);
        check(at("::1", upstream.port()), false);
        // Datagrams are how names are asked for; who connects to us is not our connection.
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
        datagrams.send_to(b"x", other).expect("datagrams pass");

        let mut tally = Tally::default();
        egress.read(&mut tally);
        let told = tally.groups.iter().filter_map(|group| group.destination());
        let told: Vec<String> = told.map(|(to, protocol)| format!("{to} {protocol}")).collect();
        let [other_4, near, v6] =
            [other.to_string(), format!("127.0.0.2:{}", upstream.port()), format!("[::1]:{}", upstream.port())];
        assert_eq!(told, [format!("{other_4} tcp"), format!("{near} tcp"), format!("{v6} tcp")]);
        assert_eq!((tally.groups[0].count, tally.lost, egress.refused()), (2, 0, 4));
    });
}

#[test]
fn an_address_that_was_allowed_for_a_while_is_refused_after_it() {
    on_tiers(&[Tier::K2], "127.0.0.1", 1, |world| {
        let egress = world.plane.egress().expect("K2 has the guard");
        let ((_upstream, upstream), (waiting, issuer)) = (listener(), listener());
        egress.hold([upstream]);
        egress.allow_for(issuer, Duration::from_millis(400));
        // What is held for good is not cut short by being allowed for a while.
        egress.allow_for(upstream, Duration::from_millis(1));
        egress.enforce().expect("enforced");
        check(issuer, true);
        let start = Instant::now();
        // Accepted, that the queue does not fill up.
        let refused = || TcpStream::connect(issuer).map(|_| drop(waiting.accept())).is_err();
        wait_for(|| refused().then_some(()));
        assert!(start.elapsed() > Duration::from_millis(100), "not at once");
        check(upstream, true);
        // No longer an upstream's: requests under way may still go there for a minute.
        egress.hold([]);
        check(upstream, true);
        egress.hold([issuer]);
        check(issuer, true);
    });
}

#[test]
fn a_list_that_is_full_refuses_what_does_not_fit_and_nothing_else() {
    on_tiers(&[Tier::K2], "127.0.0.1", 1, |world| {
        let egress = world.plane.egress().expect("K2 has the guard");
        let ((_upstream, upstream), (_late, late)) = (listener(), listener());
        egress.hold([upstream]);
        egress.enforce().expect("enforced");
        for n in 1..ALLOWED_MAX {
            let [_, b, c, d] = n.to_be_bytes();
            egress.allow_for(SocketAddr::new(Ipv4Addr::new(10, b, c, d).into(), 443), PATIENCE);
        }
        egress.allow_for(late, PATIENCE);
        check(late, false);
        check(upstream, true);
    });
}
