//! The map types as `aya::Pod`, for the user-space side.

use crate::confine::{Meta, Peer};
use crate::log::Switch;
use crate::{Penalty, SkState, SourceKey};

// SAFETY: sixteen bytes; any bit pattern is one.
unsafe impl aya::Pod for SourceKey {}
// SAFETY: `#[repr(C)]`, three u64 and two u32, no padding; any bit pattern is one.
unsafe impl aya::Pod for Penalty {}
// SAFETY: `#[repr(C)]`, four u32 and two u64, the padding named; any bit pattern is one.
unsafe impl aya::Pod for SkState {}
// SAFETY: `#[repr(C)]`, sixteen bytes and two u16, no padding; any bit pattern is one.
unsafe impl aya::Pod for Peer {}
// SAFETY: `#[repr(C)]`, two u32, two u64 and bytes, no padding; any bit pattern is one.
unsafe impl aya::Pod for Meta {}
// SAFETY: `#[repr(C)]`, one u64 and two u32, no padding; any bit pattern is one.
unsafe impl aya::Pod for Switch {}
