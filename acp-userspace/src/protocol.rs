//! What a body says: JSON, read once and strictly ([`json`]), and the protocols written in it ([`mcp`]).
//!
//! Everything here is a pure reading of bytes: no I/O, no clock, no configuration. The layers above share one
//! [`json::Document`] per body, so that safety, policy and routing cannot read three different requests out of it.

pub mod json;
pub mod mcp;
