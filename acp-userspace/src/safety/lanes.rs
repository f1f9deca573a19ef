//! More bytes at once than every x86-64 compares, for `shapes` and `decode::suspect`, which read every byte: thirty-two
//! where the CPU has AVX2, and with [`whole`] sixty-four that are looked up in a table, where it has AVX-512 with VBMI.
//!
//! Whoever uses these functions has the same features enabled itself, so they are safe to call; only the step from a
//! function that has not is unsafe, and it asks `is_available` before. Everybody else uses [`wide`], sixteen bytes at a
//! time.

use std::arch::x86_64::{
    __m256i, _mm256_cmpeq_epi8, _mm256_loadu_si256, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256,
    _mm256_set1_epi8, _mm256_sub_epi8,
};

pub(super) mod whole;

/// Bytes at once.
pub(super) const LANE: usize = 32;

/// Thirty-two bytes, or as many answers: all bits set, or none.
pub(super) type Lane = __m256i;

/// Whether the CPU can run what is compiled for `avx2,bmi1,bmi2`.
pub(super) fn is_available() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") && is_x86_feature_detected!("bmi2")
}

/// The bytes as they stand.
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline]
pub(super) fn load(bytes: &[u8; LANE]) -> Lane {
    // SAFETY: the reference is to thirty-two bytes that may be read, and the load wants no alignment.
    unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
}

/// Each byte with the bits of `byte` set.
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline]
pub(super) fn with(lane: Lane, byte: u8) -> Lane {
    _mm256_or_si256(lane, _mm256_set1_epi8(byte as i8))
}

/// Which bytes are `byte`.
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline]
pub(super) fn equal(lane: Lane, byte: u8) -> Lane {
    _mm256_cmpeq_epi8(lane, _mm256_set1_epi8(byte as i8))
}

/// Which bytes are `first` to `last`.
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline]
pub(super) fn within(lane: Lane, first: u8, last: u8) -> Lane {
    let above = _mm256_sub_epi8(lane, _mm256_set1_epi8(first as i8));
    _mm256_cmpeq_epi8(_mm256_min_epu8(above, _mm256_set1_epi8((last - first) as i8)), above)
}

/// Either.
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline]
pub(super) fn or(a: Lane, b: Lane) -> Lane {
    _mm256_or_si256(a, b)
}

/// The highest bit of each byte.
#[target_feature(enable = "avx2,bmi1,bmi2")]
#[inline]
pub(super) fn bits(lane: Lane) -> u64 {
    u64::from(_mm256_movemask_epi8(lane) as u32)
}
