//! The audit directory, for readers.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use crate::audit::chain::SegmentHeader;
use crate::audit::files;
use crate::audit::query::{Place, Record, Unsealer};
use crate::audit::seal::keyfile::Keyfile;

/// A directory with a log in it.
#[derive(Debug)]
pub(super) struct Log {
    dir: PathBuf,
    segments: Vec<u64>,
}

#[derive(Deserialize)]
struct HeaderLine {
    segment: SegmentHeader,
}

impl Log {
    /// # Errors
    /// There is no such directory, or no log in it.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let mut segments = Vec::new();
        for entry in fs::read_dir(dir)? {
            segments.extend(entry?.file_name().to_str().and_then(files::segment_number));
        }
        segments.sort_unstable();
        if segments.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there are no segments"));
        }
        Ok(Self { dir: dir.to_owned(), segments })
    }

    /// Numbers of the segments, rising.
    pub(super) fn segments(&self) -> &[u64] {
        &self.segments
    }

    /// A segment's bytes.
    pub(super) fn read(&self, number: u64) -> io::Result<Vec<u8>> {
        fs::read(self.dir.join(files::segment(number)))
    }

    /// When a segment was opened; `None` if its header does not say.
    pub(super) fn opened(&self, number: u64) -> Option<Timestamp> {
        let file = fs::File::open(self.dir.join(files::segment(number))).ok()?;
        let mut line = Vec::new();
        BufReader::new(file).read_until(b'\n', &mut line).ok()?;
        serde_json::from_slice::<HeaderLine>(&line).ok()?.segment.opened.parse().ok()
    }

    /// A file beside the segments; `None` if it is not there.
    pub(super) fn beside(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        match fs::read(self.dir.join(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What opens sealed fields; nothing, where the key file is kept from this reader.
    ///
    /// # Errors
    /// The key file is damaged.
    pub(super) fn unsealer(&self) -> anyhow::Result<Unsealer> {
        let bytes = match self.beside(files::KEYS) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
            other => other?,
        };
        let keys = bytes.map(|bytes| Keyfile::parse(&bytes)).transpose()?;
        let path = self.dir.join(files::KEYS);
        let again = move || Some(Keyfile::parse(&fs::read(&path).ok()?).ok()?.0);
        Ok(Unsealer::new(keys.map(|(keys, _)| keys), again))
    }
}

/// The records of a segment's bytes, with their places; lines of the chain, and a line that is being written, are not.
pub(super) fn lines(segment: u64, bytes: &[u8]) -> impl Iterator<Item = (Place, &[u8])> {
    let whole = memchr::memrchr(b'\n', bytes).map_or(0, |end| end + 1);
    (1..)
        .zip(bytes[..whole].split_inclusive(|b| *b == b'\n'))
        .filter(|(_, text)| text.starts_with(b"{\"kind\":"))
        .map(move |(line, text)| (Place { segment, line }, text))
}

/// A record with the person in it.
pub(super) fn parse(place: Place, text: &[u8], unsealer: &mut Unsealer) -> Option<Record> {
    let mut record = Record::parse(text, place)?;
    unsealer.unseal(&mut record);
    Some(record)
}
