//! Does the log hold? Every segment in order, every byte of it, and the head that was kept elsewhere.
//!
//! What this proves: nobody changed, removed, added or reordered a record since it was written, unless they hold the
//! signing key; and with a head kept elsewhere, not even then up to that head, and nothing was cut off before it.

use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::audit::chain::{Checkpoint, Fault, FaultKind, Hash, Head, Scan, Tail, verified_head};

/// Checks segments as they are handed in, in order.
#[derive(Debug)]
pub struct Verifier {
    key: Option<Vec<u8>>,
    wanted: Option<Head>,
    found: bool,
    report: Report,
    previous: Option<Hash>,
    unsigned: Option<Fault>,
}

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Segments.
    pub segments: u64,
    /// Blocks.
    pub blocks: u64,
    /// Records.
    pub records: u64,
    /// Signed heads.
    pub heads: u64,
    /// Number of the last segment.
    pub last_segment: u64,
    /// Whether the log ends in a signed head, as a gateway leaves it when it stops.
    pub signed_end: bool,
}

impl Verifier {
    /// Checks heads under `key` (Ed25519, raw), or under the key each segment names; the log must contain `wanted`.
    #[must_use]
    pub fn new(key: Option<Vec<u8>>, wanted: Option<Head>) -> Self {
        Self {
            key,
            found: wanted.is_none(),
            wanted,
            report: Report::default(),
            previous: Some(Hash::default()),
            unsigned: None,
        }
    }

    /// Checks the next segment.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn segment(&mut self, number: u64, bytes: &[u8]) -> Result<(), Fault> {
        if let Some(fault) = self.unsigned.take() {
            return Err(fault);
        }
        let expected = self.report.last_segment + 1;
        if number != expected {
            return Err(Fault { segment: expected, line: 1, kind: FaultKind::Missing });
        }
        let wanted = self.wanted.as_ref();
        let mut found = false;
        let scan = Scan { number, previous: self.previous, key: self.key.as_deref() };
        let checkpoint = |state: &Checkpoint| found |= wanted.is_some_and(|head| state.is(head));
        let scanned = scan.run(bytes, |_, _| {}, checkpoint)?;
        match scanned.tail {
            Tail::None => {}
            Tail::Alien(fault) => return Err(fault),
            Tail::Torn => {
                let kind = FaultKind::Trailing((bytes.len() - scanned.whole) as u64);
                return Err(Fault { segment: number, line: scanned.lines + 1, kind });
            }
        }
        self.found |= found;
        if !scanned.signed_end {
            self.unsigned = Some(Fault { segment: number, line: scanned.lines, kind: FaultKind::Unsigned });
        }
        self.previous = Some(scanned.end.hash);
        self.report.segments += 1;
        self.report.blocks += scanned.end.blocks;
        self.report.records += scanned.end.records;
        self.report.heads += scanned.heads;
        self.report.last_segment = number;
        self.report.signed_end = scanned.signed_end;
        Ok(())
    }

    /// What was checked, if the wanted head was among it. The last segment need not end in a head: a gateway may be
    /// writing it.
    ///
    /// # Errors
    /// The wanted head states what the log does not contain.
    pub fn finish(self) -> Result<Report, Fault> {
        if self.found {
            return Ok(self.report);
        }
        let segment = self.wanted.map_or(0, |head| head.segment);
        Err(Fault { segment, line: 0, kind: FaultKind::Cut })
    }
}

/// A head as it was kept: the line of the log, or that in base64; signed with `key` (Ed25519, raw).
#[must_use]
pub fn parse_head(text: &str, key: &[u8]) -> Option<Head> {
    let text = text.trim();
    if text.starts_with('{') {
        return verified_head(text.as_bytes(), key);
    }
    verified_head(&BASE64.decode(text).ok()?, key)
}

/// A public key as `signing.pub` has it.
#[must_use]
pub fn parse_key(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.trim()).ok().filter(|key| key.len() == 32)
}

/// Names a key, for people: the first 16 hexadecimal digits of its SHA-256.
#[must_use]
pub fn fingerprint(key: &[u8]) -> String {
    crate::audit::chain::hex(&digest::digest(&digest::SHA256, key).as_ref()[..8])
}
