//! Who filled the ring: above half its capacity, no tenant takes more than a share of what is left (THREATS A5, A22).
//!
//! Nothing is counted while there is room, so the common path pays one comparison. Above half, each tenant's promised
//! bytes are counted exactly, and its written ones until half a capacity was drained since, when they are gone.
//! Whatever one tenant does, it takes at most half plus its share, and the others find the rest.

use hashbrown::HashMap;

use crate::ids::Key128;

/// One tenant's share of the ring once it is more than half full: 1/8.
pub const TENANT_SHARE: u64 = 8;

/// Tenants counted apart at one time; further ones share one count, so that names cannot be spent to get more.
const TENANTS_MAX: usize = 1024;

/// The count of tenants beyond [`TENANTS_MAX`].
const OTHERS: Key128 = Key128([0xff; 16]);

#[derive(Debug, Default)]
struct Used {
    reserved: u64,
    written: u64,
}

#[derive(Debug)]
pub(super) struct Shares {
    capacity: u64,
    used: HashMap<Key128, Used>,
    /// The head when written bytes were last forgotten.
    since: u64,
}

impl Shares {
    pub(super) fn new(capacity: u64) -> Self {
        Self { capacity, used: HashMap::with_capacity(TENANTS_MAX + 1), since: 0 }
    }

    /// Promises `tenant` `room` more, with the ring above half full and its head at `head`: the count it goes to, or
    /// `None` if its share is used up.
    pub(super) fn admit(&mut self, tenant: Key128, room: u64, head: u64) -> Option<Key128> {
        if head.saturating_sub(self.since) >= self.capacity / 2 {
            self.since = head;
            self.used.retain(|_, used| {
                used.written = 0;
                used.reserved > 0
            });
        }
        let key = self.key(tenant);
        let used = self.used.entry(key).or_default();
        if used.reserved + used.written + room > self.capacity / TENANT_SHARE {
            return None;
        }
        used.reserved += room;
        Some(key)
    }

    /// Of the bytes promised under `key`, `room` were used up by an entry of `size` bytes, or given back (`size` 0).
    pub(super) fn wrote(&mut self, key: Key128, room: u64, size: u64) {
        if let Some(used) = self.used.get_mut(&key) {
            used.reserved = used.reserved.saturating_sub(room);
            used.written += size;
        }
    }

    fn key(&self, tenant: Key128) -> Key128 {
        if self.used.len() < TENANTS_MAX || self.used.contains_key(&tenant) { tenant } else { OTHERS }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Key128 = Key128([1; 16]);
    const B: Key128 = Key128([2; 16]);

    #[test]
    fn a_tenant_gets_its_share_and_no_more() {
        let mut shares = Shares::new(8000);
        assert!(shares.admit(A, 600, 0).is_some());
        assert!(shares.admit(A, 600, 0).is_none(), "a second 600 would exceed an eighth of 8000");
        assert!(shares.admit(B, 600, 0).is_some(), "another tenant has its own");
        shares.wrote(A, 600, 100);
        assert!(shares.admit(A, 600, 0).is_some(), "only what was written counts now");
    }

    #[test]
    fn written_bytes_are_forgotten_once_drained_but_promised_ones_are_not() {
        let mut shares = Shares::new(8000);
        assert!(shares.admit(A, 900, 0).is_some());
        shares.wrote(A, 900, 900);
        assert!(shares.admit(A, 200, 3999).is_none());
        assert!(shares.admit(A, 200, 4000).is_some());
        assert!(shares.admit(A, 900, 8000).is_none(), "200 are still promised");
    }

    #[test]
    fn tenants_beyond_the_bound_share_one_count() {
        let mut shares = Shares::new(8000);
        for n in 0..TENANTS_MAX as u128 {
            assert!(shares.admit(Key128(n.to_le_bytes()), 1, 0).is_some());
        }
        assert_eq!(shares.admit(Key128([0xaa; 16]), 900, 0), Some(OTHERS));
        assert_eq!(shares.admit(Key128([0xbb; 16]), 900, 0), None);
        assert!(shares.used.len() <= TENANTS_MAX + 1);
    }
}
