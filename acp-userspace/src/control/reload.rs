//! Reloads, prepared beside the control loop: reading files, compiling and looking names up take as long as a disk and
//! a name server let them, while signals, keys, leases and penalties go on. The loop only puts the result in force.
//!
//! One is under way at a time. What asks meanwhile shares the next one, which begins when that one has ended: files
//! that changed after they were read are read again.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{publish, resolve};
use crate::config::Config;
use crate::config::resolved::Credentials;
use crate::pipeline::{Addresses, Settings, Snapshot};
use crate::routing::address::AddressGuard;

/// Who may wait for one reload; more are told that the gateway is busy.
const ASKED_MAX: usize = 64;

/// Told the new generation, or every mistake.
pub(super) type Asked = oneshot::Sender<Result<u64, String>>;

/// What a preparation came to.
#[derive(Debug)]
pub(super) enum Prepared {
    /// Cannot be put in force: every mistake.
    Refused(String),
    /// Says what is in force already.
    Same,
    /// To be put in force, with the addresses of its upstreams.
    Changed(Arc<Settings>, Addresses),
}

/// A reload that was asked for: by what, how long its files may still be changing, and who waits for it.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) why: &'static str,
    pub(super) settle: Duration,
    pub(super) asked: Vec<Asked>,
}

/// The reload under way, and the one behind it.
#[derive(Debug, Default)]
pub(super) struct Reloads {
    running: Option<(JoinHandle<Prepared>, Wanted)>,
    next: Option<Wanted>,
}

impl Reloads {
    /// Notes that a reload is wanted; [`Reloads::begin`] starts it.
    pub(super) fn want(&mut self, why: &'static str, settle: Duration, asked: Option<Asked>) {
        let next = self.next.get_or_insert_with(|| Wanted { why, settle, asked: Vec::new() });
        next.settle = next.settle.max(settle);
        if next.asked.len() < ASKED_MAX {
            next.asked.extend(asked);
        }
    }

    /// Starts what is wanted, unless one is under way.
    pub(super) fn begin<F>(&mut self, prepare: impl FnOnce(Duration) -> F)
    where
        F: Future<Output = Prepared> + Send + 'static,
    {
        if self.running.is_none()
            && let Some(wanted) = self.next.take()
        {
            self.running = Some((tokio::spawn(prepare(wanted.settle)), wanted));
        }
    }

    /// Waits for the end of the one under way; for ever when there is none. Cancel safe.
    pub(super) async fn ended(&mut self) -> (Prepared, Wanted) {
        if let Some((task, _)) = &mut self.running {
            let prepared = task.await.unwrap_or_else(|panicked| Prepared::Refused(panicked.to_string()));
            if let Some((_, wanted)) = self.running.take() {
                return (prepared, wanted);
            }
        }
        std::future::pending().await
    }
}

/// Reads the configuration and everything that it names, compiles it, and resolves its upstreams.
pub(super) async fn prepare(path: PathBuf, old: Arc<Snapshot>, guard: AddressGuard, settle: Duration) -> Prepared {
    tokio::time::sleep(settle).await;
    let generation = old.settings.generation + 1;
    let read = tokio::task::spawn_blocking(move || {
        let config = crate::config::load(&path).map_err(|mistakes| mistakes.to_string())?;
        publish::compile(config, generation).map_err(|mistakes| mistakes.to_string())
    });
    let settings = match read.await.unwrap_or_else(|panicked| Err(panicked.to_string())) {
        Ok(settings) => settings,
        Err(mistakes) => return Prepared::Refused(mistakes),
    };
    match needs_restart(&old.settings.config, &settings.config) {
        keys if !keys.is_empty() => return Prepared::Refused(format!("needs a restart: {}", keys.join(", "))),
        _ if same(&old.settings, &settings) => return Prepared::Same,
        _ => {}
    }
    let addresses = resolve::resolve(&settings.config.upstreams, &guard, &old).await;
    Prepared::Changed(Arc::new(settings), addresses)
}

/// Whether nothing that was read differs: the file, the policies, the credentials (THREATS B10).
fn same(old: &Settings, new: &Settings) -> bool {
    let secrets = |settings: &Settings| -> Vec<_> {
        let upstreams = settings.config.upstreams.iter();
        let credentials = upstreams.filter_map(|upstream| value_of(&upstream.credentials).cloned());
        let tokens = settings.config.safety.tokens.keys.iter().map(|key| key.secret.clone());
        credentials.chain(tokens).collect()
    };
    old.config.digest == new.config.digest && old.policy.digest() == new.policy.digest() && secrets(old) == secrets(new)
}

fn value_of(credentials: &Credentials) -> Option<&crate::config::resolved::Secret> {
    match credentials {
        Credentials::Service { value, .. } => Some(value),
        Credentials::None | Credentials::Forward => None,
    }
}

/// Keys of the file that only a new process can adopt: privileges and descriptors are gone by now.
fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    let mut keys = Vec::new();
    let mut compare = |same: bool, key| {
        if !same {
            keys.push(key);
        }
    };
    compare(old.listen.address == new.listen.address, "listen.address");
    compare(old.listen.workers == new.listen.workers, "listen.workers");
    compare(old.listen.driver == new.listen.driver, "listen.driver");
    compare(old.audit.dir == new.audit.dir, "audit.dir");
    compare(old.audit.ring_bytes == new.audit.ring_bytes, "audit.ring_bytes");
    compare(old.audit.durability == new.audit.durability, "audit.durability");
    compare(old.audit.segment_bytes == new.audit.segment_bytes, "audit.segment_bytes");
    compare(old.audit.segment_age == new.audit.segment_age, "audit.segment_age");
    compare(old.audit.min_free_bytes == new.audit.min_free_bytes, "audit.min_free_bytes");
    compare(old.audit.head_interval == new.audit.head_interval, "audit.head_interval");
    compare(old.usage.ledger == new.usage.ledger, "usage.ledger");
    compare(old.usage.slots == new.usage.slots, "usage.slots");
    let share = |config: &Config| config.usage.slots_tenant_share_percent;
    compare(share(old) == share(new), "usage.slots_tenant_share_percent");
    compare(old.identity.cache_entries == new.identity.cache_entries, "identity.cache_entries");
    compare(old.kernel.mode == new.kernel.mode, "kernel.mode");
    compare(old.kernel.egress_guard == new.kernel.egress_guard, "kernel.egress_guard");
    compare(old.kernel.cgroup == new.kernel.cgroup, "kernel.cgroup");
    compare(old.kernel.interfaces == new.kernel.interfaces, "kernel.interfaces");
    compare(old.kernel.shared_sources == new.kernel.shared_sources, "kernel.shared_sources");
    compare(old.admin.socket == new.admin.socket, "admin.socket");
    compare(old.admin.metrics == new.admin.metrics, "admin.metrics");
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a reload has ended now.
    async fn has_ended(reloads: &mut Reloads) -> Option<Wanted> {
        let soon = tokio::time::timeout(Duration::from_millis(20), reloads.ended());
        soon.await.ok().map(|(_, wanted)| wanted)
    }

    #[tokio::test]
    async fn a_slow_preparation_holds_nobody_up_and_what_asks_meanwhile_shares_the_next() {
        let mut reloads = Reloads::default();
        let (finish, finished) = oneshot::channel::<()>();
        reloads.want("first", Duration::ZERO, None);
        reloads.begin(|_| async {
            let _ = finished.await;
            Prepared::Same
        });
        assert!(has_ended(&mut reloads).await.is_none(), "and waiting for it was given up without harm");
        for why in ["second", "third"] {
            reloads.want(why, Duration::ZERO, Some(oneshot::channel().0));
            reloads.begin(|_| async { unreachable!("one at a time") });
        }
        finish.send(()).unwrap();
        assert_eq!(reloads.ended().await.1.why, "first");
        assert!(has_ended(&mut reloads).await.is_none(), "the next has not begun");
        reloads.begin(|_| async { Prepared::Same });
        let (_, wanted) = reloads.ended().await;
        assert_eq!((wanted.why, wanted.asked.len()), ("second", 2));
    }

    #[tokio::test]
    async fn a_bounded_number_waits_for_one_reload() {
        let mut reloads = Reloads::default();
        let mut answers = Vec::new();
        for _ in 0..=ASKED_MAX {
            let (asked, answer) = oneshot::channel();
            reloads.want("admin", Duration::ZERO, Some(asked));
            answers.push(answer);
        }
        let dropped = answers.iter_mut().filter_map(|answer| answer.try_recv().err());
        assert_eq!(dropped.filter(|error| *error == oneshot::error::TryRecvError::Closed).count(), 1);
    }

    /// A configuration of its own `lines`, besides what every one has to have.
    fn config(lines: &str) -> Config {
        let text = format!(
            "[listen]\naddress = \"127.0.0.1:0\"\npublic_url = \"http://h\"\n[[identity.issuer]]\n\
             issuer = \"https://i\"\naudience = [\"a\"]\n[[route]]\npath = \"/\"\nupstream = \"u\"\n[[route.tool]]\n\
             name = \"t\"\nverb = \"read\"\nmatch = {{ method = \"GET\" }}\n\
             [[upstream]]\nname = \"u\"\nurl = \"http://h\"\n{lines}"
        );
        crate::config::parse(&text, std::path::Path::new("/")).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    #[test]
    fn what_the_threads_took_over_at_the_start_needs_a_restart() {
        let check = |lines: &str, key: &str| assert_eq!(needs_restart(&config(""), &config(lines)), [key], "{lines}");
        check("[audit]\ndurability = \"fsync\"", "audit.durability");
        check("[audit]\nsegment_bytes = \"32 MiB\"", "audit.segment_bytes");
        check("[audit]\nmin_free_bytes = \"1 GiB\"", "audit.min_free_bytes");
        check("[usage]\nslots_tenant_share_percent = 50", "usage.slots_tenant_share_percent");
        assert!(
            needs_restart(&config(""), &config("[[safety.rule]]\ndetect = [\"jwt\"]\naction = \"block\"")).is_empty()
        );
    }
}
