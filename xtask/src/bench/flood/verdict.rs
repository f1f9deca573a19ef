//! The criteria, and whether they are met: one table for all that was measured.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// One criterion of one scenario.
pub(super) struct Verdict {
    /// The scenario.
    pub(super) of: String,
    /// What is judged.
    pub(super) what: String,
    /// By what.
    pub(super) target: String,
    /// What it came to.
    pub(super) measured: String,
    /// Whether that is good enough.
    pub(super) met: bool,
}

impl Verdict {
    /// For `flood.json`.
    pub(super) fn to_json(&self) -> Value {
        let Self { of, what, target, measured, met } = self;
        json!({"scenario": of, "what": what, "target": target, "measured": measured, "met": met})
    }
}

/// The table, a line a criterion.
pub(super) fn to_text(verdicts: &[Verdict]) -> String {
    let mut text = String::new();
    for Verdict { of, what, target, measured, met } in verdicts {
        let word = if *met { "pass" } else { "MISS" };
        let _ = writeln!(text, "{word}  {of:<14} {what:<52} {target:<10} {measured}");
    }
    text
}

/// Those that were missed, in words for an error.
pub(super) fn missed(verdicts: &[Verdict]) -> Option<String> {
    let missed: Vec<String> =
        verdicts.iter().filter(|it| !it.met).map(|it| format!("{}: {}", it.of, it.what)).collect();
    (!missed.is_empty()).then(|| missed.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_said_and_is_an_error() {
        let verdict = |met| Verdict {
            of: "declared".into(),
            what: "victim on time".into(),
            target: "≥ 90 %".into(),
            measured: "12 %".into(),
            met,
        };
        assert_eq!(missed(&[verdict(true)]), None);
        assert_eq!(missed(&[verdict(true), verdict(false)]).as_deref(), Some("declared: victim on time"));
        let text = to_text(&[verdict(true), verdict(false)]);
        assert_eq!((text.matches("pass").count(), text.matches("MISS").count()), (1, 1), "{text}");
    }
}
