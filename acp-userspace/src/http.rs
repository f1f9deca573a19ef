//! The strict HTTP/1.1 codec: pure functions over byte slices, no sockets, no runtime.
//!
//! A head borrows from the buffer it was parsed from. What cannot be read in exactly one way is refused
//! (RFC 9112 §2.2, §6.3, §11.2); what is forwarded is written anew by [`write`], never copied as raw framing.

pub mod chunked;
pub mod head;
pub mod write;
