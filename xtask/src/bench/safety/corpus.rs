//! The labelled texts: `pii/*.jsonl` of the corpora, read as their README says.
//!
//! What is not a label is settled here, once for both engines:
//! - A match that its source scores below [`WEAK_BELOW`] is weak: it may be missed, and a finding there is not wrong.
//!   Sources give the range that their own score must lie in, so a ceiling of 0.8 or 1 marks a strong match.
//! - A label that cannot be what it says (`dispute`) is weak as well, and counted apart.
//! - `spans: null` with `expect_count` asks for findings without saying where.
//! - A record without `spans` says nothing and is left out.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::dispute;
use super::forms::Row;
use super::names::KindId;

/// Scores below this are a source's weak matches: 0.5 is where Presidio's own patterns call themselves medium.
const WEAK_BELOW: f64 = 0.5;

/// A labelled text.
#[derive(Debug)]
pub(super) struct Record {
    /// The text as the engines get it.
    pub(super) text: String,
    /// What is in it, in bytes.
    pub(super) labels: Vec<Label>,
    /// What is somewhere in it, as often as given.
    pub(super) expected: Option<(Row, usize)>,
    /// Whether that cannot be what it says (`dispute`).
    pub(super) expected_disputed: bool,
    /// What the labels are complete for.
    pub(super) scope: Scope,
    /// The source's name for the case.
    pub(super) rule: Option<String>,
    /// The file's name, for the list of misses.
    pub(super) file: String,
}

/// One labelled value.
#[derive(Debug)]
pub(super) struct Label {
    /// What it is.
    pub(super) row: Row,
    /// Where.
    pub(super) range: Range<usize>,
    /// How much it counts.
    pub(super) weight: Weight,
}

/// How much a label counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// To be found.
    Full,
    /// May be found.
    Weak,
    /// May be found; `dispute` says why.
    Disputed,
}

/// Where findings can be judged wrong.
#[derive(Debug)]
pub(super) enum Scope {
    /// Nowhere: labels are partial, or without positions.
    Nothing,
    /// Everywhere.
    All,
    /// For these kinds.
    Kinds(Vec<KindId>),
}

impl Scope {
    /// Whether a finding of the kind that no label agrees with is wrong.
    pub(super) fn covers(&self, kind: KindId) -> bool {
        match self {
            Self::Nothing => false,
            Self::All => true,
            Self::Kinds(kinds) => kinds.contains(&kind),
        }
    }
}

/// All labelled texts, and the labels that no kind is known for.
pub(super) struct Corpus {
    /// In order of file and line.
    pub(super) records: Vec<Record>,
    /// Names of labels that count nowhere.
    pub(super) unknown: Vec<String>,
}

/// The folder: `ACP_CORPORA`, else `shared/corpora` beside the workspace or above it.
///
/// # Errors
/// When there is none.
pub(super) fn folder() -> Result<PathBuf> {
    let named = std::env::var_os("ACP_CORPORA").map(PathBuf::from);
    let beside = crate::paths::root().ancestors().map(|parent| parent.join("shared/corpora"));
    let mut places = named.into_iter().chain(beside).map(|place| place.join("pii"));
    places.find(|place| place.is_dir()).context("no corpora: ACP_CORPORA names the folder that holds pii/")
}

/// Reads every file.
///
/// # Errors
/// When a file cannot be read, or a line is not what the README says.
pub(super) fn load(folder: &Path) -> Result<Corpus> {
    let entries = fs::read_dir(folder).with_context(|| format!("{}", folder.display()))?;
    let mut files: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    let mut corpus = Corpus { records: Vec::new(), unknown: Vec::new() };
    for file in files {
        let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for (number, line) in text.lines().enumerate() {
            let place = || format!("{name}:{}", number + 1);
            let value: Value = serde_json::from_str(line).with_context(place)?;
            corpus.records.extend(record(&value, &name, &mut corpus.unknown).with_context(place)?);
        }
    }
    corpus.unknown.sort();
    corpus.unknown.dedup();
    Ok(corpus)
}

/// A line as a record, if it is labelled.
fn record(value: &Value, file: &str, unknown: &mut Vec<String>) -> Result<Option<Record>> {
    let (Some(text), Some(spans)) = (value["text"].as_str(), value.get("spans")) else { return Ok(None) };
    let rule = value["rule"].as_str();
    let mut known = |name: &str| {
        let kind = KindId::of_label(name);
        if kind.is_none() {
            unknown.push(name.to_owned());
        }
        kind
    };
    let mut labels = Vec::new();
    for span in spans.as_array().into_iter().flatten() {
        let name = span["type"].as_str().context("a span without a type")?;
        if let Some(kind) = known(name) {
            labels.push(label(value, span, (name, kind), text, rule)?);
        }
    }
    let scope_names: Vec<&str> = value["scope"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let expected = match (spans, scope_names.first()) {
        (Value::Null, Some(name)) => expected(value, name, text, rule),
        _ => None,
    };
    let scope = if spans.is_null() || value["labels"] == "partial" {
        Scope::Nothing
    } else if value["scope"] == "all" {
        Scope::All
    } else {
        Scope::Kinds(scope_names.into_iter().filter_map(KindId::of_scope).collect())
    };
    let (text, rule) = (text.to_owned(), rule.map(str::to_owned));
    let (expected, expected_disputed) = expected.unzip();
    let expected_disputed = expected_disputed.unwrap_or_default();
    Ok(Some(Record { text, labels, expected, expected_disputed, scope, rule, file: file.to_owned() }))
}

fn label(record: &Value, span: &Value, named: (&str, KindId), text: &str, rule: Option<&str>) -> Result<Label> {
    let at = |name: &str| span[name].as_u64().and_then(|at| usize::try_from(at).ok());
    let (Some(start), Some(end)) = (at("start"), at("end")) else { bail!("a span without its ends") };
    let value = text.get(start..end).filter(|value| !value.is_empty()).context("a span outside of the text")?;
    let weak_score = span["confidence_max"].as_f64().is_some_and(|score| score < WEAK_BELOW);
    let weight = if dispute::is_label(named.0, value) {
        Weight::Disputed
    } else if weak_score || record["min_leniency"] == "POSSIBLE" {
        Weight::Weak
    } else {
        Weight::Full
    };
    Ok(Label { row: Row::of(named.1, value, rule), range: start..end, weight })
}

/// What is to be found without a position, and whether the text cannot be that.
fn expected(record: &Value, name: &str, text: &str, rule: Option<&str>) -> Option<((Row, usize), bool)> {
    // detect-secrets' rule for public addresses: their tool's idea of a secret, and nobody's name for one here.
    let name = if rule == Some("ip_public") { "IP_ADDRESS" } else { name };
    let count = record["expect_count"].as_u64().and_then(|count| usize::try_from(count).ok())?;
    let kind = KindId::of_label(name)?;
    Some(((Row::of(kind, text, rule), count), dispute::is_label(name, text)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Record {
        record(value, "file", &mut Vec::new()).expect("reads").expect("is labelled")
    }

    fn kind(name: &str) -> KindId {
        KindId::of_label(name).expect("a kind")
    }

    #[track_caller]
    fn check_weight(span: Value, text: &str, expected: Weight) {
        let record = read(&json!({"text": text, "spans": [span], "scope": "all"}));
        assert_eq!(record.labels[0].weight, expected);
    }

    #[test]
    fn a_low_ceiling_makes_a_label_weak_and_a_high_one_does_not() {
        let span = |ceiling: f64| json!({"start": 0, "end": 3, "type": "MRN", "confidence_max": ceiling});
        check_weight(span(0.1), "abc", Weight::Weak);
        check_weight(span(0.5), "abc", Weight::Full);
        check_weight(span(1.0), "abc", Weight::Full);
        check_weight(json!({"start": 0, "end": 3, "type": "MRN"}), "abc", Weight::Full);
    }

    #[test]
    fn a_phone_number_that_only_the_loosest_level_matches_is_weak() {
        let spans = json!([{"start": 0, "end": 11, "type": "PHONE"}]);
        let record = |level: &str| read(&json!({"text": "6502531x234", "spans": spans, "min_leniency": level}));
        assert_eq!(record("POSSIBLE").labels[0].weight, Weight::Weak);
        assert_eq!(record("VALID").labels[0].weight, Weight::Full);
    }

    #[test]
    fn a_disputed_value_is_disputed_under_its_label_only() {
        check_weight(json!({"start": 0, "end": 11, "type": "US_SSN"}), "XXX-XX-2409", Weight::Disputed);
        check_weight(json!({"start": 0, "end": 11, "type": "MRN"}), "XXX-XX-2409", Weight::Full);
        check_weight(json!({"start": 0, "end": 14, "type": "SECRET"}), "tok_xxxxxxxxxx", Weight::Disputed);
    }

    #[test]
    fn null_spans_expect_findings_and_judge_none() {
        let record =
            read(&json!({"text": "x", "spans": null, "expect_count": 2, "scope": ["SECRET"], "rule": "github"}));
        assert_eq!(record.expected, Some((Row::of(kind("SECRET"), "x", Some("github")), 2)));
        assert!(!record.scope.covers(kind("SECRET")) && !record.expected_disputed);
        let filler = read(&json!({"text": "ACxxxxxxxxxxxxxx", "spans": null, "expect_count": 1, "scope": ["SECRET"]}));
        assert!(filler.expected_disputed);
    }

    #[test]
    fn no_spans_at_all_is_not_a_record() {
        assert!(record(&json!({"text": "x", "maybe": "email"}), "", &mut Vec::new()).expect("reads").is_none());
    }

    #[test]
    fn precision_is_judged_inside_the_scope_and_never_by_partial_labels() {
        let with = |scope: Value, labels: &str| {
            read(&json!({"text": "x", "spans": [], "scope": scope, "labels": labels})).scope
        };
        let (email, phone) = (kind("EMAIL"), kind("PHONE"));
        assert!(with(json!("all"), "complete").covers(phone));
        let emails = with(json!(["EMAIL"]), "complete");
        assert!(emails.covers(email) && !emails.covers(phone));
        assert!(!with(json!("all"), "partial").covers(email));
        assert!(!with(json!(["EMAIL"]), "partial").covers(email));
    }

    #[test]
    fn offsets_are_bytes_and_must_lie_on_characters() {
        let span = |start: u64, end: u64| {
            let spans = json!([{"start": start, "end": end, "type": "EMAIL"}]);
            record(&json!({"text": "é a@b.c", "spans": spans}), "", &mut Vec::new())
        };
        let record = span(3, 8).expect("reads").expect("a record");
        assert_eq!(&record.text[record.labels[0].range.clone()], "a@b.c");
        for (start, end) in [(1, 8), (3, 9), (8, 3), (3, 3)] {
            assert!(span(start, end).is_err(), "{start}..{end}");
        }
    }

    #[test]
    fn a_label_that_nobody_knows_is_reported() {
        let mut unknown = Vec::new();
        let spans = json!([{"start": 0, "end": 1, "type": "HOROSCOPE"}]);
        let record = record(&json!({"text": "x", "spans": spans}), "", &mut unknown).expect("reads");
        assert!(record.expect("a record").labels.is_empty());
        assert_eq!(unknown, ["HOROSCOPE"]);
    }
}
