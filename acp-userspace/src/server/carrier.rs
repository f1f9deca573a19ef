//! The pipeline's view of a client connection: where the body comes from, and what it may wait for.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::body::Body;
use super::connection::Connection;
use super::lanes::Lane;
use super::runtime;
use super::sweep::{Cut, Phase};
use super::worker::{KeyWanted, Signal, principal};
use crate::audit::ring::Position;
use crate::clock::{Now, mono_ns, tick_ns};
use crate::config::resolved::{Issuer, Per};
use crate::identity::{ConnectionToken, Identity};
use crate::ids::Key128;
use crate::pipeline::{Carrier, Current};
use crate::reason::Reason;

/// Longest wait for a key, a lease or the log (THREATS A21).
const WAIT_MAX_NS: u64 = 1_000_000_000;

/// Between two looks at what is waited for. Waiting is the cold path: a new user's first lease, a rotated key.
const LOOK: Duration = Duration::from_millis(2);

/// One request's carrier.
pub(super) struct ClientBody<'c> {
    conn: &'c mut Connection,
    input: &'c [u8],
    body: &'c mut Body,
    /// When the request's first wait must have ended.
    patience_ns: Option<u64>,
    /// It has waited for something.
    waited: bool,
}

impl<'c> ClientBody<'c> {
    pub(super) fn new(conn: &'c mut Connection, input: &'c [u8], body: &'c mut Body) -> Self {
        Self { conn, input, body, patience_ns: None, waited: false }
    }

    /// Suspends until `done`, at most what is left of one second per request.
    async fn wait_until(&mut self, mut done: impl FnMut(&Connection) -> bool) -> bool {
        let deadline = *self.patience_ns.get_or_insert_with(|| mono_ns() + WAIT_MAX_NS);
        loop {
            if done(self.conn) {
                return true;
            }
            self.waited = true;
            // Whatever phase came before, its deadline is over, and a drain must not take the request for idle.
            self.conn.watch.enter(Phase::Govern, tick_ns(), u64::MAX);
            if mono_ns() >= deadline || self.conn.watch.cut() != Cut::No {
                return false;
            }
            runtime::sleep(LOOK).await;
        }
    }

    /// Reads the body, at most `max` bytes of it, counted against the tenant's share.
    async fn whole_body(&mut self, tenant: Key128, max: usize) -> Result<(), Reason> {
        // Its connection's turn may have been another tenant's, or nobody's yet.
        self.waited |= self.conn.worker.lanes.crowded();
        self.conn.wait_in(Lane::Tenant(tenant)).await?;
        if self.body.is_complete() {
            return Ok(());
        }
        self.waited = true;
        let now = tick_ns();
        self.conn.watch.enter(Phase::Body, now, now + self.conn.worker.times().body_ns);
        let quota = Rc::clone(&self.conn.worker.quota);
        let read = self.body.read(&mut self.conn.stream, self.input, max, |bytes| quota.lease(tenant, bytes)).await;
        match read {
            Ok(()) => {
                // Complete in the moment of its deadline is in time.
                self.conn.watch.clear_deadline_cut();
                Ok(())
            }
            Err(Reason::ClientClosed) if self.conn.watch.cut() == Cut::Deadline => Err(Reason::RequestTimeout),
            other => other,
        }
    }
}

impl Carrier for ClientBody<'_> {
    fn snapshot(&mut self) -> Current {
        self.conn.worker.snapshot()
    }

    fn now(&mut self, head: Now) -> Now {
        if self.waited { head.at(mono_ns()) } else { head }
    }

    fn token(&mut self) -> &mut ConnectionToken {
        &mut self.conn.token
    }

    fn verified(&mut self, identity: &Identity) -> u32 {
        self.conn.bind(identity);
        self.conn.tenant_slot
    }

    fn ignored_limit(&mut self, identity: &Identity, per: Per) {
        self.conn.ignored += 1;
        let (source, who) = (self.conn.peer.ip(), principal(identity));
        let signal = Signal::IgnoredLimit { source, tenant: identity.tenant.clone(), who, per };
        self.conn.worker.signal(signal);
    }

    fn ignored_loop(&mut self, identity: &Identity) {
        let signal = Signal::IgnoredLoop { tenant: identity.tenant.clone(), who: principal(identity) };
        self.conn.worker.signal(signal);
    }

    async fn await_key(&mut self, issuer: &Arc<Issuer>, kid: &Arc<str>) -> bool {
        let seen = self.conn.worker.snapshot().keys_generation();
        let answered = Arc::new(AtomicBool::new(false));
        let wanted = KeyWanted { issuer: Arc::clone(issuer), kid: Arc::clone(kid), answered: Arc::clone(&answered) };
        self.conn.worker.signal(Signal::KeyWanted(wanted));
        self.wait_until(|_| answered.load(Ordering::Acquire)).await;
        self.conn.worker.snapshot().keys_generation() != seen
    }

    async fn await_lease(&mut self) -> bool {
        // The pipeline asks again after every look: the grant shows in the usage tables, not here.
        let mut looked = false;
        self.wait_until(|_| std::mem::replace(&mut looked, true)).await
    }

    async fn await_durable(&mut self, position: Position) -> bool {
        self.wait_until(|conn| conn.worker.core.borrow().ring.is_durable(position)).await
    }

    async fn body(&mut self, tenant: Key128, max: usize) -> Result<(), Reason> {
        self.whole_body(tenant, max).await?;
        self.conn.audited_in += self.parts().0.len() as u64;
        Ok(())
    }

    fn replace_body(&mut self, tenant: Key128, body: Vec<u8>) -> bool {
        let lease = self.conn.worker.quota.lease(tenant, body.len());
        lease.map(|lease| self.body.replace(body, lease)).is_some()
    }

    fn parts(&mut self) -> (&[u8], &mut Vec<u8>) {
        (self.body.bytes(self.input), &mut self.conn.out)
    }
}
