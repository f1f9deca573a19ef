//! Asking for memory before it is needed.
//!
//! With a thousand users in turn, what belongs to one of them is in no near cache when their request comes, and the look-ups
//! of one request would wait for one line after another. Asked for early and together, the lines come while the
//! request is still being read by the layers before.

/// Asks the CPU for the line at the beginning of `at`; nothing where the architecture has no way to ask.
#[inline(always)]
pub(crate) fn prefetch<T>(at: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch changes nothing that a program can observe, and `at` is a live reference besides.
        #[expect(unsafe_code, reason = "the instruction has no safe wrapper")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(at).cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}
