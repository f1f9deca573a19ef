//! Start-up and shutdown of the whole gateway, in the one order that works.
//!
//! On the main thread, before any other exists: enter the cgroup, open the listeners, load and attach the kernel plane,
//! drop every privilege. Then the log (which recovers what a killed process left), the ledger (reconciled with the
//! log), and only then the threads. Shutdown goes the other way: workers drain, then the log takes their last records,
//! then the ledger returns unspent leases.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use arc_swap::ArcSwap;

use super::audit_thread::{AuditThread, Detail};
use super::audit_writer::{AuditWriter, Opened, Tail};
use super::interfaces;
use super::ledger::LedgerStore;
use super::ledger_thread::LedgerThread;
use super::publish::{self, Publisher};
use super::recover;
use super::service::{self, Parts, SharedPlane, Source};
use super::status::Status;
use crate::audit::json::event::EventKind;
use crate::audit::ring::RingHandle;
use crate::clock::Now;
use crate::config::{Config, resolved};
use crate::identity::{TokenCache, TokenHashKey};
use crate::ids::RequestIds;
use crate::kernel::source::Sources;
use crate::kernel::{self, Reached};
use crate::pipeline::{ArgumentKey, Core, Settings};
use crate::policy::DecisionCache;
use crate::protocol::json::Walker;
use crate::routing::address::AddressGuard;
use crate::safety::Scan;
use crate::server::live::LiveLists;
use crate::server::metrics::{Count, WorkerMetrics};
use crate::server::runtime::Driver;
use crate::server::supervisor::{self, Common, Supervisor, Supplies};
use crate::server::{Shared, listener};
use crate::usage::Usage;

/// Between looks at the workers by the main thread.
const TEND: Duration = Duration::from_millis(100);

/// How long the workers' first beats are waited for.
const START_MAX: Duration = Duration::from_secs(5);

/// How a gateway is started.
pub struct Options {
    /// Where the configuration came from.
    pub source: Source,
    /// Receives every audit record as it is written.
    pub tail: Option<SyncSender<Tail>>,
    /// Runs once privileges are dropped, before keys are fetched: the first moment at which threads may be started.
    pub unprivileged: Option<Box<dyn FnOnce() -> anyhow::Result<()>>>,
}

/// A running gateway.
pub struct Gateway {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where health and metrics are.
    pub metrics: SocketAddr,
    /// The kernel tier, and what it lacks.
    pub reached: Reached,
    shared: Arc<Shared>,
    supervisor: Supervisor,
    common: Common,
    audit: AuditThread,
    ledger: LedgerThread,
    control: std::thread::JoinHandle<anyhow::Result<()>>,
    ended: Arc<AtomicBool>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("address", &self.address)
            .field("reached", &self.reached)
            .finish_non_exhaustive()
    }
}

/// What workers are made of, kept for their replacements.
struct Stock {
    rings: Vec<RingHandle>,
    usage: Arc<Usage>,
    cache_entries: usize,
    token_key: [u8; 32],
    argument_key: [u8; 32],
    /// Another in every process, since the key is: digests of two ids are never comparable.
    argument_key_id: u32,
}

impl Supplies for Stock {
    fn core(&self, worker: usize) -> anyhow::Result<Core> {
        Ok(Core {
            ids: RequestIds::new(),
            tokens: TokenCache::new(self.cache_entries, TokenHashKey::new(&self.token_key)),
            walker: Walker::default(),
            scan: Scan::default(),
            decisions: DecisionCache::new(),
            usage: Arc::clone(&self.usage),
            ring: self.rings[worker].attach().context("cannot attach to the audit ring")?,
            argument_key: ArgumentKey::new(self.argument_key_id, &self.argument_key),
        })
    }
}

impl Gateway {
    /// Starts everything. Must be called on a process' only thread.
    ///
    /// # Errors
    /// What is in the way, in words for the operator.
    pub fn start(config: Config, options: Options) -> anyhow::Result<Self> {
        let settings = publish::compile(config, 1)?;
        let config = &settings.config;
        let workers = match config.listen.workers {
            0 => supervisor::affinity().len().max(1),
            some => some,
        };

        let best = match config.listen.driver {
            resolved::Driver::Auto => Driver::UringDefer,
            resolved::Driver::Epoll => Driver::Epoll,
        };
        let node = kernel::enter_cgroup(&config.kernel);
        let listeners = listener::open(config.listen.address, workers)
            .with_context(|| format!("listen.address: cannot listen on {}", config.listen.address))?;
        let address = listeners[0].local_addr()?;
        let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
        let (plane, reached) = kernel::open(&config.kernel, node, &fds)?;
        kernel::drop_privileges(None)?;
        say_tier(&reached);
        if let Some(unprivileged) = options.unprivileged {
            unprivileged()?;
        }

        let Opened { mut writer, rings, recovered, whole } = AuditWriter::open(&config.audit, workers, Now::read())
            .with_context(|| format!("audit.dir {}", config.audit.dir.display()))?;
        if !recovered.is_empty() {
            tracing::warn!("{} calls were under way when the last process died; they count as spent", recovered.len());
        }
        if let Some(tail) = options.tail {
            writer.subscribe(tail);
        }
        let mut store = LedgerStore::open(&config.usage.ledger, Now::read())
            .with_context(|| format!("usage.ledger {}", config.usage.ledger.display()))?;
        recover::reconcile(&mut store, &config.audit.dir, whole)?;
        store.follow_log(Arc::clone(writer.health().segment()));

        let usage = Usage::new(&config.usage);
        let stock = Stock {
            rings,
            usage: Arc::clone(&usage),
            cache_entries: config.identity.cache_entries,
            token_key: random()?,
            argument_key: random()?,
            argument_key_id: u32::from_le_bytes(random()?),
        };
        let guard = AddressGuard::new(vec![address, config.admin.metrics], interfaces::addresses());
        let sources = Arc::new(Sources::new(&config.kernel, &config.listen.trusted_proxies));
        let start = start_event(&settings, &reached, workers);
        let publisher = Arc::new(Publisher::new(settings));
        let shared = Arc::new(Shared {
            snapshot: Arc::clone(publisher.current()),
            usage: Arc::clone(&usage),
            sources: ArcSwap::from(sources),
            draining: AtomicBool::new(false),
            workers: (0..workers).map(|_| Arc::new(WorkerMetrics::default())).collect(),
            signals_lost: Count::default(),
            reports_lost: Count::default(),
            live: LiveLists::default(),
        });
        let status = Arc::new(Status::default());
        status.ledger_ok.store(true, Ordering::Relaxed);
        *status.tier.lock().unwrap_or_else(PoisonError::into_inner) = (Some(reached.tier), reached.why.clone());

        let audit = AuditThread::start(writer)?;
        audit.events().send(EventKind::Start, start);
        let ledger = LedgerThread::start(store, usage, Arc::clone(&shared.snapshot), Arc::clone(&status))?;
        let (queue_sender, queues) = mpsc::channel();
        let plane: SharedPlane = Arc::new(Mutex::new(plane));
        let for_workers = Arc::clone(&plane);
        let mut common = Common {
            shared: Arc::clone(&shared),
            supplies: Arc::new(stock),
            best,
            plane: Box::new(move |worker| {
                let plane = for_workers.lock().unwrap_or_else(PoisonError::into_inner);
                plane.worker(worker as u32).map_err(std::io::Error::other)
            }),
            signals: Box::new(move |worker, queue| {
                // The control thread outlives every worker; a failed send means the process is ending.
                let _ = queue_sender.send((worker, queue));
            }),
        };
        let parts = Parts {
            source: options.source,
            shared: Arc::clone(&shared),
            publisher,
            status,
            events: audit.events().clone(),
            audit_health: Arc::clone(audit.health()),
            plane,
            queues,
            guard,
        };
        let ended = Arc::new(AtomicBool::new(false));
        let (ready, is_ready) = tokio::sync::oneshot::channel();
        let over = Arc::clone(&ended);
        let control = std::thread::Builder::new()
            .name("acp-control".into())
            .spawn(move || service::run(parts, ready, &|| over.load(Ordering::Acquire)))?;
        let Ok(metrics) = is_ready.blocking_recv() else {
            let error = control.join().map_err(|_| anyhow::anyhow!("the control thread panicked"))?;
            return Err(error.err().unwrap_or_else(|| anyhow::anyhow!("the control thread ended at start")));
        };
        let supervisor = Supervisor::start(listeners, &mut common)?;
        await_beats(&shared);
        Ok(Self { address, metrics, reached, shared, supervisor, common, audit, ledger, control, ended })
    }

    /// Whether the gateway is on its way out.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Looks after the workers until the gateway has drained, then closes log and ledger.
    ///
    /// # Errors
    /// The log's last batch could not be written, or the control side failed.
    pub fn wait(mut self) -> anyhow::Result<()> {
        while !(self.draining() && self.supervisor.ended()) {
            std::thread::sleep(TEND);
            self.supervisor.tend(&mut self.common);
            if self.control.is_finished() {
                self.shared.drain();
            }
        }
        self.ended.store(true, Ordering::Release);
        let control = self.control.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the control thread panicked")));
        drop(self.common);
        self.audit.events().send(EventKind::Stop, Vec::new());
        self.audit.stop().context("the audit log could not be closed; its last records are in the rings")?;
        self.ledger.stop();
        control
    }
}

/// Waits until every worker accepts, so that what is said to serve is ready; one that cannot start shows in `/readyz`.
fn await_beats(shared: &Shared) {
    let deadline = Instant::now() + START_MAX;
    while shared.workers.iter().any(|worker| worker.beat.value() == 0) && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn say_tier(reached: &Reached) {
    tracing::info!("kernel plane: {}", reached.tier);
    for line in &reached.why {
        tracing::warn!("kernel plane: {line}");
    }
}

fn start_event(settings: &Settings, reached: &Reached, workers: usize) -> Vec<(&'static str, Detail)> {
    vec![
        ("version", Detail::Text(env!("CARGO_PKG_VERSION").to_owned())),
        ("config", Detail::Digest(settings.config.digest)),
        ("policy", Detail::Digest(*settings.policy.digest())),
        ("tier", Detail::Text(reached.tier.to_string())),
        ("workers", Detail::Number(workers as u64)),
    ]
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the operating system gives no randomness"))?;
    Ok(bytes)
}
