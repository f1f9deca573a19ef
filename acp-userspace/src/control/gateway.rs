//! Start-up and shutdown of the whole gateway, in the one order that works.
//!
//! On the main thread, before any other exists: enter the cgroup, open the listeners, load and attach the kernel plane,
//! drop every privilege. Then the log (which recovers what a killed process left), the ledger (reconciled with the
//! log), and only then the threads. Shutdown goes the other way: workers drain, then the log takes their last records,
//! then the ledger returns unspent leases. A gateway that takes over from another begins with what that one offers, and
//! comes to the log when it is left (see [`super::handover`]).

use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use arc_swap::ArcSwap;

use super::audit_thread::{AuditThread, Detail};
use super::audit_writer::{AuditOpenError, AuditWriter, Opened, Tail};
use super::handover::{self, Estate, Host, Listeners, Predecessor, Wanted};
use super::interfaces;
use super::ledger::{LedgerError, LedgerStore};
use super::ledger_thread::LedgerThread;
use super::publish::{self, Publisher};
use super::recover;
use super::relaunch::Relaunch;
use super::service::{self, Parts, SharedPlane, Source};
use super::status::Status;
use crate::audit::json::event::EventKind;
use crate::audit::ring::RingHandle;
use crate::clock::Now;
use crate::config::{Config, resolved};
use crate::identity::{TokenCache, TokenHashKey};
use crate::ids::RequestIds;
use crate::kernel::egress::Egress;
use crate::kernel::source::Sources;
use crate::kernel::{self, KernelPlane, Reached};
use crate::pipeline::{ArgumentKey, Core, Settings};
use crate::policy::DecisionCache;
use crate::protocol::json::Walker;
use crate::routing::address::AddressGuard;
use crate::safety::Scan;
use crate::server::handing::{HandOver, Phase};
use crate::server::live::LiveLists;
use crate::server::metrics::{Count, WorkerMetrics};
use crate::server::quarantine::Resets;
use crate::server::runtime::Driver;
use crate::server::supervisor::{self, Common, Supervisor, Supplies};
use crate::server::{Shared, listener};
use crate::usage::Usage;

/// Between looks at the workers by the main thread.
const TEND: Duration = Duration::from_millis(100);

/// How long the workers' first beats are waited for.
const START_MAX: Duration = Duration::from_secs(5);

/// Before requests are held for a hand-over, so that by then every worker looks often.
const PREPARE: Duration = Duration::from_millis(150);

/// Between looks whether a request is still under way.
const LOOK: Duration = Duration::from_millis(1);

/// How long the log and the ledger of a gateway that died in a hand-over may stay locked.
const UNLOCK_MAX: Duration = Duration::from_secs(5);

/// How a gateway is started.
pub struct Options {
    /// Where the configuration came from.
    pub source: Source,
    /// Receives every audit record as it is written.
    pub tail: Option<SyncSender<Tail>>,
    /// How to start a successor, on SIGUSR2.
    pub relaunch: Option<Relaunch>,
    /// Take over from a gateway that runs, whose requests may be held for so long; if none does, just start.
    pub take_over: Option<Duration>,
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
    usage: Arc<Usage>,
    argument_key: ([u8; 32], u32),
    plane: SharedPlane,
    /// Who wants to take over.
    wanted: Receiver<Wanted>,
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
        let wants_guard = config.kernel.egress_guard && config.kernel.mode != resolved::KernelMode::Off;
        let same = must_stay(config);
        let Ground { address, listeners, plane, reached, before } = match options.take_over {
            Some(_) => Ground::inherit(config, workers, same.clone())?,
            None => Ground::open(config, workers)?,
        };
        let workers = listeners.len();
        kernel::drop_privileges(None)?;
        say_tier(&reached);
        if let Some(unprivileged) = options.unprivileged {
            unprivileged()?;
        }

        let usage = Usage::new(&config.usage);
        let guard = AddressGuard::new(vec![address, config.admin.metrics], interfaces::addresses());
        let sources = Arc::new(Sources::new(&config.kernel, &config.listen.trusted_proxies));
        let start = start_event(&settings, &reached, workers, before.as_ref());
        let (audit, ledger_path, cache_entries) =
            (config.audit.clone(), config.usage.ledger.clone(), config.identity.cache_entries);
        let take_over_socket = handover::socket(&config.admin.socket);
        let egress = plane.egress();
        let publisher = Arc::new(Publisher::new(settings, egress.clone()));
        let egress_guarded = guard_egress(&publisher, egress.as_deref(), wants_guard);
        let mut shared = Shared {
            snapshot: Arc::clone(publisher.current()),
            usage: Arc::clone(&usage),
            sources: ArcSwap::from(sources),
            draining: AtomicBool::new(false),
            hand_over: HandOver::new(workers, None),
            workers: (0..workers).map(|_| Arc::new(WorkerMetrics::default())).collect(),
            signals_lost: Count::default(),
            reports_lost: Count::default(),
            live: LiveLists::default(),
            resets: Resets::default(),
        };
        let mut estate = Estate { argument_key: (random()?, u32::from_le_bytes(random()?)), ..Estate::default() };
        if let (Some(before), Some(hold_max)) = (&before, options.take_over) {
            service::warm(&shared, &publisher, &guard)?;
            let (from, left) = before.take_over(hold_max)?;
            shared.hand_over = HandOver::new(workers, Some(from));
            estate = left.unwrap_or(estate);
        }
        let shared = Arc::new(shared);
        usage.go_on(&estate.counted, Now::read());
        for tenant in &estate.tenants {
            plane.tenants().slot(tenant);
        }

        let Opened { mut writer, rings, recovered, whole } = unlocked(
            || AuditWriter::open(&audit, workers, Now::read()),
            |error| before.is_some() && matches!(error, AuditOpenError::InUse { .. }),
        )
        .with_context(|| format!("audit.dir {}", audit.dir.display()))?;
        if !recovered.is_empty() {
            tracing::warn!("{} calls were under way when the last process died; they count as spent", recovered.len());
        }
        if let Some(tail) = options.tail {
            writer.subscribe(tail);
        }
        let mut store = unlocked(
            || LedgerStore::open(&ledger_path, Now::read()),
            |error| before.is_some() && matches!(error, LedgerError::InUse),
        )
        .with_context(|| format!("usage.ledger {}", ledger_path.display()))?;
        recover::reconcile(&mut store, &audit.dir, whole)?;
        store.follow_log(Arc::clone(writer.health().segment()));

        let stock = Stock {
            rings,
            usage: Arc::clone(&usage),
            cache_entries,
            token_key: random()?,
            argument_key: estate.argument_key.0,
            argument_key_id: estate.argument_key.1,
        };
        let status = Arc::new(Status::default());
        status.ledger_ok.store(true, Ordering::Relaxed);
        status.egress_guarded.store(egress_guarded, Ordering::Relaxed);
        *status.tier.lock().unwrap_or_else(PoisonError::into_inner) = (Some(reached.tier), reached.why.clone());

        let audit = AuditThread::start(writer)?;
        audit.events().send(EventKind::Start, start);
        let ledger = LedgerThread::start(store, Arc::clone(&usage), Arc::clone(&shared.snapshot), Arc::clone(&status))?;
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
            plane: Arc::clone(&plane),
            queues,
            guard,
            relaunch: options.relaunch,
            warm: before.is_some(),
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
        let sockets = listeners.iter().map(TcpListener::try_clone).collect::<std::io::Result<_>>()?;
        let offered = Listeners { address, sockets, plane: Arc::clone(&plane), reached: reached.clone(), same };
        let wanted = Host::start(&take_over_socket, offered);
        let supervisor = Supervisor::start(listeners, &mut common)?;
        await_beats(&shared);
        if let Some(before) = before {
            before.serves();
        }
        let argument_key = estate.argument_key;
        Ok(Self {
            address,
            metrics,
            reached,
            shared,
            supervisor,
            common,
            audit,
            ledger,
            usage,
            argument_key,
            plane,
            wanted,
            control,
            ended,
        })
    }

    /// Whether the gateway is on its way out.
    #[must_use]
    pub fn draining(&self) -> bool {
        self.shared.draining.load(Ordering::Acquire)
    }

    /// Looks after the workers until the gateway has drained, then closes log and ledger; or until another process has
    /// taken over and has all connections.
    ///
    /// # Errors
    /// The log's last batch could not be written, or the control side failed, or a process that took over died at it.
    pub fn wait(mut self) -> anyhow::Result<()> {
        while !(self.draining() && self.supervisor.ended()) {
            match self.wanted.recv_timeout(TEND) {
                Ok(wanted) => match self.hold(&wanted) {
                    Ok(since) => return self.leave(wanted, since),
                    Err(why) => wanted.refuse(why),
                },
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TEND),
            }
            self.supervisor.tend(&mut self.common);
            if self.control.is_finished() {
                self.shared.drain();
            }
        }
        drop(self.common);
        close(self.ended, self.control, self.audit, self.ledger, "stop")
    }

    /// Holds requests until none is under way; since when.
    ///
    /// # Errors
    /// Why that did not come to be; requests go on.
    fn hold(&self, wanted: &Wanted) -> Result<Instant, String> {
        let handing = &self.shared.hand_over;
        handing.enter(Phase::Preparing);
        std::thread::sleep(PREPARE);
        handing.enter(Phase::Holding);
        tracing::info!("hand-over: holding requests");
        let (since, mut closed) = (Instant::now(), false);
        let why = loop {
            if !closed && handing.is_closed() {
                closed = true;
                tracing::info!("hand-over: accepting nothing; who comes waits for the next process");
            }
            if self.draining() {
                break "it is stopping".to_owned();
            }
            if wanted.is_gone() {
                break "the process that asked is gone".to_owned();
            }
            if handing.is_quiet() {
                return Ok(since);
            }
            if since.elapsed() >= wanted.hold_max {
                break format!("calls were still under way after {:?}; try again, or wait longer", wanted.hold_max);
            }
            std::thread::sleep(LOOK);
        };
        handing.enter(Phase::Serving);
        Err(why)
    }

    /// Leaves log and ledger to the process that takes over, and passes all connections on to it.
    fn leave(self, wanted: Wanted, since: Instant) -> anyhow::Result<()> {
        let Self {
            shared, mut supervisor, mut common, audit, ledger, usage, argument_key, plane, control, ended, ..
        } = self;
        let tenants = plane.lock().unwrap_or_else(PoisonError::into_inner).tenants().all();
        let closed = close(ended, control, audit, ledger, "hand-over");
        let counted = usage.counted(Now::read());
        let estate = Estate { counted, argument_key, tenants }.store().context("what was counted cannot be left")?;
        // The control thread, which heard signals, is gone: they end the process now.
        default_signals();
        let (to, departure) = wanted.leave(estate);
        anyhow::ensure!(departure.wait(), "the process that took over died before it served");
        shared.hand_over.pass_to(to);
        shared.hand_over.enter(Phase::Passing);
        let held_ms = since.elapsed().as_millis();
        tracing::info!(held_ms, "hand-over: another process serves; passing connections on to it");
        while !supervisor.ended() {
            std::thread::sleep(TEND);
            supervisor.tend(&mut common);
        }
        closed
    }
}

/// What a gateway stands on: what needs privileges to be had.
struct Ground {
    address: SocketAddr,
    listeners: Vec<TcpListener>,
    plane: Box<dyn KernelPlane>,
    reached: Reached,
    /// Whose it was, if it was another's.
    before: Option<Predecessor>,
}

impl Ground {
    fn open(config: &Config, workers: usize) -> anyhow::Result<Self> {
        let node = kernel::enter_cgroup(&config.kernel);
        let listeners = listener::open(config.listen.address, workers)
            .with_context(|| format!("listen.address: cannot listen on {}", config.listen.address))?;
        let address = listeners[0].local_addr()?;
        let fds: Vec<_> = listeners.iter().map(AsFd::as_fd).collect();
        let (plane, reached) = kernel::open(&config.kernel, node, &fds)?;
        Ok(Self { address, listeners, plane, reached, before: None })
    }

    /// Takes it from a gateway that runs; opens it if none does.
    fn inherit(config: &Config, workers: usize, same: Vec<(String, String)>) -> anyhow::Result<Self> {
        let Some((before, offered)) = Predecessor::ask(&handover::socket(&config.admin.socket), same)? else {
            tracing::info!("no gateway runs here that could be taken over from");
            return Self::open(config, workers);
        };
        let (plane, reached) = kernel::inherit(&config.kernel, offered.bequest, offered.reached)?;
        let listeners = offered.listeners;
        if config.listen.workers != 0 && listeners.len() != workers {
            tracing::warn!("listen.workers needs a restart: there are {} listeners to take over", listeners.len());
        }
        Ok(Self { address: offered.address, listeners, plane, reached, before: Some(before) })
    }
}

/// What a hand-over may not change, by key.
fn must_stay(config: &Config) -> Vec<(String, String)> {
    let path = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    [
        ("listen.address", config.listen.address.to_string()),
        ("audit.dir", path(&config.audit.dir)),
        ("usage.ledger", path(&config.usage.ledger)),
        ("kernel.shared_sources", path(&config.kernel.shared_sources)),
        ("kernel.egress_guard", config.kernel.egress_guard.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}

/// Opens what a process that died a moment ago may still have locked.
fn unlocked<T, E>(mut open: impl FnMut() -> Result<T, E>, is_locked: impl Fn(&E) -> bool) -> Result<T, E> {
    let until = Instant::now() + UNLOCK_MAX;
    loop {
        match open() {
            Err(error) if is_locked(&error) && Instant::now() < until => std::thread::sleep(LOOK),
            opened => return opened,
        }
    }
}

/// Ends the control side, then the log, then the ledger.
fn close(
    ended: Arc<AtomicBool>,
    control: std::thread::JoinHandle<anyhow::Result<()>>,
    audit: AuditThread,
    ledger: LedgerThread,
    why: &str,
) -> anyhow::Result<()> {
    ended.store(true, Ordering::Release);
    let control = control.join().unwrap_or_else(|_| Err(anyhow::anyhow!("the control thread panicked")));
    audit.events().send(EventKind::Stop, vec![("why", Detail::Text(why.to_owned()))]);
    let audit = audit.stop().context("the audit log could not be closed; its last records are in the rings");
    ledger.stop();
    audit.and(control)
}

/// Has SIGTERM and SIGINT end the process.
fn default_signals() {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        // SAFETY: restores the default action, which touches no memory of the process.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
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

/// Nothing was connected to so far, and from now on only what is listed. Whether the kernel sees to it.
fn guard_egress(publisher: &Publisher, egress: Option<&Egress>, wanted: bool) -> bool {
    publisher.renew_egress();
    match egress.map(Egress::enforce) {
        Some(Ok(())) => true,
        Some(Err(error)) => {
            tracing::warn!(%error, "kernel plane: no egress guard");
            false
        }
        None => {
            if wanted {
                tracing::warn!("kernel plane: no egress guard: user space alone keeps the gateway's own connections");
            }
            false
        }
    }
}

fn start_event(
    settings: &Settings,
    reached: &Reached,
    workers: usize,
    before: Option<&Predecessor>,
) -> Vec<(&'static str, Detail)> {
    let mut detail = vec![
        ("version", Detail::Text(env!("CARGO_PKG_VERSION").to_owned())),
        ("config", Detail::Digest(settings.config.digest)),
        ("policy", Detail::Digest(*settings.policy.digest())),
        ("tier", Detail::Text(reached.tier.to_string())),
        ("workers", Detail::Number(workers as u64)),
    ];
    detail.extend(before.map(|before| ("took_over_from", Detail::Number(u64::from(before.pid())))));
    detail
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("the operating system gives no randomness"))?;
    Ok(bytes)
}
