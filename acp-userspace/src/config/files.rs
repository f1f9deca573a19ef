//! Reading the files that a configuration consists of, and trusting no file that strangers can write (THREATS A29).
//!
//! One [`Files`] reads one set. It remembers a digest of everything it was asked for, what was missing included, so
//! that two sets can be compared: a reload in the middle of somebody's copying is not taken.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};

/// Bytes of one file. A configuration of 10 000 tools stays below it.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// Files that one pattern may name.
const PATTERN_FILES_MAX: usize = 1_000;

/// What a file holds, which decides who may touch it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// Rules: others may read, none but root and us may write.
    Rules,
    /// A secret: others may not even read.
    Secret,
}

/// Reads one set of files.
pub(super) struct Files<'a> {
    base: &'a Path,
    seen: Context,
}

impl<'a> Files<'a> {
    /// A set whose relative paths start at `base`.
    pub(super) fn new(base: &'a Path) -> Self {
        Self { base, seen: Context::new(&SHA256) }
    }

    /// The path that `name` means.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.base.join(name)
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// A sentence: it cannot be read, is no regular file, too large, or open to strangers.
    pub(super) fn read(&mut self, path: &Path, holds: Holds) -> Result<Vec<u8>, String> {
        let outcome = read(path, holds);
        match &outcome {
            Ok(bytes) => self.remember(&[b"read", path.as_os_str().as_encoded_bytes(), bytes]),
            Err(why) => self.remember(&[b"fail", path.as_os_str().as_encoded_bytes(), why.as_bytes()]),
        }
        outcome
    }

    /// The files that `pattern` names, sorted; `*` stands for any text in its last part.
    ///
    /// # Errors
    /// A sentence: the folder cannot be read, or nothing matches.
    pub(super) fn matching(&mut self, pattern: &str) -> Result<Vec<PathBuf>, String> {
        let path = self.path(pattern);
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("names no file")?;
        let folder = path.parent().ok_or("names no file")?;
        if folder.to_string_lossy().contains('*') {
            return Err(format!("{pattern:?} has a * in a folder's name; only the file's name may have one"));
        }
        if !name.contains('*') {
            return Ok(vec![path.clone()]);
        }
        let entries =
            folder.read_dir().map_err(|error| format!("cannot read the folder {}: {error}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.file_name().and_then(|file| file.to_str()).is_some_and(|file| matches(name, file)))
            .take(PATTERN_FILES_MAX + 1)
            .collect();
        paths.sort();
        for path in &paths {
            self.remember(&[b"name", path.as_os_str().as_encoded_bytes()]);
        }
        match paths.len() {
            0 => Err(format!("{pattern:?} matches no file, so it would do nothing")),
            1..=PATTERN_FILES_MAX => Ok(paths),
            _ => Err(format!("{pattern:?} matches more than {PATTERN_FILES_MAX} files")),
        }
    }

    /// Digest of everything that was read, in order.
    pub(super) fn seen(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.seen.finish().as_ref());
        bytes
    }

    fn remember(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.seen.update(&(part.len() as u64).to_le_bytes());
            self.seen.update(part);
        }
    }
}

/// Shell-like matching of `*` alone; a hidden file needs a pattern that starts with a dot.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn read(path: &Path, holds: Holds) -> Result<Vec<u8>, String> {
    let failed = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    // Not blocking, so that a FIFO of that name cannot hold up the start; what was opened is what is judged.
    let mut file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    judge(path, &meta, holds)?;
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("{} is larger than {FILE_BYTES_MAX} bytes", path.display()));
    }
    Ok(bytes)
}

/// Refuses what strangers could have written, or could read though it is secret.
fn judge(path: &Path, meta: &Metadata, holds: Holds) -> Result<(), String> {
    let shown = path.display();
    if !meta.is_file() {
        return Err(format!("{shown} is not a regular file"));
    }
    let mode = meta.permissions().mode();
    if mode & 0o002 != 0 {
        return Err(format!("{shown} can be written by anybody; run: chmod o-w {shown}"));
    }
    if !is_ours(meta.uid()) {
        return Err(format!("{shown} belongs to another user ({}), who could change it; make it root's", meta.uid()));
    }
    if holds == Holds::Secret && mode & 0o007 != 0 {
        return Err(format!("{shown} holds a secret that anybody can read; run: chmod o= {shown}"));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let meta = folder.metadata().map_err(|error| format!("cannot look at {}: {error}", folder.display()))?;
    // In a sticky folder others may add files but not replace ours.
    if meta.permissions().mode() & 0o1002 == 0o002 {
        return Err(format!("{shown} lies in a folder that anybody can write; run: chmod o-w {}", folder.display()));
    }
    Ok(())
}

fn is_ours(uid: u32) -> bool {
    // SAFETY: geteuid takes nothing, changes nothing and cannot fail.
    uid == 0 || uid == unsafe { libc::geteuid() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn set(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn patterns_match_in_sorted_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.cedar", "a.cedar", ".hidden.cedar", "c.txt"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let mut files = Files::new(dir.path());
        let names = |paths: Vec<PathBuf>| -> Vec<String> {
            paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(names(files.matching("*.cedar").unwrap()), ["a.cedar", "b.cedar"]);
        assert_eq!(names(files.matching("a.cedar").unwrap()), ["a.cedar"]);
        assert!(files.matching("*.json").unwrap_err().contains("matches no file"));
        assert!(files.matching("*/a.cedar").is_err());
        assert!(files.matching("none/*.cedar").is_err());
        for (pattern, name, matched) in
            [("*", "a", true), ("a*c", "abc", true), ("a*c", "ac", true), ("a*bc*c", "abc", false), ("*a", "ab", false)]
        {
            assert_eq!(matches(pattern, name), matched, "{pattern} {name}");
        }
    }

    #[test]
    fn need_b10_files_open_to_strangers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        fs::write(&path, "x").unwrap();
        let read = |holds| Files::new(dir.path()).read(&path, holds);
        set(&path, 0o644);
        assert_eq!(read(Holds::Rules), Ok(b"x".to_vec()));
        assert!(read(Holds::Secret).unwrap_err().contains("chmod o="));
        set(&path, 0o640);
        assert_eq!(read(Holds::Secret), Ok(b"x".to_vec()));
        set(&path, 0o646);
        assert!(read(Holds::Rules).unwrap_err().contains("written by anybody"));
        set(&path, 0o600);
        set(dir.path(), 0o777);
        assert!(read(Holds::Rules).unwrap_err().contains("lies in a folder"));
        set(dir.path(), 0o1777);
        assert!(read(Holds::Rules).is_ok());
    }

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(dir.path());
        assert!(files.read(dir.path(), Holds::Rules).unwrap_err().contains("not a regular file"));
        assert!(files.read(Path::new("/dev/null"), Holds::Rules).unwrap_err().contains("not a regular file"));
        assert!(files.read(&dir.path().join("none"), Holds::Rules).unwrap_err().contains("cannot read"));
        let large = dir.path().join("large");
        fs::write(&large, vec![b'#'; FILE_BYTES_MAX as usize + 1]).unwrap();
        assert!(files.read(&large, Holds::Rules).unwrap_err().contains("larger than"));
    }

    #[test]
    fn a_set_is_known_by_what_was_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let seen = || {
            let mut files = Files::new(dir.path());
            let _ = files.read(&path, Holds::Rules);
            files.seen()
        };
        let missing = seen();
        fs::write(&path, "1").unwrap();
        let one = seen();
        assert_eq!(one, seen());
        fs::write(&path, "2").unwrap();
        assert!(missing != one && one != seen());
    }
}
