//! Per-worker buffer pool: parked connections hold no buffer, busy ones reuse warm memory.
//!
//! Two bounds: what the pool keeps ([`KEPT_MAX`] buffers), and what bodies may occupy, in all and per tenant
//! ([`Quota`]). Each worker enforces its share of the configured bytes, so that no counter is shared between cores.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use hashbrown::HashMap;

use crate::ids::Key128;

/// Initial capacity of a connection's buffer: a 1 KiB call with a 700-byte token and its head fit at once.
pub(super) const BUFFER_BYTES: usize = 8 * 1024;

/// Buffers kept for reuse per worker (16 MiB of 8 KiB buffers): as many as the connections hold that keep theirs. What a
/// crowd takes and gives back beside that, the allocator would scatter over its heap.
const KEPT_MAX: usize = 2_048;

/// Kept although they may have grown.
const GROWN_MAX: usize = 256;

/// A worker's spare buffers.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    spare: RefCell<Vec<Vec<u8>>>,
}

impl Buffers {
    /// An empty buffer of at least [`BUFFER_BYTES`] capacity.
    #[must_use]
    pub(super) fn take(&self) -> Vec<u8> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
    }

    /// Frees what is kept.
    pub(super) fn forget(&self) {
        self.spare.take();
    }

    /// Gives a buffer back. One that grew past four times the initial size is freed: a large body must not pin memory. Nor
    /// may many that grew at all.
    pub(super) fn give(&self, mut buf: Vec<u8>) {
        let mut spare = self.spare.borrow_mut();
        let (kept_max, bytes_max) =
            if spare.len() < GROWN_MAX { (GROWN_MAX, 4 * BUFFER_BYTES) } else { (KEPT_MAX, BUFFER_BYTES) };
        if (BUFFER_BYTES..=bytes_max).contains(&buf.capacity()) && spare.len() < kept_max {
            buf.clear();
            spare.push(buf);
        }
    }
}

/// Bytes of bodies a worker may hold at once, in all and for one tenant.
#[derive(Debug)]
pub(super) struct Quota {
    total_max: Cell<usize>,
    tenant_max: Cell<usize>,
    total: Cell<usize>,
    /// Tenants with bytes held right now; bounded by `total_max / 1`, in practice by open connections.
    tenants: RefCell<HashMap<Key128, usize>>,
}

impl Quota {
    /// A quota of `total_max` bytes, `tenant_max` for each tenant.
    #[must_use]
    pub(super) fn new(total_max: usize, tenant_max: usize) -> Self {
        Self {
            total_max: Cell::new(total_max),
            tenant_max: Cell::new(tenant_max),
            total: Cell::new(0),
            tenants: RefCell::default(),
        }
    }

    /// Changes the bounds; what is held stays held.
    pub(super) fn set_max(&self, total_max: usize, tenant_max: usize) {
        self.total_max.set(total_max);
        self.tenant_max.set(tenant_max);
    }

    /// Sets `bytes` aside for `tenant` until the lease is dropped; `None` when a bound would be passed.
    #[must_use]
    pub(super) fn lease(self: &Rc<Self>, tenant: Key128, bytes: usize) -> Option<Lease> {
        let total = self.total.get().checked_add(bytes)?;
        let mut tenants = self.tenants.borrow_mut();
        let held = tenants.get(&tenant).copied().unwrap_or(0).checked_add(bytes)?;
        if total > self.total_max.get() || held > self.tenant_max.get() {
            return None;
        }
        self.total.set(total);
        tenants.insert(tenant, held);
        Some(Lease { quota: Rc::clone(self), tenant, bytes })
    }

    /// Bytes held now.
    #[must_use]
    pub(super) fn held(&self) -> usize {
        self.total.get()
    }
}

/// Bytes set aside by [`Quota::lease`].
#[derive(Debug)]
pub(super) struct Lease {
    quota: Rc<Quota>,
    tenant: Key128,
    bytes: usize,
}

impl Lease {
    /// Makes the lease at least `bytes` large; false when a bound would be passed.
    #[must_use]
    pub(super) fn grow_to(&mut self, bytes: usize) -> bool {
        if bytes <= self.bytes {
            return true;
        }
        let Some(mut more) = self.quota.lease(self.tenant, bytes - self.bytes) else { return false };
        self.bytes += std::mem::take(&mut more.bytes);
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.quota.total.set(self.quota.total.get() - self.bytes);
        let mut tenants = self.quota.tenants.borrow_mut();
        if let Some(held) = tenants.get_mut(&self.tenant) {
            *held -= self.bytes;
            if *held == 0 {
                tenants.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key128 = Key128([1; 16]);
    const B: Key128 = Key128([2; 16]);

    #[test]
    fn threat_a22_quota_bounds_the_whole_and_each_tenant_and_forgets_what_ended() {
        let quota = Rc::new(Quota::new(100, 60));
        let a = quota.lease(A, 60).expect("fits");
        assert!(quota.lease(A, 1).is_none(), "tenant bound");
        let b = quota.lease(B, 40).expect("fits");
        assert!(quota.lease(B, 1).is_none(), "total bound");
        drop(a);
        assert_eq!(quota.held(), 40);
        assert!(quota.lease(A, 60).is_some());
        drop(b);
        assert_eq!(quota.held(), 0);
        let mut grown = quota.lease(A, 10).expect("fits");
        assert!(grown.grow_to(60) && !grown.grow_to(61));
        assert_eq!(quota.held(), 60);
        drop(grown);
        assert_eq!(quota.held(), 0);
        assert!(quota.tenants.borrow().is_empty());
    }

    #[test]
    fn pool_keeps_small_buffers_and_frees_grown_ones() {
        let buffers = Buffers::default();
        let mut buf = buffers.take();
        buf.extend_from_slice(b"secret");
        let address = buf.as_ptr();
        buffers.give(buf);
        let again = buffers.take();
        assert_eq!((again.as_ptr(), again.len()), (address, 0));
        buffers.give(Vec::with_capacity(1 << 20));
        assert!(buffers.take().capacity() < 1 << 20);
        for _ in 0..2 * KEPT_MAX {
            buffers.give(Vec::with_capacity(2 * BUFFER_BYTES));
        }
        assert_eq!(buffers.spare.borrow().len(), GROWN_MAX);
        for _ in 0..2 * KEPT_MAX {
            buffers.give(Vec::with_capacity(BUFFER_BYTES));
        }
        assert_eq!(buffers.spare.borrow().len(), KEPT_MAX);
        buffers.forget();
        assert!(buffers.spare.borrow().is_empty());
    }
}
