//! Running it: reloads that take effect or are refused, drains that lose nothing, privileges that are gone, crashes
//! that leave log and ledger whole, and mistakes in the configuration that are all reported at once.

use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::backend::{Backend, Gate, Then, json};
use crate::client::{Client, get, post};
use crate::process::{Process, acp, run, wait_for};
use crate::site::{Extra, Gateway, Site, priced, token};

/// Price of a call, in micro-dollars.
const PRICE: u64 = 2_000;

fn sections(backend: &Backend) -> String {
    format!(
        r#"
[policy]
files = ["{{dir}}/rules.cedar"]
[[usage.budget]]
per = "user"
max_spend = "100 USD"
period = "30d"
{crm}"#,
        crm = priced(backend, "0.002 USD", "0.002 USD")
    )
}

/// A policy that forbids this user's calls with `stop` among their arguments.
fn forbids(user: &str) -> String {
    format!(
        "@id(\"stop\")\nforbid (principal == User::\"{user}\", action == Action::\"call\", resource)\n\
         when {{ context.arguments has stop }};\n"
    )
}

#[track_caller]
fn site_with(backend: &Backend, extra: Extra<'_>) -> Site {
    let sections = sections(backend);
    let site = Site::new(&Extra { sections: &sections, ..extra });
    site.write("rules.cedar", &forbids("auth0|nobody"));
    site
}

#[track_caller]
fn site(backend: &Backend) -> Site {
    site_with(backend, Extra::default())
}

fn stopping_call(gateway: &Gateway) -> u16 {
    gateway.ask(post("/tools/crm/x", &token("auth0|alice"), r#"{"stop":true}"#)).status
}

fn generation(gateway: &Gateway) -> u64 {
    gateway.admin("/readyz").json()["generation"].as_u64().expect("a generation")
}

#[test]
fn threat_a29_a_changed_policy_takes_effect_and_a_broken_one_keeps_the_old_and_says_why() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let first = generation(&gateway);
    assert_eq!(stopping_call(&gateway), 200);

    site.write("rules.cedar", &forbids("auth0|alice"));
    gateway.process.signal("HUP");
    wait_for("the reload", || (generation(&gateway) > first).then_some(()));
    assert_eq!(stopping_call(&gateway), 403);

    let second = generation(&gateway);
    site.write("rules.cedar", "forbid (principal, action, resource) when { principal.nonsense };\n");
    gateway.process.signal("HUP");
    let said = gateway.process.stderr.wait("why", |lines| {
        let at = lines.iter().position(|line| line.contains("configuration refused, the old one stays"))?;
        (lines.len() > at + 1).then(|| lines[at + 1..].join("\n"))
    });
    assert!(said.contains("rules.cedar") && said.contains("nonsense"), "{said}");
    let ready = wait_for("/readyz to say so", || {
        Some(gateway.admin("/readyz")).filter(|ready| !ready.json()["degraded"].as_array().is_none_or(Vec::is_empty))
    });
    assert_eq!(ready.status, 200, "degraded, not unready");
    assert_eq!((generation(&gateway), stopping_call(&gateway)), (second, 403));

    site.write("rules.cedar", &forbids("auth0|nobody"));
    wait_for("the watched file to be read", || (generation(&gateway) > second).then_some(()));
    assert_eq!(stopping_call(&gateway), 200, "no signal needed");
    gateway.stop();
    let events = site.query(&["--events", "--format", "json"]);
    assert!(events.contains("\"refused\"") && events.contains("\"accepted\""), "{events}");
}

/// The log says from its start whether its times can be believed; the metric says the same.
#[test]
fn need_b17_the_log_says_whether_the_clock_is_kept_right() {
    let backend = Backend::plain();
    let site = site(&backend);
    let gateway = site.start();
    let kept = gateway.metric("acp_clock_synchronised") == 1;
    gateway.stop();
    let events = site.records(&["--events"]);
    let clock: Vec<_> = events.iter().filter(|event| event["event"] == "clock").collect();
    assert_eq!(clock.len(), 1, "no jump meanwhile: {clock:?}");
    assert_eq!(clock[0]["detail"]["synchronised"], kept);
}

/// Requests under way when SIGTERM comes are answered; readiness goes first.
#[test]
fn need_b07_a_drain_loses_no_request_and_tells_readyz_first() {
    const IN_FLIGHT: usize = 8;
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |_, stream| if held.pass() { json(stream, "{}") } else { Then::Close });
    let site = site(&backend);
    let mut gateway = site.start();
    let mut clients: Vec<Client> = (0..IN_FLIGHT).map(|_| gateway.connect()).collect();
    for client in &mut clients {
        client.send(get("/tools/crm/x", &token("auth0|alice")));
    }
    wait_for("the requests to be under way", || (backend.received().len() == IN_FLIGHT).then_some(()));

    gateway.process.signal("TERM");
    let ready = wait_for("/readyz to fail", || Some(gateway.admin("/readyz")).filter(|ready| ready.status == 503));
    assert_eq!(ready.json()["unready"][0], "draining");
    gate.open();
    for client in &mut clients {
        let answer = client.answer();
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{answer:?}");
        client.assert_closed();
    }
    assert_eq!(gateway.process.ended().code(), Some(0), "{}", gateway.process.stderr.text());
    // The system takes an io_uring apart, and with it the listener, a moment after its process ended.
    wait_for("the port to close", || TcpStream::connect(gateway.address).is_err().then_some(()));
    assert_eq!(site.records(&["--decision", "allow"]).len(), IN_FLIGHT);
}

/// Whoever waits in the queue when the drain begins is served; whoever comes later is refused by the kernel at once,
/// while a request is still under way.
#[test]
fn a_drain_serves_who_is_queued_and_lets_nobody_in() {
    check_drain("driver = \"auto\"");
    check_drain("driver = \"epoll\"");
}

#[track_caller]
fn check_drain(driver: &str) {
    const QUEUED: usize = 6;
    let gate = Gate::default();
    let held = gate.clone();
    let backend = Backend::start(move |request, stream| {
        if request.line.contains("/held ") {
            held.pass();
        }
        json(stream, "{}")
    });
    let site = site_with(&backend, Extra { listen: driver, ..Extra::default() });
    let mut gateway = site.start();
    let mut busy = gateway.connect();
    busy.send(get("/tools/crm/held", &token("auth0|alice")));
    wait_for("the request to be under way", || (!backend.received().is_empty()).then_some(()));

    gateway.process.signal("STOP");
    let mut queued: Vec<Client> = (0..QUEUED).map(|_| gateway.connect()).collect();
    for client in &mut queued {
        client.send(get("/tools/crm/queued", &token("auth0|alice")));
    }
    gateway.process.signal("TERM");
    gateway.process.signal("CONT");
    for client in &mut queued {
        // Whether it is told to close depends on who wakes first, the worker or the signal's handler.
        assert_eq!(client.answer().status, 200);
        client.assert_closed();
    }
    wait_for("the kernel to refuse", || TcpStream::connect(gateway.address).is_err().then_some(()));
    assert!(gateway.process.is_running(), "the held request is still under way");
    gate.open();
    assert_eq!(busy.answer().status, 200);
    assert_eq!(gateway.process.ended().code(), Some(0), "{}", gateway.process.stderr.text());
}

/// Without descriptors, whoever cannot be accepted learns so instead of waiting, and who is connected is served.
#[test]
fn without_descriptors_new_clients_are_reset_and_old_ones_served() {
    const DESCRIPTORS: usize = 60;
    let backend = Backend::plain();
    let site = site_with(&backend, Extra { listen: "workers = 1", ..Extra::default() });
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -n {DESCRIPTORS}; exec \"$@\""),
        "sh",
        env!("CARGO_BIN_EXE_acp"),
        "run",
        "--config",
    ]);
    command.arg(site.path("acp.toml")).env_remove("RUST_LOG").env("NO_COLOR", "1");
    let gateway = Gateway::of(Process::start(&mut command));
    let mut old = gateway.connect();
    assert_eq!(old.ask(get("/tools/crm/x", &token("auth0|alice"))).status, 200);

    let mut crowd: Vec<Client> = (0..DESCRIPTORS).map(|_| gateway.connect()).collect();
    gateway.process.stderr.wait_line("accept failed");
    let mut late = gateway.connect();
    late.assert_closed();
    assert_eq!(old.ask(get("/tools/crm/x", &token("auth0|alice"))).status, 200);
    crowd.clear();
    let served = wait_for("descriptors", || {
        let mut client = gateway.connect();
        client.try_ask(&get("/tools/crm/x", &token("auth0|alice")))
    });
    assert_eq!(served.status, 200);
    gateway.stop();
}

/// The credential lies elsewhere, and the configuration's text stays the same (THREATS B10).
#[test]
fn need_b10_a_changed_credential_is_presented_without_a_signal() {
    let backend = Backend::plain();
    let secrets = tempfile::tempdir().expect("a temporary directory");
    let file = secrets.path().join("crm-token");
    let write = |secret: &str| {
        std::fs::write(&file, secret).expect("written");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("ours");
    };
    write("first");
    let credentials = format!(
        "allow_loopback = [\"{}\"]\ncredentials = {{ mode = \"service\", scheme = \"Bearer\", file = \"{}\" }}\n",
        backend.address,
        file.display()
    );
    let sections = sections(&backend).replace(&format!("allow_loopback = [\"{}\"]\n", backend.address), &credentials);
    let site = Site::new(&Extra { sections: &sections, ..Extra::default() });
    site.write("rules.cedar", &forbids("auth0|nobody"));
    let gateway = site.start();
    let presented = || {
        assert_eq!(stopping_call(&gateway), 200);
        backend.received().last().and_then(|got| got.header("authorization").map(str::to_owned))
    };
    assert_eq!(presented().as_deref(), Some("Bearer first"));
    write("second");
    wait_for("the new credential", || (presented().as_deref() == Some("Bearer second")).then_some(()));
    gateway.stop();
}

#[test]
fn need_b06_every_thread_has_given_up_its_capabilities() {
    let backend = Backend::plain();
    let site = site_with(&backend, Extra { kernel: Some("mode = \"auto\""), ..Extra::default() });
    let gateway = site.start();
    assert_eq!(stopping_call(&gateway), 200);
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.process.id())).expect("a running process");
    let mut threads = 0;
    for task in tasks.filter_map(Result::ok) {
        let status = std::fs::read_to_string(task.path().join("status")).expect("a running thread");
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        for set in ["CapEff:", "CapPrm:", "CapInh:", "CapAmb:"] {
            assert_eq!(field(set), Some("0000000000000000"), "{set} of {:?}", field("Name:"));
        }
        assert_eq!(field("NoNewPrivs:"), Some("1"), "of {:?}", field("Name:"));
        threads += 1;
    }
    assert!(threads >= 3, "workers, control, audit: {threads}");
    gateway.stop();
}

/// Calls until the gateway is gone; counts answers that came whole.
fn hammer(gateway: std::net::SocketAddr, user: &str, answered: &AtomicU64, over: &AtomicBool) {
    let request = get("/tools/crm/x", &token(user));
    let mut client = Client::connect(gateway);
    while !over.load(Ordering::Acquire) {
        match client.try_ask(&request).map(|answer| answer.status) {
            Some(200) => _ = answered.fetch_add(1, Ordering::AcqRel),
            _ => return,
        }
    }
}

/// `kill -9` under load: the next start recovers the rings, the chain holds, and the ledger neither forgets a call
/// that was answered nor invents one that never reached the upstream.
#[test]
fn after_kill_9_log_and_ledger_are_whole() {
    const ANSWERED_MIN: u64 = 200;
    let backend = Backend::plain();
    let site = site(&backend);
    let mut gateway = site.start();
    let (answered, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for user in 0..4 {
            let (answered, over, address) = (&answered, &over, gateway.address);
            scope.spawn(move || hammer(address, &format!("auth0|user-{user}"), answered, over));
        }
        wait_for("load", || (answered.load(Ordering::Acquire) >= ANSWERED_MIN).then_some(()));
        gateway.process.signal("KILL");
        over.store(true, Ordering::Release);
    });
    assert_eq!(gateway.process.ended().code(), None, "killed");
    let (answered, reached) = (answered.into_inner(), backend.received().len() as u64);

    site.start().stop();
    let verify = site.acp(&["audit", "verify"], "--dir", "audit");
    assert_eq!(verify.code, Some(0), "{}{}", verify.stdout, verify.stderr);
    let allowed = site.records(&["--decision", "allow"]).len() as u64;
    assert!(allowed >= answered, "every answered call is in the log: {allowed} of {answered}");
    let spent = site.acp(&["usage", "spent", "--total"], "--ledger", "ledger.redb").stdout;
    let spent: u64 = spent.trim().parse().expect("micro-dollars");
    // A call whose intent was logged may not have reached the upstream yet: at most one per connection.
    assert!(
        (answered * PRICE..=(reached + 4) * PRICE).contains(&spent),
        "{answered} answered, {reached} reached, {spent}"
    );
    assert_eq!(spent % PRICE, 0, "whole calls");
}

/// Both commands report each of these mistakes in the file, with its key and line.
#[track_caller]
fn check_mistakes(listen: &str, changes: &[(&str, &str)], mistakes: &[(&str, &str)]) {
    let backend = Backend::plain();
    let sections = changes.iter().fold(sections(&backend), |text, (from, to)| text.replace(from, to));
    let site = Site::new(&Extra { listen, sections: &sections, ..Extra::default() });
    site.write("rules.cedar", "");
    let text = std::fs::read_to_string(site.path("acp.toml")).expect("the configuration");
    for command in ["run", "check"] {
        let said = run(acp().args([command, "--config"]).arg(site.path("acp.toml")));
        assert_eq!(said.code, Some(1), "{said:?}");
        let said = said.stdout + &said.stderr;
        for (key, line) in mistakes {
            let at = text.lines().position(|have| have.starts_with(line)).expect("the mistake's line") + 1;
            let found = said.lines().any(|said| said.contains(key) && said.contains(&format!("acp.toml:{at}:")));
            assert!(found, "{command}: no acp.toml:{at} with {key} in:\n{said}");
        }
    }
}

#[test]
fn all_values_that_cannot_be_read_are_reported_with_key_and_line() {
    check_mistakes(
        "head_timeout = \"fast\"",
        &[("\"100 USD\"", "\"100\""), ("period = ", "periot = ")],
        &[
            ("listen.head_timeout", "head_timeout"),
            ("usage.budget[0].max_spend", "max_spend"),
            ("usage.budget[0].periot", "periot"),
        ],
    );
}

#[test]
fn values_that_cannot_be_read_hide_no_contradictions() {
    check_mistakes(
        "head_timeout = \"fast\"",
        &[("\"100 USD\"", "\"100\""), ("upstream = \"crm\"", "upstream = \"crn\""), ("rules.cedar", "none.cedar")],
        &[
            ("listen.head_timeout", "head_timeout"),
            ("usage.budget[0].max_spend", "max_spend"),
            ("route[0].upstream", "upstream = \"crn\""),
            ("policy.files", "files"),
        ],
    );
}

#[test]
fn all_contradictions_are_reported_with_key_and_line() {
    check_mistakes(
        "body_bytes_max = \"1 GiB\"",
        &[("upstream = \"crm\"", "upstream = \"crn\""), ("rules.cedar", "none.cedar")],
        &[
            ("listen.body_bytes_max", "body_bytes_max"),
            ("route[0].upstream", "upstream = \"crn\""),
            ("policy.files", "files"),
        ],
    );
}

#[test]
fn a_correct_configuration_is_accepted_by_check_and_run_alike() {
    let backend = Backend::plain();
    let site = site(&backend);
    let said = run(acp().args(["check", "--config"]).arg(site.path("acp.toml")));
    assert_eq!(said.code, Some(0), "{said:?}");
    let gateway = site.start();
    assert_eq!(stopping_call(&gateway), 200);
    gateway.stop();
}
