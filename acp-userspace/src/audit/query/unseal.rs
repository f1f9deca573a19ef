//! Opens the sealed part of records with the key file's keys.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Record;
use crate::audit::seal::keyfile::Keyfile;
use crate::audit::seal::{SubjectKey, summary_nonce};
use crate::ids::RequestId;

/// Keys kept ready; all are let go when there are more.
const READY_MAX: usize = 16_384;

/// Times the key file is read again, so that a log which names keys that nobody has costs no more than this.
const REREADS_MAX: u32 = 64;

/// Reads the key file again.
type Reread = Box<dyn Fn() -> Option<Keyfile>>;

/// Opens sealed parts; without a key file, none.
pub struct Unsealer {
    keys: Option<Keyfile>,
    again: Reread,
    rereads: u32,
    ready: HashMap<u64, Option<SubjectKey>>,
}

impl fmt::Debug for Unsealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsealer").field("keys", &self.keys.is_some()).finish_non_exhaustive()
    }
}

impl Unsealer {
    /// With these keys. `again` reads the file anew: a running gateway adds keys while its log is read, each before the
    /// first record that needs it.
    #[must_use]
    pub fn new(keys: Option<Keyfile>, again: impl Fn() -> Option<Keyfile> + 'static) -> Self {
        Self { keys, again: Box::new(again), rereads: 0, ready: HashMap::new() }
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
        let newer = self.keys.as_ref().is_some_and(|keys| number > keys.len() as u64);
        if newer && self.rereads < REREADS_MAX {
            self.rereads += 1;
            self.keys = (self.again)().or(self.keys.take());
            self.ready.remove(&number);
        }
        if self.ready.len() >= READY_MAX {
            self.ready.clear();
        }
        let keys = self.keys.as_ref();
        let make = || keys.and_then(|keys| SubjectKey::new(number, keys.key(number)?));
        self.ready.entry(number).or_insert_with(make).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Place;
    use super::*;
    use crate::audit::seal::Index;

    #[test]
    fn a_key_that_came_after_the_file_was_read_is_found() {
        let header = Keyfile::new_header().expect("randomness");
        let (mut keys, _) = Keyfile::parse(&header).expect("just made");
        let (number, entry) = keys.add(Index([1; 16]), 0).expect("randomness");
        let id = RequestId([7; 12]);
        let mut sealed = Vec::new();
        let key = SubjectKey::new(number, keys.key(number).expect("just added")).expect("32 bytes are a key");
        assert!(key.seal(id, "auth0|alice", ([192, 0, 2, 1], 7).into(), &mut sealed));
        let id = String::from_utf8(id.text().to_vec()).expect("text");
        let line =
            json!({"kind": "request", "id": id, "sealed": {"key": number, "box": BASE64.encode(&sealed)}}).to_string();
        let read = || Record::parse(line.as_bytes(), Place { segment: 1, line: 1 }).expect("a record");

        let file = [&header[..], &entry].concat();
        let earlier = || Some(Keyfile::parse(&header).expect("just made").0);
        let mut unsealer = Unsealer::new(earlier(), move || Some(Keyfile::parse(&file).ok()?.0));
        let mut record = read();
        unsealer.unseal(&mut record);
        assert_eq!(record.personal.map(|personal| personal.subject).as_deref(), Some("auth0|alice"));

        let mut unsealer = Unsealer::new(earlier(), || None);
        let mut record = read();
        unsealer.unseal(&mut record);
        assert!(record.personal.is_none(), "nobody has the key");
    }
}
