//! Opens the sealed part of records with the key file's keys.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Record;
use crate::audit::seal::keyfile::Keyfile;
use crate::audit::seal::{SubjectKey, summary_nonce};
use crate::ids::RequestId;

/// Keys kept ready; all are let go when there are more.
const READY_MAX: usize = 16_384;

/// Opens sealed parts; without a key file, none.
#[derive(Debug)]
pub struct Unsealer {
    keys: Option<Keyfile>,
    ready: HashMap<u64, Option<SubjectKey>>,
}

impl Unsealer {
    /// With these keys.
    #[must_use]
    pub fn new(keys: Option<Keyfile>) -> Self {
        Self { keys, ready: HashMap::new() }
    }

    /// Fills in who it was, where the key is there; says so where it was deleted.
    pub fn unseal(&mut self, record: &mut Record) {
        let Some(sealed) = record.fields.get("sealed") else { return };
        let number = sealed.get("key").and_then(serde_json::Value::as_u64).unwrap_or(0);
        let text = sealed.get("box").and_then(serde_json::Value::as_str).unwrap_or("");
        let nonce = match record.text("kind") {
            "summary" => RequestId::parse(record.text("first")).map(summary_nonce),
            _ => RequestId::parse(record.text("id")),
        };
        record.personal = nonce.and_then(|nonce| self.key(number)?.open(nonce, &BASE64.decode(text).ok()?));
        record.erased = record.personal.is_none() && self.keys.is_some();
    }

    fn key(&mut self, number: u64) -> Option<&SubjectKey> {
        if self.ready.len() >= READY_MAX {
            self.ready.clear();
        }
        let keys = self.keys.as_ref();
        let make = || keys.and_then(|keys| SubjectKey::new(number, keys.key(number)?));
        self.ready.entry(number).or_insert_with(make).as_ref()
    }
}
