//! The strict HTTP/1.1 codec: pure functions over byte slices, no sockets, no runtime.
//!
//! A head borrows from the buffer it was parsed from. What cannot be read in exactly one way is refused
//! (RFC 9112 §2.2, §6.3, §11.2); what is forwarded is written anew by [`mod@write`], never copied as raw framing.
//!
//! **Invariant:** nothing here looks past the bytes that it was given, keeps state between connections, or decides
//! what a request may do. Header hygiene (hop-by-hop, reserved names) belongs to routing, normalisation of the path
//! to routing as well: this module only guarantees that a head has one reading.

pub mod chunked;
pub mod forwarded;
pub mod head;
pub mod proxy;
pub mod write;

#[cfg(test)]
mod corpora;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
#[cfg(any(test, feature = "fuzzing"))]
mod oracle;
