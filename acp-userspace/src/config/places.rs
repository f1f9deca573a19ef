//! Where the parts of a configuration stand in its file, for what is found wrong with them after it was read.
//!
//! The layers that compile a configuration know its parts by name; an operator wants file, line and key. This is kept
//! beside the configuration and says nothing about its meaning.

use std::collections::HashMap;

use super::mistake::{At, Mistake, place};
use super::raw;

/// A part of a configuration, by the name that the resolved configuration has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject<'a> {
    /// An issuer's entry.
    Issuer(&'a str),
    /// A rule on content.
    Rule(&'a str),
    /// A backend.
    Upstream(&'a str),
    /// A route.
    Route(&'a str),
    /// A tool of a route.
    Tool(&'a str, &'a str),
}

impl Subject<'_> {
    fn key(self) -> (u8, String) {
        match self {
            Self::Issuer(name) => (0, name.to_owned()),
            Self::Rule(id) => (1, id.to_owned()),
            Self::Upstream(name) => (2, name.to_owned()),
            Self::Route(name) => (3, name.to_owned()),
            // Neither name can have a line feed.
            Self::Tool(route, tool) => (4, format!("{route}\n{tool}")),
        }
    }
}

/// The places of a configuration's parts.
#[derive(Debug, Default)]
pub struct Places {
    file: String,
    parts: HashMap<(u8, String), (String, usize, usize)>,
}

impl Places {
    /// The places in `text`, which `file` was read from; `name` is how it is called in mistakes.
    pub(super) fn of(file: &raw::File, name: &str, text: &str) -> Self {
        let mut places = Self { file: name.to_owned(), parts: HashMap::new() };
        for issuer in file.identity.issuer.iter() {
            let name = issuer.name.as_deref().unwrap_or(&issuer.issuer);
            let at = if issuer.jwks.at.default { &issuer.issuer.at } else { &issuer.jwks.at };
            places.add(Subject::Issuer(name), at, text);
        }
        for (index, rule) in file.safety.rule.iter().enumerate() {
            let id = rule.id.value.clone().unwrap_or_else(|| format!("safety.rule.{index}"));
            places.add(Subject::Rule(&id), &rule.at, text);
        }
        for upstream in file.upstream.iter() {
            places.add(Subject::Upstream(&upstream.name), &upstream.at, text);
        }
        for route in file.route.iter() {
            let name = route.name.as_deref().unwrap_or(&route.path);
            places.add(Subject::Route(name), &route.at, text);
            for tool in route.tool.iter() {
                places.add(Subject::Tool(name, &tool.name), &tool.at, text);
            }
        }
        places
    }

    fn add(&mut self, subject: Subject<'_>, at: &At, text: &str) {
        let (line, column) = place(text, at.span.start);
        self.parts.insert(subject.key(), (at.key.clone(), line, column));
    }

    /// A mistake about a part; about the file as a whole where the part has no place in it.
    #[must_use]
    pub fn mistake(&self, subject: Option<Subject<'_>>, message: String) -> Mistake {
        let (key, line, column) =
            subject.and_then(|subject| self.parts.get(&subject.key()).cloned()).unwrap_or_default();
        Mistake { file: self.file.clone(), line, column, key, message }
    }
}
