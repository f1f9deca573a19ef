//! The Agentic Control Plane gateway as a library.
//!
//! Every request passes six layers in order: [`identity`], [`safety`], [`policy`], [`usage`], [`routing`], [`audit`];
//! [`pipeline`] is the one function that calls them. The layers are plain decisions: no I/O, no runtime, `now` is a
//! parameter. Sockets live in [`server`], files, stores and the network's slow side in [`control`], the kernel's half
//! in [`kernel`].
//!
//! Arrows point one way: `main → server, control → pipeline → the six concerns → protocol`. See ARCHITECTURE.md.

pub mod audit;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
pub mod identity;
pub mod ids;
pub mod kernel;
pub mod pipeline;
pub mod policy;
mod prefetch;
pub mod protocol;
pub mod reason;
pub mod routing;
pub mod safety;
pub mod server;
pub mod text;
pub mod usage;

#[cfg(test)]
#[path = "../../tests/corpora.rs"]
mod corpora;
