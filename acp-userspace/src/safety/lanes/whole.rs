//! Sixty-four bytes sorted by a table of what each ASCII byte is, where the CPU has AVX-512 with VBMI.

use std::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_maskz_loadu_epi8, _mm512_min_epu8, _mm512_movepi8_mask,
    _mm512_permutex2var_epi8, _mm512_set1_epi8, _mm512_test_epi8_mask,
};

/// Bytes at once.
pub(in crate::safety) const WHOLE: usize = 64;

/// The classes of each ASCII byte, a bit for every one of eight. All other bytes are of those of DEL.
pub(in crate::safety) type Table = [u8; 128];

/// Sixty-four bytes, and their classes.
#[derive(Clone, Copy)]
pub(in crate::safety) struct Sorted {
    bytes: __m512i,
    classes: __m512i,
}

/// Whether the CPU can run what is compiled for `avx512f,avx512bw,avx512vbmi,bmi1,bmi2`.
pub(in crate::safety) fn is_available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
}

/// Sorts the first bytes of `rest`; where it has fewer than sixty-four, the others are as if they were NUL.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2")]
#[inline]
pub(in crate::safety) fn sort(rest: &[u8], table: &Table) -> Sorted {
    let bytes = if rest.len() >= WHOLE {
        // SAFETY: that many bytes may be read, and the load wants no alignment.
        unsafe { _mm512_loadu_si512(rest.as_ptr().cast()) }
    } else {
        // SAFETY: only the bytes whose bits are set are read, which are those of `rest`.
        unsafe { _mm512_maskz_loadu_epi8((1 << rest.len()) - 1, rest.as_ptr().cast()) }
    };
    let halves = table.as_ptr().cast::<u8>();
    // SAFETY: the table has 128 bytes, and the loads want no alignment.
    let (low, high) = unsafe { (_mm512_loadu_si512(halves.cast()), _mm512_loadu_si512(halves.add(WHOLE).cast())) };
    let within = _mm512_min_epu8(bytes, _mm512_set1_epi8(0x7f));
    Sorted { bytes, classes: _mm512_permutex2var_epi8(low, within, high) }
}

impl Sorted {
    /// Which bytes are of one of the classes whose bits are set.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2")]
    #[inline]
    pub(in crate::safety) fn of(self, classes: u8) -> u64 {
        _mm512_test_epi8_mask(self.classes, _mm512_set1_epi8(classes as i8))
    }

    /// Which bytes are not ASCII.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi1,bmi2")]
    #[inline]
    pub(in crate::safety) fn other(self) -> u64 {
        _mm512_movepi8_mask(self.bytes)
    }
}
