//! Texts in which nothing is to be found: lines of source code and logs of this machine.
//!
//! Which lines is decided by the files alone: the logs, as far as a quarter, then the sources in sorted order, of which
//! every n-th gives its first lines, then the ones after those, until there are enough. Lines are distinct: a hundred
//! closing braces prove nothing.
//!
//! Source code does hold its authors' e-mail addresses, and network addresses in examples. To find those is right, so
//! they are shown and do not count as acted on ([`REAL_IN_SOURCES`]). Nothing else is excused: what a test in somebody's
//! source calls a card number counts.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::names::KindId;
use super::score::Finding;

/// Lines taken from one file of source code.
const FILE_LINES_MAX: usize = 200;
/// Kinds of which sources hold real ones.
const REAL_IN_SOURCES: &[&str] = &["EMAIL", "IP_ADDRESS", "URL"];
/// Larger files are generated data, or archives.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// A longer line is no line that somebody wrote.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Endings of source code, its documentation and its settings.
const SOURCES: &[&str] = &["rs", "toml", "md", "c", "h", "cc", "py", "sh", "yml", "yaml", "json", "txt", "asm", "pl"];

/// At most `count` lines.
pub(super) fn lines(count: usize) -> Vec<String> {
    let home = |variable: &str| std::env::var_os(variable).map(PathBuf::from);
    let cargo = home("CARGO_HOME").or_else(|| Some(home("HOME")?.join(".cargo")));
    let is_source = |file: &Path| file.extension().is_some_and(|ending| SOURCES.iter().any(|known| ending == *known));
    let (mut sources, mut logs) = (Vec::new(), Vec::new());
    if let Some(cargo) = cargo {
        walk(&cargo.join("registry/src"), &is_source, &mut sources);
    }
    walk(Path::new("/var/log"), &|_| true, &mut logs);
    sources.sort();
    logs.sort();
    let mut lines = Lines::default();
    lines.take(&logs, usize::MAX, count / 4);
    lines.take(&sources, FILE_LINES_MAX, count);
    lines.chosen
}

/// Whether acting on a finding in a line of source code or logs is a mistake.
pub(super) fn is_mistake(finding: &Finding) -> bool {
    finding.acted_on && !REAL_IN_SOURCES.contains(&finding.kind.kind().name)
}

/// Every file below `folder` that `wanted` takes; links are not followed.
fn walk(folder: &Path, wanted: &dyn Fn(&Path) -> bool, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, Ok(kind)) = (entry.path(), entry.file_type()) else { continue };
        if kind.is_dir() {
            walk(&path, wanted, files);
        } else if kind.is_file() && wanted(&path) && entry.metadata().is_ok_and(|file| file.len() <= FILE_BYTES_MAX) {
            files.push(path);
        }
    }
}

/// Distinct lines.
#[derive(Default)]
struct Lines {
    chosen: Vec<String>,
    seen: HashSet<String>,
}

impl Lines {
    /// Adds up to `per_file` lines of each file until there are `count` in all.
    fn take(&mut self, files: &[PathBuf], per_file: usize, count: usize) {
        let wanted = count.div_ceil(per_file).max(1);
        let step = files.len().div_ceil(wanted).max(1);
        for file in (0..step).flat_map(|first| files.iter().skip(first).step_by(step)) {
            // What is not UTF-8 is no text.
            let Ok(text) = fs::read_to_string(file) else { continue };
            let fit = |line: &&str| !line.trim().is_empty() && line.len() <= LINE_BYTES_MAX;
            for line in text.lines().filter(fit).take(per_file) {
                if self.chosen.len() >= count {
                    return;
                }
                if self.seen.insert(line.to_owned()) {
                    self.chosen.push(line.to_owned());
                }
            }
        }
    }
}

/// How many texts were hit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hits {
    /// Texts looked at.
    pub(super) texts: usize,
    /// Texts with any finding.
    pub(super) hit: usize,
    /// Texts with a finding that something would be done about, by mistake.
    pub(super) acted_on: usize,
    /// Texts by kind: with a finding of it, and with one that something would be done about by mistake.
    pub(super) kinds: std::collections::BTreeMap<KindId, (usize, usize)>,
}

impl Hits {
    /// Counts one text; `is_mistake` says of a finding whether acting on it is one.
    pub(super) fn count<'a>(
        &mut self,
        findings: impl Iterator<Item = &'a Finding> + Clone,
        is_mistake: fn(&Finding) -> bool,
    ) {
        self.texts += 1;
        self.hit += usize::from(findings.clone().next().is_some());
        self.acted_on += usize::from(findings.clone().any(is_mistake));
        let kinds: std::collections::BTreeSet<_> = findings.clone().map(|finding| finding.kind).collect();
        for kind in kinds {
            let acted_on = findings.clone().any(|finding| finding.kind == kind && is_mistake(finding));
            let (hit, acts) = self.kinds.entry(kind).or_default();
            *hit += 1;
            *acts += usize::from(acted_on);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(name: &str, acted_on: bool) -> Finding {
        Finding { kind: KindId::of_label(name).expect("a kind"), range: 0..1, acted_on }
    }

    #[test]
    fn a_text_counts_once_however_much_is_found_in_it() {
        let mut hits = Hits::default();
        for text in [
            vec![],
            vec![finding("EMAIL", false)],
            vec![finding("EMAIL", false), finding("EMAIL", true), finding("IBAN", false)],
        ] {
            hits.count(text.iter(), |finding| finding.acted_on);
        }
        assert_eq!((hits.texts, hits.hit, hits.acted_on), (3, 2, 1));
        let of = |name: &str| hits.kinds[&KindId::of_label(name).expect("a kind")];
        assert_eq!((of("EMAIL"), of("IBAN")), ((2, 1), (1, 0)));
    }

    #[test]
    fn an_author_s_address_is_no_mistake_and_a_card_number_is() {
        let mistakes = ["EMAIL", "CREDIT_CARD"].map(|name| is_mistake(&finding(name, true)));
        assert_eq!(mistakes, [false, true]);
        assert!(!is_mistake(&finding("CREDIT_CARD", false)), "nothing is done about it");
    }

    #[test]
    fn lines_are_distinct_and_come_from_all_over() {
        let folder = std::env::temp_dir().join(format!("acp-negatives-{}", std::process::id()));
        fs::create_dir_all(folder.join("deep")).expect("a folder");
        let write = |name: &str, text: &[u8]| fs::write(folder.join(name), text).expect("written");
        write("a.rs", "}\n\nfn a() {}\n}\n".as_bytes());
        write("b.bin", b"not taken\n");
        write("deep/c.rs", "}\nfn c() {}\n".as_bytes());
        write("deep/d.rs", b"\xff\n");
        let mut files = Vec::new();
        walk(&folder, &|file| file.extension().is_some_and(|ending| ending == "rs"), &mut files);
        files.sort();
        let chosen = |per_file, count| {
            let mut lines = Lines::default();
            lines.take(&files, per_file, count);
            lines.chosen
        };
        let (all, two, one_each) = (chosen(9, 10), chosen(9, 2), chosen(1, 10));
        fs::remove_dir_all(&folder).expect("removed");
        assert_eq!(all, ["}", "fn a() {}", "fn c() {}"]);
        assert_eq!(two, ["}", "fn a() {}"]);
        assert_eq!(one_each, ["}"], "the first lines are the same");
    }
}
