//! What is wrong with a configuration, all of it at once, each with its place and a way out.

use std::fmt;
use std::ops::Range;

/// Mistakes listed at most; a file with more has one cause, not hundreds.
const LISTED_MAX: usize = 100;

/// One mistake: where it is and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The configuration file, as it was named.
    pub file: String,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Path of the key, such as `usage.budget[0].max_spend`; empty for syntax errors.
    pub key: String,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Every mistake of a configuration, in file order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl Mistakes {
    /// A mistake about a file as a whole.
    pub(super) fn of_file(file: &str, message: String) -> Self {
        Self(vec![Mistake { file: file.to_owned(), line: 0, column: 0, key: String::new(), message }])
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.0.iter().take(LISTED_MAX).enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        match self.0.len().saturating_sub(LISTED_MAX) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

/// A place in the file: the key's path and the bytes of its value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct At {
    /// Path of the key.
    pub(super) key: String,
    /// Bytes of the value; of the section where a default stands in.
    pub(super) span: Range<usize>,
    /// Below a default: places inside it are not places in the file.
    pub(super) default: bool,
}

impl At {
    /// The place of `name` within this section.
    pub(super) fn child(&self, name: &str, span: Range<usize>) -> Self {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{}.{name}", self.key) };
        Self { key, ..self.at(span) }
    }

    /// The place of element `index` of this list.
    pub(super) fn element(&self, index: usize, span: Range<usize>) -> Self {
        Self { key: format!("{}[{index}]", self.key), ..self.at(span) }
    }

    fn at(&self, span: Range<usize>) -> Self {
        Self { key: String::new(), span: if self.default { self.span.clone() } else { span }, default: self.default }
    }
}

/// Gathers mistakes while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Collector(Vec<(At, String)>);

impl Collector {
    /// Notes a mistake.
    pub(super) fn add(&mut self, at: &At, message: impl Into<String>) {
        self.0.push((at.clone(), message.into()));
    }

    /// Notes a mistake unless `holds`.
    pub(super) fn expect(&mut self, holds: bool, at: &At, message: impl FnOnce() -> String) {
        if !holds {
            self.add(at, message());
        }
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The mistakes in file order, with lines and columns of `text`.
    pub(super) fn finish(mut self, file: &str, text: &str) -> Mistakes {
        self.0.sort_by_key(|(at, _)| at.span.start);
        let mistakes = self.0.into_iter().map(|(at, message)| {
            let (line, column) = place(text, at.span.start);
            Mistake { file: file.to_owned(), line, column, key: at.key, message }
        });
        Mistakes(mistakes.collect())
    }
}

/// Line and column of a byte, both from 1.
pub(super) fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(byte)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistake_names_file_line_column_and_key() {
        let text = "a = 1\n\n[é]\nb = 2\n";
        let mut found = Collector::default();
        let section = At { key: "usage.budget[0]".into(), ..At::default() };
        found.add(&section.child("max_spend", 16..17), "no currency");
        found.add(&At { span: 4..5, ..At::default() }, "syntax");
        let mistakes = found.finish("acp.toml", text);
        assert_eq!(mistakes.to_string(), "acp.toml:1:5: syntax\nacp.toml:4:5: usage.budget[0].max_spend: no currency");
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut found = Collector::default();
        for _ in 0..LISTED_MAX + 7 {
            found.add(&At::default(), "x");
        }
        assert!(found.finish("f", "").to_string().ends_with("\n… and 7 more"));
    }
}
