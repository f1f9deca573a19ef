//! The shared corpora as tests use them: found, read, judged case by case, counted.
//!
//! Part of the unit tests and of the end-to-end tests alike. A case passes, fails, or does not apply (with the reason,
//! which is counted and printed). A case that fails has to stand in its corpus' list, `tests/corpora/*.known`; one that
//! stands there and does not fail is an error as well, so the lists never grow old. A case at the level "must" cannot
//! be listed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

/// Files and who runs them: of the folders of cases every one, which [`every_file_is_run_by_somebody`] compares with the
/// disk.
const FILES: [(&str, &str); 24] = [
    ("http/constructed_gateway_cases.jsonl", "acp::http::corpora, e2e::http_corpus"),
    (
        "http/h2spec_captures.jsonl",
        "acp::http::corpora: HTTP/2 is not served, so each has to be refused at its preface",
    ),
    ("http/http11probe.jsonl", "acp::http::corpora, e2e::http_corpus"),
    ("http/http_desync_guardian.jsonl", "acp::http::corpora, e2e::http_corpus"),
    ("http/llhttp_request_fixtures.jsonl", "acp::http::corpora, e2e::http_corpus"),
    ("http/smuggler_te_mutations.jsonl", "acp::http::corpora, e2e::http_corpus"),
    ("jwt/constructed_attacks.json", "acp::identity::tests::corpora"),
    ("jwt/rfc7520_jws.jsonl", "acp::identity::tests::corpora"),
    ("jwt/wycheproof_jws.jsonl", "acp::identity::tests::corpora"),
    ("jwt/wycheproof_rs256_raw.jsonl", "acp::identity::tests::corpora"),
    ("llm/recorded_openai_exchanges.jsonl", "acp::fuzzing::tests, acp::safety::stream"),
    ("pii/negatives_hashes_and_ids.jsonl", "acp::safety::screen"),
    ("pii/negatives_http_headers.jsonl", "acp::safety::screen"),
    ("pii/negatives_tool_calls.jsonl", "acp::safety::screen, acp::safety::stream"),
    ("pii/presidio_evaluator_generated.jsonl", "acp::fuzzing::tests, acp::safety::stream"),
    ("pii/presidio_recognizer_tests.jsonl", "acp::fuzzing::tests, acp::safety::stream"),
    ("pii/secrets_detect_secrets.jsonl", "acp::safety::stream"),
    ("pii/secrets_gitleaks.jsonl", "acp::fuzzing::tests, acp::safety::stream"),
    ("pii/secrets_secretlint.jsonl", "acp::safety::stream"),
    ("ssrf/filter_unit_tests.jsonl", "acp::routing::url::corpora"),
    ("ssrf/payloads_all_the_things.jsonl", "acp::routing::url::corpora"),
    ("ssrf/special_addresses.jsonl", "acp::routing::url::corpora"),
    ("ssrf/ssrfcheck_lists.jsonl", "acp::routing::url::corpora"),
    ("ssrf/wpt_url_parsing.jsonl", "acp::routing::url::corpora"),
];

/// Cases that fail for a reason: judge, file, case and why, separated by tabs.
const KNOWN: [&str; 3] =
    [include_str!("corpora/http.known"), include_str!("corpora/jwt.known"), include_str!("corpora/ssrf.known")];

/// Where the corpora are: `ACP_CORPORA`, or beside the repository. `None` is said aloud, and a failure where they have
/// to be there: in CI, or where they were named.
#[track_caller]
fn folder() -> Option<PathBuf> {
    let named = std::env::var_os("ACP_CORPORA").map(PathBuf::from);
    let has_to_be_there = named.is_some() || std::env::var_os("CI").is_some_and(|value| value == "true");
    let beside = || concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/corpora").into();
    let folder = named.unwrap_or_else(beside);
    let found = folder.is_dir();
    assert!(found || !has_to_be_there, "no corpora at {}", folder.display());
    if !found {
        eprintln!("SKIPPED: no corpora at {}, nothing is checked", folder.display());
    }
    found.then_some(folder)
}

/// A corpus file's text; `None` where there are no corpora, which is said aloud.
#[track_caller]
pub(crate) fn text(file: &str) -> Option<String> {
    assert!(FILES.iter().any(|(known, _)| *known == file), "{file} is no file of the corpora");
    let path = folder()?.join(file);
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
}

/// The records of a JSONL file.
#[track_caller]
pub(crate) fn records(file: &str) -> Option<Vec<Value>> {
    let text = text(file)?;
    Some(text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{file}: {e}"))).collect())
}

/// A text member; empty if there is none.
pub(crate) fn member<'r>(record: &'r Value, name: &str) -> &'r str {
    record[name].as_str().unwrap_or_default()
}

/// A parser's fixtures mostly have no Host field, which a server has to refuse; what they are about lies elsewhere.
/// Gives one to each request that has none.
pub(crate) fn with_host(bytes: &[u8]) -> Vec<u8> {
    let has_host = bytes.windows(7).any(|seven| seven.eq_ignore_ascii_case(b"\r\nHost:"));
    let mut rest = bytes;
    let mut out = Vec::new();
    while let Some(at) = rest.windows(11).position(|eleven| !has_host && eleven == b" HTTP/1.1\r\n") {
        out.extend_from_slice(&rest[..at + 11]);
        out.extend_from_slice(b"Host: localhost:8080\r\n");
        rest = &rest[at + 11..];
    }
    out.extend_from_slice(rest);
    out
}

/// How binding a case is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    /// A MUST of a specification, a CVE, or an invariant of the gateway.
    Must,
    /// Everything else: what a source recommends, or does itself.
    Other,
}

/// What became of a case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Pass,
    /// With what was seen.
    Fail(String),
    /// With the reason.
    NotApplicable(&'static str),
}

impl Verdict {
    /// `Pass` if it holds; `seen` says what was seen otherwise.
    pub(crate) fn of(holds: bool, seen: impl FnOnce() -> String) -> Self {
        if holds { Self::Pass } else { Self::Fail(seen()) }
    }
}

/// The count of one judge over one file.
#[derive(Debug)]
pub(crate) struct Tally {
    judge: &'static str,
    file: &'static str,
    listed: BTreeSet<&'static str>,
    /// Listed cases that were met; files hold some cases twice.
    met: BTreeSet<&'static str>,
    passed: usize,
    must: usize,
    failed_as_listed: usize,
    not_applicable: BTreeMap<&'static str, usize>,
    wrong: Vec<String>,
}

impl Tally {
    /// Begins to count; `judge` and `file` are the first two columns of the lists.
    pub(crate) fn new(judge: &'static str, file: &'static str) -> Self {
        Self {
            judge,
            file,
            listed: listed(judge, file),
            met: BTreeSet::new(),
            passed: 0,
            must: 0,
            failed_as_listed: 0,
            not_applicable: BTreeMap::new(),
            wrong: Vec::new(),
        }
    }

    /// Counts a case.
    pub(crate) fn judge(&mut self, id: &str, level: Level, verdict: Verdict) {
        let listed = self.listed.get(id).is_some_and(|id| {
            self.met.insert(id);
            true
        });
        match verdict {
            Verdict::Pass if listed => self.wrong.push(format!("{id}: is listed as failing, and passes")),
            Verdict::Pass => {
                self.passed += 1;
                self.must += usize::from(level == Level::Must);
            }
            Verdict::Fail(seen) if listed && level == Level::Must => {
                self.wrong.push(format!("{id}: a must-level case cannot be listed: {seen}"));
            }
            Verdict::Fail(_) if listed => self.failed_as_listed += 1,
            Verdict::Fail(seen) => self.wrong.push(format!("{id} ({level:?}): {seen}")),
            Verdict::NotApplicable(_) if listed => {
                self.wrong.push(format!("{id}: is listed as failing, and does not apply"));
            }
            Verdict::NotApplicable(why) => *self.not_applicable.entry(why).or_default() += 1,
        }
    }

    /// Prints the counts.
    ///
    /// # Panics
    /// If a case failed that is not listed, or a listed one did not.
    #[track_caller]
    pub(crate) fn finish(self) {
        let not_applicable: usize = self.not_applicable.values().sum();
        let wrong = self.wrong();
        let (judge, file) = (self.judge, self.file);
        eprintln!(
            "{judge} {file}: {} passed ({} at level must), {} failed as listed, {not_applicable} not applicable, {} wrong",
            self.passed,
            self.must,
            self.failed_as_listed,
            wrong.len()
        );
        for (why, count) in &self.not_applicable {
            eprintln!("  not applicable, {count}: {why}");
        }
        assert!(wrong.is_empty(), "{judge} {file}: {} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    /// What has to be looked at: new failures and stale entries of the list.
    fn wrong(&self) -> Vec<String> {
        let gone = self.listed.difference(&self.met).map(|id| format!("{id}: is listed, and there is no such case"));
        self.wrong.iter().cloned().chain(gone).collect()
    }
}

/// The cases that are listed for a judge and a file.
fn listed(judge: &str, file: &str) -> BTreeSet<&'static str> {
    let lines = KNOWN.iter().flat_map(|text| text.lines()).filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .filter_map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [its_judge, its_file, id, why] = columns[..] else { panic!("not four columns: {line}") };
            assert!(!why.is_empty(), "no reason: {line}");
            (its_judge == judge && its_file == file).then_some(id)
        })
        .collect()
}

#[test]
fn every_file_is_run_by_somebody() {
    let Some(folder) = folder() else { return };
    let (mut found, folders) = (BTreeSet::new(), ["http", "jwt", "ssrf"]);
    for kind in folders {
        let entries = std::fs::read_dir(folder.join(kind)).expect("a folder of the corpora");
        found.extend(entries.flatten().map(|entry| format!("{kind}/{}", entry.file_name().to_string_lossy())));
    }
    let is_case = |file: &str| folders.iter().any(|kind| file.starts_with(kind));
    let known: BTreeSet<_> = FILES.iter().map(|(file, _)| (*file).to_owned()).filter(|file| is_case(file)).collect();
    assert_eq!(found, known, "a file that nobody runs, or one that is gone");
    for (file, runner) in FILES {
        eprintln!("{file}: {runner}");
    }
}

#[test]
fn a_new_failure_a_stale_entry_and_a_listed_must_are_errors() {
    #[track_caller]
    fn check(listed: &[&'static str], level: Level, verdict: Verdict, wrong: bool) {
        let mut tally = Tally { listed: listed.iter().copied().collect(), ..Tally::new("test", "test") };
        tally.judge("case", level, verdict.clone());
        assert_eq!(!tally.wrong().is_empty(), wrong, "{listed:?} {level:?} {verdict:?}");
    }
    let fail = || Verdict::Fail(String::new());
    check(&[], Level::Must, Verdict::Pass, false);
    check(&[], Level::Other, fail(), true);
    check(&["case"], Level::Other, fail(), false);
    check(&["case"], Level::Must, fail(), true);
    check(&["case"], Level::Other, Verdict::Pass, true);
    check(&["case"], Level::Other, Verdict::NotApplicable("x"), true);
    check(&["case", "gone"], Level::Other, fail(), true);
    check(&[], Level::Must, Verdict::NotApplicable("x"), false);
}
