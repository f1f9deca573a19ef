//! Names that a careless reader takes for each other (THREATS A9): equal after case folding and the removal of
//! characters that do not show.
//!
//! Case: lower, then upper, then lower case of every character. That joins whatever Unicode's simple case folding
//! joins, and a little more (`ß` with `ss`, dotless `ı` with `i`): for a refusal the wider net is the safe one.

use std::borrow::Cow;

/// `name` folded; borrows when folding changes nothing.
#[must_use]
pub fn fold(name: &str) -> Cow<'_, str> {
    if is_folded(name) {
        return Cow::Borrowed(name);
    }
    let mut folded = String::with_capacity(name.len());
    fold_onto(name, &mut folded);
    Cow::Owned(folded)
}

/// Whether folding is known to change nothing: ASCII that shows and is no capital.
pub(super) fn is_folded(name: &str) -> bool {
    name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase() && !b.is_ascii_control())
}

/// Appends `name`, folded.
pub(super) fn fold_onto(name: &str, folded: &mut String) {
    for c in name.chars().filter(|c| !is_invisible(*c)) {
        if c.is_ascii() {
            folded.push(c.to_ascii_lowercase());
        } else {
            folded.extend(c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase));
        }
    }
}

/// Control (Cc) and format (Cf) characters, and the rest of what Unicode 16 calls default-ignorable.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
            | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
            | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(a: &str, b: &str, equal: bool) {
        assert_eq!(fold(a) == fold(b), equal, "{a:?} {b:?}");
    }

    #[test]
    fn look_alike_names_fold_together() {
        check("amount", "Amount", true);
        check("amount", "amo\u{200b}unt", true);
        check("amount", "am\u{ad}ount\u{e0041}", true);
        check("amount", "amo\tunt", true);
        check("kind", "\u{212a}ind", true);
        check("sum", "\u{17f}um", true);
        check("ΟΔΟΣ", "οδος", true);
        check("straße", "STRASSE", true);
        check("\u{1e9e}", "\u{df}", true);
        check("file", "ﬁle", true);
        check("amount", "amounts", false);
        check("a_b", "ab", false);
    }

    #[test]
    fn plain_names_are_borrowed() {
        assert!(matches!(fold("crm/contacts"), Cow::Borrowed(_)));
    }
}
