//! What a body says: JSON, read once and strictly ([`json`]), the protocols written in it ([`mcp`]), event
//! streams ([`sse`]), forms in parts ([`multipart`]), and the texts that come piece by piece in them ([`delta`]).
//!
//! Everything here is a pure reading of bytes: no I/O, no clock, no configuration. The layers above share one
//! [`json::Document`] per body, so that safety, policy and routing cannot read three different requests out of it.

mod anthropic;
pub mod delta;
pub mod json;
pub mod mcp;
pub mod multipart;
mod openai;
pub mod sse;
