//! (see ARCHITECTURE.md)

pub mod audit;
