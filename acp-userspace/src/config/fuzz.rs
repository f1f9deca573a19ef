//! What has to hold of configurations whatever the bytes: the body of a fuzz target, run by `crate::fuzzing`.

use std::path::Path;

use crate::routing::RouteTable;

/// A configuration file: refused with mistakes that can be found in it, or taken, and then its routes can be used.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match super::parse(text, Path::new("/nonexistent")) {
        Ok(config) => {
            let table = RouteTable::compile(&config.routes, &config.upstreams, config.identity.issuers.len());
            assert!(table.is_ok(), "what is taken can be served: {table:?}");
            assert_eq!(config.digest, super::text_digest(text));
        }
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty(), "a refusal says why");
            let lines = text.split('\n').count();
            for mistake in &mistakes.0 {
                assert!(mistake.line <= lines && !mistake.message.is_empty(), "{mistake:?}");
            }
            assert!(!mistakes.to_string().is_empty());
        }
    }
}
