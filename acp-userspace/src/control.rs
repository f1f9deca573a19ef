//! (see ARCHITECTURE.md)

pub mod audit_writer;
