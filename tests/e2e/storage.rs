//! The disk under it: full, read-only, with damaged files on it. It fails closed, says why and what to do, takes up work
//! again when it can, and loses nothing meanwhile.
//!
//! A small disk is a tmpfs in a mount namespace of its own, which needs root; without it those tests say that they were
//! skipped.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::backend::Backend;
use crate::client::{Answer, get};
use crate::process::{Process, Said, acp, run, wait_for};
use crate::site::{Extra, Gateway, Site, crm, token};

/// Price of a call, in micro-dollars.
const PRICE: u64 = 2_000;

fn site(backend: &Backend) -> Site {
    site_with(backend, "")
}

fn site_with(backend: &Backend, audit: &str) -> Site {
    let sections = format!(
        r#"
[[usage.budget]]
per = "user"
max_spend = "100 USD"
period = "30d"
{crm}
[[route.tool]]
name = "crm/read"
match = {{ method = "GET", path = "*" }}
verb = "read"
price = "0.002 USD"
"#,
        crm = crm(backend)
    );
    let audit = &format!("ring_bytes = \"1 MiB\"\nmin_free_bytes = \"2 MiB\"\n{audit}");
    let ledger = Some("{dir}/audit/ledger.redb");
    Site::new(&Extra { sections: &sections, audit, ledger, ..Extra::default() })
}

fn call(gateway: &Gateway) -> Answer {
    gateway.ask(get("/tools/crm/x", &token("auth0|alice")))
}

/// Calls until one is refused: the answer, and how many came before it.
#[track_caller]
fn call_until_refused(gateway: &Gateway) -> (Answer, u64) {
    let mut answered = 0;
    let refused = wait_for("a refusal", || {
        let answer = call(gateway);
        answered += u64::from(answer.status == 200);
        (answer.status != 200).then_some(answer)
    });
    (refused, answered)
}

/// A tmpfs of its own size where the site's log and ledger are, seen by those who are started on it alone.
struct Disk {
    holder: Process,
    directory: PathBuf,
}

impl Disk {
    /// `None`, and said so, where mounting is not allowed.
    fn mount(site: &Site, bytes: usize) -> Option<Self> {
        let directory = site.path("audit");
        fs::create_dir_all(&directory).expect("the directory is ours");
        let mount = r#"mount -t tmpfs -o mode=0700,size="$1" none "$2" && echo mounted && exec tail -f /dev/null"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", mount, "sh", &bytes.to_string()]).arg(&directory);
        let holder = Process::start(&mut command);
        let mounted = wait_for("the mount", || {
            let refused = !holder.stderr.text().is_empty();
            (refused || holder.stdout.text() == "mounted").then_some(!refused)
        });
        if !mounted {
            let why = holder.stderr.text();
            let _ = std::io::stderr().write_all(format!("SKIPPED: no disk of its own: {why}\n").as_bytes());
        }
        mounted.then_some(Self { holder, directory })
    }

    /// The directory, as seen from outside.
    fn path(&self) -> PathBuf {
        let inside = self.directory.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(inside)
    }

    /// A command that sees the disk.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.id().to_string()]).arg(program);
        command
    }

    fn gateway(&self, site: &Site) -> Command {
        let mut command = self.command(acp().get_program());
        command.env_remove("RUST_LOG").arg("run").arg("--config").arg(site.path("acp.toml"));
        command
    }

    #[track_caller]
    fn start(&self, site: &Site) -> Gateway {
        Gateway::of(Process::start(&mut self.gateway(site)))
    }

    /// Fills it but for so many bytes.
    #[track_caller]
    fn fill(&self, leave: u64) {
        let path = self.path().join("filler");
        let mut filler = fs::File::create(&path).expect("room for a name");
        while filler.write_all(&[1; 4096]).is_ok() {}
        let size = filler.metadata().expect("our file").len();
        filler.set_len(size.saturating_sub(leave)).expect("our file");
    }

    #[track_caller]
    fn clear(&self) {
        fs::remove_file(self.path().join("filler")).expect("our file");
    }

    /// The chain holds, and log and ledger have exactly the calls that were answered.
    #[track_caller]
    fn check(&self, answered: u64) {
        let path = self.path();
        let ask = |args: &[&str], option: &str, path: &Path| {
            let said = run(acp().args(args).arg(option).arg(path));
            assert_eq!(said.code, Some(0), "{args:?}: {}{}", said.stdout, said.stderr);
            said.stdout
        };
        ask(&["audit", "verify"], "--dir", &path);
        let allowed = ask(&["audit", "query", "--decision", "allow", "--format", "json"], "--dir", &path);
        assert_eq!(allowed.lines().count() as u64, answered);
        let spent = ask(&["usage", "spent", "--total"], "--ledger", &path.join("ledger.redb"));
        assert_eq!(spent.trim(), (answered * PRICE).to_string());
    }
}

#[track_caller]
fn unready(gateway: &Gateway) -> String {
    let ready = wait_for("/readyz to fail", || Some(gateway.admin("/readyz")).filter(|ready| ready.status == 503));
    ready.json()["unready"].to_string()
}

#[test]
fn need_b02_below_its_reserve_of_disk_it_refuses_new_work_and_goes_on_when_there_is_room() {
    let backend = Backend::plain();
    let site = site(&backend);
    let Some(disk) = Disk::mount(&site, 24 << 20) else { return };
    let gateway = disk.start(&site);
    assert_eq!(call(&gateway).status, 200);
    disk.fill(1 << 20);
    // Nothing is written meanwhile, so that it is the reserve that is noticed and not a write that fails.
    let why = unready(&gateway);
    assert!(why.contains("audit.min_free_bytes"), "{why}");
    let refused = call(&gateway);
    assert_eq!((refused.status, refused.code().as_str()), (503, "audit_unavailable"));
    disk.clear();
    wait_for("work to be taken again", || (call(&gateway).status == 200).then_some(()));
    wait_for("/readyz to say so", || (gateway.admin("/readyz").status == 200).then_some(()));
    gateway.stop();
    disk.check(2);
}

#[test]
fn threat_a04_on_a_full_disk_it_refuses_new_work_and_a_kill_there_loses_nothing() {
    let backend = Backend::plain();
    let site = site(&backend);
    let Some(disk) = Disk::mount(&site, 24 << 20) else { return };
    let mut gateway = disk.start(&site);
    assert_eq!(call(&gateway).status, 200);
    disk.fill(0);
    let (refused, answered) = call_until_refused(&gateway);
    let code = refused.code();
    assert!(refused.status == 503 && (code == "audit_unavailable" || code == "ledger_unavailable"), "{refused:?}");
    unready(&gateway);
    gateway.process.kill();

    for _ in 0..3 {
        let said = run(&mut disk.gateway(&site));
        assert_eq!(said.code, Some(1), "{said:?}");
        let audit = disk.directory.display().to_string();
        assert!(said.stderr.contains(&audit) && said.stderr.contains("No space left on device"), "{}", said.stderr);
    }
    disk.clear();
    let gateway = disk.start(&site);
    assert_eq!(call(&gateway).status, 200);
    gateway.stop();
    disk.check(answered + 2);
}

#[test]
fn a_read_only_state_directory_is_named_at_the_start() {
    let backend = Backend::plain();
    let site = site(&backend);
    let Some(disk) = Disk::mount(&site, 24 << 20) else { return };
    disk.start(&site).stop();
    let remount = |how: &str| {
        let said = run(disk.command("mount").args(["-o", how]).arg(&disk.directory));
        assert_eq!(said.code, Some(0), "{said:?}");
    };
    remount("remount,ro");
    let said = run(&mut disk.gateway(&site));
    assert_eq!(said.code, Some(1), "{said:?}");
    let audit = disk.directory.display().to_string();
    assert!(said.stderr.contains(&audit) && said.stderr.contains("Read-only file system"), "{}", said.stderr);
    remount("remount,rw");
    disk.start(&site).stop();
}

/// How long each sync takes on the slow disk.
const SLOW: Duration = Duration::from_millis(100);

/// A gateway whose every sync takes [`SLOW`]; `None`, and said so, where nothing can be made slow.
fn start_on_slow_disk(site: &Site) -> Option<Gateway> {
    let inject = format!("inject=fsync,fdatasync:delay_enter={}", SLOW.as_micros());
    let traced = || {
        let mut command = Command::new("strace");
        // As a grandchild, so that signals reach the gateway.
        command.args(["-D", "-f", "-qq", "-o", "/dev/null", "--seccomp-bpf", "-e", "trace=fsync,fdatasync"]);
        command.args(["-e", &inject]).env_remove("RUST_LOG").env("NO_COLOR", "1");
        command
    };
    if !traced().arg("true").stdin(Stdio::null()).status().is_ok_and(|status| status.success()) {
        let _ = std::io::stderr().write_all(b"SKIPPED: no strace to make a disk slow with\n");
        return None;
    }
    let mut command = traced();
    command.arg(acp().get_program()).arg("run").arg("--config").arg(site.path("acp.toml"));
    Some(Gateway::of(Process::start(&mut command)))
}

/// Under `durability = "batch"` no call waits for the disk; under `"fsync"` each waits for its intent, and what was
/// answered survives even the kill that comes before the next sync.
#[test]
fn a_slow_disk_delays_only_who_asked_to_wait_for_it() {
    const CALLS: usize = 20;
    let backend = Backend::plain();
    for (durability, waits) in [("batch", false), ("fsync", true)] {
        let site = site_with(&backend, &format!("durability = \"{durability}\""));
        let Some(mut gateway) = start_on_slow_disk(&site) else { return };
        // The first waits for a lease.
        assert_eq!(call(&gateway).status, 200);
        let begin = Instant::now();
        let mut ids = Vec::new();
        while ids.len() < CALLS {
            let answer = call(&gateway);
            match answer.status {
                200 => ids.push(answer.id()),
                // A real disk may be slower still, and a call waits for it no longer than a second.
                _ => assert!(waits && answer.code() == "audit_unavailable", "{durability}: {answer:?}"),
            }
        }
        let took = begin.elapsed();
        assert_eq!(took >= CALLS as u32 * SLOW, waits, "{CALLS} calls took {took:?} under {durability}");
        gateway.process.kill();
        site.start().stop();
        let allowed = site.records(&["--decision", "allow"]);
        assert!(ids.iter().all(|id| allowed.iter().any(|record| record["id"] == id.as_str())), "{durability}");
    }
}

/// Runs the gateway, which must not come up.
#[track_caller]
fn fails_to_start(site: &Site) -> Said {
    let said = run(acp().arg("run").arg("--config").arg(site.path("acp.toml")));
    assert_eq!(said.code, Some(1), "{said:?}");
    said
}

/// Every file that it keeps: damaged, the start is refused, the message names file and way out, and nothing is touched.
#[test]
fn a_damaged_file_stops_the_start_and_the_way_out_is_named() {
    let backend = Backend::plain();
    let site = site(&backend);
    let mut gateway = site.start();
    assert_eq!(call(&gateway).status, 200);
    site.record(&call(&gateway).id());
    gateway.process.kill();
    let ring = fs::read_dir(site.path("audit")).expect("a directory").map(|entry| entry.expect("an entry").path());
    let ring = { ring }.find(|path| path.extension().is_some_and(|extension| extension == "ring")).expect("a ring");
    let path = |name: &str| site.path("audit").join(name);
    // In which byte, and words of the message.
    let cases = [
        (ring, 20, "move it out of the directory"),
        (path("segment-00000001.jsonl"), 400, "move its *.jsonl and *.ring files out of the directory"),
        (path("subject.keys"), 100, "Restore it from a backup"),
        (path("signing.key"), 3, "Restore it from a backup"),
        (path("ledger.redb"), 3, "restore it from a backup"),
    ];
    for (path, at, way_out) in &cases {
        let whole = fs::read(path).expect("a file of the gateway's");
        let mut damaged = whole.clone();
        damaged[*at] ^= 0xff;
        fs::write(path, &damaged).expect("a file of the gateway's");
        let said = fails_to_start(&site).stderr;
        let directory = path.parent().expect("a directory").display().to_string();
        assert!(said.contains(&directory) && said.contains(way_out), "{}: {said}", path.display());
        assert_eq!(fs::read(path).expect("still there"), damaged, "{} was changed", path.display());
        fs::write(path, whole).expect("a file of the gateway's");
    }
    let gateway = site.start();
    assert_eq!(call(&gateway).status, 200);
    gateway.stop();
    let spent = site.acp(&["usage", "spent", "--total"], "--ledger", "audit/ledger.redb");
    assert_eq!(spent.stdout.trim(), (3 * PRICE).to_string(), "refused starts cost nothing");
}
