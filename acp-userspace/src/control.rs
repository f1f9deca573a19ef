//! (see ARCHITECTURE.md)

pub mod jwks;
