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

/// Gathers mistakes while reading and resolving go on.
///
/// What cannot be read has something stand in for it, so that the rest of the file is resolved all the same. What would
/// then be said about the section that it stands in could be about the stand-in, so nothing is.
#[derive(Debug, Default)]
pub(super) struct Collector {
    noted: Vec<(At, String)>,
    /// Keys of sections that hold a stand-in.
    doubtful: Vec<String>,
    resolving: bool,
}

impl Collector {
    /// Notes a mistake.
    pub(super) fn add(&mut self, at: &At, message: impl Into<String>) {
        if !self.resolving || !self.doubtful.iter().any(|section| is_within(&at.key, section)) {
            self.noted.push((at.clone(), message.into()));
        }
    }

    /// The value at this place could not be read, which is noted; something stands in for it.
    pub(super) fn unread(&mut self, at: &At) {
        self.doubtful.push(section_of(&at.key).to_owned());
    }

    /// Everything is read: from now on it is resolved.
    pub(super) fn resolving(&mut self) {
        self.resolving = true;
    }

    /// Notes a mistake unless `holds`.
    pub(super) fn expect(&mut self, holds: bool, at: &At, message: impl FnOnce() -> String) {
        if !holds {
            self.add(at, message());
        }
    }

    /// Whether nothing was wrong so far.
    pub(super) fn is_empty(&self) -> bool {
        self.noted.is_empty()
    }

    /// The mistakes in file order, with lines and columns of `text`.
    pub(super) fn finish(mut self, file: &str, text: &str) -> Mistakes {
        self.noted.sort_by_key(|(at, _)| at.span.start);
        let mistakes = self.noted.into_iter().map(|(at, message)| {
            let (line, column) = place(text, at.span.start);
            Mistake { file: file.to_owned(), line, column, key: at.key, message }
        });
        Mistakes(mistakes.collect())
    }
}

/// The section that a key stands in; a section at the top is its own.
fn section_of(key: &str) -> &str {
    let list = key.strip_suffix(']').and_then(|key| key.rsplit_once('[')).map_or(key, |(list, _)| list);
    list.rsplit_once('.').map_or(list, |(section, _)| section)
}

/// Whether a key is this one or below it.
fn is_within(key: &str, section: &str) -> bool {
    key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
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
    fn nothing_is_said_of_what_holds_a_stand_in_but_that_it_cannot_be_read() {
        for (unread, quiet, heard) in [
            ("listen.address", "listen.workers", "admin.metrics"),
            ("route[1].protocol", "route[1].tool[0].match", "route[10].path"),
            ("safety.rule[1].detect[0]", "safety.rule[1].detect", "safety.rule[0].detect"),
            ("route", "route[0].path", "route_map"),
        ] {
            let at = |key: &str| At { key: key.to_owned(), ..At::default() };
            let mut found = Collector::default();
            found.add(&at(unread), "has to be a section");
            found.unread(&at(unread));
            found.add(&at(quiet), "has to be text");
            found.resolving();
            found.add(&at(quiet), "is a contradiction");
            found.add(&at(heard), "is a contradiction");
            let keys: Vec<String> = found.finish("f", "").0.into_iter().map(|mistake| mistake.key).collect();
            assert_eq!(keys, [unread, quiet, heard]);
        }
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
