//! Recall and precision on the labelled corpora, where they are present (`ACP_CORPORA`, else `../shared/corpora`).
//!
//! A label counts as recalled when a finding overlaps it, or, where it gives no place, when there is any; a finding is
//! false in a text that is labelled to hold none. What the sources say of [`DISPUTED`] texts is printed and left out of
//! the thresholds: they contradict each other there, or label what is no secret.

use std::path::Path;

use serde_json::Value;

use super::Secret;
use super::tests::Engine;
use crate::safety::detectors::corpus_tests::corpora;

/// Labels that are not followed: whether the source calls the text a secret, a part of the text (or of its rule's or
/// case's name), and why.
const DISPUTED: [(bool, &str, &str); 17] = [
    (true, "ip_public", "an address is no secret"),
    (true, "[a-zA-Z0-9]{30}", "the source's expression instead of what it generates"),
    (true, "&other=stuff", "cut off by the source's generator"),
    (true, "xxxxxxxxxx", "filler: the other sources label it as none"),
    (true, "ATMyOTQ4", "decodes to no id: no token of the provider"),
    (true, "AWS_ACCOUNT_ID", "an account's number is no secret"),
    (true, "ad_tenant_id", "a tenant's id is no secret"),
    (true, "AZURE_CLIENT_ID", "a client's id is no secret"),
    (true, "user:pass@example.com", "a placeholder: the other sources label it as none"),
    (false, "6fe4476ee5a1832882e326b506d14126", "left by the source as a known public search key"),
    (false, "3012a5754bbd716926f99c028f7ea428-us18", "the source wants the provider's name in another place"),
    (false, "acdeFf05b1a6d4c890237bf08c5e6e8d2b4d0f2e", "not the provider's form, yet a random key that is assigned"),
    (false, "5cb4a5f04cd412fe946667b17f0129ba", "not the provider's form, yet a random key that is assigned"),
    (false, "_authToken=743b294a-cd03-11ec-9d64-0242ac120002", "a token under a key that npm would not read"),
    (false, "enableIDScanRule-false", "switched off for this text; the same text is labelled a secret elsewhere"),
    (false, "ok.allows", "allowed for this text; the same text is labelled a secret elsewhere"),
    (false, "ng.kind-secret", "the source finds it; the label was lost"),
];

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    labelled: usize,
    recalled: usize,
    texts_without: usize,
    wrong: usize,
    disputed: usize,
}

fn count(engine: &Engine, record: &Value, count: &mut Count) {
    let text = record["text"].as_str().expect("text").as_bytes();
    let found = engine.find(text, None);
    let is_wrong = record["spans"].as_array().is_some_and(Vec::is_empty);
    let missed = missed(record, &found);
    let is_off = if is_wrong { !found.is_empty() } else { !missed.is_empty() };
    if is_off && is_disputed(record, !is_wrong) {
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

fn is_disputed(record: &Value, is_secret: bool) -> bool {
    let holds = |name: &str, part: &str| record[name].as_str().is_some_and(|value| value.contains(part));
    DISPUTED
        .iter()
        .filter(|(label, ..)| *label == is_secret)
        .any(|(_, part, _)| holds("text", part) || holds("rule", part) || holds("case", part))
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
    // One user asks whether a password is a good one.
    let told = |secret: &Secret| secret.kind == super::Kind::GenericSecret && secret.confidence <= 70;
    let found = engine.find(&text, None);
    assert!(found.len() <= 1 && found.iter().all(told), "a secret in the requests: {found:?}");
}
