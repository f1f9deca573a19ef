//! Where the gateway itself may connect to: a second wall behind the address rules of user space.
//!
//! User space lists each address that passed its rules, just before it connects there; the kernel refuses every other TCP
//! connection of the gateway's cgroup. A mistake in the first wall, or a library that connects by itself, ends here.
//!
//! **Invariants.** An entry ends by itself: what was for one fetch, or is no longer resolved, is refused after its
//! deadline without anybody's action. Datagrams pass: names are asked for by them, and addresses sorted.

/// Addresses that can be listed at a time.
pub const ALLOWED_MAX: u32 = 8_192;
/// Size of the ring of refusals: about 1 000 of them.
pub const REFUSALS_BYTES: u32 = 64 * 1024;
/// A deadline that never comes.
pub const FOR_EVER: u64 = u64::MAX;

/// Counters: indices into a per-CPU array of `u64`.
pub mod count {
    /// Connections refused.
    pub const REFUSED: u32 = 0;
    /// Refusals that found the ring full.
    pub const LOST: u32 = 1;
    /// Entries of the array.
    pub const MAX: u32 = 2;
}

/// Whether an address that is listed until `until_ns`, if it is, may be connected to.
#[inline(always)]
#[must_use]
pub const fn is_allowed(until_ns: Option<u64>, now_ns: u64) -> bool {
    match until_ns {
        Some(until_ns) => now_ns < until_ns,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_allowed_until_its_deadline_and_one_that_is_not_listed_never() {
        assert!(is_allowed(Some(5), 4) && is_allowed(Some(FOR_EVER), u64::MAX - 1));
        assert!(!is_allowed(Some(5), 5) && !is_allowed(None, 0));
    }
}
