//! Recall and precision on the labelled corpora, where they are present (`ACP_CORPORA`, else `../shared/corpora`).
//!
//! Recall counts every labelled span of the four types that is not marked weak; found = some finding of the type
//! overlaps it. A finding is false when the text's labels are complete for its type and none of that type overlaps it.
//! Telephone numbers are counted twice: all of them, and those in international or separated form of seven digits or
//! more, which can be told without a word beside them. The thresholds are what is reached today; they may only rise.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::tests::find;
use crate::config::resolved::Detector;

/// Where the corpora are; `None` is announced, never silent.
pub(super) fn corpora() -> Option<PathBuf> {
    let named = std::env::var_os("ACP_CORPORA").map(PathBuf::from);
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = here.ancestors().map(|parent| parent.join("shared/corpora"));
    named.into_iter().chain(beside).find(|place| place.join("pii").is_dir())
}

fn detector(label: &str) -> Option<Detector> {
    match label {
        "US_SSN" => Some(Detector::UsSsn),
        "EMAIL" => Some(Detector::Email),
        "CREDIT_CARD" => Some(Detector::CreditCard),
        "PHONE" => Some(Detector::Phone),
        _ => None,
    }
}

#[derive(Default, Clone, Copy)]
struct Count {
    labelled: usize,
    recalled: usize,
    /// Of both, those a form tells.
    formed: [usize; 2],
    reported: usize,
    wrong: usize,
}

impl Count {
    fn recall(&self) -> f64 {
        self.recalled as f64 / self.labelled.max(1) as f64
    }
    fn recall_by_form(&self) -> f64 {
        self.formed[1] as f64 / self.formed[0].max(1) as f64
    }
    fn precision(&self) -> f64 {
        1.0 - self.wrong as f64 / self.reported.max(1) as f64
    }
}

/// Whether a telephone number has a `+` or separators, and seven digits or more.
fn is_told_by_form(number: &str) -> bool {
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    digits >= 7 && digits < number.len()
}

fn count_file(path: &std::path::Path, counts: &mut BTreeMap<Detector, Count>) {
    let show = std::env::var_os("ACP_SHOW").is_some();
    for line in std::fs::read_to_string(path).expect("readable").lines() {
        let record: Value = serde_json::from_str(line).expect("JSON");
        let (Some(text), Some(spans)) = (record["text"].as_str(), record["spans"].as_array()) else { continue };
        let labels: Vec<_> = spans
            .iter()
            .filter_map(|span| {
                let place = |name: &str| span[name].as_u64().map(|at| at as usize);
                Some((
                    detector(span["type"].as_str()?)?,
                    place("start")?..place("end")?,
                    span["confidence_max"].is_number(),
                ))
            })
            .collect();
        let found = find(text.as_bytes(), None);
        for (label, range, weak) in &labels {
            let hit = found.iter().any(|(d, r)| d == label && r.start < range.end && range.start < r.end);
            if !weak {
                let count = counts.entry(*label).or_default();
                count.labelled += 1;
                count.recalled += usize::from(hit);
                if *label != Detector::Phone || is_told_by_form(&text[range.clone()]) {
                    count.formed[0] += 1;
                    count.formed[1] += usize::from(hit);
                }
                if show && !hit {
                    println!("MISS {label:?} {:?} in {text:?}", &text[range.clone()]);
                }
            }
        }
        for (finding, range) in &found {
            let scoped = record["scope"] == "all"
                || record["scope"]
                    .as_array()
                    .is_some_and(|s| s.iter().any(|s| s.as_str().and_then(detector) == Some(*finding)));
            if !scoped || record["labels"] == "partial" {
                continue;
            }
            let right = labels.iter().any(|(d, r, _)| d == finding && r.start < range.end && range.start < r.end);
            let count = counts.entry(*finding).or_default();
            count.reported += 1;
            count.wrong += usize::from(!right);
            if show && !right {
                println!("WRONG {finding:?} {:?} in {text:?}", &text[range.clone()]);
            }
        }
    }
}

#[test]
fn recall_and_precision_on_the_labelled_corpora_hold() {
    let Some(corpora) = corpora() else {
        println!("no corpora found: set ACP_CORPORA; recall and precision were NOT checked");
        return;
    };
    let mut total: BTreeMap<Detector, Count> = BTreeMap::new();
    let mut files: Vec<_> =
        std::fs::read_dir(corpora.join("pii")).expect("listable").flatten().map(|f| f.path()).collect();
    files.sort();
    for file in files {
        let mut counts = BTreeMap::new();
        count_file(&file, &mut counts);
        for (detector, count) in counts {
            let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let Count { labelled, recalled, reported, wrong, .. } = count;
            println!("{name:32} {:12} recall {recalled}/{labelled}, {wrong} of {reported} wrong", detector.name());
            let sum = total.entry(detector).or_default();
            sum.labelled += labelled;
            sum.recalled += recalled;
            sum.formed = [0, 1].map(|i| sum.formed[i] + count.formed[i]);
            sum.reported += reported;
            sum.wrong += wrong;
        }
    }
    for (detector, least_recall, least_by_form, least_precision) in THRESHOLDS {
        let count = total.get(&detector).copied().unwrap_or_default();
        let (recall, by_form, precision) = (count.recall(), count.recall_by_form(), count.precision());
        println!("{:12} recall {recall:.3}, by form {by_form:.3}, precision {precision:.3}", detector.name());
        assert!(recall >= least_recall, "{detector:?} {recall}");
        assert!(by_form >= least_by_form, "{detector:?} {by_form}");
        assert!(precision >= least_precision, "{detector:?} {precision}");
    }
}

/// Detector, least recall, of those told by their form, least precision.
const THRESHOLDS: [(Detector, f64, f64, f64); 4] = [
    (Detector::UsSsn, 0.98, 0.98, 0.98),
    (Detector::Email, 1.0, 1.0, 0.99),
    (Detector::CreditCard, 0.99, 0.99, 1.0),
    // Missed: numbers of seven digits and fewer, which are no anchor, and digits in a row without a word.
    (Detector::Phone, 0.93, 0.95, 0.99),
];
