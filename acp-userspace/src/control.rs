//! (see ARCHITECTURE.md)

pub mod ledger;
