//! `acp confine`, from inside the cgroup: whoever is in it gets through to the gateway, asks the resolver that was
//! named, and reaches nothing else by whatever kind of socket; each refusal is in the gateway's audit log.
//!
//! Needs root, cgroup2 and a BPF file system, which it mounts for itself; where that cannot be had, the tests are skipped
//! with a line that says so, or fail if `ACP_REQUIRE_BPF=1`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use acp_ebpf::confine::Meta;
use aya::maps::{Array, Map, MapData};
use serde_json::Value;

use crate::backend::Backend;
use crate::process::{Process, Said, acp, run, wait_for};
use crate::site::{Extra, Gateway, Site, crm};
use crate::wait::within;

/// Cgroups made so far.
static MADE: AtomicU32 = AtomicU32::new(0);

/// Where the cgroup2 file system is mounted.
pub(crate) fn cgroup2() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next().filter(|_| fields.next() == Some("cgroup2"))
    });
    mount.map(PathBuf::from)
}

/// A cgroup and a BPF file system of the test's own.
struct Cage {
    cgroup: PathBuf,
    bpffs: tempfile::TempDir,
}

impl Cage {
    /// `None`, said or failed, where the host does not allow it.
    fn new() -> Option<Self> {
        let made = Self::make();
        if let Err(why) = &made {
            assert!(
                std::env::var_os("ACP_REQUIRE_BPF").is_none_or(|value| value != "1"),
                "confinement is required: {why}"
            );
            eprintln!("SKIPPED: {why}");
        }
        made.ok()
    }

    fn make() -> Result<Self, String> {
        let name = format!("confine-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let cgroup = cgroup2().ok_or("no cgroup2 file system is mounted")?.join(name);
        let bpffs = tempfile::Builder::new().prefix("confine-").tempdir().map_err(|error| error.to_string())?;
        let said = run(Command::new("mount").args(["-t", "bpf", "confine"]).arg(bpffs.path()));
        if said.code != Some(0) {
            return Err(format!("no BPF file system: {}", said.stderr));
        }
        std::fs::create_dir(&cgroup).map_err(|error| format!("{}: {error}", cgroup.display()))?;
        Ok(Self { cgroup, bpffs })
    }

    fn pins(&self) -> PathBuf {
        self.bpffs.path().join("pins")
    }

    /// `acp confine` with what every call here has.
    fn acp(&self) -> Command {
        let mut command = acp();
        command.arg("confine").arg("--pins").arg(self.pins());
        command
    }

    /// A command that runs in the cgroup.
    fn inside(&self, program: &[&str]) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo $$ > \"$0\" && exec \"$@\""]).arg(self.cgroup.join("cgroup.procs")).args(program);
        command.stdin(Stdio::null());
        command
    }

    /// Confines the cgroup, and reports to the site's gateway.
    #[track_caller]
    fn confine(&self, site: &Site, gateway: SocketAddr, resolver: SocketAddr) -> Process {
        let mut command = self.acp();
        command.arg("--cgroup").arg(&self.cgroup).arg("--socket").arg(site.path("admin.sock"));
        command.args(["--gateway", &gateway.to_string(), "--resolver", &resolver.to_string()]);
        let process = Process::start(&mut command);
        process.stderr.wait_line("reporting on 1");
        process
    }

    #[track_caller]
    fn detached(&self, gateway: SocketAddr) {
        let said =
            run(self.acp().arg("--detach").arg("--cgroup").arg(&self.cgroup).args(["--gateway", &gateway.to_string()]));
        assert_eq!(said.code, Some(0), "{}", said.stderr);
    }

    fn remove(&self) -> Said {
        run(self.acp().arg("--remove").arg("--cgroup").arg(&self.cgroup))
    }

    /// The one row of the list.
    #[track_caller]
    fn listed(&self) -> Value {
        let said = run(self.acp().args(["--list", "--json"]));
        assert_eq!((said.code, said.stdout.lines().count()), (Some(0), 1), "{} {}", said.stdout, said.stderr);
        serde_json::from_str(&said.stdout).expect("JSON")
    }

    /// Whether somebody inside can connect to this address, asked of bash, which needs nothing else.
    #[track_caller]
    fn connects(&self, to: SocketAddr) -> bool {
        let script = format!("exec 3<>/dev/tcp/{}/{}", to.ip(), to.port());
        run(&mut self.inside(&["bash", "-c", &script])).code == Some(0)
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // With the file system go the pins, and the programs with them.
        let _ = Command::new("umount").arg(self.bpffs.path()).status();
        // Whoever was in it may take a moment to end.
        let _ = within(Duration::from_secs(2), || std::fs::remove_dir(&self.cgroup).ok());
    }
}

/// Somebody who is none of a confined process' business, on one port of both families, and a resolver of sorts.
struct World {
    elsewhere: TcpListener,
    _elsewhere6: Option<TcpListener>,
    datagrams: UdpSocket,
    datagrams6: Option<UdpSocket>,
    resolver: SocketAddr,
}

impl World {
    fn new() -> Self {
        let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
        let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let beside = |port| SocketAddr::new(Ipv6Addr::LOCALHOST.into(), port);
        let port = |at: std::io::Result<SocketAddr>| at.expect("an address").port();
        let resolver = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let at = resolver.local_addr().expect("an address");
        std::thread::spawn(move || {
            let mut question = [0; 64];
            while let Ok((_, from)) = resolver.recv_from(&mut question) {
                let _ = resolver.send_to(b"answered", from);
            }
        });
        datagrams.set_nonblocking(true).expect("non-blocking");
        let datagrams6 = UdpSocket::bind(beside(port(datagrams.local_addr()))).ok();
        datagrams6.iter().for_each(|socket| socket.set_nonblocking(true).expect("non-blocking"));
        Self {
            _elsewhere6: TcpListener::bind(beside(port(elsewhere.local_addr()))).ok(),
            datagrams6,
            elsewhere,
            datagrams,
            resolver: at,
        }
    }

    fn elsewhere(&self) -> SocketAddr {
        self.elsewhere.local_addr().expect("an address")
    }

    /// Nothing got through to either datagram socket.
    #[track_caller]
    fn assert_silent(&self) {
        let sockets = [Some(&self.datagrams), self.datagrams6.as_ref()];
        for socket in sockets.into_iter().flatten() {
            let got = socket.recv_from(&mut [0; 64]);
            assert!(got.is_err(), "a datagram of {got:?} got through");
        }
    }
}

fn site(backend: &Backend) -> Site {
    let tool = "\n[[route.tool]]\nname = \"crm/read\"\nmatch = { method = \"GET\", path = \"*\" }\nverb = \"read\"";
    Site::new(&Extra { sections: &(crm(backend) + tool), ..Extra::default() })
}

/// A gateway, somebody else, and a cage confined to the first; where the host allows it.
fn confined(test: impl FnOnce(&Cage, &World, &Site, &Gateway, &Process)) {
    let Some(cage) = Cage::new() else { return };
    let (backend, world) = (Backend::plain(), World::new());
    let site = site(&backend);
    let gateway = site.start();
    assert!(cage.connects(world.elsewhere()), "not confined yet");
    let process = cage.confine(&site, gateway.address, world.resolver);
    test(&cage, &world, &site, &gateway, &process);
}

/// The refusals in the audit log, once `enough` says so.
#[track_caller]
fn audited(site: &Site, enough: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    wait_for("the refusals in the audit log", || {
        let mut records = site.records(&["--events"]);
        records.retain(|record| record["event"] == "confine_refused");
        let details: Vec<Value> = records.into_iter().map(|mut record| record["detail"].take()).collect();
        enough(&details).then_some(details)
    })
}

#[test]
fn from_inside_every_kind_of_socket_fails_but_through_the_gateway_and_to_the_resolver() {
    confined(|cage, world, site, gateway, process| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/confine/tries.py");
        let ports = [
            gateway.address.port(),
            world.elsewhere().port(),
            world.datagrams.local_addr().expect("an address").port(),
            world.resolver.port(),
        ]
        .map(|port| port.to_string());
        let args: Vec<&str> = ["python3", script].into_iter().chain(ports.iter().map(String::as_str)).collect();
        let tries = Process::start(&mut cage.inside(&args));
        // It listens without having bound a port, which no system call shows: the packets are held.
        let line = tries.stderr.wait_line("listening ");
        let port: u16 = line.trim_start_matches("listening ").parse().expect("a port");
        let from_outside = SocketAddr::new([127, 0, 0, 1].into(), port);
        let error = TcpStream::connect_timeout(&from_outside, Duration::from_secs(1)).expect_err("not let in");
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        tries.stdout.wait_line("listens-unbound");
        let text = tries.stdout.text();
        let outcomes: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once(' ')).collect();
        for (name, outcome) in &outcomes {
            let expected = match *name {
                // No token: the gateway itself says so.
                "gateway" => "401",
                "gateway-mapped" => "ok",
                "resolver-connected" | "resolver-unconnected" => "answered",
                // Held at the packets, where nobody can be told.
                "source-routed" | "listens-unbound" => "silence",
                _ => "EPERM",
            };
            assert_eq!(*outcome, expected, "{name} in:\n{text}");
        }
        assert_eq!(outcomes.len(), 26, "{text}");
        world.assert_silent();
        let steps = ["socket", "bind", "connect", "send", "packet"];
        let rows = audited(site, |rows| steps.iter().all(|step| rows.iter().any(|row| row["refused"] == **step)));
        let elsewhere = world.elsewhere().to_string();
        let row = rows.iter().find(|row| row["destination"] == *elsewhere).expect("the other listener");
        assert_eq!((&row["comm"], &row["protocol"], &row["uid"]), (&"python3".into(), &"tcp".into(), &0.into()));
        // By IPv4, its mapped form, and fast open.
        assert_eq!((row["refused"].as_str(), row["count"].as_u64()), (Some("connect"), Some(3)), "{rows:?}");
        assert!(rows.iter().any(|row| row["socket"] == "inet raw icmp" && row["pid"] == tries.id()));
        assert!(rows.iter().any(|row| row["refused"] == "packet"
            && row["destination"].as_str().is_some_and(|to| to.starts_with("127.0.0.9:"))));
        process.stdout.wait_line("inet6 raw icmpv6");
        let counted = rows.iter().map(|row| row["count"].as_u64().expect("a number")).sum::<u64>();
        assert!(gateway.metric("acp_confine_refused_total") >= counted);
        assert_eq!(gateway.metric("acp_confine_lost_total"), 0);
    });
}

#[test]
fn curl_and_a_static_client_get_through_to_the_gateway_alone() {
    confined(|cage, world, site, gateway, _| {
        let url = |at: SocketAddr| format!("http://{at}/tools/crm/x");
        let curl =
            |at| run(&mut cage.inside(&["curl", "-sS", "-m", "5", "-o", "/dev/null", "-w", "%{http_code}", &url(at)]));
        assert_eq!(curl(gateway.address).stdout, "401");
        let refused = curl(world.elsewhere());
        // CURLE_COULDNT_CONNECT.
        assert_eq!(refused.code, Some(7), "{}", refused.stderr);
        audited(site, |rows| rows.iter().any(|row| row["comm"] == "curl"));

        let client = site.path("client");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/e2e/confine/client.rs");
        let made = run(Command::new("rustc")
            .args(["--edition", "2024", "-C", "target-feature=+crt-static", "-o"])
            .arg(&client)
            .arg(source));
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let (to, past) = (gateway.address.to_string(), world.elsewhere().to_string());
        let client = client.display().to_string();
        assert_eq!(run(Command::new(&client).arg(&past)).stdout, "ok\n", "from outside");
        assert_eq!(
            run(&mut cage.inside(&[&client, &to, &past, "[::1]:1"])).stdout,
            "ok\nPermissionDenied\nPermissionDenied\n"
        );
        if run(Command::new("sh").args(["-c", "command -v go"])).code != Some(0) {
            eprintln!("SKIPPED for a Go client: there is no Go toolchain here");
        }
    });
}

#[test]
fn connections_from_before_are_frozen_if_they_were_made_inside_and_not_if_they_were_brought_along() {
    let Some(cage) = Cage::new() else { return };
    let world = World::new();
    let to = world.elsewhere();
    // Sends a line whenever its input brings one.
    let script = |enter: &str| {
        let procs = cage.cgroup.join("cgroup.procs").display().to_string();
        let (host, port) = (to.ip(), to.port());
        let connect = format!("exec 3<>/dev/tcp/{host}/{port}");
        let move_in = format!("echo $$ > {procs}");
        let steps = if enter == "first" { [move_in, connect] } else { [connect, move_in] };
        format!("{}; {}; echo there; while read line; do echo $line >&3; done", steps[0], steps[1])
    };
    let mut children: Vec<_> = ["first", "late"]
        .map(|enter| {
            let mut child = Command::new("bash")
                .args(["-c", &script(enter)])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("bash starts");
            let (server, _) = world.elsewhere.accept().expect("a connection");
            child.stdout.take().expect("piped").read_exact(&mut [0; 6]).expect("it is in the cgroup");
            (child, server)
        })
        .into();
    cage.detached("127.0.0.1:1".parse().expect("an address"));
    let mut heard = children.iter_mut().map(|(child, server)| {
        server.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
        child.stdin.as_mut().expect("piped").write_all(b"hello\n").expect("it reads");
        server.read_exact(&mut [0; 6]).is_ok()
    });
    assert_eq!((heard.next(), heard.next()), (Some(false), Some(true)), "made inside, brought along");
    drop(heard);
    for (child, _) in &mut children {
        let _ = child.kill();
        let _ = child.wait();
    }
    assert!(cage.listed()["dropped_out"].as_u64().is_some_and(|packets| packets > 0));
}

#[test]
fn a_confinement_outlives_who_made_it_and_what_nobody_read_is_told_by_the_next_one() {
    confined(|cage, world, site, gateway, process| {
        assert!(!cage.connects(world.elsewhere()));
        audited(site, |rows| rows.len() == 1);
        let said = run(Command::new("kill").args(["-KILL", &process.id().to_string()]));
        assert_eq!(said.code, Some(0));
        wait_for("it to be dead", || process.stderr.ended().then_some(()));
        for _ in 0..3 {
            assert!(!cage.connects(world.elsewhere()), "the kernel goes on by itself");
        }
        assert!(cage.connects(gateway.address));
        let row = cage.listed();
        assert_eq!((&row["state"], &row["refused"], &row["lost"]), (&"confined".into(), &4.into(), &0.into()));
        assert_eq!(row["gateways"], gateway.address.to_string());

        let mut next = cage.acp();
        next.args(["--report", "--socket"]).arg(site.path("admin.sock"));
        let mut next = Process::start(&mut next);
        let rows = audited(site, |rows| rows.len() == 4);
        assert!(rows.iter().all(|row| row["comm"] == "bash" && row["count"] == 1), "{rows:?}");
        // A second reader would take half of them away.
        let second = run(cage.acp().args(["--report", "--no-audit", "--cgroup"]).arg(&cage.cgroup));
        assert!(second.stderr.contains("another process reports"), "{}", second.stderr);
        next.signal("TERM");
        assert_eq!(next.ended().code(), Some(0));
        assert!(!cage.connects(world.elsewhere()), "still");

        assert_eq!(cage.remove().code, Some(0));
        assert!(cage.connects(world.elsewhere()), "free again");
        let again = cage.remove();
        assert!(again.code == Some(1) && again.stderr.contains("is not confined"), "{}", again.stderr);
    });
}

#[test]
fn confining_again_replaces_the_rules_and_never_opens_a_gap() {
    let Some(cage) = Cage::new() else { return };
    let (one, two) = (World::new(), World::new());
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a port");
    cage.detached(one.elsewhere());
    // Tries without a pause, and says so if it ever gets through.
    let past = elsewhere.local_addr().expect("an address");
    let script = format!(
        "echo trying; while ! exec 3<>/dev/tcp/{}/{}; do :; done 2>/dev/null; echo through",
        past.ip(),
        past.port()
    );
    let trying = Process::start(&mut cage.inside(&["bash", "-c", &script]));
    trying.stdout.wait_line("trying");
    for _ in 0..3 {
        cage.detached(two.elsewhere());
        cage.detached(one.elsewhere());
    }
    cage.detached(two.elsewhere());
    assert!(!trying.stdout.text().contains("through"));
    drop(trying);
    assert!(!cage.connects(one.elsewhere()) && cage.connects(two.elsewhere()));
    assert_eq!(cage.listed()["gateways"], two.elsewhere().to_string());
}

#[test]
fn a_loop_of_refusals_is_told_in_sums_and_what_is_lost_is_counted() {
    confined(|cage, world, site, gateway, process| {
        // While nobody reads, the ring fills up.
        process.signal("STOP");
        let to = world.elsewhere();
        let script = format!(
            "import socket\nfor _ in range(20000):\n try: socket.create_connection(('{}', {}))\n except PermissionError: pass",
            to.ip(),
            to.port()
        );
        assert_eq!(run(&mut cage.inside(&["python3", "-c", &script])).code, Some(0));
        process.signal("CONT");
        let total = |rows: &[Value]| rows.iter().map(|row| row["count"].as_u64().expect("a number")).sum::<u64>();
        let rows = audited(site, |rows| total(rows) == 20_000);
        let lost: u64 =
            rows.iter().filter(|row| row["refused"] == "lost").map(|row| row["count"].as_u64().unwrap_or(0)).sum();
        assert!((10_000..19_999).contains(&lost), "{rows:?}");
        assert!(rows.len() <= 4, "sums, not single refusals: {rows:?}");
        wait_for("the metrics", || (gateway.metric("acp_confine_lost_total") == lost).then_some(()));
        assert_eq!(gateway.metric("acp_confine_refused_total"), 20_000 - lost);
    });
}

#[test]
fn what_cannot_be_confined_is_said_and_left_as_it_was() {
    let Some(cage) = Cage::new() else { return };
    let said = |args: &[&str]| run(acp().arg("confine").args(args));
    let gateway = ["--gateway", "127.0.0.1:8080"];
    let (cgroup, pins) = (cage.cgroup.display().to_string(), cage.pins().display().to_string());
    let root = cage.cgroup.parent().expect("not the root").display().to_string();
    for (args, part) in [
        (vec!["--cgroup", &cgroup, "--pins", "/tmp/acp-confine"], "is not on a BPF file system"),
        (vec!["--cgroup", &root, "--pins", &pins], "is the root of all cgroups"),
        (vec!["--cgroup", "/tmp", "--pins", &pins], "is no cgroup2 directory"),
        (vec!["--cgroup", "/none", "--pins", &pins], "cannot find /none"),
    ] {
        let said = said(&[&args[..], &gateway[..]].concat());
        assert!(said.code == Some(1) && said.stderr.contains(part), "{args:?}: {}", said.stderr);
    }
    let said = run(cage.acp().args(["--cgroup", &cgroup, "--gateway", "0.0.0.0:80"]));
    assert!(said.stderr.contains("no address that one could connect to"), "{}", said.stderr);
    assert_eq!(run(cage.acp().args(["--list", "--json"])).stdout, "");
    assert!(cage.connects(World::new().elsewhere()));
}

#[test]
fn pins_of_another_version_are_named_with_the_way_out_and_hold_until_they_are_removed() {
    let Some(cage) = Cage::new() else { return };
    let elsewhere = World::new();
    cage.detached("127.0.0.1:8080".parse().expect("an address"));
    let pin = std::fs::read_dir(cage.pins()).expect("pins").next().expect("one").expect("its entry").path();
    let about = MapData::from_pin(pin.join("CONFINE_META")).expect("it is pinned");
    let mut about: Array<_, Meta> = Map::Array(about).try_into().expect("an array");
    let meta = about.get(&0, 0).expect("it is there");
    about.set(0, Meta { abi: meta.abi + 1, ..meta }, 0).expect("set");
    let said = run(cage.acp().arg("--list"));
    let expected = "was pinned by another version: acp confine --remove, then confine again";
    assert!(said.stderr.contains(expected), "{}", said.stderr);
    assert!(!cage.connects(elsewhere.elsewhere()), "it holds on");
    let removed = cage.remove();
    assert_eq!(removed.code, Some(0), "{}", removed.stderr);
    assert!(cage.connects(elsewhere.elsewhere()));
}
