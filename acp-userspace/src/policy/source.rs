//! Policy files to policies: parsing, names, lines, and what is read of a call. Every mistake is collected.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use cedar_policy as cedar;
use miette::Diagnostic;

use super::reads::Reads;

/// Where the built-in rules claim to come from.
pub const BUILT_IN_NAME: &str = "acp:built-in";

/// The built-in rules, as `acp policy` prints them.
pub const BUILT_IN: &str = r#"// Whoever holds the scope tool:<name>:<verb> may call the tools of that name and verb.
@id("acp/scope")
permit (principal, action == Action::"call", resource)
when { principal.scopes.contains(resource.scope) };

// Every verified caller may ask a server what it offers; the answer shows only what the caller may call.
@id("acp/list")
permit (principal, action == Action::"list", resource);
"#;

/// Ids that only built-in rules have.
const RESERVED_PREFIX: &str = "acp/";
/// Ids are printed in every record.
const ID_BYTES_MAX: usize = 128;

/// One thing wrong with the policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyMistake {
    /// The file's name.
    pub file: String,
    /// The policy's id, when it has got that far.
    pub policy: Option<Arc<str>>,
    /// Line in the file, from 1.
    pub line: Option<usize>,
    /// What is wrong, for the operator.
    pub message: String,
}

impl fmt::Display for PolicyMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let Some(policy) = &self.policy {
            write!(f, ": policy {policy:?}")?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Everything wrong with the policies, at once.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct PolicyMistakes(pub Vec<PolicyMistake>);

/// One policy of a file.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) file: Arc<str>,
    pub(super) line: usize,
    pub(super) id: Arc<str>,
    /// Under its own id.
    pub(super) policy: cedar::Policy,
    pub(super) reads: Reads,
}

impl Source {
    /// A mistake in this policy.
    pub(super) fn mistake(&self, message: impl fmt::Display) -> PolicyMistake {
        PolicyMistake {
            file: self.file.to_string(),
            policy: Some(Arc::clone(&self.id)),
            line: Some(self.line),
            message: message.to_string(),
        }
    }
}

/// Parses all files.
pub(super) fn parse<'t>(
    files: impl Iterator<Item = (&'t str, &'t str)>,
    mistakes: &mut Vec<PolicyMistake>,
) -> Vec<Source> {
    let mut sources = Vec::new();
    for (file, text) in files {
        parse_file(file, text, &mut sources, mistakes);
    }
    refuse_duplicates(&sources, mistakes);
    sources
}

fn parse_file(file: &str, text: &str, sources: &mut Vec<Source>, mistakes: &mut Vec<PolicyMistake>) {
    let set: cedar::PolicySet = match text.parse() {
        Ok(set) => set,
        Err(errors) => return mistakes.extend(parse_mistakes(file, text, &errors)),
    };
    let file: Arc<str> = file.into();
    let at = |line, policy: &str, message: &str| PolicyMistake {
        file: file.to_string(),
        policy: Some(policy.into()),
        line,
        message: message.to_owned(),
    };
    for template in set.templates() {
        mistakes.push(at(None, template.id().as_ref(), "templates are not supported: write the policy out"));
    }
    let mut policies: Vec<_> = set.policies().map(|policy| (offset(policy), policy)).collect();
    policies.sort_by_key(|(offset, _)| *offset);
    for (n, (offset, policy)) in policies.into_iter().enumerate() {
        let line = line_of(text, offset);
        let id: Arc<str> = match policy.annotation("id") {
            Some(id) => id.into(),
            None => format!("{file}#policy{n}").into(),
        };
        if let Some(wrong) = id_mistake(&id, &file) {
            mistakes.push(at(Some(line), &id, wrong));
        }
        let reads = policy.to_pst().map_err(|error| error.to_string());
        match reads.and_then(|pst| Reads::of(pst.body()).map_err(|error| error.to_string())) {
            Ok(reads) => {
                let policy = policy.new_id(cedar::PolicyId::new(&id));
                sources.push(Source { file: Arc::clone(&file), line, id, policy, reads });
            }
            Err(message) => mistakes.push(at(Some(line), &id, &message)),
        }
    }
}

fn id_mistake(id: &str, file: &str) -> Option<&'static str> {
    if id.starts_with(RESERVED_PREFIX) && file != BUILT_IN_NAME {
        return Some("ids that start with `acp/` are the built-in rules'");
    }
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        return Some("an id is 1 to 128 printable ASCII characters");
    }
    None
}

fn refuse_duplicates(sources: &[Source], mistakes: &mut Vec<PolicyMistake>) {
    let mut seen: HashMap<&str, &Source> = HashMap::new();
    for source in sources {
        if let Some(first) = seen.insert(&source.id, source) {
            mistakes.push(source.mistake(format_args!("the id is taken by {}:{}", first.file, first.line)));
        }
    }
}

/// Where a parsed policy begins.
fn offset(policy: &cedar::Policy) -> usize {
    policy.as_ref().loc().map_or(0, |location| location.start())
}

fn parse_mistakes<'t>(
    file: &'t str,
    text: &'t str,
    errors: &'t cedar::ParseErrors,
) -> impl Iterator<Item = PolicyMistake> + 't {
    errors.iter().map(move |error| PolicyMistake {
        file: file.to_owned(),
        policy: None,
        line: error.labels().and_then(|mut labels| labels.next()).map(|label| line_of(text, label.offset())),
        message: with_help(error),
    })
}

/// A message and what Cedar advises.
pub(super) fn with_help(error: &impl Diagnostic) -> String {
    match error.help() {
        Some(help) => format!("{error} ({help})"),
        None => error.to_string(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}
