//! A frozen tenant's connections: what arrives on them is dropped until a deadline.
//!
//! User space resets the connections too; this holds them still from the moment the operator said so, whatever a worker is
//! busy with. Only what arrives is dropped: the reset that tells the client has to leave.

/// Tenants' slots, 0 (nobody's) among them.
pub const SLOTS: u32 = 4_097;

/// The last of all deadlines while there was none yet: long over, and says that the program is attached.
pub const ATTACHED: u64 = 1;

/// Whether something is dropped that is held until `until_ns`.
#[inline(always)]
#[must_use]
pub const fn is_frozen(until_ns: u64, now_ns: u64) -> bool {
    now_ns < until_ns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarantine_ends_at_its_deadline_and_what_never_began_is_over() {
        assert!(is_frozen(5, 4));
        assert!(!is_frozen(5, 5) && !is_frozen(0, 0));
    }
}
