//! The gateway under simulation: the real pipeline, usage tables, ledger, rings and log, without sockets and threads of
//! its own control side.
//!
//! A process' life is a [`World`] over a directory. A crash copies the directory as it is at that instant (pages of
//! mapped rings included: what `kill -9` leaves) and opens the copy; a cut in the middle of the writer's `write(2)` is
//! put together from the directory before and after it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use acp::audit::ring::RingWriter;
use acp::audit::verify::Verifier;
use acp::clock::Now;
use acp::config;
use acp::control::audit_writer::{AuditWriter, Opened};
use acp::control::ledger::LedgerStore;
use acp::control::{publish, recover};
use acp::identity::dev::DevIssuer;
use acp::identity::jwks::KeySet;
use acp::identity::{KeyState, Keys, Revocations, TokenCache, TokenHashKey};
use acp::ids::{Key128, RequestIds, TenantId, UserId};
use acp::pipeline::{Addresses, ArgumentKey, Core, Current, Snapshot};
use acp::policy::DecisionCache;
use acp::protocol::json::Walker;
use acp::safety::Scan;
use acp::usage::{Usage, budget_key};

use super::model::Principal;
use super::rules::{RING_BYTES, Rules};

/// Workers, each with its own caches and ring.
pub(super) const WORKERS: usize = 2;

/// Bytes of a log segment.
const SEGMENT_BYTES: u64 = 128 * 1024;

/// The one key that all simulated issuers sign with: to make one takes as long as a hundred requests.
pub(super) fn issuer() -> &'static DevIssuer {
    static ISSUER: OnceLock<DevIssuer> = OnceLock::new();
    ISSUER.get_or_init(|| DevIssuer::generate("key-1").expect("a key"))
}

/// A running gateway.
pub(super) struct World {
    dir: PathBuf,
    usage: Arc<Usage>,
    store: LedgerStore,
    writer: AuditWriter,
    pub(super) workers: Vec<Rc<Worker>>,
    /// What workers take their snapshots from.
    pub(super) snapshot: Rc<RefCell<Current>>,
}

/// A worker's own state.
pub(super) struct Worker {
    pub(super) core: RefCell<Core>,
    pub(super) ring: RingWriter,
}

/// Whether a ring has room for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Room {
    Yes,
    No,
    /// As near to the bound as the reading is coarse, or a matter of the tenant's share.
    Unclear,
}

/// Rounded-up sizes of what the ring sets room aside for (`audit::ring`).
const ENTRY: u64 = 4_096 + 8;
const CALL: u64 = ENTRY + 512 + 8;

impl Worker {
    /// Room for a refusal, or for a call's intent and outcome.
    pub(super) fn room(&self, call: bool) -> Room {
        let (size, step) = (if call { CALL } else { ENTRY }, RING_BYTES.div_ceil(255));
        let least = u64::from(self.ring.fill()) * RING_BYTES / 255;
        if least + step + size + ENTRY <= RING_BYTES / 2 {
            Room::Yes
        } else if least + size + 2 * ENTRY > RING_BYTES {
            Room::No
        } else {
            Room::Unclear
        }
    }
}

impl World {
    /// Starts a gateway over what lies in `dir`, as `control::gateway` does.
    pub(super) fn open(dir: &Path, rules: &Rules, generation: u64, now: Now) -> Self {
        let settings = compile(dir, rules, generation);
        let config = &settings.config;
        let fresh = !config.audit.dir.exists();
        let Opened { writer, rings, whole, .. } =
            AuditWriter::open(&config.audit, WORKERS, now).expect("the log opens");
        assert!(whole || fresh, "within one boot of the host, nothing is missing");
        let mut store = LedgerStore::open(&config.usage.ledger, now).expect("the ledger opens");
        recover::reconcile(&mut store, &config.audit.dir, whole).expect("the ledger agrees with the log");
        store.follow_log(Arc::clone(writer.health().segment()));
        let usage = Usage::new(&config.usage);
        let workers = rings.iter().map(|ring| {
            let ring = ring.attach().expect("a fresh ring");
            let core = Core {
                ids: RequestIds::new(),
                tokens: TokenCache::new(64, TokenHashKey::new(&[7; 32])),
                walker: Walker::new(),
                scan: Scan::default(),
                decisions: DecisionCache::new(),
                usage: Arc::clone(&usage),
                ring: ring.clone(),
                argument_key: ArgumentKey::new(1, &[9; 32]),
            };
            Rc::new(Worker { core: RefCell::new(core), ring })
        });
        let workers = workers.collect();
        let keys = keys(&settings.config);
        let snapshot = Snapshot {
            generation,
            settings: Arc::new(settings),
            keys: Arc::new(keys),
            revoked: Arc::new(Revocations::default()),
            quarantined: Arc::default(),
            addresses: Arc::new(Addresses::default()),
        };
        Self {
            dir: dir.to_owned(),
            usage,
            store,
            writer,
            workers,
            snapshot: Rc::new(RefCell::new(Rc::new(Arc::new(snapshot)))),
        }
    }

    /// Puts other rules in force for requests from now on.
    pub(super) fn reload(&mut self, rules: &Rules, generation: u64) {
        let settings = compile(&self.dir, rules, generation);
        let keys = keys(&settings.config);
        let revoked = Arc::clone(&self.current().revoked);
        self.publish(Snapshot {
            generation,
            settings: Arc::new(settings),
            keys: Arc::new(keys),
            revoked,
            quarantined: Arc::default(),
            addresses: Arc::default(),
        });
    }

    /// Revokes what `revoked` says, and nothing else.
    pub(super) fn revoke(&mut self, revoked: Revocations, generation: u64) {
        let old = self.current();
        self.publish(Snapshot {
            generation,
            settings: Arc::clone(&old.settings),
            keys: Arc::clone(&old.keys),
            revoked: Arc::new(revoked),
            quarantined: Arc::clone(&old.quarantined),
            addresses: Arc::clone(&old.addresses),
        });
    }

    fn current(&self) -> Current {
        self.snapshot.borrow().clone()
    }

    fn publish(&mut self, snapshot: Snapshot) {
        self.snapshot.replace(Rc::new(Arc::new(snapshot)));
    }

    /// One pass of the ledger's thread.
    pub(super) fn grant(&mut self, now: Now) {
        self.store.grant_pending(&self.usage, &self.current().settings.plan, now).expect("leases are committed");
    }

    pub(super) fn fold(&mut self, now: Now) {
        self.store.fold(&self.usage, &self.current().settings.plan, now).expect("spend is committed");
    }

    pub(super) fn sweep(&self, now: Now) {
        self.usage.sweep(now);
    }

    /// Drains the rings into the log.
    pub(super) fn drain(&mut self, now: Now) {
        while self.writer.drain(now).more {}
    }

    /// Settled spend of a budget, by the ledger.
    pub(super) fn spent(&mut self, principal: Principal) -> u64 {
        let spend = self.store.spend(&self.usage, key(principal)).expect("the ledger reads");
        spend.map_or(0, |spend| spend.spent_microusd)
    }

    /// The number of the log's lines cannot shrink, and their order not change: all of them, in order.
    pub(super) fn log(&self) -> Vec<(u64, Vec<u8>)> {
        segments(&self.dir.join("audit"))
    }

    /// Checks the chain; the number of records in it.
    pub(super) fn verify(&self) -> Result<u64, String> {
        let mut verifier = Verifier::new(None, None);
        for (number, bytes) in self.log() {
            verifier.segment(number, &bytes).map_err(|fault| fault.to_string())?;
        }
        verifier.finish().map(|report| report.records).map_err(|fault| fault.to_string())
    }

    /// A clean end: the log's last records, then the ledger's leases. The directory is left.
    pub(super) fn close(self, now: Now) -> PathBuf {
        drop(self.workers);
        self.writer.close(now).expect("the log closes");
        self.store.close(&self.usage).expect("the ledger closes");
        self.dir
    }

    /// What a kill at this instant leaves, in a directory of its own.
    pub(super) fn killed(&self, to: &Path) {
        copy(&self.dir, to);
    }

    /// What a kill in the middle of the log's next write leaves, after the share `cut` / 256 of it.
    pub(super) fn killed_writing(&mut self, to: &Path, cut: u64, now: Now) {
        copy(&self.dir, to);
        let before = self.log();
        self.drain(now);
        let after = self.log();
        let (Some((number, old)), Some((last, new))) = (before.last(), after.last()) else { return };
        if number != last || new.len() <= old.len() {
            return;
        }
        let kept = old.len() + (new.len() - old.len()) * cut as usize / 256;
        let audit = to.join("audit");
        fs::write(audit.join(acp::audit::files::segment(*last)), &new[..kept]).expect("the copy is ours");
        // Keys of subjects are written before the records that they seal.
        let keys = acp::audit::files::KEYS;
        fs::copy(self.dir.join("audit").join(keys), audit.join(keys)).expect("the key file is there");
    }
}

/// The ledger's books over a closed directory: spent per budget, and whether a lease is open.
pub(super) fn closed_books(dir: &Path, now: Now) -> (BTreeMap<Key128, u64>, bool) {
    let mut store = LedgerStore::open(&dir.join("ledger.redb"), now).expect("the ledger opens");
    let mut spent = BTreeMap::new();
    for (budget, spend) in store.standings().expect("the ledger reads") {
        *spent.entry(budget).or_default() += spend.spent_microusd;
    }
    (spent, store.unfolded_since().expect("the ledger reads").is_some())
}

/// The ledger's key of a budget.
pub(super) fn key(principal: Principal) -> Key128 {
    match principal {
        Principal::User(issuer, subject) => {
            budget_key("user", UserId { issuer: issuer.into(), subject: subject.into() }.key())
        }
        Principal::Tenant(issuer, tenant) => {
            budget_key("tenant", TenantId { issuer: issuer.into(), tenant: tenant.into() }.key())
        }
    }
}

fn compile(dir: &Path, rules: &Rules, generation: u64) -> acp::pipeline::Settings {
    fs::write(dir.join("crm.cedar"), rules.policy()).expect("a policy file");
    let mut config = config::parse(&rules.config(), dir).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    // Smaller than a file may say, so that recovery reads several.
    config.audit.segment_bytes = SEGMENT_BYTES;
    publish::compile(config, generation).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn keys(config: &config::Config) -> Keys {
    let set = Arc::new(KeySet::parse(issuer().jwks().as_bytes()).expect("our own key set"));
    let none = Keys::for_config(&config.identity, None);
    (0..config.identity.issuers.len()).fold(none, |keys, at| keys.with(at, Some(Arc::clone(&set)), KeyState::Good))
}

fn segments(audit: &Path) -> Vec<(u64, Vec<u8>)> {
    let entries = fs::read_dir(audit).expect("the log's directory");
    let mut numbers: Vec<u64> =
        entries.filter_map(|entry| acp::audit::files::segment_number(entry.ok()?.file_name().to_str()?)).collect();
    numbers.sort_unstable();
    let read = |number| fs::read(audit.join(acp::audit::files::segment(number))).expect("a segment");
    numbers.into_iter().map(|number| (number, read(number))).collect()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a directory");
    fs::set_permissions(to, fs::metadata(from).expect("its mode").permissions()).expect("its mode");
    for entry in fs::read_dir(from).expect("the directory") {
        let path = entry.expect("an entry").path();
        let target = to.join(path.file_name().expect("it has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copy");
        }
    }
}
