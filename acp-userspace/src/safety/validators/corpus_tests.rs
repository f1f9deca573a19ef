//! How many identifiers of the corpus are judged right, where it is present (`ACP_CORPORA`, else `../shared/corpora`).
//!
//! Some rows hold the arguments of a call in their source instead of a value (`1123456789', 'Berlin`): no identifier
//! has an apostrophe, and these rows say what that call answers. They are counted, not judged.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::by_name;

/// What is reached; it may only rise.
const RIGHT_MIN: f64 = 0.99;

/// Where the corpora are.
fn corpora() -> Option<PathBuf> {
    let named = std::env::var_os("ACP_CORPORA").map(PathBuf::from);
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().map(|parent| parent.join("shared/corpora"));
    named.into_iter().chain(beside).find(|place| place.join("pii").is_dir())
}

fn rows(file: &str) -> Option<Vec<Value>> {
    let Some(corpora) = corpora() else {
        println!("no corpora (ACP_CORPORA): nothing was measured");
        return None;
    };
    let text = std::fs::read_to_string(corpora.join("pii").join(file)).expect("readable");
    Some(text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect())
}

#[test]
fn identifiers_of_the_corpus_are_judged_right() {
    let Some(rows) = rows("identifier_validity.jsonl") else { return };
    let (mut judged, mut right, mut arguments) = (0, 0, 0);
    let mut types = BTreeMap::new();
    for row in &rows {
        let (kind, value) = (row["type"].as_str().expect("a type"), row["value"].as_str().expect("a value"));
        let holds = by_name(kind).unwrap_or_else(|| panic!("no validator of {kind}"));
        if value.contains('\'') {
            arguments += 1;
            continue;
        }
        judged += 1;
        *types.entry(kind).or_insert(0) += 1;
        if Some(holds(value)) == row["valid"].as_bool() {
            right += 1;
        } else {
            println!("wrong: {kind} {value:?}, which the corpus calls valid: {}", row["valid"]);
        }
    }
    let share = f64::from(right) / f64::from(judged);
    println!(
        "{} rows, {arguments} of them arguments of calls; {judged} of {} types judged, {right} right: {share:.4}",
        rows.len(),
        types.len()
    );
    assert!(share >= RIGHT_MIN, "{share}");
}

/// Labels of texts whose values a checksum or structure decides. The others need context.
const LABELS: [&str; 42] = [
    "AU_ABN",
    "AU_ACN",
    "AU_MEDICARE",
    "AU_TFN",
    "CA_SIN",
    "CREDIT_CARD",
    "CRYPTO_WALLET",
    "DE_BSNR",
    "DE_HEALTH_INSURANCE",
    "DE_LANR",
    "DE_PASSPORT",
    "DE_SOCIAL_SECURITY",
    "DE_TAX_ID",
    "DE_VAT_ID",
    "ES_NIE",
    "ES_NIF",
    "ES_PASSPORT",
    "FI_PERSONAL_IDENTITY_CODE",
    "IBAN",
    "IN_AADHAAR",
    "IN_GSTIN",
    "IN_VOTER",
    "IT_PASSPORT",
    "KR_FRN",
    "KR_PASSPORT",
    "KR_RRN",
    "MEDICAL_LICENSE",
    "PH_TIN",
    "PL_PESEL",
    "SE_ORGANISATIONSNUMMER",
    "SE_PERSONNUMMER",
    "SG_UEN",
    "TH_TNIN",
    "TR_LICENSE_PLATE",
    "TR_NATIONAL_ID",
    "UK_DRIVING_LICENCE",
    "UK_NHS",
    "UK_POSTCODE",
    "US_ABA_ROUTING",
    "US_MBI",
    "US_NPI",
    "ZA_ID_NUMBER",
];

#[test]
fn identifiers_labelled_in_texts_are_valid() {
    let Some(rows) = rows("presidio_recognizer_tests.jsonl") else { return };
    let (mut judged, mut right) = (0, 0);
    for row in &rows {
        let text = row["text"].as_str().expect("a text");
        for span in row["spans"].as_array().into_iter().flatten() {
            let place = |name: &str| span[name].as_u64().expect("a place") as usize;
            let (kind, value) = (span["type"].as_str().expect("a type"), &text[place("start")..place("end")]);
            let Some(holds) = by_name(kind).filter(|_| LABELS.contains(&kind)) else { continue };
            judged += 1;
            if holds(value) {
                right += 1;
            } else {
                println!("wrong: {kind} {value:?} ({:?})", row["confidence_max"]);
            }
        }
    }
    println!("{judged} labelled identifiers judged, {right} right");
    assert_eq!(right, judged);
}
