//! The control side's tokio runtime: signals of the process and of the workers, keys, names, reloads, admin, the
//! kernel plane's upkeep.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::mpsc as sync_mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::admin::kernel::{KernelCommand, QuarantineRequest};
use super::admin::program_log::LogRequest;
use super::admin::{self, Command, Surface};
use super::audit_thread::{AuditEvents, Detail};
use super::audit_writer::AuditHealth;
use super::confine;
use super::egress;
use super::jwks::{KeyService, Refetch};
use super::kernel::{self, KernelControl};
use super::pace::Pace;
use super::program_log;
use super::publish::Publisher;
use super::quarantine::{self, Quarantine};
use super::relaunch::Relaunch;
use super::reload::{self, Asked, Prepared, Reloads, Wanted};
use super::resolve;
use super::runaway::Runaways;
use super::status::Status;
use super::wall_clock::{self, Seen, WallClock};
use super::watch::Watch;
use crate::audit::json::event::EventKind;
use crate::clock::{Now, mono_ns};
use crate::config::resolved::Issuer;
use crate::identity::Keys;
use crate::ids::TenantId;
use crate::kernel::KernelPlane;
use crate::kernel::book::Principal;
use crate::kernel::source::Sources;
use crate::pipeline::{Addresses, Settings};
use crate::routing::address::{AddressGuard, Allowed};
use crate::server::handing::Phase;
use crate::server::{KeyWanted, Shared, Signal};

/// Between drains of the kernel's ring (see [`crate::kernel::ledger::EVENTS_BYTES`]).
const KERNEL_DRAIN: Duration = Duration::from_millis(50);

/// Between looks at everything while the gateway hands over.
const HURRY: Duration = Duration::from_millis(1);

/// Between updates of the figures that metrics show.
const FIGURES: Duration = Duration::from_millis(500);

/// After a change of a watched file, until it is read: editors write in several steps.
const SETTLE: Duration = Duration::from_millis(200);

/// Key requests under way to the key service.
const REFETCHES_MAX: usize = 256;

/// Where the configuration comes from, for reloads.
#[derive(Debug, Clone)]
pub enum Source {
    /// This file; it and the policies beside it are watched.
    File(PathBuf),
    /// Nowhere: it cannot change.
    Fixed,
}

/// The control thread's; the supervisor borrows it for a moment when it starts a worker.
pub type SharedPlane = Arc<Mutex<Box<dyn KernelPlane>>>;

/// What the service works on.
pub struct Parts {
    /// Where the configuration came from.
    pub source: Source,
    /// Shared with the workers.
    pub shared: Arc<Shared>,
    /// Puts snapshots in force.
    pub publisher: Arc<Publisher>,
    /// Health and figures.
    pub status: Arc<Status>,
    /// The log.
    pub events: AuditEvents,
    /// The log's health.
    pub audit_health: Arc<AuditHealth>,
    /// The kernel plane.
    pub plane: SharedPlane,
    /// Queues of workers, new ones as workers are replaced.
    pub queues: sync_mpsc::Receiver<(usize, rtrb::Consumer<Signal>)>,
    /// Judges addresses of upstreams and issuers.
    pub guard: AddressGuard,
    /// How to start a successor.
    pub relaunch: Option<Relaunch>,
    /// Keys and names are there already: see [`warm`].
    pub warm: bool,
}

/// Fetches keys and resolves names before there is anything to run: for a process that takes over from another, which
/// serves meanwhile.
///
/// # Errors
/// There is no runtime to be had.
pub fn warm(shared: &Shared, publisher: &Arc<Publisher>, guard: &AddressGuard) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        refresh_addresses(shared, publisher, guard).await;
        let settings = Arc::clone(&shared.snapshot.load().settings);
        key_service(shared, publisher, guard, &settings).load_initial().await;
    });
    Ok(())
}

/// Runs until the gateway has drained. Sends the address of the metrics surface once everything is up.
///
/// # Errors
/// An admin surface cannot be opened, or signals cannot be handled.
pub fn run(
    parts: Parts,
    ready: oneshot::Sender<std::net::SocketAddr>,
    stopped: &dyn Fn() -> bool,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async move { Service::start(parts).await?.run(ready, stopped).await })
}

struct Service {
    parts: Parts,
    surface: Surface,
    kernel: KernelControl,
    quarantine: Quarantine,
    programs: program_log::Kept,
    runaways: Runaways,
    queues: Vec<Option<rtrb::Consumer<Signal>>>,
    keys: mpsc::Sender<Refetch>,
    commands: mpsc::Receiver<Command>,
    metrics: std::net::SocketAddr,
    changes: mpsc::Receiver<()>,
    /// The last look-up of the upstreams' names.
    resolving: Option<tokio::task::JoinHandle<()>>,
    reloads: Reloads,
    watch: Option<Watch>,
    clock: WallClock,
}

impl Service {
    async fn start(parts: Parts) -> anyhow::Result<Self> {
        let surface = Surface { shared: Arc::clone(&parts.shared), status: Arc::clone(&parts.status) };
        let settings = Arc::clone(&parts.shared.snapshot.load().settings);
        let config = &settings.config;
        let metrics = admin::serve_metrics(config.admin.metrics, surface.clone()).await?;
        let (sender, commands) = mpsc::channel(16);
        admin::serve_socket(&config.admin.socket, surface.clone(), sender).await?;
        let mut service = key_service(&parts.shared, &parts.publisher, &parts.guard, &settings);
        if !parts.warm {
            refresh_addresses(&parts.shared, &parts.publisher, &parts.guard).await;
            service.load_initial().await;
        }
        let keys = serve_keys(service);
        let sources = parts.shared.sources.load_full();
        let programs = program_log::Kept::new(Arc::clone(&parts.plane));
        let quarantine = Quarantine::start(
            Arc::clone(&parts.plane),
            Arc::clone(&parts.publisher),
            Arc::clone(&parts.shared),
            Arc::clone(&parts.status),
            parts.events.clone(),
            &config.kernel.shared_sources,
        );
        let (plane, status) = (Arc::clone(&parts.plane), Arc::clone(&parts.status));
        let kernel = KernelControl::start(&config.kernel, sources, plane, status, parts.events.clone());
        let (changed, changes) = mpsc::channel(1);
        let watch = match &parts.source {
            Source::File(path) => Watch::start(path, config, changed),
            Source::Fixed => None,
        };
        Ok(Self {
            surface,
            kernel,
            quarantine,
            programs,
            runaways: Runaways::default(),
            queues: Vec::new(),
            keys,
            commands,
            metrics,
            changes,
            resolving: None,
            reloads: Reloads::default(),
            watch,
            clock: WallClock::default(),
            parts,
        })
    }

    async fn run(
        mut self,
        ready: oneshot::Sender<std::net::SocketAddr>,
        stopped: &dyn Fn() -> bool,
    ) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut succeed = signal(SignalKind::user_defined2())?;
        let tick = tokio::time::sleep(Duration::ZERO);
        tokio::pin!(tick);
        let mut pace = Pace::default();
        let mut resolve = tokio::time::interval_at(tokio::time::Instant::now() + resolve::REFRESH, resolve::REFRESH);
        let (mut drained, mut figured) = (Instant::now(), Instant::now());
        self.figures();
        let _ = ready.send(self.metrics);
        loop {
            tokio::select! {
                () = &mut tick => {
                    let heard = self.hear_workers();
                    tick.as_mut().reset(tokio::time::Instant::now() + self.pause(&mut pace, heard));
                    if drained.elapsed() >= KERNEL_DRAIN {
                        drained = Instant::now();
                        self.kernel.hear_kernel();
                        self.programs.tend(&self.parts.status);
                    }
                    if figured.elapsed() >= FIGURES {
                        figured = Instant::now();
                        self.figures();
                    }
                    if stopped() {
                        self.hear_workers();
                        self.kernel.hear_kernel();
                        self.kernel.stop().await;
                        return Ok(());
                    }
                }
                _ = terminate.recv() => self.stop("SIGTERM"),
                _ = interrupt.recv() => self.stop("SIGINT"),
                _ = succeed.recv() => self.succeed(),
                _ = hangup.recv() => self.want_reload("SIGHUP", Duration::ZERO, None),
                Some(()) = self.changes.recv() => self.want_reload("a watched file changed", SETTLE, None),
                (prepared, wanted) = self.reloads.ended() => self.end_reload(prepared, wanted),
                _ = resolve.tick() => self.resolve_names(),
                Some(command) = self.commands.recv() => self.obey(command),
            }
        }
    }

    /// Until the next look at the workers' queues.
    fn pause(&self, pace: &mut Pace, heard: bool) -> Duration {
        if self.parts.shared.hand_over.phase() != Phase::Serving {
            return HURRY;
        }
        let workers = &self.parts.shared.workers;
        let accepted = workers.iter().map(|worker| worker.accepted.value()).sum();
        pace.next(heard, accepted, workers.iter().map(|worker| worker.open.value()).sum(), mono_ns())
    }

    /// Looks the upstreams' names up beside the loop: a dead name server must delay neither signals nor penalties.
    fn resolve_names(&mut self) {
        if self.resolving.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let (shared, publisher) = (Arc::clone(&self.parts.shared), Arc::clone(&self.parts.publisher));
        let guard = self.parts.guard.clone();
        let task = async move { refresh_addresses(&shared, &publisher, &guard).await };
        self.resolving = Some(tokio::spawn(task));
    }

    /// The first signal drains, the second ends the process (THREATS B7).
    fn stop(&self, why: &str) {
        if self.parts.shared.draining.load(Ordering::Acquire) {
            tracing::warn!("{why} again: ending at once");
            std::process::exit(130);
        }
        tracing::info!("{why}: draining");
        self.parts.shared.drain();
    }

    /// Starts a process that takes over from this one.
    fn succeed(&self) {
        let started = match &self.parts.relaunch {
            Some(relaunch) => relaunch.start(),
            None => Err(std::io::Error::other("it is not known how this process was started")),
        };
        if let Err(error) = started {
            tracing::error!(%error, "SIGUSR2: no successor can be started; this process goes on");
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Reload(answer) => self.want_reload("admin", Duration::ZERO, Some(answer)),
            Command::Kernel(command) => self.obey_kernel(command),
            Command::Stop => {
                self.event(EventKind::Admin, vec![("action", text("stop"))]);
                self.stop("admin");
            }
        }
    }

    /// One that no longer waits for the answer is not an error.
    fn obey_kernel(&mut self, command: KernelCommand) {
        match command {
            KernelCommand::Pardon(source, answer) => drop(answer.send(self.kernel.pardon(source))),
            KernelCommand::Penalties(answer) => drop(answer.send(self.kernel.penalties())),
            KernelCommand::Connections(answer) => {
                let listing = kernel::connections(Arc::clone(&self.parts.shared), Arc::clone(&self.parts.plane));
                tokio::spawn(async move { answer.send(listing.await) });
            }
            KernelCommand::Quarantine(request, answer) => drop(answer.send(self.quarantine(&request))),
            KernelCommand::Quarantines(answer) => drop(answer.send(self.quarantine.rows())),
            KernelCommand::Refused(rows, answer) => {
                let _ = answer.send(confine::take(&rows, &self.parts.events, &self.parts.status));
            }
            KernelCommand::Log(from, max, answer) => drop(answer.send(self.programs.answer(from, max))),
            KernelCommand::SetLog(request, answer) => drop(answer.send(self.set_log(&request))),
            KernelCommand::Sources(max, answer) => drop(answer.send(self.kernel.sources(max))),
        }
    }

    fn quarantine(&mut self, request: &QuarantineRequest) -> Result<bool, String> {
        let settings = Arc::clone(&self.parts.shared.snapshot.load().settings);
        let tenant = quarantine::named(&settings.config.identity.issuers, request.issuer.as_deref(), &request.tenant)?;
        match request.seconds {
            0 => self.quarantine.lift(&tenant),
            seconds => self.quarantine.begin(&tenant, Duration::from_secs(seconds)).map(|()| true),
        }
    }

    fn set_log(&self, request: &LogRequest) -> Result<(), String> {
        self.programs.set(request.level, Duration::from_secs(request.seconds))?;
        let detail = vec![("action", text("kernel_log")), ("seconds", Detail::Number(request.seconds))];
        self.event(EventKind::Admin, detail);
        Ok(())
    }

    /// Takes all that the workers said; whether that was anything.
    fn hear_workers(&mut self) -> bool {
        self.kernel.reports_lost(self.parts.shared.reports_lost.value());
        while let Ok((worker, queue)) = self.parts.queues.try_recv() {
            if self.queues.len() <= worker {
                self.queues.resize_with(worker + 1, || None);
            }
            self.queues[worker] = Some(queue);
        }
        let mut heard = false;
        for at in 0..self.queues.len() {
            while let Some(signal) = self.queues[at].as_mut().and_then(|queue| queue.pop().ok()) {
                self.hear(signal);
                heard = true;
            }
        }
        heard
    }

    fn hear(&mut self, signal: Signal) {
        match signal {
            Signal::KeyWanted(wanted) => self.ask_key(wanted),
            Signal::IgnoredLimit { source, tenant, who, per } => self.kernel.ignored(source, &tenant, who, per),
            Signal::IgnoredLoop { tenant, who } => self.ignored_loop(&tenant, who),
            Signal::Verified { source, tenant, who } => self.kernel.verified(source, &tenant, who),
            Signal::Closed(closed) => self.kernel.closed(&closed),
        }
    }

    /// Freezes the tenant of who goes on with a loop too often, where the operator wants that.
    fn ignored_loop(&mut self, tenant: &TenantId, who: Principal) {
        let settings = Arc::clone(&self.parts.shared.snapshot.load().settings);
        let Some(rule) = settings.config.usage.loop_guard.as_ref().and_then(|guard| guard.runaway) else { return };
        if self.runaways.ignored(who, rule.after, mono_ns())
            && let Err(error) = self.quarantine.runaway(tenant, rule.time)
        {
            tracing::warn!("{error}");
        }
    }

    fn ask_key(&self, wanted: KeyWanted) {
        let (done, told) = oneshot::channel();
        let refetch = Refetch { issuer: wanted.issuer, kid: wanted.kid, done };
        // A service with a full queue is behind; the request waits out its second and answers 401.
        if self.keys.try_send(refetch).is_ok() {
            let answered = wanted.answered;
            tokio::spawn(async move {
                let _ = told.await;
                answered.store(true, Ordering::Release);
            });
        }
    }

    fn figures(&mut self) {
        self.look_at_the_clock();
        self.kernel.figures();
        self.quarantine.tend();
        let status = &self.parts.status;
        if let Some(egress) = self.parts.publisher.egress() {
            egress::tell(egress, &self.parts.events, status);
        }
        *status.audit_trouble.lock().unwrap_or_else(PoisonError::into_inner) = self.parts.audit_health.trouble();
        let numbers = self.parts.audit_health.numbers();
        status.audit_records.store(numbers.records, Ordering::Relaxed);
        status.audit_bytes.store(numbers.bytes, Ordering::Relaxed);
        status.audit_summarised.store(numbers.summarised, Ordering::Relaxed);
        *status.audit_tenants.lock().unwrap_or_else(PoisonError::into_inner) = self.parts.audit_health.tenants();
        status.keys_degraded.store(self.parts.shared.snapshot.load().keys.degraded(), Ordering::Relaxed);
    }

    fn look_at_the_clock(&mut self) {
        let settings = Arc::clone(&self.parts.shared.snapshot.load().settings);
        let identity = &settings.config.identity;
        let status = &self.parts.status;
        let synchronised = wall_clock::is_synchronised();
        status.clock_synchronised.store(synchronised, Ordering::Relaxed);
        status.clock_required.store(identity.require_sync, Ordering::Relaxed);
        for seen in self.clock.look(Now::read(), synchronised, identity.leeway) {
            let detail = match seen {
                Seen::Jumped(by_ns) => {
                    let (direction, secs) =
                        (if by_ns < 0 { "back" } else { "ahead" }, by_ns.unsigned_abs() / 1_000_000_000);
                    status.clock_jumps.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(
                        direction,
                        secs,
                        "the wall clock jumped: tokens expire by it, records are found by it"
                    );
                    let secs = u64::try_from(secs).unwrap_or(u64::MAX);
                    vec![("jumped", text(direction)), ("seconds", Detail::Number(secs))]
                }
                Seen::Synchronised(yes) => {
                    if !yes {
                        tracing::warn!("the kernel says that nobody keeps the clock right (NTP, PTP, hypervisor)");
                    }
                    vec![("synchronised", Detail::Bool(yes))]
                }
            };
            self.event(EventKind::Clock, detail);
        }
    }

    /// Wants the configuration read again; who asked is told how it ended.
    fn want_reload(&mut self, why: &'static str, settle: Duration, asked: Option<Asked>) {
        if matches!(self.parts.source, Source::File(_)) {
            self.reloads.want(why, settle, asked);
            self.begin_reload();
        } else if let Some(asked) = asked {
            let _ = asked.send(Err("this configuration has no file to read again".to_owned()));
        }
    }

    fn begin_reload(&mut self) {
        let Source::File(path) = &self.parts.source else { return };
        let (snapshot, guard) = (&self.parts.shared.snapshot, &self.parts.guard);
        self.reloads.begin(|settle| reload::prepare(path.clone(), snapshot.load_full(), guard.clone(), settle));
    }

    /// Puts a prepared configuration in force. What cannot be leaves the old one as it is, and says why.
    fn end_reload(&mut self, prepared: Prepared, wanted: Wanted) {
        let why = wanted.why;
        let result = match prepared {
            Prepared::Refused(mistakes) => {
                tracing::error!("{why}: configuration refused, the old one stays:\n{mistakes}");
                self.event(EventKind::Reload, vec![("result", text("refused")), ("mistakes", text(&mistakes))]);
                Err(mistakes)
            }
            Prepared::Same => Ok(self.parts.shared.snapshot.load().settings.generation),
            Prepared::Changed(settings, addresses) => {
                let generation = settings.generation;
                self.adopt(settings, addresses);
                tracing::info!(generation, "{why}: configuration reloaded");
                Ok(generation)
            }
        };
        self.parts.status.reload_failed.store(result.is_err(), Ordering::Relaxed);
        for asked in wanted.asked {
            // One that no longer waits is not an error.
            let _ = asked.send(result.clone());
        }
        self.begin_reload();
    }

    fn adopt(&mut self, settings: Arc<Settings>, addresses: Addresses) {
        self.parts.publisher.settings(Arc::clone(&settings), addresses);
        // Keys that are new to the configuration come as they come: an issuer that does not answer delays nothing else.
        let Parts { shared, publisher, guard, .. } = &self.parts;
        self.keys = serve_keys(key_service(shared, publisher, guard, &settings));
        let kernel = &settings.config.kernel;
        let sources = Arc::new(Sources::new(kernel, &settings.config.listen.trusted_proxies));
        self.parts.shared.sources.store(Arc::clone(&sources));
        if let Some(watch) = &mut self.watch {
            watch.cover(&settings.config);
        }
        self.kernel.configure(kernel, sources);
        self.parts.status.reloads.fetch_add(1, Ordering::Relaxed);
        let detail = vec![
            ("result", text("accepted")),
            ("generation", Detail::Number(settings.generation)),
            ("config", Detail::Digest(settings.config.digest)),
            ("policy", Detail::Digest(*settings.policy.digest())),
        ];
        self.event(EventKind::Reload, detail);
    }

    fn event(&self, kind: EventKind, detail: Vec<(&'static str, Detail)>) {
        if !self.parts.events.send(kind, detail) {
            tracing::warn!(?kind, "the audit writer is behind; an event was lost");
        }
        let _ = &self.surface;
    }
}

fn text(value: impl ToString) -> Detail {
    Detail::Text(value.to_string())
}

async fn refresh_addresses(shared: &Shared, publisher: &Publisher, guard: &AddressGuard) {
    publisher.renew_egress();
    let old = shared.snapshot.load_full();
    let addresses = resolve::resolve(&old.settings.config.upstreams, guard, &old).await;
    if addresses != *old.addresses {
        publisher.addresses(old.settings.generation, addresses);
    }
}

/// The key service of a configuration.
fn key_service(
    shared: &Shared,
    publisher: &Arc<Publisher>,
    guard: &AddressGuard,
    settings: &Arc<Settings>,
) -> KeyService<impl FnMut(Arc<Keys>) + Send + use<>> {
    let identity = &settings.config.identity;
    let dev = identity.dev_issuer;
    let addresses = guard.clone();
    let egress = publisher.egress().cloned();
    let guard = move |issuer: &Issuer, ip: IpAddr, port: u16| {
        let address = std::net::SocketAddr::new(ip, port);
        if !(dev && ip.is_loopback()) {
            let allowed = Allowed { private: &issuer.allow_private, loopback: &[] };
            addresses.check(allowed, address).map_err(|error| error.to_string())?;
        }
        if let Some(egress) = &egress {
            egress.allow_for(address, egress::FETCH);
        }
        Ok(())
    };
    let publisher = Arc::clone(publisher);
    let previous = Arc::clone(&shared.snapshot.load().keys);
    KeyService::new(identity, Some(&previous), Arc::new(guard), move |keys| publisher.keys(keys))
}

/// Runs a key service until the sender is dropped.
fn serve_keys(service: KeyService<impl FnMut(Arc<Keys>) + Send + 'static>) -> mpsc::Sender<Refetch> {
    let (sender, requests) = mpsc::channel(REFETCHES_MAX);
    tokio::spawn(service.run(requests));
    sender
}
