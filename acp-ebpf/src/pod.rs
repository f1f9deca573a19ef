//! The map types as `aya::Pod`, for the user-space side.

use crate::{Penalty, SkState, SourceKey};

// SAFETY: sixteen bytes; any bit pattern is one.
unsafe impl aya::Pod for SourceKey {}
// SAFETY: `#[repr(C)]`, three u64 and two u32, no padding; any bit pattern is one.
unsafe impl aya::Pod for Penalty {}
// SAFETY: `#[repr(C)]`, four u32 and two u64, the padding named; any bit pattern is one.
unsafe impl aya::Pod for SkState {}
