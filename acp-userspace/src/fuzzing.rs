//! The bodies of the fuzz targets: for `cargo fuzz` (`fuzz/`, feature `fuzzing`), and for a test that runs them over
//! their seeds and a bounded, repeatable set of changed seeds.
//!
//! Each takes any bytes and panics if something does not hold that has to hold whatever the bytes: agreement with
//! another reader (hyper, serde_json, a slow one written for that), the same result in pieces as whole, round trips,
//! bounds. They stand beside what they are about; docs/testing.md says how to run them.

pub use crate::audit::fuzz::audit;
pub use crate::config::fuzz::config;
pub use crate::http::fuzz::{chunked, request_head, response_head};
pub use crate::identity::fuzz::token;
pub use crate::protocol::json::fuzz::json;
pub use crate::protocol::multipart::fuzz::multipart;
pub use crate::protocol::sse::fuzz::sse;
pub use crate::routing::fuzz::path;
pub use crate::safety::decode::fuzz::decode;
pub use crate::safety::inflate::fuzz::inflated;
pub use crate::safety::screen::fuzz::{edits, tokens};
pub use crate::safety::stream::fuzz::stream;

#[cfg(test)]
mod tests;
