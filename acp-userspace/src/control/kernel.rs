//! The control thread's part of the kernel plane: hears who verified and who did not listen, asks the penalty book, tells
//! the plane, writes down what must not be forgotten, and puts every step in the audit log.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use acp_ebpf::SourceKey;
use acp_ebpf::penalty::{OPEN_ALL, mode};

use super::audit_thread::{AuditEvents, Detail};
use super::penalty_file;
use super::service::SharedPlane;
use super::shared_sources::{Loaded, SharedSources};
use super::status::Status;
use crate::audit::json::event::EventKind;
use crate::clock::{Now, mono_ns};
use crate::config::resolved::{KernelConfig, Per};
use crate::ids::TenantId;
use crate::kernel::book::{Principal, Row, SOURCES_MAX, Sharing};
use crate::kernel::penalty::memory::Remembered;
use crate::kernel::penalty::{Earned, PenaltyBook};
use crate::kernel::source::Sources;
use crate::kernel::{ConnClosed, KernelPlane, Live, Penalty, ledger};
use crate::server::Shared;

const SECOND_NS: u64 = 1_000_000_000;

/// See the module's documentation.
pub(super) struct KernelControl {
    plane: SharedPlane,
    book: PenaltyBook,
    sources: Arc<Sources>,
    status: Arc<Status>,
    events: AuditEvents,
    saver: Saver,
    penalties: PenaltySaver,
    /// As last looked at.
    reports_lost: u64,
}

/// A penalty as it is listed.
#[derive(Debug)]
pub struct PenaltyRow {
    /// An address, or the first of its /64.
    pub source: IpAddr,
    /// `observe`, `refuse` or `silent`.
    pub step: &'static str,
    /// Until its deadline.
    pub seconds_left: u64,
    /// Connections that each open window lets through; `None` = all.
    pub open_max: Option<u32>,
}

/// A source as it is listed.
#[derive(Debug)]
pub struct SourceRow {
    /// What the book knows.
    pub row: Row,
    /// The tenant that the configuration declares it to be of.
    pub declared: Option<String>,
}

/// An open connection as it is listed.
#[derive(Debug)]
pub struct ConnectionRow {
    /// What its worker knows of it.
    pub live: Live,
    /// Whose it is, if that is known.
    pub tenant: Option<TenantId>,
}

/// How long the workers are waited for: each looks ten times a second.
const LIST_PATIENCE: Duration = Duration::from_secs(1);
/// Between looks whether they have all answered.
const LIST_LOOK: Duration = Duration::from_millis(20);

/// Lists the open connections: a worker that does not answer in time is left out, and said to be.
pub(super) async fn connections(shared: Arc<Shared>, plane: SharedPlane) -> Vec<ConnectionRow> {
    let (number, workers) = (shared.live.ask(), shared.workers.len());
    let deadline = tokio::time::Instant::now() + LIST_PATIENCE;
    while shared.live.answered(number) < workers && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(LIST_LOOK).await;
    }
    let answered = shared.live.answered(number);
    if answered < workers {
        tracing::warn!("{answered} of {workers} workers told which connections they have");
    }
    let plane = plane.lock().unwrap_or_else(PoisonError::into_inner);
    let row = |live: Live| ConnectionRow { tenant: plane.tenants().tenant(live.tenant), live };
    shared.live.take(number).unwrap_or_default().into_iter().map(row).collect()
}

impl KernelControl {
    /// Takes up what an earlier process knew. Starts a task that writes to the disk.
    pub(super) fn start(
        kernel: &KernelConfig,
        sources: Arc<Sources>,
        plane: SharedPlane,
        status: Arc<Status>,
        events: AuditEvents,
    ) -> Self {
        for inert in sources.inert() {
            tracing::warn!("{inert}");
        }
        let mut book = PenaltyBook::new(kernel, Arc::clone(&sources));
        let now = Now::read();
        let (file, loaded) = open(&kernel.shared_sources, now, &status);
        for (source, shared) in loaded.shared {
            book.restore(source, shared, now.mono_ns);
        }
        let saver = Saver::start(kernel.shared_sources.clone(), file, Arc::clone(&status));
        let penalties = PenaltySaver::new(penalty_file::path(&kernel.shared_sources));
        let mut this = Self { plane, book, sources, status, events, saver, penalties, reports_lost: 0 };
        this.recall(now);
        this
    }

    /// Puts the penalties of an earlier process back in force.
    fn recall(&mut self, now: Now) {
        let path = &self.penalties.path;
        let (rows, unreadable) = penalty_file::load(path, now).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot read {}; penalties from before this start are forgotten", path.display());
            (Vec::new(), 0)
        });
        if unreadable > 0 {
            tracing::warn!("{unreadable} lines of {} cannot be read: passed over", path.display());
        }
        let mut held = 0;
        for row in rows {
            let source = row.source.ip();
            let Some(penalty) = self.book.recall(row, now.mono_ns) else { continue };
            match self.plane().penalise(source, penalty) {
                Ok(()) => held += 1,
                Err(error) => tracing::warn!(%source, %error, "cannot go on refusing a source"),
            }
        }
        if held > 0 {
            tracing::info!("{held} penalties from before this start are in force");
        }
    }

    /// Goes on under another configuration.
    pub(super) fn configure(&mut self, kernel: &KernelConfig, sources: Arc<Sources>) {
        self.book.configure(kernel, Arc::clone(&sources));
        self.sources = sources;
    }

    /// Looks whether reports of workers were lost: `lost` is how many there are since start.
    pub(super) fn reports_lost(&mut self, lost: u64) {
        if std::mem::replace(&mut self.reports_lost, lost) != lost {
            self.book.lost(mono_ns());
        }
    }

    /// `who` of `tenant` verified on a new connection from `source`.
    pub(super) fn verified(&mut self, source: IpAddr, tenant: &TenantId, who: Principal) {
        if self.book.verified(source, tenant, who, mono_ns()) {
            self.lift(source, "another principal verified from there");
        }
    }

    /// `who` of `tenant` came back inside the `Retry-After` of a limit that counts `per`.
    pub(super) fn ignored(&mut self, source: IpAddr, tenant: &TenantId, who: Principal, per: Per) {
        let Some(earned) = self.book.ignored(source, tenant, who, per, mono_ns()) else { return };
        match self.plane().penalise(source, earned.penalty) {
            Ok(()) => self.say_penalty(source, tenant, &earned),
            Err(error) => tracing::warn!(%source, %error, "cannot refuse a source"),
        }
    }

    /// The user is not named: events cannot be erased.
    fn say_penalty(&self, source: IpAddr, tenant: &TenantId, earned: &Earned) {
        let Earned { penalty, declared, per } = earned;
        let seconds = (penalty.until_ns - penalty.since_ns).div_ceil(SECOND_NS);
        let observed = penalty.mode == mode::OBSERVE;
        if observed {
            self.status.kernel_observed.fetch_add(1, Ordering::Relaxed);
        } else {
            tracing::info!(%source, tenant = &*tenant.tenant, seconds, step = step(penalty), "source refused");
        }
        let detail = vec![
            ("source", text(source)),
            ("tenant", text(&tenant.tenant)),
            ("issuer", text(&tenant.issuer)),
            ("seconds", Detail::Number(seconds)),
            ("step", text(step(penalty))),
            ("class", text(if *declared { "declared" } else { "learned" })),
            ("limit", text(if *per == Per::User { "user" } else { "tenant" })),
            ("mode", text(if observed { "observe" } else { "enforce" })),
        ];
        self.event(EventKind::KernelPenalty, detail);
    }

    /// An operator lifts a penalty; whether there was one.
    pub(super) fn pardon(&mut self, source: IpAddr) -> bool {
        self.book.pardoned(source);
        self.lift(source, "admin")
    }

    fn lift(&mut self, source: IpAddr, why: &str) -> bool {
        let lifted = self.plane().pardon(source);
        if lifted {
            self.event(EventKind::KernelPardon, vec![("source", text(source)), ("why", text(why))]);
        }
        lifted
    }

    /// The penalties in force.
    pub(super) fn penalties(&self) -> Vec<PenaltyRow> {
        let now = mono_ns();
        let row = |(source, penalty): (IpAddr, Penalty)| PenaltyRow {
            source,
            step: step(&penalty),
            seconds_left: penalty.until_ns.saturating_sub(now).div_ceil(SECOND_NS),
            open_max: (penalty.open_max != OPEN_ALL).then_some(penalty.open_max),
        };
        self.plane().penalties(now).into_iter().map(row).collect()
    }

    /// The `max` sources that verified last.
    pub(super) fn sources(&self, max: usize) -> Vec<SourceRow> {
        let declared = |row: &Row| self.sources.owner(row.source.ip()).map(|tenant| tenant.tenant.to_string());
        let rows = self.book.rows(mono_ns(), max.min(SOURCES_MAX)).into_iter();
        rows.map(|row| SourceRow { declared: declared(&row), row }).collect()
    }

    /// Reads the kernel's ring.
    pub(super) fn hear_kernel(&mut self) {
        let mut closed = Vec::new();
        self.plane().drain(&mut |row| closed.push(*row));
        closed.iter().for_each(|row| self.closed(row));
    }

    /// One row of the ledger, joined to the audit by cookie.
    pub(super) fn closed(&self, closed: &ConnClosed) {
        let tenant = self.plane().tenants().tenant(closed.tenant);
        let mut detail = vec![
            ("cookie", Detail::Number(closed.cookie)),
            ("bytes_in", Detail::Number(closed.bytes_in)),
            ("bytes_out", Detail::Number(closed.bytes_acked)),
            ("segments_in", Detail::Number(u64::from(closed.segs_in))),
            ("segments_out", Detail::Number(u64::from(closed.segs_out))),
            ("retransmits", Detail::Number(u64::from(closed.retrans))),
            ("srtt_us", Detail::Number(u64::from(closed.srtt_us))),
            ("duration_ns", Detail::Number(closed.duration_ns)),
        ];
        if closed.flags & ledger::AUDITED != 0 {
            detail.push(("audited_in", Detail::Number(closed.audited_in)));
        }
        match tenant {
            _ if closed.flags & ledger::MULTI != 0 => detail.push(("tenant", text("mixed"))),
            Some(tenant) => detail.extend([("tenant", text(&tenant.tenant)), ("issuer", text(&tenant.issuer))]),
            None => {}
        }
        if !self.events.send(EventKind::ConnectionClosed, detail) {
            self.status.kernel_unwritten.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(bytes) = closed.breach() {
            self.say_breach(closed, bytes);
        }
    }

    /// The one who counts independently disagrees: something is wrong with the audit, or with the kernel.
    fn say_breach(&self, closed: &ConnClosed, bytes: u64) {
        self.status.kernel_breaches.fetch_add(1, Ordering::Relaxed);
        tracing::error!(cookie = closed.cookie, bytes, "more bytes of a connection were audited than the kernel saw");
        let detail = vec![
            ("cookie", Detail::Number(closed.cookie)),
            ("bytes_in", Detail::Number(closed.bytes_in)),
            ("audited_in", Detail::Number(closed.audited_in)),
        ];
        self.event(EventKind::LedgerBreach, detail);
    }

    /// Updates what metrics show, and hands the disk what is to be written down.
    pub(super) fn figures(&mut self) {
        let now = mono_ns();
        let stats = self.plane().stats();
        let status = &self.status;
        status.kernel_refused.store(stats.refused + stats.reset, Ordering::Relaxed);
        status.kernel_dropped.store(stats.dropped, Ordering::Relaxed);
        status.kernel_unplaced.store(stats.unplaced, Ordering::Relaxed);
        status.kernel_would_refuse.store(stats.observed, Ordering::Relaxed);
        status.kernel_steered.store(stats.steered, Ordering::Relaxed);
        status.kernel_unsteered.store(stats.unsteered, Ordering::Relaxed);
        status.kernel_closed.store(stats.closed, Ordering::Relaxed);
        status.kernel_lost.store(stats.lost, Ordering::Relaxed);
        let enforced = self.plane().penalties(now).iter().filter(|(_, penalty)| penalty.mode != mode::OBSERVE).count();
        status.kernel_penalties.store(enforced as u64, Ordering::Relaxed);
        *status.kernel_sources.lock().unwrap_or_else(PoisonError::into_inner) = self.book.classes(now);
        self.save();
        self.penalties.tend(&mut self.book, now);
    }

    fn save(&mut self) {
        // A writer that is behind gets it with the next figures.
        if let Ok(room) = self.saver.queue.try_reserve() {
            let unsaved = self.book.unsaved();
            if !unsaved.is_empty() {
                room.send(unsaved);
            }
        }
    }

    /// Writes the last of it down.
    pub(super) async fn stop(mut self) {
        let unsaved = self.book.unsaved();
        if !unsaved.is_empty() {
            let _ = self.saver.queue.send(unsaved).await;
        }
        drop(self.saver.queue);
        let _ = self.saver.task.await;
        self.penalties.last(self.book.remembered(mono_ns())).await;
    }

    fn plane(&self) -> MutexGuard<'_, Box<dyn KernelPlane>> {
        self.plane.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, kind: EventKind, detail: Vec<(&'static str, Detail)>) {
        if !self.events.send(kind, detail) {
            tracing::warn!(?kind, "the audit writer is behind; an event was lost");
        }
    }
}

/// The word for what a penalty does.
fn step(penalty: &Penalty) -> &'static str {
    match penalty.mode {
        mode::OBSERVE => "observe",
        mode::SILENT => "silent",
        _ => "refuse",
    }
}

fn text(value: impl ToString) -> Detail {
    Detail::Text(value.to_string())
}

fn open(path: &Path, now: Now, status: &Status) -> (Option<SharedSources>, Loaded) {
    match SharedSources::open(path, now) {
        Ok((file, loaded)) => {
            if loaded.unreadable > 0 {
                tracing::warn!("{} lines of {} cannot be read: passed over", loaded.unreadable, path.display());
            }
            (Some(file), loaded)
        }
        Err(error) => {
            say_unsaved(path, &error);
            status.kernel_unsaved.store(true, Ordering::Relaxed);
            (None, Loaded::default())
        }
    }
}

fn say_unsaved(path: &Path, error: &std::io::Error) {
    let path = path.display();
    tracing::warn!(%error, "kernel.shared_sources: cannot use {path}; a restart will forget which sources are shared");
}

/// Writes the penalties down beside the control loop.
struct PenaltySaver {
    path: PathBuf,
    writing: Option<tokio::task::JoinHandle<()>>,
    /// The last write failed: said once, and tried again.
    failing: Arc<AtomicBool>,
}

impl PenaltySaver {
    fn new(path: PathBuf) -> Self {
        Self { path, writing: None, failing: Arc::default() }
    }

    /// Writes the book's rows if they changed, unless a write is under way.
    fn tend(&mut self, book: &mut PenaltyBook, now_ns: u64) {
        let idle = self.writing.as_ref().is_none_or(tokio::task::JoinHandle::is_finished);
        if idle && (book.take_changed() || self.failing.load(Ordering::Relaxed)) {
            self.write(book.remembered(now_ns));
        }
    }

    fn write(&mut self, rows: Vec<Remembered>) {
        let (path, failing) = (self.path.clone(), Arc::clone(&self.failing));
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let written = penalty_file::store(&path, &rows, Now::read());
            let failed_before = failing.swap(written.is_err(), Ordering::Relaxed);
            if let (Err(error), false) = (written, failed_before) {
                tracing::warn!(%error, "cannot write {}; a restart will forget penalties", path.display());
            }
        }));
    }

    /// Writes them for the last time.
    async fn last(mut self, rows: Vec<Remembered>) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
        self.write(rows);
        if let Some(writing) = self.writing.take() {
            let _ = writing.await;
        }
    }
}

/// Writes to the disk beside the control loop.
struct Saver {
    queue: tokio::sync::mpsc::Sender<Vec<(SourceKey, Sharing)>>,
    task: tokio::task::JoinHandle<()>,
}

impl Saver {
    fn start(path: std::path::PathBuf, mut file: Option<SharedSources>, status: Arc<Status>) -> Self {
        let (queue, mut batches) = tokio::sync::mpsc::channel::<Vec<(SourceKey, Sharing)>>(4);
        let task = tokio::spawn(async move {
            // What could not be written is tried again with what comes next.
            let mut pending = std::collections::HashMap::new();
            while let Some(batch) = batches.recv().await {
                let room = SOURCES_MAX.saturating_sub(pending.len());
                pending.extend(batch.into_iter().take(room));
                let rows: Vec<_> = pending.iter().map(|(source, shared)| (*source, *shared)).collect();
                let at = path.clone();
                let written = tokio::task::spawn_blocking(move || write(&at, file, &rows)).await;
                let error;
                (file, error) = written.unwrap_or((None, None));
                if let Some(error) = &error
                    && !status.kernel_unsaved.load(Ordering::Relaxed)
                {
                    say_unsaved(&path, error);
                }
                if error.is_none() {
                    pending.clear();
                }
                status.kernel_unsaved.store(error.is_some(), Ordering::Relaxed);
            }
        });
        Self { queue, task }
    }
}

/// Appends to the file, opened anew if it could not be used before.
fn write(
    path: &Path,
    file: Option<SharedSources>,
    rows: &[(SourceKey, Sharing)],
) -> (Option<SharedSources>, Option<std::io::Error>) {
    let now = Now::read();
    let file = file.map_or_else(|| SharedSources::open(path, now).map(|(file, _)| file), Ok);
    match file.and_then(|mut file| file.append(rows, now).map(|()| file)) {
        Ok(file) => (Some(file), None),
        Err(error) => (None, Some(error)),
    }
}
