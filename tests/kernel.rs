//! The kernel plane, live: real sockets on loopback, on every tier the host allows.
//!
//! Each behaviour is one function that runs on K0 (no BPF), K1 (`acp_steer`), K2 (`acp_ledger` too) and K3 (`acp_drop`
//! on loopback too) alike, and again in processes that were only given the capabilities of one of them
//! (`kernel/tiers.rs`); what is native XDP's own is in `kernel/veth.rs`. Where BPF cannot be used the upper tiers are
//! skipped with a line that says so, or fail if `ACP_REQUIRE_BPF=1`.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use acp::clock::mono_ns;
use acp::config::resolved::{KernelConfig, KernelMode};
use acp::ids::TenantId;
use acp::kernel::{
    Admission, ConnClosed, KernelError, KernelPlane, OBJECT, Penalty, Reached, SLOTS_MAX, TenantSlot, Tier,
    WorkerPlane, drop_privileges, enter_cgroup, ledger, open, open_object, socket,
};
use acp_ebpf::ledger::OPENINGS;
use acp_ebpf::penalty::{CLOSED_NS, CYCLE_NS, TRICKLE_MAX, mode};
use socket2::{Domain, Socket, Type};

#[path = "e2e/capabilities.rs"]
mod capabilities;
#[path = "kernel/egress.rs"]
mod egress;
#[path = "kernel/live.rs"]
mod live;
#[path = "kernel/log.rs"]
mod log;
#[path = "e2e/netns.rs"]
mod netns;
#[path = "kernel/quarantine.rs"]
mod quarantine;
#[path = "kernel/refused.rs"]
mod refused;
#[path = "kernel/tiers.rs"]
mod tiers;
#[path = "kernel/veth.rs"]
mod veth;
#[path = "e2e/wait.rs"]
mod wait;

const S: u64 = 1_000_000_000;
const PATIENCE: Duration = Duration::from_secs(10);
/// After which a connection attempt on one machine was not answered.
const MOMENT: Duration = Duration::from_millis(300);
const OFFENDER: &str = "127.0.0.2";
const BYSTANDER: &str = "127.0.0.3";

/// A gateway reduced to its kernel plane: listeners, workers' halves, control's half.
struct World {
    tier: Tier,
    plane: Box<dyn KernelPlane>,
    workers: Vec<WorkerPlane>,
    listeners: Vec<TcpListener>,
}

/// One connection, both ends.
struct Connection {
    client: TcpStream,
    server: TcpStream,
    worker: usize,
}

fn config(mode: KernelMode) -> KernelConfig {
    KernelConfig { mode, loopback: true, ..KernelConfig::default() }
}

/// Listeners of one group; the port is the system's choice.
fn listeners(address: &str, count: usize) -> Vec<TcpListener> {
    let mut address = SocketAddr::new(address.parse().expect("a test address"), 0);
    let mut listeners = Vec::new();
    for _ in 0..count {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_reuse_port(true).expect("SO_REUSEPORT");
        socket.set_nonblocking(true).expect("non-blocking");
        socket.bind(&address.into()).expect("a free port");
        socket.listen(128).expect("listen");
        address = socket.local_addr().ok().and_then(|local| local.as_socket()).expect("an address");
        listeners.push(socket.into());
    }
    listeners
}

impl World {
    /// Opens the tier, or says what kept it from that.
    fn open(tier: Tier, address: &str, workers: usize) -> Result<Self, Reached> {
        Self::open_on(tier, address, workers, "lo")
    }

    /// With K3 on another interface.
    fn open_on(tier: Tier, address: &str, workers: usize, interface: &str) -> Result<Self, Reached> {
        // Where the process was given what the tier needs and nothing more, nothing is held back.
        let given = tiers::given().is_some();
        let mut config = config(if tier == Tier::K0 && !given { KernelMode::Off } else { KernelMode::Auto });
        if tier == Tier::K3 {
            config.interfaces.push(interface.into());
        }
        let node = if given || tier >= Tier::K2 { enter_cgroup(&config) } else { None };
        let listeners = listeners(address, workers);
        let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
        let (plane, reached) = open(&config, node, &fds).expect("nothing is required");
        if reached.tier != tier {
            return Err(reached);
        }
        let workers = (0..workers).map(|i| plane.worker(i as u32).expect("a worker's half")).collect();
        Ok(Self { tier, plane, workers, listeners })
    }

    fn connect(&self, source: &str) -> io::Result<TcpStream> {
        self.connect_within(source, PATIENCE)
    }

    fn connect_within(&self, source: &str, patience: Duration) -> io::Result<TcpStream> {
        let server = self.listeners[0].local_addr()?;
        let source = SocketAddr::new(source.parse().expect("a test address"), 0);
        let to = if source.is_ipv4() { SocketAddr::new(Ipv4Addr::LOCALHOST.into(), server.port()) } else { server };
        let socket = Socket::new(Domain::for_address(source), Type::STREAM, None)?;
        socket.bind(&source.into())?;
        socket.connect_timeout(&to.into(), patience)?;
        Ok(socket.into())
    }

    /// Connects from `source` and accepts it; `None` if it was refused, by kernel or worker.
    fn attempt(&mut self, source: &str) -> Option<Connection> {
        let mut client = match self.connect(source) {
            Ok(client) => client,
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                assert_ne!(self.tier, Tier::K0, "only a program refuses before accept");
                return None;
            }
            Err(error) => panic!("connect from {source}: {error}"),
        };
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (worker, server, peer) = self.accept();
        match self.workers[worker].admit(server.as_raw_fd(), peer, mono_ns()) {
            Admission::Accept => Some(Connection { client, server, worker }),
            Admission::Refuse => {
                socket::reset_on_close(server.as_raw_fd()).expect("a socket");
                drop(server);
                let error = client.read(&mut [0]).expect_err("a reset, not an end of stream");
                assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
                None
            }
        }
    }

    #[track_caller]
    fn check(&mut self, source: &str, served: bool) {
        let tier = self.tier;
        assert_eq!(self.attempt(source).is_some(), served, "{source} at {tier}");
    }

    fn accept(&self) -> (usize, TcpStream, SocketAddr) {
        wait_for(|| {
            self.listeners.iter().enumerate().find_map(|(worker, listener)| {
                let (server, peer) = listener.accept().ok()?;
                server.set_nonblocking(false).expect("blocking");
                Some((worker, server, peer))
            })
        })
    }

    /// Refuses from the one instant to the other, without open windows: what is refused is, on the slowest machine.
    fn penalise(&mut self, source: &str, since_ns: u64, until_ns: u64) {
        self.hold(source, Penalty::new(since_ns, until_ns).with_open_max(0));
    }

    /// What `attempt` makes of the penalty, held at such a time that all of it is in an open window.
    fn in_an_open_window<T>(&mut self, penalty: Penalty, mut attempt: impl FnMut(&mut Self) -> T) -> T {
        wait_for(|| {
            // The kernel's clock is of the last tick.
            let since_ns = mono_ns() - CLOSED_NS - S / 50;
            self.hold(OFFENDER, Penalty { since_ns, until_ns: since_ns + 60 * S, ..penalty });
            let made = attempt(self);
            (mono_ns() < since_ns + CYCLE_NS).then_some(made)
        })
    }

    fn hold(&mut self, source: &str, penalty: Penalty) {
        self.plane.penalise(source.parse().expect("a test address"), penalty).expect("a penalty");
    }

    fn bind(&mut self, connection: &Connection, tenant: &str) -> TenantSlot {
        let tenant = TenantId { issuer: "test".into(), tenant: tenant.into() };
        let worker = &mut self.workers[connection.worker];
        let slot = worker.slot(&tenant);
        worker.bind(connection.server.as_raw_fd(), slot, mono_ns()).expect("bound");
        assert_eq!(self.plane.tenants().tenant(slot), Some(tenant));
        slot
    }

    /// Closes the server's end and waits for the connection's record. `eof` = the client's end of stream was read.
    fn close(&mut self, connection: Connection, eof: bool) -> ConnClosed {
        self.close_audited(connection, eof, 0)
    }

    /// The same for a connection of which the audit log has so many bytes.
    fn close_audited(&mut self, connection: Connection, eof: bool, audited_in: u64) -> ConnClosed {
        let fd = connection.server.as_raw_fd();
        let cookie = socket::cookie(fd).expect("a socket");
        let own = self.workers[connection.worker].closed(fd, eof, audited_in, mono_ns());
        assert_eq!(own.is_none(), self.tier >= Tier::K2, "who keeps the ledger");
        let Connection { client, server, .. } = connection;
        drop(server);
        drop(client);
        let record = own.unwrap_or_else(|| self.kernel_record(cookie));
        assert_eq!(record.cookie, cookie);
        record
    }

    fn kernel_record(&mut self, cookie: u64) -> ConnClosed {
        wait_for(|| {
            let mut found = None;
            self.plane.drain(&mut |record| found = found.or(Some(*record).filter(|record| record.cookie == cookie)));
            found
        })
    }
}

/// What `poll` finds, asked again until it finds it.
#[track_caller]
fn wait_for<T>(poll: impl FnMut() -> Option<T>) -> T {
    wait::within(PATIENCE, poll).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain"))
}

/// Entering and leaving a cgroup node moves the whole process: one world at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn on_tiers(tiers: &[Tier], address: &str, workers: usize, test: fn(&mut World)) {
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let given = tiers::given();
    for &tier in tiers.iter().filter(|&&tier| given.is_none_or(|given| given == tier)) {
        match World::open(tier, address, workers) {
            Ok(mut world) => test(&mut world),
            Err(reached) => skip(tier, &reached),
        }
    }
}

fn on_every_tier(test: fn(&mut World)) {
    on_tiers(&[Tier::K0, Tier::K1, Tier::K2, Tier::K3], "127.0.0.1", 2, test);
}

/// Fails under `ACP_REQUIRE_BPF=1`, else says what is not being tested.
fn skip(tier: Tier, reached: &Reached) {
    let why = reached.why.join("; ");
    assert!(std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1"), "{tier} is required: {why}");
    say(&format!("at {tier}: the host reaches {}: {why}", reached.tier));
}

/// One write, past the harness' capture.
fn say(skipped: &str) {
    let test = std::thread::current().name().unwrap_or_default().to_owned();
    let _ = io::stderr().write_all(format!("\nSKIPPED {test} {skipped}\n").as_bytes());
}

#[test]
fn refuses_a_penalised_source_and_nobody_else() {
    on_every_tier(|world| {
        world.check(OFFENDER, true);
        let now = mono_ns();
        world.penalise(OFFENDER, now, now + 60 * S);
        for _ in 0..10 {
            world.check(OFFENDER, false);
            world.check(BYSTANDER, true);
        }
        let stats = world.plane.stats();
        let (kernel, user) = if world.tier == Tier::K0 { (0, 10) } else { (10, 0) };
        assert_eq!((stats.refused, stats.reset), (kernel, user));
        let [(source, penalty)] = world.plane.penalties(now)[..] else { panic!("one penalty") };
        assert_eq!((source.to_string().as_str(), penalty.until_ns), (OFFENDER, now + 60 * S));
    });
}

#[test]
fn the_kernel_refuses_before_accept() {
    on_tiers(&[Tier::K1, Tier::K2, Tier::K3], "127.0.0.1", 1, |world| {
        let now = mono_ns();
        world.penalise(OFFENDER, now, now + 60 * S);
        let error = world.connect(OFFENDER).expect_err("refused");
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(world.listeners[0].accept().is_err(), "nothing to accept");
    });
}

/// So many that some dozens of them want the same slots of the kernel's table.
#[test]
fn of_a_thousand_penalised_sources_each_is_refused_before_accept_and_their_neighbours_are_not() {
    on_tiers(&[Tier::K1, Tier::K2], "127.0.0.1", 1, |world| {
        let now = mono_ns();
        let source = |n: u32| std::net::Ipv4Addr::from(0x7f01_0000 + n).to_string();
        for n in 0..1_000 {
            world.penalise(&source(2 * n), now, now + 60 * S);
        }
        for n in 0..1_000 {
            let error = world.connect(&source(2 * n)).expect_err("refused");
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        }
        (0..20).for_each(|n| world.check(&source(2 * n + 1), true));
        (0..500).for_each(|n| assert!(world.plane.pardon(source(2 * n).parse().expect("an address"))));
        (500..1_000).for_each(|n| drop(world.connect(&source(2 * n)).expect_err("still refused")));
        (0..20).for_each(|n| world.check(&source(2 * n), true));
        let stats = world.plane.stats();
        assert_eq!((stats.refused, stats.unplaced), (1_500, 0));
    });
}

#[test]
fn a_penalty_ends_by_itself() {
    on_every_tier(|world| {
        let now = mono_ns();
        world.penalise(OFFENDER, now, now + S / 2);
        world.check(OFFENDER, false);
        wait_for(|| world.attempt(OFFENDER));
        assert!(mono_ns() >= now + S / 2);
    });
}

#[test]
fn a_pardon_works_at_once() {
    on_every_tier(|world| {
        let (now, source) = (mono_ns(), OFFENDER.parse().expect("a test address"));
        world.penalise(OFFENDER, now, now + 60 * S);
        world.check(OFFENDER, false);
        assert!(world.plane.pardon(source));
        assert!(!world.plane.pardon(source));
        world.check(OFFENDER, true);
    });
}

#[test]
fn an_open_window_lets_through_eight_and_no_more() {
    on_every_tier(|world| {
        let (served, trickled, refused) =
            world.in_an_open_window(Penalty::new(0, 0).with_open_max(TRICKLE_MAX), |world| {
                let before = world.plane.stats();
                let served = (0..30).filter(|_| world.attempt(OFFENDER).is_some()).count();
                let after = world.plane.stats();
                (served, after.trickled - before.trickled, after.refused - before.refused)
            });
        assert_eq!((served, trickled), (8, 8), "at {}", world.tier);
        if world.tier >= Tier::K2 {
            assert_eq!(refused, 22, "the kernel counted too, and closed the gate");
        }
    });
}

#[test]
fn an_open_window_that_is_open_to_all_is_not_used_up() {
    on_every_tier(|world| {
        let served = world.in_an_open_window(Penalty::new(0, 0), |world| {
            (0..30).filter(|_| world.attempt(OFFENDER).is_some()).count()
        });
        assert_eq!(served, 30, "at {}", world.tier);
    });
}

/// Whoever broke no limit is not refused because the worker had much to do when it came.
#[test]
fn an_open_window_lets_through_whoever_is_accepted_late() {
    on_every_tier(|world| {
        let let_through = world.in_an_open_window(Penalty::new(0, 0), |world| {
            let client = world.connect(OFFENDER).ok()?;
            let (worker, server, peer) = world.accept();
            Some((client, server, peer, worker))
        });
        let (_client, server, peer, worker) = let_through.expect("the window is open");
        let since = world.plane.penalties(mono_ns())[0].1.since_ns;
        let mut admit = |after_ns| world.workers[worker].admit(server.as_raw_fd(), peer, since + CYCLE_NS + after_ns);
        let late = if world.tier == Tier::K0 { Admission::Refuse } else { Admission::Accept };
        assert_eq!(admit(S / 2), late, "at {}", world.tier);
        assert_eq!(admit(S), Admission::Refuse, "nobody waits for so long: at {}", world.tier);
    });
}

#[test]
fn need_b01_an_observed_penalty_refuses_nobody_and_counts_whom_it_would() {
    on_every_tier(|world| {
        let now = mono_ns();
        world.penalise(OFFENDER, now, now + 60 * S);
        world.check(OFFENDER, false);
        world.hold(OFFENDER, Penalty::new(now, now + 60 * S).with_mode(mode::OBSERVE));
        (0..5).for_each(|_| world.check(OFFENDER, true));
        world.check(BYSTANDER, true);
        assert_eq!(world.plane.stats().observed, 5, "at {}", world.tier);
    });
}

#[test]
fn a_silent_penalty_is_not_answered_where_frames_are_seen_and_refused_where_they_are_not() {
    on_every_tier(|world| {
        let now = mono_ns();
        world.hold(OFFENDER, Penalty::new(now, now + 60 * S).with_mode(mode::SILENT));
        if world.tier < Tier::K3 {
            world.check(OFFENDER, false);
            assert_eq!(world.plane.stats().dropped, 0);
        } else {
            let error = world.connect_within(OFFENDER, MOMENT).expect_err("nobody answers");
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(world.plane.stats().dropped > 0);
        }
        world.check(BYSTANDER, true);
        let silent = Penalty::new(0, 0).with_mode(mode::SILENT);
        let served = world.in_an_open_window(silent, |world| world.attempt(OFFENDER));
        assert!(served.is_some(), "at {}", world.tier);
        world.plane.pardon(OFFENDER.parse().expect("an address"));
        world.check(OFFENDER, true);
    });
}

/// Sends both ways until both have everything.
fn exchange(connection: &mut Connection, up: usize, down: usize) {
    let Connection { client, server, .. } = connection;
    let mut buffer = vec![0; up.max(down)];
    client.write_all(&vec![b'u'; up]).expect("sent");
    server.read_exact(&mut buffer[..up]).expect("received");
    server.write_all(&vec![b'd'; down]).expect("sent");
    client.read_exact(&mut buffer[..down]).expect("received");
}

fn read_to_end(stream: &mut TcpStream) {
    assert_eq!(stream.read(&mut [0]).expect("an end of stream"), 0);
}

fn all_acknowledged(server: &TcpStream) {
    wait_for(|| {
        let mut unacked: libc::c_int = 0;
        // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one int.
        let rc = unsafe { libc::ioctl(server.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacked) };
        (rc == 0 && unacked == 0).then_some(())
    });
}

/// How a connection ends; returns whether the server read the client's end of stream.
type Ending = fn(&mut Connection) -> bool;

#[test]
fn the_ledger_counts_the_bytes_that_were_sent_however_the_connection_ends() {
    const ENDINGS: [(&str, Ending); 5] = [
        ("the client closes first", |c| {
            c.client.shutdown(Shutdown::Write).expect("FIN");
            read_to_end(&mut c.server);
            true
        }),
        ("the server closes first", |c| {
            all_acknowledged(&c.server);
            false
        }),
        ("the server shuts down, then reads the client's end", |c| {
            c.server.shutdown(Shutdown::Write).expect("FIN");
            read_to_end(&mut c.client);
            c.client.shutdown(Shutdown::Write).expect("FIN");
            read_to_end(&mut c.server);
            true
        }),
        ("the client resets", |c| {
            all_acknowledged(&c.server);
            socket::reset_on_close(c.client.as_raw_fd()).expect("a socket");
            let unconnected = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket").into();
            drop(std::mem::replace(&mut c.client, unconnected));
            c.server.read(&mut [0]).expect_err("a reset");
            false
        }),
        ("the server resets", |c| {
            all_acknowledged(&c.server);
            socket::reset_on_close(c.server.as_raw_fd()).expect("a socket");
            false
        }),
    ];
    on_every_tier(|world| {
        for (name, end) in ENDINGS {
            for (up, down) in [(1, 1), (0, 0), (10_000, 70_000)] {
                let before_ns = mono_ns();
                let mut connection = world.attempt(BYSTANDER).expect("served");
                let opened_ns = mono_ns();
                let client = connection.client.local_addr().expect("an address");
                exchange(&mut connection, up, down);
                let eof = end(&mut connection);
                let record = world.close(connection, eof);
                let bytes = (record.bytes_in as usize, record.bytes_acked as usize);
                assert_eq!(bytes, (up, down), "{name}, at {}: {record:?}", world.tier);
                assert_eq!(record.remote(), client);
                assert_eq!(record.local(), world.listeners[0].local_addr().expect("an address"));
                // The kernel keeps it in units of 1 024 ns.
                assert!((before_ns - 1_024..=opened_ns).contains(&record.opened_ns), "{name}, at {}", world.tier);
                assert!(record.opened_ns + record.duration_ns <= mono_ns());
                assert_eq!(record.tenant, TenantSlot::UNATTRIBUTED);
            }
        }
        let stats = world.plane.stats();
        assert_eq!((stats.opened, stats.closed, stats.lost), (15, 15, 0));
    });
}

/// The kernel keeps when a connection opened at the low bits of its socket's cookie, and elsewhere if another has that
/// place: here one that was opened as many cookies before as there are places.
#[test]
fn a_connection_whose_place_is_taken_is_timed_all_the_same() {
    on_every_tier(|world| {
        if world.tier < Tier::K2 {
            return;
        }
        let first = world.attempt(BYSTANDER).expect("served");
        let first_ns = mono_ns();
        let place = cookie_of(&first.server) % u64::from(OPENINGS);
        // Somebody else, or another processor, may take the cookie that is waited for.
        let (before_ns, second) = wait_for(|| {
            while (new_cookie() + 1) % u64::from(OPENINGS) != place {}
            let before_ns = mono_ns();
            let second = world.attempt(BYSTANDER).expect("served");
            let is_it = cookie_of(&second.server) % u64::from(OPENINGS) == place;
            if is_it {
                Some((before_ns, second))
            } else {
                world.close(second, false);
                None
            }
        });
        let opened_ns = mono_ns();
        let record = world.close(second, false);
        assert!((before_ns..=opened_ns).contains(&record.opened_ns), "{record:?}");
        assert!(world.close(first, false).opened_ns <= first_ns);
    });
}

fn cookie_of(socket: &TcpStream) -> u64 {
    socket::cookie(socket.as_raw_fd()).expect("a socket")
}

/// The next one, of this processor.
fn new_cookie() -> u64 {
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    socket::cookie(socket.as_raw_fd()).expect("a socket")
}

#[test]
fn a_record_has_what_was_audited_beside_what_was_seen() {
    on_every_tier(|world| {
        for (audited, breach) in [(0, None), (7, None), (10, None), (11, Some(1))] {
            let mut connection = world.attempt(BYSTANDER).expect("served");
            let acme = world.bind(&connection, "acme");
            exchange(&mut connection, 10, 5);
            all_acknowledged(&connection.server);
            let record = world.close_audited(connection, false, audited);
            assert_eq!((record.bytes_in, record.audited_in, record.tenant), (10, audited, acme));
            assert_eq!((record.flags & ledger::AUDITED != 0, record.breach()), (audited > 0, breach));
        }
    });
}

#[test]
fn the_list_of_open_connections_is_the_kernels_own_count_of_each() {
    on_every_tier(|world| {
        let mut open: Vec<_> = (0..20).map(|_| world.attempt(BYSTANDER).expect("served")).collect();
        for (n, connection) in open.iter_mut().enumerate() {
            exchange(connection, 10 * n, 3);
            all_acknowledged(&connection.server);
        }
        let acme = world.bind(&open[3], "acme");
        let gone = open.remove(5);
        world.close(gone, false);
        let rows: Vec<_> = world.workers.iter().flat_map(|worker| worker.live(mono_ns())).collect();
        assert_eq!(rows.len(), open.len(), "at {}", world.tier);
        for (n, connection) in open.iter().enumerate() {
            let (peer, sent) = (connection.client.local_addr().expect("an address"), if n < 5 { n } else { n + 1 });
            let row = rows.iter().find(|row| row.peer == peer).expect("it is open");
            assert_eq!((row.bytes_in, row.bytes_out), (10 * sent as u64, 3), "{row:?}");
            assert_eq!(row.tenant, if n == 3 { acme } else { TenantSlot::UNATTRIBUTED });
            assert_eq!(row.cookie, socket::cookie(connection.server.as_raw_fd()).expect("a socket"));
        }
    });
}

/// What the kernel's programs recorded of ten thousand connections, each of another size, is what the socket itself
/// said before it was closed; and not one is missing.
#[test]
fn ten_thousand_records_are_what_the_sockets_said() {
    const CONNECTIONS: usize = 10_000;
    on_tiers(&[Tier::K2], "127.0.0.1", 2, |world| {
        let mut expected = std::collections::HashMap::new();
        let mut records = Vec::new();
        for n in 0..CONNECTIONS {
            let mut connection = world.attempt(BYSTANDER).expect("served");
            exchange(&mut connection, 1 + n % 701, 1 + n % 97);
            all_acknowledged(&connection.server);
            let fd = connection.server.as_raw_fd();
            let info = socket::tcp_info(fd).expect("a socket");
            expected.insert(socket::cookie(fd).expect("a socket"), (info.tcpi_bytes_received, info.tcpi_bytes_acked));
            world.workers[connection.worker].closed(fd, false, 1, mono_ns());
            // No port of the client's is left in TIME_WAIT: there are not enough for ten thousand.
            socket::reset_on_close(connection.client.as_raw_fd()).expect("a socket");
            drop(connection.client);
            wait_for(|| connection.server.read(&mut [0]).is_err().then_some(()));
            drop(connection.server);
            if n % 500 == 0 {
                world.plane.drain(&mut |record| records.push(*record));
            }
        }
        wait_for(|| {
            world.plane.drain(&mut |record| records.push(*record));
            (records.len() == CONNECTIONS).then_some(())
        });
        for record in &records {
            let expected = expected.remove(&record.cookie).expect("each once");
            assert_eq!((record.bytes_in, record.bytes_acked), expected, "{record:?}");
            assert_eq!((record.audited_in, record.breach()), (1, None));
        }
        let stats = world.plane.stats();
        assert_eq!((stats.opened, stats.closed, stats.lost), (CONNECTIONS as u64, CONNECTIONS as u64, 0));
    });
}

/// Records that nobody reads in time are counted, not hidden.
#[test]
fn what_the_ledger_loses_is_counted() {
    on_tiers(&[Tier::K2], "127.0.0.1", 1, |world| {
        let room = ledger::EVENTS_BYTES as usize / (size_of::<ConnClosed>() + 8);
        let made = room + 500;
        for _ in 0..made {
            let connection = world.attempt(BYSTANDER).expect("served");
            socket::reset_on_close(connection.client.as_raw_fd()).expect("a socket");
        }
        wait_for(|| {
            let stats = world.plane.stats();
            (stats.closed + stats.lost == made as u64).then_some(())
        });
        let lost = world.plane.stats().lost;
        assert!(lost >= 400, "{lost} of {made} lost, with room for {room}");
        assert_eq!(world.plane.drain(&mut |_| {}) as u64, made as u64 - lost);
    });
}

#[test]
fn a_record_names_the_tenant_that_was_verified_and_says_if_there_were_two() {
    on_every_tier(|world| {
        let connection = world.attempt(BYSTANDER).expect("served");
        let acme = world.bind(&connection, "acme");
        assert_eq!(world.bind(&connection, "acme"), acme);
        let record = world.close(connection, false);
        assert_eq!((record.tenant, record.flags & ledger::BOUND), (acme, ledger::BOUND));
        assert_eq!(record.flags & ledger::MULTI, 0);
        assert_eq!(record.flags & ledger::USER != 0, world.tier < Tier::K2);

        let connection = world.attempt(BYSTANDER).expect("served");
        let rival = world.bind(&connection, "rival");
        assert_ne!(world.bind(&connection, "acme"), rival);
        let record = world.close(connection, false);
        assert_eq!((record.tenant, record.flags & ledger::MULTI), (rival, ledger::MULTI));
    });
}

#[test]
fn ipv6_sources_are_refused_by_their_64_bits_and_ipv4_ones_on_a_dual_stack_listener() {
    if TcpListener::bind("[::1]:0").is_err() {
        say("everywhere: this host has no IPv6 loopback");
        return;
    }
    let tiers = [Tier::K0, Tier::K1, Tier::K2];
    on_tiers(&tiers, "::1", 2, |world| {
        let now = mono_ns();
        world.penalise("::2", now, now + 60 * S);
        world.check("::1", false);
        world.plane.pardon("::3".parse().expect("an address"));
        let connection = world.attempt("::1").expect("served");
        let client = connection.client.local_addr().expect("an address");
        assert_eq!(world.close(connection, false).remote(), client);
    });
    on_tiers(&tiers, "::", 2, |world| {
        let now = mono_ns();
        world.penalise(OFFENDER, now, now + 60 * S);
        world.check(OFFENDER, false);
        let connection = world.attempt(BYSTANDER).expect("served");
        let client = connection.client.local_addr().expect("an address");
        assert_eq!(world.close(connection, false).remote(), client);
    });
}

#[test]
fn connections_go_to_the_less_loaded_worker_and_never_to_a_draining_one() {
    on_tiers(&[Tier::K1, Tier::K2], "127.0.0.1", 2, |world| {
        let goes_to = |world: &mut World, worker: usize| {
            for _ in 0..10 {
                assert_eq!(world.attempt(BYSTANDER).expect("served").worker, worker);
            }
        };
        world.workers[0].load(7);
        goes_to(world, 1);
        world.workers[1].load(8);
        goes_to(world, 0);
        world.workers[0].drain();
        world.workers[0].load(0);
        goes_to(world, 1);
        world.plane.worker_down(1);
        world.workers[0] = world.plane.worker(0).expect("restarted");
        goes_to(world, 0);
        assert_eq!((world.plane.stats().steered, world.plane.stats().unsteered), (40, 0));
    });
}

/// As a client does that opens all of its connections at once.
#[test]
fn connections_that_nobody_has_accepted_yet_are_load() {
    on_tiers(&[Tier::K1, Tier::K2], "127.0.0.1", 2, |world| {
        let clients: Vec<_> = (0..16).map(|_| world.connect(BYSTANDER).expect("served")).collect();
        let mut open = [0; 2];
        for _ in &clients {
            let (worker, server, peer) = world.accept();
            assert_eq!(world.workers[worker].admit(server.as_raw_fd(), peer, mono_ns()), Admission::Accept);
            open[worker] += 1;
        }
        assert_eq!(open, [8, 8]);
    });
}

#[test]
fn connections_that_never_arrive_are_forgotten() {
    on_tiers(&[Tier::K1, Tier::K2], "127.0.0.1", 2, |world| {
        let goes_to = |world: &mut World| {
            let _client = world.connect(BYSTANDER).expect("served");
            world.accept().0
        };
        world.plane.worker_down(1);
        (0..5).for_each(|_| assert_eq!(goes_to(world), 0));
        world.workers[1] = world.plane.worker(1).expect("restarted");
        world.workers[1].load(3);
        assert_eq!(goes_to(world), 1, "three beside five on their way");
        world.workers[0].looked();
        assert_eq!(goes_to(world), 0, "beside none");
    });
}

#[test]
fn two_idle_workers_share_the_connections() {
    on_tiers(&[Tier::K1, Tier::K2], "127.0.0.1", 2, |world| {
        let mut open = [0_u32; 2];
        let connections: Vec<_> = (0..100)
            .map(|_| {
                let connection = world.attempt(BYSTANDER).expect("served");
                open[connection.worker] += 1;
                world.workers[connection.worker].load(open[connection.worker]);
                connection
            })
            .collect();
        assert_eq!(connections.len(), 100);
        assert!(open[0].abs_diff(open[1]) <= 1, "{open:?}");
    });
}

#[test]
fn everything_works_on_after_privileges_are_dropped() {
    on_every_tier(|world| {
        // SAFETY: the child runs on this thread's copy alone, and leaves by _exit.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let ok = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| unprivileged(world))).is_ok();
            // SAFETY: ends the child without running the parent's clean-up.
            unsafe { libc::_exit(i32::from(!ok)) };
        }
        let mut status = -1;
        // SAFETY: waits for the child made above.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        assert_eq!(status, 0, "the child failed at {}", world.tier);
    });
}

/// The life of a penalty and of a record, without a capability and as nobody.
fn unprivileged(world: &mut World) {
    // SAFETY: reads the process' own user id.
    let root = unsafe { libc::geteuid() } == 0;
    drop_privileges(root.then_some((65_534, 65_534))).expect("dropped");
    for task in std::fs::read_dir("/proc/self/task").expect("proc is mounted").flatten() {
        let status = std::fs::read_to_string(task.path().join("status")).expect("a task's status");
        for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
            assert!(status.contains(line), "{status}");
        }
    }
    let now = mono_ns();
    world.penalise(OFFENDER, now, now + 60 * S);
    world.check(OFFENDER, false);
    world.plane.pardon(OFFENDER.parse().expect("an address"));
    world.workers[0] = world.plane.worker(0).expect("restarted");
    let mut connection = world.attempt(OFFENDER).expect("served");
    let slot = world.bind(&connection, "acme");
    exchange(&mut connection, 5, 7);
    all_acknowledged(&connection.server);
    let record = world.close(connection, false);
    assert_eq!((record.tenant, record.bytes_in, record.bytes_acked), (slot, 5, 7));
}

#[test]
fn a_required_kernel_plane_that_is_out_of_reach_is_an_error_that_names_the_way_out() {
    let listeners = listeners("127.0.0.1", 1);
    // Capabilities are the thread's: this one gives up its own.
    let result = std::thread::spawn(move || {
        caps::clear(None, caps::CapSet::Effective).expect("giving up needs no privilege");
        open(&config(KernelMode::Required), None, &[listeners[0].as_fd()]).map(|(_, reached)| reached)
    });
    let error = result.join().expect("the thread ends well").expect_err("out of reach");
    let KernelError::Required(reached) = &error else { panic!("{error}") };
    assert_eq!(reached.tier, Tier::K0);
    let text = error.to_string();
    assert!(text.contains("CAP_BPF") && text.contains("kernel.mode = \"auto\""), "{text}");
}

#[test]
fn the_cgroup_node_is_gone_when_the_plane_is() {
    on_tiers(&[Tier::K2], "127.0.0.1", 1, |_| {});
    let own = std::fs::read_to_string("/proc/self/cgroup").expect("proc is mounted");
    assert!(!own.contains("acp-"), "{own}");
}
