//! Quarantine: an operator, or the loop guard where it may, freezes a tenant for a while, and every step of it is in the
//! audit log.
//!
//! In the order of the steps: its requests are refused (`tenant_quarantined`), as soon as the next snapshot is out; the
//! kernel drops what arrives on its connections, where it can; the workers reset those within a tenth of a second; the
//! deadline lifts it, or an operator.
//!
//! **Invariants.** A quarantine ends by its own deadline, in the kernel as in user space, and not by a restart: it is
//! written down. At most [`QUARANTINES_MAX`] at a time.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::audit_thread::{AuditEvents, Detail};
use super::publish::Publisher;
use super::service::SharedPlane;
use super::status::Status;
use crate::audit::json::event::EventKind;
use crate::clock::Now;
use crate::config::resolved::{Issuer, Tenants};
use crate::ids::TenantId;
use crate::pipeline::Quarantined;
use crate::server::Shared;

/// Quarantines at a time.
pub const QUARANTINES_MAX: usize = 1_024;
/// The longest one.
pub const TIME_MAX: Duration = Duration::from_secs(30 * 86_400);

const MS_NS: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Most that is read of the file.
const BYTES_MAX: u64 = 4 << 20;

/// A quarantine as it is listed.
#[derive(Debug)]
pub struct QuarantineRow {
    /// Who.
    pub tenant: TenantId,
    /// Until its deadline.
    pub seconds_left: u64,
    /// The kernel drops what arrives on its connections.
    pub in_kernel: bool,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    until_ns: u64,
    in_kernel: bool,
}

/// One line of the file.
#[derive(Serialize, Deserialize)]
struct Line {
    issuer: String,
    tenant: String,
    /// Milliseconds since the Unix epoch.
    until_ms: u64,
}

/// The control thread's part.
pub(super) struct Quarantine {
    plane: SharedPlane,
    publisher: Arc<Publisher>,
    shared: Arc<Shared>,
    status: Arc<Status>,
    events: AuditEvents,
    path: PathBuf,
    held: BTreeMap<(Arc<str>, Arc<str>), Held>,
}

impl Quarantine {
    /// Takes up what an earlier process held; `beside` is a file of the state directory.
    pub(super) fn start(
        plane: SharedPlane,
        publisher: Arc<Publisher>,
        shared: Arc<Shared>,
        status: Arc<Status>,
        events: AuditEvents,
        beside: &Path,
    ) -> Self {
        let path = beside.with_extension("quarantine");
        let mut this = Self { plane, publisher, shared, status, events, path, held: BTreeMap::new() };
        let now = Now::read();
        let lines = load(&this.path).unwrap_or_else(|error| {
            let path = this.path.display();
            tracing::error!(%error, "cannot read {path}: who was in quarantine before this start is served again");
            Vec::new()
        });
        for line in lines.into_iter().take(QUARANTINES_MAX) {
            let left_ns = line.until_ms.saturating_mul(MS_NS).saturating_sub(now.wall_ns);
            if left_ns > 0 {
                let tenant = TenantId { issuer: line.issuer.into(), tenant: line.tenant.into() };
                this.hold(&tenant, now.mono_ns.saturating_add(left_ns), "resumed", None);
            }
        }
        this
    }

    /// An operator freezes a tenant from now on, or changes until when.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn begin(&mut self, tenant: &TenantId, time: Duration) -> Result<(), String> {
        self.freeze(tenant, time, "admin")
    }

    /// A user of the tenant goes on with a loop. A quarantine that is in force stays as it is.
    ///
    /// # Errors
    /// In words for the operator.
    pub(super) fn runaway(&mut self, tenant: &TenantId, time: Duration) -> Result<(), String> {
        let key = (Arc::clone(&tenant.issuer), Arc::clone(&tenant.tenant));
        if self.held.contains_key(&key) {
            return Ok(());
        }
        let written = self.freeze(tenant, time, "loop");
        self.status.quarantine_loops.fetch_add(self.held.contains_key(&key).into(), Ordering::Relaxed);
        written
    }

    fn freeze(&mut self, tenant: &TenantId, time: Duration, why: &'static str) -> Result<(), String> {
        let key = (Arc::clone(&tenant.issuer), Arc::clone(&tenant.tenant));
        if self.held.len() >= QUARANTINES_MAX && !self.held.contains_key(&key) {
            return Err(format!("{QUARANTINES_MAX} tenants are in quarantine, no more can be"));
        }
        let time_ns = u64::try_from(time.min(TIME_MAX).as_nanos()).unwrap_or(u64::MAX);
        self.hold(tenant, Now::read().mono_ns.saturating_add(time_ns), "begun", Some(why));
        self.save()
    }

    /// An operator lifts it; whether there was one.
    ///
    /// # Errors
    /// It is lifted, and a restart would bring it back.
    pub(super) fn lift(&mut self, tenant: &TenantId) -> Result<bool, String> {
        let there = self.thaw(tenant, "admin");
        if there {
            self.publish();
            self.save()?;
        }
        Ok(there)
    }

    /// Lifts what is over, and says what the workers did.
    pub(super) fn tend(&mut self) {
        for (issuer, tenant, count) in self.shared.resets.take() {
            let tenant = TenantId { issuer: issuer.into(), tenant: tenant.into() };
            self.status.quarantine_resets.fetch_add(count, Ordering::Relaxed);
            self.event(&tenant, "reset", vec![("connections", Detail::Number(count))]);
        }
        let dropped = self.plane.lock().unwrap_or_else(PoisonError::into_inner).frozen();
        self.status.quarantine_dropped.store(dropped, Ordering::Relaxed);
        let now_ns = Now::read().mono_ns;
        let over = self.held.iter().filter(|(_, held)| held.until_ns <= now_ns);
        let over: Vec<TenantId> = over.map(|((issuer, tenant), _)| id(issuer, tenant)).collect();
        if !over.is_empty() {
            for tenant in &over {
                self.thaw(tenant, "deadline");
            }
            self.publish();
            if let Err(error) = self.save() {
                tracing::warn!("{error}");
            }
        }
        self.status.quarantined.store(self.held.len() as u64, Ordering::Relaxed);
    }

    /// Those in force.
    pub(super) fn rows(&self) -> Vec<QuarantineRow> {
        let now_ns = Now::read().mono_ns;
        let row = |((issuer, tenant), held): (&(Arc<str>, Arc<str>), &Held)| QuarantineRow {
            tenant: id(issuer, tenant),
            seconds_left: held.until_ns.saturating_sub(now_ns).div_ceil(SECOND_NS),
            in_kernel: held.in_kernel,
        };
        self.held.iter().map(row).collect()
    }

    fn hold(&mut self, tenant: &TenantId, until_ns: u64, step: &'static str, why: Option<&'static str>) {
        let key = (Arc::clone(&tenant.issuer), Arc::clone(&tenant.tenant));
        self.held.insert(key.clone(), Held { until_ns, in_kernel: false });
        self.publish();
        let seconds = until_ns.saturating_sub(Now::read().mono_ns).div_ceil(SECOND_NS);
        tracing::warn!(tenant = &*tenant.tenant, seconds, why, "quarantine {step}");
        let mut detail = vec![("seconds", Detail::Number(seconds))];
        detail.extend(why.map(|why| ("why", Detail::Text(why.to_owned()))));
        self.event(tenant, step, detail);
        let frozen = self.plane.lock().unwrap_or_else(PoisonError::into_inner).freeze(tenant, until_ns);
        match frozen {
            Ok(true) => {
                self.held.insert(key, Held { until_ns, in_kernel: true });
                self.event(tenant, "frozen", Vec::new());
            }
            Ok(false) => {
                tracing::warn!("the kernel does not drop for this quarantine; requests are refused all the same")
            }
            Err(error) => tracing::warn!(%error, "the kernel does not drop for this quarantine"),
        }
    }

    fn thaw(&mut self, tenant: &TenantId, why: &'static str) -> bool {
        let there = self.held.remove(&(Arc::clone(&tenant.issuer), Arc::clone(&tenant.tenant)));
        if there.is_some_and(|held| held.in_kernel)
            && let Err(error) = self.plane.lock().unwrap_or_else(PoisonError::into_inner).freeze(tenant, 0)
        {
            tracing::warn!(%error, "the kernel drops on for this tenant until the deadline");
        }
        if there.is_some() {
            tracing::warn!(tenant = &*tenant.tenant, why, "quarantine lifted");
            self.event(tenant, "lifted", vec![("why", Detail::Text(why.to_owned()))]);
        }
        there.is_some()
    }

    fn publish(&self) {
        let held = self.held.iter().map(|((issuer, tenant), held)| (id(issuer, tenant), held.until_ns));
        self.publisher.quarantined(Quarantined::new(held));
    }

    /// Written whole or not at all. A few lines, when a quarantine begins or ends: not worth a thread.
    fn save(&self) -> Result<(), String> {
        let now = Now::read();
        let lines: Vec<Line> = self
            .held
            .iter()
            .map(|((issuer, tenant), held)| Line {
                issuer: issuer.to_string(),
                tenant: tenant.to_string(),
                until_ms: now.wall_ns.saturating_add(held.until_ns.saturating_sub(now.mono_ns)) / MS_NS,
            })
            .collect();
        store(&self.path, &lines)
            .map_err(|error| format!("in force, but cannot be written to {}: {error}", self.path.display()))
    }

    fn event(&self, tenant: &TenantId, step: &str, more: Vec<(&'static str, Detail)>) {
        let text = |value: &str| Detail::Text(value.to_owned());
        let mut detail = vec![("step", text(step)), ("tenant", text(&tenant.tenant)), ("issuer", text(&tenant.issuer))];
        detail.extend(more);
        if !self.events.send(EventKind::Quarantine, detail) {
            tracing::warn!("the audit writer is behind; an event was lost");
        }
    }
}

fn id(issuer: &Arc<str>, tenant: &Arc<str>) -> TenantId {
    TenantId { issuer: Arc::clone(issuer), tenant: Arc::clone(tenant) }
}

/// The tenant that an operator means: with several issuers, one has to be named.
///
/// # Errors
/// In words for the operator.
pub(super) fn named(issuers: &[Arc<Issuer>], issuer: Option<&str>, tenant: &str) -> Result<TenantId, String> {
    let names = || issuers.iter().map(|issuer| &*issuer.name).collect::<Vec<_>>().join(", ");
    let found = match (issuer, issuers) {
        (Some(name), _) => issuers.iter().find(|issuer| *issuer.name == *name),
        (None, [only]) => Some(only),
        (None, _) => return Err(format!("several issuers have tenants: name one of {}", names())),
    };
    let issuer = found.ok_or_else(|| format!("there is no such issuer, but {}", names()))?;
    let may = match &issuer.tenants {
        Tenants::Any => true,
        Tenants::Listed(tenants) => tenants.iter().any(|listed| listed == tenant),
        Tenants::Fixed(fixed) => **fixed == *tenant,
    };
    if !may {
        return Err(format!("the issuer {} asserts no tenant of that name", issuer.name));
    }
    Ok(TenantId { issuer: issuer.name.clone(), tenant: tenant.into() })
}

/// The lines that can be read; none if there is no file.
fn load(path: &Path) -> io::Result<Vec<Line>> {
    let mut text = Vec::new();
    match std::fs::File::open(path) {
        Ok(file) => drop(io::Read::read_to_end(&mut io::Read::take(file, BYTES_MAX), &mut text)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let read = lines.map(serde_json::from_slice).collect::<Result<_, _>>();
    read.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn store(path: &Path, lines: &[Line]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    for line in lines {
        writeln!(file, "{}", serde_json::to_string(line)?)?;
    }
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_a_file_that_cannot_be_read_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("q");
        assert!(load(&path).unwrap().is_empty());
        let line = |tenant: &str| Line { issuer: "a".into(), tenant: tenant.into(), until_ms: 5 };
        store(&path, &[line("acme"), line("new\nline")]).unwrap();
        let tenants: Vec<_> = load(&path).unwrap().into_iter().map(|line| line.tenant).collect();
        assert_eq!(tenants, ["acme", "new\nline"]);
        std::fs::write(&path, "{\n").unwrap();
        assert!(load(&path).is_err());
    }
}
