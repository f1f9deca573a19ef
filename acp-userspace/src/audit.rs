//! Audit: what happened. One record per request, written in one place, for denials as for successes.
//!
//! A worker stores an [`record::Intent`] before the first byte goes upstream and an [`record::Outcome`] before the last
//! byte of the answer is released, or one [`record::Refusal`] for a request that never went upstream, in compact binary
//! form into its [`ring`]. The control thread drains the rings into the log: JSON lines ([`json`]) in blocks chained by
//! SHA-256 with signed heads ([`chain`]), personal fields sealed per subject ([`seal`]). [`query`] and [`verify`] read it.
//!
//! Everything here but the mapped ring is pure: files are opened, written and locked by `control::audit_writer`, and
//! read by `cli::audit`.
//!
//! **Invariant:** what is in a ring survives `kill -9` of the process; start-up drains it into the log.
//! **Invariant:** no caller's string enters a record except through [`crate::text::CallerText`] (THREATS A16).

pub mod chain;
pub mod files;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
pub mod json;
pub mod query;
pub mod record;
pub mod ring;
pub mod seal;
pub mod verify;
pub mod when;
