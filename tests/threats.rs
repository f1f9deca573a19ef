//! Keeps `docs/threats.md` complete: every requirement of the governed path has a test named after it, every such test is
//! in the table, and every test in the table exists.

#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The lines that the governed path and the kernel plane have to meet.
const LINES: [&str; 37] = [
    "A1", "A2", "A3", "A4", "A5", "A6", "A7", "A8", "A9", "A13", "A14", "A15", "A16", "A18", "A19", "A20", "A21",
    "A22", "A24", "A25", "A26", "A29", "A32", "B1", "B2", "B3", "B5", "B6", "B7", "B8", "B10", "B11", "B13", "B14",
    "B15", "B17", "B19",
];

/// Tests by line, as they are named in the sources below `dir`.
fn tests_below(dir: &Path, found: &mut BTreeMap<String, BTreeSet<String>>) {
    for entry in fs::read_dir(dir).expect("a source directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tests_below(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source text");
            for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("fn ")) {
                let name = line.split('(').next().unwrap_or_default();
                if let Some(of) = line_of(name) {
                    found.entry(of).or_default().insert(name.to_owned());
                }
            }
        }
    }
}

/// `threat_a04_…` is a test of A4, `need_b08_…` of B8.
fn line_of(name: &str) -> Option<String> {
    let (kind, rest) = name.split_once('_')?;
    let (letter, number) = (rest.get(..1)?, rest.get(1..3)?);
    let matches = matches!((kind, letter), ("threat", "a") | ("need", "b")) && rest.get(3..4) == Some("_");
    let number = number.parse::<u8>().ok().filter(|_| matches)?;
    Some(format!("{}{number}", letter.to_ascii_uppercase()))
}

/// Tests by line, as the table has them.
fn documented() -> BTreeMap<String, BTreeSet<String>> {
    let text = include_str!("../docs/threats.md");
    let (_, table) = text.split_once("<!-- threats: begin -->").expect("the table");
    let (table, _) = table.split_once("<!-- threats: end -->").expect("its end");
    let rows = table.lines().filter(|row| row.starts_with("| A") || row.starts_with("| B"));
    rows.map(|row| {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let tests = cells[3].split('`').skip(1).step_by(2).map(str::to_owned).collect();
        (cells[1].to_owned(), tests)
    })
    .collect()
}

#[test]
fn every_requirement_has_its_tests_and_the_table_names_them_all() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    let mut found = BTreeMap::new();
    for dir in ["acp-ebpf/src", "acp-userspace/src", "xtask/src", "tests"] {
        tests_below(&root.join(dir), &mut found);
    }
    let lines: BTreeSet<String> = LINES.iter().map(|line| (*line).to_owned()).collect();
    let missing: Vec<_> = lines.iter().filter(|line| !found.contains_key(*line)).collect();
    assert!(missing.is_empty(), "no test is named after {missing:?}");
    assert_eq!(documented(), found, "docs/threats.md (left) and the tests (right) differ");
}

#[test]
fn names_say_which_line_they_prove() {
    assert_eq!(line_of("threat_a04_x").as_deref(), Some("A4"));
    assert_eq!(line_of("need_b19_x").as_deref(), Some("B19"));
    for other in ["threat_b02_x", "need_a04_x", "threat_a4_x", "threat_a04", "a_threat_a04_x", "threat"] {
        assert_eq!(line_of(other), None, "{other}");
    }
}
